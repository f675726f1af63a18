"""How true widths are: one eye at several sizes, and maps beside observers.

    python -m benchmarks.widths --phantoms 1            # about two minutes, 2 GB
    python -m benchmarks.widths input/DRIVE input/CHASE_DB1    # two seconds a picture
    python -m benchmarks.widths --phantoms 1 --side 150 --sizes 2 4        # cheap

First table: an eye is drawn at the largest size, blurred as its optics blur it, reduced
to the others, each with the blur and the noise of a sensor, and measured at each size
along the centre lines of its label there. Compared are the points at which this size
and the largest have both a profile, so classes of width begin at 3 pixels.

Second table: at the same points of the centre lines of the first observer's label, the
width as that observer, the second one and the network's map draw it, cut at the
network's threshold or those given, and the profile width along the map's centre lines.
"Found" is the share of these points at which the map has a width.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage, spatial

from benchmarks.measure_phantoms import follow_vessels
from retina import datasets, morphometry, networks, phantoms, prediction, profiles
from retina.commands import run
from retina.pictures import read_pixels

FIELD = 13_000  # micrometres: the diameter that the field is taken to have
ABSORPTION = 0.6  # of blood, in green, as in phantoms.expose
OPTICS_BLUR = 0.65  # pixels of DRIVE's size, as there
SENSOR_BLUR = 0.5  # pixels of each size
NOISE = (0.004, 0.016)  # of black, and of the square root of the brightness
CLASSES = (2, 3, 4, 6, 9)  # pixels of the smallest size: classes of true width
NOT_SCORED = ("23_A",)  # FIVES: its label is that of another photograph

# ---- one eye at several sizes


def draw_eye(
    side: int, factor: int, *, rng: np.random.Generator
) -> tuple[np.ndarray, phantoms.Eye, list[dict]]:
    """An eye of `side` pixels, drawn `factor` times as large.

    Returns:
        The green channel, float32 of shape (H, W), 0..1; the eye and its vessels, as in
        `Phantom.truth`, both of the small size.
    """
    eye = phantoms.place_eye(side, side, rng=rng)
    vessels, _ = phantoms.grow_vessels(eye, rng=rng)
    tissue = phantoms.draw_tissue(eye, rng=rng)
    tissue = phantoms.draw_disc(tissue, eye, rng=rng)
    tissue = tissue * phantoms.light_field(eye, rng=rng)
    picture = Image.fromarray(np.float32(tissue[..., 1]))
    size = side * factor, side * factor
    green = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    large = replace(eye, height=size[0], width=size[1], radius=eye.radius * factor)
    drawn = [enlarge(vessel, factor) for vessel in vessels]
    green = green * np.exp(-ABSORPTION * phantoms.draw_blood(drawn, large, rng=rng))
    blur = OPTICS_BLUR * large.radius / phantoms.DRIVE_RADIUS
    return ndimage.gaussian_filter(np.float32(green), blur), eye, vessels


def place(points: np.ndarray | float, factor: float) -> np.ndarray | float:
    """Coordinates of pixels in a picture `factor` times as large."""
    return (points + 0.5) * factor - 0.5


def enlarge(vessel: dict, factor: float) -> dict:
    """A vessel `factor` times as large, its points about a pixel apart again."""
    points, widths = np.array(vessel["points"]), np.array(vessel["widths"])
    steps = np.linspace(0, len(points) - 1, round((len(points) - 1) * factor) + 1)
    rows, columns, widths = (
        np.interp(steps, range(len(points)), values)
        for values in (*place(points, factor).T, widths * factor)
    )
    return vessel | {"points": np.stack([rows, columns], axis=1), "widths": widths}


def take(large: np.ndarray, side: int, *, rng: np.random.Generator) -> np.ndarray:
    """What a camera of `side` pixels makes of the drawing, uint8."""
    picture = Image.fromarray(large).resize((side, side), Image.Resampling.BOX)
    green = ndimage.gaussian_filter(np.asarray(picture), SENSOR_BLUR)
    noise = ndimage.gaussian_filter(rng.normal(size=green.shape), SENSOR_BLUR)
    green = green + noise * (NOISE[0] + NOISE[1] * np.sqrt(green))
    return np.uint8(np.clip(green, 0, 1) * 255 + 0.5)


def widths_of_eye(
    green: np.ndarray, eye: phantoms.Eye, vessels: list[dict], factor: float
) -> list[np.ndarray]:
    """Profile widths at the points of the small eye's vessels, in its pixels.

    Args:
        green: the photograph, `factor` times as large as the eye.
    """
    rows, columns = np.indices(green.shape)
    centre = place(eye.row, factor), place(eye.column, factor)
    field = np.hypot(rows - centre[0], columns - centre[1]) <= eye.radius * factor
    true = [enlarge(vessel, factor) for vessel in vessels]
    label = phantoms.draw_label(true, field)
    segments = morphometry.measure_vessels(label, field).segments
    across = profiles.measure_profiles(green, label, field, segments)
    number = {id(vessel): index for index, vessel in enumerate(true)}
    own = {id(segment): one for segment, one in zip(segments, across, strict=True)}
    found = [np.full(len(vessel["points"]), np.nan) for vessel in vessels]
    for segment, vessel, _ in follow_vessels(segments, true):
        index = number[id(vessel)]
        points = place(np.array(vessels[index]["points"]), factor)
        away, nearest = spatial.cKDTree(segment.points).query(points)
        near = away < np.array(vessels[index]["widths"]) * factor / 2
        found[index][near] = own[id(segment)].widths[nearest[near]] / factor
    return found


def print_sizes(count: int, side: int, sizes: Sequence[int], seed: int) -> None:
    """Prints the widths of phantoms at all sizes, a row for each class of width."""
    rng = np.random.default_rng(seed)
    tables = []
    for _ in range(count):
        large, eye, vessels = draw_eye(side, max(sizes), rng=rng)
        columns = [np.concatenate([vessel["widths"] for vessel in vessels])]
        for factor in sizes:
            green = take(large, side * factor, rng=rng)
            columns.append(np.concatenate(widths_of_eye(green, eye, vessels, factor)))
        tables.append(np.stack(columns, axis=1))
    widths = np.concatenate(tables)
    pixel = FIELD / (2 * eye.radius)
    print(f"{count} phantoms: mean profile width, micrometres (a field of {FIELD});")
    print(
        "how far it is from that of the largest size at the same points, and how many"
    )
    print("these are; last, the largest size's width over the true one.\n")
    titles = [f"{side * factor} pixels" for factor in sizes]
    print(f"{'true width':12s}" + "".join(f"{title:>24s}" for title in titles))
    for low, high in zip(CLASSES[:-1], CLASSES[1:], strict=True):
        chosen = widths[(widths[:, 0] >= low) & (widths[:, 0] < high)]
        if not np.isnan(chosen[:, -1]).all():
            shown = np.array(sizes) * low >= profiles.LEAST_WIDTH[0]
            print(f"{low * pixel:4.0f} to {high * pixel:3.0f} ", end="")
            print(size_row(chosen, shown, pixel))


def size_row(widths: np.ndarray, shown: Sequence[bool], pixel: float) -> str:
    """A row of the table.

    Args:
        widths: float array of shape (N, 1 + sizes), true and measured, pixels.
        shown: which sizes.
        pixel: micrometres.
    """
    cells = []
    for column, is_shown in enumerate(shown, start=1):
        pairs = widths[:, [column, -1]]
        pairs = pairs[~np.isnan(pairs).any(axis=1)]
        if not is_shown or not len(pairs):
            cells.append(f"{'':24s}")
            continue
        mean, largest = pairs.mean(axis=0)
        off = 100 * (mean / largest - 1)
        cells.append(f"{mean * pixel:8.1f} {off:+5.1f} % {len(pairs):7d}")
    true, largest = widths[~np.isnan(widths[:, -1])][:, [0, -1]].mean(axis=0)
    return f"{''.join(cells)} {largest / true:8.3f}"


# ---- maps beside observers


def case_widths(
    case: datasets.Case, network: networks.Network, thresholds: Sequence[float]
) -> list[np.ndarray]:
    """Widths (N, 4) at points of the first observer's centre lines, pixels.

    Columns: the first and the second observer, the map, the profile; nan where one has
    none. An array for each threshold that the map is cut at.
    """
    pixels = read_pixels(case.image)
    options = prediction.Options()
    photograph = prediction.Photograph(case.name, case.image, case.field_of_view)
    shown = prediction.read_photograph(photograph, network.record, options)
    mapped = prediction.predict_photograph(network, shown, options)
    field = shown.field.inside
    lines = {
        observer: morphometry.measure_vessels(
            datasets.read_label(case, observer), field
        ).segments
        for observer in datasets.OBSERVERS
        if case.has_label(observer)
    }
    first, second = lines["1st_manual"], lines.get("2nd_manual", [])
    points = np.concatenate([segment.points for segment in first])
    widths = np.concatenate([segment.widths for segment in first])
    drawn = [widths, widths_nearby(points, widths, second, list_widths(second))]
    tables = []
    for threshold in thresholds:
        vessels = mapped.probability >= threshold
        of_map = morphometry.measure_vessels(vessels, field).segments
        across = profiles.measure_profiles(pixels[..., 1], vessels, field, of_map)
        columns = drawn + [
            widths_nearby(points, widths, of_map, list_widths(those))
            for those in (of_map, across)
        ]
        table = np.stack(columns, axis=1)
        tables.append(table[~np.isnan(widths)])
    return tables


def list_widths(
    lines: Sequence[morphometry.Segment | profiles.Profile],
) -> list[np.ndarray]:
    """The widths along each line."""
    return [line.widths for line in lines]


def widths_nearby(
    points: np.ndarray,
    widths: np.ndarray,
    segments: Sequence[morphometry.Segment],
    those: Sequence[np.ndarray],
) -> np.ndarray:
    """Widths of other lines (N,) where one runs inside the vessel, else nan."""
    if not segments:
        return np.full(len(points), np.nan)
    tree = spatial.cKDTree(np.concatenate([segment.points for segment in segments]))
    away, nearest = tree.query(points)
    near = away < np.maximum(widths / 2, 1)
    return np.where(near, np.concatenate(those)[nearest], np.nan)


def percent(table: np.ndarray, column: int, base: int, also: int = 0) -> str:
    """By how much one column's mean width differs from another's, at common points."""
    common = ~np.isnan(table[:, [column, base, also]]).any(axis=1)
    if not common.any():
        return f"{'':>9s}"
    one, other = table[common][:, [column, base]].mean(axis=0)
    return f"{100 * (one / other - 1):+7.1f} %"


def print_agreement(
    folders: Sequence[str], model: Path, thresholds: Sequence[float], most: int | None
) -> None:
    """Prints the widths of maps and observers, a row for each set and threshold."""
    network = prediction.load_network(model)
    thresholds = thresholds or [network.record.threshold.value]
    print(f"Maps by {model}. Share: of the points at which the map has a width, those")
    print("with a profile, which the last three columns compare.\n")
    print(
        "data set       n  1st, px  2nd - 1st |  cut at  found  map - 1st | share  "
        "profile, px  1st - pr.  2nd - pr.  map - pr."
    )
    for folder in folders:
        cases = datasets.list_cases(folder, "training")
        cases = [case for case in cases if case.name not in NOT_SCORED][:most]
        tables = [case_widths(case, network, thresholds) for case in cases]
        for threshold, own in zip(thresholds, zip(*tables, strict=True), strict=True):
            table = np.concatenate(own)
            known = (~np.isnan(table)).sum(axis=0)
            print(
                f"{Path(folder).name:13s} {len(cases):2d} {table[:, 0].mean():8.2f} "
                f"{percent(table, 1, 0):>10s} | {threshold:7.3f} "
                f"{known[2] / known[0]:6.2f} {percent(table, 2, 0):>10s} | "
                f"{known[3] / known[2]:5.2f} {np.nanmean(table[:, 3]):12.2f} "
                f"{percent(table, 0, 3, 2):>10s} {percent(table, 1, 3, 2):>10s} "
                f"{percent(table, 2, 3):>10s}",
                flush=True,
            )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints how true widths are.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folders", nargs="*", help="data sets; of DRIVE the training photographs")
    add("--model", type=Path, default=Path("models/vessels.keras"), help="of the maps")
    cut = "that maps are cut at; default: the network's own"
    add("--thresholds", type=float, nargs="+", metavar="P", help=cut)
    add("--photographs", type=int, help="of each data set at most, the first ones")
    add("--phantoms", type=int, default=0, help="eyes that are drawn")
    add("--side", type=int, default=600, help="of the smallest size, pixels")
    add("--sizes", type=int, nargs="+", default=[1, 2, 4, 6], help="times that size")
    add("--seed", type=int, default=0, help="decides every eye")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.phantoms:
        print_sizes(args.phantoms, args.side, sorted(args.sizes), args.seed)
    if args.folders:
        print_agreement(args.folders, args.model, args.thresholds, args.photographs)


if __name__ == "__main__":
    run(main, "benchmarks.widths", stopped="run the same command again")
