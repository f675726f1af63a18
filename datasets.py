"""Where the files of a data set are, and how to read them.

Check a data set before anything else:

    python datasets.py                  # input/DRIVE
    python datasets.py input/CHASE_DB1
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from field_of_view import estimate_field_of_view, full_scale

# Beyond twice this many pixels Pillow refuses to decode: a small file may hide a huge
# picture. A photograph of 10,000 x 10,000 passes.
Image.MAX_IMAGE_PIXELS = 150_000_000
STRIP = 512  # rows that are converted at a time: bounds memory
OBSERVERS = ("1st_manual", "2nd_manual")
SPLITS = ("training", "test")

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
WHERE_TEST_LABELS_ARE = (
    "current official downloads of DRIVE come without test labels: RITE "
    "(University of Iowa) also distributes them, or score held-out training "
    "photographs instead with --split held-out"
)
WHERE_LABELS_ARE = "unpack the data set again (see input/README.md)"


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a data set keeps its files: one row of the table below.

    Attributes:
        name: of the data set.
        number: regular expression of what its files are paired by.
        image: path of a photograph inside the tree. `{split}` is `training` or `test`,
            `{number}` pairs the files, `**/` is any folder. Letters' case and the
            ending of the file do not matter.
        field_of_view: likewise; None where the data set has none, so that they are
            estimated.
        labels: observer -> path, likewise.
        where: where to get it, in words.
        field_is_optional: a field of view that is missing is estimated.
    """

    name: str
    number: str
    image: str
    field_of_view: str | None
    labels: dict[str, str]
    where: str = "unpack the data set again (see input/README.md)"
    field_is_optional: bool = False


LAYOUTS = (
    Layout(
        "DRIVE",
        r"\d+",
        "{split}/images/{number}_{split}.tif",
        "{split}/mask/{number}_{split}_mask.gif",
        {
            "1st_manual": "{split}/1st_manual/{number}_manual1.gif",
            "2nd_manual": "{split}/2nd_manual/{number}_manual2.gif",
        },
        where="DRIVE is handed out on registration at "
        "https://drive.grand-challenge.org; unpack its training/ and test/ there "
        "(see input/README.md)",
    ),
    Layout(
        "CHASE_DB1",
        r"\d+[LR]",
        "**/Image_{number}.jpg",
        None,
        {
            "1st_manual": "**/Image_{number}_1stHO.png",
            "2nd_manual": "**/Image_{number}_2ndHO.png",
        },
    ),
    Layout(
        "STARE",
        r"\d+",
        "**/im{number}.ppm",
        None,
        {
            "1st_manual": "**/im{number}.ah.ppm",
            "2nd_manual": "**/im{number}.vk.ppm",
        },
    ),
    Layout(
        "HRF",
        r"\d+_(?:dr|g|h)",
        "images/{number}.jpg",
        "mask/{number}_mask.tif",
        {"1st_manual": "manual1/{number}.tif"},
    ),
    Layout(
        "folder",
        r"[^/]+",
        "images/{number}.png",
        "fields_of_view/{number}.png",
        {"1st_manual": "labels/{number}.png"},
        where="put photographs into images/ and labels of the same names into labels/",
        field_is_optional=True,
    ),
)


class InputError(ValueError):
    """A user's mistake, told in one sentence: expected, received, what to do next."""


@dataclass(frozen=True)
class Case:
    """One photograph with all its files.

    Attributes:
        name: stem of the photograph's file, such as `21_training`.
        image: the photograph.
        field_of_view: the round area that the camera saw; None where it is estimated.
        labels: observer -> where that observer's label is expected. The file may
            be absent: `has_label` tells.
    """

    name: str
    image: Path
    field_of_view: Path | None
    labels: dict[str, Path]

    def has_label(self, observer: str) -> bool:
        return observer in self.labels and self.labels[observer].is_file()


def list_cases(folder: Path | str, split: str) -> list[Case]:
    """Lists the cases of one split of a data set, paired by number.

    Args:
        folder: the tree, in one of the `LAYOUTS`.
        split: `training` or `test`. A data set that knows no splits gives all of its
            photographs for either.

    Returns:
        The cases in the order of their numbers.

    Raises:
        InputError: the tree, a photograph or a field of view is missing.
    """
    folder = Path(folder)
    layout, found = _recognise(folder)
    numbers = {
        number
        for files in found.values()
        for (of_split, number) in files
        if of_split in (split, None)
    }
    if not numbers:
        template = layout.image.format(split=split, number="NUMBER")
        raise InputError(
            f"expected photographs like {folder / template}, found none: {layout.where}"
        )
    return [
        _case(folder, layout, found, split, number)
        for number in sorted(numbers, key=_natural_order)
    ]


def _natural_order(number: str) -> list:
    """2 before 10: the numbers in a name count as numbers."""
    return [
        (int(part) if part.isdigit() else -1, part)
        for part in re.split(r"(\d+)", number)
    ]


