"""How long evaluate.py takes for twenty photographs of DRIVE's size, on one core.

    python benchmarks/evaluate_speed.py
    python benchmarks/evaluate_speed.py --cases 2 --rounds 1     # a cheap variant

Photographs are phantoms with their two observers, a few of them under twenty names;
maps, of 16 bits, are their labels, blurred and with noise. In each round the steps are
timed in one process that has imported all it needs, then what starting costs, then the
whole command from the shell. Figures are medians over the rounds. Linux holds it all on
one core; other systems do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
import evaluate  # noqa: E402
import phantom  # noqa: E402

HEIGHT, WIDTH = 584, 565  # pixels, DRIVE's
DRAWN = 4  # phantoms; further cases repeat them
IMPORTS = "import evaluate, sklearn.metrics, matplotlib.backends.backend_agg"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="How long evaluate.py takes, on one core.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", type=int, default=20, help="photographs in the test set")
    add("--rounds", type=int, default=5, help="how often all is timed")
    return parser.parse_args(argv)


def stay_on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def draw_map(one: phantom.Phantom, *, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (H, W) as a network might give them: AUC ROC about .985."""
    odds = 10 * phantom.blur(one.label.astype(float), 1.0) - 5
    odds += 1.5 * phantom.smooth_noise(odds.shape, 4, rng=rng)
    odds += rng.normal(0, 0.7, odds.shape)
    return one.field_of_view / (1 + np.exp(-odds))


def write_test_set(data: Path, maps: Path, cases: int) -> None:
    """Writes a tree like DRIVE's with a test set of `cases`, and maps of them."""
    rng = np.random.default_rng(0)
    drawn = [
        phantom.draw_phantom(height=HEIGHT, width=WIDTH, rng=rng)
        for _ in range(min(cases, DRAWN))
    ]
    rows = {}
    for number in range(1, cases + 1):
        one = drawn[number % len(drawn)]
        paths = phantom.case_paths(data, "test", number)
        phantom.write_phantom(one, paths)
        name = paths["image"].stem
        datasets.write_probability(maps / f"{name}.png", draw_map(one, rng=rng))
        notes = {"name": name, "model": "none", "role": "unseen", "epoch": "last"}
        rows[name] = notes | {"threshold": 0.4}
    datasets.write_predictions(maps, rows)


def time_steps(data: Path, maps: Path) -> dict[str, float]:
    """Step -> seconds, of one round."""
    took = {}

    def timed(step: str, work: Callable, *arguments):
        began = time.perf_counter()
        value = work(*arguments)
        took[step] = time.perf_counter() - began
        return value

    args = evaluate.parse_args([str(maps), "--data", str(data)])
    read = timed("read", evaluate.read_folder, maps, args)
    result = timed("score", evaluate.score_folder, maps, read, args)
    timed("pictures", evaluate.draw_pictures, maps / "report", [result], [read])
    timed("--thin-vessels, in addition", evaluate.add_thin_vessels, result, read)
    command = [sys.executable, "evaluate.py", *map(str, (maps, "--data", data))]
    timed("start", run, [sys.executable, "-c", IMPORTS])
    timed("the whole command", run, command)
    took["start, read and score"] = sum(took[s] for s in ("start", "read", "score"))
    return took


def run(command: list[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    stay_on_one_core()
    seconds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        data, maps = Path(folder, "input"), Path(folder, "maps")
        write_test_set(data, maps, args.cases)
        time_steps(data, maps)  # imports: not counted
        for _ in range(args.rounds):
            for step, took in time_steps(data, maps).items():
                seconds[step].append(took)
    print(f"{args.cases} photographs of {WIDTH} x {HEIGHT}, {args.rounds} rounds")
    for step, took in seconds.items():
        print(f"{step:28s}{statistics.median(took):6.2f} s")


if __name__ == "__main__":
    main()
