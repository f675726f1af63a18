"""Measures the maps and labels of a tiny phantom with the real command."""

import csv
import fcntl
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hand_made import write_hand_made
from PIL import Image
from scipy import ndimage

import measure
import phantom
from retina import datasets, figures, phantoms, profiles
from retina.field_of_view import estimate_field_of_view
from retina.files import InputError
from retina.pictures import read_pixels

ROOT = Path(measure.__file__).parent


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder with a phantom data set where the commands expect it."""
    folder = tmp_path_factory.mktemp("project")
    data = folder / "input" / "DRIVE"
    phantom.write_phantom_tree(data, cases=4, seed=1, height=192, width=200)
    return folder


@pytest.fixture
def project(tree, tmp_path, monkeypatch):
    """A working directory with that data set, and maps of it in output/unet."""
    (tmp_path / "input").symlink_to(tree / "input")
    monkeypatch.chdir(tmp_path)
    for case in datasets.list_cases("input/DRIVE", "training"):
        write_map(case)
    return tmp_path


def write_map(case, probability=None, field_of_view=None, **changes):
    """A blurred label as a map in output/unet, unless a test wants another one."""
    if probability is None:
        label = datasets.read_label(case, "1st_manual").astype(float)
        probability = ndimage.gaussian_filter(label, 0.5)
    if field_of_view is None:
        field_of_view = datasets.read_field_of_view(case)
    changes = {"threshold": 0.5, "note": "very dark", "scale": 2.5} | changes
    folder = Path("output/unet")
    return write_hand_made(folder, case.image, probability, field_of_view, **changes)


@pytest.fixture
def draw_nothing(monkeypatch):
    """Pictures are empty files: drawing takes seconds."""

    def draw(kind, path, *_):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    monkeypatch.setattr(figures, "draw", draw)


def first_case():
    return datasets.list_cases("input/DRIVE", "training")[0]


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_maps_are_measured_end_to_end(project, capsys):
    measure.main(["--segments", "--pictures"])
    rows = read_table("output/unet/measurements.csv")
    assert [row["name"] for row in rows] == ["21_training", "22_training"]
    assert rows[0]["vessels"] == "map cut at 0.5"
    assert rows[0]["field_of_view"] == "data set"
    told = {"scale": "2.5", "scale_from": "field of view", "note": "very dark"}
    assert rows[0].items() >= told.items()
    assert rows[0]["source"] == "output/unet/21_training.png"
    assert 0.05 < float(rows[0]["vessel_density"]) < 0.3
    assert 1.5 < float(rows[0]["mean_width_px"]) < 4
    printed = capsys.readouterr().out
    assert "2 of 2 photographs measured" in printed
    assert "  (very dark)\n" in printed  # a measure may be wrong where the map is
    segments = read_table("output/unet/segments.csv")
    own = [s for s in segments if s["name"] == "21_training"]
    assert len(own) == int(rows[0]["segments"])
    lengths = [float(segment["length_px"]) for segment in own]
    assert sum(lengths) == pytest.approx(float(rows[0]["total_length_px"]), rel=1e-4)
    assert {s["start"] for s in segments} <= {"branch", "end", "rim", "loop"}
    for segment in segments:
        empty = [name for name, value in segment.items() if value == ""]
        told = [why.split(":")[0] for why in segment["reasons"].split("; ")]
        assert sorted(empty) == sorted(told) or "reasons" in empty
    for kind in figures.KINDS:
        with Image.open(f"output/unet/{kind}/21_training.jpg") as picture:
            assert picture.size == (1600, 1536 + figures.CAPTION)
            assert np.asarray(picture).std() > 10


def test_a_map_of_the_label_measures_like_the_label(project, capsys):
    measure.main(["output/unet"])
    measure.main(["--labels"])
    from_maps = read_table("output/unet/measurements.csv")
    folder = "output/labels-DRIVE-training-1st_manual"
    from_labels = read_table(f"{folder}/measurements.csv")
    assert from_labels[0]["field_of_view"] == "data set"
    assert from_labels[0]["note"] == from_labels[0]["scale"] == ""
    for of_map, of_label in zip(from_maps, from_labels, strict=True):
        for name in ("vessel_density", "total_length_px", "mean_width_px"):
            assert float(of_map[name]) == pytest.approx(float(of_label[name]), rel=0.1)
    from benchmarks import measure_agreement

    capsys.readouterr()
    measure_agreement.main([folder, folder, "output/unet"])
    same, maps = capsys.readouterr().out.split("output/unet against")
    line = next(line for line in same.splitlines() if "mean_width_px" in line)
    assert line.split()[2:5] == ["+0", "0", "0.0"]
    assert "mean_width_px" in maps
    table = Path(folder, "measurements.csv")
    photograph = from_labels[0]["photograph_sha256"]
    table.write_text(table.read_text().replace(photograph, "0" * 64))
    with pytest.raises(InputError, match="which differ: measure the same --data"):
        measure_agreement.main([folder, "output/unet"])


def test_micrometres_scale_lengths_and_nothing_else(project):
    folder = Path("output/labels")
    choice = ["--labels", "--segments", "--output"]
    measure.main([*choice, "output/pixels"])
    measure.main([*choice, str(folder), "--micrometres-per-pixel", "5"])
    for table in ("measurements.csv", "segments.csv"):
        row = read_table(Path("output/pixels") / table)[0]
        scaled = read_table(folder / table)[0]
        for name, value in row.items():
            other = scaled[name.replace("_per_px2", "_per_um2").replace("_px", "_um")]
            powers = {"_per_px2": -2, "_per_px": -1, "_px2": 2, "_px": 1, "": 0}
            factor = 5 ** next(p for end, p in powers.items() if name.endswith(end))
            if name == "reasons":
                assert other.replace("_um", "_px") == value
            elif factor == 1 and name != "micrometres_per_pixel":
                assert other == value
            elif value:
                assert float(other) == pytest.approx(factor * float(value), rel=1e-4)
    assert read_table(folder / "measurements.csv")[0]["micrometres_per_pixel"] == "5"


def test_each_photograph_can_have_its_own_scale(project):
    table = Path("scales.csv")
    table.write_text(
        "photograph,micrometres_per_pixel\n22_training,10\n21_training,5\n"
    )
    choice = ["--labels", "--output", "own", "--calibration", str(table)]
    measure.main(["--labels", "--output", "pixels"])
    measure.main(choice)
    for scale, of_um, of_px in zip(
        (5, 10),
        read_table("own/measurements.csv"),
        read_table("pixels/measurements.csv"),
        strict=True,
    ):
        assert of_um["micrometres_per_pixel"] == str(scale)
        width = float(of_px["mean_width_px"])
        assert float(of_um["mean_width_um"]) == pytest.approx(scale * width, rel=1e-4)
    table.write_text("photograph,micrometres_per_pixel\n21_training,5\n")
    with pytest.raises(InputError, match="found none of 22_training: add a row"):
        measure.main(choice)


@pytest.mark.parametrize(
    "text",
    [
        "photograph,micrometres_per_pixel\na,4.5\nb,6\n",
        "\ufeffphotograph,micrometres_per_pixel\r\na,4.5\r\nb,6",  # of a spreadsheet
        "photograph;eye;micrometres_per_pixel\na;left;4,5\n\nb;right;6,0\n",
        "micrometres_per_pixel, photograph\n4.5, a\n 6 ,b \n4.50,a\n",
    ],
)
def test_scales_are_read_as_spreadsheets_write_them(tmp_path, text):
    (tmp_path / "scales.csv").write_text(text, newline="")
    scales = measure.read_calibration(tmp_path / "scales.csv")
    assert scales == {"a": 4.5, "b": 6}


@pytest.mark.parametrize(
    "lines, found",
    [
        (["a,4,5"], "3 cells in a row: a,4,5"),
        (["a,5", "a,6"], "two scales of a"),
        (["a,0"], "0.1 to 1000 .micrometres., got 0"),
        (["a,0.0045"], "0.1 to 1000 .micrometres., got 0.0045"),  # millimetres
        (["a,5 um"], "got 5 um"),
        (["a,"], "got "),
    ],
)
def test_scales_that_may_mean_anything_are_refused(tmp_path, lines, found):
    path = tmp_path / "scales.csv"
    path.write_text("\n".join(["photograph,micrometres_per_pixel", *lines]))
    with pytest.raises(InputError, match=f"scales.csv, found something .*{found}"):
        measure.read_calibration(path)


def test_a_file_without_scales_is_told(tmp_path):
    path = tmp_path / "scales.csv"
    for write in (lambda: None, path.touch, lambda: path.write_text("name,scale\na,5")):
        write()
        with pytest.raises(InputError, match="photograph and micrometres_per_pixel"):
            measure.read_calibration(path)


def test_what_is_doubtful_about_scales_is_told():
    alike = {"a": (100, 200, 180.0), "b": (100, 200, 181.0), "c": (100, 201, 180.0)}
    fifty = dict.fromkeys("abcd", 50.0)
    assert measure.describe_doubts(alike, fifty, shared=True) == []
    for other in ((110, 200, 180.0), (100, 200, 160.0)):
        frames = alike | {"d": other}
        (doubt,) = measure.describe_doubts(frames, fifty, shared=True)
        assert "2 cameras (a 200 x 100, field 180; d 200 x 1" in doubt
        assert measure.describe_doubts(frames, fifty, shared=False) == []
    assert measure.describe_doubts(alike, dict.fromkeys("abc"), shared=False) == []
    (doubt,) = measure.describe_doubts(alike, fifty | {"b": 900.0}, shared=False)
    assert "of 1 photograph, b for one, would be 163 mm wide" in doubt


def test_two_cameras_under_one_scale_are_told(project, capsys):
    scale = ["--micrometres-per-pixel", "10"]
    small = np.zeros((96, 100))
    write_map(first_case(), small, np.ones(small.shape, bool))
    measure.main([*scale, "--output", "unlike"])
    printed = capsys.readouterr().out
    assert "(21_training 100 x 96, field 100; 22_training 200 x 192, field 1" in printed
    assert "give each its own with --calibration" in printed and "mm" not in printed


def test_maps_of_two_ways_are_told(project, capsys):
    measure.main([])
    assert "warning" not in capsys.readouterr().out
    write_map(first_case(), network="models/b.keras", network_sha256="b" * 64)
    measure.main([])
    told = "expected maps of one network, received models/b.keras bbbbbbbb (map 21"
    assert told in capsys.readouterr().out


def test_zones_around_the_disc_are_measured_beside_the_field(project, monkeypatch):
    """A bar through the disc: 10 pixels of zone B on either side, 30 of zone C."""
    probability = np.zeros((192, 200))
    probability[98:102] = 1
    drawing = Image.fromarray(probability > 0)
    write_map(first_case(), probability, np.ones((192, 200), bool), vessels=drawing)
    disc = ["--centre", "99.5", "100", "--radius", "10"]
    with pytest.raises(InputError, match="one photograph with --centre, found 2"):
        measure.main(disc)
    table = Path("output/unet/predictions.csv")
    lines = table.read_text().splitlines()
    kept = [line for line in lines if "22_training" not in line]
    table.write_text("\n".join(kept) + "\n")
    drawn = []
    monkeypatch.setattr(figures, "draw", lambda *words: drawn.append(words[-1]))
    blurs, measure_profiles = [], profiles.measure_profiles

    def remember(*args):
        blurs.append(args[-1])
        return measure_profiles(*args)

    monkeypatch.setattr(profiles, "measure_profiles", remember)
    measure.main([*disc, "--segments", "--pictures"])
    assert len(drawn) == len(figures.KINDS)
    assert {circle[2] for circle in drawn[0]} == {10, 20, 30, 50}
    assert blurs[0] is None and blurs[1] == blurs[2] > 0  # the field's
    rows = {row["region"]: row for row in read_table("output/unet/measurements.csv")}
    lengths = {name: float(row["total_length_px"]) for name, row in rows.items()}
    assert lengths == {
        "field": pytest.approx(200, abs=2),
        "zone B": pytest.approx(20, abs=2),
        "zone C": pytest.approx(60, abs=2),
    }
    assert rows["zone B"]["end_points"] == "0"  # cut off
    area = math.pi * (30**2 - 20**2)
    assert float(rows["zone B"]["region_area_px2"]) == pytest.approx(area, rel=0.01)
    assert rows["zone C"]["bend_scale_px"] == rows["field"]["bend_scale_px"]
    for region, length in lengths.items():
        own = [
            r for r in read_table("output/unet/segments.csv") if r["region"] == region
        ]
        assert sum(float(r["length_px"]) for r in own) == pytest.approx(
            length, rel=1e-4
        )
    measure.main([*disc, "--vessels", "output/unet"])
    edited = read_table("output/unet/vessels/measurements.csv")
    assert [row["pixels_added"] for row in edited] == ["0", "", ""]  # of the field


@pytest.mark.parametrize("place", ["-9 5 3", "5 40 3", "nan 5 3", "5 5 99", "5 5 0.1"])
def test_zones_outside_the_field_are_refused(place):
    row, column, radius = map(float, place.split())
    with pytest.raises(InputError, match=f"a field of 30 rows .* received {place[:2]}"):
        measure.list_zones(np.ones((30, 40), bool), (row, column), radius)


def test_how_much_of_a_zone_was_seen_is_told(capsys):
    field = np.ones((400, 300), bool)
    measure.list_zones(field, (200, 150), 25)
    assert capsys.readouterr().out == ""
    zones = measure.list_zones(field, (200, 0), 50)
    printed = capsys.readouterr().out
    assert "50% of zone B lies" in printed and "44% of zone C lies" in printed
    assert zones["zone B"].sum() == pytest.approx(math.pi / 2 * (150**2 - 100**2), 0.01)


def test_one_run_at_a_time_writes_a_table(project, monkeypatch):
    """Two at once would mix their rows."""
    held = []

    def measure_all(*_):
        with open("output/unet/.measure.lock") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(True)
        return 0, []

    monkeypatch.setattr(measure, "measure_all", measure_all)
    measure.main([])
    assert held == [True]


def test_the_other_observer_and_split(project):
    choice = ["--labels", "--split", "test", "--observer", "2nd_manual"]
    measure.main([*choice, "--data", "input/DRIVE"])
    row = read_table("output/labels-DRIVE-test-2nd_manual/measurements.csv")[0]
    assert row["vessels"] == "label of 2nd_manual" and row["name"] == "01_test"


def test_a_threshold_overrides_and_no_vessels_have_reasons(project, capsys):
    cases = datasets.list_cases("input/DRIVE", "training")
    for case in cases:
        write_map(case, np.zeros((192, 200)))
    measure.main(["--segments"])
    write_map(cases[1])
    told = "no segment was traced: there is no segments.csv"
    assert told in capsys.readouterr().out
    measure.main(["--threshold", "0.9", "--segments"])
    assert told not in capsys.readouterr().out
    empty, other = read_table("output/unet/measurements.csv")
    assert other["vessels"] == empty["vessels"] == "map cut at 0.9"
    assert empty["vessel_density"] == empty["total_length_px"] == "0"
    assert empty["mean_width_px"] == empty["fractal_dimension"] == ""
    assert "mean_width_px: no vessels that can be traced; " in empty["reasons"]


def draw_vessels(folder=Path("output/unet")):
    """Maps with pictures of their vessels. Returns where those lie."""
    for case in datasets.list_cases("input/DRIVE", "training"):
        label = datasets.read_label(case, "1st_manual")
        write_map(case, np.float32(label), vessels=Image.fromarray(label))
    return folder / "vessels"


def test_pictures_that_a_person_edited_are_measured(project, capsys):
    """A bar is added across one; the other is as it was written."""
    pictures = draw_vessels()
    path = pictures / "21_training.png"
    values = np.array(Image.open(path).convert("L"))
    before = np.count_nonzero(values)
    values[90:96, 40:160] = 255
    Image.fromarray(values).convert("RGB").save(path)
    measure.main([])
    printed = capsys.readouterr().out
    assert "1 picture of vessels edited in output/unet, but the maps are" in printed
    measure.main(["--vessels", "output/unet", "--segments"])
    printed = capsys.readouterr().out
    assert "pixels_added" in printed and "but the maps" not in printed
    of_map, unedited_map = read_table("output/unet/measurements.csv")
    edited, unedited = read_table(pictures / "measurements.csv")
    added = np.count_nonzero(values) - before
    assert 300 < added < 720
    assert edited["pixels_added"] == str(added) and edited["pixels_removed"] == "0"
    assert float(edited["vessel_area_px2"]) == float(of_map["vessel_area_px2"]) + added
    assert edited["vessels"].startswith("edited picture, two values: ")
    assert edited["source"] == str(path) and edited["note"] == "very dark"
    assert unedited["pixels_added"] == unedited["pixels_removed"] == "0"
    assert unedited_map["pixels_added"] == ""
    assert unedited["vessels"] == "picture of the map cut at 0.5"
    own = ("vessels", "source", "pixels_added", "pixels_removed")
    for name in unedited.keys() - set(own):
        assert unedited[name] == unedited_map[name], name
    assert (pictures / "segments.csv").is_file()


def test_edited_pictures_may_lie_anywhere_when_their_maps_are_named(project, capsys):
    pictures = draw_vessels()
    measure.main(["--vessels", str(pictures)])  # below the maps
    both = read_table(pictures / "measurements.csv")
    Path("desk").mkdir()
    (pictures / "22_training.png").rename("desk/22_training.png")
    with pytest.raises(InputError, match="in desk or above it, found none: name the"):
        measure.main(["--vessels", "desk"])
    capsys.readouterr()
    measure.main(["output/unet", "--vessels", "desk"])
    printed = capsys.readouterr().out
    assert "1 map without a picture: 21_training" in printed
    assert read_table("desk/measurements.csv") == [
        both[1] | {"source": "desk/22_training.png"}
    ]


def test_folders_without_pictures_or_rows_get_a_sentence(project, monkeypatch):
    with pytest.raises(InputError, match="found none: write them with"):
        measure.main(["--vessels", "output/unet"])
    pictures = draw_vessels()
    monkeypatch.chdir(pictures)
    measure.main(["--vessels", "."])
    assert len(read_table("measurements.csv")) == 2
    table = Path("../predictions.csv")
    table.write_text(table.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="predictions.csv, found no row"):
        measure.main(["--vessels", "."])


def test_an_edited_picture_that_cannot_be_read_does_not_stop_the_others(project):
    path = draw_vessels() / "21_training.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="drawn:\nexpected a whole picture in .*21_tr"):
        measure.main(["--vessels", "output/unet"])
    (row,) = read_table(path.with_name("measurements.csv"))
    assert row["name"] == "22_training"


def test_inverted_pictures_are_measured_when_their_vessels_are_named(project):
    path = draw_vessels() / "21_training.png"
    Image.fromarray(~np.asarray(Image.open(path))).save(path)
    with pytest.raises(InputError, match="drawn black on white, name the value"):
        measure.main(["--vessels", "output/unet"])
    measure.main(["--vessels", "output/unet", "--vessel-values", "0"])
    row, _ = read_table(path.with_name("measurements.csv"))
    assert (row["pixels_added"], row["pixels_removed"]) == ("0", "0")


def test_a_map_is_measured_in_the_field_that_it_was_made_in(project):
    """A quarter of the frame, of which a tenth is vessel, whatever the camera saw."""
    inside, probability = np.zeros((2, 192, 200))
    inside[:96, :100] = 1
    probability[40:50, :100] = 1  # 10 of 96 rows
    probability[150:] = 1  # outside
    write_map(first_case(), probability, inside > 0, field_from="given")
    measure.main([])
    row, _ = read_table("output/unet/measurements.csv")
    assert row["field_of_view"] == "given"
    assert float(row["vessel_density"]) == pytest.approx(10 / 96, rel=1e-5)


def test_labels_without_fields_say_that_theirs_are_estimated(project, tree):
    """Once with a dark rim around the retina, once without any."""
    folder = Path("mine")
    case = first_case()
    inside = estimate_field_of_view(read_pixels(case.image)).inside
    label = datasets.read_label(case, "1st_manual")
    for name, pixels in (
        ("rim", read_pixels(case.image)),
        ("whole", np.full((192, 200, 3), 120, np.uint8)),
    ):
        for kind, array in (("images", pixels), ("labels", np.uint8(label) * 255)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{name}.png")
    measure.main(["--labels", "--data", "mine"])
    rim, whole = read_table("output/labels-mine-training-1st_manual/measurements.csv")
    assert rim["field_of_view"] == "estimated"
    density = (label & inside).sum() / inside.sum()
    assert float(rim["vessel_density"]) == pytest.approx(density, rel=1e-5)
    assert whole["field_of_view"] == "whole photograph"
    assert float(whole["vessel_density"]) == pytest.approx(label.mean(), rel=1e-5)


def test_a_lost_photograph_is_measured_from_map_and_field(project, draw_nothing):
    measure.main([])
    with_photograph, _ = read_table("output/unet/measurements.csv")
    write_map(first_case(), photograph="gone.tif")
    measure.main(["--pictures"])
    row, _ = read_table("output/unet/measurements.csv")
    own = ("profile_width_px", "profile_share")
    assert with_photograph["profile_share"] > "0"
    assert row == with_photograph | {
        "photograph": "gone.tif",
        **dict.fromkeys(own, ""),
        "reasons": "; ".join(f"{name}: the photograph is gone" for name in own),
    }
    assert Path("output/unet/widths/21_training.jpg").is_file()


def test_a_map_is_not_drawn_on_another_photograph(project, draw_nothing):
    other = datasets.list_cases("input/DRIVE", "training")[1]
    write_map(first_case(), photograph=str(other.image))
    with pytest.raises(InputError, match="drawn:\nexpected a map of .* another one"):
        measure.main(["--pictures"])
    row, _ = read_table("output/unet/measurements.csv")
    assert row["profile_width_px"] == ""
    assert "profile_width_px: the photograph is not that of the map" in row["reasons"]
    drawn = [path.name for path in Path("output/unet/widths").iterdir()]
    assert drawn == ["22_training.jpg"]


def test_widths_across_vessels_come_from_the_photograph(project):
    """A bar of 8 pixels that the map draws 12 wide, in a file that was saved again."""
    pixels = np.full((192, 200, 3), 160, np.uint8)
    pixels[92:100] = 80
    Image.fromarray(pixels).save("bar.png")
    probability = np.zeros((192, 200))
    probability[90:102] = 1
    case = datasets.Case("bar", Path("bar.png"), None, {})
    write_map(case, probability, np.ones((192, 200), bool))
    Image.fromarray(pixels).save("bar.png", compress_level=0)
    measure.main(["--segments", "--micrometres-per-pixel", "10"])
    *_, row = read_table("output/unet/measurements.csv")
    *_, segment = read_table("output/unet/segments.csv")
    for table in (row, segment):
        assert float(table["mean_width_um"]) == pytest.approx(120, rel=0.01)
        assert float(table["profile_width_um"]) == pytest.approx(80, rel=0.01)
        assert 0.8 < float(table["profile_share"]) < 1
    Path("bar.png").write_bytes(b"damaged")
    measure.main([])
    *_, row = read_table("output/unet/measurements.csv")
    assert "profile_share: the photograph cannot be read" in row["reasons"]


def test_pictures_of_earlier_measurements_go_and_that_is_told(
    project, draw_nothing, capsys
):
    """Cut at another threshold, they would show what is not in the table."""
    kept = Path("output/unet/widths/someone_elses.jpg")
    measure.main(["--pictures", "--segments"])
    kept.touch()
    told = "8 pictures of earlier measurements removed: --pictures draws them anew"
    assert told not in capsys.readouterr().out
    measure.main(["--threshold", "0.7"])
    assert told in capsys.readouterr().out
    assert [path for path in Path("output/unet").glob("*/*.jpg")] == [kept]
    assert not Path("output/unet/segments.csv").exists()
    measure.main(["--pictures"])
    assert "removed" not in capsys.readouterr().out


def test_a_large_photograph_is_drawn_from_a_reduced_copy(tmp_path):
    pixels = np.zeros((40, 5000, 3), np.uint8)
    pixels[:, 2500:, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    everywhere = np.ones((40, 5000), bool)
    subject = measure.Subject(
        tmp_path / "wide.png", "", everywhere, "", everywhere, "given"
    )
    image = measure.read_reduced(subject)
    assert image.shape == (14, 1667)  # every third pixel
    assert image[:, :833].max() == 0 and image[:, 834:].min() == 1


def test_one_bad_map_does_not_stop_the_others(project, monkeypatch):
    path = Path("output/unet/21_training.png")
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match="drawn:\nexpected the map .*21_training"):
        measure.main([])
    assert len(read_table("output/unet/measurements.csv")) == 1
    path.write_bytes(Path("output/unet/22_training.png").read_bytes())  # a copy
    with pytest.raises(InputError, match="drawn:\nexpected the map .*21_training"):
        measure.main([])
    path.write_bytes(whole)
    from retina import morphometry

    calls = []

    def fails_once(*arrays):
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError("too large")
        return measure_vessels(*arrays)

    measure_vessels = morphometry.measure_vessels
    monkeypatch.setattr(morphometry, "measure_vessels", fails_once)
    with pytest.raises(InputError, match=r"21_training.png.*\(MemoryError: too large"):
        measure.main([])
    (row,) = read_table("output/unet/measurements.csv")
    assert row["name"] == "22_training"


def test_what_is_done_when_it_is_interrupted_is_written(project):
    """The signal comes from the second map's reader; the terminal shows no name."""
    code = (
        "import os, signal, measure\n"
        "from retina import commands, maps\n"
        "read, calls = maps.read_map, []\n"
        "def read_map(*args):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 2: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return read(*args)\n"
        "maps.read_map = read_map\n"
        "commands.run(lambda: measure.main([]), 'measure.py', 'so much is done')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = "measure.py: stopped; so much is done\n"
    assert (run.returncode, run.stderr) == (1, told)
    (row,) = read_table("output/unet/measurements.csv")
    assert row["name"] == "21_training"


def test_names_that_are_not_utf_8_keep_their_bytes(project):
    for name in ("\u773c", os.fsdecode(b"b\xe9")):
        write_map(first_case(), name=name)
    measure.main([])
    content = Path("output/unet/measurements.csv").read_bytes()
    assert "\u773c".encode() in content and b"\nb\xe9," in content


def test_names_in_the_table_lead_nowhere_else(project):
    table = Path("output/unet/predictions.csv")
    table.write_text(table.read_text().replace("\n21_training,", "\n../../out,"))
    with pytest.raises(InputError, match="a file name without folders"):
        measure.main(["--pictures"])
    assert not list(Path().rglob("out*.jpg"))


def test_links_in_the_folder_lead_nowhere_else(project):
    Path("elsewhere").mkdir()
    kept = Path("elsewhere/21_training.jpg")
    kept.write_text("kept")
    Path("output/unet/widths").symlink_to(Path("elsewhere").resolve())
    with pytest.raises(InputError, match="unet/widths, but it is a symbolic link"):
        measure.main(["--pictures"])
    assert kept.read_text() == "kept"


def test_measurements_of_something_else_are_not_written_over(project, draw_nothing):
    measure.main(["--output", "mine"])
    measure.main(["--output", "mine"])  # of the same maps: done again
    path, widths = Path("mine/measurements.csv"), Path("mine/widths")
    wanted = ["--segments", "--pictures"]
    kept = path.read_bytes()
    for other in (["--labels"], ["--labels", "--split", "test"]):
        with pytest.raises(InputError, match="unet/21_training.png: .*--replace"):
            measure.main([*other, "--output", "mine"])
    Path("output/unet").rename("output/other")
    with pytest.raises(InputError, match="found those of output/unet/21_training.png"):
        measure.main(["output/other", "--output", "mine"])
    assert path.read_bytes() == kept
    path.write_text("name,density\nx,1\n")  # of another version, or of other people
    with pytest.raises(InputError, match="that it does not name.*--replace"):
        measure.main(["output/other", "--output", "mine"])
    measure.main(["output/other", "--output", "mine", "--replace", *wanted])
    assert len(read_table(path)) == 2 and Path("mine/segments.csv").is_file()
    assert Path("mine/widths/21_training.jpg").is_file()
    measure.main(["output/other", "--output", "mine"])
    # These told of earlier measurements.
    assert not Path("mine/segments.csv").exists() and not any(widths.iterdir())


@pytest.mark.parametrize("name", ["segments.csv", "widths/21_training.jpg"])
def test_files_of_others_are_not_written_over(project, name):
    path = Path("mine") / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match=f"expected no mine/{name} without"):
        measure.main(["--output", "mine"])
    assert path.read_text() == "mine" and not Path("mine/measurements.csv").exists()


