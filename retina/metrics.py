"""How well probability maps fit labels: AUC ROC, Dice and their relatives.

Everything is scored inside the field of view. Pooled figures come from the pixels of
all photographs, per-image figures from the same functions, called with one photograph:

    label = pool(labels, fields_of_view)
    probability = pool(probabilities, fields_of_view)
    auc_roc(label, probability)

`label`, `vessels` (a map cut at a threshold, or what another observer drew), centre
lines and fields of view are bool arrays; `probability` is a float array, 0..1. Arrays
of one photograph have the shape (H, W). All functions raise a ValueError where arrays
are of another type, or differ in shape from those that they are compared with. A figure
that is not defined, such as the sensitivity where there are no vessels, is `nan`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

# scikit-learn takes a second to import, and scikit-image is not everywhere
# (requirements/measure.txt): both are imported in the functions that need them.

# Where bins of vessel width begin and end, in pixels.
WIDTHS = (0.0, 2.0, 3.0, 4.0, 6.0, math.inf)
CURVE_POINTS = 500  # of a curve, at most: enough to draw it


def pool(
    arrays: Sequence[np.ndarray], fields_of_view: Sequence[np.ndarray]
) -> np.ndarray:
    """The pixels (N,) inside the fields of view, of all photographs, in their dtype."""
    pairs = list(zip(arrays, fields_of_view, strict=True))
    for array, field_of_view in pairs:
        _require_bool(field_of_view=field_of_view)
        _require_same_shape(array, field_of_view, "field_of_view")
    return np.concatenate([array[inside] for array, inside in pairs])


# ---- ranking


def auc_roc(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve, exact by ranking.

    It is the chance that a random vessel pixel has a higher probability than a random
    background pixel, ties counting one half (Hanley and McNeil 1982).

    Raises:
        ValueError: only one class is there.
    """
    from sklearn.metrics import roc_auc_score

    _require_both_classes(label)
    classes, values, weights = _distinct(label, probability)
    return float(roc_auc_score(classes, values, sample_weight=weights))


