"""Scales of a network that sees the label at one of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import scales
from retina import datasets
from retina.networks import Network, Record


def test_the_best_scale_is_seen(phantoms, monkeypatch, capsys):
    """A network that is right on tiles of 256 pixels, else blind; and half right in the
    mean of three scales around them."""

    def says(tiles):
        dark = np.float32(tiles[..., 1:2] < 0.35)
        return dark * 0.8 + 0.1 if tiles.shape[1] == 256 else dark * 0 + 0.4

    model = SimpleNamespace(predict_on_batch=says)
    record = Record(field_diameter=112.0)
    network = Network(Path("x.keras"), model, "a" * 64, record)
    monkeypatch.setattr(scales.prediction, "load_network", lambda path: network)
    case = datasets.list_cases(phantoms, "training")[0]
    monkeypatch.setattr(datasets, "list_cases", lambda *_: [case] * 3)
    scales.main(["--data", str(phantoms), "--photographs", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"{phantoms.name}, 2 photographs"
    rows = {int(line.split()[0]): line.split()[1:] for line in lines[4:10]}
    assert list(rows) == [57, 80, 112, 157, 220, 307]
    areas = {shown: float(row[0]) for shown, row in rows.items()}
    assert max(areas, key=areas.get) == 220 and areas[220] > 0.7
    assert areas[57] == areas[112] == 0.5
    # The others add a constant.
    assert float(rows[220][4]) == pytest.approx(areas[220], abs=2e-4)
    assert len(rows[57]) == 4
    assert float(rows[57][3]) / float(rows[57][2]) < 1
    assert lines[10] == "as predict.py makes them: 0.5000 0.0000"
