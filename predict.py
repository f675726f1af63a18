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
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from PIL import Image

from retina import datasets, networks, report, tiling
from retina.files import InputError, fingerprint, require_writable
from retina.maps import read_predictions, write_predictions
from retina.pictures import ENDINGS
from retina.prediction import (
    Mapped,
    Photograph,
    load_network,
    predict_photograph,
    read_photograph,
    write_photograph,
)

AHEAD = 1  # photographs: read before the network wants them, waiting to be written
THUMBNAIL = 240  # pixels, the longer side in the contact sheet


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
        cases = [c for c in cases if fingerprint(c.image) in held_out]
        if not cases:
            raise InputError(
                f"expected photographs in {args.data} that the model held out, found "
                "none: train with --validation N or --folds K --fold I"
            )
    return [Photograph(case.name, case.image, case) for case in cases]


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders as the pictures that they hold."""
    files = []
    for path in paths:
        if not path.exists():
            raise InputError(
                f"expected a photograph or a folder at {path}, found neither: check "
                "the path"
            )
        if not path.is_dir():
            files.append(path)
            continue
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)
        if not pictures:
            raise InputError(
                f"expected photographs in {path} ({' '.join(ENDINGS)}), found none"
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
        raise InputError(
            f"expected photographs of different names, received {count} called {name}: "
            "predict their folders one by one, each with its own --output"
        )
    return photographs


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
        if isinstance(value, InputError):
            return value
        try:
            return step(value, *rest)
        except InputError as error:
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
        rows.update(read_predictions(args.output))
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
        write_predictions(args.output, rows)
    return failures


def contacts(folder: Path) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Name, note, path and thumbnail of every overlay in `folder`, one at a time."""
    for name, row in read_predictions(folder).items():
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
    require_writable(args.output)
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
        raise InputError("\n".join(["no map for:", *failures]))


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"predict.py: {error}")
