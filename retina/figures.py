"""Pictures of what was measured in a photograph, one for each kind of measure.

for kind in KINDS:
    draw(kind, Path(f"{kind}.jpg"), image, shape, measures, scale)

Each is drawn over the photograph in dark grey, on which all colours stand out. Its
longer side has PICTURE_SIDE pixels whatever the photograph's size, so that lines and
numbers are as large as they must be to be seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina.files import counted, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from retina.morphometry import BranchPoint, Measures, Segment

PICTURE_SIDE = 1600  # pixels, the longer side of the photograph in a picture
CAPTION = 140  # pixels below it, for what the colours mean
DPI = 72  # so that a point is a pixel
LINE, THIN = 3.0, 1.2  # pixels
NUMBER, LEGEND = 17.0, 21.0  # pixels, heights of text
BRIGHTNESS = 0.5  # of what is brightest in the photograph: colours stand out on it
WIDTH_COLOURS = "rainbow"  # bright from end to end, on grey
SEGMENT_COLOURS = ("#4de1ff", "#ffe14d", "#ff7de9", "#8dff5a", "#ff9f4a", "#c9b8ff")
GREY, WHITE, YELLOW, PINK = "0.75", "white", "#ffe14d", "#ff5ad1"
BLUE, ORANGE, GREEN = "#4db8ff", "#ff9f4a", "#8dff5a"
# Where a number may stand: shares of a line, half heights of text aside, and degrees
# from the line's direction; what comes first is best.
ALONG, ASIDE = (0.5, 0.35, 0.65, 0.2, 0.8), (0.9, 1.5, 2.3, 3.3)
TURNS = (90, -90, 45, -45, 135, -135, 0, 180)


def draw(
    kind: str,
    path: Path,
    image: np.ndarray,
    shape: tuple[int, int],
    measures: Measures,
    scale: float | None,
    circles: Sequence[tuple[float, float, float]] = (),
) -> None:
    """Draws one kind of picture.

    Args:
        kind: one of `KINDS`.
        path: of the picture, JPEG.
        image: float array (h, w), 0..1, of the photograph in grey, of any size.
        shape: of the photograph, (H, W).
        measures: of its whole field.
        scale: micrometres per pixel; None: widths are in pixels.
        circles: (row, column, radius), such as the rims of zones, drawn thin.
    """
    from matplotlib.patches import Circle

    figure, axes = begin(image, shape)
    for row, column, radius in circles:
        axes.add_patch(Circle((column, row), radius, fill=False, ec=WHITE, lw=THIN))
    KINDS[kind](figure, axes, measures, scale)
    with whole_file(path) as part:
        figure.savefig(part, dpi=DPI, pil_kwargs={"quality": 90})


def begin(image: np.ndarray, shape: tuple[int, int]) -> tuple[Figure, Axes]:
    """A figure with the photograph, in its own pixels, and room for a caption."""
    from matplotlib.figure import Figure

    height, width = shape
    zoom = PICTURE_SIDE / max(shape)
    wide, high = max(zoom * width, 1), max(zoom * height, 1)
    size = wide / DPI, (high + CAPTION) / DPI
    figure = Figure(size, dpi=DPI, facecolor="black")
    axes = figure.add_axes((0, CAPTION / (high + CAPTION), 1, high / (high + CAPTION)))
    axes.set_axis_off()
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    white = np.percentile(image, 99) / BRIGHTNESS or 1
    axes.imshow(image, cmap="gray", vmin=0, vmax=white, extent=extent)
    axes.set_aspect("auto")
    axes.autoscale(False)
    return figure, axes


# ---- the kinds


def draw_widths(
    figure: Figure, axes: Axes, measures: Measures, scale: float | None
) -> None:
    """Centre lines coloured by width, thin and grey where they have none."""
    steps, widths = line_steps(measures.segments)
    widths *= scale or 1.0
    known = np.isfinite(widths)
    add_lines(axes, steps[~known], GREY, THIN)
    lines = add_lines(axes, steps[known], None, LINE)
    lines.set(cmap=WIDTH_COLOURS, array=widths[known])
    lines.set_clim(0, np.percentile(widths[known], 99) if known.any() else 1)
    height = figure.get_figheight() * DPI
    bottom, thick = 0.6 * CAPTION / height, 0.25 * CAPTION / height
    place = figure.add_axes((0.05, bottom, 0.9, thick))
    figure.colorbar(lines, cax=place, orientation="horizontal", extend="max")
    unit = "micrometres" if scale else "pixels"
    label = f"width, {unit} (grey: none near branch points, sharp bends and ends)"
    place.set_xlabel(label, color=WHITE, fontsize=LEGEND)
    place.tick_params(colors=WHITE, labelsize=NUMBER)


def draw_segments(
    figure: Figure, axes: Axes, measures: Measures, scale: float | None
) -> None:
    """Segments with their numbers."""
    segments = measures.segments
    colours = [SEGMENT_COLOURS[i % len(SEGMENT_COLOURS)] for i in range(len(segments))]
    lines = list_lines(segments)
    add_lines(axes, lines, colours, LINE)
    numbers = [str(number) for number in range(1, len(segments) + 1)]
    write_beside(axes, numbers, lines, colours)
    rows = "as in segments.csv" if segments else "nothing was traced"
    add_legend(figure, [(None, WHITE, f"{counted(len(segments), 'segment')}, {rows}")])


def draw_branch_points(
    figure: Figure, axes: Axes, measures: Measures, scale: float | None
) -> None:
    """Branch points with their angles, and free ends."""
    traced = list_lines(measures.segments)
    add_lines(axes, traced, GREY, THIN)
    measured = [point for point in measures.branch_points if point.angle > 0]
    arms = [list_arms(axes, point) for point in measured]
    add_lines(axes, [arm for pair in arms for arm in pair], YELLOW, LINE)
    between = [np.stack([one[1], other[1]]) for one, other in arms]
    angles = [f"{point.angle:.0f}°" for point in measured]
    write_beside(axes, angles, between, [YELLOW] * len(angles), others=traced)
    ends = list_ends(measures.segments, "end")
    legend = [
        ("-", YELLOW, f"{counted(len(measured), 'angle')} between daughters"),
        *mark_without_angle(axes, measures.branch_points),
        mark(axes, ends, "o", GREEN, "free end"),
    ]
    add_legend(figure, legend)


def draw_left_out(
    figure: Figure, axes: Axes, measures: Measures, scale: float | None
) -> None:
    """What some measure leaves out, in the colour of the reason."""
    from scipy import ndimage

    segments, bend_scale = measures.segments, measures.values["bend_scale"]
    add_lines(axes, list_lines(segments), GREY, THIN)
    short = [segment for segment in segments if segment.length < bend_scale]
    add_lines(axes, list_lines(short), BLUE, 2.5 * LINE)
    steps, widths = line_steps(segments)
    bare = steps[np.isnan(widths)]
    add_lines(axes, bare, YELLOW, 0.7 * LINE)
    add_lines(axes, [spur[:, ::-1] for spur in measures.spurs], PINK, LINE)
    pieces, count = ndimage.label(measures.specks, np.ones((3, 3)))
    specks = ndimage.center_of_mass(pieces, pieces, range(1, count + 1))
    share = len(bare) / max(len(steps), 1)
    spurs = counted(len(measures.spurs), "spur")
    least = f"{bend_scale * (scale or 1):.0f} {'um' if scale else 'px'}"
    under = f"{counted(len(short), 'segment')} under {least}"
    rims = list_ends(segments, "rim")
    legend = [
        ("-", YELLOW, f"no width near branch points, bends, ends: {share:.0%}"),
        ("-", BLUE, f"{under}: no tortuosity"),
        ("-", PINK, f"{spurs}, shorter than the vessel is wide"),
        mark(axes, specks, "o", PINK, "speck", ", too short to trace"),
        *mark_without_angle(axes, measures.branch_points),
        mark(axes, rims, "s", WHITE, "end", " cut off by the rim"),
    ]
    add_legend(figure, legend)


KINDS: dict[str, Callable[[Figure, Axes, Measures, float | None], None]] = {
    "widths": draw_widths,
    "segments": draw_segments,
    "branch_points": draw_branch_points,
    "left_out": draw_left_out,
}


# ---- their parts


def list_lines(segments: Sequence[Segment]) -> list[np.ndarray]:
    """Centre lines (N, 2) as (x, y)."""
    return [segment.points[:, ::-1] for segment in segments]


def line_steps(segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """All steps (N, 2, 2) of centre lines as (x, y), and their widths (N,), pixels."""
    steps, widths = [np.empty((0, 2, 2))], [np.empty(0)]
    for segment, points in zip(segments, list_lines(segments), strict=True):
        steps.append(np.stack([points[:-1], points[1:]], axis=1))
        widths.append((segment.widths[:-1] + segment.widths[1:]) / 2)
    return np.concatenate(steps), np.concatenate(widths)


def add_lines(axes: Axes, lines: Sequence[np.ndarray], colours, thickness: float):
    """Draws lines of points (N, 2), (x, y). Returns their collection."""
    from matplotlib.collections import LineCollection

    drawn = LineCollection(lines, colors=colours, lw=thickness, capstyle="round")
    axes.add_collection(drawn)
    return drawn


def list_ends(segments: Sequence[Segment], kind: str) -> list[np.ndarray]:
    """Ends (row, column) of segments that are of one kind, as in `Segment`."""
    return [
        segment.points[place]
        for segment in segments
        for place, end in zip((0, -1), segment.ends, strict=True)
        if end == kind
    ]


def mark(
    axes: Axes,
    places: Sequence[Sequence[float]],
    symbol: str,
    colour: str,
    thing: str,
    rest: str = "",
) -> tuple[str, str, str]:
    """Marks places (row, column). Returns a line of the legend, which counts them."""
    rows, columns = np.reshape(places, (-1, 2)).T
    axes.plot(columns, rows, symbol, ms=8, mec=colour, mfc="none", mew=2, ls="none")
    return symbol, colour, counted(len(rows), thing) + rest


def mark_without_angle(
    axes: Axes, points: Sequence[BranchPoint]
) -> list[tuple[str, str, str]]:
    """Marks branch points without an angle. Returns lines of the legend."""
    short, crossings, many = [], [], []
    for point in points:
        if not math.isnan(point.angle):
            continue
        if point.segments > 4:
            group = many
        elif len(point.bearings) < point.segments:
            group = short
        else:
            group = crossings
        group.append((point.row, point.column))
    return [
        mark(axes, group, symbol, ORANGE, "branch point", f" without angle: {why}")
        for group, symbol, why in (
            (short, "v", "a segment is too short"),
            (crossings, "x", "vessels cross"),
            (many, "s", "over four segments"),
        )
    ]


def list_arms(axes: Axes, point: BranchPoint) -> list[np.ndarray]:
    """The two daughters' directions from a branch point, lines (2, 2) of (x, y)."""
    bearings = np.array([*point.bearings, point.bearings[0] + math.tau])
    first = int(np.diff(bearings).argmin())
    length = max(1.5 * point.reach, 18 / zoom_of(axes))
    place = np.array([point.column, point.row])
    return [
        np.stack([place, place + length * np.array([math.cos(b), math.sin(b)])])
        for b in bearings[first : first + 2]
    ]


