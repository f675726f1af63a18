"""Measures the vessels of maps and labels: structure, widths, lengths, bends, forks.

    pip install -r requirements/measure.txt           # scikit-image and skan, once
    python measure.py                                 # newest folder under output/
    python measure.py output/unet --segments --pictures
    python measure.py output/unet --micrometres-per-pixel 4.5
    python measure.py output/unet --calibration scales.csv
    python measure.py output/one --centre 280 430 --radius 40     # zones, too
    python measure.py --labels --data input/DRIVE --observer 1st_manual
    python measure.py --vessels output/unet           # pictures that somebody edited

Writes FOLDER/measurements.csv with a row a photograph, FOLDER/segments.csv with a row
a segment (--segments), and pictures NAME.jpg (--pictures) in FOLDER/widths/, segments/,
branch_points/ and left_out/. What an earlier run wrote there is removed. A photograph
of DRIVE takes half a second on one core, its pictures two more.

A map is measured in its own pixels and in the field of view that it was made in;
`profile_width` in the photograph, across the vessels of the map. With --centre and
--radius of the optic disc a photograph has three rows: `field`, and the rings `zone B`,
2 to 3 radii from the centre, and `zone C`, 2 to 5. --vessels measures the pictures of
predict.py --vessels instead of maps, also after a person corrected them in any paint
program: white is vessel, and the size must stay. measurements.csv lies beside them, and
says how many pixels were added and removed.

What every column means: docs/measures.md. They end in their units, `_px`, `_um` or
`_degrees`; a value that cannot be had is empty, and the column `reasons` says why.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina import corrections, datasets, figures, maps
from retina.commands import HelpFormatter, above_zero, micrometres, run, share
from retina.field_of_view import estimate_field_of_view
from retina.files import (
    InputError,
    append_rows,
    counted,
    explain_failure,
    fingerprint,
    locked,
    read_table,
    require_no_link,
    require_writable,
    write_table,
)
from retina.identity import identify
from retina.labels import vessel_value
from retina.maps import Row
from retina.measurements import (
    MEASUREMENTS,
    SEGMENTS,
    Source,
    Subject,
    import_morphometry,
    measure_regions,
    photograph_row,
    read_corrected_subject,
    read_mapped_subject,
    segment_rows,
)
from retina.pictures import full_scale, read_pixels

if TYPE_CHECKING:
    from retina.morphometry import Measures

ZONES = {"zone B": (2.0, 3.0), "zone C": (2.0, 5.0)}  # radii of the optic disc
LOCK = ".measure.lock"  # beside the table: one run at a time writes it
ALIKE = 0.05  # by which sizes of one camera's fields may differ; RIDB's: 0.002
FIELDS = (1.0, 60.0)  # millimetres of retina that a photograph shows


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    _check(args, parser)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measures the vessels of maps and labels.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument_group("maps").add_argument
    newest = "from predict.py; default: the newest under output/"
    add("folder", nargs="?", type=Path, metavar="FOLDER", help=newest)
    least = "least probability of a vessel, 0 to 1; default: that in each map's row"
    add("--threshold", type=share, help=least)
    pictures = "measure pictures by predict.py --vessels, which may have been edited"
    add("--vessels", type=Path, metavar="FOLDER", help=pictures)
    add = parser.add_argument_group("labels instead of maps").add_argument
    add("--labels", action="store_true", help="measure a data set's labels")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a data set's folder")
    part = "which part of --data"
    add("--split", choices=datasets.SPLITS, default="training", help=part)
    observers, who = datasets.OBSERVERS, "who drew the labels"
    add("--observer", choices=observers, default=observers[0], help=who)
    values = "values of the labels that are vessel, if check.py cannot tell"
    add("--vessel-values", type=vessel_value, nargs="+", metavar="VALUE", help=values)
    add = parser.add_argument_group("what is written").add_argument
    size = "scale; default: lengths in pixels"
    add("--micrometres-per-pixel", type=micrometres, help=size)
    own = "CSV: photograph,micrometres_per_pixel; each has its own scale"
    add("--calibration", type=Path, metavar="FILE", help=own)
    point = "of the optic disc, pixels, of a single photograph: measure its zones, too"
    add("--centre", type=float, nargs=2, metavar=("ROW", "COLUMN"), help=point)
    add("--radius", type=above_zero, help="of the optic disc, pixels")
    table = "also write segments.csv, a row a segment"
    add("--segments", action="store_true", help=table)
    drawn = "draw what was measured, on the photographs"
    add("--pictures", action="store_true", help=drawn)
    default = "default: where the maps or pictures are, or output/labels-..."
    add("--output", type=Path, help=default)
    others = "write over the measurements of other maps or labels in --output"
    add("--replace", action="store_true", help=others)
    return parser


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if args.labels and (args.folder or args.threshold is not None or args.vessels):
        others = "FOLDER, --threshold and --vessels"
        parser.error(f"--labels measures --data: leave out {others}")
    if args.vessels and args.threshold is not None:
        parser.error("--vessels measures pictures, cut already: leave out --threshold")
    if args.vessel_values and not (args.labels or args.vessels):
        needed = "labels or pictures: add --labels or --vessels"
        parser.error(f"--vessel-values needs {needed}")
    if (args.centre is None) != (args.radius is None):
        parser.error("--centre and --radius go together: give both or neither")
    if args.calibration and args.micrometres_per_pixel:
        parser.error("--calibration and --micrometres-per-pixel: give one of them")


# ---- what is measured


def list_sources(args: argparse.Namespace) -> tuple[list[Source], Path]:
    """All maps, labels or pictures asked for, and the folder where results go."""
    if args.labels:
        return list_labels(args)
    if args.vessels:
        return list_pictures(args)
    folder = args.folder or maps.newest_predictions()
    rows = read_rows(folder)
    if edited := maps.list_edited(folder, rows):
        told = f"{counted(len(edited), 'picture')} of vessels edited in {folder}"
        print(f"{told}, but the maps are measured: --vessels {folder} takes pictures")
    read = partial(read_mapped_subject, folder, threshold=args.threshold)
    sources = [
        Source(name, maps.paths_of(folder, name)["map"], partial(read, row))
        for name, row in rows.items()
    ]
    return sources, args.output or folder


def list_labels(args: argparse.Namespace) -> tuple[list[Source], Path]:
    """The labels of a data set, and the folder where results go."""
    cases = datasets.list_cases(args.data, args.split)
    datasets.require_labels(cases, args.observer)
    name = f"labels-{args.data.absolute().name}-{args.split}-{args.observer}"
    read = partial(
        read_labelled_subject, observer=args.observer, vessel_values=args.vessel_values
    )
    sources = [
        Source(case.name, case.labels[args.observer], partial(read, case))
        for case in cases
    ]
    return sources, args.output or Path("output") / name


def list_pictures(args: argparse.Namespace) -> tuple[list[Source], Path]:
    """Pictures of vessels that may have been edited, and the folder where results go.

    They lie in the folder of the maps, in its folder of pictures, or in any other; then
    the maps' folder must be named, too.
    """
    around = (args.vessels, args.vessels.absolute().parent)
    with_maps = [path for path in around if (path / maps.TABLE).is_file()]
    if not (args.folder or with_maps):
        raise InputError(
            f"expected a {maps.TABLE} in {args.vessels} or above it, found none: name "
            "the folder of the maps, too: python measure.py MAPS --vessels FOLDER"
        )
    folder = args.folder or with_maps[0]
    pictures = folder / "vessels" if folder == args.vessels else args.vessels
    if pictures != args.vessels and not args.output:
        require_no_link(pictures)
    rows = read_rows(folder)
    read = partial(
        read_corrected_subject, folder=folder, vessel_values=args.vessel_values
    )
    found, skipped = corrections.find_pictures(pictures, folder, rows)
    if skipped:
        print(skipped)
    if without := sorted(rows.keys() - found.keys()):
        print(f"{counted(len(without), 'map')} without a picture: {', '.join(without)}")
    sources = [
        Source(name, path, partial(read, path, row=rows[name]))
        for name, path in found.items()
    ]
    return sources, args.output or pictures


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of a folder's maps, one at least; warns if they are hard to compare."""
    rows = maps.read_predictions(folder)
    if not rows:
        raise InputError(
            f"expected notes on maps in {folder / maps.TABLE}, found no row: run "
            "predict.py first"
        )
    try:
        maps.require_poolable(rows.values())
    except InputError as error:
        print(f"warning: the rows are hard to compare: {error}")
    return rows


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


