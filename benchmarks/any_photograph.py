"""Photographs of other resolutions: which filter resamples best, and how long it takes.

    python benchmarks/any_photograph.py --model models/vessels.keras

Filters are compared on phantoms, whose vessels are known and on which no figure is
reported: drawn larger, resampled to the resolution that the model learnt, and the map
resampled back. Times are of one run on this machine, from the array to the map.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import metrics  # noqa: E402
import phantom  # noqa: E402
import predict  # noqa: E402
import tiling  # noqa: E402

FILTERS = ("BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
HEIGHTS = (960, 2336)  # pixels: CHASE_DB1's and HRF's
PHANTOMS = 3
SIZES = ((584, 565), (960, 999), (2336, 3504))


def score_filter(name: str, drawn: list[phantom.Phantom], network) -> float:
    """Pooled AUC ROC inside the fields of view, with `name` both ways."""
    tiling.FILTER = Image.Resampling[name]
    maps = []
    for one in drawn:
        field = predict.estimate_field_of_view(one.image)
        scale = predict.find_scale(field, predict.FIELD_DIAMETER)
        tiled = partial(tiling.predict_tiled, network)
        maps.append(tiling.predict_at_scale(tiled, one.image, scale))
    fields = [one.field_of_view for one in drawn]
    labels = metrics.pool([one.label for one in drawn], fields)
    return metrics.auc_roc(labels, metrics.pool(maps, fields))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/vessels.keras"))
    network = predict.load_network(parser.parse_args(argv).model)
    for height in HEIGHTS:
        drawn = [
            phantom.draw_phantom(
                height=height, width=height, rng=np.random.default_rng(seed)
            )
            for seed in range(PHANTOMS)
        ]
        for name in FILTERS:
            auc = score_filter(name, drawn, network)
            print(f"{height:5d} pixels {name:9s} AUC {auc:.5f}")
    tiling.FILTER = Image.Resampling.BICUBIC
    for height, width in SIZES:
        image = np.random.default_rng(0).random((height, width, 3), np.float32)
        scale = min(1.0, predict.FIELD_DIAMETER / min(height, width))
        began = time.perf_counter()
        tiling.predict_at_scale(partial(tiling.predict_tiled, network), image, scale)
        print(f"{width} x {height}: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
