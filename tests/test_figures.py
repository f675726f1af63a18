"""Pictures show what was measured, legibly whatever the photograph's size."""

import math

import numpy as np
import pytest
from PIL import Image

from retina import figures
from retina.morphometry import Measures, Segment, measure_vessels

ROWS, COLUMNS = np.indices((160, 240))


def measure_all_of(vessels):
    """Measures vessels (H, W) in a field that is the whole picture."""
    return measure_vessels(vessels, np.ones_like(vessels))


def draw_line(start, stop, width):
    """A vessel (H, W) with round ends between two places (row, column)."""
    start, step = np.array(start), np.subtract(stop, start)
    down, right = ROWS - start[0], COLUMNS - start[1]
    along = np.clip((down * step[0] + right * step[1]) / (step @ step), 0, 1)
    away = np.hypot(down - along * step[0], right - along * step[1])
    return away <= width / 2


def fork():
    """A fork of 60 degrees whose trunk is 9 pixels wide, its daughters 4."""
    vessels = draw_line((80, 20), (80, 110), 8)
    for side in (-1, 1):
        tip = (80 + side * 100 * math.sin(math.pi / 6), 110 + 100 * math.cos(0.5236))
        vessels |= draw_line((80, 110), tip, 4)
    return vessels


def draw_figure(kind, vessels, scale=None):
    """The figure, its axes and the measures that it shows."""
    measures = measure_all_of(vessels)
    figure, axes = figures.begin(np.ones((16, 24)), vessels.shape)
    figures.KINDS[kind](figure, axes, measures, scale)
    return figure, axes, measures


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def along_the_middle(shape):
    """What is measured of one vessel from the left to the right."""
    points = np.stack([np.full(1000, shape[0] / 2), np.linspace(0, shape[1], 1000)], 1)
    segment = Segment(points, np.full(1000, 5.0), ("rim", "rim"))
    values = {"bend_scale": 15.0}
    return Measures(values, {}, [segment], [], [], np.zeros(shape, bool))


@pytest.mark.parametrize("kind", ["widths", "segments"])
@pytest.mark.parametrize("shape", [(450, 600), (3696, 4928)])
def test_a_line_is_as_thick_on_a_photograph_of_any_size(kind, shape, tmp_path):
    path, grey = tmp_path / "x.jpg", np.full((45, 60), 0.5)
    figures.draw(kind, path, grey, shape, along_the_middle(shape), scale=None)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape == (1200 + figures.CAPTION, 1600, 3)
    beside = pixels[100, 400]
    assert np.ptp(beside) == 0  # the photograph, in grey
    away = np.abs(pixels[560:640, 400] - beside).max(axis=1)
    assert 3 <= np.count_nonzero(away > 60) <= 5


def test_circles_lie_where_they_are_said_to_lie(tmp_path):
    """Its left rim is in the middle of the left half."""
    path, shape = tmp_path / "x.jpg", (400, 400)
    measures = measure_all_of(np.zeros(shape, bool))
    black, circles = np.zeros((40, 40)), [(200, 250, 150)]
    figures.draw("segments", path, black, shape, measures, None, circles)
    bright = np.flatnonzero(np.asarray(Image.open(path).convert("L"))[800, :1000] > 90)
    assert len(bright) and bright.min() >= 398 and bright.max() <= 405


@pytest.mark.parametrize("kind", figures.KINDS)
@pytest.mark.parametrize("shape", [(3, 900), (1, 1)])
def test_where_nothing_was_traced_the_photograph_is_drawn(kind, shape):
    figure, axes, _ = draw_figure(kind, np.zeros(shape, bool))
    assert len(axes.images) == 1 and figure.get_figwidth() <= 1600 / figures.DPI


