"""Where the files of a data set are, and how to read them.

Check a data set before anything else:

    python datasets.py                  # input/DRIVE
    python datasets.py input/PHANTOM
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

OBSERVERS = ("1st_manual", "2nd_manual")
SPLITS = ("training", "test")

WHERE_DRIVE_IS = (
    "DRIVE is handed out on registration at https://drive.grand-challenge.org; "
    "unpack it so that {folder} holds training/ and test/ (see input/README.md)"
)
WHERE_TEST_LABELS_ARE = (
    "current official downloads of DRIVE come without test labels: RITE "
    "(University of Iowa) also distributes them, or score held-out training "
    "photographs instead with --split held-out"
)
WHERE_LABELS_ARE = "unpack the data set again (see input/README.md)"


class InputError(ValueError):
    """A user's mistake, told in one sentence: expected, received, what to do next."""


@dataclass(frozen=True)
class Case:
    """One photograph with all its files.

    Attributes:
        name: stem of the photograph's file, such as `21_training`.
        image: the photograph.
        field_of_view: the round area that the camera saw.
        labels: observer -> where that observer's label is expected. The file may
            be absent: `has_label` tells.
    """

    name: str
    image: Path
    field_of_view: Path
    labels: dict[str, Path]

    def has_label(self, observer: str) -> bool:
        return observer in self.labels and self.labels[observer].is_file()


def list_cases(folder: Path | str, split: str) -> list[Case]:
    """Lists the cases of one split of a DRIVE tree, paired by number.

    Args:
        folder: the tree that holds `training/` and `test/`.
        split: `training` or `test`.

    Returns:
        The cases in the order of their numbers.

    Raises:
        InputError: the tree, a folder of it or a field of view is missing.
    """
    images = Path(folder) / split / "images"
    if not images.is_dir():
        raise InputError(
            f"expected the photographs of a data set in {images}, found no such "
            f"folder: {WHERE_DRIVE_IS.format(folder=folder)}"
        )
    numbers = _numbers_in(Path(folder) / split)
    if not numbers:
        raise InputError(
            f"expected photographs named like 21_{split}.tif in {images}, found none: "
            f"{WHERE_DRIVE_IS.format(folder=folder)}"
        )
    return [_case(Path(folder) / split, split, number) for number in numbers]


def _numbers_in(folder: Path) -> list[str]:
    """The numbers that any file of a split bears, so that no gap goes unseen."""
    pattern = re.compile(r"(\d+)_(training|test|manual1|manual2)(_mask)?\.(tif|gif)")
    names = (path.name for path in folder.glob("*/*"))
    numbers = {match[1] for name in names if (match := pattern.fullmatch(name))}
    return sorted(numbers, key=int)


def _case(folder: Path, split: str, number: str) -> Case:
    name = f"{number}_{split}"
    image = folder / "images" / f"{name}.tif"
    field_of_view = folder / "mask" / f"{name}_mask.gif"
    for path in (image, field_of_view):
        if not path.is_file():
            raise InputError(
                f"expected {path}, since other files of number {number} are there, "
                f"found no such file: {WHERE_DRIVE_IS.format(folder=folder.parent)}"
            )
    labels = {
        observer: folder / observer / f"{number}_manual{index}.gif"
        for index, observer in enumerate(OBSERVERS, start=1)
    }
    return Case(name, image, field_of_view, labels)


def require_labels(cases: Sequence[Case], observer: str) -> None:
    """Raises an InputError that names the labels of `observer` which are missing."""
    missing = [case.labels[observer] for case in cases if not case.has_label(observer)]
    if missing:
        of_test = missing[0].parent.parent.name == "test"
        raise InputError(
            f"expected {len(cases)} labels of {observer}, {len(missing)} are missing, "
            f"the first is {missing[0]}: "
            f"{WHERE_TEST_LABELS_ARE if of_test else WHERE_LABELS_ARE}"
        )


