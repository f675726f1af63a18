"""The estimated field of view of circles known exactly, spoilt in many ways."""

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina import datasets, field_of_view, phantoms, quality
from retina.field_of_view import estimate_field_of_view
from retina.pictures import as_image, read_pixels
from retina.quality import map_notes, quality_notes

DRIVE = Path(__file__).resolve().parents[1] / "input" / "DRIVE"


@functools.cache
def draw(height=584, width=565, seed=0):
    """A phantom and the distance (H, W) of its pixels from the centre, in radii."""
    drawn = phantoms.draw_phantom(
        height=height, width=width, rng=np.random.default_rng(seed)
    )
    circle = drawn.truth["field_of_view"]
    rows, columns = np.indices((height, width))
    away = np.hypot(rows - circle["row"], columns - circle["column"])
    return drawn, away / circle["radius"]


@pytest.fixture(scope="module")
def drive_like():
    return draw()


def overlap(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def check(image, inside, diameter):
    """The estimate is round, agrees with `inside` and has the diameter."""
    image = np.clip(image, 0, 1).astype(np.float32)
    field = estimate_field_of_view(image)
    assert field.round
    assert field.inside.dtype == bool and field.inside.shape == image.shape[:2]
    assert overlap(field.inside, inside) >= 0.97
    assert field.diameter == pytest.approx(diameter, rel=0.02)


def as_jpeg(image, quality):
    file = io.BytesIO()
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


# --- what is round -------------------------------------------------------------------


@pytest.mark.parametrize(
    "height, width", [(128, 128), (256, 256), (584, 565), (605, 700), (640, 480)]
)
def test_clean_phantoms_of_every_size(height, width):
    drawn, _ = draw(height, width)
    circle = drawn.truth["field_of_view"]
    check(drawn.image, drawn.field_of_view, 2 * circle["radius"])
    field = estimate_field_of_view(drawn.image)
    assert field.row == pytest.approx(circle["row"], abs=0.5)
    assert field.column == pytest.approx(circle["column"], abs=0.5)


def noisy(image, away, rng):
    return image + rng.normal(0, 0.08, image.shape)


def dark(image, away, rng):
    return np.round(image * 0.15 * 255) / 255


def very_dark_and_noisy(image, away, rng):
    return np.round((image * 0.05 + rng.normal(0, 0.01, image.shape)) * 255) / 255


def grey_around(image, away, rng):
    return image + 0.25 * (away > 1)[..., None]


def compressed_noise_around(image, away, rng):
    return as_jpeg(np.maximum(image, 0.08) + rng.normal(0, 0.03, image.shape), 40)


def dim_red_rim(image, away, rng):
    light = np.clip(1.3 - away, 0, None) ** 1.5
    return as_jpeg(image * light[..., None] * (1, 0.5, 0.4), 80)


def out_of_focus(image, away, rng):
    return phantoms.blur(image, 6)


def half_in_shadow(image, away, rng):
    return image * np.linspace(0.15, 1, image.shape[1])[:, None]


def bright_at_the_rim(image, away, rng):
    image = image.copy()
    image[260:340, :60] = 1  # over the rim at the left
    return image


def text_in_corners(image, away, rng):
    image = image.copy()
    image[4:30, 4:200] = rng.random((26, 196, 1)) < 0.5
    image[-24:-4, -150:-4] = 1
    return image


def notch_at_the_rim(image, away, rng):
    rows, columns = np.indices(away.shape)
    bump = np.hypot(rows - 95, columns - 478) < 16
    return np.where(bump[..., None], image[away < 1].mean(0), image)


def black_and_white(image, away, rng):
    return np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)


@pytest.mark.parametrize(
    "spoil",
    [
        noisy,
        dark,
        very_dark_and_noisy,
        grey_around,
        compressed_noise_around,
        dim_red_rim,
        out_of_focus,
        half_in_shadow,
        bright_at_the_rim,
        text_in_corners,
        notch_at_the_rim,
        black_and_white,
    ],
)
def test_spoilt_photographs(drive_like, spoil):
    drawn, away = drive_like
    image = spoil(drawn.image, away, np.random.default_rng(1))
    diameter = 2 * drawn.truth["field_of_view"]["radius"]
    check(image, drawn.field_of_view, diameter)


