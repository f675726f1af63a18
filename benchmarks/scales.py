"""At which scale a network's maps are best, and whether that can be found without
labels.

    python -m benchmarks.scales --model models/NAME.keras --data input/CHASE_DB1
    python -m benchmarks.scales --photographs 4                        # cheaper

For each set of real data, for so many photographs spread over it: AUC ROC and Dice at
0.5 with the field of view shown at steps of 1.4 around the diameter that the network's
record names; the mean uncertainty there, and the same corrected as check.py --camera
corrects it; the mean of the maps at each scale and its two neighbours; and the maps as
predict.py makes them. Pixels are a grid inside the field, at most 300,000 of each
photograph, pooled. The network must not have learnt from the set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retina import datasets, metrics, networks, prediction, tiling
from retina.commands import HelpFormatter, positive, run
from retina.resolution import EDGES, uncertainty

SETS = ("DRIVE", "CHASE_DB1", "LES-AV", "FIVES_sample", "RETA")
STEP = 1.4
POWERS = range(-2, 4)  # of it: what is tried
MOST_PIXELS = 300_000  # of a photograph that are scored
Maps = list[np.ndarray]  # of one photograph at all scales, flat; predict.py's is last


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Scores maps over scales.", formatter_class=HelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/vessels.keras"), help="a network")
    folders = [Path("input") / name for name in SETS]
    add("--data", type=Path, nargs="+", default=folders, help="data sets")
    add("--photographs", type=positive, default=8, help="of each set, spread over it")
    return parser.parse_args(argv)


def choose_cases(folder: Path, count: int) -> list[datasets.Case]:
    """So many cases of the training split, at even distances."""
    cases = datasets.list_cases(folder, "training")
    places = np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int)
    return [cases[place] for place in places]


def predict_case(
    case: datasets.Case, network: networks.Network
) -> tuple[np.ndarray, Maps, list[float]]:
    """Label and maps on a grid inside the field, and the uncertainty at each scale."""
    options = prediction.Options()
    photograph = prediction.Photograph(case.name, case.image, case.field_of_view)
    shown = prediction.read_photograph(photograph, network.record, options)
    inside = shown.field.inside
    step = int(np.ceil(np.sqrt(np.count_nonzero(inside) / MOST_PIXELS)))
    grid = inside[::step, ::step]
    found, uncertainties = [], []
    for power in POWERS:
        scale = shown.scale * STEP**power
        small = prediction.predict_at(
            network, shown.pixels, shown.field, options, scale
        )
        uncertainties.append(uncertainty(small))
        found.append(tiling.show_back([small], *inside.shape)[::step, ::step][grid])
    own = prediction.predict_photograph(network, shown, options)
    found.append(own.probability[::step, ::step][grid])
    label = datasets.read_label(case, "1st_manual")[::step, ::step][grid]
    return label, found, uncertainties


def score(label: np.ndarray, probability: np.ndarray) -> str:
    area = metrics.auc_roc(label, probability)
    dice = metrics.threshold_scores(label, probability >= 0.5)["dice"]
    return f"{area:.4f} {dice:.4f}"


def print_set(folder: Path, network: networks.Network, count: int) -> None:
    """Prints all scales of one set."""
    cases = [predict_case(each, network) for each in choose_cases(folder, count)]
    label = np.concatenate([each[0] for each in cases])
    pooled = [np.concatenate(each) for each in zip(*(c[1] for c in cases), strict=True)]
    unsure = np.mean([each[2] for each in cases], axis=0)
    print(f"\n{folder.name}, {len(cases)} photographs")
    print("shown  AUC ROC Dice  uncertainty  corrected  mean of three: AUC ROC Dice")
    for place, power in enumerate(POWERS):
        factor = STEP**power
        line = f"{network.record.field_diameter * factor:5.0f}  "
        line += f"{score(label, pooled[place])} {unsure[place]:10.4f} "
        line += f"{unsure[place] * factor**EDGES:11.4f}"
        if 0 < place < len(POWERS) - 1:
            mean = np.mean(pooled[place - 1 : place + 2], axis=0)
            line += f"  {score(label, mean)}"
        print(line)
    print(f"as predict.py makes them: {score(label, pooled[-1])}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    network = prediction.load_network(args.model)
    print(f"{args.model}, {network.sha256[:12]}")
    for folder in args.data:
        print_set(folder, network, args.photographs)


if __name__ == "__main__":
    run(main, "benchmarks.scales", stopped="run the same command again")
