"""The network that is shipped loads in safe mode, with every Keras that is allowed, and
its map of a phantom is the one that it has always been."""

from pathlib import Path

import numpy as np
import pytest

from retina import metrics, networks, phantoms, tiling
from retina.recipes import Threshold

SHIPPED = Path(__file__).parents[1] / "models" / "vessels.keras"
MEAN = 0.15398  # of that map inside the field, with Keras 3.15.1 and TensorFlow 2.21


def test_the_shipped_network_finds_the_vessels_of_a_phantom():
    network = networks.load(SHIPPED)
    assert network.record.shipped
    assert network.record.network_sha256 == network.sha256
    assert network.model.count_params() == network.record.parameters == 482_033
    drawn = phantoms.draw_phantom(height=584, width=565, rng=np.random.default_rng(0))
    probability = tiling.predict_tiled(network.model.predict_on_batch, drawn.image)
    inside = drawn.field_of_view
    assert metrics.auc_roc(drawn.label[inside], probability[inside]) > 0.98
    assert probability[inside].mean() == pytest.approx(MEAN, abs=1e-4)


def test_its_threshold_says_how_it_was_measured():
    record = networks.read_record(SHIPPED)
    assert record.threshold == Threshold(
        record.threshold.value, "out of fold", 20, 5, 4000, 10000, 1, "DRIVE, training"
    )
    assert record.threshold.value == pytest.approx(0.401, abs=5e-4)
    assert len(record.training_cases) == 20 and record.validation_cases == ()
