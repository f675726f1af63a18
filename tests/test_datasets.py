"""Files are paired by number, read right, and missed out loud."""

import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import check
from retina import datasets, pictures
from retina.files import InputError, require_writable, whole_file
from retina.maps import (
    PREDICTION_FIELDS,
    read_predictions,
    read_probability,
    write_predictions,
    write_probability,
)
from retina.pictures import full_scale, read_binary, read_image, read_pixels


@pytest.fixture
def tree(phantoms, tmp_path):
    """A copy of the phantoms to damage."""
    return shutil.copytree(phantoms, tmp_path / "PHANTOM")


def save(path, values, mode=None):
    Image.fromarray(np.asarray(values, np.uint8)).convert(mode or "L").save(path)
    return path


def test_cases_are_listed_by_number(phantoms):
    training = datasets.list_cases(phantoms, "training")
    assert [case.name for case in training] == [f"{n}_training" for n in (21, 22, 23)]
    test = datasets.list_cases(phantoms, "test")
    assert [case.name for case in test] == ["01_test", "02_test", "03_test"]
    assert all(case.has_label("2nd_manual") for case in test)
    assert not any(case.has_label("2nd_manual") for case in training)


def test_a_missing_file_shifts_no_pair(tree):
    before = {case.name: case.labels for case in datasets.list_cases(tree, "training")}
    (tree / "training/1st_manual/21_manual1.gif").unlink()
    after = datasets.list_cases(tree, "training")
    assert {case.name: case.labels for case in after} == before
    assert [case.has_label("1st_manual") for case in after] == [False, True, True]


def test_arrays_are_what_the_vocabulary_says(phantoms):
    case = datasets.list_cases(phantoms, "test")[0]
    image = read_image(case.image)
    assert image.shape == (128, 120, 3) and image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1
    for array in (
        datasets.read_label(case, "1st_manual"),
        datasets.read_label(case, "2nd_manual"),
        datasets.read_field_of_view(case),
    ):
        assert array.shape == (128, 120) and array.dtype == bool and array.any()


