"""Screens changes of the recipe, many at once, by a fractional factorial design.

    python benchmarks/screen.py
    python benchmarks/screen.py --part 0 2 & python benchmarks/screen.py --part 1 2
    python benchmarks/screen.py --data input/PHANTOM --batches 20 --table x.csv  # cheap

Seven changes, each made or not made, in eight combinations on fold 0 and the mirrored
eight on fold 1 (Box, Hunter, Hunter (2005), "Statistics for Experimenters", chapter 6:
a 2^(7-4) design with its fold-over). Each change is made in half of the runs, balanced
against every other one: its effect is what the runs with it have more than those
without, and says as much as eight runs of it against eight others would. All is
measured from the recipe as it was: AdamW, five levels of 16 to 256 filters.

Rows go to the table as they are done, and those that stand there are not run again;
with --part, one of several processes does its share. Protocol: five folds by
photograph, one held out; 1st_manual; inside the field of view; pooled; last epoch; one
view; Dice at the best threshold on those very photographs; one seed a fold; bfloat16.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers, ops  # noqa: E402

import augment  # noqa: E402
import datasets  # noqa: E402
import metrics  # noqa: E402
import muon  # noqa: E402
import train  # noqa: E402
import unet  # noqa: E402

CHANGES = {
    "light": "flips, quarter turns, brightness and contrast by .1, nothing else",
    "dice": "cross-entropy plus the Dice loss",
    "decay": "weight decay of .05 for .004",
    "muon": "Muon for AdamW",
    "residual": "a level adds its input to its output",
    "soft": "labels as they are resampled, not cut at a half",
    "shallow": "four levels, 16 to 128 filters",
}
FIELDS = ("fold", "changes", "auc_roc", "auc_pr", "dice", "seconds")
SCORES = FIELDS[2:]
EPOCHS = 20
LIGHT = augment.Recipe(
    geometric=augment.RECIPES["default"].geometric[:3],
    photometric=(
        (0.5, partial(augment.brightness, amount=0.1)),
        (0.5, partial(augment.contrast, amount=0.1)),
    ),
)


class SoftPatches(augment.PatchGenerator):
    """Patches whose labels lie between 0 and 1 where they were resampled."""

    def _cut(self, label: np.ndarray) -> np.ndarray:
        return label / np.float32(255)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Screens changes of the recipe, many at once.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--batches", type=int, default=1200, help="of 16 patches, a run")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    add("--filters", type=int, nargs=5, default=[16, 32, 64, 128, 256], help="a level")
    table = ROOT / "benchmarks" / "screen.csv"
    add("--table", type=Path, default=table, help="where rows are, and go")
    part = "I N: do the I-th of N shares of the runs, on one core"
    add("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help=part)
    return parser.parse_args(argv)


def design() -> list[tuple[int, frozenset[str]]]:
    """The runs: a fold, and the changes that are made."""
    runs = []
    for fold, sign in ((0, 1), (1, -1)):
        for a, b, c in itertools.product((-1, 1), repeat=3):
            levels = (a, a * b, a * c, b, c, b * c, a * b * c)
            made = zip(CHANGES, levels, strict=True)
            runs.append((fold, frozenset(n for n, level in made if sign * level > 0)))
    return runs


def residual_level(x, filter_count: int, **options):
    """As `unet._two_convolutions` with normalisation, its input added to its output."""
    skip = x
    if x.shape[-1] != filter_count:
        skip = layers.Conv2D(filter_count, 1, use_bias=False)(x)
    for last in (False, True):
        x = layers.Conv2D(
            filter_count,
            3,
            padding="same",
            kernel_initializer="he_normal",
            use_bias=False,
        )(x)
        x = unet.FusedBatchNormalization()(x)
        if last:
            x = layers.Add()([x, skip])
        x = layers.ReLU()(x)
    return x


def dice_loss(label, probability):
    """Milletari et al. (2016), "V-Net", with one pixel more on both sides."""
    both = 2 * ops.sum(label * probability) + 1
    return 1 - both / (ops.sum(label) + ops.sum(probability) + 1)


def cross_entropy_and_dice(label, probability):
    cross_entropy = ops.mean(ops.binary_crossentropy(label, probability))
    return cross_entropy + dice_loss(label, probability)


def make_model(changes: frozenset[str], args: argparse.Namespace, rate: float):
    """The network with its optimizer and loss."""
    filters = args.filters[:4] if "shallow" in changes else args.filters
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        level = residual_level if "residual" in changes else unet._two_convolutions
        with mock.patch.object(unet, "_two_convolutions", level):
            model = unet.build_unet(
                filters=filters, dropout_rate=0, batch_normalization=True
            )
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = muon.Muon if "muon" in changes else keras.optimizers.AdamW
    optimizer = optimizer(rate, weight_decay=0.05 if "decay" in changes else 0.004)
    loss = keras.losses.BinaryCrossentropy()
    model.compile(optimizer, cross_entropy_and_dice if "dice" in changes else loss)
    optimizer.build(model.trainable_variables)
    return model


def run(fold: int, changes: frozenset[str], args: argparse.Namespace) -> dict[str, str]:
    """Fits and scores one combination. Returns its row of the table."""
    options = ["--folds", str(args.folds), "--fold", str(fold), "--data", args.data]
    options += ["--epochs", str(EPOCHS), "--steps", str(args.batches // EPOCHS)]
    recipe = train.parse_args([*options, "--augment", "--seed", str(200 + fold)])
    cases = datasets.list_cases(recipe.data, "training")
    learnt, held_out = train.split_cases(cases, recipe)
    kind = SoftPatches if "soft" in changes else augment.PatchGenerator
    with mock.patch.object(augment, "PatchGenerator", kind):
        patches = train.make_patches(learnt, recipe)
    if "light" in changes:
        patches.recipe = LIGHT
    keras.utils.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    model = make_model(changes, args, recipe.learning_rate)
    callbacks = [
        train.set_learning_rate(model, recipe),
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(patches, "epoch", epoch)
        ),
    ]
    began = time.perf_counter()
    model.fit(patches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    seconds = time.perf_counter() - began
    label, probability = train.predict_pooled(model, held_out)
    threshold = metrics.best_threshold(label, probability)
    scores = metrics.threshold_scores(label, probability >= threshold)
    return {
        "fold": str(fold),
        "changes": " ".join(name for name in CHANGES if name in changes),
        "auc_roc": f"{metrics.auc_roc(label, probability):.5f}",
        "auc_pr": f"{metrics.auc_pr(label, probability):.5f}",
        "dice": f"{scores['dice']:.5f}",
        "seconds": f"{seconds:.0f}",
    }


def read_rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(row: dict[str, str], table: Path) -> None:
    new = not table.is_file()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def effects(rows: Sequence[dict[str, str]], score: str) -> dict[str, tuple[float, ...]]:
    """What each change adds to a score, and the standard error of that.

    Least squares for the folds' levels and the changes' effects, which add up; the
    error comes from what that leaves. Both are nan where too few runs tell them.
    """
    folds = sorted({row["fold"] for row in rows})
    design = np.array(
        [
            [float(name in row["changes"].split()) for name in CHANGES]
            + [float(row["fold"] == fold) for fold in folds]
            for row in rows
        ]
    )
    values = np.array([float(row[score]) for row in rows])
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    if rank < design.shape[1]:
        return dict.fromkeys(CHANGES, (np.nan, np.nan))
    left = len(values) - rank
    squares = np.sum((values - design @ solution) ** 2)
    variance = squares / left if left else np.nan
    errors = np.sqrt(variance * np.diag(np.linalg.pinv(design.T @ design)))
    return {
        name: (float(solution[i]), float(errors[i])) for i, name in enumerate(CHANGES)
    }


def print_effects(rows: Sequence[dict[str, str]]) -> None:
    print(f"{len(rows)} runs; effect and its standard error")
    by_score = {score: effects(rows, score) for score in SCORES}
    print(f"{'':10s}" + "".join(f"{score:>18s}" for score in SCORES))
    for name, meaning in CHANGES.items():
        cells = ""
        for score in SCORES:
            effect, error = by_score[score][name]
            digits = 0 if score == "seconds" else 5
            cells += f"{effect:+10.{digits}f} {error:7.{digits}f}"
        print(f"{name:10s}{cells}   {meaning}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    part, parts = args.part
    for fold, changes in design()[part::parts]:
        done = {
            (row["fold"], frozenset(row["changes"].split()))
            for row in read_rows(args.table)
        }
        if (str(fold), changes) not in done:
            append(run(fold, changes, args), args.table)
    print_effects(read_rows(args.table))


if __name__ == "__main__":
    try:
        main()
    except (datasets.InputError, OSError) as error:
        sys.exit(f"screen.py: {error}")
