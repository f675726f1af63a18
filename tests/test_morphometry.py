"""Vessels whose width, length, bend and fork can be worked out by hand."""

import math

import numpy as np
import pytest
from scipy import ndimage

from retina import morphometry
from retina.morphometry import measure_vessels

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SIDE = 160
ROWS, COLUMNS = np.indices((SIDE, SIDE))


def measure_all_of(vessels):
    """Measures vessels (H, W) in a field that is the whole picture."""
    return measure_vessels(vessels, np.ones_like(vessels))


def draw_bar(angle, width, length, centre=(80.3, 79.6)):
    """A straight vessel with round ends; `angle` in degrees, 0 along columns."""
    step = np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))])
    down, right = ROWS - centre[0], COLUMNS - centre[1]
    along = np.clip(down * step[0] + right * step[1], -length / 2, length / 2)
    return np.hypot(down - along * step[0], right - along * step[1]) <= width / 2


def draw_ray(angle, width, length):
    """A straight vessel that starts in the middle of the picture."""
    radians = math.radians(angle)
    centre = (
        80 + length / 2 * math.sin(radians),
        80 + length / 2 * math.cos(radians),
    )
    return draw_bar(angle, width, length, centre)


def draw_ring(radius, width):
    return np.abs(np.hypot(ROWS - 80, COLUMNS - 80) - radius) <= width / 2


@pytest.mark.parametrize("angle", [0, 10, 27, 45, 63, 90, 135, 171])
@pytest.mark.parametrize("width", [2.0, 3.5, 7.0])
def test_a_bar_has_its_width_and_length_in_every_direction(angle, width):
    # A bar along the raster is whole pixels wide: 2, 3 or 4 are all there is of 3.5.
    measures = measure_all_of(draw_bar(angle, width, 100))
    assert measures.values["segments"] == 1
    assert measures.values["total_length"] == pytest.approx(100, rel=0.02)
    tolerance = 0.5 if angle % 90 == 0 else 0.3
    assert measures.values["mean_width"] == pytest.approx(width, abs=tolerance)
    assert measures.values["arc_over_chord"] == pytest.approx(1, abs=0.005)
    assert measures.values["squared_curvature"] < 1e-4  # radius of 100 and more
    assert measures.values["end_points"] == 2


def test_a_half_circle_has_the_tortuosity_and_curvature_of_its_radius():
    half = draw_ring(40, 4) & (ROWS <= 80)
    for column in (40, 120):  # round ends
        half |= np.hypot(ROWS - 80, COLUMNS - column) <= 2
    field_of_view = np.ones_like(half)
    (segment,) = measure_vessels(half, field_of_view).segments
    values, reasons = morphometry.measure_segment(segment, 15)
    assert values["arc_over_chord"] == pytest.approx(math.pi / 2, rel=0.03)
    assert values["squared_curvature"] == pytest.approx(1 / 40**2, rel=0.1)
    assert values["mean_width"] == pytest.approx(4, abs=0.3)
    assert reasons == {}


def test_a_ring_has_a_length_and_a_width_but_no_chord():
    measures = measure_all_of(draw_ring(40, 5))
    assert measures.values["total_length"] == pytest.approx(80 * math.pi, rel=0.02)
    assert measures.values["mean_width"] == pytest.approx(5, abs=0.2)
    assert measures.values["end_points"] == measures.values["branch_points"] == 0
    assert measures.values["arc_over_chord"] is None
    assert measures.values["total_curvature"] == pytest.approx(math.tau, rel=0.01)
    (segment,) = measures.segments
    assert segment.ends == ("loop", "loop")
    assert (
        morphometry.measure_segment(segment, 15)[1]["arc_over_chord"]
        == "the ends of all segments meet"
    )


def test_a_square_turns_once_wherever_its_line_begins():
    corners = [(40, 40), (40, 120), (120, 120), (120, 40), (40, 40)]
    for turn in range(4):
        square = np.rot90(draw_line(corners, 4), turn)
        values = measure_all_of(square).values
        assert values["total_curvature"] == pytest.approx(math.tau, rel=0.05)


@pytest.mark.parametrize("degrees", [50, 80, 110])
def test_a_fork_has_the_angle_between_its_daughters(degrees):
    fork = draw_ray(200, 5, 60)
    for side in (-1, 1):
        fork |= draw_ray(20 + side * degrees / 2, 4, 60)
    measures = measure_all_of(fork)
    assert measures.values["branch_points"] == 1
    assert measures.values["segments"] == measures.values["end_points"] == 3
    assert measures.values["mean_branching_angle"] == pytest.approx(degrees, abs=6)
    (point,) = measures.branch_points
    assert math.dist((point.row, point.column), (80, 80)) < 4


