"""Structure and width of drawn or predicted vessels, in pixels.

    measures = measure_vessels(vessels, field_of_view)
    measures.values["mean_width"], measures.reasons.get("mean_branching_angle")

Every column: docs/measures.md. How exact it is on vessels that are known: python -m
benchmarks.measure_phantoms and python -m benchmarks.known_shapes.

A measure that has no value is None, and `reasons` says why. How they are found:

*Centre lines.* Holes of at most 4 pixels are filled, and the vessels are thinned to a
skeleton (Zhang and Suen, Commun. ACM 27 (1984), 236-239), whose branches skan finds
(Nunez-Iglesias et al., PeerJ 6 (2018), e4312). The coarse width at a pixel is twice its
Euclidean distance transform. A branch with a free end that is shorter than its vessel
is wide (median of the coarse width) is a spur: it is removed, the shortest one of a
branch point first, and all is thinned again. Loose pieces shorter than they are wide
are removed, too. Branch points nearer to each other than the coarse width are one, so a
crossing is one. It lies where its vessels point to, since thinning draws it towards the
widest angle. The chain of pixels, which is up to 8 % too long, is smoothed twice by a
Gaussian of a fifth of the coarse width (2 pixels or more), the second time such that
bends do not shrink. Its ends stay, as do the corners of sharp bends: thinning cuts
these, and they are put back to where their legs meet. The line gets points about a
pixel apart. Thinning stops before or behind a vessel's end: a free end is moved along
the vessel until the area beyond it is the half disc of a round end (none where the
field's rim cuts the vessel).

*Width* of a point: the area of the vessel's pixels to which it is the nearest point of
a centre line, over the length that it stands for; both are averaged along the vessel by
a Gaussian of 3 pixels. Area over length is a vessel's mean width whatever its direction
and curvature, and sampling it in pixels adds noise but no bias. The distance transform
is biased: twice the distance to the nearest pixel outside is .1 to .7 pixels off, with
the common correction of -1 even .5 to 1.1. Within the coarse width of a branch point, a
sharp bend or a free end there is no width: vessels share their area there.

*Tortuosity*: see `tortuosity_measures`, of segments as long as the bend scale or
longer, so that photographs of every size are measured alike. Curvature is that of the
parabola fitted to one bend scale of the centre line around a point.

*Branching angle* of a branch point where three segments meet, or four that are not two
vessels that cross: the smallest angle between any two of them, which are taken for the
daughters. A segment's direction is that from its point one coarse width from the branch
point to the point 1.5 coarse widths (6 pixels or more) farther on; of a short one, from
its middle to its end.

*Fractal dimension* of the centre lines: see `box_dimension`. The sides are the field's
diameter over 4, 5.7, 8, ... 64, as far as 3 pixels or more, so that photographs of
every size are measured alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage, signal, sparse, spatial
from skimage.morphology import skeletonize

# In every process Skan would be compiled for seconds, and be hardly faster afterwards.
numba.config.DISABLE_JIT = True
import skan  # noqa: E402

LARGEST_PINHOLE = 4  # pixels
LINE_SMOOTHING = (2.0, 0.2)  # standard deviation: pixels at least, coarse widths
WIDTH_SMOOTHING = 3.0  # pixels, standard deviation
BEND_SCALE = (15.0, 1 / 30)  # pixels at least, diameters of the field
RIM = 3.0  # pixels: vessels are rarely drawn right up to the field's rim
ANGLE_REACH = (1.5, 6.0)  # coarse widths, and pixels at least
SHORTEST_REACH = 0.6  # coarse widths, of a segment too short for that
CROSSING = 60.0  # degrees: by how much the two vessels of a crossing bend at most
SHARP_BEND = (75.0, 6.0)  # degrees, and pixels of a leg, at least
CORNER_CUT = (1.25, 0.1, 0.6)  # how much of a corner thinning cuts off at most: pixels,
# coarse widths, and of what the inner corner is farther from it than the vessel's edge
BOX_SHARES = tuple(2 ** (power / 2) for power in range(4, 13))  # of the diameter
BOX_UNITS = 8  # pixels of the grid on which boxes are counted, of the smallest box
LEAST_CHORD = 1.0  # pixels: a segment whose ends are nearer is a closed loop
LEAST_BEND = 0.1  # of a segment's largest curvature: less is no bend
SMALLEST_BOX = 3.0  # pixels
PERCENTILES = (5, 50, 95)
ROWS_AT_A_TIME = 64  # of a photograph: few enough for a processor's cache
EVERYWHERE = np.ones((3, 3), bool)  # neighbours of a pixel, diagonal ones too

# Measure -> unit. A length in pixels is "px"; what has no unit has "".
TORTUOSITY_UNITS = {
    "arc_over_chord": "",
    "total_curvature": "",
    "total_squared_curvature": "per_px",
    "mean_curvature": "per_px",
    "squared_curvature": "per_px2",
    "curvature_over_chord": "per_px",
    "squared_curvature_over_chord": "per_px2",
    "tortuosity_density": "per_px",
    "inflections": "",
}
PHOTOGRAPH_UNITS = {
    "region_area": "px2",
    "vessel_density": "",
    "vessel_area": "px2",
    "total_length": "px",
    "components": "",
    "mean_distance": "px",
    "max_distance": "px",
    "mean_width": "px",
    **{f"width_percentile_{p}": "px" for p in PERCENTILES},
    **TORTUOSITY_UNITS,
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
SEGMENT_UNITS = {"length": "px", "chord": "px", "mean_width": "px", **TORTUOSITY_UNITS}


Found = dict[str, float | str]  # measure -> its value, or why it has none here
NOTHING_TRACED = "no vessels that can be traced"


@dataclass(frozen=True)
class Segment:
    """The piece of a vessel between two branch points or ends."""

    points: np.ndarray  # float (N, 2), (row, column), evenly spaced
    widths: np.ndarray  # float (N,), pixels, nan where the vessel has none
    # What its first and last points are: `branch`, `end`, `rim` (cut off by the rim of
    # the field) or `loop` (it runs into itself).
    ends: tuple[str, str]

    @property
    def length(self) -> float:
        return float(path_steps(self.points).sum())

    @property
    def chord(self) -> float:
        return float(math.dist(self.points[0], self.points[-1]))


@dataclass(frozen=True)
class BranchPoint:
    """Where three or more segments meet."""

    row: float  # of the centre of the skeleton's branch pixels that it unites
    column: float
    reach: float  # pixels from there within which vessels share their area
    segments: int  # how many meet here
    angle: float  # between the daughters, degrees; nan: see `branching_angle`
    # Of the segments that are long enough, ascending, radians from the direction of
    # columns towards that of rows.
    bearings: tuple[float, ...]


@dataclass(frozen=True)
class Measures:
    """What was measured in one photograph."""

    values: dict[str, float | None]  # by measure (see PHOTOGRAPH_UNITS), None: none
    reasons: dict[str, str]  # measure without a value -> why
    segments: list[Segment]
    branch_points: list[BranchPoint]
    spurs: list[np.ndarray]  # pixels, int (N, 2), of what was taken off the skeleton
    specks: np.ndarray  # bool (H, W), pieces of vessel without a centre line


def measure_vessels(
    vessels: np.ndarray, field_of_view: np.ndarray, diameter: float | None = None
) -> Measures:
    """Measures the vessels of one photograph, as this file's docstring says.

    Args:
        vessels: bool array of shape (H, W); what lies outside the field is ignored.
        field_of_view: bool array of shape (H, W).
        diameter: of the whole field, pixels, where `field_of_view` is a part of it.
    """
    vessels = vessels & field_of_view
    found = find_segments(fill_pinholes(vessels), field_of_view)
    segments, branch_points, components, spurs, specks = found
    diameter = diameter or field_diameter(field_of_view)
    bend_scale = max(BEND_SCALE[0], BEND_SCALE[1] * diameter)
    measured = {
        "region_area": np.count_nonzero(field_of_view),
        "vessel_density": vessel_density(vessels, field_of_view),
        "vessel_area": np.count_nonzero(vessels),
        "components": components,
        **sparsity_measures(vessels, field_of_view),
        **width_measures(segments),
        **tortuosity_measures(segments, bend_scale),
        "bend_scale": bend_scale,
        **fractal_measures(segments, diameter),
        **count_measures(segments, branch_points),
    }
    measured = {name: measured[name] for name in PHOTOGRAPH_UNITS}
    values, reasons = part_reasons(measured)
    return Measures(values, reasons, segments, branch_points, spurs, specks)


def measure_segment(
    segment: Segment, bend_scale: float
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Measures one segment: values (see SEGMENT_UNITS), and reasons for those None.

    Args:
        segment: from `measure_vessels`.
        bend_scale: of its photograph, in `Measures.values`.
    """
    return part_reasons(
        {
            "length": segment.length,
            "chord": segment.chord,
            "mean_width": width_measures([segment])["mean_width"],
            **tortuosity_measures([segment], bend_scale),
        }
    )


