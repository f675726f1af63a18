"""Files that are whole or not there at all, and mistakes that are told in a sentence.

with whole_file("models/x.json") as part:
    part.write_text("{}")
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A user's mistake, told in one sentence: expected, received, what to do next."""


def fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yields a temporary name beside `path`; renames it when the block succeeds.

    Nobody ever sees half a file: on an error the temporary one is removed, and what
    stood at `path` before still stands there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
