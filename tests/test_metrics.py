"""Tiny truths about metrics.py: figures that can be worked out by hand; against
scikit-learn in test_properties.py."""

import math

import numpy as np
import pytest

from retina import metrics

# The worked example: one of the four (vessel, background) pairs is in the wrong order.
LABEL = np.array([True, False, True, False])
PROBABILITY = np.array([0.9, 0.6, 0.4, 0.2])


def random_map(seed=0, shape=(40, 50), levels=20):
    """A label and a map of few levels, so that there are many ties."""
    rng = np.random.default_rng(seed)
    label = rng.random(shape) < 0.2
    probability = np.clip(rng.normal(0.3 + 0.3 * label, 0.2), 0, 1)
    return label, np.round(probability * levels) / levels


def test_auc_of_four_pixels():
    assert metrics.auc_roc(LABEL, PROBABILITY) == 0.75
    # Recall rises to 1/2 at precision 1, then to 1 at precision 2/3.
    assert metrics.auc_pr(LABEL, PROBABILITY) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_perfect_inverted_and_constant_maps():
    perfect = LABEL.astype(float)
    assert metrics.auc_roc(LABEL, perfect) == 1
    assert metrics.auc_pr(LABEL, perfect) == 1
    assert metrics.auc_roc(LABEL, 1 - perfect) == 0
    assert metrics.auc_roc(LABEL, np.full(4, 0.3)) == 0.5
    assert metrics.auc_pr(LABEL, np.full(4, 0.3)) == 0.5  # the share of vessels


def test_ties_count_half():
    tied = np.array([0.6, 0.6, 0.4, 0.2])
    assert metrics.auc_roc(LABEL, tied) == (0.5 + 1 + 0 + 1) / 4


def test_pool_keeps_the_inside_in_order():
    arrays = [np.arange(4).reshape(2, 2), np.arange(10, 13).reshape(1, 3)]
    fields = [np.array([[True, False], [False, True]]), np.array([[True, True, False]])]
    assert metrics.pool(arrays, fields).tolist() == [0, 3, 10, 11]


def test_garbage_outside_the_field_of_view_changes_no_score():
    label, probability = random_map()
    field_of_view = np.zeros(label.shape, bool)
    field_of_view[5:30, 8:40] = True
    rng = np.random.default_rng(1)
    garbage_label = np.where(field_of_view, label, rng.random(label.shape) < 0.5)
    garbage = np.where(field_of_view, probability, rng.random(label.shape))

    def scores(label, probability):
        label = metrics.pool([label], [field_of_view])
        probability = metrics.pool([probability], [field_of_view])
        ranked = metrics.ranking_scores(label, probability)
        cut = metrics.threshold_scores(label, probability >= 0.5)
        return ranked | cut | {"best": metrics.best_threshold(label, probability)}

    assert scores(label, probability) == scores(garbage_label, garbage)


def test_pooled_differs_from_the_mean_per_image():
    # Each photograph ranks perfectly, but on a scale of its own.
    labels = [np.array([[True, False]])] * 2
    probabilities = [np.array([[0.9, 0.5]]), np.array([[0.4, 0.1]])]
    fields = [np.ones((1, 2), bool)] * 2
    single = [
        metrics.ranking_scores(label, probability)
        for label, probability in zip(labels, probabilities, strict=True)
    ]
    pooled = metrics.pool(labels, fields), metrics.pool(probabilities, fields)
    assert metrics.mean(single, "auc_roc") == 1
    assert metrics.auc_roc(*pooled) == 0.75


def test_auc_over_all_pixels_follows_from_the_auc_inside():
    label, probability = random_map()
    probability = np.maximum(probability, 0.05)  # nothing inside ties with outside
    field_of_view = np.zeros(label.shape, bool)
    field_of_view[5:30, 8:40] = True
    label &= field_of_view
    inside = metrics.auc_roc(label[field_of_view], probability[field_of_view])
    k = np.sum(field_of_view & ~label) / np.sum(~label)
    over_all = metrics.auc_roc_all_pixels([label], [probability], [field_of_view])
    assert over_all == pytest.approx(1 - (1 - inside) * k, abs=1e-12)
    assert over_all > inside


def test_counts_and_scores_by_hand():
    # 3 hits, 1 false vessel, 2 missed, 4 background pixels.
    label = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)
    vessels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    assert metrics.counts(label, vessels) == {
        "true_positives": 3,
        "false_positives": 1,
        "false_negatives": 2,
        "true_negatives": 4,
    }
    scores = metrics.threshold_scores(label, vessels)
    assert scores == pytest.approx(
        {
            "dice": 6 / 9,
            "sensitivity": 3 / 5,
            "specificity": 4 / 5,
            "precision": 3 / 4,
            "accuracy": 7 / 10,
            "mcc": (3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6),
        }
    )


