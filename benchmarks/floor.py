"""How near to the machine's limit the network learns and predicts: achieved / peak.

    python benchmarks/floor.py
    python benchmarks/floor.py --rounds 1 --side 256 --filters 4 4 8 8 8   # cheap

Counts the floating-point operations of the networks from their layers, and measures
what this machine can do at most with a large matrix product and a large convolution,
in turn with training steps and photographs, in one process: medians over the rounds.
Options that are not listed go to train.py, such as --patch-side.

Counted: 2 operations a multiply-add of convolutions, a training step as 3 times its
forward pass less the gradient of the image, which nobody needs. Left out: biases,
normalisation, activations, pooling, the loss and the optimizer. They have few
operations, but move much memory: what they take shows as distance from the peak.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
from keras import layers  # noqa: E402

import tiling  # noqa: E402
import train  # noqa: E402

PRESETS = tuple(train.PRESETS)
PRECISIONS = ("float32", "bfloat16")
PEAKS = ("matrix product", "convolution")
PHOTOGRAPH = (584, 565, 3)  # DRIVE's: height, width, channels
DEPTH = 4  # products in a row, so that moving the data in and out counts for nothing


class Work(NamedTuple):
    """Something to time, with what there is to compute in it."""

    name: str
    precision: str
    operations: int
    run: Callable[[], object]


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Prints achieved / peak; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/vessels.keras"), help="to predict")
    add("--rounds", type=int, default=7, help="of all works in turn")
    add("--side", type=int, default=2048, help="of the matrices, a multiple of 32")
    return parser.parse_known_args(argv)


def count_layers(model: keras.Model, batch_shape: Sequence[int]) -> list[int]:
    """Operations of a forward pass in each layer that multiplies, inputs first.

    Args:
        model: a functional model of one input; models within it are entered.
        batch_shape: (N, H, W, C) of its input.
    """
    counts = []

    def call(layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        if isinstance(layer, keras.Model):
            counts.extend(count_layers(layer, args[0].shape))
        elif isinstance(layer, layers.Conv2DTranspose):  # kernel: H, W, to, from
            counts.append(2 * prod(layer.kernel.shape) * prod(args[0].shape[:-1]))
        elif isinstance(layer, (layers.Conv2D, layers.Dense)):
            counts.append(2 * prod(layer.kernel.shape) * prod(output.shape[:-1]))
        return output

    bare = keras.Model(model.inputs, model.outputs)
    image = keras.Input(batch_shape=tuple(batch_shape))
    keras.models.clone_model(bare, input_tensors=[image], call_function=call)
    return counts


def count_training(counts: Sequence[int]) -> int:
    """Operations of a training step, from those of the forward pass in each layer."""
    return 3 * sum(counts) - counts[0]


def count_tiled(model: keras.Model, shape: Sequence[int]) -> int:
    """Operations in all tiles that an image of this shape is cut into."""
    batches = []

    def network(tiles: np.ndarray) -> np.ndarray:
        batches.append(tiles.shape)
        return tiles[..., :1]

    tiling.predict_tiled(network, np.zeros(shape, np.float32))
    return sum(sum(count_layers(model, batch)) for batch in batches)


def peak_works(side: int) -> list[Work]:
    """Large products of matrices and large convolutions, in each precision."""
    rng = np.random.default_rng(0)
    square = rng.random((side, side), np.float32)
    images = rng.random((4, side // 32, side // 32, side // 8), np.float32)
    works = []
    for precision in PRECISIONS:
        options = {"use_bias": False, "dtype": precision}
        products = [layers.Dense(side, **options) for _ in range(DEPTH)]
        convolutions = [
            layers.Conv2D(side // 8, 3, padding="same", **options) for _ in range(DEPTH)
        ]
        for name, batch, stack in zip(
            PEAKS, (square, images), (products, convolutions), strict=True
        ):
            model = keras.Sequential([keras.Input(batch_shape=batch.shape), *stack])
            model.add(layers.Dense(1, **options))  # there is little to bring back
            count = sum(count_layers(model, batch.shape))
            run = bind(model.predict_on_batch, batch)
            works.append(Work(name, precision, count, run))
    return works


def train_works(options: Sequence[str]) -> list[Work]:
    """A training step of each preset, in each precision."""
    rng = np.random.default_rng(0)
    works = []
    for preset in PRESETS:
        for precision in PRECISIONS:
            chosen = ("--preset", preset, "--precision", precision)
            args = train.parse_args([*chosen, *options])
            model = train.make_model(args)
            shape = (args.batch_size, args.patch_side, args.patch_side)
            images = rng.random((*shape, 3), np.float32)
            labels = (rng.random((*shape, 1)) < 0.1).astype(np.float32)
            count = count_training(count_layers(model, images.shape))
            run = bind(model.train_on_batch, images, labels)
            works.append(Work(f"train {preset}", precision, count, run))
    return works


def predict_works(model_path: Path, options: Sequence[str]) -> list[Work]:
    """A photograph through the shipped network and through the article's, untrained."""
    image = np.random.default_rng(0).random(PHOTOGRAPH, np.float32)
    chosen = ("--preset", "article", "--precision", "float32")
    article = train.make_model(train.parse_args([*chosen, *options]))
    shipped = keras.models.load_model(model_path, compile=False)
    works = []
    for name, model in ((model_path.stem, shipped), ("article", article)):
        run = bind(tiling.predict_tiled, model.predict_on_batch, image)
        count = count_tiled(model, PHOTOGRAPH)
        works.append(Work(f"predict {name}", "float32", count, run))
        side = tiling.ALIGNMENT
        a_pixel = sum(count_layers(model, (1, side, side, 3))) / side**2
        needed = a_pixel * prod(PHOTOGRAPH[:2])
        print(
            f"{works[-1].name}: {count / 1e9:.1f} GFLOP in tiles, {count / needed:.2f} "
            "times what the photograph's own pixels need"
        )
    return works


