"""What a phantom is made of: a drawn fundus photograph whose vessels are known exactly.

    phantom = draw_phantom(height=584, width=565, rng=np.random.default_rng(0))

Pixel (r, c) has its centre at the coordinates (r, c).
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from PIL import Image

DRIVE_RADIUS = 270.0  # of the field of view in DRIVE, pixels: sizes scale with it
THINNEST_WIDTH = 1.5  # pixels: below this a vessel is neither drawn nor labelled
THINNEST_FORK = 1.01 * 2 ** (1 / 3) * THINNEST_WIDTH  # its daughters can be drawn
Point = tuple[float, float]  # (row, column) unless said otherwise


@dataclass(frozen=True)
class Phantom:
    """One drawn photograph, and what is true of it.

    `truth` can be written as JSON, with lengths in pixels: `height`, `width`;
    `field_of_view` and `optic_disc` (row, column, radius); `fovea` (row, column);
    `vessels`, each the piece between two bifurcations: `points` ((row, column) a pixel
    apart, some just outside the field), `widths` (a diameter for each point), `kind`
    (artery or vein), `parent` (its index, or null for a vessel that leaves the optic
    disc) and `parent_point` (an index, always the last); `bifurcations`: `row`,
    `column`, `angle_degrees` between the two daughters where they start, `parent` and
    `daughters` (indices).
    """

    image: np.ndarray  # float32 (H, W, 3), RGB in 0..1
    # bool (H, W): the pixels in the field no farther than half a width from a vessel's
    # centre line, and what an observer who errs would draw.
    label: np.ndarray
    second_label: np.ndarray
    field_of_view: np.ndarray  # bool (H, W)
    truth: dict


@dataclass(frozen=True)
class Eye:
    """Where the parts of one eye lie in its photograph, in pixels."""

    height: int
    width: int
    row: float  # centre of the field of view
    column: float
    radius: float  # of the field of view
    temporal: int  # +1: the macula is right of the optic disc, -1: left
    disc: tuple[float, float]  # (row, column)
    disc_radius: float
    fovea: tuple[float, float]  # (row, column)
    tortuosity: float  # how much its vessels wind, 1 is usual

    def place(self, point: Point) -> Point:
        """Pixel (row, column) of (temporal, down) in field radii from the disc."""
        across, down = point
        return (
            self.disc[0] + down * self.radius,
            self.disc[1] + self.temporal * across * self.radius,
        )


@dataclass
class Tip:
    """The growing end of a vessel: its place, its direction and its origin."""

    row: float
    column: float
    heading: float  # radians, 0 along columns, pi / 2 along rows
    width: float  # pixels
    kind: str  # "artery" or "vein"
    aim: float  # heading that it bends back to where it has no guide
    guide: list = field(default_factory=list)  # (row, column) to pass, in order
    parent: int | None = None
    bifurcation: int | None = None


# --- the eye and its vessels ---------------------------------------------------------


def place_eye(height: int, width: int, *, rng: Generator) -> Eye:
    """An `Eye` with the field of view near the middle, its macula left or right."""
    radius = 0.478 * min(height, width)
    row = (height - 1) / 2 + rng.uniform(-0.008, 0.008) * height
    column = (width - 1) / 2 + rng.uniform(-0.008, 0.008) * width
    temporal = int(rng.choice([-1, 1]))
    across, down = rng.uniform(0.66, 0.76), rng.uniform(-0.12, 0.04)
    disc = (row + down * radius, column - temporal * across * radius)
    distance, drop = rng.uniform(0.68, 0.76), rng.uniform(0.04, 0.12)
    fovea = (disc[0] + drop * radius, disc[1] + temporal * distance * radius)
    return Eye(
        height=height,
        width=width,
        row=row,
        column=column,
        radius=radius,
        temporal=temporal,
        disc=disc,
        disc_radius=rng.uniform(0.135, 0.165) * radius,
        fovea=fovea,
        tortuosity=rng.uniform(0.7, 1.5),
    )


def trunk_paths(*, rng: Generator) -> list[tuple[str, float, list[Point]]]:
    """The vessels that leave the optic disc: kind, width and guiding points of each.

    Widths are shares of the widest vein; points are (temporal, down) in field radii
    from the disc's centre. An artery and a vein make each arcade, above and below the
    macula; two thinner pairs run to the nasal side, and twigs run to the macula.
    """
    arcade = [(0.0, 0.1), (0.06, 0.24), (0.25, 0.47), (0.6, 0.63), (1.05, 0.64)]
    arcade.append((1.75, rng.uniform(0.2, 0.75)))
    nasal = [(-0.03, 0.08), (-0.12, 0.22), (-0.2, 0.6), (-0.3, 1.2)]
    paths = []
    for side in (-1, 1):
        inner = rng.permutation([0.84, 1.06])
        for kind, share, stretch in (("vein", 1, inner[0]), ("artery", 0.8, inner[1])):
            spread = stretch * side * rng.uniform(0.93, 1.07)
            paths.append((kind, share * rng.uniform(0.88, 1), arcade, spread))
            spread = stretch * side * rng.uniform(0.5, 1.3)
            paths.append((kind, share * rng.uniform(0.45, 0.65), nasal, spread))
    for kind in ("vein", "artery", "artery"):
        start, end = rng.uniform(-0.08, 0.08), rng.uniform(-0.35, 0.35)
        twig = [(0.06, start), (0.3, 0.6 * end), (0.74, end)]
        paths.append((kind, rng.uniform(0.24, 0.34), twig, 1.0))
    return [
        (kind, share, [jitter_point(p, spread, rng=rng) for p in path])
        for kind, share, path, spread in paths
    ]


def jitter_point(point: Point, spread: float, *, rng: Generator) -> Point:
    """`point` with its second coordinate times `spread`, moved more when farther."""
    amount = 0.05 * min(1.0, math.hypot(*point) / 0.5)
    return tuple(np.array([point[0], point[1] * spread]) + rng.normal(0, amount, 2))


def plant_trunks(eye: Eye, *, rng: Generator) -> list[Tip]:
    """The `Tip`s of all vessels that leave the optic disc, still inside it."""
    widest = max(8.3 * eye.radius / DRIVE_RADIUS, 2 * THINNEST_WIDTH)
    tips = []
    for kind, share, path in trunk_paths(rng=rng):
        start = eye.place(rng.normal((-0.02, 0.0), 0.012))
        guide = [eye.place(point) for point in path]
        heading = math.atan2(guide[0][0] - start[0], guide[0][1] - start[1])
        width = max(share * widest, THINNEST_WIDTH)
        tips.append(Tip(*start, heading, width, kind, heading, guide))
    return tips


def grow_vessels(eye: Eye, *, rng: Generator) -> tuple[list[dict], list[dict]]:
    """All vessels of an eye and their bifurcations, grown from the optic disc.

    The widest tip grows first, so thin vessels give way to wide ones.

    Returns:
        Two lists of dicts, `vessels` and `bifurcations`, as in `Phantom.truth`.
    """
    taken = {
        kind: np.zeros((eye.height, eye.width), bool) for kind in ("artery", "vein")
    }
    vessels, bifurcations = [], []
    order = itertools.count()  # of two tips as wide, the older one grows first
    queue = [(-tip.width, next(order), tip) for tip in plant_trunks(eye, rng=rng)]
    heapq.heapify(queue)
    while queue:
        _, _, tip = heapq.heappop(queue)
        vessel, branches = grow_one(tip, taken, eye, rng=rng)
        if tip.bifurcation is not None:
            bifurcations[tip.bifurcation]["daughters"].append(len(vessels))
            vessel["parent_point"] = len(vessels[tip.parent]["points"]) - 1
        vessels.append(vessel)
        if branches:
            daughters, angle = split_tip(tip, len(vessels) - 1, rng=rng)
            bifurcations.append(describe_bifurcation(daughters[0], angle))
            for daughter in daughters:
                daughter.bifurcation = len(bifurcations) - 1
                heapq.heappush(queue, (-daughter.width, next(order), daughter))
    return vessels, bifurcations


def describe_bifurcation(daughter: Tip, angle: float) -> dict:
    """The truth's entry for the bifurcation that `daughter` starts from."""
    return {
        "row": round(daughter.row, 4),
        "column": round(daughter.column, 4),
        "angle_degrees": round(math.degrees(angle), 4),
        "parent": daughter.parent,
        "daughters": [],
    }


