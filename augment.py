"""Random crops of photographs with their labels, augmented, in batches for `fit`.

    photographs = [[(image, label, field_of_view)], ...]
    article = AUGMENTATIONS["article"]
    patches = PatchGenerator(photographs, augmentation=article, steps=125)
    model.fit(patches, epochs=100, shuffle=False)

The geometric transforms of a patch are multiplied into one affine map, and the patch is
resampled once, straight from the whole photograph: nothing is blurred twice, and no
fill pixels enter. Look at what comes out: `python train.py --augment --preview x.png`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from numpy.random import Generator
from PIL import Image

# Patch sides by which photographs are padded where patches lie around the pixels of the
# field of view: a patch turned by 45 degrees at half its size just fits.
PADDING = 1.5
PHOTOGRAPHS_A_BATCH = 4  # from which the patches of a batch come, in equal parts
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601

# ---- Geometric transforms: 3 x 3 matrices that take a place in the patch (row, column,
# 1), in patch sides from its centre, to a place in the photograph, in the same units.


def flip_rows(*, rng: Generator) -> np.ndarray:
    """Upside down."""
    return np.diag([-1.0, 1.0, 1.0])


def flip_columns(*, rng: Generator) -> np.ndarray:
    """Left to right."""
    return np.diag([1.0, -1.0, 1.0])


def quarter_turn(*, rng: Generator) -> np.ndarray:
    """By 90 degrees. With both flips, all eight symmetries of the square."""
    return np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def rotate(*, rng: Generator, degrees: float) -> np.ndarray:
    """By an angle in +-degrees."""
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def shear(*, rng: Generator, degrees: float) -> np.ndarray:
    """Rows slide along the columns, by an angle in +-degrees."""
    slope = np.tan(np.deg2rad(rng.uniform(-degrees, degrees)))
    return np.array([[1.0, 0.0, 0.0], [slope, 1.0, 0.0], [0.0, 0.0, 1.0]])


def shift(*, rng: Generator, fraction: float) -> np.ndarray:
    """Along both axes, each by +-fraction of the patch's side."""
    matrix = np.eye(3)
    matrix[:2, 2] = rng.uniform(-fraction, fraction, size=2)
    return matrix


def zoom(*, rng: Generator, low: float, high: float) -> np.ndarray:
    """Magnifies by a factor in low..high, the same along both axes."""
    factor = rng.uniform(low, high)
    return np.diag([1.0 / factor, 1.0 / factor, 1.0])


# ---- Photometric transforms: they touch the image (P, P, 3) float32, 0..1, alone.


def brightness(image: np.ndarray, *, rng: Generator, amount: float) -> np.ndarray:
    """Adds one number in +-amount to all values."""
    return np.clip(image + np.float32(rng.uniform(-amount, amount)), 0, 1)


def contrast(image: np.ndarray, *, rng: Generator, amount: float) -> np.ndarray:
    """Stretches the values about the image's mean grey, by a factor in 1 +- amount."""
    factor = np.float32(rng.uniform(1 - amount, 1 + amount))
    mean = _grey(image).mean()
    return np.clip(mean + factor * (image - mean), 0, 1)


def saturation(image: np.ndarray, *, rng: Generator, amount: float) -> np.ndarray:
    """Stretches each pixel's colour away from its grey, by a factor in 1 +- amount."""
    factor = np.float32(rng.uniform(1 - amount, 1 + amount))
    grey = _grey(image)[..., None]
    return np.clip(grey + factor * (image - grey), 0, 1)


def white_balance(image: np.ndarray, *, rng: Generator, amount: float) -> np.ndarray:
    """Multiplies each channel by its own factor in 1 +- amount, as cameras differ."""
    factors = rng.uniform(1 - amount, 1 + amount, 3).astype(np.float32)
    return np.clip(image * factors, 0, 1)


def _grey(image: np.ndarray) -> np.ndarray:
    return image @ np.asarray(GREY_WEIGHTS, image.dtype)  # (P, P)


# ---- Augmentations


@dataclass(frozen=True)
class Augmentation:
    """Transforms in the order in which they are applied, each with its probability."""

    geometric: tuple[tuple[float, Callable[..., np.ndarray]], ...] = ()
    photometric: tuple[tuple[float, Callable[..., np.ndarray]], ...] = ()


