"""Tiles full images into probability maps: 16-bit grey PNGs, value / 65535.

    python predict.py                           # DRIVE's test photographs
    python predict.py --split held-out          # those that the network held out
    python predict.py photo.jpg folder/ --overlay          # any photographs, any size
    python predict.py photo.jpg --model models/NAME.keras  # cheap: one photograph

Writes output/MODEL/PHOTOGRAPH.png, the field of view that was used as
fields/PHOTOGRAPH.png, and predictions.csv with a row a map. A photograph is resampled
so that its vessels are as wide as those that the network learnt, and its map is
resampled back. Outside a field of view that is given the map is 0; around one that is
estimated a rim is kept. Reading, prediction and writing overlap. --resume continues a
folder, --replace starts anew; pictures of vessels that somebody edited (--vessels;
measure.py --vessels measures them) stay in any case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from retina import datasets, networks, report, tiling
from retina.commands import HelpFormatter, positive, run
from retina.files import InputError, counted, require_writable
from retina.identity import Identity, identify
from retina.maps import PAGE, TABLE, list_edited, paths_of, read_predictions
from retina.pictures import open_picture
from retina.prediction import (
    Photograph,
    add_options,
    load_network,
    predict_all,
    read_options,
)
from retina.quality import FIELD_NOTES
from retina.worklist import choose_photographs, list_photographs, name_photographs

THUMBNAIL = 360  # pixels, the longer side in the contact sheet


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        tiling.check_tiles(args.tile_side, args.tile_overlap)
    except ValueError as error:
        parser.error(str(error))
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Tiles full images into probability maps.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, help="photographs and folders; default: --split")
    add("--data", type=Path, default=Path("input/DRIVE"), help="a data set's folder")
    splits = ("test", "training", "held-out")
    held_out = "of --data; held-out: what the network was not fitted on"
    add("--split", choices=splits, default="test", help=held_out)
    fields = "FOLDER of black-and-white pictures; default: the data set's, or estimated"
    folder = {"type": Path, "metavar": "FOLDER", "dest": "field_folder"}
    add("--field-of-view", **folder, help=fields)
    add_options(parser)
    precision = "of the network; bfloat16 is faster where processors have it"
    choices = ("float32", "bfloat16")
    add("--precision", choices=choices, default="float32", help=precision)

    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--output", type=Path, help="folder to write to; default: output/MODEL")
    overlay = "draw the vessels over the photographs, and a contact sheet index.html"
    add("--overlay", action="store_true", help=overlay)
    vessels = "write black-and-white pictures of the vessels at the network's threshold"
    add("--vessels", action="store_true", help=vessels)
    add = group.add_mutually_exclusive_group().add_argument
    add("--resume", action="store_true", help="keep finished maps, predict the rest")
    add("--replace", action="store_true", help="predict finished maps again")

    add = parser.add_argument_group("tiles").add_argument
    side = "of the largest tile, pixels, a multiple of 32: bounds memory"
    add("--tile-side", type=int, default=640, help=side)
    add("--tile-overlap", type=int, default=64, help="pixels, a multiple of 32")
    add("--tile-batch", type=positive, default=1, help="tiles at a time, for a GPU")
    return parser


def find_photographs(
    args: argparse.Namespace, record: networks.Record
) -> list[Photograph]:
    """Lists what to predict: the paths given, else a split of the data set."""
    if args.paths:
        files, skipped = list_photographs(args.paths)
        if skipped:
            print(skipped)
        return name_photographs(files)
    folder_split = "test" if args.split == "test" else "training"
    cases = datasets.list_cases(args.data, folder_split)
    if args.split == "held-out":
        held_out = record.validation_cases or ()
        cases = [case for case in cases if was_held_out(case.image, held_out)]
        if not cases:
            raise InputError(
                f"expected photographs in {args.data} that the network held out, found "
                "none: train with --validation N or --folds K --fold I"
            )
    return [Photograph(case.name, case.image, case.field_of_view) for case in cases]


def was_held_out(path: Path, held_out: Sequence[Identity]) -> bool:
    """Whether the photograph is one of these; one that cannot be read may be, and is
    told with all that failed."""
    try:
        return any(map(identify(path).is_same, held_out))
    except InputError:
        return bool(held_out)


def contacts(folder: Path) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Name, note, path and thumbnail of every overlay in `folder`, one at a time."""
    for name, row in read_predictions(folder).items():
        path = paths_of(folder, name)["overlay"]
        if path.is_file():
            overlay = open_picture(path)
            overlay.thumbnail((THUMBNAIL, THUMBNAIL))
            yield name, row.note, path.relative_to(folder).as_posix(), overlay


def warn_of_fields(folder: Path, photographs: Sequence[Photograph]) -> None:
    """Tells of each photograph whose field of view, and so its scale, is in doubt."""
    rows = read_predictions(folder) if (folder / TABLE).is_file() else {}
    for photograph in photographs:
        row = rows.get(photograph.name)
        if row and any(note in row.note for note in FIELD_NOTES):
            scale = f"scale {row.scale:.2f}, {row.scale_from}"
            print(f"note on {row.photograph}: {row.note} ({scale})", file=sys.stderr)


def progress(photographs: int) -> Callable[[], None]:
    """Returns a function that counts photographs, in a line that it writes anew on a
    terminal and once at the end elsewhere.

    Keras has such a bar, but takes seconds to load, and ONNX networks do without.
    """
    began, done = time.perf_counter(), 0

    def advance() -> None:
        nonlocal done
        done += 1
        each = (time.perf_counter() - began) / done
        if done == photographs or sys.stdout.isatty():
            end = "\n" if done == photographs else "\r"
            line = f"{done}/{photographs} photographs, {each:.3f} seconds each"
            print(line, end=end, flush=True)

    return advance


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    options = read_options(args)
    path = args.model or networks.choose()
    record = networks.read_record(path)
    print(f"{path}, made {record.made[:10] or 'at an unknown time'}")
    photographs = find_photographs(args, record)
    folder = args.output or Path("output") / path.stem
    require_writable(folder)
    network = load_network(path, options.precision, options.camera)
    left = choose_photographs(
        photographs, network, folder, options, resume=args.resume, replace=args.replace
    )
    print(f"{counted(len(photographs), 'photograph')}, {len(left)} to predict")
    failures = predict_all(network, left, folder, options, progress(len(left)))
    warn_of_fields(folder, left)
    if args.overlay and (folder / TABLE).is_file():  # else no map was made
        title = f"Vessels in {folder}"
        report.write_contact_sheet(
            folder / PAGE, title=title, contacts=contacts(folder)
        )
        print(f"look at {folder / PAGE}")
    for edited in list_edited(folder, {photograph.name for photograph in left}):
        print(f"{edited} was edited, and stays: move it away to have it drawn again")
    print(f"{counted(len(photographs) - len(failures), 'map')} in {folder}")
    if failures:
        raise InputError("\n".join(["no map for:", *failures]))


if __name__ == "__main__":
    run(
        main,
        "predict.py",
        stopped="finished maps are recorded; the same command with --resume continues",
    )
