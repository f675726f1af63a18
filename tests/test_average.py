"""An average says the mean, and owns up to all that its networks learnt from."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY

import average
import predict
import train
import unet
from retina import networks
from retina.files import InputError
from retina.maps import read_predictions, read_probability

IMAGE = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)


@pytest.fixture(scope="module")
def folds(phantoms, tmp_path_factory):
    """A folder with two networks, each of which held out another photograph."""
    models = tmp_path_factory.mktemp("folds")
    for fold in (0, 1):
        options = ["--data", str(phantoms), "--models", str(models), *TINY]
        options += ["--folds", "3", "--fold", str(fold), "--seed", str(fold)]
        train.main(
            [*options, "--name", f"fold{fold}", "--keep", ("last", "best")[fold]]
        )
    return models


def averaged(folds, folder):
    paths = [str(folds / f"fold{fold}.keras") for fold in (0, 1)]
    average.main([*paths, "--models", str(folder), "--name", "both"])
    return folder / "both.keras"


def test_its_probability_is_the_mean(folds, tmp_path):
    one, two = (networks.load(folds / f"fold{n}.keras") for n in (0, 1))
    both = networks.load(averaged(folds, tmp_path))
    maps = [model.predict_on_batch(IMAGE) for model in (one, two)]
    assert np.abs(maps[0] - maps[1]).max() > 0.001
    np.testing.assert_allclose(
        both.predict_on_batch(IMAGE), np.mean(maps, axis=0), atol=1e-6
    )


def test_what_one_learnt_from_is_no_longer_held_out(folds, tmp_path):
    record = networks.read_record(averaged(folds, tmp_path))
    one, two = (networks.read_record(folds / f"fold{n}.keras") for n in (0, 1))
    assert len(record["training_cases"]) == 3 and record["validation_cases"] == {}
    assert record["threshold"] == pytest.approx(
        (one["threshold"] + two["threshold"]) / 2
    )
    assert record["parameters"] == 2 * one["parameters"]
    assert record["epoch_chosen"] == "best"  # one of them is
    seeds = [part["arguments"]["seed"] for part in record["average_of"].values()]
    assert seeds == [0, 1]


def test_what_all_held_out_is_still_held_out(folds, tmp_path):
    path = str(folds / "fold0.keras")
    shutil.copy(path, tmp_path / "again.keras")
    shutil.copy(folds / "fold0.json", tmp_path / "again.json")
    average.main([path, str(tmp_path / "again.keras"), "--models", str(tmp_path)])
    record = networks.read_record(tmp_path / "average.keras")
    fold = networks.read_record(folds / "fold0.keras")
    assert record["validation_cases"] == fold["validation_cases"]
    assert record["epoch_chosen"] == "last"


def test_it_predicts_like_any_other_in_both_precisions(folds, phantoms, tmp_path):
    path = averaged(folds, tmp_path)
    maps = []
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        options = ["--model", str(path), "--data", str(phantoms)]
        predict.main([*options, "--output", str(folder), "--precision", precision])
        row = read_predictions(folder)["01_test"]
        assert (row["role"], row["epoch"]) == ("unseen", "best")
        maps.append(read_probability(folder / "01_test.png"))
    difference = np.abs(maps[0] - maps[1]).max()
    assert 0 < difference < 0.05


def test_the_mean_itself_is_not_rounded():
    model = networks.average([unet.build_unet(filters=(4, 4, 4, 4)) for _ in range(2)])
    low = networks.in_bfloat16(model)
    values = low.predict_on_batch(IMAGE)
    bits = values.view(np.uint32) & 0xFFFF  # those that bfloat16 has not
    assert np.count_nonzero(bits) > 0.9 * values.size


def test_an_average_can_be_averaged_again(folds, tmp_path):
    path = str(averaged(folds, tmp_path))
    one = str(folds / "fold0.keras")
    average.main([path, one, "--models", str(tmp_path), "--name", "deep"])
    both, fold, deep = (
        networks.load(p).predict_on_batch(IMAGE)
        for p in (path, one, tmp_path / "deep.keras")
    )
    np.testing.assert_allclose(deep, (both + fold) / 2, atol=1e-6)
    parts = networks.read_record(tmp_path / "deep.keras")["average_of"]
    assert len(parts[path]["arguments"]) == 2  # those of both networks in it


def test_one_network_is_no_average(capsys):
    with pytest.raises(SystemExit):
        average.parse_args(["one.keras"])
    assert "two networks or more, got 1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="Received: 1"):
        networks.average([unet.build_unet(filters=(4, 4, 4, 4))])


def test_no_network_is_overwritten_by_the_average(capsys):
    with pytest.raises(SystemExit):
        average.parse_args(["models/one.keras", "x.keras", "--name", "one"])
    assert "choose another --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, message",
    [
        ({"field_diameter": 100.0}, "at one resolution"),
        (None, "what .* learnt from"),
        ({}, "no threshold there"),
    ],
)
def test_what_cannot_be_averaged_gets_a_sentence(folds, tmp_path, change, message):
    path = shutil.copy(folds / "fold0.keras", tmp_path / "x.keras")
    if change is not None:
        record = networks.read_record(folds / "fold0.keras") | change
        if not change:
            del record["threshold"]
        (tmp_path / "x.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        average.main([str(folds / "fold1.keras"), str(path)])
