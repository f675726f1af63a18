"""Tiles full images into probability maps: 16-bit grey PNGs, value / 65535.

    python predict.py                           # newest model, DRIVE's test folder
    python predict.py --split held-out          # what the model never learnt from
    python predict.py photo.jpg folder/ --overlay          # any photographs, any size
    python predict.py photo.jpg --model models/NAME.keras  # cheap: one photograph

Writes output/MODEL/PHOTOGRAPH.png, and predictions.csv with a row a map. A photograph
is resampled so that its vessels are as wide as those that the network learnt, and its
map is resampled back; outside the field of view the map is 0. While the network is at
one photograph, the next is read and the last is written.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import datasets
import networks
import report
import tiling
from field_of_view import (
    LEAST_VESSELS,
    NO_VESSELS,
    FieldOfView,
    estimate_field_of_view,
    full_scale,
    given_field_of_view,
    measure_vessels,
    quality_notes,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

AHEAD = 1  # photographs: read before the network wants them, waiting to be written
OVERLAY_COLOUR = (26, 255, 76)  # no fundus is green
FIELD_DIAMETER = 540.0  # pixels: in DRIVE, where no record says what a model learnt
# Photographs whose field fits to this share are not resampled: it would only blur.
SCALE_TOLERANCE = 0.05
THUMBNAIL = 240  # pixels, the longer side in the contact sheet
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
        pixels: as `datasets.read_pixels` reads them; None when they are done with.
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


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.tile_batch < 1:
        parser.error(f"--tile-batch must be 1 or more, got {args.tile_batch}")
    try:
        tiling.check_tiles(args.tile_side, args.tile_overlap)
    except ValueError as error:
        parser.error(str(error))
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Tiles full images into probability maps.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, help="photographs and folders; none: --split")
    add("--model", type=Path, help="a .keras file; None: the newest in models/")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    splits = ("test", "training", "held-out")
    held_out = "of --data; held-out: what the model was not fitted on"
    add("--split", choices=splits, default="test", help=held_out)
    fields = "FOLDER of black-and-white pictures; None: the data set's, or estimated"
    add("--field-of-view", type=Path, metavar="FOLDER", help=fields)
    scale = "resample by this; None: so that the field is as wide as the model's"
    add("--scale", type=_scale, help=scale)
    add("--tta", action="store_true", help="average 8 flips and turns: 8 x the time")
    precision = "of the network; bfloat16 is faster where processors have it"
    choices = ("float32", "bfloat16")
    add("--precision", choices=choices, default="float32", help=precision)

    add = parser.add_argument_group("output").add_argument
    add("--output", type=Path, help="folder to write to; None: output/MODEL")
    overlay = "draw the vessels over the photographs, and a contact sheet index.html"
    add("--overlay", action="store_true", help=overlay)
    vessels = "write black-and-white pictures of the vessels at the model's threshold"
    add("--vessels", action="store_true", help=vessels)

    add = parser.add_argument_group("tiles").add_argument
    side = "of the largest tile, pixels, a multiple of 32: bounds memory"
    add("--tile-side", type=int, default=640, help=side)
    add("--tile-overlap", type=int, default=64, help="pixels, a multiple of 32")
    add("--tile-batch", type=int, default=1, help="tiles at a time, for a GPU")
    return parser


def _scale(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected 0.01 to 100, got {text}")
    return number


def find_photographs(args: argparse.Namespace, record: dict) -> list[Photograph]:
    """Lists what to predict: the paths given, else a split of the data set."""
    if args.paths:
        return name_photographs(list_files(args.paths))
    folder_split = "test" if args.split == "test" else "training"
    cases = datasets.list_cases(args.data, folder_split)
    if args.split == "held-out":
        held_out = set(record.get("validation_cases", {}).values())
        cases = [c for c in cases if datasets.fingerprint(c.image) in held_out]
        if not cases:
            raise datasets.InputError(
                f"expected photographs in {args.data} that the model held out, found "
                "none: train with --validation N or --folds K --fold I"
            )
    return [Photograph(case.name, case.image, case) for case in cases]


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders as the pictures that they hold."""
    files = []
    for path in paths:
        if not path.exists():
            raise datasets.InputError(
                f"expected a photograph or a folder at {path}, found neither: check "
                "the path"
            )
        if not path.is_dir():
            files.append(path)
            continue
        pictures = sorted(
            p for p in path.iterdir() if p.suffix.lower() in datasets.ENDINGS
        )
        if not pictures:
            raise datasets.InputError(
                f"expected photographs in {path} ({' '.join(datasets.ENDINGS)}), "
                "found none"
            )
        files += pictures
    return files


def name_photographs(files: Sequence[Path]) -> list[Photograph]:
    """Names each map after its photograph's stem, or whole name if stems collide."""
    stems = Counter(path.stem for path in files)
    photographs = [
        Photograph(path.stem if stems[path.stem] == 1 else path.name, path)
        for path in files
    ]
    name, count = Counter(p.name for p in photographs).most_common(1)[0]
    if count > 1:
        raise datasets.InputError(
            f"expected photographs of different names, received {count} called {name}: "
            "predict their folders one by one, each with its own --output"
        )
    return photographs


