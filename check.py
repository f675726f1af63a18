"""Prints what a data set holds, and what is missing or wrong, before anything else.

python check.py                     # input/DRIVE
python check.py input/CHASE_DB1
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from retina import datasets, labels
from retina.commands import HelpFormatter, run
from retina.datasets import OBSERVERS, SPLITS, Case
from retina.files import InputError, counted
from retina.pictures import describe_skipped, read_pixels

# observer -> a label on its photograph, and the rule by which it was read
Laid = dict[str, tuple[labels.Layer, str]]


def read_case(
    case: Case, vessel_values: Sequence[int] | None
) -> tuple[str, Laid, list[str]]:
    """Reads all files of a case.

    Returns:
        One line on its size, field of view and shares of vessels; its labels; and
        sentences on what cannot be used.
    """
    try:
        pixels = read_pixels(case.image)
        datasets.require_bits(pixels, case.image)
        inside = datasets.read_field_of_view(case, pixels)
    except InputError as error:
        return f"{case.name:12s} cannot be read", {}, [str(error)]
    height, width, _ = pixels.shape
    parts = [f"{case.name:12s} {width} x {height}  field {inside.mean():.1%}"]
    laid: Laid = {}
    problems = []
    for observer, path in case.labels.items():
        share = "missing"
        if case.has_label(observer):
            try:
                drawing = datasets.read_drawn(case, observer, vessel_values)
                datasets.require_both_inside(drawing.vessels, inside, path)
                layer = labels.lay(case.name, pixels, inside, drawing.vessels)
                laid[observer] = layer, drawing.rule
                share = f"{drawing.vessels[inside].mean():.1%} vessels"
            except InputError as error:
                problems.append(str(error))
                share = "refused"
        parts.append(f"{observer} {share}")
    return "  ".join(parts), laid, problems


def check_split(
    title: str, cases: Sequence[Case], vessel_values: Sequence[int] | None, trust: bool
) -> list[str]:
    """Prints what one split holds; returns sentences on what cannot be used.

    With `trust`, labels that do not lie on their photographs are printed alone.
    """
    print(f"{title}: {counted(len(cases), 'photograph')}")
    problems, all_laid = [], []
    for case in cases:
        line, laid, wrong = read_case(case, vessel_values)
        print(f"  {line}")
        all_laid.append(laid)
        problems += wrong
    for observer in OBSERVERS:
        found = [laid[observer] for laid in all_laid if observer in laid]
        alignments = labels.compare([layer for layer, _ in found])
        refused = labels.describe_refusals(alignments)
        notes = labels.describe_rules([rule for _, rule in found])
        notes += refused if trust else []
        problems += [] if trust else refused
        for note in notes + labels.describe_shifts(alignments):
            print(f"  {observer}: {note}")
    if not any(case.has_label("1st_manual") for case in cases):
        print(f"  no labels here: {datasets.where_labels_are(cases[0], '1st_manual')}")
    return problems


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints what a data set holds, and what is missing or wrong.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("input/DRIVE"), help="a data set")
    add(
        "--vessel-values",
        nargs="+",
        type=labels.vessel_value,
        metavar="VALUE",
        help="values of the labels that are vessel, such as 1 2, or 0x800000 for the "
        "colour (128, 0, 0); default: told apart by rules, or refused",
    )
    add(
        "--trust-labels",
        action="store_true",
        help="tell, but do not refuse, labels that do not lie on their photographs",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    splits = {split: datasets.list_cases(args.folder, split) for split in SPLITS}
    if splits["training"] == splits["test"]:  # the data set knows no splits
        splits = {"all": splits["training"]}
    problems = []
    for split, cases in splits.items():
        title = f"{args.folder}, {split}"
        problems += check_split(title, cases, args.vessel_values, args.trust_labels)
    every = [case for cases in splits.values() for case in cases]
    if skipped := describe_skipped(datasets.list_skipped(args.folder, every)):
        print(skipped)
    if problems:
        raise InputError(f"{len(problems)} to mend:\n  " + "\n  ".join(problems))


if __name__ == "__main__":
    run(main, "check.py", stopped="run the same command again")
