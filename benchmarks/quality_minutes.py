"""Quality against minutes: presets, cut to several lengths, and the article's.

    python -m benchmarks.quality_minutes
    python -m benchmarks.quality_minutes --minutes .01 --article-epochs 1 \\
        --data input/PHANTOM --folds 2 --filters 4 4 4 4 4 --steps 5         # cheap

A preset's learning rate decays to nothing over a training, so each point of its curve
is a training of its own, of that length; the article's rate is constant, so its curve
is one training, scored every tenth of it. All learn from the same photographs, and the
same fold is held out. They take turns in one process, an epoch at a time, whoever has
had the least time first: what else the machine does strikes all of them. Minutes are
those of fitting, patches included, without tracing and scoring. Writes
quality_minutes.csv and quality_minutes.png, and prints by how much sooner each preset
is where the article's ends. Options that are not listed go to train.py, for all.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras

import train
from retina import metrics, networks
from retina.commands import run
from retina.files import whole_file

ROOT = Path(__file__).resolve().parents[1]

FIELDS = ("recipe", "batches", "minutes", "auc_roc")
POINTS = 10  # of the article's curve
TIMED = 3  # batches, to learn how many fit into a minute


class Training:
    """A training that can be taken up for an epoch at a time."""

    def __init__(self, preset: str, options: Sequence[str]):
        self.preset = preset
        args = train.parse_args([*options, "--preset", preset, "--augment"])
        precision = networks.choose_precision(args.recipe.precision)
        self.recipe = replace(args.recipe, precision=precision)
        learnt, self.held_out = train.read_data(args)
        self.patches = train.make_patches(learnt, self.recipe)
        self.model = train.make_model(self.recipe)
        self.epochs, self.seconds, self.rows = 0, 0.0, []

    def fit_an_epoch(self) -> None:
        self.patches.epoch = self.epochs
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=self._begin)]
        self.model.fit(self.patches, shuffle=False, verbose=0, callbacks=callbacks)
        self.seconds += time.perf_counter() - self._began
        self.epochs += 1

    def _begin(self, epoch: int, logs: dict | None) -> None:
        self._began = time.perf_counter()  # what `fit` prepares before does not count

    def score(self) -> None:
        pooled = train.predict_pooled(self.model, self.held_out, self.recipe)
        auc_roc = metrics.auc_roc(*pooled)
        row = {
            "recipe": self.preset,
            "batches": self.epochs * self.recipe.steps,
            "minutes": f"{self.seconds / 60:.3f}",
            "auc_roc": f"{auc_roc:.5f}",
        }
        print(*row.values(), flush=True)
        self.rows.append(row)


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Quality against minutes of fitting; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--minutes",
        type=float,
        nargs="+",
        default=[0.5, 1.0, 2.0, 4.0],
        help="a length",
    )
    presets = ("default", "large")
    add("--presets", nargs="+", choices=presets, default=presets, help="cut to lengths")
    add("--article-epochs", type=int, default=100, help="of 125 batches")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    add("--fold", type=int, default=0, help="which part is held out, from 0")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--output", type=Path, default=ROOT / "benchmarks", help="folder to write to")
    return parser.parse_known_args(argv)


def seconds_a_batch(preset: str, options: Sequence[str]) -> float:
    """The median of a few batches of a preset, with a network that is thrown away."""
    training = Training(preset, options)
    batch, seconds = training.patches[0], []
    for _ in range(TIMED + 1):  # the first traces
        began = time.perf_counter()
        training.model.train_on_batch(*batch)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def make_trainings(args: argparse.Namespace, options: list[str]) -> list[Training]:
    """The article's training, and one of each preset for each length."""
    options = [*options, "--data", args.data, "--folds", str(args.folds)]
    options += ["--fold", str(args.fold)]
    length = ["--epochs", str(args.article_epochs)]
    trainings = [Training("article", [*options, *length])]
    for preset in args.presets:
        seconds = seconds_a_batch(preset, options)
        steps = trainings[0].recipe.steps
        for minutes in args.minutes:
            epochs = max(1, round(60 * minutes / seconds / steps))
            trainings.append(Training(preset, [*options, "--epochs", str(epochs)]))
    return trainings


def run_all(trainings: Sequence[Training]) -> list[dict[str, str]]:
    """Fits all of them in turn. Returns the rows of all curves."""
    waiting = list(trainings)
    while waiting:
        training = min(waiting, key=lambda one: one.seconds)
        training.fit_an_epoch()
        done = training.epochs == training.recipe.epochs
        point = training.recipe.epochs / POINTS
        constant = training.recipe.optimizer == "adam"
        if done or (constant and training.epochs % point < 1):
            training.score()
        if done:
            waiting.remove(training)
    return [row for training in trainings for row in training.rows]


def how_much_sooner(preset: str, rows: Sequence[dict[str, str]]) -> str:
    """How the shortest training of a preset compares that is as good as the
    article's."""
    article = [row for row in rows if row["recipe"] == "article"][-1]
    as_good = [
        float(row["minutes"])
        for row in rows
        if row["recipe"] == preset
        and float(row["auc_roc"]) >= float(article["auc_roc"])
    ]
    end = f"the article's end, {article['auc_roc']} after {article['minutes']} minutes"
    if not as_good:
        return f"no training of {preset} reached {end}"
    ratio = float(article["minutes"]) / min(as_good)
    return (
        f"{preset} reached {end}, within {min(as_good):.2f}: {ratio:.1f} times sooner"
    )


def draw(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Draws the curves over minutes, on a logarithmic axis."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    axis = drawing.subplots()
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        points = [
            (float(row["minutes"]), float(row["auc_roc"]))
            for row in rows
            if row["recipe"] == recipe
        ]
        axis.plot(*zip(*points, strict=True), "o-", label=recipe)
    axis.set(xscale="log", xlabel="minutes of fitting", ylabel="AUC ROC, held out")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    with whole_file(path) as part:
        drawing.savefig(part, format="png")


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    rows = run_all(make_trainings(args, options))
    table = args.output / "quality_minutes.csv"
    with whole_file(table) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    draw(table.with_suffix(".png"), rows)
    for preset in args.presets:
        print(how_much_sooner(preset, rows))


if __name__ == "__main__":
    run(main, "benchmarks.quality_minutes", stopped="run the same command again")
