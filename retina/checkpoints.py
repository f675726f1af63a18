"""The state of a training after each epoch: it can be killed at any moment.

    checkpoint = Checkpoint(folder, plan, keep_best=True)
    done = checkpoint.restore(model)  # 0 where no training was begun
    model.fit(patches, initial_epoch=done, callbacks=[curves, checkpoint])
    checkpoint.load_best(model)
    checkpoint.remove()  # when network and record are on disk

A state is one zip file of `state.json` and the variables' bytes. It is written under
another name and renamed; zip's checksums tell a damaged one; the last two are kept.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from retina.files import InputError, whole_file
from retina.history import best_epoch

KEPT = 2  # states: the newest, and the one before in case that it is damaged


@dataclass(frozen=True)
class State:
    """A training after some epochs."""

    plan: dict  # all that must be the same to go on: recipe, data, versions
    epoch: int  # how many are done; 0 before the first
    rows: list[dict[str, float]]  # of the curves, one for each of them
    layout: list[str]  # type and shape of each variable: `float32 (3, 3, 3, 16)`
    values: bytes  # the variables of network and optimizer, dropout's random state too
    best: bytes  # weights of the best epoch so far; empty where none is kept


class Checkpoint(keras.callbacks.Callback):
    """Writes the state of a training after each epoch, and continues from it.

    A training that is continued ends with the same weights as one that was never
    stopped: all variables are restored, and what else is random depends on the epoch.

    Args:
        folder: of the states, and of nothing else.
        plan: all that must be the same to go on, ready for JSON.
        keep_best: whether the weights of the best validated epoch are kept.

    Attributes:
        rows: of the epochs that are done. `history.Curves`, which must come before
            this callback, adds one an epoch.
    """

    def __init__(self, folder: Path, plan: dict, *, keep_best: bool = False):
        super().__init__()
        self.folder = folder
        self.plan = plan
        self.keep_best = keep_best
        self.rows: list[dict[str, float]] = []
        self.best = b""

    def restore(self, model: keras.Model) -> int:
        """Gives a compiled model the newest whole state; says so if one is damaged.

        Returns:
            The epochs that are done, `initial_epoch` of `fit`; 0 where none was begun.

        Raises:
            InputError: all states are damaged, or of another plan or network.
        """
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = _newest(self.folder)
        if state is None:
            return 0
        _require_same(state.plan, self.plan)
        variables = _variables(model)
        if state.layout != _layout(variables):
            raise InputError(
                f"expected the network that the training in {self.folder} was begun "
                "with, received one of other layers: start anew with --replace"
            )
        newest, used = _paths(self.folder)[-1], _path(self.folder, state.epoch)
        if used != newest:
            print(f"{newest} is damaged: training continues from {used}")
        _scatter(state.values, variables)
        self.rows[:] = state.rows
        self.best = state.best
        return state.epoch

    def load_best(self, model: keras.Model) -> None:
        """Gives the model the weights of the best epoch, where they are kept."""
        if self.best:
            _scatter(self.best, model.weights)

    def remove(self) -> None:
        """Removes all states, the newest last: a kill in between loses nothing."""
        for path in _paths(self.folder):
            path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_begin(self, logs=None):
        if not _paths(self.folder):
            self._write(0)

    def on_epoch_begin(self, epoch, logs=None):
        # PyTorch's dropout draws from the process's generator, which is no variable.
        # TensorFlow would compile its functions anew, and needs no such thing.
        if keras.backend.backend() == "torch":
            seed = zlib.crc32(json.dumps([self.plan, epoch]).encode())
            keras.utils.set_random_seed(seed)

    def on_epoch_end(self, epoch, logs=None):
        validated = "validation_auc" in self.rows[-1]
        if self.keep_best and validated and best_epoch(self.rows) == epoch + 1:
            self.best = _gather(self.model.weights)
        self._write(epoch + 1)

    def _write(self, epoch: int) -> None:
        variables = _variables(self.model)
        layout, values = _layout(variables), _gather(variables)
        state = State(self.plan, epoch, self.rows, layout, values, self.best)
        try:
            _write_state(self.folder, state)
        except OSError as error:
            raise InputError(
                f"expected to write the state of epoch {epoch} into {self.folder}, but "
                f"it failed ({error.strerror}): make room, and continue with --resume"
            ) from None


def read_plan(folder: Path) -> dict | None:
    """The plan of the training that was begun in `folder`; None where none was.

    Raises:
        InputError: its states are damaged.
    """
    state = _newest(folder)
    return state.plan if state else None


# ---- files


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:06}.zip"


def _paths(folder: Path) -> list[Path]:
    """Of the states, the oldest first."""
    return sorted(folder.glob("epoch-*.zip"))


def _newest(folder: Path) -> State | None:
    """The newest state that is whole; None where there is none at all."""
    paths = _paths(folder)
    for path in reversed(paths):
        try:
            return _read_state(path)
        except Exception:  # noqa: S112 - a damaged zip file may raise anything
            continue
    if paths:
        raise InputError(
            f"expected a whole state of the training in {folder}, found that all "
            f"{len(paths)} are damaged: start anew with --replace"
        )
    return None


def _read_state(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:
        # A member's checksum is compared when it has been read to its end.
        about = json.loads(archive.read("state.json"))
        return State(**about, values=archive.read("values"), best=archive.read("best"))


def _write_state(folder: Path, state: State) -> None:
    """Writes a state, and removes all but the one before."""
    about = asdict(state)
    with whole_file(_path(folder, state.epoch)) as part, part.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("values", about.pop("values"))
            archive.writestr("best", about.pop("best"))
            archive.writestr("state.json", json.dumps(about))
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)
    left_by_kills = folder.glob(".epoch-*.part.zip")
    for old in (*_paths(folder)[:-KEPT], *left_by_kills):
        old.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Forces the folder's new entry onto the disk, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


# ---- plans


def _require_same(begun: dict, plan: dict) -> None:
    """Raises an InputError that names what differs between two plans, if anything."""
    before, now = _flat(begun), _flat(json.loads(json.dumps(plan)))
    changed = [
        f"{name} {_short(before.get(name))}, now {_short(now.get(name))}"
        for name in before | now
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(
            "expected the options and data that the training was begun with, received "
            f"others ({'; '.join(changed)}): give the same, or start anew with "
            "--replace"
        )


def _flat(plan: dict) -> dict:
    """A plan's entries with those of the dicts in it, under their own names."""
    flat = {}
    for name, value in plan.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _short(value: object) -> str:
    """A value within a sentence; of a hash the beginning."""
    text = str(value)
    return f"{text[:8]}..." if len(text) > 40 else text


# ---- variables


def _variables(model: keras.Model) -> list[keras.Variable]:
    """All that a batch changes; `model.variables` has dropout's random state."""
    return [*model.variables, *model.optimizer.variables]


def _layout(variables: list[keras.Variable]) -> list[str]:
    return [f"{variable.dtype} {tuple(variable.shape)}" for variable in variables]


def _gather(variables: list[keras.Variable]) -> bytes:
    """The variables' values, one after the other."""
    arrays = map(keras.ops.convert_to_numpy, variables)
    return b"".join(array.tobytes() for array in arrays)


def _scatter(values: bytes, variables: list[keras.Variable]) -> None:
    """Gives variables the values that `_gather` took from others like them."""
    start = 0
    for variable in variables:
        old = keras.ops.convert_to_numpy(variable)
        flat = np.frombuffer(values, old.dtype, old.size, start)
        variable.assign(flat.reshape(old.shape).copy())
        start += old.nbytes