def grow_one(
    tip: Tip, taken: dict[str, np.ndarray], eye: Eye, *, rng: Generator
) -> tuple[dict, bool]:
    """Grows `tip`, which moves, until it branches, ends, or meets another vessel.

    A branch ends before it meets a branch of either kind; it crosses only trunks of the
    other kind, as vessels in a retina do.

    Returns:
        The vessel as a dict (see `Phantom.truth`), and whether it may branch now.
    """
    may_branch = tip.width > 1.01 * THINNEST_FORK
    steps = draw_length(tip, may_branch, eye, rng=rng)
    bends = draw_bends(tip, steps, eye, rng=rng)
    points, stopped = [(tip.row, tip.column)], False
    for step in range(steps):
        advance(tip, bends[step], eye)
        points.append((tip.row, tip.column))
        stopped = must_stop(tip, step, taken[tip.kind], eye)
        if stopped:
            break
    branches = may_branch and not stopped
    widths = taper(tip.width, len(points), branches, eye)
    tip.width = float(widths[-1])
    for kind in [tip.kind] if tip.guide else taken:
        claim(points, taken[kind])
    vessel = {
        "points": np.round(points, 4).tolist(),
        "widths": np.round(widths, 4).tolist(),
        "kind": tip.kind,
        "parent": tip.parent,
        "parent_point": None,
    }
    return vessel, branches


