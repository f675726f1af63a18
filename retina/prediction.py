"""Photographs, from their files to maps and rows: for every command that predicts.

network = load_network(Path("models/vessels.keras"), options.precision)
shown = read_photograph(Photograph("eye", Path("eye.jpg")), network.record, options)
mapped = predict_photograph(network, shown, options)
row = write_photograph(Path("output/x"), mapped, network, options)
failures = predict_all(network, photographs, Path("output/x"), options, done=print)
"""

from __future__ import annotations

import argparse
import errno
import glob
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from retina import __version__, maps, networks, tiling
from retina.commands import number
from retina.field_of_view import (
    FieldOfView,
    bounding_box,
    estimate_field_of_view,
    read_field,
    widen,
)
from retina.files import InputError, explain_failure
from retina.identity import Identity, identify
from retina.maps import Row
from retina.pictures import full_scale, read_pixels
from retina.quality import map_notes, quality_notes
from retina.report import as_picture
from retina.resolution import (
    SCALES,
    Camera,
    find_scale,
    is_clearer,
    read_camera,
    scale_by_hand,
)

OVERLAY_COLOUR = (26, 255, 76)  # green stands out on a fundus
AHEAD = 1  # photographs: read before the network wants them, waiting to be written
# Errors of a file system that concern every photograph, not one.
FATAL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
UNCERTAIN = (0.1, 0.9)  # probabilities between these count as uncertain
# What a network may return: resampled photographs lie a little outside of 0..1, and
# their maps may, too.
PROBABILITIES = (-0.1, 1.1)
SCALE = number(
    float,
    f"{SCALES[0]:g} to {SCALES[1]:g}",
    lambda value: SCALES[0] <= value <= SCALES[1],
)
DIAMETER = number(float, "16 to 10000", lambda value: 16 <= value <= 10_000)
BITS = number(int, "8 to 16", lambda value: 8 <= value <= 16)


