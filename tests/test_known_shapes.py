"""Shapes whose true values follow from their geometry, and what is printed of them."""

import math

import numpy as np
import pytest

from benchmarks import known_shapes


def test_the_geometry_of_the_families():
    drawn = {
        name: family.draw("artery") for name, family in known_shapes.FAMILIES.items()
    }
    lengths = {
        name: sum(map(known_shapes.length, lines)) for name, lines in drawn.items()
    }
    side = known_shapes.SIDE
    assert lengths["straight"] == pytest.approx(0.3 * side)
    assert lengths["arc"] == pytest.approx(0.22 * side * math.pi / 2)
    assert lengths["koch"] == pytest.approx(0.34 * side * 16 / 9)
    assert lengths["deep-bifurcation"] == pytest.approx((15 + 7 * 0.35) * 0.07 * side)
    assert len(drawn["deep-bifurcation"]) == 22
    tips = np.array([line[-1] for line in drawn["deep-bifurcation"]])
    apart = np.abs(tips[:, None] - tips)
    assert (apart < 1e-6).sum() - len(tips) == 2  # two tips meet


def test_a_drawing_has_the_area_of_its_vessels():
    inside = known_shapes.field_of_view()
    vessels = known_shapes.draw_kind("straight", "vein", 30, inside)
    area = 24 * vessels.truth["total_length"] + math.pi * 12**2
    assert vessels.label.sum() == pytest.approx(area, rel=1e-3)


def test_the_straight_family_reaches_its_goals(capsys, monkeypatch):
    monkeypatch.setattr(known_shapes, "TURNS", (30,))  # of four, each a second
    known_shapes.main(["--family", "straight"])
    printed = capsys.readouterr().out
    for title, _, goals in known_shapes.ROWS.values():
        cells = printed.partition(f"\n{title} ")[2].split()
        if cells[0] != "-":
            assert float(cells[0]) <= goals[0], title
