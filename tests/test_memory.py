"""benchmarks/memory.py sees a leak where there is one; huge photographs fit."""

import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import tiff
from PIL import Image

from benchmarks import memory
from retina import field_of_view, pictures, tiling
from retina.maps import read_probability
from retina.networks import Network, Record
from retina.prediction import (
    Options,
    Photograph,
    predict_photograph,
    read_photograph,
    write_photograph,
)


def test_the_slope_of_a_leak_is_found_after_the_warm_up():
    megabytes = [100.0, 300.0] + [400 + 1.024 * i for i in range(8)]
    first, level, slope = memory.fit_slope(megabytes)
    assert (first, level) == (2, pytest.approx(400))
    assert slope == pytest.approx(1000)  # KiB


def test_a_tiny_run_prints_and_draws(light, tmp_path, capfd):
    picture = tmp_path / "memory.png"
    words = ["--photographs", "7", "--size", "128", "120", "--sizes", "180x150"]
    model = ["--model", str(light), "--picture", str(picture)]
    memory.main([*words, *model])
    printed = capfd.readouterr().out
    assert re.search(r"180 x 150: at most +\d+ MB, scale \d\.\d+, \d", printed)
    assert "7 photographs of 120 x 128" in printed and "KiB each" in printed
    with Image.open(picture) as drawn:
        assert drawn.size == (600, 340)


@pytest.mark.parametrize(
    "scale, factors, bits, most",
    [
        (1.0, (1.0,), None, 14),  # its map is there twice: the network's, and the mean
        (0.2, (0.7, 1.0, 1.4), None, 10),
        (1.0, (1.0,), 12, 17),
    ],
)
def test_no_stage_holds_a_photograph_as_floats(
    tmp_path, monkeypatch, scale, factors, bits, most
):
    """At most its bytes (3 a pixel; 6 of 16 bits), its field, and what of it is kept
    (1 each), its map (4) and the file's (2)."""
    for module in (field_of_view, pictures, tiling):
        monkeypatch.setattr(module, "PIXELS_AT_A_TIME", 2**18)
    side = 2500
    rows, columns = np.ogrid[:side, :side]
    disc = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (0.48 * side) ** 2
    path = tmp_path / "a.tif"
    Image.fromarray(np.uint8(disc[..., None] * [200, 120, 60])).save(path)
    if bits:
        path.write_bytes(tiff(np.uint16(disc[..., None] * [3200, 1920, 960]), planar=1))
    options = Options(scale=scale, bits=bits)
    photograph = Photograph("a", path)
    red = SimpleNamespace(predict_on_batch=lambda tiles: tiles[..., :1].clip(0, 1))
    network = Network(Path("none"), red, "a" * 64, Record(factors=factors))
    del disc
    tracemalloc.start()
    try:
        shown = read_photograph(photograph, network.record, options)
        mapped = predict_photograph(network, shown, options)
        del shown
        write_photograph(tmp_path / "maps", mapped, network, options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    strips = 15e6  # pieces of tiles and strips, whatever the photograph's size
    assert peak < most * side**2 + strips
    assert read_probability(tmp_path / "maps/a.png").shape == (side, side)
