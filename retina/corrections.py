"""Vessels that a person corrected: pictures of maps, read and held against the maps.

pictures, skipped = find_pictures(Path("output/x/vessels"), Path("output/x"), rows)
corrected = read_correction(pictures["eye"], Path("output/x"), rows["eye"])
corrected.vessels, corrected.added, corrected.removed

`predict.py --vessels` draws the pictures; any paint program may have saved them since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retina import maps
from retina.files import InputError, fingerprint
from retina.identity import identify
from retina.labels import compare, lay, read_drawing
from retina.maps import Row
from retina.pictures import ENDINGS, describe_skipped, picture_size, read_pixels

# Least share of a picture's vessels that lies on those of the map, or of the map's
# that lies on the picture's. Two observers who drew CHASE_DB1's photographs 01L and 02L
# anew come to 0.84 at least; pictures of other eyes (DRIVE, RIDB) to 0.25 at most, of
# another photograph of the same eye (RIDB) to 0.54; DRIVE's, shifted by 3 pixels, to
# 0.60, by 4 to 0.51.
LEAST_SHARED = 0.6


@dataclass(frozen=True, eq=False)
class Correction:
    """The picture of a map's vessels as it is now.

    Attributes:
        vessels: bool array of shape (H, W).
        field_of_view: bool array of shape (H, W), that of the map.
        rule: how its values were read, in words.
        added: pixels that are vessels here, and not in the map cut at its threshold.
        removed: pixels of which the reverse is true.
        outside: pixels drawn outside the field of view, where nothing is measured;
            they are not among those added.
    """

    vessels: np.ndarray
    field_of_view: np.ndarray
    rule: str
    added: int
    removed: int
    outside: int


def find_pictures(
    folder: Path, maps_folder: Path, rows: Mapping[str, Row]
) -> tuple[dict[str, Path], str]:
    """The pictures in `folder` by the names of their maps; maps may have none.

    Where a paint program saved `eye.jpg` beside the `eye.png` that was written with the
    map, the edit counts.

    Args:
        folder: of the pictures.
        maps_folder: of the maps.
        rows: of the maps, by name.

    Returns:
        The pictures, and a line on other files, which no table is; empty if there are
        none.

    Raises:
        InputError: there are none, two edits of one map, or pictures of no map.
    """
    if not folder.is_dir():
        raise InputError(
            f"expected pictures of vessels in {folder}, found no such folder: write "
            "them with predict.py --vessels"
        )
    found: dict[str, list[Path]] = {name: [] for name in rows}
    skipped = []
    for path in sorted(folder.glob("[!.]*.*")):
        if path.suffix.lower() not in ENDINGS:
            skipped += [path] if path.suffix != ".csv" and path.is_file() else []
            continue
        if path.stem not in rows:
            raise InputError(
                f"expected pictures that are called as their maps in {maps_folder}, "
                f"found {path}: rename it, or move it away"
            )
        found[path.stem].append(path)
    pictures = {
        name: _choose(paths, rows[name]) for name, paths in found.items() if paths
    }
    if not pictures:
        raise InputError(
            f"expected pictures of vessels in {folder}, found none: write them with "
            "predict.py --vessels"
        )
    return pictures, describe_skipped(skipped)


def _choose(paths: Sequence[Path], row: Row) -> Path:
    """The one picture of a map that is an edit, or is alone."""
    edits = [path for path in paths if not _is_written(path, row)]
    if len(edits) > 1:
        raise InputError(
            f"expected one picture of {row.name}, found {edits[0]} and "
            f"{edits[1].name}: move those away that are not to be measured"
        )
    return [*edits, *paths][0]


def _is_written(path: Path, row: Row) -> bool:
    """Whether the file is the one that was written with the map."""
    return path.is_file() and fingerprint(path) == row.vessels_sha256


def read_correction(
    path: Path,
    maps_folder: Path,
    row: Row,
    vessel_values: Sequence[int] | None = None,
) -> Correction:
    """Reads the picture of a map's vessels, and counts what was changed in it.

    Args:
        path: of the picture, in any format.
        maps_folder: where the map lies.
        row: of the map.
        vessel_values: of an edited picture, as `labels.read_drawing` takes them.

    Raises:
        InputError: the picture cannot be read, has another size, may mean anything, is
            empty, full or inverted, or its vessels are neither those of the map nor
            lie on those of the photograph; or the map is gone.
    """
    written = maps.read_map(maps_folder, row)
    drawn = written.probability >= row.threshold
    if _is_written(path, row):
        rule = f"picture of the map cut at {row.threshold:g}"
        return Correction(drawn, written.field_of_view, rule, 0, 0, 0)
    height, width, _ = picture_size(path)
    if (height, width) != drawn.shape:
        raise InputError(
            f"expected {drawn.shape[1]} x {drawn.shape[0]} pixels in {path}, as in its "
            f"map, received {width} x {height}: save it in the size of the photograph"
        )
    drawing = read_drawing(path, vessel_values)
    _require_of_photograph(drawing.vessels, written, drawn, path)
    inside = written.field_of_view
    edited = "edited picture" if row.vessels_sha256 else "picture not of this map"
    return Correction(
        vessels=drawing.vessels,
        field_of_view=inside,
        rule=f"{edited}, {drawing.rule}",
        added=int((drawing.vessels & ~drawn & inside).sum()),
        removed=int((drawn & ~drawing.vessels & inside).sum()),
        outside=int((drawing.vessels & ~inside).sum()),
    )


def _require_of_photograph(
    vessels: np.ndarray, written: maps.Map, drawn: np.ndarray, path: Path
) -> None:
    """Refuses a picture of other vessels than the map's and the photograph's."""
    if not drawn.any():  # all was drawn by hand: nothing to compare with
        return
    shared = (vessels & drawn).sum() / min(vessels.sum(), drawn.sum())
    if shared >= LEAST_SHARED:
        return
    if fault := _find_fault(vessels, written):
        raise InputError(
            f"expected the vessels of {written.row.name} in {path}, but they and those "
            f"of its map share {shared:.0%} at most ({fault}): is it of another "
            "photograph, or shifted, turned or mirrored?"
        )


def _find_fault(vessels: np.ndarray, written: maps.Map) -> str:
    """Why vessels are not those of the photograph, in words; "" if they are.

    A poor map has little in common with what a person sees: then the photograph
    decides. Vessels that were drawn by hand fit it best where they lie (DRIVE,
    CHASE_DB1, FIVES, LES-AV: all but one of 48, and that one by 0.1 %).
    """
    photograph = Path(written.row.photograph)
    if not photograph.is_file():
        return "the photograph is gone"
    pixels = read_pixels(photograph)
    maps.require_photograph(written.row, identify(photograph, pixels))
    layer = lay(written.row.name, pixels, written.field_of_view, vessels)
    (alignment,) = compare([layer])
    shift = alignment.told_shift()
    return alignment.refusal() or (shift and f"would fit the photograph better {shift}")
