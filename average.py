"""Averages several networks into one, slower than any of them and usually better.

    python train.py --augment --seed 0 --name one
    python train.py --augment --seed 1 --name two
    python average.py models/one.keras models/two.keras --name both
    python predict.py                           # takes the average: it is the latest

    python average.py models/one.keras --onnx output/one.onnx    # one is enough here

Writes models/NAME.keras, whose probability is the mean of theirs, and NAME.json. The
networks may differ in anything but the resolution that they learnt. A photograph that
any of them learnt from counts as learnt from.

With --onnx FILE.onnx the network, or the average, is written there instead, with
FILE.json, its record: predict.py takes it without Keras and TensorFlow.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from retina import networks, onnx_networks
from retina.commands import HelpFormatter, file_name, run
from retina.files import InputError
from retina.identity import Identity
from retina.networks import Network, Record
from retina.recipes import Threshold


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Averages several networks into one.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, help="networks to average, .keras files")
    name = "name of the files in --models"
    add("--name", type=file_name, default="average", help=name)
    add("--models", type=Path, default=Path("models"), help="folder to write to")
    add("--replace", action="store_true", help="write over a network of this name")
    onnx = "write the average, or the one network, as ONNX to this file instead"
    add("--onnx", type=Path, metavar="FILE", help=onnx)
    args = parser.parse_args(argv)
    if args.onnx and args.onnx.suffix != ".onnx":
        parser.error(f"--onnx must name a file that ends in .onnx, got {args.onnx}")
    if len(args.paths) < 2 and not args.onnx:
        parser.error(f"expected two networks or more, got {len(args.paths)}")
    args.output = args.onnx or args.models / f"{args.name}.keras"
    if args.output.resolve() in [path.resolve() for path in args.paths]:
        parser.error(f"{args.output} is one of the networks: choose another --name")
    return args


def require_alike(paths: Sequence[Path]) -> None:
    """Raises an InputError unless the networks' records list the photographs that they
    learnt from, and have one resolution."""
    records = [networks.read_record(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if path.suffix != ".keras":
            raise InputError(f"expected a .keras file, received {path}: see --help")
        if record.training_cases is None or record.validation_cases is None:
            raise InputError(
                f"expected {path.with_suffix('.json')} to list what {path} learnt "
                "from, found no such record: put back the file that train.py wrote, or "
                "train again"
            )
    diameters = [record.field_diameter for record in records]
    factors = {record.factors for record in records}
    if max(diameters) > 1.05 * min(diameters) or len(factors) > 1:
        raise InputError(
            "expected networks that are shown photographs at one resolution, received "
            f"fields of view {', '.join(f'{d:.0f}' for d in diameters)} pixels wide, "
            f"times {'; '.join(map(str, sorted(factors)))}: average those alike"
        )


def require_different(loaded: Sequence[Network]) -> None:
    """Raises an InputError where the same network was named twice."""
    seen: dict[str, Path] = {}
    for network in loaded:
        if network.sha256 in seen:
            raise InputError(
                f"expected different networks, received the same one in "
                f"{seen[network.sha256]} and {network.path}: leave one out"
            )
        seen[network.sha256] = network.path


def distinct(cases: Iterable[Identity]) -> list[Identity]:
    """The cases without repetitions, by bytes and pixels, not by names."""
    kept: list[Identity] = []
    for case in cases:
        if not any(case.is_same(other) for other in kept):
            kept.append(case)
    return kept


def average_records(networks: Sequence[Network]) -> Record:
    """What is true of the average: it learnt from what any of them learnt from."""
    records = [network.record for network in networks]
    learnt = distinct(case for record in records for case in record.training_cases)
    held_out = distinct(case for record in records for case in record.validation_cases)
    families = sorted(record.family for record in records)
    joined = hashlib.sha256(" ".join(families).encode()).hexdigest()
    values = [record.threshold.value for record in records]
    epochs = {record.epoch_chosen for record in records}
    least_sure = next(each for each in ("unknown", "best", "last") if each in epochs)
    return Record(
        family=joined if all(families) else "",
        recipe={
            "average_of": [
                {"network_sha256": network.sha256, "recipe": network.record.recipe}
                for network in networks
            ]
        },
        training_cases=tuple(learnt),
        validation_cases=tuple(
            case for case in held_out if not any(map(case.is_same, learnt))
        ),
        field_diameter=statistics.mean(record.field_diameter for record in records),
        factors=records[0].factors,
        threshold=Threshold(statistics.mean(values), "mean"),
        epoch_chosen=least_sure,
        parameters=sum(record.parameters for record in records),
        seconds=sum(record.seconds for record in records),
    )


def require_free(output: Path, replace: bool) -> None:
    """Raises an InputError where another network, or its record, would be lost."""
    if not replace:
        networks.require_no_results(output, "add --replace to write over it")
    record, other = output.with_suffix(".json"), output.with_suffix(".keras")
    if output != other and (other.exists() or record.exists() and not output.exists()):
        raise InputError(
            f"expected {record} to be free for the record of {output}, found that of "
            "another network: choose another folder or name"
        )


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    require_free(args.output, args.replace)
    require_alike(args.paths)
    loaded = [networks.load(path) for path in args.paths]
    require_different(loaded)
    model, record = loaded[0].model, loaded[0].record
    if len(loaded) > 1:
        record = average_records(loaded)
        model = networks.average([network.model for network in loaded])
    if args.onnx:
        sources = {"onnx_of": [network.sha256 for network in loaded]}
        record = replace(record, shipped=False, details=record.details | sources)
        sha256 = onnx_networks.save(model, args.output)
    else:
        sha256 = networks.save(model, args.output)
    networks.finish(args.output, record, sha256)
    of = f"the mean of {len(loaded)} networks" if len(loaded) > 1 else args.paths[0]
    print(f"{args.output} and its record, {args.output.with_suffix('.json')}: {of}")


if __name__ == "__main__":
    run(main, "average.py", stopped="run the same command again")
