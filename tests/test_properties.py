"""What must hold whatever the sizes, ties and names are; hypothesis looks for a case in
which it does not, the same cases every time."""

import os
import tempfile
from dataclasses import fields, replace
from functools import partial
from unittest import mock

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from test_maps import ROW

import augment
from retina import maps, metrics, tiling

tries = partial(settings, derandomize=True, deadline=None, database=None)


def noise(*shape, seed=0):
    """Values that differ from pixel to pixel, above 0."""
    return np.float32(0.05) + np.random.default_rng(seed).random(shape, np.float32)


# ---- tiles

SIDES = st.integers(1, 260)
TILES = st.integers(2, 6).flatmap(
    lambda side: st.tuples(
        st.just(32 * side), st.integers(1, side - 1).map((32).__mul__)
    )
)  # side and overlap


def part_of(length):
    """First and last + 1 of a stretch of a side, or all of it."""
    ends = st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)
    return st.just([0, length]) | ends.map(sorted)


@tries(max_examples=60)
@given(st.data(), SIDES, SIDES, TILES, st.integers(1, 4))
def test_tiles_give_the_image_back(data, height, width, tiles, batch_size):
    """Within the area, all of it; beyond it, where tiles reach, and 0 elsewhere."""
    image = noise(height, width, 3)
    top, bottom = data.draw(part_of(height))
    left, right = data.draw(part_of(width))
    shapes = set()

    def first_channel(batch):
        shapes.add(batch.shape)
        return batch[..., :1]

    probability = tiling.predict_tiled(
        first_channel,
        image,
        area=(top, bottom, left, right),
        tile_side=tiles[0],
        overlap=tiles[1],
        batch_size=batch_size,
    )
    assert probability.shape == (height, width) and probability.dtype == np.float32
    right_ones = np.isclose(probability, image[..., 0], atol=1e-6)
    assert right_ones[top:bottom, left:right].all()
    assert (right_ones | (probability == 0)).all()
    ((count, *sides, _),) = shapes  # one shape, traced once
    assert count == batch_size and max(sides) <= tiles[0]


@tries(max_examples=300)
@given(st.integers(-50, 50), st.integers(1, 3000), TILES)
def test_tiles_cover_a_side_evenly_and_waste_little_of_it(first, length, tiles):
    largest, overlap = tiles
    starts, side = tiling.lay_tiles(first, first + length, largest, overlap)
    assert side % 32 == 0 and side <= largest
    before, after = first - starts[0], starts[-1] + side - (first + length)
    assert min(before, after) >= tiling.MARGIN
    assert abs(before - after) <= 1  # neither end gets all that is too much
    steps = np.diff(starts)
    assert (steps <= side - overlap).all() and (steps > 0).all()
    assert (steps % 16 == 0).all()
    needed = length + 2 * tiling.MARGIN
    count = len(starts)  # one tile fewer, or as many shorter ones, would not do
    assert largest * (count - 1) - overlap * max(count - 2, 0) < needed
    assert (side - 32) * count - overlap * (count - 1) < needed


@tries(max_examples=100)
@given(st.integers(1, 3000), TILES)
def test_weights_of_all_tiles_add_up_to_one(length, tiles):
    starts, side = tiling.lay_tiles(0, length, *tiles)
    weights = tiling.tile_weights(starts, side, tiles[1])
    total = np.zeros(starts[-1] - starts[0] + side)
    for start, weight in zip(starts, weights, strict=True):
        total[start - starts[0] :][:side] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert weights.min() > 0


# ---- resampling

ARRAYS = st.builds(
    lambda height, width, planes, whole: (noise(height, width, *planes) * 200).astype(
        np.uint8 if whole else np.float32
    ),
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([(), (3,)]),
    st.booleans(),
)
LENGTHS = st.integers(1, 150)


@tries(max_examples=100)
@given(ARRAYS, LENGTHS, LENGTHS, st.integers(1, 3000))
def test_strip_by_strip_is_resampling(array, height, width, pixels_at_a_time):
    whole = tiling.resample(array, height, width)
    assert whole.shape == (height, width, *array.shape[2:])
    assert whole.dtype == np.float32
    with mock.patch.object(tiling, "PIXELS_AT_A_TIME", pixels_at_a_time):
        strips = tiling.resample(array, height, width)
    np.testing.assert_allclose(strips, whole, atol=2e-3)  # of 210


@tries(max_examples=60)
@given(ARRAYS, LENGTHS, LENGTHS)
def test_resampled_what_is_constant_stays_so(array, height, width):
    array = np.full_like(array, array.flat[0])
    constant = tiling.resample(array, height, width)
    np.testing.assert_allclose(constant, array.flat[0], rtol=1e-5)


