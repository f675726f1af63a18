"""The real train.py, killed as by a power cut, ends with the same network."""

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import heed_interruptions

import train
from retina import checkpoints, networks
from retina.files import InputError

ROOT = Path(__file__).parent.parent
# The article's recipe has dropout, and compiles in half the time of the default.
OPTIONS = "--preset article --filters 2 2 2 2 --epochs 3 --steps 3 --batch-size 4"
OPTIONS += " --patch-side 32 --augment --validation 1 --keep best --seed 5"
OPTIONS += " --precision float32"  # a timing could decide otherwise the next time
# Kills its own process when a function is called for the nth time.
KILLER = """
import os, pkgutil, signal, sys
import train
owner, name, number, *arguments = sys.argv[1:]
owner, calls = pkgutil.resolve_name(owner), []
original = getattr(owner, name)
def killed(*args, **options):
    calls.append(1)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **options)
setattr(owner, name, killed)
train.main(arguments)
"""
# Where it is killed: what is called, for which time, and the last state by then.
PLACES = {
    # State 0 has three parts, and so on: the values of state 2 are written by then.
    "in a write of the state": ("zipfile:ZipFile", "writestr", 8, 1),
    "in a batch": ("augment:PatchGenerator", "__getitem__", 6, 1),
    "in a validation": ("train", "predict_pooled", 2, 1),
    "after the last epoch": ("train", "folded", 1, 3),
    "between network and record": ("retina.networks", "write_record", 1, 3),
    "before the states are removed": ("retina.checkpoints:Checkpoint", "remove", 1, 3),
}


def arguments(data, models):
    return f"--data {data} --models {models} --name x {OPTIONS}".split()


def run(*words):
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True
    )


def result(models):
    """What must be the same: hash of the network, epoch kept and curves."""
    network = networks.load(models / "x.keras")
    with (models / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return network.sha256, network.record.details["epoch_kept"], rows


@pytest.fixture(scope="module")
def whole(phantoms, tmp_path_factory):
    """The result of a training that nothing interrupted."""
    models = tmp_path_factory.mktemp("whole")
    train.main(arguments(phantoms, models))
    return result(models)


@pytest.mark.parametrize("place", PLACES)
def test_killed_and_resumed_it_ends_with_the_same_network(
    phantoms, whole, tmp_path, place
):
    owner, name, number, epoch = PLACES[place]
    words = arguments(phantoms, tmp_path)
    killed = run("-c", KILLER, owner, name, str(number), *words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert max(tmp_path.glob("x.state/*.zip")).name == f"epoch-{epoch:06}.zip"
    train.main([*words, "--resume"])
    assert result(tmp_path) == whole
    assert not (tmp_path / "x.state").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_it_says_how_to_go_on(phantoms, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments(phantoms, tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interruptions,
    )
    while not list(tmp_path.glob("x.state/epoch-000001.zip")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith("train.py: stopped; ")
    assert "--resume" in said.splitlines()[-1]
    assert checkpoints.read_plan(tmp_path / "x.state")


def test_the_precision_that_was_chosen_is_taken_again(phantoms, tmp_path, monkeypatch):
    """Where timing would decide otherwise at the second time."""
    words = [*arguments(phantoms, tmp_path), "--precision", "auto"]

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        seconds = {"float32": 9.0, "bfloat16": 1.0}
        patch.setattr(networks, "time_convolutions", seconds.get)
        patch.setattr(train, "folded", stop)
        with pytest.raises(KeyboardInterrupt):
            train.main(words)
    seconds = {"float32": 1.0, "bfloat16": 9.0}
    monkeypatch.setattr(networks, "time_convolutions", seconds.get)
    train.main([*words, "--resume"])
    record = networks.read_record(tmp_path / "x.keras")
    assert record.recipe["precision"] == "bfloat16"


def test_a_loss_that_is_no_number_leaves_what_was_there(phantoms, tmp_path):
    words = [*arguments(phantoms, tmp_path), "--learning-rate", "1e30", "--replace"]
    (tmp_path / "x.keras").write_bytes(b"the network of before")
    with pytest.raises(InputError, match="loss of .* in epoch 1, .*--learning-rate"):
        train.main(words)
    assert (tmp_path / "x.keras").read_bytes() == b"the network of before"
    assert [path.name for path in (tmp_path / "x.state").iterdir()] == [
        "epoch-000000.zip"
    ]


@pytest.fixture(scope="module")
def seconds(phantoms, tmp_path_factory):
    """That the process takes when nothing kills it."""
    began = time.perf_counter()
    done = run("train.py", *arguments(phantoms, tmp_path_factory.mktemp("timed")))
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


@pytest.mark.slow
@pytest.mark.parametrize("case", range(20))
def test_killed_at_a_random_moment_it_ends_with_the_same_network(
    phantoms, whole, seconds, tmp_path, case
):
    words = arguments(phantoms, tmp_path)
    process = subprocess.Popen(
        [sys.executable, "train.py", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # At first it only imports and reads: nothing can be lost.
    time.sleep(seconds * random.Random(case).uniform(0.3, 1))
    process.kill()
    process.wait()
    resumed = run("train.py", *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert result(tmp_path) == whole
