"""Any picture file as pixels: photographs, and black-and-white pictures.

pixels = read_pixels("photo.jpg")
inside = read_binary("field.png")
"""

from __future__ import annotations

import mmap
import re
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from retina.files import InputError

# What is decoded, whatever a file's name says. Pillow knows more, and hands PostScript
# to Ghostscript: a program in a file called .jpg would run. JPEG includes MPO.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# A small file may hide a huge picture: beyond so many pixels none is decoded. One of
# 10,000 x 10,000 passes, and takes 2 GB of memory at most.
Image.MAX_IMAGE_PIXELS = 110_000_000
warnings.filterwarnings("ignore", module="PIL")  # a sentence follows where it matters
# What Pillow decodes value by value, in Python, takes a second a megapixel: PPM whose
# largest value is not 255 or 65535, or written in digits; run-length encoded BMP.
DECODED_IN_PYTHON = ("ppm", "ppm_plain", "bmp_rle")
MOST_IN_PYTHON = 10_000_000  # pixels
# Each scan of a JPEG goes over all pixels, and a few bytes make one; cameras write one,
# progressive files about ten.
MOST_SCANS = 50
PIXELS_AT_A_TIME = 2**22  # that are converted at a time: bounds memory
ROWS_AT_A_TIME = 512  # likewise
FEW_BITS = 12  # of values in a file of 16 bits, from which a photograph is too dark
BITS_NOTE = (
    "its largest value needs {bits} of 16 bits: name as many as the camera fills, such "
    "as --bits 12"
)
ORIENTATION = 0x0112  # the tag of EXIF
# How a viewer turns a picture of that orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def describe_skipped(paths: Iterable[Path]) -> str:
    """How many files are skipped, and which endings they have; "" if there are none."""
    endings = Counter(path.suffix.lower() or "no ending" for path in paths)
    if not endings:
        return ""
    listing = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    files = "file" if endings.total() == 1 else "files"
    return f"{endings.total()} {files} skipped: {listing}"


def open_picture(path: Path | str) -> Image.Image:
    """Decodes a picture file whole, in the orientation in which a viewer shows it.

    Raises:
        InputError: the file is missing, damaged, too large, of several pages or no
            picture.
    """
    with decoding(path), _open(path) as picture:
        # A camera's MPO holds the photograph and a thumbnail: the first counts.
        # Pages are not counted: that takes minutes where a TIFF has 100,000 of them.
        if getattr(picture, "is_animated", False) and picture.format != "MPO":
            raise InputError(
                f"expected one picture in {path}, received several pages: save the one "
                "that you want as a file of its own"
            )
        if picture.format in ("JPEG", "MPO"):
            _require_few_scans(path)
        return _load_upright(picture)


def _load_upright(picture: Image.Image) -> Image.Image:
    """Decodes a picture, and turns it as a viewer shows it."""
    picture.load()
    turn = TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _require_few_scans(path: Path | str) -> None:
    """Refuses a JPEG whose decoding would take minutes."""
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        scans = sum(1 for _ in re.finditer(b"\xff\xda", content))
    if scans > MOST_SCANS:
        raise InputError(
            f"expected a photograph of at most {MOST_SCANS} scans in {path}, received "
            f"{scans}, which take long to decode: export it as PNG"
        )


def picture_size(path: Path | str) -> tuple[int, int, int]:
    """Height and width as a viewer shows the picture, and its orientation tag (1..8).

    Only the file's head is read.
    """
    with decoding(path), _open(path) as picture:
        width, height = picture.size
        orientation = _orientation(picture)
        # Pillow turns the size of a TIFF by itself.
        if orientation >= 5 and picture.format != "TIFF":
            width, height = height, width
        return height, width, orientation


@contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Turns whatever a damaged or hostile file raises into an InputError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"expected a picture in {path}, found no such file") from None
    except UnidentifiedImageError:
        raise InputError(
            f"expected a picture in {path}, but it cannot be read as one"
            f"{_looks_like(Path(path))}: replace it by a fresh copy or export it as PNG"
        ) from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InputError(
            f"expected a photograph in {path}, but it is too large"
            f"{_in_brackets(error)}: make it smaller"
        ) from None
    except Exception as error:  # Pillow raises many types of errors for damage
        raise InputError(
            f"expected a whole picture in {path}, but it is damaged"
            f"{_in_brackets(error)}: replace it by a fresh copy"
        ) from None


