"""Whether memory stays flat over many photographs, and what a very large one takes.

    python -m benchmarks.memory --model models/vessels.keras
    python -m benchmarks.memory --photographs 20 --sizes 600x600      # cheap
    python -m benchmarks.memory --photographs 0 --sizes 5000x5000 --scale 1

(a) The same few phantoms under many names go through one process: its memory is noted
as each is read, and a line is fitted after the first fifth, in which the first traces
and buffers fall. It is drawn in benchmarks/memory.png. (b) A phantom of each size,
drawn with a longer side of `DRAWN` pixels at most and enlarged, goes through
`predict.py`, each in a fresh process, whose peak counts: TensorFlow is part of it.
Beside it are the scale that was taken, the seconds that the row of the map says, and
those of the processors for all that the process does. Memory is read from /proc: Linux
only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import predict
from retina import phantoms
from retina.commands import run
from retina.files import InputError, whole_file
from retina.maps import read_predictions
from retina.prediction import Options, load_network, predict_all
from retina.worklist import name_photographs

ROOT = Path(__file__).resolve().parents[1]

HERE = Path(__file__).resolve().parent
WARM_UP = 0.2  # share of the photographs
PHANTOMS = 4  # different ones
DRAWN = 1500  # pixels
SIZES = [(565, 584), (3504, 2336), (5000, 5000), (10_000, 10_000)]  # DRIVE's, HRF's


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Memory over many photographs, and over a huge one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/vessels.keras"), help=".keras file")
    add("--photographs", type=int, default=500, help="in one process; 0: leave it out")
    size = "of these photographs, pixels"
    add("--size", type=int, nargs=2, default=(584, 565), metavar=("H", "W"), help=size)
    sizes = "of single photographs, pixels, WIDTHxHEIGHT"
    add("--sizes", type=read_size, nargs="*", default=SIZES, help=sizes)
    add("--scale", help="at which these are predicted; default: as predict.py chooses")
    picture = "what (a) looks like, to write"
    add("--picture", type=Path, default=HERE / "memory.png", help=picture)
    add("--one", type=Path, help=argparse.SUPPRESS)  # what a fresh process is to do
    return parser.parse_args(argv)


def read_size(text: str) -> tuple[int, int]:
    """The width and the height in `WIDTHxHEIGHT`."""
    width, height = map(int, text.split("x"))
    return width, height


def memory(field: str) -> float:
    """Megabytes (1e6 bytes) of this process: now (`VmRSS`), or at most (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise InputError(f"expected {field} in /proc/self/status, found none")


def write_photographs(folder: Path, args: argparse.Namespace) -> list[Path]:
    """Writes a few phantoms, and gives them as many names as are wanted."""
    paths = []
    for number in range(args.photographs):
        paths.append(folder / f"{number:05d}.png")
        if number >= PHANTOMS:
            os.link(paths[number % PHANTOMS], paths[-1])
            continue
        height, width = args.size
        rng = np.random.default_rng(number)
        drawn = phantoms.draw_phantom(height=height, width=width, rng=rng)
        Image.fromarray(np.uint8(drawn.image * 255 + 0.5)).save(paths[-1])
    return paths


def watch_many(folder: Path, args: argparse.Namespace) -> list[float]:
    """Megabytes of this process when each of many photographs is done."""
    photographs = name_photographs(write_photographs(folder, args))
    network, output = load_network(args.model), folder / "maps"
    output.mkdir()
    megabytes = []

    def done() -> None:
        megabytes.append(memory("VmRSS"))

    failures = predict_all(network, photographs, output, Options(), done)
    if failures:
        raise InputError(failures[0])
    return megabytes


def fit_slope(megabytes: Sequence[float]) -> tuple[int, float, float]:
    """First photograph after the warm-up, megabytes there, and KiB a photograph."""
    first = int(WARM_UP * len(megabytes))
    slope, level = np.polyfit(np.arange(len(megabytes) - first), megabytes[first:], 1)
    return first, float(level), float(slope * 1e6 / 1024)


def draw_memory(path: Path, megabytes: Sequence[float]) -> None:
    from matplotlib.figure import Figure

    first, level, slope = fit_slope(megabytes)
    drawing = Figure(figsize=(6, 3.4), dpi=100, layout="constrained")
    axes = drawing.subplots()
    axes.plot(megabytes, color="#1f6f8b", label="resident memory")
    ends = np.array([first, len(megabytes) - 1])
    line = level + slope * 1024 / 1e6 * (ends - first)
    label = f"{slope:+.1f} KiB a photograph"
    axes.plot(ends, line, "--", color="#c8553d", label=label)
    axes.set(xlabel="photographs", ylabel="megabytes", ylim=(0, 1.15 * max(megabytes)))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    with whole_file(path) as part:
        drawing.savefig(part)


def print_many(args: argparse.Namespace) -> None:
    """(a): prints the slope, and draws it."""
    with tempfile.TemporaryDirectory() as name:
        megabytes = watch_many(Path(name), args)
    first, level, slope = fit_slope(megabytes)
    height, width = args.size
    print(f"(a) {len(megabytes)} photographs of {width} x {height} in one process:")
    print(
        f"    after {first} photographs {level:.0f} MB, then {slope:+.2f} KiB each; "
        f"first {megabytes[0]:.0f}, last {megabytes[-1]:.0f}, "
        f"at most {max(megabytes):.0f} MB"
    )
    draw_memory(args.picture, megabytes)


def print_huge(args: argparse.Namespace) -> None:
    """(b): prints the peak memory and the time of each size."""
    print("(b) a photograph, in a process of its own:", flush=True)
    for size in args.sizes:
        width, height = (round(side * min(1, DRAWN / max(size))) for side in size)
        rng = np.random.default_rng(0)
        drawn = phantoms.draw_phantom(height=height, width=width, rng=rng)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "photograph.jpg"
            picture = Image.fromarray(np.uint8(drawn.image * 255 + 0.5))
            picture.resize(size).save(path, quality=95)
            words = ["--one", path, "--model", args.model]
            words += ["--scale", args.scale] if args.scale else []
            command = [sys.executable, "-m", "benchmarks.memory", *words]
            subprocess.run(command, cwd=ROOT, check=True)


def run_one(args: argparse.Namespace) -> None:
    """What the fresh process does: predicts one photograph, and prints its peak."""
    folder = args.one.parent / "maps"
    words = [args.one, "--model", args.model, "--output", folder]
    words += ["--scale", args.scale] if args.scale else []
    with contextlib.redirect_stdout(io.StringIO()):
        predict.main([str(word) for word in words])
    (row,) = read_predictions(folder).values()
    print(
        f"    {row.width:6d} x {row.height}: at most {memory('VmHWM'):5.0f} MB, scale "
        f"{row.scale:.3f}, {row.seconds:.1f} s, {time.process_time():.0f} s of the "
        "processors in all",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.one:
        run_one(args)
        return
    if args.sizes:
        print_huge(args)
    if args.photographs:
        print_many(args)


if __name__ == "__main__":
    run(main, "benchmarks.memory", stopped="run the same command again")
