"""Scores probability maps inside the field of view, and draws them.

    python evaluate.py                                # newest folder under output/
    python evaluate.py output/unet --split held-out   # what its fold held out
    python evaluate.py output/unet output/vgg16       # compares the two
    python evaluate.py output/unet --observer both

Run predict.py first. It writes metrics.json, curves.png, predictions.png (photograph,
label, probability), differences/NAME.png (missed vessels blue, false ones red, hits
grey) and report.html, which holds it all in one file. Twenty photographs of DRIVE take
about four seconds on one core.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import math
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import datasets
import metrics

SCORES = {
    "auc_roc": "AUC ROC",
    "auc_pr": "AUC-PR",
    "dice": "Dice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "accuracy": "accuracy",
    "mcc": "MCC",
}
# What predict.py notes; unknown where a model came without the record of its making.
ROLES = ("training", "validation", "unseen", "unknown")
EPOCHS = ("best", "last", "unknown")
HUMAN = "2nd_manual, a human"

# A difference picture's colours. The first four stand at label + 2 * vessels.
BACKGROUND, MISSED, FALSE_VESSEL, HIT, OUTSIDE = (
    (255, 255, 255),
    (20, 90, 255),
    (225, 25, 30),
    (168, 168, 168),
    (232, 230, 226),
)
COLOURS = ("#1f6f8b", "#c8553d", "#6a994e", "#7b5ea7", "#b8860b", "#444444")


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


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Scores probability maps inside the field of view, and draws them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument_group("what is scored").add_argument
    option(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        default=[],
        help="from predict.py; several are compared; none: the newest under output/",
    )
    folder = Path("input/DRIVE")
    option("--data", type=Path, default=folder, help="tree with training/ and test/")
    option(
        "--split",
        choices=("test", "training", "held-out"),
        default="test",
        help="held-out: the training photographs that the networks were validated on",
    )
    option(
        "--observer",
        choices=(*datasets.OBSERVERS, "both"),
        default=datasets.OBSERVERS[0],
        help="whose labels are the truth",
    )
    flatters = "give the AUC ROC over all pixels too, as some papers do; it flatters"
    option("--all-pixels", action="store_true", help=flatters)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the report; None: the scored one, for several "
        "output/comparison",
    )
    return parser.parse_args(argv)


def newest_folder() -> Path:
    """The folder under output/ into which predict.py wrote last."""
    notes = list(Path("output").glob("*/predictions.csv"))
    if not notes:
        raise datasets.InputError(
            "expected a folder of probability maps under output/, found none with a "
            "predictions.csv: run predict.py first, or name the folder"
        )
    return max(notes, key=lambda path: path.stat().st_mtime).parent


def observers_of(args: argparse.Namespace) -> tuple[str, ...]:
    return datasets.OBSERVERS if args.observer == "both" else (args.observer,)


def choose_cases(
    folder: Path, rows: dict[str, dict[str, str]], data: Path, split: str
) -> list[datasets.Case]:
    """The cases to score: of a split, or those that `folder`'s models held out."""
    if split != "held-out":
        return datasets.list_cases(data, split)
    held_out = [
        case
        for case in datasets.list_cases(data, "training")
        if rows.get(case.name, {}).get("role") == "validation"
    ]
    if not held_out:
        raise datasets.InputError(
            f"expected maps of photographs that a model held out in {folder}, found "
            "none with the role validation in its predictions.csv: run predict.py "
            "--split held-out first, with a model that held photographs out"
        )
    return held_out


def require_maps(
    folder: Path,
    rows: dict[str, dict[str, str]],
    cases: Sequence[datasets.Case],
    split: str,
) -> None:
    """Raises an InputError unless every case has a map and sound notes of it."""
    missing = [
        case.name
        for case in cases
        if case.name not in rows or not map_path(folder, case).is_file()
    ]
    if missing:
        option = "" if split == "test" else f" --split {split}"
        raise datasets.InputError(
            f"expected {len(cases)} probability maps of the {split} photographs in "
            f"{folder}, {len(missing)} are missing, the first is {missing[0]}.png: "
            f"run predict.py{option} first"
        )
    for case in cases:
        require_notes(folder, rows[case.name])


