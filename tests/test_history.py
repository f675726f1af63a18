"""The curves of a training, and where it stops."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from retina import history
from retina.files import InputError

ROWS = [
    {"epoch": 1, "loss": 0.5, "learning_rate": 0.1, "seconds": 2.0},
    {"epoch": 2, "loss": 0.4, "learning_rate": 0.1, "validation_auc": 0.7},
    {"epoch": 3, "loss": 0.3, "learning_rate": 0.1, "validation_auc": 0.9},
    {"epoch": 4, "loss": 0.2, "learning_rate": 0.1, "validation_auc": 0.9},
]


def fit(folder, rows, *, epochs=3, y=3.0, rate=0.01, **options):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    curves = history.Curves(folder / "x.csv", rows, **options)
    x, y = np.ones((8, 1)), np.broadcast_to(y, (8,)).reshape(8, 1)
    model.fit(
        x,
        y,
        epochs=epochs,
        initial_epoch=len(rows),
        batch_size=2,
        shuffle=False,
        callbacks=[curves],
        verbose=0,
    )


def read(folder):
    with (folder / "x.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_an_epoch_and_a_validation_now_and_then(tmp_path):
    rows = []
    fit(tmp_path, rows, epochs=5, validate=lambda model: 0.5, every=2)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    validated = [row["epoch"] for row in rows if "validation_auc" in row]
    assert validated == [2, 4, 5]  # every second one, and the last
    written = read(tmp_path)
    assert [float(row["loss"]) for row in written] == [row["loss"] for row in rows]
    assert [row["validation_auc"] for row in written] == ["", "0.5", "", "0.5", "0.5"]
    assert all(float(row["learning_rate"]) == pytest.approx(0.01) for row in written)


def test_rows_are_added_to_those_that_were_there(tmp_path):
    rows = ROWS[:2]
    fit(tmp_path, rows, epochs=3)
    assert [row["epoch"] for row in read(tmp_path)] == ["1", "2", "3"]


def test_without_validation_none_is_tried(tmp_path):
    rows = []
    fit(tmp_path, rows)
    assert not any("validation_auc" in row for row in rows)


def test_the_best_epoch_is_the_first_of_the_highest_validation():
    assert history.best_epoch(ROWS) == 3
    assert history.best_epoch(ROWS[:2]) == 2
    assert history.best_epoch(ROWS[:1]) == 1  # none was validated: the last


def test_a_loss_that_is_nan_in_one_batch_stops_the_epoch_and_keeps_nothing(tmp_path):
    """The second of four batches: the mean over the epoch is no number either."""
    asked, rows = [], [dict(ROWS[0])]
    with pytest.raises(InputError, match="loss of nan in epoch 2, .* --learning-rate"):
        fit(
            tmp_path,
            rows,
            y=[1, 1, np.nan, 1, 1, 1, 1, 1],
            validate=lambda model: asked.append(1) or 0.5,
        )
    assert rows == ROWS[:1] and not asked and not (tmp_path / "x.csv").exists()


def test_weights_that_overflow_in_the_last_batch_stop_it_too(tmp_path):
    """The loss, 9, was worked out before the step that spoilt them."""
    rows = []
    with pytest.raises(InputError, match="loss of [0-9.]+ in epoch 1"):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(np.inf), "mse")
        curves = history.Curves(tmp_path / "x.csv", rows)
        model.fit(np.ones((2, 1)), np.ones((2, 1)), callbacks=[curves], verbose=0)
    assert not rows


def test_curves_that_cannot_be_written_get_a_sentence(tmp_path):
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "x.csv" / "file").touch()
    with pytest.raises(InputError, match="x.csv, but it failed .* --resume"):
        fit(tmp_path, [])


def test_what_was_measured_is_drawn(tmp_path):
    history.draw_history(tmp_path / "two.png", ROWS[:1])
    history.draw_history(tmp_path / "three.png", ROWS)
    sizes = []
    for name in ("two", "three"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            sizes.append(picture.size)
    assert sizes == [(2 * 480, 360), (3 * 480, 360)]  # a panel for each


def test_the_axis_of_one_epoch_has_whole_numbers(tmp_path, monkeypatch):
    drawn = []

    def save(figure, path, **_):
        path.touch()
        drawn.append(figure)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    history.draw_history(tmp_path / "one.png", ROWS[:1])
    ticks = np.concatenate([axis.get_xticks() for axis in drawn[0].axes])
    np.testing.assert_array_equal(ticks, ticks.round())
