"""True widths of vessels, from the photograph's own profile across them.

    profiles = measure_profiles(green, vessels, field_of_view, measures.segments)
    values, reasons = summarise_profiles(profiles)

A map shows where vessels are; how wide it draws them depends on the network and on who
drew its labels. Here only the centre lines are the map's. The width is that of a bar of
even depth which, blurred, fits the green channel across the vessel best:

    level + slope x - depth [F((x - c + w / 2) / s) - F((x - c - w / 2) / s)]

with F the normal distribution's integral, c the centre, w the width and s the blur: a
bar convolved with a Gaussian (Steger, IEEE Trans. Pattern Anal. Mach. Intell. 20
(1998), 113-125). In a more blurred photograph only s is larger: w is the same at every
sharpness and size. The width at half depth is not: it is 11 % too large at w = 3 s, and
39 % at w = 2 s. A round vessel of even blood has pale rims: it reads .82 of its
diameter (more where it absorbs much light), at every sharpness and size alike.

Below w = 5 s, w and s cannot be told apart in a noisy profile. So s is found once for a
photograph, as the median of fits to its wide vessels, and all widths are fitted with
it; it is a little larger in wide vessels, whose shoulders are round. Below 2.5 s, w and
depth cannot be told apart either: there is no width.

Profiles are averaged along the vessel (Gaussian of 3 pixels or half a width) and fitted
at such steps; a point has the width of the nearest fit. What lies beyond a neighbouring
vessel, or outside the field, does not count, so a vessel that the rim cuts lengthwise
has no width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage, special

if TYPE_CHECKING:
    from retina.morphometry import Segment

UNITS = {"profile_width": "px", "profile_share": ""}
LEAST_WIDTH = (3.0, 2.5)  # pixels, and times the blur
THINNEST_DRAWN = 2.0  # pixels: a vessel that is drawn thinner is not fitted at all
ALONG = (3.0, 0.5)  # standard deviation along a vessel: pixels at least, widths
STEPS_PER_DEVIATION = 3  # of profiles that are sampled along a vessel
REACH = (3.0, 1.0)  # of a profile to either side: pixels and widths
SAMPLES = 33  # of a profile
OWN_EDGE = 2.5  # pixels beyond its drawn edge that still are a vessel's own
NEIGHBOURS = np.ones((3, 3), bool)  # of a vessel's pixel: its blurred edge
VESSEL, OFF_FIELD = 1, 2  # what a place of a profile may lie on
ROUND_SHOULDERS = 0.05  # of the width, added in squares to the blur
WIDE = 60  # percentile of the drawn widths from which a fit tells the blur
MOST_FREE_FITS = 600
ITERATIONS = 12
LEAST_KNOWN = 0.3  # of the neighbours over which a place of a profile is averaged
PLAUSIBLE = (0.3, 3.0)  # a fitted width, of the drawn one
LEAST_LEVEL = 0.3  # of the field's median brightness: less is a dark place
MOST_MISFIT = 0.1  # root mean square, of the depth
EVEN = 1.5  # a fitted width over its segment's median, or the other way round, at most
LEAST_SEEN = 0.2  # of the surroundings on either side
REFLEX = (0.15, 0.15)  # half its breadth in widths; brighter than the fit, of the depth

MEASURED, CLOSE, THIN, DARK, FAINT, REFLECTING = range(6)
CAUSES = {
    CLOSE: "near other vessels, the rim, sharp bends and ends",
    THIN: "thinner than {:g} pixels, or than {:g} times the blur".format(*LEAST_WIDTH),
    DARK: "in a dark place",
    FAINT: "too faint, or without clear edges",
    REFLECTING: "a bright reflex along the vessel",
}


@dataclass(frozen=True)
class Profile:
    """The widths of one segment from profiles, at each of its points."""

    widths: np.ndarray  # float (N,), pixels, nan where there is none
    causes: np.ndarray  # int (N,), MEASURED, or a key of CAUSES
    blur: float  # of the photograph, pixels


class Samples(NamedTuple):
    """Profiles across vessels, M of them, each of SAMPLES places."""

    at: np.ndarray  # int (M,), the point of its segment
    offsets: np.ndarray  # float (M, SAMPLES), pixels from the centre line
    values: np.ndarray  # float (M, SAMPLES), green
    weights: np.ndarray  # float (M, SAMPLES), 0 where something else lies
    drawn: np.ndarray  # float (M,), the width as drawn, pixels


def measure_profiles(
    green: np.ndarray,
    vessels: np.ndarray,
    field_of_view: np.ndarray,
    segments: Sequence[Segment],
    blur: float | None = None,
) -> list[Profile]:
    """Widths along the centre lines of a photograph, as this file's docstring says.

    Args:
        green: array of shape (H, W), the photograph's green channel, any scale.
        vessels: bool array of shape (H, W), from which the segments come.
        field_of_view: bool array of shape (H, W).
        segments: their `points` and, as drawn, `widths`.
        blur: of the photograph, pixels, where the segments are a part of its own; None:
            it is found.

    Returns:
        A `Profile` for each segment.
    """
    if not segments:
        return []
    smooth = ndimage.spline_filter(np.asarray(green, np.float32), output=np.float32)
    near_vessels = ndimage.binary_dilation(vessels, NEIGHBOURS)
    ground = np.where(field_of_view, np.uint8(VESSEL) * near_vessels, OFF_FIELD)
    parts = [sample_segment(smooth, ground, segment) for segment in segments]
    samples = Samples(*map(np.concatenate, zip(*parts, strict=True)))
    blur = blur or find_blur(samples)
    found, off = fit_slabs(samples, blur)
    darkest = LEAST_LEVEL * float(np.median(green[field_of_view]))
    causes = judge(samples, found, off, darkest)
    ends = np.cumsum([len(part.at) for part in parts])[:-1]
    fitted = zip(np.split(found[:, 4], ends), np.split(causes, ends), strict=True)
    return [
        make_profile(segment, part.at, *fit, blur)
        for segment, part, fit in zip(segments, parts, fitted, strict=True)
    ]


def sample_segment(smooth: np.ndarray, ground: np.ndarray, line: Segment) -> Samples:
    """Profiles across a segment, averaged along it; none where it is drawn thin.

    Args:
        smooth: float32 array of shape (H, W), spline coefficients of the green channel.
        ground: int array of shape (H, W), VESSEL, OFF_FIELD or 0.
    """
    clear = np.flatnonzero(~np.isnan(line.widths))
    typical = float(np.median(line.widths[clear])) if len(clear) else 0.0
    if typical < THINNEST_DRAWN:
        none = np.empty((0, SAMPLES))
        return Samples(clear[:0], none, none, none, none[:, 0])
    deviation = max(ALONG[0], ALONG[1] * typical)
    at = clear[:: max(1, round(deviation / STEPS_PER_DEVIATION))]
    offsets = np.linspace(-1, 1, SAMPLES) * (REACH[0] + REACH[1] * typical)
    places = line.points[at, None] + offsets[:, None] * normals(line.points)[at, None]
    places = places.transpose(2, 0, 1)  # (2, M, SAMPLES)
    values = ndimage.map_coordinates(smooth, places, prefilter=False, mode="nearest")
    row, column = np.round(places).astype(int)
    below = ndimage.map_coordinates(ground, (row, column), order=0, cval=OFF_FIELD)
    own = np.abs(offsets) <= line.widths[at, None] / 2 + OWN_EDGE
    off = (below == OFF_FIELD) | ((below == VESSEL) & ~own)
    middle = SAMPLES // 2
    for half in (off[:, middle:], off[:, middle::-1]):  # and what lies beyond that
        np.logical_or.accumulate(half, axis=1, out=half)
    kept = np.s_[len(at) // 2 % STEPS_PER_DEVIATION :: STEPS_PER_DEVIATION]
    weights, sums, most = (
        ndimage.gaussian_filter1d(
            array.astype(float), STEPS_PER_DEVIATION, axis=0, mode="constant"
        )[kept]
        for array in (~off, np.where(off, 0, values), np.ones_like(values))
    )
    at = at[kept]
    return Samples(
        at=at,
        offsets=np.broadcast_to(offsets, sums.shape),
        values=sums / np.maximum(weights, 1e-9),
        weights=np.where(weights > LEAST_KNOWN * most, weights / most, 0),
        drawn=line.widths[at],
    )


def normals(points: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 2) across a line of points (N, 2)."""
    even = ndimage.gaussian_filter1d(points, 2.0, axis=0, mode="nearest")
    along = np.gradient(even, axis=0) if len(points) > 1 else np.ones((1, 2))
    across = along[:, ::-1] * (-1, 1)
    return across / np.maximum(np.hypot(*across.T), 1e-9)[:, None]


