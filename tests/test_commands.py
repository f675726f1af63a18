"""What options take, and what is said of anything else."""

import argparse

import pytest

from retina.commands import above_zero, fraction, positive, whole


@pytest.mark.parametrize(
    "read, text, value",
    [(whole, "0", 0), (positive, "1", 1), (fraction, "0.9", 0.9), (above_zero, "2", 2)],
)
def test_what_is_in_range_is_taken(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    "read, texts, expected",
    [
        (whole, ["-1", "1.5", "many"], "a whole number from 0"),
        (positive, ["0", "1.5", "many"], "a whole number from 1"),
        (fraction, ["-0.1", "1", "nan", "much"], "0 or more, below 1"),
        (above_zero, ["0", "inf", "nan", "much"], "a number above 0"),
    ],
)
def test_anything_else_is_told_with_what_was_expected(read, texts, expected):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            read(text)
        assert str(refused.value) == f"expected {expected}, got {text}"
