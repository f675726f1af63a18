"""Measures the vessels of maps and labels: structure, widths, lengths, bends, forks.

    pip install -r requirements/measure.txt           # scikit-image and skan, once
    python measure.py                                 # newest folder under output/
    python measure.py output/unet --segments --pictures
    python measure.py output/unet --micrometres-per-pixel 4.5
    python measure.py --labels --data input/DRIVE --observer 1st_manual

Writes FOLDER/measurements.csv with a row a photograph, FOLDER/segments.csv with a row
a segment (--segments), and FOLDER/widths/NAME.jpg, the centre lines coloured by width
over the photograph (--pictures). A photograph of DRIVE takes about half a second on one
core. What every measure means, and its source, stands in morphometry.py; how exact they
are: python -m benchmarks.measure_phantoms

Units end the columns' names: `_px` and `_per_px2` are pixels, `_um` and `_per_um2`
micrometres with --micrometres-per-pixel, `_degrees` degrees; the rest has none. Where
segments start and end is always in pixels. A value that cannot be had is empty, and the
column `reasons` says why.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina import datasets
from retina.field_of_view import estimate_field_of_view
from retina.files import InputError, whole_file
from retina.maps import newest_predictions, read_predictions, read_probability
from retina.pictures import read_image

if TYPE_CHECKING:
    from retina.morphometry import Measures, Segment

PICTURE_SIDE = 1200  # pixels: smaller photographs are drawn enlarged


@dataclass(frozen=True)
class Subject:
    """The vessels of one photograph, ready to be measured.

    Attributes:
        name: of the map or the case.
        photograph: its file.
        image: float32 array of shape (H, W, 3), None where it cannot be read.
        vessels: bool array of shape (H, W).
        vessels_from: where they are from, in words.
        field_of_view: bool array of shape (H, W), None where it is not known.
        field_from: where that is from, in words.
    """

    name: str
    photograph: Path
    image: np.ndarray | None
    vessels: np.ndarray
    vessels_from: str
    field_of_view: np.ndarray | None
    field_from: str


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measures the vessels of maps and labels.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument_group("maps").add_argument
    add(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="from predict.py; None: the newest under output/",
    )
    add("--threshold", type=float, help="0..1; None: that of each map's row")
    add = parser.add_argument_group("labels instead of maps").add_argument
    add("--labels", action="store_true", help="measure a data set's labels")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    add("--split", choices=datasets.SPLITS, default="training", help="of --data")
    observers = datasets.OBSERVERS
    add("--observer", choices=observers, default=observers[0], help="who drew them")
    add = parser.add_argument_group("what is written").add_argument
    add("--micrometres-per-pixel", type=float, help="scale; None: lengths in pixels")
    add("--segments", action="store_true", help="write a row for every segment too")
    add("--pictures", action="store_true", help="draw the widths over the photographs")
    add("--output", type=Path, help="None: FOLDER, or output/labels-SPLIT-OBSERVER")
    args = parser.parse_args(argv)
    if args.labels and (args.folder or args.threshold is not None):
        parser.error("--labels measures --data: leave out FOLDER and --threshold")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        parser.error(f"--threshold must be 0..1, got {args.threshold}")
    scale = args.micrometres_per_pixel
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        parser.error(f"--micrometres-per-pixel must be more than 0, got {scale}")
    return args


def import_morphometry():
    """The module that measures, which needs packages that the rest does not."""
    try:
        from retina import morphometry
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected scikit-image and skan, but {error.name} is not installed: "
            "pip install -r requirements/measure.txt"
        ) from None
    return morphometry


# --- what is measured ----------------------------------------------------------------


def list_subjects(args: argparse.Namespace) -> list[Callable[[], Subject]]:
    """Readers of all labels or maps that are asked for; sets where results go."""
    if args.labels:
        cases = datasets.list_cases(args.data, args.split)
        datasets.require_labels(cases, args.observer)
        default = Path("output") / f"labels-{args.split}-{args.observer}"
        args.output = args.output or default
        return [partial(read_labelled, case, args.observer) for case in cases]
    folder = args.folder or newest_predictions()
    rows = read_predictions(folder)
    if not rows:
        raise InputError(
            f"expected notes on maps in {folder / 'predictions.csv'}, found no row: "
            "run predict.py first"
        )
    args.output = args.output or folder
    return [partial(read_map, folder, row, args.threshold) for row in rows.values()]


def read_labelled(case: datasets.Case, observer: str) -> Subject:
    """The vessels that `observer` drew, in the field of view of the data set."""
    return Subject(
        name=case.name,
        photograph=case.image,
        image=read_image(case.image),
        vessels=datasets.read_label(case, observer),
        vessels_from=f"label of {observer}",
        field_of_view=datasets.read_field_of_view(case),
        field_from="data set",
    )


def read_map(folder: Path, row: dict[str, str], threshold: float | None) -> Subject:
    """The vessels of a map, in the field of view estimated from its photograph."""
    path = folder / f"{row['name']}.png"
    probability = read_probability(path)
    threshold = read_threshold(folder, row) if threshold is None else threshold
    photograph = Path(row["photograph"])
    image = read_image(photograph) if photograph.is_file() else None
    field_of_view, field_from = None, f"unknown: found no {photograph}"
    if image is not None:
        if image.shape[:2] != probability.shape:
            height, width = image.shape[:2]
            raise InputError(
                f"expected {width} x {height} pixels in {path}, as in {photograph}, "
                f"received {probability.shape[1]} x {probability.shape[0]}: predict it "
                "again"
            )
        estimate = estimate_field_of_view(image)
        field_of_view = estimate.inside
        field_from = "estimated" if estimate.round else "whole photograph"
    return Subject(
        name=row["name"],
        photograph=photograph,
        image=image,
        vessels=probability >= threshold,
        vessels_from=f"map cut at {threshold:g}",
        field_of_view=field_of_view,
        field_from=field_from,
    )


def read_threshold(folder: Path, row: dict[str, str]) -> float:
    """The threshold that predict.py noted of a map."""
    try:
        return float(row["threshold"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"expected a threshold for {row['name']} in {folder / 'predictions.csv'}, "
            f"received {row.get('threshold')!r}: give --threshold"
        ) from None


# --- tables --------------------------------------------------------------------------


def in_units(
    values: dict[str, float | None],
    reasons: dict[str, str],
    units: dict[str, str],
    scale: float | None,
) -> dict[str, str]:
    """A row's columns: each value in its unit, empty where there is a reason."""
    factors = {"px": scale or 1.0, "per_px2": (scale or 1.0) ** -2}
    names, row = {}, {}
    for name, unit in units.items():
        written = unit.replace("px", "um") if scale else unit
        names[name] = f"{name}_{written}" if unit else name
        value = values[name]
        exact = None if value is None else value * factors.get(unit, 1.0)
        row[names[name]] = "" if exact is None else f"{exact:.6g}"
    row["reasons"] = "; ".join(f"{names[n]}: {why}" for n, why in reasons.items())
    return row