STRONG = (
    (0.5, flip_rows),
    (0.5, flip_columns),
    (0.5, quarter_turn),
    (0.5, partial(rotate, degrees=45)),
    (0.5, partial(zoom, low=0.8, high=1.25)),
)
COLOURS = (
    (0.5, partial(brightness, amount=0.2)),
    (0.5, partial(contrast, amount=0.4)),
    (0.5, partial(saturation, amount=0.5)),
)
AUGMENTATIONS = {
    "none": Augmentation(),
    "article": Augmentation(
        geometric=(
            (0.5, flip_rows),
            (0.5, flip_columns),
            (0.05, partial(rotate, degrees=10)),
            (0.05, partial(shear, degrees=5)),
            (0.05, partial(shift, fraction=0.1)),
            (0.05, partial(zoom, low=0.9, high=1.1)),
        ),
        photometric=(
            (0.05, partial(brightness, amount=0.1)),
            (0.05, partial(contrast, amount=0.1)),
            (0.05, partial(saturation, amount=0.1)),
        ),
    ),
    "default": Augmentation(STRONG, COLOURS),
    "cameras": Augmentation(
        STRONG, ((0.5, partial(white_balance, amount=0.3)), *COLOURS)
    ),
}


def _drawn(transforms: Sequence[tuple[float, Callable]], rng: Generator):
    return [transform for odds, transform in transforms if rng.random() < odds]


def random_matrix(augmentation: Augmentation, *, rng: Generator) -> np.ndarray:
    """Draws the geometric transforms and multiplies them into one (3, 3)."""
    matrix = np.eye(3)
    for transform in _drawn(augmentation.geometric, rng):
        matrix = transform(rng=rng) @ matrix
    return matrix


def place_in_photograph(
    matrix: np.ndarray, height: int, width: int, patch_side: int, *, rng: Generator
) -> np.ndarray:
    """Places a patch at random where all of it lies inside the photograph.

    Args:
        matrix: (3, 3), from the patch to the photograph, in patch sides.
        height, width: of the photograph, pixels, at least `patch_side`.
        patch_side: pixels.

    Returns:
        (2, 3) float64: from (row, column, 1) in the patch to (row, column) in the
        photograph, both in pixels from the upper left corner. A patch larger than the
        photograph is shrunk to fit.
    """
    size = np.array([height, width])
    half = np.abs(matrix[:2, :2]).sum(axis=1) * patch_side / 2  # of the box around it
    shrink = min(1.0, *(size / (2 * half)))
    # Integer corners, so that an unrotated, unscaled patch is copied without
    # interpolation.
    room = size - 2 * half * shrink
    corner = np.floor(rng.random(2) * (np.floor(room) + 1))
    corner = np.clip(corner + np.round(matrix[:2, 2] * patch_side), 0, room)
    return _window(matrix[:2, :2] * shrink, corner + half * shrink, patch_side)


def place_in_field(
    matrix: np.ndarray, field_of_view: np.ndarray, patch_side: int, *, rng: Generator
) -> np.ndarray:
    """Places a patch around a pixel of the field of view, each as likely as another.

    Args:
        matrix: (3, 3), from the patch to the photograph, in patch sides.
        field_of_view: bool (H, W), not empty.
        patch_side: pixels.

    Returns:
        As `place_in_photograph`; the patch may reach beyond the photograph.
    """
    while not field_of_view[place := tuple(rng.integers(field_of_view.shape))]:
        pass
    centre = place + np.round(matrix[:2, 2] * patch_side)
    return _window(matrix[:2, :2], centre, patch_side)


def _window(linear: np.ndarray, centre: np.ndarray, patch_side: int) -> np.ndarray:
    """The affine map (2, 3) that takes the middle of a patch to `centre`."""
    offset = centre - linear @ np.full(2, patch_side / 2)
    return np.concatenate([linear, offset[:, None]], axis=1)


