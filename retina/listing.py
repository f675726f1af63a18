"""Which photographs an archive has: a list, a folder tree, or a glob, as a table.

table = list_photographs("photographs.csv")       # id, path, micrometres_per_pixel
with at_hand("s3://bucket/eye.jpg") as path: ...  # a local file, while the block runs

A place is a path of this machine, or an address that pyarrow's file systems know, such
as s3://bucket/folder.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from retina.files import InputError
from retina.pictures import ENDINGS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

LISTS = (".csv", ".parquet")
WILD = "*?["


def open_place(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and its path there."""
    import pyarrow as pa
    from pyarrow import fs

    if "://" not in place:
        return fs.LocalFileSystem(), str(Path(place).absolute())
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
    from pyarrow import fs

    if "://" not in path:
        yield Path(path)
        return
    filesystem, inner = open_place(path)
    with TemporaryDirectory() as folder:
        copy = Path(folder, PurePosixPath(inner).name)
        fs.copy_files(inner, str(copy), filesystem, fs.LocalFileSystem())
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
    info = filesystem.get_file_info(inner)
    if info.type == fs.FileType.Directory:
        table = _list_tree(place, inner, "*")
    elif info.type == fs.FileType.File and inner.lower().endswith(LISTS):
        table = _read_list(place)
    elif set(WILD) & set(inner):
        base = inner[: min(inner.find(sign) % len(inner) for sign in WILD)]
        table = _list_tree(place, str(PurePosixPath(base + "x").parent), inner)
    else:
        raise InputError(
            f"expected a folder, a glob or a list ({' or '.join(LISTS)}) at {place}, "
            "found none: check the path"
        )
    if not len(table):
        raise InputError(f"expected photographs in {place}, found none: check it")
    return table


def _list_tree(place: str, base: str, pattern: str) -> pa.Table:
    """All pictures below a folder whose whole path matches a pattern, sorted."""
    import pyarrow as pa
    from pyarrow import fs

    filesystem, inner = open_place(place)
    scheme = place[: place.rindex(inner)] if "://" in place else ""
    below = fs.FileSelector(base, recursive=True, allow_not_found=True)
    found = filesystem.get_file_info(below)
    names = (
        each.path[len(base) :].lstrip("/")
        for each in found
        if each.type == fs.FileType.File and fnmatchcase(each.path, pattern)
    )
    ids = sorted(
        name
        for name in names
        if name.lower().endswith(ENDINGS) and not f"/{name}".count("/.")
    )
    paths = [f"{scheme}{base.rstrip('/')}/{name}" for name in ids]
    nothing = pa.nulls(len(ids), pa.float64())
    return pa.table({"id": ids, "path": paths, "micrometres_per_pixel": nothing})


def _read_list(place: str) -> pa.Table:
    """A list with its columns as `list_photographs` returns them."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    types = {"id": pa.string(), "path": pa.string()}
    types["micrometres_per_pixel"] = pa.float64()
    filesystem, inner = open_place(place)
    try:
        with filesystem.open_input_file(inner) as file:
            if inner.lower().endswith(".csv"):
                options = csv.ConvertOptions(column_types=types)
                table = csv.read_csv(file, convert_options=options)
            else:
                table = parquet.read_table(file)
        names = [name for name in types if name in table.column_names]
        given = {name: table[name].cast(types[name]).to_pylist() for name in names}
        paths = given["path"]
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(
            f"expected a list with a column path in {place}, but it cannot be read as "
            f"one ({error}): check it"
        ) from None
    ids = given.get("id", paths)
    scales = given.get("micrometres_per_pixel", [None] * len(paths))
    _require_usable(place, ids, paths, scales)
    folder = place if "://" in place else str(Path(place).absolute())
    folder = folder.rpartition("/")[0]
    whole = [p if p[0] == "/" or "://" in p else f"{folder}/{p}" for p in paths]
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "path": pa.array(whole, pa.string()),
            "micrometres_per_pixel": pa.array(scales, pa.float64()),
        }
    )


def _require_usable(place: str, ids: list, paths: list, scales: list) -> None:
    """Raises an InputError where a list has no path, an id twice, or a wrong scale."""
    seen = set()
    for number, (name, path, scale) in enumerate(
        zip(ids, paths, scales, strict=True), start=1
    ):
        where = f"{place}, photograph {number}"
        if not path or not name:
            raise InputError(
                f"expected a path and an id in {where}, found none: add it"
            )
        if name in seen:
            raise InputError(
                f"expected every id once in {place}, found {name!r} twice: leave one "
                "out, or give ids of their own in a column id"
            )
        if scale is not None and not 0 < scale < math.inf:
            raise InputError(
                f"expected micrometres_per_pixel above 0 in {where}, received {scale}: "
                "mend it, or leave it empty"
            )
        seen.add(name)


def hash_list(table: pa.Table) -> str:
    """SHA-256 of all ids, paths and scales of a list, in their order."""
    digest = hashlib.sha256()
    for batch in table.to_batches(max_chunksize=10_000):
        digest.update(repr(batch.to_pylist()).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
