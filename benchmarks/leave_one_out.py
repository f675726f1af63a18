"""How good a recipe is on cameras that it has not seen: leave one camera out.

    python -m benchmarks.leave_one_out cameras --preset cameras --augment
    python -m benchmarks.leave_one_out cameras --preset cameras --augment --only LES-AV
    python -m benchmarks.leave_one_out cameras --fitted     # those networks once more
    python -m benchmarks.leave_one_out shipped --network models/vessels.keras

The first word names the recipe; other options are passed to train.py. For each data set
a network learns from the others (never from LES-AV, which is only scored, by a network
of all others) and predicts it, one view, as predict.py does by itself, or as
--predict says. With --network nothing is fitted: that network is scored on the data
sets of which it has learnt from no photograph.

A row a data set is appended to benchmarks/leave_one_out.csv: all of its labelled
photographs, 1st_manual, inside the field of view, pooled over pixels; Dice, clDice and
`width_error` at 0.5, the latter the mean over photographs of the width along the map's
centre lines (metrics.local_width) over that along the label's, less 1; and the
threshold at which Dice is highest. 23_A of FIVES_sample bears another photograph's
label and is not scored. At the end the mean of the thresholds of the cameras that are
learnt from is printed, and each camera's Dice with it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cross_validate import append, run
from retina import datasets, metrics, networks
from retina.files import InputError
from retina.identity import identify
from retina.maps import read_map, read_predictions

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "leave_one_out.csv"
LEARNT = ("DRIVE", "CHASE_DB1", "FIVES_sample", "RETA")
SCORED = ("LES-AV",)
NOT_SCORED = {"23_A"}
LEVELS = 65536  # of a map
FIELDS = ("recipe", "camera", "photographs", "auc_roc", "auc_pr", "dice", "cl_dice")
FIELDS += ("width_error", "shown", "batches", "seconds", "best_threshold")


def parse_args(
    argv: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Leaves one camera out; other options go to train.py.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recipe", help="what to call it")
    add("--input", type=Path, default=ROOT / "input", help="folder of the data sets")
    cameras = (*LEARNT, *SCORED)
    add("--only", nargs="+", choices=cameras, default=cameras, help="score these")
    add("--fitted", action="store_true", help="fit nothing: they are in models/")
    add("--network", type=Path, help="fit nothing: score this network")
    add("--predict", default="", help='options for predict.py, such as "--tta"')
    return parser.parse_known_args(argv)


def fit_without(camera: str, args: argparse.Namespace, options: list[str]) -> Path:
    """Fits a network on the other cameras. Returns where it is."""
    data = [args.input / other for other in LEARNT if other != camera]
    path = ROOT / "models" / f"{args.recipe}-without-{camera}.keras"
    if args.fitted:
        return path
    keep = ("--name", path.stem, "--validation", 0, "--keep", "last", "--resume")
    run("train.py", "--data", *data, *keep, *options)
    return path


def choose_cameras(args: argparse.Namespace) -> list[str]:
    """Those to score: a finished network is no measure on what it has learnt from."""
    if not args.network:
        return list(args.only)
    learnt = networks.read_record(args.network).training_cases or ()
    known = {identity.pixels_sha256 for identity in learnt}
    return [
        camera
        for camera in args.only
        if not any(
            identify(case.image).pixels_sha256 in known
            for case in datasets.list_cases(args.input / camera, "training")
        )
    ]


def predict(camera: str, network: Path, args: argparse.Namespace) -> Path:
    maps = ROOT / "output" / f"{args.recipe}-on-{camera}"
    data = ("--data", args.input / camera, "--split", "training", "--output", maps)
    extra = shlex.split(args.predict)
    run("predict.py", "--model", network, *data, "--resume", *extra)
    return maps


def score(maps: Path, data: Path) -> tuple[dict[str, float], np.ndarray]:
    """What a camera's row says, and how many pixels without and with a vessel have each
    level of the maps, (2, 65536)."""
    rows = read_predictions(maps)
    tally = np.zeros((2, LEVELS), np.int64)
    lines, widths = [], []
    cases = datasets.list_cases(data, "training")
    cases = [case for case in cases if case.name not in NOT_SCORED]
    for case in cases:
        found = read_map(maps, rows[case.name])
        inside = found.field_of_view
        label = datasets.read_label(case, "1st_manual") & inside
        levels = np.round(found.probability * (LEVELS - 1)).astype(np.int64)
        for vessel in (0, 1):
            there = levels[inside & (label == vessel)]
            tally[vessel] += np.bincount(there, minlength=LEVELS)
        vessels = inside & (found.probability >= 0.5)
        drawn = [(each, metrics.centre_line(each)) for each in (label, vessels)]
        lines.append(count_lines(*drawn[0], *drawn[1]))
        own, mine = (mean_width(*each) for each in drawn)
        widths.append(mine / own - 1)
    right, lines_found, line_found, line = np.sum(lines, axis=0)
    precision, sensitivity = right / max(lines_found, 1), line_found / line
    curve = dice(tally)
    return {
        "photographs": len(cases),
        **rank(tally),
        "dice": curve[LEVELS // 2],
        "best_threshold": curve.argmax() / (LEVELS - 1),
        "cl_dice": 2 * precision * sensitivity / max(precision + sensitivity, 1e-9),
        "width_error": float(np.mean(widths)),
        "shown": float(np.median([r.scale * r.field_diameter for r in rows.values()])),
    }, tally


def mean_width(vessels: np.ndarray, line: np.ndarray) -> float:
    """Along the centre line, pixels; 0 where there is none."""
    return float(metrics.local_width(vessels, line)[line].sum() / max(line.sum(), 1))


def count_lines(label, label_line, vessels, vessels_line) -> tuple[int, ...]:
    """What clDice is made of: see metrics.topology_scores."""
    counted = vessels_line & label, vessels_line, label_line & vessels, label_line
    return tuple(int(each.sum()) for each in counted)


def rank(tally: np.ndarray) -> dict[str, float]:
    """AUC ROC and AUC-PR of pixels of which only how many have each level is known."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    vessel, level = np.nonzero(tally)
    pixels = {"sample_weight": tally[vessel, level]}
    return {
        "auc_roc": float(roc_auc_score(vessel, level, **pixels)),
        "auc_pr": float(average_precision_score(vessel, level, **pixels)),
    }


