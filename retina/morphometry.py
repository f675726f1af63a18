"""Structure and width of drawn or predicted vessels: what the pixels say, in pixels.

    measures = measure_vessels(vessels, field_of_view)
    measures.values["mean_width"], measures.reasons.get("mean_branching_angle")

How exact it is on vessels that are known: python -m benchmarks.measure_phantoms

Definitions. Lengths are in pixels; a value that has no meaning is None, and `reasons`
says why.

*Centre lines.* Vessels, pinholes of at most 4 pixels filled, are thinned to a skeleton
(Zhang and Suen, Commun. ACM 27 (1984), 236-239), whose branches skan finds (Nunez-
Iglesias et al., PeerJ 6 (2018), e4312). The coarse width there is twice the Euclidean
distance transform. A branch with a free end that is shorter than the coarse width where
it leaves its vessel is a spur, not a vessel: it is removed, the shortest of a branch
point first, then all is thinned again. So are loose pieces shorter than they are wide.
Branch points nearer to each other than the coarse width are one, so a crossing is one.
The chain of pixels, up to 8 % too long, is smoothed by a Gaussian of a quarter of the
coarse width (1.5 pixels or more) whose ends stay, and gets points about a pixel apart.
Thinning stops short of a vessel's end, or past it: a free end is moved along the vessel
until the area beyond it is the half disc of a round end (none where the field's rim
cuts the vessel).

*Width* of a point: the area of the vessel's pixels to which it is the nearest point of
a centre line, over the length it stands for; both are averaged along the vessel by a
Gaussian of 3 pixels. Area over length is a vessel's mean width whatever its direction
and curvature (the tube's area is width times length), and sampling it on a raster adds
noise but no bias. The distance transform itself is biased: twice the distance to the
nearest pixel outside is .1 to .7 pixel off, with the common correction of -1 even .5 to
1.1. No point within the coarse width of a branch point or of a free end has a width:
vessels share their area there.

*Length* of a segment: of its centre line, from branch point or end to the next.

*Tortuosity*: arc over chord (1 is straight), and the mean squared curvature along the
segment, 1 / pixel^2, which does not grow with length (Hart et al., Int. J. Med. Inform.
53 (1999), 239-252). Both are of segments as long as the bend scale or longer, which is
a thirtieth of the field's diameter (15 pixels or more), so that photographs of every
size are measured alike; curvature is that of the parabola fitted to one bend scale of
the centre line around a point, so tighter wriggles count less. Of a photograph: the sum
of the arcs over the sum of the chords, and the mean weighted by length.

*Branching angle* of a branch point where three segments meet: the smallest angle
between any two of them, which are taken for the daughters. A segment's direction is
that from its point one coarse width from the branch point to the point 1.5 coarse
widths (6 pixels or more) farther on.

*End points* are free ends inside the field, not those that its rim cuts off.

*Fractal dimension* of the centre lines, by box counting: minus the slope of log(fewest
boxes that hold all points, over 16 shifts of the grid) on log(side of the box). The
sides are the field's diameter over 4, 8, ... 128, as far as 3 pixels or more, so that
photographs of every size are measured alike (Mainster, Eye 4 (1990), 235-241; Masters,
Annu. Rev. Biomed. Eng. 6 (2004), 427-452; the figure depends on that range).

*Vessel density*: share of the field's pixels that are vessels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import skan
from scipy import ndimage, signal, sparse, spatial
from skimage.morphology import skeletonize

LARGEST_PINHOLE = 4  # pixels
LINE_SMOOTHING = (1.5, 0.25)  # standard deviation: pixels at least, coarse widths
WIDTH_SMOOTHING = 3.0  # pixels, standard deviation
BEND_SCALE = (15.0, 1 / 30)  # pixels at least, diameters of the field
RIM = 3.0  # pixels: vessels are rarely drawn right up to the field's rim
ANGLE_REACH = (1.5, 6.0)  # coarse widths, and pixels at least
BOX_SHARES = tuple(2.0**power for power in range(2, 8))  # of the field's diameter
SMALLEST_BOX = 3.0  # pixels
PERCENTILES = (5, 50, 95)
EVERYWHERE = np.ones((3, 3), bool)  # neighbours of a pixel, diagonal ones too

# Measure -> unit. A length in pixels is "px"; what has no unit has "".
PHOTOGRAPH_UNITS = {
    "vessel_density": "",
    "total_length": "px",
    "mean_width": "px",
    **{f"width_percentile_{p}": "px" for p in PERCENTILES},
    "arc_over_chord": "",
    "squared_curvature": "per_px2",
    "bend_scale": "px",
    "fractal_dimension": "",
    "smallest_box": "px",
    "largest_box": "px",
    "segments": "",
    "branch_points": "",
    "end_points": "",
    "mean_branching_angle": "degrees",
    "branching_angles": "",
}
SEGMENT_UNITS = {
    "length": "px",
    "chord": "px",
    "mean_width": "px",
    "arc_over_chord": "",
    "squared_curvature": "per_px2",
}


class UnmeasurableError(ValueError):
    """Why a measure has no value here."""


@dataclass(frozen=True)
class Segment:
    """The piece of a vessel between two branch points or ends.

    Attributes:
        points: float array of shape (N, 2), (row, column), evenly spaced.
        widths: float array of shape (N,), pixels, nan where the vessel has none.
        ends: what its first and its last point are: `branch`, `end`, `rim` (cut off
            by the rim of the field) or `loop` (it runs into itself).
    """

    points: np.ndarray
    widths: np.ndarray
    ends: tuple[str, str]

    @property
    def length(self) -> float:
        return float(path_steps(self.points).sum())

    @property
    def chord(self) -> float:
        return float(math.dist(self.points[0], self.points[-1]))


@dataclass(frozen=True)
class BranchPoint:
    """Where three or more segments meet.

    Attributes:
        row: of the centre of the skeleton's branch pixels that it unites.
        column: of that centre.
        reach: pixels from there within which vessels share their area.
        segments: how many meet here.
        angle: between the daughters in degrees; nan unless three segments meet that
            are all long enough.
    """

    row: float
    column: float
    reach: float
    segments: int
    angle: float


@dataclass(frozen=True)
class Measures:
    """What was measured in one photograph.

    Attributes:
        values: measure (see PHOTOGRAPH_UNITS) -> value, None where it has none.
        reasons: measure without a value -> why.
        segments: all segments.
        branch_points: all branch points.
    """

    values: dict[str, float | None]
    reasons: dict[str, str]
    segments: list[Segment]
    branch_points: list[BranchPoint]


def measure_vessels(
    vessels: np.ndarray, field_of_view: np.ndarray | None = None
) -> Measures:
    """Measures the vessels of one photograph, as this file's docstring defines it.

    Args:
        vessels: bool array of shape (H, W); what lies outside the field is ignored.
        field_of_view: bool array of shape (H, W), None where it is not known: then
            there is no density, and the photograph's frame is the rim.

    Raises:
        ValueError: the shapes differ.
    """
    known = field_of_view is not None
    field_of_view = field_of_view if known else np.ones(vessels.shape, bool)
    if vessels.ndim != 2 or vessels.shape != field_of_view.shape:
        raise ValueError(
            "expected vessels and field of view of one shape (H, W), received "
            f"{vessels.shape} and {field_of_view.shape}: read both of the same case"
        )
    vessels = vessels & field_of_view
    segments, branch_points = find_segments(fill_pinholes(vessels), field_of_view)
    diameter = field_diameter(field_of_view)
    bend_scale = max(BEND_SCALE[0], BEND_SCALE[1] * diameter)
    values, reasons = collect(
        {
            "vessel_density": lambda: vessel_density(vessels, field_of_view, known),
            **width_measures(segments),
            **tortuosity_measures(segments, bend_scale),
            **fractal_measures(segments, diameter),
            **count_measures(segments, branch_points),
        }
    )
    ordered = {name: values[name] for name in PHOTOGRAPH_UNITS}
    return Measures(ordered, reasons, segments, branch_points)


def measure_segment(
    segment: Segment, bend_scale: float
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Measures one segment: values (see SEGMENT_UNITS), and reasons for those None.

    Args:
        segment: from `measure_vessels`.
        bend_scale: of its photograph, in `Measures.values`.
    """
    return collect(
        {
            "length": lambda: segment.length,
            "chord": lambda: segment.chord,
            "mean_width": lambda: mean_width([segment]),
            "arc_over_chord": lambda: arc_over_chord(segment, bend_scale),
            "squared_curvature": lambda: squared_curvature(segment, bend_scale),
        }
    )


