"""Tiles full images into probability maps: 16-bit grey PNGs, value / 65535.

    python predict.py                           # DRIVE's test photographs
    python predict.py --split held-out          # those that the network held out
    python predict.py photo.jpg folder/ --overlay          # any photographs, any size
    python predict.py photo.jpg --model models/NAME.keras  # cheap: one photograph

Writes output/MODEL/PHOTOGRAPH.png, the field of view that was used as
fields/PHOTOGRAPH.png, and predictions.csv with a row a map. A photograph is resampled
so that its vessels are as wide as those that the network learnt, and its map is
resampled back; outside the field of view the map is 0. Reading, prediction and writing
overlap. --resume continues a folder, --replace starts anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from retina import datasets, networks, report, tiling
from retina.commands import positive, run
from retina.files import InputError, require_writable
from retina.identity import identify
from retina.maps import PAGE, paths_of, read_predictions
from retina.pictures import open_picture
from retina.prediction import Options, Photograph, load_network, predict_all
from retina.worklist import choose_photographs, list_photographs, name_photographs

THUMBNAIL = 240  # pixels, the longer side in the contact sheet


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
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, help="photographs and folders; default: --split")
    model = "a .keras file; default: the one in models/ finished last, or a shipped one"
    add("--model", type=Path, help=model)
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    splits = ("test", "training", "held-out")
    held_out = "of --data; held-out: what the network was not fitted on"
    add("--split", choices=splits, default="test", help=held_out)
    fields = "FOLDER of black-and-white pictures; default: the data set's, or estimated"
    add("--field-of-view", type=Path, metavar="FOLDER", help=fields)
    scale = "scale factor; default: match the field diameter that the network learnt"
    add("--scale", type=_scale, help=scale)
    add(
        "--tta",
        action="store_true",
        help="average 8 flips and turns; takes 5.7 times as long",
    )
    bits = "8 to 16, of values in files of 16 bits, where a camera fills fewer"
    add("--bits", type=_bits, help=bits)
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


def _scale(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected 0.01 to 100, got {text}")
    return number


def _bits(text: str) -> int:
    number = int(text)
    if not 8 <= number <= 16:
        raise argparse.ArgumentTypeError(f"expected 8 to 16, got {text}")
    return number


def read_options(args: argparse.Namespace) -> Options:
    return Options(
        scale=args.scale,
        views=8 if args.tta else 1,
        precision=args.precision,
        bits=args.bits,
        tile_side=args.tile_side,
        tile_overlap=args.tile_overlap,
        tile_batch=args.tile_batch,
        field_folder=args.field_of_view,
        vessels=args.vessels,
        overlay=args.overlay,
    )


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
        cases = [c for c in cases if any(map(identify(c.image).is_same, held_out))]
        if not cases:
            raise InputError(
                f"expected photographs in {args.data} that the network held out, found "
                "none: train with --validation N or --folds K --fold I"
            )
    return [Photograph(case.name, case.image, case.field_of_view) for case in cases]


def contacts(folder: Path) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Name, note, path and thumbnail of every overlay in `folder`, one at a time."""
    for name, row in read_predictions(folder).items():
        path = paths_of(folder, name)["overlay"]
        if path.is_file():
            overlay = open_picture(path)
            overlay.thumbnail((THUMBNAIL, THUMBNAIL))
            yield name, row.note, path.relative_to(folder).as_posix(), overlay


def progress(photographs: int) -> Callable[[int], None]:
    """Returns a function that advances a progress bar by a number of photographs."""
    import keras

    verbose = 1 if sys.stdout.isatty() else 2
    return keras.utils.Progbar(photographs, unit_name="photo", verbose=verbose).add


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    options = read_options(args)
    path = args.model or networks.choose()
    record = networks.read_record(path)
    print(f"{path}, made {record.made or 'at a time that is not known'}")
    photographs = find_photographs(args, record)
    folder = args.output or Path("output") / path.stem
    require_writable(folder)
    network = load_network(path, options.precision)
    words = {"resume": args.resume, "replace": args.replace}
    left = choose_photographs(photographs, network, folder, options, **words)
    print(f"{len(photographs)} photographs, {len(left)} to predict")
    failures = predict_all(network, left, folder, options, progress(len(left)))
    if args.overlay:
        title = f"Vessels in {folder}"
        report.write_contact_sheet(
            folder / PAGE, title=title, contacts=contacts(folder)
        )
    print(f"{len(photographs) - len(failures)} maps in {folder}")
    if failures:
        raise InputError("\n".join(["no map for:", *failures]))


if __name__ == "__main__":
    run(
        main,
        "predict.py",
        stopped="finished maps are recorded; the same command with --resume continues",
    )
