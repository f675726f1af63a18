"""Measures the vessels of maps and labels: structure, widths, lengths, bends, forks.

    pip install -r requirements/measure.txt           # scikit-image and skan, once
    python measure.py                                 # newest folder under output/
    python measure.py output/unet --segments --pictures
    python measure.py output/unet --micrometres-per-pixel 4.5
    python measure.py --labels --data input/DRIVE --observer 1st_manual

Writes FOLDER/measurements.csv with a row a photograph, FOLDER/segments.csv with a row
a segment (--segments), and FOLDER/widths/NAME.jpg, the centre lines coloured by width
over the photograph (--pictures). Rows are written as the work goes on. A map is
measured in the field of view that it was made in. A photograph of DRIVE takes about
half a second on one core. What every measure and column means: docs/measures.md; how
exact they are: python -m benchmarks.measure_phantoms

Units end the columns' names: `_px` and `_per_px2` are pixels, `_um` and `_per_um2`
micrometres with --micrometres-per-pixel, `_degrees` degrees; the rest has none. Where
segments start and end is always in pixels. A value that cannot be had is empty, and the
column `reasons` says why. `scale` is that at which the network saw the photograph: what
is measured is the map, in the photograph's own pixels.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina import datasets, maps
from retina.commands import above_zero, run
from retina.field_of_view import estimate_field_of_view
from retina.files import (
    InputError,
    append_rows,
    fingerprint,
    read_table,
    require_writable,
    whole_file,
)
from retina.identity import identify
from retina.labels import vessel_value
from retina.maps import Row
from retina.pictures import full_scale, read_pixels

if TYPE_CHECKING:
    from retina.morphometry import Measures, Segment

MEASUREMENTS, SEGMENTS = "measurements.csv", "segments.csv"
PICTURE_SIDE = 1600  # pixels, the longer one, of a picture of widths
LINE, COLOURS = 1.8, "rainbow"  # points; bright from end to end, on grey


@dataclass(frozen=True)
class Subject:
    """The vessels of one photograph, ready to be measured.

    Attributes:
        photograph: its file.
        photograph_sha256: of that file.
        vessels: bool array of shape (H, W).
        vessels_from: where they are from, in words.
        field_of_view: bool array of shape (H, W).
        field_from: one of `maps.FIELDS_FROM`.
        row: of the map; None of a label.
    """

    photograph: Path
    photograph_sha256: str
    vessels: np.ndarray
    vessels_from: str
    field_of_view: np.ndarray
    field_from: str
    row: Row | None = None


@dataclass(frozen=True)
class Source:
    """What is to be measured.

    Attributes:
        name: of the photograph.
        path: of the map or the label.
        read: reads it; raises whatever a damaged file brings about.
    """

    name: str
    path: Path
    read: Callable[[], Subject]


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
        help="from predict.py; default: the newest under output/",
    )
    add("--threshold", type=float, help="0..1; default: that of each map's row")
    add = parser.add_argument_group("labels instead of maps").add_argument
    add("--labels", action="store_true", help="measure a data set's labels")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    add("--split", choices=datasets.SPLITS, default="training", help="of --data")
    observers = datasets.OBSERVERS
    add("--observer", choices=observers, default=observers[0], help="who drew them")
    values = "values of the labels that are vessel, if check.py cannot tell"
    add("--vessel-values", type=vessel_value, nargs="+", metavar="VALUE", help=values)
    add = parser.add_argument_group("what is written").add_argument
    size = "scale; default: lengths in pixels"
    add("--micrometres-per-pixel", type=above_zero, help=size)
    add("--segments", action="store_true", help="write a row for every segment too")
    add("--pictures", action="store_true", help="draw the widths over the photographs")
    default = "default: FOLDER, or output/labels-DATA-SPLIT-OBSERVER"
    add("--output", type=Path, help=default)
    others = "write over the measurements of other maps or labels in --output"
    add("--replace", action="store_true", help=others)
    args = parser.parse_args(argv)
    if args.labels and (args.folder or args.threshold is not None):
        parser.error("--labels measures --data: leave out FOLDER and --threshold")
    if args.vessel_values and not args.labels:
        parser.error("--vessel-values is of labels: add --labels")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        parser.error(f"--threshold must be 0..1, got {args.threshold}")
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


# ---- what is measured


def list_sources(args: argparse.Namespace) -> tuple[list[Source], Path]:
    """All maps or labels that are asked for, and the folder where results go."""
    if args.labels:
        cases = datasets.list_cases(args.data, args.split)
        datasets.require_labels(cases, args.observer)
        name = f"labels-{args.data.absolute().name}-{args.split}-{args.observer}"
        read = partial(
            read_labelled_subject,
            observer=args.observer,
            vessel_values=args.vessel_values,
        )
        sources = [
            Source(case.name, case.labels[args.observer], partial(read, case))
            for case in cases
        ]
        return sources, args.output or Path("output") / name
    folder = args.folder or maps.newest_predictions()
    rows = maps.read_predictions(folder)
    if not rows:
        raise InputError(
            f"expected notes on maps in {folder / maps.TABLE}, found no row: run "
            "predict.py first"
        )
    read = partial(read_mapped_subject, folder, threshold=args.threshold)
    sources = [
        Source(name, maps.paths_of(folder, name)["map"], partial(read, row))
        for name, row in rows.items()
    ]
    return sources, args.output or folder


def read_labelled_subject(
    case: datasets.Case, observer: str, vessel_values: Sequence[int] | None
) -> Subject:
    """The vessels that `observer` drew, in the field of view of the data set."""
    if case.field_of_view is None:
        field = estimate_field_of_view(read_pixels(case.image))
        inside = field.inside
        field_from = "estimated" if field.round else "whole photograph"
    else:
        inside, field_from = datasets.read_field_of_view(case), "data set"
    return Subject(
        photograph=case.image,
        photograph_sha256=fingerprint(case.image),
        vessels=datasets.read_label(case, observer, vessel_values),
        vessels_from=f"label of {observer}",
        field_of_view=inside,
        field_from=field_from,
    )


def read_mapped_subject(folder: Path, row: Row, threshold: float | None) -> Subject:
    """The vessels of a map, in the field of view that it was made in."""
    read = maps.read_map(folder, row)
    threshold = row.threshold if threshold is None else threshold
    return Subject(
        photograph=Path(row.photograph),
        photograph_sha256=row.photograph_sha256,
        vessels=read.probability >= threshold,
        vessels_from=f"map cut at {threshold:g}",
        field_of_view=read.field_of_view,
        field_from=row.field_from,
        row=row,
    )


# ---- tables


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
    source: Source, subject: Subject, measures: Measures, scale: float | None
) -> dict[str, object]:
    """The row of measurements.csv of one photograph."""
    units = import_morphometry().PHOTOGRAPH_UNITS
    row = subject.row
    return {
        "name": source.name,
        "photograph": subject.photograph,
        "photograph_sha256": subject.photograph_sha256,
        "vessels": subject.vessels_from,
        "source": source.path,
        "field_of_view": subject.field_from,
        "scale": row and f"{row.scale:g}",
        "scale_from": row and row.scale_from,
        "note": row and row.note,
        "micrometres_per_pixel": scale and f"{scale:g}",
        **in_units(measures.values, measures.reasons, units, scale),
    }


def segment_rows(
    source: Source, measures: Measures, scale: float | None
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
                "name": source.name,
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


def require_own(output: Path, sources: Sequence[Source]) -> None:
    """Raises an InputError where `output` has measurements of something else."""
    path = output / MEASUREMENTS
    if not path.exists():
        return
    titles, *rows = read_table(path) or [[]]
    files = {source.path.resolve() for source in sources}
    if "source" in titles:
        place = titles.index("source")
        there = [row[place] for row in rows if len(row) == len(titles)]
        others = [file for file in there if Path(file).resolve() not in files]
    else:
        others = ["maps or labels of which it does not tell"]
    if others:
        raise InputError(
            f"expected no measurements of other maps or labels in {path}, found those "
            f"of {others[0]}: choose another folder with --output, or write over them "
            "with --replace"
        )


# ---- pictures


def read_reduced(subject: Subject) -> np.ndarray:
    """The photograph, no larger than is drawn, in grey; black where it is gone.

    Returns:
        float array of shape (H, W), 0..1.

    Raises:
        InputError: it cannot be read, or the map is of another one.
    """
    step = max(1, max(subject.vessels.shape) // PICTURE_SIDE)
    if not subject.photograph.is_file():
        return np.zeros_like(subject.vessels[::step, ::step], float)
    pixels = read_pixels(subject.photograph)
    if subject.row:
        maps.require_photograph(subject.row, identify(subject.photograph, pixels))
    return pixels[::step, ::step, 1] / full_scale(pixels)  # vessels are dark in green


def draw_widths(
    path: Path,
    subject: Subject,
    segments: Sequence[Segment],
    scale: float | None,
) -> None:
    """Draws the centre lines coloured by width, thin and grey where they have none."""
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    height, width = subject.vessels.shape
    zoom = PICTURE_SIDE / max(height, width)
    wide, high = zoom * width, zoom * height
    bar = 0.1 * max(wide, high)  # pixels beside the photograph
    figure = Figure(((wide + bar) / 100, high / 100), dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, wide / (wide + bar), 1))
    axes.set_axis_off()
    image = 0.6 * read_reduced(subject)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent)
    pieces, widths = line_pieces(segments)
    widths *= scale or 1.0
    known = np.isfinite(widths)
    axes.add_collection(LineCollection(pieces[~known], colors="0.75", lw=0.8))
    lines = LineCollection(
        pieces[known], cmap=matplotlib.colormaps[COLOURS], lw=LINE, capstyle="round"
    )
    lines.set_array(widths[known])
    lines.set_clim(0, np.percentile(widths[known], 99) if known.any() else 1)
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


# ---- the command


def measure_all(
    sources: Sequence[Source], output: Path, args: argparse.Namespace
) -> tuple[int, list[str]]:
    """Measures one after the other, and writes rows and pictures at once.

    Returns:
        How many rows were written, and a sentence on each failure.
    """
    morphometry = import_morphometry()
    scale = args.micrometres_per_pixel
    done, failures = 0, []
    for source in sources:
        try:
            subject = source.read()
            measures = morphometry.measure_vessels(
                subject.vessels, subject.field_of_view
            )
            row = photograph_row(source, subject, measures, scale)
            parts = segment_rows(source, measures, scale) if args.segments else []
        except Exception as error:  # whatever a file of somebody else's brings about
            failures.append(failure_sentence(source, error))
            continue
        path = output / "widths" / f"{source.name}.jpg"
        path.unlink(missing_ok=True)  # of earlier measurements, as the tables are
        if not done:
            (output / MEASUREMENTS).unlink(missing_ok=True)
            (output / SEGMENTS).unlink(missing_ok=True)
        append_rows(output / MEASUREMENTS, list(row), [list(row.values())])
        if parts:
            lines = [list(part.values()) for part in parts]
            append_rows(output / SEGMENTS, list(parts[0]), lines)
        done += 1
        if args.pictures:
            try:
                draw_widths(path, subject, measures.segments, scale)
            except Exception as error:
                failures.append(failure_sentence(source, error, "draw"))
        say(summary_line(row))
    return done, failures


def say(line: str) -> None:
    """Prints a line; once nobody listens, as in `measure.py | head`, to nowhere."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failure_sentence(source: Source, error: Exception, what: str = "measure") -> str:
    """What is said of a map or label that could not be measured or drawn."""
    if isinstance(error, InputError):
        return str(error)
    reason = str(error).strip().partition("\n")[0][:300]
    return (
        f"expected to {what} {source.path}, but it failed ({type(error).__name__}: "
        f"{reason}): check the file, or leave it out"
    )


def summary_line(row: dict[str, object]) -> str:
    """One line on a row of measurements.csv."""
    unit = "um" if row["micrometres_per_pixel"] else "px"
    shown = ("vessel_density", f"total_length_{unit}", f"mean_width_{unit}")
    return f"{row['name']:16s} " + "  ".join(f"{n} {row[n] or 'none'}" for n in shown)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sources, output = list_sources(args)
    import_morphometry()
    if not args.replace:
        require_own(output, sources)
    require_writable(output)
    done, failures = measure_all(sources, output, args)
    print(f"{done} of {len(sources)} photographs measured: {output / MEASUREMENTS}")
    if failures:
        raise InputError("\n".join(["not measured or drawn:", *failures]))


if __name__ == "__main__":
    run(main, "measure.py", stopped=f"the rows that are done are in {MEASUREMENTS}")