Found = dict[str, dict[tuple[str | None, str], Path]]


def _recognise(folder: Path) -> tuple[Layout, Found]:
    """The layout that most of the tree's files fit, and those files."""
    if not folder.is_dir():
        raise InputError(
            f"expected a data set in {folder}, found no such folder: {LAYOUTS[0].where}"
        )
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    }
    matches = {layout: list(_matches(layout, files)) for layout in LAYOUTS}
    layout = max(LAYOUTS, key=lambda layout: len(matches[layout]))
    if not matches[layout]:
        names = ", ".join(layout.name for layout in LAYOUTS[:-1])
        raise InputError(
            f"expected a data set in {folder}, laid out as {names} or with images/ and "
            f"labels/, found no file of any: {LAYOUTS[0].where}"
        )
    found: Found = {kind: {} for kind in _templates(layout)}
    for kind, key, path in matches[layout]:
        if found[kind].setdefault(key, path) != path:
            raise InputError(
                f"expected one file for each photograph, received "
                f"{found[kind][key]} and {path}: remove one"
            )
    return layout, found


def _templates(layout: Layout) -> dict[str, str]:
    """What a file is -> where the layout keeps it."""
    templates = {"image": layout.image, **layout.labels}
    if layout.field_of_view:
        templates["field_of_view"] = layout.field_of_view
    return templates


def _matches(
    layout: Layout, files: dict[str, Path]
) -> Iterator[tuple[str, tuple[str | None, str], Path]]:
    """What a file is, its (split, number) and the file, for all that fit the layout."""
    for kind, template in _templates(layout).items():
        pattern = _pattern(template, layout.number)
        for name, path in files.items():
            if match := pattern.fullmatch(name):
                yield kind, (match.groupdict().get("split"), match["number"]), path


def _pattern(template: str, number: str) -> re.Pattern:
    """A layout's template as a regular expression."""
    stem = re.escape(template.rpartition(".")[0])
    stem = stem.replace(re.escape("**/"), "(?:.*/)?")
    for name, values in (("split", "training|test"), ("number", number)):
        first, *others = stem.split(re.escape(f"{{{name}}}"))
        if others:
            stem = f"{first}(?P<{name}>{values})" + f"(?P={name})".join(others)
    endings = "|".join(ending[1:] for ending in ENDINGS)
    return re.compile(rf"{stem}\.(?:{endings})", re.IGNORECASE)


def _case(folder: Path, layout: Layout, found: Found, split: str, number: str) -> Case:
    key = (split if "{split}" in layout.image else None, number)
    expected = {
        kind: folder / template.replace("**/", "").format(split=split, number=number)
        for kind, template in _templates(layout).items()
    }
    paths = {kind: found[kind].get(key) for kind in expected}
    required = ["image"] if layout.field_is_optional else ["image", "field_of_view"]
    for kind in required:
        if kind in expected and paths[kind] is None:
            raise InputError(
                f"expected {expected[kind]}, since other files of {number} are there, "
                f"found no such file: {layout.where}"
            )
    return Case(
        paths["image"].stem,
        paths["image"],
        paths.get("field_of_view"),
        {kind: paths[kind] or expected[kind] for kind in layout.labels},
    )


def require_labels(cases: Sequence[Case], observer: str) -> None:
    """Raises an InputError that names the labels of `observer` which are missing."""
    missing = [
        case.labels.get(observer, f"{case.name}, of whom this data set knows nothing")
        for case in cases
        if not case.has_label(observer)
    ]
    if missing:
        of_test = Path(missing[0]).parent.parent.name == "test"
        raise InputError(
            f"expected {len(cases)} labels of {observer}, {len(missing)} are missing, "
            f"the first is {missing[0]}: "
            f"{WHERE_TEST_LABELS_ARE if of_test else WHERE_LABELS_ARE}"
        )