def photograph_row(
    subject: Subject, measures: Measures, scale: float | None
) -> dict[str, object]:
    """The row of measurements.csv of one photograph."""
    units = import_morphometry().PHOTOGRAPH_UNITS
    return {
        "name": subject.name,
        "photograph": subject.photograph,
        "vessels": subject.vessels_from,
        "field_of_view": subject.field_from,
        "micrometres_per_pixel": "" if scale is None else f"{scale:g}",
        **in_units(measures.values, measures.reasons, units, scale),
    }


def segment_rows(
    subject: Subject, measures: Measures, scale: float | None
) -> list[dict[str, object]]:
    """The rows of segments.csv of one photograph."""
    morphometry = import_morphometry()
    rows = []
    for number, segment in enumerate(measures.segments, start=1):
        (row, column), (last_row, last_column) = segment.points[[0, -1]].round(2)
        values, reasons = morphometry.measure_segment(
            segment, measures.values["bend_scale"]
        )
        rows.append(
            {
                "name": subject.name,
                "segment": number,
                "start": segment.ends[0],
                "start_row": row,
                "start_column": column,
                "end": segment.ends[1],
                "end_row": last_row,
                "end_column": last_column,
                **in_units(values, reasons, morphometry.SEGMENT_UNITS, scale),
            }
        )
    return rows


