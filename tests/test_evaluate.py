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
from hand_made import write_hand_made
from PIL import Image

import evaluate
import predict
import unet
from retina import datasets, maps, metrics, networks
from retina.files import InputError
from retina.identity import identify
from retina.networks import Record
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
    photograph = np.full((HEIGHT, WIDTH, 3), (200, 90, int(number)), np.uint8)
    Image.fromarray(photograph).save(images / f"{number}_{split}.tif")
    field_path = folder / split / "mask" / f"{number}_{split}_mask.gif"
    write_binary(field_path, field_of_view)
    write_binary(folder / split / "1st_manual" / f"{number}_manual1.gif", first)
    if split == "test":
        write_binary(folder / split / "2nd_manual" / f"{number}_manual2.gif", second)


def write_maps(folder, data, notes, seed=0, **usual):
    """Noisy maps. `notes`: name -> what differs from the `usual` row."""
    rng = np.random.default_rng(seed)
    for split in NUMBERS:
        for case in datasets.list_cases(data, split):
            if case.name in notes:
                label = datasets.read_label(case, "1st_manual")
                probability = np.clip(rng.normal(0.3 + 0.35 * label, 0.2), 0, 1)
                field = datasets.read_field_of_view(case)
                changes = usual | notes[case.name]
                write_hand_made(folder, case.image, probability, field, **changes)
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
def scored(data):
    return write_maps(Path("output/unet"), data, {"01_test": {}, "02_test": {}})


def arrays(folder, data, split, names, observer="1st_manual"):
    """Labels, probabilities and fields, read apart from evaluate.py."""
    cases = [case for case in datasets.list_cases(data, split) if case.name in names]
    return (
        [datasets.read_label(case, observer) for case in cases],
        [maps.read_probability(folder / f"{case.name}.png") for case in cases],
        [datasets.read_field_of_view(case) for case in cases],
    )


def read_json(folder):
    return json.loads((folder / "report/metrics.json").read_text(encoding="utf-8"))


def said(capsys):
    """What was printed, in one line."""
    return " ".join(capsys.readouterr().out.split())


def test_the_printed_figure_is_the_one_of_the_arrays(scored, data, capsys):
    evaluate.main([])
    labels, probabilities, fields = arrays(scored, data, "test", ("01_test", "02_test"))
    label = metrics.pool(labels, fields)
    probability = metrics.pool(probabilities, fields)
    auc = metrics.auc_roc(label, probability)
    printed = said(capsys)
    assert printed.startswith(
        f"AUC ROC {auc:.4f} output/unet: input/DRIVE, test split; 2 photographs; "
        "against 1st_manual; 2 labels read: two values: 0 background, 255 vessel; "
        "inside the field of view (data set); pooled over "
        f"{label.size} pixels; exact; maps of one network, models/unet.keras; no case "
        "is, pixel for pixel, one that trained the network; last epoch; how the stored "
        "threshold was chosen: not measured; one view; scale: field of view; "
        "predict.py 1.0 mean per image"
    )
    assert "over all pixels" not in printed
    scores = read_json(scored)["against"]["1st_manual"]
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


def test_the_newest_folder_is_scored(scored, data, capsys):
    newer = write_maps(Path("output/newer"), data, {"01_test": {}, "02_test": {}})
    os.utime(scored / "predictions.csv", (1, 1))
    evaluate.main([])
    assert (newer / "report/report.html").is_file()
    assert not (scored / "report").exists()


def test_both_observers_and_the_row_of_the_second(scored, data, capsys):
    evaluate.main(["output/unet", "--observer", "both"])
    result = read_json(scored)
    assert list(result["against"]) == ["1st_manual", "2nd_manual"]
    names = ("01_test", "02_test")
    first, probabilities, fields = arrays(scored, data, "test", names)
    second, _, _ = arrays(scored, data, "test", names, "2nd_manual")
    first, second = metrics.pool(first, fields), metrics.pool(second, fields)
    scores = metrics.threshold_scores(first, second)
    assert scores["sensitivity"] == pytest.approx(2 / 3)  # columns 6 and 12 of 5, 6, 12
    assert result["second_observer"]["scores"] == scores
    probability = metrics.pool(probabilities, fields)
    against = result["against"]["2nd_manual"]
    assert against["auc_roc"] == metrics.auc_roc(second, probability)
    printed = capsys.readouterr().out
    assert (
        len(re.findall(r"^2nd_manual, the second observer .*0\.6667", printed, re.M))
        == 1
    )


