"""The vessels that somebody drew: how they are read, and whether they fit a photograph.

drawing = read_drawing("label.png")
drawing.vessels                      # bool (H, W)
drawing.rule                         # how the values were read, in words
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from retina.commands import number
from retina.files import InputError, counted
from retina.pictures import decoding, full_scale, open_picture

CODES = (0, 1, 2, 3)  # background, artery, vein, where they cross or cannot be told
CODE_COLOURS = (0, 0xFF0000, 0x00FF00, 0x0000FF, 0xFFFFFF)  # likewise
MANY = 16  # distinct values: more are shades, not classes
LEAST_WHITE = 64  # the brightest value from which there is room for shades
MOST_SHADED = 0.3  # of a picture: with more, it is no drawing
MOST_PLATEAU = 0.05  # of the drawing; classes have more of it on plateaus of one shade
LISTED = 10  # names or indices that a sentence holds

# A label is compared with photographs on copies whose shorter side is so long.
COPY_SIDE = 400  # pixels
BACKGROUND = 14  # pixels of the copy, over which brightness is levelled
RING = 3  # pixels of the copy, around the vessels
MOST_CONTRAST = 3.0  # deviations: exudates and reflections count no more
# Chosen on DRIVE, CHASE_DB1 (both observers), LES-AV, FIVES and RETA: 142 photographs.
# Labels fit their own by 0.79 and more, others of their set by 0.24 at most, mirrored
# or turned by 0.35 at most; DRIVE's skeletons by 0.58, drawn 4 pixels too wide by 0.31.
# FIVES' 23_A has the label of 22_A, the same eye, and fits that one 1.3 times better.
LEAST_FIT = 0.3
MOST_RATIO = 2.0
REACH = 4  # pixels by which a label is shifted to see whether it fits better there
SAMPLE = 20_000  # pixels of vessels, and of their ring, that tell
LEAST_GAIN = 1.015  # of the fit, from which a shift is told


@dataclass(frozen=True, eq=False)
class Drawing:
    """A label as it was read."""

    vessels: np.ndarray  # bool (H, W)
    rule: str  # how values became vessels, in words


# --- reading -------------------------------------------------------------------------


# A value of --vessel-values; 0x800000 is the colour (128, 0, 0).
vessel_value = number(
    lambda text: int(text, 0), "a value such as 2 or 0x800000", lambda value: value >= 0
)


def read_drawing(
    path: Path | str, vessel_values: Sequence[int] | None = None
) -> Drawing:
    """Reads the vessels that somebody drew, or says why it cannot tell them.

    Args:
        path: of a picture file.
        vessel_values: what is vessel: grey values, indices of a coloured palette, or
            colours as 0xRRGGBB. None: two values are background and, brighter, vessel;
            so are codes 0 to 3, red, green, blue and white on black, shades between
            black and white, and what is opaque in a picture of one colour.

    Raises:
        InputError: the file cannot be read; its values may mean anything; or they
            leave no vessel, or more vessel than background.
    """
    with decoding(path):
        picture = open_picture(path)
        if vessel_values:
            values = _read_values(picture, by_index=True)
            vessels = np.isin(values.array, vessel_values)
            _require_both(vessels, values, path)
            named = " ".join(map(values.show, vessel_values))
            return Drawing(vessels, f"values named as vessel: {named}")
        lossy = picture.format in ("JPEG", "MPO", "WEBP")
        picture, prefix = _without_alpha(picture, path)
        values = _read_values(picture)
        found = _find_vessels(values, lossy)
        if found is None:
            raise InputError(_explain_unknown(values, picture, path))
        vessels, rule = found
        _require_both(vessels, values, path)
        _require_lines(vessels, values, path)
    return Drawing(vessels, prefix + rule)


@dataclass(frozen=True, eq=False)
class Values:
    """The values of a picture: greys, or colours as 0xRRGGBB."""

    array: np.ndarray  # (H, W)
    coloured: bool

    @cached_property
    def distinct(self) -> np.ndarray:
        """The values that occur, in ascending order."""
        if self.array.dtype == np.uint8:
            return np.flatnonzero(np.bincount(self.array.ravel(), minlength=1))
        return np.unique(self.array)

    def grey(self, value: float) -> float:
        """How bright a value is, as convert("L") weighs the channels."""
        if not self.coloured:
            return float(value)
        red, green, blue = value >> 16, value >> 8 & 255, value & 255
        return float(0.299 * red + 0.587 * green + 0.114 * blue)

    def show(self, value: float) -> str:
        """A value as --vessel-values takes it."""
        return f"0x{value:06X}" if self.coloured else f"{value:g}"

    def __str__(self) -> str:
        shown = [self.show(value) for value in self.distinct[: MANY + 1]]
        if len(shown) == 1:
            return f"the one value {shown[0]}"
        if len(shown) <= MANY:
            return f"the values {' '.join(shown)}"
        last = self.show(self.distinct[-1])
        return f"{len(self.distinct)} values from {shown[0]} to {last}"


def _without_alpha(picture: Image.Image, path: Path | str) -> tuple[Image.Image, str]:
    """The picture that holds the drawing, and "" or that it is the opacity."""
    if not picture.has_transparency_data:
        return picture, ""
    colours = np.asarray(picture.convert("RGBA"))  # (H, W, 4)
    opacity = colours[..., 3]
    if opacity.min() == opacity.max():
        return Image.fromarray(colours[..., :3]), ""
    shown = colours[opacity > 127, :3]
    if len(shown) and (shown.min(axis=0) < shown.max(axis=0)).any():
        raise InputError(
            f"expected a drawing in {path}, received both colours and transparency: "
            "save it in black and white"
        )
    return Image.fromarray(np.ascontiguousarray(opacity)), "opacity: "


def _read_values(picture: Image.Image, by_index: bool = False) -> Values:
    """The values of a picture.

    Grey has its own values, also where it is stored as RGB or as a palette; with
    `by_index`, a palette of colours has its indices.
    """
    if picture.mode[0] in "IF" or picture.mode == "L":
        return Values(np.asarray(picture), False)
    if picture.mode == "1":
        return Values(np.asarray(picture.convert("L")), False)
    red, green, blue = picture.convert("RGB").split()
    apart = [
        ImageChops.difference(green, other).getextrema()[1] for other in (red, blue)
    ]
    if max(apart) <= 2:  # rounding of JPEG
        return Values(np.asarray(green), False)
    if by_index and picture.mode == "P":
        return Values(np.asarray(picture), False)
    red, green, blue = (np.asarray(band, np.int32) for band in (red, green, blue))
    return Values(red << 16 | green << 8 | blue, True)


def _find_vessels(values: Values, lossy: bool) -> tuple[np.ndarray, str] | None:
    """Vessels (H, W) and the rule that tells them; None where no rule fits."""
    array, distinct, show = values.array, values.distinct, values.show
    if len(distinct) <= 2:
        dark, bright = sorted((distinct[0], distinct[-1]), key=values.grey)
        rule = f"two values: {show(dark)} background, {show(bright)} vessel"
        return (array == bright) & (array != dark), rule  # one alone is background
    codes, kind = CODES, "codes 0 to 3"
    if values.coloured:
        codes, kind = CODE_COLOURS, "red, green, blue and white on black"
    if distinct[0] == 0 and np.isin(distinct, codes).all():
        return array != 0, f"{kind}: all but {show(0)} are vessel"
    shades = _shades(values, exact=len(distinct) <= MANY and not lossy)
    if shades is None:
        return None
    return shades > 0.5, "shades, cut at half of the brightest"


def _explain_unknown(values: Values, picture: Image.Image, path: Path | str) -> str:
    """A sentence on values none of which is known to be vessel."""
    advice = "name those that are vessel with --vessel-values"
    if picture.mode == "P":
        indices = np.unique(np.asarray(picture))[:LISTED]
        listing = " ".join(str(index) for index in indices)
        advice += f", by their indices in the palette ({listing})"
    if len(values.distinct) > MANY:
        advice = "save it in black and white, as PNG"
    return (
        f"expected a drawing of vessels in {path}, two values of which the darker is "
        f"background, received {values}: {advice}"
    )


def _shades(values: Values, exact: bool) -> np.ndarray | None:
    """Values as shares of the brightest (H, W); None where they are classes.

    Shades of JPEG or of resampling are edges; classes have plateaus, in an `exact`
    picture of any value between the darkest and the brightest.
    """
    array, top = values.array, float(values.array.max())
    if values.coloured and exact:
        return None
    if values.coloured:
        array, top = _brightest(array), 255.0
    if array is None or not top >= LEAST_WHITE or array.min() < 0:
        return None
    share = np.asarray(array, np.float32) / np.float32(top)
    levels = Image.fromarray((share * 255).round().astype(np.uint8))
    darkest, brightest = (
        np.asarray(levels.filter(rank(3))).astype(np.int16)
        for rank in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
    )
    low, high, flat = (0, 1, 1) if exact else (0.1, 0.9, 16)
    between = (share > low) & (share < high)
    plateau = between & (brightest - darkest < flat)
    # Of few exact values, edges leave no plateau, and one stroke in grey leaves one.
    most = 0 if exact else MOST_PLATEAU * np.count_nonzero(share > low)
    classes = plateau.sum() > most
    return None if classes or between.mean() > MOST_SHADED else share


def _brightest(values: np.ndarray) -> np.ndarray | None:
    """The brightest channel of shaded colours; None if these are not `CODE_COLOURS`."""
    channels = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1)
    brightest = channels.max(axis=-1)
    lit = brightest > 127
    if not lit.any():
        return None
    share = channels[lit] / brightest[lit][:, None]
    pure = (np.abs(share - 0.5) > 0.15).all(axis=-1) & ((share > 0.5).sum(axis=-1) != 2)
    return brightest if pure.mean() > 1 - MOST_PLATEAU else None


def _require_both(vessels: np.ndarray, values: Values, path: Path | str) -> None:
    """Refuses what is empty or full."""
    if vessels.all() or not vessels.any():
        raise InputError(
            f"expected vessels and background in {path}, received {values}, of which "
            f"{'all are' if vessels.any() else 'none is'} vessel: replace it by a "
            "drawing of this photograph's vessels"
        )


def _require_lines(vessels: np.ndarray, values: Values, path: Path | str) -> None:
    """Refuses what is mostly vessel, such as a drawing in black on white."""
    if vessels.mean() > 0.5:
        raise InputError(
            f"expected less vessel than background in {path}, received {values} and "
            f"{vessels.mean():.1%} vessel: if it is drawn black on white, name the "
            "value that is vessel with --vessel-values"
        )


# --- does it lie on its photograph? --------------------------------------------------


@dataclass(frozen=True)
class Alignment:
    """How a label fits its photograph, and what it would fit better."""

    name: str  # of the photograph
    # How much darker vessels are than the ring around them, in deviations of the
    # photograph's local contrast.
    fit: float
    turned: tuple[float, str]  # the best fit of the label mirrored or turned, and how
    elsewhere: tuple[float, str]  # on another photograph of the same size, and which
    shift: tuple[int, int]  # rows down and columns right by which it fits best
    gain: float  # its fit there, as a multiple of the fit where it lies

    def refusal(self) -> str | None:
        """What is wrong with the label, in words; None if nothing is."""
        other, where = self.turned
        if self.elsewhere[0] > other:
            other, where = self.elsewhere[0], f"the photograph {self.elsewhere[1]}"
        if other > max(MOST_RATIO * self.fit, LEAST_FIT):
            return f"it fits {where} ({other:.2f} for {self.fit:.2f})"
        if self.fit < LEAST_FIT:
            shift = self.told_shift()
            aside = f", but would be {shift}" if shift else ""
            return f"its vessels are not darker than what is beside them{aside}"
        return None

    def told_shift(self) -> str:
        """The shift in words; "" where the label fits no better there."""
        if self.gain < LEAST_GAIN:
            return ""
        down, right = self.shift
        moves = []
        if down:
            moves.append(f"{abs(down)} px {'down' if down > 0 else 'up'}")
        if right:
            moves.append(f"{abs(right)} px {'right' if right > 0 else 'left'}")
        return " and ".join(moves)


def describe_rules(rules: Sequence[str]) -> list[str]:
    """The rules by which labels were read, with how many each."""
    return [
        f"{counted(count, 'label')} read: {rule}"
        for rule, count in Counter(rules).items()
    ]


def describe_refusals(alignments: Sequence[Alignment]) -> list[str]:
    """The labels that do not lie on their photographs, each with why."""
    found = [(one.name, one.refusal()) for one in alignments]
    return [f"the label of {name}: {refusal}" for name, refusal in found if refusal]


def describe_shifts(alignments: Sequence[Alignment]) -> list[str]:
    """The labels that would fit better a little aside, by how much they would."""
    shifted: dict[str, list[str]] = {}
    for one in alignments:
        if not one.refusal() and (shift := one.told_shift()):
            shifted.setdefault(shift, []).append(one.name)
    return [
        f"{counted(len(names), 'label')} would fit better {shift}, which is "
        f"usable: {', '.join(names[:LISTED])}{' ...' if len(names) > LISTED else ''}"
        for shift, names in shifted.items()
    ]


ORIENTATIONS = {
    "mirrored top to bottom": lambda plane: plane[::-1],
    "mirrored left to right": lambda plane: plane[:, ::-1],
    "turned by 180 degrees": lambda plane: plane[::-1, ::-1],
    # A quarter turn swaps height and width: only a square photograph allows it.
    "turned by 90 degrees": lambda plane: np.rot90(plane),
    "turned by 270 degrees": lambda plane: np.rot90(plane, 3),
    "mirrored along the diagonal": lambda plane: plane.T,
    "mirrored along the other diagonal": lambda plane: np.rot90(plane, 2).T,
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A label and its photograph as small copies, to be compared with others."""

    name: str  # of the photograph
    # float32 (h, w), the green channel less its local mean, in deviations inside the
    # field; 0 outside.
    contrast: np.ndarray
    # float32 (h, w), whose product with a contrast is the fit: positive in the ring
    # around the vessels, negative on them.
    template: np.ndarray
    shift: tuple[int, int]  # as in `Alignment`
    gain: float  # likewise


