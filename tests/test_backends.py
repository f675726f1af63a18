"""The commands with Keras on JAX and on PyTorch, as their users start them.

    KERAS_BACKEND=jax python -m pytest tests/test_backends.py

What is not installed is skipped, but never the backend that KERAS_BACKEND names.
"""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_resume import KILLER, PLACES, arguments, result

from retina import networks
from retina.maps import read_predictions, read_probability

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "models" / "vessels.keras"
MODULES = ("tensorflow", "jax", "torch")
OTHERS = MODULES[1:]  # all other tests are of the first
INSTALLED = [name for name in MODULES if find_spec(name)]
CLOSE = 1e-4  # of probabilities: between backends convolutions are rounded otherwise


def run(backend, *words):
    """Runs a command with Keras on `backend`."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module", params=OTHERS)
def backend(request):
    name = request.param
    if name not in INSTALLED and name != os.environ.get("KERAS_BACKEND"):
        pytest.skip(f"{name} is not installed: requirements/backends.txt")
    return name


@pytest.fixture(scope="module")
def models(backend, phantoms, folder):
    """The folder with the network x.keras, which that backend trained."""
    done = run(backend, "train.py", *arguments(phantoms, folder / backend))
    assert done.returncode == 0, done.stderr
    return folder / backend


def predict(backend, network, photograph, output, *options):
    """The map of a photograph by `network` on `backend`, and its row."""
    words = ["--model", network, "--output", output, *options]
    done = run(backend, "predict.py", photograph, *words)
    assert done.returncode == 0, done.stderr
    row = read_predictions(output)[photograph.stem]
    return read_probability(output / f"{photograph.stem}.png"), row


def test_the_record_names_the_backend(backend, models):
    record = networks.read_record(models / "x.keras")
    assert backend in record.details["versions"]
    assert "tensorflow" not in record.details["versions"]


def test_killed_and_resumed_it_ends_with_the_same_network(
    backend, models, phantoms, tmp_path
):
    words = arguments(phantoms, tmp_path)
    owner, name, number, epoch = PLACES["in a validation"]
    killed = run(backend, "-c", KILLER, owner, name, number, *words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert max(tmp_path.glob("x.state/*.zip")).name == f"epoch-{epoch:06}.zip"
    resumed = run(backend, "train.py", *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert result(tmp_path) == result(models)


def test_a_loss_that_is_no_number_gets_a_sentence(backend, phantoms, tmp_path):
    words = [*arguments(phantoms, tmp_path), "--learning-rate", "1e30"]
    done = run(backend, "train.py", *words, "--precision", "auto")
    assert "precision " in done.stdout and "times as fast here" in done.stdout
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("train.py: expected a finite loss") and "--replace" in last
    assert not (tmp_path / "x.keras").exists()


@pytest.mark.parametrize("network", ["trained", "shipped"])
def test_networks_are_the_same_and_their_maps_alike_on_each(
    backend, models, phantoms, tmp_path, network
):
    """A network is loaded where it was trained, and on all others."""
    path = models / "x.keras" if network == "trained" else SHIPPED
    photograph = phantoms / "test/images/01_test.tif"
    found = {
        each: predict(each, path, photograph, tmp_path / each)
        for each in INSTALLED
        if network == "trained" or each in (MODULES[0], backend)
    }
    first, row = found[MODULES[0]]
    assert first.max() > first.min() >= 0
    for probability, other in found.values():
        assert np.abs(probability - first).max() <= CLOSE
        assert other.network_sha256 == row.network_sha256


def test_bfloat16_says_nearly_the_same(backend, phantoms, tmp_path):
    photograph = phantoms / "test/images/01_test.tif"
    # This small photograph is not enlarged as far by it as by the other one.
    network = SHIPPED.with_name("drive.keras")
    exact, _ = predict(MODULES[0], network, photograph, tmp_path / "exact")
    rounded, row = predict(
        backend, network, photograph, tmp_path / "low", "--precision", "bfloat16"
    )
    assert row.precision == "bfloat16"
    assert 0 < np.abs(rounded - exact).mean() < 0.005
