"""How well the field of view is estimated, and what the photographs' notes rest on.

    python -m benchmarks.field_of_view
    python -m benchmarks.field_of_view --chase input/CHASE_DB1 --sheet outlines.png
    python -m benchmarks.field_of_view --data input/PHANTOM      # cheap: no DRIVE
    python -m benchmarks.field_of_view --maps models/vessels.keras  # of maps alone

The estimate sees the photograph alone; DRIVE's own masks only judge it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from retina import datasets, field_of_view, metrics, phantoms, prediction, quality
from retina.commands import run
from retina.files import whole_file
from retina.pictures import as_image, read_binary, read_pixels

BLURS = (0, 2, 3, 4, 6)  # standard deviations in pixels of a field of 540
SPEEDS = ((584, 565), (960, 999), (2336, 3504), (5000, 5000))  # height, width
THUMBNAIL = 480  # pixels


class Example(NamedTuple):
    """One photograph with what is known of it."""

    group: str
    name: str
    image: np.ndarray
    truth: np.ndarray | None  # its own field of view
    label: np.ndarray | None


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measures the estimated field of view.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("input/DRIVE"), help="a tree like DRIVE's")
    add("--chase", type=Path, help="a folder of CHASE_DB1's files")
    add("--photographs", type=Path, nargs="*", default=[], help="any others")
    maps = "network: score its maps of DRIVE's training photographs in both fields"
    add("--maps", type=Path, metavar="MODEL", help=maps)
    add("--sheet", type=Path, help="picture of all outlines to write")
    return parser.parse_args(argv)


def read_photographs(args: argparse.Namespace) -> Iterator[Example]:
    """Reads one photograph after the other: data set, CHASE_DB1, others, phantoms."""
    for split in datasets.SPLITS:
        for case in datasets.list_cases(args.data, split):
            image = as_image(read_pixels(case.image))
            truth = datasets.read_field_of_view(case)
            label = None
            if case.has_label("1st_manual"):
                label = datasets.read_label(case, "1st_manual")
            yield Example(args.data.name, case.name, image, truth, label)
    for path in sorted(args.chase.glob("*.jpg")) if args.chase else []:
        label = read_binary(path.with_name(f"{path.stem}_1stHO.png"))
        yield Example("CHASE_DB1", path.stem, as_image(read_pixels(path)), None, label)
    for path in args.photographs:
        yield Example("others", path.stem, as_image(read_pixels(path)), None, None)
    for height, width in ((256, 256), (584, 565), (960, 999)):
        drawn = phantoms.draw_phantom(
            height=height, width=width, rng=np.random.default_rng(0)
        )
        yield Example(
            "phantoms",
            f"{width}x{height}",
            drawn.image,
            drawn.field_of_view,
            drawn.label,
        )


def measure(photograph: Example, field: field_of_view.FieldOfView) -> dict:
    """Everything that the tables show of one photograph."""
    image, _, label = photograph.image, photograph.truth, photograph.label
    row = {"group": photograph.group, "name": photograph.name, "round": field.round}
    row["diameter"] = field.diameter
    row["notes"] = quality.quality_notes(image, field)
    if photograph.truth is not None:
        both = np.count_nonzero(field.inside & photograph.truth)
        row["iou"] = both / np.count_nonzero(field.inside | photograph.truth)
    row["brightness"] = quality.measure_brightness(image, field)
    if label is not None:
        row["vessels"] = quality.vessel_share(label, field)
    for sigma in BLURS:
        pixels = sigma * field.diameter / quality.SHARPNESS_DIAMETER
        blurred = phantoms.blur(image, pixels) if sigma else image
        row[f"blur {sigma}"] = quality.measure_sharpness(blurred, field)
    return row


def print_tables(rows: Sequence[dict]) -> None:
    """Prints the photographs that have a truth or a note, then every group's range."""
    print("IoU of the estimated field of view with the data set's own")
    for row in rows:
        if "iou" in row:
            print(
                f"  {row['group']:10s} {row['name']:12s} {row['iou']:.4f}  "
                f"diameter {row['diameter']:.1f}"
            )
    print("\nmean and extremes")
    columns = ["iou", "diameter", "brightness", "vessels"]
    columns += [f"blur {sigma}" for sigma in BLURS]
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        print(f"  {group}: {len(members)} photographs")
        for column in columns:
            values = [row[column] for row in members if column in row]
            if values:
                print(
                    f"    {column:10s} mean {np.mean(values):8.4f}   "
                    f"least {min(values):8.4f}   most {max(values):8.4f}"
                )
        noted = [f"{row['name']}: {note}" for row in members for note in row["notes"]]
        print(f"    notes      {'; '.join(noted) or 'none'}")


