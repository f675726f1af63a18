"""One photograph, from its file to its map: what every command that predicts calls.

network = load_network("models/vessels.keras")
shown = read_photograph(Photograph("eye", Path("eye.jpg")), record, args)
mapped = predict_photograph(network, shown, args)
row = write_photograph(mapped, record, args)
"""

from __future__ import annotations

import argparse
import glob
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from retina import datasets, networks, tiling
from retina.field_of_view import (
    FieldOfView,
    estimate_field_of_view,
    given_field_of_view,
)
from retina.files import InputError, whole_file
from retina.maps import write_probability
from retina.pictures import full_scale, read_binary, read_pixels
from retina.quality import LEAST_VESSELS, NO_VESSELS, quality_notes, vessel_share
from retina.resolution import FIELD_DIAMETER, find_scale

OVERLAY_COLOUR = (26, 255, 76)  # no fundus is green
UNCERTAIN = (0.1, 0.9)  # probabilities between these count as uncertain


@dataclass(frozen=True)
class Photograph:
    """What there is to predict: a file, the name of its map, its field if known."""

    name: str
    path: Path
    case: datasets.Case | None = None


@dataclass(frozen=True)
class Shown:
    """A photograph that was read, and how the network is to see it.

    Attributes:
        photograph: where it comes from.
        pixels: as `read_pixels` reads them; None when they are done with.
        field: its field of view.
        scale: by which the network sees it resampled.
        notes: what is wrong with it.
        seconds: that all this took.
    """

    photograph: Photograph
    pixels: np.ndarray | None
    field: FieldOfView
    scale: float
    notes: list[str]
    seconds: float


@dataclass(frozen=True)
class Mapped:
    """A photograph with its probability map (H, W), 0 outside the field of view."""

    shown: Shown
    probability: np.ndarray
    seconds: float


def load_network(
    path: Path, precision: str = "float32"
) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a model as a function of tiles (N, S, T, 3) to maps (N, S, T, 1)."""
    model = networks.load(path)
    if precision == "bfloat16":
        model = networks.in_bfloat16(model)
    return model.predict_on_batch


def find_field(
    photograph: Photograph, pixels: np.ndarray, folder: Path | None
) -> FieldOfView:
    """The field of view: from `folder`, from the data set, or estimated."""
    path = photograph.case and photograph.case.field_of_view
    if folder:
        path = next(
            iter(sorted(folder.glob(f"{glob.escape(photograph.path.stem)}.*"))), None
        )
        if path is None:
            raise InputError(
                f"expected the field of view of {photograph.path} in {folder}, found "
                "no file of that name: add it, or leave --field-of-view away"
            )
    if path is None:
        return estimate_field_of_view(pixels)
    inside = read_binary(path)
    if inside.shape != pixels.shape[:2] or not inside.any():
        raise InputError(
            f"expected {pixels.shape[1]} x {pixels.shape[0]} pixels, some of them "
            f"white, in {path}, as in {photograph.path}, received {inside.shape[1]} x "
            f"{inside.shape[0]}, {inside.sum()} white: replace it"
        )
    return given_field_of_view(inside)


def read_photograph(
    photograph: Photograph, record: dict, args: argparse.Namespace
) -> Shown:
    """Reads a photograph, finds its field of view and its scale, and judges it."""
    began = time.perf_counter()
    pixels = read_pixels(photograph.path)
    field = find_field(photograph, pixels, args.field_of_view)
    scale = args.scale or find_scale(
        field, record.get("field_diameter", FIELD_DIAMETER)
    )
    notes = quality_notes(pixels, field)
    seconds = time.perf_counter() - began
    return Shown(photograph, pixels, field, scale, notes, seconds)


def predict_photograph(
    network: Callable, shown: Shown, args: argparse.Namespace
) -> Mapped:
    """The probability map of a photograph, 0 outside its field of view."""
    began = time.perf_counter()
    inside = shown.field.inside
    area = bounding_box(inside)
    probability = predict_image(network, shown.pixels, shown.scale, args, area)
    probability *= inside
    if not args.overlay:
        shown = replace(shown, pixels=None)
    return Mapped(shown, probability, time.perf_counter() - began)


def bounding_box(inside: np.ndarray) -> tiling.Area:
    """First row, last row + 1, first column, last column + 1 of what is inside."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def predict_image(
    network: Callable,
    pixels: np.ndarray,
    scale: float,
    args: argparse.Namespace,
    area: tiling.Area,
) -> np.ndarray:
    """The probability map (H, W) of pixels (H, W, 3), whatever their size and type.

    Outside `area` it may be 0.
    """
    if args.tta:
        network = partial(tiling.predict_views, network)
    white = full_scale(pixels)
    area = tuple(round(place * scale) for place in area)  # in the resampled photograph
    predict = partial(
        tiling.predict_tiled,
        lambda tiles: network(np.divide(tiles, white, dtype=np.float32)),
        area=area,
        tile_side=args.tile_side,
        overlap=args.tile_overlap,
        batch_size=args.tile_batch,
    )
    return tiling.predict_at_scale(predict, pixels, scale)


