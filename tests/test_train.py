"""The real training, with tiny numbers: what it writes, holds out and goes on with."""

import csv
import json
import math
import shutil
from dataclasses import fields, replace
from datetime import datetime, timezone
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import QUICK, TINY
from PIL import Image

import phantom
import train
import unet
from retina import datasets, networks, recipes
from retina.files import InputError
from retina.identity import identify


def run(phantoms, models, *options):
    tree = ["--data", str(phantoms), "--models", str(models), "--validation", "1"]
    train.main([*tree, *TINY, *options])


def record_of(models, name):
    return networks.read_record(models / f"{name}.keras")


def recipe_of(*options):
    return train.parse_args(options).recipe


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
    # Six batches, the first of them warm-up: the rates after the third and the sixth.
    assert first == pytest.approx(6e-3 * (1 + math.cos(math.pi * 2 / 5)) / 2)
    assert last == pytest.approx(0)
    assert all(0 <= float(row["validation_auc"]) <= 1 for row in rows)
    with Image.open(trained / "tiny.png") as picture:
        assert picture.width > picture.height > 200


def test_the_record_says_how_it_was_made(trained, phantoms):
    record = record_of(trained, "tiny")
    assert record.recipe["augment"] and record.recipe["seed"] == 0
    assert record.recipe["filters"] == [4, 4, 8, 8]
    assert record.recipe["precision"] in networks.PRECISIONS  # what auto chose
    names = ["21_training", "22_training", "23_training"]
    assert [case.name for case in record.validation_cases] == names[:1]
    assert [case.name for case in record.training_cases] == names[1:]
    case = datasets.list_cases(phantoms, "training")[0]
    assert record.validation_cases[0] == identify(case.image)
    assert 0 < record.threshold.value < 1
    assert record.threshold.source == "held out" and record.threshold.photographs == 1
    assert record.details["versions"]["keras"] == keras.__version__
    assert len(record.data_sha256) == len(record.family) == 64
    assert record.network_sha256 == networks.load(trained / "tiny.keras").sha256
    age = datetime.now(timezone.utc) - datetime.fromisoformat(record.made)
    assert 0 <= age.total_seconds() < 3600 and not record.shipped
    tiny = unet.build_unet(filters=(4, 4, 8, 8))  # folded: no normalisation
    assert record.parameters == tiny.count_params()


def test_best_is_the_best_on_validation(trained, phantoms):
    """The stored network scores what its best row says, on the same photographs."""
    rows, record = rows_of(trained, "tiny"), record_of(trained, "tiny")
    best = max(rows, key=lambda row: float(row["validation_auc"]))
    assert record.details["epoch_kept"] == int(best["epoch"])
    assert record.epoch_chosen == "best"
    scored = record.details["validation"]["auc_roc"]
    assert scored == pytest.approx(float(best["validation_auc"]), abs=1e-3)


def test_without_validation_the_last_epoch_stands(phantoms, tmp_path):
    article = ("--preset", "article", "--validation", "0")
    run(phantoms, tmp_path, "--name", "all", *article)
    record = record_of(tmp_path, "all")
    assert len(record.training_cases) == 3 and record.validation_cases == ()
    assert record.epoch_chosen == "last" and record.details["epoch_kept"] == 2
    assert record.threshold.value == 0.5 and record.details["validation"] == {}
    assert record.threshold.source == "not measured"
    assert all(row["validation_auc"] == "" for row in rows_of(tmp_path, "all"))


def losses_of(models, name):
    return [float(row["loss"]) for row in rows_of(models, name)]


def test_the_same_seed_gives_the_same_curves(trained, phantoms, tmp_path):
    """Nor do settings of Keras change them, which it takes from ~/.keras/keras.json."""
    keras.config.set_floatx("float64")
    keras.config.set_epsilon(0.5)
    keras.config.set_image_data_format("channels_first")
    precision = record_of(trained, "tiny").recipe["precision"]
    options = ("--augment", "--precision", precision)
    run(phantoms, tmp_path, "--name", "again", *options)
    assert losses_of(tmp_path, "again") == losses_of(trained, "tiny")
    again, first = record_of(tmp_path, "again"), record_of(trained, "tiny")
    assert again.network_sha256 == first.network_sha256


