"""Files that are written whole or not at all, tables, and errors in one sentence.

with whole_file("models/x.json") as part:
    part.write_text("{}")
write_table("output/x.csv", ("name", "Dice"), [("eye", 0.81)])
titles, *rows = read_table("output/x.csv")
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

# Spreadsheets take a cell that starts so for a formula; an apostrophe in front makes it
# text. A cell's own apostrophe gets one, too, so that tables are read as written.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


class InputError(ValueError):
    """A user's mistake, in one sentence: expected, received, what to do next."""


def counted(number: int, thing: str) -> str:
    """`1 map`, `2 maps`: of words whose plural adds an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def explain_failure(error: Exception, what: str) -> str:
    """The message for one photograph or map of many, where `what`, such as `predict x`,
    failed. An InputError explains itself; a damaged file may raise anything else."""
    if isinstance(error, InputError):
        return str(error)
    return (
        f"expected to {what}, but it failed ({type(error).__name__}: "
        f"{first_line(error)}): check the file, or leave it out"
    )


def first_line(error: Exception) -> str:
    """What an error says, as far as it fits into a sentence."""
    return str(error).strip().partition("\n")[0][:300]


def require_types(read: object) -> None:
    """Raises a TypeError unless the values of a dataclass, as they were read from JSON,
    are of the types that its fields name. Whole numbers are floats, too."""
    for each in fields(read):
        value = getattr(read, each.name)
        kinds = {kind.partition("[")[0] for kind in each.type.split(" | ")}
        kind = "None" if value is None else type(value).__name__
        if kind not in kinds and not (kind == "int" and "float" in kinds):
            raise TypeError(f"{each.name} is {value!r}")


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yields a temporary name beside `path`; renames it when the block succeeds.

    A half-written file never appears at `path`: on an error the temporary one is
    removed, and what stood at `path` before still stands there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path | str, content: object) -> None:
    """Writes `content` as JSON that people can read."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def require_writable(folder: Path | str) -> None:
    """Makes `folder`, or raises an InputError where nothing can be written there."""
    folder = Path(folder)
    try:
        with whole_file(folder / ".writable") as part:
            part.touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"expected to write into {folder}, but it is refused ({error.strerror}): "
            "choose another folder with --output"
        ) from None


def require_no_link(*paths: Path) -> None:
    """Raises an InputError where what is written into lies somewhere else."""
    for path in paths:
        if path.is_symlink():
            raise InputError(
                f"expected to write into {path}, but it is a symbolic link, which "
                "leads out of its folder: remove it, or choose another folder"
            )


# ---- tables: CSV in UTF-8; names of files that are not UTF-8 keep their bytes


def write_table(
    path: Path | str, titles: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Writes a table, its titles first. None becomes an empty cell."""
    with whole_file(path) as part:
        part.write_bytes(table_bytes([titles, *rows]))


def append_rows(
    path: Path | str, titles: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Appends rows to a table, or begins it.

    A last row that was cut short is removed; where the disk is full, so is what was
    written of the new ones. Hold `locked` where others may write to the table.
    """
    with open(path, "a+b", buffering=0) as file:
        file.seek(0)
        whole = len(_whole_rows(file.readall()))
        file.truncate(whole)
        left = memoryview(table_bytes(rows if whole else [titles, *rows]))
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(whole)
            raise


def read_table(path: Path | str) -> list[list[str]]:
    """Reads a table: rows of cells, its titles first.

    A last row that was cut short in the writing is left out.

    Raises:
        InputError: it is no CSV table.
    """
    text = _whole_rows(Path(path).read_bytes()).decode("utf-8", "surrogateescape")
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise InputError(
            f"expected a table in {path}, but it cannot be read as one ({error}): "
            "make it again"
        ) from None
    return [
        [cell[1:] if cell.startswith("'") else cell for cell in row] for row in rows
    ]


def table_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """What a file of these rows holds. None becomes an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_as_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _as_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _whole_rows(content: bytes) -> bytes:
    """The rows that are whole: they end with a line, and not within quotes."""
    end = content.rfind(b"\n") + 1
    while content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end]


@contextmanager
def locked(path: Path | str, busy: str = "") -> Iterator[None]:
    """Waits until nobody else, in this process or another, holds the lock at `path`;
    or does not wait, but raises an InputError that says `busy`."""
    with open(path, "a+b") as file:
        try:
            _lock(file, wait=not busy)
        except (BlockingIOError, PermissionError):  # elsewhere, and on Windows
            if busy:
                raise InputError(busy) from None
            raise
        try:
            yield
        finally:
            if os.name == "nt":  # elsewhere closing the file gives it back
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


def _lock(file: BinaryIO, wait: bool) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