def _in_brackets(error: BaseException) -> str:
    """What an error says, on one line; "" if it says nothing."""
    text = " ".join(str(error).split())
    return f" ({text})" if text else ""


def _open(path: Path | str) -> Image.Image:
    """Opens a regular file, of formats that are accepted, and reads its head."""
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise InputError(
            f"expected a picture in {path}, but it is a folder, a pipe or a device: "
            "give a file"
        )
    picture = Image.open(path, formats=FORMATS)
    if picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
    if picture.format == "TIFF":
        _require_interleaved(picture, path)
    _require_fast_decoder(picture, path)
    return picture


def _require_fast_decoder(picture: Image.Image, path: Path | str) -> None:
    """Refuses a large picture whose decoding would take minutes."""
    decoders = {tile.codec_name for tile in picture.tile}
    pixels = picture.width * picture.height
    if pixels > MOST_IN_PYTHON and decoders.intersection(DECODED_IN_PYTHON):
        picture.close()
        raise InputError(
            f"expected at most {MOST_IN_PYTHON} pixels in {path}, as this kind of "
            f"{picture.format} takes long to decode, received {pixels}: export it as "
            "PNG"
        )


def _require_interleaved(picture: Image.Image, path: Path) -> None:
    """Refuses a TIFF of 16-bit colours in planes of their own: Pillow scrambles it."""
    bits, planar = picture.tag_v2.get(258, (1,)), picture.tag_v2.get(284, 1)
    if planar == 2 and len(bits) > 1 and max(bits) > 8:
        picture.close()
        raise InputError(
            f"expected interleaved colours in {path}, received 16-bit colours in "
            "planes of their own: save it with shape (height, width, 3), or as PNG"
        )


def _orientation(picture: Image.Image) -> int:
    """The orientation that EXIF tells, 1..8; 1 where it tells none that can be read."""
    orientation = _find_orientation(picture.info.get("exif", b""))
    if orientation is None:  # a TIFF has tags of its own; others may have XMP
        try:
            orientation = picture.getexif().get(ORIENTATION)
        except Exception:  # other tags may be damaged: they do not matter
            orientation = None
    return orientation if orientation in TURNS else 1


