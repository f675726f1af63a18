"""The floor: operations counted from the model, worked out by hand; the script runs."""

import re

import numpy as np
import pytest

import unet
from benchmarks import floor, train_speed


def test_operations_of_a_small_unet_are_those_worked_out_by_hand():
    """One filter a level, 16 x 16 pixels, so 256, 64, 16, 4 and 1 pixels a level."""
    model = unet.build_unet(filters=[1] * 5, batch_normalization=True)
    pixels = [256, 64, 16, 4, 1]
    encoder = [(27 + 9) * 256, *((9 + 9) * count for count in pixels[1:])]
    # Up: a pixel becomes 2 x 2. Then two channels become one, and one another one.
    decoder = [(1 + 18 + 9) * count for count in pixels[:4]]
    forward = 2 * (sum(encoder) + sum(decoder) + 256)
    counts = floor.count_layers(model, (1, 16, 16, 3))
    assert len(counts) == 10 + 4 * 3 + 1
    assert sum(counts) == forward == 41_044
    first = 2 * 27 * 256  # the gradient of the image
    assert floor.count_training(counts) == 3 * forward - first == 109_308


def test_operations_grow_with_the_batch_and_the_area():
    model = unet.build_unet(filters=[4] * 5)
    one = sum(floor.count_layers(model, (1, 16, 16, 3)))
    assert sum(floor.count_layers(model, (3, 32, 64, 3))) == 3 * 2 * 4 * one


def test_the_network_inside_the_network_is_counted():
    """VGG16 up to block5_conv3: multiply-adds of its thirteen convolutions."""
    model = unet.build_unet("vgg16", filters=[1] * 5)
    counts = floor.count_layers(model, (1, 16, 16, 3))
    layers = [(3, 64, 256), (64, 64, 256), (64, 128, 64), (128, 128, 64)]
    layers += [(128, 256, 16), *[(256, 256, 16)] * 2]
    layers += [(256, 512, 4), *[(512, 512, 4)] * 2, *[(512, 512, 1)] * 3]
    assert counts[:13] == [2 * 9 * here * to * area for here, to, area in layers]
    assert len(counts) == 13 + 4 * 3 + 1


def test_tiles_are_counted_as_they_are_predicted(monkeypatch):
    def predict_tiled(network, image):
        for shape in ((2, 32, 32, 3), (1, 16, 48, 3)):
            assert network(np.zeros(shape)).shape == (*shape[:3], 1)

    monkeypatch.setattr(floor.tiling, "predict_tiled", predict_tiled)
    model = unet.build_unet(filters=[1] * 5)
    assert floor.count_tiled(model, (50, 70, 3)) == (2 * 4 + 3) * 41_044


def test_the_floor_is_printed_with_shares_of_the_peak(trained, capsys, monkeypatch):
    monkeypatch.setattr(floor, "PRESETS", ("article",))  # networks take long to trace
    sizes = ["--filters", *"44888", "--patch-side", "16", "--batch-size", "4"]
    model = str(trained / "tiny.keras")
    floor.main(["--rounds", "1", "--side", "64", "--model", model, *sizes])
    printed = capsys.readouterr().out
    shares = dict(re.findall(r"^(\S.*?)  .* (\d+\.\d{3})$", printed, re.MULTILINE))
    assert shares.keys() == {
        "matrix product",
        "convolution",
        "train article",
        "predict tiny",
        "predict article",
    }
    assert "train article: bfloat16 / float32" in printed
    assert re.search(r"predict tiny: .* \d\.\d\d times", printed)


@pytest.mark.parametrize("what", ["waiting", "compiling"])
def test_the_ways_of_fitting_are_compared(what, phantoms, capsys, monkeypatch):
    monkeypatch.setattr(train_speed, "COMPILING", train_speed.COMPILING[:1])
    sizes = ["--filters", *"44888", "--patch-side", "16", "--batch-size", "4"]
    sizes += ["--rounds", "1", "--steps", "5", "--data", str(phantoms)]
    train_speed.main([what, "--preset", "article", *sizes])
    printed = capsys.readouterr().out
    ratios = re.findall(r"ms a batch +(\d+\.\d{3})$", printed, re.MULTILINE)
    assert len(ratios) == {"waiting": 4, "compiling": 1}[what]
    assert float(ratios[0]) == 1 and np.all(np.array(ratios, float) > 0)


def test_other_runtimes_say_the_same_of_a_tile(trained, capsys):
    for package in ("openvino", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package, reason="benchmarks/requirements-runtimes.txt")
    from benchmarks import runtimes

    model = str(trained / "tiny.keras")
    runtimes.main(["--rounds", "1", "--side", "32", "--model", model])
    printed = capsys.readouterr().out
    assert printed.count("OpenVINO") == 2 and "TOO MUCH" not in printed
