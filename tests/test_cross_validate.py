"""Folds, seeds and averages on tiny networks, in this process and in another folder."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK

import average
import evaluate
import predict
import train
from benchmarks import cross_validate
from retina import datasets
from retina.maps import read_predictions, read_probability

SCRIPTS = {
    "train.py": train.main,
    "average.py": average.main,
    "predict.py": predict.main,
    "evaluate.py": evaluate.main,
}


@pytest.fixture(scope="module")
def table(phantoms, tmp_path_factory):
    """The rows after two folds of two seeds, begun in two calls, as the docs say."""
    folder = tmp_path_factory.mktemp("cross")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # In processes of their own each would load, and compile, its network anew.
        patch.setattr(predict, "load_network", cache(predict.load_network))
        patch.setattr(cross_validate, "ROOT", folder)
        patch.setattr(cross_validate, "TABLE", folder / "rows.csv")
        patch.setattr(cross_validate, "PHOTOGRAPHS", folder / "photographs.csv")
        patch.setattr(
            cross_validate,
            "run",
            lambda script, *options: SCRIPTS[script](list(map(str, options))),
        )
        common = ["tiny", "--data", str(phantoms), "--folds", "2", "--seeds", "0", "1"]
        cross_validate.main([*common, "--only", "0", *QUICK])
        assert not (folder / "output" / "tiny-seed0").exists()  # nothing is pooled
        cross_validate.main([*common, "--only", "1", *QUICK])
        cross_validate.main([*common, "--fitted"])
    with (folder / "rows.csv").open(newline="") as file:
        return folder, list(csv.DictReader(file))


def test_each_run_each_seed_and_the_average_have_rows(table):
    folder, rows = table
    runs = {(row["recipe"], row["fold"], row["seed"]) for row in rows}
    fitted = {("tiny", fold, seed) for fold in "01" for seed in "01"}
    pooled = {(f"tiny{views}", "all", s) for s in "01" for views in ("", "-tta")}
    averaged = {(f"tiny-average2{views}", "all", "0 1") for views in ("", "-tta")}
    assert len(rows) == len(runs) and runs == fitted | pooled | averaged
    assert all(0 <= float(row["auc_roc"]) <= 1 for row in rows)
    assert {row["batches"] for row in rows if row["fold"] != "all"} == {"6"}


def test_every_photograph_is_predicted_by_what_held_it_out(table, phantoms):
    folder, _ = table
    for name in ("tiny-seed1", "tiny-seed1-tta", "tiny-average2"):
        notes = read_predictions(folder / "output" / name)
        cases = datasets.list_cases(phantoms, "training")
        assert set(notes) == {case.name for case in cases}
        assert {row.role for row in notes.values()} == {"validation"}


def test_the_averages_maps_are_the_means_of_the_seeds_maps(table):
    folder, _ = table
    name = next(iter(read_predictions(folder / "output" / "tiny-seed0")))
    one, two, both = (
        read_probability(folder / "output" / each / f"{name}.png")
        for each in ("tiny-seed0", "tiny-seed1", "tiny-average2")
    )
    assert np.abs(one - two).max() > 0.001
    np.testing.assert_allclose(both, (one + two) / 2, atol=2 / 65535)


def test_pooling_of_single_folds_is_refused(capsys):
    with pytest.raises(SystemExit):
        cross_validate.parse_args(["tiny", "--fitted", "--only", "0"])
    assert "omit --only" in capsys.readouterr().err


def test_scripts_run_in_a_process_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "say.py").write_text(
        "import pathlib, sys; pathlib.Path('said').write_text(' '.join(sys.argv[1:]))"
    )
    monkeypatch.setattr(cross_validate, "ROOT", tmp_path)
    cross_validate.run("say.py", Path("a"), 1)
    assert (tmp_path / "said").read_text() == "a 1"
