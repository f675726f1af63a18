"""Networks as ONNX files, which run without Keras and a framework behind it.

    sha256 = save(model, Path("x.onnx"))                # needs Keras, onnx, onnxruntime
    network = read(Path("x.onnx").read_bytes(), "x.onnx")        # needs onnxruntime
    maps = network.predict_on_batch(images)

Only the kinds of layers that the project's networks have are written, and only the
operators that these need are read. The graph is built here: Keras' own export needs
another converter for each backend.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retina import phantoms
from retina.files import InputError, first_line, whole_file

if TYPE_CHECKING:
    import keras
    import onnxruntime

TOLERANCE = 1e-5  # of a probability, between Keras and the file
LARGEST = 2**31 - 2**20  # bytes of weights: a file of protocol buffers ends at 2 GiB
# Of 2022, and all that is needed: old runtimes read them, too.
OPERATOR_SET, FORMAT = 17, 8
ACTIVATIONS = {"linear": "", "relu": "Relu", "sigmoid": "Sigmoid"}
OPERATORS = b"""
    Add Concat Conv ConvTranspose Gather MaxPool Mean Mul Relu Sigmoid Transpose
""".split()
# The fields that a file may have, by their numbers in onnx.proto, and the kind of
# message that each holds, if any. Left out are functions, subgraphs, training, and all
# ways to name weights in another file.
SCHEMA = {
    "model": dict.fromkeys(range(1, 7), "") | {7: "graph", 8: "operator set"},
    "operator set": dict.fromkeys((1, 2), ""),
    "graph": {1: "node", 2: "", 5: "tensor", 10: "", 11: "", 12: ""},
    "node": dict.fromkeys((1, 2, 3, 4, 6, 7), "") | {5: "attribute"},
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 13, 20), ""),
    "tensor": dict.fromkeys((1, 2, 4, 7, 8, 9, 12, 14), ""),
}
NAMES = {
    ("model", 25): "functions",
    ("attribute", 6): "a graph within an operator",
    ("tensor", 13): "weights in another file",
}


@dataclass(frozen=True)
class OnnxNetwork:
    """A network that predicts as a `keras.Model` does."""

    session: onnxruntime.InferenceSession

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (N, H, W, 1) of images (N, H, W, 3), float32, 0..1."""
        (image,) = self.session.get_inputs()
        return self.session.run(None, {image.name: images})[0]


# ---- read


def read(content: bytes, path: Path | str) -> OnnxNetwork:
    """The network in a file's `content`; `path` is for sentences alone.

    Raises:
        InputError: it is none of `save`, or onnxruntime is missing.
    """
    onnxruntime = _package("onnxruntime")
    try:
        _check(memoryview(content), "model")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, too
        threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        options.intra_op_num_threads = int(threads or 0)  # 0: one a core
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which would print, and try the same again
        )
        _check_shapes(session)
    except Exception as error:  # onnxruntime has a dozen types, with none in common
        raise InputError(
            f"expected a network in {path}, as average.py --onnx writes it, but it "
            f"cannot be read ({first_line(error)}): write it again from its .keras file"
        ) from None
    return OnnxNetwork(session)


def _package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"expected the package {name}, which ONNX networks need, found none: "
            f"python -m pip install {name}"
        ) from None


def _check_shapes(session: onnxruntime.InferenceSession) -> None:
    """Raises a ValueError unless it makes probabilities of images, of any size."""
    found = [*session.get_inputs(), *session.get_outputs()]
    channels = [each.shape[3:] for each in found if each.type == "tensor(float)"]
    if channels != [[3], [1]] or len(found) != 2:
        raise ValueError(f"it takes and returns {[each.shape for each in found]}")


