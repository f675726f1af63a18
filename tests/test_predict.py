"""Maps of the right size in the right place, and one bad file stops nothing."""

import errno
import json
import re
import shutil
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import predict
from retina import datasets, networks, phantoms, prediction, resolution
from retina.field_of_view import FieldOfView
from retina.files import InputError
from retina.maps import (
    PREDICTION_FIELDS,
    read_predictions,
    read_probability,
    write_predictions,
)
from retina.pictures import read_image, read_pixels


@pytest.fixture
def workplace(trained, phantoms, tmp_path, monkeypatch):
    """A fresh folder with models/ and input/DRIVE, as the commands expect them."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input/DRIVE").symlink_to(phantoms)
    shutil.copytree(trained, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_photograph(path, height=50, width=70, seed=0):
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def test_no_arguments_take_the_newest_model_and_the_test_folder(workplace, capsys):
    predict.main([])
    rows = read_predictions("output/tiny")
    assert list(rows) == ["01_test", "02_test", "03_test"]
    for name, row in rows.items():
        probability = read_probability(f"output/tiny/{name}.png")
        assert probability.shape == (128, 120)
        assert (int(row["height"]), int(row["width"])) == (128, 120)
        mean = probability[probability > 0].mean()  # outside the field it is 0
        assert float(row["mean_probability"]) == pytest.approx(mean, abs=1e-4)
        assert row["role"] == "unseen" and row["model"].endswith("tiny.keras")
    assert "3 maps in output/tiny" in capsys.readouterr().out


def test_the_map_is_what_the_network_says(workplace):
    """The whole photograph in one tile, by hand, inside the field of view."""
    predict.main([])
    case = datasets.list_cases("input/DRIVE", "test")[0]
    field_of_view = datasets.read_field_of_view(case)
    top, bottom, left, right = prediction.bounding_box(field_of_view)
    assert 128 < bottom - top + 16 <= 160 and bottom - top == right - left
    before = (160 - (bottom - top)) // 2
    around = ((before, 160), (before, 160), (0, 0))
    image = np.pad(read_image(case.image), around, "reflect")
    tile = image[top : top + 160, left : left + 160]  # the field is in its middle
    model = keras.models.load_model("models/tiny.keras", compile=False)
    said = model.predict_on_batch(tile[None])[0, ..., 0]
    whole = np.zeros((128, 120))
    whole[top:bottom, left:right] = said[
        before : before + bottom - top, before : before + right - left
    ]
    written = read_probability("output/tiny/01_test.png")
    np.testing.assert_allclose(written, whole * field_of_view, atol=1e-4)
    assert not written[~field_of_view].any() and written[field_of_view].all()


def test_held_out_are_the_models_own_validation_photographs(workplace):
    predict.main(["--split", "held-out"])
    rows = read_predictions("output/tiny")
    assert {name: row["role"] for name, row in rows.items()} == {
        "21_training": "validation"
    }
    predict.main(["--split", "training"])
    rows = read_predictions("output/tiny")
    assert [rows[f"{n}_training"]["role"] for n in (21, 22, 23)] == [
        "validation",
        "training",
        "training",
    ]


def test_photographs_are_known_by_their_bytes_not_their_names(workplace):
    copy = shutil.copy("input/DRIVE/training/images/22_training.tif", "holiday.tif")
    other = save_photograph(workplace / "22_training.png")
    predict.main([copy, str(other)])
    rows = read_predictions("output/tiny")
    assert rows["holiday"]["role"] == "training"
    assert rows["22_training"]["role"] == "unseen"


def test_files_and_folders_of_any_size(workplace):
    save_photograph(workplace / "mine/one.jpg", 33, 401)
    save_photograph(workplace / "mine/two.PNG", 1, 1)
    save_photograph(workplace / "three.tif", 500, 17)
    (workplace / "mine/notes.txt").write_text("not a picture")
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


def test_one_bad_file_stops_nothing_and_is_told_at_the_end(workplace):
    save_photograph(workplace / "mine/a.png")
    (workplace / "mine/b.png").write_text("hello")
    save_photograph(workplace / "mine/c.png")
    with pytest.raises(InputError, match="b.png"):
        predict.main(["mine"])
    assert sorted(read_predictions("output/tiny")) == ["a", "c"]
    assert not list((workplace / "output/tiny").glob("*b*"))


def without_seconds(folder):
    rows = read_predictions(folder).values()
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_bfloat16_says_nearly_the_same_and_is_noted(workplace):
    predict.main([])
    predict.main(["--precision", "bfloat16", "--output", "low"])
    for name, row in read_predictions("output/tiny").items():
        assert row["precision"] == "float32"
        assert read_predictions("low")[name]["precision"] == "bfloat16"
        full, low = (
            read_probability(Path(folder) / f"{name}.png")
            for folder in ("output/tiny", "low")
        )
        assert 0 < np.abs(full - low).max() < 0.1


def test_overlapping_work_changes_no_byte(workplace):
    """What main does in three threads against the three steps one after the other."""
    predict.main(["--vessels", "--overlay"])
    args = predict.parse_args(["--vessels", "--overlay", "--output", "sequential"])
    args.model, args.output = Path("models/tiny.keras"), Path("sequential")
    record = networks.read_record(args.model)
    network, rows = prediction.load_network(args.model), {}
    for photograph in predict.find_photographs(args, record):
        shown = predict.read_photograph(photograph, record, args)
        mapped = predict.predict_photograph(network, shown, args)
        row = predict.write_photograph(mapped, record, args)
        assert shown.seconds + mapped.seconds < float(row["seconds"]) + 0.001
        rows[photograph.name] = row
    write_predictions(args.output, rows)
    assert without_seconds("output/tiny") == without_seconds("sequential")
    pictures = [p.relative_to("sequential") for p in Path("sequential").rglob("*.*g")]
    assert len(pictures) == 9
    for picture in pictures:
        one, other = Path("output/tiny") / picture, "sequential" / picture
        assert one.read_bytes() == other.read_bytes()


def test_few_photographs_are_in_memory_however_many_there_are(workplace, monkeypatch):
    """Reading would run far ahead of the slow writing, and is held back."""
    read, written, most = [], [], []
    whole, lock = read_pixels, threading.Lock()

    def reading(path):
        with lock:
            read.append(path)
            most.append(len(read) - len(written))
        return whole(path)

    def writing(mapped, record, args):
        threading.Event().wait(0.02)
        with lock:
            written.append(mapped)
        return dict.fromkeys(PREDICTION_FIELDS, mapped.shown.photograph.name)

    monkeypatch.setattr(prediction, "read_pixels", reading)
    monkeypatch.setattr(predict, "write_photograph", writing)
    monkeypatch.setattr(predict, "load_network", lambda *_: lambda t: t[..., :1])
    for number in range(12):
        save_photograph(workplace / f"mine/{number:02d}.png", seed=number)
    predict.main(["mine"])
    assert [m.shown.photograph.name for m in written] == [f"{n:02d}" for n in range(12)]
    assert 3 <= max(most) <= 4  # read, at the network, being written, waiting to be


def test_the_thread_in_the_background_stays_just_ahead():
    begun, order = [], []
    for value in predict.in_background(lambda v: begun.append(v) or -v, range(9)):
        order.append(value)
        assert len(begun) <= len(order) + predict.AHEAD
    assert order == [-v for v in range(9)]


@pytest.mark.parametrize("stage", ["read_pixels", "write_probability"])
def test_failures_of_either_thread_are_told_in_the_order_given(
    workplace, monkeypatch, bright_network, stage
):
    whole = getattr(prediction, stage)

    def failing(path, *rest):
        if Path(path).stem in "bd":
            raise InputError(f"{Path(path).stem} fails")
        return whole(path, *rest)

    monkeypatch.setattr(prediction, stage, failing)
    photographs = [str(save_photograph(workplace / f"{name}.png")) for name in "edcba"]
    with pytest.raises(InputError) as caught:
        predict.main(photographs)
    assert str(caught.value).splitlines() == ["no map for:", "d fails", "b fails"]
    assert sorted(read_predictions("output/tiny")) == ["a", "c", "e"]


def test_what_is_written_is_noted_when_the_rest_is_cut_short(workplace, monkeypatch):
    """Ctrl-C while the network is at the third photograph."""
    shown = []

    def network(tiles):
        shown.append(tiles)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return tiles[..., :1]

    monkeypatch.setattr(predict, "load_network", lambda *_: network)
    for name in "abcd":
        save_photograph(workplace / f"mine/{name}.png")
    with pytest.raises(KeyboardInterrupt):
        predict.main(["mine"])
    assert sorted(read_predictions("output/tiny")) == ["a", "b"]
    pngs = sorted(path.name for path in Path("output/tiny").iterdir())
    assert pngs == ["a.png", "b.png", "predictions.csv"]


def test_photographs_of_one_size_are_traced_once(tmp_path, workplace, monkeypatch):
    """Fields that differ by a few pixels, as one camera's do, get the same tiles."""
    shapes = []

    def network(tiles):
        shapes.append(tiles.shape)
        return tiles[..., :1]

    monkeypatch.setattr(predict, "load_network", lambda *_: network)
    rows, columns = np.indices((584, 565))
    for radius in (265, 268, 270):
        disc = np.hypot(rows - 290, columns - 280) < radius
        values = np.uint8(disc[..., None] * [200, 120, 60])
        Image.fromarray(values).save(tmp_path / f"{radius}.png")
    predict.main([str(p) for p in tmp_path.glob("*.png")] + ["--scale", "1"])
    assert shapes == [(1, 576, 576, 3)] * 3  # the field, not the dark around it