@pytest.mark.parametrize("scale, unit", [(None, "pixels"), (5.0, "micrometres")])
def test_wide_vessels_differ_in_colour_from_thin_ones(scale, unit):
    figure, axes, measures = draw_figure("widths", fork(), scale)
    bare, lines = axes.collections
    widths = np.asarray(lines.get_array())
    places = np.array([step.mean(axis=0) for step in lines.get_segments()])
    trunk = places[:, 0] < 100
    factor = scale or 1
    assert np.median(widths[trunk]) == pytest.approx(9 * factor, rel=0.06)
    assert np.median(widths[~trunk]) == pytest.approx(4 * factor, rel=0.06)
    assert len(bare.get_segments()) > 20  # around the branch point
    assert unit in figure.axes[1].get_xlabel()
    thin, wide = lines.to_rgba([4 * factor, 9 * factor])
    assert wide[0] > 0.9 > 0.5 > thin[0]


def test_each_segment_has_its_number_beside_it():
    figure, axes, measures = draw_figure("segments", fork())
    assert len(measures.segments) == 3
    texts = sorted(axes.texts, key=lambda text: text.get_text())
    assert [text.get_text() for text in texts] == ["1", "2", "3"]
    for text, segment in zip(texts, measures.segments, strict=True):
        away = [
            np.hypot(*(other.points[:, ::-1] - text.get_position()).T).min()
            for other in measures.segments
        ]
        own = np.hypot(*(segment.points[:, ::-1] - text.get_position()).T).min()
        assert own == min(away) and 0.5 < own < 5  # 30 pixels of the picture at most
    assert legend_of(figure) == ["3 segments, as in segments.csv"]


def test_numbers_stand_clear_of_each_other_and_of_the_lines():
    """Twelve short segments side by side, where numbers just fit."""
    vessels = np.zeros((160, 240), bool)
    for column in range(60, 180, 10):
        vessels[70:90, column : column + 3] = True
    figure, axes, _ = draw_figure("segments", vessels)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 12
    for i, box in enumerate(boxes):
        assert not [j for j in range(i) if boxes[j].overlaps(box)]
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1


def test_angles_are_drawn_and_written_between_the_daughters():
    figure, axes, measures = draw_figure("branch_points", fork())
    (text,) = axes.texts
    assert text.get_text() == f"{measures.values['mean_branching_angle']:.0f}°"
    assert 57 <= int(text.get_text()[:-1]) <= 63
    column, row = text.get_position()
    assert column > 112 and abs(row - 80) < 0.4 * (column - 110)
    arms = axes.collections[1].get_segments()
    bearings = sorted(
        math.degrees(math.atan2(*(arm[1] - arm[0])[::-1])) for arm in arms
    )
    assert bearings == [pytest.approx(-30, abs=3), pytest.approx(30, abs=3)]
    assert legend_of(figure)[0] == "1 angle between daughters"
    assert legend_of(figure)[-1] == "3 free ends"


def test_branch_points_without_an_angle_say_why():
    crossing = draw_line((20, 20), (140, 140), 4) | draw_line((140, 20), (20, 140), 4)
    star = crossing | draw_line((80, 80), (80, 200), 4)
    for vessels, told in (
        (crossing, "1 branch point without angle: vessels cross"),
        (star, "1 branch point without angle: over four segments"),
    ):
        for kind in ("branch_points", "left_out"):
            assert told in legend_of(draw_figure(kind, vessels)[0])


def test_what_is_left_out_is_counted():
    """A bar with a bump, to the frame; a short bar; and a blot."""
    vessels = draw_line((80, -20), (80, 180), 8)
    vessels[74:77, 100:102] = True
    vessels |= draw_line((30, 100), (30, 110), 3)
    vessels[130:136, 100:106] = True
    told = legend_of(draw_figure("left_out", vessels)[0])
    assert "1 segment under 15 px: no tortuosity" in told
    assert "1 speck, too short to trace" in told
    assert "1 end cut off by the rim" in told
    (width,) = (line for line in told if line.startswith("no width"))
    assert 1 <= int(width.split()[-1][:-1]) <= 20
