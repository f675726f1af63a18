"""Means and deviations that can be worked out in one's head."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "summarise.py"


@pytest.fixture
def summarise():
    return runpy.run_path(str(SCRIPT))


def test_folds_are_no_noise_and_seeds_are(summarise, tmp_path, capsys):
    table = tmp_path / "rows.csv"
    rows = ["recipe,fold,seed,auc_roc,auc_pr,dice,batches,seconds"]
    for recipe, gain in (("old", 0.0), ("new", 0.02)):
        for fold, easy in enumerate((0.5, 0.9)):
            for seed in (0, 1):
                value = easy + gain + 0.01 * seed
                rows.append(f"{recipe},{fold},{seed},{value},{value},{value},9,9")
        rows.append(f"{recipe},all,0,0.1,0.1,0.1,,")
    table.write_text("\n".join(rows))
    summarise["main"](["--table", str(table), "--baseline", "old"])
    lines = capsys.readouterr().out.splitlines()
    # Seeds 0 and 1 have means .70 and .71: mean .705, deviation .01 / sqrt(2).
    assert "old" in lines[1] and lines[1].endswith("0.7050 +-0.0071")
    assert "0.7250 +-0.0071" in lines[2]
    gain = "against old +0.02000, standard error 0.00000, 4 of 4 better"
    assert lines[2].endswith(gain)


def test_photographs_are_compared_one_by_one(summarise, tmp_path, capsys):
    table = tmp_path / "rows.csv"
    rows = ["recipe,seed,name,auc_roc,dice"]
    for name, old, new in (("a", 0.5, 0.6), ("b", 0.7, 0.6), ("c", 0.8, 0.95)):
        rows += [f"old,0,{name},{old},{old}", f"new,0,{name},{new},{new}"]
    table.write_text("\n".join(rows))
    arguments = ["--photographs", "--table", str(table), "--baseline", "old"]
    summarise["main"](arguments)
    lines = capsys.readouterr().out.splitlines()
    # Gains .1, -.1 and .15: mean .05, deviation .13229, over the root of three.
    assert lines[2].endswith("+0.05000, standard error 0.07638, 2 of 3 better")
    assert "3 photographs" in lines[2]


def test_one_seed_has_no_deviation(summarise):
    assert "+-" not in summarise["spread"]([0.5])
