"""Tests of phantom.py on photographs small enough to draw in milliseconds."""

import json
import math

import numpy as np
import pytest
from PIL import Image

import phantom
from retina import datasets, phantoms
from retina.files import InputError
from retina.pictures import as_image, read_pixels


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    return phantoms.draw_phantom(height=256, width=240, rng=rng)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "PHANTOM"
    phantom.main([str(folder), "--cases", "4", "--height", "96", "--width", "96"])
    return folder


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_arrays_have_their_shapes_types_and_ranges(drawn):
    assert drawn.image.shape == (256, 240, 3) and drawn.image.dtype == np.float32
    assert 0 <= drawn.image.min() and drawn.image.max() <= 1
    for picture in (drawn.label, drawn.second_label, drawn.field_of_view):
        assert picture.shape == (256, 240) and picture.dtype == bool
    assert not (drawn.label & ~drawn.field_of_view).any()
    assert drawn.image[~drawn.field_of_view].mean() < 0.08
    assert json.loads(json.dumps(drawn.truth)) == drawn.truth


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 200), (256, 240)])
def test_vessels_fill_a_plausible_share_of_the_field(size):
    drawn = phantoms.draw_phantom(
        height=size[0], width=size[1], rng=np.random.default_rng(1)
    )
    assert 0.05 < drawn.label[drawn.field_of_view].mean() < 0.3
    assert drawn.truth["bifurcations"]


def test_a_straight_vessel_covers_the_pixels_within_half_its_width():
    points = [[10.0, column] for column in np.arange(4.0, 17.0)]
    vessel = {"points": points, "widths": [4.0] * len(points)}
    label = phantoms.draw_label([vessel], np.ones((21, 21), bool))
    assert np.flatnonzero(label[:, 10]).tolist() == [8, 9, 10, 11, 12]
    assert np.flatnonzero(label[10]).tolist() == list(range(2, 19))
    assert label.sum() == 5 * 13 + 2 * 4  # a bar and two caps of 3 + 1 pixels


def test_distance_lies_between_the_sampled_points():
    points = np.array([[5.0, 5.0], [5.0, 6.0]])
    _, line, edge = phantoms.measure_distance(
        points, np.array([2.0, 4.0]), (11, 11), margin=0
    )
    assert line.min() == 0
    assert edge.min() == -2.0  # half of the wider end


def test_label_is_the_distance_rule_on_the_true_centre_lines(drawn):
    points = np.concatenate([v["points"] for v in drawn.truth["vessels"]])
    widths = np.concatenate([v["widths"] for v in drawn.truth["vessels"]])
    rows, columns = np.nonzero(drawn.field_of_view)
    some = np.random.default_rng(0).choice(len(rows), 3000, replace=False)
    pixels = np.stack([rows[some], columns[some]], axis=-1)
    away = np.linalg.norm(pixels[:, None] - points, axis=-1)
    edge = (away - widths / 2).min(axis=1)  # to discs: up to .1 px too far
    labelled = drawn.label[rows[some], columns[some]]
    assert labelled[edge <= 0].all()
    assert not labelled[edge > 0.3].any()


def test_centre_lines_wide_enough_are_labelled(drawn):
    field = drawn.truth["field_of_view"]
    checked = 0
    for vessel in drawn.truth["vessels"]:
        for (row, column), width in zip(
            vessel["points"], vessel["widths"], strict=True
        ):
            away = math.dist((row, column), (field["row"], field["column"]))
            if width >= 2 and away < field["radius"] - 3:
                assert drawn.label[round(row), round(column)]
                checked += 1
    assert checked > 100


def test_centre_lines_are_sampled_about_every_pixel(drawn):
    for vessel in drawn.truth["vessels"]:
        assert len(vessel["points"]) == len(vessel["widths"]) >= 2
        assert min(vessel["widths"]) >= phantoms.THINNEST_WIDTH
        steps = np.linalg.norm(np.diff(vessel["points"], axis=0), axis=1)
        assert np.allclose(steps, 1, atol=1e-3)


def test_every_bifurcation_obeys_murrays_law(drawn):
    vessels = drawn.truth["vessels"]
    assert len(drawn.truth["bifurcations"]) > 10
    for bifurcation in drawn.truth["bifurcations"]:
        parent = vessels[bifurcation["parent"]]
        daughters = [vessels[i] for i in bifurcation["daughters"]]
        assert len(daughters) == 2
        cubes = sum(daughter["widths"][0] ** 3 for daughter in daughters)
        assert cubes == pytest.approx(parent["widths"][-1] ** 3, rel=1e-3)
        here = [bifurcation["row"], bifurcation["column"]]
        for daughter in daughters:
            assert daughter["points"][0] == here
            assert daughter["kind"] == parent["kind"]
            assert daughter["parent"] == bifurcation["parent"]
            assert parent["points"][daughter["parent_point"]] == here


def test_equal_daughters_leave_at_the_angle_that_murray_worked_out():
    daughter = 2 ** (-1 / 3)
    angles = phantoms.murray_angles(1.0, daughter, daughter)
    assert np.degrees(angles) == pytest.approx([37.47, 37.47], abs=0.01)


def test_daughters_start_at_the_angle_that_the_truth_tells(drawn):
    vessels = drawn.truth["vessels"]
    errors = []
    for bifurcation in drawn.truth["bifurcations"]:
        starts = [vessels[i]["points"][:2] for i in bifurcation["daughters"]]
        first, second = (math.atan2(b[0] - a[0], b[1] - a[1]) for a, b in starts)
        angle = abs((first - second + math.pi) % math.tau - math.pi)
        errors.append(abs(math.degrees(angle) - bifurcation["angle_degrees"]))
    assert np.median(errors) < 10  # the first step already bends a little