def test_all_pixels_only_by_name(scored, data, capsys):
    evaluate.main(["--all-pixels"])
    over_all = metrics.auc_roc_all_pixels(
        *arrays(scored, data, "test", ("01_test", "02_test"))
    )
    printed = said(capsys)
    assert f"AUC ROC over all pixels {over_all:.4f} outside" in printed
    assert "not comparable" in printed
    assert read_json(scored)["against"]["1st_manual"]["auc_roc_all_pixels"] == over_all


def test_thin_vessels_only_by_name(data, capsys):
    """Maps of 1 where the vessel of one pixel is and one half of the other, .45."""
    field = np.zeros((HEIGHT, WIDTH), bool)
    field[2:-2, 2:-2] = True
    for case in datasets.list_cases(data, "test"):
        probability = np.zeros((HEIGHT, WIDTH))
        probability[:, 12] = 1
        probability[:12, [5, 6]] = 0.45  # found at 0.4, not at 0.5
        write_hand_made(Path("output/unet"), case.image, probability, field)
    evaluate.main([])
    plain = read_json(Path("output/unet"))["against"]["1st_manual"]
    assert "cl_dice" not in plain["at_half"]
    assert "Centre lines" not in capsys.readouterr().out
    evaluate.main(["--thin-vessels"])
    scores = read_json(Path("output/unet"))["against"]["1st_manual"]
    assert plain["at_half"].items() <= scores["at_half"].items()
    # 20 rows of each of 2 photographs lie inside.
    for name, found in (("at_half", 0), ("at_stored", 0.5)):
        bins = scores[name]["by_width"]
        assert [each["from"] for each in bins] == [0, 2, 3, 4, 6]
        assert [each["pixels"] for each in bins] == [2 * 20, 2 * 2 * 20, 0, 0, 0]
        assert [each["sensitivity"] for each in bins] == [1, found, None, None, None]
        assert scores[name]["topology_precision"] == 1
    assert scores["at_half"]["topology_sensitivity"] == pytest.approx(0.5, abs=0.03)
    assert scores["at_stored"]["topology_sensitivity"] == pytest.approx(0.75, abs=0.03)
    assert scores["at_half"]["cl_dice"] == pytest.approx(2 / 3, abs=0.03)
    printed = capsys.readouterr().out
    assert re.search(r"^pixels of the label +40 +80 +0 +0 +0$", printed, re.M)
    assert f"{scores['at_half']['cl_dice']:.4f}" in printed
    page = Path("output/unet/report/report.html").read_text(encoding="utf-8")
    assert "<h3>Centre lines</h3>" in page and "under 2" in page


def test_thin_vessels_of_the_second_observer(scored, data):
    evaluate.main(["--thin-vessels", "--observer", "both"])
    second = read_json(scored)["second_observer"]["scores"]
    # Columns 5, 6 and 12 against 6, 7 and 12: one of two pixels is found, and the line.
    found = [each["sensitivity"] for each in second["by_width"]]
    assert found == [1, 0.5, None, None, None]
    (data / "test" / "2nd_manual" / "02_manual2.gif").unlink()
    evaluate.main(["--thin-vessels"])
    second = read_json(scored)["second_observer"]["scores"]
    assert [each["pixels"] for each in second["by_width"]] == [20, 40, 0, 0, 0]


def test_garbage_outside_the_field_of_view_changes_no_score(scored, data):
    evaluate.main(["--thin-vessels"])
    before = read_json(scored)["against"]["1st_manual"]
    path = data / "test" / "1st_manual" / "01_manual1.gif"
    label = read_binary(path)
    read = maps.read_map(scored, maps.read_predictions(scored)["01_test"])
    for array in (label, read.probability):
        array[:2] = array[:, :2] = 1
    write_binary(path, label)
    image = data / "test/images/01_test.tif"
    write_hand_made(scored, image, read.probability, read.field_of_view)
    evaluate.main(["--thin-vessels"])
    assert read_json(scored)["against"]["1st_manual"] == before