def write_table(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Writes rows of the same columns as a CSV file."""
    with (
        whole_file(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["name"])
        writer.writeheader()
        writer.writerows(rows)


# --- pictures ------------------------------------------------------------------------


def draw_widths(
    path: Path, subject: Subject, segments: Sequence[Segment], scale: float | None
) -> None:
    """Draws the centre lines coloured by width, white where they have none."""
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    height, width = subject.vessels.shape
    zoom = max(PICTURE_SIDE / max(height, width), 1)
    wide, high = zoom * width, zoom * height
    bar = 0.1 * max(wide, high)  # pixels beside the photograph
    figure = Figure(((wide + bar) / 100, high / 100), dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, wide / (wide + bar), 1))
    axes.set_axis_off()
    black = np.zeros((height, width, 3))
    image = black if subject.image is None else 0.75 * subject.image
    axes.imshow(image, interpolation="bilinear")
    pieces, widths = line_pieces(segments)
    widths *= scale or 1.0
    colours = matplotlib.colormaps["turbo"].with_extremes(bad="white")
    lines = LineCollection(pieces, cmap=colours, lw=0.9 * zoom, capstyle="round")
    lines.set_array(np.ma.masked_invalid(widths))
    known = widths[np.isfinite(widths)]
    lines.set_clim(0, np.percentile(known, 99) if len(known) else 1)
    axes.add_collection(lines)
    place = figure.add_axes(((wide + 0.15 * bar) / (wide + bar), 0.05, 0.02, 0.9))
    unit, size = "micrometres" if scale else "pixels", 0.1 * bar
    figure.colorbar(lines, cax=place).set_label(
        f"width, {unit}", color="white", fontsize=size
    )
    place.tick_params(colors="white", labelsize=size)
    with whole_file(path) as part:
        figure.savefig(part, pil_kwargs={"quality": 90})


def line_pieces(segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """All steps (N, 2, 2) of centre lines as (x, y), and their widths (N,), pixels."""
    pieces, widths = [np.empty((0, 2, 2))], [np.empty(0)]
    for segment in segments:
        points = segment.points[:, ::-1]
        pieces.append(np.stack([points[:-1], points[1:]], axis=1))
        widths.append((segment.widths[:-1] + segment.widths[1:]) / 2)
    return np.concatenate(pieces), np.concatenate(widths)


# --- the command ---------------------------------------------------------------------


def measure_all(
    readers: Sequence[Callable[[], Subject]], args: argparse.Namespace
) -> list[str]:
    """Measures one after the other. Returns a sentence on each failure."""
    morphometry = import_morphometry()
    scale = args.micrometres_per_pixel
    rows, parts, failures = [], [], []
    for read in readers:
        try:
            subject = read()
        except InputError as error:
            failures.append(str(error))
            continue
        measures = morphometry.measure_vessels(subject.vessels, subject.field_of_view)
        rows.append(photograph_row(subject, measures, scale))
        parts += segment_rows(subject, measures, scale) if args.segments else []
        if args.pictures:
            path = args.output / "widths" / f"{subject.name}.jpg"
            draw_widths(path, subject, measures.segments, scale)
        print(describe(rows[-1]), flush=True)
    if rows:
        write_table(args.output / "measurements.csv", rows)
    if args.segments:
        write_table(args.output / "segments.csv", parts)
    return failures


def describe(row: dict[str, object]) -> str:
    """One line on a row of measurements.csv."""
    unit = "um" if row["micrometres_per_pixel"] else "px"
    shown = ("vessel_density", f"total_length_{unit}", f"mean_width_{unit}")
    return f"{row['name']:16s} " + "  ".join(f"{n} {row[n] or 'none'}" for n in shown)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    readers = list_subjects(args)
    import_morphometry()
    failures = measure_all(readers, args)
    count = len(readers) - len(failures)
    print(f"{count} photographs measured: {args.output / 'measurements.csv'}")
    if failures:
        raise InputError("\n".join(["not measured:", *failures]))


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"measure.py: {error}")