def collect(
    measures: dict[str, Callable[[], float]],
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Values of all measures, None where one is unmeasurable, and the reasons."""
    values: dict[str, float | None] = {}
    reasons = {}
    for name, measure in measures.items():
        try:
            values[name] = float(measure())
        except UnmeasurableError as error:
            values[name], reasons[name] = None, str(error)
    return values, reasons


# --- from pixels to segments ---------------------------------------------------------


@dataclass
class Branch:
    """A segment in the making.

    Attributes:
        pixels: int array of shape (N, 2), its part of the skeleton.
        nodes: index of the branch point at each end, -1 for none.
        ends: as in `Segment`.
        margins: pixels from each end within which the vessel has no width.
        line: float array of shape (M, 2), its centre line.
    """

    pixels: np.ndarray
    nodes: tuple[int, int]
    ends: tuple[str, str]
    margins: tuple[float, float]
    line: np.ndarray


@dataclass(frozen=True)
class Nodes:
    """Branch points, each of one or several branch pixels of a skeleton.

    Attributes:
        of_pixel: index of the branch point of every pixel of the skeleton, -1 for none.
        places: float array of shape (K, 2), their centres.
        reaches: float array of shape (K,), as in `BranchPoint`.
        inner: bool array, the skeleton's paths that lie inside one branch point.
    """

    of_pixel: np.ndarray
    places: np.ndarray
    reaches: np.ndarray
    inner: np.ndarray


def find_segments(
    vessels: np.ndarray, field_of_view: np.ndarray
) -> tuple[list[Segment], list[BranchPoint]]:
    """Finds the segments and the branch points of vessels (H, W) inside the field."""
    coarse = 2 * distance_inside(vessels)
    skeleton = trace_skeleton(vessels, coarse)
    if skeleton is None:
        return [], []
    nodes = unite_nodes(skeleton, coarse)
    rim = distance_inside(field_of_view)
    branches = [
        make_branch(skeleton, index, nodes, coarse, rim)
        for index in np.flatnonzero(~nodes.inner)
    ]
    pieces, _ = ndimage.label(vessels, EVERYWHERE)
    for branch, area in zip(branches, share_area(branches, pieces), strict=True):
        settle_ends(branch, area)
    segments = [
        Segment(branch.line, local_widths(branch, area), branch.ends)
        for branch, area in zip(branches, share_area(branches, pieces), strict=True)
    ]
    return segments, list_branch_points(branches, nodes)


def fill_pinholes(vessels: np.ndarray) -> np.ndarray:
    """`vessels` (H, W) without holes of at most LARGEST_PINHOLE pixels."""
    holes, _ = ndimage.label(~vessels)
    return vessels | (np.bincount(holes.ravel()) <= LARGEST_PINHOLE)[holes]


def distance_inside(area: np.ndarray) -> np.ndarray:
    """Distance (H, W) of each pixel of `area` to the nearest one outside, or frame."""
    return ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]


def trace_skeleton(vessels: np.ndarray, coarse: np.ndarray) -> skan.Skeleton | None:
    """The skeleton of `vessels` (H, W) without spurs; None if nothing is left."""
    thin = skeletonize(vessels)
    while ndimage.label(thin, EVERYWHERE)[1] < thin.sum():  # not only lone pixels
        skeleton = skan.Skeleton(thin)
        spurs = find_spurs(skeleton, coarse)
        if not spurs:
            return skeleton
        for index in spurs:
            pixels = skeleton.path(index)
            pixels = pixels[skeleton.degrees[pixels] < 3]
            thin[tuple(skeleton.coordinates[pixels].T)] = False
        thin = skeletonize(thin)
    return None


def find_spurs(skeleton: skan.Skeleton, coarse: np.ndarray) -> list[int]:
    """Paths to remove now: too short for where they start, one per branch point."""
    first, last = path_ends(skeleton)
    degrees, lengths = skeleton.degrees, skeleton.path_lengths()
    width = coarse[tuple(skeleton.coordinates.T)]
    loose = (degrees[first] == 1) & (degrees[last] == 1)
    free = (degrees[first] == 1) ^ (degrees[last] == 1)
    root = np.where(degrees[first] > 2, first, last)
    spurs = [int(i) for i in np.flatnonzero(loose & (lengths < width[root]))]
    clusters = number_clusters(skeleton)
    shortest: dict[int, int] = {}
    for i in np.flatnonzero(free & (degrees[root] > 2) & (lengths < width[root])):
        rival = shortest.setdefault(clusters[root[i]], int(i))
        if lengths[i] < lengths[rival]:
            shortest[clusters[root[i]]] = int(i)
    return spurs + list(shortest.values())


def path_ends(skeleton: skan.Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel of every path, as indices of the skeleton's pixels."""
    starts, pixels = skeleton.paths.indptr, skeleton.paths.indices
    return pixels[starts[:-1]], pixels[starts[1:] - 1]


def number_clusters(skeleton: skan.Skeleton) -> np.ndarray:
    """Number of the cluster of touching branch pixels that each pixel belongs to."""
    image = np.zeros(skeleton.skeleton_shape, bool)
    image[tuple(skeleton.coordinates[skeleton.degrees > 2].T)] = True
    return ndimage.label(image, EVERYWHERE)[0][tuple(skeleton.coordinates.T)]


def unite_nodes(skeleton: skan.Skeleton, coarse: np.ndarray) -> Nodes:
    """Branch points: branch pixels joined by paths shorter than the coarse width."""
    first, last = path_ends(skeleton)
    branching = skeleton.degrees > 2
    width = coarse[tuple(skeleton.coordinates.T)]
    limit = np.maximum(np.maximum(width[first], width[last]), 1.5)  # 1.5: neighbours
    limit[first == last] *= 2  # a loop goes there and back
    inner = branching[first] & branching[last] & (skeleton.path_lengths() < limit)
    count = len(branching)
    links = (np.ones(inner.sum()), (first[inner], last[inner]))
    graph = sparse.coo_array(links, shape=(count, count))
    _, groups = sparse.csgraph.connected_components(graph, directed=False)
    of_pixel = np.full(count, -1)
    _, of_pixel[branching] = np.unique(groups[branching], return_inverse=True)
    numbers, spots = of_pixel[branching], skeleton.coordinates[branching]
    sizes = np.bincount(numbers)
    places = np.stack([np.bincount(numbers, axis) / sizes for axis in spots.T], axis=1)
    reaches = np.zeros(len(places))
    away = np.hypot(*(spots - places[numbers]).T) + width[branching]
    np.maximum.at(reaches, numbers, away)
    return Nodes(of_pixel, places, reaches, inner)


def make_branch(
    skeleton: skan.Skeleton,
    index: int,
    nodes: Nodes,
    coarse: np.ndarray,
    rim: np.ndarray,
) -> Branch:
    """The branch of one path; `rim` (H, W) is the distance to the field's rim."""
    path = skeleton.path(index)
    pixels = skeleton.coordinates[path]
    own = float(np.median(coarse[tuple(pixels.T)]))
    numbers = nodes.of_pixel[path[[0, -1]]]
    ends, margins, corners = [], [], []
    for end, node in zip((0, -1), numbers, strict=True):
        if node >= 0:
            ends.append("branch")
            margins.append(nodes.reaches[node])
        elif skeleton.degrees[path[end]] == 2:
            ends.append("loop")
            margins.append(0.0)
        else:
            ends.append("rim" if rim[tuple(pixels[end])] <= own + RIM else "end")
            margins.append(own)
        corners.append(nodes.places[node : node + 1] if node >= 0 else pixels[:0])
    chain = np.concatenate([corners[0], pixels, corners[1]])
    line = smooth_line(chain, max(LINE_SMOOTHING[0], LINE_SMOOTHING[1] * own))
    return Branch(
        pixels, tuple(numbers), tuple(ends), tuple(margins), space_evenly(line)
    )


# --- centre lines and widths ---------------------------------------------------------


def path_steps(points: np.ndarray) -> np.ndarray:
    """Lengths (N - 1,) of the steps between points (N, 2)."""
    return np.hypot(*np.diff(points, axis=0).T)


def smooth_line(points: np.ndarray, deviation: float) -> np.ndarray:
    """Points (N, 2) after a Gaussian along the line, whose two ends stay."""
    reach = min(math.ceil(4 * deviation), len(points) - 1)
    before = 2 * points[0] - points[reach:0:-1]  # turned about the end point
    after = 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, points, after]).astype(float)
    smooth = ndimage.gaussian_filter1d(padded, deviation, axis=0)
    return smooth[reach : reach + len(points)]


