"""Cross-validates a recipe over DRIVE's training photographs.

    python -m benchmarks.cross_validate default --augment
    python -m benchmarks.cross_validate default --augment --seeds 0 1 2
    python -m benchmarks.cross_validate tiny --data input/PHANTOM --folds 2 --epochs 1

The first word names the recipe; other options are passed to train.py. Each
fold is trained with `--keep last`, so that nothing is chosen on what is scored, and
predicts the photographs that it held out, into output/RECIPE-seedN. A row a fold, and
a row `all` of the maps of all folds pooled, are appended to
benchmarks/cross_validation.csv: against 1st_manual, inside the field of view, pooled
over pixels, Dice at 0.5; the row `all` once more with eight views of each photograph
averaged (predict.py --tta), as RECIPE-tta. The figures of each photograph go to
benchmarks/cross_validation_photographs.csv, fold by fold. With several seeds, the
networks that held out the same fold are averaged too (average.py): RECIPE-averageN.

Folds and seeds can be shared out among processes; the last call fits nothing:

    python -m benchmarks.cross_validate default --augment --only 0 1 2 &
    python -m benchmarks.cross_validate default --augment --only 3 4; wait
    python -m benchmarks.cross_validate default --fitted
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from retina import networks

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "cross_validation.csv"
PHOTOGRAPHS = ROOT / "benchmarks" / "cross_validation_photographs.csv"
FIELDS = ("recipe", "fold", "seed", "auc_roc", "auc_pr", "dice", "batches", "seconds")
PHOTOGRAPH_FIELDS = ("recipe", "seed", "name", "auc_roc", "dice")


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Cross-validates a recipe; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,  # --seed would be --seeds
    )
    add = parser.add_argument
    add("recipe", help="what to call it")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    only = "fit and score these folds, pool nothing; default: all, pooled"
    add("--only", type=int, nargs="+", metavar="FOLD", help=only)
    add("--seeds", type=int, nargs="+", default=[0], help="of the trainings")
    fitted = "fit nothing: pool the networks of all folds that are in models/"
    add("--fitted", action="store_true", help=fitted)
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    args, options = parser.parse_known_args(argv)
    if args.fitted and args.only:
        parser.error("--fitted pools all folds: omit --only")
    return args, options


def run(script: str, *options: object) -> None:
    subprocess.run(
        [sys.executable, ROOT / script, *map(str, options)], cwd=ROOT, check=True
    )


def network_path(recipe: str, fold: int) -> Path:
    return ROOT / "models" / f"{recipe}-fold{fold}.keras"


def fit_fold(fold: int, seed: int, args: argparse.Namespace, options: list[str]):
    """Fits, predicts and scores one fold, and appends its row."""
    recipe = f"{args.recipe}-seed{seed}"
    name = network_path(recipe, fold).stem
    part = ("--folds", args.folds, "--fold", fold, "--seed", seed)
    # What was stopped is continued, what is finished is kept.
    keep = ("--keep", "last", "--name", name, "--data", args.data, "--resume")
    run("train.py", *part, *keep, *options)
    record = networks.read_record(network_path(recipe, fold))
    own = predict(recipe, fold, name, args)
    row = {
        "batches": record.recipe["epochs"] * record.recipe["steps"],
        "seconds": round(record.seconds),
        **score(own, "held-out", args),
    }
    append(TABLE, FIELDS, {"recipe": args.recipe, "fold": fold, "seed": seed, **row})
    append_photographs(own, args.recipe, seed)


def predict(
    recipe: str, fold: int, folder: str, args: argparse.Namespace, *options: str
) -> Path:
    """Predicts what the network of a fold held out. Returns where the maps are."""
    maps = ROOT / "output" / folder
    held_out = (
        "--split",
        "held-out",
        "--data",
        args.data,
        "--output",
        maps,
        "--resume",
    )
    run("predict.py", "--model", network_path(recipe, fold), *held_out, *options)
    return maps


def pool(
    members: str, recipe: str, seeds: Sequence[int], args: argparse.Namespace
) -> None:
    """Appends the rows of all folds pooled, with one view and with eight."""
    for suffix, options in (("", ()), ("-tta", ("--tta",))):
        for fold in range(args.folds):
            maps = predict(members, fold, members + suffix, args, *options)
        row = {"recipe": recipe + suffix, "fold": "all"}
        row["seed"] = " ".join(map(str, seeds))
        append(TABLE, FIELDS, {**row, **score(maps, "training", args)})
        if suffix or len(seeds) > 1:  # else each fold appended its own
            append_photographs(maps, recipe + suffix, row["seed"])


def average(args: argparse.Namespace) -> str:
    """Averages the seeds' networks of each fold. Returns what they are called."""
    averaged = f"{args.recipe}-average{len(args.seeds)}"
    for fold in range(args.folds):
        paths = [network_path(f"{args.recipe}-seed{seed}", fold) for seed in args.seeds]
        name = network_path(averaged, fold).stem
        run("average.py", *paths, "--name", name, "--replace")
    return averaged


def score(folder: Path, split: str, args: argparse.Namespace) -> dict[str, str]:
    run("evaluate.py", folder, "--split", split, "--data", args.data)
    scores = scores_of(folder)
    return {**headlines(scores), "auc_pr": f"{scores['auc_pr']:.5f}"}


def scores_of(folder: Path) -> dict:
    """What evaluate.py found against the first observer."""
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    return metrics["against"]["1st_manual"]


def append_photographs(maps: Path, recipe: str, seed: object) -> None:
    """Appends a row for each photograph that was scored last in a folder of maps."""
    for photograph in scores_of(maps)["per_image"]:
        row = {"recipe": recipe, "seed": seed, "name": photograph["name"]}
        append(PHOTOGRAPHS, PHOTOGRAPH_FIELDS, {**row, **headlines(photograph)})


def headlines(scores: dict) -> dict[str, str]:
    return {
        "auc_roc": f"{scores['auc_roc']:.5f}",
        "dice": f"{scores['at_half']['dice']:.5f}",
    }


def append(table: Path, columns: Sequence[str], row: dict[str, object]) -> None:
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    if not args.fitted:
        for seed in args.seeds:
            for fold in args.only or range(args.folds):
                fit_fold(fold, seed, args, options)
    if not args.only:
        for seed in args.seeds:
            pool(f"{args.recipe}-seed{seed}", args.recipe, [seed], args)
        if len(args.seeds) > 1:
            averaged = average(args)
            pool(averaged, averaged, args.seeds, args)
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
