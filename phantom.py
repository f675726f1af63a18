"""Draws a data set of fundus photographs with exactly known vessels, in DRIVE's layout.

    python phantom.py input/PHANTOM --cases 8

takes about a second a photograph on one core. A cheap variant for a smoke test:

    python phantom.py input/PHANTOM --cases 2 --height 128 --width 128

Beside the images, labels and fields of view lie `training/truth/NN_training.json` and
`test/truth/NN_test.json`: every vessel's centre line and width, and every bifurcation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from retina import commands
from retina.commands import HelpFormatter, run, whole
from retina.files import InputError, whole_file, write_json
from retina.phantoms import Phantom, draw_phantom

MARKER = "phantom.json"  # marks a folder that was drawn here and may be drawn again
FIRST_NUMBERS = {"training": 21, "test": 1}  # the first case's number, as in DRIVE
CASES = commands.number(int, "2 or more: one to train, one to test", lambda n: n >= 2)
PIXELS = commands.number(int, "64 or more, to hold vessels", lambda n: n >= 64)


def case_paths(folder: Path, split: str, number: int) -> dict[str, Path]:
    """Where the files of one case lie, by what they hold, named as in DRIVE."""
    root, name = Path(folder) / split, f"{number:02d}"
    paths = {
        "image": root / "images" / f"{name}_{split}.tif",
        "label": root / "1st_manual" / f"{name}_manual1.gif",
        "field_of_view": root / "mask" / f"{name}_{split}_mask.gif",
        "truth": root / "truth" / f"{name}_{split}.json",
    }
    if split == "test":
        paths["second_label"] = root / "2nd_manual" / f"{name}_manual2.gif"
    return paths


def number_cases(cases: int) -> list[tuple[str, int]]:
    """(split, number) of every case: the first half trains, the rest tests."""
    halves = {"training": (cases + 1) // 2, "test": cases // 2}
    return [
        (split, first + i)
        for split, first in FIRST_NUMBERS.items()
        for i in range(halves[split])
    ]


def write_phantom(phantom: Phantom, paths: dict[str, Path]) -> None:
    """Writes one case; every file appears under its name when it is whole."""
    images = {
        "image": Image.fromarray(np.round(phantom.image * 255).astype(np.uint8)),
        "label": Image.fromarray(phantom.label.astype(np.uint8) * 255),
        "field_of_view": Image.fromarray(phantom.field_of_view.astype(np.uint8) * 255),
        "second_label": paletted(phantom.second_label),
    }
    for name, path in paths.items():
        with whole_file(path) as part:
            if name == "truth":
                part.write_text(json.dumps(phantom.truth), encoding="utf-8")
            elif name == "image":
                images[name].save(part, compression="tiff_lzw")
            else:
                images[name].save(part)


def paletted(label: np.ndarray) -> Image.Image:
    """`label` as DRIVE stores a second observer's: values 0 and 1, greys 3 and 253."""
    image = Image.fromarray(label.astype(np.uint8)).convert("P")
    image.putpalette([3, 3, 3, 253, 253, 253])
    return image


def count_cases(folder: Path) -> int:
    """How many cases an earlier phantom in `folder` has; 0 if none is there.

    Raises:
        InputError: `folder` is a file, or holds what was not drawn here.
    """
    advice = "name a new folder, such as input/PHANTOM"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder, received the file {folder}: {advice}")
    if not folder.exists() or not any(folder.iterdir()):
        return 0
    try:
        return int(json.loads((folder / MARKER).read_text(encoding="utf-8"))["cases"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"expected {folder} to be empty or to hold {MARKER} of an earlier phantom, "
            f"received a folder with other files: {advice}"
        ) from None


def write_phantom_tree(
    folder: Path | str, *, cases: int, seed: int, height: int = 584, width: int = 565
) -> None:
    """Draws `cases` photographs into `folder`, half for training and half for test.

    Case k is a function of `seed`, its split and its number alone, so a larger data
    set begins with the smaller one. An earlier phantom in `folder` is removed.
    """
    folder = Path(folder)
    earlier = count_cases(folder)
    marker = {"cases": cases, "seed": seed, "height": height, "width": width}
    for split, number in number_cases(earlier):
        for path in case_paths(folder, split, number).values():
            path.unlink(missing_ok=True)
    write_json(folder / MARKER, marker)
    for split, number in number_cases(cases):
        rng = np.random.default_rng([seed, list(FIRST_NUMBERS).index(split), number])
        phantom = draw_phantom(height=height, width=width, rng=rng)
        write_phantom(phantom, case_paths(folder, split, number))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, help="where the data set goes")
    halves = "photographs, at least 2: half training, half test"
    add("--cases", type=CASES, default=8, help=halves)
    add("--seed", type=whole, default=0, help="decides every picture")
    add("--height", type=PIXELS, default=584, help="rows, pixels, at least 64")
    add("--width", type=PIXELS, default=565, help="columns, pixels, at least 64")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    write_phantom_tree(**vars(args))
    print(f"{args.cases} photographs and their exact vessels are in {args.folder}")
    print(f"look at them, then: python check.py {args.folder}")


if __name__ == "__main__":
    run(main, "phantom.py", stopped="run the same command again")