def test_lines_have_the_angle_between_them():
    lines = [np.arange(30)[:, None] * np.array(step) for step in [(-1, 0), (1, 1)]]
    lines.append(np.arange(30)[:, None] * np.array((1, -1)))
    assert morphometry.branching_angle(lines, 4) == pytest.approx(90)
    assert math.isnan(morphometry.branching_angle(lines[:2], 4))
    assert math.isnan(morphometry.branching_angle([lines[0][:8], *lines[1:]], 4))


def test_a_crossing_is_one_branch_point_without_an_angle():
    measures = measure_all_of(draw_bar(20, 6, 100) | draw_bar(100, 4, 100))
    assert [point.segments for point in measures.branch_points] == [4]
    assert measures.values["mean_branching_angle"] is None
    assert "three segments" in measures.reasons["mean_branching_angle"]


def test_distances_are_those_of_scipy():
    area = np.random.default_rng(0).random((150, 80)) < 0.02
    expected = ndimage.distance_transform_edt(~area)
    np.testing.assert_array_equal(morphometry.distance_to(area), expected)


def test_bumps_and_square_ends_are_no_branches_and_pinholes_no_loops():
    bar = np.zeros((SIDE, SIDE), bool)
    bar[70:79, 30:130] = True
    bar[66:70, 80:82] = True  # a bump
    bar[74, 100:102] = False  # a pinhole
    bar[20:24, 20:24] = True  # a blot
    measures = measure_all_of(bar)
    assert measures.values["segments"] == 1
    assert measures.values["branch_points"] == 0
    left_out = np.concatenate(measures.spurs)
    assert [67, 80] in left_out.tolist() and not (left_out[:, 1] > 81).any()
    assert measures.specks.sum() == 16 and measures.specks[20:24, 20:24].all()


def test_a_twig_longer_than_its_vessel_is_wide_is_a_branch():
    bar = draw_bar(0, 6, 100)
    bar[60:80, 80:82] = True
    assert measure_all_of(bar).values["segments"] == 3


def test_widths_stop_short_of_branch_points_and_ends():
    bar = draw_bar(30, 6, 100)
    (segment,) = measure_all_of(bar).segments
    known = ~np.isnan(segment.widths)
    assert not known[:5].any() and not known[-5:].any() and known[10:-10].all()


def test_an_end_at_the_rim_is_no_end_point():
    bar = draw_bar(0, 4, 300)
    field_of_view = np.hypot(ROWS - 80, COLUMNS - 80) < 60
    measures = measure_vessels(bar, field_of_view)
    assert measures.segments[0].ends == ("rim", "rim")
    assert measures.values["end_points"] == 0
    assert measures.values["total_length"] == pytest.approx(119, abs=3)


def test_density_is_the_share_of_the_field():
    vessels = np.zeros((40, 50), bool)
    vessels[18:20] = True  # 2 rows of 50
    field_of_view = np.zeros((40, 50), bool)
    field_of_view[10:30, 5:45] = True  # 20 x 40, of which 2 x 40 are vessels
    values = measure_vessels(vessels, field_of_view).values
    assert values["vessel_density"] == pytest.approx(0.1)
    assert (values["vessel_area"], values["region_area"]) == (80, 800)
    measures = measure_vessels(vessels, np.zeros((40, 50), bool))
    assert measures.values["vessel_density"] is None
    assert measures.reasons["vessel_density"] == "the field of view is empty"


def test_boxes_cover_a_square_in_two_dimensions_and_a_line_in_one():
    square = np.argwhere(np.ones((512, 512), bool))  # its rim counts little
    line = square[square[:, 0] == 0]
    sides = (4, 8, 16, 32)
    assert morphometry.box_dimension(square, sides) == pytest.approx(2, abs=0.08)
    assert morphometry.box_dimension(line, sides) == pytest.approx(1, abs=0.03)


