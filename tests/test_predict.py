"""Maps of the right photograph, by the right network, and nothing is written over."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import heed_interruptions, tiff
from PIL import Image

import predict
from retina import (
    datasets,
    maps,
    networks,
    onnx_networks,
    phantoms,
    prediction,
    worklist,
)
from retina.files import InputError, fingerprint
from retina.identity import identify
from retina.maps import is_whole, read_predictions, read_probability
from retina.networks import Network, Record
from retina.pictures import as_image, read_pixels
from retina.recipes import Threshold

ROOT = Path(__file__).parent.parent
LIGHT = ["--model", "models/light.onnx"]  # a process starts without TensorFlow


def save_network(path, record, gain=4.0):
    """A network that a test can foresee: sigmoid(gain * (red - 0.5))."""
    image = keras.Input((None, None, 3))
    red = keras.layers.Conv2D(1, 1, name="red")
    last = keras.layers.Conv2D(1, 1, activation="sigmoid", name="probability")
    model = keras.Model(image, last(red(image)))
    red.set_weights([np.float32([[[[gain], [0], [0]]]]), np.float32([-gain / 2])])
    last.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    save = onnx_networks.save if path.suffix == ".onnx" else networks.save
    networks.write_record(path, replace(record, network_sha256=save(model, path)))


@pytest.fixture(scope="module")
def shelf(phantoms, tmp_path_factory):
    """The folder `models` with one network, which held 21_training out, and the same
    as ONNX."""
    models = tmp_path_factory.mktemp("models")
    cases = datasets.list_cases(phantoms, "training")
    held_out, *learnt = (identify(case.image) for case in cases)
    record = Record(
        made="2026-11-25T12:00:00+00:00",
        family="f" * 64,
        training_cases=tuple(learnt),
        validation_cases=(held_out,),
        field_diameter=115.0,
        threshold=Threshold(0.75, "held out", 1),
        epoch_chosen="best",
    )
    save_network(models / "tiny.keras", record)
    save_network(models / "light.onnx", record)
    return models


@pytest.fixture
def workplace(shelf, phantoms, tmp_path, monkeypatch):
    """A fresh folder with models/ and input/DRIVE, as the commands expect them."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input/DRIVE").symlink_to(phantoms)
    shutil.copytree(shelf, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bright_network(monkeypatch):
    """A network that says what the red channel says."""
    use_network(monkeypatch, lambda tiles: tiles[..., :1])


class Stub:
    """A model that calls a function."""

    def __init__(self, function):
        self.predict_on_batch = function


def use_network(monkeypatch, function):
    """predict.py predicts with `function`, under the name of the network it loads."""

    def load(path, precision, camera=None):
        record = networks.read_record(path)
        return Network(path, Stub(function), record.network_sha256, record)

    monkeypatch.setattr(predict, "load_network", load)


def save_photograph(path, height=50, width=70, seed=0):
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def written(folder):
    """The files in a folder of maps, hidden ones left out."""
    files = sorted(p.relative_to(folder) for p in Path(folder).rglob("[!.]*.*"))
    return [path.as_posix() for path in files]


def contents(folder):
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# ---- what is predicted, by which network


def test_no_arguments_take_the_network_made_last_and_the_test_folder(workplace, capsys):
    predict.main([])
    rows = read_predictions("output/tiny")
    assert list(rows) == ["01_test", "02_test", "03_test"]
    for name, row in rows.items():
        probability = read_probability(f"output/tiny/{name}.png")
        assert probability.shape == (row.height, row.width) == (128, 120)
        mean = probability[probability > 0].mean()  # outside the field it is 0
        assert row.mean_probability == pytest.approx(mean, abs=1e-4)
        assert row.network == "models/tiny.keras" and row.field_from == "data set"
        assert (row.role, row.epoch, row.threshold) == ("unseen", "best", 0.75)
        assert row.threshold_source == "highest Dice on the 1 photograph held out"
    printed = capsys.readouterr().out
    made = networks.read_record(Path("models/tiny.keras")).made
    assert f"models/tiny.keras, made {made[:10]}" in printed
    assert "3 maps in output/tiny" in printed


def test_the_map_is_what_the_network_says_inside_the_field(workplace):
    predict.main([])
    case = datasets.list_cases("input/DRIVE", "test")[0]
    inside = datasets.read_field_of_view(case)
    found = maps.read_map("output/tiny", read_predictions("output/tiny")["01_test"])
    said = 1 / (1 + np.exp(2 - 4 * as_image(read_pixels(case.image))[..., 0]))
    np.testing.assert_allclose(found.probability, said * inside, atol=1e-4)
    np.testing.assert_array_equal(found.field_of_view, inside)


def test_a_shipped_network_is_taken_only_where_no_own_one_is(workplace, capsys):
    made = "2999-01-01T00:00:00+00:00"
    save_network(Path("models/vessels.keras"), Record(made=made, shipped=True))
    photograph = str(save_photograph(workplace / "a.png"))
    predict.main([photograph])
    assert list(read_predictions("output/tiny")) == ["a"]
    Path("models/tiny.keras").unlink()
    predict.main([photograph])
    assert list(read_predictions("output/vessels")) == ["a"]
    assert f"models/vessels.keras, made {made[:10]}" in capsys.readouterr().out


def test_held_out_are_the_networks_own_validation_photographs(workplace):
    predict.main(["--split", "held-out"])
    roles = {name: row.role for name, row in read_predictions("output/tiny").items()}
    assert roles == {"21_training": "validation"}
    predict.main(["--split", "training", "--resume"])
    rows = read_predictions("output/tiny")
    assert [rows[f"{n}_training"].role for n in (21, 22, 23)] == [
        "validation",
        "training",
        "training",
    ]


def test_held_out_are_known_when_they_were_saved_again(workplace, phantoms):
    Path("input/DRIVE").unlink()
    shutil.copytree(phantoms, "input/DRIVE")
    path = Path("input/DRIVE/training/images/21_training.tif")
    before = path.read_bytes()
    Image.open(path).save(path, compression="raw")
    assert path.read_bytes() != before
    predict.main(["--split", "held-out"])
    assert list(read_predictions("output/tiny")) == ["21_training"]


def test_a_damaged_photograph_does_not_hide_those_held_out(workplace, phantoms):
    Path("input/DRIVE").unlink()
    shutil.copytree(phantoms, "input/DRIVE")
    Path("input/DRIVE/training/images/22_training.tif").write_bytes(b"II*\0broken")
    with pytest.raises(InputError, match="no map for:\n.*22_training.tif"):
        predict.main(["--split", "held-out"])
    assert list(read_predictions("output/tiny")) == ["21_training"]


def test_photographs_are_known_by_bytes_or_pixels_not_by_names(workplace):
    path = "input/DRIVE/training/images/22_training.tif"
    copy = shutil.copy(path, "holiday.tif")
    with Image.open(path) as picture:
        picture.save("again.png")
    other = save_photograph(workplace / "22_training.png")
    predict.main([copy, "again.png", str(other)])
    rows = read_predictions("output/tiny")
    assert rows["holiday"].role == rows["again"].role == "training"
    assert rows["22_training"].role == "unseen"


def test_files_and_folders_of_any_size(workplace):
    save_photograph(workplace / "mine/one.jpg", 33, 401)
    save_photograph(workplace / "mine/two.PNG", 1, 1)
    save_photograph(workplace / "three.tif", 500, 17)
    predict.main(["mine", "three.tif", "--output", "maps"])
    assert sorted(read_predictions("maps")) == ["one", "three", "two"]
    for name, shape in {"one": (33, 401), "two": (1, 1), "three": (500, 17)}.items():
        assert read_probability(f"maps/{name}.png").shape == shape


def test_two_photographs_with_one_stem_get_two_maps(workplace):
    save_photograph(workplace / "mine/a.jpg")
    save_photograph(workplace / "mine/a.png", seed=1)
    predict.main(["mine"])
    assert sorted(read_predictions("output/tiny")) == ["a.jpg", "a.png"]
    with pytest.raises(InputError, match="received 2 called a.jpg"):
        predict.main(["mine", "mine"])


def test_names_of_the_programs_own_files_are_names_like_any_other(workplace):
    names = ["curves", "fields", "index", "overlays", "predictions", "report"]
    for name in names:
        save_photograph(workplace / f"mine/{name}.png")
    predict.main(["mine", "--overlay", "--vessels"])
    rows = read_predictions("output/tiny")
    assert list(rows) == names
    assert all(is_whole("output/tiny", row) for row in rows.values())


def test_what_a_folder_holds_besides_is_told(workplace, capsys):
    save_photograph(workplace / "mine/a.png")
    for name in ("._a.png", ".hidden", "1.DCM", "2.dcm", "notes.txt", "README"):
        (workplace / "mine" / name).write_text("no picture")
    save_photograph(workplace / "mine/deeper/b.png")
    predict.main(["mine/deeper", "--output", "mine/maps"])
    predict.main(["mine"])
    assert list(read_predictions("output/tiny")) == ["a"]
    printed = capsys.readouterr().out
    assert "4 files skipped: 2 .dcm, 1 no ending, 1 .txt" in printed
    assert "folders with pictures, not entered unless named: mine/deeper\n" in printed
    predict.main(["mine", "mine/deeper", "--replace"])
    assert list(read_predictions("output/tiny")) == ["a", "b"]
    assert "not entered" not in capsys.readouterr().out
    (workplace / "mine/a.png").unlink()
    with pytest.raises(InputError, match="found none: name mine/deeper, with"):
        predict.main(["mine"])


# ---- field of view, scale, views


def test_beyond_the_rim_of_an_estimated_field_the_map_is_zero(
    workplace, bright_network
):
    case = datasets.list_cases("input/DRIVE", "test")[0]
    predict.main([str(case.image)])
    row = read_predictions("output/tiny")["01_test"]
    found = maps.read_map("output/tiny", row)
    given = datasets.read_field_of_view(case)
    both, either = found.field_of_view & given, found.field_of_view | given
    assert both.sum() / either.sum() > 0.97
    rows, columns = np.nonzero(found.probability)
    centre = np.argwhere(found.field_of_view).mean(axis=0)
    away = np.hypot(rows - centre[0], columns - centre[1]).max()
    assert away / (row.field_diameter / 2) == pytest.approx(1.05, abs=0.02)
    inside = found.probability[found.field_of_view]
    assert row.mean_probability == pytest.approx(inside.mean(), abs=1e-4)
    assert row.field_diameter == pytest.approx(0.956 * 120, rel=0.02)
    assert (row.field_from, row.scale_from) == ("estimated", "field of view")


def test_a_doubtful_field_is_told_of_on_stderr(workplace, bright_network, capsys):
    eye = as_image(read_pixels(datasets.list_cases("input/DRIVE", "test")[0].image))
    both = np.uint8(np.concatenate([eye, eye], axis=1) * 255)
    Image.fromarray(both).save(workplace / "both.png")
    Image.fromarray(both[:, :120]).save(workplace / "one.png")
    predict.main(["both.png", "one.png"])
    printed = capsys.readouterr().err
    assert "note on both.png: bright beyond the field of view" in printed
    assert "two eyes" in read_predictions("output/tiny")["both"].note
    assert "one.png" not in printed


def test_a_given_field_of_view_is_taken_and_kept(workplace, bright_network):
    photograph = save_photograph(workplace / "my eye.png")
    inside = np.zeros((50, 70), np.uint8)
    inside[10:40, 20:60] = 255
    (workplace / "fields").mkdir()
    Image.fromarray(inside).save(workplace / "fields/my eye.gif")
    words = [str(photograph), "--field-of-view", "fields", "--scale", "1"]
    predict.main(words)
    row = read_predictions("output/tiny")["my eye"]
    assert (row.field_from, row.scale, row.scale_from) == ("given", 1, "given")
    found = maps.read_map("output/tiny", row)
    np.testing.assert_array_equal(found.field_of_view, inside > 0)
    red = as_image(read_pixels(photograph))[..., 0]
    np.testing.assert_allclose(found.probability, red * (inside > 0), atol=1e-4)

    Image.fromarray(inside[:9]).save(workplace / "fields/my eye.gif")
    with pytest.raises(InputError, match="70 x 50 .* received 70 x 9"):
        predict.main([*words, "--replace"])
    (workplace / "fields/my eye.gif").unlink()
    with pytest.raises(InputError, match="no file of that name"):
        predict.main([*words, "--replace"])


def test_averaged_views_of_a_slope_are_level(workplace, monkeypatch):
    """Of a network that says more the further right, left and right make .5."""

    def slope(tiles):
        across = np.linspace(0, 1, tiles.shape[2], dtype=np.float32)
        return np.broadcast_to(across[:, None], (*tiles.shape[:3], 1))

    use_network(monkeypatch, slope)
    photograph = str(save_photograph(workplace / "square.png", 64, 64))
    predict.main([photograph, "--output", "one"])
    assert np.ptp(read_probability("one/square.png")) > 0.5
    predict.main([photograph, "--output", "eight", "--tta"])
    np.testing.assert_allclose(read_probability("eight/square.png"), 0.5, atol=1e-4)
    one, eight = (read_predictions(f)["square"] for f in ("one", "eight"))
    assert (one.views, eight.views) == (1, 8)
    assert eight.threshold_source == (
        one.threshold_source + "; measured with one view, used with 8"
    )


def test_a_second_run_writes_the_same_bytes(trained, phantoms, tmp_path, monkeypatch):
    options = f"--model {trained}/tiny.keras --data {phantoms} --output maps"
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        predict.main([*options.split(), "--vessels", "--overlay", "--tta"])
        rows = read_predictions("maps")
        Path("maps/predictions.csv").unlink()
        files = {name: (Path("maps") / name).read_bytes() for name in written("maps")}
        runs.append((files, [replace(row, seconds=0) for row in rows.values()]))
    assert {"01_test.png", "fields/01_test.png", "index.html"} < set(runs[0][0])
    assert len(runs[0][0]) == 3 * 4 + 1 and len(runs[0][1]) == 3
    assert runs[0] == runs[1]


def test_bfloat16_says_nearly_the_same_and_is_noted(workplace):
    predict.main([])
    predict.main(["--precision", "bfloat16", "--output", "low"])
    low = read_predictions("low")
    for name, row in read_predictions("output/tiny").items():
        assert (row.precision, low[name].precision) == ("float32", "bfloat16")
        assert row.network_sha256 == low[name].network_sha256
        full, less = (
            read_probability(Path(folder) / f"{name}.png")
            for folder in ("output/tiny", "low")
        )
        assert 0 < np.abs(full - less).max() < 0.1


def test_photographs_of_one_size_are_traced_once(tmp_path, workplace, monkeypatch):
    """Fields that differ by a few pixels, as one camera's do, get the same tiles."""
    shapes = []

    def network(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    use_network(monkeypatch, network)
    rows, columns = np.indices((584, 565))
    for radius in (265, 268, 270):
        disc = np.hypot(rows - 290, columns - 280) < radius
        values = np.uint8(disc[..., None] * [200, 120, 60])
        Image.fromarray(values).save(tmp_path / f"{radius}.png")
    predict.main([str(p) for p in tmp_path.glob("*.png")] + ["--scale", "1"])
    assert shapes == [(1, 576, 576, 3)] * 3  # the field, not the dark around it


def test_tiles_are_predicted_in_bounded_batches(workplace, monkeypatch):
    shapes = set()

    def network(tiles):
        shapes.add(tiles.shape)
        return tiles[..., :1]

    use_network(monkeypatch, network)
    photograph = str(save_photograph(workplace / "wide.png", 90, 900))
    sizes = ["--tile-side", "96", "--tile-overlap", "32", "--tile-batch", "3"]
    predict.main([photograph, "--scale", "1", *sizes])
    assert shapes == {(3, 96, 96, 3)}
    red = as_image(read_pixels(photograph))[..., 0]
    probability = read_probability("output/tiny/wide.png")
    np.testing.assert_allclose(probability, red, atol=1e-4)
    row = read_predictions("output/tiny")["wide"]
    assert (row.tile_side, row.tile_overlap) == (96, 32)


def test_notes_say_what_is_wrong_with_a_photograph(workplace):
    save_photograph(workplace / "noise.png")
    Image.new("RGB", (80, 60)).save("black.png")
    predict.main(["noise.png", "black.png"])
    rows = read_predictions("output/tiny")
    assert "no round field found" in rows["noise"].note
    assert "very dark" in rows["black"].note
    assert rows["noise"].field_diameter is None
    assert rows["noise"].field_from == "whole photograph"
    assert rows["noise"].scale_from == "no round field"


# ---- pictures


def test_twelve_bits_in_a_file_of_sixteen_are_noted_and_read_as_told(workplace):
    """A camera's 12 bits look all but black where 16 count; --bits says what is white,
    and the map is that of the same photograph with all its bits."""
    drawn = phantoms.draw_phantom(height=96, width=96, rng=np.random.default_rng(0))
    grey = np.uint16(np.round(drawn.image[..., 1] * 4095))
    Image.fromarray(grey).save("twelve.png")
    Image.fromarray(np.uint16(np.round(grey * (65535 / 4095)))).save("sixteen.png")
    predict.main(["twelve.png", "sixteen.png"])
    rows = read_predictions("output/tiny")
    assert "needs 12 of 16 bits" in rows["twelve"].note
    assert "bits" not in rows["sixteen"].note
    predict.main(["twelve.png", "--bits", "12", "--output", "told", "--overlay"])
    told = read_predictions("told")["twelve"]
    assert told.note == rows["sixteen"].note and told.bits == 12
    maps = [
        np.asarray(Image.open(path), np.float32) / 65535
        for path in ("told/twelve.png", "output/tiny/sixteen.png")
    ]
    np.testing.assert_allclose(*maps, atol=2e-3)
    overlay = np.asarray(Image.open("told/overlays/twelve.jpg"))
    assert overlay.max() > 100  # and not as dark as the file
    with pytest.raises(InputError, match="other --bits, 12"):
        predict.main(["twelve.png", "--output", "told", "--resume"])
    with pytest.raises(InputError, match="at most 255"):
        predict.main(["twelve.png", "--bits", "8", "--output", "few"])


def test_bits_are_read_as_told_in_colours_too(workplace):
    """Twelve bits of sixteen get a note, and the right map with --bits 12; fourteen,
    of which no note tells, are not read as sixteen where --bits 14 was said."""
    drawn = phantoms.draw_phantom(height=96, width=96, rng=np.random.default_rng(0))
    for bits in (12, 14, 16):
        values = np.uint16(np.round(drawn.image * (2**bits - 1)))
        Path(f"{bits}.tif").write_bytes(tiff(values, planar=1))
    predict.main(["12.tif", "16.tif"])
    rows = read_predictions("output/tiny")
    assert "needs 12 of 16 bits" in rows["12"].note and "bits" not in rows["16"].note
    right = read_probability("output/tiny/16.png")
    for bits in ("12", "14"):
        options = [f"{bits}.tif", "--bits", bits, "--output", "told"]
        predict.main(options)
        row = read_predictions("told")[bits]
        assert row.bits == int(bits) and row.note == rows["16"].note
        found = read_probability(f"told/{bits}.png")
        # But for the rim, whose place depends on single values.
        assert np.mean(np.abs(found - right) < 9e-3) > 0.99
        assert identify(f"{bits}.tif").pixels_sha256 == row.pixels_sha256
        predict.main([*options, "--resume"])
        with pytest.raises(InputError, match=f"other --bits, {bits}"):
            predict.main([f"{bits}.tif", "--output", "told", "--resume"])
    predict.main(["14.tif", "--output", "dark"])
    with pytest.raises(InputError, match="other --bits, 8"):
        predict.main(["14.tif", "--bits", "14", "--output", "dark", "--resume"])


def test_vessels_are_cut_at_the_networks_threshold(workplace, bright_network):
    photograph = save_photograph(workplace / "photo.png")
    predict.main([str(photograph), "--vessels"])
    with Image.open("output/tiny/vessels/photo.png") as picture:
        assert picture.mode == "1"
        vessels = np.asarray(picture)
    assert vessels.mean() == pytest.approx(0.25, abs=0.05)
    probability = read_probability("output/tiny/photo.png")
    np.testing.assert_array_equal(vessels, probability >= 0.75)


def test_the_contact_sheet_needs_no_other_file(workplace):
    save_photograph(workplace / "mine/Zwölf & eins.png")
    save_photograph(workplace / "mine/b.png")
    predict.main(["mine", "--overlay"])
    page = Path("output/tiny/index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "Green: vessels, at the network's threshold" in page
    assert "Zwölf &amp; eins" in page and "no round field found" in page
    assert 'href="overlays/Zw%C3%B6lf%20%26%20eins.jpg"' in page
    assert not re.search(r'src="(?!data:)|https?://', page)


def test_overlays_are_written_when_asked(workplace):
    predict.main([])
    assert not (workplace / "output/tiny/overlays").exists()
    predict.main(["--overlay", "--resume"])
    with Image.open("output/tiny/overlays/01_test.jpg") as picture:
        assert picture.size == (120, 128)


# ---- nothing is written over


@pytest.mark.parametrize("words", [[], ["--replace"], ["--resume"]])
def test_photographs_are_never_written_over(workplace, words):
    save_photograph(workplace / "own/eye.png")
    before = contents("own")
    with pytest.raises(InputError, match="own/eye.png, but that is a photograph"):
        predict.main(["own", "--output", "own", *words])
    with pytest.raises(InputError, match="photograph.*--output"):
        predict.main(["own/eye.png", "--output", "./own/../own", *words])
    assert contents("own") == before


def test_maps_that_are_the_photographs_are_not_written_over(workplace):
    """A row tells of them, so that --replace alone would take them for its own."""
    save_photograph(workplace / "a.png")
    predict.main(["a.png", "--output", "maps"])
    before = contents("maps")
    with pytest.raises(InputError, match="maps/a.png, but that is a photograph"):
        predict.main(["maps/a.png", "--output", "maps", "--replace"])
    with pytest.raises(InputError, match="maps/fields/a.png, but that is a phot"):
        words = ["--field-of-view", "maps/fields", "--output", "maps", "--replace"]
        predict.main(["a.png", *words])
    assert contents("maps") == before


@pytest.mark.parametrize(
    "stranger",
    [
        "a.png",
        "fields/a.png",
        "vessels/a.png",
        "overlays/a.jpg",
        "index.html",
        "predictions.csv",
    ],
)
@pytest.mark.parametrize("word", ["--replace", "--resume"])
def test_files_of_others_are_not_written_over(workplace, stranger, word):
    save_photograph(workplace / "a.png")
    path = workplace / "folder" / stranger
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody else's")
    with pytest.raises(InputError, match="another|columns"):
        predict.main(["a.png", "--output", "folder", word])
    assert path.read_text() == "somebody else's"
    assert not (workplace / "folder/a.png").exists() or stranger == "a.png"


@pytest.mark.parametrize("link", ["a.png", "fields", "predictions.csv", "vessels"])
def test_nothing_is_written_through_symbolic_links(workplace, link):
    save_photograph(workplace / "a.png")
    (workplace / "elsewhere/fields").mkdir(parents=True)
    (workplace / "elsewhere/vessels").mkdir()
    (workplace / "elsewhere/predictions.csv").write_text("")
    (workplace / "maps").mkdir()
    (workplace / "maps" / link).symlink_to(workplace / "elsewhere" / link)
    before = contents("elsewhere")
    with pytest.raises(InputError, match="a symbolic link: choose"):
        predict.main(["a.png", "--output", "maps", "--replace", "--vessels"])
    assert contents("elsewhere") == before


def test_without_either_word_what_is_there_stops_the_command(workplace):
    save_photograph(workplace / "a.png")
    predict.main(["a.png"])
    before = contents("output/tiny")
    with pytest.raises(InputError, match="a for one: .*--resume.*--replace.*--output"):
        predict.main(["a.png"])
    assert contents("output/tiny") == before
    predict.main([str(save_photograph(workplace / "b.png"))])  # another name
    assert list(read_predictions("output/tiny")) == ["a", "b"]


def test_resume_keeps_what_is_there_and_makes_the_rest(workplace):
    for name in "abc":
        save_photograph(workplace / f"mine/{name}.png", seed=ord(name))
    predict.main(["mine"])
    kept = Path("output/tiny/a.png").stat().st_mtime_ns
    Path("output/tiny/b.png").write_bytes(b"half a map")
    Path("output/tiny/fields/c.png").unlink()
    save_photograph(workplace / "mine/d.png")
    predict.main(["mine", "--resume"])
    rows = read_predictions("output/tiny")
    assert list(rows) == ["a", "b", "c", "d"]
    assert all(is_whole("output/tiny", row) for row in rows.values())
    assert Path("output/tiny/a.png").stat().st_mtime_ns == kept


def test_resume_makes_pictures_that_are_missing(workplace):
    save_photograph(workplace / "a.png")
    predict.main(["a.png"])
    predict.main(["a.png", "--resume", "--vessels"])
    assert Path("output/tiny/vessels/a.png").is_file()
    predict.main(["a.png", "--replace"])
    assert not Path("output/tiny/vessels/a.png").exists()  # of another map


@pytest.mark.parametrize("words", [["--vessels"], []])
def test_a_picture_that_a_person_edited_is_never_written_over(workplace, words, capsys):
    for name in "ab":
        save_photograph(workplace / f"mine/{name}.png", seed=ord(name))
    predict.main(["mine", "--vessels"])
    rows = read_predictions("output/tiny")
    edited, other = (Path(f"output/tiny/vessels/{name}.png") for name in "ab")
    assert rows["b"].vessels_sha256 == fingerprint(other)
    Image.new("L", (70, 50), 255).save(edited)
    before = edited.read_bytes()
    for word in ("--replace", "--resume", "--replace"):
        capsys.readouterr()
        Path("output/tiny/a.png").write_bytes(b"half a map")
        predict.main(["mine", *words, word])
        told = f"{edited} was edited, and stays: move it away to have it drawn again"
        assert told in capsys.readouterr().out
        assert edited.read_bytes() == before
        rows = read_predictions("output/tiny")
        assert is_whole("output/tiny", rows["a"]) and rows["a"].vessels_sha256 == ""
        assert other.exists() == bool(words)
    edited.unlink()
    predict.main(["mine", "--vessels", "--resume"])
    row = read_predictions("output/tiny")["a"]
    assert row.vessels_sha256 == fingerprint(edited)


def test_an_edited_picture_stops_no_later_run(workplace, monkeypatch):
    """Its map is removed, and then the run is cut short."""
    photograph = save_photograph(workplace / "a.png")
    predict.main(["a.png", "--vessels"])
    edited = Path("output/tiny/vessels/a.png")
    Image.new("L", (70, 50), 255).save(edited)
    photograph.write_bytes(b"damaged")
    with pytest.raises(InputError, match="no map for"):
        predict.main(["a.png", "--vessels", "--replace"])
    save_photograph(workplace / "a.png")
    predict.main(["a.png", "--vessels", "--resume"])
    assert is_whole("output/tiny", read_predictions("output/tiny")["a"])
    assert Image.open(edited).mode == "L"


def test_where_nothing_could_be_predicted_it_says_why(workplace):
    (workplace / "a.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match="no map for:\nexpected a picture in a.png"):
        predict.main(["a.png", "--overlay", "--vessels"])


def test_resume_does_not_wait_for_a_pipe(workplace):
    photograph = save_photograph(workplace / "a.png")
    predict.main(["a.png"])
    photograph.unlink()
    os.mkfifo(photograph)
    with pytest.raises(InputError, match="a.png, but it is a folder, a pipe"):
        predict.main(["a.png", "--resume"])


def test_resume_leaves_the_map_of_a_photograph_that_was_damaged(workplace, monkeypatch):
    save_photograph(workplace / "mine/a.png")
    predict.main(["mine"])
    before = contents("output/tiny")
    save_photograph(workplace / "mine/a.png", seed=1)
    save_photograph(workplace / "mine/b.png")

    def damaged(path, *rest):
        if Path(path).stem == "a":
            raise TypeError("Missing dimensions")
        return identify(path, *rest)

    for module in (worklist, prediction):
        monkeypatch.setattr(module, "identify", damaged)
    with pytest.raises(InputError, match=r"a\.png.*Missing dimensions"):
        predict.main(["mine", "--resume"])
    after = contents("output/tiny")
    table = Path("output/tiny/predictions.csv")
    assert {path: after[path] for path in before if path != table} == {
        path: before[path] for path in before if path != table
    }
    assert list(read_predictions("output/tiny")) == ["a", "b"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--tta"], "another views, 1 and not 8"),
        (["--precision", "bfloat16"], "another precision, float32"),
        (["--tile-side", "320"], "another tile_side, 640"),
        (["--tile-overlap", "32"], "another tile_overlap, 64"),
        (["--scale", "2"], "another scale, 1.000, no round field"),
        (["--field-of-view", "given"], "another field of view, whole photograph"),
        (["--model", "models/other.keras"], "by another network, models/tiny.keras"),
        (["--model", "models/same.keras"], "averaged over other scales, 1:"),
    ],
)
def test_resume_never_replaces_a_map_made_otherwise(workplace, words, message):
    save_photograph(workplace / "a.png")
    inside = np.ones((50, 70), np.uint8)
    inside[:9] = 0
    Path("given").mkdir()
    Image.fromarray(inside * 255).save("given/a.png")
    save_network(Path("models/other.keras"), Record(), gain=5)
    same, tiny = Path("models/same.keras"), Path("models/tiny.keras")
    shutil.copy(tiny, same)
    record = replace(networks.read_record(tiny), factors=(0.7, 1.4))
    networks.write_record(same, record)
    predict.main(["a.png", "--output", "maps", "--model", "models/tiny.keras"])
    before = contents("maps")
    defaults = [] if "--model" in words else ["--model", "models/tiny.keras"]
    again = ["a.png", "--output", "maps", *defaults, *words]
    with pytest.raises(InputError, match=f"{message}.*--replace.*--output"):
        predict.main([*again, "--resume"])
    assert contents("maps") == before
    predict.main([*again, "--replace"])
    predict.main([*again, "--resume"])


def test_a_map_of_another_photograph_of_the_name_is_never_replaced(workplace):
    save_photograph(workplace / "one/left.png", seed=1)
    save_photograph(workplace / "two/left.png", seed=2)
    predict.main(["one"])
    before = contents("output/tiny")
    for words in ([], ["--resume"]):
        with pytest.raises(InputError, match="--replace"):
            predict.main(["two", *words])
        assert contents("output/tiny") == before
    with pytest.raises(InputError, match="of another photograph, one/left.png"):
        predict.main(["two", "--resume"])
    Image.open("one/left.png").save("left.tif")
    predict.main(["left.tif", "--resume"])  # the same pixel for pixel
    assert contents("output/tiny") == before


def test_two_runs_into_one_folder_keep_all_rows(workplace, monkeypatch):
    """The second begins and ends while the first is at its first photograph."""
    for name in "abc":
        save_photograph(workplace / f"{name}.png")
    begun = []

    def network(tiles):
        if not begun:
            begun.append(True)
            predict.main(["b.png"])
        return tiles[..., :1]

    use_network(monkeypatch, network)
    predict.main(["a.png", "c.png"])
    rows = read_predictions("output/tiny")
    assert list(rows) == ["a", "b", "c"]
    assert all(is_whole("output/tiny", row) for row in rows.values())


# ---- failures and interruptions


def test_an_unreadable_file_stops_nothing_and_is_told_at_the_end(workplace):
    save_photograph(workplace / "mine/a.png")
    (workplace / "mine/b.png").write_text("hello")
    os.mkfifo(workplace / "mine/c.png")
    (workplace / "mine/d.png").symlink_to("nowhere")
    save_photograph(workplace / "mine/e.png")
    with pytest.raises(InputError) as caught:
        predict.main(["mine"])
    first, *failures = str(caught.value).splitlines()
    assert first == "no map for:"
    assert [f"mine/{n}.png" in f for n, f in zip("bcd", failures, strict=True)] == [
        True
    ] * 3
    assert sorted(read_predictions("output/tiny")) == ["a", "e"]
    assert written("output/tiny") == [
        "a.png",
        "e.png",
        "fields/a.png",
        "fields/e.png",
        "predictions.csv",
    ]


@pytest.mark.parametrize(
    "error",
    [TypeError("Missing dimensions"), MemoryError(), OSError(errno.EIO, "bad disk")],
)
@pytest.mark.parametrize("stage", ["read_pixels", "identify", "draw_pictures"])
def test_whatever_one_photograph_brings_about_stops_no_other(
    workplace, monkeypatch, bright_network, stage, error
):
    whole = getattr(prediction, stage)

    def failing(value, *rest):
        path = value.shown.photograph.path if stage == "draw_pictures" else value
        if path.stem in "bd":
            raise error
        return whole(value, *rest)

    monkeypatch.setattr(prediction, stage, failing)
    photographs = [str(save_photograph(workplace / f"{name}.png")) for name in "edcba"]
    with pytest.raises(InputError) as caught:
        predict.main(photographs)
    _, *failures = str(caught.value).splitlines()
    assert [re.search(r"(\w)\.png", failure)[1] for failure in failures] == ["d", "b"]
    assert all(type(error).__name__ in failure for failure in failures)
    assert sorted(read_predictions("output/tiny")) == ["a", "c", "e"]


def test_a_name_that_is_too_long_stops_no_other(workplace):
    save_photograph(workplace / f"mine/{'x' * 250}.png")
    save_photograph(workplace / "mine/a.png")
    with pytest.raises(InputError, match="File name too long"):
        predict.main(["mine"])
    assert list(read_predictions("output/tiny")) == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_not_utf_8_is_noted(workplace):
    odd = os.fsdecode(b"b\xe9")
    for name in ("a", odd, "z"):
        save_photograph(workplace / f"mine/{name}.png")
    predict.main(["mine", "--overlay", "--vessels"])
    rows = read_predictions("output/tiny")
    assert list(rows) == ["a", odd, "z"] and rows[odd].photograph == f"mine/{odd}.png"
    assert all(is_whole("output/tiny", row) for row in rows.values())
    assert 'href="overlays/b%E9.jpg"' in Path("output/tiny/index.html").read_text()
    predict.main(["mine", "--resume"])


def test_a_full_disk_stops_the_run_and_leaves_no_half_file(workplace, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in "abc":
        save_photograph(workplace / f"mine/{name}.png")
    predict.main(["mine/a.png"])
    monkeypatch.setattr(maps, "append_rows", full)
    with pytest.raises(InputError, match=r"write.*No space left.*--resume"):
        predict.main(["mine/b.png", "mine/c.png"])
    assert written("output/tiny") == ["a.png", "fields/a.png", "predictions.csv"]


def test_a_folder_that_went_is_not_made_again_with_some_of_its_maps(
    workplace, monkeypatch
):
    def network(tiles):
        shutil.rmtree("output/tiny", ignore_errors=True)
        return tiles[..., :1]

    use_network(monkeypatch, network)
    for name in "ab":
        save_photograph(workplace / f"mine/{name}.png")
    with pytest.raises(InputError, match=r"write.*the folder is gone.*--resume"):
        predict.main(["mine"])
    assert not Path("output/tiny").exists()


def test_what_is_written_is_noted_when_the_rest_is_cut_short(workplace, monkeypatch):
    """Ctrl-C while the network is at the third photograph."""
    shown = []

    def network(tiles):
        shown.append(tiles)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return tiles[..., :1]

    use_network(monkeypatch, network)
    for name in "abcd":
        save_photograph(workplace / f"mine/{name}.png")
    with pytest.raises(KeyboardInterrupt):
        predict.main(["mine"])
    assert sorted(read_predictions("output/tiny")) == ["a", "b"]
    assert written("output/tiny") == [
        "a.png",
        "b.png",
        "fields/a.png",
        "fields/b.png",
        "predictions.csv",
    ]


def start(code, words):
    """predict.py as a process of its own, after `code`."""
    script = "import os, runpy, signal, sys, time\nfrom retina import maps\n" + code
    script += f"\nrunpy.run_path({str(ROOT / 'predict.py')!r}, run_name='__main__')"
    return subprocess.Popen(
        [sys.executable, "-c", script, *LIGHT, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interruptions,
    )


KILLED = """
whole, rows = maps.add_row, []
def add_row(folder, row):
    whole(folder, row)
    rows.append(row)
    if len(rows) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
maps.add_row = add_row
"""


def test_killed_no_map_stands_under_the_row_of_another(workplace):
    """Between row and map of the third photograph, over maps of an older network."""
    for name in "abcde":
        save_photograph(workplace / f"mine/{name}.png", seed=ord(name))
    predict.main(["mine", "--output", "maps"])
    old = read_predictions("maps")
    record = replace(networks.read_record(Path("models/tiny.keras")), family="")
    save_network(Path("models/again.onnx"), record, gain=6)
    words = ["mine", "--output", "maps", "--model", "models/again.onnx"]
    process = start(KILLED, [*words, "--replace"])
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    rows = read_predictions("maps")
    whole = [name for name, row in rows.items() if is_whole("maps", row)]
    assert list(rows) == ["a", "b", "c"] and whole == ["a", "b"]
    assert rows["a"].network_sha256 != old["a"].network_sha256
    assert not {"c.png", "d.png", "e.png"} & set(written("maps"))
    kept = Path("maps/a.png").stat().st_mtime_ns
    predict.main([*words, "--resume"])
    rows = read_predictions("maps")
    assert len(rows) == 5 and len({r.network_sha256 for r in rows.values()}) == 1
    assert all(is_whole("maps", row) for row in rows.values())
    assert Path("maps/a.png").stat().st_mtime_ns == kept


SLOW = """
whole = maps.add_row
def add_row(folder, row):
    whole(folder, row)
    open("noted", "a").close()
    time.sleep(0.5)
maps.add_row = add_row
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_says_how_to_go_on(workplace, number):
    for name in range(20):
        save_photograph(workplace / f"mine/{name:02d}.png")
    process = start(SLOW, ["mine", "--output", "maps"])
    for _ in range(1200):
        if Path("noted").exists():
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    last = errors.strip().splitlines()[-1]
    assert process.returncode == 1 and "Traceback" not in errors
    assert last.startswith("predict.py: stopped; ") and "--resume" in last
    rows = read_predictions("maps")
    assert 0 < len(rows) < 20
    assert all(is_whole("maps", row) for row in rows.values())


def test_an_output_folder_that_refuses_gets_a_sentence_at_once(workplace):
    (workplace / "file").write_text("in the way")
    photograph = str(save_photograph(workplace / "a.png"))
    with pytest.raises(InputError, match="choose another folder"):
        predict.main([photograph, "--output", "file/maps"])


def test_a_network_without_its_record_still_predicts(workplace):
    (workplace / "models/tiny.json").unlink()
    predict.main(["--model", "models/tiny.keras"])
    row = read_predictions("output/tiny")["01_test"]
    assert (row.role, row.epoch, row.threshold) == ("unknown", "unknown", 0.5)
    assert (row.threshold_source, row.family) == ("unknown", "")


@pytest.mark.parametrize(
    "options, message",
    [
        (["nowhere.jpg"], "nowhere.jpg"),
        (["empty"], "found none"),
        (["--model", "models/none.keras"], "train.py first"),
        (["--model", "models/text.keras"], "damaged or of another kind"),
        (["--data", "nowhere"], "no such folder"),
        (["--model", "models/all.keras", "--split", "held-out"], "--validation N"),
    ],
)
def test_mistakes_get_a_sentence(workplace, options, message):
    (workplace / "empty").mkdir()
    (workplace / "models/text.keras").write_text("hello")
    save_network(Path("models/all.keras"), Record(validation_cases=()))
    with pytest.raises(InputError, match=message) as caught:
        predict.main(options)
    assert "\n" not in str(caught.value)
    assert not list((workplace / "output").glob("*/*"))


def test_no_network_says_train_first(workplace):
    shutil.rmtree("models")
    with pytest.raises(InputError, match=r"run train\.py first"):
        predict.main([])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--tile-side", "100"], "Received: 100"),
        (["--tile-overlap", "640"], "Received: 640 and 640"),
        (["--tile-batch", "0"], "--tile-batch: expected a whole number from 1, got 0"),
        (["--scale", "0"], "expected 0.01 to 100, got 0"),
        (["--resume", "--replace"], "not allowed with argument"),
    ],
)
def test_wrong_options_get_a_sentence(options, message, capsys):
    with pytest.raises(SystemExit):
        predict.parse_args(options)
    assert message in capsys.readouterr().err
