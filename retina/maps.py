"""Probability maps on disk, and what predict.py notes of each.

write_probability("output/x/eye.png", probability)
rows = read_predictions("output/x")
"""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from retina.files import InputError, whole_file
from retina.pictures import ROWS_AT_A_TIME, open_picture


def write_probability(path: Path | str, probability: np.ndarray) -> None:
    """Writes a map of shape (H, W), 0..1, as a 16-bit grey PNG: value / 65535."""
    values = np.empty(probability.shape, np.uint16)
    for top in range(0, len(values), ROWS_AT_A_TIME):
        rows = np.s_[top : top + ROWS_AT_A_TIME]
        values[rows] = np.round(np.clip(probability[rows], 0, 1) * 65535)
    with whole_file(path) as part:
        # Runs alone: as small as zlib's default on such maps, in a third of the time.
        Image.fromarray(values).save(part, compress_type=zlib.Z_RLE)


def read_probability(path: Path | str) -> np.ndarray:
    """Reads a probability map.

    Returns:
        float32 array of shape (H, W), 0..1.

    Raises:
        InputError: the file is missing or no 16-bit grey PNG.
    """
    picture = open_picture(path)
    if not picture.mode.startswith("I"):
        raise InputError(
            f"expected a 16-bit grey PNG in {path}, received mode {picture.mode}: "
            "write maps with predict.py"
        )
    return np.asarray(picture, np.float32) / 65535


# What predict.py notes of each map in predictions.csv beside the maps.
# `role` is what the photograph was to the network: `training` (it learnt from it),
# `validation` (held out, but the threshold was chosen on it) or `unseen`; `epoch` is
# `best` where the epoch was chosen on the validation photographs, else `last`. Both are
# `unknown` where the model came without the record of how it was made.
# `field_diameter` is in pixels; by `scale` the photograph was resampled for the
# network, which computed in `precision`; `uncertain` is the share of pixels inside the
# field with a probability of .1 to .9; `seconds` is the work on it, reading, network
# and writing, without waiting for its turn: the work on one photograph overlaps that on
# the next, so that a folder takes less than the sum; `note` says what is wrong with it.
PREDICTION_FIELDS = (
    "name",
    "photograph",
    "model",
    "role",
    "epoch",
    "threshold",
    "height",
    "width",
    "field_diameter",
    "scale",
    "precision",
    "mean_probability",
    "uncertain",
    "seconds",
    "note",
)


def newest_predictions() -> Path:
    """The folder under output/ into which predict.py wrote last."""
    notes = list(Path("output").glob("*/predictions.csv"))
    if not notes:
        raise InputError(
            "expected a folder of probability maps under output/, found none with a "
            "predictions.csv: run predict.py first, or name the folder"
        )
    return max(notes, key=lambda path: path.stat().st_mtime).parent


def read_predictions(folder: Path | str) -> dict[str, dict[str, str]]:
    """Reads the notes beside the maps of `folder`: name of the map -> its row."""
    path = Path(folder) / "predictions.csv"
    if not path.is_file():
        raise InputError(
            f"expected probability maps and their notes in {folder}, found no "
            "predictions.csv: run predict.py first"
        )
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != PREDICTION_FIELDS:
            raise InputError(
                f"expected the columns {', '.join(PREDICTION_FIELDS)} in {path}, "
                f"received {reader.fieldnames}: run predict.py again"
            )
        return {row["name"]: row for row in reader}


def write_predictions(folder: Path | str, rows: dict[str, dict[str, object]]) -> None:
    """Writes the notes beside the maps of `folder`, in the order of their names."""
    with (
        whole_file(Path(folder) / "predictions.csv") as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, PREDICTION_FIELDS)
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