def space_evenly(
    points: np.ndarray, start: float = 0.0, stop: float | None = None
) -> np.ndarray:
    """Points (M, 2) about a pixel apart on a line, from `start` to `stop` along it."""
    along = np.concatenate([[0.0], np.cumsum(path_steps(points))])
    stop = along[-1] if stop is None else stop
    wanted = np.linspace(start, stop, max(round(stop - start), 1) + 1)
    return np.stack([np.interp(wanted, along, axis) for axis in points.T], axis=1)


def share_area(branches: Sequence[Branch], pieces: np.ndarray) -> list[np.ndarray]:
    """Area in pixels that each point of each centre line stands for.

    Every vessel pixel belongs to the nearest point, if that lies in its own piece.

    Args:
        branches: whose `line`s share the area.
        pieces: int array of shape (H, W), numbers of connected vessels, 0 elsewhere.
    """
    if not branches:
        return []
    sizes = [len(branch.line) for branch in branches]
    homes = [pieces[tuple(branch.pixels[0])] for branch in branches]
    pixels = np.argwhere(pieces)
    tree = spatial.cKDTree(np.concatenate([branch.line for branch in branches]))
    nearest = tree.query(pixels)[1]
    same = pieces[tuple(pixels.T)] == np.repeat(homes, sizes)[nearest]
    area = np.bincount(nearest[same], minlength=sum(sizes)).astype(float)
    return np.split(area, np.cumsum(sizes)[:-1])


