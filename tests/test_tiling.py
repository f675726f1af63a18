"""Tiny truths of tiling: what goes in flat comes out flat, and nothing moves."""

import numpy as np
import pytest

from retina import tiling


def first_channel(tiles):
    return tiles[..., :1]


def constant(tiles):
    return np.full((*tiles.shape[:3], 1), 0.3, np.float32)


def local_mean(tiles):
    """A network with a small receptive field, padded with zeros as U-Nets are."""
    padded = np.pad(tiles[..., :1], ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))
    return windows.mean(axis=(-2, -1))


def coarse_maximum(tiles):
    """A network that pools over 16 x 16 pixels: it knows where the grid begins."""
    count, height, width, _ = tiles.shape
    blocks = tiles[..., 0].reshape(count, height // 16, 16, width // 16, 16)
    pooled = blocks.max(axis=(2, 4)).repeat(16, axis=1).repeat(16, axis=2)
    return pooled[..., None]


@pytest.mark.parametrize(
    "height, width", [(1, 1), (5, 300), (64, 64), (65, 63), (97, 201), (200, 130)]
)
def test_identity_gives_the_image_back(height, width):
    image = np.random.default_rng(0).random((height, width, 3), np.float32)
    probability = tiling.predict_tiled(
        first_channel, image, tile_side=96, overlap=32, batch_size=3
    )
    assert probability.shape == (height, width)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, image[..., 0], atol=1e-6)


def test_constant_network_gives_a_constant_map():
    image = np.random.default_rng(0).random((150, 211, 3), np.float32)
    probability = tiling.predict_tiled(constant, image, tile_side=96, overlap=64)
    np.testing.assert_allclose(probability, 0.3, atol=1e-6)


def test_tiled_map_agrees_with_the_whole_map_away_from_the_borders():
    image = np.random.default_rng(0).random((160, 192, 3), np.float32)
    whole = local_mean(image[None])[0, ..., 0]
    tiled = tiling.predict_tiled(local_mean, image, tile_side=96, overlap=32)
    inner = np.s_[8:-8, 8:-8]
    # Where a tile sees its own zero padding its weight is small, not zero.
    assert np.abs(tiled - whole)[inner].max() < 0.05
    assert np.abs(tiled - whole)[inner].mean() < 0.002


def test_tiles_share_one_pooling_grid():
    image = np.random.default_rng(0).random((160, 192, 3), np.float32)
    rows, _ = tiling.lay_tiles(0, 160, 96, 32)
    columns, _ = tiling.lay_tiles(0, 192, 96, 32)
    assert len(rows) > 1 and len(columns) > 1
    above, before = -rows[0], -columns[0]
    around = ((above, 256 - 160 - above), (before, 256 - 192 - before), (0, 0))
    padded = np.pad(image, around, "reflect")
    whole = coarse_maximum(padded[None])[0, above:, before:, 0]
    tiled = tiling.predict_tiled(coarse_maximum, image, tile_side=96, overlap=32)
    np.testing.assert_allclose(tiled, whole[:160, :192], atol=1e-6)


