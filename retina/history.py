"""The curves of a training: one row an epoch, in a file that is whole at any time.

curves = Curves("models/x.csv", validate=score, every=10, best="best.weights.h5")
model.fit(patches, callbacks=[curves])
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import keras

from retina.files import whole_file

FIELDS = ("epoch", "loss", "learning_rate", "validation_auc", "seconds")


class Curves(keras.callbacks.Callback):
    """Writes a row an epoch, validates now and then, and saves the best weights.

    Args:
        path: of the CSV file. Rows that stand there already are kept where training
            goes on after them (`--resume`), else replaced.
        validate: takes the model and returns the validation AUC; None to go without.
        every: epochs between validations. The last epoch is always validated.
        best: where the weights of the best validated epoch are saved; None for nowhere.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        validate: Callable[[keras.Model], float] | None = None,
        every: int = 1,
        best: Path | None = None,
    ):
        super().__init__()
        self.path = Path(path)
        self.validate = validate
        self.every = every
        self.best = best
        self.rows = read_curves(path)

    def on_epoch_begin(self, epoch, logs=None):
        self.rows = [row for row in self.rows if row["epoch"] < epoch + 1]
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs):
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "learning_rate": float(self.model.optimizer.learning_rate),
            "seconds": time.perf_counter() - self._began,
        }
        last = epoch + 1 == self.params["epochs"]
        if self.validate and ((epoch + 1) % self.every == 0 or last):
            row["validation_auc"] = self.validate(self.model)
            logs["validation_auc"] = row["validation_auc"]  # the progress bar shows it
            if self.best and best_epoch([*self.rows, row]) == epoch + 1:
                self.model.save_weights(self.best)
        self.rows.append(row)
        write_curves(self.path, self.rows)


def best_epoch(rows: list[dict[str, float]]) -> int:
    """The epoch of highest validation AUC, counted from 1; the last of `rows` if none
    was validated."""
    validated = [row for row in rows if "validation_auc" in row]
    best = max(validated, key=lambda row: row["validation_auc"], default=rows[-1])
    return int(best["epoch"])


def write_curves(path: Path | str, rows: list[dict[str, float]]) -> None:
    """Writes rows as CSV; what was not measured stays empty."""
    with (
        whole_file(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def read_curves(path: Path | str) -> list[dict[str, float]]:
    """Reads rows as they were given to `write_curves`; [] where there is no file."""
    if not Path(path).is_file():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def draw_history(path: Path, rows: list[dict]) -> None:
    """Draws loss, validation AUC and learning rate over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [
        (name, [(row["epoch"], row[name]) for row in rows if name in row])
        for name in ("loss", "validation_auc", "learning_rate")
    ]
    panels = [(name, points) for name, points in panels if points]
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4 * len(panels), 3), layout="constrained"
    )
    for axis, (name, points) in zip(axes, panels, strict=True):
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        axis.set(title=name.replace("_", " "), xlabel="epoch")
        axis.grid(alpha=0.3)
    with whole_file(path) as part:
        figure.savefig(part, dpi=120)
    pyplot.close(figure)
