"""How far the measures of vessels are from the truth, on phantoms with known vessels.

    python -m benchmarks.measure_phantoms                   # about a minute on one core
    python -m benchmarks.measure_phantoms --phantoms 1 --repeats 2     # cheap

First single vessels of every direction, width and curvature, then forks of known
angles, then whole phantoms, where vessels overlap, cross and run into each other: there
only segments are compared that follow one true vessel.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage, spatial

from retina import morphometry, phantoms

VESSEL_WIDTHS = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
SHAPES = {
    "straight": "straight lines",
    "arc": "arcs of radius 25 to 80",
    "wave": "waves of radius 15 and more",
    "taper": "arcs that taper to half",
}
LENGTH = 120
FRAME_SIDE = 200  # pixels, of the picture of one vessel


def draw_vessel(shape: str, width: float, *, rng: np.random.Generator) -> dict:
    """A single vessel of LENGTH pixels in any direction, as in `Phantom.truth`."""
    along = np.arange(LENGTH + 1.0)
    heading = np.full(LENGTH + 1, rng.uniform(0, math.tau))
    if shape in ("arc", "taper"):
        heading += along / rng.uniform(25, 80)
    elif shape == "wave":
        heading += 0.6 * np.sin(2 * math.tau * along / LENGTH + rng.uniform(0, 6))
    points = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1), axis=0)
    points += FRAME_SIDE / 2 + rng.uniform(0, 1, 2) - points.mean(axis=0)
    last = width / 2 if shape == "taper" and width >= 4 else width
    return {"points": points, "widths": np.linspace(width, last, LENGTH + 1)}


def true_curvature(points: np.ndarray) -> float:
    """Mean squared curvature of points (N, 2), a pixel apart."""
    first, second = np.gradient(points, axis=0), np.diff(points, n=2, axis=0)
    turn = first[1:-1, 0] * second[:, 1] - first[1:-1, 1] * second[:, 0]
    return float(np.mean(turn**2))


def single_errors(vessel: dict) -> dict[str, float]:
    """Errors of the measures of one vessel."""
    everywhere = np.ones((FRAME_SIDE, FRAME_SIDE), bool)
    label = phantoms.draw_label([vessel], everywhere)
    measures = morphometry.measure_vessels(label, everywhere)
    segments, bend_scale = measures.segments, 18.0  # that of DRIVE
    points = np.concatenate([segment.points for segment in segments])
    widths = np.concatenate([segment.widths for segment in segments])
    known = ~np.isnan(widths)
    nearest = spatial.cKDTree(vessel["points"]).query(points[known])[1]
    off = widths[known] - vessel["widths"][nearest]
    row, column = np.round(points[known]).astype(int).T
    transform = 2 * ndimage.distance_transform_edt(label)[row, column]
    length = sum(segment.length for segment in segments)
    arc = LENGTH / math.dist(vessel["points"][0], vessel["points"][-1])
    chord = sum(segment.chord for segment in segments)
    curvature = [
        np.mean(morphometry.curvature(segment, bend_scale) ** 2)
        for segment in segments
        if segment.length >= bend_scale
    ]
    return {
        "bias": off.mean(),
        "width": np.abs(off).mean(),
        "transform": np.abs(transform - vessel["widths"][nearest]).mean(),
        "transform_less_1": np.abs(transform - 1 - vessel["widths"][nearest]).mean(),
        "length": 100 * (length / LENGTH - 1),
        "arc_over_chord": 100 * (length / chord / arc - 1),
        "curvature": 1e4 * (np.mean(curvature) - true_curvature(vessel["points"])),
        "true_curvature": 1e4 * true_curvature(vessel["points"]),
        "segments": len(segments),
    }


def print_single(repeats: int, *, rng: np.random.Generator) -> None:
    """Prints the errors on single vessels, a row for each shape and width."""
    print(f"Single vessels of {LENGTH} pixels, {repeats} of each kind. Width: mean and")
    print("mean absolute error of the points, pixels; beside it the distance transform")
    print("d of the same points. Length and arc over chord: mean and worst error, %.")
    print("Squared curvature: mean error / true value, 1e-4 pixel^-2.\n")
    print("width  bias  error |  2d-1    2d |  length worst | arc/chord worst | curv.")
    for shape, title in SHAPES.items():
        print(title)
        for width in VESSEL_WIDTHS:
            rows = [
                single_errors(draw_vessel(shape, width, rng=rng))
                for _ in range(repeats)
            ]
            table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            mean = {name: column.mean() for name, column in table.items()}
            worst = {name: np.abs(column).max() for name, column in table.items()}
            print(
                f"{width:5.1f} {mean['bias']:+5.2f} {mean['width']:6.2f} |"
                f" {mean['transform_less_1']:5.2f} {mean['transform']:5.2f} |"
                f" {mean['length']:+7.2f} {worst['length']:5.2f} |"
                f" {mean['arc_over_chord']:+9.2f} {worst['arc_over_chord']:5.2f} |"
                f" {mean['curvature']:+5.2f} / {mean['true_curvature']:.1f}"
                f"  {mean['segments']:.2f} segments"
            )


def draw_fork(degrees: float, width: float, *, rng: np.random.Generator) -> np.ndarray:
    """A label of three straight vessels of 50 pixels that make a fork."""
    place, turn = FRAME_SIDE / 2 + rng.uniform(0, 1, 2), rng.uniform(0, math.tau)
    half = math.radians(degrees) / 2
    vessels = []
    for bearing, share in ((math.pi, 1.0), (half, 0.8), (-half, 0.8)):
        step = np.array([math.sin(turn + bearing), math.cos(turn + bearing)])
        points = place + np.arange(51.0)[:, None] * step
        vessels.append({"points": points, "widths": np.full(51, share * width)})
    return phantoms.draw_label(vessels, np.ones((FRAME_SIDE, FRAME_SIDE), bool))


def print_forks(repeats: int, *, rng: np.random.Generator) -> None:
    """Prints the errors of the branching angle, a row for each angle."""
    print("\nForks of straight vessels, 3, 5 and 8 pixels wide: error of the angle")
    print("between the daughters, degrees.\n")
    print("angle   bias  error  worst  measured")
    for degrees in (40, 60, 80, 100, 115):
        off = []
        for width in (3.0, 5.0, 8.0):
            for _ in range(repeats):
                label = draw_fork(degrees, width, rng=rng)
                everywhere = np.ones_like(label)
                points = morphometry.measure_vessels(label, everywhere).branch_points
                off += [point.angle - degrees for point in points]
        known = np.array(off)[~np.isnan(off)]
        print(
            f"{degrees:5d} {known.mean():+6.1f} {np.abs(known).mean():6.1f} "
            f"{np.abs(known).max():6.1f}  {len(known)} of {3 * repeats}"
        )


# --- whole phantoms ------------------------------------------------------------------


def follow_vessels(
    segments: Sequence[morphometry.Segment], vessels: list[dict]
) -> Iterator[tuple[morphometry.Segment, dict, np.ndarray]]:
    """Segments of 20 pixels and more that follow one true vessel, and which points.

    Yields:
        The segment, the vessel, and for each of the segment's points the index of the
        nearest point of the vessel.
    """
    trees = [spatial.cKDTree(vessel["points"]) for vessel in vessels]
    points = np.concatenate([vessel["points"] for vessel in vessels])
    owner = np.repeat(range(len(vessels)), [len(v["points"]) for v in vessels])
    everything = spatial.cKDTree(points)
    for segment in segments:
        if segment.length < 20:
            continue
        owners = owner[everything.query(segment.points)[1]]
        best = int(np.bincount(owners).argmax())
        distance, index = trees[best].query(segment.points)
        half = np.array(vessels[best]["widths"])[index] / 2
        if (owners == best).mean() > 0.9 and (distance < np.maximum(half, 1)).all():
            yield segment, vessels[best], index


def phantom_errors(
    drawn: phantoms.Phantom, measures: morphometry.Measures
) -> tuple[np.ndarray, np.ndarray]:
    """Errors along the segments of one phantom that follow one true vessel.

    Returns:
        Arrays of shape (N, 2), true and measured widths, and (M, 4), true and measured
        lengths, true and measured squared curvatures.
    """
    bend_scale = measures.values["bend_scale"]
    widths, lines = [np.empty((0, 2))], [np.empty((0, 4))]
    for segment, vessel, index in follow_vessels(
        measures.segments, drawn.truth["vessels"]
    ):
        known = ~np.isnan(segment.widths)
        true_widths = np.array(vessel["widths"])[index]
        widths.append(np.stack([true_widths, segment.widths], axis=1)[known])
        first, last = sorted((index[0], index[-1]))
        line = np.array(vessel["points"])[first : last + 1]
        along = morphometry.path_steps(line).sum()
        bends = np.mean(morphometry.curvature(segment, bend_scale) ** 2)
        row = [along, segment.length, true_curvature(line), bends]
        lines.append(np.array([row]))
    return np.concatenate(widths), np.concatenate(lines)


def angle_errors(
    drawn: phantoms.Phantom, measures: morphometry.Measures
) -> list[tuple[float, float, float]]:
    """True angle at the start, true angle over the measured stretch, and measured."""
    vessels, angles = drawn.truth["vessels"], []
    for fork in drawn.truth["bifurcations"]:
        near = [
            point
            for point in measures.branch_points
            if math.dist((point.row, point.column), (fork["row"], fork["column"]))
            < point.reach
        ]
        if len(near) != 1 or math.isnan(near[0].angle):
            continue
        lines = [np.array(vessels[fork["parent"]]["points"])[::-1]]
        lines += [np.array(vessels[d]["points"]) for d in fork["daughters"]]
        over = morphometry.branching_angle(lines, near[0].reach)
        angles.append((fork["angle_degrees"], over, near[0].angle))
    return angles


def print_phantoms(count: int, *, rng: np.random.Generator) -> None:
    """Prints the errors on whole phantoms of DRIVE's size."""
    drawings = [phantoms.draw_phantom(rng=rng) for _ in range(count)]
    measured = [
        (drawn, morphometry.measure_vessels(drawn.label, drawn.field_of_view))
        for drawn in drawings
    ]
    pairs = [phantom_errors(*each) for each in measured]
    widths, lines = (np.concatenate(part) for part in zip(*pairs, strict=True))
    print(f"\n{count} whole phantoms of 565 x 584, segments of 20 pixels and more that")
    print("follow one true vessel (others run along, across or into one another, and")
    print("a label cannot show them apart).\n")
    print("true width     bias  error  points")
    for low, high in ((1.5, 2), (2, 3), (3, 5), (5, 10), (2, 10)):
        chosen = widths[(widths[:, 0] >= low) & (widths[:, 0] < high)]
        off = chosen[:, 1] - chosen[:, 0]
        print(
            f"{low:4g} to {high:2g}    {off.mean():+5.2f} {np.abs(off).mean():6.2f}  "
            f"{len(off)}"
        )
    share = 100 * (lines[:, 1] / lines[:, 0] - 1)
    total = 100 * (lines[:, 1].sum() / lines[:, 0].sum() - 1)
    print(f"\nlength of {len(lines)} segments: total {total:+.2f} %, each by")
    print(f"{np.abs(share).mean():.2f} % on average, 95 of 100 within", end=" ")
    print(f"{np.percentile(np.abs(share), 95):.2f} %")
    true, bends = np.average(lines[:, 2:], axis=0, weights=lines[:, 0])
    print(f"squared curvature: {1e4 * bends:.1f}, truth {1e4 * true:.1f} e-4 pixel^-2")
    angles = np.array([row for each in measured for row in angle_errors(*each)])
    forks = sum(len(drawn.truth["bifurcations"]) for drawn in drawings)
    for column, words in (
        (1, "over the same stretch"),
        (0, "where the daughters start"),
    ):
        off = angles[:, 2] - angles[:, column]
        off = off[~np.isnan(off)]
        print(
            f"angle of {len(off)} of {forks} forks against the truth {words}:", end=" "
        )
        print(f"{off.mean():+.1f}, error {np.abs(off).mean():.1f} degrees")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints the errors of the measures of vessels that are known.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=20, help="vessels of each kind")
    parser.add_argument("--phantoms", type=int, default=8, help="whole photographs")
    parser.add_argument("--seed", type=int, default=0, help="decides every vessel")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    rng = np.random.default_rng(args.seed)
    print_single(args.repeats, rng=rng)
    print_forks(args.repeats, rng=rng)
    print_phantoms(args.phantoms, rng=rng)


if __name__ == "__main__":
    main()
