"""Prints what a data set holds and what is missing: run it before anything else.

python check.py                     # input/DRIVE
python check.py input/CHASE_DB1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from retina.datasets import (
    OBSERVERS,
    SPLITS,
    WHERE_TEST_LABELS_ARE,
    Case,
    list_cases,
    read_field_of_view,
    read_label,
)
from retina.files import InputError
from retina.pictures import read_image


def describe_case(case: Case) -> str:
    """One line on a case: its size, field of view and share of vessels in it."""
    height, width, _ = read_image(case.image).shape
    field_of_view = read_field_of_view(case)
    parts = [f"{case.name:12s} {width} x {height}  field {field_of_view.mean():.1%}"]
    for observer in OBSERVERS:
        share = "missing"
        if case.has_label(observer):
            share = f"{read_label(case, observer)[field_of_view].mean():.1%} vessels"
        parts.append(f"{observer} {share}")
    return "  ".join(parts)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints what a data set holds and what is missing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("input/DRIVE"), help="a data set"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    folder = parse_args(argv).folder
    splits = {split: list_cases(folder, split) for split in SPLITS}
    if splits["training"] == splits["test"]:  # the data set knows no splits
        splits = {"all": splits["training"]}
    for split, cases in splits.items():
        print(f"{folder}, {split}: {len(cases)} photographs")
        for case in cases:
            print(" ", describe_case(case))
        if not any(case.has_label("1st_manual") for case in cases):
            print(f"  no labels here: {WHERE_TEST_LABELS_ARE}")


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"check.py: {error}")
