"""Data sets: where their files are, and how these are read.

cases = list_cases("input/DRIVE", "training")
label = read_label(cases[0], "1st_manual")
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retina import labels
from retina.field_of_view import estimate_field_of_view, read_field
from retina.files import InputError
from retina.identity import Identity, hash_pixels, identify
from retina.pictures import ENDINGS, few_bits, picture_size, read_pixels

OBSERVERS = ("1st_manual", "2nd_manual")
SPLITS = ("training", "test")

WHERE_TEST_LABELS_ARE = (
    "current official downloads of DRIVE come without test labels: RITE "
    "(University of Iowa) also distributes them, or score held-out training "
    "photographs instead with --split held-out"
)
WHERE_DRIVE_IS = (
    "DRIVE is handed out on registration at https://drive.grand-challenge.org; unpack "
    "its training/ and test/ there (see input/README.md)"
)
WHERE_LABELS_ARE = "unpack the data set again (see input/README.md)"


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a data set has its files: one row of the table below.

    In paths `{split}` is `training` or `test`, `{number}` is what the files of one
    photograph have in common, and `**/` is any folder. Letters' case and the endings of
    files do not matter.
    """

    name: str  # of the data set
    number: str  # regular expression
    image: str  # path of a photograph inside the tree
    field_of_view: str | None  # likewise; None: there is none, and it is estimated
    labels: dict[str, str]  # observer -> path
    where: str = WHERE_LABELS_ARE  # to get it, in words
    field_is_optional: bool = False  # one that is missing is estimated
    person: str = ".*"  # regular expression of what in `number` tells whose eye it is


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
        where=WHERE_DRIVE_IS,
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
        person=r"\d+",  # the children's left and right eyes
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
    """One photograph with all its files."""

    name: str  # stem of the photograph's file, such as `21_training`
    image: Path  # the photograph
    field_of_view: Path | None  # None where it is estimated
    # Observer -> where that label is expected; `has_label` says whether it is there.
    labels: dict[str, Path]
    # Whose eye it is, as far as the data set says: its folder and a number.
    person: str = ""

    @property
    def data_set(self) -> str:
        """The name of the data set's folder."""
        return Path(self.person).parent.name

    def has_label(self, observer: str) -> bool:
        return observer in self.labels and self.labels[observer].is_file()


def list_cases(folder: Path | str, split: str) -> list[Case]:
    """Lists the cases of one split of a data set, paired by number.

    Args:
        folder: the tree, in one of the `LAYOUTS`.
        split: `training` or `test`. A data set without splits gives all of its
            photographs for either.

    Returns:
        The cases in the order of their numbers.

    Raises:
        InputError: the tree, a photograph or a field of view is missing.
    """
    folder, layout, found = _recognise(Path(folder))
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


def has_splits(folder: Path | str) -> bool:
    """Whether a data set has a training and a test part."""
    _, layout, _ = _recognise(Path(folder))
    return "{split}" in layout.image


def _natural_order(number: str) -> list:
    """2 before 10: the numbers in a name count as numbers."""
    return [
        (int(part) if part.isdigit() else -1, part)
        for part in re.split(r"(\d+)", number)
    ]


Found = dict[str, dict[tuple[str | None, str], Path]]


def _recognise(folder: Path) -> tuple[Path, Layout, Found]:
    """The folder of the data set, the layout that most of its files fit, and these.

    Archives are often unpacked into a folder of their own name: where `folder` is no
    data set but exactly one folder in it is, that one is taken.
    """
    if not folder.is_dir():
        raise InputError(
            f"expected a data set in {folder}, found no such folder: "
            f"{_where(folder, 'give the folder that holds it')}"
        )
    best = _best_layout(folder)
    if best is None:
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        sets = {path: best for path in inner if (best := _best_layout(path))}
        if len(sets) != 1:
            raise InputError(_no_data_set(folder, list(sets)))
        ((folder, best),) = sets.items()
    layout, files = best
    found: Found = {kind: {} for kind in _templates(layout)}
    for kind, key, path in files:
        if found[kind].setdefault(key, path) != path:
            raise InputError(
                f"expected one file for each photograph, received "
                f"{found[kind][key]} and {path}: remove one"
            )
    return folder, layout, found


def _best_layout(folder: Path) -> tuple[Layout, list] | None:
    """The layout that most of a tree's pictures fit, with these; None if none does."""
    pictures = {path.relative_to(folder).as_posix(): path for path in _pictures(folder)}
    matches = {layout: list(_matches(layout, pictures)) for layout in LAYOUTS}
    layout = max(LAYOUTS, key=lambda layout: len(matches[layout]))
    return (layout, matches[layout]) if matches[layout] else None


def _files(folder: Path) -> list[Path]:
    """The files of a tree, sorted, without hidden ones such as macOS' `._photo.jpg`."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]


def _pictures(folder: Path) -> list[Path]:
    """Those of a tree's files that are called as pictures."""
    return [path for path in _files(folder) if path.suffix.lower() in ENDINGS]