def lay(
    name: str, pixels: np.ndarray, inside: np.ndarray, vessels: np.ndarray
) -> Layer:
    """Lays a label on its photograph.

    Args:
        name: of the photograph.
        pixels: array of shape (H, W, 3), uint8, uint16 or, 0..1, float32.
        inside: its field of view, bool (H, W).
        vessels: its label, bool (H, W).
    """
    height, width = inside.shape
    scale = min(1.0, COPY_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    green = pixels[..., 1]
    seen = _shrink(inside, size) > 0.99
    mean, contrast = _contrast(_shrink(green, size), seen)
    template, ring = _template(_shrink(vessels, size) * seen, seen)
    shift, gain = _best_shift(green, mean, vessels & inside, ring)
    return Layer(name, contrast, template, shift, gain)


def compare(layers: Sequence[Layer]) -> list[Alignment]:
    """How each label fits its photograph, and all others of the same size.

    Vessels are darker than what surrounds them. The green channel less its local mean,
    divided by its deviation inside the field, is averaged under each label and in a
    ring around it: the difference is the fit.
    """
    found: dict[int, Alignment] = {}
    shapes = [layer.contrast.shape for layer in layers]
    for shape in dict.fromkeys(shapes):
        members = [i for i, other in enumerate(shapes) if other == shape]
        contrasts = np.stack([layers[i].contrast.ravel() for i in members])
        templates = np.stack([layers[i].template.ravel() for i in members])
        fits = templates @ contrasts.T  # (label, photograph)
        names = [layers[i].name for i in members]
        for own, i in enumerate(members):
            found[i] = _align(layers[i], fits[own], own, names)
    return [found[i] for i in range(len(layers))]


def _align(layer: Layer, fits: np.ndarray, own: int, names: list[str]) -> Alignment:
    """One label, given its fit on every photograph of its size."""
    others = [(float(fit), names[i]) for i, fit in enumerate(fits) if i != own]
    turned = [
        (float((turn(layer.template) * layer.contrast).sum()), name)
        for name, turn in ORIENTATIONS.items()
        if turn(layer.template).shape == layer.contrast.shape
    ]
    elsewhere = max(others, default=(0.0, ""))
    fit = float(fits[own])
    return Alignment(layer.name, fit, max(turned), elsewhere, layer.shift, layer.gain)


def _shrink(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane (H, W), averaged over squares, as float32 in shares of its white."""
    if plane.dtype == bool:
        plane = plane.astype(np.uint8) * np.uint8(255)
    white = full_scale(plane)
    if plane.dtype != np.uint8:
        plane = plane.astype(np.float32)
    small = Image.fromarray(np.ascontiguousarray(plane))
    small = small.resize(size, Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(white)


def _smooth(plane: np.ndarray) -> np.ndarray:
    """A float32 plane (H, W) without what is smaller than BACKGROUND pixels."""
    picture = Image.fromarray(plane)
    coarse = tuple(max(1, round(side / BACKGROUND)) for side in picture.size)
    picture = picture.resize(coarse, Image.Resampling.BOX)
    return np.asarray(picture.resize(plane.shape[::-1], Image.Resampling.BILINEAR))


def _contrast(green: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local mean (h, w) of a green channel, and its contrast in deviations (h, w)."""
    mean = _smooth(green * seen) / np.maximum(_smooth(seen.astype(np.float32)), 1e-3)
    above = (green - mean) * seen
    deviation = np.sqrt((above**2).sum() / max(seen.sum(), 1))
    contrast = above / max(float(deviation), 1e-6)
    return mean, np.clip(contrast, -MOST_CONTRAST, MOST_CONTRAST)


def _template(vessels: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (h, w) of a label, and the ring around it, bool (h, w)."""
    drawn = Image.fromarray((vessels > 0).astype(np.uint8) * np.uint8(255))
    around = np.asarray(drawn.filter(ImageFilter.BoxBlur(RING))) > 0
    ring = around & (vessels == 0) & seen
    weights = ring / max(ring.sum(), 1) - vessels / max(vessels.sum(), 1e-6)
    return weights.astype(np.float32), ring


def _best_shift(
    green: np.ndarray, mean: np.ndarray, vessels: np.ndarray, ring: np.ndarray
) -> tuple[tuple[int, int], float]:
    """Rows and columns by which a label fits best, and its gain over no shift.

    It is found in a sample of the photograph's own pixels: its copy is too coarse.
    """
    samples = [_sample(area, green.shape, mean) for area in (vessels, ring)]
    if not all(len(rows) for rows, _, _ in samples):
        return (0, 0), 1.0
    white = full_scale(green)
    steps = range(-REACH, REACH + 1)
    fits = {}
    for down, right in itertools.product(steps, steps):
        vessel, around = (
            green[rows + down, columns + right].mean() / white - level
            for rows, columns, level in samples
        )
        fits[down, right] = float(around - vessel)
    best = max(fits, key=fits.get)
    return best, fits[best] / max(fits[0, 0], 1e-6)


def _sample(
    area: np.ndarray, shape: tuple[int, int], mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Some pixels of an area, as rows and columns in a photograph of `shape`, and the
    local mean there. The area may be coarser than the photograph."""
    height, width = shape
    found = np.flatnonzero(area)
    rows, columns = np.divmod(found[:: len(found) // SAMPLE + 1], area.shape[1])
    rows = ((rows + 0.5) * (height / area.shape[0])).astype(int)
    columns = ((columns + 0.5) * (width / area.shape[1])).astype(int)
    kept = (rows >= REACH) & (rows < height - REACH)
    kept &= (columns >= REACH) & (columns < width - REACH)
    rows, columns = rows[kept], columns[kept]
    local = mean[rows * len(mean) // height, columns * mean.shape[1] // width]
    return rows, columns, float(local.mean()) if len(rows) else 0.0
