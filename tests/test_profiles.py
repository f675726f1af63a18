"""Widths across vessels that are drawn, blurred and reduced."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from retina import datasets, networks, prediction, profiles

SIDE, FINE = 96, 8  # pixels, and parts of each in which vessels are drawn


@dataclass
class Line:
    points: np.ndarray
    widths: np.ndarray


def draw(width, *, blur=0.8, noise=0.0, centre=47.3, tilt=0.3, reflex=0.0, power=0.0):
    """A straight vessel: green channel, vessels as drawn by hand, centre line."""
    places = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    rows, columns = places[:, None], places
    across = (columns - centre - tilt * (rows - SIDE / 2)) / np.hypot(1, tilt)
    vessel = np.abs(across) < width / 2
    thickness = np.clip(1 - (2 * across / width) ** 2, 0, 1) ** power  # 0.5 is round
    dark = 0.3 * vessel * thickness * (1 - reflex * (np.abs(across) < width / 6))
    green = 120 * ndimage.gaussian_filter(1 - dark, blur * FINE)
    green = green.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    green = green + np.random.default_rng(0).normal(0, 1, green.shape) * noise
    vessels = vessel.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3)) > 0.5
    down = np.arange(10.0, SIDE - 10)
    points = np.stack([down, centre + tilt * (down - SIDE / 2)], axis=1)
    return green, vessels, Line(points, np.full(len(points), width * 1.2))


def measure(green, vessels, *lines, field=None):
    field = np.ones(vessels.shape, bool) if field is None else field
    return profiles.measure_profiles(green, vessels, field, lines)


@pytest.mark.parametrize("blur", [0.4, 0.8, 1.2])
@pytest.mark.parametrize("width", [3.3, 5.0, 9.0])
def test_a_width_is_the_same_however_blurred_and_however_it_was_drawn(width, blur):
    green, vessels, line = draw(width, blur=blur, noise=0.3)
    for drawn, bits in ((0.8, 8), (1.0, 0), (1.5, 16)):
        other = Line(line.points, np.full(len(line.points), drawn * width))
        (profile,) = measure(green * 2.0 ** (bits - 8), vessels, other)
        values, reasons = profiles.summarise_profiles([profile])
        assert values["profile_width"] == pytest.approx(width, rel=0.02)
        assert values["profile_share"] == 1 and not reasons


@pytest.mark.parametrize("blur", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("width", [5.0, 9.0])
def test_a_round_vessel_reads_the_same_share_of_its_diameter(width, blur):
    (profile,) = measure(*draw(width, blur=blur, power=0.5))
    assert profile.widths == pytest.approx(0.82 * width, rel=0.015)


@pytest.mark.parametrize(
    "width, changes, why",
    [
        (2.5, {}, "thinner than 3 pixels, or than 2.5 times the blur"),
        (1.5, {}, "thinner than 3 pixels, or than 2.5 times the blur"),
        (4.0, {"blur": 2.0}, "thinner than 3 pixels, or than 2.5 times the blur"),
        (6.0, {"noise": 20.0}, "too faint, or without clear edges"),
        (9.0, {"reflex": 0.8}, "a bright reflex along the vessel"),
    ],
)
def test_what_breaks_a_fit_gives_no_width_but_a_reason(width, changes, why):
    green, vessels, line = draw(width, **changes)
    values, reasons = profiles.summarise_profiles(measure(green, vessels, line))
    assert values == {"profile_width": None, "profile_share": 0}
    assert reasons == {"profile_width": why}


def test_a_dark_place_gives_none():
    green, vessels, line = draw(6.0)
    green[:40] *= 0.2
    (profile,) = measure(green, vessels, line)
    assert (profile.causes[:20] == profiles.DARK).all()
    assert np.isnan(profile.widths[:20]).all()
    assert profile.widths[50:] == pytest.approx(6.0, rel=0.02)


def test_a_place_that_is_unlike_the_rest_of_the_vessel_gives_none():
    green, vessels, line = draw(6.0)
    wide, _, _ = draw(12.0)
    green[60:70] = wide[60:70]
    (profile,) = measure(green, vessels, line)
    assert np.isnan(profile.widths[52:58]).all()
    assert profile.widths[:40] == pytest.approx(6.0, rel=0.02)


def test_the_blur_of_the_whole_photograph_serves_its_parts():
    """A bar of 3 blurs: taken for sharp, it would be 11 % wider, as at half depth."""
    green, vessels, line = draw(3.6, blur=1.2)
    field = np.ones(vessels.shape, bool)
    (own,) = profiles.measure_profiles(green, vessels, field, [line])
    assert own.blur == pytest.approx(np.hypot(1.2, 12**-0.5), rel=0.03)  # and a pixel's
    (same,) = profiles.measure_profiles(green, vessels, field, [line], own.blur)
    assert np.array_equal(own.widths, same.widths, equal_nan=True)
    (sharp,) = profiles.measure_profiles(green, vessels, field, [line], 0.4)
    assert np.nanmean(sharp.widths) > 1.05 * np.nanmean(own.widths)


def test_where_the_map_has_no_width_there_is_none():
    green, vessels, line = draw(6.0)
    line.widths[30:40] = np.nan
    (profile,) = measure(green, vessels, line)
    values, _ = profiles.summarise_profiles([profile])
    assert (profile.causes[30:40] == profiles.CLOSE).all()
    assert values["profile_share"] == pytest.approx(1 - 10 / len(line.points))


def test_a_neighbour_does_not_count_and_one_too_near_gives_none():
    green, vessels, line = draw(5.0)
    for centre, measured in ((47.3 + 9.5, True), (47.3 + 6.5, False)):
        other_green, other_vessels, other = draw(5.0, centre=centre)
        both = np.minimum(green, other_green), vessels | other_vessels
        profile, _ = measure(*both, line, other)
        if measured:
            assert np.nanmean(profile.widths) == pytest.approx(5.0, rel=0.03)
        else:
            assert np.isnan(profile.widths).all()


def test_a_vessel_along_the_rim_has_none():
    """In the first six columns of the picture, and along the rim of a field."""
    green, vessels, line = draw(6.0, tilt=0.0, centre=3.0)
    (profile,) = measure(green, vessels, line)
    assert (profile.causes == profiles.CLOSE).all()
    green, vessels, line = draw(6.0, tilt=0.0, centre=47.3)
    _, columns = np.indices(vessels.shape)
    for rim, measured in ((42, True), (44, False), (47, False)):
        field = columns >= rim
        (profile,) = measure(green, vessels & field, line, field=field)
        assert np.isnan(profile.widths).all() != measured
    assert profile.causes[0] == profiles.CLOSE


def test_nothing_has_no_width():
    assert measure(np.ones((9, 9)), np.zeros((9, 9), bool)) == []
    values, reasons = profiles.summarise_profiles([])
    assert set(values.values()) == {None} and set(reasons.values()) == {"no vessels"}


def test_one_eye_at_two_sizes_has_the_same_widths():
    from benchmarks import widths

    rng = np.random.default_rng(0)
    large, eye, vessels = widths.draw_eye(100, 5, rng=rng)
    small, same = (
        np.concatenate(
            widths.widths_of_eye(
                widths.take(large, 100 * factor, rng=rng), eye, vessels, factor
            )
        )
        for factor in (3, 5)
    )
    true = np.concatenate([vessel["widths"] for vessel in vessels])
    both = ~np.isnan(small + same)
    assert both.sum() > 200
    assert small[both].mean() == pytest.approx(same[both].mean(), rel=0.03)
    assert same[both].mean() == pytest.approx(true[both].mean(), rel=0.1)


def test_a_row_of_the_table_compares_points_that_both_sizes_have():
    from benchmarks import widths

    table = np.array([[2.0, 2.2, 2.0], [2.0, np.nan, 2.4], [2.0, 2.0, 2.0]])
    row = widths.size_row(table, [True, True], 10.0).split()
    assert row == ["21.0", "+5.0", "%", "2", "21.3", "+0.0", "%", "3", "1.067"]


def test_a_map_that_is_the_label_has_its_widths(phantoms, monkeypatch):
    from benchmarks import widths

    case = datasets.list_cases(phantoms, "training")[0]
    label = datasets.read_label(case, "1st_manual")
    halved = np.where(np.arange(label.shape[1]) < label.shape[1] / 2, 0.7, 0.4) * label
    mapped = SimpleNamespace(probability=halved)
    monkeypatch.setattr(prediction, "predict_photograph", lambda *_: mapped)
    network = SimpleNamespace(record=networks.Record())
    whole, half = widths.case_widths(case, network, [0.3, 0.5])
    assert whole.shape == half.shape and len(whole) > 100
    assert np.array_equal(whole[:, 0], whole[:, 2])  # found everywhere, as wide
    assert widths.percent(whole, 2, 0).strip() == "+0.0 %"
    found = ~np.isnan(half[:, 2])
    assert 0.2 < found.mean() < 0.8
    assert half[found, 2] == pytest.approx(half[found, 0], abs=0.5)


def test_a_line_beside_a_vessel_is_not_of_it():
    from benchmarks import widths

    lines = [SimpleNamespace(points=np.array([[5.0, 0.0], [5.0, 1.0]]))]
    points = np.array([[5.0, 0.0], [6.0, 1.0], [8.0, 1.0]])
    near = widths.widths_nearby(points, np.full(3, 4.0), lines, [np.array([3.0, 2.0])])
    assert np.array_equal(near, [3.0, 2.0, np.nan], equal_nan=True)