@tries(max_examples=60)
@given(ARRAYS, st.floats(0.01, 4), st.integers(0, 9))
def test_at_any_scale_a_map_keeps_its_size_and_range(array, scale, seed):
    steps = np.atleast_3d(array > 100).astype(np.float32)  # a cubic filter overshoots
    small = tiling.show(steps, scale)[..., 0]
    probability = tiling.show_back([small], *steps.shape[:2])
    assert probability.shape == array.shape[:2] and probability.dtype == np.float32
    assert 0 <= probability.min() and probability.max() <= 1


# ---- patches

MOVES = [
    augment.flip_rows,
    augment.flip_columns,
    augment.quarter_turn,
    partial(augment.rotate, degrees=45),
    partial(augment.shear, degrees=15),
    partial(augment.shift, fraction=0.5),
    partial(augment.zoom, low=0.7, high=1.4),
]
COLOURS = [
    partial(augment.brightness, amount=0.3),
    partial(augment.contrast, amount=0.5),
    partial(augment.saturation, amount=0.9),
]
SEEDS = st.integers(0, 2**32)


def some(transforms):
    """Any of the transforms, each at most once, in any order, always applied."""
    some = st.lists(st.sampled_from(transforms), unique_by=id)
    return some.map(lambda chosen: [(1.0, transform) for transform in chosen])


