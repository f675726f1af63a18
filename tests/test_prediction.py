"""A photograph is shown to the network as it learnt photographs, in bounded memory."""

import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from retina import phantoms, prediction, resolution, tiling
from retina.field_of_view import FieldOfView
from retina.files import InputError
from retina.maps import read_map, read_predictions, tidy_predictions
from retina.networks import Network, Record
from retina.pictures import read_pixels
from retina.prediction import (
    Options,
    Photograph,
    predict_all,
    predict_photograph,
    read_photograph,
    write_photograph,
)
from retina.recipes import Threshold


def network_of(function):
    record = Record(threshold=Threshold(0.75, "held out", 4))
    model = SimpleNamespace(predict_on_batch=function)
    return Network(Path("models/x.keras"), model, "a" * 64, record)


DEFAULTS = Options()
RED = network_of(lambda tiles: tiles[..., :1])  # says what the red channel says


def save_phantom(path, height, width, seed=0):
    drawn = phantoms.draw_phantom(
        height=height, width=width, rng=np.random.default_rng(seed)
    )
    Image.fromarray(np.uint8(drawn.image * 255)).save(path)
    return Photograph(path.stem, path)


def predict(photograph, options=DEFAULTS, network=RED):
    shown = read_photograph(photograph, network.record, options)
    return predict_photograph(network, shown, options)


def test_photographs_are_shown_at_the_resolution_that_the_network_learnt(
    tmp_path, monkeypatch
):
    """The network's field is 115 pixels wide; this photograph's is 230."""
    sizes, tiled = [], tiling.predict_tiled

    def spy(network, image, **options):
        sizes.append(image.shape)
        return tiled(network, image, **options)

    monkeypatch.setattr(prediction.tiling, "predict_tiled", spy)
    large = save_phantom(tmp_path / "large.png", 256, 240)
    network = replace(RED, record=Record(field_diameter=115.0))
    mapped = predict(large, network=network)
    assert mapped.shown.scale == pytest.approx(0.5, rel=0.02)
    assert mapped.shown.scale_from == "field of view"
    assert sizes[0] == pytest.approx((128, 120, 3), abs=3)
    assert mapped.probability.shape == (256, 240)
    predict(large, Options(scale=2.0), network)
    assert sizes[1] == (512, 480, 3)


def test_the_maps_at_all_factors_are_averaged(tmp_path):
    """A network that says how many pixels it sees: more, the larger the scale."""
    photograph = save_phantom(tmp_path / "eye.png", 128, 120)

    def says(tiles):
        return np.full((*tiles.shape[:3], 1), tiles.shape[1] * tiles.shape[2] / 1e6)

    def mapped(factors):
        record = Record(field_diameter=115.0, factors=factors)
        return predict(photograph, network=replace(network_of(says), record=record))

    alone = [mapped((factor,)).probability[64, 60] for factor in (0.5, 1.0, 2.0)]
    assert alone == sorted(set(alone))
    together = mapped((0.5, 1.0, 2.0))
    assert together.probability[64, 60] == pytest.approx(np.mean(alone), rel=1e-5)
    row = prediction.make_row(together, network_of(says), Options())
    assert row.factors == "1"
    whole = replace(RED, record=Record(field_diameter=115.0, factors=(0.5, 1.0, 1.4)))
    assert prediction.make_row(together, whole, Options()).factors == "0.5 1 1.4"


def certain_at(side):
    """A network that is most certain of tiles of this side, pixels."""

    def says(tiles):
        p = 1 - 0.02 - 0.2 * abs(np.log(tiles.shape[1] / side))
        return np.full((*tiles.shape[:3], 1), p, np.float32)

    return says


@pytest.fixture(scope="module")
def large_eye(tmp_path_factory):
    return save_phantom(tmp_path_factory.mktemp("large") / "eye.png", 480, 480)


