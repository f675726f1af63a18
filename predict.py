"""Tiles full images into probability maps: 16-bit grey PNGs, value / 65535.

    python predict.py                           # newest model, DRIVE's test folder
    python predict.py --split held-out          # what the model never learnt from
    python predict.py photo.jpg folder/ --overlay          # any photographs, any size
    python predict.py photo.jpg --model models/NAME.keras  # cheap: one photograph

Writes output/MODEL/PHOTOGRAPH.png, and predictions.csv with a row a map. A photograph
is resampled so that its vessels are as wide as those that the network learnt, and its
map is resampled back; outside the field of view the map is 0.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import datasets
import report
import tiling
from field_of_view import (
    FieldOfView,
    estimate_field_of_view,
    given_field_of_view,
    quality_notes,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

OVERLAY_COLOUR = (0.1, 1.0, 0.3)  # no fundus is green
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

    add = parser.add_argument_group("output").add_argument
    add("--output", type=Path, help="folder to write to; None: output/MODEL")
    overlay = "draw the vessels over the photographs, and a contact sheet index.html"
    add("--overlay", action="store_true", help=overlay)
    vessels = "write black-and-white pictures of the vessels at the model's threshold"
    add("--vessels", action="store_true", help=vessels)

    add = parser.add_argument_group("tiles").add_argument
    add("--tile-side", type=int, default=352, help="pixels, a multiple of 16")
    add("--tile-overlap", type=int, default=64, help="pixels, a multiple of 32")
    add("--tile-batch", type=int, default=2, help="tiles at a time: bounds memory")
    return parser


def _scale(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected 0.01 to 100, got {text}")
    return number


def newest_model(folder: Path = Path("models")) -> Path:
    """The model that was written last."""
    models = sorted(folder.glob("[!.]*.keras"), key=lambda path: path.stat().st_mtime)
    if not models:
        raise datasets.InputError(
            f"expected a trained network in {folder}, found no .keras file: run "
            "train.py first"
        )
    return models[-1]


def read_record(model_path: Path) -> dict:
    """How the model was made, from NAME.json; {} where that file is missing."""
    if not model_path.is_file():
        raise datasets.InputError(
            f"expected a trained network in {model_path}, found no such file: run "
            "train.py first, or give --model"
        )
    path = model_path.with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise datasets.InputError(
            f"expected {path} to say how {model_path} was made, but it cannot be read "
            f"({error}): train it again, or remove the file"
        ) from None


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


def load_network(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a model as a function of tiles (N, T, T, 3) to maps (N, T, T, 1)."""
    import keras

    try:
        return keras.models.load_model(path, compile=False).predict_on_batch
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise datasets.InputError(
            f"expected a Keras network in {path}, but it cannot be loaded ({reason}): "
            "train it again with train.py"
        ) from error


