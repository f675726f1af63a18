"""Fits a U-Net on patches of DRIVE's training photographs.

    python train.py --augment                       # this project's recipe, 10 minutes
    python train.py --pretrained --augment          # VGG16 encoder from ImageNet
    python train.py --preset article --augment      # the article's recipe
    python train.py --preset cameras --augment --start models/vessels.keras --data MINE
    python train.py --epochs 2 --steps 20           # cheap: does it run?
    python train.py --augment --preview patches.png # look at the data first

Writes models/NAME.keras (the network), NAME.json (how it was made), NAME.csv and
NAME.png (its curves). While it runs, NAME.state/ holds what --resume needs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path

from retina import networks, recipes, report, training_set
from retina.commands import (
    HelpFormatter,
    above_zero,
    file_name,
    fraction,
    positive,
    run,
    whole,
)
from retina.datasets import Labelled, fingerprint_cases, list_cases, read_labelled
from retina.files import InputError, counted, require_no_link
from retina.labels import vessel_value
from retina.pictures import as_image
from retina.recipes import PRESETS, PRETRAINED, STARTED, Recipe, Threshold

OBSERVER = "1st_manual"  # the field learns from the first observer
HEADLINES = ("auc_roc", "auc_pr", "dice")
WARM_UP = 0.05  # share of the batches over which the learning rate rises


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `args.recipe` is all that decides the result."""
    parser = _parser()
    parser.set_defaults(**asdict(_default_recipe(argv)) | {"fold": None})  # not given
    args = parser.parse_args(argv)
    _check(args, parser)
    args.filters = tuple(args.filters)
    args.fold = args.fold or 0
    if args.folds:
        args.validation = 0
    if args.encoder == "vgg16" and not (args.start or args.encoder_weights):
        args.encoder_weights = "imagenet"
    names = [field.name for field in fields(Recipe)]
    args.recipe = Recipe(**{name: getattr(args, name) for name in names})
    args.name = args.name or args.recipe.name
    return args


