"""Predicts and measures a hundred thousand photographs or more, on one machine or many.

    pip install -r requirements/archive.txt              # Ray Data, once
    python archive.py photographs.csv --output FOLDER    # on this machine
    python archive.py photographs/ --output /shared/FOLDER --address auto   # on many
    python archive.py --extract ID map.png --output FOLDER                  # one map

The photographs are a list (CSV or parquet with a column path and, if wanted, id and
micrometres_per_pixel), a folder with all below it, or a glob in quotes. FOLDER/rows/
are parquet files with a row a photograph: predict.py's notes, measure.py's measures,
the reason of a failure, and with --maps the map and the field as PNG files. Stopped or
killed at any moment, the same command goes on; nothing is lost, nothing is there twice.
How to start it on a cluster: docs/cluster.md
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from retina import networks
from retina.commands import HelpFormatter, positive, run
from retina.files import InputError, counted, whole_file
from retina.measurements import import_morphometry
from retina.prediction import add_options, load_network, read_options

if TYPE_CHECKING:
    import pyarrow as pa

    from retina.parts import Parts
    from retina.stages import Job

EVERY = 10  # seconds, between lines of progress
# Of every process: a network computes on one core, and other networks on the others,
# which is quicker than all on all; a GPU's memory is taken as it is needed.
ENVIRONMENT = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "KERAS_BACKEND": os.environ["KERAS_BACKEND"],
}
# Of Ray, where the user says nothing else.
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tells its makers nothing
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # and little here
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_worker_niceness": "0",  # 15, its own, is next to nothing beside other work
}


def folder(text: str) -> Path:
    """A type of options: a folder; only there is a file moved in one step."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"expected a folder, got the address {text}")
    return Path(text)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Predicts and measures archives of photographs.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    photographs = "a list (.csv, .parquet), a folder, or a glob in quotes"
    add("photographs", nargs="?", help=photographs)
    add("--output", type=folder, required=True, metavar="FOLDER", help="that all share")
    add_options(parser)
    add("--maps", action="store_true", help="keep maps and fields in the rows, as PNG")
    most, most_pixels = "of a photograph, by its header", Image.MAX_IMAGE_PIXELS
    add("--max-pixels", type=positive, default=most_pixels, metavar="N", help=most)
    address = "of a Ray cluster, such as auto; local: this machine alone"
    add("--address", default="local", help=address)
    add("--replace", action="store_true", help="start anew, and remove earlier rows")
    extract = "write the map of a photograph into a file, and do nothing else"
    add("--extract", nargs=2, metavar=("ID", "FILE.png"), help=extract)
    args = parser.parse_args(argv)
    if bool(args.photographs) == bool(args.extract):
        parser.error("give either photographs or --extract ID FILE.png")
    return args


def require_ray() -> None:
    """Raises an InputError where Ray Data is not installed."""
    for package in ("ray", "pyarrow"):
        if find_spec(package) is None:
            raise InputError(
                f"expected Ray Data, but {package} is not installed: pip install -r "
                "requirements/archive.txt"
            )


def connect(address: str) -> None:
    """Starts Ray on this machine, or joins the cluster at an address."""
    os.environ.update(RAY | os.environ)
    import ray.data

    try:
        ray.init(
            address,
            runtime_env={"env_vars": ENVIRONMENT},
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"expected a Ray cluster at {address}, found none ({error}): start one "
            "with ray start --head, or leave out --address"
        ) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has its own
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def archive(photographs: pa.Table, job: Job, parts: Parts, address: str) -> int:
    """Does what is left of an archive, and tells of its progress. Returns how many
    photographs have failed, now and before."""
    from retina.stages import run_stages

    count = len(photographs)
    done, failed = parts.read_done(count)
    before = finished = int(done.sum())
    print(f"{counted(count, 'photograph')}, {count - before} to do", flush=True)
    if finished == count:
        return failed
    connect(address)
    began = told = time.monotonic()
    for rows in run_stages(photographs.filter(~done), job):
        added, added_failed = parts.add(rows, done)
        finished, failed = finished + added, failed + added_failed
        now = time.monotonic()
        if added and (now - told > EVERY or finished == count):
            told, each = now, (now - began) / (finished - before)
            left = timedelta(seconds=round(each * (count - finished)))
            line = f"{finished}/{count} photographs, {failed} failed"
            print(f"{line}, {1 / each:.2f} a second, {left} left", flush=True)
    if finished < count:
        raise InputError(
            f"expected {count} rows from Ray, received {finished}: the same command "
            "goes on"
        )
    return failed


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    require_ray()
    from retina.listing import list_photographs
    from retina.parts import Parts
    from retina.stages import Job

    parts = Parts(args.output)
    if args.extract:
        photograph, file = args.extract
        png = parts.read_map(photograph)
        with whole_file(file) as part:
            part.write_bytes(png)
        return
    photographs = list_photographs(args.photographs)
    import_morphometry()  # now, where packages of it are missing
    options = read_options(args)
    path = (args.model or networks.choose()).absolute()
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # here, too
    network = load_network(path, options.precision, options.camera)
    pictures = ("map", "field") if args.maps else ()
    job = Job(replace(network, model=None), options, args.max_pixels, pictures)
    with parts.alone():
        parts.begin(job.describe(photographs), args.replace)
        failed = archive(photographs, job, parts, args.address)
    print(f"{counted(len(photographs), 'row')} in {args.output}/rows")
    if failed:
        raise InputError(
            f"{counted(failed, 'photograph')} failed: the column failure tells why"
        )


if __name__ == "__main__":
    run(main, "archive.py", stopped="the same command goes on")