def _open(path: Path | str) -> Image.Image:
    """Decodes a picture file whole, in the orientation in which a viewer shows it."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise InputError(f"expected a picture in {path}, found no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(
            f"expected a picture in {path}, but it cannot be read ({error}): "
            "replace it by a fresh copy"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise InputError(
            f"expected a whole picture in {path}, but it is damaged ({error}): "
            "replace it by a fresh copy"
        ) from None


def read_image(path: Path | str) -> np.ndarray:
    """Reads a colour photograph.

    Returns:
        float32 array of shape (H, W, 3), RGB, 0..1.

    Raises:
        InputError: the file is missing, damaged or no picture.
    """
    picture = _open(path)
    if picture.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
        grey = np.asarray(picture, np.float32) / 65535
        return np.repeat(grey[..., None], 3, axis=-1)  # (H, W, 3)
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def read_binary(path: Path | str) -> np.ndarray:
    """Reads a black-and-white picture: palette, 1-bit, grey or RGB.

    Returns:
        bool array of shape (H, W), true where the picture is bright.

    Raises:
        InputError: the file is missing, damaged or not black and white.
    """
    # The colours count, not the palette's indices: DRIVE's second observer is stored
    # as indices {0, 1} for greys {3, 253}.
    values = np.asarray(_open(path).convert("L"))
    if values.max(initial=0) <= 1:  # written as 0 and 1 instead of 0 and 255
        return values == 1
    between = np.mean((values > 63) & (values < 192))
    if between > 0.05:
        raise InputError(
            f"expected a black-and-white picture in {path}, but {between:.0%} of its "
            "pixels are grey: is it a photograph?"
        )
    return values > 127


def read_field_of_view(case: Case) -> np.ndarray:
    """Reads the field of view of a case as a bool array of shape (H, W)."""
    field_of_view = read_binary(case.field_of_view)
    _require_size(case.field_of_view, field_of_view, case)
    if not field_of_view.any():
        raise InputError(
            f"expected a field of view in {case.field_of_view}, but it is all black: "
            "replace it by a fresh copy"
        )
    return field_of_view


def read_label(case: Case, observer: str) -> np.ndarray:
    """Reads the vessels that `observer` drew as a bool array of shape (H, W)."""
    require_labels([case], observer)
    label = read_binary(case.labels[observer])
    _require_size(case.labels[observer], label, case)
    return label


def _require_size(path: Path, array: np.ndarray, case: Case) -> None:
    """Raises an InputError unless `array`, read from `path`, fits the photograph."""
    try:
        with Image.open(case.image) as picture:
            width, height = picture.size  # the header alone: nothing is decoded
    except OSError as error:
        raise InputError(
            f"expected a picture in {case.image}, but it cannot be read ({error}): "
            "replace it by a fresh copy"
        ) from None
    if array.shape != (height, width):
        raise InputError(
            f"expected {width} x {height} pixels in {path}, as in {case.image}, "
            f"received {array.shape[1]} x {array.shape[0]}: the two do not belong "
            "together"
        )


def fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yields a temporary name beside `path`; renames it when the block succeeds.

    Nobody ever sees half a file: on an error the temporary one is removed, and what
    stood at `path` before still stands there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_probability(path: Path | str, probability: np.ndarray) -> None:
    """Writes a map of shape (H, W), 0..1, as a 16-bit grey PNG: value / 65535."""
    values = np.round(np.clip(probability, 0, 1) * 65535).astype(np.uint16)
    with whole_file(path) as part:
        Image.fromarray(values).save(part)


def read_probability(path: Path | str) -> np.ndarray:
    """Reads a probability map.

    Returns:
        float32 array of shape (H, W), 0..1.

    Raises:
        InputError: the file is missing or no 16-bit grey PNG.
    """
    picture = _open(path)
    if not picture.mode.startswith("I"):
        raise InputError(
            f"expected a 16-bit grey PNG in {path}, received mode {picture.mode}: "
            "write maps with predict.py"
        )
    return np.asarray(picture, np.float32) / 65535


# What predict.py notes of each map in predictions.csv beside the maps. `role` is what
# the photograph was to the network: `training` (it learnt from it), `validation` (held
# out, but the threshold was chosen on it) or `unseen`; `epoch` is `best` where the
# epoch was chosen on the validation photographs, else `last`. Both are `unknown` where
# the model came without the record of how it was made.
PREDICTION_FIELDS = (
    "name",
    "photograph",
    "model",
    "role",
    "epoch",
    "threshold",
    "height",
    "width",
    "mean_probability",
    "seconds",
)


def read_predictions(folder: Path | str) -> dict[str, dict[str, str]]:
    """Reads the notes beside the maps of `folder`: name of the map -> its row."""
    path = Path(folder) / "predictions.csv"
    if not path.is_file():
        raise InputError(
            f"expected probability maps and their notes in {folder}, found no "
            "predictions.csv: run predict.py first"
        )
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != PREDICTION_FIELDS:
            raise InputError(
                f"expected the columns {', '.join(PREDICTION_FIELDS)} in {path}, "
                f"received {reader.fieldnames}: run predict.py again"
            )
        return {row["name"]: row for row in reader}


def write_predictions(folder: Path | str, rows: dict[str, dict[str, object]]) -> None:
    """Writes the notes beside the maps of `folder`, in the order of their names."""
    with (
        whole_file(Path(folder) / "predictions.csv") as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, PREDICTION_FIELDS)
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


def describe(case: Case) -> str:
    """One line on a case: its size, field of view and share of vessels in it."""
    height, width, _ = read_image(case.image).shape
    field_of_view = read_field_of_view(case)
    parts = [f"{case.name:12s} {width} x {height}  field {field_of_view.mean():.1%}"]
    for observer in OBSERVERS:
        share = "missing"
        if case.has_label(observer):
            share = f"{read_label(case, observer)[field_of_view].mean():.1%} vessels"
        parts.append(f"{observer} {share}")
    return "  ".join(parts)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints what a data set holds and what is missing."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("input/DRIVE"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    folder = parse_args(argv).folder
    for split in SPLITS:
        cases = list_cases(folder, split)
        print(f"{folder / split}: {len(cases)} photographs")
        for case in cases:
            print(" ", describe(case))
        if not any(case.has_label("1st_manual") for case in cases):
            print(f"  no labels here: {WHERE_TEST_LABELS_ARE}")


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"datasets.py: {error}")
