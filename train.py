"""Fits a U-Net on patches of DRIVE's training photographs.

    python train.py --pretrained --augment          # VGG16 encoder, our recipe
    python train.py --preset article --augment      # the article's, to the letter
    python train.py --preset large --augment        # twice the filters: slower, better
    python train.py --epochs 2 --steps 20           # cheap: does it run?
    python train.py --augment --preview patches.png # look at the data first

Writes models/NAME.keras (the network), NAME.json (how it was made), NAME.csv and
NAME.png (its curves).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from retina import datasets, networks
from retina.field_of_view import given_field_of_view
from retina.files import InputError, fingerprint, whole_file
from retina.pictures import read_image

OBSERVER = "1st_manual"  # the field learns from the first observer
PREVIEW_PATCHES = 32
HEADLINES = ("auc_roc", "auc_pr", "dice")
# `article` is the article's recipe to the letter; `default` is ours; `large` is ours,
# with twice the filters. An option on the command line overrides what stands here.
PRESETS = {
    "article": {
        "filters": [32, 64, 128, 256, 512],
        "batch_normalization": False,
        "inside_field": False,
        "augmentation": "article",
        "dropout": 0.1,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "epochs": 100,
        "validation": 0,
        "keep": "last",
    },
    "default": {
        "filters": [16, 32, 64, 128],
        "batch_normalization": True,
        "inside_field": True,
        "augmentation": "default",
        "dropout": 0.0,
        "optimizer": "muon-cosine",
        "learning_rate": 3e-3,
        "epochs": 80,
        "validation": 4,
        "keep": "best",
    },
}
PRESETS["large"] = PRESETS["default"] | {"filters": [32, 64, 128, 256]}
# The threshold where no photograph is held out to choose it on: the one of highest Dice
# on out-of-fold maps of DRIVE's training photographs (benchmarks/out_of_fold.py).
THRESHOLDS = {"default": 0.401}
# VGG16's encoder takes eight times as long a batch: fewer of them.
PRETRAINED_DEFAULTS = {"epochs": 20}
WARM_UP = 0.05  # share of the batches over which the learning rate rises


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = _parser()
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=PRESETS, default="default")
    first.add_argument("--pretrained", action="store_true")
    chosen = first.parse_known_args(argv)[0]
    parser.set_defaults(**PRESETS[chosen.preset])
    if chosen.pretrained and chosen.preset != "article":
        parser.set_defaults(**PRETRAINED_DEFAULTS)
    args = parser.parse_args(argv)
    _check(args, parser)
    args.encoder = "vgg16" if args.pretrained else "scratch"
    args.name = args.name or _default_name(args)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Fits a U-Net on patches of DRIVE's training photographs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,  # the presets must know --preset and --pretrained
    )
    add = parser.add_argument
    add("--preset", choices=sorted(PRESETS), default="default", help="which recipe")
    add("--augment", action="store_true", help="augment with the preset's recipe")
    add("--pretrained", action="store_true", help="VGG16 encoder, from ImageNet")
    add("--encoder-weights", metavar="PATH", help="VGG16's weights; else downloaded")

    network = parser.add_argument_group("network")
    add = network.add_argument
    add("--filters", type=_positive, nargs="+", help="of each level, finest first")
    add("--dropout", type=_fraction, help="share of values dropped, 0 to 1")

    fitting = parser.add_argument_group("fitting")
    add = fitting.add_argument
    add("--learning-rate", type=float, help="constant; its peak in our recipe")
    add(
        "--loss",
        choices=("cross-entropy", "focal"),
        default="cross-entropy",
        help="what is minimised",
    )
    add("--epochs", type=_positive, help="rounds of --steps batches")
    add("--steps", type=_positive, default=125, help="batches an epoch")
    add("--batch-size", type=_positive, default=16, help="patches, a multiple of 4")
    add("--patch-side", type=_positive, default=64, help="pixels, a multiple of 16")
    add("--seed", type=int, default=0, help="of weights, patches and dropout")
    add(
        "--precision",
        choices=("auto", *networks.PRECISIONS),
        default="auto",
        help="of the arithmetic; auto: bfloat16 where a short timing says it is faster",
    )
    add("--resume", action="store_true", help="go on where the same command stopped")

    data = parser.add_argument_group("data")
    add = data.add_argument
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    add("--validation", type=int, help="photographs held out; 0 trains on all")
    add("--folds", type=_positive, help="hold out one of this many parts instead")
    add("--fold", type=int, default=0, help="which part, from 0")
    add("--keep", choices=("best", "last"), help="which epoch; best on validation")

    output = parser.add_argument_group("output")
    add = output.add_argument
    add("--name", help="of the files in models/; None: made of the options")
    add("--models", type=Path, default=Path("models"), help="folder to write to")
    add("--preview", type=Path, metavar="FILE", help="draw a sheet of patches and stop")
    add("--tensorboard", type=Path, metavar="FOLDER", help="log for TensorBoard")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"expected 0 or more, below 1, got {text}")
    return number


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if args.encoder_weights and not args.pretrained:
        parser.error("--encoder-weights is for VGG16's encoder: add --pretrained")
    if len(args.filters) not in (4, 5):
        parser.error(f"--filters must be four or five numbers, got {len(args.filters)}")
    if args.patch_side % 16:
        parser.error(f"--patch-side must be a multiple of 16, got {args.patch_side}")
    if args.batch_size % 4:
        parser.error(f"--batch-size must be a multiple of 4, got {args.batch_size}")
    if args.folds and not 0 <= args.fold < args.folds:
        parser.error(f"--fold must be 0 to {args.folds - 1}, got {args.fold}")
    if args.learning_rate <= 0:
        parser.error(f"--learning-rate must be above 0, got {args.learning_rate}")
    if args.tensorboard and not find_spec("tensorboard"):
        parser.error("--tensorboard needs a package more: pip install tensorboard")


def _default_name(args: argparse.Namespace) -> str:
    parts = [args.preset, args.encoder]
    parts += ["augment"] * args.augment + ["focal"] * (args.loss == "focal")
    parts += [f"fold{args.fold}of{args.folds}"] * bool(args.folds)
    return "-".join(parts)


def split_cases(
    cases: list[datasets.Case], args: argparse.Namespace
) -> tuple[list[datasets.Case], list[datasets.Case]]:
    """Parts cases into those to learn from and those held out, by photograph."""
    if args.folds:
        if args.folds < 2 or args.folds > len(cases):
            raise InputError(
                f"expected 2 to {len(cases)} folds, as there are {len(cases)} "
                f"photographs in {args.data}, received --folds {args.folds}"
            )
        held_out = range(args.fold, len(cases), args.folds)
    else:
        if not 0 <= args.validation < len(cases):
            raise InputError(
                f"expected to hold out 0 to {len(cases) - 1} of the {len(cases)} "
                f"photographs in {args.data}, received --validation {args.validation}"
            )
        step = len(cases) / max(args.validation, 1)
        held_out = [int(step * index) for index in range(args.validation)]
    training = [case for index, case in enumerate(cases) if index not in held_out]
    return training, [cases[index] for index in held_out]


def make_patches(cases: Sequence[datasets.Case], args: argparse.Namespace):
    """Reads the photographs and labels into a PatchGenerator."""
    import augment

    images = [read_image(case.image) for case in cases]
    labels = [datasets.read_label(case, OBSERVER) for case in cases]
    fields = None
    if args.inside_field:
        fields = [datasets.read_field_of_view(case) for case in cases]
    smallest = min(min(label.shape) for label in labels)
    if smallest < args.patch_side:
        raise InputError(
            f"expected photographs of at least --patch-side {args.patch_side} pixels, "
            f"the smallest side in {args.data} is {smallest}: choose smaller patches"
        )
    return augment.PatchGenerator(
        images,
        labels,
        fields,
        recipe=augment.RECIPES[args.augmentation if args.augment else "none"],
        patch_side=args.patch_side,
        batch_size=args.batch_size,
        steps=args.steps,
        seed=args.seed,
    )


def draw_preview(patches, path: Path) -> None:
    """Draws augmented patches, each over its label, as they go into the network."""
    import numpy as np
    from PIL import Image

    batches = -(-PREVIEW_PATCHES // patches.batch_size)
    pairs = [
        np.concatenate([image, np.repeat(label, 3, axis=-1)])  # (2 P, P, 3)
        for index in range(batches)
        for image, label in zip(*patches[index], strict=True)
    ]
    framed = [np.pad(pair, ((2, 2), (2, 2), (0, 0))) for pair in pairs]
    rows = [
        np.concatenate(framed[first : first + 8], axis=1)
        for first in range(0, PREVIEW_PATCHES, 8)
    ]
    sheet = Image.fromarray(np.round(np.concatenate(rows) * 255).astype(np.uint8))
    with whole_file(path) as part:
        sheet.resize((sheet.width * 2, sheet.height * 2), 0).save(part)
    print(f"{path}: {PREVIEW_PATCHES} patches, each over its label")


def make_model(args: argparse.Namespace):
    """Builds and compiles the network; decides on `args.precision` where it is auto."""
    import keras

    args.precision = networks.choose_precision(args.precision)
    keras.config.set_dtype_policy(networks.PRECISIONS[args.precision])
    try:
        model = build(args)
    finally:
        keras.config.set_dtype_policy("float32")
    loss = keras.losses.BinaryCrossentropy()
    if args.loss == "focal":
        # Lin et al. (2017), "Focal Loss for Dense Object Detection".
        loss = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=0.25, gamma=2.0
        )
    model.compile(optimizer=make_optimizer(args), loss=loss)
    # TensorFlow traces a step twice where variables are made in it.
    model.optimizer.build(model.trainable_variables)
    return model


def build(args: argparse.Namespace):
    """Builds the network with its first weights."""
    import keras

    import unet

    # For the first weights and dropout; patches have a generator of their own.
    keras.utils.set_random_seed(args.seed)
    weights = (args.encoder_weights or "imagenet") if args.pretrained else None
    try:
        return unet.build_unet(
            args.encoder,
            filters=args.filters,
            dropout_rate=args.dropout,
            batch_normalization=args.batch_normalization,
            encoder_weights=weights,
        )
    except OSError as error:
        raise InputError(f"{error} with --encoder-weights PATH") from error


def folded(model, args: argparse.Namespace):
    """The network as it is saved: float32, without dropout and normalisation layers.

    It says the same of an image in less time, and has no state of the optimizer, which
    is twice as large as the weights.
    """
    import unet

    plain = unet.build_unet(args.encoder, filters=args.filters, dropout_rate=0)
    networks.copy_folded(model, plain)
    return plain


def make_optimizer(args: argparse.Namespace):
    """Adam at a constant rate, or Muon, whose rate `set_learning_rate` changes."""
    import keras

    from retina import muon

    optimizers = {"adam": keras.optimizers.Adam, "muon-cosine": muon.Muon}
    return optimizers[args.optimizer](args.learning_rate)


def set_learning_rate(model, args: argparse.Namespace):
    """A callback: the rate rises over the warm-up, then decays to nothing (cosine).

    Loshchilov, Hutter (2017), "SGDR". Keras' schedule is asked here, once a batch: as
    part of the optimizer it is traced and computed anew for each of the weights.
    """
    import keras

    batches = args.epochs * args.steps
    warm_up = max(1, round(WARM_UP * batches))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, batches - warm_up),
        warmup_target=args.learning_rate,
        warmup_steps=warm_up,
    )

    def set_it(batch, logs=None):
        model.optimizer.learning_rate = float(schedule(model.optimizer.iterations))

    return keras.callbacks.LambdaCallback(on_train_batch_begin=set_it)


def predict_pooled(model, cases: Sequence[datasets.Case]):
    """Labels and probabilities of whole photographs inside their fields of view.

    Returns:
        Two flat arrays, bool and float32: all pixels of all `cases`, pooled.
    """
    import numpy as np

    from retina import tiling

    labels, probabilities = [], []
    for case in cases:
        image = read_image(case.image)
        probability = tiling.predict_tiled(model.predict_on_batch, image)
        field_of_view = datasets.read_field_of_view(case)
        labels.append(datasets.read_label(case, OBSERVER)[field_of_view])
        probabilities.append(probability[field_of_view])
    return np.concatenate(labels), np.concatenate(probabilities)


def fit(model, patches, validation, args: argparse.Namespace) -> list[dict]:
    """Fits the network and leaves the kept weights in it; returns the curves."""
    import keras

    from retina import history, metrics

    backup = args.models / f"{args.name}.backup"
    csv = args.models / f"{args.name}.csv"
    begin_backup(backup, csv, args)
    best = backup / "best.weights.h5"
    log = history.Curves(
        csv,
        validate=lambda model: metrics.auc_roc(*predict_pooled(model, validation)),
        every=max(1, args.epochs // 10),  # whole photographs take seconds
        best=best if args.keep == "best" else None,
    )
    if not validation:
        log.validate = None
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(patches, "epoch", epoch)
        ),
        log,
        keras.callbacks.BackupAndRestore(str(backup), delete_checkpoint=False),
    ]
    if args.optimizer != "adam":
        callbacks.append(set_learning_rate(model, args))
    if args.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(args.tensorboard)))
    verbose = 1 if sys.stdout.isatty() else 2  # a bar, or a line an epoch in log files
    model.fit(
        patches,
        epochs=args.epochs,
        callbacks=callbacks,
        shuffle=False,  # the batches are random already, and a function of the seed
        verbose=verbose,
    )
    if best.is_file():
        model.load_weights(best)
    return log.rows


def begin_backup(backup: Path, csv: Path, args: argparse.Namespace) -> None:
    """Keeps the arguments beside the backup, so that --resume goes on with the same."""
    arguments = json.dumps(recorded_arguments(args), indent=1)
    record = backup / "arguments.json"
    if not args.resume:
        shutil.rmtree(backup, ignore_errors=True)
        csv.unlink(missing_ok=True)
        with whole_file(record) as part:
            part.write_text(arguments, encoding="utf-8")
        return
    if not record.is_file():
        raise InputError(
            f"expected a training that was cut short in {backup}, found none: start "
            "it without --resume"
        )
    begun = record.read_text(encoding="utf-8")
    if begun != arguments:
        changed = sorted(set(arguments.splitlines()) - set(begun.splitlines()))
        raise InputError(
            f"expected the arguments that {args.name} was begun with (they stand in "
            f"{record}), received other ones ({' '.join(changed)}): give the same "
            "ones, or start without --resume"
        )


def recorded_arguments(args: argparse.Namespace) -> dict:
    """The arguments that decide what the network becomes, ready for JSON."""
    unrecorded = ("resume", "preview", "tensorboard", "models")
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in unrecorded
    }


def score_validation(
    model, validation: Sequence[datasets.Case], args: argparse.Namespace
) -> dict:
    """Chooses the threshold on the held-out photographs and scores them with it."""
    from retina import metrics

    if not validation:
        # The focal loss moves probabilities away from what ours was chosen on.
        if args.loss == "cross-entropy" and args.preset in THRESHOLDS:
            return {
                "threshold": THRESHOLDS[args.preset],
                "threshold_chosen_on": "highest Dice on out-of-fold maps of DRIVE's "
                f"training photographs by the preset {args.preset}",
            }
        return {"threshold": 0.5, "threshold_chosen_on": "nothing: none was held out"}
    label, probability = predict_pooled(model, validation)
    threshold = metrics.best_threshold(label, probability)
    return {
        "threshold": threshold,
        "threshold_chosen_on": "highest Dice on the validation photographs",
        "validation": {
            "protocol": f"{OBSERVER}, inside the field of view, pooled over "
            f"{label.size} pixels of {len(validation)} photographs",
            "auc_roc": metrics.auc_roc(label, probability),
            "auc_pr": metrics.auc_pr(label, probability),
            **metrics.threshold_scores(label, probability >= threshold),
        },
    }


def median_diameter(cases: Sequence[datasets.Case]) -> float:
    """Of the fields of view, in pixels: the resolution that the network learns."""
    fields = [given_field_of_view(datasets.read_field_of_view(case)) for case in cases]
    return statistics.median(field.diameter for field in fields)


def make_record(
    model, training, validation, rows: list[dict], args: argparse.Namespace
) -> dict:
    """What NAME.json says of how the network was made."""
    from retina import history

    every_file = [
        path
        for case in (*training, *validation)
        for path in (case.image, case.field_of_view, case.labels[OBSERVER])
        if path
    ]
    kept_best = args.keep == "best" and bool(validation)
    return {
        "arguments": recorded_arguments(args),
        "parameters": model.count_params(),
        "training_cases": {case.name: fingerprint(case.image) for case in training},
        "validation_cases": {case.name: fingerprint(case.image) for case in validation},
        "field_diameter": median_diameter(training),
        "observer": OBSERVER,
        "data_sha256": fingerprint(*every_file),
        "epoch_kept": history.best_epoch(rows) if kept_best else int(rows[-1]["epoch"]),
        "epoch_chosen": "best" if kept_best else "last",
        "seconds": sum(row["seconds"] for row in rows),
        **score_validation(model, validation, args),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("keras", "tensorflow", "numpy")},
        },
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def report(record: dict, path: Path) -> None:
    """Prints how the network does on the photographs that were held out."""
    scores = record.get("validation")
    if scores is None:
        print("no photograph was held out: nothing says yet how good this network is")
    else:
        print("validation", *(f"{name} {scores[name]:.4f}" for name in HEADLINES))
        print(
            f"  ({scores['protocol']}; Dice at threshold {record['threshold']:.3f}, "
            f"chosen on them; epoch {record['epoch_kept']}, the "
            f"{record['epoch_chosen']})"
        )
    print(f"{path} ({record['parameters']:,} parameters, {record['seconds']:.0f} s)")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cases = datasets.list_cases(args.data, "training")
    datasets.require_labels(cases, OBSERVER)
    training, validation = split_cases(cases, args)
    patches = make_patches(training, args)
    if args.preview:
        draw_preview(patches, args.preview)
        return
    model = make_model(args)
    rows = fit(model, patches, validation, args)
    model = folded(model, args)
    from retina import history

    history.draw_history(args.models / f"{args.name}.png", rows)
    record = make_record(model, training, validation, rows, args)
    path = args.models / f"{args.name}.keras"
    networks.save(model, record, path)
    backup = args.models / f"{args.name}.backup"  # --resume needed it
    shutil.rmtree(backup, ignore_errors=True)
    report(record, path)


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: stopped; the same command with --resume goes on from here")
