"""A measured threshold serves what it was measured for, and nothing else."""

from dataclasses import replace

import pytest

from retina import recipes
from retina.recipes import MEASURED, PRESETS, Threshold, measured_threshold

DATA = MEASURED[0].data_sha256
SERVED = replace(PRESETS["default"], augment=True, validation=0)


def test_it_serves_what_learnt_from_all_photographs_for_no_fewer_batches():
    free = {"seed": 7}, {"epochs": 32}, {"precision": "bfloat16"}, {"preset": "mine"}
    for change in ({}, *free):
        recipe = replace(SERVED, **change)
        threshold = measured_threshold(recipe, DATA)
        assert threshold.value == 0.399 and threshold.source == "out of fold"
        assert threshold.batches == 4000  # of those that it was measured with
        assert threshold.learnt_batches == recipe.batches
        assert "5 folds, 4000 batches, one view" in str(threshold)
    large = replace(PRESETS["large"], augment=True, validation=0)
    assert measured_threshold(large, DATA).value == 0.395


@pytest.mark.parametrize(
    "change",
    [
        {"augment": False},
        {"encoder": "vgg16"},
        {"filters": (8, 16, 32, 64)},
        {"epochs": 31},
        {"learning_rate": 1e-3},
        {"loss": "focal"},
        {"dropout": 0.1},
        {"patch_side": 96},
        {"batch_size": 32},
    ],
)
def test_everything_else_is_not_measured(change):
    threshold = measured_threshold(replace(SERVED, **change), DATA)
    assert threshold.value == 0.5 and str(threshold) == "not measured"


def test_other_data_is_not_measured():
    assert measured_threshold(SERVED, "0" * 64).value == 0.5
    assert measured_threshold(SERVED, "").value == 0.5


def test_the_large_preset_has_twice_the_filters_and_half_the_rate():
    small, large = PRESETS["default"], PRESETS["large"]
    assert large.filters == tuple(2 * count for count in small.filters)
    assert large.learning_rate == small.learning_rate / 2
    own = {"preset": "large", "filters": large.filters, "learning_rate": 3e-3}
    assert replace(small, **own) == large


def test_the_folds_of_one_recipe_are_one_family():
    folds = replace(SERVED, folds=5)
    family = recipes.family(recipes.as_record(folds))
    for change, same in (
        ({"fold": 3}, True),
        ({"seed": 1}, False),
        ({"folds": 4}, False),
    ):
        other = recipes.family(recipes.as_record(replace(folds, **change)))
        assert (other == family) == same


def test_what_a_threshold_says_of_itself():
    assert "4 photographs held out" in str(Threshold(0.4, "held out", 4))
    assert str(Threshold(0.4, "mean")) == "mean of the networks' own"
    assert str(Threshold()) == "not measured"