@pytest.mark.parametrize(
    "side, learnt, expected",
    [
        (128, 100, 1.0),
        (160, 100, 1.4),
        (256, 100, 1.4**2),
        (640, 100, 1.4**3),  # finer ones would enlarge the photograph
        (640, 60, 1.4**5),
    ],
)
def test_a_finer_scale_is_taken_where_the_map_is_clearer(
    large_eye, side, learnt, expected
):
    """The photograph's field is 459 pixels wide, shown so many times 100 or 60 wide."""
    photograph = large_eye
    record = Record(field_diameter=float(learnt), factors=(0.7, 1.0, 1.4))
    network = replace(network_of(certain_at(side)), record=record)
    mapped = predict(photograph, network=network)
    first = read_photograph(photograph, record, DEFAULTS).scale
    assert mapped.shown.scale == pytest.approx(first * expected)
    clearer = "uncertainty" if expected > 1 else "field of view"
    assert mapped.shown.scale_from == clearer
    assert mapped.shown.scale * 1.4 <= 1
    given = predict(photograph, Options(scale=first), network).shown
    assert (given.scale, given.scale_from) == (first, "given")
    alone = replace(network, record=replace(record, factors=(1.0,)))
    assert predict(photograph, network=alone).shown.scale == first


def test_where_no_round_field_is_found_the_scale_is_never_raised():
    inside = np.ones((9, 9), bool)
    for diameter, expected in ((100, 1), (2000, 0.25)):
        field = FieldOfView(inside, diameter, 0, 0, round=False)
        assert resolution.find_scale(field, 500) == expected
    field = FieldOfView(inside, 100, 0, 0, round=True)
    assert resolution.find_scale(field, 500) == 5
    field = FieldOfView(inside, 490, 0, 0, round=True)
    assert resolution.find_scale(field, 500) == 1  # near enough


# ---- fields of view that are given


def give_field(folder, inside):
    """A field of view for the photograph `eye`, in a folder of its own."""
    folder.mkdir()
    Image.fromarray(inside).save(folder / "eye.png")
    return Options(field_folder=folder)


@pytest.mark.parametrize("given_by", ["folder", "data set"])
def test_a_given_field_smaller_than_the_true_one_leaves_the_scale(tmp_path, given_by):
    photograph = save_phantom(tmp_path / "eye.png", 256, 240)
    record = Record(field_diameter=230.0)
    whole = read_photograph(photograph, record, Options())
    half = np.zeros((256, 240), bool)
    half[70:180, 60:170] = True
    options = give_field(tmp_path / "fields", half)
    if given_by == "data set":
        path, options = tmp_path / "fields/eye.png", Options()
        photograph = replace(photograph, field_of_view=path)
    shown = read_photograph(photograph, record, options)
    np.testing.assert_array_equal(shown.field.inside, half)
    assert shown.field_from == ("given" if given_by == "folder" else "data set")
    assert (shown.scale, shown.scale_from) == (whole.scale, "field of view")
    assert shown.field.diameter == whole.field.diameter


def test_a_field_given_for_a_crop_does_not_enlarge_it(tmp_path):
    noise = np.random.default_rng(0).integers(90, 160, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "eye.png")
    options = give_field(tmp_path / "fields", np.ones((60, 60), bool))
    shown = read_photograph(
        Photograph("eye", tmp_path / "eye.png"), Record(field_diameter=540.0), options
    )
    assert (shown.scale, shown.scale_from) == (1, "no round field")


def test_an_inverted_field_is_refused(tmp_path):
    photograph = save_phantom(tmp_path / "eye.png", 128, 120)
    inside = read_photograph(photograph, Record(), Options()).field.inside
    with pytest.raises(InputError, match="eye.png is darker inside .*: invert it"):
        read_photograph(photograph, Record(), give_field(tmp_path / "a", ~inside))
    read_photograph(photograph, Record(), give_field(tmp_path / "b", inside))
    pixels = np.where(inside[..., None], read_pixels(photograph.path), np.uint8(255))
    Image.fromarray(pixels).save(photograph.path)  # on white: outside is brighter
    read_photograph(photograph, Record(), give_field(tmp_path / "c", inside))


# ---- what networks say


