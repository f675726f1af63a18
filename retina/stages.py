"""What Ray Data does to the photographs of an archive, stage by stage.

for rows in run_stages(photographs, done, job, columns): parts.add(rows, columns, done)

Reading, the network and measuring are stages of their own, each on as many cores and
machines as there are, so that none waits for another. A photograph passes through as
`Listed` with what has been made of it so far: the functions are those of predict.py and
measure.py, in their order. What fails is a reason from there on.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from retina import maps
from retina.files import InputError, explain_failure
from retina.listing import at_hand
from retina.maps import Row
from retina.measurements import (
    Source,
    import_morphometry,
    make_columns,
    measure_regions,
    photograph_row,
    read_mapped_subject,
)
from retina.networks import Network
from retina.pictures import picture_size
from retina.prediction import (
    Mapped,
    Options,
    Photograph,
    Shown,
    load_network,
    predict_photograph,
    read_photograph,
    require_ordinary,
    unless_failed,
    write_photograph,
)

if TYPE_CHECKING:
    import pyarrow as pa

# Photographs that pass through together: rows of a file, what is done again after a
# kill. Fewer of a short list, so that every core has some tasks.
PER_PART, TASKS_PER_CORE = 64, 4
# What each process books of a core: two share one, so that one core can hold the
# network and a stage that feeds it.
CORE_SHARE = 0.5
PICTURES = ("map", "field")  # in the rows as PNG files, if asked for


@dataclass(frozen=True)
class Job:
    """What is done to every photograph.

    Attributes:
        network: without its model, which each actor loads by itself.
        options: of the prediction.
        most_pixels: of a photograph, by its header.
        with_maps: whether the rows hold maps and fields as PNG files.
    """

    network: Network
    options: Options
    most_pixels: int
    with_maps: bool


@dataclass(frozen=True)
class Listed:
    """A photograph of the list: its place there, id, path and scale, if known."""

    number: int
    id: str
    path: str
    micrometres_per_pixel: float | None


# ---- one photograph


def read(listed: Listed, _: None, job: Job) -> Shown:
    """Reads a photograph, unless its header announces too many pixels."""
    with at_hand(listed.path) as file:
        require_ordinary(file)
        height, width, _ = picture_size(file)
        if height * width > job.most_pixels:
            raise InputError(
                f"expected at most {job.most_pixels} pixels in {listed.path}, its "
                f"header announces {width} x {height}: raise --max-pixels"
            )
        return read_photograph(Photograph("map", file), job.network.record, job.options)


class Predict:
    """The network of an actor, loaded once."""

    def __init__(self, job: Job):
        options = job.options
        self.job = job
        self.network = load_network(job.network.path, options.precision, options.camera)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return advance(row, self.predict, self.job)

    def predict(self, _: Listed, shown: Shown, job: Job) -> Mapped:
        return predict_photograph(self.network, shown, job.options)


def measure(listed: Listed, mapped: Mapped, job: Job) -> dict[str, object]:
    """Writes map and field as predict.py does, into a folder that goes, and measures
    them as measure.py does. Returns what the row tells of them."""
    with TemporaryDirectory() as name, at_hand(listed.path) as file:
        folder = Path(name)
        row = write_photograph(folder, mapped, job.network, job.options)
        row = replace(row, photograph=str(file))
        subject = read_mapped_subject(folder, row, threshold=None)
        measured = measure_regions(subject)["field"]
        paths = maps.paths_of(folder, row.name)
        source = Source(listed.id, paths["map"], read=lambda: subject)
        scale = listed.micrometres_per_pixel
        found = photograph_row(source, subject, "field", measured, scale)
        pictures = {kind: paths[kind].read_bytes() for kind in PICTURES}
    return found | asdict(row) | pictures


def advance(row: dict[str, bytes], step: object, job: Job) -> dict[str, bytes]:
    """A photograph after one more step; what failed stays as it is."""
    listed, value = pickle.loads(row["item"])
    _, value = unless_failed(partial(step, listed, job=job))((listed, value))
    if isinstance(value, Exception):  # not all of them can be pickled
        value = InputError(explain_failure(value, f"predict {listed.path}"))
    return {"item": pickle.dumps((listed, value), protocol=5)}


# ---- rows


def columns_of(job: Job) -> pa.Schema:
    """The columns of the rows: of the list, of predict.py, of measure.py, and maps."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    types = {"str": text, "int": pa.int64()}
    columns = {"number": pa.int64(), "id": text, "photograph": text, "failure": text}
    columns |= {each.name: types.get(each.type, number) for each in fields(Row)}
    columns |= {"photograph": text, "vessels": text, "micrometres_per_pixel": number}
    units = import_morphometry().PHOTOGRAPH_UNITS
    for scale in (None, 1.0):
        measures = make_columns(dict.fromkeys(units), {}, units, "no photograph", scale)
        columns |= dict.fromkeys(measures, number)
    columns["reasons"] = text
    del columns["name"]  # of the map, which has no file here
    pictures = PICTURES if job.with_maps else ()
    return pa.schema(columns | dict.fromkeys(pictures, pa.large_binary()))


def as_row(listed: Listed, value: dict | InputError, columns: pa.Schema) -> dict:
    """The cells of a photograph's row by column; null where there is no value."""
    import pyarrow as pa

    failed = isinstance(value, InputError)
    known = {"failure": str(value)} if failed else value
    known = known | asdict(listed) | {"photograph": listed.path}
    row = {column.name: known.get(column.name) for column in columns}
    for column in columns:  # measures come as they are written into a table
        text = row[column.name]
        if column.type == pa.float64() and isinstance(text, str):
            row[column.name] = float(text) if text else None
    return row


# ---- all


def begin(row: dict[str, object], job: Job) -> dict[str, bytes]:
    """Reads a photograph of the list."""
    return advance({"item": pickle.dumps((Listed(**row), None))}, read, job)


def run_stages(
    photographs: pa.Table, done: np.ndarray, job: Job, columns: pa.Schema
) -> Iterator[list[dict]]:
    """Takes photographs through all stages on the cluster that Ray is connected to.

    Args:
        photographs: as `listing.list_photographs` returns them.
        done: of each, whether it is left out, (N,) bool.
        columns: of the rows.

    Yields:
        Rows of some photographs, in no order.
    """
    import pyarrow as pa
    import ray

    machines = ray.cluster_resources()
    numbers = pa.array(np.arange(len(photographs)))
    left = photographs.append_column("number", numbers).filter(pa.array(~done))
    tasks = int(machines.get("CPU", 1) * TASKS_PER_CORE)
    length = min(max(len(left) // tasks, 1), PER_PART)
    blocks = [left.slice(at, length) for at in range(0, len(left), length)]
    share = {"num_cpus": CORE_SHARE}
    actor = share | {"num_gpus": 1 if machines.get("GPU") else 0}
    stages = (
        ray.data.from_arrow(blocks)
        .map(begin, fn_kwargs={"job": job}, **share)
        .map(
            Predict,
            fn_constructor_kwargs={"job": job},
            compute=ray.data.ActorPoolStrategy(min_size=1),
            **actor,
        )
        .map(advance, fn_kwargs={"step": measure, "job": job}, **share)
    )
    for batch in stages.iter_batches(batch_size=None, batch_format="numpy"):
        yield [as_row(*pickle.loads(item), columns) for item in batch["item"]]
