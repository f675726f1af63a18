"""At which scale a photograph is shown."""

import numpy as np
import pytest

from retina.field_of_view import FieldOfView
from retina.resolution import find_scale


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
