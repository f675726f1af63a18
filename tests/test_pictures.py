"""Any picture file becomes pixels, or one sentence."""

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import tiff
from PIL import Image

from retina import pictures
from retina.files import InputError
from retina.pictures import (
    as_image,
    describe_skipped,
    few_bits,
    full_scale,
    picture_size,
    read_binary,
    read_pixels,
)


def save(path, values, mode=None):
    Image.fromarray(np.asarray(values, np.uint8)).convert(mode or "L").save(path)
    return path


def png(chunks):
    """A PNG file's bytes, put together by hand."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def bomb():
    """A small file that says it holds 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])


@pytest.mark.parametrize(
    "content, message",
    [
        (b"hello", "cannot be read as one"),
        (b"", "it is empty"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "it is DICOM"),
        (bomb(), "too large"),
        ("truncated", "damaged"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_an_unreadable_photograph_is_named(tmp_path, content, message):
    path = tmp_path / "photo.png"
    if content == "truncated":
        whole = save(tmp_path / "whole.jpg", np.full((99, 99), 7), "RGB").read_bytes()
        content = whole[: len(whole) * 3 // 4]
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_pixels(path)
    assert "photo.png" in str(caught.value) and "\n" not in str(caught.value)


def test_several_pages_are_refused(tmp_path):
    page = Image.new("RGB", (8, 8))
    page.save(tmp_path / "scan.tif", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="several pages"):
        read_pixels(tmp_path / "scan.tif")


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "heat.tif")
    with pytest.raises(InputError, match="export it as PNG"):
        read_pixels(tmp_path / "heat.tif")


COLOUR = (204, 102, 51)  # one of the web palette


@pytest.mark.parametrize(
    "name, mode",
    [
        ("a.jpg", "RGB"),
        ("a.JPEG", "RGB"),
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "P"),
        ("a.tif", "RGB"),
        ("a.tif", "CMYK"),
        ("a.bmp", "RGB"),
        ("a.ppm", "RGB"),
        ("a.webp", "RGB"),
    ],
)
def test_every_format_becomes_the_same_colours(tmp_path, name, mode):
    Image.new("RGB", (30, 20), COLOUR).convert(mode).save(tmp_path / name)
    image = as_image(read_pixels(tmp_path / name))
    assert image.shape == (20, 30, 3) and image.dtype == np.float32
    expected = np.broadcast_to(np.array(COLOUR) / 255, image.shape)
    np.testing.assert_allclose(image, expected, atol=0.03)


def test_grey_and_transparent(tmp_path):
    grey = as_image(read_pixels(save(tmp_path / "grey.png", np.full((4, 5), 51))))
    np.testing.assert_allclose(grey, 0.2, atol=1e-6)
    half = Image.new("RGBA", (2, 1), (*COLOUR, 255))
    half.putpixel((1, 0), (*COLOUR, 0))
    half.save(tmp_path / "half.png")
    seen = as_image(read_pixels(tmp_path / "half.png"))[0]
    np.testing.assert_allclose(seen, [np.array(COLOUR) / 255, [0, 0, 0]], atol=1e-6)


def test_sixteen_bit_colour(tmp_path):
    """Pillow writes none, so this PNG is put together by hand."""
    pixel = struct.pack(">HHH", *(value * 257 for value in COLOUR))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + pixel * 2)),
        (b"IEND", b""),
    ]
    (tmp_path / "deep.png").write_bytes(png(chunks))
    image = as_image(read_pixels(tmp_path / "deep.png"))
    np.testing.assert_allclose(image[0, 1], np.array(COLOUR) / 255, atol=1 / 255)