@pytest.mark.parametrize(
    "rows, columns",
    [
        (slice(90, -90), slice(None)),  # top and bottom, as in STARE and HRF
        (slice(None), slice(80, -80)),
        (slice(150, None), slice(None)),  # top alone
        (slice(80, -80), slice(70, -70)),  # four corners of the rim are left
    ],
)
def test_frames_that_clip_the_field(drive_like, rows, columns):
    drawn, _ = drive_like
    diameter = 2 * drawn.truth["field_of_view"]["radius"]
    check(drawn.image[rows, columns], drawn.field_of_view[rows, columns], diameter)


def test_field_cut_straight_within_a_black_frame(drive_like):
    drawn, away = drive_like
    shown = np.zeros(away.shape, bool)
    shown[90:-90] = True
    image = np.where(shown[..., None], drawn.image, np.float32(0.03))
    diameter = 2 * drawn.truth["field_of_view"]["radius"]
    check(image, drawn.field_of_view & shown, diameter)


def test_small_field_anywhere_in_a_large_frame(drive_like):
    drawn, _ = drive_like
    image = np.zeros((1000, 1400, 3), np.float32)
    inside = np.zeros((1000, 1400), bool)
    image[50:634, 800:1365] = drawn.image
    inside[50:634, 800:1365] = drawn.field_of_view
    check(image, inside, 2 * drawn.truth["field_of_view"]["radius"])


def test_the_same_photograph_at_another_resolution(drive_like):
    drawn, _ = drive_like
    levels = np.round(drawn.image * 255).astype(np.uint8)
    large = Image.fromarray(levels).resize((1695, 1752), Image.Resampling.BICUBIC)
    image = np.asarray(large, np.float32) / 255
    assert estimate_field_of_view(image).diameter == pytest.approx(
        3 * estimate_field_of_view(drawn.image).diameter, rel=0.002
    )


# --- the rim -------------------------------------------------------------------------


def test_the_rim_around_an_estimate_is_kept_and_no_more(drive_like):
    drawn, away = drive_like
    field = estimate_field_of_view(drawn.image)
    kept = field_of_view.widen(field)
    assert kept[away < 1.045].all() and not kept[away > 1.055].any()


def test_straight_cuts_move_outwards_by_the_rim(drive_like):
    drawn, away = drive_like
    image = drawn.image.copy()
    image[:90] = image[-90:] = 0
    kept = field_of_view.widen(estimate_field_of_view(image))
    rim = 0.05 * drawn.truth["field_of_view"]["radius"]
    rows = np.flatnonzero(kept.any(axis=1))
    assert rows[[0, -1]] == pytest.approx([90 - rim, 583 - 90 + rim], abs=2)


def test_without_a_round_field_nothing_is_widened():
    inside = np.eye(4, dtype=bool)
    field = field_of_view.FieldOfView(inside, 5.0, 1.5, 1.5, False)
    np.testing.assert_array_equal(field_of_view.widen(field), inside)


# --- what is not ---------------------------------------------------------------------


def test_without_a_rim_everything_is_inside(drive_like):
    drawn, _ = drive_like
    field = estimate_field_of_view(drawn.image[110:480, 110:460])
    assert not field.round
    assert field.inside.shape == (370, 350) and field.inside.all()
    assert field.diameter == pytest.approx(np.hypot(370, 350))
    assert (field.row, field.column) == (184.5, 174.5)


