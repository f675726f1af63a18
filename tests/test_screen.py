"""A balanced design, effects that can be worked out in one's head, and a tiny run."""

import csv
import itertools
import math

import numpy as np
import pytest

from benchmarks import screen

FIRST = tuple(screen.SCREENS["first"])


@pytest.mark.parametrize("changes", screen.SCREENS.values())
def test_every_change_is_balanced_against_every_other(changes):
    runs = screen.design(changes)
    assert len(runs) == len(set(runs)) == 16
    for name in changes:
        assert [fold for fold, made in runs if name in made] == [0] * 4 + [1] * 4
    for one, other in itertools.combinations(changes, 2):
        assert sum(one in made and other in made for _, made in runs) == 4


def test_no_joint_effect_of_two_is_mistaken_for_ones():
    runs = screen.design(FIRST)

    def signs(*names):
        product = [1] * len(runs)
        for name in names:
            product = [
                p * (1 if name in made else -1)
                for p, (_, made) in zip(product, runs, strict=True)
            ]
        return product

    for pair in itertools.combinations(FIRST, 2):
        for name in FIRST:
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
        for fold, made in screen.design(FIRST)
    ]
    found = screen.effects(rows, FIRST, "auc_roc")
    for name, (effect, error) in found.items():
        assert effect == pytest.approx(adds.get(name, 0), abs=1e-9)
        assert error == pytest.approx(0, abs=1e-9)


def test_too_few_runs_tell_nothing():
    rows = [row(fold, made, 0.5) for fold, made in screen.design(FIRST)[:6]]
    found = screen.effects(rows, FIRST, "auc_roc")
    assert all(math.isnan(value) for pair in found.values() for value in pair)


def test_what_does_not_add_up_is_the_error():
    """A deviation of .1 that no change and no fold has: sixteen of its squares are left
    to 16 - 7 - 2 runs, and each effect is a difference of two means of eight."""
    signs = itertools.cycle([0.1, -0.1, -0.1, 0.1])
    rows = [row(fold, made, next(signs)) for fold, made in screen.design(FIRST)]
    expected = math.sqrt(16 * 0.1**2 / 7 * (1 / 8 + 1 / 8))
    for effect, error in screen.effects(rows, FIRST, "dice").values():
        assert effect == pytest.approx(0, abs=1e-9)
        assert error == pytest.approx(expected)


@pytest.mark.parametrize("name", screen.SCREENS)
def test_runs_are_done_once_and_their_effects_printed(
    name, phantoms, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(screen, "EPOCHS", 2)
    changes = screen.SCREENS[name]
    full = screen.design(changes)
    monkeypatch.setattr(screen, "design", lambda _: [full[0], full[-1]])
    options = [name, "--data", str(phantoms), "--folds", "3", "--batches", "4"]
    options += ["--filters", "4", "4", "4", "4", "4"]
    options += ["--table", str(tmp_path / "rows.csv")]
    screen.main([*options, "--part", "0", "2"])
    screen.main(options)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["fold"] for r in rows] == ["0", "1"]
    for fold, made in (full[0], full[-1]):
        assert rows[fold]["changes"].split() == [n for n in changes if n in made]
    assert all(0 <= float(r[score]) <= 1 for r in rows for score in screen.SCORES[:4])
    assert "2 runs; effect" in capsys.readouterr().out


def test_rows_without_a_score_tell_nothing_of_it():
    rows = [row(fold, made, 0.5) for fold, made in screen.design(FIRST)]
    rows = [{**one, "cl_dice": ""} for one in rows]
    found = screen.effects(rows, FIRST, "cl_dice")
    assert all(math.isnan(value) for pair in found.values() for value in pair)


def drawn_vessels():
    """A vessel 3 pixels wide, rows 14 to 16, in a square of 32."""
    label = np.zeros((1, 32, 32, 1), np.float32)
    label[:, 14:17] = 1
    return label


def test_the_soft_skeleton_of_a_straight_vessel_is_its_middle():
    skeleton = np.asarray(screen.soft_skeleton(drawn_vessels()))
    assert np.flatnonzero(skeleton[0, :, 16, 0]).tolist() == [15]
    assert skeleton[0, 15, 16, 0] == 1


def test_the_cldice_loss_sees_a_gap_and_not_a_width():
    label = drawn_vessels()
    thinner = label.copy()
    thinner[:, [14, 16]] = 0
    gap = label.copy()
    gap[:, :, 8:24] = 0  # half of the line
    losses = [
        float(screen.soft_cldice_loss(label, each)) for each in (label, thinner, gap)
    ]
    assert losses[:2] == pytest.approx([0, 0], abs=0.02)
    # All of the map is right, half of the line is found: 1 - 2 / 3.
    assert losses[2] == pytest.approx(1 / 3, abs=0.03)


def test_more_outputs_learn_and_one_is_used():
    args = screen.parse_args(["second", "--filters", "4", "4", "4", "4", "4"])
    changes = frozenset(("muon", "shallow", "deep", "refine"))
    learning, used = screen.make_model(changes, args, 1e-3)
    image = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    maps = learning.predict_on_batch(image)
    assert maps.shape == (4, 32, 32, 1 + 1 + 2)  # refined, first, of two levels
    np.testing.assert_allclose(used.predict_on_batch(image), maps[..., :1], atol=1e-6)
    before = [weight.copy() for weight in used.get_weights()]
    learning.train_on_batch(image, (image[..., :1] > 0.5).astype(np.float32))
    assert any((a != b).any() for a, b in zip(before, used.get_weights(), strict=True))


def test_the_loss_is_the_mean_of_all_outputs_cross_entropies():
    label = np.ones((1, 2, 2, 1), np.float32)
    maps = np.full((1, 2, 2, 2), 0.5, np.float32)
    maps[..., 1] = 0.25
    loss = float(screen.make_loss(frozenset())(label, maps))
    assert loss == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-5)