def test_results_are_never_replaced_by_accident(trained, phantoms, tmp_path):
    models = shutil.copytree(trained, tmp_path / "models")
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    for options in (["--name", "tiny"], ["--name", "tiny", "--seed", "1"]):
        with pytest.raises(InputError, match="--resume.*--replace") as refused:
            run(phantoms, models, *options)
        assert "tiny.keras" in str(refused.value)
    assert before == {path.name: path.read_bytes() for path in models.iterdir()}


def test_resume_keeps_what_is_finished_and_refuses_what_others_made(
    trained, phantoms, tmp_path, capsys
):
    models = shutil.copytree(trained, tmp_path / "models")
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    run(phantoms, models, "--augment", "--name", "tiny", "--resume")
    assert "finished already" in capsys.readouterr().out
    other = tmp_path / "OTHER"
    phantom.write_phantom_tree(other, cases=6, seed=1, height=128, width=120)
    for tree, options in ((phantoms, ["--seed", "1"]), (other, [])):
        with pytest.raises(InputError, match="these options and data"):
            run(tree, models, "--augment", "--name", "tiny", "--resume", *options)
    assert before == {path.name: path.read_bytes() for path in models.iterdir()}


def test_replace_starts_anew_and_another_seed_gives_other_curves(
    trained, phantoms, tmp_path
):
    models = shutil.copytree(trained, tmp_path / "models")
    before = record_of(models, "tiny")
    options = ("--augment", "--precision", before.recipe["precision"])
    run(phantoms, models, "--name", "tiny", "--seed", "1", "--replace", *options)
    after = record_of(models, "tiny")
    assert after.recipe == before.recipe | {"seed": 1}
    assert after.network_sha256 != before.network_sha256
    first = losses_of(trained, "tiny")
    assert losses_of(models, "tiny") != pytest.approx(first, rel=1e-3)


def test_nothing_that_fails_after_fitting_loses_the_network(
    phantoms, tmp_path, monkeypatch
):
    def fail(*args):
        raise InputError("scoring fails")

    with monkeypatch.context() as patch:
        patch.setattr(train, "find_threshold", fail)
        with pytest.raises(InputError, match="scoring fails"):
            run(phantoms, tmp_path, "--name", "x", *QUICK)
    saved = networks.load(tmp_path / "x.keras").sha256
    run(phantoms, tmp_path, "--name", "x", *QUICK, "--resume")
    assert record_of(tmp_path, "x").network_sha256 == saved
    assert len(rows_of(tmp_path, "x")) == 2


def test_pretrained_takes_weights_from_a_file_and_fits_all_of_them(phantoms, tmp_path):
    path = tmp_path / "vgg16.weights.h5"
    vgg16 = keras.applications.VGG16(include_top=False, weights=None)
    vgg16.save_weights(path)
    first = np.asarray(vgg16.layers[1].kernel)
    options = ["--pretrained", "--encoder-weights", str(path), "--name", "vgg"]
    # Adam moves every weight by about the learning rate, whatever the gradient's size.
    options += [*QUICK, "--epochs", "1", "--steps", "1"]
    run(phantoms, tmp_path, *options, "--validation", "0")
    model = keras.models.load_model(tmp_path / "vgg.keras", compile=False)
    fitted = model.get_layer("vgg16").get_layer("block1_conv1").kernel
    difference = np.abs(np.asarray(fitted) - first).max()
    assert 0 < difference < 0.01
    assert record_of(tmp_path, "vgg").recipe["encoder"] == "vgg16"


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
    model = train.make_model(recipe_of(*TINY, "--precision", precision))
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
    assert record_of(tmp_path, "low").recipe["precision"] == precision
    first = float(rows_of(tmp_path, "low")[0]["learning_rate"])
    assert first == pytest.approx(6e-3 * (1 + math.cos(math.pi * 2 / 5)) / 2)
    saved = keras.models.load_model(tmp_path / "low.keras", compile=False)
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}


