"""Curves of several recipes that learn in turn, with tiny numbers."""

import csv

import pytest
from conftest import TINY

from benchmarks import quality_minutes


def row(recipe, minutes, auc_roc):
    return {"recipe": recipe, "minutes": str(minutes), "auc_roc": str(auc_roc)}


def test_sooner_is_the_ratio_of_minutes_to_the_articles_end():
    rows = [row("article", 1, 0.5), row("article", 40, 0.97)]
    rows += [row("default", 1, 0.96), row("default", 2, 0.975)]
    said = quality_minutes.how_much_sooner("default", rows)
    assert said.endswith("within 2.00: 20.0 times sooner")
    said = quality_minutes.how_much_sooner("default", rows[:3])
    assert said.startswith("no training of default reached") and "0.97 after 40" in said


@pytest.mark.slow
def test_all_recipes_learn_in_turn_and_are_drawn(phantoms, tmp_path, capsys):
    options = [*TINY[:5], "--steps", "2", "--batch-size", "4", "--precision", "float32"]
    quality_minutes.main(
        ["--minutes", "0.0001", "--article-epochs", "10", "--data", str(phantoms)]
        + ["--folds", "3", "--output", str(tmp_path), *options]
    )
    with (tmp_path / "quality_minutes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["recipe"] for r in rows] == ["article"] * 10 + ["default", "large"]
    assert [int(r["batches"]) for r in rows] == [*range(2, 22, 2), 2, 2]
    minutes = [float(r["minutes"]) for r in rows[:10]]
    assert minutes == sorted(minutes) and minutes[0] > 0
    assert all(0 <= float(r["auc_roc"]) <= 1 for r in rows)
    assert (tmp_path / "quality_minutes.png").stat().st_size > 1000
    assert "the article's end" in capsys.readouterr().out