def auc_pr(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the precision-recall curve as average precision, exact by ranking.

    The sum of (R_i - R_i-1) P_i over falling thresholds, without interpolation, which
    would give too much (Davis and Goadrich 2006). A constant map scores the share of
    vessels.

    Raises:
        ValueError: only one class is there.
    """
    from sklearn.metrics import average_precision_score

    _require_both_classes(label)
    classes, values, weights = _distinct(label, probability)
    return float(average_precision_score(classes, values, sample_weight=weights))


def ranking_scores(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """`auc_roc` and `auc_pr` by name, both nan where only one class is there."""
    _require_bool(label=label)
    if label.all() or not label.any():
        return {"auc_roc": math.nan, "auc_pr": math.nan}
    return {
        "auc_roc": auc_roc(label, probability),
        "auc_pr": auc_pr(label, probability),
    }


def auc_roc_all_pixels(
    labels: Sequence[np.ndarray],
    probabilities: Sequence[np.ndarray],
    fields_of_view: Sequence[np.ndarray],
) -> float:
    """Pooled AUC ROC over all pixels, with the probability outside the field at zero.

    The black surround is easy, so this figure is higher, and is only for comparison
    with published figures of that kind. Where no vessel has a probability of zero or
    lies outside, it is 1 - (1 - AUC_inside) k, with k the share of all background
    pixels that are inside (about .66 on DRIVE). nan where only one class is there.
    """
    pairs = zip(probabilities, fields_of_view, strict=True)
    zeroed = [np.where(inside, probability, 0) for probability, inside in pairs]
    everywhere = [np.ones_like(inside) for inside in fields_of_view]
    scores = ranking_scores(pool(labels, everywhere), pool(zeroed, everywhere))
    return scores["auc_roc"]


def best_threshold(label: np.ndarray, probability: np.ndarray) -> float:
    """The threshold, one of the probabilities, at which Dice is highest.

    Every distinct probability is tried, with `probability >= threshold` as vessels; of
    several best ones the highest is returned.

    Raises:
        ValueError: only one class is there.
    """
    thresholds, hits, false_alarms = _cumulative(label, probability)
    dice = 2 * hits / (hits + false_alarms + hits[-1])
    return float(thresholds[np.argmax(dice)])


def roc_points(
    label: np.ndarray, probability: np.ndarray, points: int = CURVE_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of the ROC curve, from (0, 0) to (1, 1).

    Returns:
        False positive rate and sensitivity: two float64 arrays of shape (K,).

    Raises:
        ValueError: only one class is there.
    """
    _, hits, false_alarms = _cumulative(label, probability)
    sensitivity = np.concatenate([[0], hits / hits[-1]])
    false_positive_rate = np.concatenate([[0], false_alarms / false_alarms[-1]])
    return _thin(false_positive_rate, sensitivity, points)


def pr_points(
    label: np.ndarray, probability: np.ndarray, points: int = CURVE_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of the precision-recall curve.

    Returns:
        Sensitivity (recall), rising to 1, and precision: two float64 arrays (K,).

    Raises:
        ValueError: only one class is there.
    """
    _, hits, false_alarms = _cumulative(label, probability)
    return _thin(hits / hits[-1], hits / (hits + false_alarms), points)


def _distinct(
    label: np.ndarray, probability: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, values and how many pixels have both: all that ranking needs.

    A 16-bit map has at most 65,536 distinct values, so millions of pixels become
    thousands of weighted ones, and nothing is lost.
    """
    _require_same_shape(probability, label, "label")
    if label.size and not (0 <= probability.min() and probability.max() <= 1):
        raise ValueError(
            "expected probabilities in 0..1. Received: "
            f"{probability.min()} to {probability.max()}"
        )
    vessel, vessel_pixels = np.unique(probability[label], return_counts=True)
    other, other_pixels = np.unique(probability[~label], return_counts=True)
    classes = np.repeat([True, False], [vessel.size, other.size])
    values = np.concatenate([vessel, other])
    return classes, values, np.concatenate([vessel_pixels, other_pixels])


def _cumulative(
    label: np.ndarray, probability: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Falling thresholds with the hits and false alarms at or above each."""
    _require_both_classes(label)
    classes, values, weights = _distinct(label, probability)
    thresholds, position = np.unique(values, return_inverse=True)
    hits = np.bincount(position, weights * classes, thresholds.size)
    false_alarms = np.bincount(position, weights * ~classes, thresholds.size)
    return thresholds[::-1], hits[::-1].cumsum(), false_alarms[::-1].cumsum()


def _thin(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Keeps at most `points` points, evenly spread along the curve, and both ends."""
    length = np.concatenate([[0], np.hypot(np.diff(x), np.diff(y)).cumsum()])
    even = np.linspace(0, length[-1], points)
    kept = np.unique(np.minimum(np.searchsorted(length, even), length.size - 1))
    return x[kept], y[kept]


# ---- maps that were cut at a threshold


def counts(label: np.ndarray, vessels: np.ndarray) -> dict[str, int]:
    """How many pixels are hits, and how many are errors of each kind."""
    _require_bool(label=label, vessels=vessels)
    _require_same_shape(vessels, label, "label")
    return {
        "true_positives": int(np.count_nonzero(label & vessels)),
        "false_positives": int(np.count_nonzero(~label & vessels)),
        "false_negatives": int(np.count_nonzero(label & ~vessels)),
        "true_negatives": int(np.count_nonzero(~label & ~vessels)),
    }


def threshold_scores(label: np.ndarray, vessels: np.ndarray) -> dict[str, float]:
    """Six scores by name. With TP, FP, FN, TN as in `counts`:

    dice         2 TP / (2 TP + FP + FN), the same as F1 (Dice 1945)
    sensitivity  TP / (TP + FN), also called recall
    specificity  TN / (TN + FP)
    precision    TP / (TP + FP)
    accuracy     (TP + TN) / all
    mcc          (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)),
                 -1..1 (Matthews 1975)
    """
    tp, fp, fn, tn = counts(label, vessels).values()
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": _ratio(tp, tp + fp),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        # Python integers, because the product of four counts overflows 64 bits.
        "mcc": _ratio(
            tp * tn - fp * fn,
            math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        ),
    }


def mean(scores: Sequence[dict[str, float]], name: str) -> float:
    """Mean of one score over photographs; nan as soon as one photograph's is nan."""
    return float(np.mean([score[name] for score in scores]))


# ---- thin vessels


def centre_line(vessels: np.ndarray) -> np.ndarray:
    """The vessels (H, W), thinned to lines of one pixel (Zhang and Suen 1984)."""
    from skimage.morphology import skeletonize

    _require_bool(vessels=vessels)
    return skeletonize(vessels)


def local_width(label: np.ndarray, line: np.ndarray) -> np.ndarray:
    """How wide the vessel is at each pixel of a label with this `centre_line`.

    A pixel has the width of the nearest pixel of the centre line. There it is the
    largest Euclidean distance transform among the four quarters of that pixel, on a
    grid twice as fine, where a line can run between two pixels; so many half pixels of
    radius are so many pixels of diameter. Vessels along rows and columns have their
    exact width in whole pixels; straight ones of 1.5 to 8 pixels in other directions
    err by -.25 to +.15 on average, and each by less than .6. Near junctions the width
    is too large, at ends too small. (Twice the plain distance transform cannot tell
    vessels of one and of two pixels apart.)

    Returns:
        float array of shape (H, W), in pixels, nan where there is no vessel.
    """
    from scipy import ndimage

    _require_bool(label=label, line=line)
    _require_same_shape(line, label, "label")
    if not line.any():
        return np.full(label.shape, math.nan)
    height, width = label.shape
    framed = np.pad(label, 1)  # no vessel goes on beyond the photograph
    fine = ndimage.distance_transform_edt(framed.repeat(2, 0).repeat(2, 1))
    radius = fine[2:-2, 2:-2].reshape(height, 2, width, 2).max(axis=(1, 3))  # (H, W)
    nearest = ndimage.distance_transform_edt(
        ~line, return_distances=False, return_indices=True
    )
    return np.where(label, radius[tuple(nearest)], math.nan)


def sensitivity_by_width(
    width: np.ndarray, vessels: np.ndarray
) -> list[dict[str, float]]:
    """The share of a label's pixels that were found, by its `local_width`.

    Returns:
        For each bin of WIDTHS `from` (pixels, itself included), `below` (pixels), how
        many `pixels` the label has there, and their `sensitivity`.
    """
    _require_bool(vessels=vessels)
    _require_same_shape(vessels, width, "width")
    bins = []
    for low, high in itertools.pairwise(WIDTHS):
        inside = (low <= width) & (width < high)  # never where width is nan
        pixels = int(np.count_nonzero(inside))
        sensitivity = _ratio(int(np.count_nonzero(vessels & inside)), pixels)
        bins.append(
            {"from": low, "below": high, "pixels": pixels, "sensitivity": sensitivity}
        )
    return bins


def topology_scores(
    label: np.ndarray,
    label_line: np.ndarray,
    vessels: np.ndarray,
    vessels_line: np.ndarray,
) -> dict[str, float]:
    """How much of the vessels' course is right, given both and their `centre_line`s.

    Thin vessels count like wide ones. Shit et al. (2021), "clDice - a Novel Topology-
    Preserving Loss Function for Tubular Structure Segmentation", with hard skeletons:

    topology_precision    share of the map's centre line inside the label
    topology_sensitivity  share of the label's centre line inside the map
    cl_dice               harmonic mean of the two
    """
    _require_bool(label=label, label_line=label_line)
    _require_bool(vessels=vessels, vessels_line=vessels_line)
    for array in (label_line, vessels, vessels_line):
        _require_same_shape(array, label, "label")
    right = int(np.count_nonzero(vessels_line & label))
    found = int(np.count_nonzero(label_line & vessels))
    precision = _ratio(right, int(np.count_nonzero(vessels_line)))
    sensitivity = _ratio(found, int(np.count_nonzero(label_line)))
    harmonic = 0.0  # the mean's limit where both are zero
    if precision != 0 or sensitivity != 0:
        harmonic = 2 * precision * sensitivity / (precision + sensitivity)
    return {
        "cl_dice": harmonic,
        "topology_precision": precision,
        "topology_sensitivity": sensitivity,
    }


def thin_vessel_scores(
    labels: Sequence[np.ndarray],
    drawn: Sequence[Sequence[np.ndarray]],
    fields_of_view: Sequence[np.ndarray],
) -> list[dict]:
    """`topology_scores`, and as `by_width` `sensitivity_by_width`, pooled.

    Args:
        labels: of the photographs.
        drawn: several kinds of `vessels`, each of all photographs.
        fields_of_view: of the photographs; nothing outside counts.

    Returns:
        A dict for each of `drawn`.
    """
    labels = [a & inside for a, inside in zip(labels, fields_of_view, strict=True)]
    lines = [centre_line(label) for label in labels]
    pairs = zip(labels, lines, strict=True)
    truth = [labels, lines, [local_width(label, line) for label, line in pairs]]
    label, line, width = (pool(arrays, fields_of_view) for arrays in truth)
    scores = []
    for each in drawn:
        cut = [a & inside for a, inside in zip(each, fields_of_view, strict=True)]
        vessels = pool(cut, fields_of_view)
        vessels_line = pool([centre_line(a) for a in cut], fields_of_view)
        topology = topology_scores(label, line, vessels, vessels_line)
        scores.append({**topology, "by_width": sensitivity_by_width(width, vessels)})
    return scores


# ---- what arrays must be


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _require_bool(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        if array.dtype != bool:
            raise ValueError(f"expected a bool {name}. Received: {array.dtype}")


def _require_same_shape(array: np.ndarray, other: np.ndarray, name: str) -> None:
    if array.shape != other.shape:
        raise ValueError(
            f"expected the shape of {name}, {other.shape}. Received: {array.shape}"
        )


def _require_both_classes(label: np.ndarray) -> None:
    _require_bool(label=label)
    vessels = int(np.count_nonzero(label))
    if vessels in (0, label.size):
        raise ValueError(
            "expected pixels of vessel and of background, since ranking compares the "
            f"two. Received: {vessels} of vessel among {label.size}"
        )
