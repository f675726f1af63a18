"""An average is the mean, and counts all that its networks learnt from as learnt."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import QUICK

import average
import predict
import train
import unet
from retina import networks
from retina.files import InputError
from retina.identity import Identity
from retina.maps import read_predictions, read_probability
from retina.networks import Network, Record

IMAGE = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)


@pytest.fixture(scope="module")
def folds(phantoms, tmp_path_factory):
    """A folder with two networks, each of which held out another photograph."""
    models = tmp_path_factory.mktemp("folds")
    for fold in (0, 1):
        options = ["--data", str(phantoms), "--models", str(models), *QUICK]
        options += ["--folds", "3", "--fold", str(fold), "--seed", str(fold)]
        train.main(
            [*options, "--name", f"fold{fold}", "--keep", ("last", "best")[fold]]
        )
    return models


def averaged(folds, folder):
    paths = [str(folds / f"fold{fold}.keras") for fold in (0, 1)]
    average.main([*paths, "--models", str(folder), "--name", "both"])
    return folder / "both.keras"


def predict_with(path, image=IMAGE):
    return networks.load(path).model.predict_on_batch(image)


def test_its_probability_is_the_mean(folds, tmp_path):
    one, two = (predict_with(folds / f"fold{n}.keras") for n in (0, 1))
    assert np.abs(one - two).max() > 0.001
    both = predict_with(averaged(folds, tmp_path))
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)


def test_what_one_learnt_from_is_no_longer_held_out(folds, tmp_path):
    record = networks.read_record(averaged(folds, tmp_path))
    one, two = (networks.read_record(folds / f"fold{n}.keras") for n in (0, 1))
    assert len(record.training_cases) == 3 and record.validation_cases == ()
    mean = (one.threshold.value + two.threshold.value) / 2
    assert record.threshold.value == pytest.approx(mean)
    assert record.threshold.source == "mean"
    assert record.parameters == 2 * one.parameters
    assert record.epoch_chosen == "best"  # one of them is
    parts = record.recipe["average_of"]
    assert [part["recipe"]["seed"] for part in parts] == [0, 1]
    assert record.made > two.made and not record.shipped


def test_files_of_others_are_not_written_over(folds, tmp_path):
    (tmp_path / "both.json").write_text("mine")
    with pytest.raises(InputError, match="found .*both.json: add --replace"):
        averaged(folds, tmp_path)
    assert (tmp_path / "both.json").read_text() == "mine"


def case(name, digit):
    return Identity(name, digit * 64, digit * 64)


def network_of(learnt, held_out=(), family="f", **entries):
    record = Record(
        training_cases=tuple(learnt),
        validation_cases=tuple(held_out),
        family=family,
        epoch_chosen="last",
        **entries,
    )
    return Network("x.keras", None, "", record)


def test_photographs_of_one_name_are_told_apart():
    """Two data sets share their names: both photographs were learnt from."""
    drive, phantom = case("21_training", "a"), case("21_training", "b")
    record = average.average_records([network_of([drive]), network_of([phantom])])
    assert networks.role_of(drive, record) == "training"
    assert networks.role_of(phantom, record) == "training"
    assert networks.role_of(case("21_training", "c"), record) == "unseen"


def test_what_all_held_out_is_still_held_out():
    eye, other = case("eye", "a"), case("other", "b")
    record = average.average_records([network_of([other], [eye])] * 2)
    assert record.validation_cases == (eye,) and record.training_cases == (other,)
    assert record.epoch_chosen == "last"
    record = average.average_records([network_of([other], [eye]), network_of([eye])])
    assert record.validation_cases == ()


def test_averages_of_the_same_recipes_are_one_family():
    pairs = [("f", "g"), ("g", "f"), ("f", "f"), ("f", "")]
    families = [
        average.average_records([network_of([], family=each) for each in pair]).family
        for pair in pairs
    ]
    assert families[0] == families[1] != families[2] and families[3] == ""


def test_it_predicts_like_any_other_in_both_precisions(folds, phantoms, tmp_path):
    path = averaged(folds, tmp_path)
    maps = []
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        options = ["--model", str(path), "--data", str(phantoms)]
        predict.main([*options, "--output", str(folder), "--precision", precision])
        row = read_predictions(folder)["01_test"]
        assert (row.role, row.epoch) == ("unseen", "best")
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
    path = averaged(folds, tmp_path)
    one = folds / "fold0.keras"
    average.main([str(path), str(one), "--models", str(tmp_path), "--name", "deep"])
    both, fold, deep = map(predict_with, (path, one, tmp_path / "deep.keras"))
    np.testing.assert_allclose(deep, (both + fold) / 2, atol=1e-6)
    parts = networks.read_record(tmp_path / "deep.keras").recipe["average_of"]
    assert len(parts[0]["recipe"]["average_of"]) == 2  # those of both networks in it


def test_one_network_is_no_average(folds, tmp_path, capsys):
    with pytest.raises(SystemExit):
        average.parse_args(["one.keras"])
    assert "two networks or more, got 1" in capsys.readouterr().err
    for ending in ("keras", "json"):
        shutil.copy(folds / f"fold0.{ending}", tmp_path / f"again.{ending}")
    paths = [str(folds / "fold0.keras"), str(tmp_path / "again.keras")]
    with pytest.raises(InputError, match=r"the same one in .*again\.keras"):
        average.main([*paths, "--models", str(tmp_path)])


def test_no_network_is_overwritten_by_the_average(folds, tmp_path, capsys):
    with pytest.raises(SystemExit):
        average.parse_args(["models/one.keras", "x.keras", "--name", "one"])
    assert "choose another --name" in capsys.readouterr().err
    path = averaged(folds, tmp_path)
    before = path.stat().st_mtime_ns
    with pytest.raises(InputError, match="--replace"):
        averaged(folds, tmp_path)
    assert path.stat().st_mtime_ns == before
    paths = [str(folds / f"fold{fold}.keras") for fold in (0, 1)]
    options = ["--models", str(tmp_path), "--name", "both", "--replace"]
    average.main([*paths, *options])
    assert path.stat().st_mtime_ns != before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"field_diameter": 100.0}, "at one resolution.*100"),
        ({"factors": (0.7, 1.4)}, r"times \(0.7, 1.4\); \(1.0,\)"),
        (None, "what .* learnt from"),
        ({"training_cases": None}, "what .* learnt from"),
    ],
)
def test_what_cannot_be_averaged_gets_a_sentence(folds, tmp_path, change, message):
    path = shutil.copy(folds / "fold0.keras", tmp_path / "x.keras")
    if change is not None:
        record = networks.read_record(folds / "fold0.keras")
        networks.write_record(path, replace(record, **change))
    with pytest.raises(InputError, match=message):
        average.main([str(folds / "fold1.keras"), str(path)])
