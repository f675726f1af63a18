"""The scale at which a photograph is shown to a network.

scale = find_scale(field, learnt_diameter=540)
"""

from __future__ import annotations

from retina.field_of_view import FieldOfView

# Within 5 % of the learnt size nothing is resampled; that would only blur.
SCALE_TOLERANCE = 0.05


def find_scale(field: FieldOfView, learnt_diameter: float) -> float:
    """By how much to resample a photograph, so that its field has `learnt_diameter`."""
    scale = learnt_diameter / field.diameter
    if not field.round:  # the true field is larger than what is seen of it
        scale = min(1.0, scale)
    return 1.0 if abs(scale - 1) < SCALE_TOLERANCE else scale
