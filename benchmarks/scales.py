"""Which scale a photograph should be shown at, and whether that can be found without
labels.

    python -m benchmarks.scales
    python -m benchmarks.scales --model models/NAME.keras --photographs 4  # cheaper

For each set of real data: AUC ROC and Dice at 0.5, as the scale is today (the field of
view as wide as those that the network learnt) times each factor; then with the factor
of least uncertainty, for each photograph by itself or for the whole set. A photograph
takes another factor than 1 only where its uncertainty, in two crops or in the whole
field, is lower by the margin. Pixels are a grid inside the field,
at most 300,000 of each photograph, pooled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retina import datasets, metrics, networks, prediction, tiling
from retina.commands import HelpFormatter, positive
from retina.field_of_view import FieldOfView
from retina.files import InputError
from retina.resolution import FACTORS, uncertainty

SETS = ("DRIVE", "CHASE_DB1", "LES-AV", "FIVES_sample", "RETA")
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
MOST_PIXELS = 300_000  # of a photograph that are scored
# Field diameters: two crops lie so far above and below its centre, on the arcades, and
# reach so far to each side of theirs.
CROPS, REACH = (-0.25, 0.25), 0.1
TODAY = FACTORS.index(1.0)


@dataclass(frozen=True)
class Example:
    """One photograph at all `FACTORS`.

    Attributes:
        label: bool array (N,) of a grid of pixels inside the field.
        probabilities: float32 array (F, N) of the same pixels.
        whole, crop: float arrays (F,), the uncertainty in the field and in the crops.
    """

    label: np.ndarray
    probabilities: np.ndarray
    whole: np.ndarray
    crop: np.ndarray


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Scores maps over scales, and rules that choose one.",
        formatter_class=HelpFormatter,
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


def crops_of(field: FieldOfView) -> list[tuple[slice, slice]]:
    """Rows and columns of the crops."""
    reach = REACH * field.diameter
    left = max(int(field.column - reach), 0)
    tops = [max(int(field.row + at * field.diameter - reach), 0) for at in CROPS]
    side = int(2 * reach)
    return [np.s_[top : top + side, left : left + side] for top in tops]


def read_example(case: datasets.Case, network: networks.Network) -> Example:
    """Predicts one photograph at all factors."""
    options = prediction.Options()
    photograph = prediction.Photograph(case.name, case.image, case.field_of_view)
    shown = prediction.read_photograph(photograph, network.record, options)
    label = datasets.read_label(case, "1st_manual")
    field, inside = shown.field, shown.field.inside
    step = int(np.ceil(np.sqrt(np.count_nonzero(inside) / MOST_PIXELS)))
    grid = inside[::step, ::step]
    crops = crops_of(field)
    scored, whole, crop = [], [], []
    for factor in FACTORS:
        small = prediction.predict_at(
            network, shown.pixels, field, options, shown.scale * factor
        )
        probability = tiling.show_back(small, *inside.shape)
        scored.append(probability[::step, ::step][grid])
        whole.append(uncertainty(scored[-1]))
        parts = [probability[part][inside[part]] for part in crops]
        crop.append(uncertainty(np.concatenate(parts)))
    return Example(
        label=label[::step, ::step][grid],
        probabilities=np.stack(scored),
        whole=np.array(whole),
        crop=np.array(crop),
    )


def choose(uncertainties: np.ndarray, margin: float) -> int:
    """Index of the factor of least uncertainty, if it is lower by `margin` than 1's."""
    best = int(np.argmin(uncertainties))
    is_clear = uncertainties[best] < (1 - margin) * uncertainties[TODAY]
    return best if is_clear else TODAY


def score(examples: Sequence[Example], chosen: Sequence[Sequence[int]]) -> str:
    """AUC ROC and Dice at 0.5, pooled, with the mean of the factors chosen for each."""
    label = np.concatenate([example.label for example in examples])
    maps = [
        example.probabilities[list(places)].mean(axis=0)
        for example, places in zip(examples, chosen, strict=True)
    ]
    probability = np.concatenate(maps)
    area = metrics.ranking_scores(label, probability)["auc_roc"]
    dice = metrics.threshold_scores(label, probability >= 0.5)["dice"]
    return f"{area:.4f} / {dice:.4f}"


def print_set(name: str, examples: Sequence[Example]) -> None:
    """Prints all ways of one set."""
    print(f"\n{name}, {len(examples)} photographs: AUC ROC / Dice at 0.5")
    whole = np.mean([example.whole for example in examples], axis=0)
    crop = np.mean([example.crop for example in examples], axis=0)
    for i, factor in enumerate(FACTORS):
        scores = score(examples, [[i]] * len(examples))
        print(
            f"  factor {factor:<5g} {scores}   uncertainty {whole[i]:.4f}, "
            f"in the crops {crop[i]:.4f}"
        )
    best = int(np.argmin(whole))
    around = range(max(best - 1, 0), min(best + 2, len(FACTORS)))
    one = score(examples, [[best]] * len(examples))
    print(f"  one for the set, {FACTORS[best]:g}: {one}")
    print(f"  mean of three around it: {score(examples, [around] * len(examples))}")
    near = range(TODAY - 1, TODAY + 2)
    print(f"  mean of three around 1: {score(examples, [near] * len(examples))}")
    for measure in ("whole", "crop"):
        for margin in MARGINS:
            chosen = [[choose(getattr(e, measure), margin)] for e in examples]
            factors = " ".join(f"{FACTORS[place]:g}" for (place,) in chosen)
            print(
                f"  each by itself, {measure}, margin {margin:g}: "
                f"{score(examples, chosen)}   {factors}"
            )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    network = prediction.load_network(args.model)
    print(f"{args.model}, {network.sha256[:12]}")
    for folder in args.data:
        cases = choose_cases(folder, args.photographs)
        print_set(folder.name, [read_example(case, network) for case in cases])
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"benchmarks/scales.py: {error}")