def test_maps_of_another_run_are_kept_in_the_notes(workplace):
    predict.main([])
    predict.main([str(save_photograph(workplace / "more.png"))])
    assert sorted(read_predictions("output/tiny")) == [
        "01_test",
        "02_test",
        "03_test",
        "more",
    ]


@pytest.fixture
def bright_network(monkeypatch):
    """A network that says what the red channel says, so that maps can be foreseen."""
    monkeypatch.setattr(predict, "load_network", lambda *_: lambda t: t[..., :1])


def test_outside_the_estimated_field_the_map_is_zero(workplace, bright_network):
    case = datasets.list_cases("input/DRIVE", "test")[0]
    predict.main([str(case.image)])
    probability = read_probability("output/tiny/01_test.png")
    given = datasets.read_field_of_view(case)
    assert ((probability > 0) & given).sum() / ((probability > 0) | given).sum() > 0.97
    row = read_predictions("output/tiny")["01_test"]
    assert float(row["field_diameter"]) == pytest.approx(0.956 * 120, rel=0.02)


def test_a_given_field_of_view_is_taken(workplace, bright_network):
    photograph = save_photograph(workplace / "my eye.png")
    inside = np.zeros((50, 70), np.uint8)
    inside[10:40, 20:60] = 255
    (workplace / "fields").mkdir()
    Image.fromarray(inside).save(workplace / "fields/my eye.gif")
    predict.main([str(photograph), "--field-of-view", "fields", "--scale", "1"])
    probability = read_probability("output/tiny/my eye.png")
    red = read_image(photograph)[..., 0]
    np.testing.assert_allclose(probability, red * (inside > 0), atol=1e-4)

    Image.fromarray(inside[:9]).save(workplace / "fields/my eye.gif")
    with pytest.raises(InputError, match="70 x 50 .* received 70 x 9"):
        predict.main([str(photograph), "--field-of-view", "fields"])
    (workplace / "fields/my eye.gif").unlink()
    with pytest.raises(InputError, match="no file of that name"):
        predict.main([str(photograph), "--field-of-view", "fields"])