def test_the_range_of_boxes_follows_the_field():
    values = measure_all_of(draw_bar(30, 4, 100)).values
    assert values["largest_box"] == SIDE / 4
    assert values["smallest_box"] == pytest.approx(SIDE / 2**5.5)  # 160 / 64 is < 3
    assert values["fractal_dimension"] == pytest.approx(1, abs=0.1)
    small = np.zeros((20, 20), bool)
    small[10] = True
    measures = measure_all_of(small)
    assert measures.values["fractal_dimension"] is None
    assert "too small" in measures.reasons["fractal_dimension"]


def one_pixel():
    vessels = np.zeros((SIDE, SIDE), bool)
    vessels[5, 5] = True
    return vessels


@pytest.mark.parametrize(
    "vessels",
    [np.zeros((SIDE, SIDE), bool), one_pixel(), np.hypot(ROWS - 80, COLUMNS - 80) < 9],
    ids=["nothing", "a pixel", "a blob"],
)
def test_no_vessels_give_no_values_but_reasons(vessels):
    measures = measure_all_of(vessels)
    counts = ("total_length", "segments", "branch_points", "end_points", "components")
    of_pixels = ("region_area", "vessel_density", "vessel_area")
    of_pixels += ("mean_distance", "max_distance")
    for name, value in measures.values.items():
        if name in (*counts, "branching_angles"):
            assert value == 0
        elif name not in (*of_pixels, "bend_scale"):
            assert value is None and measures.reasons[name]
    assert measures.values["vessel_density"] == vessels.mean()
    assert measures.values["vessel_area"] == vessels.sum()
    assert ("mean_distance" in measures.reasons) == (not vessels.any())
    assert measures.reasons["fractal_dimension"] == "no vessels that can be traced"


def test_every_picture_of_noise_is_measured():
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.6, 0.98, 1.0):
        vessels = rng.random((64, 64)) < share
        measures = measure_all_of(vessels)
        missing = {name for name, value in measures.values.items() if value is None}
        assert missing == set(measures.reasons)
        for segment in measures.segments:
            values, reasons = morphometry.measure_segment(segment, 15)
            assert {n for n, value in values.items() if value is None} == set(reasons)
            assert all(np.isfinite(v) for v in values.values() if v is not None)


def test_a_short_segment_says_why_it_has_no_bend_and_no_width():
    (segment,) = measure_all_of(draw_bar(30, 5, 8)).segments
    values, reasons = morphometry.measure_segment(segment, 15)
    assert values["arc_over_chord"] is values["mean_width"] is None
    assert reasons["arc_over_chord"] == "no segment of 15 pixels"
    assert reasons["mean_width"] == "too short between branch points and ends"


def draw_line(corners, width):
    """A vessel with round ends along straight lines between corners (row, column)."""
    vessels = np.zeros((SIDE, SIDE), bool)
    for (row, column), (last_row, last_column) in zip(
        corners, corners[1:], strict=False
    ):
        down, right = last_row - row, last_column - column
        angle = math.degrees(math.atan2(down, right))
        centre = ((row + last_row) / 2, (column + last_column) / 2)
        vessels |= draw_bar(angle, width, math.hypot(down, right), centre)
    return vessels


def test_a_sharp_bend_keeps_its_corner_and_has_no_width_there():
    """Two legs of 60 pixels that meet at 60 degrees: the ends are 60 pixels apart."""
    tip = (80 - 60 * math.sin(math.pi / 3), 80.0)
    measures = measure_all_of(draw_line([(80, 50), tip, (80, 110)], 8))
    assert measures.values["segments"] == 1
    assert measures.values["total_length"] == pytest.approx(120, rel=0.015)
    assert measures.values["arc_over_chord"] == pytest.approx(2, rel=0.02)
    assert measures.values["mean_width"] == pytest.approx(8, rel=0.01)
    (segment,) = measures.segments
    away = np.hypot(*(segment.points - tip).T)
    assert away.min() < 1 and np.isnan(segment.widths[away < 7]).all()


def test_a_round_bend_is_no_corner():
    half = draw_ring(20, 8) & (ROWS <= 80)
    for column in (60, 100):  # round ends
        half |= np.hypot(ROWS - 80, COLUMNS - column) <= 4
    (segment,) = measure_all_of(half).segments
    assert segment.length == pytest.approx(20 * math.pi, rel=0.03)


def test_a_branch_point_lies_where_its_vessels_point():
    fork = draw_ray(180, 6, 70) | draw_ray(-25, 6, 70) | draw_ray(25, 6, 70)
    (point,) = measure_all_of(fork).branch_points
    assert math.dist((point.row, point.column), (80, 80)) < 1
    assert measure_all_of(fork).values["total_length"] == pytest.approx(210, rel=0.01)


