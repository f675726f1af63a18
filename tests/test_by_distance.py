"""Rings of maps that are right in the middle and useless at the rim."""

import numpy as np
import pytest
from hand_made import write_hand_made

from benchmarks import by_distance
from retina import datasets
from retina.files import InputError


@pytest.fixture
def maps(phantoms, tmp_path):
    for number, case in enumerate(datasets.list_cases(phantoms, "training")):
        label = datasets.read_label(case, "1st_manual")
        field = datasets.read_field_of_view(case)
        distance = np.zeros(field.shape)
        distance[field] = by_distance.distances(field)
        map_ = np.where(distance < 0.95, 0.2 + 0.6 * label, 0.2)
        own = {"role": "validation", "family": "f" * 64}
        own["network_sha256"] = f"{number}" * 64
        write_hand_made(tmp_path, case.image, map_, field, **own)
    return tmp_path


def test_rings_are_scored_for_themselves(maps, phantoms, capsys):
    by_distance.main([str(maps), "--data", str(phantoms)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 photographs"
    rings = [line.split() for line in lines[2:7]]
    assert sum(float(ring[1]) for ring in rings) == pytest.approx(1, abs=0.003)
    assert [ring[2:] for ring in rings[:4]] == [["1.00000", "1.00000"]] * 4
    assert rings[4][2:] == ["0.50000", "0.00000"]
    assert lines[7].startswith("all")


def test_distances_are_in_radii():
    row, column = np.indices((41, 61))
    field = (row - 20) ** 2 + (column - 30) ** 2 <= 20**2
    found = np.zeros(field.shape)
    found[field] = by_distance.distances(field)
    assert found[20, 30] == 0
    assert found[20, 50] == pytest.approx(20 / 20.5)
    assert found[8, 14] == pytest.approx(20 / 20.5)


def test_maps_that_were_not_held_out_are_no_measure(phantoms, tmp_path):
    case = datasets.list_cases(phantoms, "training")[0]
    field = datasets.read_field_of_view(case)
    write_hand_made(tmp_path, case.image, field * 0.5, field, role="training")
    with pytest.raises(InputError, match="held out, found none"):
        by_distance.main([str(tmp_path), "--data", str(phantoms)])
