"""Trained networks on disk: NAME.keras, and NAME.json that says how it was made.

model = load("models/x.keras")
record = read_record("models/x.keras")
save(model, record, "models/y.keras")
"""

from __future__ import annotations

import json
from pathlib import Path

import datasets


def newest(folder: Path = Path("models")) -> Path:
    """The network that was written last.

    Raises:
        InputError: there is none.
    """
    paths = sorted(folder.glob("[!.]*.keras"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise datasets.InputError(
            f"expected a trained network in {folder}, found no .keras file: run "
            "train.py first"
        )
    return paths[-1]


def read_record(path: Path) -> dict:
    """How the network in `path` was made, from NAME.json; {} where that is missing.

    Raises:
        InputError: there is no network, or its record cannot be read.
    """
    if not path.is_file():
        raise datasets.InputError(
            f"expected a trained network in {path}, found no such file: run "
            "train.py first, or give the path of one"
        )
    record = path.with_suffix(".json")
    if not record.is_file():
        return {}
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise datasets.InputError(
            f"expected {record} to say how {path} was made, but it cannot be read "
            f"({error}): train it again, or remove the file"
        ) from None


def load(path: Path):
    """The network, a `keras.Model` of images (N, H, W, 3), 0..1, to probabilities.

    Raises:
        InputError: the file holds none.
    """
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise datasets.InputError(
            f"expected a Keras network in {path}, but it cannot be loaded ({reason}): "
            "train it again with train.py"
        ) from error


def save(model, record: dict, path: Path) -> None:
    """Writes the network to `path`, and its record beside it."""
    with datasets.whole_file(path) as part:
        model.save(part)
    with datasets.whole_file(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def role_of(photograph: Path, record: dict) -> str:
    """What a photograph was to the network, told by its bytes, not by its name.

    Returns:
        `training`, `validation` (held out), `unseen`, or `unknown` where there is no
        record.
    """
    if not record:
        return "unknown"
    digest = datasets.fingerprint(photograph)
    for role in ("training", "validation"):
        if digest in record[f"{role}_cases"].values():
            return role
    return "unseen"
