"""benchmarks/evaluate_speed.py times what a user runs, on maps worth timing."""

import re

import evaluate
import metrics
from benchmarks import evaluate_speed


def test_maps_are_plausible(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_speed, "HEIGHT", 256)
    monkeypatch.setattr(evaluate_speed, "WIDTH", 240)
    monkeypatch.setattr(evaluate_speed, "DRAWN", 1)
    data, maps = tmp_path / "input", tmp_path / "maps"
    evaluate_speed.write_test_set(data, maps, 2)
    args = evaluate.parse_args([str(maps), "--data", str(data)])
    first, second = evaluate.read_folder(maps, args)
    assert (first.labels["1st_manual"] == second.labels["1st_manual"]).all()
    assert (first.probability != second.probability).any()
    label, probability, _ = evaluate.pooled_pixels([first, second], "1st_manual")
    assert 0.95 < metrics.auc_roc(label, probability) < 0.995


def test_every_step_gets_its_median(monkeypatch, capsys):
    monkeypatch.setattr(evaluate_speed, "HEIGHT", 96)
    monkeypatch.setattr(evaluate_speed, "WIDTH", 100)
    monkeypatch.setattr(evaluate_speed, "stay_on_one_core", lambda: None)
    commands = []
    monkeypatch.setattr(evaluate_speed, "run", commands.append)
    evaluate_speed.main(["--cases", "1", "--rounds", "1"])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "1 photographs of 100 x 96, 1 rounds"
    assert len(lines) == 7
    assert all(re.search(r" \d+\.\d\d s$", line) for line in lines)
    assert commands[-1][1] == "evaluate.py"