def zoom_of(axes: Axes) -> float:
    """Pixels of the picture per pixel of the photograph."""
    left, right = axes.get_xlim()
    return axes.figure.get_figwidth() * DPI / (right - left)


def write_beside(
    axes: Axes,
    texts: Sequence[str],
    lines: Sequence[np.ndarray],
    colours: Sequence[str],
    others: Sequence[np.ndarray] = (),
) -> None:
    """Writes each text beside its line, where it covers least.

    Args:
        axes: of a photograph.
        texts: short ones.
        lines: float arrays of shape (N, 2), (x, y), one for each text.
        colours: likewise.
        others: more lines that had better not be covered.
    """
    from matplotlib.patheffects import withStroke

    zoom = zoom_of(axes)
    scaled = [zoom * line for line in lines]
    cover = rasterise([*scaled, *(zoom * line for line in others)], axes)
    style = {"fontsize": NUMBER, "ha": "center", "va": "center_baseline"}
    style["path_effects"] = [withStroke(linewidth=3, foreground="black")]
    for i in sorted(range(len(texts)), key=lambda i: len(lines[i])):  # least room first
        high, wide = 0.8 * NUMBER, 0.6 * NUMBER * len(texts[i])
        options = list(list_places(scaled[i], high, wide))
        costs = [cost + ink(cover, x, y, high, wide).sum() for x, y, cost in options]
        x, y, _ = options[int(np.argmin(costs))]
        ink(cover, x, y, high, wide)[:] += 20
        axes.text(x / zoom, y / zoom, texts[i], color=colours[i], **style)