@dataclass(frozen=True)
class Options:
    """How photographs are predicted."""

    # At most one of these three; without, the field is shown as wide as those that
    # the network learnt.
    scale: float | None = None  # by which photographs are resampled
    shown_diameter: float | None = None  # pixels, how wide the network sees a field
    camera: Camera | None = None  # the setting for all photographs of one camera
    views: int = 1  # or 8 flips and turns, which are averaged
    precision: str = "float32"  # of the network, or `bfloat16`
    bits: int | None = None  # of a value in 16-bit files, where a camera fills fewer
    tile_side: int = 640  # pixels, a multiple of 32
    tile_overlap: int = 64  # likewise
    tile_batch: int = 1  # tiles at a time
    # Of black-and-white pictures, the fields of view, named as the photographs; None:
    # the data set's, or estimated.
    field_folder: Path | None = None
    vessels: bool = False  # write black-and-white pictures of the vessels
    overlay: bool = False  # draw them over the photographs


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds to a command what `read_options` reads, and --model."""
    add = parser.add_argument
    model = "a .keras or .onnx file; default: the one in models/ finished last"
    add("--model", type=Path, help=model)
    scales = parser.add_argument_group(
        "scale; default: a field as wide as those that the network learnt"
    ).add_mutually_exclusive_group()
    camera = "of one camera: what check.py --camera wrote"
    scales.add_argument("--camera", type=Path, metavar="FILE.json", help=camera)
    shown = "pixels, how wide the network sees a round field; DRIVE's is 540"
    scales.add_argument("--shown-diameter", type=DIAMETER, metavar="PIXELS", help=shown)
    scale = "scale factor, also without a round field"
    scales.add_argument("--scale", type=SCALE, help=scale)
    views = "average 8 flips and turns; takes 5.7 times as long"
    add("--tta", action="store_true", help=views)
    bits = "8 to 16, of values in files of 16 bits, where a camera fills fewer"
    add("--bits", type=BITS, help=bits)


def read_options(args: argparse.Namespace, **others: object) -> Options:
    """The options of a command line, as far as it has them, and others.

    Raises:
        InputError: the camera's file is none.
    """
    names = {each.name for each in fields(Options)}
    given = {name: value for name, value in vars(args).items() if name in names}
    given["camera"] = args.camera and read_camera(args.camera)
    given["views"] = 8 if args.tta else 1
    return Options(**given, **others)


@dataclass(frozen=True)
class Photograph:
    """What there is to predict: the name of its map, its file, its field if known."""

    name: str
    path: Path
    field_of_view: Path | None = None


@dataclass(frozen=True)
class Shown:
    """A photograph that was read, and how the network is to see it."""

    photograph: Photograph
    identity: Identity
    pixels: np.ndarray | None  # as `read_pixels` reads them; None: needed no more
    field: FieldOfView
    field_from: str  # one of `maps.FIELDS_FROM`
    scale: float  # by which the network sees it resampled
    scale_from: str  # one of `maps.SCALES_FROM`
    bits: int  # of a value in its file that count
    notes: list[str]  # what is wrong with it
    seconds: float  # that all this took


@dataclass(frozen=True)
class Mapped:
    """A photograph with its probability map (H, W)."""

    shown: Shown
    probability: np.ndarray
    seconds: float


def load_network(
    path: Path, precision: str = "float32", camera: Camera | None = None
) -> networks.Network:
    """The network in `path`, computing in `precision`.

    Raises:
        InputError: it cannot be loaded, or is an ONNX network, which is float32, or
            the camera's setting is for another network.
    """
    if precision != "float32" and path.suffix == ".onnx":
        raise InputError(
            f"expected --precision float32 with {path}, received {precision}: leave it "
            "out, or take the .keras file"
        )
    network = networks.load(path)
    if camera:
        camera.require_network(network.sha256)
    if precision == "bfloat16":
        return replace(network, model=networks.in_bfloat16(network.model))
    return network


# ---- read


def read_photograph(
    photograph: Photograph, record: networks.Record, options: Options
) -> Shown:
    """Reads a photograph, finds its field of view and its scale, and judges it.

    Raises:
        InputError: photograph or field of view cannot be read, or do not fit.
    """
    began = time.perf_counter()
    pixels = read_pixels(photograph.path)
    identity = identify(photograph.path, pixels)
    if options.bits:
        del pixels  # both at a time would take much memory
        pixels = read_pixels(photograph.path, options.bits)
    field, field_from = find_field(photograph, pixels, options.field_folder)
    scale, scale_from = choose_scale(photograph, field, record, options)
    return Shown(
        photograph=photograph,
        identity=identity,
        pixels=pixels,
        field=field,
        field_from=field_from,
        scale=scale,
        scale_from=scale_from,
        bits=find_bits(pixels, options.bits),
        notes=quality_notes(pixels, field),
        seconds=time.perf_counter() - began,
    )


def choose_scale(
    photograph: Photograph,
    field: FieldOfView,
    record: networks.Record,
    options: Options,
) -> tuple[float, str]:
    """The scale of a photograph, and which of `maps.SCALES_FROM` it is from.

    Raises:
        InputError: the options ask for a round field or a camera that it has not.
    """
    if options.scale:
        return options.scale, "given"
    if options.shown_diameter:
        scale = scale_by_hand(field, options.shown_diameter, photograph.path)
        return scale, "shown diameter"
    if options.camera:
        options.camera.require_photograph(photograph.path, field)
        return options.camera.scale, "camera"
    automatic = "field of view" if field.round else "no round field"
    return find_scale(field, record.field_diameter), automatic


def find_bits(pixels: np.ndarray, bits: int | None) -> int:
    """Bits of a value that count, of pixels that were read with these `bits`."""
    return 8 if pixels.dtype == np.uint8 else bits or 16


def find_field(
    photograph: Photograph, pixels: np.ndarray, folder: Path | None
) -> tuple[FieldOfView, str]:
    """The field of view, and which of `maps.FIELDS_FROM` it is from.

    What is inside is given, in `folder` or by the data set, or estimated. Diameter and
    centre are always estimated: a field that is given may be a part of the true one,
    which would make the scale wrong.
    """
    seen = estimate_field_of_view(pixels)
    path = given_field(photograph, folder)
    if path is None:
        return seen, "estimated" if seen.round else "whole photograph"
    inside = read_field(path, photograph.path, pixels)
    return replace(seen, inside=inside), "given" if folder else "data set"


def given_field(photograph: Photograph, folder: Path | None) -> Path | None:
    """The file of the field of view in `folder`, or the data set's, or None.

    Raises:
        InputError: `folder` has none for this photograph.
    """
    if folder is None:
        return photograph.field_of_view
    pattern = f"{glob.escape(photograph.path.stem)}.*"
    path = next(iter(sorted(folder.glob(pattern))), None)
    if path is None:
        raise InputError(
            f"expected the field of view of {photograph.path} in {folder}, found no "
            "file of that name: add it, or leave out --field-of-view"
        )
    return path


def require_ordinary(path: Path) -> None:
    """Raises an InputError unless `path` is a file: reading a pipe may never end."""
    if not path.is_file():
        raise InputError(
            f"expected a photograph in {path}, found no ordinary file: check the path"
        )


# ---- predict


def predict_photograph(
    network: networks.Network, shown: Shown, options: Options
) -> Mapped:
    """The probability map of a photograph.

    It is 0 outside a field of view that is given. Around one that was estimated a rim
    is kept, as far as the tiles reach, since the estimate may be too small.
    """
    began = time.perf_counter()
    is_given = shown.field_from in ("data set", "given")
    kept = shown.field.inside if is_given else widen(shown.field)
    scale, small = predict_scales(network, shown, options)
    if scale != shown.scale:
        shown = replace(shown, scale=scale, scale_from="uncertainty")
    probability = tiling.show_back(small, *shown.pixels.shape[:2])
    probability *= kept
    if not options.overlay:
        shown = replace(shown, pixels=None)
    return Mapped(shown, probability, time.perf_counter() - began)


def predict_scales(
    network: networks.Network, shown: Shown, options: Options
) -> tuple[float, list[np.ndarray]]:
    """The scale of a photograph, and its maps at that scale times each factor.

    A scale that was guessed is made finer while the finest map is clearly more certain
    than the next one; but the photograph is never enlarged.
    """
    factors = network.record.factors
    at = partial(predict_at, network, shown.pixels, shown.field, options)
    scale, small = shown.scale, [at(shown.scale * factor) for factor in factors]
    if len(factors) == 1 or shown.scale_from not in maps.FIRST_GUESSES:
        return scale, small
    step = factors[-1] / factors[-2]
    while scale * factors[-1] * step <= 1 and is_clearer(small[-1], small[-2], step):
        scale *= step
        small = [*small[1:], at(scale * factors[-1])]
    return scale, small


def predict_at(
    network: networks.Network,
    pixels: np.ndarray,
    field: FieldOfView,
    options: Options,
    scale: float,
) -> np.ndarray:
    """The map (h, w) of pixels (H, W, 3) at a scale; 0 where no tile reaches that is
    laid over their field."""
    white = full_scale(pixels)

    def checked(tiles: np.ndarray) -> np.ndarray:
        said = network.model.predict_on_batch(tiles)
        require_probabilities(said, tiles)
        return said

    views = partial(tiling.predict_views, checked) if options.views == 8 else checked
    area = (round(place * scale) for place in bounding_box(field.inside))
    return tiling.predict_tiled(
        lambda tiles: views(np.divide(tiles, white, dtype=np.float32)),
        tiling.show(pixels, scale),
        area=tuple(area),
        tile_side=options.tile_side,
        overlap=options.tile_overlap,
        batch_size=options.tile_batch,
    )


def require_probabilities(said: np.ndarray, tiles: np.ndarray) -> None:
    """Raises an InputError unless a network returned a probability for each pixel."""
    shape = (*tiles.shape[:3], 1)
    low, high = PROBABILITIES
    if np.shape(said) != shape:
        received = f"the shape {np.shape(said)}"
    elif not np.isfinite(said).all():
        received = "numbers that are not finite"
    elif np.min(said) < low or np.max(said) > high:
        received = f"{np.min(said):.3g} to {np.max(said):.3g}"
    else:
        return
    raise InputError(
        f"expected probabilities, 0 to 1, of shape {shape} from the network, received "
        f"{received}: use a network that train.py made"
    )


# ---- write


def write_photograph(
    folder: Path, mapped: Mapped, network: networks.Network, options: Options
) -> Row:
    """Writes map, field and pictures of one photograph into `folder`. Returns its row.

    Raises:
        OSError: it cannot be written.
    """
    began = time.perf_counter()
    pictures = draw_pictures(mapped, network.record.threshold.value, options)
    inside = mapped.shown.field.inside
    row = make_row(mapped, network, options)
    seconds = mapped.shown.seconds + mapped.seconds + time.perf_counter() - began
    row = replace(row, seconds=seconds)
    return maps.write_map(folder, row, mapped.probability, inside, **pictures)


def make_row(mapped: Mapped, network: networks.Network, options: Options) -> Row:
    """The row of a map, but for the hashes of files and the seconds."""
    shown, probability, record = mapped.shown, mapped.probability, network.record
    height, width = probability.shape
    diameter = shown.field.diameter if shown.field.round else None
    notes = [*shown.notes, *map_notes(probability, shown.field)]
    return Row(
        name=shown.photograph.name,
        photograph=str(shown.photograph.path),
        photograph_sha256=shown.identity.file_sha256,
        pixels_sha256=shown.identity.pixels_sha256,
        network=str(network.path),
        network_sha256=network.sha256,
        family=record.family,
        role=networks.role_of(shown.identity, record),
        likely_copies="; ".join(networks.likely_copies(shown.identity, record)),
        epoch=record.epoch_chosen,
        threshold=record.threshold.value,
        threshold_source=threshold_source(record, options.views),
        field_from=shown.field_from,
        bits=shown.bits,
        height=height,
        width=width,
        field_diameter=diameter and round(diameter, 1),
        shown_diameter=round(shown.scale * diameter, 1) if diameter else None,
        scale=shown.scale,
        factors=record.joined_factors,
        scale_from=shown.scale_from,
        scale_file=options.camera.file if options.camera else "",
        views=options.views,
        precision=options.precision,
        tile_side=options.tile_side,
        tile_overlap=options.tile_overlap,
        **measure_map(probability[shown.field.inside]),
        note="; ".join(notes),
        version=__version__,
    )


def threshold_source(record: networks.Record, views: int) -> str:
    """How the threshold was found, in words; also if it was with other views."""
    threshold = record.threshold
    if threshold.source in ("not measured", "unknown") or threshold.views == views:
        return str(threshold)
    measured = "one view" if threshold.views == 1 else f"{threshold.views} views"
    return f"{threshold}; measured with {measured}, used with {views}"


def measure_map(inside: np.ndarray) -> dict[str, float]:
    """Two columns on a map, of its probabilities inside the field (N,)."""
    low, high = UNCERTAIN
    mean = inside.mean(dtype=np.float64)
    return {
        "mean_probability": round(float(np.clip(mean, 0, 1)), 5),
        "uncertain": round(np.mean((inside > low) & (inside < high)), 5),
    }


def draw_pictures(
    mapped: Mapped, threshold: float, options: Options
) -> dict[str, Image.Image]:
    """Draws the pictures of the vessels that were asked for."""
    pictures = {}
    vessels = maps.cut_map(mapped.probability, threshold)
    if options.vessels:
        pictures["vessels"] = Image.fromarray(vessels)
    if options.overlay:
        pictures["overlay"] = draw_overlay(mapped.shown.pixels, vessels)
    return pictures


def draw_overlay(pixels: np.ndarray, vessels: np.ndarray) -> Image.Image:
    """Draws the vessels (H, W) half transparent over the photograph (H, W, 3)."""
    drawn = np.array(as_picture(pixels))
    colour = np.array(OVERLAY_COLOUR, np.uint16)
    drawn[vessels] = (drawn[vessels] + colour) // 2
    return Image.fromarray(drawn)


# ---- many


def in_background(step: Callable, values: Iterable) -> Iterator:
    """Yields `step(value)` of each value in order, computed in a thread.

    The thread is at most `AHEAD` values ahead.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque()
        for value in values:
            waiting.append(thread.submit(step, value))
            del value  # it may be large
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def unless_failed(step: Callable) -> Callable:
    """`step`, a function of one value, which returns its errors.

    Later steps pass them on; one that concerns every photograph is raised.
    """

    def run(value: object) -> object:
        if isinstance(value, Exception):
            return value
        try:
            return step(value)
        except Exception as error:  # damaged files bring about any
            if isinstance(error, OSError) and error.errno in FATAL:
                raise
            return error

    return run


