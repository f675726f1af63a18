"""Files are paired by number, read right, and missed out loud."""

import shutil

import numpy as np
import pytest
from PIL import Image

from retina import datasets
from retina.field_of_view import is_inverted
from retina.files import InputError
from retina.phantoms import draw_phantom
from retina.pictures import as_image, read_binary, read_pixels


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
    assert datasets.has_splits(phantoms)


def test_a_missing_file_shifts_no_pair(tree):
    before = {case.name: case.labels for case in datasets.list_cases(tree, "training")}
    (tree / "training/1st_manual/21_manual1.gif").unlink()
    after = datasets.list_cases(tree, "training")
    assert {case.name: case.labels for case in after} == before
    assert [case.has_label("1st_manual") for case in after] == [False, True, True]


def test_arrays_are_what_the_vocabulary_says(phantoms):
    case = datasets.list_cases(phantoms, "test")[0]
    image = as_image(read_pixels(case.image))
    assert image.shape == (128, 120, 3) and image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1
    for array in (
        datasets.read_label(case, "1st_manual"),
        datasets.read_label(case, "2nd_manual"),
        datasets.read_field_of_view(case),
    ):
        assert array.shape == (128, 120) and array.dtype == bool and array.any()


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
    assert not datasets.has_splits(tmp_path)
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


def test_a_data_set_one_folder_further_down_is_found(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "DRIVE" / "DRIVE")
    shutil.copytree(phantoms, tmp_path / "DRIVE" / "__MACOSX" / "DRIVE")
    cases = datasets.list_cases(tmp_path / "DRIVE", "training")
    assert [case.image.parent for case in cases] == [
        tmp_path / "DRIVE/DRIVE/training/images"
    ] * 3
    shutil.copytree(phantoms, tmp_path / "DRIVE" / "again")
    with pytest.raises(InputError, match="several: give one of .*DRIVE.*again"):
        datasets.list_cases(tmp_path / "DRIVE", "training")


@pytest.mark.parametrize(
    "images, labels", [("imagesTr", "labelsTr"), ("images/training", "labels/training")]
)
def test_folders_of_other_projects_are_named_and_what_is_expected(
    tmp_path, images, labels
):
    for folder in (images, labels):
        (tmp_path / folder).mkdir(parents=True)
        save(tmp_path / folder / "eye.png", np.zeros((9, 9)))
        (tmp_path / folder / "notes.txt").touch()
    with pytest.raises(InputError, match="photographs in .*/images and") as caught:
        datasets.list_cases(tmp_path, "training")
    assert f"1 in {images}/, 1 in {labels}/" in str(caught.value)
    assert "challenge" not in str(caught.value)  # it is not DRIVE


def test_labels_in_a_folder_of_another_name_are_found(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "eye.png", np.zeros((9, 9)))
    cases = datasets.list_cases(tmp_path, "training")
    with pytest.raises(InputError, match=r"labels/eye.png: found masks/ .* to labels/"):
        datasets.require_labels(cases, "1st_manual")


def test_what_macos_leaves_is_ignored(tree):
    (tree / "training/images/._21_training.tif").write_bytes(b"\0\5\x16\7")
    cases = datasets.list_cases(tree, "training")
    assert [case.name for case in cases] == [f"{n}_training" for n in (21, 22, 23)]
    assert all(path.name[0] != "." for path in datasets.list_skipped(tree, cases))


def test_an_inverted_field_of_view_is_refused(tree):
    path = tree / "training/mask/21_training_mask.gif"
    case = datasets.list_cases(tree, "training")[0]
    save(path, np.where(read_binary(path), 0, 255))
    with pytest.raises(InputError, match="darker inside than outside: invert it"):
        datasets.read_field_of_view(case)


def test_a_white_page_around_the_eye_is_no_inverted_field():
    pixels = np.full((40, 40, 3), 250, np.uint8)
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    pixels[inside] = (120, 60, 20)
    assert not is_inverted(pixels, inside)
    pixels[inside], pixels[~inside] = (9, 9, 9), (120, 60, 20)
    assert is_inverted(pixels, inside)


def test_brightness_is_that_of_the_brightest_channel():
    """The retina is red, the dark around it grey; one bright pixel does not matter."""
    pixels = np.full((40, 40, 3), 20, np.uint8)
    pixels[0, 0] = 255
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    pixels[inside] = (200, 0, 0)
    assert not is_inverted(pixels, inside) and is_inverted(pixels, ~inside)


