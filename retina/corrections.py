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
    """The picture of a map's vessels as it is now."""

    vessels: np.ndarray  # bool (H, W)
    field_of_view: np.ndarray  # bool (H, W), that of the map
    rule: str  # how its values were read, in words
    added: int  # pixels: vessels here, and not in the map cut at its threshold
    removed: int  # pixels: the reverse
    outside: int  # pixels drawn outside the field: not measured, nor among those added


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
        The pictures, and a line on files that are neither pictures nor tables, if any.

    Raises:
        InputError: there are none, two edits of one map, or pictures of no map.
    """
    paths = sorted(folder.glob("[!.]*.*"))
    pictures = [path for path in paths if path.suffix.lower() in ENDINGS]
    if not pictures:
        raise InputError(
            f"expected pictures of vessels in {folder}, found none: write them with "
            "predict.py --vessels"
        )
    if foreign := [path for path in pictures if path.stem not in rows]:
        raise InputError(
            f"expected pictures that are called as their maps in {maps_folder}, "
            f"found {foreign[0]}: rename it, or move it away"
        )
    found = {name: [] for name in rows}
    for path in pictures:
        found[path.stem].append(path)
    chosen = {name: _choose(own, rows[name]) for name, own in found.items() if own}
    known = (*ENDINGS, ".csv")
    others = [path for path in paths if path.suffix.lower() not in known]
    return chosen, describe_skipped(path for path in others if path.is_file())


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
    path: Path, maps_folder: Path, row: Row, vessel_values: Sequence[int] | None = None
) -> Correction:
    """Reads the picture of a map's vessels, and counts what was changed in it.

    `vessel_values` of an edited picture are as `labels.read_drawing` takes them.

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
    _require_shape(path, drawn.shape)
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


def _require_shape(path: Path, shape: tuple[int, int]) -> None:
    """Refuses a picture whose pixels are not those of its map, (H, W)."""
    height, width, _ = picture_size(path)
    if (height, width) != shape:
        raise InputError(
            f"expected {shape[1]} x {shape[0]} pixels in {path}, as in its map, "
            f"received {width} x {height}: save it in the size of the photograph"
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
    if refusal := alignment.refusal():
        return refusal
    shift = alignment.told_shift()
    return f"would fit the photograph better {shift}" if shift else ""
