"""The photographs of a local page, each from its upload to its map, its measures and
its corrections; all of it on disk, and there again after a restart.

session = Session(Path("output/page"), network, options)
with session.scratch() as folder:
    upload = Path(folder, "upload")
    upload.write_bytes(content)
    item = session.add(upload, "eye.jpg")
session.work()  # in a thread of its own: one network, one photograph at a time

The folder is one that predict.py could have written, and measure.py takes it. What else
lies there: docs/page.md.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from retina import maps, measurements, prediction, report
from retina.corrections import read_correction
from retina.files import (
    InputError,
    explain_failure,
    fingerprint,
    require_no_link,
    require_writable,
    table_bytes,
    whole_file,
)
from retina.maps import Row
from retina.measurements import MEASUREMENTS, SEGMENTS, Source
from retina.networks import Network
from retina.pictures import open_picture, picture_size, read_pixels
from retina.prediction import Options, Photograph

if TYPE_CHECKING:
    from retina.morphometry import Measures

OWN = {  # what predict.py does not write: kind -> folder, ending
    "view": ("views", ".jpg"),
    "thumbnail": ("thumbnails", ".jpg"),
    "measures": ("measures", ".json"),
    "changes": ("changes", ".png"),
}
RESULTS = ("map", "field", "vessels", "overlay", "changes")
THUMBNAIL = 160  # pixels, the longer side
SCRATCH = ".page-"  # begins the names of folders that are gone after their use
LONGEST = 120  # bytes of a name: 255 with what is added
RESERVED = re.compile("(con|prn|aux|nul|com.|lpt.)", re.IGNORECASE)  # on Windows


@dataclass
class Item:
    """A photograph of the session. Its addresses on the page hold `key`."""

    key: str  # the first digits of its file's SHA-256
    name: str  # of its map
    path: Path  # of its file
    row: Row | None = None  # of its map, once there is one
    measured: int = 0  # how many times since the start; those before it are one
    # Threshold and micrometres per pixel with which to measure it; None: nothing waits.
    wanted: tuple[float | None, float | None] | None = None
    step: str = ""  # what is done to it, or that it waits; empty: nothing
    error: str = ""  # the sentence on what failed


def plain_name(text: str) -> tuple[str, str]:
    """Name and ending for a file, of whatever a browser says that a file is called.

    They are no path, and every system can hold them.
    """
    last = re.split(r"[/\\]", text)[-1]
    shown = (c if c.isprintable() and c not in '<>:"|?*' else "_" for c in last)
    name = Path("".join(shown).strip(". ") or "photograph")
    stem = name.stem.encode()[:LONGEST].decode(errors="ignore").rstrip(". ")
    ending = name.suffix.encode()[:16].decode(errors="ignore")
    reserved = RESERVED.fullmatch(stem.partition(".")[0])
    return f"_{stem}" if reserved else stem or "photograph", ending


class Session:
    """Photographs in a folder, and the work on them.

    Attributes:
        items: key -> item, in the order in which they came.
        scale: micrometres per pixel, unless the page gives others; None: not known.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        options: Options,
        scale: float | None = None,
    ):
        """Finds what an earlier session left, and goes on with what it had not done.

        Raises:
            InputError: nothing can be written into the folder, a link leads out of it,
                or its table cannot be read.
        """
        self.folder, self.network, self.options = folder, network, options
        self.scale = scale
        self.items: dict[str, Item] = {}
        self.changed = threading.Condition()
        self._ended = False
        self._photographs = folder / "photographs"
        own = [folder / name for name, _ in OWN.values()]
        pictures = [path.parent for path in maps.paths_of(folder, "any").values()]
        tables = folder / maps.TABLE, folder / maps.LOCK
        require_no_link(self._photographs, *own, *pictures, *tables)
        require_writable(self._photographs)
        self._remove_halves()
        self._find_again()

    def _remove_halves(self) -> None:
        """Removes what was not written to its end."""
        for part in [*self.folder.glob(".*.part.*"), *self.folder.glob("*/.*.part.*")]:
            part.unlink()
        for part in self.folder.glob(f"{SCRATCH}*/"):
            shutil.rmtree(part)

    def _find_again(self) -> None:
        there = (self.folder / maps.TABLE).is_file()
        rows = maps.read_predictions(self.folder) if there else {}
        files = [path for path in self._photographs.glob("[!.]*") if path.is_file()]
        for path in sorted(files, key=lambda path: path.stat().st_mtime):
            item = Item(fingerprint(path)[:16], path.stem, path)
            self._require_new(item)
            self.items[item.key] = item
            row = rows.get(item.name)
            is_own = row and row.photograph_sha256.startswith(item.key)
            if is_own and maps.is_whole(self.folder, row):
                item.row = row
            measures = self.measures_of(item) if item.row else None
            if measures is None:
                self.ask(item)
                continue
            item.measured = 1
            if measures["wanted"]:
                self.ask(item, *measures["wanted"])

    def _require_new(self, item: Item) -> None:
        """Refuses files that a person put beside others of their name or content."""
        for other in self.items.values():
            same_name = other.name.casefold() == item.name.casefold()
            if same_name or other.key == item.key:
                raise InputError(
                    "expected each photograph once, under a name of its own, found "
                    f"{other.path} and {item.path.name}: rename or remove one"
                )

    # ---- files

    def paths_of(self, item: Item) -> dict[str, Path]:
        """Kind -> where that file of a photograph lies, if it is there."""
        own = {
            kind: self.folder / folder / f"{item.name}{ending}"
            for kind, (folder, ending) in OWN.items()
        }
        return maps.paths_of(self.folder, item.name) | own

    def scratch(self) -> TemporaryDirectory:
        """A new folder within the session's own, for a `with` block."""
        return TemporaryDirectory(dir=self.folder, prefix=SCRATCH)

    def add(self, path: Path, name: str) -> Item:
        """Takes an uploaded file into the session, and has it predicted.

        Raises:
            InputError: the same file is there already; it is no picture, or a huge
                one; its pixels are not decoded yet.
        """
        try:
            picture_size(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
        key = fingerprint(path)[:16]
        with self.changed:
            if key in self.items:
                raise InputError(
                    f"expected new photographs, but {name} is here already, as "
                    f"{self.items[key].name}: open that one"
                )
            stem, ending = plain_name(name)
            stem = self._free_name(stem)
            item = Item(key, stem, self._photographs / f"{stem}{ending}")
            path.replace(item.path)
            self.items[key] = item
            self.ask(item)
        return item

    def _free_name(self, stem: str) -> str:
        """`stem`, or `stem (2)` and so on where a photograph or a file has that."""
        taken = {item.name.casefold() for item in self.items.values()}
        for number in itertools.count(1):
            name = stem if number == 1 else f"{stem} ({number})"
            paths = maps.paths_of(self.folder, name).values()
            if name.casefold() not in taken and not any(map(os.path.lexists, paths)):
                return name

    def remove(self, item: Item) -> None:
        """Removes a photograph and all that was made of it, corrections too.

        Raises:
            InputError: it is being worked on.
        """
        with self.changed:
            if item.step not in ("", "waiting"):
                raise InputError(
                    f"expected {item.name} to be idle, but it is being worked on: wait "
                    "a moment, then remove it"
                )
            del self.items[item.key]
            for path in (item.path, *self.paths_of(item).values()):
                path.unlink(missing_ok=True)
            if item.row:
                maps.remove_maps(self.folder, {item.name})

    # ---- work

    def ask(
        self, item: Item, threshold: float | None = None, scale: float | None = None
    ) -> None:
        """Has a photograph predicted, where it has no map, and measured."""
        with self.changed:
            item.wanted = threshold, scale or self.scale
            item.step, item.error = item.step or "waiting", ""
            self.changed.notify_all()

    def work(self) -> None:
        """Does what there is to do, until `stop`: measuring, for which somebody waits,
        before predicting."""
        while next_one := self._next():
            (item, wanted), error = next_one, ""
            try:
                if item.row is None:
                    self._predict(item)
                self._measure(item, *wanted)
            except Exception as reason:  # whatever somebody else's file brings about
                error = self._explain(reason, item)
            with self.changed:
                item.error, item.step = error, "waiting" if item.wanted else ""

    def stop(self) -> None:
        """Lets `work` return when it is through with the photograph at hand."""
        with self.changed:
            self._ended = True
            self.changed.notify_all()

    def _next(self) -> tuple[Item, tuple] | None:
        """Waits for what is to be done: a photograph, and what is wanted of it."""
        with self.changed:
            while not self._ended:
                waiting = [item for item in self.items.values() if item.wanted]
                if waiting:
                    item = min(waiting, key=lambda item: item.row is None)
                    item.step = "measuring" if item.row else "reading"
                    wanted, item.wanted = item.wanted, None
                    return item, wanted
                self.changed.wait()
        return None

    def _explain(self, error: Exception, item: Item) -> str:
        if isinstance(error, OSError) and error.errno in prediction.FATAL:
            return explain_refusal(error, self.folder)
        path, name = str(item.path), item.path.name
        return explain_failure(error, f"work on {path}").replace(path, name)

    def _predict(self, item: Item) -> None:
        network, options = self.network, self.options
        photograph = Photograph(item.name, item.path)
        shown = prediction.read_photograph(photograph, network.record, options)
        picture = report.as_picture(shown.pixels)
        self._save(item, "view", picture, quality=90)
        self._save(item, "thumbnail", report.shrunk(picture, THUMBNAIL))
        del picture
        item.step = "finding vessels"
        mapped = prediction.predict_photograph(network, shown, options)
        item.row = prediction.write_photograph(self.folder, mapped, network, options)
        item.step = "measuring"

    def _save(self, item: Item, kind: str, picture: Image.Image, **options) -> None:
        with whole_file(self.paths_of(item)[kind]) as part:
            picture.save(part, **options)

    def _sources(self, item: Item) -> list[Source]:
        """The map, and the picture of its vessels where a person changed that."""
        folder, row, paths = self.folder, item.row, self.paths_of(item)
        read = partial(measurements.read_mapped_subject, folder, row)
        sources = [Source(item.name, paths["map"], read)]
        if maps.is_edited(folder, row):
            path = paths["vessels"]
            read = partial(measurements.read_corrected_subject, path, folder, row)
            sources.append(Source(item.name, path, read))
        return sources

    def _measure(
        self, item: Item, threshold: float | None, scale: float | None
    ) -> None:
        """Measures the map as it is, then what a person made of it, if anything; each
        as measure.py does. Segments and pictures are of the last of them."""
        rows = []
        for source in self._sources(item):
            subject = source.read()
            field = measurements.measure_regions(subject)["field"]
            row = measurements.photograph_row(source, subject, "field", field, scale)
            rows.append(as_cells(row))
        segments = measurements.segment_rows(source, "field", field, scale)
        if len(rows) > 1 or self.paths_of(item)["changes"].is_file():
            self._draw_again(item, subject.vessels, subject.field_of_view)
        found = {
            "row": asdict(item.row),
            "threshold": item.row.threshold if threshold is None else threshold,
            "rows": rows,
            "segments": [as_cells(row) for row in segments],
            **as_lines(field.measures),
        }
        with self.changed:
            self._write_measures(item, found, item.wanted)
            item.measured += 1

    def _draw_again(self, item: Item, vessels: np.ndarray, inside: np.ndarray) -> None:
        """Draws the overlay, and where the vessels (H, W) differ from the map's."""
        pixels = read_pixels(item.path, self.options.bits)
        overlay = prediction.draw_overlay(pixels, vessels)
        self._save(item, "overlay", overlay, **maps.SAVED["overlay"])
        drawn = maps.read_map(self.folder, item.row).probability >= item.row.threshold
        changes = report.difference_picture(vessels, drawn, inside)
        self._save(item, "changes", changes)

    def _write_measures(self, item: Item, measures: dict, wanted: tuple | None) -> None:
        """Writes them, and what is wanted next, should the program end before."""
        with whole_file(self.paths_of(item)["measures"]) as part:
            part.write_text(json.dumps(measures | {"wanted": wanted}), "utf-8")

    # ---- what the page asks for

    def measures_of(self, item: Item) -> dict | None:
        """What `_measure` found last, if anything."""
        try:
            found = json.loads(self.paths_of(item)["measures"].read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # not yet, or damaged by hand
            return None
        return found if "wanted" in found else None

    def probability_of(self, item: Item) -> np.ndarray:
        """The map (H, W), uint16: value / 65535 is the probability."""
        return np.asarray(open_picture(self.paths_of(item)["map"])).astype("<u2")

    def vessels_of(self, item: Item) -> tuple[np.ndarray, str]:
        """The vessels (H, W), bool, as they are now, and the SHA-256 of their file."""
        path = self.paths_of(item)["vessels"]
        seen = fingerprint(path)  # first: what comes between is another one's change
        return read_correction(path, self.folder, item.row).vessels, seen

    def correct(
        self,
        item: Item,
        vessels: np.ndarray,
        seen: str,
        threshold: float,
        scale: float | None,
    ) -> str:
        """Keeps the vessels (H, W), bool, that a person made of a map, and has them
        measured.

        Args:
            seen: SHA-256 of the picture of the vessels that the drawing began with.
            threshold: at which the map was cut in the drawing.
            scale: micrometres per pixel; None: the session's.

        Returns:
            SHA-256 of the picture that is there now.

        Raises:
            InputError: another window has changed that picture since, or
                `read_correction` refuses the new one.
        """
        path = self.paths_of(item)["vessels"]
        with self.changed:
            if seen != fingerprint(path):
                raise InputError(
                    f"expected the vessels of {item.name} as this window shows them, "
                    "but another one has changed them since: load the page anew"
                )
            with whole_file(path) as part:
                Image.fromarray(vessels).save(part)
                try:
                    read_correction(part, self.folder, item.row)
                except InputError as error:
                    told = str(error).replace(str(part), item.name)
                    raise InputError(told) from None
                self._write_measures(item, self.measures_of(item), (threshold, scale))
            self.ask(item, threshold, scale)
            return fingerprint(path)

    def tables_of(self, items: Sequence[Item]) -> dict[str, bytes]:
        """Name -> content of the tables on photographs that were measured."""
        measured = [self.measures_of(item) for item in items]
        content = {}
        for name, part in ((MEASUREMENTS, "rows"), (SEGMENTS, "segments")):
            rows = [row for measures in measured for row in measures[part]]
            titles = list(dict.fromkeys(itertools.chain(*rows)))  # units may differ
            lines = [[row.get(title, "") for title in titles] for row in rows]
            content[name] = table_bytes([titles, *lines])
        rows = [astuple(item.row) for item in items]
        return content | {maps.TABLE: table_bytes([maps.COLUMNS, *rows])}

    def pack(self, items: Sequence[Item], file: BinaryIO) -> None:
        """Writes all results of photographs that were measured as one zip file."""
        with zipfile.ZipFile(file, "w") as archive:
            for paths in map(self.paths_of, items):
                for path in map(paths.get, RESULTS):
                    if path.is_file():
                        archive.write(path, path.relative_to(self.folder).as_posix())
            for name, content in self.tables_of(items).items():
                archive.writestr(name, content)


def explain_refusal(error: OSError, folder: Path) -> str:
    """The sentence on a disk that is full or read-only."""
    return (
        f"expected to read and write in {folder}, but it is refused "
        f"({os.strerror(error.errno or errno.EIO)}): make room there, then try again"
    )


def as_cells(row: dict[str, object]) -> dict[str, str]:
    """A row with its cells as a table holds them."""
    return {name: "" if value is None else str(value) for name, value in row.items()}


def as_lines(measures: Measures) -> dict[str, list]:
    """Centre lines (row, column), widths and branch points, for drawing: pixels."""

    def plain(numbers: np.ndarray) -> list:
        return np.where(np.isnan(numbers), None, np.round(numbers, 1)).tolist()

    return {
        "lines": [plain(segment.points) for segment in measures.segments],
        "widths": [plain(segment.widths) for segment in measures.segments],
        "branch_points": [plain([at.row, at.column]) for at in measures.branch_points],
    }
