"""Labels are read right and lie on their photographs; or they are refused."""

import argparse
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina import datasets, labels
from retina.files import InputError
from retina.labels import read_drawing
from retina.phantoms import draw_phantom
from retina.pictures import read_pixels

# Two vessels, thick and thin, of two kinds, on 40 x 60 pixels.
KINDS = np.zeros((40, 60), np.uint8)
KINDS[10:15] = 1
KINDS[:, 30:32] = 2
KINDS[10:15, 30:32] = 3
VESSELS = KINDS > 0


def save(tmp_path, values, name="label.png", **options):
    path = tmp_path / name
    Image.fromarray(np.asarray(values)).save(path, **options)
    return path


def palette(tmp_path, values, colours):
    picture = Image.fromarray(np.asarray(values, np.uint8), "P")
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.save(tmp_path / "label.png")
    return tmp_path / "label.png"


def paint(colours):
    """KINDS in RGB."""
    return np.array(colours, np.uint8)[KINDS]


@pytest.mark.parametrize(
    "dark, bright", [(0, 1), (0, 38), (0, 255), (3, 253), (7, 2**15)]
)
def test_of_two_values_the_darker_is_background(tmp_path, dark, bright):
    kind = np.uint16 if bright > 255 else np.uint8
    drawing = read_drawing(save(tmp_path, np.where(VESSELS, bright, dark).astype(kind)))
    np.testing.assert_array_equal(drawing.vessels, VESSELS)
    assert drawing.rule == f"two values: {dark} background, {bright} vessel"


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "CMYK"])
def test_black_and_white_in_any_mode(tmp_path, mode):
    picture = Image.fromarray(VESSELS.astype(np.uint8) * 255).convert(mode)
    picture.save(tmp_path / "label.tif")
    drawing = read_drawing(tmp_path / "label.tif")
    np.testing.assert_array_equal(drawing.vessels, VESSELS)


def test_the_colours_of_a_palette_count_not_its_order(tmp_path):
    """DRIVE's second observer is stored so."""
    path = palette(tmp_path, VESSELS, [(3, 3, 3), (253, 253, 253)])
    np.testing.assert_array_equal(read_drawing(path).vessels, VESSELS)
    path = palette(tmp_path, ~VESSELS, [(253, 253, 253), (3, 3, 3)])
    np.testing.assert_array_equal(read_drawing(path).vessels, VESSELS)
    assert read_drawing(path).rule == "two values: 3 background, 253 vessel"


def test_one_colour_on_black_is_vessel_and_told(tmp_path):
    path = save(tmp_path, np.uint8([128, 0, 0]) * VESSELS[..., None])
    drawing = read_drawing(path)
    np.testing.assert_array_equal(drawing.vessels, VESSELS)
    assert drawing.rule == "two values: 0x000000 background, 0x800000 vessel"


def test_arteries_and_veins_are_vessels(tmp_path):
    drawing = read_drawing(save(tmp_path, KINDS))
    np.testing.assert_array_equal(drawing.vessels, VESSELS)
    assert drawing.rule == "codes 0 to 3: all but 0 are vessel"
    colours = [(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)]
    for path in (save(tmp_path, paint(colours)), palette(tmp_path, KINDS, colours)):
        drawing = read_drawing(path)
        np.testing.assert_array_equal(drawing.vessels, VESSELS)
        assert drawing.rule.startswith("red, green, blue and white on black")


@pytest.mark.parametrize("quality", [20, 100])
def test_shades_are_cut_at_half(tmp_path, quality):
    white = VESSELS.astype(np.uint8) * 255
    path = save(tmp_path, white, "label.jpg", quality=quality)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    drawing = read_drawing(path)
    np.testing.assert_array_equal(drawing.vessels, VESSELS)
    assert drawing.rule == "shades, cut at half of the brightest"


def test_a_resampled_drawing_has_shades(tmp_path):
    white = Image.fromarray(VESSELS.astype(np.uint8) * 255)
    white.resize((90, 70), Image.Resampling.BICUBIC).save(tmp_path / "label.png")
    drawing = read_drawing(tmp_path / "label.png")
    assert drawing.vessels.mean() == pytest.approx(VESSELS.mean(), abs=0.02)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_drawing_in_the_alpha_channel(tmp_path, mode):
    picture = Image.new("RGB", (60, 40), (200, 10, 10)).convert(mode)
    picture.putalpha(Image.fromarray(VESSELS.astype(np.uint8) * 255))
    picture.save(tmp_path / "label.png")
    drawing = read_drawing(tmp_path / "label.png")
    np.testing.assert_array_equal(drawing.vessels, VESSELS)
    assert drawing.rule.startswith("opacity: two values")


