"""At which scale a photograph is shown."""

import numpy as np
import pytest

from retina.field_of_view import FieldOfView
from retina.resolution import find_scale, is_clearer


def field_of(diameter, round=True):
    return FieldOfView(np.ones((2, 2), bool), diameter, 0.5, 0.5, round)


@pytest.mark.parametrize(
    "diameter, scale",
    [(1080, 0.5), (270, 2), (540, 1), (520, 1), (562, 1), (510, 540 / 510)],
)
def test_the_field_gets_the_diameter_that_was_learnt(diameter, scale):
    """But within 5 % nothing is resampled; that would only blur."""
    assert find_scale(field_of(diameter), 540) == pytest.approx(scale)


def test_what_shows_no_round_field_is_never_enlarged():
    assert find_scale(field_of(270, round=False), 540) == 1
    assert find_scale(field_of(1080, round=False), 540) == 0.5


@pytest.mark.parametrize("unsure, clearer", [(0.273, True), (0.276, False)])
def test_clearly_more_certain_is_more_than_a_finer_scale_brings(unsure, clearer):
    """Of a map of one probability the uncertainty is what it lacks to 1. By itself 0.3
    falls to 0.3 / 1.4 ** 0.2 = 0.2805; 2 % less is 0.2749."""
    coarser, finer = np.full((4, 4), 0.7), np.full((6, 6), 1 - unsure)
    assert is_clearer(finer, coarser, 1.4) == clearer