def part_reasons(found: Found) -> tuple[dict[str, float | None], dict[str, str]]:
    """Values of all measures, None where there is none, and the reasons."""
    reasons = {name: why for name, why in found.items() if isinstance(why, str)}
    values = {n: None if n in reasons else float(v) for n, v in found.items()}
    return values, reasons


# --- from pixels to segments ---------------------------------------------------------


@dataclass
class Branch:
    """A segment in the making."""

    pixels: np.ndarray  # int (N, 2), its part of the skeleton
    nodes: tuple[int, int]  # index of the branch point at each end, -1 for none
    ends: tuple[str, str]  # as in `Segment`
    margins: tuple[float, float]  # pixels from each end in which it has no width
    line: np.ndarray  # float (M, 2), its centre line
    bends: np.ndarray  # float (K, 2), where it bends so sharply that it overlaps itself
    width: float  # pixels, the median of its coarse width


@dataclass(frozen=True)
class Nodes:
    """Branch points, each of one or several branch pixels of a skeleton."""

    of_pixel: np.ndarray  # index of the branch point of each pixel, -1 for none
    places: np.ndarray  # float (K, 2), their centres
    reaches: np.ndarray  # float (K,), as in `BranchPoint`
    inner: np.ndarray  # bool, the skeleton's paths that lie inside one branch point