def test_second_observer_errs_a_little(drawn):
    both = (drawn.label & drawn.second_label).sum()
    dice = 2 * both / (drawn.label.sum() + drawn.second_label.sum())
    assert 0.7 < dice < 0.95


def test_vessels_are_darker_than_their_surroundings_in_green(drawn):
    field, disc = drawn.truth["field_of_view"], drawn.truth["optic_disc"]
    rows, columns = np.indices(drawn.label.shape)
    well_inside = (
        np.hypot(rows - field["row"], columns - field["column"]) < 0.9 * field["radius"]
    ) & (np.hypot(rows - disc["row"], columns - disc["column"]) > 2 * disc["radius"])
    green = drawn.image[..., 1]
    vessel = green[well_inside & drawn.label].mean()
    assert vessel < 0.92 * green[well_inside & ~drawn.label].mean()


def test_optic_disc_is_bright_and_fovea_is_dark(drawn):
    def green_at(part):
        row, column = round(part["row"]), round(part["column"])
        return drawn.image[row - 3 : row + 4, column - 3 : column + 4, 1].mean()

    typical = np.median(drawn.image[drawn.field_of_view][:, 1])
    assert green_at(drawn.truth["optic_disc"]) > 1.2 * typical
    assert green_at(drawn.truth["fovea"]) < 0.95 * typical


def test_tree_has_the_names_of_drive(tree):
    assert set(files_of(tree)) == {
        "phantom.json",
        *(
            f"training/{name}"
            for k in (21, 22)
            for name in (
                f"images/{k}_training.tif",
                f"1st_manual/{k}_manual1.gif",
                f"mask/{k}_training_mask.gif",
                f"truth/{k}_training.json",
            )
        ),
        *(
            f"test/{name}"
            for k in ("01", "02")
            for name in (
                f"images/{k}_test.tif",
                f"1st_manual/{k}_manual1.gif",
                f"2nd_manual/{k}_manual2.gif",
                f"mask/{k}_test_mask.gif",
                f"truth/{k}_test.json",
            )
        ),
    }


def test_tree_is_read_as_a_data_set(tree):
    cases = datasets.list_cases(tree, "training") + datasets.list_cases(tree, "test")
    assert [case.name for case in cases] == [
        "21_training",
        "22_training",
        "01_test",
        "02_test",
    ]
    rng = np.random.default_rng([0, 1, 1])
    expected = phantoms.draw_phantom(height=96, width=96, rng=rng)
    image = as_image(read_pixels(cases[2].image))
    assert np.abs(image - expected.image).max() <= 0.5 / 255 + 1e-6
    for observer, label in (
        ("1st_manual", expected.label),
        ("2nd_manual", expected.second_label),
    ):
        assert (datasets.read_label(cases[2], observer) == label).all()
    assert (datasets.read_field_of_view(cases[2]) == expected.field_of_view).all()
    truth = json.loads((tree / "test/truth/01_test.json").read_text())
    assert truth == expected.truth


def test_second_observer_is_stored_with_the_trap_of_drive(tree):
    with Image.open(tree / "test/2nd_manual/01_manual2.gif") as picture:
        assert set(np.unique(np.array(picture))) == {0, 1}
        assert set(np.unique(np.array(picture.convert("L")))) == {3, 253}


def test_a_case_is_a_function_of_seed_and_number(tree, tmp_path):
    size = {"height": 96, "width": 96}
    phantom.write_phantom_tree(tmp_path / "two", cases=2, seed=0, **size)
    phantom.write_phantom_tree(tmp_path / "other", cases=2, seed=1, **size)
    four, two = files_of(tree), files_of(tmp_path / "two")
    other = files_of(tmp_path / "other")
    for name in two.keys() - {"phantom.json"}:
        assert two[name] == four[name]
    image = "training/images/21_training.tif"
    assert other[image] != two[image]
    images = [content for name, content in four.items() if "/images/" in name]
    assert len(set(images)) == 4


def test_drawing_again_replaces_the_earlier_phantom(tmp_path):
    for cases, seed in ((4, 0), (2, 5)):
        phantom.write_phantom_tree(
            tmp_path, cases=cases, seed=seed, height=64, width=64
        )
    names = set(files_of(tmp_path))
    assert "test/images/01_test.tif" in names
    assert not any("02_" in name or "22_" in name for name in names)
    marker = json.loads((tmp_path / "phantom.json").read_text())
    assert marker == {"cases": 2, "seed": 5, "height": 64, "width": 64}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--cases", "1"], "2 or more: one to train"),
        (["--seed", "-1"], "a whole number from 0"),
        (["--height", "63"], "64 or more, to hold vessels, got 63"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(tmp_path, arguments, words, capsys):
    with pytest.raises(SystemExit):
        phantom.main([str(tmp_path / "new"), *arguments])
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("marker", [None, "not json", "[]", "{}"])
def test_a_foreign_folder_is_refused(tmp_path, marker):
    (tmp_path / "training").mkdir()
    if marker is not None:
        (tmp_path / "phantom.json").write_text(marker)
    before = files_of(tmp_path)
    with pytest.raises(InputError, match="other files"):
        phantom.main([str(tmp_path), "--cases", "2"])
    assert files_of(tmp_path) == before


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        phantom.main([str(tmp_path / "file")])
