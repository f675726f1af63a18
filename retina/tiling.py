"""A network over a whole image of any size: overlapping tiles, blended smoothly.

    probability = predict_tiled(network, image)
    probability = predict_tiled(partial(predict_views, network), image)  # 8 symmetries
    half = predict(show(image, 0.5))
    probability = show_back([half], *image.shape[:2])

All tiles of an image have one shape, as small as fits the image; sides are multiples of
32 pixels, so that images of nearly one size have tiles of one shape. At most
`batch_size` tiles are held at a time, which bounds memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from retina.pictures import PIXELS_AT_A_TIME

# Chosen in docs/log.md, 2026-11-23.
FILTER = Image.Resampling.BICUBIC
SUPPORT = 3  # pixels to either side that a filter weighs: Lanczos', the widest of all
ALIGNMENT = 16  # tiles are this far apart, or a multiple: the network halves 4 times
STEP = 32  # pixels, between the sides that tiles may have
# Pixels that tiles reach beyond what they cover, at least: on the rim of the field of
# view a network errs where it does not see the dark outside.
MARGIN = 8

LEAST = np.float32(1e-4)  # probability; and the most is as far from 1: for logits

Area = tuple[int, int, int, int]  # first row, last row + 1, first column, last + 1


def predict_tiled(
    network: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    area: Area | None = None,
    tile_side: int = 640,
    overlap: int = 64,
    batch_size: int = 1,
) -> np.ndarray:
    """Runs `network` over `image` tile by tile. Returns a map (H, W), float32, 0 where
    no tile reaches.

    Beyond the image's edges, tiles show its reflection. Where tiles overlap, their mean
    is taken, with weights that fall to 0 at their borders: a network errs most there.

    Args:
        network: takes tiles (N, S, T, 3) and returns their maps (N, S, T, 1).
        image: (H, W, 3), of the type that the network takes.
        area: what must be covered; None: the whole image.
        tile_side, overlap: S and T at most; what neighbours share at least; pixels.
        batch_size: N. The last batch is filled up with copies.
    """
    check_tiles(tile_side, overlap)
    area = area or (0, image.shape[0], 0, image.shape[1])
    rows = _lay_weighted(*area[:2], tile_side, overlap)
    columns = _lay_weighted(*area[2:], tile_side, overlap)
    places = list(itertools.product(rows, columns))
    probability = np.zeros(image.shape[:2], np.float32)
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        tiles = [
            reflected_tile(image, row, column, len(down), len(across))
            for (row, down), (column, across) in batch
        ]
        tiles += [tiles[-1]] * (batch_size - len(batch))  # one shape, traced once
        maps = np.asarray(network(np.stack(tiles)))[..., 0]  # (N, S, T)
        for ((row, down), (column, across)), tile in zip(batch, maps, strict=False):
            add_tile(probability, tile * down[:, None] * across, row, column)
    return probability


def _lay_weighted(
    first: int, end: int, largest_side: int, overlap: int
) -> list[tuple[int, np.ndarray]]:
    """Where each tile along a side of the image starts, and its pixels' weights."""
    starts, side = lay_tiles(first, end, largest_side, overlap)
    return list(zip(starts, tile_weights(starts, side, overlap), strict=True))


def predict_views(
    network: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray
) -> np.ndarray:
    """Averages the network's maps of the tiles' eight flips and quarter turns.

    Args:
        network: takes (N, S, T, 3) and (N, T, S, 3), returns (N, S, T, 1) and so on.
        tiles: (N, S, T, 3).

    Returns:
        float32 array of shape (N, S, T, 1).
    """
    total = np.zeros((*tiles.shape[:3], 1), np.float32)
    for turns in range(4):
        for flip in (False, True):
            view = np.rot90(tiles, turns, axes=(1, 2))
            view = np.flip(view, axis=2) if flip else view
            seen = np.asarray(network(np.ascontiguousarray(view)))
            seen = np.flip(seen, axis=2) if flip else seen
            total += np.rot90(seen, -turns, axes=(1, 2))
    return total / 8


def show(image: np.ndarray, scale: float) -> np.ndarray:
    """An image (H, W, 3) as a network sees it: its sides are multiplied by `scale`."""
    if scale == 1:
        return image
    return resample(image, *(max(1, round(side * scale)) for side in image.shape[:2]))


