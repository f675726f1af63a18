"""Probability maps on disk, and the row that says of each where it comes from.

write_map("output/x", row, probability, field_of_view)
rows = read_predictions("output/x")
eye = read_map("output/x", rows["eye"])

A folder holds NAME.png (16-bit grey, value / 65535), fields/NAME.png (1 bit, the field
of view that was used) and predictions.csv, a row a map. The row is written before the
map gets its name. So a map without a row is not of this program, and where the map is
not as its row says, the run was stopped in between. A picture of the vessels that is
not as its row says was edited by a person: it is never written over or removed.
"""

from __future__ import annotations

import math
import os
import re
import time
import zlib
from collections.abc import Container, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from retina.files import (
    InputError,
    append_rows,
    fingerprint,
    locked,
    read_table,
    whole_file,
    write_table,
)
from retina.identity import Identity
from retina.pictures import open_picture, read_binary, row_slices

FIELDS_FROM = ("data set", "given", "estimated", "whole photograph")
FIRST_GUESSES = ("field of view", "no round field")  # where no scale was given
SCALES_FROM = (*FIRST_GUESSES, "uncertainty", "camera", "shown diameter", "given")
ROLES = ("training", "validation", "unseen", "unknown")
TABLE, LOCK, PAGE = "predictions.csv", ".lock", "index.html"  # beside the maps
# Runs alone: as small as zlib's default on such maps, in a third of the time.
SAVED = {"map": {"compress_type": zlib.Z_RLE}, "overlay": {"quality": 90}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Where a map comes from: a row of predictions.csv, its columns in this order.

    What has a default here is filled in when the map is written.
    """

    name: str  # of the map's file, without `.png`
    photograph: str  # its path, as it was given
    photograph_sha256: str  # this and the next as in `identity.Identity`
    pixels_sha256: str
    network: str  # path of its file
    network_sha256: str  # of its configuration and weights
    family: str  # what networks of one cross-validation share; empty: not known
    # What the photograph was to the network: `training` (it learnt from it),
    # `validation` (held out, but the threshold was chosen on it), `unseen`, `unknown`.
    role: str
    # Names, joined by "; ", of photographs that the network learnt from, or held out,
    # which look like this one.
    likely_copies: str
    epoch: str  # `best` on the photographs held out, `last` or `unknown`
    threshold: float  # at which the network's maps are cut, 0..1
    threshold_source: str  # how it was found, in words
    map_sha256: str = ""  # of the file NAME.png
    field_sha256: str = ""  # of the file fields/NAME.png
    vessels_sha256: str = ""  # of vessels/NAME.png; empty: it was not written
    field_from: str  # one of `FIELDS_FROM`
    bits: int  # of a value in the photograph's file that count: 8, 16 or as given
    height: int  # pixels
    width: int
    # Of the round field that the photograph itself shows, and as the network saw it,
    # pixels; None where it shows none.
    field_diameter: float | None
    shown_diameter: float | None
    scale: float  # by which the network saw the photograph resampled
    factors: str  # times that scale, joined by " ": the maps at all are averaged
    scale_from: str  # one of `SCALES_FROM`
    scale_file: str  # the camera's setting, where the scale is from one
    views: int  # 1, or the mean of 8 flips and turns
    precision: str  # that the network computed in
    tile_side: int  # pixels
    tile_overlap: int
    mean_probability: float  # inside the field, 0..1
    uncertain: float  # share of the field with a probability of .1 to .9
    seconds: float = 0.0  # of reading, network and writing, added up
    note: str  # what may be wrong with the photograph or its map
    version: str  # of the program


@dataclass(frozen=True)
class Map:
    """A map that was read: probability (H, W) float32, field of view (H, W) bool."""

    row: Row
    probability: np.ndarray
    field_of_view: np.ndarray


COLUMNS = tuple(each.name for each in fields(Row))


def paths_of(folder: Path | str, name: str) -> dict[str, Path]:
    """Where the files of one photograph lie: its map, field, vessels and overlay."""
    folder = Path(folder)
    return {
        "map": folder / f"{name}.png",
        "field": folder / "fields" / f"{name}.png",
        "vessels": folder / "vessels" / f"{name}.png",
        "overlay": folder / "overlays" / f"{name}.jpg",
    }


def require_free(
    folder: Path | str, names: Iterable[str], originals: Iterable[Path]
) -> dict[str, Row]:
    """Makes sure that maps replace nothing but maps.

    Args:
        folder: of the maps.
        names: of the maps that are to be written.
        originals: photographs and given fields of view.

    Returns:
        The rows that the folder has, by name; none where it has no table.

    Raises:
        InputError: something would be written over an original or a file that no row
            tells of, or through a symbolic link.
    """
    folder = Path(folder)
    begun = os.path.lexists(folder / TABLE)
    rows = read_predictions(folder) if begun else {}
    kept = {path.resolve() for path in originals}
    paths = [(folder / file, begun) for file in (TABLE, LOCK, PAGE)]
    for name in names:
        paths += [(path, name in rows) for path in paths_of(folder, name).values()]
    for path, known in paths:
        _require_own(folder, path, known, kept)
    return rows


def _require_own(folder: Path, path: Path, known: bool, kept: set[Path]) -> None:
    """Raises an InputError unless `path` may be written: free, or a map's `known`."""
    another = "choose another folder with --output"
    within = path if path.parent == folder else path.parent
    if within.is_symlink() or os.path.islink(path):
        raise InputError(
            f"expected to write into {folder}, but {path} is, or lies behind, a "
            f"symbolic link: {another}"
        )
    if not os.path.lexists(path):
        return
    if path.resolve() in kept:
        raise InputError(
            f"expected to write {path}, but that is a photograph or a field of view "
            f"that is to be read: {another}"
        )
    if not known and path.name != LOCK:
        raise InputError(
            f"expected to write {path}, but a file is there that {TABLE} does not "
            f"name, and so not a map of this program: {another}"
        )


# ---- what a row may hold


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _is_plain_name(text: str) -> bool:
    return Path(text).name == text and text not in ("", "..") and "\0" not in text


def _is_one_of(*values: object) -> tuple:
    return values.__contains__, f"one of {', '.join(map(str, values))}"


SHA256 = (_is_sha256, "64 hexadecimal digits")
SHA256_OR_NONE = (lambda text: not text or _is_sha256(text), f"{SHA256[1]} or nothing")
SHARE = (lambda number: 0 <= number <= 1, "0 to 1")
PIXELS = (lambda number: number >= 1, "1 or more pixels")
TILES = (lambda number: number >= 32 and number % 32 == 0, "a multiple of 32 pixels")
CHECKS = {
    "name": (_is_plain_name, "a file name without folders"),
    "photograph_sha256": SHA256,
    "pixels_sha256": SHA256,
    "network_sha256": SHA256,
    "family": SHA256_OR_NONE,
    "role": _is_one_of(*ROLES),
    "epoch": _is_one_of("best", "last", "unknown"),
    "threshold": SHARE,
    "map_sha256": SHA256,
    "field_sha256": SHA256,
    "vessels_sha256": SHA256_OR_NONE,
    "field_from": _is_one_of(*FIELDS_FROM),
    "bits": (lambda number: 8 <= number <= 16, "8 to 16"),
    "height": PIXELS,
    "width": PIXELS,
    "field_diameter": (lambda number: number is None or number > 0, "above 0"),
    "shown_diameter": (lambda number: number is None or number > 0, "above 0"),
    "scale": (lambda number: number > 0, "above 0"),
    "scale_from": _is_one_of(*SCALES_FROM),
    "views": _is_one_of(1, 8),
    "precision": _is_one_of("float32", "bfloat16"),
    "tile_side": TILES,
    "tile_overlap": TILES,
    "mean_probability": SHARE,
    "uncertain": SHARE,
    "seconds": (lambda number: number >= 0, "0 or more"),
}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


KINDS = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (_finite, "a number"),
    "float | None": (lambda text: _finite(text) if text else None, "a number"),
}