def taper(width: float, count: int, branches: bool, eye: Eye) -> np.ndarray:
    """Widths of `count` points: nearly even up to a bifurcation, thinner to an end."""
    if branches:
        last = max((1 - 0.08 * count / eye.radius) * width, THINNEST_FORK)
    else:
        last = max(0.75 * width, THINNEST_WIDTH)
    return np.linspace(width, last, count)


def draw_length(tip: Tip, may_branch: bool, eye: Eye, *, rng: Generator) -> int:
    """Number of steps, each of one pixel, to the next bifurcation or to the end."""
    if not may_branch:
        share = 2.0 if tip.guide else rng.uniform(0.25, 0.8)
    elif tip.parent is None:
        share = rng.uniform(0.2, 0.3)  # nothing branches inside the optic disc
    elif tip.guide:
        share = rng.uniform(0.1, 0.26)
    else:
        share = rng.uniform(0.12, 0.45)
    return max(int(share * eye.radius), 8)


def draw_bends(tip: Tip, steps: int, eye: Eye, *, rng: Generator) -> np.ndarray:
    """Random curvature along the path, radians a pixel: white noise, smoothed."""
    thin = 1 - min(1.0, tip.width * DRIVE_RADIUS / eye.radius / 8)
    reach = max(int(0.05 * eye.radius), 3)
    noise = rng.normal(size=steps + reach - 1)
    smooth = np.convolve(noise, np.ones(reach) / math.sqrt(reach), "valid")
    return smooth * eye.tortuosity * (4.5 + 6.0 * thin) / eye.radius


def advance(tip: Tip, bend: float, eye: Eye) -> None:
    """Moves `tip` by one pixel: towards its guide or its aim, bent a little."""
    near = 0.1 * eye.radius
    while tip.guide and math.dist((tip.row, tip.column), tip.guide[0]) < near:
        tip.guide = tip.guide[1:]
        tip.aim = tip.heading
    wanted = tip.aim
    if tip.guide:
        wanted = math.atan2(tip.guide[0][0] - tip.row, tip.guide[0][1] - tip.column)
    error = (wanted - tip.heading + math.pi) % math.tau - math.pi
    tip.heading += bend + error * (12 if tip.guide else 4) / eye.radius
    tip.heading += avoid_fovea(tip, eye)
    tip.row += math.sin(tip.heading)
    tip.column += math.cos(tip.heading)