def test_palette_gif_of_the_second_observer_is_not_empty(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    picture.putpalette([3, 3, 3, 253, 253, 253])
    picture.save(tmp_path / "01_manual2.gif")
    raw = Image.open(tmp_path / "01_manual2.gif")
    assert raw.mode == "P" and np.asarray(raw).max() == 1  # the trap is really set
    label = read_binary(tmp_path / "01_manual2.gif")
    np.testing.assert_array_equal(label, [[False, True], [True, False]])


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


def test_sixteen_bit_grey_is_not_clipped(tmp_path):
    values = np.array([[0, 32768], [65535, 1000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    np.testing.assert_allclose(image[..., 1], values / 65535, atol=1e-6)


def test_orientation_is_what_a_viewer_shows(tmp_path):
    picture = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (3, 2, 3)


@pytest.mark.parametrize(
    "lost, named",
    [
        ("training/images", "grand-challenge.org"),
        ("training/images/22_training.tif", "22_training.tif"),
        ("training/mask/22_training_mask.gif", "22_training_mask.gif"),
    ],
)
def test_what_is_missing_is_named(tree, lost, named):
    lost = tree / lost
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    with pytest.raises(InputError, match=named) as caught:
        datasets.list_cases(tree, "training")
    assert "\n" not in str(caught.value)


def test_a_missing_tree_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match="on registration"):
        datasets.list_cases(tmp_path / "DRIVE", "test")


def test_missing_test_labels_name_the_file_and_rite(tree):
    shutil.rmtree(tree / "test/1st_manual")
    cases = datasets.list_cases(tree, "test")
    with pytest.raises(InputError, match="01_manual1.gif.*RITE"):
        datasets.require_labels(cases, "1st_manual")
    with pytest.raises(InputError, match="RITE"):
        datasets.read_label(cases[0], "1st_manual")


def test_a_label_of_another_size_is_refused(tree):
    save(tree / "test/1st_manual/01_manual1.gif", np.zeros((5, 4)))
    case = datasets.list_cases(tree, "test")[0]
    with pytest.raises(InputError, match="120 x 128 .* received 4 x 5"):
        datasets.read_label(case, "1st_manual")


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
        read_image(path)
    assert "photo.png" in str(caught.value) and "\n" not in str(caught.value)


def test_several_pages_are_refused(tmp_path):
    page = Image.new("RGB", (8, 8))
    page.save(tmp_path / "scan.tif", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="3 pages"):
        read_image(tmp_path / "scan.tif")


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "heat.tif")
    with pytest.raises(InputError, match="export it as PNG"):
        read_image(tmp_path / "heat.tif")


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
    image = read_image(tmp_path / name)
    assert image.shape == (20, 30, 3) and image.dtype == np.float32
    expected = np.broadcast_to(np.array(COLOUR) / 255, image.shape)
    np.testing.assert_allclose(image, expected, atol=0.03)


def test_grey_and_transparent(tmp_path):
    grey = read_image(save(tmp_path / "grey.png", np.full((4, 5), 51)))
    np.testing.assert_allclose(grey, 0.2, atol=1e-6)
    half = Image.new("RGBA", (2, 1), (*COLOUR, 255))
    half.putpixel((1, 0), (*COLOUR, 0))
    half.save(tmp_path / "half.png")
    seen = read_image(tmp_path / "half.png")[0]
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
    image = read_image(tmp_path / "deep.png")
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
        image = read_image(path)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, pixels / np.float32(scale))
    grey = np.repeat(values[..., :1].astype(np.uint16) * 256, 3, axis=-1)
    np.testing.assert_array_equal(pixels, grey)


def test_maps_keep_sixteen_bits(tmp_path):
    probability = np.array([[0, 1 / 65535], [0.5, 1]], np.float32)
    write_probability(tmp_path / "map.png", probability)
    read = read_probability(tmp_path / "map.png")
    np.testing.assert_allclose(read, probability, atol=0.5 / 65535)
    assert read[0, 1] == np.float32(1 / 65535)


def test_an_eight_bit_map_is_refused(tmp_path):
    path = save(tmp_path / "map.png", [[0, 255]])
    with pytest.raises(InputError, match="16-bit"):
        read_probability(path)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(path) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_refuses_writing_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output"):
        require_writable(tmp_path / "file" / "maps")
    require_writable(tmp_path / "maps")
    assert list((tmp_path / "maps").iterdir()) == []


def test_notes_beside_the_maps_come_back(tmp_path):
    row = dict.fromkeys(PREDICTION_FIELDS, "x") | {"name": "b"}
    write_predictions(tmp_path, {"b": row, "a": row | {"name": "a"}})
    assert list(read_predictions(tmp_path)) == ["a", "b"]
    assert read_predictions(tmp_path)["b"] == row
    with pytest.raises(InputError, match=r"run predict\.py first"):
        read_predictions(tmp_path / "nothing")


def test_the_check_prints_sizes_shares_and_gaps(tree, capsys):
    shutil.rmtree(tree / "test/1st_manual")
    check.main([str(tree)])
    printed = capsys.readouterr().out
    assert "training: 3 photographs" in printed
    assert "120 x 128" in printed and "% vessels" in printed
    assert "1st_manual missing" in printed and "RITE" in printed


DRIVE = datasets.Path("input/DRIVE")


@pytest.mark.skipif(not DRIVE.is_dir(), reason="the real DRIVE is not here")
def test_real_drive_is_read_right():
    cases = datasets.list_cases(DRIVE, "test")
    assert len(cases) == 20
    assert len(datasets.list_cases(DRIVE, "training")) == 20
    inside = [datasets.read_field_of_view(case).sum() for case in cases]
    assert sum(inside) == 4_538_143


def black_and_white(height=20, width=30):
    label = np.zeros((height, width), np.uint8)
    label[5:9] = 255
    return label


# A layout's photograph, its files of every kind, and what they are paired by.
TREES = {
    "CHASE_DB1": (
        ["Image_01L.jpg", "Image_02R.jpg"],
        ["Image_01L_1stHO.png", "Image_01L_2ndHO.png", "Image_02R_1stHO.png"],
    ),
    "STARE": (
        ["stare-images/im0001.ppm", "stare-images/im0255.ppm"],
        ["labels-ah/im0001.ah.ppm", "labels-vk/im0001.vk.ppm"],
    ),
    "HRF": (
        ["images/01_dr.JPG", "images/02_h.jpg"],
        ["manual1/01_dr.tif", "mask/01_dr_mask.tif", "mask/02_h_mask.tif"],
    ),
    "folder": (
        ["images/Zwölf ä.jpg", "images/eye.tif"],
        ["labels/eye.png", "fields_of_view/eye.png"],
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_every_layout_is_recognised(tmp_path, name):
    photographs, others = TREES[name]
    for photograph in photographs:
        (tmp_path / photograph).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / photograph, np.full((20, 30), 99), "RGB")
    for other in others:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / other, black_and_white(), "RGB" if "mask" in other else "L")
    for split in datasets.SPLITS:
        cases = datasets.list_cases(tmp_path, split)
        assert [case.image for case in cases] == [tmp_path / p for p in photographs]
        assert [c.name for c in cases] == [datasets.Path(p).stem for p in photographs]
    claimed = {
        path
        for case in cases
        for path in (case.image, case.field_of_view, *case.labels.values())
        if path and path.is_file()
    }
    assert claimed == {tmp_path / path for path in (*photographs, *others)}
    for case in cases:
        assert datasets.read_field_of_view(case).shape == (20, 30)
        if case.has_label("1st_manual"):
            np.testing.assert_array_equal(
                datasets.read_label(case, "1st_manual"), black_and_white() > 0
            )


def test_a_field_of_view_that_no_file_gives_is_estimated(phantoms, tmp_path):
    case = datasets.list_cases(phantoms, "test")[0]
    (tmp_path / "images").mkdir()
    shutil.copy(case.image, tmp_path / "images/one.tif")
    (plain,) = datasets.list_cases(tmp_path, "test")
    assert plain.field_of_view is None
    estimated, given = map(datasets.read_field_of_view, (plain, case))
    assert (estimated & given).sum() / (estimated | given).sum() > 0.97


def test_two_files_for_one_photograph_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for ending in ("png", "tif"):
        save(tmp_path / f"images/eye.{ending}", np.zeros((9, 9)))
    with pytest.raises(InputError, match=r"eye\.png and .*eye\.tif"):
        datasets.list_cases(tmp_path, "test")


def test_an_observer_that_a_data_set_lacks_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    save(tmp_path / "images/eye.png", np.zeros((9, 9)))
    cases = datasets.list_cases(tmp_path, "test")
    with pytest.raises(InputError, match="2nd_manual"):
        datasets.require_labels(cases, "2nd_manual")


def test_a_folder_of_no_known_layout_says_which_are_known(tmp_path):
    save(tmp_path / "holiday.png", np.zeros((9, 9)))
    with pytest.raises(InputError, match="CHASE_DB1, STARE, HRF or with images"):
        datasets.list_cases(tmp_path, "test")
