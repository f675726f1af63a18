"""Scores probability maps inside the field of view, and draws them.

    python evaluate.py                                # newest folder under output/
    python evaluate.py output/unet --split held-out   # what its fold held out
    python evaluate.py output/unet output/vgg16       # compares the two
    python evaluate.py output/unet --observer both
    python evaluate.py output/unet --thin-vessels     # sensitivity by width, clDice

Run predict.py first. It writes metrics.json, curves.png, predictions.png (photograph,
label, probability), differences/NAME.png (missed vessels blue, false ones red, hits
grey) and report.html, which holds it all in one file. Twenty photographs of DRIVE take
about five seconds on one core, and nine with --thin-vessels.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retina import datasets, metrics, report
from retina.files import InputError, whole_file
from retina.maps import newest_predictions, read_predictions, read_probability
from retina.pictures import read_image

# What predict.py notes; unknown where a model came without the record of its making.
ROLES = ("training", "validation", "unseen", "unknown")
EPOCHS = ("best", "last", "unknown")


@dataclass(frozen=True)
class Prediction:
    """One case with what a network says of it.

    Attributes:
        case: the photograph with its files.
        row: what predict.py noted of the map.
        probability: float32 array of shape (H, W), 0..1.
        field_of_view: bool array of shape (H, W).
        labels: observer -> bool array of shape (H, W), for the labels that are there.
    """

    case: datasets.Case
    row: dict[str, str]
    probability: np.ndarray
    field_of_view: np.ndarray
    labels: dict[str, np.ndarray]

    @property
    def threshold(self) -> float:
        return float(self.row["threshold"])

    @property
    def vessels(self) -> np.ndarray:
        """The map, cut at the threshold of the model that drew it."""
        return self.probability >= self.threshold


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Scores probability maps inside the field of view, and draws them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument_group("what is scored").add_argument
    add(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        default=[],
        help="from predict.py; several are compared; none: the newest under output/",
    )
    data = Path("input/DRIVE")
    add("--data", type=Path, default=data, help="tree with training/ and test/")
    add(
        "--split",
        choices=("test", "training", "held-out"),
        default="test",
        help="held-out: the training photographs that the networks were validated on",
    )
    add(
        "--observer",
        choices=(*datasets.OBSERVERS, "both"),
        default=datasets.OBSERVERS[0],
        help="whose labels are the truth",
    )
    add(
        "--all-pixels",
        action="store_true",
        help="give the AUC ROC over all pixels too, as some papers do; it flatters",
    )
    add(
        "--thin-vessels",
        action="store_true",
        help="give the sensitivity by width of the vessels, and clDice, too; needs "
        "scikit-image: pip install -r requirements/measure.txt",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the report; None: the scored one, for several "
        "output/comparison",
    )
    return parser.parse_args(argv)


def require_scikit_image() -> None:
    if importlib.util.find_spec("skimage") is None:
        raise InputError(
            "expected scikit-image for --thin-vessels, but it is not installed: "
            "pip install -r requirements/measure.txt"
        )


def observers_of(args: argparse.Namespace) -> tuple[str, ...]:
    return datasets.OBSERVERS if args.observer == "both" else (args.observer,)


def choose_cases(
    folder: Path, rows: dict[str, dict[str, str]], args: argparse.Namespace
) -> list[datasets.Case]:
    """The cases to score: of a split, or those that `folder`'s models held out."""
    if args.split != "held-out":
        return datasets.list_cases(args.data, args.split)
    held_out = [
        case
        for case in datasets.list_cases(args.data, "training")
        if case.name in rows and rows[case.name]["role"] == "validation"
    ]
    if not held_out:
        raise InputError(
            f"expected maps of photographs that a model held out in {folder}, found "
            "none with the role validation in its predictions.csv: run predict.py "
            "--split held-out first, with a model that held photographs out"
        )
    return held_out


def require_maps(folder: Path, names: Sequence[str], noted: set, split: str) -> None:
    """Raises an InputError unless every case has a map and a row of notes."""
    there = noted & {path.stem for path in folder.glob("*.png")}
    missing = [name for name in names if name not in there]
    if missing:
        option = "" if split == "test" else f" --split {split}"
        raise InputError(
            f"expected {len(names)} probability maps of the {split} photographs in "
            f"{folder}, {len(missing)} are missing, the first is {missing[0]}.png: "
            f"run predict.py{option} first"
        )


