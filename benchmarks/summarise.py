"""Prints mean and deviation of each recipe in a table of cross_validate.py.

    python -m benchmarks.summarise
    python -m benchmarks.summarise --baseline default-24 --table rows.csv

A recipe's figure for a seed is the mean over its folds, so that folds that are harder
than others are no noise; the deviation is that of the seeds' figures (n - 1). Against
the baseline, runs of the same fold and seed are subtracted from each other.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

TABLE = Path(__file__).resolve().parent / "cross_validation.csv"
SCORES = ("auc_roc", "auc_pr", "dice")
Runs = dict[tuple[int, int], float]  # (fold, seed) -> a score


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints mean and deviation of each recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--table", type=Path, default=TABLE, help="of cross_validate.py")
    add("--baseline", help="recipe that the others are compared with")
    return parser.parse_args(argv)


def read_runs(table: Path, score: str) -> dict[str, Runs]:
    """The runs of each recipe; rows of pooled folds are left out."""
    recipes: dict[str, Runs] = defaultdict(dict)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["fold"] != "all":
                run = int(row["fold"]), int(row["seed"])
                recipes[row["recipe"]][run] = float(row[score])
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


def difference(runs: Runs, baseline: Runs) -> Runs:
    """What is gained over the baseline in each fold and seed that both have."""
    return {run: runs[run] - baseline[run] for run in runs.keys() & baseline.keys()}


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    for score in SCORES:
        recipes = read_runs(args.table, score)
        print(score, "(mean over folds, deviation between seeds)")
        for recipe, runs in recipes.items():
            folds = sorted({fold for fold, _ in runs})
            line = f"  {recipe:30s} folds {folds}  {spread(by_seed(runs))}"
            gain = difference(runs, recipes.get(args.baseline, {}))
            if gain and recipe != args.baseline:
                line += f"  against {args.baseline} {spread(by_seed(gain))}"
            print(line)


if __name__ == "__main__":
    main()
