"""Cross-validates a recipe over DRIVE's training photographs: the yardstick.

    python benchmarks/cross_validate.py default --augment
    python benchmarks/cross_validate.py default-seed1 --only 0 --augment --seed 1
    python benchmarks/cross_validate.py tiny --data input/PHANTOM --folds 2 --epochs 1

The first word names the recipe; what this script does not know goes to train.py. Each
fold is trained with `--keep last`, so that nothing is chosen on what is scored, and
predicts the photographs that it held out. A row a fold, and a row `all` of the maps of
all folds pooled, are appended to benchmarks/cross_validation.csv: against 1st_manual,
inside the field of view, pooled over pixels, Dice at .5.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "cross_validation.csv"
FIELDS = ("recipe", "fold", "seed", "auc_roc", "auc_pr", "dice", "batches", "seconds")


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Cross-validates a recipe; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("recipe", help="what to call it")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    add("--only", type=int, nargs="*", help="folds to run; None: all of them")
    add("--seed", type=int, default=0, help="of the training")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    return parser.parse_known_args(argv)


def run(script: str, *options: object) -> None:
    subprocess.run(
        [sys.executable, ROOT / script, *map(str, options)], cwd=ROOT, check=True
    )


def run_fold(fold: int, maps: Path, args: argparse.Namespace, options: list[str]):
    """Trains, predicts and scores one fold. Returns what its row says of it."""
    name = f"{args.recipe}-fold{fold}"
    part = ("--folds", args.folds, "--fold", fold, "--seed", args.seed)
    keep = ("--keep", "last", "--name", name, "--data", args.data)
    run("train.py", *part, *keep, *options)
    record = json.loads((ROOT / "models" / f"{name}.json").read_text())
    held_out = ("--split", "held-out", "--data", args.data)
    model = ROOT / "models" / f"{name}.keras"
    run("predict.py", "--model", model, "--output", maps, *held_out)
    own = ROOT / "output" / name
    run("predict.py", "--model", model, "--output", own, *held_out)
    scores = score(own, "held-out", args)
    arguments = record["arguments"]
    return {
        "batches": arguments["epochs"] * arguments["steps"],
        "seconds": round(record["seconds"]),
        **scores,
    }


def score(folder: Path, split: str, args: argparse.Namespace) -> dict[str, str]:
    run("evaluate.py", folder, "--split", split, "--data", args.data)
    scores = json.loads((folder / "metrics.json").read_text())["against"]["1st_manual"]
    return {
        "auc_roc": f"{scores['auc_roc']:.5f}",
        "auc_pr": f"{scores['auc_pr']:.5f}",
        "dice": f"{scores['at_half']['dice']:.5f}",
    }


def append(row: dict[str, object]) -> None:
    new = not TABLE.exists()
    with TABLE.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    maps = ROOT / "output" / args.recipe
    folds = range(args.folds) if args.only is None else args.only
    for fold in folds:
        row = run_fold(fold, maps, args, options)
        append({"recipe": args.recipe, "fold": fold, "seed": args.seed, **row})
    if args.only is None:
        pooled = score(maps, "training", args)
        append({"recipe": args.recipe, "fold": "all", "seed": args.seed, **pooled})
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
