"""A photograph is known again however it was saved; another one is not."""

import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina.identity import SIDE, Identity, hash_pixels, identify, make_thumbnail
from retina.phantoms import draw_phantom
from retina.pictures import read_pixels

DATA = Path("input")


@pytest.fixture(scope="module")
def eyes():
    """Two drawn photographs, uint8 of shape (200, 190, 3)."""
    drawn = (
        draw_phantom(height=200, width=190, rng=np.random.default_rng(seed)).image
        for seed in range(2)
    )
    return [(255 * image).round().astype(np.uint8) for image in drawn]


def of(pixels):
    return Identity("eye", "", "", make_thumbnail(pixels))


def as_jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def copies(pixels):
    """What people make of a photograph: name -> pixels."""
    picture = Image.fromarray(pixels)
    height, width, _ = pixels.shape
    small = picture.resize((round(0.37 * width), round(0.37 * height)))
    side, edge = max(height, width) + 8, round(0.02 * width)
    padded = np.zeros((side, side, 3), np.uint8)
    padded[4 : 4 + height, 4 : 4 + width] = pixels
    return {
        "half": np.asarray(picture.resize((width // 2, height // 2))),
        "small": np.asarray(small),
        "JPEG": as_jpeg(picture),
        "small JPEG": as_jpeg(picture.resize((width // 2, height // 2))),
        "mirrored": pixels[:, ::-1],
        "turned": np.rot90(pixels),
        "turned and mirrored": as_jpeg(Image.fromarray(pixels.transpose(1, 0, 2))),
        "padded": padded,
        "squashed": np.asarray(picture.resize((256, 256))),
        "cropped": pixels[edge:-edge, edge:-edge],
    }


def test_a_copy_looks_like_the_photograph_and_another_eye_does_not(eyes):
    one, other = map(of, eyes)
    unlike = [
        name for name, copy in copies(eyes[0]).items() if not one.looks_like(of(copy))
    ]
    assert unlike == []
    alike = [
        name for name, copy in copies(eyes[0]).items() if other.looks_like(of(copy))
    ]
    assert alike == []


def test_pixels_are_known_whatever_the_file(tmp_path, eyes):
    picture = Image.fromarray(eyes[0])
    picture.save(tmp_path / "eye.png")
    picture.save(tmp_path / "again.tif")
    png, tif = identify(tmp_path / "eye.png"), identify(tmp_path / "again.tif")
    assert png.file_sha256 != tif.file_sha256
    assert png.pixels_sha256 == tif.pixels_sha256 == hash_pixels(eyes[0])
    assert png.is_same(tif) and (png.name, tif.name) == ("eye", "again")
    changed = eyes[0].copy()
    changed[100, 100, 0] ^= 1
    Image.fromarray(changed).save(tmp_path / "changed.png")
    other = identify(tmp_path / "changed.png")
    assert not png.is_same(other) and png.looks_like(other)


def test_shape_and_type_are_part_of_the_hash():
    zeros = np.zeros((2, 3), np.uint8)
    assert len({hash_pixels(a) for a in (zeros, zeros.T, zeros.astype(bool))}) == 3
    assert hash_pixels(zeros.T) == hash_pixels(np.zeros((3, 2), np.uint8))


def test_sixteen_bits_have_the_same_thumbnail(eyes):
    assert make_thumbnail(eyes[0].astype(np.uint16) * 257) == make_thumbnail(eyes[0])
    assert re.fullmatch(f"[0-9a-f]{{{SIDE**2}}}", make_thumbnail(eyes[0]))


@pytest.mark.parametrize("unknown", ["", "80" * 256])
def test_a_thumbnail_that_is_not_known_looks_like_nothing(eyes, unknown):
    assert not of(eyes[0]).looks_like(Identity("eye", "", "", unknown))


def test_what_shows_nothing_looks_like_nothing():
    black = of(np.zeros((90, 80, 3), np.uint8))
    assert not black.looks_like(black)


def eye_of(path):
    """RIDB holds five photographs of each eye; FIVES' 22_A and 23_A are of one."""
    if person := re.fullmatch(r"IM0+\d_(\d+)", path.stem):
        return person[1]
    return "22_A" if path.stem == "23_A" else path.stem


SETS = [
    "DRIVE/*/images/*.tif",
    "CHASE_DB1/*.jpg",
    "LES-AV/images/*",
    "FIVES_sample/images/*",
    "RETA/images/*",
    "RIDB/images/*",
]


@pytest.mark.slow
def test_real_eyes_are_told_apart():
    """The figures beside LIKENESS: pytest -m slow -s tests/test_identity.py"""
    paths = [p for pattern in SETS for p in sorted(DATA.glob(pattern))]
    if len(paths) < 2:
        pytest.skip("no real photographs are here")
    highest, lowest, seen, seconds = 0.0, {}, [], 0.0
    for path in paths:
        pixels = read_pixels(path)
        start = time.perf_counter()
        this = of(pixels)
        seconds += time.perf_counter() - start
        for name, copy in copies(pixels).items():
            likeness = this.likeness(of(copy))
            lowest[name] = min(lowest.get(name, 1.0), likeness)
        for eye, other in seen:
            if eye != eye_of(path):
                highest = max(highest, this.likeness(other))
        seen.append((eye_of(path), this))
    print(f"\n{len(paths)} photographs: {1000 * seconds / len(paths):.1f} ms each")
    print(f"different eyes {highest:.3f} at most; copies, at least:", lowest)
    assert highest < 0.7 and min(lowest.values()) > 0.8
