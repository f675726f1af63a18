"""The curves of a training: one row an epoch, in a file that is whole at any time.

curves = Curves("models/x.csv", checkpoint.rows, validate=score, every=10)
model.fit(patches, callbacks=[curves, checkpoint])
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from retina.files import InputError, whole_file, write_table

FIELDS = ("epoch", "loss", "learning_rate", "validation_auc", "seconds")
PANELS = {
    "loss": "loss",
    "validation_auc": "AUC ROC, validation",
    "learning_rate": "learning rate",
}


class Curves(keras.callbacks.Callback):
    """Adds a row an epoch and writes them all; validates now and then.

    Stops where the loss is no longer a number, before anything is kept of that epoch.

    Args:
        path: of the CSV file. It is for people: nothing reads it again.
        rows: of the epochs that are done; one is added after each further one.
        validate: takes the model and returns the validation AUC; None to go without.
        every: epochs between validations. The last epoch is always validated.
    """

    def __init__(
        self,
        path: Path | str,
        rows: list[dict[str, float]],
        *,
        validate: Callable[[keras.Model], float] | None = None,
        every: int = 1,
    ):
        super().__init__()
        self.path = Path(path)
        self.rows = rows
        self.validate = validate
        self.every = every

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs):
        seconds = time.perf_counter() - self._began
        require_finite(self.model, logs["loss"], epoch + 1)
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "learning_rate": float(self.model.optimizer.learning_rate),
            "seconds": seconds,
        }
        last = epoch + 1 == self.params["epochs"]
        if self.validate and ((epoch + 1) % self.every == 0 or last):
            row["validation_auc"] = float(self.validate(self.model))
            logs["validation_auc"] = row["validation_auc"]  # the progress bar shows it
        self.rows.append(row)
        write_curves(self.path, self.rows)

    def on_train_end(self, logs=None):
        write_curves(self.path, self.rows)  # a training that was done had no epoch


def require_finite(model: keras.Model, loss: float, epoch: int) -> None:
    """Raises an InputError where loss or weights are not finite.

    The last batch can spoil the weights when its loss was still a number.
    """
    weights = map(keras.ops.convert_to_numpy, model.weights)
    if not (math.isfinite(loss) and all(np.isfinite(each).all() for each in weights)):
        raise _not_finite(loss, epoch)


def raise_if_not_finite(error: RuntimeError, epoch: int) -> None:
    """Raises an InputError where `error` is PyTorch's, whose loss takes no NaN."""
    if "between 0 and 1" in str(error):
        raise _not_finite(math.nan, epoch) from None


def _not_finite(loss: float, epoch: int) -> InputError:
    return InputError(
        f"expected a finite loss and finite weights, received a loss of {loss} in "
        f"epoch {epoch}, of which nothing is kept: start anew with --replace and a "
        "smaller --learning-rate"
    )


def best_epoch(rows: list[dict[str, float]]) -> int:
    """The epoch of highest validation AUC, counted from 1; the last of `rows` if none
    was validated."""
    validated = [row for row in rows if "validation_auc" in row]
    best = max(validated, key=lambda row: row["validation_auc"], default=rows[-1])
    return int(best["epoch"])


def write_curves(path: Path | str, rows: list[dict[str, float]]) -> None:
    """Writes rows as CSV; what was not measured stays empty.

    Raises:
        InputError: the disk is full, or the folder refuses it.
    """
    try:
        write_table(path, FIELDS, [[row.get(name) for name in FIELDS] for row in rows])
    except OSError as error:
        raise InputError(
            f"expected to write {path}, but it failed ({error.strerror}): make room, "
            "and continue with --resume"
        ) from None


def draw_history(path: Path, rows: list[dict]) -> None:
    """Draws loss, validation AUC and learning rate over the epochs."""
    from matplotlib.figure import Figure

    panels = [
        (name, [(row["epoch"], row[name]) for row in rows if name in row])
        for name in PANELS
    ]
    panels = [(name, points) for name, points in panels if points]
    figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, (name, points) in zip(axes, panels, strict=True):
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        axis.set(title=PANELS[name], xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.3)
    with whole_file(path) as part:
        figure.savefig(part, dpi=120)