def test_mcc_of_drives_size_does_not_overflow():
    label = np.zeros(4_500_000, bool)
    label[:600_000] = True
    assert metrics.threshold_scores(label, label)["mcc"] == 1
    assert metrics.threshold_scores(label, ~label)["mcc"] == -1


def test_what_is_not_defined_is_nan():
    nothing = np.zeros(4, bool)
    scores = metrics.threshold_scores(nothing, nothing)
    undefined = {name for name, value in scores.items() if math.isnan(value)}
    assert undefined == {"dice", "sensitivity", "precision", "mcc"}
    assert scores["accuracy"] == scores["specificity"] == 1
    ranked = metrics.ranking_scores(nothing, PROBABILITY)
    assert all(math.isnan(value) for value in ranked.values())
    assert math.isnan(metrics.mean([ranked, {"auc_roc": 1.0}], "auc_roc"))


def bar(width, shape=(24, 30), top=5, *, left=3, right=-3):
    """A label with one horizontal vessel of `width` pixels."""
    label = np.zeros(shape, bool)
    label[top : top + width, left:right] = True
    return label


def widths_of(label):
    return metrics.local_width(label, metrics.centre_line(label))


@pytest.mark.parametrize("width", range(1, 9))
def test_a_straight_bar_has_its_width_away_from_its_ends(width):
    label = bar(width)
    for each in (label, label.T):
        measured = widths_of(each)
        assert np.array_equal(np.isnan(measured), ~each)
        middle = measured if each is label else measured.T
        assert np.all(middle[5 : 5 + width, 11:-11] == width)


def test_a_vessel_that_the_photograph_cuts_off_has_its_width_too():
    assert np.all(widths_of(bar(3, top=0, left=0, right=None))[:3, 5:-5] == 3)


@pytest.mark.parametrize("width", [1.5, 2, 3, 4, 5, 6, 8])
def test_bars_in_random_directions_have_about_their_width(width):
    rng = np.random.default_rng(0)
    rows, columns = np.indices((81, 81)) - 40
    errors = []
    for angle, shift in zip(rng.uniform(0, np.pi, 20), rng.random(20), strict=True):
        away = np.abs(rows * np.cos(angle) - columns * np.sin(angle) + shift)
        label = away <= width / 2
        middle = label & (np.hypot(rows, columns) < 30)
        errors.append(widths_of(label)[middle].mean() - width)
    assert -0.25 < np.mean(errors) < 0.15
    assert np.abs(errors).max() < 0.6


def test_without_vessels_there_is_no_width():
    nothing = np.zeros((4, 5), bool)
    assert not metrics.centre_line(nothing).any()
    assert np.isnan(widths_of(nothing)).all()


def test_sensitivity_by_width_by_hand():
    # A line of ten pixels half found, a bar of 3 x 20 of which a row is missed.
    label = bar(1, left=3, right=13) | bar(3, top=15, left=5, right=25)
    width = np.where(label, 1.0, np.nan)
    width[15:18, 5:25] = 3
    vessels = np.ones(label.shape, bool)  # false vessels change no sensitivity
    vessels[5, 3:8] = vessels[15, :] = False
    bins = metrics.sensitivity_by_width(width, vessels)
    assert [(b["from"], b["below"], b["pixels"]) for b in bins] == [
        (0, 2, 10),
        (2, 3, 0),
        (3, 4, 60),
        (4, 6, 0),
        (6, math.inf, 0),
    ]
    found = [b["sensitivity"] for b in bins]
    assert found[0] == 0.5 and found[2] == pytest.approx(2 / 3)
    assert all(math.isnan(found[index]) for index in (1, 3, 4))


def topology_of(label, vessels):
    lines = metrics.centre_line(label), metrics.centre_line(vessels)
    return metrics.topology_scores(label, lines[0], vessels, lines[1])


def test_cl_dice_of_a_line_half_found():
    line, half = bar(1, left=3, right=13), bar(1, left=3, right=8)
    assert topology_of(line, half) == pytest.approx(
        {
            "cl_dice": 2 / 3,
            "topology_precision": 1,
            "topology_sensitivity": 5 / 10,
        }
    )


def test_cl_dice_is_the_harmonic_mean_of_both_shares():
    """Half of the map's line is right, and a fifth of the label's is found."""
    line, other = bar(1, left=3, right=13), bar(1, left=11, right=15)
    scores = topology_of(line, other)
    assert scores["topology_precision"] == 1 / 2
    assert scores["topology_sensitivity"] == 1 / 5
    assert scores["cl_dice"] == pytest.approx(2 / 7)


def test_cl_dice_does_not_mind_a_thick_bar_drawn_thin():
    thick, thin = bar(5, top=5), bar(1, top=7)
    assert topology_of(thick, thin)["cl_dice"] > 0.94  # its line forks at the ends
    assert metrics.threshold_scores(thick, thin)["dice"] == pytest.approx(1 / 3)


