"""Networks and their records: what they say, which is taken, and broken files."""

import json
import re
import shutil
import zipfile
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

import unet
from retina import datasets, networks
from retina.files import InputError
from retina.identity import identify
from retina.networks import Record

CASE = {"name": "a", "file_sha256": "", "pixels_sha256": ""}
IMAGE = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)


def make_network(seed=0):
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    return unet.build_unet(filters=(4, 4, 4, 4))


def write_network(folder, name, made="", shipped=False, seed=0):
    path = folder / f"{name}.keras"
    sha256 = networks.save(make_network(seed), path)
    record = Record(network_sha256=sha256, made=made, shipped=shipped)
    networks.write_record(path, record)
    return path


def test_a_network_and_its_record_come_back(trained, tmp_path):
    network = networks.load(trained / "tiny.keras")
    network = replace(network, record=replace(network.record, factors=(0.7, 1.4)))
    path = tmp_path / "deep" / "again.keras"
    sha256 = networks.save(network.model, path)
    networks.finish(path, network.record, sha256)
    again = networks.load(path)
    np.testing.assert_array_equal(
        again.model.predict_on_batch(IMAGE), network.model.predict_on_batch(IMAGE)
    )
    assert again.record.made > network.record.made
    assert replace(again.record, made="") == replace(network.record, made="")
    names = ["again.json", "again.keras"]
    assert sorted(path.name for path in path.parent.iterdir()) == names