def write_photograph(
    mapped: Mapped, record: dict, args: argparse.Namespace
) -> dict[str, object]:
    """Writes the map of one photograph. Returns its row of predictions.csv."""
    began = time.perf_counter()
    shown, probability = mapped.shown, mapped.probability
    name, path = shown.photograph.name, shown.photograph.path
    write_probability(args.output / f"{name}.png", probability)
    threshold = record.get("threshold", 0.5)
    write_pictures(mapped, threshold, args)
    notes = list(shown.notes)
    if vessel_share(probability, shown.field) < LEAST_VESSELS:
        notes.append(NO_VESSELS)
    height, width = probability.shape
    row = {
        "name": name,
        "photograph": path,
        "model": args.model,
        "role": networks.role_of(path, record),
        "epoch": record.get("epoch_chosen", "unknown"),
        "threshold": threshold,
        "height": height,
        "width": width,
        "field_diameter": f"{shown.field.diameter:.1f}" if shown.field.round else "",
        "scale": f"{shown.scale:.4f}",
        "precision": args.precision,
        **describe_map(probability, np.count_nonzero(shown.field.inside)),
        "note": "; ".join(notes),
    }
    seconds = shown.seconds + mapped.seconds + time.perf_counter() - began
    return row | {"seconds": f"{seconds:.3f}"}


def write_pictures(mapped: Mapped, threshold: float, args: argparse.Namespace) -> None:
    """Writes the pictures of the vessels, where they were asked for."""
    name = mapped.shown.photograph.name
    if args.vessels:
        path = args.output / "vessels" / f"{name}.png"
        with whole_file(path) as part:
            Image.fromarray(mapped.probability >= threshold).save(part)
    if args.overlay:
        path = args.output / "overlays" / f"{name}.jpg"
        vessels = mapped.probability >= threshold
        with whole_file(path) as part:
            draw_overlay(mapped.shown.pixels, vessels).save(part, quality=90)


def describe_map(probability: np.ndarray, pixels: int) -> dict[str, str]:
    """Two columns on a map of so many `pixels` inside the field, 0 outside it."""
    low, high = UNCERTAIN
    uncertain = np.count_nonzero((probability > low) & (probability < high))
    return {
        "mean_probability": f"{probability.sum(dtype=np.float64) / pixels:.5f}",
        "uncertain": f"{uncertain / pixels:.5f}",
    }


def draw_overlay(pixels: np.ndarray, vessels: np.ndarray) -> Image.Image:
    """Draws the vessels (H, W) half transparent over the photograph (H, W, 3)."""
    drawn = np.uint8(pixels // 257) if pixels.dtype == np.uint16 else pixels.copy()
    colour = np.array(OVERLAY_COLOUR, np.uint16)
    drawn[vessels] = (drawn[vessels] + colour) // 2
    return Image.fromarray(drawn)
