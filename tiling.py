"""A network over a whole image of any size: overlapping tiles, blended smoothly.

    probability = predict_tiled(network, image)
    probability = predict_views(predict, image)         # all eight symmetries averaged
    probability = predict_at_scale(predict, image, 0.5)  # at half the resolution

All tiles have one shape, so that the network is traced once, and at most `batch_size`
of them are held at a time: memory is bounded by the batch, not by the image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

# Decided by benchmarks/any_photograph.py.
FILTER = Image.Resampling.BICUBIC
ALIGNMENT = 16  # tiles start at multiples of this: the network halves its input 4 times


def predict_tiled(
    network: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    tile_side: int = 352,
    overlap: int = 64,
    batch_size: int = 2,
) -> np.ndarray:
    """Runs `network` over `image` tile by tile.

    The image is extended by reflection, so that each of its pixels lies inside a tile.
    Where tiles overlap they are averaged, with weights that fall to nothing at the
    tiles' borders, where a network knows the least of its surroundings.

    Args:
        network: takes (N, T, T, 3) float32 and returns (N, T, T, 1).
        image: (H, W, 3) float32, RGB, 0..1, of any size.
        tile_side: T, pixels, a multiple of 16.
        overlap: pixels that neighbouring tiles share at least, a multiple of 32 below
            `tile_side`.
        batch_size: N, tiles at a time. The last batch is filled up with copies.

    Returns:
        float32 array of shape (H, W).

    Raises:
        ValueError: a side that the network cannot halve four times.
    """
    check_tiles(tile_side, overlap)
    height, width = image.shape[:2]
    margin = overlap // 2
    rows = tile_starts(height, tile_side, overlap)
    columns = tile_starts(width, tile_side, overlap)
    weight = tile_weight(tile_side, overlap)
    total = np.zeros((rows[-1] + tile_side, columns[-1] + tile_side), np.float32)
    weights = np.zeros_like(total)
    starts = [(row, column) for row in rows for column in columns]
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        tiles = [
            reflected_tile(image, row - margin, column - margin, tile_side)
            for row, column in batch
        ]
        tiles += [tiles[-1]] * (batch_size - len(batch))  # one shape, traced once
        maps = np.asarray(network(np.stack(tiles)))[..., 0]  # (N, T, T)
        for (row, column), tile_map in zip(batch, maps, strict=False):
            place = np.s_[row : row + tile_side, column : column + tile_side]
            total[place] += weight * tile_map
            weights[place] += weight
    inside = np.s_[margin : margin + height, margin : margin + width]
    return total[inside] / weights[inside]


def predict_views(
    predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Averages what `predict` says of the image's eight flips and quarter turns.

    Args:
        predict: takes (H, W, 3) and returns (H, W).
        image: (H, W, 3) float32, RGB, 0..1.

    Returns:
        float32 array of shape (H, W).
    """
    total = np.zeros(image.shape[:2], np.float32)
    for turns in range(4):
        for flip in (False, True):
            view = np.rot90(image, turns)
            view = np.fliplr(view) if flip else view
            seen = predict(np.ascontiguousarray(view))
            seen = np.fliplr(seen) if flip else seen
            total += np.rot90(seen, -turns)
    return total / 8


def predict_at_scale(
    predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, scale: float
) -> np.ndarray:
    """Shows `predict` the image at the resolution that it knows vessels at.

    Args:
        predict: takes (h, w, 3) and returns (h, w).
        image: (H, W, 3) float32, RGB, 0..1.
        scale: by which the sides of the image are multiplied, above 0.

    Returns:
        float32 array of shape (H, W), 0..1: the map, resampled back.
    """
    height, width = image.shape[:2]
    if scale == 1:
        return predict(image)
    small = resample(image, max(1, round(height * scale)), max(1, round(width * scale)))
    return np.clip(resample(predict(small), height, width), 0, 1)


def resample(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resamples (H, W) or (H, W, 3) float32 with Pillow's antialiased `FILTER`."""
    planes = np.moveaxis(np.atleast_3d(array), -1, 0)
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
                (width, height), FILTER
            )
        )
        for plane in planes
    ]
    return resized[0] if array.ndim == 2 else np.stack(resized, axis=-1)


def check_tiles(tile_side: int, overlap: int) -> None:
    """Raises a ValueError unless a network can halve such tiles four times."""
    if (
        tile_side % ALIGNMENT
        or overlap % (2 * ALIGNMENT)
        or not (0 < overlap < tile_side)
    ):
        raise ValueError(
            "expected the tile's side as a multiple of 16 pixels, and the overlap as a "
            f"multiple of 32 above 0 and below it. Received: {tile_side} and {overlap}"
        )


def tile_starts(length: int, tile_side: int, overlap: int) -> list[int]:
    """Where tiles start along a side, so that they cover it and overlap evenly.

    Args:
        length: of the image's side, pixels.
        tile_side: pixels.
        overlap: pixels that neighbours share at least; half of it is also how far the
            tiles reach beyond the image on either side.

    Returns:
        Ascending multiples of 16, from 0, in the image extended by `overlap // 2`.
    """
    last = -(-max(length + overlap - tile_side, 0) // ALIGNMENT)
    count = 1 + -(-last * ALIGNMENT // (tile_side - overlap))
    return [int(start) * ALIGNMENT for start in np.linspace(0, last, count)]


def tile_weight(tile_side: int, overlap: int) -> np.ndarray:
    """Weights of a tile's pixels: 1 inside, falling along a raised cosine at borders.

    Returns:
        float32 array of shape (T, T), above 0. Neighbours that share just `overlap`
        pixels add up to 1.
    """
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap)
    side = np.ones(tile_side)
    side[:overlap] = ramp
    side[tile_side - overlap :] = np.minimum(side[tile_side - overlap :], ramp[::-1])
    return np.outer(side, side).astype(np.float32)


def reflected_tile(image: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """A tile (T, T, 3) whose corner may lie outside the image, which is reflected."""
    rows = _reflected(np.arange(row, row + side), image.shape[0])
    columns = _reflected(np.arange(column, column + side), image.shape[1])
    return image[np.ix_(rows, columns)]


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Folds places outside 0..length-1 back, as np.pad's "reflect" does, any number."""
    period = max(2 * (length - 1), 1)
    places = np.abs(places) % period
    return np.where(places < length, places, period - places)