def rasterise(lines: Sequence[np.ndarray], axes: Axes) -> np.ndarray:
    """Whether points of `lines`, (x, y), lie in a pixel (h, w) of a picture: 1 or 0."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    size = np.ceil(zoom_of(axes) * np.array([bottom - top, right - left])).astype(int)
    points = np.concatenate([np.empty((0, 2)), *lines])[:, ::-1]
    edges = [np.arange(side + 1) for side in size]
    return np.minimum(np.histogram2d(*points.T, bins=edges)[0], 1)


def list_places(
    line: np.ndarray, high: float, wide: float
) -> Iterator[tuple[float, float, float]]:
    """Places (x, y) for the middle of a text beside a line, and what each costs."""
    for number, share in enumerate(ALONG):
        place = share * (len(line) - 1)
        before = line[max(int(place) - 3, 0)]
        after = line[min(int(place) + 4, len(line) - 1)]
        middle = line[int(place)] if len(line) > 2 else (before + after) / 2
        heading = math.atan2(*(after - before)[::-1])
        for far, turn in itertools.product(ASIDE, TURNS):
            angle = heading + math.radians(turn)
            aside = np.array([math.cos(angle), math.sin(angle)])
            reach = abs(aside) @ (wide, high) / 2  # from its middle to its rim
            cost = number + 4 * far + abs(abs(turn) - 90) / 15
            yield *(middle + (reach + far * high / 2) * aside), cost


def ink(cover: np.ndarray, x: float, y: float, high: float, wide: float) -> np.ndarray:
    """What a text of this size around (x, y) covers; a large number off the frame."""
    top, left = max(int(y - high / 2), 0), max(int(x - wide / 2), 0)
    covered = cover[top : int(y + high / 2) + 2, left : int(x + wide / 2) + 2]
    outside = y < high or x < wide / 2 or y > len(cover) - high
    outside |= x > cover.shape[1] - wide / 2
    return np.full(1, 1e3) if outside else covered


def add_legend(figure: Figure, lines: Sequence[tuple[str | None, str, str]]) -> None:
    """Says below the photograph what symbols of some colours mean."""
    from matplotlib.lines import Line2D

    style = {"mfc": "none", "mew": 2, "ms": 8, "lw": LINE}
    handles = []
    for symbol, colour, label in lines:
        shape = {"ls": "-"} if symbol == "-" else {"ls": "none", "marker": symbol}
        handles.append(Line2D([], [], color=colour, label=label, **shape, **style))
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=max(1, -(-len(handles) // 4)),
        frameon=False,
        labelcolor=WHITE,
        fontsize=LEGEND,
    )
