"""Which photographs an archive has: a list, a folder tree, or a glob, as a table.

table = list_photographs("photographs.csv")       # id, path, micrometres_per_pixel
with at_hand("s3://bucket/eye.jpg") as path: ...  # a local file, while the block runs

A place is a path of this machine, or an address that pyarrow's file systems know, such
as s3://bucket/folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from retina.files import InputError
from retina.pictures import ENDINGS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

LISTS = (".csv", ".parquet")


def open_place(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and its path there."""
    import pyarrow as pa
    from pyarrow import fs

    if "://" not in place:
        return fs.LocalFileSystem(), os.path.abspath(place)
    try:
        return fs.FileSystem.from_uri(place)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"expected a path, or an address that pyarrow knows, received {place} "
            f"({error}): check it"
        ) from None


@contextmanager
def at_hand(path: str) -> Iterator[Path]:
    """The photograph at a place as a local file: itself, or else a copy that is removed
    when the block ends."""
    if "://" not in path:
        yield Path(path)
        return
    filesystem, inner = open_place(path)
    with TemporaryDirectory() as folder:
        copy = Path(folder, PurePosixPath(inner).name)
        with filesystem.open_input_stream(inner) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


def list_photographs(place: str) -> pa.Table:
    """The photographs of an archive.

    Args:
        place: a list (CSV or parquet with the column `path` and, if wanted, `id` and
            `micrometres_per_pixel`), a folder with all its subfolders, or a glob, in
            which a star also stands for slashes. Hidden files are left out.

    Returns:
        Columns `id` (unique), `path` and `micrometres_per_pixel` (null: not known).

    Raises:
        InputError: there are none, or the list is none of these.
    """
    from pyarrow import fs

    filesystem, inner = open_place(place)
    kind = filesystem.get_file_info(inner).type
    if kind == fs.FileType.File and inner.lower().endswith(LISTS):
        table = _read_list(place)
    elif kind == fs.FileType.Directory:
        table = _list_tree(place, inner, "*")
    elif wild := re.search(r"[*?[]", inner):
        base = inner[: wild.start()].rpartition("/")[0]
        table = _list_tree(place, base or "/", inner)
    else:
        raise InputError(
            f"expected a folder, a glob or a list ({' or '.join(LISTS)}) at {place}, "
            "found none: check the path"
        )
    if not len(table):
        raise InputError(f"expected photographs in {place}, found none: check it")
    return table


def _columns() -> pa.Schema:
    import pyarrow as pa

    text = {"id": pa.string(), "path": pa.string()}
    return pa.schema(text | {"micrometres_per_pixel": pa.float64()})


def _list_tree(place: str, base: str, pattern: str) -> pa.Table:
    """All pictures below a folder whose whole path matches a pattern, sorted."""
    import pyarrow as pa
    from pyarrow import fs

    filesystem, inner = open_place(place)
    below = fs.FileSelector(base, recursive=True, allow_not_found=True)
    files = filesystem.get_file_info(below)
    try:
        found = sorted(each.path for each in files if each.type == fs.FileType.File)
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected names in UTF-8 below {place}, found {error.object!r}: rename it"
        ) from None
    base = base.rstrip("/")
    paths = [
        path
        for path in found
        if fnmatchcase(path, pattern)
        and path.lower().endswith(ENDINGS)
        and "/." not in path.removeprefix(base)
    ]
    ids = [path.removeprefix(f"{base}/") for path in paths]
    if "://" in place:
        paths = [place.rpartition(inner)[0] + quote(path) for path in paths]
    return pa.table([ids, paths, [None] * len(ids)], schema=_columns())


def _read_list(place: str) -> pa.Table:
    """A list with its columns as `list_photographs` returns them."""
    import pyarrow as pa
    from pyarrow import compute, dataset

    filesystem, inner = open_place(place)
    ending = PurePosixPath(inner.lower()).suffix[1:]
    try:
        table = dataset.dataset(inner, _columns(), ending, filesystem).to_table()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"expected a list in {place}, but it cannot be read as one ({error}): "
            "check it"
        ) from None
    ids = compute.coalesce(table["id"], table["path"])
    table = table.set_column(0, "id", ids)
    _require_usable(place, table)
    folder = (place if "://" in place else inner).rpartition("/")[0] + "/"
    whole = compute.match_substring_regex(table["path"], "^/|://")
    joined = compute.binary_join_element_wise(folder, table["path"], "")
    return table.set_column(1, "path", compute.if_else(whole, table["path"], joined))


def _require_usable(place: str, table: pa.Table) -> None:
    """Raises an InputError where a list has no path, an id twice, or a wrong scale."""
    seen = set()
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        where, scale = f"row {number} of {place}", row["micrometres_per_pixel"]
        if not row["path"] or not row["id"]:
            raise InputError(
                f"expected a path, and ids or none, in {where}, found an empty cell: "
                "is there a column path, and are columns parted by commas?"
            )
        if row["id"] in seen:
            raise InputError(
                f"expected every id once in {place}, found {row['id']!r} twice: leave "
                "one out, or give ids of their own in a column id"
            )
        if scale is not None and not 0.1 <= scale <= 1000:
            raise InputError(
                f"expected micrometres_per_pixel of 0.1 to 1000 in {where}, received "
                f"{scale}: mend it, or leave it empty"
            )
        seen.add(row["id"])


def hash_list(table: pa.Table) -> str:
    """SHA-256 of all ids, paths and scales of a list, in their order."""
    import pyarrow as pa
    from pyarrow import csv

    text = pa.BufferOutputStream()
    csv.write_csv(table, text)
    return hashlib.sha256(text.getvalue()).hexdigest()
