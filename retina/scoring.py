"""Scores maps against what observers drew, and writes the report.

    predictions = [read_prediction(folder, case, rows[case.name]) for case in cases]
    result = score_folder(folder, predictions, ("1st_manual",), data, "test")
    write_report(output, [result], [predictions])

Every map is scored in the field of view that it was made in.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from retina import datasets, maps, metrics, protocol, report
from retina.files import InputError, write_json
from retina.identity import identify
from retina.labels import describe_rules
from retina.maps import Map, Row
from retina.pictures import read_pixels

FIRST, SECOND = datasets.OBSERVERS
METRICS = "metrics.json"  # written first: it marks a folder as a report's
# Columns of predictions.csv whose values are counted in the report.
TOLD = ("network", "network_sha256", "role", "epoch", "threshold_source", "field_from")
TOLD += ("views", "precision", "tile_side", "tile_overlap", "scale_from", "version")


@dataclass(frozen=True)
class Prediction:
    """One case with its map and its labels."""

    case: datasets.Case
    map: Map
    labels: dict[str, np.ndarray]  # observer -> bool (H, W), for those that are there
    rules: dict[str, str]  # observer -> how that label was read, in words
    own_field: bool  # whether the map was made in the data set's field, if it gives one

    @property
    def row(self) -> Row:
        return self.map.row

    @property
    def vessels(self) -> np.ndarray:
        """The map, cut at the threshold of the network that drew it."""
        return self.map.probability >= self.row.threshold


Read = Sequence[Sequence[Prediction]]  # of each folder, for each case


def read_prediction(
    folder: Path, case: datasets.Case, row: Row, vessel_values: Sequence[int] | None
) -> Prediction:
    """Reads map and labels of a case; the map must be one of its photograph.

    `vessel_values` are as in `labels.read_drawing`.
    """
    maps.require_photograph(row, identify(case.image))
    read = maps.read_map(folder, row)
    drawn = {
        observer: datasets.read_drawn(case, observer, vessel_values)
        for observer in datasets.OBSERVERS
        if case.has_label(observer)
    }
    own_field = case.field_of_view is None or np.array_equal(
        datasets.read_field_of_view(case), read.field_of_view
    )
    labels = {observer: each.vessels for observer, each in drawn.items()}
    rules = {observer: each.rule for observer, each in drawn.items()}
    return Prediction(case, read, labels, rules, own_field)


def require_comparable(folders: Sequence[Path], read: Read) -> None:
    """Raises an InputError unless the folders have different names, the same cases, and
    for these the same fields of view."""
    names = Counter(folder.resolve().name for folder in folders)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise InputError(
            f"expected folders with different names, received {times} called {name}: "
            "rename one, so that the table can tell them apart"
        )
    first = {one.case.name: one.map.field_of_view for one in read[0]}
    for folder, predictions in zip(folders, read, strict=True):
        cases = {one.case.name: one.map.field_of_view for one in predictions}
        if cases.keys() != first.keys():
            raise InputError(
                f"expected the same photographs in {folders[0]} and {folder}, but only "
                f"one of the two has {min(cases.keys() ^ first.keys())}: score the "
                "folders one by one, since their figures cannot be compared"
            )
        for name, field_of_view in cases.items():
            if not np.array_equal(field_of_view, first[name]):
                raise InputError(
                    f"expected the same fields of view in {folders[0]} and {folder}, "
                    f"but those of {name} differ: score the folders one by one, since "
                    "their figures cannot be compared"
                )


def score_folder(
    folder: Path,
    predictions: Sequence[Prediction],
    observers: Sequence[str],
    data: Path,
    split: str,
    *,
    all_pixels: bool = False,
    thin_vessels: bool = False,
) -> report.Result:
    """All figures of one folder of maps with their protocol.

    Args:
        observers: whose labels are the truth; each case has one of each.
        all_pixels: score all pixels, too.
        thin_vessels: sensitivity by width and clDice, too; needs scikit-image.

    Raises:
        InputError: the maps may not be pooled (`maps.require_poolable`).
    """
    rows = [one.row for one in predictions]
    others = sum(not one.own_field for one in predictions)
    region = protocol.describe_region(rows, others)
    pixels = sum(np.count_nonzero(one.map.field_of_view) for one in predictions)
    against = {}
    for observer in observers:
        rules = describe_rules([one.rules[observer] for one in predictions])
        phrases = protocol.list_phrases(
            rows, observer, rules, pixels, str(data), split, region
        )
        against[observer] = score_against(
            predictions, observer, phrases, all_pixels, thin_vessels
        )
    return report.Result(
        folder=str(folder),
        name=folder.resolve().name,
        data=str(data),
        split=split,
        cases=len(rows),
        networks=maps.require_poolable(rows),
        region=region,
        maps={column: count_values(rows, column) for column in TOLD},
        likely_copies={r.name: r.likely_copies for r in rows if r.likely_copies},
        doubts=protocol.find_doubts(rows),
        thresholds=sorted({row.threshold for row in rows}),
        against=against,
        second_observer=score_second_observer(predictions, thin_vessels),
    )


def count_values(rows: Sequence[Row], column: str) -> dict[str, int]:
    """Value of a column -> how many rows have it."""
    return dict(Counter(str(getattr(row, column)) for row in rows))


def score_against(
    predictions: Sequence[Prediction],
    observer: str,
    phrases: list[str],
    all_pixels: bool,
    thin_vessels: bool,
) -> report.Against:
    """The scores against one observer, with the `phrases` of their protocol."""
    pooled = score_pixels(predictions, observer)
    if thin_vessels:
        halves = [one.map.probability >= 0.5 for one in predictions]
        vessels = [one.vessels for one in predictions]
        half, stored = score_thin_vessels(predictions, observer, halves, vessels)
        pooled["at_half"] |= half
        pooled["at_stored"] |= stored
    per_image = [score_image(one, observer) for one in predictions]
    everywhere = None
    if all_pixels:
        everywhere = metrics.auc_roc_all_pixels(
            [one.labels[observer] for one in predictions],
            [one.map.probability for one in predictions],
            [one.map.field_of_view for one in predictions],
        )
    return report.Against(
        **pooled,
        protocol=phrases,
        per_image=per_image,
        mean_per_image={
            name: metrics.mean([asdict(image) for image in per_image], name)
            for name in ("auc_roc", "auc_pr")
        },
        auc_roc_all_pixels=everywhere,
    )


def score_image(one: Prediction, observer: str) -> report.ImageScores:
    noted = {name: getattr(one.row, name) for name in ("name", "role", "threshold")}
    return report.ImageScores(**score_pixels([one], observer), **noted)


def score_pixels(predictions: Sequence[Prediction], observer: str) -> dict:
    """What `report.Scores` holds, of the pixels of `predictions` pooled."""
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
        (one.labels[observer], one.map.probability, one.vessels) for one in predictions
    ]
    fields = [one.map.field_of_view for one in predictions]
    return tuple(metrics.pool(each, fields) for each in zip(*triples, strict=True))


def score_thin_vessels(
    predictions: Sequence[Prediction], observer: str, *drawn: Sequence[np.ndarray]
) -> list[dict]:
    """`metrics.thin_vessel_scores` of each of what was `drawn` for all cases."""
    fields = [one.map.field_of_view for one in predictions]
    labels = [one.labels[observer] for one in predictions]
    return metrics.thin_vessel_scores(labels, drawn, fields)


def score_second_observer(
    predictions: Sequence[Prediction], thin_vessels: bool
) -> report.SecondObserver | None:
    """What 2nd_manual drew against 1st_manual, where both exist."""
    both = [one for one in predictions if len(one.labels) == len(datasets.OBSERVERS)]
    if not both:
        return None
    first, second = (pooled_pixels(both, observer)[0] for observer in (FIRST, SECOND))
    scores = metrics.threshold_scores(first, second)
    if thin_vessels:
        drawn = [one.labels[SECOND] for one in both]
        scores |= score_thin_vessels(both, FIRST, drawn)[0]
    return report.SecondObserver(FIRST, len(both), first.size, scores)


# ---- the report


def write_report(output: Path, results: Sequence[report.Result], read: Read) -> None:
    """Writes all figures, curves and pictures into `output`, and the page that holds
    them."""
    write_metrics(output / METRICS, results)
    page, curves = output / "report.html", output / "curves.png"
    report.draw_curves(curves, list_curves(results, read))
    cases = draw_cases(output, results, read)
    report.draw_sheet(output / "predictions.png", cases)
    report.write_report_page(page, results, curves, cases)


def write_metrics(path: Path, results: Sequence[report.Result]) -> None:
    """Writes all figures as JSON, null where a figure is not defined."""
    content = [asdict(result) for result in results]
    # JSON has no nan: read again with None in its place.
    content = json.loads(json.dumps(content), parse_constant=lambda nan: None)
    write_json(path, content[0] if len(results) == 1 else {"folders": content})


def list_curves(
    results: Sequence[report.Result], read: Read
) -> Iterator[tuple[str, report.Points, report.Points]]:
    """Name, ROC and PR points of what can be ranked; the second observer is a point."""
    for result, predictions in zip(results, read, strict=True):
        for observer, scores in result.against.items():
            if not math.isnan(scores.auc_roc):
                name = f"{report.title_of(result)} against {observer}"
                areas = f"AUC ROC {scores.auc_roc:.4f}, PR {scores.auc_pr:.4f}"
                pixels = pooled_pixels(predictions, observer)[:2]
                roc, pr = metrics.roc_points(*pixels), metrics.pr_points(*pixels)
                yield f"{name}, {areas}", roc, pr
    second = results[0].second_observer
    if second and second.against in results[0].against:
        recall, precision = second.scores["sensitivity"], second.scores["precision"]
        roc = [1 - second.scores["specificity"]], [recall]
        yield report.SECOND_OBSERVER, roc, ([recall], [precision])


def draw_cases(
    output: Path, results: Sequence[report.Result], read: Read
) -> dict[str, list[report.Captioned]]:
    """Writes all difference pictures. Returns each case's pictures with captions."""
    observer = next(iter(results[0].against))
    cases = {}
    for same_case in zip(*read, strict=True):
        case, label = same_case[0].case, same_case[0].labels[observer]
        pictures = [
            ("photograph", report.as_picture(read_pixels(case.image))),
            (f"label, {observer}", report.as_picture(label)),
        ]
        for result, one in zip(results, same_case, strict=True):
            folder = result.name if len(results) > 1 else ""
            lead = f"{folder}: " if folder else ""
            probability = report.as_picture(one.map.probability)
            inside = one.map.field_of_view
            differences = report.difference_picture(label, one.vessels, inside)
            path = output / "differences" / folder / f"{case.name}.png"
            report.save_picture(path, differences)
            pictures.append((f"{lead}probability", probability))
            pictures.append((f"{lead}differences", differences))
        cases[case.name] = [(text, report.shrunk(one, 600)) for text, one in pictures]
    return cases
