"""Prints what a data set holds, and what is missing or wrong, before anything else.

python check.py                     # input/DRIVE
python check.py input/CHASE_DB1
python check.py FOLDER --camera camera.json   # one scale for all photographs in FOLDER

With --camera no labels are needed: FOLDER is a data set, or holds photographs by one
camera. Each is predicted at several scales, in a second or two; the scale at which the
maps are least uncertain is written for predict.py --camera.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from retina import cameras, datasets, labels, networks, worklist
from retina.commands import HelpFormatter, run
from retina.datasets import OBSERVERS, SPLITS, Case
from retina.files import InputError, counted, require_writable
from retina.pictures import describe_skipped, read_pixels
from retina.prediction import Options, load_network
from retina.resolution import FLAT, write_camera

# observer -> a label on its photograph, and the rule by which it was read
Laid = dict[str, tuple[labels.Layer, str]]


def read_case(
    case: Case, vessel_values: Sequence[int] | None
) -> tuple[str, Laid, list[str]]:
    """Reads all files of a case. Returns a line on it, its labels, and sentences on
    what cannot be used."""
    try:
        pixels = read_pixels(case.image)
        datasets.require_bits(pixels, case.image)
        inside = datasets.read_field_of_view(case, pixels)
    except InputError as error:
        return f"{case.name:12s} cannot be read", {}, [str(error)]
    height, width, _ = pixels.shape
    parts = [f"{case.name:12s} {width} x {height}  field {inside.mean():.1%}"]
    laid: Laid = {}
    problems = []
    for observer, path in case.labels.items():
        share = "missing"
        if case.has_label(observer):
            try:
                drawing = datasets.read_drawn(case, observer, vessel_values)
                datasets.require_both_inside(drawing.vessels, inside, path)
                layer = labels.lay(case.name, pixels, inside, drawing.vessels)
                laid[observer] = layer, drawing.rule
                share = f"{drawing.vessels[inside].mean():.1%} vessels"
            except InputError as error:
                problems.append(str(error))
                share = "refused"
        parts.append(f"{observer} {share}")
    return "  ".join(parts), laid, problems


def check_split(
    title: str, cases: Sequence[Case], vessel_values: Sequence[int] | None, trust: bool
) -> list[str]:
    """Prints what one split holds; returns sentences on what cannot be used.

    With `trust`, labels that do not lie on their photographs are only printed.
    """
    print(f"{title}: {counted(len(cases), 'photograph')}")
    problems, all_laid = [], []
    for case in cases:
        line, laid, wrong = read_case(case, vessel_values)
        print(f"  {line}")
        all_laid.append(laid)
        problems += wrong
    for observer in OBSERVERS:
        found = [laid[observer] for laid in all_laid if observer in laid]
        alignments = labels.compare([layer for layer, _ in found])
        refused = labels.describe_refusals(alignments)
        notes = labels.describe_rules([rule for _, rule in found])
        if trust:
            notes += refused
        else:
            problems += refused
        for note in notes + labels.describe_shifts(alignments):
            print(f"  {observer}: {note}")
    if not any(case.has_label("1st_manual") for case in cases):
        print(f"  no labels here: {datasets.where_labels_are(cases[0], '1st_manual')}")
    return problems


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints what a data set holds, and what is missing or wrong.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("input/DRIVE"), help="a data set")
    values = "values of the labels that are vessel, such as 1 2, or 0x800000 for the "
    values += "colour (128, 0, 0); default: found by rules, or refused"
    kind = labels.vessel_value
    add("--vessel-values", nargs="+", type=kind, metavar="VALUE", help=values)
    trust = "name, but do not refuse, labels that do not lie on their photographs"
    add("--trust-labels", action="store_true", help=trust)
    camera = "find one scale for all photographs, which are by one camera, and write it"
    add("--camera", type=Path, metavar="FILE.json", help=camera)
    model = "network for which --camera holds; default: the one that predict.py takes"
    add("--model", type=Path, help=model)
    args = parser.parse_args(argv)
    if args.model and not args.camera:
        parser.error("--model goes with --camera: add it, or leave --model out")
    return args


def list_photographs(folder: Path) -> list[Path]:
    """The photographs of a data set, else those that lie in a folder."""
    try:
        cases = [c for split in SPLITS for c in datasets.list_cases(folder, split)]
    except InputError:  # it is no data set
        files, left_out = worklist.list_photographs([folder])
        if left_out:
            print(left_out)
        return files
    return list(dict.fromkeys(case.image for case in cases))


def write_setting(folder: Path, file: Path, model: Path) -> None:
    """Finds the scale for the photographs of a camera, prints and writes it."""
    if file.exists():
        raise InputError(
            f"expected no file {file}, found one: remove it, or choose another name"
        )
    require_writable(file.parent)
    network = load_network(model)
    paths = list_photographs(folder)
    camera = cameras.find_camera(network, paths, Options())
    write_camera(file, camera)
    print(f"{counted(len(paths), 'photograph')}, {camera.width} x {camera.height}")
    print(f"field of view {camera.field_diameter:.0f} pixels wide; shown, uncertainty:")
    for shown, value in camera.uncertainties:
        print(f"  {shown:6.0f}  {value:.4f}{'  <' * (shown == camera.shown_diameter)}")
    low, high = camera.flat
    print(f"within {FLAT:.0%} of the least: {low:.0f} to {high:.0f}")
    print("taken (<): the one of these that is nearest to the network's own")
    tried = [shown for shown, _ in camera.uncertainties]
    if camera.shown_diameter in (tried[0], tried[-1]):
        print("the least is at the end of what was tried: look at the maps")
    print(f"use it: python predict.py --camera {file} --model {model}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.camera:
        return write_setting(args.folder, args.camera, args.model or networks.choose())
    splits = {split: datasets.list_cases(args.folder, split) for split in SPLITS}
    if splits["training"] == splits["test"]:  # the data set knows no splits
        splits = {"all": splits["training"]}
    problems = []
    for split, cases in splits.items():
        title = f"{args.folder}, {split}"
        problems += check_split(title, cases, args.vessel_values, args.trust_labels)
    every = [case for cases in splits.values() for case in cases]
    if skipped := describe_skipped(datasets.list_skipped(args.folder, every)):
        print(skipped)
    if problems:
        raise InputError(f"{len(problems)} to mend:\n  " + "\n  ".join(problems))


if __name__ == "__main__":
    run(main, "check.py", stopped="run the same command again")