def test_wrong_folders_are_told_in_a_sentence(project):
    with pytest.raises(InputError, match=r"found no predictions\.csv"):
        measure.main(["input"])
    with pytest.raises(InputError, match="labels of 2nd_manual, 2 are"):
        measure.main(["--labels", "--observer", "2nd_manual"])
    table = Path("output/unet/predictions.csv")
    table.write_text(table.read_text().partition("\n")[0] + "\n")
    with pytest.raises(InputError, match="found no row"):
        measure.main([])


def test_no_folder_at_all_is_told_in_a_sentence(tmp_path):
    command = [sys.executable, ROOT / "measure.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("measure.py: expected a folder of probability maps")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--threshold", "1.5"], "--threshold: expected a number of 0 to 1, got 1.5"),
        (["--threshold", "nan"], "--threshold: expected a number of 0 to 1, got nan"),
        (["--micrometres-per-pixel", "0"], "0.1 to 1000 (micrometres), got 0"),
        (["--radius", "nan"], "expected a number above 0, got nan"),
        (
            ["--labels", "--threshold", "0.5"],
            "leave out FOLDER, --threshold and --vessels",
        ),
        (["output/unet", "--labels"], "leave out FOLDER, --threshold and --vessels"),
        (["--labels", "--vessels", "x"], "leave out FOLDER, --threshold and --vessels"),
        (["--vessels", "x", "--threshold", "0.5"], "cut already: leave out"),
        (["--vessel-values", "1"], "add --labels"),
        (["--centre", "3", "4"], "--centre and --radius go together"),
        (["--radius", "4"], "--centre and --radius go together"),
        (
            ["--calibration", "a.csv", "--micrometres-per-pixel", "4"],
            "give one of them",
        ),
    ],
)
def test_wrong_options_are_refused(wrong, sentence, capsys):
    with pytest.raises(SystemExit):
        measure.parse_args(wrong)
    assert sentence in capsys.readouterr().err


