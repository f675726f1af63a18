"""An archive on disk: parquet files with a row a photograph, each there once.

parts = Parts(Path("output/archive"))
with parts.alone():
    parts.begin(settings, replace=False)
    done, failed = parts.read_done(len(photographs))
    added, failed = parts.add(rows, done)

The folder holds archive.json (list, network and options) and rows/, which readers read.
One process writes there, each file whole under another name and then moved in one step.
So readers see all of a file or nothing, what is in rows/ is the checkpoint, too, and
whatever a worker does twice is left out. Needs pyarrow.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, dataset, parquet

from retina.files import InputError, locked, require_writable, whole_file

SETTINGS, ROWS, UNFINISHED, LOCK = "archive.json", "rows", ".unfinished", ".lock"
# What is read of rows here; they have more columns, and some have no maps.
READ = pa.schema(
    {"number": pa.int64(), "id": pa.string(), "failure": pa.string()}
    | {"map": pa.large_binary()}
)
# Pages whose checksum does not fit are refused: a flipped bit could be another number.
CHECKED = dataset.ParquetFileFormat(
    default_fragment_scan_options=dataset.ParquetFragmentScanOptions(
        page_checksum_verification=True
    )
)


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
        there = self._read_settings() if names and not replace else settings
        for name in settings | there:
            if there.get(name) != settings.get(name):
                raise InputError(
                    f"expected the {name} with which {self.folder} was begun, "
                    f"{there.get(name)}, received {settings.get(name)}: give the same, "
                    "choose another --output, or start anew with --replace"
                )
        if replace and rows.exists():
            shutil.rmtree(rows)
        with whole_file(path) as part:  # first, since it marks the folder as an archive
            part.write_text(json.dumps(settings, indent=1))
        rows.mkdir(exist_ok=True)

    def _read_settings(self) -> dict[str, object]:
        """What the archive was begun with."""
        path = self.folder / SETTINGS
        try:
            return dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"expected what the archive was begun with in {path}, but it cannot be "
                f"read ({error}): start anew with --replace"
            ) from None

    def _read(self, *columns: str, where: compute.Expression | None = None) -> pa.Table:
        """Columns of all rows."""
        try:
            rows = dataset.dataset(self.folder / ROWS, READ, CHECKED)
            return rows.to_table(list(columns), where)
        except FileNotFoundError:
            raise InputError(
                f"expected an archive in {self.folder}, found none: check --output"
            ) from None
        except (pa.ArrowInvalid, OSError) as error:
            if getattr(error, "errno", None):  # of the disk, not of a file's content
                raise
            raise InputError(
                f"expected whole files in {self.folder / ROWS}, found a damaged one, "
                f"{self._find_damaged()} ({error}): remove it, and its photographs are "
                "done again"
            ) from None

    def _find_damaged(self) -> str:
        """The name of a damaged file; not all errors of pyarrow tell it."""
        for path in sorted((self.folder / ROWS).glob("*.parquet")):
            try:
                parquet.read_table(path, page_checksum_verification=True)
            except (pa.ArrowInvalid, OSError):
                return path.name
        return "which cannot be told"

    def read_done(self, count: int) -> tuple[np.ndarray, int]:
        """Which of `count` photographs have a row, (count,) bool; how many failed."""
        rows, done = self._read("number", "failure"), np.zeros(count, bool)
        done[rows["number"].to_numpy()] = True
        return done, _count_failed(rows)

    def add(self, rows: pa.Table, done: np.ndarray) -> tuple[int, int]:
        """Writes the rows of photographs that are not done, and notes them in `done`.
        Returns how many that were, and how many of them failed."""
        rows = rows.filter(pa.array(~done[rows["number"].to_numpy()]))
        numbers = rows["number"].to_numpy()
        if len(rows):
            part = self.folder / UNFINISHED
            with open(part, "wb") as file:
                parquet.write_table(rows, file, write_page_checksum=True)
                file.flush()
                os.fsync(file)
            part.replace(self.folder / ROWS / f"{numbers.min():09d}.parquet")
            done[numbers] = True
        return len(rows), _count_failed(rows)

    def read_map(self, photograph: str) -> bytes:
        """The PNG file of a photograph's map.

        Raises:
            InputError: there is none.
        """
        mine = self._read("map", "failure", where=compute.field("id") == photograph)
        found = {"map": None, "failure": "there is no such id"}
        for found in mine.to_pylist():
            if found["map"] is not None:
                return found["map"]
        raise InputError(
            f"expected a map of {photograph} in {self.folder}, found none: "
            f"{found['failure'] or 'the archive was made without --maps'}"
        )


def _count_failed(rows: pa.Table) -> int:
    """Rows with the reason of a failure."""
    return len(rows) - rows["failure"].null_count
