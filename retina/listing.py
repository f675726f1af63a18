"""Which photographs an archive has: a list, a folder tree, or a glob, as a table.

table = list_photographs("photographs.csv")       # its columns: COLUMNS
with at_hand("s3://bucket/eye.jpg") as path: ...  # a local file, while the block runs

A place is a path of this machine, or an address that pyarrow's file systems know, such
as s3://bucket/folder. Needs pyarrow.
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
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow import compute, csv, dataset, fs

from retina.files import InputError
from retina.pictures import ENDINGS

LISTS = (".csv", ".parquet")
COLUMNS = pa.schema(
    {"id": pa.string(), "path": pa.string(), "micrometres_per_pixel": pa.float64()}
)


def open_place(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and its path there."""
    path = place if "://" in place else os.path.abspath(place)
    try:
        return fs.FileSystem.from_uri(path)
    except (ValueError, OSError) as error:
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
        `id` (unique), `path`, `micrometres_per_pixel` (null: not known), and `number`,
        from 0.

    Raises:
        InputError: there are none, or the list is none of these.
    """
    filesystem, inner = open_place(place)
    kind, table = filesystem.get_file_info(inner).type, COLUMNS.empty_table()
    if kind == fs.FileType.File and inner.lower().endswith(LISTS):
        table = _read_list(place)
    elif kind == fs.FileType.Directory:
        table = _list_tree(place, inner, "*")
    elif wild := re.search(r"[*?[]", inner):
        base = inner[: wild.start()].rpartition("/")[0]
        table = _list_tree(place, base or "/", inner)
    if not len(table):
        raise InputError(
            f"expected photographs at {place}, found none: check that it is a folder, "
            f"a glob or a list ({' or '.join(LISTS)})"
        )
    table = table.append_column("number", pa.array(range(len(table))))
    _require_usable(place, table)
    return table


def _list_tree(place: str, base: str, pattern: str) -> pa.Table:
    """All pictures below a folder whose whole path matches a pattern, sorted."""
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
        before = place.rpartition(inner)[0] or unquote(place).rpartition(inner)[0]
        paths = [before + quote(path) for path in paths]
    return pa.table([ids, paths, [None] * len(ids)], schema=COLUMNS)


def _read_list(place: str) -> pa.Table:
    """A list with ids and whole paths."""
    filesystem, inner = open_place(place)
    ending = PurePosixPath(inner.lower()).suffix[1:]
    try:
        table = dataset.dataset(inner, COLUMNS, ending, filesystem).to_table()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"expected a list in {place}, but it cannot be read as one ({error}): "
            "check it"
        ) from None
    ids, paths, scales = table.columns
    folder = (place if "://" in place else inner).rpartition("/")[0] + "/"
    whole = compute.match_substring_regex(paths, "^$|^/|://")
    joined = compute.binary_join_element_wise(folder, paths, "")
    paths = compute.if_else(whole, paths, joined)
    return pa.table([compute.coalesce(ids, table["path"]), paths, scales], COLUMNS)


def _require_usable(place: str, table: pa.Table) -> None:
    """Raises an InputError where a list has no path, an id twice, or a wrong scale."""
    id, path, scale = map(compute.field, COLUMNS.names)
    empty = table.filter(path.is_null() | (path == "") | (id == ""))["number"]
    if len(empty):
        raise InputError(
            f"expected a path, and ids or none, in row {empty[0].as_py() + 1} of "
            f"{place}, found an empty cell: is there a column path, and are columns "
            "parted by commas?"
        )
    counts = table["id"].value_counts()
    twice = counts.filter(compute.greater(counts.field("counts"), 1))
    if len(twice):
        raise InputError(
            f"expected every id once in {place}, found {twice[0]['values']} twice: "
            "leave one out, or give ids of their own in a column id"
        )
    wrong = table.filter(~((scale >= 0.1) & (scale <= 1000)))["micrometres_per_pixel"]
    if len(wrong):
        raise InputError(
            f"expected micrometres_per_pixel of 0.1 to 1000 in {place}, received "
            f"{wrong[0]}: mend it, or leave it empty"
        )


def hash_list(table: pa.Table) -> str:
    """SHA-256 of all ids, paths and scales of a list, in their order."""
    text = pa.BufferOutputStream()
    csv.write_csv(table, text)
    return hashlib.sha256(text.getvalue()).hexdigest()
