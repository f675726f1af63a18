"""Prints mean and deviation of each recipe in a table of cross_validate.py.

    python -m benchmarks.summarise
    python -m benchmarks.summarise --baseline default-24 --table rows.csv
    python -m benchmarks.summarise --baseline default-24 --photographs

A recipe's figure for a seed is the mean over its folds, so that folds that are harder
than others are no noise; the deviation is that of the seeds' figures (n - 1). Against
the baseline, runs of the same fold and seed are subtracted from each other: the mean
of the differences, its standard error, and how many are gains. With --photographs the
rows of each photograph are compared in the same way, those of one seed.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

TABLE = Path(__file__).resolve().parent / "cross_validation.csv"
PHOTOGRAPHS = TABLE.with_name("cross_validation_photographs.csv")
SCORES = ("auc_roc", "auc_pr", "dice")
Runs = dict[tuple[str, str], float]  # (fold or photograph, seed) -> a score


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints mean and deviation of each recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--table", type=Path, help="of cross_validate.py; default: its own")
    add("--baseline", help="recipe that the others are compared with")
    add("--photographs", action="store_true", help="compare photographs, not folds")
    return parser.parse_args(argv)


def read_runs(table: Path, score: str) -> dict[str, Runs]:
    """The runs of each recipe; rows of pooled folds are left out, and scores that the
    table does not have."""
    recipes: dict[str, Runs] = defaultdict(dict)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            part = row.get("fold", row.get("name"))
            if part != "all" and score in row:
                recipes[row["recipe"]][part, row["seed"]] = float(row[score])
    return recipes


def by_seed(runs: Runs) -> list[float]:
    """Each seed's mean over its folds."""
    seeds = sorted({seed for _, seed in runs})
    return [
        statistics.mean(value for (_, own), value in runs.items() if own == seed)
        for seed in seeds
    ]


def spread(values: Sequence[float]) -> str:
    """Mean and deviation; one value alone has none."""
    if len(values) == 1:
        return f"{values[0]:.4f}         "
    return f"{statistics.mean(values):.4f} +-{statistics.stdev(values):.4f}"


def compare(runs: Runs, baseline: Runs) -> str:
    """What is gained over the baseline in the runs that both have."""
    gains = [runs[run] - baseline[run] for run in runs.keys() & baseline.keys()]
    if len(gains) < 2:
        return "".join(f"{gain:+.4f}" for gain in gains)
    error = statistics.stdev(gains) / len(gains) ** 0.5
    better = sum(gain > 0 for gain in gains)
    mean = statistics.mean(gains)
    return f"{mean:+.5f}, standard error {error:.5f}, {better} of {len(gains)} better"


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    table = args.table or (PHOTOGRAPHS if args.photographs else TABLE)
    for score in SCORES:
        recipes = read_runs(table, score)
        print(score, "(mean over folds, deviation between seeds)")
        for recipe, runs in recipes.items():
            parts = sorted({part for part, _ in runs})
            names = (
                f"{len(parts)} photographs"
                if args.photographs
                else f"folds {' '.join(parts)}"
            )
            line = f"  {recipe:30s} {names}  {spread(by_seed(runs))}"
            gain = compare(runs, recipes.get(args.baseline, {}))
            if gain and recipe != args.baseline:
                line += f"  against {args.baseline} {gain}"
            print(line)


if __name__ == "__main__":
    main()