def predict_each(
    network: networks.Network,
    photographs: Sequence[Photograph],
    folder: Path,
    options: Options,
) -> Iterator[Row | Exception]:
    """The row of each photograph, or what went wrong. While the network works on one,
    the next is read and the one before is written."""

    def write(mapped: Mapped) -> Row:
        if not folder.is_dir():  # which would be made again
            raise OSError(errno.EROFS, "the folder is gone")
        return write_photograph(folder, mapped, network, options)

    read = partial(read_photograph, record=network.record, options=options)
    predict = partial(predict_photograph, network, options=options)
    shown = in_background(unless_failed(read), photographs)
    written = in_background(unless_failed(write), map(unless_failed(predict), shown))
    with closing(shown), closing(written):
        yield from written


def predict_all(
    network: networks.Network,
    photographs: Sequence[Photograph],
    folder: Path,
    options: Options,
    done: Callable[[], object],
) -> list[str]:
    """Predicts photographs, and writes each map and its row at once.

    Args:
        done: is called after each.

    Returns:
        A sentence on each that failed.

    Raises:
        InputError: nothing more can be written into `folder`.
    """
    failures = []
    try:
        with closing(predict_each(network, photographs, folder, options)) as rows:
            for photograph, row in zip(photographs, rows, strict=True):
                if isinstance(row, Exception):
                    what = f"predict {photograph.path}"
                    failures.append(explain_failure(row, what))
                done()
    except OSError as error:
        raise InputError(
            f"expected to write into {folder}, but it is refused ({error.strerror}): "
            "make room or choose another folder, and go on with --resume"
        ) from None
    finally:
        if (folder / maps.TABLE).is_file():
            maps.tidy_predictions(folder)
    return failures
