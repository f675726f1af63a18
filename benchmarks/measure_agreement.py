"""How far measures of the same photographs differ between folders of measure.py.

    python measure.py --labels --split test --output output/first
    python measure.py --labels --split test --observer 2nd_manual --output output/second
    python measure.py output/unet
    python -m benchmarks.measure_agreement output/first output/second output/unet

The first folder is the truth: label against label says what two people differ by, and
label against map what the network adds. Photographs are paired by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.repeatability import list_measures
from retina.commands import run
from retina.files import InputError, read_table


def read_measurements(folder: Path) -> dict[str, dict[str, str]]:
    """Name of the photograph -> its row of `folder`/measurements.csv."""
    path = folder / "measurements.csv"
    if not path.is_file():
        raise InputError(
            f"expected measures in {path}, found no such file: run measure.py first"
        )
    titles, *rows = read_table(path) or [[]]
    if not rows or not {"name", "photograph_sha256"} <= set(titles):
        raise InputError(
            f"expected measures of this version in {path}, found none: run measure.py "
            "again"
        )
    table = [dict(zip(titles, row, strict=True)) for row in rows]
    return {row["name"]: row for row in table if row.get("region") in (None, "field")}


def pair_rows(
    truth: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> list[tuple[dict[str, str], dict[str, str]]]:
    """The rows of the photographs that are in both."""
    pairs = [(truth[name], other[name]) for name in truth if name in other]
    if not pairs:
        raise InputError(
            "expected folders that measure the same photographs, found no common name: "
            "measure the same --split"
        )
    for first, second in pairs:
        if first["photograph_sha256"] != second["photograph_sha256"]:
            raise InputError(
                "expected folders that measure the same photographs, received "
                f"{first['photograph']} and {second['photograph']}, which differ: "
                "measure the same --data"
            )
    return pairs


def compare_folders(truth_folder: Path, folder: Path) -> None:
    """Prints how far the measures of one folder are from those of the truth."""
    truth, other = read_measurements(truth_folder), read_measurements(folder)
    rows = pair_rows(truth, other)
    columns = list_measures(list(rows[0][0]))
    print(f"\n{folder} against {truth_folder}")
    print(f"{'measure':30s} {'truth':>10s} {'bias':>10s} {'error':>10s} {'%':>6s}    n")
    for column in columns:
        values = [(first[column], second.get(column, "")) for first, second in rows]
        pairs = np.array([pair for pair in values if all(pair)], float).reshape(-1, 2)
        if not len(pairs):
            print(f"{column:30s} in none of the pairs")
            continue
        mean, off = pairs[:, 0].mean(), pairs[:, 1] - pairs[:, 0]
        share = f"{100 * np.abs(off).mean() / abs(mean):.1f}" if mean else "none"
        print(
            f"{column:30s} {mean:10.5g} {off.mean():+10.3g} {np.abs(off).mean():10.3g} "
            f"{share:>6s} {len(pairs):4d}"
        )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints how far the measures of folders are from the first one's: "
        "the mean there, mean difference, mean absolute difference, and that in "
        "percent of the mean."
    )
    parser.add_argument("truth", type=Path, help="a folder with measurements.csv")
    parser.add_argument("folders", type=Path, nargs="+", help="more of them")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    for folder in args.folders:
        compare_folders(args.truth, folder)


if __name__ == "__main__":
    run(main, "benchmarks.measure_agreement", stopped="run the same command again")