def test_pixels_are_the_image_in_less_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "ROWS_AT_A_TIME", 7)  # rows: in several pieces
    values = np.random.default_rng(0).integers(0, 255, (30, 20, 4), np.uint8)
    for mode, scale in (("RGB", 255), ("RGBA", 255), ("I;16", 65535)):
        path = tmp_path / f"{mode[:1]}.png"
        picture = Image.fromarray(values).convert("RGB" if mode == "RGB" else "RGBA")
        if mode == "I;16":
            picture = Image.fromarray(values[..., 0].astype(np.uint16) * 256)
        picture.save(path)
        pixels = read_pixels(path)
        assert pixels.shape == (30, 20, 3)
        assert pixels.dtype == (np.uint8 if scale == 255 else np.uint16)
        assert full_scale(pixels) == scale
        image = as_image(read_pixels(path))
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, pixels / np.float32(scale))
    grey = np.repeat(values[..., :1].astype(np.uint16) * 256, 3, axis=-1)
    np.testing.assert_array_equal(pixels, grey)


def test_sixteen_bit_grey_is_not_clipped(tmp_path):
    values = np.array([[0, 32768], [65535, 1000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    image = as_image(read_pixels(tmp_path / "grey.png"))
    np.testing.assert_allclose(image[..., 1], values / 65535, atol=1e-6)


def test_orientation_is_what_a_viewer_shows(tmp_path):
    picture = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert as_image(read_pixels(tmp_path / "turned.jpg")).shape == (3, 2, 3)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_black_and_white_in_any_mode(tmp_path, mode):
    path = save(tmp_path / "label.png", [[0, 255], [255, 0]], mode)
    np.testing.assert_array_equal(read_binary(path), [[0, 1], [1, 0]])


def test_black_and_white_written_as_0_and_1(tmp_path):
    path = save(tmp_path / "label.png", [[0, 1], [0, 0]])
    np.testing.assert_array_equal(read_binary(path), [[0, 1], [0, 0]])


def test_a_photograph_is_no_label(tmp_path):
    path = save(tmp_path / "photo.png", np.arange(256).reshape(16, 16))
    with pytest.raises(InputError, match="black-and-white"):
        read_binary(path)


# --- what damaged, odd and hostile files become --------------------------------------


def test_nothing_but_pictures_is_decoded(tmp_path):
    """Pillow would hand PostScript to Ghostscript, which runs programs."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 30\nshowpage\n")
    with pytest.raises(InputError, match="cannot be read as one"):
        read_pixels(path)
    for kind in ("ICO", "PCX", "TGA", "SGI", "JPEG2000", "DDS"):
        Image.new("RGB", (32, 32), "red").save(path, kind)
        with pytest.raises(InputError, match="cannot be read as one"):
            read_pixels(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("read", [read_pixels, read_binary, picture_size])
def test_what_is_no_file_is_told_at_once(tmp_path, make, read):
    make(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match="a folder, a pipe or a device"):
        read(tmp_path / "photo.jpg")


def turned_jpeg(path, orientation=6):
    """A JPEG of 20 x 30 pixels with tags; returns the place of its EXIF block."""
    picture = Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30))
    exif = picture.getexif()
    exif[pictures.ORIENTATION] = orientation
    exif[0x010F], exif[0x011A], exif[0x829A] = "Maker of cameras", 72.0, 0.5
    picture.save(path, exif=exif)
    data = path.read_bytes()
    start = data.index(b"Exif\0\0")
    return start + 14, start - 2 + int.from_bytes(data[start - 2 : start], "big")


@pytest.mark.filterwarnings("ignore:::PIL")
def test_damage_to_other_tags_does_not_matter(tmp_path):
    path = tmp_path / "photo.jpg"
    start, end = turned_jpeg(path)
    sound = path.read_bytes()
    expected = read_pixels(path)
    place = sound.index(b"\x01\x12\x00\x03")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(sound)
        for i in rng.integers(start + 2, end, 4):
            if not place <= i < place + 12:
                damaged[i] = rng.integers(256)
        path.write_bytes(damaged)
        np.testing.assert_array_equal(read_pixels(path), expected)
        assert picture_size(path) == (30, 20, 6)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_that_a_viewer_shows(tmp_path, ending, orientation):
    path = tmp_path / f"photo.{ending}"
    picture = Image.new("RGB", (30, 20))
    exif = picture.getexif()
    exif[pictures.ORIENTATION] = orientation
    picture.save(path, exif=exif)
    assert picture_size(path)[:2] == read_pixels(path).shape[:2]
    assert read_pixels(path).shape[:2] == ((30, 20) if orientation > 4 else (20, 30))


def damage(data, *, rng):
    """Some bytes of a file changed, or its end cut off."""
    if rng.random() < 0.3:
        return data[: rng.integers(1, len(data))]
    damaged = bytearray(data)
    for i in rng.integers(0, min(len(data), 400), rng.integers(1, 9)):
        damaged[i] = rng.integers(256)
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
def test_a_damaged_file_is_read_or_told_in_a_sentence(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # bounds time, too
    rng = np.random.default_rng(0)
    path = tmp_path / f"photo.{ending}"
    values = rng.integers(0, 256, (12, 14, 3), np.uint8)
    modes = ["RGB", "L"] + ["P"] * (ending not in ("jpg", "ppm"))
    for mode in modes + ["CMYK", "LAB"] * (ending == "tif"):
        picture = Image.fromarray(values)
        if mode == "LAB":
            picture = Image.merge("LAB", picture.split())
        picture.convert(mode).save(path)
        sound = path.read_bytes()
        for _ in range(60):
            path.write_bytes(damage(sound, rng=rng))
            for read in (read_pixels, read_binary, picture_size):
                try:
                    read(path)
                except InputError as error:
                    assert "\n" not in str(error)


def test_whatever_decoding_raises_becomes_a_sentence(tmp_path, monkeypatch):
    path = save(tmp_path / "photo.png", np.zeros((4, 4)))
    for error in (TypeError("Missing\ndimensions"), OverflowError(), RecursionError()):
        monkeypatch.setattr(Image.Image, "convert", raising(error))
        for read in (read_pixels, read_binary):
            with pytest.raises(InputError, match="damaged") as caught:
                read(path)
            assert "\n" not in str(caught.value)
    monkeypatch.setattr(Image.Image, "convert", raising(MemoryError()))
    with pytest.raises(InputError, match="too large"):
        read_pixels(path)


@pytest.mark.parametrize("read", [read_pixels, read_binary, picture_size])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, read):
    """A file of a few bytes with 14 rows more than pass."""
    rows = Image.MAX_IMAGE_PIXELS // 11_000 + 14
    header = struct.pack(">IIBBBBB", 11_000, rows, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    (tmp_path / "photo.png").write_bytes(png(chunks))
    with pytest.raises(InputError, match=f"too large .11000 x {rows} pixels.: make"):
        read(tmp_path / "photo.png")


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "photo.jpg"
    values = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(values).save(path, progressive=True)
    sound = path.read_bytes()
    assert read_pixels(path).shape == (40, 40, 3)
    start = sound.rindex(b"\xff\xda")  # the last scan, once and again
    path.write_bytes(sound[:start] + sound[start:-2] * 300 + b"\xff\xd9")
    for read in (read_pixels, read_binary):
        with pytest.raises(InputError, match=r"received 3\d\d, which take long"):
            read(path)


def tiff_of_pages(pages):
    """One grey pixel, and as many directories of tags, each of which names the next."""
    tags = [(256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (278, 1), (279, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    size = 2 + len(entries) + 4
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(
        struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_one)
        for next_one in (*range(8 + size, 8 + size * pages, size), 0)
    )


def test_pages_are_not_counted(tmp_path):
    """The time would grow with their square."""
    (tmp_path / "one.tif").write_bytes(tiff_of_pages(1))
    assert read_pixels(tmp_path / "one.tif").shape == (1, 1, 3)
    (tmp_path / "many.tif").write_bytes(tiff_of_pages(30_000))
    began = time.process_time()
    with pytest.raises(InputError, match="several pages"):
        read_pixels(tmp_path / "many.tif")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("kind", ["P6 {} {} 254\n", "P3 {} {} 255\n"])
def test_what_is_decoded_in_python_is_bounded(tmp_path, kind):
    path = tmp_path / "photo.ppm"
    path.write_bytes(kind.format(2, 1).encode() + b"10 20 30 40 50 60 ")
    assert read_pixels(path).shape == (1, 2, 3)
    path.write_bytes(kind.format(4000, 3000).encode() + bytes(100))
    with pytest.raises(InputError, match="at most 10000000 .* takes long .* PNG"):
        read_pixels(path)


def test_of_damage_that_does_not_matter_nothing_is_said(tmp_path):
    content = bytearray(tiff_of_pages(1))
    content[-16:-4] = struct.pack("<HHII", 40000, 2, 2**24, 8)  # a text beyond the end
    (tmp_path / "photo.tif").write_bytes(content)
    script = "from retina.pictures import read_pixels; print(read_pixels('photo.tif'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""


def raising(error):
    def convert(*args, **options):
        raise error

    return convert


def test_sixteen_bit_colours_in_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), np.uint16)
    (tmp_path / "photo.tif").write_bytes(tiff(values, planar=1))
    np.testing.assert_array_equal(read_pixels(tmp_path / "photo.tif"), values >> 8)
    (tmp_path / "photo.tif").write_bytes(tiff(values, planar=2))
    with pytest.raises(InputError, match=r"save it with shape \(height, width, 3\)"):
        read_pixels(tmp_path / "photo.tif")


def test_fewer_bits_are_scaled_and_only_when_named(tmp_path):
    values = np.array([[0, 1], [2048, 4095]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    (tmp_path / "colour.tif").write_bytes(tiff(np.stack([values] * 3, axis=-1), 1))
    for name in ("grey.png", "colour.tif"):
        pixels = read_pixels(tmp_path / name, bits=12)
        assert pixels.shape == (2, 2, 3) and full_scale(pixels) == 65535
        image = as_image(read_pixels(tmp_path / name, 12))
        np.testing.assert_allclose(image[..., 1], values / 4095, atol=0.5 / 65535)
        assert image.min() == 0 and image.max() == 1
        with pytest.raises(InputError, match=r"at most 1023 .* received 4095"):
            read_pixels(tmp_path / name, bits=10)
    pixels = read_pixels(tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels[..., 0], values)
    assert few_bits(pixels) == 12 and few_bits(pixels // 16) == 8
    assert "needs 12 of 16 bits" in pictures.BITS_NOTE.format(bits=few_bits(pixels))
    assert few_bits(pixels * 16) is None and few_bits(pixels * 0) is None
    np.testing.assert_array_equal(read_pixels(tmp_path / "grey.png", bits=16), pixels)
    colours = read_pixels(tmp_path / "colour.tif")  # of few bits none is left out
    np.testing.assert_array_equal(colours, pixels)
    assert few_bits(colours) == 12


def test_bits_do_not_matter_to_eight_bit_files(tmp_path):
    path = save(tmp_path / "photo.png", [[0, 200]], "RGB")
    np.testing.assert_array_equal(read_pixels(path, bits=12), read_pixels(path))
    assert few_bits(read_pixels(path)) is None


@pytest.mark.parametrize("ending", pictures.ENDINGS)
def test_every_ending_can_be_read(tmp_path, ending):
    path = tmp_path / f"photo{ending}"
    mode = {".pbm": "1", ".pgm": "L"}.get(ending, "RGB")
    Image.new(mode, (30, 20), "white").save(path)
    assert read_pixels(path).shape == (20, 30, 3) and read_pixels(path).min() == 255


def test_names_may_be_of_any_bytes(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9.png"))
    Image.new("RGB", (3, 2), "white").save(path)
    assert read_pixels(path).shape == (2, 3, 3)


def test_what_is_skipped_is_counted_by_ending():
    paths = [Path(name) for name in ("a.dcm", "b.DCM", "c.heic", "README")]
    assert describe_skipped(paths) == "4 files skipped: 2 .dcm, 1 .heic, 1 no ending"
    assert describe_skipped(paths[:1]) == "1 file skipped: 1 .dcm"
    assert describe_skipped([]) == ""