def _no_data_set(folder: Path, sets: Sequence[Path]) -> str:
    """What was expected in a folder that is no data set, and what is there."""
    if sets:
        names = ", ".join(str(path) for path in sets)
        return f"expected one data set in {folder}, found several: give one of {names}"
    names = ", ".join(layout.name for layout in LAYOUTS[:-1])
    held = Counter(
        path.parent.relative_to(folder).as_posix() for path in _pictures(folder)
    )
    there = ", ".join(f"{count} in {name}/" for name, count in held.most_common(4))
    return (
        f"expected a data set laid out as {names}, or photographs in "
        f"{folder / 'images'} and labels of the same names in {folder / 'labels'}, "
        f"found {f'pictures ({there})' if held else 'no picture'}: "
        f"{_where(folder, 'name your folders so')}"
    )


def _where(folder: Path, otherwise: str) -> str:
    """Where to get DRIVE, if that is what the folder is called; else other advice."""
    return WHERE_DRIVE_IS if "drive" in folder.name.lower() else otherwise


def _templates(layout: Layout) -> dict[str, str]:
    """What a file is -> its path in the layout."""
    templates = {"image": layout.image, **layout.labels}
    if layout.field_of_view:
        templates["field_of_view"] = layout.field_of_view
    return templates


def _matches(
    layout: Layout, pictures: dict[str, Path]
) -> Iterator[tuple[str, tuple[str | None, str], Path]]:
    """What a file is, its (split, number) and the file, for all that fit the layout.

    `pictures` are files by their paths within the tree.
    """
    for kind, template in _templates(layout).items():
        pattern = _pattern(template, layout.number)
        for name, path in pictures.items():
            if match := pattern.fullmatch(name):
                yield kind, (match.groupdict().get("split"), match["number"]), path


def _pattern(template: str, number: str) -> re.Pattern:
    """A layout's template as a regular expression."""
    stem = re.escape(template.rpartition(".")[0])
    stem = stem.replace(re.escape("**/"), "(?:.*/)?")
    for name, values in (("split", "training|test"), ("number", number)):
        place = re.escape(f"{{{name}}}")
        stem = stem.replace(place, f"(?P<{name}>{values})", 1)
        stem = stem.replace(place, f"(?P={name})")  # elsewhere the same again
    endings = "|".join(ending[1:] for ending in ENDINGS)
    return re.compile(rf"{stem}\.(?:{endings})", re.IGNORECASE)


def _case(folder: Path, layout: Layout, found: Found, split: str, number: str) -> Case:
    """The files of one number; an InputError if one that is needed is missing."""
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
        name=paths["image"].stem,
        image=paths["image"],
        field_of_view=paths.get("field_of_view"),
        labels={kind: paths[kind] or expected[kind] for kind in layout.labels},
        person=f"{folder}/{re.match(layout.person, number).group()}",
    )


def list_skipped(folder: Path | str, cases: Sequence[Case]) -> list[Path]:
    """The files of a tree that belong to none of its cases."""
    claimed = {
        path
        for case in cases
        for path in (case.image, case.field_of_view, *case.labels.values())
    }
    return [path for path in _files(Path(folder)) if path not in claimed]


# ---- reading


def require_labels(cases: Sequence[Case], observer: str) -> None:
    """Raises an InputError that names the labels of `observer` which are missing."""
    missing = [case for case in cases if not case.has_label(observer)]
    if not missing:
        return
    path = missing[0].labels.get(observer)
    if path is None:
        raise InputError(
            f"expected labels of {observer}, this data set has none: name another "
            f"observer of {', '.join(missing[0].labels)}"
        )
    raise InputError(
        f"expected {len(cases)} labels of {observer}, {len(missing)} are missing, "
        f"the first is {path}: {where_labels_are(missing[0], observer)}"
    )


def where_labels_are(case: Case, observer: str) -> str:
    """What to do about a missing label."""
    path = case.labels[observer]
    if path.parent.parent.name == "test":
        return WHERE_TEST_LABELS_ARE
    used = {path.parent, case.image.parent}
    around = path.parent.parent
    others = [
        f"{other.name}/"
        for other in (sorted(around.iterdir()) if around.is_dir() else ())
        if other.is_dir() and other not in used and other.name != "fields_of_view"
    ]
    if path.parent.is_dir() or not others:
        return WHERE_LABELS_ARE
    return (
        f"found {', '.join(others)} beside it; rename the folder that holds the labels "
        f"to {path.parent.name}/"
    )


def read_field_of_view(case: Case, pixels: np.ndarray | None = None) -> np.ndarray:
    """Reads, or estimates where no file gives it, the field of view of a case.

    Args:
        case: whose.
        pixels: its photograph as `read_pixels` reads it, if that is done already.

    Returns:
        bool array of shape (H, W).

    Raises:
        InputError: the file cannot be read, or is of another size, black or inverted.
    """
    pixels = read_pixels(case.image) if pixels is None else pixels
    if case.field_of_view is None:
        return estimate_field_of_view(pixels).inside
    _require_size(case.field_of_view, case)
    return read_field(case.field_of_view, case.image, pixels)


