"""Tiny truths of tiling: nothing moves; more in test_properties.py."""

import numpy as np
import pytest

from retina import tiling


def first_channel(tiles):
    return tiles[..., :1]


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


def test_tiles_of_drives_photographs_are_little_larger_than_they_are():
    shapes = []

    def spy(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    tiling.predict_tiled(spy, np.zeros((584, 565, 3), np.float32))
    assert shapes == [(1, 608, 608, 3)]  # 1.12 times the pixels of the photograph


def test_what_is_far_from_an_area_is_left_out():
    image = np.ones((200, 300, 3), np.float32)
    probability = tiling.predict_tiled(first_channel, image, area=(40, 100, 150, 290))
    assert not probability[:20].any() and not probability[:, :100].any()


@pytest.mark.parametrize("tile_side, overlap", [(112, 32), (96, 16), (64, 64), (64, 0)])
def test_sides_that_no_tile_can_have_are_refused(tile_side, overlap):
    with pytest.raises(ValueError, match="multiples of 32"):
        tiling.predict_tiled(
            first_channel,
            np.zeros((9, 9, 3), np.float32),
            tile_side=tile_side,
            overlap=overlap,
        )


def test_views_are_turned_back_before_they_are_averaged():
    tiles = np.random.default_rng(0).random((2, 37, 52, 3), np.float32)
    seen = []

    def red(views):
        seen.append(views[0, ..., 0].tobytes())
        return views[..., :1]

    np.testing.assert_allclose(
        tiling.predict_views(red, tiles), tiles[..., :1], atol=1e-6
    )
    first = tiles[0, ..., 0]
    turned = [np.rot90(view, n) for view in (first, first.T) for n in range(4)]
    assert sorted(seen) == sorted(view.tobytes() for view in turned)  # all eight


def test_a_network_sees_the_scale_and_the_map_keeps_the_size():
    row, column = np.indices((60, 91))
    image = np.stack([row / 60, column / 91, 0 * row], -1).astype(np.float32)
    for scale, shape in ((0.5, (30, 46, 3)), (2.0, (120, 182, 3)), (0.001, (1, 1, 3))):
        seen = tiling.show(image, scale)
        assert seen.shape == shape
        probability = tiling.show_back([seen[..., 0]], 60, 91)
        assert probability.shape == (60, 91) and probability.dtype == np.float32
        if scale > 0.1:
            inner = np.s_[4:-4, 4:-4]
            np.testing.assert_allclose(
                probability[inner], image[inner][..., 0], atol=0.01
            )


def test_a_steep_edge_lies_where_the_network_drew_it():
    """A logit that rises by 1.5 a pixel of the photograph; probabilities that are
    interpolated would be .12 off."""
    edge, columns = 30.3, np.arange(60)
    small = 1.5 * ((np.arange(20) + 0.5) * 3 - 0.5 - edge)
    small = np.broadcast_to(1 / (1 + np.exp(-small)), (3, 20)).astype(np.float32)
    probability = tiling.show_back([small], 8, 60)
    near = np.s_[26:35]
    expected = 1 / (1 + np.exp(-1.5 * (columns - edge)))
    np.testing.assert_allclose(probability[4, near], expected[near], atol=0.01)


def test_at_scale_one_nothing_is_resampled():
    image = np.random.default_rng(0).random((9, 9, 3), np.float32)
    assert tiling.show(image, 1.0) is image
    probability = image[..., 0]
    assert np.array_equal(tiling.show_back([probability], 9, 9), probability)
