"""An archive on disk: parquet files with a row a photograph, each there once.

parts = Parts(Path("output/archive"))
with parts.alone():
    parts.begin(settings, replace=False)
    done, failed = parts.read_done(len(photographs))
    parts.add(rows, columns, done)

The folder holds archive.json (list, network and options) and rows/, which readers read.
One process writes there, each file whole under another name and then moved in one step.
So readers see all of a file or nothing, what is in rows/ is the checkpoint, too, and
whatever a worker does twice is left out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina.files import InputError, locked, require_writable, whole_file

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset

SETTINGS, ROWS, UNFINISHED, LOCK = "archive.json", "rows", ".unfinished", ".lock"
PER_FOLDER = 100_000  # photographs, whose rows share a folder below rows/


@dataclass(frozen=True)
class Parts:
    """The folder of an archive."""

    folder: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds off other processes that would write, where the disk knows locks."""
        require_writable(self.folder)
        busy = (
            f"expected no other archive.py at work in {self.folder}, found one: wait, "
            "or stop it"
        )
        with locked(self.folder / LOCK, busy=busy):
            yield

    def begin(self, settings: dict[str, object], replace: bool) -> None:
        """Begins an archive, or goes on with one of the same settings.

        Raises:
            InputError: the folder holds something else.
        """
        path, rows = self.folder / SETTINGS, self.folder / ROWS
        names = {each.name for each in self.folder.iterdir() if each.name[0] != "."}
        if names and SETTINGS not in names:
            raise InputError(
                f"expected an archive or an empty folder at {self.folder}, found other "
                f"files, {min(names)} for one: choose another folder with --output"
            )
        if SETTINGS in names and not replace:
            self._require(settings)
        if replace and rows.exists():
            shutil.rmtree(rows)
        with whole_file(path) as part:  # first, since it marks the folder as an archive
            part.write_text(json.dumps(settings, indent=1))
        rows.mkdir(exist_ok=True)

    def _require(self, settings: dict[str, object]) -> None:
        """Raises an InputError where the archive was begun with other settings."""
        there = json.loads((self.folder / SETTINGS).read_text())
        for name in settings | there:
            if there.get(name) != settings.get(name):
                raise InputError(
                    f"expected the {name} with which {self.folder} was begun, "
                    f"{there.get(name)}, received {settings.get(name)}: give the same, "
                    "choose another --output, or start anew with --replace"
                )

    def _rows(self) -> dataset.Dataset:
        from pyarrow import dataset

        return dataset.dataset(self.folder / ROWS, format="parquet")

    def read_done(self, count: int) -> tuple[np.ndarray, int]:
        """Which of `count` photographs have a row, (count,) bool; how many failed."""
        import pyarrow as pa

        done, failed = np.zeros(count, bool), 0
        try:
            rows = self._rows()
            columns = ["number", "failure"] if rows.files else []
            for batch in rows.to_batches(columns=columns):
                done[batch["number"].to_numpy()] = True
                failed += len(batch) - batch["failure"].null_count
        except pa.ArrowInvalid as error:
            raise InputError(
                f"expected whole files in {self.folder / ROWS}, found a damaged one "
                f"({error}): remove it, and its photographs are done again"
            ) from None
        return done, failed

    def add(
        self, rows: Sequence[dict], columns: pa.Schema, done: np.ndarray
    ) -> list[dict]:
        """Writes the rows of photographs that are not done, and notes them in `done`.

        Returns:
            Those rows.
        """
        import pyarrow as pa
        from pyarrow import parquet

        rows = [row for row in rows if not done[row["number"]]]
        if not rows:
            return []
        numbers = [row["number"] for row in rows]
        first = min(numbers)
        folder = self.folder / ROWS / f"{first // PER_FOLDER:05d}"
        folder.mkdir(exist_ok=True)
        part = self.folder / UNFINISHED
        with open(part, "wb") as file:
            parquet.write_table(pa.Table.from_pylist(rows, columns), file)
            file.flush()
            os.fsync(file)
        part.replace(folder / f"{first:09d}.parquet")
        done[numbers] = True
        return rows

    def read_map(self, photograph: str) -> bytes:
        """The PNG file of a photograph's map.

        Raises:
            InputError: there is none.
        """
        from pyarrow import dataset

        rows = self._rows() if (self.folder / ROWS).is_dir() else None
        if rows is None or "map" not in rows.schema.names:
            raise InputError(
                f"expected an archive with maps in {self.folder}, found none: check "
                "--output, or write them with --maps"
            )
        mine = dataset.field("id") == photograph
        found = rows.to_table(columns=["map", "failure"], filter=mine).to_pylist()
        if not found or found[0]["map"] is None:
            why = found[0]["failure"] if found else "there is no such id"
            raise InputError(
                f"expected a map of {photograph} in {self.folder}, found none ({why})"
            )
        return found[0]["map"]
