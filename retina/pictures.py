"""Any picture file as pixels: photographs, and black-and-white pictures.

image = read_image("photo.jpg")
label = read_binary("label.png")
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from retina.files import InputError

# Beyond twice this many pixels Pillow refuses to decode: a small file may hide a huge
# picture. A photograph of 10,000 x 10,000 passes.
Image.MAX_IMAGE_PIXELS = 150_000_000
PIXELS_AT_A_TIME = 2**22  # that are converted at a time: bounds memory
ROWS_AT_A_TIME = 512  # likewise
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def open_picture(path: Path | str) -> Image.Image:
    """Decodes a picture file whole, in the orientation in which a viewer shows it."""
    try:
        with Image.open(path) as picture:
            # A camera's MPO holds the photograph and a thumbnail: the first counts.
            pages = getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
            if pages == 1:
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)
                return picture
    except FileNotFoundError:
        raise InputError(f"expected a picture in {path}, found no such file") from None
    except UnidentifiedImageError:
        raise InputError(
            f"expected a picture in {path}, but it cannot be read as one"
            f"{_looks_like(Path(path))}: replace it by a fresh copy or export it as PNG"
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(
            f"expected a photograph in {path}, but it is too large ({error}): make it "
            "smaller"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise InputError(
            f"expected a whole picture in {path}, but it is damaged ({error}): "
            "replace it by a fresh copy"
        ) from None
    raise InputError(
        f"expected one picture in {path}, received {pages} pages: save the one that "
        "you want as a file of its own"
    )


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(132)
    if not start:
        return " (it is empty)"
    return " (it is DICOM)" if start[128:] == b"DICM" else ""


def read_image(path: Path | str) -> np.ndarray:
    """Reads a photograph: 8 or 16 bits, grey, RGB, CMYK, palette or transparent.

    Returns:
        float32 array of shape (H, W, 3), RGB, 0..1. What is transparent is black.

    Raises:
        InputError: the file is missing, damaged, too large, of several pages or no
            picture.
    """
    pixels = read_pixels(path)
    return np.divide(pixels, full_scale(pixels), dtype=np.float32)


def read_pixels(path: Path | str) -> np.ndarray:
    """Reads a photograph as `read_image` does, but in a quarter of the memory.

    Returns:
        uint8 or, of a file of 16-bit grey, uint16 array of shape (H, W, 3), RGB: the
        image is what `full_scale` of it divides it into. Read-only.
    """
    picture = open_picture(path)
    if picture.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
        grey = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
        return np.broadcast_to(grey[..., None], (*grey.shape, 3))  # (H, W, 3)
    if picture.mode == "F":
        raise InputError(
            f"expected 8 or 16 bits a channel in {path}, received floating point, "
            "whose range is not known: export it as PNG"
        )
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(
        0, picture.height, ROWS_AT_A_TIME
    ):  # Pillow's copies are small then
        bottom = min(top + ROWS_AT_A_TIME, picture.height)
        pixels[top:bottom] = _on_black(picture.crop((0, top, picture.width, bottom)))
    pixels.flags.writeable = False
    return pixels


def _on_black(picture: Image.Image) -> Image.Image:
    """The picture in RGB; what is transparent is black."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


def read_binary(path: Path | str) -> np.ndarray:
    """Reads a black-and-white picture: palette, 1-bit, grey or RGB.

    Returns:
        bool array of shape (H, W), true where the picture is bright.

    Raises:
        InputError: the file is missing, damaged or not black and white.
    """
    # The colours count, not the palette's indices: DRIVE's second observer is stored
    # as indices {0, 1} for greys {3, 253}.
    values = np.asarray(open_picture(path).convert("L"))
    if values.max(initial=0) <= 1:  # written as 0 and 1 instead of 0 and 255
        return values == 1
    between = np.mean((values > 63) & (values < 192))
    if between > 0.05:
        raise InputError(
            f"expected a black-and-white picture in {path}, but {between:.0%} of its "
            "pixels are grey: is it a photograph?"
        )
    return values > 127


def full_scale(image: np.ndarray) -> float:
    """The number that stands for 1: 255 or 65535 of whole numbers, 1 of floats."""
    return float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