def test_fine_tuning_starts_from_the_weights_and_knows_what_they_learnt_from(
    trained, tmp_path
):
    """Two other photographs; a rate so low that the weights hardly move."""
    tree = tmp_path / "MINE"
    phantom.write_phantom_tree(tree, cases=4, seed=5, height=96, width=96)
    start = trained / "tiny.keras"
    own = ["--start", str(start), "--learning-rate", "1e-9", "--name", "tuned"]
    train.main(
        ["--data", str(tree), "--models", str(tmp_path), *TINY, *own]
        + ["--validation", "1", "--precision", "float32"]
    )
    before, after = networks.load(start), networks.load(tmp_path / "tuned.keras")
    for old, new in zip(
        before.model.get_weights(), after.model.get_weights(), strict=True
    ):
        assert np.abs(old - new).max() < 1e-6
    assert after.record.recipe["start_sha256"] == before.sha256
    cases = datasets.list_cases(tree, "training")
    learnt, held_out = identify(cases[1].image), identify(cases[0].image)
    seen = [*before.record.training_cases, *before.record.validation_cases]
    assert list(after.record.training_cases) == [learnt, *seen]
    assert list(after.record.validation_cases) == [held_out]
    recipe = recipe_of("--start", str(start))
    assert (recipe.learning_rate, recipe.batches) == (3e-4, 2000)
    layers = {"filters": list(recipe.filters), "encoder": recipe.encoder}
    assert layers.items() <= before.record.recipe.items()


def test_fine_tuning_holds_out_nothing_that_the_first_network_has_seen(
    trained, phantoms, tmp_path
):
    start = ["--start", str(trained / "tiny.keras")]
    with pytest.raises(InputError, match="has not seen, but it learnt from 21_train"):
        run(phantoms, tmp_path, *start)


def test_fine_tuning_refuses_photographs_of_another_scale(trained, tmp_path):
    phantom.write_phantom_tree(tmp_path / "X", cases=4, seed=5, height=300, width=300)
    start = ["--start", str(trained / "tiny.keras"), *TINY, "--validation", "0"]
    with pytest.raises(InputError, match="103 to 143 .*received 287: add --preset c"):
        run(tmp_path / "X", tmp_path, *start)


def test_fine_tuning_refuses_networks_that_do_not_fit(trained, phantoms, tmp_path):
    start = shutil.copy(trained / "tiny.keras", tmp_path)
    with pytest.raises(InputError, match="a record beside .* what it learnt from"):
        recipe_of("--start", str(start))
    shutil.copy(trained / "tiny.json", tmp_path)
    other = ["--validation", "0", "--filters", "4", "4", "8", "4"]
    with pytest.raises(InputError, match="the layers of the network that is fitted"):
        run(phantoms, tmp_path, "--start", str(start), *other)
    record = tmp_path / "tiny.json"
    content = json.loads(record.read_text())
    content["recipe"]["encoder"] = "vgg16"  # its weights are there already
    record.write_text(json.dumps(content))
    assert recipe_of("--start", str(start)).encoder == "vgg16"
    assert recipe_of("--start", str(start)).encoder_weights == ""
    content["recipe"] = {"average_of": []}
    record.write_text(json.dumps(content))
    with pytest.raises(InputError, match="average of several: start from one of them"):
        recipe_of("--start", str(start))
    assert not list(tmp_path.glob("default*.keras"))