def photograph(height, width):
    """Red is the label, green the row and blue the column, in 255ths; and the label."""
    label = noise(height // 5 + 1, width // 5 + 1) > 0.6
    label = np.kron(label, np.ones((5, 5), bool))[:height, :width]
    row, column = np.indices(label.shape)
    bands = np.stack([255 * label, row + 1, column + 1], axis=-1)
    return (bands / 255).astype(np.float32), label


def one_patch(height, width, side, seed, rim, geometric=(), photometric=()):
    image, label = photograph(height, width)
    corners = np.zeros(label.shape, bool)
    corners[:: height - 1, :: width - 1] = True
    patches = augment.PatchGenerator(
        [[(image, label, corners)]],
        inside_field=rim,
        augmentation=augment.Augmentation(tuple(geometric), tuple(photometric)),
        patch_side=side,
        batch_size=4,
        seed=seed,
    )
    patch, drawn = (each[:1] for each in patches[0])
    assert patch.shape == (1, side, side, 3) and drawn.shape == (1, side, side, 1)
    assert 0 <= patch.min() and patch.max() <= 1 and set(np.unique(drawn)) <= {0, 1}
    return patch[0], drawn[0, ..., 0] == 1


# Height and width of a photograph, side of a patch, seed, and whether patches lie at
# the photograph's corners, beyond which it is reflected.
PLACES = st.tuples(
    st.integers(24, 90),
    st.integers(24, 90),
    st.integers(4, 12).map((2).__mul__),
    SEEDS,
    st.booleans(),
)


@tries(max_examples=100)
@given(PLACES)
def test_without_augmentation_a_patch_is_a_window_of_the_photograph(place):
    patch, drawn = one_patch(*place)
    image, label = photograph(*place[:2])
    rows, columns = np.round(patch[..., 1:] * 255).astype(int).transpose(2, 0, 1) - 1
    np.testing.assert_array_equal(drawn, label[rows, columns])
    np.testing.assert_allclose(patch, image[rows, columns], atol=1e-6)
    for places in (rows, columns.T):
        assert (np.abs(np.diff(places, axis=0)) <= 1).all()
        assert (np.diff(places, axis=1) == 0).all()


@tries(max_examples=150)
@given(PLACES, some(MOVES))
def test_image_and_label_stay_aligned_and_no_fill_enters(place, moves):
    patch, drawn = one_patch(*place, moves)
    away_from_edges = np.abs(patch[..., 0] - 0.5) > 0.02
    np.testing.assert_array_equal(
        (patch[..., 0] > 0.5)[away_from_edges], drawn[away_from_edges]
    )
    assert patch[..., 1:].min() > 0.5 / 255


@tries(max_examples=100)
@given(PLACES, some(MOVES), some(COLOURS))
def test_colours_change_no_label(place, moves, colours):
    _, plain = one_patch(*place, moves)
    _, drawn = one_patch(*place, moves, colours)
    np.testing.assert_array_equal(drawn, plain)


# ---- ranking

VALUES = (
    st.sampled_from([0.0, 0.5, 1.0])  # nearly all are ties
    | st.integers(0, 65535).map(lambda value: value / 65535)
    | st.floats(0, 1, width=32)
)
PIXELS = st.lists(st.tuples(st.booleans(), VALUES), min_size=2, max_size=60)


def both_classes(pixels, precision=np.float64):
    label, probability = zip(*pixels, strict=True)
    assume(len(set(label)) == 2)
    return np.array(label), np.array(probability, precision)


@tries(max_examples=300)
@given(PIXELS, st.sampled_from([np.float32, np.float64]))
def test_areas_are_those_of_scikit_learn(pixels, precision):
    label, probability = both_classes(pixels, precision)
    expected = {
        "auc_roc": roc_auc_score(label, probability),
        "auc_pr": average_precision_score(label, probability),
    }
    scores = metrics.ranking_scores(label, probability)
    assert scores.keys() == expected.keys()
    for name, area in expected.items():
        assert abs(scores[name] - area) < 1e-12


@tries(max_examples=150)
@given(PIXELS, st.data())
def test_pixels_of_one_value_count_by_their_number(pixels, data):
    """As weights do in scikit-learn."""
    label, probability = both_classes(pixels)
    many = data.draw(
        st.lists(st.integers(1, 9), min_size=len(label), max_size=len(label))
    )
    repeated = label.repeat(many), probability.repeat(many)
    area = roc_auc_score(label, probability, sample_weight=many)
    assert abs(metrics.auc_roc(*repeated) - area) < 1e-12
    area = average_precision_score(label, probability, sample_weight=many)
    assert abs(metrics.auc_pr(*repeated) - area) < 1e-12


@tries(max_examples=200)
@given(PIXELS, st.integers(2, 40))
def test_curves_are_those_of_scikit_learn_thinned(pixels, points):
    label, probability = both_classes(pixels)
    curve = roc_curve(label, probability, drop_intermediate=False)[:2]
    precision, recall, _ = precision_recall_curve(label, probability)
    curves = {
        metrics.roc_points: curve,
        metrics.pr_points: (recall[-2::-1], precision[-2::-1]),  # no point without hits
    }
    for draw, (x, y) in curves.items():
        whole = set(zip(x, y, strict=True))
        thinned = list(zip(*draw(label, probability, points), strict=True))
        assert len(thinned) <= points
        assert all(
            any(np.allclose(point, known, atol=1e-12) for known in whole)
            for point in thinned
        )
        np.testing.assert_allclose(thinned[0], (x[0], y[0]), atol=1e-12)
        np.testing.assert_allclose(thinned[-1], (x[-1], y[-1]), atol=1e-12)
        assert (np.diff(np.array(thinned)[:, 0]) >= 0).all()


@tries(max_examples=150)
@given(PIXELS)
def test_the_best_threshold_is_the_highest_of_the_best(pixels):
    label, probability = both_classes(pixels)
    dice = {
        value: metrics.threshold_scores(label, probability >= value)["dice"]
        for value in probability
    }
    best = max(dice, key=lambda value: (round(dice[value], 12), value))
    assert metrics.best_threshold(label, probability) == best


# ---- rows of maps

# All that a file system may give, and what a spreadsheet takes for a formula.
BYTES = st.binary(min_size=1, max_size=40) | st.text(min_size=1).map(os.fsencode)
FORMULAS = st.sampled_from(b"=+-@\t\r'").map(lambda first: bytes([first]) + b"1")
PATHS = (BYTES | FORMULAS).filter(lambda path: b"\0" not in path).map(os.fsdecode)
SHARES = st.floats(0, 1)
CELLS = {
    "name": PATHS.filter(maps._is_plain_name),
    "photograph": PATHS,
    "network": PATHS,
    "likely_copies": PATHS,
    "threshold_source": PATHS,
    "note": PATHS | st.just(""),
    "role": st.sampled_from(maps.ROLES),
    "epoch": st.sampled_from(["best", "last", "unknown"]),
    "threshold": SHARES,
    "field_from": st.sampled_from(maps.FIELDS_FROM),
    "bits": st.integers(8, 16),
    "height": st.integers(1, 99_999),
    "field_diameter": st.none() | st.floats(1e-9, 1e9),
    "scale": st.floats(1e-9, 1e9),
    "scale_from": st.sampled_from(maps.SCALES_FROM),
    "views": st.sampled_from([1, 8]),
    "precision": st.sampled_from(["float32", "bfloat16"]),
    "tile_side": st.integers(1, 40).map((32).__mul__),
    "mean_probability": SHARES,
    "uncertain": SHARES,
    "seconds": st.floats(0, 1e9),
}
ROWS = st.builds(partial(replace, ROW), **CELLS)


@tries(max_examples=100)
@given(st.lists(ROWS, min_size=1, max_size=3, unique_by=lambda row: row.name))
def test_rows_come_back_as_they_were_written(rows):
    assert CELLS.keys() <= {each.name for each in fields(maps.Row)}
    expected = {row.name: row for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            maps.add_row(folder, row)
        assert maps.read_predictions(folder) == expected
        maps.tidy_predictions(folder)
        assert maps.read_predictions(folder) == expected