def show_back(maps: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """The mean of maps (h, w), 0..1, in the size of the photograph, float32 (H, W).

    No second array of that size is held.
    """
    mean = np.zeros((height, width), np.float32)
    for each in maps:
        for rows, strip in _strips_back(each, height, width):
            mean[rows] += strip / len(maps)
    return mean


def _strips_back(
    probability: np.ndarray, height: int, width: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the photograph, and a map (h, w) in its size there.

    Logits are resampled, since vessels would come out too wide otherwise: across an
    edge logits change evenly, and probabilities in a step.
    """
    if probability.shape == (height, width):  # resampling leaves it as it is
        yield from _resampled_strips(probability, height, width)
        return
    clipped = np.clip(probability, LEAST, 1 - LEAST)
    logits = np.log(clipped / (1 - clipped))
    for rows, strip in _resampled_strips(logits, height, width):
        yield rows, np.reciprocal(np.exp(-strip) + 1)


def resample(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resamples (H, W) or (H, W, 3) with Pillow's antialiased `FILTER`, as float32.

    It goes strip by strip of the result: a large array is never converted as a whole.
    """
    result = np.empty((height, width, *array.shape[2:]), np.float32)
    for rows, strip in _resampled_strips(array, height, width):
        result[rows] = strip
    return result


def _resampled_strips(
    array: np.ndarray, height: int, width: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the resampled array, and what is there."""
    scale = array.shape[0] / height
    pixels_a_row = max(width, round(scale * array.shape[1]))
    rows = max(1, PIXELS_AT_A_TIME // pixels_a_row)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        around = SUPPORT * max(scale, 1) + 1
        first = max(0, math.floor(top * scale - around))
        strip = array[first : math.ceil(bottom * scale + around)]
        box = (0, top * scale - first, array.shape[1], bottom * scale - first)
        yield slice(top, bottom), _resample_strip(strip, (width, bottom - top), box)


def _resample_strip(
    strip: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    """The part of a strip in `box` (left, top, right, bottom) at `size` (w, h)."""
    box = (*box[:3], min(box[3], strip.shape[0]))  # may be above by rounding
    planes = []
    for plane in np.moveaxis(np.atleast_3d(strip), -1, 0):
        picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        planes.append(np.asarray(picture.resize(size, FILTER, box)))
    return planes[0] if strip.ndim == 2 else np.stack(planes, axis=-1)


def check_tiles(tile_side: int, overlap: int) -> None:
    """Raises a ValueError unless tiles can have such sides."""
    if tile_side % STEP or overlap % STEP or not 0 < overlap < tile_side:
        raise ValueError(
            "expected the tile's side and the overlap as multiples of 32 pixels, the "
            f"overlap above 0 and below the side. Received: {tile_side} and {overlap}"
        )


def lay_tiles(
    first: int, end: int, largest_side: int, overlap: int
) -> tuple[list[int], int]:
    """Where tiles along a side of the image start, and how long they are.

    Args:
        first, end: of what must be covered, pixels.
        largest_side: of a tile, pixels, a multiple of 32.
        overlap: pixels that neighbours share at least.

    Returns:
        Ascending starts, multiples of 16 apart, of as few tiles as cover the side; and
        their length, a multiple of 32. At both ends they reach beyond it equally far,
        by `MARGIN` pixels or more.
    """
    length = end - first + 2 * MARGIN
    count = max(1, math.ceil((length - overlap) / (largest_side - overlap)))
    side = math.ceil((length + (count - 1) * overlap) / count / STEP) * STEP
    last = math.ceil((length - side) / ALIGNMENT) * ALIGNMENT if count > 1 else 0
    begin = first - MARGIN - (last + side - length) // 2
    steps = np.linspace(0, last // ALIGNMENT, count).astype(int)
    return [begin + int(step) * ALIGNMENT for step in steps], side


def tile_weights(starts: list[int], side: int, overlap: int) -> np.ndarray:
    """Weights of the pixels along each tile: along a raised cosine to its borders.

    Returns:
        float32 array of shape (tiles, side), above 0. Over each pixel the weights of
        all tiles add up to 1.
    """
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap)
    tile = np.ones(side)
    tile[:overlap] = ramp[:side]
    tile[-overlap:] = np.minimum(tile[-overlap:], ramp[::-1][-side:])
    places = np.subtract(starts, starts[0])
    total = np.zeros(places[-1] + side)
    for place in places:
        total[place : place + side] += tile
    weights = [tile / total[place : place + side] for place in places]
    return np.stack(weights).astype(np.float32)


def reflected_tile(
    image: np.ndarray, row: int, column: int, height: int, width: int
) -> np.ndarray:
    """A tile (S, T, 3) whose corner may lie outside the image, which is reflected."""
    rows = _reflected(np.arange(row, row + height), image.shape[0])
    columns = _reflected(np.arange(column, column + width), image.shape[1])
    left = columns.min()
    part = image[:, left : columns.max() + 1]  # a view: rows are copied in one piece
    return part[rows][:, columns - left]


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Folds places outside 0..length-1 back, as np.pad's "reflect" does, any number."""
    period = max(2 * (length - 1), 1)
    places = np.abs(places) % period
    return np.where(places < length, places, period - places)


def add_tile(total: np.ndarray, tile: np.ndarray, row: int, column: int) -> None:
    """Adds a tile whose corner may lie outside (H, W); what lies outside is dropped."""
    height, width = total.shape
    top, left = max(row, 0), max(column, 0)
    bottom = min(row + tile.shape[0], height)
    right = min(column + tile.shape[1], width)
    total[top:bottom, left:right] += tile[
        top - row : bottom - row, left - column : right - column
    ]
