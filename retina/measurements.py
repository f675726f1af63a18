"""From maps and corrected pictures to rows of tables: for every command that measures.

subject = read_mapped_subject(folder, rows["eye"])
source = Source("eye", path, read=...)
measured = measure_regions(subject)
row = photograph_row(source, subject, "field", measured["field"], scale=None)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retina import corrections, maps
from retina.files import InputError, fingerprint
from retina.identity import identify
from retina.maps import Row
from retina.pictures import read_pixels

if TYPE_CHECKING:
    from retina.morphometry import Measures
    from retina.profiles import Profile

MEASUREMENTS, SEGMENTS = "measurements.csv", "segments.csv"
POWERS = {"px": 1, "px2": 2, "per_px": -1, "per_px2": -2}  # of the scale


@dataclass(frozen=True)
class Subject:
    """The vessels of one photograph, ready to be measured."""

    photograph: Path
    photograph_sha256: str  # of the file
    vessels: np.ndarray  # bool (H, W)
    vessels_from: str  # what they were read from, in words
    field_of_view: np.ndarray  # bool (H, W)
    field_from: str  # one of `maps.FIELDS_FROM`
    row: Row | None = None  # of the map; None of a label
    # How many pixels a person added to the map and removed from it.
    changes: tuple[int, int] | tuple[None, None] = (None, None)


@dataclass(frozen=True)
class Source:
    """What is to be measured."""

    name: str  # of the photograph
    path: Path  # of the map or the label
    read: Callable[[], Subject]  # raises whatever a damaged file brings about


class Measured(NamedTuple):
    """A region: its vessels, and the profiles across its segments, or why none."""

    measures: Measures
    across: list[Profile] | str


def import_morphometry():
    """The module that measures, which needs packages that the rest does not."""
    try:
        from retina import morphometry
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected scikit-image and skan, but {error.name} is not installed: "
            "pip install -r requirements/measure.txt"
        ) from None
    return morphometry


# ---- what is measured


def read_mapped_subject(
    folder: Path, row: Row, threshold: float | None = None
) -> Subject:
    """The vessels of a map, in the field of view that it was made in."""
    read = maps.read_map(folder, row)
    threshold = row.threshold if threshold is None else threshold
    vessels = read.probability >= threshold
    return mapped(row, vessels, f"map cut at {threshold:g}", read.field_of_view)


def read_corrected_subject(
    path: Path, folder: Path, row: Row, vessel_values: Sequence[int] | None = None
) -> Subject:
    """The vessels of a picture that was drawn of a map, and perhaps edited since."""
    read = corrections.read_correction(path, folder, row, vessel_values)
    outside = f"; {read.outside} pixels outside the field do not count"
    rule = read.rule + (outside if read.outside else "")
    subject = mapped(row, read.vessels, rule, read.field_of_view)
    return replace(subject, changes=(read.added, read.removed))


def mapped(row: Row, vessels: np.ndarray, origin: str, inside: np.ndarray) -> Subject:
    """The photograph of a map, whose field is `inside`, with vessels from `origin`."""
    return Subject(
        photograph=Path(row.photograph),
        photograph_sha256=row.photograph_sha256,
        vessels=vessels,
        vessels_from=origin,
        field_of_view=inside,
        field_from=row.field_from,
        row=row,
    )


def measure_regions(
    subject: Subject, zones: Mapping[str, np.ndarray] | None = None
) -> dict[str, Measured]:
    """Measures the whole field, `field`, then zones (H, W) of it by their names."""
    from retina import profiles

    morphometry = import_morphometry()
    whole, green = subject.field_of_view, read_green(subject)
    diameter, blur = morphometry.field_diameter(whole), None
    measured = {}
    for region, inside in {"field": whole, **(zones or {})}.items():
        measures = morphometry.measure_vessels(subject.vessels, inside, diameter)
        if isinstance(green, str):
            measured[region] = Measured(measures, green)
            continue
        across = profiles.measure_profiles(
            green, subject.vessels, whole, measures.segments, blur
        )
        if blur is None and across:  # zones take the field's: they have few vessels
            blur = across[0].blur
        measured[region] = Measured(measures, across)
    return measured


def read_green(subject: Subject) -> np.ndarray | str:
    """The photograph's green channel (H, W), any scale; or why there is none."""
    path, row = subject.photograph, subject.row
    if not path.is_file():
        return "the photograph is gone"
    try:
        pixels = read_pixels(path)
    except InputError:
        return "the photograph cannot be read"
    same = subject.photograph_sha256 == fingerprint(path)
    if same or (row and maps.is_of(row, identify(path, pixels))):
        return pixels[..., 1]
    return "the photograph is not that of the map"


# ---- tables


def photograph_row(
    source: Source,
    subject: Subject,
    region: str,
    measured: Measured,
    scale: float | None,
) -> dict[str, object]:
    """The row of measurements.csv of one region of one photograph."""
    units = import_morphometry().PHOTOGRAPH_UNITS
    measures, across = measured
    columns = make_columns(measures.values, measures.reasons, units, across, scale)
    row = subject.row
    changes = subject.changes if region == "field" else (None, None)  # are its own
    return {
        "name": source.name,
        "region": region,
        "photograph": subject.photograph,
        "photograph_sha256": subject.photograph_sha256,
        "vessels": subject.vessels_from,
        "pixels_added": changes[0],
        "pixels_removed": changes[1],
        "source": source.path,
        "field_of_view": subject.field_from,
        "scale": row and f"{row.scale:g}",
        "scale_from": row and row.scale_from,
        "scale_file": row and row.scale_file,
        "note": row and row.note,
        "micrometres_per_pixel": scale and f"{scale:g}",
        **columns,
    }


def make_columns(
    values: dict[str, float | None],
    reasons: dict[str, str],
    units: dict[str, str],
    across: Sequence[Profile] | str,
    scale: float | None,
) -> dict[str, str]:
    """Columns of measures, of vessels and of the profiles across them, each in its
    unit, empty where there is a reason."""
    from retina import profiles

    own, why = profiles.summarise_profiles(across)
    values, reasons = values | own, reasons | why
    columns, told = {}, []
    for name, unit in (units | profiles.UNITS).items():
        value, factor = values[name], (scale or 1) ** POWERS.get(unit, 0)
        if scale:
            unit = unit.replace("px", "um")
        title = f"{name}_{unit}" if unit else name
        columns[title] = "" if value is None else f"{value * factor:.6g}"
        if name in reasons:
            told.append(f"{title}: {reasons[name]}")
    return columns | {"reasons": "; ".join(told)}


def segment_rows(
    source: Source, region: str, measured: Measured, scale: float | None
) -> list[dict[str, object]]:
    """The rows of segments.csv of one region of one photograph."""
    morphometry, (measures, across) = import_morphometry(), measured
    rows = []
    for number, segment in enumerate(measures.segments, start=1):
        own = across if isinstance(across, str) else across[number - 1 : number]
        (row, column), (last_row, last_column) = segment.points[[0, -1]].round(2)
        values, reasons = morphometry.measure_segment(
            segment, measures.values["bend_scale"]
        )
        rows.append(
            {
                "name": source.name,
                "region": region,
                "segment": number,
                "start": segment.ends[0],
                "start_row": row,
                "start_column": column,
                "end": segment.ends[1],
                "end_row": last_row,
                "end_column": last_column,
                **make_columns(values, reasons, morphometry.SEGMENT_UNITS, own, scale),
            }
        )
    return rows