def settle_ends(branch: Branch, area: np.ndarray) -> None:
    """Moves the free ends of `branch` to where its vessel ends."""
    line = branch.line
    length = path_steps(line).sum()
    if length < 1:
        return
    step = length / (len(line) - 1)
    start = missing_length(branch.ends[0], area, step)
    stop = missing_length(branch.ends[1], area[::-1], step)
    whole = length + start + stop
    if whole < 1:
        return
    parts = [point_beyond(line, start), line, point_beyond(line[::-1], stop)]
    begin = max(-start, 0.0)
    branch.line = space_evenly(np.concatenate(parts), begin, begin + whole)


def missing_length(end: str, area: np.ndarray, step: float) -> float:
    """Pixels by which a centre line is too short at its first point.

    Args:
        end: what that point is, as in `Segment`.
        area: of the line's points, as from `share_area`.
        step: between two points, pixels.
    """
    width = area[1:11].sum() / (step * len(area[1:11]))
    if end not in ("end", "rim") or width == 0:
        return 0.0
    cap = math.pi * width**2 / 8 if end == "end" else 0.0
    return (area[0] - cap) / width - step / 2  # the point's own half step is there


def point_beyond(line: np.ndarray, distance: float) -> np.ndarray:
    """The point (1, 2) `distance` before a line's first; (0, 2) if that is negative."""
    if distance <= 0:
        return line[:0]
    outwards = line[0] - line[min(5, len(line) - 1)]
    return line[:1] + distance * outwards / np.hypot(*outwards)


