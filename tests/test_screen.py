"""A balanced design, effects that can be worked out in one's head, and a tiny run."""

import csv
import itertools
import math

import pytest

from benchmarks import screen


def test_every_change_is_balanced_against_every_other():
    runs = screen.design()
    assert len(runs) == len(set(runs)) == 16
    for name in screen.CHANGES:
        assert [fold for fold, made in runs if name in made] == [0] * 4 + [1] * 4
    for one, other in itertools.combinations(screen.CHANGES, 2):
        assert sum(one in made and other in made for _, made in runs) == 4


def test_no_joint_effect_of_two_is_mistaken_for_ones():
    runs = screen.design()

    def signs(*names):
        product = [1] * len(runs)
        for name in names:
            product = [
                p * (1 if name in made else -1)
                for p, (_, made) in zip(product, runs, strict=True)
            ]
        return product

    for pair in itertools.combinations(screen.CHANGES, 2):
        for name in screen.CHANGES:
            assert (
                sum(a * b for a, b in zip(signs(*pair), signs(name), strict=True)) == 0
            )


def row(fold, changes, value):
    scores = dict.fromkeys(screen.SCORES, str(value))
    return {"fold": str(fold), "changes": " ".join(sorted(changes)), **scores}


def test_effects_add_up():
    adds = {"muon": 0.25, "soft": -0.125}
    rows = [
        row(fold, made, 0.5 + 0.1 * fold + sum(adds.get(name, 0) for name in made))
        for fold, made in screen.design()
    ]
    found = screen.effects(rows, "auc_roc")
    for name, (effect, error) in found.items():
        assert effect == pytest.approx(adds.get(name, 0), abs=1e-9)
        assert error == pytest.approx(0, abs=1e-9)


def test_too_few_runs_tell_nothing():
    rows = [row(fold, made, 0.5) for fold, made in screen.design()[:6]]
    found = screen.effects(rows, "auc_roc")
    assert all(math.isnan(value) for pair in found.values() for value in pair)


def test_what_does_not_add_up_is_the_error():
    """A deviation of .1 that no change and no fold has: sixteen of its squares are left
    to 16 - 7 - 2 runs, and each effect is a difference of two means of eight."""
    signs = itertools.cycle([0.1, -0.1, -0.1, 0.1])
    rows = [row(fold, made, next(signs)) for fold, made in screen.design()]
    expected = math.sqrt(16 * 0.1**2 / 7 * (1 / 8 + 1 / 8))
    for effect, error in screen.effects(rows, "dice").values():
        assert effect == pytest.approx(0, abs=1e-9)
        assert error == pytest.approx(expected)


def test_runs_are_done_once_and_their_effects_printed(
    phantoms, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(screen, "EPOCHS", 2)
    full = screen.design()
    monkeypatch.setattr(screen, "design", lambda: [full[7], full[8]])
    options = ["--data", str(phantoms), "--folds", "3", "--batches", "4"]
    options += ["--filters", "4", "4", "4", "4", "4"]
    options += ["--table", str(tmp_path / "rows.csv")]
    screen.main([*options, "--part", "0", "2"])
    screen.main(options)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["fold"] for r in rows] == ["0", "1"]
    assert rows[0]["changes"] == " ".join(screen.CHANGES)  # all are made
    assert all(0 <= float(r[score]) <= 1 for r in rows for score in screen.SCORES[:3])
    assert "2 runs; effect" in capsys.readouterr().out
