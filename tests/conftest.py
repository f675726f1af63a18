"""A tiny phantom data set and a tiny network fitted on it, shared by all tests."""

import signal

import pytest

import phantom

TINY = ["--filters", "4", "4", "8", "8", "8", "--epochs", "2", "--steps", "3"]


def heed_interruptions():
    """For a process that is to be stopped: shells have background jobs ignore Ctrl-C,
    and what these start, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A tree of three training and three test photographs of 128 x 120 pixels."""
    folder = tmp_path_factory.mktemp("input") / "PHANTOM"
    phantom.write_phantom_tree(folder, cases=6, seed=0, height=128, width=120)
    return folder


@pytest.fixture(scope="session")
def trained(phantoms, tmp_path_factory):
    """The folder `models` after the README's training command with tiny numbers."""
    import train

    models = tmp_path_factory.mktemp("models")
    train.main(
        ["--data", str(phantoms), "--models", str(models), "--name", "tiny"]
        + ["--augment", "--validation", "1", *TINY]
    )
    return models
