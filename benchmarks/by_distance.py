"""How good out-of-fold maps are at each distance from the centre of the field.

    python -m benchmarks.cross_validate default --augment
    python -m benchmarks.by_distance output/default-seed0
    python -m benchmarks.by_distance output/default-seed0-fold?

Distances are in radii of the field of view: half of its mask's width, from the middle
of the mask's rows and columns. Protocol: the photographs in FOLDERs that the network
held out; 1st_manual; inside the field of view; pooled; Dice at 0.5. The last rows are
the whole field, and the whole field without each photograph whose absence changes AUC
ROC by more than 0.002.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retina import datasets, metrics
from retina.commands import run
from retina.files import InputError
from retina.identity import identify
from retina.maps import read_map, read_predictions, require_photograph, require_poolable

RINGS = (0, 0.5, 0.7, 0.85, 0.95, 1.01)  # of the radius; 1: the rim
Pixels = tuple[np.ndarray, np.ndarray, np.ndarray]  # label, probability, distance
MUCH = 0.002


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="How good out-of-fold maps are at each distance from the centre.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    folders = "of maps of one recipe, from cross_validate.py"
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help=folders)
    parser.add_argument("--data", default="input/DRIVE", help="a tree like DRIVE's")
    return parser.parse_args(argv)


def distances(inside: np.ndarray) -> np.ndarray:
    """Distances of the pixels of a field (H, W) from its centre, flat, in radii."""
    rows, columns = np.nonzero(inside)
    row, column = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    radius = (columns.max() - columns.min() + 1) / 2
    return np.hypot(rows - row, columns - column) / radius


def read_held_out(folders: Sequence[Path], data: str) -> dict[str, Pixels]:
    """The pixels inside the field of each photograph that was held out."""
    rows = {
        name: (folder, row)
        for folder in folders
        for name, row in read_predictions(folder).items()
        if row.role == "validation"
    }
    cases = [c for c in datasets.list_cases(data, "training") if c.name in rows]
    if not cases:
        raise InputError(
            f"expected maps in {folders[0]} of photographs that the network held out, "
            "found none: run benchmarks/cross_validate.py"
        )
    require_poolable([row for _, row in rows.values()])
    pixels = {}
    for case in cases:
        folder, row = rows[case.name]
        require_photograph(row, identify(case.image))
        found = read_map(folder, row)
        inside = found.field_of_view
        label = datasets.read_label(case, "1st_manual")
        pixels[case.name] = label[inside], found.probability[inside], distances(inside)
    return pixels


def score(label: np.ndarray, probability: np.ndarray) -> str:
    dice = metrics.threshold_scores(label, probability >= 0.5)["dice"]
    return f"{metrics.auc_roc(label, probability):.5f} {dice:.5f}"


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    pixels = read_held_out(args.folders, args.data)
    label, probability, distance = map(
        np.concatenate, zip(*pixels.values(), strict=True)
    )
    print(f"{len(pixels)} photographs\ndistance   pixels AUC ROC Dice")
    for low, high in zip(RINGS, RINGS[1:], strict=False):
        ring = (low <= distance) & (distance < high)
        scores = score(label[ring], probability[ring])
        print(f"{low:.2f}-{high:.2f} {ring.mean():8.3f} {scores}")
    print(f"all                {score(label, probability)}")
    whole = metrics.auc_roc(label, probability)
    for name in pixels if len(pixels) > 1 else ():
        rest = [each for other, each in pixels.items() if other != name]
        label, probability, _ = map(np.concatenate, zip(*rest, strict=True))
        if abs(metrics.auc_roc(label, probability) - whole) > MUCH:
            print(f"without {name:10} {score(label, probability)}")


if __name__ == "__main__":
    run(main, "benchmarks.by_distance", stopped="run the same command again")