def _open(path: Path | str) -> Image.Image:
    """Decodes a picture file whole, in the orientation in which a viewer shows it."""
    try:
        with Image.open(path) as picture:
            # A camera's MPO holds the photograph and a thumbnail: the first counts.
            pages = getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
            if pages == 1:
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)
                return picture
    except FileNotFoundError:
        raise InputError(f"expected a picture in {path}, found no such file") from None
    except UnidentifiedImageError:
        raise InputError(
            f"expected a picture in {path}, but it cannot be read as one"
            f"{_looks_like(Path(path))}: replace it by a fresh copy or export it as PNG"
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(
            f"expected a photograph in {path}, but it is too large ({error}): make it "
            "smaller"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise InputError(
            f"expected a whole picture in {path}, but it is damaged ({error}): "
            "replace it by a fresh copy"
        ) from None
    raise InputError(
        f"expected one picture in {path}, received {pages} pages: save the one that "
        "you want as a file of its own"
    )


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(132)
    if not start:
        return " (it is empty)"
    return " (it is DICOM)" if start[128:] == b"DICM" else ""


def read_image(path: Path | str) -> np.ndarray:
    """Reads a photograph: 8 or 16 bits, grey, RGB, CMYK, palette or transparent.

    Returns:
        float32 array of shape (H, W, 3), RGB, 0..1. What is transparent is black.

    Raises:
        InputError: the file is missing, damaged, too large, of several pages or no
            picture.
    """
    pixels = read_pixels(path)
    return np.divide(pixels, full_scale(pixels), dtype=np.float32)


def read_pixels(path: Path | str) -> np.ndarray:
    """Reads a photograph as `read_image` does, but in a quarter of the memory.

    Returns:
        uint8 or, of a file of 16-bit grey, uint16 array of shape (H, W, 3), RGB: the
        image is what `field_of_view.full_scale` of it divides it into. Read-only.
    """
    picture = _open(path)
    if picture.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
        grey = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
        return np.broadcast_to(grey[..., None], (*grey.shape, 3))  # (H, W, 3)
    if picture.mode == "F":
        raise InputError(
            f"expected 8 or 16 bits a channel in {path}, received floating point, "
            "whose range is not known: export it as PNG"
        )
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, STRIP):  # Pillow's copies are small then
        bottom = min(top + STRIP, picture.height)
        pixels[top:bottom] = _on_black(picture.crop((0, top, picture.width, bottom)))
    pixels.flags.writeable = False
    return pixels


def _on_black(picture: Image.Image) -> Image.Image:
    """The picture in RGB; what is transparent is black."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


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
    """Reads, or estimates where no file gives it, the field of view of a case.

    Returns:
        bool array of shape (H, W).
    """
    if case.field_of_view is None:
        return estimate_field_of_view(read_image(case.image)).inside
    inside = read_binary(case.field_of_view)
    _require_size(case.field_of_view, inside, case)
    if not inside.any():
        raise InputError(
            f"expected a field of view in {case.field_of_view}, but it is all black: "
            "replace it by a fresh copy"
        )
    return inside


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


def require_writable(folder: Path | str) -> None:
    """Makes `folder`, or raises an InputError where nothing can be written there."""
    folder = Path(folder)
    try:
        with whole_file(folder / ".writable") as part:
            part.touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"expected to write into {folder}, but it is refused ({error.strerror}): "
            "choose another folder with --output"
        ) from None


def write_probability(path: Path | str, probability: np.ndarray) -> None:
    """Writes a map of shape (H, W), 0..1, as a 16-bit grey PNG: value / 65535."""
    values = np.empty(probability.shape, np.uint16)
    for top in range(0, len(values), STRIP):
        rows = np.s_[top : top + STRIP]
        values[rows] = np.round(np.clip(probability[rows], 0, 1) * 65535)
    with whole_file(path) as part:
        # Runs alone: as small as zlib's default on such maps, in a third of the time.
        Image.fromarray(values).save(part, compress_type=zlib.Z_RLE)


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


# What predict.py notes of each map in predictions.csv beside the maps.
# `role` is what the photograph was to the network: `training` (it learnt from it),
# `validation` (held out, but the threshold was chosen on it) or `unseen`; `epoch` is
# `best` where the epoch was chosen on the validation photographs, else `last`. Both are
# `unknown` where the model came without the record of how it was made.
# `field_diameter` is in pixels; by `scale` the photograph was resampled for the
# network, which computed in `precision`; `uncertain` is the share of pixels inside the
# field with a probability of .1 to .9; `seconds` is the work on it, reading, network
# and writing, without waiting for its turn: the work on one photograph overlaps that on
# the next, so that a folder takes less than the sum; `note` says what is wrong with it.
PREDICTION_FIELDS = (
    "name",
    "photograph",
    "model",
    "role",
    "epoch",
    "threshold",
    "height",
    "width",
    "field_diameter",
    "scale",
    "precision",
    "mean_probability",
    "uncertain",
    "seconds",
    "note",
)


def newest_predictions() -> Path:
    """The folder under output/ into which predict.py wrote last."""
    notes = list(Path("output").glob("*/predictions.csv"))
    if not notes:
        raise InputError(
            "expected a folder of probability maps under output/, found none with a "
            "predictions.csv: run predict.py first, or name the folder"
        )
    return max(notes, key=lambda path: path.stat().st_mtime).parent


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
    splits = {split: list_cases(folder, split) for split in SPLITS}
    if splits["training"] == splits["test"]:  # the data set knows no splits
        splits = {"all": splits["training"]}
    for split, cases in splits.items():
        print(f"{folder}, {split}: {len(cases)} photographs")
        for case in cases:
            print(" ", describe(case))
        if not any(case.has_label("1st_manual") for case in cases):
            print(f"  no labels here: {WHERE_TEST_LABELS_ARE}")


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"datasets.py: {error}")