def test_scikit_image_is_asked_for_in_one_sentence(scored, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    fails("scikit-image.*not installed: pip install -r", "--thin-vessels")
    evaluate.main([])


def test_held_out_scores_only_what_validated(data, capsys):
    trained = {"role": "training", "epoch": "best"}
    validated = {"role": "validation", "epoch": "best"}
    validated["threshold_source"] = "highest Dice on the 1 photograph held out"
    notes = {"21_training": trained, "22_training": trained, "23_training": validated}
    folder = write_maps(Path("output/fold"), data, notes)
    evaluate.main(["--split", "held-out"])
    result = read_json(folder)
    assert result["cases"] == 1
    labels, probabilities, fields = arrays(folder, data, "training", ("23_training",))
    expected = metrics.auc_roc(labels[0][fields[0]], probabilities[0][fields[0]])
    assert result["against"]["1st_manual"]["auc_roc"] == expected
    assert result["second_observer"] is None
    printed = said(capsys)
    assert "NOT A TEST" not in printed
    assert "epoch chosen on 1 of the 1 cases; stored threshold chosen on 1" in printed
    assert "chosen on 1 of the 1 cases: highest Dice on the 1 photograph " in printed


def test_cases_that_trained_the_network_are_told_loudly(data, capsys):
    trained = {"role": "training"}
    notes = {"21_training": trained, "22_training": trained, "23_training": {}}
    folder = write_maps(Path("output/all"), data, notes)
    evaluate.main(["--split", "training"])
    loud = "NOT A TEST: 2 of 3 cases trained the network"
    assert loud in said(capsys)
    assert loud in (folder / "report/report.html").read_text(encoding="utf-8")
    result = read_json(folder)
    assert result["doubts"] == [loud]
    assert result["against"]["1st_manual"]["protocol"][0] == loud
    assert result["maps"]["role"] == {"training": 2, "unseen": 1}


def test_a_model_without_a_record_is_not_taken_for_tested(data, capsys):
    unknown = {"role": "unknown", "epoch": "unknown", "threshold_source": "unknown"}
    write_maps(Path("output/found"), data, {"01_test": unknown, "02_test": unknown})
    evaluate.main([])
    printed = said(capsys)
    assert "NOT KNOWN TO BE A TEST: whether 2 of 2 cases trained" in printed
    assert "no case is" not in printed
    assert (
        "how the epoch was chosen is not recorded; how the stored threshold" in printed
    )
    assert "found (NOT KNOWN TO BE A TEST) at 0.5" in printed


def test_maps_of_several_folds_keep_their_own_thresholds(data, capsys):
    notes = {
        f"{number}_training": {
            "role": "validation",
            "family": "f" * 64,
            "network": f"models/fold_{number}.keras",
            "network_sha256": number * 32,
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
    told = " ".join(printed.split())
    assert "out of fold: maps of 3 networks of one recipe, each of photographs" in told
    assert read_json(folder)["networks"] == 3
    assert "folds at its threshold 0.300-0.700" in printed


def test_several_folders_are_compared(scored, data, capsys):
    write_maps(Path("output/vgg16"), data, {"01_test": {}, "02_test": {}}, seed=1)
    evaluate.main(["output/unet", "output/vgg16"])
    output = Path("output/comparison")
    both = json.loads((output / "metrics.json").read_text())["folders"]
    assert [result["name"] for result in both] == ["unet", "vgg16"]
    assert both[0]["against"] != both[1]["against"]
    printed = capsys.readouterr().out
    for title in (
        "unet at 0.5",
        "unet at its threshold",
        "vgg16 at 0.5",
        "vgg16 at its threshold",
    ):
        assert re.search(f"^{title} ", printed, re.M)
    for name in ("unet", "vgg16"):
        assert (output / "differences" / name / "01_test.png").is_file()
    report = (output / "report.html").read_text(encoding="utf-8")
    assert report.count("<img ") == 1 + 2 * 6  # curves; photograph, label, 2 x 2
    assert not (scored / "report").exists()


def test_everything_is_written_where_it_is_wanted(scored):
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
    assert "the second observer" in report and "02_test (unseen)" in report
    sheet = Image.open(output / "predictions.png")
    assert sheet.width >= 4 * WIDTH and sheet.height >= 2 * HEIGHT
    differences = Image.open(output / "differences/01_test.png").convert("RGB")
    assert differences.size == (WIDTH, HEIGHT)
    assert differences.getpixel((0, 10)) == (232, 230, 226)  # outside the field of view


def test_photographs_without_vessels_in_their_fields_have_dashes_not_zeros(
    scored, data, capsys
):
    for number in NUMBERS["test"]:
        blank = np.zeros((HEIGHT, WIDTH), bool)
        blank[10, 0] = True  # outside the field of view
        write_binary(data / "test" / "1st_manual" / f"{number}_manual1.gif", blank)
    evaluate.main(["--all-pixels"])
    scores = read_json(scored)["against"]["1st_manual"]
    assert scores["auc_roc"] is None and scores["auc_roc_all_pixels"] is not None
    assert scores["at_half"]["sensitivity"] is None
    assert not math.isnan(scores["at_half"]["specificity"])
    assert capsys.readouterr().out.startswith("AUC ROC -  output/unet")


def test_values_that_are_vessel_may_be_named(scored, data, capsys):
    """Three values, of which no rule can tell: two of them are vessel."""
    for number in NUMBERS["test"]:
        codes = np.full((HEIGHT, WIDTH), 40, np.uint8)
        codes[:, [5, 6, 12]] = [80, 120, 120]
        path = data / "test" / "1st_manual" / f"{number}_manual1.gif"
        Image.fromarray(codes).save(path.with_suffix(".png"))
        path.unlink()
        (data / "test" / "2nd_manual" / f"{number}_manual2.gif").unlink()
    fails("--vessel-values")
    evaluate.main(["--vessel-values", "80", "120"])
    assert read_json(scored)["against"]["1st_manual"]["vessel_pixels"] == 2 * 3 * 20
    assert "2 labels read: values named as vessel: 80 120; inside" in said(capsys)
    phrases = read_json(scored)["against"]["1st_manual"]["protocol"]
    assert "2 labels read: values named as vessel: 80 120" in phrases


def fails(match, *argv):
    with pytest.raises(InputError, match=match):
        evaluate.main(list(argv))


def test_missing_maps_say_which_command_comes_first(scored, data):
    fails("3 probability maps.*--split training first", "--split", "training")
    fails("held out in output/unet.*--split held-out first", "--split", "held-out")
    (scored / "02_test.png").unlink()
    fails("1 are missing, the first is 02_test.png: run predict.py first")
    fails("run predict.py first", "output/nowhere")
    (scored / "predictions.csv").unlink()
    fails("under output/.*run predict.py first")


def test_missing_labels_are_named_with_their_source(scored, data):
    (data / "test" / "1st_manual" / "02_manual1.gif").unlink()
    fails("02_manual1.gif.*RITE")
    fails("02_manual1.gif.*RITE", "--observer", "both")
    evaluate.main(["--observer", "2nd_manual"])
    assert read_json(scored)["second_observer"]["cases"] == 1  # where both exist


def test_a_second_observer_of_fewer_cases_says_so(scored, data, capsys):
    (data / "test" / "2nd_manual" / "02_manual2.gif").unlink()
    evaluate.main([])
    assert (
        "2nd_manual, the second observer (only 1 of the cases)"
        in capsys.readouterr().out
    )


def test_swapped_copied_and_damaged_maps_are_refused(scored):
    one, two = scored / "01_test.png", scored / "02_test.png"
    whole = one.read_bytes(), two.read_bytes()
    for swapped in (whole[::-1], (whole[0], whole[0])):
        for path, content in zip((one, two), swapped, strict=True):
            path.write_bytes(content)
        fails("as their row in predictions.csv describes them.*run predict.py again")
    one.write_bytes(whole[0])
    two.write_bytes(whole[1])
    (scored / "fields/01_test.png").write_bytes(whole[0])
    fails("01_test.png and its field .*run predict.py again")


def test_maps_of_another_data_set_of_the_same_names_are_refused(scored, tmp_path):
    """Same names, same size, and labels that would be scored without a word."""
    for number in NUMBERS["test"]:
        write_case(tmp_path / "other", "test", number)
        path = tmp_path / "other/test/images" / f"{number}_test.tif"
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 99, np.uint8)).save(path)
    fails("photograph 01_test.*is of another one.*--output FOLDER", "--data", "other")
    assert not (scored / "report").exists()


def test_a_photograph_saved_again_without_loss_is_the_same(scored, data):
    for number in NUMBERS["test"]:
        path = data / "test/images" / f"{number}_test.tif"
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    evaluate.main([])
    assert read_json(scored)["cases"] == 2


def test_training_photographs_saved_again_are_no_test(data, capsys):
    """From the files to the report: fitted on tif, scored on the same pixels as png."""
    learnt = [identify(case.image) for case in datasets.list_cases(data, "training")]
    network = Path("models/x.keras")
    sha256 = networks.save(unet.build_unet(filters=(4, 4, 4, 4, 4)), network)
    record = Record(sha256, training_cases=tuple(learnt), validation_cases=())
    networks.write_record(network, record)
    again = data.with_name("AGAIN")
    for case in datasets.list_cases(data, "training"):
        for path in (case.image, case.labels["1st_manual"]):
            kind = "images" if path == case.image else "labels"
            (again / kind).mkdir(parents=True, exist_ok=True)
            Image.open(path).save(again / kind / f"{case.name}.png")
    predict.main(["--data", "input/AGAIN", "--model", "models/x.keras"])
    capsys.readouterr()
    evaluate.main(["--data", "input/AGAIN"])
    assert "NOT A TEST: 3 of 3 cases trained the network" in said(capsys)


def test_maps_of_two_networks_are_not_pooled(data):
    retrained = {"network_sha256": "b" * 64}
    write_maps(Path("output/two"), data, {"01_test": {}, "02_test": retrained})
    fails("maps of one network, .*01_test.* and .*02_test.*folders of their own")


def test_one_view_and_eight_are_not_pooled(data):
    write_maps(Path("output/views"), data, {"01_test": {}, "02_test": {"views": 8}})
    fails("one views, received 1 .*01_test.* and 8 .*02_test")


def test_likely_copies_are_told_loudly(data, capsys):
    notes = {"01_test": {"likely_copies": "21_training; 22_training"}, "02_test": {}}
    folder = write_maps(Path("output/copies"), data, notes)
    evaluate.main([])
    loud = (
        "LIKELY NOT A TEST: 1 of 2 cases look like copies of photographs that the "
        "network learnt from or held out: 01_test (like 21_training; 22_training)"
    )
    printed = said(capsys)
    assert printed.startswith("AUC ROC") and f"output/copies: {loud}; " in printed
    assert "copies (LIKELY NOT A TEST) at 0.5" in printed
    assert loud in (folder / "report/report.html").read_text(encoding="utf-8")
    result = read_json(folder)
    assert result["doubts"] == [loud]
    assert result["likely_copies"] == {"01_test": "21_training; 22_training"}


def test_each_map_is_scored_in_the_field_that_it_was_made_in(data, capsys):
    half = np.zeros((HEIGHT, WIDTH), bool)
    half[: HEIGHT // 2] = True
    cases = datasets.list_cases(data, "test")
    rng = np.random.default_rng(0)
    noise = [rng.random((HEIGHT, WIDTH)) for _ in cases]
    for case, probability in zip(cases, noise, strict=True):
        folder = Path("output/given")
        write_hand_made(folder, case.image, probability, half, field_from="given")
    evaluate.main([])
    labels, probabilities, _ = arrays(folder, data, "test", ("01_test", "02_test"))
    scores = read_json(folder)["against"]["1st_manual"]
    assert scores["pixels"] == 2 * half.sum()
    inside = [metrics.pool(each, [half, half]) for each in (labels, probabilities)]
    assert scores["auc_roc"] == metrics.auc_roc(*inside)
    assert (
        "inside the field of view (given; in 2 of 2 cases not the data set's own "
        "field: use --data in predict.py to compare with published figures); pooled"
    ) in said(capsys)


def test_fields_of_several_origins_are_counted(data, capsys):
    """In a data set that has neither fields nor splits."""
    folder, inside = data.with_name("FLAT"), np.ones((HEIGHT, WIDTH), bool)
    for case in datasets.list_cases(data, "training"):
        label = datasets.read_label(case, "1st_manual")
        write_binary(folder / "labels" / f"{case.name}.png", label)
        (folder / "images").mkdir(exist_ok=True)
        Image.open(case.image).save(folder / "images" / f"{case.name}.png")
    probability = np.random.default_rng(0).random((HEIGHT, WIDTH))
    origins = ("estimated", "whole photograph", "estimated")
    for case, origin in zip(datasets.list_cases(folder, "test"), origins, strict=True):
        notes = {"field_from": origin}
        write_hand_made(Path("output/flat"), case.image, probability, inside, **notes)
    evaluate.main(["--data", "input/FLAT"])
    printed = said(capsys)
    region = "(estimated in 2, whole photograph in 1 of 3 maps); pooled"
    assert f"inside the field of view {region}" in printed
    assert "input/FLAT; 3 photographs; against" in printed and "split" not in printed


def test_photographs_may_be_called_like_the_files_of_a_report(data):
    folder = Path("output/odd")
    odd = data.with_name("ODD")
    inside = np.ones((HEIGHT, WIDTH), bool)
    for number, name in enumerate(("curves", "predictions", "report")):
        label = np.zeros((HEIGHT, WIDTH), bool)
        label[:, 5] = True
        write_binary(odd / "labels" / f"{name}.png", label)
        (odd / "images").mkdir(exist_ok=True)
        image = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
        Image.fromarray(image).save(odd / "images" / f"{name}.png")
        path = odd / "images" / f"{name}.png"
        write_hand_made(folder, path, np.where(label, 0.9, 0.1), inside)
    kept = {path: path.read_bytes() for path in folder.glob("*.png")}
    for _ in range(2):
        evaluate.main(["--data", "input/ODD"])
    assert {path: path.read_bytes() for path in folder.glob("*.png")} == kept
    assert len(kept) == 3 and read_json(folder)["against"]["1st_manual"]["auc_roc"] == 1
    fails("received output/odd, which holds maps", "--output", "output/odd")


@pytest.mark.parametrize(
    "name", ["curves.png", "predictions.png", "report.html", "differences/01_test.png"]
)
def test_files_of_others_are_not_written_over(scored, name):
    path = Path("mine") / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    fails(f"{name} is no part of one", "output/unet", "--output", "mine")
    assert path.read_text() == "mine"
    assert [each for each in Path("mine").rglob("*") if each.is_file()] == [path]


def test_old_and_damaged_notes_are_refused(scored):
    table = scored / "predictions.csv"
    content = table.read_text()
    table.write_text(content.replace(",0.4,", ",50,", 1))
    fails("0 to 1 in .*predictions.csv, row 2, column threshold, received '50'")
    table.write_text("name,photograph,model\n01_test,x,y\n")
    fails("columns of this version .*python predict.py")


def test_folders_that_do_not_compare_are_refused(scored, data):
    held_out = {"role": "validation", "family": "f" * 64}
    write_maps(Path("output/one"), data, {"21_training": held_out})
    write_maps(Path("output/two"), data, {"22_training": held_out})
    folders = ("output/one", "output/two")
    fails("same photographs.*21_training", *folders, "--split", "held-out")
    fails("different names, received 2 called unet", "output/unet", "output/unet")
    inside = np.ones((HEIGHT, WIDTH), bool)
    for case in datasets.list_cases(data, "test"):
        whole = {"field_from": "given"}
        probability = np.zeros((HEIGHT, WIDTH))
        write_hand_made(Path("output/whole"), case.image, probability, inside, **whole)
    fails("same fields of view.*those of 01_test differ", "output/unet", "output/whole")


def test_a_mistake_ends_in_one_line_and_a_failure(data):
    command = [sys.executable, str(ROOT / "evaluate.py"), "output/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate.py: expected probability maps")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.parametrize("link", ["report", "report/differences"])
def test_links_among_the_maps_lead_nowhere_else(tmp_path, link):
    (tmp_path / "maps/report").mkdir(parents=True)
    if link == "report":
        (tmp_path / "maps/report").rmdir()
    (tmp_path / "maps" / link).symlink_to(tmp_path)
    with pytest.raises(InputError, match="which leads out of its folder"):
        evaluate.choose_output(evaluate.parse_args([]), [tmp_path / "maps"])