def test_the_hash_is_of_weights_and_configuration_not_of_the_date(tmp_path):
    first, same = (write_network(tmp_path, name) for name in ("first", "same"))
    other = write_network(tmp_path, "other", seed=1)
    assert first.read_bytes() != same.read_bytes()  # the date
    hashes = [networks.load(path).sha256 for path in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_networks_are_saved_without_initializers(tmp_path):
    """Their options differ between versions of Keras, which then refuse to load."""
    path = tmp_path / "vgg.keras"
    networks.save(unet.build_unet("vgg16", filters=(4, 4, 4, 4)), path)
    config = zipfile.ZipFile(path).read("config.json").decode()
    assert "Zeros" in config
    assert not any(word in config for word in ("HeNormal", "GlorotUniform", "Ones"))


def test_the_one_finished_last_is_taken_by_the_time_in_its_record(tmp_path):
    write_network(tmp_path, "new", made="2026-02-02T00:00:00+00:00")
    write_network(tmp_path, "old", made="2026-01-01T00:00:00+00:00")
    write_network(tmp_path, "shipped", made="2027-01-01T00:00:00+00:00", shipped=True)
    (tmp_path / ".half.1.part.keras").write_bytes(b"")
    (tmp_path / "foreign.keras").write_bytes(b"")  # without a record
    assert networks.choose(tmp_path).stem == "new"


def test_that_for_any_camera_is_taken_where_there_are_shipped_ones_alone(tmp_path):
    write_network(tmp_path, "vessels", made="2025-01-01T00:00:00+00:00", shipped=True)
    write_network(tmp_path, "drive", made="2026-01-01T00:00:00+00:00", shipped=True)
    (tmp_path / "foreign.keras").write_bytes(b"")
    assert networks.choose(tmp_path).stem == "vessels"


def test_where_none_is_a_sentence_says_so(tmp_path):
    with pytest.raises(InputError, match=r"run train\.py first"):
        networks.choose(tmp_path)
    with pytest.raises(InputError, match=r"run train\.py first"):
        networks.read_record(tmp_path / "none.keras")


def test_the_record_of_another_network_is_refused(tmp_path):
    """A new network beside an old record: killed between the two files."""
    one, two = (write_network(tmp_path, str(seed), seed=seed) for seed in (0, 1))
    shutil.copy(one.with_suffix(".json"), two.with_suffix(".json"))
    with pytest.raises(InputError, match="that of another network"):
        networks.load(two)
    assert networks.load(one).record.network_sha256


def test_without_a_record_all_is_unknown(trained, phantoms, tmp_path):
    path = shutil.copy(trained / "tiny.keras", tmp_path)
    network = networks.load(tmp_path / "tiny.keras")
    assert network.path == tmp_path / "tiny.keras" and path
    photograph = identify(datasets.list_cases(phantoms, "training")[0].image)
    assert networks.role_of(photograph, network.record) == "unknown"
    assert network.record.threshold.value == 0.5


def test_roles_are_told_by_bytes_and_pixels(trained, phantoms, tmp_path):
    record = networks.read_record(trained / "tiny.keras")
    cases = datasets.list_cases(phantoms, "training")
    roles = [networks.role_of(identify(case.image), record) for case in cases]
    assert roles == ["validation", "training", "training"]
    both = replace(record, validation_cases=record.training_cases)
    assert networks.role_of(identify(cases[1].image), both) == "training"
    unseen = identify(datasets.list_cases(phantoms, "test")[0].image)
    assert networks.role_of(unseen, record) == "unseen"
    assert networks.likely_copies(unseen, record) == []


@pytest.mark.parametrize("content", ["{", "[]", "null", "3", '"x"', "[" * 200_000])
def test_what_is_no_record_gets_a_sentence(tmp_path, content):
    path = tmp_path / "x.keras"
    path.write_bytes(b"")
    path.with_suffix(".json").write_text(content)
    with pytest.raises(InputError, match="or remove the file") as refused:
        networks.read_record(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": "0.4"},
        {"threshold": {"value": float("nan")}},
        {"threshold": {"value": -5}},
        {"threshold": {"value": "0.4"}},
        {"threshold": {"value": True}},
        {"threshold": {"value": 0.4, "source": "guessed"}},
        {"threshold": {"value": 0.4, "folds": "five"}},
        {"field_diameter": 1e308},
        {"field_diameter": -540.0},
        {"field_diameter": float("nan")},
        {"field_diameter": None},
        {"field_diameter": "540"},
        {"factors": [1.4, 1.0]},
        {"factors": []},
        {"factors": 1.0},
        {"factors": [1.0] * 10},
        {"factors": [0.0]},
        {"factors": ["1"]},
        {"factors": [float("nan")]},
        {"training_cases": "21_training"},
        {"training_cases": [{"name": "a"}]},
        {"training_cases": [CASE | {"pixels_sha256": 3}]},
        {"validation_cases": 7},
        {"training_cases": [CASE | {"thumbnail": "z" * 576}]},
        {"made": 5},
        {"made": "yesterday"},
        {"family": "f"},
        {"network_sha256": "../../x"},
        {"details": {"versions": 3}},
        {"details": {"versions": []}},
        {"details": {"versions": {"keras": 3}}},
        {"details": {"versions": {"keras": "3.15\n\x1b[2J"}}},
        {"shipped": "yes"},
        {"seconds": float("inf")},
        {"seconds": 10**400},  # JSON knows whole numbers that no float can hold
        {"parameters": 1.5},
        {"epoch_chosen": "first"},
        {"details": []},
        {"recipe": None},
        {"unheard": 1},
    ],
)
def test_values_that_cannot_be_true_get_a_sentence(tmp_path, change):
    path = tmp_path / "x.keras"
    path.write_bytes(b"")
    content = json.loads(json.dumps(asdict(Record()))) | change
    path.with_suffix(".json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="or remove the file"):
        networks.read_record(path)


def test_what_cannot_be_loaded_names_the_versions_on_both_sides(tmp_path):
    path = write_network(tmp_path, "x")
    details = {"versions": {"keras": "9.8.7"}}
    networks.write_record(path, Record(details=details))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    unheard = members["config.json"].replace(b'"threshold"', b'"verge_of_9_8_7"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": unheard}).items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"Keras 9\.8\.7") as refused:
        networks.load(path)
    assert f"this is Keras {keras.__version__}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<html>", "damaged or of another kind"),
        (None, "damaged or of another kind"),  # half a network
    ],
)
def test_what_is_no_network_says_what_it_is(tmp_path, content, found):
    """The versions do not matter there, and no file is said to be missing."""
    path = write_network(tmp_path, "x")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=re.escape(found)) as refused:
        networks.load(path)
    assert "Keras 3" not in str(refused.value) and "\n" not in str(refused.value)
    assert "not found" not in str(refused.value)


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_network(tmp_path, "x")
    before = path.read_bytes()
    monkeypatch.setattr(networks, "hash_network", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        networks.save(make_network(1), path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))
