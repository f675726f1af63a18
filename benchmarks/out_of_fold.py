"""What out-of-fold maps say of a recipe: its threshold, and how calibrated it is.

    python benchmarks/cross_validate.py default --augment
    python benchmarks/out_of_fold.py output/default
    python benchmarks/out_of_fold.py output/default --model models/vessels.keras

The last writes the threshold into the model's json: a network that learnt from all
photographs has none left to choose it on. Protocol: training photographs, each
predicted by the network that held it out; 1st_manual; inside the field of view; pooled.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets  # noqa: E402
import metrics  # noqa: E402

BINS = 15


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="What out-of-fold maps say of a recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, help="maps of all folds, from cross_validate.py")
    add("--data", default="input/DRIVE", help="a tree like DRIVE's")
    add("--model", type=Path, help="whose json takes the threshold")
    return parser.parse_args(argv)


def read_pixels(folder: Path, data: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities inside the fields of view, pooled, both flat."""
    rows = datasets.read_predictions(folder)
    cases = datasets.list_cases(data, "training")
    for case in cases:
        role = rows.get(case.name, {}).get("role")
        if role != "validation":
            raise datasets.InputError(
                f"expected {folder} to hold a map of {case.name} by a network that "
                f"held it out, received {role}: run benchmarks/cross_validate.py"
            )
    fields = [datasets.read_field_of_view(case) for case in cases]
    labels = [datasets.read_label(case, "1st_manual") for case in cases]
    maps = [datasets.read_probability(folder / f"{case.name}.png") for case in cases]
    return metrics.pool(labels, fields), metrics.pool(maps, fields)


def reliability(label: np.ndarray, probability: np.ndarray) -> list[dict[str, float]]:
    """Mean probability and share of vessels in bins of equal width.

    Guo et al. (2017), "On Calibration of Modern Neural Networks".
    """
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    pixels = np.bincount(number, minlength=BINS)
    said = np.bincount(number, probability, minlength=BINS) / np.maximum(pixels, 1)
    true = np.bincount(number, label, minlength=BINS) / np.maximum(pixels, 1)
    return [
        {"share": share, "said": mean, "true": vessels}
        for share, mean, vessels in zip(pixels / label.size, said, true, strict=True)
    ]


def write_threshold(model: Path, threshold: float, args: argparse.Namespace) -> None:
    """Notes the threshold in the model's json, and what it was chosen on."""
    path = model.with_suffix(".json")
    record = json.loads(path.read_text(encoding="utf-8"))
    record["threshold"] = threshold
    record["threshold_chosen_on"] = (
        f"highest Dice on out-of-fold maps of the {args.data} training photographs"
    )
    with datasets.whole_file(path) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{path} has it")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    label, probability = read_pixels(args.folder, args.data)
    threshold = metrics.best_threshold(label, probability)
    dice = metrics.threshold_scores(label, probability >= threshold)["dice"]
    print(f"highest Dice {dice:.4f} at threshold {threshold:.4f}")
    bins = reliability(label, probability)
    error = sum(b["share"] * abs(b["said"] - b["true"]) for b in bins)
    print(f"expected calibration error {error:.4f} in {BINS} bins")
    print("share of pixels   probability said   share of vessels")
    for b in bins:
        print(f"{b['share']:15.4f}   {b['said']:16.4f}   {b['true']:16.4f}")
    if args.model:
        write_threshold(args.model, threshold, args)


if __name__ == "__main__":
    try:
        main()
    except (datasets.InputError, OSError) as error:
        sys.exit(f"out_of_fold.py: {error}")
