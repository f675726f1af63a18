"""The scale at which a photograph is shown to a network.

scale = find_scale(field, learnt_diameter=540)
scale = read_camera(Path("camera.json")).scale

Without labels, the best scale is near that of the lowest uncertainty (docs/results.md).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from retina.field_of_view import FieldOfView
from retina.files import InputError, require_types, write_json

# Within 5 % of the learnt size nothing is resampled; that would only blur.
SCALE_TOLERANCE = 0.05
FACTORS = (0.67, 0.8, 1.0, 1.33, 1.8, 2.4)  # times that scale: what is tried
# Uncertain pixels lie on the edges of vessels, and the share of these is smaller at a
# finer scale: uncertainty falls with this power of the scale, also where the map is no
# better. Chosen on CHASE_DB1, LES-AV and RETA, left out (docs/results.md).
EDGES = 0.2
CLEARLY = 0.02  # by which it must fall further for a finer scale to be taken
ONE_CAMERA = 0.03  # by which a field's diameter may differ from the camera's
SCALES = (0.01, 100.0)  # plausible ones
FLAT = 0.02  # an uncertainty this much above the least is as good


def find_scale(field: FieldOfView, learnt_diameter: float) -> float:
    """By how much to resample a photograph, so that its field has `learnt_diameter`."""
    scale = learnt_diameter / field.diameter
    if not field.round:  # the true field is larger than what is seen of it
        scale = min(1.0, scale)
    return unless_near(scale)


def unless_near(scale: float) -> float:
    """`scale`, or 1 where that is near enough."""
    return 1.0 if abs(scale - 1) < SCALE_TOLERANCE else scale


def uncertainty(probability: np.ndarray) -> float:
    """How uncertain a map is, 0 to 1: sum of p (1 - p) over sum of p.

    Args:
        probability: of pixels inside the field of view, 0..1, any shape.
    """
    p = np.clip(probability, 0, 1).astype(np.float64)
    return float((p * (1 - p)).sum() / max(p.sum(), 1e-9))


def list_factors(scale: float) -> list[float]:
    """Those of `FACTORS` that, times this scale, do not enlarge the photograph.

    Enlarging adds no detail, but makes maps look more certain.
    """
    return [factor for factor in FACTORS if factor <= 1 or scale * factor <= 1]


def is_clearer(finer: np.ndarray, coarser: np.ndarray, step: float) -> bool:
    """Whether a map is clearly more certain than one at a scale `step` times coarser.

    Args:
        finer, coarser: maps, arrays of any shape, 0..1.
        step: above 1.
    """
    expected = uncertainty(coarser) / step**EDGES
    return uncertainty(finer) < (1 - CLEARLY) * expected


def scale_by_hand(field: FieldOfView, shown_diameter: float, where: Path) -> float:
    """The scale at which a round field is `shown_diameter` pixels wide.

    Raises:
        InputError: the photograph, in `where`, shows no round field.
    """
    if not field.round:
        raise InputError(
            f"expected a round field of view in {where} for --shown-diameter, found "
            "none: give its scale with --scale"
        )
    return shown_diameter / field.diameter


# ---- one setting for all photographs of a camera


@dataclass(frozen=True)
class Camera:
    """The scale for all photographs of one camera, as a JSON file holds it."""

    shown_diameter: float  # pixels, how wide the network sees the field
    field_diameter: float  # pixels, the median in the photographs
    height: int  # of the photographs, pixels
    width: int
    # Pairs of a shown diameter and the mean uncertainty there, as
    # `cameras.find_camera` corrects it.
    uncertainties: list[list[float]]
    flat: list[float]  # least and largest shown diameter that are as good (`FLAT`)
    photographs: int  # how many it was found on
    network_sha256: str  # of the network that it was found with, and holds for
    made: str  # when, ISO 8601, UTC
    file: str = ""  # where it is, "" until it is written

    @property
    def scale(self) -> float:
        """By which all photographs are resampled. It is one for all of them: estimates
        of the field differ a little between photographs by one camera."""
        return self.shown_diameter / self.field_diameter

    def require_photograph(self, path: Path, field: FieldOfView) -> None:
        """Raises an InputError unless the photograph may be of this camera."""
        size = self.height, self.width
        require_one_camera(
            path, field, size, self.field_diameter, f"as {self.file} has"
        )

    def require_network(self, sha256: str) -> None:
        """Raises an InputError unless the setting was found with this network."""
        if sha256 != self.network_sha256:
            raise InputError(
                f"expected a setting for the network {sha256[:12]} in {self.file}, "
                f"found one for {self.network_sha256[:12]}: find it again with "
                "python check.py FOLDER --camera FILE.json --model MODEL"
            )


def require_one_camera(
    path: Path, field: FieldOfView, size: tuple[int, int], diameter: float, why: str
) -> None:
    """Raises an InputError unless a photograph has this size and a field as wide."""
    is_near = abs(field.diameter / diameter - 1) <= ONE_CAMERA
    if field.round and field.inside.shape == size and is_near:
        return
    height, width = field.inside.shape
    found = f"one {field.diameter:.0f} wide" if field.round else "no round one"
    raise InputError(
        f"expected {size[1]} x {size[0]} pixels and a field of view {diameter:.0f} "
        f"wide, within {ONE_CAMERA:.0%}, in {path}, {why}, found {width} x {height} "
        f"and {found}: keep each camera's photographs, and its setting, apart"
    )


def write_camera(path: Path, camera: Camera) -> None:
    """Writes a camera's setting."""
    content = asdict(camera)
    del content["file"]
    write_json(path, content)


def read_camera(path: Path) -> Camera:
    """Reads what `check.py --camera` wrote.

    Raises:
        InputError: the file is missing, or is none of these.
    """
    try:
        content = json.loads(path.read_bytes())
        camera = Camera(**content, file=str(path))
        require_types(camera)
        for name, value in asdict(camera).items():
            if isinstance(value, (int, float)) and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}")
        if not SCALES[0] <= camera.scale <= SCALES[1]:
            raise ValueError(f"the scale is {camera.scale!r}")
    except Exception as error:  # a damaged or foreign file brings about many
        raise InputError(
            f"expected a camera's setting in {path}, but it cannot be read "
            f"({type(error).__name__}: {error}): write it with python check.py FOLDER "
            "--camera FILE.json"
        ) from None
    return camera
