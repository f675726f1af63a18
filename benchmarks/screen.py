"""Screens changes of the recipe, many at once, by a fractional factorial design.

    python -m benchmarks.screen second
    python -m benchmarks.screen second --part 0 2 &
    python -m benchmarks.screen second --part 1 2
    python -m benchmarks.screen first --data input/PHANTOM --batches 20 \\
        --table x.csv                                                       # cheap

Seven changes, each made or not made, in eight combinations on fold 0 and the mirrored
eight on fold 1 (Box, Hunter, Hunter (2005), "Statistics for Experimenters", chapter 6:
a 2^(7-4) design with its fold-over). Each change is made in half of the runs, balanced
against every other one: its effect is what the runs with it have more than those
without, and says as much as eight runs of it against eight others would. The first
screen is measured from AdamW and five levels of 16 to 256 filters, the second from what
came out of it: Muon and four levels.

Rows go to screen_SCREEN.csv as they are done, and those that stand there are not run
again; with --part, one of several processes does its share. Protocol: five folds by
photograph, one held out; 1st_manual; inside the field of view; pooled; last epoch; one
view; Dice and clDice at the best threshold on those very photographs; one seed a fold;
bfloat16.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from keras import layers, ops

import augment
import train
import unet
from retina import datasets, metrics, muon, tiling
from retina.files import InputError
from retina.pictures import read_image

ROOT = Path(__file__).resolve().parents[1]

SCREENS = {
    "first": {
        "light": "flips, quarter turns, brightness and contrast by .1, nothing else",
        "dice": "cross-entropy plus the Dice loss",
        "decay": "weight decay of .05 for .004",
        "muon": "Muon for AdamW",
        "residual": "a level adds its input to its output",
        "soft": "labels as they are resampled, not cut at a half",
        "shallow": "four levels, 16 to 128 filters",
    },
    "second": {
        "rate": "a learning rate of 6e-3 for 3e-3",
        "decay": "weight decay of .05 for .004",
        "halves": "batches of half the size, twice as many",
        "settle": "the last fifth with the first screen's milder augmentation",
        "deep": "each level of the decoder has an output that learns, too",
        "refine": "a second, smaller U-Net is shown the photograph and the map",
        "cldice": "cross-entropy plus .3 of the soft clDice loss",
    },
}
# What all runs of a screen have.
BASES = {"first": frozenset(), "second": frozenset(("muon", "shallow"))}
BATCHES = {"first": 1200, "second": 1600}
FIELDS = ("fold", "changes", "auc_roc", "auc_pr", "dice", "cl_dice", "seconds")
SCORES = FIELDS[2:]
EPOCHS = 20
REFINING_FILTERS = (16, 16, 32, 32)
SKELETON_STEPS = 3  # vessels are up to 6 or 7 pixels wide, but for the widest
CLDICE_SHARE = 0.3
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
    add("screen", choices=SCREENS, help="which changes")
    add("--batches", type=int, help="of 16 patches, a run; None: the screen's own")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--folds", type=int, default=5, help="parts of the training photographs")
    add("--filters", type=int, nargs=5, default=[16, 32, 64, 128, 256], help="a level")
    add("--table", type=Path, help="where rows are, and go; None: screen_SCREEN.csv")
    part = "I N: do the I-th of N shares of the runs, on one core"
    add("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help=part)
    args = parser.parse_args(argv)
    args.batches = args.batches or BATCHES[args.screen]
    args.table = args.table or ROOT / "benchmarks" / f"screen_{args.screen}.csv"
    return args


def design(changes: Iterable[str]) -> list[tuple[int, frozenset[str]]]:
    """The runs: a fold, and which of the seven changes are made."""
    changes = tuple(changes)
    runs = []
    for fold, sign in ((0, 1), (1, -1)):
        for a, b, c in itertools.product((-1, 1), repeat=3):
            levels = (a, a * b, a * c, b, c, b * c, a * b * c)
            made = zip(changes, levels, strict=True)
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


def soft_skeleton(vessels):
    """Shit et al. (2021), "clDice", algorithm 1. Takes and gives (N, H, W, 1), 0..1."""

    def dilated(x):
        return ops.max_pool(x, 3, strides=1, padding="same")

    def eroded(x):
        rows = ops.max_pool(-x, (3, 1), strides=1, padding="same")
        return -ops.maximum(rows, ops.max_pool(-x, (1, 3), strides=1, padding="same"))

    skeleton = ops.zeros_like(vessels)
    for step in range(SKELETON_STEPS + 1):
        smaller = eroded(vessels)
        ridge = ops.relu(vessels - dilated(smaller))
        skeleton = skeleton + ridge * (1 - skeleton) if step else ridge
        vessels = smaller
    return skeleton


def soft_cldice_loss(label, probability):
    """1 - the soft clDice of Shit et al. (2021), with one pixel more on both sides."""
    line, label_line = soft_skeleton(probability), soft_skeleton(label)
    precision = (ops.sum(line * label) + 1) / (ops.sum(line) + 1)
    found = ops.sum(label_line * probability) + 1
    sensitivity = found / (ops.sum(label_line) + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def make_loss(changes: frozenset[str]):
    """The loss of (N, H, W, K) maps against one label: of the first, then the mean."""

    def loss(label, probability):
        maps = ops.split(probability, probability.shape[-1], axis=-1)
        total = ops.mean(
            ops.stack([ops.mean(ops.binary_crossentropy(label, one)) for one in maps])
        )
        if "dice" in changes:
            total = total + dice_loss(label, maps[0])
        if "cldice" in changes:
            total = total + CLDICE_SHARE * soft_cldice_loss(label, maps[0])
        return total

    return loss


def output_of(x):
    """A probability of each pixel, at the resolution of x."""
    return layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x)


def coarse_outputs(model: keras.Model) -> list:
    """A map of each level of the decoder but the last, at full resolution.

    Lee et al. (2015), "Deeply-Supervised Nets".
    """
    steps = [
        place
        for place, layer in enumerate(model.layers)
        if isinstance(layer, layers.Conv2DTranspose)
    ][1:]
    outputs = [output_of(model.layers[place].input) for place in steps]
    return [
        layers.UpSampling2D(2 ** (len(steps) - place), interpolation="bilinear")(output)
        for place, output in enumerate(outputs)
    ]


def refined(image, probability):
    """A second map, by a smaller U-Net that is shown the first.

    Galdran et al. (2022), "State-of-the-art retinal vessel segmentation with
    minimalistic models". It sees red, green and the map: U-Nets here take three
    channels, and blue says least.
    """
    second = unet.build_unet(
        filters=REFINING_FILTERS, dropout_rate=0, batch_normalization=True
    )
    return second(layers.Concatenate(dtype="float32")([image[..., :2], probability]))


def make_model(changes: frozenset[str], args: argparse.Namespace, rate: float):
    """The network that learns, with its optimizer and loss, and the one that is used.

    They share all weights; the first may have more outputs, after the second's.
    """
    filters = args.filters[:4] if "shallow" in changes else args.filters
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        level = residual_level if "residual" in changes else unet._two_convolutions
        with mock.patch.object(unet, "_two_convolutions", level):
            used = unet.build_unet(
                filters=filters, dropout_rate=0, batch_normalization=True
            )
        image, maps = used.input, [used.output]
        if "deep" in changes:
            maps += coarse_outputs(used)
        if "refine" in changes:
            maps.insert(0, refined(image, used.output))
        used = keras.Model(image, maps[0])
        outputs = layers.Concatenate(dtype="float32")(maps) if maps[1:] else maps[0]
        learning = keras.Model(image, outputs)
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = muon.Muon if "muon" in changes else keras.optimizers.AdamW
    optimizer = optimizer(rate, weight_decay=0.05 if "decay" in changes else 0.004)
    learning.compile(optimizer, make_loss(changes))
    optimizer.build(learning.trainable_variables)
    return learning, used


def score(model: keras.Model, cases: Sequence[datasets.Case]) -> dict[str, str]:
    """Of the maps of all cases, pooled."""
    fields = [datasets.read_field_of_view(case) for case in cases]
    labels = [datasets.read_label(case, train.OBSERVER) for case in cases]
    maps = [
        tiling.predict_tiled(model.predict_on_batch, read_image(case.image))
        for case in cases
    ]
    label, probability = metrics.pool(labels, fields), metrics.pool(maps, fields)
    threshold = metrics.best_threshold(label, probability)
    truth = [one & field for one, field in zip(labels, fields, strict=True)]
    vessels = [
        (one >= threshold) & field for one, field in zip(maps, fields, strict=True)
    ]
    truth_lines, vessels_lines = (
        [metrics.centre_line(one) for one in each] for each in (truth, vessels)
    )
    pooled = (
        metrics.pool(each, fields)
        for each in (truth, truth_lines, vessels, vessels_lines)
    )
    scores = {
        "auc_roc": metrics.auc_roc(label, probability),
        "auc_pr": metrics.auc_pr(label, probability),
        "dice": metrics.threshold_scores(label, probability >= threshold)["dice"],
        "cl_dice": metrics.topology_scores(*pooled)["cl_dice"],
    }
    return {name: f"{value:.5f}" for name, value in scores.items()}


def run(fold: int, changes: frozenset[str], args: argparse.Namespace) -> dict[str, str]:
    """Fits and scores one combination. Returns its row of the table."""
    times = 2 if "halves" in changes else 1
    options = ["--folds", str(args.folds), "--fold", str(fold), "--data", args.data]
    options += ["--epochs", str(EPOCHS), "--steps", str(times * args.batches // EPOCHS)]
    options += ["--batch-size", str(16 // times), "--seed", str(200 + fold)]
    options += ["--learning-rate", "6e-3" if "rate" in changes else "3e-3"]
    recipe = train.parse_args([*options, "--augment"])
    cases = datasets.list_cases(recipe.data, "training")
    learnt, held_out = train.split_cases(cases, recipe)
    kind = SoftPatches if "soft" in changes else augment.PatchGenerator
    with mock.patch.object(augment, "PatchGenerator", kind):
        patches = train.make_patches(learnt, recipe)
    if "light" in changes:
        patches.recipe = LIGHT

    def begin_epoch(epoch, logs):
        patches.epoch = epoch
        if "settle" in changes and epoch >= 0.8 * EPOCHS:
            patches.recipe = LIGHT

    keras.utils.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    learning, used = make_model(
        changes | BASES[args.screen], args, recipe.learning_rate
    )
    callbacks = [
        train.set_learning_rate(learning, recipe),
        keras.callbacks.LambdaCallback(on_epoch_begin=begin_epoch),
    ]
    began = time.perf_counter()
    learning.fit(patches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    seconds = time.perf_counter() - began
    names = SCREENS[args.screen]
    return {
        "fold": str(fold),
        "changes": " ".join(name for name in names if name in changes),
        **score(used, held_out),
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


def effects(
    rows: Sequence[dict[str, str]], changes: Sequence[str], score: str
) -> dict[str, tuple[float, ...]]:
    """What each change adds to a score, and the standard error of that.

    Least squares for the folds' levels and the changes' effects, which add up; the
    error comes from what that leaves. Both are nan where too few runs tell them.
    """
    rows = [row for row in rows if row[score]]
    folds = sorted({row["fold"] for row in rows})
    design = np.array(
        [
            [float(name in row["changes"].split()) for name in changes]
            + [float(row["fold"] == fold) for fold in folds]
            for row in rows
        ]
    )
    values = np.array([float(row[score]) for row in rows])
    untold = dict.fromkeys(changes, (np.nan, np.nan))
    if not rows:
        return untold
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    if rank < design.shape[1]:
        return untold
    left = len(values) - rank
    squares = np.sum((values - design @ solution) ** 2)
    variance = squares / left if left else np.nan
    errors = np.sqrt(variance * np.diag(np.linalg.pinv(design.T @ design)))
    return {
        name: (float(solution[i]), float(errors[i])) for i, name in enumerate(changes)
    }


def print_effects(rows: Sequence[dict[str, str]], changes: dict[str, str]) -> None:
    print(f"{len(rows)} runs; effect and its standard error")
    by_score = {score: effects(rows, list(changes), score) for score in SCORES}
    print(f"{'':10s}" + "".join(f"{score:>18s}" for score in SCORES))
    for name, meaning in changes.items():
        cells = ""
        for score in SCORES:
            effect, error = by_score[score][name]
            digits = 0 if score == "seconds" else 5
            cells += f"{effect:+10.{digits}f} {error:7.{digits}f}"
        print(f"{name:10s}{cells}   {meaning}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    part, parts = args.part
    for fold, changes in design(SCREENS[args.screen])[part::parts]:
        done = {
            (row["fold"], frozenset(row["changes"].split()))
            for row in read_rows(args.table)
        }
        if (str(fold), changes) not in done:
            append(run(fold, changes, args), args.table)
    print_effects(read_rows(args.table), SCREENS[args.screen])


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"screen.py: {error}")
