"""What Ray Data does to the photographs of an archive, stage by stage.

for part in run_stages(photographs, left, job): parts.commit(part["name"], ...)

Reading, the network, measuring and writing are stages of their own, each on as many
cores and machines as there are, so that none waits for another. A photograph passes
through as `Listed` with what has been made of it so far: the functions are those of
predict.py and measure.py, in their order. What fails is a reason from there on.
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
from retina.parts import Parts
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


@dataclass(frozen=True)
class Job:
    """What is done to every photograph.

    Attributes:
        network: without its model, which each actor loads by itself.
        options: of the prediction.
        most_pixels: of a photograph, by its header.
        with_maps: whether the rows hold maps and fields as PNG files.
        with_scales: whether a photograph of the list has a scale.
        parts: where the rows go.
    """

    network: Network
    options: Options
    most_pixels: int
    with_maps: bool
    with_scales: bool
    parts: Parts


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
        pictures = {kind: paths[kind].read_bytes() for kind in ("map", "field")}
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

    types = {"str": pa.string(), "int": pa.int64()}
    own = [each for each in fields(Row) if each.name not in ("name", "photograph")]
    units = import_morphometry().PHOTOGRAPH_UNITS
    nothing = dict.fromkeys(units), {}, units, "not measured"
    measures = make_columns(*nothing, scale=None)
    if job.with_scales:
        measures |= make_columns(*nothing, scale=1.0)
    del measures["reasons"]
    numbers = ["micrometres_per_pixel", *measures]
    return pa.schema(
        [("number", pa.int64()), ("id", pa.string()), ("photograph", pa.string())]
        + [("failure", pa.string())]
        + [(each.name, types.get(each.type, pa.float64())) for each in own]
        + [("vessels", pa.string()), *((name, pa.float64()) for name in numbers)]
        + [("reasons", pa.string())]
        + [(k, pa.large_binary()) for k in ("map", "field") if job.with_maps]
    )


def as_row(listed: Listed, value: dict | InputError, columns: pa.Schema) -> dict:
    """The cells of a photograph's row by column; null where there is no value."""
    import pyarrow as pa

    failed = isinstance(value, InputError)
    known = {"failure": str(value)} if failed else value
    known = known | asdict(listed) | {"photograph": listed.path}
    row = {column.name: known.get(column.name) for column in columns}
    for column in columns:  # measures come as they are written into a table
        if column.type == pa.float64() and row[column.name] is not None:
            text = str(row[column.name])
            row[column.name] = float(text) if text else None
    return row


def write(batch: dict[str, np.ndarray], job: Job, columns: pa.Schema) -> dict:
    """Writes the rows of some photographs into a file that nobody sees yet. Returns
    its name, the numbers of the photographs, and how many of them failed."""
    import pyarrow as pa

    items = [pickle.loads(item) for item in batch["item"]]
    table = pa.Table.from_pylist([as_row(*item, columns) for item in items], columns)
    numbers = [listed.number for listed, _ in items]
    failed = len(items) - table["failure"].null_count
    part = pickle.dumps((job.parts.write(table), numbers, failed))
    return {"part": np.array([part], object)}


# ---- all


def begin(row: dict[str, object], job: Job) -> dict[str, bytes]:
    """Reads a photograph of the list."""
    return advance({"item": pickle.dumps((Listed(**row), None))}, read, job)


def run_stages(
    photographs: pa.Table, left: np.ndarray, job: Job
) -> Iterator[tuple[str, list[int], int]]:
    """Takes photographs through all stages on the cluster that Ray is connected to.

    Args:
        photographs: as `listing.list_photographs` returns them.
        left: numbers of those that are to be done.

    Yields:
        Of each part, as it is written: its name, the numbers of its photographs, and
        how many of them failed.
    """
    import pyarrow as pa
    import ray

    machines = ray.cluster_resources()
    tasks = int(machines.get("CPU", 1) * TASKS_PER_CORE)
    length = min(max(len(left) // tasks, 1), PER_PART)
    table = photographs.take(left).append_column("number", pa.array(left))
    blocks = [table.slice(at, length) for at in range(0, len(left), length)]
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
        .map_batches(
            write,
            batch_size=length,  # again, where pixels made smaller blocks of them
            fn_kwargs={"job": job, "columns": columns_of(job)},
            num_cpus=0,  # as good as none of it
        )
    )
    for part in stages.iter_rows():
        yield pickle.loads(part["part"])