def test_an_alpha_channel_beside_colours_is_refused(tmp_path):
    opacity = np.full((40, 60, 1), 255, np.uint8)
    colours = paint([(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)])
    path = save(tmp_path, np.concatenate([colours, opacity], axis=-1))
    np.testing.assert_array_equal(read_drawing(path).vessels, VESSELS)  # all opaque
    opacity[:5] = 0
    path = save(tmp_path, np.concatenate([colours, opacity], axis=-1))
    with pytest.raises(InputError, match="both colours and transparency"):
        read_drawing(path)


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]


@pytest.mark.parametrize(
    "values, found",
    [
        (np.uint8([0, 85, 170, 255])[KINDS], "the values 0 85 170 255"),
        (np.uint8([0, 30, 255, 255])[KINDS], "the values 0 30 255"),
        (np.uint8([0, 2, 255, 255])[KINDS], "the values 0 2 255"),
        (np.uint8([0, 1, 2, 4])[KINDS], "the values 0 1 2 4"),
        (np.uint8([1, 2, 3, 3])[KINDS], "the values 1 2 3"),
        (paint(VOC), "the values 0x000000 0x008000 0x800000 0x808000"),
        (np.where(VESSELS, 0, 255).astype(np.uint8), "the values 0 255 and"),
        (np.zeros((9, 9), np.uint8), "the one value 0, of which none is vessel"),
        (np.full((9, 9), 255, np.uint8), "the one value 255, of which none is vessel"),
        (np.arange(256, dtype=np.uint8).reshape(16, 16), "256 values from 0 to 255"),
    ],
)
def test_what_may_mean_anything_is_refused_with_what_was_found(tmp_path, values, found):
    with pytest.raises(InputError, match=found) as caught:
        read_drawing(save(tmp_path, values))
    assert "label.png" in str(caught.value) and "\n" not in str(caught.value)


def test_classes_are_not_taken_for_the_shades_of_jpeg(tmp_path):
    values = np.kron(np.uint8([0, 100, 255, 255])[KINDS], np.ones((3, 3), np.uint8))
    with pytest.raises(InputError, match="black and white, as PNG"):
        read_drawing(save(tmp_path, values, "label.jpg"))


def test_a_photograph_is_no_label(tmp_path, phantoms):
    photograph = datasets.list_cases(phantoms, "test")[0].image
    with pytest.raises(InputError, match="values from"):
        read_drawing(photograph)


