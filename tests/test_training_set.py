"""Who is on which side of a split, and photographs at several scales."""

from dataclasses import replace

import numpy as np
import pytest

from retina import datasets, training_set
from retina.files import InputError
from retina.recipes import PRESETS, Recipe


def labelled(person, thumbnail="", pixels_sha256=None, **others):
    """A photograph of which only what tells whose it is matters."""
    name = f"{person}{thumbnail}"
    identity = datasets.Identity(name, name, pixels_sha256 or name, thumbnail)
    case = datasets.Case(name, f"{name}.png", None, {}, person)
    return datasets.Labelled(case, None, None, None, "", identity, **others)


def split(people, **changes):
    return training_set.split(people, replace(Recipe(), **changes))


def test_both_eyes_of_a_child_are_one_person(tmp_path):
    for name in ("01L", "01R", "02L"):
        (tmp_path / f"Image_{name}.jpg").touch()
    cases = datasets.list_cases(tmp_path, "training")
    left, right, other = (case.person for case in cases)
    assert left == right != other


def test_people_are_known_by_name_and_by_likeness():
    one, other = ("".join(f"{v:x}" for v in row) for row in thumbnails())
    read = [labelled(*each) for each in (("a", one), ("b", other), ("a",), ("c", one))]
    people, notes = training_set.find_people(read)
    assert people == [0, 1, 0, 0]
    assert notes == [f"a{one} and c{one} look like one eye: one is not held out alone"]


def thumbnails():
    return np.random.default_rng(0).integers(0, 16, (2, 24 * 24))


def test_a_photograph_that_is_there_twice_is_refused():
    read = [labelled("a", pixels_sha256="x"), labelled("b", pixels_sha256="x")]
    with pytest.raises(InputError, match="once, received one as a.png and b.png"):
        training_set.find_people(read)


@pytest.mark.parametrize("people", [[0, 1, 2, 3, 4], [0, 0, 2, 3, 3, 5, 0]])
def test_folds_part_the_photographs_by_person(people):
    held_out = []
    for fold in range(3):
        learnt, part = split(people, folds=3, fold=fold)
        assert sorted(learnt + part) == list(range(len(people)))
        assert not {people[n] for n in learnt} & {people[n] for n in part}
        held_out += part
    assert sorted(held_out) == list(range(len(people)))


def test_who_is_held_out_is_held_out_with_all_photographs():
    assert split([0, 0, 2, 3], validation=2) == ([3], [0, 1, 2])
    assert split([0, 1, 2, 3], validation=2) == ([1, 3], [0, 2])
    assert split([0, 1, 2], validation=0) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    "people, changes, message",
    [
        ([0, 1, 2], {"folds": 9}, "2 to 3 folds.*received --folds 9"),
        ([0, 0, 2], {"folds": 3}, "of 2 people, received --folds 3"),
        ([0, 1, 2], {"validation": 3}, "0 to 2 of 3.*received --validation 3"),
        ([0, 0, 0], {"validation": 1}, "0 to 0 of 3.*received --validation 1"),
    ],
)
def test_more_held_out_than_there_is_gets_a_sentence(people, changes, message):
    with pytest.raises(InputError, match=message):
        split(people, **changes)


def disc(diameter):
    """A photograph of which only a disc is lit, its left half vessel."""
    row, column = np.indices((diameter + 20, diameter + 30)) - diameter // 2 - 10
    inside = row**2 + column**2 < (diameter / 2) ** 2
    pixels = (inside[..., None] * [200, 90, 30]).astype(np.uint8)
    one = labelled("a")
    return replace(one, pixels=pixels, inside=inside, label=inside & (column < 0))


def test_photographs_are_resampled_to_each_diameter():
    one = disc(300)
    views = list(training_set.at_diameters(one, (150, 300, 370, 600)))
    widths = [np.ptp(np.nonzero(inside)[1]) + 1 for _, _, inside in views]
    assert widths == pytest.approx([150, 300, 370], abs=2)  # 600 would be twice
    for image, label, inside in views:
        assert image.shape == (*inside.shape, 3) and label.shape == inside.shape
        assert image.dtype == label.dtype == np.float32 and inside.dtype == bool
        assert label.sum() / inside.sum() == pytest.approx(0.5, abs=0.02)
        assert image[inside][:, 0].mean() == pytest.approx(200 / 255, abs=0.01)
    np.testing.assert_array_equal(views[1][1], one.label)  # its own: not resampled
    shares = views[0][1]
    assert np.any((shares > 0.2) & (shares < 0.8))


def test_a_small_photograph_is_shown_at_the_smallest_diameter():
    (view,) = training_set.at_diameters(disc(100), (300, 600))
    assert np.ptp(np.nonzero(view[2])[1]) + 1 == pytest.approx(300, abs=3)
    (own,) = training_set.at_diameters(disc(100), ())
    assert own[1].shape == (120, 130)


def test_photographs_are_held_out_at_the_scale_at_which_they_are_predicted():
    one = disc(300)
    assert training_set.shown_scales(one, Recipe()) == [0.9, 1.0, 1.25]
    assert training_set.shown_scales(one, PRESETS["article"]) == [1.0]
    recipe = replace(Recipe(), shown_diameter=150.0, factors=(0.7, 1.0))
    found = training_set.shown_scales(one, recipe)
    assert found == pytest.approx([0.35, 0.5], rel=0.02)


def test_data_sets_of_different_scales_do_not_mix_unseen():
    training_set.require_one_scale([540, 530, 560])
    with pytest.raises(InputError, match="received 540 to 1000: add --preset cameras"):
        training_set.require_one_scale([540, 1000, 600])
