"""How small a difference between eyes each measure can show.

    python predict.py /data/RIDB/images --output output/own
    python predict.py /data/RIDB/images --scale 0.512 --output output/one
    python measure.py output/own
    python measure.py output/one
    python -m benchmarks.repeatability output/one output/own

Each folder holds the maps of several photographs of each eye, measured: RIDB has 20
eyes, five photographs each, and IM00000k_N is photograph k of person N. Which
photograph of an eye is the k-th means nothing, so the intraclass correlation is that of
one-way analysis of variance, ICC(1,1) (Shrout and Fleiss, Psychol. Bull. 86 (1979),
420-428), with its 95 % interval from there. Beside it, in percent of the mean: the
deviation between photographs of an eye, that between eyes, and the repeatability
coefficient, 1.96 sqrt(2) times the former: two photographs of one eye differ by more in
5 of 100 pairs (Bland and Altman, Lancet 327 (1986), 307-310). Measures were improved on
persons 1 to 10; persons 11 to 20 are the ones to report.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from retina import profiles
from retina.commands import run
from retina.files import InputError
from retina.morphometry import PHOTOGRAPH_UNITS

NAME = re.compile(r"IM0+(?P<photograph>\d+)_(?P<person>\d+)")
HALVES = {"persons 1 to 10": range(1, 11), "persons 11 to 20": range(11, 21)}
UNITS = PHOTOGRAPH_UNITS | profiles.UNITS
SETTINGS = (
    *("region_area", "bend_scale", "smallest_box", "largest_box", "branching_angles"),
    "profile_share",
)


@dataclass(frozen=True)
class Repeatability:
    """What the photographs of several eyes say of one measure."""

    correlation: float  # ICC(1,1)
    low: float  # ends of its 95 % interval
    high: float
    within: float  # deviation between photographs of an eye, % of the mean
    between: float  # deviation between eyes, % of the mean
    eyes: int  # how many have the measure in every photograph


def read_eyes(folder: Path) -> dict[int, list[dict[str, str]]]:
    """Person -> the rows of `folder`/measurements.csv."""
    path = folder / "measurements.csv"
    if not path.is_file():
        raise InputError(
            f"expected measures in {path}, found no such file: run measure.py first"
        )
    eyes: dict[int, list[dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("region", "field") != "field":
                continue
            match = NAME.fullmatch(row["name"])
            if match is None:
                raise InputError(
                    f"expected names as IM000001_20 in {path}, found {row['name']}: "
                    "measure maps of RIDB"
                )
            eyes.setdefault(int(match["person"]), []).append(row)
    return eyes


def list_measures(columns: Sequence[str]) -> list[str]:
    """The columns of measurements.csv that are measures of an eye."""
    return [
        column
        for column in columns
        for name, unit in UNITS.items()
        if column in (name, f"{name}_{unit}", f"{name}_{unit.replace('px', 'um')}")
        and name not in SETTINGS
    ]


def compare(values: np.ndarray) -> Repeatability:
    """What the photographs say of a measure; `values` has a row an eye (N, K)."""
    eyes, photographs = values.shape
    mean = values.mean()
    within = values.var(axis=1, ddof=1).mean()
    between = photographs * values.mean(axis=1).var(ddof=1)
    degrees = (eyes - 1, eyes * (photographs - 1))
    ratio = between / within
    limits = stats.f.ppf(0.975, *degrees), stats.f.ppf(0.975, *degrees[::-1])
    ratios = np.array([ratio, ratio / limits[0], ratio * limits[1]])
    return Repeatability(
        *((ratios - 1) / (ratios + photographs - 1)),
        within=100 * math.sqrt(within) / mean,
        between=100 * math.sqrt(max(between - within, 0) / photographs) / mean,
        eyes=eyes,
    )


def gather(rows: Sequence[list[dict[str, str]]], column: str) -> np.ndarray:
    """Values (N, K) of the eyes that have the measure in each of K photographs."""
    count = max(map(len, rows))
    eyes = [[row[column] for row in eye] for eye in rows if len(eye) == count]
    return np.array([eye for eye in eyes if all(eye)], float).reshape(-1, count)


def print_folder(folder: Path) -> None:
    """Prints a table of all measures for each half of the eyes."""
    eyes = read_eyes(folder)
    columns = list(next(iter(eyes.values()))[0])
    for half, persons in HALVES.items():
        rows = [eyes[person] for person in persons if person in eyes]
        if len(rows) < 2 or max(map(len, rows)) < 2:
            raise InputError(
                f"expected two photographs or more of two eyes or more of {half} in "
                f"{folder}, found fewer: measure all of RIDB"
            )
        print(f"\n{folder}, {half}")
        print(f"{'':42s} ICC  95 % interval  within  between  repeatability, %  eyes")
        for column in list_measures(columns):
            values = gather(rows, column)
            if len(values) < 2 or not np.ptp(values):
                print(f"{column:40s} too few eyes, or all alike")
                continue
            r = compare(values)
            print(
                f"{column:40s} {r.correlation:5.2f}  {r.low:5.2f} to {r.high:4.2f} "
                f"{r.within:8.2f} {r.between:8.2f} "
                f"{1.96 * math.sqrt(2) * r.within:12.1f} {r.eyes:12d}"
            )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints how alike the measures of photographs of one eye are."
    )
    parser.add_argument("folders", type=Path, nargs="+", help="maps, measured")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    for folder in args.folders:
        print_folder(folder)


if __name__ == "__main__":
    run(main, "benchmarks.repeatability", stopped="run the same command again")
