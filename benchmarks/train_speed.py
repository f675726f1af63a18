"""What training waits for, and what it wastes: ratios to plain `fit`, in one run.

    python benchmarks/train_speed.py waiting       # patches, with workers or without
    python benchmarks/train_speed.py compiling     # steps_per_execution, jit_compile
    python benchmarks/train_speed.py waiting --data input/PHANTOM     # no DRIVE needed

Each round fits an epoch in every way, in turn; figures are medians over the rounds of
the time a batch, and of its ratio to the first way's in the same round. In `waiting`
the first way has all batches ready, so that what the others take longer is what patches
cost: waiting for them, and the time on the cores that making them takes away.
Options that are not listed go to train.py, such as --preset.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402

import train  # noqa: E402

WORKERS = (0, 1, 2)
COMPILING = (
    {"steps_per_execution": 1},
    {"steps_per_execution": 5},
    {"steps_per_execution": 25},
    {"steps_per_execution": 1, "jit_compile": True},
)


class Ready(keras.utils.PyDataset):
    """Batches that were made before."""

    def __init__(self, patches: keras.utils.PyDataset):
        super().__init__()
        self.batches = [patches[index] for index in range(len(patches))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int):
        return self.batches[index]


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Prints ratios to plain fit; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("what", choices=("waiting", "compiling"), help="what to vary")
    add("--rounds", type=int, default=5, help="of all ways in turn")
    add("--steps", type=int, default=25, help="batches an epoch, a multiple of 25")
    return parser.parse_known_args(argv)


def vary_data(args: argparse.Namespace) -> dict[str, tuple]:
    """One network, fitted on batches that are ready and on patches made meanwhile."""
    cases = train.datasets.list_cases(args.data, "training")
    model = train.make_model(args)
    ways = {"ready": (model, Ready(train.make_patches(cases, args)))}
    for workers in WORKERS:
        patches = train.make_patches(cases, args)
        patches.workers = workers
        ways[f"workers={workers}"] = (model, patches)
    return ways


def vary_compiling(args: argparse.Namespace) -> dict[str, tuple]:
    """Networks compiled in different ways, fitted on the same patches."""
    cases = train.datasets.list_cases(args.data, "training")
    patches = train.make_patches(cases, args)
    ways = {}
    for options in COMPILING:
        model = train.make_model(args)
        model.compile(train.make_optimizer(args), model.loss, **options)
        name = " ".join(f"{option}={value}" for option, value in options.items())
        ways[name] = (model, patches)
    return ways


def epoch_seconds(model: keras.Model, data: keras.utils.PyDataset) -> float:
    """Fits one epoch. Returns its seconds, without what `fit` prepares before."""
    times = []

    def note(epoch: int, logs: dict | None) -> None:
        times.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
    model.fit(data, shuffle=False, verbose=0, callbacks=[clock])
    return times[1] - times[0]


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    steps = ("--steps", str(args.steps), "--augment")
    recipe = train.parse_args([*steps, "--precision", "float32", *options])
    vary = {"waiting": vary_data, "compiling": vary_compiling}[args.what]
    ways = vary(recipe)
    seconds = {name: [] for name in ways}
    for way in ways.values():
        epoch_seconds(*way)  # traces
    for _ in range(args.rounds):
        for name, way in ways.items():
            seconds[name].append(epoch_seconds(*way))
    first = next(iter(seconds.values()))
    print(f"{recipe.preset}, medians of {args.rounds} rounds of {args.steps} batches")
    for name, taken in seconds.items():
        batch = 1e3 * statistics.median(taken) / args.steps
        ratios = [one / other for one, other in zip(taken, first, strict=True)]
        print(f"{name:40s} {batch:7.1f} ms a batch {statistics.median(ratios):7.3f}")


if __name__ == "__main__":
    main()
