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
    """The scale at which maps of these photographs are least uncertain on average; of
    several that are as good, the one nearest to what the network takes by itself.

    Args:
        paths: of photographs by one camera.
        options: how they are predicted.

    Raises:
        InputError: a photograph cannot be read or shows no round field, or they differ
            in size or in the diameter of the field.
    """
    fields = [estimate_field_of_view(read_pixels(path)) for path in paths]
    diameter = float(np.median([field.diameter for field in fields]))
    size = fields[0].inside.shape
    for path, field in zip(paths, fields, strict=True):
        require_one_camera(path, field, size, diameter, f"as in {paths[0]}")
    record = network.record
    median = replace(fields[0], diameter=diameter)
    matched = find_scale(median, record.field_diameter)
    factors = list_factors(matched)
    scales = [matched * factor for factor in factors]
    power = EDGES if len(record.factors) > 1 else 0.0
    sharpness = np.power(factors, power)
    measured = [
        measure_scales(network, path, field, options, scales)
        for path, field in zip(paths, fields, strict=True)
    ]
    means = (np.mean(measured, axis=0) * sharpness).tolist()
    shown = [scale * diameter for scale in scales]
    flat = [
        d for d, u in zip(shown, means, strict=True) if u <= (1 + FLAT) * min(means)
    ]
    first = matched * diameter
    return Camera(
        shown_diameter=min(flat, key=lambda d: max(d / first, first / d)),
        field_diameter=diameter,
        height=size[0],
        width=size[1],
        uncertainties=[list(pair) for pair in zip(shown, means, strict=True)],
        flat=[min(flat), max(flat)],
        photographs=len(paths),
        network_sha256=network.sha256,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


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
