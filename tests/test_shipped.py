"""The networks that are shipped load in safe mode, with every Keras that is allowed;
their maps of a phantom are those that they have always been."""

from pathlib import Path

import numpy as np
import pytest

from retina import metrics, networks, phantoms, tiling
from retina.recipes import Threshold

MODELS = Path(__file__).parents[1] / "models"
# Of that map inside the field, with Keras 3.15.1 and TensorFlow 2.21.
MEANS = {"drive": 0.15398, "drive-tuned": 0.15542, "vessels": 0.11100}


@pytest.mark.parametrize("name", MEANS)
def test_a_shipped_network_finds_the_vessels_of_a_phantom(name):
    network = networks.load(MODELS / f"{name}.keras")
    assert network.record.shipped
    assert network.record.network_sha256 == network.sha256
    assert network.model.count_params() == network.record.parameters
    drawn = phantoms.draw_phantom(height=584, width=565, rng=np.random.default_rng(0))
    probability = tiling.predict_tiled(network.model.predict_on_batch, drawn.image)
    inside = drawn.field_of_view
    assert metrics.auc_roc(drawn.label[inside], probability[inside]) > 0.98
    assert probability[inside].mean() == pytest.approx(MEANS[name], abs=1e-4)


def test_without_one_of_ones_own_that_for_all_cameras_is_taken():
    assert networks.choose(MODELS).stem == "vessels"


def test_its_thresholds_say_how_they_were_measured():
    record = networks.read_record(MODELS / "vessels.keras")
    assert record.threshold.source == "left out" and record.threshold.value == 0.389
    assert "cameras that were left out: CHASE_DB1, DRIVE" in str(record.threshold)
    assert len(record.training_cases) == 100 and record.validation_cases == ()
    assert record.factors == (0.7, 1.0, 1.4)
    record = networks.read_record(MODELS / "drive.keras")
    assert record.threshold == Threshold(
        record.threshold.value, "out of fold", 20, 5, 4000, 10000, 1, "DRIVE, training"
    )
    assert record.threshold.value == pytest.approx(0.401, abs=5e-4)
    assert len(record.training_cases) == 20 and record.validation_cases == ()
    tuned = networks.read_record(MODELS / "drive-tuned.keras")
    vessels = networks.read_record(MODELS / "vessels.keras")
    assert tuned.recipe["start_sha256"] == vessels.network_sha256
    seen = {*record.training_cases, *vessels.training_cases}
    assert {*tuned.training_cases} == seen and tuned.factors == (0.9, 1.0, 1.25)
    assert tuned.threshold == Threshold(
        0.391, "out of fold", 20, 5, 2000, 2000, 1, "DRIVE, training"
    )