def _default_recipe(argv: Sequence[str] | None) -> Recipe:
    """What the options are by default, which three of them decide."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--start", type=Path)
    args, _ = parser.parse_known_args(argv)
    recipe = PRESETS[args.preset]
    if args.pretrained and args.preset != "article":
        recipe = replace(recipe, **PRETRAINED)
    if args.start:
        recipe = replace(recipe, **STARTED, **taken_from(args.start))
    return recipe


def taken_from(start: Path) -> dict:
    """What a recipe takes from the network to start from: its hash and its layers.

    Raises:
        InputError: it has no record, so that nobody knows what it learnt from, or is an
            average of several.
    """
    record = networks.read_record(start)
    if not record.network_sha256 or record.training_cases is None:
        raise InputError(
            f"expected a record beside {start} that says what it learnt from, found "
            "none: start from a network whose .json file is complete"
        )
    if "filters" not in record.recipe:
        raise InputError(
            f"expected one network of train.py, found in {start} the average of "
            "several: start from one of them"
        )
    layers = {"filters": record.recipe["filters"], "encoder": record.recipe["encoder"]}
    return layers | {"start_sha256": record.network_sha256}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Fits a U-Net on patches of DRIVE's training photographs.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,  # --preset and --pretrained must be written out
    )
    add = parser.add_argument
    preset = "which recipe; --preset NAME --help shows its defaults"
    add("--preset", choices=sorted(PRESETS), help=preset)
    add("--augment", action="store_true", help="augment as the preset does")
    pretrained = "VGG16's encoder, with weights from ImageNet"
    vgg16 = {"action": "store_const", "const": "vgg16", "dest": "encoder"}
    add("--pretrained", **vgg16, help=pretrained)
    weights = "file of VGG16's weights; default: Keras downloads them"
    add("--encoder-weights", metavar="PATH", help=weights)
    start = "network whose weights are the first ones: fine-tunes it"
    add("--start", type=Path, metavar="NETWORK", help=start)

    add = parser.add_argument_group("network").add_argument
    add("--filters", type=positive, nargs="+", help="of each level, finest first")
    add("--dropout", type=fraction, help="share of values dropped, 0 to 1")

    add = parser.add_argument_group("fitting").add_argument
    rate = "learning rate; the peak of the schedule unless --preset article"
    add("--learning-rate", type=above_zero, help=rate)
    losses = ("cross-entropy", "focal")
    add("--loss", choices=losses, help="what is minimised")
    add("--epochs", type=positive, help="rounds of --steps batches")
    add("--steps", type=positive, help="batches an epoch")
    add("--batch-size", type=positive, help="patches, a multiple of 4")
    add("--patch-side", type=positive, help="pixels, a multiple of 16")
    add("--seed", type=whole, help="of weights, patches and dropout")
    precision = "of the arithmetic; auto: bfloat16 where a short timing finds it faster"
    choices = ("auto", *networks.PRECISIONS)
    add("--precision", choices=choices, help=precision)

    group = parser.add_argument_group("data")
    add = group.add_argument
    drive = [Path("input/DRIVE")]
    add("--data", type=Path, nargs="+", default=drive, help="folders of data sets")
    add = group.add_mutually_exclusive_group().add_argument
    add("--validation", type=whole, help="photographs held out; 0: learn from all")
    add("--folds", type=positive, help="hold out one of this many parts instead")
    add = group.add_argument
    add("--fold", type=whole, help="which part, from 0")
    add("--keep", choices=("best", "last"), help="which epoch; best on validation")
    values = "values of the labels that are vessel, if check.py cannot tell"
    add("--vessel-values", type=vessel_value, nargs="+", metavar="VALUE", help=values)
    trust = "accept labels that do not seem to lie on their photographs"
    add("--trust-labels", action="store_true", help=trust)

    group = parser.add_argument_group("output")
    add = group.add_argument
    name = "of the files in --models; default: made of the options"
    add("--name", type=file_name, help=name)
    add("--models", type=Path, default=Path("models"), help="folder to write to")
    add("--preview", type=Path, metavar="FILE", help="draw a sheet of patches and stop")
    add("--tensorboard", type=Path, metavar="FOLDER", help="log for TensorBoard")
    add = group.add_mutually_exclusive_group().add_argument
    add("--resume", action="store_true", help="continue the training that was stopped")
    add("--replace", action="store_true", help="start anew, over what is there")
    return parser


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if args.encoder_weights and args.encoder != "vgg16":
        parser.error("--encoder-weights is for VGG16's encoder: add --pretrained")
    if len(args.filters) not in (4, 5):
        parser.error(f"--filters must be four or five numbers, got {len(args.filters)}")
    if args.patch_side % 16:
        parser.error(f"--patch-side must be a multiple of 16, got {args.patch_side}")
    if args.batch_size % 4:
        parser.error(f"--batch-size must be a multiple of 4, got {args.batch_size}")
    if args.fold is not None and not args.folds:
        parser.error("--fold names one of --folds parts: add --folds")
    if args.folds and not (args.fold or 0) < args.folds:
        parser.error(f"--fold must be 0 to {args.folds - 1}, got {args.fold}")
    if args.tensorboard and not find_spec("tensorboard"):
        parser.error("--tensorboard needs another package: pip install tensorboard")


# ---- data


def read_data(args: argparse.Namespace) -> tuple[list[Labelled], list[Labelled]]:
    """Reads and checks all photographs and labels, those held out too."""
    read = []
    for folder in args.data:
        found, notes = read_labelled(
            list_cases(folder, "training"),
            OBSERVER,
            vessel_values=args.vessel_values,
            trust=args.trust_labels,
        )
        print(*notes, sep="\n")
        read += found
    smallest = min(read, key=lambda each: min(each.label.shape))
    if min(smallest.label.shape) < args.patch_side:
        raise InputError(
            f"expected photographs of at least --patch-side {args.patch_side} pixels, "
            f"the smallest side of {smallest.case.image} is "
            f"{min(smallest.label.shape)}: choose smaller patches"
        )
    if len(args.data) > 1 and not args.recipe.diameters:
        training_set.require_one_scale(map(training_set.field_diameter, read))
    people, notes = training_set.find_people(read)
    print(*notes, sep="\n", end="\n" if notes else "")
    parts = training_set.split(people, args.recipe)
    training, validation = ([read[number] for number in part] for part in parts)
    if args.start:
        training_set.require_unseen(validation, args.start)
        training_set.require_known_scale(training, args.recipe, args.start)
    return training, validation


def make_patches(training: Sequence[Labelled], recipe: Recipe):
    """The photographs and labels as a PatchGenerator."""
    import augment

    augmentation = recipe.augmentation if recipe.augment else "none"
    return augment.PatchGenerator(
        (training_set.at_diameters(each, recipe.diameters) for each in training),
        inside_field=recipe.inside_field,
        soft=recipe.soft_labels,
        augmentation=augment.AUGMENTATIONS[augmentation],
        patch_side=recipe.patch_side,
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        seed=recipe.seed,
    )


def draw_preview(path: Path, patches, replace: bool) -> None:
    """Draws a sheet of patches; over a file that is there only with `replace`."""
    if path.exists() and not replace:
        raise InputError(
            f"expected no file in {path}, found one: name another with --preview, "
            "or write over it with --replace"
        )
    report.draw_patches(path, patches)
    print(f"{path}: {report.PREVIEW_PATCHES} patches, each over its label")


# ---- network


def make_model(recipe: Recipe, start: Path | None = None):
    """Builds and compiles the network, with the weights of the one in `start`."""
    import keras

    keras.utils.clear_session()  # so that layers' names, too, are always the same
    keras.config.set_floatx("float32")  # whatever ~/.keras/keras.json says
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy(networks.PRECISIONS[recipe.precision])
    try:
        model = build(recipe)
    finally:
        keras.config.set_dtype_policy("float32")
    if start:
        networks.copy_weights(start, model)
    loss = keras.losses.BinaryCrossentropy()
    if recipe.loss == "focal":
        # Lin et al. (2017), "Focal Loss for Dense Object Detection".
        loss = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=0.25, gamma=2.0
        )
    model.compile(optimizer=make_optimizer(recipe), loss=loss)
    # TensorFlow traces a step twice where variables are made in it.
    model.optimizer.build(model.trainable_variables)
    return model


def build(recipe: Recipe):
    """Builds the network with its first weights."""
    import keras

    import unet

    # For the first weights and dropout; patches have a generator of their own.
    keras.utils.set_random_seed(recipe.seed)
    try:
        return unet.build_unet(
            recipe.encoder,
            filters=recipe.filters,
            dropout_rate=recipe.dropout,
            batch_normalization=recipe.batch_normalization,
            encoder_weights=recipe.encoder_weights or None,
        )
    except OSError as error:
        raise InputError(f"{error} with --encoder-weights PATH") from error


def folded(model, recipe: Recipe):
    """The network as it is saved: float32, without dropout and normalisation layers.

    Its maps are the same in less time, and it has no state of the optimizer, which is
    twice as large as the weights.
    """
    import unet

    plain = unet.build_unet(recipe.encoder, filters=recipe.filters, dropout_rate=0)
    networks.copy_folded(model, plain)
    return plain


def make_optimizer(recipe: Recipe):
    """Adam at a constant rate, or Muon, whose rate rises, then decays to nothing.

    The decay is a cosine: Loshchilov, Hutter (2017), "SGDR".
    """
    import keras

    from retina import muon

    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(recipe.learning_rate)
    warm_up = max(1, round(WARM_UP * recipe.batches))
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / warm_up,  # not 0, so that the first batch is not wasted
        decay_steps=max(1, recipe.batches - warm_up),
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    return muon.Muon(schedule)


def predict_pooled(model, examples: Sequence[Labelled], recipe: Recipe):
    """Labels and probabilities of whole photographs inside their fields of view.

    Returns:
        Two flat arrays, bool and float32: all pixels of all `examples`, pooled.
    """
    import numpy as np

    from retina import tiling

    probabilities = []
    for each in examples:
        image = as_image(each.pixels)
        maps = [
            tiling.predict_tiled(model.predict_on_batch, tiling.show(image, scale))
            for scale in training_set.shown_scales(each, recipe)
        ]
        probabilities.append(tiling.show_back(maps, *each.label.shape)[each.inside])
    labels = [each.label[each.inside] for each in examples]
    return np.concatenate(labels), np.concatenate(probabilities)


# ---- fitting


def begin(
    state: Path, args: argparse.Namespace, data_sha256: str, training: list[Labelled]
):
    """The recipe with its precision, and what keeps the state of the training."""
    from retina import checkpoints

    require_no_link(state)
    if args.replace:
        shutil.rmtree(state, ignore_errors=True)
    begun = checkpoints.read_plan(state)
    if begun and args.recipe.precision == "auto":
        precision = begun["recipe"]["precision"]
    else:
        precision = networks.choose_precision(args.recipe.precision)
    recipe = replace(args.recipe, precision=precision)
    # Patches are drawn in the order of --data; `data` is a hash of a set, without one.
    order = "".join(each.identity.pixels_sha256 for each in training)
    plan = {
        "recipe": recipes.as_record(recipe),
        "data": data_sha256,
        "order of photographs": hashlib.sha256(order.encode()).hexdigest(),
        "versions": networks.versions(),
    }
    return recipe, checkpoints.Checkpoint(state, plan, keep_best=recipe.keeps_best)


def fit(model, patches, validation, checkpoint, args: argparse.Namespace) -> None:
    """Fits the network, from where it was stopped if it was, and leaves the kept
    weights in it."""
    import keras

    from retina import history, metrics

    def validate(model):
        return metrics.auc_roc(*predict_pooled(model, validation, args.recipe))

    epochs = args.recipe.epochs
    log = history.Curves(
        args.models / f"{args.name}.csv",
        checkpoint.rows,
        validate=validate if validation else None,
        every=max(1, epochs // 10),  # whole photographs take seconds
    )
    patches.epoch = done = checkpoint.restore(model)
    callbacks = [log, checkpoint]
    if args.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(args.tensorboard)))
    try:
        model.fit(
            patches,
            initial_epoch=done,
            epochs=epochs,
            callbacks=callbacks,
            shuffle=False,  # batches are random already, and a function of the seed
            verbose=1 if sys.stdout.isatty() else 2,  # a bar, or a line an epoch
        )
    except RuntimeError as error:
        history.raise_if_not_finite(error, epoch=len(checkpoint.rows) + 1)
        raise
    checkpoint.load_best(model)


# ---- record


def find_threshold(
    model, validation: Sequence[Labelled], recipe: Recipe, data_sha256: str
) -> tuple[Threshold, dict]:
    """The threshold, chosen on the photographs held out, and their scores with it."""
    from retina import metrics

    if not validation:
        return recipes.measured_threshold(recipe, data_sha256), {}
    label, probability = predict_pooled(model, validation, recipe)
    threshold = Threshold(
        metrics.best_threshold(label, probability),
        "held out",
        photographs=len(validation),
        batches=recipe.batches,
        learnt_batches=recipe.batches,
    )
    return threshold, {
        "protocol": f"{OBSERVER}, inside the field of view, pooled over "
        f"{label.size} pixels of {counted(len(validation), 'photograph')}",
        **metrics.ranking_scores(label, probability),
        **metrics.threshold_scores(label, probability >= threshold.value),
    }


def make_record(
    model, training, validation, rows: list[dict], recipe: Recipe, start: Path | None
) -> networks.Record:
    """The record (NAME.json) of how the network was made."""
    from retina import history

    data_sha256 = fingerprint_cases([*training, *validation])
    threshold, scores = find_threshold(model, validation, recipe, data_sha256)
    epoch_kept = history.best_epoch(rows) if recipe.keeps_best else recipe.epochs
    sets = Counter(each.case.data_set for each in training)
    seen = networks.seen_by(networks.read_record(start)) if start else ()
    learnt = dict.fromkeys((*(each.identity for each in training), *seen))
    as_dict = recipes.as_record(recipe)
    return networks.Record(
        family=recipes.family(as_dict),
        recipe=as_dict,
        training_cases=tuple(learnt),
        validation_cases=tuple(each.identity for each in validation),
        field_diameter=training_set.shown_diameter(training, recipe),
        factors=recipe.factors,
        threshold=threshold,
        epoch_chosen="best" if recipe.keeps_best else "last",
        parameters=model.count_params(),
        seconds=sum(row["seconds"] for row in rows),
        data_sha256=data_sha256,
        details={
            "epoch_kept": epoch_kept,
            "observer": OBSERVER,
            "data": dict(sets),
            "labels": sorted({each.rule for each in (*training, *validation)}),
            "validation": scores,
            "versions": networks.versions(),
            "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        },
    )


def print_summary(record: networks.Record, path: Path) -> None:
    """Prints what the network scores on the photographs that were held out."""
    scores = record.details["validation"]
    if not scores:
        print("no photograph was held out: this network has not been scored")
    else:
        print("validation", *(f"{name} {scores[name]:.4f}" for name in HEADLINES))
        print(
            f"  ({scores['protocol']}; Dice at threshold {record.threshold.value:.3f}, "
            f"chosen on them; epoch {record.details['epoch_kept']}, the "
            f"{record.epoch_chosen})"
        )
    print(f"threshold {record.threshold.value:.3f}: {record.threshold}")
    print(f"{path} ({record.parameters:,} parameters, {record.seconds:.0f} s)")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    path = args.models / f"{args.name}.keras"
    state = path.with_suffix(".state")
    begun = path.exists() or state.exists()
    if not (args.preview or args.replace or (args.resume and begun)):
        resume = "continue that training with --resume, " if begun else ""
        networks.require_no_results(path, f"{resume}start anew with --replace")
    training, validation = read_data(args)
    if args.preview:
        draw_preview(args.preview, make_patches(training, args.recipe), args.replace)
        return
    from retina import history

    data_sha256 = fingerprint_cases([*training, *validation])
    if args.resume and begun and not state.exists():
        networks.require_made_so(path, args.recipe, data_sha256)
        print(f"{path} is finished already")
        return
    patches = make_patches(training, args.recipe)
    recipe, checkpoint = begin(state, args, data_sha256, training)
    model = make_model(recipe, args.start)
    fit(model, patches, validation, checkpoint, args)
    network = folded(model, recipe)
    sha256 = networks.save(network, path)  # first: what follows may fail
    rows = checkpoint.rows
    record = make_record(network, training, validation, rows, recipe, args.start)
    networks.finish(path, record, sha256)
    history.draw_history(path.with_suffix(".png"), rows)
    checkpoint.remove()
    print_summary(record, path)


if __name__ == "__main__":
    run(main, "train.py", stopped="the same command with --resume continues it")