def test_every_batch_has_one_shape_and_is_bounded():
    shapes = []

    def spy(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    tiling.predict_tiled(
        spy, np.zeros((300, 410, 3), np.float32), tile_side=96, overlap=32, batch_size=4
    )
    assert set(shapes) == {(4, 96, 96, 3)}


@pytest.mark.parametrize("largest, overlap", [(96, 32), (640, 64), (352, 32)])
def test_tiles_cover_a_side_evenly_and_waste_little_of_it(largest, overlap):
    for length in range(1, 2500, 7):
        starts, side = tiling.lay_tiles(5, 5 + length, largest, overlap)
        assert side % 32 == 0 and side <= largest
        before, after = 5 - starts[0], starts[-1] + side - (5 + length)
        assert min(before, after) >= tiling.MARGIN
        assert abs(before - after) <= 1  # neither edge gets all that is too much
        steps = np.diff(starts)
        assert (steps <= side - overlap).all() and (steps > 0).all()
        assert (steps % 16 == 0).all()
        needed = length + 2 * tiling.MARGIN
        count = len(starts)  # one tile fewer, or as many shorter ones, would not do
        assert largest * (count - 1) - overlap * max(count - 2, 0) < needed
        assert (side - 32) * count - overlap * (count - 1) < needed


def test_tiles_of_drives_photographs_are_little_larger_than_they_are():
    shapes = []

    def spy(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    tiling.predict_tiled(spy, np.zeros((584, 565, 3), np.float32))
    assert shapes == [(1, 608, 608, 3)]  # 1.12 times the pixels of the photograph


def test_an_area_is_covered_and_the_rest_is_left_out():
    image = np.random.default_rng(0).random((200, 300, 3), np.float32)
    area = (40, 100, 150, 290)
    probability = tiling.predict_tiled(first_channel, image, area=area)
    inner = np.s_[40:100, 150:290]
    np.testing.assert_allclose(probability[inner], image[inner][..., 0], atol=1e-6)
    assert not probability[:20].any() and not probability[:, :100].any()
    assert probability.shape == (200, 300)


@pytest.mark.parametrize("starts, side", [([-8], 96), ([0, 64], 96), ([3, 19, 51], 64)])
def test_weights_of_all_tiles_add_up_to_one(starts, side):
    weights = tiling.tile_weights(starts, side, 32)
    total = np.zeros(starts[-1] - starts[0] + side)
    for start, weight in zip(starts, weights, strict=True):
        total[start - starts[0] :][:side] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert weights.min() > 0


@pytest.mark.parametrize("tile_side, overlap", [(112, 32), (96, 16), (64, 64), (64, 0)])
def test_sides_that_no_tile_can_have_are_refused(tile_side, overlap):
    with pytest.raises(ValueError, match="multiples of 32"):
        tiling.predict_tiled(
            constant,
            np.zeros((9, 9, 3), np.float32),
            tile_side=tile_side,
            overlap=overlap,
        )


def test_views_are_turned_back_before_they_are_averaged():
    tiles = np.random.default_rng(0).random((2, 37, 52, 3), np.float32)
    seen = []

    def red(views):
        seen.append(views[0, 0, 0, 0])
        return views[..., :1]

    np.testing.assert_allclose(
        tiling.predict_views(red, tiles), tiles[..., :1], atol=1e-6
    )
    corners = [tiles[0, row, column, 0] for row in (0, -1) for column in (0, -1)]
    assert sorted(seen) == sorted(corners * 2)  # eight views, all different


def test_resampling_strip_by_strip_is_resampling(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    for height, width in ((41, 33), (200, 155), (90, 71), (1, 1)):
        whole = tiling.resample(image, height, width)
        assert whole.shape == (height, width, 3) and whole.dtype == np.float32
        with monkeypatch.context() as small:
            small.setattr(tiling, "PIXELS_AT_A_TIME", 500)
            strips = tiling.resample(image, height, width)
        np.testing.assert_allclose(strips, whole, atol=1e-3)  # of 255


def test_a_network_sees_the_scale_and_the_map_keeps_the_size():
    row, column = np.indices((60, 91))
    image = np.stack([row / 60, column / 91, 0 * row], -1).astype(np.float32)
    shapes = []

    def red(small):
        shapes.append(small.shape)
        return small[..., 0]

    for scale in (0.5, 2.0, 0.001):
        probability = tiling.predict_at_scale(red, image, scale)
        assert probability.shape == (60, 91)
        if scale > 0.1:
            inner = np.s_[4:-4, 4:-4]
            np.testing.assert_allclose(
                probability[inner], image[inner][..., 0], atol=0.01
            )
    assert shapes == [(30, 46, 3), (120, 182, 3), (1, 1, 3)]


def test_at_scale_one_nothing_is_resampled():
    image = np.random.default_rng(0).random((9, 9, 3), np.float32)
    probability = tiling.predict_at_scale(lambda seen: seen[..., 0], image, 1.0)
    np.testing.assert_array_equal(probability, image[..., 0])


def test_resampled_maps_stay_probabilities():
    steps = np.zeros((20, 20, 3), np.float32)
    steps[:, 10:] = 1  # a cubic filter overshoots here
    probability = tiling.predict_at_scale(lambda seen: seen[..., 0], steps, 0.5)
    assert probability.min() >= 0 and probability.max() <= 1