def avoid_fovea(tip: Tip, eye: Eye) -> float:
    """Turn in radians by which all but the thinnest vessels pass the fovea by."""
    away = math.dist((tip.row, tip.column), eye.fovea) / eye.radius
    if tip.width < 1.5 * THINNEST_WIDTH or away > 0.4:
        return 0.0
    bearing = math.atan2(eye.fovea[0] - tip.row, eye.fovea[1] - tip.column)
    off = (tip.heading - bearing + math.pi) % math.tau - math.pi
    return math.copysign(8 / eye.radius, off) if abs(off) < 1.4 else 0.0


def must_stop(tip: Tip, step: int, taken: np.ndarray, eye: Eye) -> bool:
    """Whether `tip` left the field, reached the fovea, or is about to meet a vessel."""
    if math.dist((tip.row, tip.column), (eye.row, eye.column)) > eye.radius + 2:
        return True
    if math.dist((tip.row, tip.column), eye.fovea) < 0.1 * eye.radius:
        return True
    if tip.guide or step < 0.05 * eye.radius + 4:
        return False  # trunks go on; a young branch is still beside its parent
    ahead = tip.width / 2 + 0.02 * eye.radius
    row = int(round(tip.row + ahead * math.sin(tip.heading)))
    column = int(round(tip.column + ahead * math.cos(tip.heading)))
    inside = 0 <= row < taken.shape[0] and 0 <= column < taken.shape[1]
    return bool(inside and taken[row, column])


def claim(points: list[Point], taken: np.ndarray) -> None:
    """Marks the pixels around a centre line, so that later vessels keep off."""
    rows, columns = np.round(np.array(points)).astype(int).T
    height, width = taken.shape
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        row = np.clip(rows + down, 0, height - 1)
        column = np.clip(columns + right, 0, width - 1)
        taken[row, column] = True


def split_tip(tip: Tip, parent: int, *, rng: Generator) -> tuple[list[Tip], float]:
    """Two daughter `Tip`s and the angle between them in radians, by Murray's laws."""
    major, minor = murray_widths(tip.width, bool(tip.guide), rng=rng)
    major_angle, minor_angle = murray_angles(tip.width, major, minor)
    side = int(rng.choice([-1, 1]))
    daughters = []
    for width, turn, is_major in (
        (major, -side * major_angle, True),
        (minor, side * minor_angle, False),
    ):
        swing = rng.uniform(0.0, 0.3) if is_major else rng.uniform(0.45, 1.05)
        daughters.append(
            Tip(
                row=tip.row,
                column=tip.column,
                heading=tip.heading + turn,
                width=width,
                kind=tip.kind,
                aim=tip.heading + math.copysign(swing, turn),
                guide=tip.guide if is_major else [],
                parent=parent,
            )
        )
    return daughters, major_angle + minor_angle


def murray_widths(
    width: float, is_trunk: bool, *, rng: Generator
) -> tuple[float, float]:
    """Widths of two daughters with width ** 3 == major ** 3 + minor ** 3.

    The law of least work of C. D. Murray, "The physiological principle of minimum
    work I", PNAS 12 (1926), 207-214: flow goes with the cube of the radius.
    """
    most = width / 2 ** (1 / 3)
    least = min(max(THINNEST_WIDTH, (0.3 if is_trunk else 0.4) * width), most)
    minor = rng.uniform(least, max(least, (0.85 if is_trunk else 0.95) * most))
    return (width**3 - minor**3) ** (1 / 3), minor