def test_focal_loss_is_the_articles():
    recipe = recipe_of("--loss", "focal", *TINY, "--precision", "float32")
    loss = train.make_model(recipe).loss
    probability, truth = np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]])
    expected = [
        -0.25 * 0.1**2 * np.log(0.9),
        -0.75 * 0.2**2 * np.log(0.8),
    ]
    assert float(loss(truth, probability)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_no_photograph_is_learnt_from_and_held_out(phantoms, tmp_path, capsys):
    """Neither under another number, nor as a smaller copy."""
    tree = shutil.copytree(phantoms, tmp_path / "tree") / "training"
    for path in [*tree.glob("*/21*.tif"), *tree.glob("*/21*.gif")]:
        shutil.copy(path, path.with_name(path.name.replace("21", "24")))
    copy = tree / "images/24_training.tif"
    Image.open(copy).save(copy, compression="raw")
    with pytest.raises(InputError, match="21_training.tif and .*24_training.tif"):
        run(tree.parent, tmp_path / "models")
    assert not (tmp_path / "models").exists()
    Image.open(copy).point(lambda value: min(value + 1, 255)).save(copy)
    args = train.parse_args(["--data", str(tree.parent), "--validation", "1"])
    learnt, held_out = train.read_data(args)
    assert [each.case.name for each in held_out] == ["21_training", "24_training"]
    assert [each.case.name for each in learnt] == ["22_training", "23_training"]
    said = "21_training and 24_training look like one eye: one is not held out alone\n"
    assert said in capsys.readouterr().out
    train.read_data(train.parse_args(["--data", str(phantoms), "--validation", "0"]))
    assert "look like" not in capsys.readouterr().out


def test_held_out_photographs_are_predicted_as_predict_does(phantoms):
    """Also the epoch and the threshold are chosen at the scale that is shown later."""
    seen = []

    def says(tiles):
        seen.append(tiles.shape[1])
        return np.full((*tiles.shape[:3], 1), 0.1 * len(seen), np.float32)

    args = train.parse_args(["--data", str(phantoms), "--validation", "1"])
    _, held_out = train.read_data(args)
    model = SimpleNamespace(predict_on_batch=says)
    recipe = replace(args.recipe, shown_diameter=230.0, factors=(1.0, 2.0))
    label, probability = train.predict_pooled(model, held_out, recipe)
    assert seen == [288, 544]  # the field is 115 pixels wide in a photograph of 128
    np.testing.assert_allclose(probability, 0.15, rtol=1e-4)
    np.testing.assert_array_equal(label, held_out[0].label[held_out[0].inside])


def test_several_data_sets_are_learnt_from(phantoms, tmp_path, capsys):
    """At one scale only if they have one: else the preset for cameras is named."""
    other = tmp_path / "other"
    phantom.write_phantom_tree(other, cases=4, seed=9, height=256, width=240)
    sets = ["--data", str(phantoms), str(other)]
    with pytest.raises(InputError, match="one diameter in pixels.*--preset cameras"):
        train.main([*sets, "--models", str(tmp_path), *TINY])
    options = ["--preset", "cameras", "--name", "two", "--models", str(tmp_path)]
    train.main([*sets, *options, *TINY, "--patch-side", "32"])
    args = train.parse_args([*sets, "--preset", "cameras", "--patch-side", "32"])
    patches = train.make_patches(train.read_data(args)[0], args.recipe)
    assert patches.soft and len(patches.photographs) == 5
    label = patches[0][1]
    assert np.any((label > 0.1) & (label < 0.9))
    record = record_of(tmp_path, "two")
    assert record.details["data"] == {phantoms.name: 3, "other": 2}
    assert len(record.training_cases) == 5
    assert (record.field_diameter, record.factors) == (640, (0.7, 1.0, 1.4))


def test_data_sets_in_another_order_are_another_training(
    phantoms, tmp_path, monkeypatch
):
    """Patches are drawn from the photographs in the order in which they are read."""
    other = tmp_path / "other"
    phantom.write_phantom_tree(other, cases=2, seed=9, height=128, width=120)

    def stop_at_once(model, patches, validation, checkpoint, args):
        checkpoint.restore(model)
        checkpoint.set_model(model)
        checkpoint.on_train_begin()
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", stop_at_once)
    words = ["--models", str(tmp_path), *TINY, "--validation", "1"]
    words += ["--precision", "float32"]
    sets, swapped = [phantoms, other], [other, phantoms]
    for more in ([], ["--resume"]):
        with pytest.raises(KeyboardInterrupt):
            train.main(["--data", *map(str, sets), *words, *more])
    with pytest.raises(InputError, match=r"\(order of photographs .*, now "):
        train.main(["--data", *map(str, swapped), *words, "--resume"])


@pytest.mark.parametrize("word", ["--resume", "--replace"])
def test_states_are_not_written_through_a_link(phantoms, tmp_path, word):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link, .*choose another folder"):
        run(phantoms, tmp_path, "--name", "x", word)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_article_preset_is_the_articles_recipe():
    recipe = recipe_of("--preset", "article", "--augment")
    assert recipe.filters == (32, 64, 128, 256, 512) and recipe.dropout == 0.1
    assert not recipe.batch_normalization and not recipe.inside_field
    assert (recipe.batch_size, recipe.patch_side) == (16, 64)
    assert (recipe.learning_rate, recipe.epochs, recipe.steps) == (1e-3, 100, 125)
    assert (recipe.validation, recipe.keep) == (0, "last")
    assert (recipe.loss, recipe.optimizer) == ("cross-entropy", "adam")
    assert recipe.augmentation == "article"


def test_this_projects_recipe_learns_with_muon_and_the_articles_does_not():
    optimizers = {
        (): "Muon",
        ("--pretrained",): "Muon",
        ("--preset", "article"): "Adam",
        ("--preset", "article", "--pretrained"): "Adam",
    }
    for options, expected in optimizers.items():
        recipe = recipe_of(*options, "--learning-rate", "0.01")
        assert type(train.make_optimizer(recipe)).__name__ == expected


def test_the_rate_rises_from_the_first_batch_and_decays_to_nothing():
    recipe = recipe_of("--learning-rate", "0.01", "--epochs", "2", "--steps", "50")
    optimizer = train.make_optimizer(recipe)
    rates = []
    for batch in (0, 4, 5, 100):  # of 100, five of which are warm-up
        optimizer.iterations.assign(batch)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.002, 0.0084, 0.01, 0], abs=1e-6)


