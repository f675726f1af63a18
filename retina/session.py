"""The photographs of a local page, each from its upload to its map, its measures and
its corrections; all of it on disk, and there again after a restart.

session = Session(Path("output/page"), network, options)
with session.receive("eye.jpg") as file:
    file.write(content)
    item = session.add(Path(file.name), "eye.jpg")
session.work()  # in a thread of its own: one network, one photograph at a time

The folder is one that predict.py could have written, and measure.py takes it: maps,
fields/, vessels/, overlays/ and predictions.csv. Beside them lie photographs/ (what was
uploaded), views/ and thumbnails/ (the same for browsers), measures/NAME.json and, of
corrected vessels, changes/NAME.png (added blue, removed red).
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import queue
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from retina import maps, report
from retina.corrections import read_correction
from retina.files import (
    InputError,
    explain_failure,
    fingerprint,
    require_no_link,
    require_writable,
    whole_file,
    write_table,
)
from retina.maps import Row
from retina.measurements import (
    MEASUREMENTS,
    SEGMENTS,
    Source,
    measure_regions,
    photograph_row,
    read_corrected_subject,
    read_mapped_subject,
    segment_rows,
)
from retina.networks import Network
from retina.pictures import open_picture, picture_size, read_pixels
from retina.prediction import (
    FATAL,
    Options,
    Photograph,
    draw_overlay,
    predict_photograph,
    read_photograph,
    write_photograph,
)

if TYPE_CHECKING:
    from retina.morphometry import Measures

OWN = ("photographs", "views", "thumbnails", "measures", "changes")  # folders
THUMBNAIL = 160  # pixels, the longer side
INCOMING = ".incoming-"  # begins the names of files that are being uploaded
LONGEST = 120  # bytes of a name: 255 with what is added
MEASURE, PREDICT = 0, 1  # what somebody waits for comes first


class ConflictError(InputError):
    """Somebody else, perhaps in another window, is or was at the same photograph."""


@dataclass
class Item:
    """A photograph of the session.

    Attributes:
        key: what it is called in addresses: the first digits of its file's SHA-256.
        name: of its map.
        path: of its file.
        state: `waiting`, `working`, `done` or `failed`.
        step: what is done while it is `working`.
        error: the sentence on what failed.
        row: of its map, once there is one.
    """

    key: str
    name: str
    path: Path
    state: str = "waiting"
    step: str = ""
    error: str = ""
    row: Row | None = None


def plain_name(text: str) -> tuple[str, str]:
    """Name and ending for a file, of whatever a browser says that a file is called.

    They are no path, and every system can hold them.
    """
    last = re.split(r"[/\\]", text)[-1]
    shown = (c if c.isprintable() and c not in '<>:"|?*' else "_" for c in last)
    name = Path("".join(shown).strip(". ") or "photograph")
    stem = name.stem.encode()[:LONGEST].decode(errors="ignore")
    ending = name.suffix.encode()[:16].decode(errors="ignore")
    return stem.rstrip(". ") or "photograph", ending


class Session:
    """Photographs in a folder, and the work on them.

    Attributes:
        folder: where all lies.
        items: key -> item, in the order in which they came.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        options: Options,
        micrometres_per_pixel: float | None = None,
    ):
        """Finds what an earlier session left, and goes on with what it had not done.

        Raises:
            InputError: nothing can be written into the folder, a link leads out of it,
                or its table cannot be read.
        """
        self.folder, self.network, self.options = folder, network, options
        self.scale = micrometres_per_pixel
        self.items: dict[str, Item] = {}
        self.lock = threading.RLock()
        self._jobs: queue.PriorityQueue = queue.PriorityQueue()
        self._numbers = itertools.count()  # jobs of one kind keep their order
        pictures = maps.paths_of(folder, "any").values()
        require_no_link(*(folder / name for name in OWN), *(p.parent for p in pictures))
        require_writable(folder / "photographs")
        self._find_again()

    def _find_again(self) -> None:
        there = (self.folder / maps.TABLE).is_file()
        rows = maps.read_predictions(self.folder) if there else {}
        photographs = self.folder / "photographs"
        cut_short = itertools.chain(
            photographs.glob(f"{INCOMING}*"),
            self.folder.glob(".*.part.*"),
            self.folder.glob("*/.*.part.*"),
        )
        for part in list(cut_short):
            part.unlink()
        files = [path for path in photographs.iterdir() if path.name[0] != "."]
        for path in sorted(files, key=lambda path: path.stat().st_mtime):
            item = Item(fingerprint(path)[:16], path.stem, path)
            row = rows.get(path.stem)
            if row and maps.is_whole(self.folder, row):
                item.row = row
            self.items[item.key] = item
            if item.row and self.path_of(item, "measures").is_file():
                item.state = "done"
            else:
                self.start(item)

    # ---- files

    def path_of(self, item: Item, kind: str) -> Path:
        """Where a file of a photograph lies: one of predict.py's, or one of `OWN`."""
        own = {"views": ".jpg", "thumbnails": ".jpg", "measures": ".json"}
        if kind == "photographs":
            return item.path
        if kind in OWN:
            return self.folder / kind / f"{item.name}{own.get(kind, '.png')}"
        return maps.paths_of(self.folder, item.name)[kind]

    @contextmanager
    def receive(self, name: str) -> Iterator:
        """Yields a new file for an upload; it is gone after the block unless `add` took
        it."""
        file = NamedTemporaryFile(
            dir=self.folder / "photographs",
            prefix=INCOMING,
            suffix=plain_name(name)[1],
            delete=False,
        )
        try:
            with file:
                yield file
        finally:
            Path(file.name).unlink(missing_ok=True)

    def add(self, path: Path, name: str) -> Item:
        """Takes an uploaded file into the session, and has it predicted.

        Raises:
            ConflictError: the same file is there already.
            InputError: it is no picture, or a huge one; its pixels are not decoded yet.
        """
        try:
            picture_size(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
        key = fingerprint(path)[:16]
        with self.lock:
            if key in self.items:
                raise ConflictError(
                    f"expected new photographs, but {name} is here already, as "
                    f"{self.items[key].name}: open that one"
                )
            stem, ending = plain_name(name)
            stem = self._free_name(stem)
            item = Item(key, stem, self.folder / "photographs" / f"{stem}{ending}")
            path.replace(item.path)
            self.items[key] = item
        self.start(item)
        return item

    def _free_name(self, stem: str) -> str:
        """`stem`, or `stem (2)` and so on where a photograph or a file has that."""
        taken = {item.name.casefold() for item in self.items.values()}
        names = itertools.chain([stem], (f"{stem} ({n})" for n in itertools.count(2)))
        for name in names:
            paths = maps.paths_of(self.folder, name).values()
            if name.casefold() not in taken and not any(map(os.path.lexists, paths)):
                return name
        raise AssertionError  # there is no end of numbers

    def remove(self, item: Item) -> None:
        """Removes a photograph and all that was made of it, corrections too.

        Raises:
            ConflictError: it is being worked on.
        """
        with self.lock:
            if item.state == "working":
                raise ConflictError(
                    f"expected {item.name} to be idle, but it is being worked on: wait "
                    "a moment, then remove it"
                )
            self.items.pop(item.key, None)
            for kind in (*OWN, "vessels", "overlay"):
                self.path_of(item, kind).unlink(missing_ok=True)
            if item.row:
                maps.remove_maps(self.folder, {item.name})

    # ---- work

    def start(
        self,
        item: Item,
        threshold: float | None = None,
        micrometres_per_pixel: float | None = None,
    ) -> None:
        """Has a photograph predicted, where it has no map, and measured."""
        with self.lock:
            if item.state == "done" or item.error:
                item.state, item.error = "waiting", ""
            scale = micrometres_per_pixel or self.scale
            again = partial(self._measure, item, threshold, scale)
            task = again if item.row else partial(self._predict, item)
            order = MEASURE if item.row else PREDICT
            self._jobs.put((order, next(self._numbers), item, task))

    def work(self) -> None:
        """Does what there is to do, until `stop`."""
        while True:
            _, _, item, task = self._jobs.get()
            if task is None:
                return
            self._attempt(item, task)

    def stop(self) -> None:
        """Lets `work` return when it is through with the photograph at hand."""
        self._jobs.put((-1, next(self._numbers), None, None))

    def _attempt(self, item: Item, task: Callable[[], None]) -> None:
        with self.lock:
            if item.key not in self.items:
                return
            item.state = "working"
        state, error = "done", ""
        try:
            task()
        except Exception as reason:  # whatever a file of somebody else's brings about
            state, error = "failed", self._explain(reason, item)
        item.error, item.state, item.step = error, state, ""

    def _explain(self, error: Exception, item: Item) -> str:
        if isinstance(error, OSError) and error.errno in FATAL:
            return explain_refusal(error, self.folder)
        path, name = str(item.path), item.path.name
        return explain_failure(error, f"work on {path}").replace(path, name)

    def _predict(self, item: Item) -> None:
        item.step = "reading"
        photograph = Photograph(item.name, item.path)
        shown = read_photograph(photograph, self.network.record, self.options)
        picture = report.as_picture(shown.pixels)
        self._save(item, "views", picture, quality=90)
        self._save(item, "thumbnails", report.shrunk(picture, THUMBNAIL), quality=80)
        del picture
        item.step = "finding vessels"
        mapped = predict_photograph(self.network, shown, self.options)
        item.row = write_photograph(self.folder, mapped, self.network, self.options)
        self._measure(item, None, self.scale)

    def _save(self, item: Item, kind: str, picture: Image.Image, **options) -> None:
        with whole_file(self.path_of(item, kind)) as part:
            picture.save(part, **options)

    def _measure(
        self, item: Item, threshold: float | None, scale: float | None
    ) -> None:
        """Measures the map as it is, and what was made of it since, if anything was:
        the picture that a person corrected, or the map cut at another threshold."""
        item.step = "measuring"
        row, path = item.row, self.path_of(item, "measures")
        again = path.is_file()
        subject = read_mapped_subject(self.folder, row, None)
        source = Source(item.name, self.path_of(item, "map"), lambda: subject)
        before, measures, segments = measure_one(source, scale)
        after = None
        picture = self.path_of(item, "vessels")
        threshold = row.threshold if threshold is None else threshold
        if maps.is_edited(self.folder, row):
            subject = read_corrected_subject(picture, self.folder, row, None)
            source = Source(item.name, picture, lambda: subject)
            after, measures, segments = measure_one(source, scale)
        elif threshold != row.threshold:
            subject = read_mapped_subject(self.folder, row, threshold)
            after, measures, segments = measure_one(source, scale)
        if again:
            self._draw_again(item, subject.vessels, subject.field_of_view)
        found = {"threshold": threshold, "before": before, "after": after}
        found["segments"] = [as_cells(segment) for segment in segments()]
        text = json.dumps(found | as_lines(measures), separators=(",", ":"))
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")

    def _draw_again(
        self, item: Item, vessels: np.ndarray, field_of_view: np.ndarray
    ) -> None:
        """Draws the overlay, and where the vessels (H, W) differ from the map's."""
        overlay = draw_overlay(read_pixels(item.path, self.options.bits), vessels)
        self._save(item, "overlay", overlay, **maps.SAVED["overlay"])
        drawn = maps.read_map(self.folder, item.row).probability >= item.row.threshold
        changes = report.difference_picture(vessels, drawn, field_of_view)
        self._save(item, "changes", changes)

    # ---- what the page asks for

    def vessels_of(self, item: Item) -> tuple[np.ndarray, str]:
        """The vessels (H, W), bool, as they are now, and the SHA-256 of their file."""
        with self.lock:
            path = self.path_of(item, "vessels")
            read = read_correction(path, self.folder, item.row)
            return read.vessels, fingerprint(path)

    def probability_of(self, item: Item) -> np.ndarray:
        """The map (H, W), uint16: value / 65535 is the probability."""
        return np.asarray(open_picture(self.path_of(item, "map"))).astype("<u2")

    def correct(
        self, item: Item, vessels: np.ndarray, threshold: float, seen: str
    ) -> str:
        """Keeps the vessels that a person left of the map and drew on it.

        Args:
            item: with a map.
            vessels: (H, W), bool.
            threshold: at which the map was cut in the drawing.
            seen: SHA-256 of the picture of the vessels that the drawing began with.

        Returns:
            That of the picture that is there now.

        Raises:
            ConflictError: another window has changed that picture since.
            InputError: it is one that `read_correction` refuses.
        """
        with self.lock:
            path, row = self.path_of(item, "vessels"), item.row
            if seen != fingerprint(path):
                raise ConflictError(
                    f"expected the vessels of {item.name} as this window shows them, "
                    "but another one has changed them since: load the page anew"
                )
            written = maps.read_map(self.folder, row)
            if np.array_equal(vessels, written.probability >= threshold):
                vessels = written.probability >= row.threshold  # no stroke is left
            with whole_file(path) as part:
                Image.fromarray(vessels).save(part)
                try:
                    read_correction(part, self.folder, row)
                except InputError as error:
                    told = str(error).replace(str(part), item.name)
                    raise InputError(told) from None
            return fingerprint(path)

    def measures_of(self, item: Item) -> dict:
        """What `_measure` wrote."""
        return json.loads(self.path_of(item, "measures").read_text("utf-8"))

    def pack(self, items: Iterable[Item], path: Path) -> None:
        """Writes all results of photographs that have some as one zip file."""
        done = [each for each in items if self.path_of(each, "measures").is_file()]
        measured = [self.measures_of(item) for item in done]
        rows = [m[key] for m in measured for key in ("before", "after") if m[key]]
        with zipfile.ZipFile(path, "w") as archive, TemporaryDirectory() as folder:
            for item in done:
                for kind in ("map", "field", "vessels", "overlay", "changes"):
                    file = self.path_of(item, kind)
                    if file.is_file():
                        archive.write(file, file.relative_to(self.folder).as_posix())
            table = Path(folder) / "table.csv"
            write_table(table, maps.COLUMNS, [astuple(item.row) for item in done])
            archive.write(table, maps.TABLE)
            segments = [row for m in measured for row in m["segments"]]
            for name, lines in ((MEASUREMENTS, rows), (SEGMENTS, segments)):
                write_rows(table, lines)
                archive.write(table, name)


def explain_refusal(error: OSError, folder: Path) -> str:
    """The sentence on a disk that is full or read-only."""
    return (
        f"expected to read and write in {folder}, but it is refused "
        f"({os.strerror(error.errno or errno.EIO)}): make room there, then try again"
    )


def as_cells(row: dict[str, object]) -> dict[str, str]:
    """A row with its cells as a table holds them."""
    return {n: "" if value is None else str(value) for n, value in row.items()}


def measure_one(
    source: Source, scale: float | None
) -> tuple[dict[str, str], Measures, Callable[[], list[dict]]]:
    """Measures a photograph's whole field, as measure.py does: its row as cells, the
    measures, and what makes the rows of its segments."""
    subject = source.read()
    measured = measure_regions(subject)["field"]
    row = photograph_row(source, subject, "field", measured, scale)
    segments = partial(segment_rows, source, "field", measured, scale)
    return as_cells(row), measured.measures, segments


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Writes rows as measure.py does; columns that some lack are empty there."""
    titles = list(dict.fromkeys(itertools.chain(*rows)))
    write_table(path, titles, [[row.get(t, "") for t in titles] for row in rows])


def as_lines(measures: Measures) -> dict[str, list]:
    """Centre lines (row, column), widths and branch points, for drawing: pixels."""
    return {
        "lines": [segment.points.round(1).tolist() for segment in measures.segments],
        "widths": [
            [None if np.isnan(width) else round(float(width), 1) for width in s.widths]
            for s in measures.segments
        ],
        "branch_points": [
            [round(float(point.row), 1), round(float(point.column), 1)]
            for point in measures.branch_points
        ],
    }