def test_four_segments_have_an_angle_unless_they_cross():
    spread = [180, -25, 25, 90]  # a fork and a twig at a right angle
    fork = np.logical_or.reduce([draw_ray(angle, 5, 60) for angle in spread])
    (point,) = measure_all_of(fork).branch_points
    assert (point.segments, point.angle) == (4, pytest.approx(50, abs=3))
    (point,) = measure_all_of(draw_bar(0, 5, 120) | draw_bar(50, 5, 120)).branch_points
    assert point.segments == 4 and math.isnan(point.angle)


def test_a_loop_counts_in_no_sum_over_chords():
    bar = draw_bar(0, 4, 100, (12, 80))
    both = measure_all_of(bar | draw_ring(40, 4)).values
    alone = measure_all_of(bar).values
    for name in ("arc_over_chord", "curvature_over_chord"):
        assert both[name] == pytest.approx(alone[name], abs=1e-9)
    assert both["total_curvature"] > alone["total_curvature"] + 6  # 2 pi of the ring
    assert both["components"] == 2


def test_hart_and_grisan_of_a_wave():
    """Two half circles of radius 30, one up and one down: 2 turns of pi radians."""
    half = np.linspace(0, math.pi, 95)
    up = np.stack([-30 * np.sin(half), -30 * np.cos(half)], axis=1)
    points = np.concatenate([up, (up * (-1, 1) + (0, 60))[1:]])
    points = morphometry.space_evenly(points)
    segment = morphometry.Segment(points, np.full(len(points), np.nan), ("end", "end"))
    values, reasons = morphometry.measure_segment(segment, 15)
    length, chord = 60 * math.pi, 120
    expected = {
        "arc_over_chord": math.pi / 2,
        "total_curvature": math.tau,
        "total_squared_curvature": length / 30**2,
        "mean_curvature": 1 / 30,
        "squared_curvature": 1 / 30**2,
        "curvature_over_chord": math.tau / chord,
        "squared_curvature_over_chord": length / 30**2 / chord,
        "tortuosity_density": 0.5 / length * 2 * (math.pi / 2 - 1),
        "inflections": 1,
    }
    assert set(reasons) == {"mean_width"}
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=0.08), name


def test_sparsity_is_the_distance_to_the_nearest_vessel():
    vessels = np.zeros((21, 40), bool)
    vessels[10] = True
    values = measure_all_of(vessels).values
    assert values["mean_distance"] == 5.5  # 1 to 10 on either side
    assert values["max_distance"] == 10
    assert values["vessel_area"] == 40


@pytest.mark.parametrize("angle", [0, 20, 45])
def test_a_line_has_one_dimension_whatever_its_direction(angle):
    values = measure_all_of(draw_bar(angle, 4, 130)).values
    assert values["fractal_dimension"] == pytest.approx(1, abs=0.03)


def test_a_part_of_a_field_is_measured_at_the_scale_of_the_whole():
    bar = draw_bar(0, 4, 150)
    part = np.zeros_like(bar)
    part[:, 40:120] = True
    values = measure_vessels(bar, part, 1200.0).values
    assert values["bend_scale"] == 40 and values["end_points"] == 0
    assert values["total_length"] == pytest.approx(80, abs=1)


def test_a_spiral_is_one_segment_of_its_length():
    turn = np.linspace(0, 6 * math.pi, 120)
    points = (12 + 3 * turn)[:, None] * np.stack([np.sin(turn), np.cos(turn)], axis=1)
    measures = measure_all_of(draw_line(points + 80, 4))
    length = np.hypot(*np.diff(points, axis=0).T).sum()
    assert measures.values["segments"] == 1
    assert measures.values["total_length"] == pytest.approx(length, rel=0.01)
    assert measures.values["total_curvature"] == pytest.approx(6 * math.pi, rel=0.05)
    assert measures.values["inflections"] == 0


@pytest.mark.parametrize("turn", [0, 30, 60, 90])
def test_a_twig_where_vessels_are_wide_together_is_no_spur(turn):
    """Longer than its vessel is wide, but not than the fork is."""
    spread = [(180, 60), (-25, 60), (25, 60), (90, 26)]
    rays = [draw_ray(angle + turn, 18, length) for angle, length in spread]
    measures = measure_all_of(np.logical_or.reduce(rays))
    assert measures.values["segments"] == 4