def parse_row(cells: list[str], where: str) -> Row:
    """A row from its cells.

    Args:
        cells: one a column, as `read_table` reads them.
        where: file and row, for the sentence.

    Raises:
        InputError: a cell holds what no run of predict.py writes.
    """
    again = "run predict.py again with --replace"
    if len(cells) != len(COLUMNS):
        raise InputError(
            f"expected {len(COLUMNS)} cells in {where}, received {len(cells)}: {again}"
        )
    values = {}
    for column, cell in zip(fields(Row), cells, strict=True):
        kind, expected = KINDS[column.type]
        may_be, wanted = CHECKS.get(column.name, (lambda _: True, expected))
        try:
            values[column.name] = kind(cell)
            right = may_be(values[column.name])
        except ValueError:
            right, wanted = False, expected
        if not right:
            raise InputError(
                f"expected {wanted} in {where}, column {column.name}, received "
                f"{cell[:100]!r}: {again}"
            )
    return Row(**values)


# ---- the table


def newest_predictions() -> Path:
    """The folder under output/ into which predict.py wrote last."""
    notes = list(Path("output").glob(f"*/{TABLE}"))
    if not notes:
        raise InputError(
            "expected a folder of probability maps under output/, found none with a "
            f"{TABLE}: run predict.py first, or name the folder"
        )
    return max(notes, key=lambda path: path.stat().st_mtime).parent