@pytest.mark.parametrize(
    "function, received",
    [
        (lambda tiles: tiles[..., :2], "the shape .*, 2"),
        (lambda tiles: tiles[:, :-1, :, :1], "the shape"),
        (lambda tiles: tiles[..., :1] * np.nan, "numbers that are not finite"),
        (lambda tiles: 20 * tiles[..., :1] - 10, r"-[\d.]+ to 10"),
    ],
)
def test_what_is_no_probability_gets_a_sentence(tmp_path, function, received):
    photograph = save_phantom(tmp_path / "eye.png", 64, 64)
    with pytest.raises(InputError, match=f"0 to 1, .*received {received}"):
        predict(photograph, network=network_of(function))


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


# ---- many


def without_seconds(folder):
    rows = read_predictions(folder).values()
    return [replace(row, seconds=0.0) for row in rows]


def test_overlapping_work_changes_no_byte(tmp_path):
    """Three threads against the three steps one after the other."""
    photographs = [
        save_phantom(tmp_path / f"{seed}.png", 128, 120, seed) for seed in range(3)
    ]
    options = Options(vessels=True, overlay=True)
    overlapping, sequential = tmp_path / "overlapping", tmp_path / "sequential"
    for folder in (overlapping, sequential):
        folder.mkdir()
    told = []
    done = partial(told.append, "one more")
    assert not predict_all(RED, photographs, overlapping, options, done)
    assert len(told) == 3
    for photograph in photographs:
        began = time.perf_counter()
        mapped = predict(photograph, options)
        row = write_photograph(sequential, mapped, RED, options)
        took = time.perf_counter() - began
        assert mapped.shown.seconds + mapped.seconds <= row.seconds + 0.001
        assert row.seconds <= took + 0.001
    tidy_predictions(sequential)
    assert without_seconds(overlapping) == without_seconds(sequential)
    pictures = [p.relative_to(sequential) for p in sequential.rglob("*.*g")]
    assert len(pictures) == 12
    for picture in pictures:
        assert (overlapping / picture).read_bytes() == (
            sequential / picture
        ).read_bytes()


def test_few_photographs_are_in_memory_however_many_there_are(tmp_path, monkeypatch):
    """Reading would run far ahead of the slow writing, and is held back."""
    read, written, most = [], [], []
    lock = threading.Lock()

    def reading(path):
        with lock:
            read.append(path)
            most.append(len(read) - len(written))
        return read_pixels(path)

    def writing(folder, mapped, network, options):
        threading.Event().wait(0.02)
        with lock:
            written.append(mapped.shown.photograph.name)

    monkeypatch.setattr(prediction, "read_pixels", reading)
    monkeypatch.setattr(prediction, "write_photograph", writing)
    photographs = []
    for number in range(12):
        path = tmp_path / f"{number:02d}.png"
        Image.new("RGB", (40, 40), (number, 90, 60)).save(path)
        photographs.append(Photograph(path.stem, path))
    assert not predict_all(RED, photographs, tmp_path, Options(), done=int)
    assert written == [f"{n:02d}" for n in range(12)]
    assert 3 <= max(most) <= 4  # read, at the network, being written, waiting to be


def test_the_thread_in_the_background_stays_just_ahead():
    begun, order = [], []
    for value in prediction.in_background(lambda v: begun.append(v) or -v, range(9)):
        order.append(value)
        assert len(begun) <= len(order) + prediction.AHEAD
    assert order == [-v for v in range(9)]


def test_a_row_says_which_learnt_photographs_look_like_this_one(tmp_path):
    photograph = save_phantom(tmp_path / "eye.png", 256, 240)
    learnt = prediction.identify(photograph.path)
    mirrored = tmp_path / "mirrored.jpg"
    with Image.open(photograph.path) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((180, 192)).save(
            mirrored
        )
    record = Record(training_cases=(learnt,), validation_cases=())
    network = replace(RED, record=record)
    mapped = predict(Photograph("mirrored", mirrored), network=network)
    row = write_photograph(tmp_path, mapped, network, Options())
    assert (row.role, row.likely_copies) == ("unseen", "eye")
    assert read_map(tmp_path, row).probability.shape == (192, 180)
