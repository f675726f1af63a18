"""An archive on disk: parquet files with a row a photograph, each written once.

parts = Parts("output/archive")
parts.begin(settings, replace=False)
done, failed = parts.read_done(len(photographs))
name = parts.write(table)                 # anywhere: nobody sees it yet
parts.commit(name, numbers, done)         # by the one who counts: now it is there

The folder holds archive.json (list, network and options), rows/ (what readers read) and
unfinished/ (what a worker has written and nobody has counted yet). A worker may be
killed, or begun again, at any moment: what it wrote is only moved into rows/ by the one
process that counts, in one step, and only if none of its photographs is there already.
So what is in rows/ is the checkpoint, too, and holds every photograph once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina.files import InputError, locked
from retina.listing import open_place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset, fs

SETTINGS, ROWS, UNFINISHED, LOCK = "archive.json", "rows", "unfinished", ".lock"
PER_FOLDER = 100_000  # photographs, whose rows share a folder below rows/


@dataclass(frozen=True)
class Parts:
    """The folder of an archive, at a place of `listing.open_place`."""

    place: str

    def _at(self, *names: str) -> tuple[fs.FileSystem, str]:
        """The file system, and the path there of something in the folder."""
        filesystem, inner = open_place(self.place)
        return filesystem, "/".join((inner.rstrip("/"), *names))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds off other processes that would count; on a local path, and on those
        shared ones that know locks."""
        if "://" in self.place:
            yield
            return
        Path(self.place).mkdir(parents=True, exist_ok=True)
        busy = (
            f"expected no other archive.py at work in {self.place}, found one: wait, "
            "or stop it"
        )
        with locked(Path(self.place) / LOCK, busy=busy):
            yield

    def begin(self, settings: dict[str, object], replace: bool) -> None:
        """Begins an archive, or goes on with one of the same settings.

        Raises:
            InputError: the folder holds something else.
        """
        from pyarrow import fs

        filesystem, folder = self._at()
        found = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        names = {each.base_name for each in found} - {LOCK, f"{SETTINGS}.part"}
        if names and SETTINGS not in names:
            raise InputError(
                f"expected an archive or an empty folder at {self.place}, found other "
                f"files, {min(names)} for one: choose another folder with --output"
            )
        if SETTINGS in names and not replace:
            self._require(settings)
        self.tidy()
        if replace:
            filesystem.delete_dir_contents(self._at(ROWS)[1], missing_dir_ok=True)
        with filesystem.open_output_stream(self._at(f"{SETTINGS}.part")[1]) as file:
            file.write(json.dumps(settings, indent=1).encode())
        filesystem.move(self._at(f"{SETTINGS}.part")[1], self._at(SETTINGS)[1])

    def tidy(self) -> None:
        """Removes what was written and not counted, while nobody is at work."""
        filesystem, path = self._at(UNFINISHED)
        filesystem.create_dir(path)
        filesystem.delete_dir_contents(path)

    def _require(self, settings: dict[str, object]) -> None:
        """Raises an InputError where the archive was begun with other settings."""
        filesystem, path = self._at(SETTINGS)
        with filesystem.open_input_stream(path) as file:
            there = json.loads(file.read())
        for name in settings | there:
            if there.get(name) != settings.get(name):
                raise InputError(
                    f"expected the {name} with which {self.place} was begun, "
                    f"{there.get(name)}, received {settings.get(name)}: give the same, "
                    "choose another --output, or start anew with --replace"
                )

    def _rows(self) -> dataset.Dataset:
        from pyarrow import dataset

        filesystem, path = self._at(ROWS)
        filesystem.create_dir(path)
        return dataset.dataset(path, filesystem=filesystem, format="parquet")

    def read_done(self, count: int) -> tuple[np.ndarray, int]:
        """Which of `count` photographs have a row, (count,) bool; how many failed."""
        done, failed, rows = np.zeros(count, bool), 0, self._rows()
        for batch in rows.to_batches(
            columns=["number", "failure"] if rows.files else []
        ):
            numbers = batch["number"].to_numpy()
            failed += len(numbers) - batch["failure"].null_count
            done[numbers] = True
        return done, failed

    def write(self, table: pa.Table) -> str:
        """Writes rows where no reader looks. Returns the name of their file."""
        from pyarrow import parquet

        name = f"{uuid.uuid4().hex}.parquet"
        filesystem, path = self._at(UNFINISHED, name)
        parquet.write_table(table, path, filesystem=filesystem)
        return name

    def commit(self, name: str, numbers: Sequence[int], done: np.ndarray) -> bool:
        """Puts what was written among the rows, and notes it in `done`, unless one of
        its photographs is there already: then all of it is thrown away."""
        filesystem, part = self._at(UNFINISHED, name)
        if done[numbers].any():
            filesystem.delete_file(part)
            return False
        first = min(numbers)
        folder = self._at(ROWS, f"{first // PER_FOLDER:05d}")[1]
        filesystem.create_dir(folder)
        filesystem.move(part, f"{folder}/{first:09d}.parquet")
        done[numbers] = True
        return True

    def read_map(self, photograph: str) -> bytes:
        """The PNG file of a photograph's map.

        Raises:
            InputError: there is none.
        """
        from pyarrow import dataset

        rows = self._rows()
        if "map" not in rows.schema.names:
            raise InputError(
                f"expected maps in {self.place}, found none: write them with --maps"
            )
        mine = dataset.field("id") == photograph
        found = rows.to_table(columns=["map", "failure"], filter=mine).to_pylist()
        if not found or found[0]["map"] is None:
            why = found[0]["failure"] if found else "there is no such id"
            raise InputError(
                f"expected a map of {photograph} in {self.place}, found none ({why})"
            )
        return found[0]["map"]
