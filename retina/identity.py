"""Which photograph this is, whatever its file is called and however it was saved.

identity = identify("eye.png")
identity.is_same(identify("eye.tif"))       # pixel for pixel
identity.looks_like(identify("small.jpg"))  # perhaps a copy, resized or mirrored
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from retina.files import fingerprint
from retina.pictures import read_pixels

SIDE = 24  # pixels, of a thumbnail
COARSE = 8  # pixels, of what is left out of it: all eyes are alike there
FIELD_EDGE = 0.2  # of the brightness from background to retina: the field begins there
DARK = 0.3  # likewise: cells darker than this, and those beside them, do not count
STEPS_PER_DEVIATION = 2.5  # of a thumbnail's values, per deviation
# Correlation of thumbnails from which one is taken for a copy. Measured on the 262
# photographs of DRIVE, CHASE_DB1, LES-AV, FIVES, RETA and RIDB: different eyes come to
# 0.64 at most; a photograph and its copy (half or 37 % as large, JPEG of quality 60,
# both, mirrored, turned, padded or squashed to a square) to 0.91 at least, cropped
# by 2 % on all sides to 0.85. Two photographs of one eye come to 0.4, mostly.
LIKENESS = 0.75


@dataclass(frozen=True)
class Identity:
    """What a photograph is recognised by."""

    name: str  # stem of its file
    file_sha256: str  # of the file's bytes
    pixels_sha256: str  # of shape, type and decoded pixels: saving it anew keeps it
    # SIDE x SIDE cells of the field, one hexadecimal digit each: how much greener they
    # are than their surroundings. Empty where it is not known.
    thumbnail: str = ""

    def is_same(self, other: Identity) -> bool:
        """Whether both are one file, or one picture pixel for pixel."""
        return (
            self.file_sha256 == other.file_sha256
            or self.pixels_sha256 == other.pixels_sha256
        )

    def looks_like(self, other: Identity) -> bool:
        """Whether one is likely a copy of the other: resized, saved with loss, turned
        by quarters or mirrored."""
        if not len(self.thumbnail) == len(other.thumbnail) == SIDE**2:
            return False
        return self.likeness(other) >= LIKENESS

    def likeness(self, other: Identity) -> float:
        """Correlation of both thumbnails, in the orientation in which it is largest."""
        mine, theirs = _values(self), _values(other)
        views = [np.rot90(flip, turns) for flip in (mine, mine.T) for turns in range(4)]
        return max(float((view * theirs).sum()) for view in views)


def identify(path: Path | str, pixels: np.ndarray | None = None) -> Identity:
    """The identity of a photograph.

    Args:
        path: of its file.
        pixels: as `pictures.read_pixels` reads it, if that is done already.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(path)
    pixels = read_pixels(path) if pixels is None else pixels
    return Identity(
        path.stem, fingerprint(path), hash_pixels(pixels), make_thumbnail(pixels)
    )


def hash_pixels(array: np.ndarray) -> str:
    """SHA-256 of an array's shape, type and values, as 64 hexadecimal digits."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def make_thumbnail(pixels: np.ndarray) -> str:
    """The thumbnail of a photograph, for `Identity`, from its green channel.

    Copies are cropped or padded, so only the field counts. Many eyes are alike in the
    large, such as in the places of disc and rim, so only what is smaller than a coarse
    cell counts, relative to how much of it is nearby.

    Args:
        pixels: array of shape (H, W, 3).
    """
    step = max(1, max(pixels.shape) // 512)
    green = np.ascontiguousarray(pixels[::step, ::step, 1], np.float32)
    cells = _resize(green, SIDE, _field_box(green))
    dark, bright = np.percentile(cells, (1, 90))
    lit = np.pad(cells > dark + DARK * (bright - dark), 1)
    beside = np.lib.stride_tricks.sliding_window_view(lit, (3, 3))
    inside = beside.all(axis=(2, 3)).astype(np.float32)
    share = np.maximum(_smooth(inside), 1e-3)
    fine = (cells - _smooth(cells * inside) / share) * inside
    spread = np.sqrt(_smooth(fine**2) / share + (0.3 * fine.std()) ** 2)
    fine = fine / np.maximum(spread, 1e-6)
    levels = np.round(fine * (STEPS_PER_DEVIATION / max(float(fine.std()), 1e-6))) + 8
    return "".join(f"{int(level):x}" for level in np.clip(levels, 0, 15).ravel())


def _field_box(green: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is bright in a green channel (H, W)."""
    height, width = green.shape
    factor = max(1, max(green.shape) // 256)
    small = np.asarray(Image.fromarray(green).reduce(factor))
    dark, bright = np.percentile(small, (1, 90))
    lit = small > dark + FIELD_EDGE * (bright - dark)
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > 0.05) for axis in (1, 0))
    if not (len(rows) and len(columns)):
        return 0, 0, width, height
    right, bottom = (columns[-1] + 1) * factor, (rows[-1] + 1) * factor
    box = columns[0] * factor, rows[0] * factor, min(right, width), min(bottom, height)
    return tuple(int(edge) for edge in box)


def _resize(plane: np.ndarray, side: int, box: tuple | None = None) -> np.ndarray:
    """A float32 plane (H, W), averaged over `side` x `side` cells."""
    picture = Image.fromarray(plane)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX, box))


def _smooth(cells: np.ndarray) -> np.ndarray:
    """`cells` without what is smaller than a coarse cell."""
    coarse = Image.fromarray(_resize(cells, COARSE))
    return np.asarray(coarse.resize(cells.shape, Image.Resampling.BILINEAR))


def _values(identity: Identity) -> np.ndarray:
    """The thumbnail (SIDE, SIDE) with length 1."""
    digits = [int(digit, 16) for digit in identity.thumbnail]
    values = np.array(digits, np.float32).reshape(SIDE, SIDE) - 8
    return values / max(float(np.linalg.norm(values)), 1e-6)