def test_photographs_are_shown_at_the_resolution_that_the_model_learnt(
    workplace, monkeypatch
):
    """The model's field is 115 pixels wide; this photograph's is 230."""
    sizes = []
    tiled = predict.tiling.predict_tiled

    def spy(network, image, **options):
        sizes.append(image.shape)
        return tiled(network, image, **options)

    monkeypatch.setattr(predict.tiling, "predict_tiled", spy)
    large = phantoms.draw_phantom(height=256, width=240, rng=np.random.default_rng(0))
    Image.fromarray(np.uint8(large.image * 255)).save("large.png")
    predict.main(["large.png"])
    row = read_predictions("output/tiny")["large"]
    assert float(row["scale"]) == pytest.approx(0.5, rel=0.02)
    assert sizes[0] == pytest.approx((128, 120, 3), abs=3)
    assert read_probability("output/tiny/large.png").shape == (256, 240)
    predict.main(["large.png", "--scale", "2"])
    assert sizes[1] == (512, 480, 3)


def test_where_no_round_field_is_found_the_scale_is_never_raised():
    inside = np.ones((9, 9), bool)
    for diameter, expected in ((100, 1), (2000, 0.25)):
        field = FieldOfView(inside, diameter, 0, 0, round=False)
        assert resolution.find_scale(field, 500) == expected
    field = FieldOfView(inside, 100, 0, 0, round=True)
    assert resolution.find_scale(field, 500) == 5
    field = FieldOfView(inside, 490, 0, 0, round=True)
    assert resolution.find_scale(field, 500) == 1  # near enough


def test_notes_say_what_is_wrong_with_a_photograph(workplace):
    save_photograph(workplace / "noise.png")
    Image.new("RGB", (80, 60)).save("black.png")
    predict.main(["noise.png", "black.png"])
    rows = read_predictions("output/tiny")
    assert "no round field found" in rows["noise"]["note"]
    assert "very dark" in rows["black"]["note"]
    assert rows["noise"]["field_diameter"] == ""  # not measured, so empty
    assert 0 <= float(rows["noise"]["uncertain"]) <= 1


def test_averaged_views_differ_from_one_view_and_agree_with_their_mean(workplace):
    photograph = str(save_photograph(workplace / "square.png", 64, 64))
    predict.main([photograph, "--tta"])
    averaged = read_probability("output/tiny/square.png")
    predict.main([photograph])
    one = read_probability("output/tiny/square.png")
    assert 0 < np.abs(averaged - one).max() < 1