def find_segments(
    vessels: np.ndarray, field_of_view: np.ndarray
) -> tuple[list[Segment], list[BranchPoint], int, list[np.ndarray], np.ndarray]:
    """Segments and branch points of vessels (H, W) in the field, how many connected
    pieces have a segment, and spurs and specks as in `Measures`."""
    coarse = distance_inside(vessels)
    coarse *= 2  # in place: of large photographs it is large
    skeleton, spurs = trace_skeleton(vessels, coarse)
    if skeleton is None:
        return [], [], 0, spurs, vessels
    nodes = unite_nodes(skeleton, coarse)
    rim = outside_tree(field_of_view)
    branches = [
        make_branch(skeleton, path, nodes, coarse, rim)
        for path in join_paths(skeleton, nodes)
    ]
    settle_nodes(branches, nodes)
    pieces, _ = ndimage.label(vessels, EVERYWHERE)
    for branch, area in zip(branches, share_area(branches, pieces), strict=True):
        settle_ends(branch, area)
    segments = [
        Segment(branch.line, local_widths(branch, area), branch.ends)
        for branch, area in zip(branches, share_area(branches, pieces), strict=True)
    ]
    traced = np.unique([pieces[tuple(branch.pixels[0])] for branch in branches])
    specks = vessels & ~np.isin(pieces, traced)
    return segments, list_branch_points(branches, nodes), len(traced), spurs, specks


def fill_pinholes(vessels: np.ndarray) -> np.ndarray:
    """`vessels` (H, W) without holes of at most LARGEST_PINHOLE pixels."""
    holes, _ = ndimage.label(~vessels)
    return vessels | (np.bincount(holes.ravel()) <= LARGEST_PINHOLE)[holes]


def distance_inside(area: np.ndarray) -> np.ndarray:
    """Distance (H, W) of each pixel of `area` to the nearest one outside, or frame."""
    distance = np.zeros(area.shape)
    for box in ndimage.find_objects(area.view(np.uint8)):  # the rest costs time
        distance[box] = distance_to(~np.pad(area[box], 1))[1:-1, 1:-1]
    return distance


def distance_to(area: np.ndarray) -> np.ndarray:
    """Distance (H, W) of each pixel to the nearest one of `area`, in less than half the
    memory that SciPy's distances take."""
    rows, columns = ndimage.distance_transform_edt(
        ~area, return_distances=False, return_indices=True
    )
    distance = np.empty(area.shape)
    for top in range(0, len(area), ROWS_AT_A_TIME):
        part = np.s_[top : top + ROWS_AT_A_TIME]
        down, right = rows[part], columns[part]
        down -= np.arange(top, top + len(down), dtype=down.dtype)[:, None]
        right -= np.arange(area.shape[1], dtype=down.dtype)
        np.sqrt(down * down + right * right, out=distance[part])
    return distance


def outside_tree(field_of_view: np.ndarray) -> spatial.cKDTree:
    """The pixels around the field of view (H, W), in a tree that finds the nearest."""
    inside = np.pad(field_of_view, 1)
    around = ndimage.binary_dilation(inside) & ~inside
    return spatial.cKDTree(np.argwhere(around) - 1)


def trace_skeleton(
    vessels: np.ndarray, coarse: np.ndarray
) -> tuple[skan.Skeleton | None, list[np.ndarray]]:
    """The skeleton of `vessels` (H, W) without spurs, None if nothing is left, and the
    pixels (N, 2) of each spur."""
    thin, removed = skeletonize(vessels), []
    while ndimage.label(thin, EVERYWHERE)[1] < thin.sum():  # not only lone pixels
        skeleton = skan.Skeleton(thin)
        spurs = find_spurs(skeleton, coarse)
        if not spurs:
            return skeleton, removed
        for index in spurs:
            pixels = skeleton.path(index)
            pixels = pixels[skeleton.degrees[pixels] < 3]
            removed.append(skeleton.coordinates[pixels])
            thin[tuple(removed[-1].T)] = False
        thin = skeletonize(thin)
    return None, removed


