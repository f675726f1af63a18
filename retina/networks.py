"""Trained networks on disk: NAME.keras, and NAME.json that says how it was made.

model = load("models/x.keras")
record = read_record("models/x.keras")
save(model, record, "models/y.keras")
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retina.files import InputError, fingerprint, whole_file

if TYPE_CHECKING:
    import keras

PROBABILITY, MEAN = "probability", "mean"  # layers: of one network, of several
# Of convolutions and what lies between; weights, statistics of normalisation and
# probabilities are float32 in each of them.
PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
WORTH = 1.2  # how many times faster bfloat16 must be before it is taken


def newest(folder: Path = Path("models")) -> Path:
    """The network that was written last.

    Raises:
        InputError: there is none.
    """
    paths = sorted(folder.glob("[!.]*.keras"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise InputError(
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
        raise InputError(
            f"expected a trained network in {path}, found no such file: run "
            "train.py first, or give the path of one"
        )
    record = path.with_suffix(".json")
    if not record.is_file():
        return {}
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
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
        raise InputError(
            f"expected a Keras network in {path}, but it cannot be loaded ({reason}): "
            "train it again with train.py"
        ) from error


def save(model, record: dict, path: Path) -> None:
    """Writes the network to `path`, and its record beside it.

    Its layers lose their initializers, whose options differ between Keras' versions: a
    network that is loaded needs none, and so loads in older ones.
    """
    forget_initializers(model)
    with whole_file(path) as part:
        model.save(part)
    with whole_file(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def forget_initializers(model: keras.Model) -> None:
    """Sets every initializer of every layer to zeros, within nested networks too."""
    import keras

    for layer in model._flatten_layers():
        for name in list(vars(layer)):
            if name.endswith("_initializer") and getattr(layer, name) is not None:
                setattr(layer, name, keras.initializers.Zeros())


def role_of(photograph: Path, record: dict) -> str:
    """What a photograph was to the network, told by its bytes, not by its name.

    Returns:
        `training`, `validation` (held out), `unseen`, or `unknown` where there is no
        record.
    """
    if not record:
        return "unknown"
    digest = fingerprint(photograph)
    for role in ("training", "validation"):
        if digest in record[f"{role}_cases"].values():
            return role
    return "unseen"


def copy_folded(trained: keras.Model, plain: keras.Model) -> None:
    """Copies the weights of `trained` into `plain`, which has no normalisation.

    A trained batch normalisation is a factor and an offset a channel, and so is folded
    into the convolution before it: the same probabilities, but for rounding, in less
    time (Jacob et al. (2018), "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", section 3.2).

    Args:
        trained: from `build_unet`, with or without `batch_normalization`.
        plain: from `build_unet` with the same encoder and filters, without it.
    """
    from keras import layers

    normalizations = [
        layer
        for layer in trained.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    for source, target in zip(_weighted(trained), _weighted(plain), strict=True):
        weights = source.get_weights()
        if len(weights) < len(target.get_weights()):  # no bias: normalised
            normalization = normalizations.pop(0)
            gain, offset, mean, variance = normalization.get_weights()
            scale = gain / (variance + normalization.epsilon) ** 0.5
            weights = [weights[0] * scale, offset - mean * scale]
        target.set_weights(weights)


def _weighted(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that have weights, but for normalisation, inputs first."""
    from keras import layers

    return [
        layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, layers.BatchNormalization)
    ]


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy of a float32 network that computes in bfloat16, all but its probabilities.

    Where the processor has instructions for it this is faster; probabilities differ a
    little (benchmarks/README.md).
    """

    import keras

    def clone(layer):
        config = layer.get_config()
        if "dtype" in config and layer.name not in (PROBABILITY, MEAN):
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def average(models: Sequence[keras.Model]) -> keras.Model:
    """One network whose probability is the mean of those of `models`.

    It holds them all and takes the time of all. Their names are changed, since a
    network's parts must differ in name.

    Args:
        models: two or more, each of images (N, H, W, 3) to probabilities (N, H, W, 1).

    Raises:
        ValueError: fewer than two.
    """
    if len(models) < 2:
        raise ValueError(f"expected two networks or more. Received: {len(models)}")
    import keras

    image = keras.Input((None, None, 3), name="image")
    for number, model in enumerate(models):
        model.name = f"network_{number}"
    mean = keras.layers.Average(name=MEAN)([model(image) for model in models])
    return keras.Model(image, mean, name="average")


def choose_precision(wanted: str) -> str:
    """The precision to compute in. Says in a line which, and why."""
    precision, reason = wanted, "as asked"
    if wanted == "auto":
        ratio = time_convolutions("float32") / time_convolutions("bfloat16")
        precision = "bfloat16" if ratio >= WORTH else "float32"
        reason = f"bfloat16 is {ratio:.1f} times as fast here"
    print(f"precision {precision}: {reason}")
    return precision


def time_convolutions(precision: str) -> float:
    """Seconds that a few convolutions take on this machine, the fastest of three."""
    import keras
    import numpy as np

    policy = PRECISIONS[precision]
    convolutions = [
        keras.layers.Conv2D(64, 3, padding="same", dtype=policy) for _ in range(3)
    ]
    model = keras.Sequential([keras.Input((64, 64, 64)), *convolutions])
    images = np.zeros((16, 64, 64, 64), np.float32)
    model.predict_on_batch(images)  # traces
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        model.predict_on_batch(images)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
