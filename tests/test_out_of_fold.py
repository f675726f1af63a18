"""What benchmarks/out_of_fold.py says of maps whose calibration is known."""

import math

import numpy as np
import pytest
from hand_made import write_hand_made
from PIL import Image

from benchmarks import out_of_fold
from retina import datasets
from retina.files import InputError

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


def write_fold(folder, number, case, **changes):
    """A map by a network of its own: .8 where there is a vessel, .2 elsewhere."""
    label = datasets.read_label(case, "1st_manual")
    usual = {
        "role": "validation",
        "family": "f" * 64,
        "network_sha256": f"{number}" * 64,
    }
    field = datasets.read_field_of_view(case)
    write_hand_made(folder, case.image, 0.2 + 0.6 * label, field, **usual | changes)


@pytest.fixture
def maps(phantoms, tmp_path):
    """Such maps of the training phantoms, one a fold."""
    for number, case in enumerate(datasets.list_cases(phantoms, "training")):
        write_fold(tmp_path, number, case)
    return tmp_path


def test_the_command_prints_threshold_error_temperature_and_bins(
    maps, phantoms, capsys
):
    before = sorted(maps.iterdir())
    out_of_fold.main([str(maps), "--data", str(phantoms)])
    printed = capsys.readouterr().out
    assert printed.startswith("3 photographs, 3 networks, views 1\n")
    assert "highest Dice 1.0000 at threshold 0.8000" in printed
    assert "expected calibration error 0.2000 in 15 bins" in printed
    assert "temperature 0.0" in printed and "error 0.0000 after" in printed
    assert printed.count("\n") == 5 + out_of_fold.BINS
    assert sorted(maps.iterdir()) == before


def test_the_picture_is_drawn_where_it_is_wanted(maps, phantoms):
    picture = maps / "new" / "curve.png"
    out_of_fold.main([str(maps), "--data", str(phantoms), "--picture", str(picture)])
    with Image.open(picture) as drawing:
        assert drawing.format == "PNG" and len(drawing.getcolors(1 << 16)) > 10


def test_maps_that_are_not_out_of_fold_are_refused(maps, phantoms):
    cases = datasets.list_cases(phantoms, "training")
    for changes, sentence in (
        ({"role": "training"}, "22_training.*received training"),
        ({"family": "e" * 64}, "expected maps of one network"),
        ({"views": 8}, "expected maps of one views"),
        ({"photograph_sha256": "0" * 64, "pixels_sha256": "0" * 64}, "of another one"),
    ):
        write_fold(maps, 1, cases[1], **changes)
        with pytest.raises(InputError, match=sentence):
            out_of_fold.main([str(maps), "--data", str(phantoms)])
    write_fold(maps, 1, cases[1])
    (maps / "22_training.png").write_bytes((maps / "21_training.png").read_bytes())
    with pytest.raises(InputError, match="22_training.png and its field"):
        out_of_fold.main([str(maps), "--data", str(phantoms)])