def test_cl_dice_of_what_is_all_wrong_and_of_nothing():
    apart = topology_of(bar(1, top=3), bar(1, top=9))
    assert set(apart.values()) == {0}
    nothing = topology_of(bar(1), np.zeros((24, 30), bool))
    assert nothing["topology_sensitivity"] == 0
    assert math.isnan(nothing["cl_dice"]) and math.isnan(nothing["topology_precision"])


def test_best_threshold_finds_a_float32_value_again():
    label, probability = random_map(levels=65535)
    probability = probability.astype(np.float32)
    best = metrics.best_threshold(label, probability)
    assert isinstance(best, float)
    assert np.any(probability == np.float32(float(repr(best))))


def test_curves_are_thin_and_keep_their_areas():
    label, probability = random_map(shape=(300, 300), levels=65535)
    x, y = metrics.roc_points(label, probability, points=200)
    assert x.size <= 200
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    assert area == pytest.approx(metrics.auc_roc(label, probability), abs=1e-3)
    recall, precision = metrics.pr_points(label, probability)
    assert recall.size <= 500
    assert np.all(np.diff(recall) >= 0)
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(label.mean())


def test_curves_of_four_pixels():
    x, y = metrics.roc_points(LABEL, PROBABILITY)
    assert list(zip(x, y, strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
    ]
    recall, precision = metrics.pr_points(LABEL, PROBABILITY)
    assert recall.tolist() == [0.5, 0.5, 1, 1]
    assert precision == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])


@pytest.mark.parametrize(
    "score",
    [metrics.auc_roc, metrics.auc_pr, metrics.best_threshold, metrics.roc_points],
)
def test_one_class_alone_cannot_be_ranked(score):
    with pytest.raises(ValueError, match="vessel and of background.*Received: 0 of"):
        score(np.zeros(4, bool), PROBABILITY)


def test_mistakes_of_the_caller_are_named():
    with pytest.raises(ValueError, match="bool label. Received: int"):
        metrics.auc_roc(LABEL.astype(int), PROBABILITY)
    with pytest.raises(ValueError, match="bool vessels. Received: float"):
        metrics.counts(LABEL, PROBABILITY)
    with pytest.raises(ValueError, match="bool vessels. Received: float"):
        metrics.sensitivity_by_width(PROBABILITY, PROBABILITY)
    with pytest.raises(ValueError, match="bool vessels_line. Received: float"):
        metrics.topology_scores(LABEL, LABEL, LABEL, PROBABILITY)
    with pytest.raises(ValueError, match="bool line. Received: float"):
        metrics.local_width(LABEL, PROBABILITY)
    with pytest.raises(ValueError, match="bool vessels. Received: float"):
        metrics.centre_line(PROBABILITY)
    with pytest.raises(ValueError, match="bool field_of_view"):
        metrics.pool([LABEL], [np.ones(4)])
    for score, arrays, name in (
        (metrics.auc_roc, [LABEL, PROBABILITY[:3]], "label"),
        (metrics.counts, [LABEL, LABEL[:3]], "label"),
        (metrics.local_width, [LABEL, LABEL[:3]], "label"),
        (metrics.pool, [[LABEL], [LABEL[:3]]], "field_of_view"),
        (metrics.sensitivity_by_width, [PROBABILITY, LABEL[:3]], "width"),
        (metrics.topology_scores, [LABEL, LABEL, LABEL, LABEL[:3]], "label"),
    ):
        with pytest.raises(ValueError, match=rf"shape of {name}, \("):
            score(*arrays)
    with pytest.raises(ValueError, match="zip"):
        metrics.thin_vessel_scores([LABEL] * 2, [[LABEL]], [LABEL])
    with pytest.raises(ValueError, match="0..1. Received: .* to 229"):
        metrics.auc_roc(LABEL, np.array([229.0, 100, 3, 2]))
    with pytest.raises(ValueError, match="0..1. Received: nan"):
        metrics.auc_roc(LABEL, np.array([0.5, np.nan, 0.3, 0.2]))


def test_thin_vessels_of_several_photographs_are_pooled_inside_their_fields():
    """A vessel of one pixel and one of two, of which one and half are found."""
    label, field = np.zeros((2, 20, 30), bool)
    label[:, [5, 15, 16]] = True
    field[4:16] = True
    found, garbage = label.copy(), label.copy()
    found[:, 16] = False
    garbage[:4] = ~garbage[:4]  # outside
    wrong = label | ~field  # outside
    both = metrics.thin_vessel_scores(
        [label, wrong], [[found, label], [garbage, garbage]], [field, field]
    )
    for scores, share in zip(both, (0.75, 1), strict=True):
        assert [each["pixels"] for each in scores["by_width"]] == [24, 48, 0, 0, 0]
        assert scores["by_width"][0]["sensitivity"] == 1
        assert scores["by_width"][1]["sensitivity"] == share
        assert scores["topology_precision"] == 1
    assert both[1]["cl_dice"] == 1
