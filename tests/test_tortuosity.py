"""An expert's ranks of a few centre lines that were made up."""

import math

import numpy as np
import pytest

from benchmarks import tortuosity
from retina.files import InputError


def write_wave(path, height):
    along = np.arange(0, 601, 30)
    rows = height * np.sin(math.tau * along / 300)
    lines = [f"{x},{y}" for x, y in zip(along, rows, strict=True)]
    path.write_text("\n".join(["x,y", *lines]) + "\n")


def test_ranks_that_follow_the_height_of_waves(tmp_path, capsys):
    (tmp_path / "centrelines").mkdir()
    shipped = list(tortuosity.SHIPPED.values())
    rows = [",".join(["image", "kind", tortuosity.RANK, *shipped])]
    for kind in tortuosity.KINDS:
        for rank in range(1, 6):
            write_wave(tmp_path / "centrelines" / f"{rank}_{kind}.csv", 10 * rank)
            values = [str(6 - rank)] * len(shipped)
            rows.append(",".join([f"{rank}_{kind}.jpg", kind, str(rank), *values]))
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    tortuosity.main([str(tmp_path), "--resamples", "20"])
    printed = capsys.readouterr().out
    line = next(r for r in printed.splitlines() if r.startswith("total_curvature"))
    cells = line.split()
    assert cells[1] == "1.000" and cells[5] == "-1.000"
    assert "chosen on artery: arc_over_chord (1.000); vein: 1.000" in printed


def test_a_folder_without_ranks_is_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"expected ranks in .*truth.csv"):
        tortuosity.main([str(tmp_path)])