# ---- tables


def read_calibration(path: Path) -> dict[str, float]:
    """Micrometres per pixel of photographs, by name, from a CSV file.

    Between its cells are commas, or semicolons: then numbers may have decimal commas.
    """
    scales: dict[str, float] = {}
    try:
        text = path.read_text("utf-8-sig", errors="surrogateescape")
        parted = ";" if ";" in text.partition("\n")[0] else ","
        lines = csv.reader(io.StringIO(text), delimiter=parted, skipinitialspace=True)
        titles, *rows = [[cell.strip() for cell in line] for line in lines if line]
        name, size = map(titles.index, ("photograph", "micrometres_per_pixel"))
        for row in rows:
            if len(row) != len(titles):
                raise ValueError(f"{len(row)} cells in a row: {parted.join(row)}")
            number = row[size].replace(",", ".") if parted == ";" else row[size]
            photograph = row[name].removeprefix("'")  # as tables here mark formulas
            if scales.setdefault(photograph, micrometres(number)) != float(number):
                raise ValueError(f"two scales of {photograph}")
    except (OSError, ValueError, csv.Error, argparse.ArgumentTypeError) as error:
        raise InputError(
            "expected the columns photograph and micrometres_per_pixel, and one number "
            f"for each photograph, in {path}, found something else ({error}): change it"
        ) from None
    return scales


