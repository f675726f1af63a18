"""The real training, with tiny numbers: what it writes, holds out and goes on with."""

import csv
import json
import math

import keras
import numpy as np
import pytest
from conftest import TINY
from PIL import Image

import train
import unet
from retina import datasets, history, networks
from retina.files import InputError, fingerprint


def run(phantoms, models, *options):
    tree = ["--data", str(phantoms), "--models", str(models), "--validation", "1"]
    train.main([*tree, *TINY, *options])


def record_of(models, name):
    return json.loads((models / f"{name}.json").read_text())


def rows_of(models, name):
    with (models / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_writes_a_network_its_record_and_its_curves(trained):
    assert sorted(path.name for path in trained.iterdir()) == [
        "tiny.csv",
        "tiny.json",
        "tiny.keras",
        "tiny.png",
    ]
    model = keras.models.load_model(trained / "tiny.keras", compile=False)
    assert model.predict_on_batch(np.zeros((1, 32, 32, 3))).shape == (1, 32, 32, 1)
    assert (trained / "tiny.keras").stat().st_size < 20 * model.count_params() + 1e5
    rows = rows_of(trained, "tiny")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 for row in rows)
    first, last = (float(row["learning_rate"]) for row in rows)
    # Six batches, the first of them warm-up: the rates of the third and the sixth.
    assert first == pytest.approx(3e-3 * (1 + math.cos(math.pi * 1 / 5)) / 2)
    assert last == pytest.approx(3e-3 * (1 + math.cos(math.pi * 4 / 5)) / 2)
    assert all(0 <= float(row["validation_auc"]) <= 1 for row in rows)
    with Image.open(trained / "tiny.png") as picture:
        assert picture.width > picture.height > 200


def test_the_record_says_how_it_was_made(trained, phantoms):
    record = record_of(trained, "tiny")
    assert record["arguments"]["augment"] and record["arguments"]["seed"] == 0
    assert record["arguments"]["filters"] == [4, 4, 8, 8, 8]
    assert list(record["training_cases"]) == ["22_training", "23_training"]
    assert list(record["validation_cases"]) == ["21_training"]
    case = datasets.list_cases(phantoms, "training")[0]
    assert record["validation_cases"][case.name] == fingerprint(case.image)
    assert 0 < record["threshold"] < 1
    assert "validation photographs" in record["threshold_chosen_on"]
    assert record["versions"]["keras"] == keras.__version__
    assert len(record["data_sha256"]) == 64
    tiny = unet.build_unet(filters=(4, 4, 8, 8, 8))  # folded: no normalisation
    assert record["parameters"] == tiny.count_params()


def test_best_is_the_best_on_validation(trained, phantoms):
    """The stored network scores what its best row says, on the same photographs."""
    rows, record = rows_of(trained, "tiny"), record_of(trained, "tiny")
    best = max(rows, key=lambda row: float(row["validation_auc"]))
    assert record["epoch_kept"] == int(best["epoch"])
    assert record["epoch_chosen"] == "best"
    scored = record["validation"]["auc_roc"]
    assert scored == pytest.approx(float(best["validation_auc"]), abs=1e-4)


