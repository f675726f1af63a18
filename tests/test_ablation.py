"""The ablation, through the cross-validation, in a copy of the project."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import ablation

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_each_variant_gets_a_row_and_the_gain_is_printed(phantoms, tmp_path):
    for script in ROOT.glob("*.py"):
        shutil.copy(script, tmp_path)
    for folder in ("benchmarks", "retina"):
        (tmp_path / folder).mkdir()
        for script in (ROOT / folder).glob("*.py"):
            shutil.copy(script, tmp_path / folder)
    command = [sys.executable, "-m", "benchmarks.ablation", "--data", str(phantoms)]
    command += ["--variants", "scratch", "scratch-augment", "--minutes", "0.001"]
    command += ["--runs", "1", "--folds", "3", "--batch-size", "4"]
    command += ["--filters", "4", "4", "4", "4", "4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "against ablation-scratch-0.001min" in done.stdout
    with (tmp_path / "benchmarks" / "cross_validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe"] for row in rows] == [
        "ablation-scratch-0.001min",
        "ablation-scratch-augment-0.001min",
    ]
    assert all(row["fold"] == row["seed"] == "0" for row in rows)
    assert all(int(row["batches"]) >= 10 for row in rows)
    assert all(0 <= float(row["auc_roc"]) <= 1 for row in rows)


def test_equal_batches_need_no_timing():
    args = ablation.parse_args(["--batches", "400", "--variants", "scratch", "vgg16"])
    assert ablation.count_epochs(args) == {"scratch": 40, "vgg16": 40}
    assert ablation.name_of("vgg16", args) == "ablation-vgg16-400"
