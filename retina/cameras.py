"""One scale for all photographs of a camera, found without labels.

camera = find_camera(network, paths, Options())
write_camera(Path("camera.json"), camera)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from retina.field_of_view import FieldOfView, estimate_field_of_view
from retina.networks import Network
from retina.pictures import read_pixels
from retina.prediction import Options, predict_at
from retina.resolution import (
    EDGES,
    FLAT,
    Camera,
    find_scale,
    list_factors,
    require_one_camera,
    uncertainty,
)


def find_camera(network: Network, paths: Sequence[Path], options: Options) -> Camera:
    """The scale at which maps of photographs by one camera are least uncertain.

    Raises:
        InputError: a photograph cannot be read or shows no round field, or they differ
            in size or in the diameter of the field.
    """
    fields = [estimate_field_of_view(read_pixels(path)) for path in paths]
    diameter = float(np.median([field.diameter for field in fields]))
    size = fields[0].inside.shape
    for path, field in zip(paths, fields, strict=True):
        require_one_camera(path, field, size, diameter, f"as in {paths[0]}")
    median = replace(fields[0], diameter=diameter)
    matched = find_scale(median, network.record.field_diameter)
    factors = list_factors(matched)
    scales = [matched * factor for factor in factors]
    measured = [
        measure_scales(network, path, field, options, scales)
        for path, field in zip(paths, fields, strict=True)
    ]
    power = EDGES if len(network.record.factors) > 1 else 0.0
    means = (np.mean(measured, axis=0) * np.power(factors, power)).tolist()
    shown = [scale * diameter for scale in scales]
    chosen, flat = choose_shown(shown, means, matched * diameter)
    return Camera(
        shown_diameter=chosen,
        field_diameter=diameter,
        height=size[0],
        width=size[1],
        uncertainties=[list(pair) for pair in zip(shown, means, strict=True)],
        flat=flat,
        photographs=len(paths),
        network_sha256=network.sha256,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def choose_shown(
    shown: Sequence[float], means: Sequence[float], first: float
) -> tuple[float, list[float]]:
    """The shown diameter to take, and the least and the largest that are as good.

    Args:
        shown: diameters, pixels.
        means: the uncertainty at each.
        first: what the network takes by itself: of those as good, the nearest is taken.
    """
    least = min(means)
    good = [d for d, u in zip(shown, means, strict=True) if u <= (1 + FLAT) * least]
    chosen = min(good, key=lambda d: max(d / first, first / d))
    return chosen, [min(good), max(good)]


def measure_scales(
    network: Network,
    path: Path,
    field: FieldOfView,
    options: Options,
    scales: Sequence[float],
) -> list[float]:
    """The uncertainty of a photograph's map at each scale."""
    pixels = read_pixels(path)
    return [
        uncertainty(predict_at(network, pixels, field, options, scale))
        for scale in scales
    ]
