"""What benchmarks/out_of_fold.py says of maps whose calibration is known."""

import math

import numpy as np
import pytest
from PIL import Image

from benchmarks import out_of_fold
from retina import datasets
from retina.files import InputError
from retina.maps import read_predictions, write_predictions, write_probability

# Called .8 where 3 of 5 are vessels, and .2 where 2 of 5 are: too sure of itself.
LABEL = np.array([1, 1, 1, 0, 0, 1, 1, 0, 0, 0], bool)
SURE = np.repeat([0.8, 0.2], 5)
TEMPERATURE = math.log(4) / math.log(1.5)  # turns odds of 4 into odds of 3 to 2


def test_the_reliability_of_two_levels():
    bins = out_of_fold.reliability(LABEL, SURE)
    filled = [b for b in bins if b["share"]]
    assert len(bins) == out_of_fold.BINS
    assert [(b["share"], b["true"]) for b in filled] == [(0.5, 0.4), (0.5, 0.6)]
    assert [b["said"] for b in filled] == pytest.approx([0.2, 0.8])
    assert all(math.isnan(b["true"]) for b in bins if not b["share"])
    assert out_of_fold.calibration_error(bins) == pytest.approx(0.2)
    assert bins[3] == filled[0] and bins[12] == filled[1]


def test_the_temperature_makes_two_levels_honest():
    temperature = out_of_fold.fit_temperature(LABEL, SURE)
    assert temperature == pytest.approx(TEMPERATURE, rel=1e-4)
    honest = out_of_fold.tempered(SURE, temperature)
    assert honest == pytest.approx(np.repeat([0.6, 0.4], 5), abs=1e-5)
    assert out_of_fold.fit_temperature(LABEL, honest) == pytest.approx(1, abs=1e-4)


def test_certain_maps_have_finite_odds():
    odds = out_of_fold.log_odds(np.array([0, 0.5, 1], np.float32))
    assert odds == pytest.approx([-math.log(131069), 0, math.log(131069)])
    assert 0.05 <= out_of_fold.fit_temperature(LABEL, LABEL.astype(np.float32)) < 0.2


@pytest.fixture
def maps(phantoms, tmp_path):
    """Maps of the training phantoms that call .8 what is a vessel, and .2 the rest."""
    rows = {}
    for case in datasets.list_cases(phantoms, "training"):
        label = datasets.read_label(case, "1st_manual")
        write_probability(tmp_path / f"{case.name}.png", 0.2 + 0.6 * label)
        rows[case.name] = {"name": case.name, "role": "validation"}
    write_predictions(tmp_path, rows)
    return tmp_path


def test_the_command_prints_threshold_error_temperature_and_bins(
    maps, phantoms, capsys
):
    before = sorted(maps.iterdir())
    out_of_fold.main([str(maps), "--data", str(phantoms)])
    printed = capsys.readouterr().out
    assert "highest Dice 1.0000 at threshold 0.8" in printed
    assert "expected calibration error 0.2000 in 15 bins" in printed
    assert "temperature 0.0" in printed and "error 0.0000 after" in printed
    assert printed.count("\n") == 4 + out_of_fold.BINS
    assert sorted(maps.iterdir()) == before


def test_the_picture_is_drawn_where_it_is_wanted(maps, phantoms):
    picture = maps / "new" / "curve.png"
    out_of_fold.main([str(maps), "--data", str(phantoms), "--picture", str(picture)])
    with Image.open(picture) as drawing:
        assert drawing.format == "PNG" and len(drawing.getcolors(1 << 16)) > 10


def test_maps_of_what_trained_the_network_are_refused(maps, phantoms):
    rows = read_predictions(maps)
    rows["22_training"]["role"] = "training"
    write_predictions(maps, rows)
    with pytest.raises(InputError, match="22_training.*received training"):
        out_of_fold.main([str(maps), "--data", str(phantoms)])
