"""benchmarks/predict_speed.py times what a user runs, all sides in turn."""

import re

import numpy as np

from benchmarks import predict_speed
from retina.pictures import read_pixels


def test_a_tiny_run_prints_stages_ratios_and_sides(
    trained, phantoms, monkeypatch, capsys
):
    small = predict_speed.unet.build_unet
    monkeypatch.setattr(
        predict_speed.unet, "build_unet", lambda: small(filters=[4] * 5)
    )
    options = ["--photographs", "1", "--rounds", "2", "--sides", "64"]
    model = ["--model", str(trained / "tiny.keras"), "--data", str(phantoms)]
    predict_speed.main([*options, *model])
    printed = capsys.readouterr().out
    for stage in predict_speed.STAGES:
        assert re.search(rf"{stage} +\d+\.\d", printed)
    assert len(re.findall(r"ratio +\d+\.\d\d", printed)) == 4
    assert re.search(r"    64 +\d+\.\d{3} +\d+\.\d{3}\n", printed)


def test_keras_and_onnx_are_compared(trained, light, phantoms, capsys):
    model = trained / "tiny.keras"
    options = ["--photographs", "2", "--rounds", "1", "--data", str(phantoms)]
    predict_speed.main([*options, "--model", str(model), "--onnx", str(light)])
    printed = capsys.readouterr().out
    difference = re.search(r"largest difference of 2 maps: (\S+)", printed)
    assert 0 < float(difference[1]) < 1e-4
    shell = re.findall(r"tiny\.(\w+) +(\d+\.\d+) .* ratio", printed)
    assert [name for name, _ in shell] == ["keras", "onnx"] * 2
    assert float(shell[3][1]) < float(shell[2][1])  # nothing waits for TensorFlow


def test_sides_take_turns(capsys):
    order = []

    def side(name, seconds):
        return lambda: order.append(name) or seconds

    predict_speed.print_ratios({"one": side("one", 2), "other": side("other", 5)}, 2)
    assert order == ["one", "other"] * 3  # the first time each is traced
    assert "ratio  2.50" in capsys.readouterr().out


def test_without_drive_phantoms_are_drawn(tmp_path):
    words = ["--data", str(tmp_path / "nowhere"), "--photographs", "1"]
    args = predict_speed.parse_args(words)
    (path,) = predict_speed.find_photographs(args, tmp_path)
    assert np.shape(read_pixels(path)) == (584, 565, 3)