def find_spurs(skeleton: skan.Skeleton, coarse: np.ndarray) -> list[int]:
    """Paths to remove now: shorter than their vessel is wide, one per branch point."""
    first, last = path_ends(skeleton)
    degrees, lengths = skeleton.degrees, skeleton.path_lengths()
    width = coarse[tuple(skeleton.coordinates.T)]
    loose = (degrees[first] == 1) & (degrees[last] == 1)
    free = (degrees[first] == 1) ^ (degrees[last] == 1)
    root = np.where(degrees[first] > 2, first, last)
    spurs = [int(i) for i in np.flatnonzero(loose & (lengths < width[root]))]
    clusters = number_clusters(skeleton)
    widest = vessel_widths(skeleton, width, clusters)[clusters[root]]
    widest = np.where(widest > 0, widest, width[root])
    shortest: dict[int, int] = {}  # of each cluster
    found = np.flatnonzero(free & (degrees[root] > 2) & (lengths < widest))
    for i in found[np.argsort(lengths[found], kind="stable")]:
        shortest.setdefault(clusters[root[i]], int(i))
    return spurs + list(shortest.values())


def vessel_widths(
    skeleton: skan.Skeleton, width: np.ndarray, clusters: np.ndarray
) -> np.ndarray:
    """Coarse width of the widest vessel at each cluster of branch pixels.

    A vessel's width is its median, since vessels are wider together where they meet. A
    path that is shorter than it is wide has none; where there are only such, it is 0.
    """
    first, last = path_ends(skeleton)
    widest = np.zeros(clusters.max() + 1)
    whole = skeleton.path_lengths() > np.maximum(width[first], width[last])
    for index in np.flatnonzero(whole):
        own = np.median(width[skeleton.path(index)])
        for cluster in clusters[[first[index], last[index]]]:
            widest[cluster] = max(widest[cluster], own)
    return widest


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


def join_paths(skeleton: skan.Skeleton, nodes: Nodes) -> list[np.ndarray]:
    """Paths between branch points, as indices of the skeleton's pixels.

    Where a skeleton turns sharply, a pixel can have three neighbours though only two
    paths meet there: the two become one.
    """
    paths = [skeleton.path(index) for index in np.flatnonzero(~nodes.inner)]
    if not paths:
        return []
    ends = nodes.of_pixel[[path[[0, -1]] for path in paths]]
    meeting = np.bincount(ends[ends >= 0], minlength=len(nodes.places))
    for node in np.flatnonzero(meeting == 2):
        pair = [path for path in paths if node in nodes.of_pixel[path[[0, -1]]]]
        if len(pair) < 2:  # a ring
            continue
        paths = [path for path in paths if not any(path is other for other in pair)]
        first, last = (p if nodes.of_pixel[p[-1]] == node else p[::-1] for p in pair)
        paths.append(np.concatenate([first, last[::-1]]))
    return paths


def make_branch(
    skeleton: skan.Skeleton,
    path: np.ndarray,
    nodes: Nodes,
    coarse: np.ndarray,
    rim: spatial.cKDTree,
) -> Branch:
    """The branch of one path; `rim` holds the pixels around the field of view."""
    pixels = skeleton.coordinates[path]
    own = float(np.median(coarse[tuple(pixels.T)]))
    numbers = nodes.of_pixel[path[[0, -1]]]
    ends, margins = [], []
    for end, node in zip((0, -1), numbers, strict=True):
        if node >= 0:
            kind, margin = "branch", nodes.reaches[node]
        elif skeleton.degrees[path[end]] == 2:
            kind, margin = "loop", 0.0
        else:
            away = rim.query(pixels[end])[0]
            kind, margin = "rim" if away <= own + RIM else "end", own
        ends.append(kind)
        margins.append(margin)
    legs, bends = cut_at_bends(pixels, own)
    first, last = (
        nodes.places[[node]] if node >= 0 else pixels[:0] for node in numbers
    )
    legs[0] = np.concatenate([first, legs[0]])
    legs[-1] = np.concatenate([legs[-1], last])
    deviation = max(LINE_SMOOTHING[0], LINE_SMOOTHING[1] * own)
    line = np.concatenate([smooth_line(leg, deviation) for leg in legs])
    line = space_evenly(line)
    return Branch(pixels, tuple(numbers), tuple(ends), tuple(margins), line, bends, own)


# --- centre lines and widths ---------------------------------------------------------


def path_steps(points: np.ndarray) -> np.ndarray:
    """Lengths (N - 1,) of the steps between points (N, 2)."""
    return np.hypot(*np.diff(points, axis=0).T)