def bind(function: Callable, *args: object) -> Callable[[], object]:
    return lambda: function(*args)


def measure(works: Sequence[Work], rounds: int) -> list[list[float]]:
    """Seconds of each work in each round, all works in turn."""
    seconds = [[] for _ in works]
    for work in works:
        work.run()  # traces
    for _ in range(rounds):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work.run()
            taken.append(time.perf_counter() - began)
    return seconds


def print_floor(works: Sequence[Work], medians: Sequence[float]) -> None:
    """Prints a row a work: its operations, time, speed and share of the peak.

    The peak of a precision is the faster of the matrix product and the convolution.
    """
    speeds = [
        work.operations / median for work, median in zip(works, medians, strict=True)
    ]
    peaks = {
        precision: max(
            speed
            for work, speed in zip(works, speeds, strict=True)
            if work.precision == precision and work.name in PEAKS
        )
        for precision in PRECISIONS
    }
    print(f"{'':20s} {'precision':10s} {'GFLOP':>8s} {'ms':>8s} GFLOP/s  of peak")
    for work, median, speed in zip(works, medians, speeds, strict=True):
        share = speed / peaks[work.precision]
        print(
            f"{work.name:20s} {work.precision:10s} {work.operations / 1e9:8.1f} "
            f"{1e3 * median:8.1f} {speed / 1e9:7.1f} {share:8.3f}"
        )


def print_precision(works: Sequence[Work], seconds: Sequence[Sequence[float]]) -> None:
    """Prints how long bfloat16 takes against float32, each round by itself."""
    taken = {
        (work.name, work.precision): rounds
        for work, rounds in zip(works, seconds, strict=True)
    }
    for name in dict.fromkeys(work.name for work in works):
        if (name, "bfloat16") in taken:
            ratios = [
                low / full
                for low, full in zip(
                    taken[name, "bfloat16"], taken[name, "float32"], strict=True
                )
            ]
            print(f"{name}: bfloat16 / float32 {statistics.median(ratios):.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    works = peak_works(args.side)
    works += train_works(options)
    works += predict_works(args.model, options)
    seconds = measure(works, args.rounds)
    print(f"medians of {args.rounds} rounds, {os.cpu_count()} cores")
    print_floor(works, [statistics.median(rounds) for rounds in seconds])
    print_precision(works, seconds)


if __name__ == "__main__":
    main()