def local_widths(branch: Branch, area: np.ndarray) -> np.ndarray:
    """Widths (N,) along a branch, nan near branch points and free ends."""
    length = path_steps(branch.line).sum()
    along = np.linspace(0, length, len(area))
    clear = (along >= branch.margins[0]) & (length - along >= branch.margins[1])
    widths = np.full(len(area), np.nan)
    if clear.sum() < 3:  # too little to average over
        return widths
    step = length / (len(area) - 1)
    shares = [
        ndimage.gaussian_filter1d(part, WIDTH_SMOOTHING, mode="constant")[clear]
        for part in (np.where(clear, area, 0.0), clear * step)
    ]
    widths[clear] = shares[0] / shares[1]
    return widths


# --- branch points -------------------------------------------------------------------


def list_branch_points(branches: Sequence[Branch], nodes: Nodes) -> list[BranchPoint]:
    """The branch points at which three or more segments meet."""
    lines: list[list[np.ndarray]] = [[] for _ in nodes.places]
    for branch in branches:
        for node, step in zip(branch.nodes, (1, -1), strict=True):
            if node >= 0:
                lines[node].append(branch.line[::step])
    return [
        BranchPoint(*place, reach, len(leaving), branching_angle(leaving, reach))
        for *place, reach, leaving in zip(
            *nodes.places.T, nodes.reaches, lines, strict=True
        )
        if len(leaving) > 2
    ]