def murray_angles(width: float, major: float, minor: float) -> tuple[float, float]:
    """Angles in radians by which two daughters leave their parent's direction.

    cos(major_angle) = (w0^4 + w1^4 - w2^4) / (2 w0^2 w1^2), and the same with w1 and w2
    exchanged: C. D. Murray, "The physiological principle of minimum work applied to
    the angle of branching of arteries", J. Gen. Physiol. 9 (1926), 835-841.
    """
    return tuple(
        math.acos((width**4 + own**4 - other**4) / (2 * width**2 * own**2))
        for own, other in ((major, minor), (minor, major))
    )


# --- from centre lines to pixels -----------------------------------------------------


def measure_distance(
    points: np.ndarray, widths: np.ndarray, shape: tuple[int, int], *, margin: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Distances from the pixels around one vessel to its centre line and its edge.

    Args:
        points: float array of shape (N, 2), (row, column) about one pixel apart.
        widths: float array of shape (N,), diameters in pixels.
        shape: (H, W) of the photograph.
        margin: pixels beyond the vessel's edge that are wanted.

    Returns:
        A pair of slices (the vessel's box in the photograph), and two float arrays of
        the box's shape: the distance to the centre line, and the distance to the edge
        (negative inside the vessel), in pixels; both are infinite far away.
    """
    reach = math.ceil(widths.max() / 2 + margin + 1.5)  # a step and half a pixel
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - reach, 0, shape)
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + reach + 1, 0, shape)
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    offsets = np.arange(-reach, reach + 1)
    pixels = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
    pixels = np.round(points[:-1, None]).astype(int) + pixels  # (N - 1, K, 2)
    piece = np.diff(points, axis=0)[:, None]  # (N - 1, 1, 2)
    away = pixels - points[:-1, None]
    along = np.clip((away * piece).sum(-1) / (piece**2).sum(-1), 0, 1)  # (N - 1, K)
    distance = np.hypot(*np.moveaxis(away - along[..., None] * piece, -1, 0))
    width = widths[:-1, None] + along * np.diff(widths)[:, None]
    inside = ((pixels >= low) & (pixels < high)).all(-1)
    index = tuple((pixels - low)[inside].T)
    line = np.full(high - low, np.inf)
    edge = np.full(high - low, np.inf)
    np.minimum.at(line, index, distance[inside])
    np.minimum.at(edge, index, (distance - width / 2)[inside])
    return box, line, edge


def draw_label(vessels: list[dict], field_of_view: np.ndarray) -> np.ndarray:
    """Label of all pixels within half a width of a centre line, inside the field.

    Args:
        vessels: list of dicts with `points` and `widths`, as in `Phantom.truth`.
        field_of_view: bool array of shape (H, W).
    """
    label = np.zeros_like(field_of_view)
    for vessel in vessels:
        points, widths = np.array(vessel["points"]), np.array(vessel["widths"])
        box, _, edge = measure_distance(points, widths, label.shape, margin=0)
        label[box] |= edge <= 0
    return label & field_of_view


def draw_blood(vessels: list[dict], eye: Eye, *, rng: Generator) -> np.ndarray:
    """Optical density of the blood in front of each pixel, float array (H, W), 0..1.5.

    A round vessel is thickest in its middle, thin vessels absorb less, arteries less
    than veins; light mirrored by the wall makes a pale line along wide arteries.
    """
    blood = {kind: np.zeros((eye.height, eye.width)) for kind in ("artery", "vein")}
    widest = max(max(vessel["widths"]) for vessel in vessels)
    for vessel in vessels:
        points, widths = np.array(vessel["points"]), np.array(vessel["widths"])
        canvas = blood[vessel["kind"]]
        box, line, edge = measure_distance(points, widths, canvas.shape, margin=1)
        near = np.isfinite(line)
        line, edge = np.where(near, line, 9.0), np.where(near, edge, 9.0)
        half = np.maximum(line - edge, THINNEST_WIDTH / 2)
        thickness = np.sqrt(np.clip(1 - (line / (half + 0.5)) ** 2, 0, 1))
        density = np.clip(0.5 - edge, 0, 1) * (0.5 + 0.5 * thickness)
        artery = vessel["kind"] == "artery"
        reflex = (0.45 if artery else 0.15) * np.clip(half - 1.2, 0, 1)
        density *= 1 - reflex * np.exp(-((line / (0.35 * half)) ** 2))
        density *= (0.8 if artery else 1.0) * rng.uniform(0.85, 1.1)
        density *= 0.3 + 0.7 * np.minimum(2 * half / widest, 1) ** 0.7
        canvas[box] = np.maximum(canvas[box], density)
    artery, vein = blood["artery"], blood["vein"]
    return np.maximum(artery, vein) + 0.4 * np.minimum(artery, vein)


# --- the photograph ------------------------------------------------------------------


def smooth_noise(shape: tuple[int, int], grain: float, *, rng: Generator) -> np.ndarray:
    """Noise of mean 0 and deviation about 1 with blobs of `grain` pixels, (H, W)."""
    rows, columns = (math.ceil(size / grain) + 2 for size in shape)
    coarse = rng.normal(size=(rows, columns)).astype(np.float32)
    size = (math.ceil(columns * grain), math.ceil(rows * grain))
    fine = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(fine)[: shape[0], : shape[1]] * 1.4


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """`image` (H, W, ...) after a Gaussian blur of `deviation` pixels."""
    from scipy import ndimage

    radius = math.ceil(3 * deviation)
    edges = {"mode": "nearest", "radius": radius, "axes": (0, 1)}
    return ndimage.gaussian_filter(image, deviation, **edges)


def draw_tissue(eye: Eye, *, rng: Generator) -> np.ndarray:
    """The fundus behind the vessels, float array (H, W, 3), RGB: choroid and macula."""
    shape, radius = (eye.height, eye.width), eye.radius
    rows, columns = np.indices(shape)
    colour = rng.uniform((0.76, 0.36, 0.2), (0.92, 0.45, 0.3))
    density = np.zeros((*shape, 3))
    for share, strength, tint in (
        (0.6, 0.04, (1.4, 0.5, 0.4)),  # pigment: broad, mostly red
        (0.5, 0.03, (0.3, 1.0, 1.2)),
        (0.15, 0.02, (1.2, 0.8, 0.6)),
        (0.05, 0.012, (1.0, 0.8, 0.6)),
        (0.012, 0.014, (0.6, 1.0, 1.0)),
    ):
        noise = smooth_noise(shape, max(share * radius, 1.2), rng=rng)
        density += np.multiply.outer(strength * noise, tint)
    density += np.multiply.outer(draw_choroid(eye, rng=rng), (1.0, 0.5, 0.3))
    away = np.hypot(rows - eye.fovea[0], columns - eye.fovea[1]) / radius
    macula = 0.25 * np.exp(-((away / 0.24) ** 2)) + 0.25 * np.exp(-((away / 0.08) ** 2))
    density += np.multiply.outer(macula, (0.5, 1.0, 0.8))
    return colour * np.exp(-density)


def draw_choroid(eye: Eye, *, rng: Generator) -> np.ndarray:
    """Faint winding bands behind the retina, density of shape (H, W) about 0."""
    shape = (eye.height, eye.width)
    height = smooth_noise(shape, 0.11 * eye.radius, rng=rng)
    bands = np.exp(-((height / 0.25) ** 2))  # along the lines where the noise is 0
    where = smooth_noise(shape, 0.5 * eye.radius, rng=rng)
    return 0.07 * (0.3 - bands) * np.clip(where, 0, 1)


def draw_disc(tissue: np.ndarray, eye: Eye, *, rng: Generator) -> np.ndarray:
    """`tissue` with a bright optic disc, its paler cup and a faint glow around it."""
    rows, columns = np.indices(tissue.shape[:2])
    down, right = rows - eye.disc[0], columns - eye.disc[1]
    angle = np.arctan2(down, right)
    wobble = 1 + 0.03 * np.cos(2 * angle) + 0.02 * np.cos(3 * angle + rng.uniform(0, 6))
    away = np.hypot(down / 1.06, right / 0.97) / (eye.disc_radius * wobble)
    across = right - eye.temporal * 0.2 * eye.disc_radius
    cup = 1 / (1 + np.exp((np.hypot(down, across) / eye.disc_radius - 0.4) / 0.06))
    inside = 1 / (1 + np.exp((away - 1) / 0.045))
    colour = rng.uniform((1.02, 0.68, 0.33), (1.1, 0.78, 0.42))
    side = eye.temporal * right / eye.disc_radius  # the nasal half is redder
    colour = colour + np.multiply.outer(np.clip(side, -1, 1), (0.02, 0.07, 0.06))
    bright = colour + np.multiply.outer(cup, (0.1, 0.2, 0.22))
    glow = 0.12 * np.exp(-((away / 1.7) ** 2))
    tissue = tissue * (1 + np.multiply.outer(glow, (0.6, 1.0, 1.0)))
    return tissue + inside[..., None] * (bright - tissue) * 0.9


def draw_nerve_fibres(tissue: np.ndarray, eye: Eye, *, rng: Generator) -> np.ndarray:
    """`tissue` with faint pale streaks that leave the optic disc."""
    rows, columns = np.indices(tissue.shape[:2])
    down, right = rows - eye.disc[0], columns - eye.disc[1]
    away = np.hypot(down, right) / eye.radius
    streaks = rng.normal(size=181)
    streaks[-1] = streaks[0]  # the circle closes
    angles = np.arctan2(down, right) + 0.3 * away
    knots = np.linspace(-math.pi, math.pi, len(streaks))
    streak = np.interp(angles, knots, streaks, period=math.tau)
    strength = 0.03 * np.exp(-(((away - 0.35) / 0.25) ** 2)) * np.abs(np.sin(angles))
    return tissue * (1 + np.multiply.outer(streak * strength, (0.4, 1.0, 1.0)))


def draw_spots(tissue: np.ndarray, eye: Eye, *, rng: Generator) -> np.ndarray:
    """`tissue` with a few bright and dark spots that are not vessels."""
    tissue = tissue.copy()
    for _ in range(rng.integers(8, 25)):
        size = rng.uniform(1.0, 3.2) * max(eye.radius / DRIVE_RADIUS, 0.5)
        angle, away = rng.uniform(0, math.tau), eye.radius * math.sqrt(rng.random())
        row = eye.row + away * math.sin(angle)
        column = eye.column + away * math.cos(angle)
        strength = rng.choice([-0.28, 0.2]) * rng.uniform(0.4, 1.0)
        reach = math.ceil(3 * size)
        box = tuple(
            slice(max(int(centre) - reach, 0), int(centre) + reach + 1)
            for centre in (row, column)
        )
        patch = tissue[box]
        rows = np.arange(patch.shape[0])[:, None] + box[0].start
        columns = np.arange(patch.shape[1]) + box[1].start
        shape = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / size**2)
        patch *= 1 + np.multiply.outer(strength * shape, (0.35, 1.0, 0.7))
    return tissue


def light_field(eye: Eye, *, rng: Generator) -> np.ndarray:
    """Illumination (H, W, 3) about 1: falls off to the rim, brighter on one side."""
    rows, columns = np.indices((eye.height, eye.width))
    down, right = (rows - eye.row) / eye.radius, (columns - eye.column) / eye.radius
    away = np.hypot(down, right)
    angle = rng.uniform(0, math.tau)
    slope = rng.uniform(0.03, 0.16) * (math.sin(angle) * down + math.cos(angle) * right)
    fall = rng.uniform(0.2, 0.4) * np.minimum(away, 1.05) ** 2.5
    facing = np.clip(0.5 + math.sin(angle) * down + math.cos(angle) * right, 0, 1.5)
    rim = 0.18 * facing * np.exp((np.minimum(away, 1) - 1) / 0.05)
    light = 1.1 + slope - fall
    return light[..., None] + np.multiply.outer(rim, (0.4, 0.8, 0.7))


def expose(
    tissue: np.ndarray, blood: np.ndarray, eye: Eye, *, rng: Generator
) -> np.ndarray:
    """The photograph, float32 (H, W, 3) in 0..1: light, blood, optics, rim and noise.

    Blood takes most from green, less from blue and little from red (Beer-Lambert).
    """
    absorption = np.array([0.2, 0.6, 0.32]) * rng.uniform(0.85, 1.1)
    image = tissue * np.exp(-np.multiply.outer(blood, absorption))
    image = image * light_field(eye, rng=rng)
    image = blur(image, max(0.65 * eye.radius / DRIVE_RADIUS, 0.4))
    rows, columns = np.indices(blood.shape)
    away = np.hypot(rows - eye.row, columns - eye.column) - eye.radius
    seen = 1 / (1 + np.exp(np.clip(away / 0.6, -30, 30)))
    noise = blur(rng.normal(0, 1, image.shape), 0.5)
    image = image * seen[..., None] + (0.03, 0.026, 0.026)
    image += noise * (0.004 + 0.016 * seen[..., None] * np.sqrt(np.clip(image, 0, 1)))
    return np.clip(image, 0, 1).astype(np.float32)


# --- the second observer -------------------------------------------------------------


def redraw(vessels: list[dict], *, rng: Generator) -> list[dict]:
    """The vessels as a second observer sees them: some missed, none quite in place.

    The thinner a vessel, the likelier it is missed, or ends too early.
    """
    seen = []
    widest = max(max(vessel["widths"]) for vessel in vessels)
    for vessel in vessels:
        points, widths = np.array(vessel["points"]), np.array(vessel["widths"])
        thin = np.exp(-(widths.max() - THINNEST_WIDTH) / (0.15 * widest))
        if rng.random() < 0.25 * thin:
            continue
        kept = max(2, int(len(points) * (1 - 0.5 * thin * rng.random())))
        knots = np.linspace(0, len(points) - 1, max(2, len(points) // 12))
        shifts = rng.normal(0, min(0.35, 0.12 * widths.mean()), (2, len(knots)))
        steps = np.arange(len(points))
        points = points + np.stack([np.interp(steps, knots, s) for s in shifts], -1)
        widths = np.maximum(widths * rng.normal(1, 0.1) + rng.normal(0, 0.15), 1.0)
        seen.append({"points": points[:kept], "widths": widths[:kept]})
    return seen


# --- the data set --------------------------------------------------------------------


def draw_phantom(*, height: int = 584, width: int = 565, rng: Generator) -> Phantom:
    """Draws one fundus photograph whose vessels are known exactly.

    Args:
        height, width: of the photograph, pixels, at least 64.
        rng: decides everything else.
    """
    eye = place_eye(height, width, rng=rng)
    vessels, bifurcations = grow_vessels(eye, rng=rng)
    rows, columns = np.indices((height, width))
    field_of_view = np.hypot(rows - eye.row, columns - eye.column) <= eye.radius
    tissue = draw_tissue(eye, rng=rng)
    tissue = draw_nerve_fibres(tissue, eye, rng=rng)
    tissue = draw_disc(tissue, eye, rng=rng)
    tissue = draw_spots(tissue, eye, rng=rng)
    blood = draw_blood(vessels, eye, rng=rng)
    return Phantom(
        image=expose(tissue, blood, eye, rng=rng),
        label=draw_label(vessels, field_of_view),
        second_label=draw_label(redraw(vessels, rng=rng), field_of_view),
        field_of_view=field_of_view,
        truth=describe_eye(eye) | {"vessels": vessels, "bifurcations": bifurcations},
    )


def describe_eye(eye: Eye) -> dict:
    """The truth's entries for everything but the vessels."""
    return {
        "height": eye.height,
        "width": eye.width,
        "field_of_view": {"row": eye.row, "column": eye.column, "radius": eye.radius},
        "optic_disc": {
            "row": eye.disc[0],
            "column": eye.disc[1],
            "radius": eye.disc_radius,
        },
        "fovea": {"row": eye.fovea[0], "column": eye.fovea[1]},
    }
