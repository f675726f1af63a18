"""What out-of-fold maps say of a recipe: its threshold, and how calibrated it is.

    python -m benchmarks.cross_validate default --augment
    python -m benchmarks.out_of_fold output/default-seed0
    python -m benchmarks.out_of_fold output/default-seed0 --picture reliability.png

The threshold stands in train.py, for networks that learn from all photographs and have
none left to choose it on. Protocol: training photographs, each predicted by the network
that held it out; 1st_manual; inside the field of view; pooled.
Calibration follows Guo et al. (2017), "On Calibration of Modern Neural Networks": the
expected calibration error in bins of equal width, and the temperature that a model
would need, the number by which its log odds are divided to give these labels the
highest likelihood. It is 1 where none is needed, above 1 where maps are too sure. The
threshold is one on the maps as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retina import datasets, metrics
from retina.commands import run
from retina.files import InputError, whole_file
from retina.identity import identify
from retina.maps import (
    Row,
    read_map,
    read_predictions,
    require_photograph,
    require_poolable,
)

BINS = 15
HALF_LEVEL = 0.5 / 65535  # of a map


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="What out-of-fold maps say of a recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, help="maps of all folds, from cross_validate.py")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--picture", type=Path, help="where to draw the reliability curve, a PNG")
    return parser.parse_args(argv)


def read_folds(folder: Path, data: str) -> tuple[list[Row], np.ndarray, np.ndarray]:
    """Rows, labels and probabilities of the training photographs' out-of-fold maps.

    Returns:
        The rows; labels and probabilities inside the fields of view, pooled, both flat.

    Raises:
        InputError: a map is missing, was not held out, or is not of its photograph.
    """
    there, rows, labels, read = read_predictions(folder), [], [], []
    for case in datasets.list_cases(data, "training"):
        role = there[case.name].role if case.name in there else "none"
        if role != "validation":
            raise InputError(
                f"expected {folder} to hold a map of {case.name} by a network that "
                f"held it out, received {role}: run benchmarks/cross_validate.py"
            )
        rows.append(there[case.name])
        require_photograph(rows[-1], identify(case.image))
        read.append(read_map(folder, rows[-1]))
        labels.append(datasets.read_label(case, "1st_manual"))
    fields = [each.field_of_view for each in read]
    maps = [each.probability for each in read]
    return rows, metrics.pool(labels, fields), metrics.pool(maps, fields)


def reliability(label: np.ndarray, probability: np.ndarray) -> list[dict[str, float]]:
    """Mean probability and share of vessels in bins of equal width, nan where empty."""
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    pixels = np.bincount(number, minlength=BINS)
    sums = [np.bincount(number, each, minlength=BINS) for each in (probability, label)]
    with np.errstate(invalid="ignore"):  # 0 / 0
        said, true = (each / pixels for each in sums)
    return [
        {"share": share, "said": mean, "true": vessels}
        for share, mean, vessels in zip(pixels / label.size, said, true, strict=True)
    ]


def calibration_error(bins: list[dict[str, float]]) -> float:
    """Mean over pixels of how far a bin's probability is from its share of vessels."""
    return sum(b["share"] * abs(b["said"] - b["true"]) for b in bins if b["share"])


def log_odds(probability: np.ndarray) -> np.ndarray:
    """What the sigmoid was applied to; 0 and 1 count as half a level of 16 bits off."""
    clipped = np.clip(probability.astype(np.float64), HALF_LEVEL, 1 - HALF_LEVEL)
    return np.log(clipped / (1 - clipped))


def fit_temperature(label: np.ndarray, probability: np.ndarray) -> float:
    """The temperature, .05 to 20, that gives `label` the highest likelihood."""
    from scipy.optimize import minimize_scalar

    # A map has at most 65,536 levels: each is one weighted pixel, and nothing is lost.
    levels, number = np.unique(probability, return_inverse=True)
    pixels, vessels = np.bincount(number), np.bincount(number, label)
    odds = log_odds(levels)

    def loss(inverse: float) -> float:
        return np.sum(
            pixels * np.logaddexp(0, odds * inverse) - vessels * odds * inverse
        )

    # Convex in 1 / temperature.
    best = minimize_scalar(loss, bounds=(0.05, 20), options={"xatol": 1e-6})
    return float(1 / best.x)


def tempered(probability: np.ndarray, temperature: float) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds(probability) / temperature))


def draw_reliability(path: Path, bins: list[dict[str, float]]) -> None:
    """Draws shares of vessels against probabilities, and how many pixels say so."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 6.4), dpi=110, layout="constrained")
    curve, shares = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    filled = [b for b in bins if b["share"]]
    curve.plot([b["said"] for b in filled], [b["true"] for b in filled], "o-")
    curve.set(title="Reliability, out of fold", ylabel="share of vessels")
    curve.set(xlim=(0, 1), ylim=(0, 1))
    edges = np.arange(BINS) / BINS
    shares.bar(edges, [b["share"] for b in bins], 1 / BINS, align="edge", log=True)
    shares.set(xlabel="probability", ylabel="share of pixels")
    with whole_file(path) as part:
        drawing.savefig(part, format="png")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    rows, label, probability = read_folds(args.folder, args.data)
    networks, views = require_poolable(rows), rows[0].views
    print(f"{len(rows)} photographs, {networks} networks, views {views}")
    threshold = metrics.best_threshold(label, probability)
    dice = metrics.threshold_scores(label, probability >= threshold)["dice"]
    print(f"highest Dice {dice:.4f} at threshold {threshold:.4f}")
    bins = reliability(label, probability)
    print(f"expected calibration error {calibration_error(bins):.4f} in {BINS} bins")
    temperature = fit_temperature(label, probability)
    after = calibration_error(reliability(label, tempered(probability, temperature)))
    print(
        f"temperature {temperature:.4f}, fitted on these maps: error {after:.4f} after"
    )
    print("share of pixels   probability said   share of vessels")
    for b in bins:
        print(f"{b['share']:15.4f}   {b['said']:16.4f}   {b['true']:16.4f}")
    if args.picture:
        draw_reliability(args.picture, bins)


if __name__ == "__main__":
    run(main, "benchmarks.out_of_fold", stopped="run the same command again")
