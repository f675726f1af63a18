"""What Ray Data does to the photographs of an archive, stage by stage.

for rows in run_stages(photographs, job): parts.add(rows, done)

Reading, the network and measuring are stages of their own, each on as many cores and
machines as there are, so that none waits for another. A photograph passes through as
its row of the list, and beside it, pickled, what the last stage made of it. The stages
are the functions of predict.py and measure.py; what fails is a reason from there on.
Needs pyarrow and Ray.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from retina import maps
from retina.files import InputError, explain_failure
from retina.listing import at_hand, hash_list
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

# Photographs that pass through together: rows of a file, what is done again after a
# kill. Fewer of a short list, so that every core has some tasks.
PER_FILE, TASKS_PER_CORE = 64, 4
# What each process books of a core: two share one, so that one core can hold the
# network and a stage that feeds it.
CORE_SHARE = 0.5


@dataclass(frozen=True)
class Job:
    """What is done to every photograph: the network (without its model, which each
    actor loads), options of the prediction, the most pixels that a header may announce,
    and which pictures its row holds as PNG files: of `map` and `field`."""

    network: Network
    options: Options
    most_pixels: int
    pictures: tuple[str, ...]

    def describe(self, photographs: pa.Table) -> dict[str, object]:
        """What must be the same for an archive to be gone on with."""
        return asdict(self.options) | {
            "photographs": len(photographs),
            "list": hash_list(photographs),
            "network": self.network.sha256,
            "max_pixels": self.most_pixels,
            "maps": bool(self.pictures),
        }


def advance(row: dict[str, object], step: Callable, job: Job) -> dict[str, object]:
    """A photograph after one more step; what failed stays as it is."""
    made = pickle.loads(row["made"]) if "made" in row else None
    made = unless_failed(partial(step, row, job=job))(made)
    if isinstance(made, Exception):  # not all of them can be pickled
        made = InputError(explain_failure(made, f"predict {row['path']}"))
    return row | {"made": pickle.dumps(made, protocol=5)}


def read(row: dict[str, object], _: None, job: Job) -> Shown:
    """Reads a photograph, unless its header announces too many pixels."""
    with at_hand(row["path"]) as file:
        require_ordinary(file)
        height, width, _ = picture_size(file)
        if height * width > job.most_pixels:
            raise InputError(
                f"expected at most {job.most_pixels} pixels in {row['path']}, its "
                f"header announces {width} x {height}: raise --max-pixels"
            )
        return read_photograph(Photograph("map", file), job.network.record, job.options)


class Predict:
    """The network of an actor, loaded once."""

    def __init__(self, job: Job):
        options = job.options
        self.network = load_network(job.network.path, options.precision, options.camera)
        self.job = job

    def __call__(self, row: dict[str, object]) -> dict[str, object]:
        return advance(row, self.predict, self.job)

    def predict(self, _: dict[str, object], shown: Shown, job: Job) -> Mapped:
        return predict_photograph(self.network, shown, job.options)


def measure(row: dict[str, object], mapped: Mapped, job: Job) -> dict[str, object]:
    """Writes map and field as predict.py does, into a folder that goes, and measures
    them as measure.py does. Returns what the row tells of them."""
    with TemporaryDirectory() as name, at_hand(row["path"]) as file:
        folder = Path(name)
        noted = write_photograph(folder, mapped, job.network, job.options)
        noted = replace(noted, photograph=str(file))
        subject = read_mapped_subject(folder, noted)
        measured = measure_regions(subject)["field"]
        paths, scale = maps.paths_of(folder, noted.name), row["micrometres_per_pixel"]
        source = Source(row["id"], paths["map"], read=lambda: subject)
        found = photograph_row(source, subject, "field", measured, scale)
        pictures = {kind: paths[kind].read_bytes() for kind in job.pictures}
    return found | asdict(noted) | pictures


def columns_of(job: Job) -> pa.Schema:
    """The columns of the rows: of the list, of predict.py, of measure.py, and maps."""
    text, number = pa.string(), pa.float64()
    types = {"str": text, "int": pa.int64()}
    columns = {"number": pa.int64(), "id": text, "photograph": text, "failure": text}
    columns |= {each.name: types.get(each.type, number) for each in fields(Row)}
    columns |= {"vessels": text, "micrometres_per_pixel": number}
    units = import_morphometry().PHOTOGRAPH_UNITS
    for scale in (None, 1.0):  # pixels, micrometres
        measures = make_columns(dict.fromkeys(units), {}, units, "no photograph", scale)
        columns |= dict.fromkeys(measures, number)
    columns["reasons"] = text
    del columns["name"]  # of the map, which has no file here
    return pa.schema(columns | dict.fromkeys(job.pictures, pa.large_binary()))


def finish(photograph: pa.Table, job: Job) -> pa.Table:
    """Measures a photograph. Returns its row; null where there is no value."""
    columns, (row,) = columns_of(job), photograph.to_pylist()
    made = pickle.loads(advance(row, measure, job)["made"])
    known = {"failure": str(made)} if isinstance(made, InputError) else made
    known = known | row | {"photograph": row["path"]}
    for name, kind in zip(columns.names, columns.types, strict=True):
        if kind == "double" and isinstance(known.get(name), str):  # as in a CSV table
            known[name] = float(known[name]) if known[name] else None
    return pa.Table.from_pylist([known], columns)


def run_stages(photographs: pa.Table, job: Job) -> Iterator[pa.Table]:
    """Takes photographs, as `listing.list_photographs` returns them, through all stages
    on the cluster that Ray is connected to. Yields rows of some at a time, in no order.

    Raises:
        InputError: Ray stopped.
    """
    import ray.data

    machines = ray.cluster_resources()
    tasks = min(int(machines.get("CPU", 1) * TASKS_PER_CORE), len(photographs))
    blocks = max(tasks, math.ceil(len(photographs) / PER_FILE))
    share = {"num_cpus": CORE_SHARE}
    actor = share | {"num_gpus": 1 if machines.get("GPU") else 0}
    networks = ray.data.ActorPoolStrategy(min_size=1)
    arrow = {"batch_format": "pyarrow"}
    stages = (
        ray.data.from_arrow(photographs, override_num_blocks=blocks)
        .map(advance, fn_args=[read, job], **share)
        .map(Predict, fn_constructor_args=[job], compute=networks, **actor)
        .map_batches(finish, batch_size=1, fn_args=[job], **arrow, **share)
    )
    try:
        yield from stages.iter_batches(batch_size=None, **arrow)
    except ray.exceptions.RayError as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1][:300]
        raise InputError(
            f"expected Ray to do its work, but it stopped ({reason}): check rights and "
            "room on the machines; then the same command goes on"
        ) from None
