"""Where the camera saw the retina: the round field of view, from the photograph alone.

    field = estimate_field_of_view(image)
    probability *= widen(field)

What it scores against DRIVE's own masks: python -m benchmarks.field_of_view
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from retina.files import InputError
from retina.pictures import PIXELS_AT_A_TIME, full_scale, read_binary

# Pixels: the rim is sought on a copy whose longer side is between these.
WORKING_SIDES = (256, 512)
SMALLEST_SIDE = 16  # pixels: on less, a round field cannot be recognised
# Where a rim is looked for, between the background (0) and the bright retina (1): high
# levels stay above noise, text glow and grey frames, low ones find a dim, dark rim.
RIM_LEVELS = (0.07, 0.14, 0.25, 0.45)
TRIPLES = 200  # circles through three rim points each, of which the best is kept
ANGLES = 360  # at which a circle is compared with the photograph
RADII = (0.2, 1.5)  # plausible, in shorter and in longer sides of the photograph
# Brightness at a rim falls by this, in units of background to retina, ...
LEAST_STEP = 0.025
LEAST_FALL = 0.35  # ... and by this share: a vignette dims the retina, no more
LEAST_SHARE = 0.55  # of the visible circle that must show such a fall
LEAST_ARC = 40 / 360  # of a full circle: less of it fixes no diameter
LEAST_CUT = 0.04  # radii: a straight edge inside the circle nearer to it is ignored
# Radii beyond the estimate that a map is kept: DRIVE's 40 fields, of which some have a
# notch, end up to .048 beyond it.
RIM = 0.05
# Of white, median: a field of view is brighter. Below it green and blue hold few of an
# 8-bit file's steps, and the vessels few of those.
LEAST_BRIGHTNESS = 0.2
LEAST_AREA = 0.01  # of a photograph: less, inside or outside, is too little to compare


@dataclass(frozen=True)
class FieldOfView:
    """The area that the camera saw."""

    inside: np.ndarray  # bool (H, W), true where the camera saw the retina
    # Of the whole round field in pixels, also where the photograph shows a part of it.
    # Where none was found, the photograph's diagonal: no smaller one would hold it.
    diameter: float
    row: float  # of the circle's centre; pixel (r, c) has its centre at (r, c)
    column: float
    round: bool  # whether a round field was found; if not, everything is inside


class Circle(NamedTuple):
    """A circle, in pixels of the picture at hand."""

    row: float
    column: float
    radius: float


# --- the field of view ---------------------------------------------------------------


def estimate_field_of_view(image: np.ndarray) -> FieldOfView:
    """Finds the round field of view of a fundus photograph.

    Circles are fitted to the outermost bright pixels of rows and columns (RANSAC:
    Fischler and Bolles, 1981), so that text, a notch or a frame that clips the field
    count as outliers; each is moved onto the steepest fall of brightness, and the one
    that most of such a fall accompanies is taken.

    Args:
        image: array of shape (H, W, 3), RGB: float32, 0..1, or whole numbers as
            `read_pixels` reads them.

    Returns:
        A `FieldOfView`, the same for the same photograph always.

    Raises:
        ValueError: `image` has another shape or is empty.
    """
    check_image(image)
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        return _whole_picture(height, width)
    brightness, scale = _reduce(image)
    circle = _find_circle(brightness)
    if circle is None:
        return _whole_picture(height, width)
    top, bottom, left, right = _find_straight_cuts(brightness, circle)
    row, column = _enlarge(circle.row, scale), _enlarge(circle.column, scale)
    radius = circle.radius * scale
    inside = disc(height, width, Circle(row, column, radius))
    rows, columns = np.arange(height), np.arange(width)
    inside[(rows < _enlarge(top, scale)) | (rows > _enlarge(bottom, scale))] = False
    inside[:, columns < _enlarge(left, scale)] = False
    inside[:, columns > _enlarge(right, scale)] = False
    return FieldOfView(inside, 2 * radius, row, column, True)


def given_field_of_view(inside: np.ndarray) -> FieldOfView:
    """The field of view that a data set gives, as a bool array of shape (H, W).

    Its diameter is its longer extent: cameras clip a round field on two sides at most.
    """
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    heights, widths = np.ptp(rows) + 1, np.ptp(columns) + 1
    return FieldOfView(
        inside=inside,
        diameter=float(max(heights, widths)),
        row=float(rows.mean()),
        column=float(columns.mean()),
        round=True,
    )


def read_field(path: Path, photograph: Path, pixels: np.ndarray) -> np.ndarray:
    """Reads a field of view that is given, as a bool array of shape (H, W).

    Args:
        path: of a black-and-white picture.
        photograph: whose field it is.
        pixels: of that photograph, as `read_pixels` reads them.

    Raises:
        InputError: it cannot be read, or is of another size, black or inverted.
    """
    inside = read_binary(path)
    if inside.shape != pixels.shape[:2] or not inside.any():
        raise InputError(
            f"expected {pixels.shape[1]} x {pixels.shape[0]} pixels, some of them "
            f"white, in {path}, as in {photograph}, received {inside.shape[1]} x "
            f"{inside.shape[0]}, {inside.sum()} white: replace it"
        )
    if is_inverted(pixels, inside):
        raise InputError(
            f"expected a field of view in {path}, white where the camera saw the "
            f"retina, but {photograph} is darker inside than outside: invert it"
        )
    return inside


def is_inverted(image: np.ndarray, inside: np.ndarray) -> bool:
    """Whether a field of view is white where it should be black, and the reverse.

    Inside it is dark then, and darker than outside. The second alone would not do,
    since a photograph may stand on white.

    Args:
        image: array of shape (H, W, 3), as `estimate_field_of_view` takes it.
        inside: bool array of shape (H, W), the field of view as it was given.
    """
    if not LEAST_AREA < inside.mean() < 1 - LEAST_AREA:
        return False
    within = median_brightness(image, inside)
    return within < LEAST_BRIGHTNESS and within < median_brightness(image, ~inside)


def median_brightness(image: np.ndarray, where: np.ndarray) -> float:
    """Median of the brightest channel, 0..1, of the pixels (H, W) that are true."""
    step = sampling_step(image)
    where = where[::step, ::step]
    if not where.any():
        return 0.0
    channels = [image[::step, ::step, channel][where] for channel in range(3)]
    return float(np.median(np.maximum.reduce(channels)) / full_scale(image))


def sampling_step(image: np.ndarray) -> int:
    """Of how many rows and columns one is enough for a median or a share."""
    return max(round(max(image.shape[:2]) / WORKING_SIDES[1]), 1)


def widen(field: FieldOfView) -> np.ndarray:
    """What may still show retina: a round field and `RIM` of its radius around it.

    The estimate ends at the steepest fall of brightness, a little inside of what people
    and data sets call the field.

    Returns:
        bool array of shape (H, W).
    """
    if not field.round:
        return field.inside
    radius = (1 + RIM) * field.diameter / 2
    wide = disc(*field.inside.shape, Circle(field.row, field.column, radius))
    first_row, end_row, first_column, end_column = bounding_box(field.inside)
    rim = math.ceil(RIM * field.diameter / 2)
    kept = np.zeros_like(wide)  # straight cuts move outwards, too
    part = np.s_[
        max(first_row - rim, 0) : end_row + rim,
        max(first_column - rim, 0) : end_column + rim,
    ]
    kept[part] = wide[part]
    return kept


def bounding_box(inside: np.ndarray) -> tuple[int, int, int, int]:
    """First row, last row + 1, first column, last column + 1 of what is inside."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def check_image(image: np.ndarray) -> None:
    """Raises a ValueError unless `image` has the shape (H, W, 3) and a pixel."""
    shape = np.shape(image)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            "expected a photograph of shape (height, width, 3), 1 pixel or more, "
            f"received {shape}: read it with read_pixels"
        )


