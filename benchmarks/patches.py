"""How much faster patches are made than the network eats them, in one run, in turn.

    python benchmarks/patches.py
    python benchmarks/patches.py --data input/PHANTOM      # no DRIVE needed

One core makes patches while the network has all of them: at a ratio above the number
of cores, the network never waits.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import train  # noqa: E402

ROUNDS = 7
BATCHES = 5  # a round


def seconds(work: Callable[[int], object], first: int) -> float:
    """Seconds a batch over one round of batches, numbered from `first`."""
    began = time.perf_counter()
    for index in range(first, first + BATCHES):
        work(index)
    return (time.perf_counter() - began) / BATCHES


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="input/DRIVE", help="a tree like DRIVE's")
    data = parser.parse_args(argv).data
    print("milliseconds a batch of 16 patches of 64 x 64, medians of", ROUNDS, "rounds")
    for preset in train.PRESETS:
        args = train.parse_args(["--preset", preset, "--augment", "--data", data])
        cases = train.datasets.list_cases(args.data, "training")
        patches, model = train.make_patches(cases, args), train.make_model(args)
        batch = patches[0]
        model.train_on_batch(*batch)  # traces
        made, eaten = [], []
        for number in range(ROUNDS):
            made.append(seconds(patches.__getitem__, number * BATCHES))
            eaten.append(seconds(lambda _: model.train_on_batch(*batch), 0))  # noqa: B023
        making, eating = statistics.median(made), statistics.median(eaten)
        print(
            f"{preset:8s} made {1e3 * making:6.1f}  eaten {1e3 * eating:6.1f}  "
            f"ratio {eating / making:5.1f}"
        )


if __name__ == "__main__":
    main()