def map_path(folder: Path, case: datasets.Case) -> Path:
    return folder / f"{case.name}.png"


def require_notes(folder: Path, row: dict[str, str]) -> None:
    """Raises an InputError unless a row tells role, epoch and threshold."""
    for field, allowed in (("role", ROLES), ("epoch", EPOCHS)):
        if row.get(field) not in allowed:
            raise datasets.InputError(
                f"expected {field} to be {' or '.join(allowed)} for {row['name']} in "
                f"{folder / 'predictions.csv'}, received {row.get(field)!r}: run "
                "predict.py again"
            )
    try:
        usable = 0 <= float(row["threshold"]) <= 1
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise datasets.InputError(
            f"expected a threshold from 0 to 1 for {row['name']} in "
            f"{folder / 'predictions.csv'}, received {row.get('threshold')!r}: run "
            "predict.py again"
        )


def read_folder(folder: Path, args: argparse.Namespace) -> list[Prediction]:
    """Checks that all files are there, then reads maps, fields and labels."""
    rows = datasets.read_predictions(folder)
    cases = choose_cases(folder, rows, args.data, args.split)
    for observer in observers_of(args):
        datasets.require_labels(cases, observer)
    require_maps(folder, rows, cases, args.split)
    return [read_prediction(folder, case, rows[case.name]) for case in cases]


