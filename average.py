"""Averages several networks into one, which is slower than each and mostly better.

    python train.py --augment --seed 0 --name one
    python train.py --augment --seed 1 --name two
    python average.py models/one.keras models/two.keras --name both
    python predict.py                           # newest model: the average

Writes models/NAME.keras, whose probability is the mean of theirs, and NAME.json. The
networks may differ in anything but the resolution that they learnt. A photograph that
any of them learnt from counts as learnt from.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from retina import networks
from retina.files import InputError, fingerprint

NEEDED = (
    "training_cases",
    "validation_cases",
    "field_diameter",
    "threshold",
)  # of each


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Averages several networks into one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, help="two networks or more, .keras files")
    add("--name", default="average", help="of the files in models/")
    add("--models", type=Path, default=Path("models"), help="folder to write to")
    args = parser.parse_args(argv)
    if len(args.paths) < 2:
        parser.error(f"expected two networks or more, got {len(args.paths)}")
    args.output = args.models / f"{args.name}.keras"
    if args.output.resolve() in [path.resolve() for path in args.paths]:
        parser.error(f"{args.output} is one of the networks: choose another --name")
    return args


def read_records(paths: Sequence[Path]) -> list[dict]:
    """The record of each network, which must be there."""
    records = [networks.read_record(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        missing = [key for key in NEEDED if key not in record]
        if missing:
            raise InputError(
                f"expected {path.with_suffix('.json')} to say what {path} learnt "
                f"from, found no {', '.join(missing)} there: put back the file that "
                "train.py wrote, or train again"
            )
    diameters = [record["field_diameter"] for record in records]
    if len(set(diameters)) > 1:
        raise InputError(
            "expected networks that learnt at one resolution, received fields of view "
            f"{', '.join(map(str, diameters))} pixels wide: average those alike"
        )
    return records


def average_records(paths: Sequence[Path], records: Sequence[dict]) -> dict:
    """What is true of the average: it learnt from what any of them learnt from."""
    learnt, held_out = (
        {name: digest for record in records for name, digest in record[key].items()}
        for key in ("training_cases", "validation_cases")
    )
    known = set(learnt.values())
    return {
        "average_of": {
            str(path): {
                "sha256": fingerprint(path),
                "arguments": record.get("arguments") or record["average_of"],
            }
            for path, record in zip(paths, records, strict=True)
        },
        "parameters": sum(record["parameters"] for record in records),
        "training_cases": learnt,
        "validation_cases": {
            name: digest for name, digest in held_out.items() if digest not in known
        },
        "field_diameter": records[0]["field_diameter"],
        "epoch_chosen": "best"
        if any(record["epoch_chosen"] == "best" for record in records)
        else "last",
        "seconds": sum(record["seconds"] for record in records),
        "threshold": statistics.mean(record["threshold"] for record in records),
        "threshold_chosen_on": "mean of the networks' own",
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    records = read_records(args.paths)
    record = average_records(args.paths, records)

    model = networks.average([networks.load(path) for path in args.paths])
    networks.save(model, record, args.output)
    print(f"{args.output}: the mean of {len(records)} networks")


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"average.py: {error}")