def smooth_line(points: np.ndarray, deviation: float) -> np.ndarray:
    """Points (N, 2) after a Gaussian along the line, whose two ends stay."""
    reach = min(math.ceil(8 * deviation), len(points) - 1)
    before = 2 * points[0] - points[reach:0:-1]  # turned about the end point
    after = 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, points, after]).astype(float)
    smooth = ndimage.gaussian_filter1d(padded, deviation, axis=0)
    # What was taken off is smoothed and given back, or bends would shrink.
    smooth += ndimage.gaussian_filter1d(padded - smooth, deviation, axis=0)
    smooth = smooth[reach : reach + len(points)]
    smooth[[0, -1]] = points[[0, -1]]
    return smooth


def cut_at_bends(
    pixels: np.ndarray, width: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Cuts a skeleton where its vessel bends so sharply that it overlaps itself.

    There thinning cuts the corner, and smoothing would cut more of it. The true corner
    is where the two legs meet, each one to two coarse widths from the bend. In a round
    bend they meet farther out, and nothing is cut.

    Args:
        pixels: int array of shape (N, 2), neighbour after neighbour.
        width: the vessel's coarse width, pixels.

    Returns:
        The pieces between bends, float arrays of shape (M, 2), that begin and end in
        the corner of the bend; and the corners (K, 2), one fewer than pieces.
    """
    reach = math.ceil(max(width, SHARP_BEND[1]))
    pieces, corners, rest = [], [], pixels.astype(float)
    for peak in sharp_turns(pixels, reach):
        corner, turn = meet(pixels[peak - 2 * reach : peak + 2 * reach + 1], reach)
        near = np.hypot(*(rest - corner).T)
        nearest = int(near.argmin())
        inner = width * (1 / math.cos(turn / 2) - 1)
        if near[nearest] > np.dot(CORNER_CUT, (1, width, inner)):
            continue
        overlap = 1 + int(min(width / 2 * math.tan(turn / 2), reach))
        before = rest[: max(nearest - overlap, 1)]
        after = rest[min(nearest + overlap, len(rest) - 1) :]
        pieces.append(np.concatenate([before, space_evenly([before[-1], corner])[1:]]))
        rest = np.concatenate([space_evenly([corner, after[0]])[:-1], after])
        corners.append(corner)
    return [*pieces, rest], np.array(corners).reshape(-1, 2)


def sharp_turns(pixels: np.ndarray, reach: int) -> np.ndarray:
    """Indices at which pixels (N, 2) turn most, by SHARP_BEND or more."""
    if len(pixels) <= 4 * reach:
        return np.array([], int)
    legs = pixels[reach:] - pixels[:-reach]
    headings = np.degrees(np.arctan2(*legs.T))
    turns = np.abs((headings[3 * reach :] - headings[: -3 * reach] + 180) % 360 - 180)
    turns = np.pad(turns, 1)  # a peak needs two sides
    peaks = signal.find_peaks(turns, SHARP_BEND[0], distance=2 * reach)[0]
    return peaks - 1 + 2 * reach


def meet(pixels: np.ndarray, reach: int) -> tuple[np.ndarray, float]:
    """Where the lines through the first and last `reach` pixels of (N, 2) meet, and the
    angle between them, radians."""
    middles, steps = [], []
    for leg in (pixels[: reach + 1], pixels[-reach - 1 :]):
        middles.append(leg.mean(axis=0))
        step = np.linalg.svd(leg - middles[-1])[2][0]
        steps.append(step * np.sign(step @ (leg[-1] - leg[0])))
    turn = math.acos(np.clip(steps[0] @ steps[1], -1, 1))
    if turn < 1e-3 or turn > math.pi - 1e-3:
        return np.full(2, np.inf), turn
    along = np.linalg.solve(
        np.transpose([steps[0], -steps[1]]), middles[1] - middles[0]
    )
    return middles[0] + along[0] * steps[0], turn


def space_evenly(
    points: np.ndarray, start: float = 0.0, stop: float | None = None
) -> np.ndarray:
    """Points (M, 2) about a pixel apart on a line, from `start` to `stop` along it."""
    points = np.asarray(points)
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
    for bend in branch.bends:
        clear &= np.hypot(*(branch.line - bend).T) > branch.width
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


def list_leaving(
    branches: Sequence[Branch], nodes: Nodes
) -> list[list[tuple[Branch, int]]]:
    """The branches that leave each branch point, and which end of theirs is there."""
    leaving: list[list[tuple[Branch, int]]] = [[] for _ in nodes.places]
    for branch in branches:
        for end, node in enumerate(branch.nodes):
            if node >= 0:
                leaving[node].append((branch, end))
    return leaving


def line_from(branch: Branch, end: int) -> np.ndarray:
    """The centre line (N, 2) of a branch, beginning at its first end, 0, or last, 1."""
    return branch.line[::-1] if end else branch.line


def settle_nodes(branches: Sequence[Branch], nodes: Nodes) -> None:
    """Moves branch points to where their vessels point to.

    A skeleton's branch point lies too far on the side of the widest angle between
    vessels. Within its reach, centre lines are made straight.
    """
    leaving = list_leaving(branches, nodes)
    for node, (ends, reach) in enumerate(zip(leaving, nodes.reaches, strict=True)):
        lines = [line_from(branch, end) for branch, end in ends]
        nodes.places[node] = meeting_point(lines, nodes.places[node], reach)
        for branch, end in ends:
            line = line_from(branch, end)
            length = path_steps(line).sum()
            rest = space_evenly(line, min(reach, length / 2), length)
            line = space_evenly(np.concatenate([nodes.places[node : node + 1], rest]))
            branch.line = line[::-1] if end else line


def meeting_point(
    lines: Sequence[np.ndarray], place: np.ndarray, reach: float
) -> np.ndarray:
    """The point (2,) nearest to all lines, if they were straight, or `place`.

    Args:
        lines: float arrays of shape (N, 2) that start at the branch point.
        place: its centre (row, column), the result where the lines do not decide.
        reach: pixels within which vessels share their area.
    """
    normals, offsets = [], []
    for near, far in filter(None, (direction(line, reach) for line in lines)):
        normal = (far - near)[::-1] * (-1, 1) / math.dist(near, far)
        normals.append(normal)
        offsets.append(normal @ near)
    if len(normals) < 2 or np.linalg.svd(normals)[1][-1] < 0.3:
        return place
    point = np.linalg.lstsq(np.array(normals), np.array(offsets))[0]
    return point if math.dist(point, place) <= reach else place


def direction(line: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Two points (2,) that show the direction in which a line leaves a branch point.

    Args:
        line: float array of shape (N, 2) that starts at the branch point.
        reach: pixels from there to the first of the two.

    Returns:
        None if the line is too short.
    """
    length = path_steps(line).sum()
    near = min(reach, length / 2)
    far = min(near + max(ANGLE_REACH[0] * reach, ANGLE_REACH[1]), length)
    if far - near < max(SHORTEST_REACH * reach, ANGLE_REACH[1]):
        return None
    return tuple(space_evenly(line, near, far)[[0, -1]])


def list_branch_points(branches: Sequence[Branch], nodes: Nodes) -> list[BranchPoint]:
    """The branch points at which three or more segments meet."""
    points = []
    leaving = list_leaving(branches, nodes)
    for place, reach, ends in zip(nodes.places, nodes.reaches, leaving, strict=True):
        lines = [line_from(branch, end) for branch, end in ends]
        if len(lines) > 2:
            angle, bearings = branching_angle(lines, reach), list_bearings(lines, reach)
            point = BranchPoint(*place, reach, len(lines), angle, tuple(bearings))
            points.append(point)
    return points


def list_bearings(lines: Sequence[np.ndarray], reach: float) -> np.ndarray:
    """Bearings, ascending, of the lines that are long enough; see `BranchPoint`."""
    ends = filter(None, (direction(line, reach) for line in lines))
    return np.sort([math.atan2(*(far - near)) for near, far in ends])


def branching_angle(lines: Sequence[np.ndarray], reach: float) -> float:
    """The smallest angle in degrees between lines that leave a branch point.

    Args:
        lines: float arrays of shape (N, 2) that start at the branch point.
        reach: pixels from there to where the directions are measured first.

    Returns:
        The angle; nan unless there are three or four lines that are long enough, and
        where four are two vessels that cross.
    """
    bearings = list_bearings(lines, reach)
    if not 3 <= len(bearings) == len(lines) <= 4:
        return math.nan
    gaps = np.degrees(np.diff(bearings, append=bearings[0] + math.tau))
    if len(lines) == 4 and abs(gaps[:2].sum() - 180) < CROSSING:
        if abs(gaps[1:3].sum() - 180) < CROSSING:
            return math.nan
    return float(gaps.min())


# --- measures ------------------------------------------------------------------------


def vessel_density(vessels: np.ndarray, field_of_view: np.ndarray) -> float | str:
    """Share of the field of view (H, W) that is vessels."""
    if not field_of_view.any():
        return "the field of view is empty"
    return np.count_nonzero(vessels) / np.count_nonzero(field_of_view)


def width_measures(segments: Sequence[Segment]) -> Found:
    """Mean and percentiles of the width along all centre lines, pixels."""
    widths = np.concatenate([np.empty(0), *(segment.widths for segment in segments)])
    widths = widths[~np.isnan(widths)]  # one for about each pixel of length
    names = ["mean_width", *(f"width_percentile_{share}" for share in PERCENTILES)]
    if not len(widths):
        why = "too short between branch points and ends"
        return dict.fromkeys(names, why if segments else NOTHING_TRACED)
    summary = [widths.mean(), *np.percentile(widths, PERCENTILES)]
    return dict(zip(names, summary, strict=True))


def sparsity_measures(vessels: np.ndarray, field_of_view: np.ndarray) -> Found:
    """Mean and largest distance of the field's pixels outside vessels from a vessel."""
    bare = field_of_view & ~vessels
    if not vessels.any() or not bare.any():
        why = "nothing but vessels" if vessels.any() else "no vessels"
        return {"mean_distance": why, "max_distance": why}
    distances = distance_to(vessels)[bare]
    return {"mean_distance": distances.mean(), "max_distance": distances.max()}


# --- tortuosity ----------------------------------------------------------------------


@dataclass(frozen=True)
class Bends:
    """What the tortuosities of a segment are computed from."""

    closed: bool  # whether it is a loop, which has no chord
    length: float  # pixels
    chord: float  # pixels
    total: float  # integral of the curvature's size along the line, radians
    squared: float  # integral of its square, 1 / pixel
    density: float  # length times the density of tortuosity
    inflections: int  # how often the curvature changes sign


def tortuosity_measures(segments: Sequence[Segment], bend_scale: float) -> Found:
    """Tortuosities (see TORTUOSITY_UNITS) of all segments that are long enough.

    Hart et al., Int. J. Med. Inform. 53 (1999), 239-252, with s the length, c the
    chord and k the curvature: tau1 = s / c, tau2 = integral of |k|, tau3 = integral of
    k^2, tau4 = tau2 / s, tau5 = tau3 / s, tau6 = tau2 / c, tau7 = tau3 / c. Of several
    segments: sums, and quotients of sums; the density is the mean weighted by length.
    """
    long = [segment for segment in segments if segment.length >= bend_scale]
    if not long:
        why = f"no segment of {bend_scale:.0f} pixels" if segments else NOTHING_TRACED
        return dict.fromkeys(TORTUOSITY_UNITS, why)
    parts = [measure_bends(segment, bend_scale) for segment in long]
    opened = [part for part in parts if not part.closed]

    def total(name: str, among: Sequence[Bends] = parts) -> float:
        return sum(getattr(part, name) for part in among)

    def over_chord(name: str) -> float | str:
        if not opened:
            return "the ends of all segments meet"
        return total(name, opened) / total("chord", opened)

    return {
        "arc_over_chord": over_chord("length"),
        "total_curvature": total("total"),
        "total_squared_curvature": total("squared"),
        "mean_curvature": total("total") / total("length"),
        "squared_curvature": total("squared") / total("length"),
        "curvature_over_chord": over_chord("total"),
        "squared_curvature_over_chord": over_chord("squared"),
        "tortuosity_density": total("density") / total("length"),
        "inflections": total("inflections"),
    }


def measure_bends(segment: Segment, bend_scale: float) -> Bends:
    """The `Bends` of a segment as long as `bend_scale` or longer."""
    bend = curvature(segment, bend_scale)
    turns = turn_points(bend)
    return Bends(
        closed=segment.chord < LEAST_CHORD,
        length=segment.length,
        chord=segment.chord,
        total=np.abs(bend).mean() * segment.length,
        squared=(bend**2).mean() * segment.length,
        density=segment.length * tortuosity_density(segment, turns),
        inflections=len(turns),
    )


def curvature(segment: Segment, bend_scale: float) -> np.ndarray:
    """Signed curvature (N,) at a segment's points, 1 / pixel.

    Of a ring it goes round: the last point is the first, and does not count again.
    """
    ring = segment.ends[0] == "loop"
    points = segment.points[:-1] if ring else segment.points
    step = segment.length / (len(segment.points) - 1)
    window = 2 * int(bend_scale / 2) + 1  # points, about a pixel apart
    mode = "wrap" if ring else "interp"
    first, second = (
        signal.savgol_filter(points.T, window, 2, deriv=order, delta=step, mode=mode)
        for order in (1, 2)
    )
    # At unit speed the second derivative is the curvature, with nothing to divide by.
    return np.hypot(*second) * np.sign(first[0] * second[1] - first[1] * second[0])


def turn_points(bend: np.ndarray) -> np.ndarray:
    """Indices at which the curvature (N,) changes sign.

    What is less than `LEAST_BEND` of the largest curvature does not count; Grisan et
    al., below, use a hysteresis, too.
    """
    strong = np.flatnonzero(np.abs(bend) >= LEAST_BEND * np.abs(bend).max())
    signs = np.sign(bend[strong])
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    return (strong[changes] + strong[changes + 1] + 1) // 2


def tortuosity_density(segment: Segment, cuts: np.ndarray) -> float:
    """(n - 1) / n / s * sum of (arc over chord - 1) over n turns, 1 / pixel.

    Grisan, Foracchia and Ruggeri, IEEE Trans. Med. Imaging 27 (2008), 310-319: a vessel
    is cut where its curvature changes sign, and s is its length. A turn of more than
    about three quarters of a circle is a loop and does not count: its chord is a matter
    of chance.
    """
    cuts = np.unique([0, *cuts, len(segment.points) - 1])
    parts = [
        segment.points[first : last + 1]
        for first, last in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    arcs = np.array([path_steps(part).sum() for part in parts])
    chords = np.array([math.dist(part[0], part[-1]) for part in parts])
    turns = arcs < math.pi * chords
    excess = np.sum(arcs[turns] / chords[turns] - 1)
    return (len(parts) - 1) / len(parts) * excess / segment.length


# --- fractal dimension ---------------------------------------------------------------


def field_diameter(field_of_view: np.ndarray) -> float:
    """The longer side of the box around the field of view (H, W), pixels."""
    seen = [np.flatnonzero(field_of_view.any(axis=axis)) for axis in (0, 1)]
    return float(max(np.ptp(line) + 1 if len(line) else 0 for line in seen))


def fractal_measures(segments: Sequence[Segment], diameter: float) -> Found:
    """The fractal dimension of the centre lines, and the range of boxes counted."""
    sides = [diameter / share for share in BOX_SHARES]
    sides = [side for side in sides if side >= SMALLEST_BOX]
    if not segments or len(sides) < 3:
        names = ("fractal_dimension", "smallest_box", "largest_box")
        why = "the field is too small for 3 sizes of boxes"
        return dict.fromkeys(names, why if segments else NOTHING_TRACED)
    points = np.concatenate([segment.points for segment in segments])
    return {
        "fractal_dimension": box_dimension(points, sides),
        "smallest_box": min(sides),
        "largest_box": max(sides),
    }


def box_dimension(points: np.ndarray, sides: Sequence[float]) -> float | str:
    """Box-counting dimension of points (N, 2), in boxes of some sides, pixels.

    The mean number of boxes over all places of the grid is the area of the points,
    dilated by a box, over the area of a box. It is counted on grids that are turned by
    0, 22.5, 45 and 67.5 degrees, and the mean of the four slopes is the result, which
    changes little when the points are turned. A single point fills one box of any
    size: one box is not counted, or a short line would have less than 1 dimension.
    """
    unit = min(sides) / BOX_UNITS
    if np.ptp(points, axis=0).max() < 2 * unit:
        return "a single point"
    wanted = np.array(sides) / unit
    cosine, sine = math.cos(math.pi / 8), math.sin(math.pi / 8)
    turned = points @ np.array([[cosine, sine], [-sine, cosine]])
    slopes = [
        slope
        for chosen in (points, turned)
        for slope in box_slopes(np.round(chosen / unit).astype(int), wanted)
    ]
    return float(np.mean(slopes))


def box_slopes(places: np.ndarray, sides: np.ndarray) -> list[float]:
    """Slopes of log(boxes) on log(side), on an upright grid and at 45 degrees.

    Args:
        places: int array of shape (N, 2).
        sides: float array of shape (K,), in the unit of `places`.
    """
    margin = math.ceil(sides.max())
    places = places + margin - places.min(axis=0)
    empty = np.ones(places.max(axis=0) + margin + 1, bool)
    empty[tuple(places.T)] = False
    upright = np.round((sides - 1) / 2).astype(int)
    diagonal = np.round(sides / math.sqrt(2) - 0.5).astype(int)
    slopes = []
    for metric, reaches, areas in (
        ("chessboard", upright, (2 * upright + 1) ** 2),
        ("taxicab", diagonal, 2 * diagonal**2 + 2 * diagonal + 1),
    ):
        distance = ndimage.distance_transform_cdt(empty, metric)
        counts = [(distance <= reach).sum() for reach in reaches] / areas - 1
        slopes.append(-np.polyfit(np.log(areas) / 2, np.log(counts), 1)[0])
    return slopes


def count_measures(
    segments: Sequence[Segment], branch_points: Sequence[BranchPoint]
) -> Found:
    """Total length and numbers of segments, branch points, ends and angles."""
    angles = [point.angle for point in branch_points if not math.isnan(point.angle)]
    none = "no branch point of three segments long enough"
    return {
        "total_length": sum(segment.length for segment in segments),
        "segments": len(segments),
        "branch_points": len(branch_points),
        "end_points": sum(segment.ends.count("end") for segment in segments),
        "mean_branching_angle": np.mean(angles) if angles else none,
        "branching_angles": len(angles),
    }