def list_scales(
    sources: Sequence[Source], args: argparse.Namespace
) -> dict[str, float | None]:
    """Name -> micrometres per pixel, None where a photograph is measured in pixels."""
    if args.calibration is None:
        return {source.name: args.micrometres_per_pixel for source in sources}
    scales = read_calibration(args.calibration)
    missing = [source.name for source in sources if source.name not in scales]
    if missing:
        raise InputError(
            f"expected a scale of every photograph in {args.calibration}, by its name "
            f"in {MEASUREMENTS}, found none of {', '.join(missing)}: add a row for each"
        )
    return scales


def describe_doubts(
    frames: dict[str, tuple[int, int, float]],
    scales: dict[str, float | None],
    shared: bool,
) -> list[str]:
    """What is doubtful about the scales of photographs.

    Args:
        frames: height, width and diameter of the field, pixels, by name.
        scales: micrometres per pixel, None where it is not known, by name.
        shared: whether all have the same scale.
    """
    doubts, cameras = [], {}
    for name, frame in frames.items():
        if not any(np.allclose(frame, other, ALIKE) for other in cameras.values()):
            cameras[name] = frame
    if shared and len(cameras) > 1:
        seen = (f"{n} {w} x {h}, field {d:.0f}" for n, (h, w, d) in cameras.items())
        doubts.append(
            f"photographs that may be of {len(cameras)} cameras ({'; '.join(seen)}) "
            "share --micrometres-per-pixel: give each its own with --calibration"
        )
    wide = {n: scales[n] * frames[n][2] / 1000 for n in frames if scales[n]}  # mm
    odd = [name for name in wide if not FIELDS[0] <= wide[name] <= FIELDS[1]]
    if odd:
        doubts.append(
            f"the field of {counted(len(odd), 'photograph')}, {odd[0]} for one, would "
            f"be {wide[odd[0]]:.3g} mm wide, and cameras show {FIELDS[0]:g} to "
            f"{FIELDS[1]:g}: is the scale that of a pixel, in micrometres?"
        )
    return doubts