def require_notes(folder: Path, row: dict[str, str]) -> None:
    """Raises an InputError unless a row tells role, epoch and threshold."""
    notes = (
        ("role", f"role to be {' or '.join(ROLES)}", row["role"] in ROLES),
        ("epoch", f"epoch to be {' or '.join(EPOCHS)}", row["epoch"] in EPOCHS),
        ("threshold", "a threshold from 0 to 1", is_threshold(row["threshold"])),
    )
    for field, expected, sound in notes:
        if not sound:
            raise InputError(
                f"expected {expected} for {row['name']} in "
                f"{folder / 'predictions.csv'}, received {row[field]!r}: run "
                "predict.py again"
            )


def is_threshold(text: str | None) -> bool:
    try:
        return 0 <= float(text) <= 1
    except (TypeError, ValueError):
        return False


def read_folder(folder: Path, args: argparse.Namespace) -> list[Prediction]:
    """Checks that all files are there, then reads maps, fields and labels."""
    rows = read_predictions(folder)
    cases = choose_cases(folder, rows, args)
    for observer in observers_of(args):
        datasets.require_labels(cases, observer)
    require_maps(folder, [case.name for case in cases], set(rows), args.split)
    for case in cases:
        require_notes(folder, rows[case.name])
    return [read_prediction(folder, case, rows[case.name]) for case in cases]


def read_prediction(
    folder: Path, case: datasets.Case, row: dict[str, str]
) -> Prediction:
    path = folder / f"{case.name}.png"
    field_of_view = datasets.read_field_of_view(case)
    probability = read_probability(path)
    if probability.shape != field_of_view.shape:
        height, width = field_of_view.shape
        raise InputError(
            f"expected {width} x {height} pixels in {path}, as in {case.image}, "
            f"received {probability.shape[1]} x {probability.shape[0]}: run predict.py "
            "again on this photograph"
        )
    labels = {
        observer: datasets.read_label(case, observer)
        for observer in datasets.OBSERVERS
        if case.has_label(observer)
    }
    return Prediction(case, row, probability, field_of_view, labels)


def require_comparable(folders: Sequence[Path], read: list[list[Prediction]]) -> None:
    """Raises an InputError unless folders differ in name and not in their cases."""
    names = Counter(folder.resolve().name for folder in folders)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise InputError(
            f"expected folders with different names, received {times} called {name}: "
            "rename one, so that the table can tell them apart"
        )
    first = {prediction.case.name for prediction in read[0]}
    for folder, predictions in zip(folders, read, strict=True):
        cases = {prediction.case.name for prediction in predictions}
        if cases != first:
            raise InputError(
                f"expected the same photographs in {folders[0]} and {folder}, but only "
                f"one of the two has {min(cases ^ first)}: figures of different "
                "photographs do not compare, score the folders one by one"
            )


def score_folder(
    folder: Path, predictions: Sequence[Prediction], args: argparse.Namespace
) -> dict:
    """All figures of one folder with their protocol, as metrics.json holds them."""
    rows = [prediction.row for prediction in predictions]
    roles = Counter(row["role"] for row in rows)
    result = {
        "folder": str(folder),
        "name": folder.resolve().name,
        "models": sorted({row["model"] for row in rows}),
        "data": str(args.data),
        "split": args.split,
        "cases": len(rows),
        "region": "inside the field of view",
        "roles": {role: roles[role] for role in ROLES},
        "epochs": dict(Counter(row["epoch"] for row in rows)),
        "epoch_chosen_on": sum(
            row["role"] == "validation" and row["epoch"] == "best" for row in rows
        ),
        "thresholds": sorted({prediction.threshold for prediction in predictions}),
        "against": {},
        "second_observer": score_second_observer(predictions),
    }
    for observer in observers_of(args):
        against = score_pooled(predictions, observer, args.all_pixels)
        against["protocol"] = protocol(result, observer, against["pixels"])
        result["against"][observer] = against
    if args.thin_vessels:
        add_thin_vessels(result, predictions)
    return result


def score_pooled(
    predictions: Sequence[Prediction], observer: str, all_pixels: bool
) -> dict:
    """Scores of all photographs together, and of each."""
    noted = ("name", "model", "role", "epoch")
    per_image = [
        {name: one.row[name] for name in noted}
        | {"threshold": one.threshold}
        | score([one], observer)
        for one in predictions
    ]
    pooled = score(predictions, observer)
    pooled["mean_per_image"] = {
        name: metrics.mean(per_image, name) for name in ("auc_roc", "auc_pr")
    }
    if all_pixels:
        pooled["auc_roc_all_pixels"] = metrics.auc_roc_all_pixels(
            [one.labels[observer] for one in predictions],
            [one.probability for one in predictions],
            [one.field_of_view for one in predictions],
        )
    return pooled | {"per_image": per_image}