def print_speed() -> None:
    """Prints how long a photograph of each size takes."""
    print("\nseconds a photograph, the best of three")
    drawn = phantoms.draw_phantom(rng=np.random.default_rng(0)).image
    picture = Image.fromarray(np.round(drawn * 255).astype(np.uint8))
    for height, width in SPEEDS:
        image = np.asarray(picture.resize((width, height)), np.float32) / 255
        seconds = np.full((3, 2), np.inf)
        for i in range(3):
            began = time.perf_counter()
            field = field_of_view.estimate_field_of_view(image)
            found = time.perf_counter()
            quality.quality_notes(image, field)
            seconds[i] = found - began, time.perf_counter() - found
        estimate, notes = seconds.min(axis=0)
        print(f"  {width} x {height}: field {estimate:.3f}, notes {notes:.3f}")


def print_maps(data: Path, model: Path) -> None:
    """Prints how maps of the training photographs score inside the data set's fields,
    made with these and made from the photographs alone."""
    network, options = prediction.load_network(model), prediction.Options()
    cases = datasets.list_cases(data, "training")
    fields = [datasets.read_field_of_view(case) for case in cases]
    label = metrics.pool(
        [datasets.read_label(case, "1st_manual") for case in cases], fields
    )
    for way in ("the data set's", "estimated"):
        maps = []
        for case in cases:
            given = None if way == "estimated" else case.field_of_view
            photograph = prediction.Photograph(case.name, case.image, given)
            shown = prediction.read_photograph(photograph, network.record, options)
            mapped = prediction.predict_photograph(network, shown, options)
            maps.append(mapped.probability)
        probability = metrics.pool(maps, fields)
        area = metrics.ranking_scores(label, probability)["auc_roc"]
        dice = metrics.threshold_scores(label, probability >= 0.5)["dice"]
        print(f"{way} fields of view: AUC ROC {area:.5f}, Dice {dice:.4f}", flush=True)


def draw_outline(photograph: Example, field: field_of_view.FieldOfView) -> Image.Image:
    """A brightened thumbnail; the estimate is green, the data set's own field red."""
    image = np.sqrt(np.clip(photograph.image, 0, 1))  # shows what the dark hides
    picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
    scale = THUMBNAIL / max(picture.size)
    size = tuple(max(round(side * scale), 1) for side in picture.size)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    for area, colour in ((photograph.truth, (255, 0, 0)), (field.inside, (0, 255, 0))):
        if area is None:
            continue
        small = np.asarray(Image.fromarray(area).resize(size))
        padded = np.pad(small, 1)
        shrunk = padded[:-2, 1:-1] & padded[2:, 1:-1]
        shrunk &= padded[1:-1, :-2] & padded[1:-1, 2:]
        paint = Image.fromarray((small & ~shrunk).astype(np.uint8) * 255)
        picture.paste(colour, mask=paint)
    ImageDraw.Draw(picture).text((4, 4), photograph.name, fill=(255, 255, 255))
    return picture


def draw_sheet(path: Path, outlines: Sequence[Image.Image]) -> None:
    """Writes all outlines into one picture."""
    across = math.ceil(math.sqrt(len(outlines)))
    down = math.ceil(len(outlines) / across)
    sheet = Image.new("RGB", (across * THUMBNAIL, down * THUMBNAIL), (40, 40, 90))
    for i, outline in enumerate(outlines):
        sheet.paste(outline, (i % across * THUMBNAIL, i // across * THUMBNAIL))
    with whole_file(path) as part:
        sheet.save(part)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.maps:
        return print_maps(args.data, args.maps)
    rows, outlines = [], []
    for photograph in read_photographs(args):
        field = field_of_view.estimate_field_of_view(photograph.image)
        rows.append(measure(photograph, field))
        outlines.append(draw_outline(photograph, field))
    print_tables(rows)
    print_speed()
    if args.sheet:
        draw_sheet(args.sheet, outlines)
        print(f"\nlook at {args.sheet}")


if __name__ == "__main__":
    run(main, "benchmarks.field_of_view", stopped="run the same command again")