def list_zones(
    field_of_view: np.ndarray, centre: Sequence[float] | None, radius: float | None
) -> dict[str, np.ndarray]:
    """The parts of a field (H, W) in the zones around a point; none without a point.

    Raises:
        InputError: the point lies outside the picture, or a zone off the field.
    """
    if centre is None:
        return {}
    rows, columns = np.ogrid[: field_of_view.shape[0], : field_of_view.shape[1]]
    away = np.hypot(rows - centre[0], columns - centre[1]) / radius
    zones = {
        zone: field_of_view & (away >= near) & (away <= far)
        for zone, (near, far) in ZONES.items()
    }
    if not away.min() * radius < 1 or not all(zone.any() for zone in zones.values()):
        raise InputError(
            "expected --centre ROW COLUMN, and zones 2 to 5 --radius from there, "
            f"inside a field of {away.shape[0]} rows and {away.shape[1]} columns, "
            f"received {centre[0]:g} {centre[1]:g} and {radius:g}: measure the disc "
            "in pixels of the photograph"
        )
    for zone, (near, far) in ZONES.items():
        seen = zones[zone].sum() / (math.pi * (far**2 - near**2) * radius**2)
        if seen < 0.99:
            print(
                f"warning: {seen:.0%} of {zone} lies in the field, the rest is missing"
            )
    return zones


def require_own(output: Path, sources: Sequence[Source]) -> None:
    """Raises an InputError where `output` has measurements of something else."""
    path = output / MEASUREMENTS
    if not path.exists():
        if earlier := list_earlier(output, sources):
            raise InputError(
                f"expected no {earlier[0]} without a {path}, found one, which is not "
                "of this program: choose another folder with --output, or write over "
                "it with --replace"
            )
        return
    titles, *rows = read_table(path) or [[]]
    others = ["maps or labels that it does not name"]
    if "source" in titles:
        place, files = titles.index("source"), {each.path.resolve() for each in sources}
        there = [row[place] for row in rows if len(row) == len(titles)]
        others = [file for file in there if Path(file).resolve() not in files]
    if others:
        raise InputError(
            f"expected no measurements of other maps or labels in {path}, found those "
            f"of {others[0]}: choose another folder with --output, or write over them "
            "with --replace"
        )


def list_earlier(output: Path, sources: Sequence[Source]) -> list[Path]:
    """What lies where segments and pictures of these sources would be written."""
    pictures = [picture_paths(output, source.name).values() for source in sources]
    paths = (output / SEGMENTS, *itertools.chain(*pictures))
    return [path for path in paths if path.exists()]


# ---- pictures