def branching_angle(lines: Sequence[np.ndarray], reach: float) -> float:
    """The smallest angle in degrees between three lines that leave a branch point.

    Args:
        lines: float arrays of shape (N, 2) that start at the branch point.
        reach: pixels from there to where the directions are measured first.

    Returns:
        The angle; nan unless there are three lines that are long enough.
    """
    distance = max(ANGLE_REACH[0] * reach, ANGLE_REACH[1])
    lengths = [path_steps(line).sum() for line in lines]
    if len(lines) != 3 or min(lengths) < reach + distance:
        return math.nan
    ends = [space_evenly(line, reach, reach + distance)[[0, -1]] for line in lines]
    bearings = np.sort([math.atan2(*(far - near)) for near, far in ends])
    gaps = np.append(np.diff(bearings), math.tau - (bearings[2] - bearings[0]))
    return math.degrees(gaps.min())


# --- measures ------------------------------------------------------------------------


def vessel_density(
    vessels: np.ndarray, field_of_view: np.ndarray, known: bool
) -> float:
    """Share of the field of view (H, W) that is vessels."""
    if not known:
        raise UnmeasurableError("the field of view is not known")
    if not field_of_view.any():
        raise UnmeasurableError("the field of view is empty")
    return vessels.sum() / field_of_view.sum()


def width_measures(segments: Sequence[Segment]) -> dict[str, Callable[[], float]]:
    """Mean and percentiles of the width along all centre lines."""

    def percentile(share: int) -> Callable[[], float]:
        return lambda: np.percentile(known_widths(segments), share)

    return {
        "mean_width": lambda: mean_width(segments),
        **{f"width_percentile_{share}": percentile(share) for share in PERCENTILES},
    }


def known_widths(segments: Sequence[Segment]) -> np.ndarray:
    """All widths that there are, one for about each pixel of length."""
    require_vessels(segments)
    widths = np.concatenate([segment.widths for segment in segments])
    widths = widths[~np.isnan(widths)]
    if not len(widths):
        raise UnmeasurableError("too short between branch points and ends")
    return widths


def mean_width(segments: Sequence[Segment]) -> float:
    """Mean width along the centre lines of segments, pixels."""
    return known_widths(segments).mean()


def require_vessels(segments: Sequence[Segment]) -> None:
    """Raises an UnmeasurableError if there are no segments."""
    if not segments:
        raise UnmeasurableError("no vessels")


def tortuosity_measures(
    segments: Sequence[Segment], bend_scale: float
) -> dict[str, Callable[[], float]]:
    """Arc over chord and squared curvature of all segments that are long enough."""

    def require_tortuous() -> list[Segment]:
        require_vessels(segments)
        long = [segment for segment in segments if segment.length >= bend_scale]
        if not long:
            raise UnmeasurableError(f"no segment of {bend_scale:.0f} pixels")
        return long

    def mean_arc_over_chord() -> float:
        long = require_tortuous()
        chords = sum(segment.chord for segment in long)
        if chords < 1:
            raise UnmeasurableError("all segments run into themselves")
        return sum(segment.length for segment in long) / chords

    def mean_squared_curvature() -> float:
        long = require_tortuous()
        lengths = [segment.length for segment in long]
        squares = [squared_curvature(segment, bend_scale) for segment in long]
        return np.average(squares, weights=lengths)

    return {
        "arc_over_chord": mean_arc_over_chord,
        "squared_curvature": mean_squared_curvature,
        "bend_scale": lambda: bend_scale,
    }