def test_curves_keep_the_best_weights_not_the_last(tmp_path):
    """Validation falls after the second epoch: the second's weights must be saved."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    scores = iter([0.6, 0.9, 0.7])
    weights = []

    def validate(model):
        weights.append(model.get_weights()[0].item())
        return next(scores)

    best = tmp_path / "best.weights.h5"
    log = history.Curves(tmp_path / "x.csv", validate=validate, best=best)
    x = np.ones((8, 1))
    model.fit(x, 3 * x, epochs=3, batch_size=8, callbacks=[log], verbose=0)
    assert len(set(weights)) == 3
    model.load_weights(best)
    assert model.get_weights()[0].item() == weights[1]
    assert history.best_epoch(log.rows) == 2


def test_without_validation_the_last_epoch_stands(phantoms, tmp_path):
    article = ("--preset", "article", "--validation", "0")
    run(phantoms, tmp_path, "--name", "all", *article)
    record = record_of(tmp_path, "all")
    assert len(record["training_cases"]) == 3 and not record["validation_cases"]
    assert record["epoch_chosen"] == "last" and record["epoch_kept"] == 2
    assert record["threshold"] == 0.5 and "validation" not in record
    assert all(row["validation_auc"] == "" for row in rows_of(tmp_path, "all"))


def test_where_none_is_held_out_our_recipe_has_a_threshold_of_its_own(
    phantoms, tmp_path
):
    run(phantoms, tmp_path, "--name", "all", "--validation", "0")
    run(phantoms, tmp_path, "--name", "f", "--validation", "0", "--loss", "focal")
    record = record_of(tmp_path, "all")
    assert record["threshold"] == train.THRESHOLDS["default"] != 0.5
    assert "out-of-fold" in record["threshold_chosen_on"]
    assert record_of(tmp_path, "f")["threshold"] == 0.5  # not chosen for that loss


def test_the_same_seed_gives_the_same_curves_and_another_does_not(phantoms, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        run(phantoms, tmp_path, "--name", name, "--seed", seed, "--validation", "0")
    a, b, c = (
        [float(row["loss"]) for row in rows_of(tmp_path, name)] for name in "abc"
    )
    assert a == pytest.approx(b, rel=1e-5)
    assert a != pytest.approx(c, rel=1e-3)


def test_resume_goes_on_as_if_nothing_had_happened(phantoms, tmp_path, monkeypatch):
    options = ("--seed", "5", "--epochs", "3", "--dropout", "0")
    run(phantoms, tmp_path, "--name", "whole", *options)

    validate = train.predict_pooled
    calls = []

    def stop_in_the_second_epoch(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(*args)

    monkeypatch.setattr(train, "predict_pooled", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(phantoms, tmp_path, "--name", "cut", *options)
    assert not (tmp_path / "cut.keras").exists()
    run(phantoms, tmp_path, "--name", "cut", *options, "--resume")

    for name in ("loss", "validation_auc"):
        whole = [float(row[name]) for row in rows_of(tmp_path, "whole")]
        cut = [float(row[name]) for row in rows_of(tmp_path, "cut")]
        assert len(cut) == 3 and cut == pytest.approx(whole, rel=1e-4)
    assert not (tmp_path / "cut.backup").exists()


def test_resume_refuses_other_arguments_and_nothing_to_resume(phantoms, tmp_path):
    with pytest.raises(InputError, match="without --resume"):
        run(phantoms, tmp_path, "--name", "new", "--resume")
    args = train.parse_args(["--name", "x", "--models", str(tmp_path)])
    train.begin_backup(tmp_path / "x.backup", tmp_path / "x.csv", args)
    changed = train.parse_args(
        ["--name", "x", "--models", str(tmp_path), "--resume", "--seed", "7"]
    )
    with pytest.raises(InputError, match='"seed": 7'):
        train.begin_backup(tmp_path / "x.backup", tmp_path / "x.csv", changed)


def test_pretrained_takes_weights_from_a_file_and_fits_all_of_them(phantoms, tmp_path):
    path = tmp_path / "vgg16.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None).save_weights(path)
    options = ["--pretrained", "--encoder-weights", str(path), "--name", "vgg"]
    # Adam moves every weight by about the learning rate, whatever the gradient's size.
    options += ["--epochs", "1", "--validation", "0"]
    run(phantoms, tmp_path, *options)
    model = keras.models.load_model(tmp_path / "vgg.keras", compile=False)
    first = keras.applications.VGG16(include_top=False, weights=path).layers[1].kernel
    fitted = model.get_layer("vgg16").get_layer("block1_conv1").kernel
    difference = np.abs(np.asarray(fitted) - np.asarray(first)).max()
    assert 0 < difference < 0.01
    assert record_of(tmp_path, "vgg")["arguments"]["encoder"] == "vgg16"


def test_pretrained_without_a_network_says_how_to_get_the_weights(
    phantoms, tmp_path, monkeypatch
):
    def no_network(*args, **kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(InputError, match="--encoder-weights PATH"):
        run(phantoms, tmp_path, "--pretrained")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "speedup, precision", [(0.5, "float32"), (1.1, "float32"), (2.0, "bfloat16")]
)
def test_auto_takes_bfloat16_only_where_it_is_faster(
    monkeypatch, capsys, speedup, precision
):
    seconds = {"float32": speedup, "bfloat16": 1.0}
    monkeypatch.setattr(networks, "time_convolutions", seconds.get)
    assert networks.choose_precision("auto") == precision
    line = capsys.readouterr().out
    assert line == f"precision {precision}: bfloat16 is {speedup} times as fast here\n"


def test_convolutions_are_timed_in_either_precision():
    for precision in ("float32", "bfloat16"):
        assert 0 < networks.time_convolutions(precision) < 60


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_is_of_the_convolutions_alone(precision):
    args = train.parse_args([*TINY, "--precision", precision])
    model = train.make_model(args)
    assert keras.config.dtype_policy().name == "float32"  # nothing leaks
    convolution, *_, last = (
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    )
    assert convolution.compute_dtype == precision
    assert last.compute_dtype == "float32"
    assert all(weight.dtype == "float32" for weight in model.weights)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_learnt_in_low_precision_is_saved_in_float32(
    phantoms, tmp_path, precision
):
    options = ["--precision", precision, "--batch-size", "4", "--validation", "0"]
    run(phantoms, tmp_path, "--name", "low", *options)
    assert record_of(tmp_path, "low")["arguments"]["precision"] == precision
    last = float(rows_of(tmp_path, "low")[-1]["learning_rate"])
    assert last == pytest.approx(3e-3 * (1 + math.cos(math.pi * 4 / 5)) / 2)
    saved = keras.models.load_model(tmp_path / "low.keras", compile=False)
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}


def test_focal_loss_is_the_articles():
    args = train.parse_args(["--loss", "focal", "--filters", "2", "2", "2", "2", "2"])
    loss = train.make_model(args).loss
    probability, truth = np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]])
    expected = [
        -0.25 * 0.1**2 * np.log(0.9),
        -0.75 * 0.2**2 * np.log(0.8),
    ]
    assert float(loss(truth, probability)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_folds_part_the_photographs(phantoms):
    cases = datasets.list_cases(phantoms, "training")
    held_out = []
    for fold in range(3):
        args = train.parse_args(["--folds", "3", "--fold", str(fold)])
        training, validation = train.split_cases(cases, args)
        assert len(training) == 2 and len(validation) == 1
        assert not {c.name for c in training} & {c.name for c in validation}
        held_out += validation
    assert {case.name for case in held_out} == {case.name for case in cases}


@pytest.mark.parametrize("options", [["--folds", "9"], ["--validation", "3"]])
def test_more_held_out_than_there_is_gets_a_sentence(phantoms, options):
    cases = datasets.list_cases(phantoms, "training")
    with pytest.raises(InputError, match=f"received {' '.join(options)}"):
        train.split_cases(cases, train.parse_args(options))


def test_the_article_preset_is_the_articles_recipe():
    args = train.parse_args(["--preset", "article", "--augment"])
    assert args.filters == [32, 64, 128, 256, 512] and args.dropout == 0.1
    assert (args.batch_size, args.patch_side) == (16, 64)
    assert (args.learning_rate, args.epochs, args.steps) == (1e-3, 100, 125)
    assert (args.validation, args.keep, args.loss) == (0, "last", "cross-entropy")


def test_the_large_preset_is_ours_with_twice_the_filters():
    ours, large = (
        vars(train.parse_args(["--preset", p])) for p in ("default", "large")
    )
    changed = {name for name in ours if ours[name] != large[name]}
    assert changed == {"preset", "filters", "name"}
    assert large["filters"] == [2 * count for count in ours["filters"]]


def test_our_recipe_learns_with_muon_and_the_articles_does_not():
    optimizers = {
        (): "Muon",
        ("--pretrained",): "Muon",
        ("--preset", "article"): "Adam",
        ("--preset", "article", "--pretrained"): "Adam",
    }
    for options, expected in optimizers.items():
        args = train.parse_args([*options, "--learning-rate", "0.01"])
        optimizer = train.make_optimizer(args)
        assert type(optimizer).__name__ == expected
        assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_names_tell_the_variants_apart():
    options = [[], ["--augment"], ["--pretrained"], ["--loss", "focal"]]
    options += [
        ["--preset", "article"],
        ["--preset", "large"],
        ["--folds", "5", "--fold", "2"],
    ]
    names = [train.parse_args(option).name for option in options]
    assert len(set(names)) == len(names)


def test_preview_draws_patches_over_their_labels_and_stops(phantoms, tmp_path, capsys):
    path = tmp_path / "sheet.png"
    run(phantoms, tmp_path, "--augment", "--preview", str(path))
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (4 * (2 * 64 + 4) * 2, 8 * (64 + 4) * 2, 3)
    label = sheet[2 + 2 * 66 : 2 * 128, 4:100]  # of the first patch
    assert set(np.unique(label)) <= {0, 255}
    assert "32 patches" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_patches_larger_than_the_photographs_get_a_sentence(phantoms, tmp_path):
    with pytest.raises(InputError, match="smallest side .* is 120"):
        run(phantoms, tmp_path, "--patch-side", "128")


def test_tensorboard_logs_only_when_asked(phantoms, tmp_path):
    run(phantoms, tmp_path / "m", "--tensorboard", str(tmp_path / "logs"))
    assert list((tmp_path / "logs").rglob("events.out.*"))


def test_tensorboard_is_named_where_it_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        train.parse_args(["--tensorboard", "logs"])
    assert "pip install tensorboard" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--patch-side", "50"], "multiple of 16"),
        (["--batch-size", "6"], "multiple of 4"),
        (["--epochs", "0"], "from 1"),
        (["--filters", "4", "4"], "four or five numbers, got 2"),
        (["--dropout", "1"], "below 1"),
        (["--learning-rate", "-1"], "above 0"),
        (["--folds", "5", "--fold", "5"], "0 to 4"),
        (["--encoder-weights", "x.h5"], "add --pretrained"),
        (["--preset", "best"], "article"),
    ],
)
def test_wrong_options_get_a_sentence(options, message, capsys):
    with pytest.raises(SystemExit) as caught:
        train.parse_args(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