def read_reduced(subject: Subject) -> np.ndarray:
    """The photograph in grey, reduced to what is drawn; black if it is gone.

    Returns:
        float array of shape (H, W), 0..1.

    Raises:
        InputError: it cannot be read, or the map is of another one.
    """
    step = max(1, max(subject.vessels.shape) // figures.PICTURE_SIDE)
    if not subject.photograph.is_file():
        return np.zeros_like(subject.vessels[::step, ::step], float)
    pixels = read_pixels(subject.photograph)
    if subject.row:
        maps.require_photograph(subject.row, identify(subject.photograph, pixels))
    return pixels[::step, ::step, 1] / full_scale(pixels)  # vessels are dark in green


def try_to_draw(
    source: Source,
    output: Path,
    subject: Subject,
    measures: Measures,
    scale: float | None,
    args: argparse.Namespace,
) -> list[str]:
    """Draws all pictures of a photograph. Returns a sentence if that fails."""
    rims = {1.0, *itertools.chain(*ZONES.values())} if args.centre else ()
    circles = [(*args.centre, rim * args.radius) for rim in rims]
    try:
        image, shape = read_reduced(subject), subject.vessels.shape
        for kind, path in picture_paths(output, source.name).items():
            figures.draw(kind, path, image, shape, measures, scale, circles)
    except Exception as error:
        return [explain_failure(error, f"draw {source.path}")]
    return []


def picture_paths(output: Path, name: str) -> dict[str, Path]:
    """Kind of picture -> where that of a photograph lies."""
    return {kind: output / kind / f"{name}.jpg" for kind in figures.KINDS}


# ---- the command


def measure_all(
    sources: Sequence[Source],
    scales: dict[str, float | None],
    output: Path,
    args: argparse.Namespace,
) -> tuple[int, list[str]]:
    """Measures one after the other, and writes rows and pictures at once.

    Returns:
        How many photographs that were, and a sentence on each failure.
    """
    frames, earlier, failures = {}, [], []
    for source in sources:
        scale = scales[source.name]
        try:
            subject, measures, rows, segments = measure_one(source, scale, args)
        except Exception as error:  # damaged files bring about any
            failures.append(explain_failure(error, f"measure {source.path}"))
            continue
        if not frames:  # until now an earlier run's results are worth keeping
            earlier = list_earlier(output, sources)
            for path in earlier:
                path.unlink()
        add_rows(output / MEASUREMENTS, rows, anew=not frames)
        if segments:
            add_rows(output / SEGMENTS, segments)
        if args.pictures:
            failures += try_to_draw(source, output, subject, measures, scale, args)
        diameter = import_morphometry().field_diameter(subject.field_of_view)
        frames[source.name] = (*subject.vessels.shape, diameter)
        print(summary_line(rows[0]), flush=True)
    for doubt in describe_doubts(frames, scales, bool(args.micrometres_per_pixel)):
        print(f"warning: {doubt}")
    if args.segments and frames and not (output / SEGMENTS).exists():
        print(f"no segment was traced: there is no {SEGMENTS}")
    pictures = [path for path in earlier if path.name != SEGMENTS]
    if pictures and not args.pictures:
        told = f"{counted(len(pictures), 'picture')} of earlier measurements removed"
        print(f"{told}: --pictures draws them anew")
    return len(frames), failures


def measure_one(
    source: Source, scale: float | None, args: argparse.Namespace
) -> tuple[Subject, Measures, list[dict], list[dict]]:
    """Reads and measures one photograph: what was read, the measures of its whole
    field, its rows, and those of its segments if they are asked for."""
    subject = source.read()
    zones = list_zones(subject.field_of_view, args.centre, args.radius)
    measured = measure_regions(subject, zones)
    rows, segments = [], []
    for region, one in measured.items():
        rows.append(photograph_row(source, subject, region, one, scale))
        if args.segments:
            segments += segment_rows(source, region, one, scale)
    return subject, measured["field"].measures, rows, segments


def add_rows(path: Path, rows: Sequence[dict], anew: bool = False) -> None:
    """Writes rows into a table; `anew`: over an earlier one, whole."""
    write = write_table if anew else append_rows
    write(path, list(rows[0]), [list(row.values()) for row in rows])


def summary_line(row: dict[str, object]) -> str:
    """One line on a row of measurements.csv."""
    unit = "um" if row["micrometres_per_pixel"] else "px"
    shown = ["vessel_density", f"total_length_{unit}", f"mean_width_{unit}"]
    if row["pixels_added"] is not None:
        shown += ["pixels_added", "pixels_removed"]
    cells = (f"{n} {'none' if row[n] == '' else row[n]}" for n in shown)
    note = f"  ({row['note']})" if row["note"] else ""
    return f"{row['name']:16s} " + "  ".join(cells) + note


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sources, output = list_sources(args)
    import_morphometry()
    if args.centre and len(sources) > 1:
        raise InputError(
            f"expected one photograph with --centre, found {len(sources)}, whose discs "
            "lie elsewhere: measure each in a folder of its own"
        )
    scales = list_scales(sources, args)
    require_no_link(*(output / kind for kind in (*figures.KINDS, LOCK)))
    require_writable(output)
    with locked(output / LOCK):  # another run may be at work: it ends first
        if not args.replace:
            require_own(output, sources)
        done, failures = measure_all(sources, scales, output, args)
    print(f"{done} of {len(sources)} photographs measured: {output / MEASUREMENTS}")
    if failures:
        raise InputError("\n".join(["not measured or drawn:", *failures]))


if __name__ == "__main__":
    run(main, "measure.py", stopped=f"the rows that are done are in {MEASUREMENTS}")
