"""Scores hand-made maps of a tiny data set with the real command."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluate
from retina import datasets, metrics
from retina.files import InputError
from retina.maps import read_probability, write_predictions, write_probability
from retina.pictures import read_binary

HEIGHT, WIDTH = 24, 20
NUMBERS = {"training": ("21", "22", "23"), "test": ("01", "02")}
ROOT = Path(evaluate.__file__).parent


def write_binary(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(array) * 255).save(path)


def write_case(folder, split, number):
    """One photograph with two vertical vessels, which the observers draw unalike."""
    field_of_view = np.zeros((HEIGHT, WIDTH), bool)
    field_of_view[2:-2, 2:-2] = True
    first = np.zeros((HEIGHT, WIDTH), bool)
    first[:, [5, 6, 12]] = True
    second = np.zeros((HEIGHT, WIDTH), bool)
    second[:, [6, 7, 12]] = True
    images = folder / split / "images"
    images.mkdir(parents=True, exist_ok=True)
    photograph = np.full((HEIGHT, WIDTH, 3), (200, 90, 40), np.uint8)
    Image.fromarray(photograph).save(images / f"{number}_{split}.tif")
    field_path = folder / split / "mask" / f"{number}_{split}_mask.gif"
    write_binary(field_path, field_of_view)
    write_binary(folder / split / "1st_manual" / f"{number}_manual1.gif", first)
    if split == "test":
        write_binary(folder / split / "2nd_manual" / f"{number}_manual2.gif", second)


def write_maps(folder, data, notes, seed=0):
    """Noisy maps of 16 bits. `notes`: name -> what differs from the usual row."""
    rng = np.random.default_rng(seed)
    rows = {}
    for split in NUMBERS:
        for case in datasets.list_cases(data, split):
            if case.name not in notes:
                continue
            label = datasets.read_label(case, "1st_manual")
            probability = np.clip(rng.normal(0.3 + 0.35 * label, 0.2), 0, 1)
            write_probability(folder / f"{case.name}.png", probability)
            usual = {
                "name": case.name,
                "photograph": case.image.name,
                "model": "models/unet.keras",
                "role": "unseen",
                "epoch": "last",
                "threshold": 0.4,
            }
            rows[case.name] = usual | notes[case.name]
    write_predictions(folder, rows)
    return folder


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A tree like DRIVE's at the place where the commands expect it."""
    monkeypatch.chdir(tmp_path)
    for split, numbers in NUMBERS.items():
        for number in numbers:
            write_case(tmp_path / "input" / "DRIVE", split, number)
    return Path("input/DRIVE")


@pytest.fixture
def unet(data):
    return write_maps(Path("output/unet"), data, {"01_test": {}, "02_test": {}})


def arrays(folder, data, split, names, observer="1st_manual"):
    """Labels, probabilities and fields, read apart from evaluate.py."""
    cases = [case for case in datasets.list_cases(data, split) if case.name in names]
    return (
        [datasets.read_label(case, observer) for case in cases],
        [read_probability(folder / f"{case.name}.png") for case in cases],
        [datasets.read_field_of_view(case) for case in cases],
    )