def read_predictions(folder: Path | str) -> dict[str, Row]:
    """The rows of the maps in `folder` by name; of two of a name the last counts.

    Raises:
        InputError: there is no table, an older version wrote it, or a cell is wrong.
    """
    path = Path(folder) / TABLE
    if not path.is_file():
        raise InputError(
            f"expected probability maps and their notes in {folder}, found no "
            f"{TABLE}: run predict.py first"
        )
    titles, *lines = read_table(path) or [_titles_cut_short(path)]
    if tuple(titles) != COLUMNS:
        raise InputError(
            f"expected the columns of this version in {path}, found those of another: "
            "move the folder away, or write to another one: python predict.py ... "
            "--output FOLDER"
        )
    rows = [
        parse_row(cells, f"{path}, row {number}")
        for number, cells in enumerate(lines, start=2)
    ]
    return {row.name: row for row in rows}


def _titles_cut_short(path: Path) -> Sequence[str]:
    """Those of a table whose first line was cut short; none where it is no table."""
    begun = path.read_bytes()
    return COLUMNS if f"{','.join(COLUMNS)}\r\n".encode().startswith(begun) else ()


def add_row(folder: Path | str, row: Row) -> None:
    """Notes a map at the end of the folder's table, at once.

    Raises:
        InputError: the row holds what `read_predictions` would refuse.
    """
    cells = ["" if value is None else str(value) for value in astuple(row)]
    parse_row(cells, f"the row of {row.name}")
    with locked(Path(folder) / LOCK):
        append_rows(Path(folder) / TABLE, COLUMNS, [cells])


def tidy_predictions(folder: Path | str, without: Container[str] = ()) -> None:
    """Sorts the folder's table by names, one row a name, the last; some leave."""
    with locked(Path(folder) / LOCK):
        rows = read_predictions(folder)
        lines = [astuple(rows[name]) for name in sorted(rows) if name not in without]
        write_table(Path(folder) / TABLE, COLUMNS, lines)


def remove_maps(folder: Path | str, names: Container[str]) -> None:
    """Removes the files and the rows of these maps, where rows tell of them.

    An edited picture stays, and with it the row that tells of it.
    """
    removed = set()
    for name, row in read_predictions(folder).items():
        if name not in names:
            continue
        paths = paths_of(folder, name)
        if is_edited(folder, row):
            del paths["vessels"]
        else:
            removed.add(name)
        for path in paths.values():
            path.unlink(missing_ok=True)
    tidy_predictions(folder, without=removed)


def is_edited(folder: Path | str, row: Row) -> bool:
    """Whether the picture of the vessels is there, and not as it was written."""
    path = paths_of(folder, row.name)["vessels"]
    return path.is_file() and fingerprint(path) != row.vessels_sha256


def list_edited(folder: Path | str, names: Container[str]) -> list[Path]:
    """The pictures of the vessels of these maps that a person edited."""
    rows = read_predictions(folder) if (Path(folder) / TABLE).is_file() else {}
    return [
        paths_of(folder, name)["vessels"]
        for name, row in rows.items()
        if name in names and is_edited(folder, row)
    ]


# ---- maps


def write_map(
    folder: Path | str,
    row: Row,
    probability: np.ndarray,
    field_of_view: np.ndarray,
    **pictures: Image.Image,
) -> Row:
    """Writes a map with its field of view, its pictures and its row.

    Args:
        row: without the hashes of files, and with the seconds until now.
        probability: (H, W), 0..1.
        field_of_view: (H, W) bool.
        pictures: `vessels` and `overlay`, where they are wanted; those of an older map
            are removed. One of the vessels that was edited stays instead.

    Returns:
        The row as it was written.
    """
    began = time.perf_counter()
    paths = _make_room(folder, row.name)
    own = {"map": as_16_bits(probability), "field": Image.fromarray(field_of_view)}
    pictures = {kind: each for kind, each in (own | pictures).items() if kind in paths}
    with ExitStack() as stack:  # renames in reverse order: the map last
        hashes = {}
        for kind, picture in pictures.items():
            part = stack.enter_context(whole_file(paths[kind]))
            picture.save(part, **SAVED.get(kind, {}))
            hashes[kind] = fingerprint(part)
        row = replace(
            row,
            map_sha256=hashes["map"],
            field_sha256=hashes["field"],
            vessels_sha256=hashes.get("vessels", ""),
            seconds=round(row.seconds + time.perf_counter() - began, 3),
        )
        add_row(folder, row)
        for kind in paths.keys() - pictures.keys():
            paths[kind].unlink(missing_ok=True)
    return row


def _make_room(folder: Path | str, name: str) -> dict[str, Path]:
    """Where the files of a map are to be written: not over an edited picture.

    One that was not edited is removed: beside the new row it would count as an edit.
    """
    paths = paths_of(folder, name)
    if paths["vessels"].is_file():
        known = read_predictions(folder).get(name)
        if known is None or is_edited(folder, known):
            del paths["vessels"]
        else:
            paths["vessels"].unlink()
    return paths