def read_prediction(
    folder: Path, case: datasets.Case, row: dict[str, str]
) -> Prediction:
    field_of_view = datasets.read_field_of_view(case)
    probability = datasets.read_probability(map_path(folder, case))
    if probability.shape != field_of_view.shape:
        height, width = field_of_view.shape
        raise datasets.InputError(
            f"expected {width} x {height} pixels in {map_path(folder, case)}, as in "
            f"{case.image}, received {probability.shape[1]} x {probability.shape[0]}: "
            "run predict.py again on this photograph"
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
        raise datasets.InputError(
            f"expected folders with different names, received {times} called {name}: "
            "rename one, so that the table can tell them apart"
        )
    first = {prediction.case.name for prediction in read[0]}
    for folder, predictions in zip(folders, read, strict=True):
        cases = {prediction.case.name for prediction in predictions}
        if cases != first:
            raise datasets.InputError(
                f"expected the same photographs in {folders[0]} and {folder}, but only "
                f"one of the two has {min(cases ^ first)}: figures of different "
                "photographs do not compare, score the folders one by one"
            )


def score_folder(
    folder: Path,
    predictions: Sequence[Prediction],
    args: argparse.Namespace,
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
    return result


def score_pooled(
    predictions: Sequence[Prediction], observer: str, all_pixels: bool
) -> dict:
    """Scores of all photographs together, and of each."""
    per_image = [describe(one) | score([one], observer) for one in predictions]
    pooled = score(predictions, observer)
    pooled["mean_per_image"] = {
        name: metrics.mean(per_image, name) for name in ("auc_roc", "auc_pr")
    }
    if all_pixels:
        pooled["auc_roc_all_pixels"] = all_pixels_auc(predictions, observer)
    return pooled | {"per_image": per_image}


def describe(prediction: Prediction) -> dict:
    row = {name: prediction.row[name] for name in ("name", "model", "role", "epoch")}
    return row | {"threshold": prediction.threshold}


def all_pixels_auc(predictions: Sequence[Prediction], observer: str) -> float:
    labels = [prediction.labels[observer] for prediction in predictions]
    if not any(label.any() for label in labels):
        return math.nan
    probabilities = [prediction.probability for prediction in predictions]
    fields = [prediction.field_of_view for prediction in predictions]
    return metrics.auc_roc_all_pixels(labels, probabilities, fields)


def score(predictions: Sequence[Prediction], observer: str) -> dict:
    """Scores of the pixels inside the fields of view, pooled over `predictions`."""
    label, probability = pooled_pixels(predictions, observer)
    # Maps of several models may meet here: each is cut at its own model's threshold.
    vessels = metrics.pool(
        [prediction.probability >= prediction.threshold for prediction in predictions],
        [prediction.field_of_view for prediction in predictions],
    )
    return {
        "pixels": int(label.size),
        "vessel_pixels": int(label.sum()),
        **metrics.ranking_scores(label, probability),
        "at_half": metrics.threshold_scores(label, probability >= 0.5),
        "at_stored": metrics.threshold_scores(label, vessels),
    }


def pooled_pixels(
    predictions: Sequence[Prediction], observer: str
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities inside the fields of view, both of shape (N,)."""
    fields = [prediction.field_of_view for prediction in predictions]
    labels = [prediction.labels[observer] for prediction in predictions]
    probabilities = [prediction.probability for prediction in predictions]
    return metrics.pool(labels, fields), metrics.pool(probabilities, fields)


def score_second_observer(predictions: Sequence[Prediction]) -> dict | None:
    """The human line: what 2nd_manual drew against 1st_manual, where both exist."""
    both = [one for one in predictions if len(one.labels) == len(datasets.OBSERVERS)]
    if not both:
        return None
    fields = [one.field_of_view for one in both]
    first, second = (
        metrics.pool([one.labels[observer] for one in both], fields)
        for observer in datasets.OBSERVERS
    )
    scores = metrics.threshold_scores(first, second)
    return {"against": "1st_manual", "cases": len(both), "pixels": first.size, **scores}


def protocol(result: dict, observer: str, pixels: int) -> list[str]:
    """What a figure means as phrases; what speaks against it comes first."""
    cases, roles = result["cases"], result["roles"]
    phrases = [
        f"{result['data']}, {result['split']} split",
        f"{cases} photographs" if cases > 1 else "1 photograph",
        f"against {observer}",
        result["region"],
        f"pooled over {pixels:,} pixels",
        "exact",
    ]
    if len(result["models"]) > 1:
        phrases.append(f"maps of {len(result['models'])} models")
    if doubt(result):
        phrases.insert(0, doubt(result))
    else:
        phrases.append("no case trained the network that drew its map")
    phrases.append(chosen("epoch", result["epoch_chosen_on"], result))
    phrases.append(chosen("stored threshold", roles["validation"], result))
    return phrases


def doubt(result: dict) -> str:
    """Why a figure is no test of the network, or is not known to be one, if so."""
    trained, unknown = result["roles"]["training"], result["roles"]["unknown"]
    if trained:
        return f"NOT A TEST: {trained} of {result['cases']} cases trained the network"
    if unknown:
        return (
            f"NOT KNOWN TO BE A TEST: whether {unknown} of {result['cases']} cases "
            "trained the network is not recorded"
        )
    return ""


def chosen(what: str, on: int, result: dict) -> str:
    if what == "epoch" and set(result["epochs"]) == {"last"}:
        return "last epoch"
    if on:
        return f"{what} chosen on {on} of the {result['cases']} cases"
    if result["roles"]["unknown"]:
        return f"how the {what} was chosen is not recorded"
    return f"{what} not chosen on these cases"


def titles_of(results: Sequence[dict]) -> list[str]:
    """How the folders are called in tables, curves and captions."""
    titles = []
    for result in results:
        loud = doubt(result).partition(":")[0]
        titles.append(result["name"] + (f" ({loud})" if loud else ""))
    return titles


def threshold_title(result: dict) -> str:
    """How the stored thresholds read in a row's name: `its own 0.412`."""
    low, high = result["thresholds"][0], result["thresholds"][-1]
    return f"its own {low:.3f}" if low == high else f"its own {low:.3f}-{high:.3f}"


def pooled_rows(results: Sequence[dict], observer: str) -> list[tuple[str, dict]]:
    """The table of all folders at both thresholds, with the human line below."""
    rows = []
    for title, result in zip(titles_of(results), results, strict=True):
        scores = result["against"][observer]
        rows.append((f"{title} at 0.5", scores | scores["at_half"]))
        stored = f"{title} at {threshold_title(result)}"
        rows.append((stored, scores | scores["at_stored"]))
    human = human_line(results, observer)
    if human:
        cases = human["cases"]
        some = "" if cases == results[0]["cases"] else f" (only {cases} of the cases)"
        rows.append((HUMAN + some, human))
    return rows


def human_line(results: Sequence[dict], observer: str) -> dict | None:
    """The second observer's scores, where `observer` is whom they are against."""
    human = results[0]["second_observer"]
    return human if human and human["against"] == observer else None


def image_rows(result: dict, observer: str) -> list[tuple[str, dict]]:
    """The table of single photographs, cut at their models' stored thresholds."""
    return [
        (f"{image['name']} ({image['role']})", image | image["at_stored"])
        for image in result["against"][observer]["per_image"]
    ]


def figure(value: float | None) -> str:
    """A score as it is printed; a dash where it is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def headlines(result: dict, observer: str) -> list[tuple[str, str]]:
    """(name and value, protocol) of one folder's AUCs, the pooled one first."""
    scores = result["against"][observer]
    folder, cases = result["folder"], result["cases"]
    mean = figure(scores["mean_per_image"]["auc_roc"])
    lines = [
        (
            f"AUC ROC {figure(scores['auc_roc'])}",
            f"{folder}: " + "; ".join(scores["protocol"]),
        ),
        (
            f"mean per image {mean}",
            f"AUC ROC of each of the {cases} photographs on its own, averaged",
        ),
    ]
    if "auc_roc_all_pixels" in scores:
        lines.append(
            (
                f"AUC ROC over all pixels {figure(scores['auc_roc_all_pixels'])}",
                "outside the field of view at zero; not comparable with figures from "
                "inside the field of view",
            )
        )
    return lines


def text_table(rows: Sequence[tuple[str, dict]]) -> str:
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"  {title:>7s}" for title in SCORES.values())]
    for name, scores in rows:
        cells = (
            f"  {figure(scores.get(score)):>{max(7, len(title))}s}"
            for score, title in SCORES.items()
        )
        lines.append(f"{name:<{width}s}" + "".join(cells))
    return "\n".join(lines)


def print_results(results: Sequence[dict]) -> None:
    """Prints every AUC ROC with its protocol, then the tables."""
    for observer in results[0]["against"]:
        for result in results:
            for lead, text in headlines(result, observer):
                print(textwrap.fill(f"{lead}  {text}", 96, subsequent_indent="    "))
        print(f"\nPooled, {results[0]['region']}, against {observer}")
        print(text_table(pooled_rows(results, observer)))
        for title, result in zip(titles_of(results), results, strict=True):
            print(f"\nPer image: {title} at {threshold_title(result)}, {observer}")
            print(text_table(image_rows(result, observer)))
        print()


def write_metrics(path: Path, results: Sequence[dict]) -> None:
    """Writes all figures as JSON, null where a figure is not defined."""
    content = results[0] if len(results) == 1 else {"folders": list(results)}
    with datasets.whole_file(path) as part:
        text = json.dumps(without_nan(content), indent=1, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def without_nan(content: object) -> object:
    """JSON knows no nan: the same tree with None in its place."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and math.isnan(content):
        return None
    return content


def draw_curves(
    path: Path, results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> None:
    """Draws ROC and PR curves of every folder and observer, humans as points."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10.5, 5.8), dpi=110, layout="constrained")
    roc, pr = drawing.subplots(1, 2)
    corner = roc.inset_axes((0.38, 0.12, 0.57, 0.57), xlim=(0, 0.15), ylim=(0.7, 1))
    corner.set(title="its upper left corner", xticks=[0, 0.05, 0.1, 0.15])
    for name, scores, label, probability in curves(results, read):
        style = {"color": COLOURS[len(roc.lines) % len(COLOURS)], "linewidth": 1.6}
        ranked = f"{name}, AUC ROC {scores['auc_roc']:.4f}, PR {scores['auc_pr']:.4f}"
        roc.plot(*metrics.roc_points(label, probability), label=ranked, **style)
        corner.plot(*metrics.roc_points(label, probability), **style)
        pr.plot(*metrics.pr_points(label, probability), **style)
    human = human_line(results, datasets.OBSERVERS[0])
    if human and datasets.OBSERVERS[0] in results[0]["against"]:
        style = {"linestyle": "", "marker": "D", "color": "black", "label": HUMAN}
        for axes in (roc, corner):
            axes.plot(1 - human["specificity"], human["sensitivity"], **style)
        pr.plot(human["sensitivity"], human["precision"], **style)
    finish_axes(roc, "ROC", "1 - specificity", "sensitivity")
    finish_axes(pr, "Precision and recall", "sensitivity (recall)", "precision")
    if roc.lines:
        entries = roc.get_legend_handles_labels()
        drawing.legend(*entries, loc="outside lower center", frameon=False, fontsize=9)
    with datasets.whole_file(path) as part:
        drawing.savefig(part)


def curves(
    results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> Iterator[tuple[str, dict, np.ndarray, np.ndarray]]:
    """Name, scores, labels and probabilities of each curve that is defined."""
    for title, result, predictions in zip(
        titles_of(results), results, read, strict=True
    ):
        for observer, scores in result["against"].items():
            if not math.isnan(scores["auc_roc"]):
                pixels = pooled_pixels(predictions, observer)
                yield f"{title} against {observer}", scores, *pixels


def finish_axes(axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.005))
    axes.set_box_aspect(1)
    for each in (axes, *axes.child_axes):
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)


def difference_picture(prediction: Prediction, observer: str) -> Image.Image:
    """Where the map, cut at its stored threshold, differs from the label.

    Returns:
        Palette picture of the photograph's size: missed vessels blue, false ones red,
        hits grey, background white, outside the field of view dimmed.
    """
    vessels = prediction.probability >= prediction.threshold
    codes = prediction.labels[observer] + 2 * vessels.astype(np.uint8)
    codes[~prediction.field_of_view] = 4
    picture = Image.fromarray(codes)
    picture.putpalette(sum((BACKGROUND, MISSED, FALSE_VESSEL, HIT, OUTSIDE), ()))
    return picture


def write_differences(
    output: Path, results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> None:
    """Writes each case's difference picture, in a folder each where maps compare."""
    observer = next(iter(results[0]["against"]))
    for result, predictions in zip(results, read, strict=True):
        folder = output / "differences"
        if len(results) > 1:
            folder = folder / result["name"]
        for prediction in predictions:
            with datasets.whole_file(folder / f"{prediction.case.name}.png") as part:
                difference_picture(prediction, observer).save(part)


def picture_cases(
    results: Sequence[dict], read: Sequence[Sequence[Prediction]]
) -> dict[str, list[tuple[str, Image.Image]]]:
    """Each case's pictures with their captions, small enough for a page."""
    cases = {}
    for same_case in zip(*read, strict=True):
        pictures = case_pictures(results, same_case)
        name = same_case[0].case.name
        cases[name] = [(caption, shrunk(one, 600)) for caption, one in pictures]
    return cases


def case_pictures(
    results: Sequence[dict], same_case: Sequence[Prediction]
) -> list[tuple[str, Image.Image]]:
    """Photograph and label, then map and differences of each folder."""
    observer = next(iter(results[0]["against"]))
    first = same_case[0]
    photograph = np.uint8(datasets.read_image(first.case.image) * 255 + 0.5)
    pictures = [
        ("photograph", Image.fromarray(photograph)),
        (f"label, {observer}", Image.fromarray(first.labels[observer])),
    ]
    for result, prediction in zip(results, same_case, strict=True):
        lead = f"{result['name']}: " if len(results) > 1 else ""
        grey = np.uint8(prediction.probability * 255 + 0.5)
        pictures.append((f"{lead}probability", Image.fromarray(grey)))
        differences = difference_picture(prediction, observer)
        pictures.append((f"{lead}differences", differences))
    return pictures


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture no larger than `side` pixels either way."""
    if max(picture.size) <= side:
        return picture
    # Palettes and black-and-white pictures are not averaged by Pillow.
    mode = {"P": "RGB", "1": "L"}.get(picture.mode, picture.mode)
    small = picture.convert(mode)
    small.thumbnail((side, side))
    return small


def draw_sheet(path: Path, cases: dict[str, list[tuple[str, Image.Image]]]) -> None:
    """Draws the pictures of all cases, one row a case."""
    gap, head = 8, 26
    small = {
        name: [(caption, shrunk(picture, 220)) for caption, picture in pictures]
        for name, pictures in cases.items()
    }
    pictures = [picture for row in small.values() for _, picture in row]
    width = max(picture.width for picture in pictures) + gap
    height = max(picture.height for picture in pictures) + gap + head
    columns = len(pictures) // len(small)
    sheet = Image.new("RGB", (columns * width + gap, len(small) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (name, captioned) in enumerate(small.items()):
        for column, (caption, picture) in enumerate(captioned):
            left, top = gap + column * width, row * height
            text = f"{name}, {caption}" if column == 0 else caption
            pen.text((left, top + 6), text, "#333333", font)
            sheet.paste(picture, (left, top + head))
    with datasets.whole_file(path) as part:
        sheet.save(part)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0 auto; max-width: 1200px; padding: 1.5rem; color: #222;
  font: 16px/1.5 system-ui, sans-serif; background: #fafaf8 }}
h1 {{ font-size: 1.6rem; margin: 0 0 1rem }}
h2 {{ font-size: 1.2rem; margin: 2.2rem 0 .6rem }}
h3 {{ font-size: 1rem; margin: 1.4rem 0 .3rem }}
.headline {{ padding: .6rem 1rem; margin: .5rem 0; background: white;
  border: 1px solid #ddd; border-radius: 8px }}
.headline b {{ display: block; font-size: 1.5rem; color: #1f6f8b }}
.headline small {{ color: #555; font-size: .85rem }}
.loud {{ background: #b3261e; color: white; font-weight: bold; padding: .6rem 1rem;
  border-radius: 8px }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; background: white; font-size: .88rem; width: 100% }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e0;
  font-variant-numeric: tabular-nums; white-space: nowrap }}
th:first-child {{ text-align: left; font-weight: 500 }}
thead th {{ color: #555; font-weight: 600; border-bottom: 2px solid #bbb }}
figure {{ margin: 0 }}
figcaption {{ font-size: .8rem; color: #555 }}
img {{ max-width: 100%; height: auto; display: block; border-radius: 4px }}
.case {{ display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)) }}
.case img {{ width: 100% }}
.key i {{ display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em;
  vertical-align: -.1em; border: 1px solid #999 }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_report(
    path: Path,
    results: Sequence[dict],
    curves_path: Path,
    cases: dict[str, list[tuple[str, Image.Image]]],
) -> None:
    """Writes figures, tables and pictures as one page that needs no other file."""
    body = [html_loud(result) for result in results if doubt(result)]
    for observer in results[0]["against"]:
        body.append(html_scores(results, observer))
    with Image.open(curves_path) as picture:
        body.append("<h2>Curves</h2>" + html_picture("ROC and PR curves", picture))
    for observer in results[0]["against"]:
        body.extend(html_images(results, observer))
    body.append("<h2>Pictures</h2>" + html_key())
    body.extend(html_case(name, pictures) for name, pictures in cases.items())
    folders = " and ".join(result["folder"] for result in results)
    title = html.escape(f"Retinal vessels in {folders}")
    with datasets.whole_file(path) as part:
        page = PAGE.format(title=title, body="\n".join(body))
        part.write_text(page, encoding="utf-8")


def html_loud(result: dict) -> str:
    text = html.escape(f"{result['folder']}: {doubt(result)}")
    return f'<p class="loud">{text}</p>'


def html_scores(results: Sequence[dict], observer: str) -> str:
    """Headlines and the pooled table against one observer."""
    lines = []
    for result in results:
        pooled, *others = headlines(result, observer)
        small = "".join(f"<br>{html.escape(': '.join(line))}" for line in others)
        lines.append(
            f'<p class="headline"><b>{pooled[0]}</b>'
            f"<small>{html.escape(pooled[1])}{small}</small></p>"
        )
    heading = html.escape(f"Against {observer}, {results[0]['region']}")
    table = html_table(pooled_rows(results, observer))
    return f"<h2>{heading}</h2>" + "".join(lines) + "<h3>Pooled</h3>" + table


def html_images(results: Sequence[dict], observer: str) -> Iterator[str]:
    """The per-image tables against one observer."""
    for title, result in zip(titles_of(results), results, strict=True):
        text = f"Per image: {title} at {threshold_title(result)}, against {observer}"
        yield f"<h2>{html.escape(text)}</h2>"
        yield html_table(image_rows(result, observer))


def html_table(rows: Sequence[tuple[str, dict]]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in SCORES.values())
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{figure(scores.get(score))}</td>" for score in SCORES)
        + "</tr>"
        for name, scores in rows
    )
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def html_key() -> str:
    """The legend of the difference pictures."""
    colours = {
        "missed vessel": MISSED,
        "false vessel": FALSE_VESSEL,
        "hit": HIT,
        "outside the field of view": OUTSIDE,
    }
    entries = "".join(
        f'<i style="background: rgb{colour}"></i>{text}'
        for text, colour in colours.items()
    )
    return f'<p class="key">Differences at the stored threshold: {entries}</p>'


def html_case(name: str, pictures: Sequence[tuple[str, Image.Image]]) -> str:
    figures = "".join(html_picture(text, picture) for text, picture in pictures)
    return f'<h3>{html.escape(name)}</h3><div class="case">{figures}</div>'


def html_picture(caption: str, picture: Image.Image) -> str:
    """A figure with the picture's own bytes in it: no other file is needed."""
    smooth = picture.mode in ("L", "RGB")  # JPEG would smear drawings
    kind, options = ("jpeg", {"quality": 80}) if smooth else ("png", {})
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption, quote=True)
    return (
        f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    folders = args.folders or [newest_folder()]
    read = [read_folder(folder, args) for folder in folders]
    require_comparable(folders, read)
    results = [
        score_folder(folder, predictions, args)
        for folder, predictions in zip(folders, read, strict=True)
    ]
    several = len(folders) > 1
    output = args.output or (Path("output/comparison") if several else folders[0])
    write_metrics(output / "metrics.json", results)
    draw_curves(output / "curves.png", results, read)
    write_differences(output, results, read)
    cases = picture_cases(results, read)
    draw_sheet(output / "predictions.png", cases)
    write_report(output / "report.html", results, output / "curves.png", cases)
    print_results(results)
    print(f"look at {output / 'report.html'}")


if __name__ == "__main__":
    try:
        main()
    except (datasets.InputError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")
