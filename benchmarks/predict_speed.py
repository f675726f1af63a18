"""How long a photograph takes, from the file to the map on disk, and what of it where.

    python -m benchmarks.predict_speed
    python -m benchmarks.predict_speed --photographs 2 --rounds 1 --sides 256  # cheap
    python -m benchmarks.predict_speed --onnx output/vessels.onnx      # against Keras

Photographs are DRIVE's test folder, or phantoms of that size where DRIVE is missing.
All sides of a ratio run in one process and in turn, round by round, and a ratio is one
of medians. The article's network has random weights: time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

import unet
from retina import datasets, phantoms
from retina.commands import run
from retina.files import InputError
from retina.networks import Network
from retina.prediction import (
    Options,
    load_network,
    predict_all,
    predict_photograph,
    read_photograph,
    write_photograph,
)
from retina.worklist import name_photographs

ROOT = Path(__file__).parents[1]
SIDES = (256, 565, 1000, 2000, 4000)
STAGES = ("read and judge", "network", "tiles and blending", "write")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="How long a photograph takes, from the file to the map on disk.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/vessels.keras"), help=".keras file")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    add("--photographs", type=int, default=10, help="of it, in each round")
    add("--rounds", type=int, default=5, help="in turn; medians are printed")
    onnx = "the same network as average.py --onnx wrote it: compare these two alone"
    add("--onnx", type=Path, metavar="FILE", help=onnx)
    sides = "of the photographs of the last table, pixels"
    add("--sides", type=int, nargs="*", default=SIDES, help=sides)
    return parser.parse_args(argv)


def find_photographs(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Files of DRIVE's size: the data set's own, else phantoms drawn into `folder`."""
    if args.data.is_dir():
        cases = datasets.list_cases(args.data, "test")
        return [case.image for case in cases[: args.photographs]]
    paths = []
    for seed in range(args.photographs):
        drawn = phantoms.draw_phantom(rng=np.random.default_rng(seed))
        paths.append(folder / f"{seed:02d}.tif")
        Image.fromarray(np.uint8(drawn.image * 255 + 0.5)).save(paths[-1])
    return paths


def all_in(paths: list[Path], folder: Path, network: Network, **options) -> float:
    """Seconds a photograph, with everything, as predict.py does it."""
    photographs = name_photographs(paths)
    began = time.perf_counter()
    failures = predict_all(network, photographs, folder, Options(**options), done=int)
    if failures:
        raise InputError(failures[0])
    return (time.perf_counter() - began) / len(paths)


def in_stages(path: Path, folder: Path, network: Network, **options) -> list[float]:
    """Seconds of each of `STAGES` on one photograph, one after the other."""
    inside = []

    def timed(tiles: np.ndarray) -> np.ndarray:
        began = time.perf_counter()
        maps = network.model.predict_on_batch(tiles)
        inside.append(time.perf_counter() - began)
        return maps

    options = Options(**options)
    (photograph,) = name_photographs([path])
    shown = read_photograph(photograph, network.record, options)
    slow = replace(network, model=SimpleNamespace(predict_on_batch=timed))
    mapped = predict_photograph(slow, shown, options)
    began = time.perf_counter()
    write_photograph(folder, mapped, network, options)
    written = time.perf_counter() - began
    within = sum(inside)
    return [shown.seconds, within, mapped.seconds - within, written]


def print_stages(paths: list[Path], folder: Path, network: Network) -> None:
    """Prints the median of each stage over all photographs."""
    in_stages(paths[0], folder, network)  # traces
    rows = [in_stages(path, folder, network) for path in paths]
    print(f"milliseconds a photograph, one after the other, median of {len(rows)}")
    for stage, seconds in zip(STAGES, zip(*rows, strict=True), strict=True):
        print(f"  {stage:20s} {1e3 * statistics.median(seconds):7.1f}")


def print_ratios(
    sides: dict[str, Callable[[], float]],
    rounds: int,
    what: str = "a photograph, all in and overlapping",
) -> None:
    """Runs all sides in turn, and prints their medians and ratios to the first."""
    seconds = {name: [] for name in sides}
    for side in sides.values():
        side()  # traces
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(side())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(medians.values()))
    print(f"\nseconds {what}, median of {rounds} rounds")
    for name, median in medians.items():
        least, most = min(seconds[name]), max(seconds[name])
        print(
            f"  {name:26s} {median:7.3f} ({least:.3f} to {most:.3f})  "
            f"ratio {median / first:5.2f}"
        )


def print_sides(sides: Sequence[int], folder: Path, network: Network) -> None:
    """Prints the seconds of photographs of other sizes, at both scales."""
    drawn = phantoms.draw_phantom(height=565, width=565, rng=np.random.default_rng(0))
    picture = Image.fromarray(np.uint8(drawn.image * 255 + 0.5))
    print("\nseconds a photograph, one after the other, the better of two")
    print("    side   scale 1   matched")
    for side in sides:
        path = folder / f"side{side}.jpg"
        picture.resize((side, side)).save(path, quality=95)
        seconds = []
        for scale in (1, None):
            runs = [in_stages(path, folder, network, scale=scale) for _ in range(2)]
            seconds.append(min(map(sum, runs)))
        print(f"  {side:6d} {seconds[0]:9.3f} {seconds[1]:9.3f}", flush=True)


def from_the_shell(model: Path, path: Path, folder: Path) -> float:
    """Seconds of predict.py on one photograph, all it loads included."""
    command = [sys.executable, str(ROOT / "predict.py"), str(path), "--replace"]
    command += ["--model", str(model), "--output", str(folder)]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def largest_difference(paths: list[Path], networks: Sequence[Network]) -> float:
    """Of a probability, between two networks, over all pixels of all photographs."""
    options, largest = Options(), 0.0
    for photograph in name_photographs(paths):
        shown = read_photograph(photograph, networks[0].record, options)
        one, other = (predict_photograph(n, shown, options) for n in networks)
        difference = np.abs(one.probability - other.probability).max()
        largest = max(largest, float(difference))
    return largest


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Prints how far a network and its ONNX file differ, in maps and in seconds."""
    paths = find_photographs(args, folder)
    networks = [load_network(path) for path in (args.model, args.onnx)]
    difference = largest_difference(paths, networks)
    print(f"largest difference of {len(paths)} maps: {difference:.1e}")
    running = {str(n.path): partial(all_in, paths, folder, n) for n in networks}
    print_ratios(running, args.rounds)
    one = {
        str(n.path): partial(from_the_shell, n.path, paths[0], folder / n.path.suffix)
        for n in networks
    }
    print_ratios(one, args.rounds, "from the shell to the map of one photograph")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.onnx:
        with tempfile.TemporaryDirectory() as name:
            return compare(args, Path(name))
    network, low = (load_network(args.model, each) for each in ("float32", "bfloat16"))
    article = replace(network, model=unet.build_unet())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = find_photographs(args, folder)
        print_stages(paths, folder, network)
        seconds = partial(all_in, paths, folder)
        sides = {
            f"{args.model}": partial(seconds, network),
            "the same, --tta": partial(seconds, network, views=8),
            "the same, bfloat16": partial(seconds, low, precision="bfloat16"),
            "the article's network": partial(seconds, article),
        }
        print_ratios(sides, args.rounds)
        print_sides(args.sides, folder, network)


if __name__ == "__main__":
    run(main, "benchmarks.predict_speed", stopped="run the same command again")
