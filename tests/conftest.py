"""A tiny phantom data set and a tiny network fitted on it, shared by all tests."""

import signal
import struct

import pytest

import phantom

# Most of a tiny training's time is its compilation: few levels are half as many layers.
TINY = "--filters 4 4 8 8 --epochs 2 --steps 3 --precision float32".split()
# Where the recipe does not matter: the article's compiles in half of that time.
QUICK = "--preset article --filters 2 2 2 2 --epochs 2 --steps 3 --batch-size 4"
QUICK = f"{QUICK} --patch-side 32 --precision float32".split()


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
        + ["--augment", "--validation", "1", *TINY, "--precision", "auto"]
    )
    return models


@pytest.fixture(scope="session")
def light(trained, tmp_path_factory):
    """That network as an ONNX file, with its record: it runs without TensorFlow."""
    import average

    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    average.main([str(trained / "tiny.keras"), "--onnx", str(path)])
    return path


def tiff(values, planar):
    """A TIFF of 16-bit colours (H, W, 3), put together by hand: Pillow writes none."""
    height, width, _ = values.shape
    planes = values.transpose(2, 0, 1) if planar == 2 else values[None]
    strips = [plane.astype("<u2").tobytes() for plane in planes]
    body = b"".join(strips)
    lists = struct.pack("<3H", 16, 16, 16)
    lists += struct.pack("<3I", *(8 + i * len(strips[0]) for i in range(3)))
    lists += struct.pack("<3I", *[len(strips[0])] * 3)
    at, many = 8 + len(body), len(strips) == 3
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, len(strips), at + 6 if many else 8),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, len(strips), at + 18 if many else len(body)),
        (284, 3, 1, planar),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHI", b"II", 42, at + len(lists))
    count = struct.pack("<H", len(tags))
    return head + body + lists + count + directory + bytes(4)