def as_16_bits(probability: np.ndarray) -> Image.Image:
    """A map (H, W), 0..1, as a picture in 16-bit grey: value / 65535."""
    values = np.empty(probability.shape, np.uint16)
    for rows in row_slices(len(values)):
        values[rows] = np.round(np.clip(probability[rows], 0, 1) * 65535)
    return Image.fromarray(values)


def cut_map(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Vessels (H, W), bool, of a map (H, W) as it reads in the 16 bits of its file."""
    vessels = np.empty(probability.shape, bool)
    for rows in row_slices(len(vessels)):
        vessels[rows] = from_16_bits(as_16_bits(probability[rows])) >= threshold
    return vessels


def from_16_bits(picture: Image.Image) -> np.ndarray:
    """A map (H, W) float32, 0..1, from its picture in 16-bit grey."""
    return np.asarray(picture, np.float32) / 65535


def is_whole(folder: Path | str, row: Row) -> bool:
    """Whether the map and the field that the row describes are there."""
    paths = paths_of(folder, row.name)
    return all(
        paths[kind].is_file() and fingerprint(paths[kind]) == sha256
        for kind, sha256 in (("map", row.map_sha256), ("field", row.field_sha256))
    )


def read_map(folder: Path | str, row: Row) -> Map:
    """Reads the map that `row` describes.

    Raises:
        InputError: map or field of view are missing, or not those of the row.
    """
    paths = paths_of(folder, row.name)
    if not is_whole(folder, row):
        raise InputError(
            f"expected the map {paths['map']} and its field {paths['field']} as their "
            f"row in {TABLE} describes them, found others or none: run predict.py "
            "again with --replace"
        )
    probability = read_probability(paths["map"])
    field_of_view = read_binary(paths["field"])
    for array in (probability, field_of_view):
        if array.shape != (row.height, row.width):
            raise InputError(
                f"expected {row.width} x {row.height} pixels in {paths['map']} and "
                f"{paths['field']}, received {array.shape[1]} x {array.shape[0]}: run "
                "predict.py again with --replace"
            )
    return Map(row, probability, field_of_view)


def read_probability(path: Path | str) -> np.ndarray:
    """Reads a probability map.

    Returns:
        float32 array of shape (H, W), 0..1.

    Raises:
        InputError: the file is missing or no 16-bit grey PNG.
    """
    picture = open_picture(path)
    if not picture.mode.startswith("I"):
        raise InputError(
            f"expected a 16-bit grey PNG in {path}, received mode {picture.mode}: "
            "write maps with predict.py"
        )
    return from_16_bits(picture)


# ---- what may be put beside what


def is_of(row: Row, identity: Identity) -> bool:
    """Whether the map is of this photograph: one file, or pixel for pixel."""
    mine = Identity(row.name, row.photograph_sha256, row.pixels_sha256)
    return mine.is_same(identity)


def require_photograph(row: Row, identity: Identity) -> None:
    """Raises an InputError unless the map is of this photograph."""
    if not is_of(row, identity):
        raise InputError(
            f"expected a map of the photograph {identity.name}, but the map "
            f"{row.name} is of another one, {row.photograph}: predict this data set "
            "into a folder of its own (python predict.py --output FOLDER)"
        )


def require_poolable(rows: Iterable[Row]) -> int:
    """How many networks the maps are of that one figure is to sum up.

    Maps are pooled where they were made in one way, by one network or out of fold: each
    by a network of one cross-validation that held its photograph out.

    Raises:
        InputError: they differ; it names in what, with an example of each.
    """
    rows = list(rows)
    for column in ("views", "precision", "tile_side", "tile_overlap"):
        _require_one(column, rows, [getattr(row, column) for row in rows])
    automatic = dict.fromkeys((*FIRST_GUESSES, "uncertainty"), "automatic")
    ways = [automatic.get(row.scale_from, row.scale_from) for row in rows]
    _require_one("scale_from", rows, ways)
    networks = {row.network_sha256 for row in rows}
    families = {row.family for row in rows}
    out_of_fold = len(families) == 1 and "" not in families
    if not (out_of_fold and all(row.role == "validation" for row in rows)):
        names = [f"{row.network} {row.network_sha256[:8]}" for row in rows]
        _require_one("network", rows, names)
    return len(networks)


def _require_one(column: str, rows: list[Row], values: list[object]) -> None:
    """Raises an InputError unless all rows have one value."""
    for row, value in zip(rows, values, strict=True):
        if value != values[0]:
            raise InputError(
                f"expected maps of one {column}, received {values[0]} (map "
                f"{rows[0].name}) and {value} (map {row.name}): put them into folders "
                "of their own (python predict.py --output FOLDER)"
            )
