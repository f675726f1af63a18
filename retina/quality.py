"""What may be wrong with a photograph, in plain words.

notes = quality_notes(pixels, field)
"""

from __future__ import annotations

import numpy as np

from retina.field_of_view import (
    LEAST_BRIGHTNESS,
    Circle,
    FieldOfView,
    box_blur,
    check_image,
    disc,
    median_brightness,
    resize,
    sampling_step,
)
from retina.pictures import BITS_NOTE, few_bits, full_scale

# Below these a photograph gets a note. Measured: all 40 photographs of DRIVE, all 28 of
# CHASE_DB1 and three phantoms (least to most; python -m benchmarks.field_of_view).
# Brightness: medians are 0.51 to 1.00, 0.35 to 1.00 and 0.83 to 0.90.
# Sharp: .51 to .76, .42 to .65 and .62 to .68. After a Gaussian blur of 2 pixels of a
# field of 540 .25 to .44, of 3 pixels .19 to .30, of 4 pixels, as wide as most vessels,
# .14 to .21.
LEAST_SHARPNESS = 0.3
# Observers drew .088 to .170 (20 labels), .073 to .123 and .084 to .121 of the field;
# a map of less than half the least shows the trunks at most.
LEAST_VESSELS = 0.03
# Of 193 photographs of six sets none has more than .001 bright beyond the field, or
# a field of more than 1.00 longer sides; dark parts are .08 at most, cuts .14.
BEYOND = 1.1  # radii: what is bright further out is no rim
MOST_BEYOND = 0.2  # of the field's area, that is bright beyond
LEAST_DARK = 0.05  # of what is beyond: else the photograph stands on white
MOST_SIDES = 1.05  # longer sides of the photograph, that its field is wide
MOST_DARK = 0.15  # of the field, that is less bright than a fifth of its bright part
MOST_CUT = 0.3  # of the circle within the photograph, that is cut off straight
SHARPNESS_DIAMETER = 540.0  # pixels: of the field of view in DRIVE
NOT_ROUND = "no round field found"
VERY_DARK = "very dark"
BLURRED = "blurred"
NO_VESSELS = "vessels hardly visible"
ANOTHER = "bright beyond the field of view (two eyes in one picture?), scale uncertain"
TOO_WIDE = (
    "field of view larger than the picture (a crop, or an ultra-wide field?), scale "
    "uncertain"
)
DARK_PART = "a large part of the field of view is dark"
FIELD_NOTES = (NOT_ROUND, ANOTHER, TOO_WIDE, DARK_PART)  # so grave that they are told


def quality_notes(image: np.ndarray, field: FieldOfView) -> list[str]:
    """Why a photograph's map may be poor.

    Args:
        image: array of shape (H, W, 3), RGB: float32, 0..1, or whole numbers as
            `read_pixels` reads them.
        field: its field of view, as `estimate_field_of_view` finds it.

    Returns:
        Some of `BITS_NOTE`, `FIELD_NOTES`, `VERY_DARK` and `BLURRED`, in this order;
        none for a good photograph. Without a round field the scale is unknown, so blur
        is not judged then.
    """
    check_image(image)
    notes = []
    if bits := few_bits(image):
        notes.append(BITS_NOTE.format(bits=bits))
    notes += field_notes(image, field)
    if measure_brightness(image, field) < LEAST_BRIGHTNESS:
        notes.append(VERY_DARK)
    if field.round and measure_sharpness(image, field) < LEAST_SHARPNESS:
        notes.append(BLURRED)
    return notes


def map_notes(probability: np.ndarray, field: FieldOfView) -> list[str]:
    """`NO_VESSELS`, where a map (H, W), 0..1, shows less of them than any eye has."""
    return [NO_VESSELS] if vessel_share(probability, field) < LEAST_VESSELS else []


def field_notes(image: np.ndarray, field: FieldOfView) -> list[str]:
    """Why the field of view, and with it the scale, may be another than it seems.

    Args and returns: as `quality_notes`, some of `FIELD_NOTES`.
    """
    if not field.round:
        return [NOT_ROUND]
    step = sampling_step(image)
    brightness = image[::step, ::step].max(axis=2) / full_scale(image)
    inside = field.inside[::step, ::step]
    circle = Circle(field.row / step, field.column / step, field.diameter / 2 / step)
    within = disc(*brightness.shape, circle)
    beyond = ~disc(*brightness.shape, circle._replace(radius=BEYOND * circle.radius))
    relative = brightness / max(np.percentile(brightness[inside], 90), 1e-6)
    dark = relative < 0.2
    bright = np.count_nonzero(beyond & (relative > 0.25))
    another = bright > MOST_BEYOND * np.count_nonzero(inside)
    another = another and dark[beyond].mean() > LEAST_DARK
    cut = 1 - np.count_nonzero(inside) / np.count_nonzero(within)
    found = {
        ANOTHER: another,
        TOO_WIDE: field.diameter > MOST_SIDES * max(image.shape[:2]),
        DARK_PART: cut > MOST_CUT or dark[inside].mean() > MOST_DARK,
    }
    return [note for note, is_so in found.items() if is_so]


def measure_brightness(image: np.ndarray, field: FieldOfView) -> float:
    """Median of the brightest channel inside the field of view, 0..1."""
    return median_brightness(image, field.inside)


def measure_sharpness(image: np.ndarray, field: FieldOfView) -> float:
    """How strong the finest vessels are beside the wide ones, about .6 if sharp.

    The standard deviation of green between two blurs as fine as thin vessels over that
    between two as wide as the widest, inside the field without its outermost tenth.
    The field is scaled to 540 pixels, DRIVE's diameter, so that resolution does not
    count; single pixels are blurred away first, so that noise hardly does.
    """
    scale = field.diameter / SHARPNESS_DIAMETER
    height, width = field.inside.shape
    size = (max(int(width / scale), 1), max(int(height / scale), 1))
    green = resize(image[..., 1], size, scale)
    row, column = ((p + 0.5) / scale - 0.5 for p in (field.row, field.column))
    inner = disc(*green.shape, Circle(row, column, 0.45 * SHARPNESS_DIAMETER))
    fine, wide = (
        _twice_blurred(green, low) - _twice_blurred(green, high)
        for low, high in ((3, 7), (9, 31))  # pixels
    )
    contrast = wide[inner].std() if inner.any() else 0.0
    return float(fine[inner].std() / contrast) if contrast > 1e-6 else 0.0


def _twice_blurred(plane: np.ndarray, side: int) -> np.ndarray:
    """`plane` (H, W) after two box blurs, which come near to a Gaussian."""
    return box_blur(box_blur(plane, side), side)


def vessel_share(probability: np.ndarray, field: FieldOfView) -> float:
    """Share of the field of view in which the map says vessel: .5 or more."""
    inside = np.count_nonzero(field.inside)
    vessels = np.count_nonzero((probability >= 0.5) & field.inside)
    return vessels / max(inside, 1)