def _whole_picture(height: int, width: int) -> FieldOfView:
    """The field of view where none is to be seen: everything is inside."""
    inside = np.ones((height, width), bool)
    diameter = float(np.hypot(height, width))
    return FieldOfView(inside, diameter, (height - 1) / 2, (width - 1) / 2, False)


def _reduce(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The brightest channel, reduced and smoothed, and pixels per reduced pixel."""
    height, width = image.shape[:2]
    longer = max(height, width)
    scale = longer / np.clip(longer, *WORKING_SIDES)
    size = (max(int(width / scale), 1), max(int(height / scale), 1))
    channels = [resize(image[..., c], size, scale) for c in range(3)]
    # A dim rim is dark red, a frame grey: the mean of the channels would hide the one
    # in the other. The channels are averaged first, so noise is not the maximum.
    brightness = box_blur(np.maximum.reduce(channels), 3)
    return brightness, scale


def resize(plane: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """`plane` (H, W) averaged over squares of `scale` pixels; size is (width, height).

    A remainder below one square at the right and at the bottom is left out, so that
    circles stay circles.
    """
    if plane.shape == (size[1], size[0]):
        return np.divide(plane, full_scale(plane), dtype=np.float32)
    box = (min(size[0] * scale, plane.shape[1]), min(size[1] * scale, plane.shape[0]))
    if scale <= 1:
        return _resize_box(plane, size, (0, 0, *box), Image.Resampling.BICUBIC)
    rows = max(1, int(PIXELS_AT_A_TIME / scale / plane.shape[1]))
    strips = []
    for top in range(0, size[1], rows):  # a large plane is never converted as a whole
        bottom = min(top + rows, size[1])
        first, end = int(top * scale), min(bottom * scale, box[1])
        strip = plane[first : math.ceil(end)]
        part = (0, top * scale - first, box[0], end - first)
        strip_size = (size[0], bottom - top)
        strips.append(_resize_box(strip, strip_size, part, Image.Resampling.BOX))
    return np.concatenate(strips)


def _resize_box(
    plane: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    filtering: Image.Resampling,
) -> np.ndarray:
    """The part of `plane` in `box` (left, top, right, bottom) at `size`, 0..1."""
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize(size, filtering, box)) / full_scale(plane)


def _enlarge(place: float, scale: float) -> float:
    """A row or column of the reduced copy as one of the photograph."""
    return float((place + 0.5) * scale - 0.5)


def box_blur(plane: np.ndarray, side: int) -> np.ndarray:
    """Mean of every `side` x `side` square of a (H, W) array; `side` is odd."""
    padded = np.pad(plane.astype(np.float32), side // 2, mode="edge")
    return _sums(_sums(padded.T, side).T, side) / np.float32(side**2)


def _sums(plane: np.ndarray, side: int) -> np.ndarray:
    """Sums of every `side` neighbours down (H, W), as an array (H - side + 1, W).

    Pieces of 1, 2, 4, ... rows are added up, each from two of half its length.
    """
    count = len(plane) - side + 1
    total, done, length = 0, 0, 1
    while True:
        if side & length:
            total = total + plane[done : done + count]
            done += length
        if done == side:
            return total
        plane = plane[:-length] + plane[length:]
        length *= 2


# --- the circle ----------------------------------------------------------------------


def _find_circle(brightness: np.ndarray) -> Circle | None:
    """The circle along most of which brightness falls; None if there is none."""
    dark, bright = np.percentile(brightness, (1, 90))
    if bright - dark < 2 / 255:  # nothing to see but rounding
        return None
    brightness = (brightness - dark) / (bright - dark)
    best, best_share = None, LEAST_SHARE
    for level in RIM_LEVELS:
        circle = _fit_circle(_rim_points(brightness, level), brightness.shape)
        for _ in range(2):  # the second time from the right place already
            circle = circle and _refine(brightness, circle)
        share = _rim_share(brightness, circle) if circle else 0.0
        if share > best_share:
            best, best_share = circle, share
    return best


def _rim_points(brightness: np.ndarray, level: float) -> np.ndarray:
    """Points (N, 2) where rows and columns first and last rise above `level`.

    What touches the frame is left out: there the frame ends the retina, not the rim.
    """
    lit = brightness > level
    points = []
    for flip in (False, True):
        lines = lit.T if flip else lit
        length = lines.shape[1]
        index = np.flatnonzero(lines.any(axis=1))
        first = lines[index].argmax(axis=1)
        last = length - 1 - lines[index, ::-1].argmax(axis=1)
        for place, outwards in ((first, -0.5), (last, 0.5)):
            clear = (place > 2) & (place < length - 3)
            pair = (index[clear], place[clear] + outwards)
            points.append(np.stack(pair[::-1] if flip else pair, axis=1))
    return np.concatenate(points)  # (N, 2): row, column


def _fit_circle(points: np.ndarray, shape: tuple[int, int]) -> Circle | None:
    """The circle that most rim points lie on (RANSAC), None if there is none."""
    if len(points) < 12:
        return None
    rng = np.random.default_rng(0)  # the same circle for the same photograph
    triples = points[rng.integers(0, len(points), (TRIPLES, 3))]  # (T, 3, 2)
    circles = _circles_through(triples)
    least, most = RADII[0] * min(shape), RADII[1] * max(shape)
    circles = circles[(circles[:, 2] > least) & (circles[:, 2] < most)]
    if not len(circles):
        return None
    some = points[:: max(len(points) // 500, 1)]
    down, right = some[:, 0] - circles[:, :1], some[:, 1] - circles[:, 1:2]  # (T, N)
    near = np.abs(np.sqrt(down**2 + right**2) - circles[:, 2:]) < 2
    return Circle(*map(float, circles[near.sum(axis=1).argmax()]))


def _circles_through(triples: np.ndarray) -> np.ndarray:
    """Circles (M, 3) of row, column, radius through three points each (T, 3, 2)."""
    origin = triples[:, 0]
    (a, b), (c, d) = (triples[:, 1:] - origin[:, None]).transpose(1, 2, 0)
    twice_area = 2 * (a * d - b * c)
    proper = np.abs(twice_area) > 1  # else they lie on a line
    a, b, c, d, twice_area = (v[proper] for v in (a, b, c, d, twice_area))
    row = (d * (a**2 + b**2) - b * (c**2 + d**2)) / twice_area
    column = (a * (c**2 + d**2) - c * (a**2 + b**2)) / twice_area
    centre = np.stack([row, column], axis=1) + origin[proper]
    return np.column_stack([centre, np.hypot(row, column)])


def _refine(brightness: np.ndarray, circle: Circle) -> Circle | None:
    """`circle` moved onto the steepest fall of brightness near it, by least squares."""
    reach = max(0.05 * circle.radius, 3.0)
    steps = np.arange(-reach, reach + 0.25, 0.5)
    profiles, seen = _profiles(brightness, circle, steps)
    falls = profiles[:, :-4] - profiles[:, 4:]  # over 2 pixels
    falls[~(seen[:, :-4] & seen[:, 4:])] = 0
    steepest = falls.argmax(axis=1)
    found = falls.max(axis=1) > LEAST_STEP
    if found.sum() < LEAST_ARC * ANGLES:
        return None
    away = circle.radius + steps[steepest + 2][found]
    sine, cosine = _directions()
    points = np.stack([sine[found] * away, cosine[found] * away], axis=1)
    row, column, radius = _least_squares_circle(points)
    return Circle(circle.row + row, circle.column + column, radius)


def _least_squares_circle(points: np.ndarray) -> Circle:
    """The circle through points (N, 2), without those that lie far from it (Kasa)."""
    kept = points
    for _ in range(4):
        terms = np.column_stack([2 * kept, np.ones(len(kept))])
        solution, *_ = np.linalg.lstsq(terms, (kept**2).sum(axis=1), rcond=None)
        row, column, rest = solution
        radius = np.sqrt(max(rest + row**2 + column**2, 0))
        errors = np.abs(np.hypot(*(points - (row, column)).T) - radius)
        kept = points[errors <= max(2 * np.median(errors), 0.5)]
    return Circle(float(row), float(column), float(radius))


def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Sines (down) and cosines (right) of all angles, each of shape (ANGLES,)."""
    angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return np.sin(angles), np.cos(angles)


def _profiles(
    brightness: np.ndarray, circle: Circle, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness (ANGLES, S) at `steps` outwards of a circle, and where it is seen."""
    sine, cosine = _directions()
    away = circle.radius + steps
    rows = circle.row + np.multiply.outer(sine, away)  # (ANGLES, S)
    columns = circle.column + np.multiply.outer(cosine, away)
    height, width = brightness.shape
    seen = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    top = np.clip(rows.astype(int), 0, height - 2)
    left = np.clip(columns.astype(int), 0, width - 2)
    down = np.clip(rows - top, 0, 1)
    right = np.clip(columns - left, 0, 1)
    upper = brightness[top, left] * (1 - right) + brightness[top, left + 1] * right
    top += 1
    lower = brightness[top, left] * (1 - right) + brightness[top, left + 1] * right
    return upper * (1 - down) + lower * down, seen


def _rim_share(brightness: np.ndarray, circle: Circle) -> float:
    """Share of the visible circle at which brightness falls, 0 for too short an arc."""
    least, most = RADII[0] * min(brightness.shape), RADII[1] * max(brightness.shape)
    if not least < circle.radius < most:
        return 0.0
    gap = max(0.02 * circle.radius, 2.0)
    profiles, seen = _profiles(brightness, circle, np.array([-gap, gap]))
    seen = seen.all(axis=1)
    step = profiles[:, 0] - profiles[:, 1]
    falls = seen & (step > np.maximum(LEAST_STEP, LEAST_FALL * profiles[:, 0]))
    if falls.mean() < LEAST_ARC:
        return 0.0
    return float(falls.sum() / seen.sum())


def disc(height: int, width: int, circle: Circle) -> np.ndarray:
    """The pixels (H, W) whose centres lie in the circle."""
    down = np.arange(height, dtype=np.float32) - np.float32(circle.row)
    right = np.arange(width, dtype=np.float32) - np.float32(circle.column)
    rest = circle.radius**2 - down**2
    reach = np.where(rest < 0, -1, np.sqrt(np.maximum(rest, 0)))  # -1: none in this row
    return np.abs(right) <= reach[:, None]


def _find_straight_cuts(
    brightness: np.ndarray, circle: Circle
) -> tuple[float, float, float, float]:
    """First and last row, first and last column that show retina in the circle.

    Some cameras, and people who pad photographs to squares, cut the field straight and
    leave black bars within the frame. Infinite where the circle itself ends the field.
    """
    inner = disc(*brightness.shape, circle)
    retina = np.median(brightness[inner])
    background = np.median(brightness[~inner]) if not inner.all() else retina
    lit = inner & (brightness > background + 0.04 * (retina - background))
    cuts = []
    for axis, centre in ((1, circle.row), (0, circle.column)):
        chords = np.maximum(inner.sum(axis=axis), 1)
        shown = np.flatnonzero(lit.sum(axis=axis) > 0.5 * chords)
        ends = (-np.inf, np.inf)
        if len(shown):
            least = (1 - LEAST_CUT) * circle.radius
            low, high = shown[0], shown[-1]
            ends = (
                low if 0 < low and centre - low < least else -np.inf,
                high if high + 1 < len(chords) and high - centre < least else np.inf,
            )
        cuts += ends
    return tuple(cuts)