def test_vessels_are_cut_at_the_models_threshold(workplace, bright_network):
    record = json.loads(Path("models/tiny.json").read_text())
    Path("models/tiny.json").write_text(json.dumps(record | {"threshold": 0.75}))
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
    assert "Zwölf &amp; eins" in page and "no round field found" in page
    assert 'href="overlays/Zw%C3%B6lf%20%26%20eins.jpg"' in page
    assert not re.search(r'src="(?!data:)|https?://', page)


def test_a_full_disk_gets_a_sentence_and_leaves_no_half_file(workplace, monkeypatch):
    save_photograph(workplace / "a.png")
    whole = Image.Image.save

    def full(picture, path, *args, **kwargs):
        whole(picture, path, *args, **kwargs)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        predict.main(["a.png"])
    files = [path.name for path in Path("output/tiny").rglob("*")]
    assert files == ["predictions.csv"]


def test_an_output_folder_that_refuses_gets_a_sentence_at_once(workplace):
    (workplace / "file").write_text("in the way")
    photograph = str(save_photograph(workplace / "a.png"))
    with pytest.raises(InputError, match="choose another folder"):
        predict.main([photograph, "--output", "file/maps"])


def test_an_overlay_paints_the_vessels_and_nothing_else():
    image = np.full((32, 32, 3), 204, np.uint8)  # .8
    vessels = np.zeros((32, 32), bool)
    vessels[:, 8:24] = True
    drawn = np.asarray(prediction.draw_overlay(image, vessels)) / 255
    np.testing.assert_allclose(drawn[:, :4], 0.8, atol=0.03)
    np.testing.assert_allclose(
        drawn[:, 14:18].mean(axis=(0, 1)), [0.45, 0.9, 0.55], atol=0.05
    )
    deep = np.broadcast_to(np.full((32, 32, 1), 204 * 257, np.uint16), image.shape)
    np.testing.assert_array_equal(prediction.draw_overlay(deep, vessels), drawn * 255)


def test_overlays_are_written_when_asked(workplace):
    predict.main([])
    assert not (workplace / "output/tiny/overlays").exists()
    predict.main(["--overlay"])
    with Image.open("output/tiny/overlays/01_test.jpg") as picture:
        assert picture.size == (120, 128)


def test_a_model_without_its_record_still_predicts(workplace):
    (workplace / "models/tiny.json").unlink()
    predict.main([])
    row = read_predictions("output/tiny")["01_test"]
    assert (row["role"], row["epoch"], row["threshold"]) == (
        "unknown",
        "unknown",
        "0.5",
    )


def test_tiles_are_predicted_in_bounded_batches(workplace, monkeypatch):
    shapes = set()

    def network(tiles):
        shapes.add(tiles.shape)
        return tiles[..., :1]

    monkeypatch.setattr(predict, "load_network", lambda *_: network)
    photograph = str(save_photograph(workplace / "wide.png", 90, 900))
    sizes = ["--tile-side", "96", "--tile-overlap", "32", "--tile-batch", "3"]
    predict.main([photograph, "--scale", "1", *sizes])
    assert shapes == {(3, 96, 96, 3)}
    red = read_image(photograph)[..., 0]
    written = read_probability("output/tiny/wide.png")
    np.testing.assert_allclose(written, red, atol=1e-4)


@pytest.mark.parametrize(
    "options, message",
    [
        (["nowhere.jpg"], "nowhere.jpg"),
        (["empty"], "found none"),
        (["--model", "models/none.keras"], "train.py first"),
        (["--model", "models/text.keras"], "cannot be loaded"),
        (["--data", "nowhere"], "on registration"),
        (["--model", "models/all.keras", "--split", "held-out"], "--validation N"),
    ],
)
def test_mistakes_get_a_sentence(workplace, options, message):
    (workplace / "empty").mkdir()
    (workplace / "models/text.keras").write_text("hello")
    shutil.copy("models/tiny.keras", "models/all.keras")
    (workplace / "models/all.json").write_text('{"validation_cases": {}}')
    with pytest.raises(InputError, match=message) as caught:
        predict.main(options)
    assert "\n" not in str(caught.value)
    assert not list((workplace / "output").glob("*/*"))


def test_no_model_says_train_first(workplace):
    shutil.rmtree("models")
    with pytest.raises(InputError, match=r"run train\.py first"):
        predict.main([])


@pytest.mark.parametrize(
    "options",
    [["--tile-side", "100"], ["--tile-overlap", "640"], ["--tile-batch", "0"]],
)
def test_wrong_tiles_get_a_sentence(options, capsys):
    with pytest.raises(SystemExit):
        predict.parse_args(options)
    assert "Received" in capsys.readouterr().err or "--tile-batch" in options