def read_json(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_the_printed_figure_is_the_one_of_the_arrays(unet, data, capsys):
    evaluate.main([])
    labels, probabilities, fields = arrays(unet, data, "test", ("01_test", "02_test"))
    label = metrics.pool(labels, fields)
    probability = metrics.pool(probabilities, fields)
    auc = metrics.auc_roc(label, probability)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(
        f"AUC ROC {auc:.4f} output/unet: input/DRIVE, test split; 2 photographs; "
        f"against 1st_manual; inside the field of view; pooled over {label.size} pixels"
    )
    assert "no case trained the network" in printed
    assert "last epoch; stored threshold not chosen on these cases" in printed
    assert "over all pixels" not in printed
    scores = read_json(unet)["against"]["1st_manual"]
    assert scores["auc_roc"] == auc
    assert scores["auc_pr"] == metrics.auc_pr(label, probability)
    assert scores["at_half"] == metrics.threshold_scores(label, probability >= 0.5)
    assert scores["at_stored"] == metrics.threshold_scores(label, probability >= 0.4)
    single = [
        metrics.auc_roc(label[field], probability[field])
        for label, probability, field in zip(labels, probabilities, fields, strict=True)
    ]
    assert [image["auc_roc"] for image in scores["per_image"]] == single
    assert scores["mean_per_image"]["auc_roc"] == pytest.approx(np.mean(single))


def test_the_newest_folder_is_scored(unet, data, capsys):
    newer = write_maps(Path("output/newer"), data, {"01_test": {}, "02_test": {}})
    os.utime(unet / "predictions.csv", (1, 1))
    evaluate.main([])
    assert (newer / "report.html").is_file()
    assert not (unet / "report.html").exists()


def test_both_observers_and_the_human_line(unet, data, capsys):
    evaluate.main(["output/unet", "--observer", "both"])
    result = read_json(unet)
    assert list(result["against"]) == ["1st_manual", "2nd_manual"]
    names = ("01_test", "02_test")
    first, probabilities, fields = arrays(unet, data, "test", names)
    second, _, _ = arrays(unet, data, "test", names, "2nd_manual")
    first, second = metrics.pool(first, fields), metrics.pool(second, fields)
    human = metrics.threshold_scores(first, second)
    assert human["sensitivity"] == pytest.approx(2 / 3)  # columns 6 and 12 of 5, 6, 12
    assert result["second_observer"].items() >= human.items()
    probability = metrics.pool(probabilities, fields)
    against = result["against"]["2nd_manual"]
    assert against["auc_roc"] == metrics.auc_roc(second, probability)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^2nd_manual, a human .*0\.6667", printed, re.M)) == 1


def test_all_pixels_only_by_name(unet, data, capsys):
    evaluate.main(["--all-pixels"])
    over_all = metrics.auc_roc_all_pixels(
        *arrays(unet, data, "test", ("01_test", "02_test"))
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert f"AUC ROC over all pixels {over_all:.4f} outside" in printed
    assert "not comparable" in printed
    assert read_json(unet)["against"]["1st_manual"]["auc_roc_all_pixels"] == over_all


def test_thin_vessels_only_by_name(unet, data, capsys):
    evaluate.main([])
    plain = read_json(unet)["against"]["1st_manual"]
    assert "cl_dice" not in plain["at_half"]
    assert "Centre lines" not in capsys.readouterr().out
    evaluate.main(["--thin-vessels"])
    scores = read_json(unet)["against"]["1st_manual"]
    assert plain["at_half"].items() <= scores["at_half"].items()
    labels, probabilities, fields = arrays(unet, data, "test", ("01_test", "02_test"))
    inside = [label & field for label, field in zip(labels, fields, strict=True)]
    lines = [metrics.centre_line(label) for label in inside]
    width = [metrics.local_width(*pair) for pair in zip(inside, lines, strict=True)]
    for name, threshold in (("at_half", 0.5), ("at_stored", 0.4)):
        pairs = zip(probabilities, fields, strict=True)
        vessels = [(probability >= threshold) & field for probability, field in pairs]
        drawn = [metrics.centre_line(each) for each in vessels]
        pooled = [
            metrics.pool(each, fields) for each in (inside, lines, vessels, drawn)
        ]
        assert scores[name].items() >= metrics.topology_scores(*pooled).items()
        pooled = metrics.pool(width, fields), metrics.pool(vessels, fields)
        expected = metrics.sensitivity_by_width(*pooled)
        expected[-1]["below"] = None  # JSON knows no infinity
        for each in expected:
            if not each["pixels"]:
                each["sensitivity"] = None
        assert scores[name]["by_width"] == expected
    # A vessel of one pixel and one of two, 20 rows of each of 2 photographs.
    bins = scores["at_half"]["by_width"]
    assert [each["pixels"] for each in bins] == [2 * 20, 2 * 2 * 20, 0, 0, 0]
    printed = capsys.readouterr().out
    assert re.search(r"^pixels of the label +40 +80 +0 +0 +0$", printed, re.M)
    assert f"{scores['at_half']['cl_dice']:.4f}" in printed
    page = (unet / "report.html").read_text(encoding="utf-8")
    assert "<h3>Centre lines</h3>" in page and "under 2" in page


def test_thin_vessels_of_the_second_observer(unet, data):
    evaluate.main(["--thin-vessels", "--observer", "both"])
    result = read_json(unet)
    # Columns 5, 6 and 12 against 6, 7 and 12: one of two pixels is found, and the line.
    found = [each["sensitivity"] for each in result["second_observer"]["by_width"]]
    assert found == [1, 0.5, None, None, None]
    (data / "test" / "2nd_manual" / "02_manual2.gif").unlink()
    evaluate.main(["--thin-vessels"])
    human = read_json(unet)["second_observer"]
    assert [each["pixels"] for each in human["by_width"]] == [20, 40, 0, 0, 0]


def test_garbage_outside_the_field_of_view_changes_no_thin_vessel(unet, data):
    evaluate.main(["--thin-vessels"])
    before = read_json(unet)["against"]["1st_manual"]["at_half"]
    path = data / "test" / "1st_manual" / "01_manual1.gif"
    label = read_binary(path)
    probability = read_probability(unet / "01_test.png")
    for array in (label, probability):
        array[:2] = array[:, :2] = 1
    write_binary(path, label)
    write_probability(unet / "01_test.png", probability)
    evaluate.main(["--thin-vessels"])
    assert read_json(unet)["against"]["1st_manual"]["at_half"] == before


def test_scikit_image_is_asked_for_in_one_sentence(unet, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    fails("scikit-image.*not installed: pip install -r", "--thin-vessels")
    evaluate.main([])


def test_held_out_scores_only_what_validated(data, capsys):
    trained = {"role": "training", "epoch": "best"}
    validated = {"role": "validation", "epoch": "best"}
    notes = {"21_training": trained, "22_training": trained, "23_training": validated}
    folder = write_maps(Path("output/fold"), data, notes)
    evaluate.main(["--split", "held-out"])
    result = read_json(folder)
    assert result["cases"] == 1
    labels, probabilities, fields = arrays(folder, data, "training", ("23_training",))
    expected = metrics.auc_roc(labels[0][fields[0]], probabilities[0][fields[0]])
    assert result["against"]["1st_manual"]["auc_roc"] == expected
    assert result["second_observer"] is None
    printed = " ".join(capsys.readouterr().out.split())
    assert "NOT A TEST" not in printed
    assert "epoch chosen on 1 of the 1 cases; stored threshold chosen on 1" in printed


def test_cases_that_trained_the_network_are_told_loudly(data, capsys):
    trained = {"role": "training"}
    notes = {"21_training": trained, "22_training": trained, "23_training": {}}
    folder = write_maps(Path("output/all"), data, notes)
    evaluate.main(["--split", "training"])
    loud = "NOT A TEST: 2 of 3 cases trained the network"
    assert loud in " ".join(capsys.readouterr().out.split())
    assert loud in (folder / "report.html").read_text(encoding="utf-8")
    assert loud in read_json(folder)["against"]["1st_manual"]["protocol"]


def test_a_model_without_a_record_is_not_taken_for_tested(data, capsys):
    unknown = {"role": "unknown", "epoch": "unknown", "threshold": 0.5}
    write_maps(Path("output/found"), data, {"01_test": unknown, "02_test": unknown})
    evaluate.main([])
    printed = " ".join(capsys.readouterr().out.split())
    assert "NOT KNOWN TO BE A TEST: whether 2 of 2 cases trained" in printed
    assert "no case trained" not in printed
    assert "how the epoch was chosen is not recorded" in printed
    assert "found (NOT KNOWN TO BE A TEST) at 0.5" in printed


def test_maps_of_several_folds_keep_their_own_thresholds(data, capsys):
    notes = {
        f"{number}_training": {
            "role": "validation",
            "model": f"models/fold_{number}.keras",
            "threshold": threshold,
        }
        for number, threshold in zip(("21", "22", "23"), (0.3, 0.5, 0.7), strict=True)
    }
    folder = write_maps(Path("output/folds"), data, notes)
    evaluate.main(["--split", "held-out"])
    labels, probabilities, fields = arrays(folder, data, "training", notes)
    vessels = [
        probability >= threshold
        for probability, threshold in zip(probabilities, (0.3, 0.5, 0.7), strict=True)
    ]
    expected = metrics.threshold_scores(
        metrics.pool(labels, fields), metrics.pool(vessels, fields)
    )
    assert read_json(folder)["against"]["1st_manual"]["at_stored"] == expected
    printed = capsys.readouterr().out
    assert "maps of 3 models" in " ".join(printed.split())
    assert "folds at its own 0.300-0.700" in printed


def test_several_folders_are_compared(unet, data, capsys):
    write_maps(Path("output/vgg16"), data, {"01_test": {}, "02_test": {}}, seed=1)
    evaluate.main(["output/unet", "output/vgg16"])
    output = Path("output/comparison")
    both = read_json(output)["folders"]
    assert [result["name"] for result in both] == ["unet", "vgg16"]
    assert both[0]["against"] != both[1]["against"]
    printed = capsys.readouterr().out
    for title in ("unet at 0.5", "unet at its own", "vgg16 at 0.5", "vgg16 at its own"):
        assert re.search(f"^{title} ", printed, re.M)
    for name in ("unet", "vgg16"):
        assert (output / "differences" / name / "01_test.png").is_file()
    report = (output / "report.html").read_text(encoding="utf-8")
    assert report.count("<img ") == 1 + 2 * 6  # curves; photograph, label, 2 x 2
    assert not (unet / "report.html").exists()


def test_everything_is_written_where_it_is_wanted(unet):
    evaluate.main(["output/unet", "--output", "elsewhere"])
    output = Path("elsewhere")
    assert sorted(str(path.relative_to(output)) for path in output.rglob("*.*")) == [
        "curves.png",
        "differences/01_test.png",
        "differences/02_test.png",
        "metrics.json",
        "predictions.png",
        "report.html",
    ]
    report = (output / "report.html").read_text(encoding="utf-8")
    assert report.count("<img ") == report.count('src="data:') == 1 + 2 * 4
    assert "a human" in report and "02_test (unseen)" in report
    sheet = Image.open(output / "predictions.png")
    assert sheet.width >= 4 * WIDTH and sheet.height >= 2 * HEIGHT
    differences = Image.open(output / "differences/01_test.png").convert("RGB")
    assert differences.size == (WIDTH, HEIGHT)
    assert differences.getpixel((0, 10)) == (232, 230, 226)  # outside the field of view


def test_photographs_without_vessels_have_dashes_not_zeros(unet, data, capsys):
    for number in NUMBERS["test"]:
        blank = np.zeros((HEIGHT, WIDTH), bool)
        write_binary(data / "test" / "1st_manual" / f"{number}_manual1.gif", blank)
    evaluate.main(["--all-pixels"])
    scores = read_json(unet)["against"]["1st_manual"]
    assert scores["auc_roc"] is None and scores["auc_roc_all_pixels"] is None
    assert scores["at_half"]["sensitivity"] is None
    assert not math.isnan(scores["at_half"]["specificity"])
    assert capsys.readouterr().out.startswith("AUC ROC -  output/unet")


def fails(match, *argv):
    with pytest.raises(InputError, match=match):
        evaluate.main(list(argv))


def test_missing_maps_say_which_command_comes_first(unet, data):
    fails("3 probability maps.*--split training first", "--split", "training")
    fails("held out in output/unet.*--split held-out first", "--split", "held-out")
    (unet / "02_test.png").unlink()
    fails("1 are missing, the first is 02_test.png: run predict.py first")
    fails("run predict.py first", "output/nowhere")
    (unet / "predictions.csv").unlink()
    fails("under output/.*run predict.py first")


def test_missing_labels_are_named_with_their_source(unet, data):
    (data / "test" / "1st_manual" / "02_manual1.gif").unlink()
    fails("02_manual1.gif.*RITE")
    fails("02_manual1.gif.*RITE", "--observer", "both")
    evaluate.main(["--observer", "2nd_manual"])
    assert read_json(unet)["second_observer"]["cases"] == 1  # where both exist


def test_a_human_line_on_fewer_cases_says_so(unet, data, capsys):
    (data / "test" / "2nd_manual" / "02_manual2.gif").unlink()
    evaluate.main([])
    assert "2nd_manual, a human (only 1 of the cases)" in capsys.readouterr().out


def test_maps_that_are_not_maps_are_refused(unet):
    Image.new("L", (WIDTH, HEIGHT)).save(unet / "01_test.png")
    fails("16-bit grey PNG.*01_test.png, received mode L")
    write_probability(unet / "01_test.png", np.zeros((HEIGHT, WIDTH + 1)))
    fails("expected 20 x 24 pixels.*01_test.png.*received 21 x 24: run predict.py")


@pytest.mark.parametrize(
    ("field", "value"),
    [("role", "train"), ("epoch", ""), ("threshold", ""), ("threshold", "50")],
)
def test_notes_that_cannot_be_trusted_are_refused(data, field, value):
    notes = {"01_test": {}, "02_test": {field: value}}
    write_maps(Path("output/unet"), data, notes)
    fails(f"{field}.* for 02_test in .*predictions.csv, received '{value}'")


def test_folders_that_do_not_compare_are_refused(unet, data):
    held_out = {"role": "validation"}
    write_maps(Path("output/one"), data, {"21_training": held_out})
    write_maps(Path("output/two"), data, {"22_training": held_out})
    folders = ("output/one", "output/two")
    fails("same photographs.*21_training", *folders, "--split", "held-out")
    fails("different names, received 2 called unet", "output/unet", "output/unet")


def test_a_mistake_ends_in_one_line_and_a_failure(data):
    command = [sys.executable, str(ROOT / "evaluate.py"), "output/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate.py: expected probability maps")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_reader_that_stops_early_sees_no_traceback(unet):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "evaluate.py")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert (unet / "report.html").is_file()