def _check(message: memoryview, kind: str) -> None:
    """Raises a ValueError where a message of this kind holds what `save` never writes.

    onnxruntime alone would run other operators and open other files.
    """
    for number, value in _fields(message):
        if number not in SCHEMA[kind]:
            entry = f"the entry {number} of its {kind}"
            raise ValueError(f"it has {NAMES.get((kind, number), entry)}")
        if (kind, number) == ("node", 4) and value not in OPERATORS:
            raise ValueError(f"it has the operator {bytes(value)!r}")
        if (kind, number) in (("node", 7), ("operator set", 1)) and value != b"":
            raise ValueError(f"it has operators of the domain {bytes(value)!r}")
        if (kind, number) == ("tensor", 14) and value != 0:
            raise ValueError("it has weights in another file")
        if SCHEMA[kind][number]:
            _check(value, SCHEMA[kind][number])


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and value of each field of a protocol buffers message.

    https://protobuf.dev/programming-guides/encoding/
    """
    if not isinstance(message, memoryview):
        raise ValueError("it has a number where a message should be")
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        length = {0: 0, 1: 8, 5: 4}.get(tag & 7)
        if tag & 7 == 2:
            length, place = _number(message, place)
        if length is None or not 8 <= tag < 2**32 or place + length > len(message):
            raise ValueError("it is damaged, or no ONNX file")
        if tag & 7:
            value = message[place : place + length]
        else:
            value, place = _number(message, place)
        yield tag >> 3, value
        place += length


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("it is damaged, or no ONNX file")


# ---- write


def save(model: keras.Model, path: Path) -> str:
    """Writes a network to `path`, any sides. Returns the SHA-256 of the file.

    Raises:
        InputError: it has a kind of layer that is not known here, is too large, or the
            file would not return the same probabilities.
    """
    weights = sum(4 * int(np.prod(each.shape)) for each in model.weights)
    if weights > LARGEST:
        raise InputError(
            f"expected at most {LARGEST / 2**30:.1f} GiB of weights, which an ONNX "
            f"file can hold, found {weights / 2**30:.1f}: average fewer networks"
        )
    content = _convert(model)
    network = read(content, path)
    difference = np.max([_difference(model, network, each) for each in _images()])
    if not difference <= TOLERANCE:  # nor if it is no number
        raise InputError(
            f"expected the probabilities that Keras returns, within {TOLERANCE:.0e}, "
            f"from {path}, but one differs by {difference:.1e}: keep the .keras file, "
            "and report this"
        )
    with whole_file(path) as part:
        part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _images() -> list[np.ndarray]:
    """Images to compare on: of different sides, one with vessels and two of noise."""
    rng = np.random.default_rng(0)
    drawn = phantoms.draw_phantom(height=128, width=160, rng=rng).image
    return [np.float32(drawn)[None], rng.random((2, 64, 32, 3), np.float32)]


def _difference(model: keras.Model, network: OnnxNetwork, images: np.ndarray) -> float:
    """The largest between probabilities; infinite where the file returns none."""
    wanted = model.predict_on_batch(images)
    try:
        found = network.predict_on_batch(images)
    except Exception:  # onnxruntime has a dozen types, with none in common
        return np.inf
    return np.abs(wanted - found).max() if wanted.shape == found.shape else np.inf


@dataclass
class Graph:
    """A graph in the making: its operators and weights, which are named by number."""

    nodes: list = field(default_factory=list)
    weights: list = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        """Adds an operator on values of these names. Returns that of its result."""
        from onnx import helper

        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _convert(model: keras.Model) -> bytes:
    """A network as an ONNX file. It takes and returns channels last, as Keras does."""
    helper = _package("onnx").helper
    graph = Graph()
    image = graph.add("Transpose", "image", perm=(0, 3, 1, 2))
    probability = _translate(graph, model, image)
    graph.add("Transpose", probability, perm=(0, 2, 3, 1))
    graph.nodes[-1].output[:] = ["probability"]
    ends = [
        [helper.make_tensor_value_info(name, 1, ("N", "H", "W", channels))]
        for name, channels in (("image", 3), ("probability", 1))
    ]
    whole = helper.make_graph(graph.nodes, "network", *ends, graph.weights)
    operators = [helper.make_opsetid("", OPERATOR_SET)]
    file = helper.make_model(whole, opset_imports=operators, ir_version=FORMAT)
    return file.SerializeToString()


def _translate(graph: Graph, model: keras.Model, inputs):
    """Adds the layers of a model to a graph, with names in the place of its tensors."""

    def translation(layer: keras.layers.Layer) -> Callable:
        kind = type(layer).__name__
        if kind not in TRANSLATIONS:
            raise InputError(
                "expected layers that can be written as ONNX, "
                f"{', '.join(TRANSLATIONS)}, found {kind}: keep the .keras file"
            )
        add = partial(TRANSLATIONS[kind], graph, layer)
        return lambda names, **_: add(names)  # the rest: whether it is trained, masks

    return model._run_through_graph(inputs, operation_fn=translation)


def _convolution(graph: Graph, layer: keras.layers.Conv2D, x: str) -> str:
    sides = layer.kernel_size
    padding = [side // 2 for side in (*sides, *sides)]
    x = graph.add("Conv", x, *_kernel_and_bias(graph, layer), pads=padding)
    return _activated(graph, layer, x)


def _transposed(graph: Graph, layer: keras.layers.Conv2DTranspose, x: str) -> str:
    weights = _kernel_and_bias(graph, layer)
    x = graph.add("ConvTranspose", x, *weights, strides=layer.strides)
    return _activated(graph, layer, x)


def _kernel_and_bias(graph: Graph, layer: keras.layers.Layer) -> list[str]:
    kernel, *bias = layer.get_weights()
    return [graph.weight(each) for each in (kernel.transpose(3, 2, 0, 1), *bias)]


def _activated(graph: Graph, layer: keras.layers.Layer, x: str) -> str:
    name = layer.activation.__name__
    if name not in ACTIVATIONS:
        raise InputError(
            f"expected activations that can be written as ONNX, "
            f"{', '.join(ACTIVATIONS)}, found {name}: keep the .keras file"
        )
    return graph.add(ACTIVATIONS[name], x) if ACTIVATIONS[name] else x


def _maximum(graph: Graph, layer: keras.layers.MaxPooling2D, x: str) -> str:
    return graph.add("MaxPool", x, kernel_shape=layer.pool_size, strides=layer.strides)


def _rescaled(graph: Graph, layer: keras.layers.Rescaling, x: str) -> str:
    for operator, values in (("Mul", layer.scale), ("Add", layer.offset)):
        values = np.float32(values).reshape(1, -1, 1, 1)  # one a channel, or one
        x = graph.add(operator, x, graph.weight(values))
    return x


def _flipped(graph: Graph, flip: keras.Operation, x: str) -> str:
    """Channels alone are flipped: red, green, blue to VGG16's order."""
    return graph.add("Gather", x, graph.weight(np.int64([2, 1, 0])), axis=1)


TRANSLATIONS = {
    "Average": lambda graph, layer, x: graph.add("Mean", *x),
    "Concatenate": lambda graph, layer, x: graph.add("Concat", *x, axis=1),
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "Dropout": lambda graph, layer, x: x,
    "Flip": _flipped,
    "Functional": _translate,
    "MaxPooling2D": _maximum,
    "ReLU": lambda graph, layer, x: graph.add("Relu", x),
    "Rescaling": _rescaled,
}