def load_network(
    path: Path, precision: str = "float32"
) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a model as a function of tiles (N, S, T, 3) to maps (N, S, T, 1)."""
    import unet

    model = networks.load(path)
    if precision == "bfloat16":
        model = unet.in_bfloat16(model)
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
            raise datasets.InputError(
                f"expected the field of view of {photograph.path} in {folder}, found "
                "no file of that name: add it, or leave --field-of-view away"
            )
    if path is None:
        return estimate_field_of_view(pixels)
    inside = datasets.read_binary(path)
    if inside.shape != pixels.shape[:2] or not inside.any():
        raise datasets.InputError(
            f"expected {pixels.shape[1]} x {pixels.shape[0]} pixels, some of them "
            f"white, in {path}, as in {photograph.path}, received {inside.shape[1]} x "
            f"{inside.shape[0]}, {inside.sum()} white: replace it"
        )
    return given_field_of_view(inside)


def find_scale(field: FieldOfView, learnt_diameter: float) -> float:
    """By how much to resample a photograph, so that its field has `learnt_diameter`."""
    scale = learnt_diameter / field.diameter
    if not field.round:  # the true field is larger than what is seen of it
        scale = min(1.0, scale)
    return 1.0 if abs(scale - 1) < SCALE_TOLERANCE else scale


def read_photograph(
    photograph: Photograph, record: dict, args: argparse.Namespace
) -> Shown:
    """Reads a photograph, finds its field of view and its scale, and judges it."""
    began = time.perf_counter()
    pixels = datasets.read_pixels(photograph.path)
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
    datasets.write_probability(args.output / f"{name}.png", probability)
    threshold = record.get("threshold", 0.5)
    write_pictures(mapped, threshold, args)
    notes = list(shown.notes)
    if measure_vessels(probability, shown.field) < LEAST_VESSELS:
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
        with datasets.whole_file(path) as part:
            Image.fromarray(mapped.probability >= threshold).save(part)
    if args.overlay:
        path = args.output / "overlays" / f"{name}.jpg"
        vessels = mapped.probability >= threshold
        with datasets.whole_file(path) as part:
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


def in_background(step: Callable, values: Iterable) -> Iterator:
    """Yields `step(value)` of each value in order, worked out by a thread.

    The thread is `AHEAD` values in front of whoever takes them, never more.
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


def unless_failed(step: Callable, *rest: object) -> Callable:
    """`step(value, *rest)`; an InputError becomes the value, and passes later steps."""

    def run(value):
        if isinstance(value, datasets.InputError):
            return value
        try:
            return step(value, *rest)
        except datasets.InputError as error:
            return error

    return run


def predict_all(
    network: Callable,
    photographs: Sequence[Photograph],
    record: dict,
    args: argparse.Namespace,
) -> list[str]:
    """Predicts all photographs, and notes them. Returns a sentence on each failure."""
    import keras

    rows: dict[str, dict[str, object]] = {}
    if (args.output / "predictions.csv").is_file():  # other folds' maps, say
        rows.update(datasets.read_predictions(args.output))
    failures: list[str] = []
    verbose = 1 if sys.stdout.isatty() else 2
    bar = keras.utils.Progbar(len(photographs), unit_name="photo", verbose=verbose)

    def write(mapped: Mapped) -> None:
        row = write_photograph(mapped, record, args)
        rows[row["name"]] = row  # here, so that what is written is noted, come what may

    shown = in_background(unless_failed(read_photograph, record, args), photographs)
    mapped = map(unless_failed(partial(predict_photograph, network), args), shown)
    written = in_background(unless_failed(write), mapped)
    try:
        with closing(shown), closing(written):
            for failure in written:
                if failure:
                    failures.append(str(failure))
                bar.add(1)
    finally:  # what is done is noted, also when the rest is cut short
        datasets.write_predictions(args.output, rows)
    return failures


def contacts(folder: Path) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Name, note, path and thumbnail of every overlay in `folder`, one at a time."""
    for name, row in datasets.read_predictions(folder).items():
        path = Path("overlays") / f"{name}.jpg"
        if (folder / path).is_file():
            with Image.open(folder / path) as overlay:
                overlay.thumbnail((THUMBNAIL, THUMBNAIL))
                yield name, row["note"], path.as_posix(), overlay


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.model = args.model or networks.newest()
    args.output = args.output or Path("output") / args.model.stem
    record = networks.read_record(args.model)
    photographs = find_photographs(args, record)
    print(f"{args.model}: {len(photographs)} photographs")
    datasets.require_writable(args.output)
    network = load_network(args.model, args.precision)
    failures = predict_all(network, photographs, record, args)
    if args.overlay:
        report.write_contact_sheet(
            args.output / "index.html",
            title=f"Vessels in {args.output}",
            contacts=contacts(args.output),
        )
    print(f"{len(photographs) - len(failures)} maps in {args.output}")
    if failures:
        raise datasets.InputError("\n".join(["no map for:", *failures]))


if __name__ == "__main__":
    try:
        main()
    except (datasets.InputError, OSError) as error:
        sys.exit(f"predict.py: {error}")