def find_field(
    photograph: Photograph, image: np.ndarray, folder: Path | None
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
        return estimate_field_of_view(image)
    inside = datasets.read_binary(path)
    if inside.shape != image.shape[:2] or not inside.any():
        raise datasets.InputError(
            f"expected {image.shape[1]} x {image.shape[0]} pixels, some of them white, "
            f"in {path}, as in {photograph.path}, received {inside.shape[1]} x "
            f"{inside.shape[0]}, {inside.sum()} white: replace it"
        )
    return given_field_of_view(inside)


def find_scale(field: FieldOfView, learnt_diameter: float) -> float:
    """By how much to resample a photograph, so that its field has `learnt_diameter`."""
    scale = learnt_diameter / field.diameter
    if not field.round:  # the true field is larger than what is seen of it
        scale = min(1.0, scale)
    return 1.0 if abs(scale - 1) < SCALE_TOLERANCE else scale


def predict_image(
    network: Callable, image: np.ndarray, scale: float, args: argparse.Namespace
) -> np.ndarray:
    """The probability map (H, W) of an image (H, W, 3), whatever its size."""
    predict = partial(
        tiling.predict_tiled,
        network,
        tile_side=args.tile_side,
        overlap=args.tile_overlap,
        batch_size=args.tile_batch,
    )
    if args.tta:
        predict = partial(tiling.predict_views, predict)
    return tiling.predict_at_scale(predict, image, scale)


def predict_photograph(
    network: Callable,
    photograph: Photograph,
    record: dict,
    args: argparse.Namespace,
) -> dict[str, object]:
    """Writes the map of one photograph. Returns its row of predictions.csv."""
    began = time.perf_counter()
    image = datasets.read_image(photograph.path)
    field = find_field(photograph, image, args.field_of_view)
    learnt_diameter = record.get("field_diameter", FIELD_DIAMETER)
    scale = args.scale or find_scale(field, learnt_diameter)
    probability = predict_image(network, image, scale, args) * field.inside
    datasets.write_probability(args.output / f"{photograph.name}.png", probability)
    threshold = record.get("threshold", 0.5)
    vessels = probability >= threshold
    if args.vessels:
        with datasets.whole_file(
            args.output / "vessels" / f"{photograph.name}.png"
        ) as part:
            Image.fromarray(vessels).save(part)
    notes = "; ".join(quality_notes(image, field, probability))
    if args.overlay:
        path = args.output / "overlays" / f"{photograph.name}.jpg"
        with datasets.whole_file(path) as part:
            draw_overlay(image, vessels).save(part, quality=90)
    inside = probability[field.inside]
    low, high = UNCERTAIN
    return {
        "name": photograph.name,
        "photograph": photograph.path,
        "model": args.model,
        "role": role_of(photograph.path, record),
        "epoch": record.get("epoch_chosen", "unknown"),
        "threshold": threshold,
        "height": image.shape[0],
        "width": image.shape[1],
        "field_diameter": f"{field.diameter:.1f}" if field.round else "",
        "scale": f"{scale:.4f}",
        "mean_probability": f"{inside.mean():.5f}",
        "uncertain": f"{np.mean((inside > low) & (inside < high)):.5f}",
        "seconds": f"{time.perf_counter() - began:.3f}",
        "note": notes,
    }


def role_of(path: Path, record: dict) -> str:
    """What a photograph was to the network, told by its bytes, not by its name."""
    if not record:
        return "unknown"
    digest = datasets.fingerprint(path)
    for role in ("training", "validation"):
        if digest in record[f"{role}_cases"].values():
            return role
    return "unseen"


def draw_overlay(image: np.ndarray, vessels: np.ndarray) -> Image.Image:
    """Draws the vessels (H, W) half transparent over the photograph (H, W, 3)."""
    tint = np.where(vessels[..., None], np.float32(0.5), np.float32(0))
    drawn = image * (1 - tint) + np.array(OVERLAY_COLOUR, np.float32) * tint
    return Image.fromarray(np.round(drawn * 255).astype(np.uint8))


def predict_all(
    network: Callable,
    photographs: Sequence[Photograph],
    record: dict,
    args: argparse.Namespace,
) -> list[str]:
    """Predicts one photograph after the other. Returns a sentence on each failure."""
    import keras

    rows: dict[str, dict[str, object]] = {}
    if (args.output / "predictions.csv").is_file():  # other folds' maps, say
        rows.update(datasets.read_predictions(args.output))
    failures: list[str] = []
    verbose = 1 if sys.stdout.isatty() else 2
    bar = keras.utils.Progbar(len(photographs), unit_name="photo", verbose=verbose)
    try:
        for photograph in photographs:
            try:
                row = predict_photograph(network, photograph, record, args)
                rows[photograph.name] = row
            except datasets.InputError as error:
                failures.append(str(error))
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
    args.model = args.model or newest_model()
    args.output = args.output or Path("output") / args.model.stem
    record = read_record(args.model)
    photographs = find_photographs(args, record)
    print(f"{args.model}: {len(photographs)} photographs")
    datasets.require_writable(args.output)
    network = load_network(args.model)
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
