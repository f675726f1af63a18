"""Which photographs are to be predicted, and which of their maps are there already.

files, left_out = list_photographs([Path("mine"), Path("eye.jpg")])
photographs = name_photographs(files)
left = choose_photographs(photographs, network, folder, options, resume=True)
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from retina import maps
from retina.files import InputError, fingerprint
from retina.identity import identify
from retina.maps import Row
from retina.networks import Network
from retina.pictures import ENDINGS, describe_skipped, read_binary, read_pixels
from retina.prediction import (
    Options,
    Photograph,
    find_bits,
    given_field,
    require_ordinary,
)

# ---- files


def list_photographs(paths: Sequence[Path]) -> tuple[list[Path], str]:
    """Files as they are given, folders as the pictures that they hold.

    Returns:
        The files, and lines on what was left out in folders, empty if nothing was.

    Raises:
        InputError: a path leads nowhere, or to a folder without pictures.
    """
    files: list[Path] = []
    skipped: list[Path] = []
    within: dict[Path, Path] = {}  # each once, however it was named
    for path in paths:
        if path.is_dir():
            pictures, others, folders = list_folder(path)
            files += pictures
            skipped += others
            within |= {each.resolve(): each for each in folders}
        elif path.exists():
            files.append(path)
        else:
            raise InputError(
                f"expected a photograph or a folder at {path}, found neither: check "
                "the path"
            )
    lines = [describe_skipped(skipped)]
    named = {path.resolve() for path in paths}
    if folders := [each for place, each in within.items() if place not in named]:
        listing = first_few(folders)
        lines.append(f"folders with pictures, not entered unless named: {listing}")
    return files, "\n".join(filter(None, lines))


def list_folder(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The pictures in a folder, its other files, and the folders within that hold
    pictures, which are not entered. Hidden files and maps are none of them.
    """
    files = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    pictures = [p for p in files if is_picture(p)]
    inner = [p for p in files if p.is_dir() and folder / maps.TABLE not in files]
    within = list(itertools.chain.from_iterable(map(find_folders, inner)))
    if not pictures:
        advice = f"name {first_few(within)}, with pictures" if within else "check it"
        raise InputError(
            f"expected photographs in {folder} ({' '.join(ENDINGS)}), found none: "
            f"{advice}"
        )
    others = [p for p in files if not p.is_dir() and not is_picture(p)]
    return pictures, others, within


def find_folders(folder: Path) -> Iterator[Path]:
    """A folder and those within, at any depth, in which pictures lie themselves.

    Hidden files and maps are none, and what cannot be read is passed over.
    """
    for place, folders, names in os.walk(folder):
        if maps.TABLE in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        endings = (Path(n).suffix.lower() for n in names if not n.startswith("."))
        if any(ending in ENDINGS for ending in endings):
            yield Path(place)


def first_few(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders[:4])) + ", and more" * (len(folders) > 4)


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.is_dir()


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


# ---- what is there already


def choose_photographs(
    photographs: Sequence[Photograph],
    network: Network,
    folder: Path,
    options: Options,
    *,
    resume: bool = False,
    replace: bool = False,
) -> list[Photograph]:
    """Those that are to be predicted: with `resume` all whose map is not there.

    With `replace` the maps of these photographs are removed from `folder`.

    Raises:
        InputError: something would be written over, that is not the map of this
            photograph by this network with these options.
    """
    names = {photograph.name for photograph in photographs}
    originals = [p for each in photographs for p in (each.path, each.field_of_view)]
    originals += sorted(options.field_folder.glob("*")) if options.field_folder else []
    rows = maps.require_free(folder, names, [path for path in originals if path])
    there = sorted(names & rows.keys())
    if there and replace:
        maps.remove_maps(folder, names)
    elif there and not resume:
        raise InputError(
            f"expected no maps of these photographs in {folder}, found {len(there)}, "
            f"{there[0]} for one: go on with --resume, start anew with --replace, or "
            "choose another folder with --output"
        )
    elif there:
        return [
            each
            for each in photographs
            if each.name not in rows
            or not is_done(folder, rows[each.name], each, network, options)
        ]
    return list(photographs)


def is_done(
    folder: Path, row: Row, photograph: Photograph, network: Network, options: Options
) -> bool:
    """Whether the map that would be made is there, with the pictures asked for.

    Raises:
        InputError: another whole map is there.
    """
    if not maps.is_whole(folder, row):
        return False
    try:
        difference = find_difference(folder, row, photograph, network, options)
    except Exception:  # whatever a damaged file brings about: told when it is read
        return False
    if difference:
        raise InputError(
            f"expected the map {row.name} in {folder} to be the one that would be made "
            f"now, but it is {difference}: start anew with --replace, or choose "
            "another folder with --output"
        )
    paths = maps.paths_of(folder, row.name)
    wanted = {"vessels": options.vessels, "overlay": options.overlay}
    return all(paths[kind].is_file() for kind, is_wanted in wanted.items() if is_wanted)


def has_bits(row: Row, path: Path, bits: int | None) -> bool:
    """Whether as many bits of a value counted as would count now."""
    if bits in (None, 16):
        return row.bits in (8, 16)
    return row.bits == find_bits(read_pixels(path, bits), bits)


def has_scale(row: Row, options: Options) -> bool:
    """Whether the scale was chosen as it would be now."""
    if options.camera:
        return row.scale_from == "camera" and row.scale == options.camera.scale
    if options.shown_diameter:
        shown = row.scale_from == "shown diameter"
        return shown and row.shown_diameter == round(options.shown_diameter, 1)
    if options.scale:
        return row.scale_from == "given" and row.scale == options.scale
    return row.scale_from in (*maps.FIRST_GUESSES, "uncertainty")


def find_difference(
    folder: Path, row: Row, photograph: Photograph, network: Network, options: Options
) -> str:
    """In what the map in `folder` differs from the one that would be made now.

    Returns:
        Words such as "of another photograph"; empty where it would be the same map.

    Raises:
        InputError: photograph or field of view cannot be read.
    """
    require_ordinary(photograph.path)
    if fingerprint(photograph.path) != row.photograph_sha256:
        if not maps.is_of(row, identify(photograph.path)):
            return f"of another photograph, {row.photograph}"
    if row.network_sha256 != network.sha256:
        return f"by another network, {row.network}"
    for column in ("views", "precision", "tile_side", "tile_overlap"):
        noted, wanted = getattr(row, column), getattr(options, column)
        if noted != wanted:
            return f"with another {column}, {noted} and not {wanted}"
    if row.factors != network.record.joined_factors:
        return f"averaged over other scales, {row.factors}"
    if not has_scale(row, options):
        return f"with another scale, {row.scale:.3f}, {row.scale_from}"
    if not has_bits(row, photograph.path, options.bits):
        return f"with other --bits, {row.bits}"
    path = given_field(photograph, options.field_folder)
    here = maps.paths_of(folder, row.name)["field"]
    given = row.field_from in ("given", "data set")
    if given != (path is not None) or (
        path and not np.array_equal(read_binary(path), read_binary(here))
    ):
        return f"with another field of view, {row.field_from}"
    return ""
