"""What augmentation and pre-training bring, under equal conditions.

    python -m benchmarks.ablation --encoder-weights vgg16.weights.h5
    python -m benchmarks.ablation --encoder-weights PATH --minutes 20 --runs 5
    python -m benchmarks.ablation --variants scratch scratch-augment --batches 400
    python -m benchmarks.ablation --variants scratch --minutes .01 --data input/PHANTOM

The article compared a network from scratch, from scratch with augmentation, and with
VGG16's encoder, but its run "without" augmentation augmented too, and its runs had one
seed. Here each variant learns for the same time: a few batches are timed, in turn with
the other variants', and as many fit into --minutes are fitted, with the learning rate
decaying over just these. With --batches each learns from as many patches instead,
whatever time that takes. Run number n holds out fold n of 5 and has seed n, alike for
all variants, so that their differences are free of what the folds differ by. Rows go to
benchmarks/cross_validation.csv as ablation-VARIANT-LENGTH, and are summed up at the
end. Options that are not listed go to train.py, such as --batch-size.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import train
from retina import networks

ROOT = Path(__file__).resolve().parents[1]

VARIANTS = {
    "scratch": [],
    "scratch-augment": ["--augment"],
    "vgg16": ["--pretrained"],
    "vgg16-augment": ["--pretrained", "--augment"],
}
ROUNDS = 5
STEPS = 10  # batches an epoch: the finest that time is divided into


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fits the article's variants for equal minutes, cross-validated; "
        "other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    add("--minutes", type=float, default=3.0, help="of fitting, a run")
    add("--batches", type=int, help="fit so many instead, a multiple of 10")
    add("--runs", type=int, default=3, help="of each variant: fold n with seed n")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    add("--encoder-weights", help="VGG16's weights; default: downloaded")
    args, args.options = parser.parse_known_args(argv)
    return args


def options_of(variant: str, args: argparse.Namespace) -> list[str]:
    """The options of train.py for a variant."""
    options = [*VARIANTS[variant], *args.options]
    if "--pretrained" in options and args.encoder_weights:
        options += ["--encoder-weights", args.encoder_weights]
    return options


def seconds_a_batch(args: argparse.Namespace) -> dict[str, float]:
    """The median time of a training step of each variant, timed in turn."""
    models, batches = {}, {}
    for variant in args.variants:
        folds = ["--data", args.data, "--folds", str(args.folds)]
        chosen = train.parse_args([*options_of(variant, args), *folds])
        precision = networks.choose_precision(chosen.recipe.precision)
        recipe = replace(chosen.recipe, precision=precision)
        models[variant] = train.make_model(recipe)
        batches[variant] = train.make_patches(train.read_data(chosen)[0], recipe)[0]
        models[variant].train_on_batch(*batches[variant])  # traces
    seconds = {variant: [] for variant in args.variants}
    for _ in range(ROUNDS):
        for variant, model in models.items():
            began = time.perf_counter()
            model.train_on_batch(*batches[variant])
            seconds[variant].append(time.perf_counter() - began)
    return {variant: statistics.median(times) for variant, times in seconds.items()}


def count_epochs(args: argparse.Namespace) -> dict[str, int]:
    """How many epochs each variant is fitted for."""
    if args.batches:
        return dict.fromkeys(args.variants, max(1, args.batches // STEPS))
    return {
        variant: max(1, round(60 * args.minutes / seconds / STEPS))
        for variant, seconds in seconds_a_batch(args).items()
    }


def name_of(variant: str, args: argparse.Namespace) -> str:
    """What the rows of a variant are called."""
    length = args.batches or f"{args.minutes:g}min"
    return f"ablation-{variant}-{length}"


def run(variant: str, number: int, epochs: int, args: argparse.Namespace) -> None:
    """Fits and scores one run, which adds its row to the table."""
    command = [sys.executable, "-m", "benchmarks.cross_validate"]
    command += [name_of(variant, args), "--only", str(number), "--seeds", str(number)]
    command += ["--data", args.data, "--folds", str(args.folds)]
    command += ["--epochs", str(epochs), "--steps", str(STEPS)]
    subprocess.run(
        [*command, *options_of(variant, args)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    epochs = count_epochs(args)
    for number in range(args.runs):
        for variant in args.variants:
            batches = epochs[variant] * STEPS
            print(f"{variant}, run {number}: {batches} batches", flush=True)
            run(variant, number, epochs[variant], args)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.summarise"]
        + ["--baseline", name_of("scratch", args)],
        cwd=ROOT,
        check=True,
    )


if __name__ == "__main__":
    main()
