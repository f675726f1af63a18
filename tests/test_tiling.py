"""Tiny truths of tiling: what goes in flat comes out flat, and nothing moves."""

import numpy as np
import pytest

import tiling


def first_channel(tiles):
    return tiles[..., :1]


def constant(tiles):
    return np.full((*tiles.shape[:3], 1), 0.3, np.float32)


def local_mean(tiles):
    """A network with a small receptive field that pads with zeros, as ours does."""
    padded = np.pad(tiles[..., :1], ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))
    return windows.mean(axis=(-2, -1))


def coarse_maximum(tiles):
    """A network that pools over 16 x 16 pixels: it knows where the grid begins."""
    count, side, _, _ = tiles.shape
    blocks = tiles[..., 0].reshape(count, side // 16, 16, side // 16, 16)
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


def test_tiles_share_the_pooling_grid_of_the_whole_image():
    image = np.random.default_rng(0).random((160, 192, 3), np.float32)
    whole = coarse_maximum(np.pad(image, ((0, 32), (0, 0), (0, 0)))[None])
    tiled = tiling.predict_tiled(coarse_maximum, image, tile_side=96, overlap=32)
    np.testing.assert_allclose(tiled[:144], whole[0, :144, :, 0], atol=1e-6)


def test_every_batch_has_one_shape_and_is_bounded():
    shapes = []

    def spy(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    tiling.predict_tiled(
        spy, np.zeros((300, 410, 3), np.float32), tile_side=96, overlap=32, batch_size=4
    )
    assert set(shapes) == {(4, 96, 96, 3)}


def test_tile_starts_cover_the_side_without_a_wasted_tile():
    for length in range(1, 700, 7):
        starts = tiling.tile_starts(length, 96, 32)
        assert starts[0] == 0 and starts[-1] + 96 >= length + 32
        steps = np.diff(starts)
        assert (steps <= 96 - 32).all() and (steps > 0).all()
        assert len(starts) == -(-length // 64)


def test_weights_of_neighbours_add_up_to_one():
    weight = tiling.tile_weight(96, 32)[48]
    np.testing.assert_allclose(weight[64:] + weight[:32], 1, atol=1e-6)
    assert weight.min() > 0


@pytest.mark.parametrize("tile_side, overlap", [(100, 32), (96, 20), (64, 64), (64, 0)])
def test_sides_that_cannot_be_halved_are_refused(tile_side, overlap):
    with pytest.raises(ValueError, match="multiple of 16"):
        tiling.predict_tiled(
            constant,
            np.zeros((9, 9, 3), np.float32),
            tile_side=tile_side,
            overlap=overlap,
        )


def test_views_are_turned_back_before_they_are_averaged():
    image = np.random.default_rng(0).random((37, 52, 3), np.float32)
    seen = []

    def red(view):
        seen.append(view[0, 0, 0])
        return view[..., 0]

    np.testing.assert_allclose(
        tiling.predict_views(red, image), image[..., 0], atol=1e-6
    )
    corners = [image[row, column, 0] for row in (0, -1) for column in (0, -1)]
    assert sorted(seen) == sorted(corners * 2)  # eight views, all different


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
