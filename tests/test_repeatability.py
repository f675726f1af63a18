"""Eyes whose photographs agree as much as was laid down."""

import numpy as np
import pytest

from benchmarks import repeatability
from retina.files import InputError


def test_the_correlation_of_an_analysis_of_variance_by_hand():
    """Means 2, 4, 6 of photographs 1 apart: mean squares 8 between and 0.5 within."""
    values = np.array([[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]])
    result = repeatability.compare(values)
    assert result.correlation == pytest.approx((8 - 0.5) / (8 + 0.5))
    assert result.within == pytest.approx(100 * 0.5**0.5 / 4)
    assert result.between == pytest.approx(100 * ((8 - 0.5) / 2) ** 0.5 / 4)
    assert result.low < result.correlation < result.high <= 1


def test_both_halves_are_printed(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = ["name,region,mean_width_px,arc_over_chord,bend_scale_px"]
    for person in range(1, 21):
        for photograph in (1, 2):
            width = person + 0.01 * rng.normal()
            rows.append(f"IM00000{photograph}_{person},field,{width},1.1,30")
            rows.append(f"IM00000{photograph}_{person},zone B,7,1.1,30")
    (tmp_path / "measurements.csv").write_text("\n".join(rows) + "\n")
    repeatability.main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "persons 1 to 10" in printed and "persons 11 to 20" in printed
    line = next(r for r in printed.splitlines() if r.startswith("mean_width_px"))
    assert float(line.split()[1]) == 1 and "bend_scale" not in printed
    assert "arc_over_chord" in printed and "all alike" in printed


def test_what_is_no_repeated_photograph_is_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="run measure.py first"):
        repeatability.main([str(tmp_path)])
    (tmp_path / "measurements.csv").write_text("name,mean_width_px\nmine,3\n")
    with pytest.raises(InputError, match="found mine"):
        repeatability.main([str(tmp_path)])