def _resample(picture: Image.Image, window: np.ndarray, patch_side: int) -> np.ndarray:
    """Takes the window (2, 3) out of the picture, interpolating between pixels."""
    patch = picture.transform(
        (patch_side, patch_side),
        Image.Transform.AFFINE,
        window[::-1, [1, 0, 2]].ravel(),  # Pillow puts columns before rows
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(patch)


Picture = tuple[np.ndarray, np.ndarray, np.ndarray]  # image, label, field of view


class PatchGenerator(keras.utils.PyDataset):
    """Batches of augmented random crops: a `keras.utils.PyDataset`.

    Batch `i` of epoch `e` is a function of `(seed, e, i)` alone, however many workers
    make the batches. The photographs are held in memory, 8 bits a channel.

    Args:
        photographs: each with its pictures, at one scale or several, which share its
            part of the patches. A picture is an image (H, W, 3) float32, RGB, 0..1, at
            least a patch large; its label (H, W), bool, or the share of each pixel that
            is vessel, 0..1; and its field of view (H, W), bool.
        inside_field: patches have their centres in the field of view, each pixel as
            likely as another, and what lies beyond the photograph is its reflection, as
            in prediction. Else they lie anywhere inside the photograph: what is at its
            edges is then seen less often.
        soft: labels keep the shares that resampling gives them; else they are cut at
            half.
        augmentation: the transforms and their probabilities.
        patch_side: pixels.
        batch_size: patches a batch, a multiple of 4: they come from 4 photographs, in
            equal parts.
        steps: batches an epoch.
        seed: of all that is random here.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of PyDataset.

    Each batch: images (B, P, P, 3) float32, 0..1, and labels (B, P, P, 1) float32, 0 or
    1, or between them if `soft`.

    Raises:
        ValueError: an image and its label do not fit together or are smaller than a
            patch, or the batch is no multiple of its photographs.
    """

    def __init__(
        self,
        photographs: Iterable[Iterable[Picture]],
        *,
        inside_field: bool = False,
        soft: bool = False,
        augmentation: Augmentation = AUGMENTATIONS["none"],
        patch_side: int = 64,
        batch_size: int = 16,
        steps: int = 125,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if batch_size % PHOTOGRAPHS_A_BATCH:
            raise ValueError(
                f"batch_size must be a multiple of {PHOTOGRAPHS_A_BATCH}, the "
                f"photographs in a batch. Received: {batch_size}"
            )
        self.padding = round(PADDING * patch_side) if inside_field else 0
        self.photographs = [
            [
                (_packed(image, label, patch_side, self.padding), field_of_view)
                for image, label, field_of_view in pictures
            ]
            for pictures in photographs
        ]
        self.inside_field = inside_field
        self.soft = soft
        self.augmentation = augmentation
        self.patch_side = patch_side
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.epoch = 0  # another one where a training is continued

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        order = rng.permutation(len(self.photographs))
        chosen = np.resize(order, PHOTOGRAPHS_A_BATCH)  # again where there are fewer
        patches = [
            self._patch(self.photographs[number], rng)
            for number in np.repeat(chosen, self.batch_size // len(chosen))
        ]
        images, labels = zip(*patches, strict=True)
        return np.stack(images), np.stack(labels)  # (B, P, P, 3), (B, P, P, 1)

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _patch(self, pictures, rng: Generator):
        packed, field_of_view = pictures[rng.integers(len(pictures))]
        matrix = random_matrix(self.augmentation, rng=rng)
        side = self.patch_side
        if self.inside_field:
            window = place_in_field(matrix, field_of_view, side, rng=rng)
            window[:, 2] += self.padding
        else:
            window = place_in_photograph(
                matrix, packed.height, packed.width, side, rng=rng
            )
        patch = _resample(packed, window, side)  # (P, P, 4)
        image = patch[..., :3] / np.float32(255)
        for transform in _drawn(self.augmentation.photometric, rng):
            image = transform(image, rng=rng)
        label = patch[..., 3:]
        # Resampled labels have values in between.
        label = label / np.float32(255) if self.soft else label > 127
        return image, label.astype(np.float32)


def _packed(
    image: np.ndarray, label: np.ndarray, patch_side: int, padding: int
) -> Image.Image:
    """Packs a photograph and its label as one Pillow picture: red, green, blue, label.

    On all sides `padding` pixels are added, their reflection. So both are resampled in
    one go, in the time of one. Of Pillow's modes of four bands only CMYK takes each
    band for itself.
    """
    if image.shape != (*label.shape, 3):
        raise ValueError(
            "expected an image (H, W, 3) and its label (H, W). "
            f"Received: {image.shape} and {label.shape}"
        )
    if min(label.shape) < patch_side:
        raise ValueError(
            f"expected photographs of at least {patch_side} x {patch_side} pixels, the "
            f"side of a patch. Received: {label.shape[1]} x {label.shape[0]}"
        )
    bands = np.concatenate([image, label[..., None]], axis=-1) * 255
    around = ((padding, padding), (padding, padding), (0, 0))
    values = np.pad(np.round(bands).astype(np.uint8), around, "reflect")
    height, width = values.shape[:2]
    return Image.frombytes("CMYK", (width, height), values.tobytes())