def test_pretrained_learns_fewer_epochs_unless_it_is_told():
    assert recipe_of("--pretrained").epochs == 20
    assert recipe_of("--pretrained", "--epochs", "7").epochs == 7
    assert recipe_of("--pretrained", "--preset", "article").epochs == 100


def test_every_option_of_the_recipe_is_a_field_and_no_other_is():
    """What decides what a training makes is in the record; the rest says where."""
    names = {field.name for field in fields(recipes.Recipe)}
    options = set(vars(train.parse_args([])))
    elsewhere = {"data", "models", "name", "preview", "tensorboard", "resume"}
    elsewhere |= {"start"}  # its hash is in the recipe
    elsewhere |= {"replace", "trust_labels", "vessel_values", "recipe"}
    assert options == names | elsewhere
    given = {action.dest for action in train._parser()._actions}
    without = {"augmentation", "optimizer", "batch_normalization", "inside_field"}
    without |= {"start_sha256", "diameters", "shown_diameter", "factors", "soft_labels"}
    assert names - given == without  # nobody needs to change them
    assert given - names == elsewhere - {"recipe"} | {"help"}


def test_the_defaults_are_the_presets():
    for name, preset in recipes.PRESETS.items():
        assert recipe_of("--preset", name) == preset


def test_names_tell_the_variants_apart():
    options = [[], ["--augment"], ["--pretrained"], ["--loss", "focal"]]
    options += [
        ["--preset", "article"],
        ["--preset", "large"],
        ["--folds", "5", "--fold", "2"],
    ]
    names = [train.parse_args(option).recipe.name for option in options]
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
    kept = path.read_bytes()
    with pytest.raises(InputError, match="found one: name another"):
        run(phantoms, tmp_path, "--preview", str(path))
    assert path.read_bytes() == kept
    run(phantoms, tmp_path, "--preview", str(path), "--replace")
    assert path.read_bytes() != kept


@pytest.mark.parametrize("word", [[], ["--resume"]])
@pytest.mark.parametrize("ending", ["png", "csv", "json"])
def test_files_of_others_are_not_written_over(phantoms, tmp_path, ending, word):
    """--models is the photographs' own folder, --name one of them."""
    path = tmp_path / f"eye.{ending}"
    path.write_text("mine")
    with pytest.raises(InputError, match=f"found .*eye.{ending}: start anew"):
        run(phantoms, tmp_path, "--name", "eye", *word)
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]


def test_patches_larger_than_the_photographs_get_a_sentence(phantoms, tmp_path):
    with pytest.raises(InputError, match="smallest side .* is 120"):
        run(phantoms, tmp_path, "--patch-side", "128")


def test_tensorboard_logs_only_when_asked(phantoms, tmp_path):
    run(phantoms, tmp_path / "m", *QUICK, "--tensorboard", str(tmp_path / "logs"))
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
        (["--learning-rate", "nan"], "above 0"),
        (["--seed", "-1"], "from 0"),
        (["--folds", "5", "--fold", "5"], "0 to 4"),
        (["--fold", "3"], "add --folds"),
        (["--folds", "5", "--validation", "3"], "not allowed with"),
        (["--resume", "--replace"], "not allowed with"),
        (["--name", "../x"], "plain file name"),
        (["--name", ".."], "plain file name"),
        (["--name", ""], "plain file name"),
        (["--name", "a\nb"], "plain file name"),
        (["--name", "é" * 101], "at most 200 bytes"),
        (["--encoder-weights", "x.h5"], "add --pretrained"),
        (["--preset", "best"], "article"),
    ],
)
def test_wrong_options_get_a_sentence(options, message, capsys):
    with pytest.raises(SystemExit) as caught:
        train.parse_args(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