def test_a_missing_package_is_told_in_a_sentence(project, monkeypatch):
    monkeypatch.delitem(sys.modules, "retina.morphometry", raising=False)
    monkeypatch.delattr("retina.morphometry", raising=False)
    monkeypatch.setitem(sys.modules, "skan", None)
    with pytest.raises(InputError, match="requirements/measure.txt"):
        measure.main([])


def test_help_needs_no_heavy_package():
    code = "import sys, measure; measure.parse_args([]); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert not {"skan", "skimage", "scipy", "matplotlib"} & set(run.stdout.split())


def test_the_errors_on_phantoms_are_printed(capsys, monkeypatch):
    from benchmarks import measure_phantoms

    monkeypatch.setattr(measure_phantoms, "VESSEL_WIDTHS", (3.0,))
    small = partial(phantoms.draw_phantom, height=292, width=282)
    monkeypatch.setattr(phantoms, "draw_phantom", small)
    measure_phantoms.main(["--repeats", "1", "--phantoms", "1"])
    printed = capsys.readouterr().out
    assert "straight lines" in printed and "1 whole phantoms" in printed
    row = next(r for r in printed.splitlines() if r.strip().startswith("2 to 10"))
    bias, error = map(float, row.split()[3:5])
    assert abs(bias) < 0.1 and error < 0.3