def test_named_values_are_vessel(tmp_path):
    path = save(tmp_path, np.uint8([0, 85, 170, 255])[KINDS])
    drawing = read_drawing(path, [85, 255])
    np.testing.assert_array_equal(drawing.vessels, np.isin(KINDS, (1, 3)))
    assert drawing.rule == "values named as vessel: 85 255"
    drawing = read_drawing(save(tmp_path, paint(VOC)), [0x800000])
    np.testing.assert_array_equal(drawing.vessels, KINDS == 1)
    with pytest.raises(InputError, match=r"indices in the palette \(0 1 2 3\)"):
        read_drawing(palette(tmp_path, KINDS, VOC))
    drawing = read_drawing(palette(tmp_path, KINDS, VOC), [2, 3])
    np.testing.assert_array_equal(drawing.vessels, KINDS >= 2)
    inverted = save(tmp_path, np.where(VESSELS, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(read_drawing(inverted, [0]).vessels, VESSELS)
    with pytest.raises(InputError, match="none is vessel"):
        read_drawing(inverted, [7])


def test_values_are_numbers_or_colours():
    assert [labels.vessel_value(text) for text in ("2", "0x800000")] == [2, 128 << 16]
    with pytest.raises(argparse.ArgumentTypeError, match="such as 2 or 0x8.*got red"):
        labels.vessel_value("red")


# --- does it lie on its photograph? --------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    """Three phantoms of 190 x 190 pixels."""
    return [
        draw_phantom(height=190, width=190, rng=np.random.default_rng(seed))
        for seed in range(3)
    ]


def align(drawn, changed):
    """Lays labels, one for each phantom, on them."""
    return labels.compare(
        [
            labels.lay(f"eye{i}", phantom.image, phantom.field_of_view, label)
            for i, (phantom, label) in enumerate(zip(drawn, changed, strict=True))
        ]
    )


def own(drawn):
    return [phantom.label for phantom in drawn]


def test_labels_lie_on_their_photographs(drawn):
    alignments = align(drawn, own(drawn))
    assert [one.name for one in alignments] == ["eye0", "eye1", "eye2"]
    assert labels.describe_refusals(alignments) == []
    assert labels.describe_shifts(alignments) == []


def test_swapped_labels_are_refused(drawn):
    one, two, three = own(drawn)
    found = labels.describe_refusals(align(drawn, [two, one, three]))
    assert len(found) == 2
    assert found[0].startswith("the label of eye0: it fits the photograph eye1")
    assert found[1].startswith("the label of eye1: it fits the photograph eye0")


# How a label was changed, and the finding: what brings it back.
CHANGES = {
    "mirrored left to right": (lambda a: a[:, ::-1], "mirrored left to right"),
    "mirrored top to bottom": (lambda a: a[::-1], "mirrored top to bottom"),
    "turned by 180 degrees": (lambda a: a[::-1, ::-1], "turned by 180 degrees"),
    "turned by a quarter": (np.rot90, "turned by 270 degrees"),
    "turned the other way": (lambda a: np.rot90(a, 3), "turned by 90 degrees"),
    "transposed": (lambda a: a.T, "mirrored along the diagonal"),
    "transversed": (lambda a: np.rot90(a, 2).T, "mirrored along the other diagonal"),
    "inverted": (lambda a: ~a, "not darker"),
    "far aside": (lambda a: np.roll(a, 30, axis=0), "not darker"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_label_that_lies_otherwise_is_refused(drawn, name):
    change, finding = CHANGES[name]
    first, *others = own(drawn)
    (found,) = labels.describe_refusals(align(drawn, [change(first), *others]))
    assert found.startswith("the label of eye0: it") and finding in found


def test_a_single_label_is_compared_with_its_own_photograph(drawn):
    (right,) = align(drawn[:1], own(drawn)[:1])
    (wrong,) = align(drawn[:1], own(drawn)[1:2])
    assert right.refusal() is None and wrong.refusal() is not None


def test_a_shift_is_told_and_usable(drawn):
    shifted = [np.roll(label, (1, -2), axis=(0, 1)) for label in own(drawn)]
    alignments = align(drawn, shifted)
    assert [one.shift for one in alignments] == [(-1, 2)] * 3
    (note,) = labels.describe_shifts(alignments)
    assert note.startswith("3 labels would fit better 1 px up and 2 px right")
    assert note.endswith("usable: eye0, eye1, eye2")


def test_a_label_that_lies_too_far_aside_is_refused_with_the_way_back(drawn):
    first, *others = own(drawn)
    moved = np.roll(first, (-3, 3), axis=(0, 1))
    (found,) = labels.describe_refusals(align(drawn, [moved, *others]))
    assert found.endswith("but would be 3 px down and 3 px left")


def test_whole_numbers_align_as_floats_do(drawn):
    phantom = drawn[0]
    for values in (np.uint8(255 * phantom.image), np.uint16(65535 * phantom.image)):
        layer = labels.lay("eye", values, phantom.field_of_view, phantom.label)
        (found,) = labels.compare([layer])
        (expected,) = align(drawn[:1], own(drawn)[:1])
        assert found.fit == pytest.approx(expected.fit, abs=0.02)


REAL = {
    "DRIVE": ["1st_manual"],
    "CHASE_DB1": ["1st_manual", "2nd_manual"],
    "LES-AV": ["1st_manual"],
    "FIVES_sample": ["1st_manual"],
    "RETA": ["1st_manual"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_every_real_label_lies_on_its_photograph(name):
    """The figures beside LEAST_FIT: pytest -m slow -s tests/test_labels.py"""
    folder = Path("input") / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    cases = datasets.list_cases(folder, "training")
    photographs = [read_pixels(case.image) for case in cases]
    fields = [
        datasets.read_field_of_view(case, pixels)
        for case, pixels in zip(cases, photographs, strict=True)
    ]
    for observer in REAL[name]:
        drawings = [datasets.read_drawn(case, observer) for case in cases]
        assert {drawing.rule for drawing in drawings} == {
            "two values: 0 background, 255 vessel"
        }
        start = time.perf_counter()
        alignments = labels.compare(
            [
                labels.lay(case.name, pixels, field, drawing.vessels)
                for case, pixels, field, drawing in zip(
                    cases, photographs, fields, drawings, strict=True
                )
            ]
        )
        seconds = time.perf_counter() - start
        print(
            f"\n{name} {observer}: {seconds:.1f} s; own "
            f"{min(one.fit for one in alignments):.2f}, elsewhere "
            f"{max(one.elsewhere[0] for one in alignments):.2f}, turned "
            f"{max(one.turned[0] for one in alignments):.2f}"
        )
        assert labels.describe_refusals(alignments) == []
        assert min(one.fit for one in alignments) > 2 * labels.LEAST_FIT
        print("\n".join(labels.describe_shifts(alignments)))


def test_real_codes_of_arteries_and_veins_are_read():
    folder = Path("input/LES-AV/labels_av")
    if not folder.is_dir():
        pytest.skip("LES-AV is not here")
    for path in sorted(folder.iterdir()):
        drawing = read_drawing(path)
        assert drawing.rule.startswith("codes 0 to 3")
        binary = read_drawing(Path("input/LES-AV/labels") / path.name).vessels
        overlap = (drawing.vessels & binary).sum() / (drawing.vessels | binary).sum()
        assert overlap > 0.9