def arc_over_chord(segment: Segment, bend_scale: float) -> float:
    """Length over the distance between the ends: 1 is straight."""
    require_length(segment, bend_scale)
    if segment.chord < 1:
        raise UnmeasurableError("its ends meet")
    return segment.length / segment.chord


def squared_curvature(segment: Segment, bend_scale: float) -> float:
    """Mean over the segment of the curvature's square, 1 / pixel^2."""
    require_length(segment, bend_scale)
    step = segment.length / (len(segment.points) - 1)
    window = 2 * int(bend_scale / 2) + 1  # points, about a pixel apart
    # At unit speed the second derivative is the curvature, with nothing to divide by.
    second = signal.savgol_filter(segment.points.T, window, 2, deriv=2, delta=step)
    return np.mean(np.sum(second**2, axis=0))


def require_length(segment: Segment, bend_scale: float) -> None:
    """Raises an UnmeasurableError if a segment is too short to speak of bends."""
    if segment.length < bend_scale:
        raise UnmeasurableError(f"shorter than {bend_scale:.0f} pixels")


def field_diameter(field_of_view: np.ndarray) -> float:
    """The longer side of the box around the field of view (H, W), pixels."""
    seen = [np.flatnonzero(field_of_view.any(axis=axis)) for axis in (0, 1)]
    return float(max(np.ptp(line) + 1 if len(line) else 0 for line in seen))


def fractal_measures(
    segments: Sequence[Segment], diameter: float
) -> dict[str, Callable[[], float]]:
    """The fractal dimension of the centre lines, and the range of boxes counted."""
    sides = [diameter / share for share in BOX_SHARES]
    sides = [side for side in sides if side >= SMALLEST_BOX]

    def require_boxes() -> None:
        require_vessels(segments)
        if len(sides) < 3:
            raise UnmeasurableError("the field is too small for 3 sizes of boxes")

    def dimension() -> float:
        require_boxes()
        return box_dimension(np.concatenate([s.points for s in segments]), sides)

    def side(choose: Callable[[Sequence[float]], float]) -> float:
        require_boxes()
        return choose(sides)

    return {
        "fractal_dimension": dimension,
        "smallest_box": lambda: side(min),
        "largest_box": lambda: side(max),
    }


def box_dimension(points: np.ndarray, sides: Sequence[float]) -> float:
    """Box-counting dimension of points (N, 2) over boxes of some sides, pixels."""
    counts = [count_boxes(points, side) for side in sides]
    return -np.polyfit(np.log(sides), np.log(counts), 1)[0]


def count_boxes(points: np.ndarray, side: float) -> int:
    """The fewest boxes that hold all points (N, 2), over 16 shifts of the grid."""
    counts = []
    for shift in np.ndindex(4, 4):
        boxes = np.floor(points / side + np.array(shift) / 4).astype(np.int64)
        counts.append(len(np.unique(boxes[:, 0] * 2**32 + boxes[:, 1])))
    return min(counts)


def count_measures(
    segments: Sequence[Segment], branch_points: Sequence[BranchPoint]
) -> dict[str, Callable[[], float]]:
    """Total length and numbers of segments, branch points, ends and angles."""
    angles = [point.angle for point in branch_points if not math.isnan(point.angle)]

    def mean_angle() -> float:
        if not angles:
            raise UnmeasurableError("no branch point of three segments long enough")
        return np.mean(angles)

    ends = sum(segment.ends.count("end") for segment in segments)
    return {
        "total_length": lambda: sum(segment.length for segment in segments),
        "segments": lambda: len(segments),
        "branch_points": lambda: len(branch_points),
        "end_points": lambda: ends,
        "mean_branching_angle": mean_angle,
        "branching_angles": lambda: len(angles),
    }
