"""What lies beside a network says what it is, and a broken file says what to do."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

from retina import datasets, networks
from retina.files import InputError


def test_a_network_and_its_record_come_back(trained, tmp_path):
    model = networks.load(trained / "tiny.keras")
    record = networks.read_record(trained / "tiny.json")
    networks.save(model, record, tmp_path / "deep" / "again.keras")
    assert networks.read_record(tmp_path / "deep" / "again.keras") == record
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    again = networks.load(tmp_path / "deep" / "again.keras")
    np.testing.assert_array_equal(
        again.predict_on_batch(image), model.predict_on_batch(image)
    )
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [
        "again.json",
        "again.keras",
    ]


def test_the_newest_is_the_one_written_last_and_no_half_file(trained, tmp_path):
    for age, name in enumerate(["new", "old"]):
        path = shutil.copy(trained / "tiny.keras", tmp_path / f"{name}.keras")
        os.utime(path, (2e9 - age, 2e9 - age))
    (tmp_path / ".half.1.part.keras").write_bytes(b"")
    assert networks.newest(tmp_path).stem == "new"


def test_where_none_is_a_sentence_says_so(tmp_path):
    with pytest.raises(InputError, match=r"run train\.py first"):
        networks.newest(tmp_path)
    with pytest.raises(InputError, match=r"run train\.py first"):
        networks.read_record(tmp_path / "none.keras")


def test_broken_files_get_a_sentence(tmp_path):
    path = tmp_path / "x.keras"
    path.write_text("no network")
    assert networks.read_record(path) == {}
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="or remove the file"):
        networks.read_record(path)
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        networks.load(path)
    assert "\n" not in str(caught.value)


def test_roles_are_told_by_the_bytes_of_a_photograph(trained, phantoms):
    record = json.loads((trained / "tiny.json").read_text())
    cases = datasets.list_cases(phantoms, "training")
    roles = [networks.role_of(case.image, record) for case in cases]
    assert sorted(roles) == ["training", "training", "validation"]
    unseen = datasets.list_cases(phantoms, "test")[0].image
    assert networks.role_of(unseen, record) == "unseen"
    assert networks.role_of(unseen, {}) == "unknown"


def test_a_failed_save_leaves_nothing(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError):
        networks.save(model, {"threshold": object()}, tmp_path / "x.keras")
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob(".*"))