def _find_orientation(exif: bytes) -> int | None:
    """Reads one tag alone: where another one is damaged, Pillow reads none."""
    exif = re.sub(b"^(Exif\0\0){1,2}", b"", exif)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    for place in range(start + 2, len(exif) - 11, 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
        if tag == ORIENTATION:
            return value
    return None


def _looks_like(path: Path) -> str:
    """What a file is that is no picture; "" where that is not known."""
    with path.open("rb") as file:
        start = file.read(132)
    if not start:
        return " (it is empty)"
    return " (it is DICOM)" if start[128:] == b"DICM" else ""


def row_slices(height: int) -> Iterator[slice]:
    """The rows of an array, some at a time: converting these bounds memory."""
    for top in range(0, height, ROWS_AT_A_TIME):
        yield slice(top, min(top + ROWS_AT_A_TIME, height))


def as_image(pixels: np.ndarray) -> np.ndarray:
    """What `read_pixels` read as an image: float32, 0..1."""
    return np.divide(pixels, full_scale(pixels), dtype=np.float32)


def read_pixels(path: Path | str, bits: int | None = None) -> np.ndarray:
    """Reads a photograph: 8 or 16 bits, grey, RGB, CMYK, palette or transparent.

    Args:
        path: of its file.
        bits: 8 to 16; of values in a file of 16 bits, where a camera fills fewer: the
            largest number of so many bits is white then. Files of 8 bits are read as
            they are.

    Returns:
        uint8 or, of 16-bit grey, of 16-bit colours that fill `FEW_BITS` at most, and
        of any file of 16 bits where `bits` are named, uint16 array of shape (H, W, 3),
        RGB, for `as_image`. Transparent pixels become black. Read-only.

    Raises:
        InputError: the file is missing, damaged, too large, of several pages or no
            picture; or values are larger than `bits` allow.
    """
    with decoding(path):
        if _has_deep_colours(path):
            return _deep_colours(path, bits)
        picture = open_picture(path)
        if picture.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
            grey = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
            grey = grey if bits in (None, 16) else _scale(grey, bits, path)
            return np.broadcast_to(grey[..., None], (*grey.shape, 3))  # (H, W, 3)
        if picture.mode == "F":
            raise InputError(
                f"expected 8 or 16 bits a channel in {path}, received floating point, "
                "whose range is not known: export it as PNG"
            )
        return _colours(picture)


def _has_deep_colours(path: Path | str) -> bool:
    """Whether a file holds colours of 16 bits, of which Pillow keeps the upper 8."""
    with _open(path) as picture:
        deep = any(";16" in str(tile.args) for tile in picture.tile)
        return deep and picture.mode[0] not in "IF"  # greys are kept as they are


def _deep_colours(path: Path | str, bits: int | None) -> np.ndarray:
    """Colours of 16 bits: their upper 8; or, where they fill few or `bits` are named,
    all of them."""
    picture = open_picture(path)
    upper = _colours(picture)
    if bits in (None, 16) and upper.max(initial=0) >> (FEW_BITS - 8):
        return upper
    if picture.mode != "RGB":
        raise InputError(
            f"expected RGB of 16 bits in {path}, received mode {picture.mode} of fewer "
            "bits: save it without transparency"
        )
    del picture  # before the other half is decoded: 4 bytes a pixel
    values = upper.astype(np.uint16)
    del upper
    values <<= 8
    for rows, lower in _strips(_swap_bytes(path)):
        values[rows] |= lower
    values = values if bits in (None, 16) else _scale(values, bits, path)
    values.flags.writeable = False
    return values


def _swap_bytes(path: Path | str) -> Image.Image:
    """Decodes colours of 16 bits as if their bytes lay the other way round."""
    little = sys.byteorder == "little"
    swapped = {"L": "B", "B": "L", "N": "B" if little else "L"}
    with _open(path) as picture:
        picture.tile = [
            tile._replace(args=_with_order(tile.args, swapped)) for tile in picture.tile
        ]
        return _load_upright(picture)


def _with_order(args: str | tuple, swapped: dict[str, str]) -> str | tuple:
    """A decoder's arguments, which begin with a raw mode such as RGB;16B."""
    mode, *others = (args,) if isinstance(args, str) else args
    mode = mode[:-1] + swapped[mode[-1]]
    return mode if isinstance(args, str) else (mode, *others)


def _scale(values: np.ndarray, bits: int, path: Path | str) -> np.ndarray:
    """Numbers of `bits` bits as of 16, in place: the largest becomes 65535."""
    white = 2**bits - 1
    if values.max(initial=0) > white:
        raise InputError(
            f"expected values of at most {white} in {path}, as {bits} bits hold, "
            f"received {values.max()}: give more with --bits, or leave it out"
        )
    for rows in row_slices(len(values)):
        values[rows] = np.round(values[rows] * (65535 / white))
    return values


def few_bits(pixels: np.ndarray) -> int | None:
    """How many bits the values of a 16-bit photograph fill, if suspiciously few.

    Returns:
        1..FEW_BITS, for BITS_NOTE; None where the photograph has 8 bits, fills more
        or is black.
    """
    if pixels.dtype != np.uint16:
        return None
    bits = int(pixels.max(initial=0)).bit_length()
    return bits if 0 < bits <= FEW_BITS else None


def _colours(picture: Image.Image) -> np.ndarray:
    """The picture as uint8 array of shape (H, W, 3), RGB; transparent is black."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for rows, strip in _strips(picture):
        pixels[rows] = strip
    pixels.flags.writeable = False
    return pixels


def _strips(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Rows of the picture, and these in RGB: this bounds Pillow's copies."""
    for rows in row_slices(picture.height):
        box = (0, rows.start, picture.width, rows.stop)
        yield rows, _on_black(picture.crop(box))


def _on_black(picture: Image.Image) -> Image.Image:
    """The picture in RGB; what is transparent is black."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


def read_binary(path: Path | str) -> np.ndarray:
    """Reads a black-and-white picture, such as a field of view.

    Returns:
        bool array of shape (H, W), true where the picture is bright.

    Raises:
        InputError: the file is missing, damaged or not black and white.
    """
    # The colours count, not the palette's indices, whose order may be any.
    with decoding(path):
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