def dice(tally: np.ndarray) -> np.ndarray:
    """Dice of what reaches each level, (65536,)."""
    others, hits = np.cumsum(tally[:, ::-1], axis=1)[:, ::-1]
    return 2 * hits / (hits + others + tally[1].sum())


def print_thresholds(tallies: dict[str, np.ndarray]) -> None:
    """The mean threshold of the cameras that are learnt from, and what it gives."""
    curves = {camera: dice(tally) for camera, tally in tallies.items()}
    best = [curves[camera].argmax() for camera in curves if camera in LEARNT]
    if not best:
        return
    level = round(np.mean(best))
    print(f"threshold {level / (LEVELS - 1):.3f}, mean of the best of {len(best)}")
    for camera, curve in curves.items():
        own = f"its own best {curve.max():.4f} at {curve.argmax() / (LEVELS - 1):.3f}"
        print(f"{camera:14}{curve[level]:.4f}, at 0.5 {curve[LEVELS // 2]:.4f}, {own}")


def main(argv: Sequence[str] | None = None) -> None:
    args, options = parse_args(argv)
    tallies = {}
    for camera in choose_cameras(args):
        network = args.network or fit_without(camera, args, options)
        maps = predict(camera, network, args)
        record = networks.read_record(network)
        scores, tallies[camera] = score(maps, args.input / camera)
        row = {name: f"{value:.5g}" for name, value in scores.items()}
        row |= {
            "recipe": args.recipe,
            "camera": camera,
            "seconds": round(record.seconds),
        }
        row["batches"] = record.recipe["epochs"] * record.recipe["steps"]
        append(TABLE, FIELDS, row)
        print(row, flush=True)
    print_thresholds(tallies)


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"leave_one_out.py: {error}")
