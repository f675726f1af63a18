"""Measures the maps and labels of a tiny phantom with the real command."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import measure
import phantom
from retina import datasets
from retina.files import InputError
from retina.maps import read_predictions, write_predictions, write_probability

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
    rows = {}
    for case in datasets.list_cases("input/DRIVE", "training"):
        label = datasets.read_label(case, "1st_manual").astype(float)
        probability = ndimage.gaussian_filter(label, 0.5)
        write_probability(f"output/unet/{case.name}.png", probability)
        rows[case.name] = {
            "name": case.name,
            "photograph": case.image,
            "threshold": 0.5,
            "role": "unseen",
        }
    write_predictions("output/unet", rows)
    return tmp_path


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_maps_are_measured_end_to_end(project, capsys):
    measure.main(["--segments", "--pictures"])
    rows = read_table("output/unet/measurements.csv")
    assert [row["name"] for row in rows] == ["21_training", "22_training"]
    assert rows[0]["vessels"] == "map cut at 0.5"
    assert rows[0]["field_of_view"] == "estimated"
    assert 0.05 < float(rows[0]["vessel_density"]) < 0.3
    assert 1.5 < float(rows[0]["mean_width_px"]) < 4
    assert "2 photographs measured" in capsys.readouterr().out
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
    with Image.open("output/unet/widths/21_training.jpg") as picture:
        assert picture.size[0] > picture.size[1] * 200 / 192
        assert np.asarray(picture).std() > 10


def test_a_map_of_the_label_measures_like_the_label(project, capsys):
    measure.main(["output/unet"])
    measure.main(["--labels"])
    from_maps = read_table("output/unet/measurements.csv")
    folder = "output/labels-training-1st_manual"
    from_labels = read_table(f"{folder}/measurements.csv")
    assert from_labels[0]["field_of_view"] == "data set"
    for ours, theirs in zip(from_maps, from_labels, strict=True):
        for name in ("vessel_density", "total_length_px", "mean_width_px"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=0.1)
    from benchmarks import measure_agreement

    capsys.readouterr()
    measure_agreement.main([folder, folder, "output/unet"])
    same, maps = capsys.readouterr().out.split("output/unet against")
    line = next(line for line in same.splitlines() if "mean_width_px" in line)
    assert line.split()[2:5] == ["+0", "0", "0.0"]
    assert "mean_width_px" in maps


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
            factor = 1 / 25 if name.endswith("per_px2") else 1
            factor = 5 if name.endswith("_px") else factor
            if name == "reasons":
                assert other.replace("_um", "_px") == value
            elif factor == 1 and name != "micrometres_per_pixel":
                assert other == value
            elif value:
                assert float(other) == pytest.approx(factor * float(value), rel=1e-4)
    assert read_table(folder / "measurements.csv")[0]["micrometres_per_pixel"] == "5"


def test_the_other_observer_and_split(project):
    choice = ["--labels", "--split", "test", "--observer", "2nd_manual"]
    measure.main([*choice, "--data", "input/DRIVE", "--pictures"])
    row = read_table("output/labels-test-2nd_manual/measurements.csv")[0]
    assert row["vessels"] == "label of 2nd_manual" and row["name"] == "01_test"


def test_a_threshold_overrides_and_no_vessels_have_reasons(project):
    path = Path("output/unet/21_training.png")
    write_probability(path, np.zeros((192, 200)))
    measure.main(["--threshold", "0.9", "--pictures", "--segments"])
    empty, other = read_table("output/unet/measurements.csv")
    assert other["vessels"] == empty["vessels"] == "map cut at 0.9"
    assert empty["vessel_density"] == empty["total_length_px"] == "0"
    assert empty["mean_width_px"] == empty["fractal_dimension"] == ""
    assert "mean_width_px: no vessels; " in empty["reasons"]
    assert Path("output/unet/widths/21_training.jpg").is_file()


def test_a_lost_photograph_leaves_the_density_empty(project):
    rows = read_predictions("output/unet")
    rows["21_training"]["photograph"] = "gone.tif"
    write_predictions("output/unet", rows)
    measure.main(["--pictures"])
    row, _ = read_table("output/unet/measurements.csv")
    assert row["vessel_density"] == "" and float(row["mean_width_px"]) > 1
    assert row["field_of_view"] == "unknown: found no gone.tif"
    assert "vessel_density: the field of view is not known" in row["reasons"]


def test_one_bad_map_does_not_stop_the_others(project):
    Path("output/unet/21_training.png").unlink()
    with pytest.raises(InputError, match="not measured:\nexpected a picture"):
        measure.main([])
    assert len(read_table("output/unet/measurements.csv")) == 1
    write_probability("output/unet/21_training.png", np.zeros((9, 9)))
    with pytest.raises(InputError, match="expected 200 x 192 .* 9 x 9"):
        measure.main([])


def test_a_row_without_a_threshold_asks_for_one(project):
    rows = read_predictions("output/unet")
    rows["21_training"]["threshold"] = ""
    write_predictions("output/unet", rows)
    with pytest.raises(InputError, match="give --threshold"):
        measure.main([])


def test_wrong_folders_are_told_in_a_sentence(project):
    with pytest.raises(InputError, match=r"found no predictions\.csv"):
        measure.main(["input"])
    with pytest.raises(InputError, match="labels of 2nd_manual, 2 are"):
        measure.main(["--labels", "--observer", "2nd_manual"])
    write_predictions("output/unet", {})
    with pytest.raises(InputError, match="found no row"):
        measure.main([])


def test_no_folder_at_all_is_told_in_a_sentence(tmp_path):
    command = [sys.executable, ROOT / "measure.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("measure.py: expected a folder of probability maps")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--threshold", "1.5"],
        ["--micrometres-per-pixel", "0"],
        ["--micrometres-per-pixel", "nan"],
        ["--labels", "--threshold", "0.5"],
        ["output/unet", "--labels"],
    ],
)
def test_wrong_options_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        measure.parse_args(wrong)
    assert wrong[-2].startswith("-") or "--labels" in capsys.readouterr().err


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


def test_the_errors_on_phantoms_are_printed(capsys):
    from benchmarks import measure_phantoms

    measure_phantoms.main(["--repeats", "1", "--phantoms", "1"])
    printed = capsys.readouterr().out
    assert "straight lines" in printed and "1 whole phantoms" in printed
    row = next(r for r in printed.splitlines() if r.strip().startswith("2 to 10"))
    bias, error = map(float, row.split()[3:5])
    assert abs(bias) < 0.1 and error < 0.3