def turned_case(tmp_path, phantom):
    """A photograph that EXIF turns, 60 x 40 as stored, and its label's path."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    stored = np.rot90(np.uint8(phantom.image * 255))
    picture = Image.fromarray(np.ascontiguousarray(stored))
    exif = picture.getexif()
    exif[0x0112] = 6  # shown, it is turned back
    picture.save(tmp_path / "images/eye.jpg", exif=exif, quality=95)
    return tmp_path / "labels/eye.png"


def test_a_label_lies_as_a_viewer_shows_the_photograph(tmp_path):
    phantom = draw_phantom(height=190, width=170, rng=np.random.default_rng(0))
    path = turned_case(tmp_path, phantom)
    save(path, phantom.label * 255)
    cases = datasets.list_cases(tmp_path, "training")
    (read,), notes = datasets.read_labelled(cases, "1st_manual")
    assert read.pixels.shape == (190, 170, 3)
    np.testing.assert_array_equal(read.label, phantom.label)
    assert notes == ["1 label read: two values: 0 background, 255 vessel"]
    save(path, np.rot90(phantom.label) * 255)  # as the file holds it
    with pytest.raises(InputError, match="orientation 6 .*: turn that likewise"):
        datasets.read_labelled(cases, "1st_manual")


def test_a_square_label_as_the_file_holds_it_is_found(tmp_path):
    phantom = draw_phantom(height=190, width=190, rng=np.random.default_rng(0))
    path = turned_case(tmp_path, phantom)
    save(path, np.rot90(phantom.label) * 255)
    cases = datasets.list_cases(tmp_path, "training")
    with pytest.raises(InputError, match="it fits turned by 270 .*--trust-labels"):
        datasets.read_labelled(cases, "1st_manual")
    (read,), notes = datasets.read_labelled(cases, "1st_manual", trust=True)
    assert notes[1].startswith("the label of eye: it fits turned by 270 degrees")


def test_swapped_labels_stop_a_training_before_it_begins(tree):
    one, two = (tree / f"training/1st_manual/2{n}_manual1.gif" for n in (1, 2))
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    cases = datasets.list_cases(tree, "training")
    with pytest.raises(InputError, match="21_training: .*22_training .*and 1 more"):
        datasets.read_labelled(cases, "1st_manual")


def test_a_label_that_is_empty_inside_the_field_is_refused(tree):
    path = tree / "training/1st_manual/22_manual1.gif"
    corner = np.zeros((128, 120))
    corner[:2, :2] = 255
    save(path, corner)
    with pytest.raises(InputError, match="22_manual1.gif, received no vessel"):
        datasets.read_labelled(datasets.list_cases(tree, "training"), "1st_manual")


def test_named_values_reach_the_label(tree):
    path = tree / "training/1st_manual/21_manual1.gif"
    label = read_binary(path)
    save(path, np.where(label, 9, 5) + (np.arange(120) % 2))  # 5 6 9 10
    cases = datasets.list_cases(tree, "training")[:1]
    with pytest.raises(InputError, match="the values 5 6 9 10"):
        datasets.read_label(cases[0], "1st_manual")
    (read,), notes = datasets.read_labelled(cases, "1st_manual", vessel_values=[9, 10])
    np.testing.assert_array_equal(read.label, label)
    assert read.rule == "values named as vessel: 9 10" and read.rule in notes[0]


def test_the_fingerprint_of_the_data_is_of_pixels(tree):
    def fingerprint():
        cases = datasets.list_cases(tree, "training")
        return datasets.fingerprint_cases(datasets.read_labelled(cases, OBSERVER)[0])

    OBSERVER = "1st_manual"
    before = fingerprint()
    path = tree / "training/images/21_training.tif"
    pixels = np.array(Image.open(path))
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    path.unlink()
    assert fingerprint() == before
    label = tree / "training/1st_manual/21_manual1.gif"
    save(label, np.where(read_binary(label), 7, 3))  # other values, the same vessels
    assert fingerprint() == before
    pixels[64, 60, 1] ^= 1
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    assert fingerprint() != before


def test_a_folder_of_no_known_layout_says_which_are_known(tmp_path):
    save(tmp_path / "holiday.png", np.zeros((9, 9)))
    with pytest.raises(InputError, match=r"CHASE_DB1, STARE, HRF, or .*1 in \./"):
        datasets.list_cases(tmp_path, "test")