def score(predictions: Sequence[Prediction], observer: str) -> dict:
    """Scores of the pixels inside the fields of view, pooled over `predictions`."""
    label, probability, vessels = pooled_pixels(predictions, observer)
    return {
        "pixels": label.size,
        "vessel_pixels": int(label.sum()),
        **metrics.ranking_scores(label, probability),
        "at_half": metrics.threshold_scores(label, probability >= 0.5),
        "at_stored": metrics.threshold_scores(label, vessels),
    }


def pooled_pixels(
    predictions: Sequence[Prediction], observer: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, probability and vessels inside the fields of view, each of shape (N,)."""
    triples = [
        (one.labels[observer], one.probability, one.vessels) for one in predictions
    ]
    fields = [one.field_of_view for one in predictions]
    return tuple(metrics.pool(each, fields) for each in zip(*triples, strict=True))


def add_thin_vessels(result: dict, predictions: Sequence[Prediction]) -> None:
    """Adds clDice and the sensitivity by width to all that is cut at a threshold."""
    human = result["second_observer"]
    for observer, against in result["against"].items():
        truths = [trace_label(one, observer) for one in predictions]
        cuts = [
            (against["at_half"], [one.probability >= 0.5 for one in predictions]),
            (against["at_stored"], [one.vessels for one in predictions]),
        ]
        if human and human["against"] == observer:
            second = datasets.OBSERVERS[1]
            cuts.append((human, [one.labels.get(second) for one in predictions]))
        for scores, drawn in cuts:
            scores |= score_thin_vessels(predictions, truths, drawn)


def trace_label(one: Prediction, observer: str) -> tuple[np.ndarray, ...]:
    """Label inside the field of view, its centre line and local width, all (H, W)."""
    label = one.labels[observer] & one.field_of_view
    line = metrics.centre_line(label)
    return label, line, metrics.local_width(label, line)


def score_thin_vessels(
    predictions: Sequence[Prediction],
    truths: Sequence[tuple[np.ndarray, ...]],
    drawn: Sequence[np.ndarray | None],
) -> dict:
    """clDice and sensitivity by width of what was drawn, pooled where there is any."""
    pixels = []
    for one, truth, vessels in zip(predictions, truths, drawn, strict=True):
        if vessels is not None:
            inside = vessels & one.field_of_view
            arrays = (*truth, inside, metrics.centre_line(inside))
            pixels.append([array[one.field_of_view] for array in arrays])
    label, line, width, vessels, vessels_line = map(
        np.concatenate, zip(*pixels, strict=True)
    )
    return {
        **metrics.topology_scores(label, line, vessels, vessels_line),
        "by_width": metrics.sensitivity_by_width(width, vessels),
    }


def score_second_observer(predictions: Sequence[Prediction]) -> dict | None:
    """The human line: what 2nd_manual drew against 1st_manual, where both exist."""
    both = [one for one in predictions if len(one.labels) == len(datasets.OBSERVERS)]
    if not both:
        return None
    first, second = (
        pooled_pixels(both, observer)[0] for observer in datasets.OBSERVERS
    )
    scores = metrics.threshold_scores(first, second)
    return {"against": "1st_manual", "cases": len(both), "pixels": first.size, **scores}


def protocol(result: dict, observer: str, pixels: int) -> list[str]:
    """What a figure means as phrases; what speaks against it comes first."""
    cases, models, doubts = result["cases"], len(result["models"]), report.doubt(result)
    phrases = (
        doubts,
        f"{result['data']}, {result['split']} split",
        f"{cases} photographs" if cases > 1 else "1 photograph",
        f"against {observer}",
        result["region"],
        f"pooled over {pixels:,} pixels",
        "exact",
        f"maps of {models} models" if models > 1 else "",
        "" if doubts else "no case trained the network that drew its map",
        chosen("epoch", result["epoch_chosen_on"], result),
        chosen("stored threshold", result["roles"]["validation"], result),
    )
    return [phrase for phrase in phrases if phrase]


def chosen(what: str, on: int, result: dict) -> str:
    if what == "epoch" and set(result["epochs"]) == {"last"}:
        return "last epoch"
    if on:
        return f"{what} chosen on {on} of the {result['cases']} cases"
    if result["roles"]["unknown"]:
        return f"how the {what} was chosen is not recorded"
    return f"{what} not chosen on these cases"


def print_results(results: Sequence[dict]) -> None:
    """Prints every AUC ROC with its protocol, then the tables."""
    for observer in results[0]["against"]:
        for result in results:
            for lead, text in report.headlines(result, observer).items():
                print(textwrap.fill(f"{lead}  {text}", 96, subsequent_indent="    "))
        print(f"\nPooled, {results[0]['region']}, against {observer}")
        print_table(report.pooled_table(results, observer))
        for title, table in report.thin_tables(results, observer).items():
            print(f"\n{title}, against {observer}")
            print_table(table)
        for result in results:
            print(f"\nPer image: {report.own_threshold(result)}, {observer}")
            print_table(report.image_table(result, observer))
        print()


def print_table(table: report.Table) -> None:
    widths = [max(7, *map(len, column)) for column in zip(*table, strict=True)]
    for name, *cells in table:
        print(name.ljust(widths[0]), *map(str.rjust, cells, widths[1:]), sep="  ")


def write_metrics(path: Path, results: Sequence[dict]) -> None:
    """Writes all figures as JSON, null where a figure is not defined."""
    content = results[0] if len(results) == 1 else {"folders": results}
    # JSON knows no nan: read again with None in its place.
    content = json.loads(json.dumps(content), parse_constant=lambda nan: None)
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def curves(
    results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> Iterator[tuple[str, report.Points, report.Points]]:
    """Name, ROC and PR points of all that can be ranked; a human is one point."""
    for result, predictions in zip(results, read, strict=True):
        for observer, scores in result["against"].items():
            if not math.isnan(scores["auc_roc"]):
                name = f"{report.title_of(result)} against {observer}"
                areas = f"AUC ROC {scores['auc_roc']:.4f}, PR {scores['auc_pr']:.4f}"
                pixels = pooled_pixels(predictions, observer)[:2]
                roc, pr = metrics.roc_points(*pixels), metrics.pr_points(*pixels)
                yield f"{name}, {areas}", roc, pr
    human = results[0]["second_observer"]
    if human and human["against"] in results[0]["against"]:
        recall, precision = human["sensitivity"], human["precision"]
        roc = [1 - human["specificity"]], [recall]
        yield report.HUMAN, roc, ([recall], [precision])


def draw_cases(
    output: Path, results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> dict[str, list[report.Captioned]]:
    """Writes all difference pictures. Returns each case's pictures with captions."""
    observer = next(iter(results[0]["against"]))
    cases = {}
    for same_case in zip(*read, strict=True):
        case, label = same_case[0].case, same_case[0].labels[observer]
        pictures = [
            ("photograph", report.as_picture(read_image(case.image))),
            (f"label, {observer}", report.as_picture(label)),
        ]
        for result, one in zip(results, same_case, strict=True):
            name = result["name"] if len(results) > 1 else ""
            lead = f"{name}: " if name else ""
            differences = report.difference_picture(
                label, one.vessels, one.field_of_view
            )
            report.save(output / "differences" / name / f"{case.name}.png", differences)
            pictures += [
                (f"{lead}probability", report.as_picture(one.probability)),
                (f"{lead}differences", differences),
            ]
        cases[case.name] = [(text, report.shrunk(one, 600)) for text, one in pictures]
    return cases


def draw_pictures(
    output: Path, results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> None:
    """Writes all curves and pictures, and the report that holds them."""
    report.draw_curves(output / "curves.png", curves(results, read))
    cases = draw_cases(output, results, read)
    report.draw_sheet(output / "predictions.png", cases)
    report.write_report(output / "report.html", results, output / "curves.png", cases)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.thin_vessels:
        require_scikit_image()
    folders = args.folders or [newest_predictions()]
    read = [read_folder(folder, args) for folder in folders]
    require_comparable(folders, read)
    results = [
        score_folder(folder, predictions, args)
        for folder, predictions in zip(folders, read, strict=True)
    ]
    several = len(folders) > 1
    output = args.output or (Path("output/comparison") if several else folders[0])
    write_metrics(output / "metrics.json", results)
    draw_pictures(output, results, read)
    print_results(results)
    print(f"look at {output / 'report.html'}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # `evaluate.py | head`: all files are written by then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")