# ---- fits


def find_blur(samples: Samples) -> float:
    """The blur of a photograph, pixels: the median over its wide vessels."""
    if not len(samples.at):
        return 1.0
    wide = np.flatnonzero(samples.drawn >= np.percentile(samples.drawn, WIDE))
    some = wide[:: math.ceil(len(wide) / MOST_FREE_FITS)]
    found, _ = fit_slabs(Samples(*(part[some] for part in samples)), None)
    sane = ~is_astray(found, samples.drawn[some])
    return float(np.exp(np.median(found[sane, 5]))) if sane.any() else 1.0


def is_astray(found: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Which fits (M,) found no vessel, or one far from what was drawn."""
    _, _, depth, centre, width, _ = found.T
    plausible = (width > PLAUSIBLE[0] * drawn) & (width < PLAUSIBLE[1] * drawn)
    return ~plausible | (depth <= 0) | (np.abs(centre) > drawn)


def fit_slabs(samples: Samples, blur: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Fits a blurred slab to each profile (Levenberg 1944, Marquardt 1963).

    Args:
        samples: M profiles.
        blur: pixels; None: each profile has its own.

    Returns:
        What was found, float array of shape (M, 6), see `compare`; and the values less
        the fits, float array of shape (M, SAMPLES).
    """
    _, offsets, values, weights, drawn = samples
    found = first_guess(samples, blur)
    off, slopes = compare(found, offsets, values)
    cost, damping = (weights * off**2).sum(axis=1), np.full(len(drawn), 1e-2)
    for _ in range(ITERATIONS):
        if blur is not None:
            slopes[:, 5] = 0
        tried = found + damped_step(slopes, weights, off, damping)
        tried[:, 4] = np.clip(tried[:, 4], PLAUSIBLE[0] * drawn, PLAUSIBLE[1] * drawn)
        if blur is None:
            tried[:, 5] = np.clip(tried[:, 5], math.log(0.2), np.log(2 * drawn))
        new_off, new_slopes = compare(tried, offsets, values)
        new_cost = (weights * new_off**2).sum(axis=1)
        better = new_cost < cost
        found[better], cost[better] = tried[better], new_cost[better]
        off[better], slopes[better] = new_off[better], new_slopes[better]
        damping *= np.where(better, 0.2, 5)
    return found, off


def first_guess(samples: Samples, blur: float | None) -> np.ndarray:
    """What a fit begins with (M, 6): the width is the vessel's area over its depth."""
    _, offsets, values, weights, drawn = samples
    away = np.abs(offsets) / drawn[:, None]
    level = weighted_mean(values, weights * (away > 0.75))
    depth = level - weighted_mean(values, weights * (away < 0.25))
    area = ((level[:, None] - values) * (away < 1)).sum(axis=1)
    width = area * (offsets[:, 1] - offsets[:, 0]) / np.maximum(depth, 1e-9)
    width = np.clip(width, 0.5 * drawn, 2 * drawn)
    start = np.full(len(drawn), blur) if blur else np.maximum(0.12 * drawn, 0.7)
    none = np.zeros(len(drawn))
    return np.stack([level, none, depth, none, width, np.log(start)], axis=1)


def compare(
    found: np.ndarray, offsets: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values less blurred slabs (M, SAMPLES), and the slabs' derivatives.

    Args:
        found: float array of shape (M, 6): level, slope, depth, centre, width and the
            logarithm of the blur.
        offsets: float array of shape (M, SAMPLES), pixels.
        values: float array of shape (M, SAMPLES).

    Returns:
        Float arrays of shape (M, SAMPLES) and (M, 6, SAMPLES).
    """
    level, slope, depth, centre, width, blur = found.T[:, :, None]
    blur = np.exp(blur)
    spread = np.hypot(blur, ROUND_SHOULDERS * width)
    near = (offsets - centre + width / 2) / spread
    far = (offsets - centre - width / 2) / spread
    slab = special.ndtr(near) - special.ndtr(far)
    near_edge, far_edge = (
        np.exp(-(edge**2) / 2) / (math.sqrt(math.tau) * spread) for edge in (near, far)
    )
    softer = (far * far_edge - near * near_edge) * depth  # the slab's by the spread
    slopes = [
        np.ones_like(offsets),
        offsets,
        -slab,
        depth * (near_edge - far_edge),
        -depth * (near_edge + far_edge) / 2
        - softer * ROUND_SHOULDERS**2 * width / spread,
        -softer * blur**2 / spread,
    ]
    off = values - (level + slope * offsets - depth * slab)
    return off, np.stack(slopes, axis=1)


def damped_step(
    slopes: np.ndarray, weights: np.ndarray, off: np.ndarray, damping: np.ndarray
) -> np.ndarray:
    """The step (M, 6) of Levenberg and Marquardt, each with its damping (M,)."""
    weighted = slopes * weights[:, None]
    normal = weighted @ slopes.transpose(0, 2, 1)
    size = np.einsum("mii->mi", normal)
    size += damping[:, None] * size + 1e-9  # in place, on the diagonal
    return np.linalg.solve(normal, weighted @ off[..., None])[..., 0]


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of each row (M,), 0 where nothing has weight."""
    return (values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)


# ---- what counts


def judge(
    samples: Samples, found: np.ndarray, off: np.ndarray, darkest: float
) -> np.ndarray:
    """The cause (M,) why a fit does not count, MEASURED where it does.

    Args:
        samples: M profiles.
        found, off: from `fit_slabs`.
        darkest: the level from which a place is not dark, green.
    """
    _, offsets, _, weights, drawn = samples
    level, _, depth, centre, width, _ = found.T
    beyond = drawn[:, None] / 2 + 1
    seen = [weighted_mean(weights, side * offsets > beyond) for side in (-1, 1)]
    middle = np.abs(offsets - centre[:, None]) < REFLEX[0] * width[:, None]
    misfit = np.sqrt(weighted_mean(off**2, weights))
    reasons = {
        CLOSE: np.minimum(*seen) < LEAST_SEEN,
        DARK: level < darkest,
        REFLECTING: weighted_mean(off, weights * middle) > REFLEX[1] * depth,
        FAINT: (misfit > MOST_MISFIT * depth) | is_astray(found, drawn),
    }
    return np.select(list(reasons.values()), list(reasons), MEASURED)


def make_profile(
    line: Segment, at: np.ndarray, widths: np.ndarray, causes: np.ndarray, blur: float
) -> Profile:
    """The profile of a segment, each of whose points takes after the nearest fit.

    Args:
        line: the segment, of N points.
        at: int array of shape (M,), the points that were fitted.
        widths: float array of shape (M,), pixels.
        causes: int array of shape (M,), from `judge`.
        blur: of the photograph, pixels.
    """
    known = causes == MEASURED
    least = max(LEAST_WIDTH[0], LEAST_WIDTH[1] * blur)
    typical = float(np.median(widths[known])) if known.any() else least
    if not len(at) or typical < least:
        at, widths, causes = np.zeros(1, int), np.full(1, np.nan), np.full(1, THIN)
    uneven = np.abs(np.log(widths / typical)) > math.log(EVEN)
    causes = np.where((causes == MEASURED) & uneven, FAINT, causes)
    nearest = np.searchsorted((at[1:] + at[:-1]) / 2, np.arange(len(line.points)))
    causes = np.where(np.isnan(line.widths), CLOSE, causes[nearest])
    return Profile(np.where(causes == MEASURED, widths[nearest], np.nan), causes, blur)


def summarise_profiles(
    profiles: Sequence[Profile] | str,
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Mean width and the share of the length that it is of (see UNITS), and reasons.

    Args:
        profiles: or why there are none.
    """
    if isinstance(profiles, str) or not profiles:
        return dict.fromkeys(UNITS), dict.fromkeys(UNITS, profiles or "no vessels")
    widths = np.concatenate([profile.widths for profile in profiles])
    causes = np.concatenate([profile.causes for profile in profiles])
    share = float(np.mean(causes == MEASURED))
    if share:
        return {"profile_width": np.nanmean(widths), "profile_share": share}, {}
    why = CAUSES[int(np.bincount(causes).argmax())]
    return {"profile_width": None, "profile_share": share}, {"profile_width": why}
