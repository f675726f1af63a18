"""How fast other runtimes predict: ONNX Runtime and OpenVINO against TensorFlow.

    pip install -r requirements.txt -r benchmarks/requirements-runtimes.txt
    python benchmarks/runtimes.py
    python benchmarks/runtimes.py --rounds 1 --side 64      # cheap

All runtimes predict the same tiles in turn, in one process, each with as many threads
as there are cores: medians over the rounds, how many times faster than TensorFlow in
the same round, and by how much the maps differ at most.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import onnxruntime  # noqa: E402
import openvino  # noqa: E402

AGREEMENT = 1e-3  # maps that differ by more are not the same
THREADS = os.cpu_count() or 1

Predict = Callable[[np.ndarray], np.ndarray]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Times other runtimes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/vessels.keras"), help="to predict")
    add("--rounds", type=int, default=9, help="of all runtimes in turn")
    add("--side", type=int, help="of one tile, pixels; None: 2 of 352, and 1 of 608")
    return parser.parse_args(argv)


def with_onnx_runtime(
    model: keras.Model, shape: Sequence[int], folder: Path
) -> Predict:
    """Converts the model for tiles of one shape (N, T, T, 3)."""
    path = folder / "network.onnx"
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
    model.export(str(path), "onnx", verbose=False, input_signature=signature)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda tiles: session.run(None, {name: tiles})[0]


def with_openvino(model: keras.Model, shape: Sequence[int], folder: Path) -> Predict:
    """Converts the model for tiles of one shape (N, T, T, 3)."""
    path = folder / "network.xml"
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
    model.export(str(path), "openvino", verbose=False, input_signature=signature)
    options = {
        "INFERENCE_NUM_THREADS": THREADS,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda tiles: compiled(tiles)[0]


def compare(runtimes: dict[str, Predict], tiles: np.ndarray, rounds: int) -> None:
    """Prints a row a runtime; the first is what the others are measured against."""
    maps = {name: predict(tiles) for name, predict in runtimes.items()}
    first = next(iter(runtimes))
    seconds = {name: [] for name in runtimes}
    for _ in range(rounds):
        for name, predict in runtimes.items():
            began = time.perf_counter()
            predict(tiles)
            seconds[name].append(time.perf_counter() - began)
    for name, taken in seconds.items():
        ratios = [slow / own for slow, own in zip(seconds[first], taken, strict=True)]
        difference = np.abs(maps[name] - maps[first]).max()
        print(
            f"  {name:14s} {1e3 * statistics.median(taken):7.1f} ms  "
            f"{statistics.median(ratios):5.2f} times as fast  differs by "
            f"{difference:.1e}{' TOO MUCH' * bool(difference > AGREEMENT)}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    shapes = [(2, 352, 352, 3), (1, 608, 608, 3)]
    if args.side:
        shapes = [(1, args.side, args.side, 3)]
    print(f"medians of {args.rounds} rounds, {THREADS} threads")
    model = keras.models.load_model(args.model, compile=False)
    for shape in shapes:
        tiles = np.random.default_rng(0).random(shape, np.float32)
        print(f"{args.model.stem}, tiles of {' x '.join(map(str, shape))}")
        with tempfile.TemporaryDirectory() as folder:
            runtimes = {
                "TensorFlow": model.predict_on_batch,
                "ONNX Runtime": with_onnx_runtime(model, shape, Path(folder)),
                "OpenVINO": with_openvino(model, shape, Path(folder)),
            }
            compare(runtimes, tiles, args.rounds)


if __name__ == "__main__":
    main()
