"""Scores probability maps inside the field of view, and draws them.

    python evaluate.py                                # newest folder under output/
    python evaluate.py output/unet --split held-out   # what its fold held out
    python evaluate.py output/unet output/vgg16       # compares the two
    python evaluate.py output/unet --observer both
    python evaluate.py output/unet --thin-vessels     # sensitivity by width, clDice

Run predict.py first. Writes FOLDER/report/: report.html, one file with everything,
metrics.json, curves.png, predictions.png (photograph, label, probability) and
differences/NAME.png (missed vessels blue, false ones red, hits grey). Each map is
scored in the field of view that it was made in. Twenty photographs of DRIVE take about
five seconds on one core, and nine with --thin-vessels.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from retina import datasets, maps, report
from retina.commands import HelpFormatter, run
from retina.files import InputError, require_no_link
from retina.labels import vessel_value
from retina.maps import Row
from retina.scoring import (
    METRICS,
    Prediction,
    read_prediction,
    require_comparable,
    score_folder,
    write_report,
)

# ---- what is asked for


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Scores probability maps inside the field of view, and draws them.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument_group("what is scored").add_argument
    folders = "from predict.py; several are compared; default: the newest under output/"
    add("folders", nargs="*", type=Path, metavar="FOLDER", default=[], help=folders)
    data = Path("input/DRIVE")
    add("--data", type=Path, default=data, help="a data set's folder")
    splits = ("test", "training", "held-out")
    held_out = "held-out: training photographs that the networks were validated on"
    add("--split", choices=splits, default="test", help=held_out)
    observers, first = (*datasets.OBSERVERS, "both"), datasets.OBSERVERS[0]
    truth = "whose labels are the truth"
    add("--observer", choices=observers, default=first, help=truth)
    values = "values of the labels that are vessel, if check.py cannot tell"
    add("--vessel-values", nargs="+", type=vessel_value, metavar="VALUE", help=values)
    everywhere = "also AUC ROC over all pixels, as some papers have it; it is higher"
    add("--all-pixels", action="store_true", help=everywhere)
    thin = (
        "also sensitivity by vessel width, and clDice; needs requirements/measure.txt"
    )
    add("--thin-vessels", action="store_true", help=thin)
    output = "folder of the report; default: FOLDER/report, or output/comparison"
    parser.add_argument("--output", type=Path, help=output)
    args = parser.parse_args(argv)
    both = args.observer == "both"
    args.observers = datasets.OBSERVERS if both else (args.observer,)
    return args


def require_scikit_image() -> None:
    if importlib.util.find_spec("skimage") is None:
        raise InputError(
            "expected scikit-image for --thin-vessels, but it is not installed: "
            "pip install -r requirements/measure.txt"
        )


# ---- what is read


def choose_cases(
    folder: Path, rows: dict[str, Row], args: argparse.Namespace
) -> list[datasets.Case]:
    """The cases to score: of a split, or those that `folder`'s networks held out."""
    if args.split != "held-out":
        return datasets.list_cases(args.data, args.split)
    held_out = [
        case
        for case in datasets.list_cases(args.data, "training")
        if case.name in rows and rows[case.name].role == "validation"
    ]
    if not held_out:
        raise InputError(
            f"expected maps of photographs that a network held out in {folder}, found "
            f"none with the role validation in its {maps.TABLE}: run predict.py "
            "--split held-out first, with a network that held photographs out"
        )
    return held_out


def require_maps(
    folder: Path, cases: Sequence[datasets.Case], rows: dict[str, Row], split: str
) -> None:
    """Raises an InputError unless every case has a map with a row."""
    there = [name for name in rows if maps.paths_of(folder, name)["map"].is_file()]
    missing = [case.name for case in cases if case.name not in there]
    if missing:
        option = "" if split == "test" else f" --split {split}"
        raise InputError(
            f"expected {len(cases)} probability maps of the {split} photographs in "
            f"{folder}, {len(missing)} are missing, the first is {missing[0]}.png: "
            f"run predict.py{option} first"
        )


def read_folder(folder: Path, args: argparse.Namespace) -> list[Prediction]:
    """Checks that maps and labels are there, then reads them."""
    rows = maps.read_predictions(folder)
    cases = choose_cases(folder, rows, args)
    for observer in args.observers:
        datasets.require_labels(cases, observer)
    require_maps(folder, cases, rows, args.split)
    return [
        read_prediction(folder, case, rows[case.name], args.vessel_values)
        for case in cases
    ]


# ---- what is printed, and where the report goes


def print_results(results: Sequence[report.Result]) -> None:
    """Prints every AUC ROC with its protocol, then the tables."""
    for observer in results[0].against:
        for result in results:
            for lead, text in report.explain_aucs(result, observer).items():
                print(textwrap.fill(f"{lead}  {text}", 96, subsequent_indent="    "))
        print(f"\nPooled, inside the field of view, against {observer}")
        print_table(report.pooled_table(results, observer))
        for title, table in report.thin_tables(results, observer).items():
            print(f"\n{title}, against {observer}")
            print_table(table)
        for result in results:
            print(f"\nPer image: {report.own_threshold(result)}, {observer}")
            print_table(report.image_table(result, observer))
        print()


def print_table(table: report.Table) -> None:
    widths = [max(7, *map(len, column)) for column in zip(*table, strict=True)]
    for name, *cells in table:
        print(name.ljust(widths[0]), *map(str.rjust, cells, widths[1:]), sep="  ")


def choose_output(args: argparse.Namespace, folders: Sequence[Path]) -> Path:
    """Where the report goes: not among maps, which it might write over."""
    default = folders[0] / "report" if len(folders) == 1 else Path("output/comparison")
    output = args.output or default
    require_no_link(*([] if args.output else [output]), output / "differences")
    if (output / maps.TABLE).exists():
        raise InputError(
            f"expected a folder for the report, received {output}, which holds maps "
            "that it might write over: choose another one with --output"
        )
    return output


def require_own(output: Path, read: Sequence[Sequence[Prediction]]) -> None:
    """Raises an InputError where `output` has files of such names, but no report."""
    if (output / METRICS).exists():
        return
    names = {f"differences/{one.case.name}.png" for each in read for one in each}
    for name in sorted({"curves.png", "predictions.png", "report.html"} | names):
        if os.path.lexists(output / name):
            raise InputError(
                f"expected a folder for the report, received {output}, where "
                f"{name} is no part of one: choose another one with --output"
            )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.thin_vessels:
        require_scikit_image()
    folders = args.folders or [maps.newest_predictions()]
    output = choose_output(args, folders)
    read = [read_folder(folder, args) for folder in folders]
    require_comparable(folders, read)
    require_own(output, read)
    split = args.split
    if split != "held-out" and not datasets.has_splits(args.data):
        split = ""  # all photographs, whatever was asked for
    results = [
        score_folder(
            folder,
            predictions,
            args.observers,
            args.data,
            split,
            all_pixels=args.all_pixels,
            thin_vessels=args.thin_vessels,
        )
        for folder, predictions in zip(folders, read, strict=True)
    ]
    write_report(output, results, read)
    print_results(results)
    print(f"look at {output / 'report.html'}", flush=True)


if __name__ == "__main__":
    run(main, "evaluate.py", stopped="no map was changed; run the same command again")