def read_label(
    case: Case, observer: str, vessel_values: Sequence[int] | None = None
) -> np.ndarray:
    """Reads the vessels that `observer` drew as a bool array of shape (H, W)."""
    return read_drawn(case, observer, vessel_values).vessels


def read_drawn(
    case: Case, observer: str, vessel_values: Sequence[int] | None = None
) -> labels.Drawing:
    """Reads the vessels that `observer` drew, and the rule by which they were read.

    Args:
        case: whose.
        observer: one of its labels.
        vessel_values: see `labels.read_drawing`.

    Raises:
        InputError: the label is missing, of another size than the photograph, or one
            that `labels.read_drawing` refuses.
    """
    require_labels([case], observer)
    _require_size(case.labels[observer], case)
    return labels.read_drawing(case.labels[observer], vessel_values)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A case that was read."""

    case: Case
    pixels: np.ndarray  # the photograph (H, W, 3) as `pictures.read_pixels` reads it
    inside: np.ndarray  # its field of view, bool (H, W)
    label: np.ndarray  # its vessels, bool (H, W)
    rule: str  # by which the label was read, in words
    identity: Identity  # of the photograph


def read_labelled(
    cases: Sequence[Case],
    observer: str,
    *,
    vessel_values: Sequence[int] | None = None,
    trust: bool = False,
) -> tuple[list[Labelled], list[str]]:
    """Reads photographs with their labels, and finds out whether these belong there.

    Args:
        cases: which.
        observer: whose labels.
        vessel_values: see `labels.read_drawing`.
        trust: do not refuse labels that do not lie on their photographs.

    Returns:
        What was read, in the order of the cases; and sentences on the rules by which
        labels were read, and on labels that fit better elsewhere.

    Raises:
        InputError: a file is missing or cannot be read; a label has no vessel or no
            background inside the field, or does not lie on its photograph.
    """
    require_labels(cases, observer)
    read = [_read_labelled(case, observer, vessel_values) for case in cases]
    alignments = labels.compare(
        [labels.lay(r.case.name, r.pixels, r.inside, r.label) for r in read]
    )
    refused = labels.describe_refusals(alignments)
    if refused and not trust:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise InputError(
            f"expected labels that lie on their photographs, received {refused[0]}"
            f"{more}: look with check.py, or go on all the same with --trust-labels"
        )
    rules = labels.describe_rules([r.rule for r in read])
    return read, rules + refused + labels.describe_shifts(alignments)


def _read_labelled(
    case: Case, observer: str, vessel_values: Sequence[int] | None
) -> Labelled:
    """Reads all files of one case."""
    pixels = read_pixels(case.image)
    require_bits(pixels, case.image)
    inside = read_field_of_view(case, pixels)
    drawing = read_drawn(case, observer, vessel_values)
    require_both_inside(drawing.vessels, inside, case.labels[observer])
    identity = identify(case.image, pixels)
    return Labelled(case, pixels, inside, drawing.vessels, drawing.rule, identity)


def require_bits(pixels: np.ndarray, path: Path) -> None:
    """Refuses a photograph, read from `path`, that is all but black in 16 bits."""
    if bits := few_bits(pixels):
        raise InputError(
            f"expected values that fill 16 bits in {path}, received some that need "
            f"{bits}: multiply them by {2 ** (16 - bits)}, and save it again"
        )


def require_both_inside(label: np.ndarray, inside: np.ndarray, path: Path) -> None:
    """Refuses a label, read from `path`, of one class inside the field of view."""
    drawn = label[inside]
    if drawn.all() or not drawn.any():
        raise InputError(
            f"expected vessels and background inside the field of view in {path}, "
            f"received {'all' if drawn.all() else 'no'} vessel: replace it by a label "
            "of this photograph"
        )


def fingerprint_cases(read: Sequence[Labelled]) -> str:
    """SHA-256 of decoded photographs, fields and labels, in the order of their names.

    Neither the names themselves count, nor how the files were saved.
    """
    hashed = sorted(
        (one.case.name, *map(hash_pixels, (one.pixels, one.inside, one.label)))
        for one in read
    )
    digest = hashlib.sha256()
    for _, *hashes in hashed:
        digest.update("".join(hashes).encode())
    return digest.hexdigest()


def _require_size(path: Path, case: Case) -> None:
    """Raises an InputError unless the picture in `path` has the photograph's size."""
    height, width, _ = picture_size(path)
    expected_height, expected_width, orientation = picture_size(case.image)
    if (height, width) == (expected_height, expected_width):
        return
    why = "the two do not belong together"
    if orientation >= 5 and (width, height) == (expected_height, expected_width):
        why = (
            f"the photograph is shown turned, by orientation {orientation} of its "
            "EXIF, and the other is not: turn that likewise"
        )
    raise InputError(
        f"expected {expected_width} x {expected_height} pixels in {path}, as in "
        f"{case.image}, received {width} x {height}: {why}"
    )