def ordinary_pictures():
    rng = np.random.default_rng(0)
    rows, columns = np.indices((300, 400))
    pictures = {
        "black": np.zeros((300, 400)),
        "white": np.ones((300, 400)),
        "one white pixel": (rows == 7) & (columns == 9),
        "noise": rng.random((300, 400)),
        "dark noise": rng.random((300, 400)) * 0.03,
        "half dark": columns > 200,
        "noisy horizon": (rows > 150) * 0.8 + rng.normal(0, 0.05, (300, 400)),
        "gradient": columns / 400,
        "vignette": 1 - 0.8 * np.hypot(rows - 150, columns - 200) / 250,
        "sheet of paper": (abs(rows - 150) < 100) & (abs(columns - 200) < 150),
        "checkerboard": (rows // 30 + columns // 30) % 2,
        "one pixel": np.ones((1, 1)),
        "strip": rng.random((2, 300)),
        "thin strip": rng.random((17, 3000)),
    }
    for name, picture in pictures.items():
        yield pytest.param(np.clip(picture, 0, 1).astype(np.float32), id=name)


@pytest.mark.parametrize("picture", list(ordinary_pictures()))
def test_ordinary_pictures_have_no_round_field(picture):
    image = np.repeat(picture[..., None], 3, axis=2)
    field = estimate_field_of_view(image)
    assert not field.round and field.inside.all()
    assert quality.NOT_ROUND in quality_notes(image, field)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 4), (0, 5, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected a photograph of shape"):
        estimate_field_of_view(np.zeros(shape, np.float32))


# --- notes ---------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(256, 256), (584, 565), (720, 750)])
def test_a_clean_phantom_has_no_notes(height, width):
    drawn, _ = draw(height, width)
    field = estimate_field_of_view(drawn.image)
    assert quality_notes(drawn.image, field) == []
    assert map_notes(drawn.label.astype(np.float32), field) == []


def enlarged(height, width):
    """Retina that fills a frame."""
    drawn, _ = draw(1000, 1000)
    top, left = (1000 - height) // 2, (1000 - width) // 2
    return drawn.image[top : top + height, left : left + width]


def two_eyes(axis, dimmed):
    return np.concatenate([draw()[0].image, draw(seed=1)[0].image * dimmed], axis)


def in_an_ellipse(shown, dimmed):
    """Ultra-wide: an ellipse of `shown` on grey of `dimmed`, or on black."""
    height, width = shown.shape[:2]
    rows, columns = np.indices((height, width))
    down, right = rows / height * 2 - 1, columns / width * 2 - 1
    return shown * np.where(np.hypot(down, right) < 0.95, 1, dimmed)[..., None]


def eye_within_an_ellipse():
    shown = np.full((760, 1000, 3), 0.35, np.float32)
    drawn, away = draw()
    shown[88 : 88 + 584, 217 : 217 + 565][away < 1] = drawn.image[away < 1]
    return in_an_ellipse(shown, 0)


def in_a_larger_circle():
    rows, columns = np.indices((560, 560))
    return enlarged(560, 560) * (np.hypot(rows + 140, columns - 280) < 560)[..., None]


def dark_part(share, light):
    image = draw()[0].image.copy()
    image[:, : round(565 * share)] *= light
    return image


@pytest.mark.parametrize(
    "image, note",
    [
        pytest.param(two_eyes(0, 1), quality.ANOTHER, id="one above the other"),
        pytest.param(two_eyes(1, 0.4), quality.ANOTHER, id="side by side, one dim"),
        pytest.param(eye_within_an_ellipse(), quality.ANOTHER, id="eye in an ellipse"),
        pytest.param(
            in_an_ellipse(enlarged(600, 780), 0), quality.TOO_WIDE, id="ellipse"
        ),
        pytest.param(in_a_larger_circle(), quality.TOO_WIDE, id="larger circle"),
        pytest.param(dark_part(0.4, 0.1), quality.DARK_PART, id="a dark part"),
        pytest.param(dark_part(0.5, 0.03), quality.DARK_PART, id="a black half"),
    ],
)
def test_a_doubtful_field_is_noted(image, note):
    image = np.clip(image, 0, 1).astype(np.float32)
    assert note in quality_notes(image, estimate_field_of_view(image))


def test_neither_a_grey_surround_nor_a_field_cut_straight_is_doubtful(drive_like):
    drawn, away = drive_like
    light = np.clip(grey_around(drawn.image, away, None), 0, 1)
    cut = drawn.image.copy()
    cut[:90] = cut[-90:] = 0
    for image in (light, cut):
        assert quality.field_notes(image, estimate_field_of_view(image)) == []


def test_a_dark_photograph_is_noted(drive_like):
    image = drive_like[0].image * np.float32(0.15)
    notes = quality_notes(image, estimate_field_of_view(image))
    assert notes == [quality.VERY_DARK]


@pytest.mark.parametrize("height, width", [(256, 256), (584, 565), (720, 750)])
def test_a_blurred_photograph_is_noted_at_every_resolution(height, width):
    drawn, _ = draw(height, width)
    blurred = phantoms.blur(drawn.image, 4 * 0.956 * min(height, width) / 540)
    noise = np.random.default_rng(0).normal(0, 0.005, blurred.shape)
    image = np.clip(blurred + noise, 0, 1).astype(np.float32)
    notes = quality_notes(image, estimate_field_of_view(image))
    assert notes == [quality.BLURRED]


def test_a_little_blur_is_not_noted():
    """Of 2 pixels, which halves the sharpness; real photographs have .42 and more."""
    drawn, _ = draw()
    blurred = phantoms.blur(drawn.image, 2)
    field = estimate_field_of_view(blurred)
    assert 0.34 < quality.measure_sharpness(blurred, field) < 0.38
    assert quality_notes(blurred, field) == []


def test_sharpness_depends_neither_on_brightness_nor_on_resolution(drive_like):
    image = drive_like[0].image
    sharpness = quality.measure_sharpness(image, estimate_field_of_view(image))
    levels = Image.fromarray(np.round(image * 255).astype(np.uint8))
    larger = np.asarray(levels.resize((1130, 1168)), np.float32) / 255
    for other in (larger, image * np.float32(0.3)):
        field = estimate_field_of_view(other)
        again = quality.measure_sharpness(other, field)
        assert again == pytest.approx(sharpness, rel=0.1)


def test_a_map_without_vessels_is_noted(drive_like):
    drawn, _ = drive_like
    field = estimate_field_of_view(drawn.image)
    probability = drawn.label * np.float32(0.49)
    assert map_notes(probability, field) == [quality.NO_VESSELS]


def test_vessels_are_counted_inside_alone():
    inside = np.zeros((10, 10), bool)
    inside[:5] = True
    field = field_of_view.FieldOfView(inside, 10.0, 4.5, 4.5, True)
    probability = np.zeros((10, 10), np.float32)
    probability[4:] = 0.5  # a fifth of the inside, and all that is outside
    assert quality.vessel_share(probability, field) == 0.2


# --- DRIVE, where it is --------------------------------------------------------------


@pytest.mark.skipif(not DRIVE.is_dir(), reason="DRIVE is not in input/")
def test_agrees_with_the_fields_of_view_of_drive():
    scores = []
    for split in datasets.SPLITS:
        for case in datasets.list_cases(DRIVE, split):
            image = as_image(read_pixels(case.image))
            field = estimate_field_of_view(image)
            assert quality_notes(image, field) == []
            scores.append(overlap(field.inside, datasets.read_field_of_view(case)))
    assert len(scores) == 40
    assert np.mean(scores) >= 0.985 and min(scores) >= 0.97


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers_are_judged_as_floats_are(drive_like, monkeypatch, dtype):
    """And strip by strip: a large photograph is never converted as a whole."""
    drawn, _ = drive_like
    most = np.iinfo(dtype).max
    pixels = np.round(np.clip(drawn.image, 0, 1) * most).astype(dtype)
    image = pixels / np.float32(most)
    field = estimate_field_of_view(image)
    monkeypatch.setattr(field_of_view, "PIXELS_AT_A_TIME", 20_000)
    found = estimate_field_of_view(pixels)
    assert overlap(found.inside, field.inside) > 0.999
    assert found.diameter == pytest.approx(field.diameter, abs=0.1)
    for measure in (quality.measure_brightness, quality.measure_sharpness):
        assert measure(pixels, field) == pytest.approx(measure(image, field), abs=1e-3)


@pytest.mark.parametrize("side", [1, 3, 7, 9, 31])
def test_a_box_blur_is_the_mean_of_the_square(side):
    plane = np.random.default_rng(0).random((40, 33), np.float32)
    padded = np.pad(plane, side // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    np.testing.assert_allclose(
        field_of_view.box_blur(plane, side), windows.mean(axis=(2, 3)), atol=1e-5
    )
