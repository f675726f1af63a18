"""Where the files of a data set are: layouts, and the cases that they hold.

cases = list_cases("input/DRIVE", "training")
label = read_label(cases[0], "1st_manual")
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from retina.field_of_view import estimate_field_of_view
from retina.files import InputError
from retina.pictures import ENDINGS, read_binary, read_image

OBSERVERS = ("1st_manual", "2nd_manual")
SPLITS = ("training", "test")

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
