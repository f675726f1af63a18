"""What a network's file may hold, checked before Keras opens it: files come by mail.

    config = read_network(Path("models/x.keras"))
    require_weights(Path("vgg16.weights.h5"))

A .keras file may hold its three members and no others, not compressed, so that it
unpacks to no more than itself; its configuration may name layers that compute, and
nothing else of Keras or Python; its weights may be numbers that lie in the file.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from retina.files import InputError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = [CONFIG, "metadata.json", WEIGHTS]
LARGEST = 2**30  # bytes of a file; the networks here have 2 to 300 MB
LARGEST_CONFIG = 10 * 2**20  # bytes; a mean of fifty networks has 2 MB
# What a configuration may name, by module. Beyond the layers of unet.py and of
# networks.average these are plain layers of the U-Nets of others. None of them holds
# code, opens files or changes the sides of an image by more than its configuration
# says.
LAYERS = """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D
    Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dropout ELU Flatten GaussianNoise
    GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer
    LayerNormalization LeakyReLU MaxPooling2D Maximum Multiply Normalization PReLU ReLU
    Reshape Rescaling SeparableConv2D Softmax SpatialDropout2D Subtract
    UnitNormalization UpSampling2D ZeroPadding2D
"""
INITIALIZERS = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
"""
ALLOWED = {
    "keras.layers": set(LAYERS.split()),
    "keras.initializers": set(INITIALIZERS.split()),
    "keras.regularizers": {"L1", "L2", "L1L2"},
    "keras": {"DTypePolicy", "Functional", "Model", "Sequential"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.numpy": {"Flip"},  # unet.py turns colours for VGG16
    None: {"__keras_tensor__"},
}


def read_network(path: Path) -> dict:
    """The configuration in a .keras file, all of which was checked.

    Raises:
        InputError: the file is damaged, no such archive, too large, or holds what a
            network of images does not need.
    """
    with open(path, "rb") as file:
        _require_content(file, path)
        try:
            with zipfile.ZipFile(file) as archive:
                _require_members(archive, path)
                config = json.loads(archive.read(CONFIG))
                archive.read("metadata.json")  # reading a member checks its sum
                weights = archive.read(WEIGHTS)
        except InputError:
            raise
        except Exception as error:  # damage, odd versions and flags, depth
            raise _damaged(path, error) from None
    for name in _foreign(config):
        raise InputError(
            f"expected a network of plain layers in {path}, but it names {name}, which "
            "may run code or read files: use networks of train.py, or of a source that "
            "you trust, built of plain layers"
        )
    _require_numbers(io.BytesIO(weights), path)
    return config


def require_weights(path: Path) -> None:
    """Raises an InputError unless a HDF5 file holds weights, and all of them itself."""
    with open(path, "rb") as file:
        _require_content(file, path)
        _require_numbers(file, path)


def _require_content(file: BinaryIO, path: Path) -> None:
    """Raises an InputError where a glance shows that a file holds no network."""
    size = path.stat().st_size
    start = file.read(8)
    file.seek(0)
    if not start:
        received, advice = "it is empty", "copy it anew"
    elif start == b"version ":
        received, advice = "it is a Git LFS pointer", "fetch the file: git lfs pull"
    elif size > LARGEST:
        received, advice = f"it has {size / 2**30:.1f} GB", "use a smaller one"
    elif path.suffix == ".keras" and start == b"\x89HDF\r\n\x1a\n":
        received = "it is HDF5 under another name"
        advice = "save it with Keras 3 as .keras where it was made"
    else:
        return
    raise InputError(f"expected a network in {path}, but {received}: {advice}")


def _require_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Raises an InputError unless the archive is as Keras writes it."""
    members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != MEMBERS:
        received = f"{len(names)} files, {', '.join(names)!r:.200}"
    elif any(member.compress_type for member in members):
        received = "compressed ones, which may unpack to any size"
    elif sum(member.file_size for member in members) > path.stat().st_size:
        received = "more than the file is large"
    elif (size := archive.getinfo(CONFIG).file_size) > LARGEST_CONFIG:
        received = f"a configuration of {size / 2**20:.0f} MB"
    else:
        return
    raise InputError(
        f"expected the three files of a network in {path}, {', '.join(MEMBERS)}, "
        f"received {received}: save it with Keras 3 as .keras"
    )


def _foreign(config: object) -> Iterator[str]:
    """Classes and functions in a configuration that it may not name."""
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, list):
            waiting.extend(entry)
        elif isinstance(entry, dict):
            waiting.extend(entry.values())
            if "class_name" in entry and not _is_allowed(entry):
                yield f"{entry.get('module')}.{entry['class_name']}"[:200]


def _is_allowed(entry: dict) -> bool:
    module, name = entry.get("module"), entry["class_name"]
    if not isinstance(module, str | None) or not isinstance(name, str):
        return False
    known = entry.get("registered_name") in (None, name)
    return known and name in ALLOWED.get(module, ())


def _require_numbers(file: BinaryIO, path: Path) -> None:
    """Raises an InputError unless all in a HDF5 file are numbers that lie in it."""
    import h5py

    try:
        with h5py.File(file, "r") as weights:
            found = weights.visititems_links(_foreign_link)
            sizes = [_declared_bytes(weights)]
            weights.visititems(lambda _, entry: sizes.append(_declared_bytes(entry)))
    except Exception as error:  # HDF5's words for damage are of many types
        raise _damaged(path, error) from None
    size = file.seek(0, io.SEEK_END)
    if found is None and sum(sizes) > size:
        found = f"shapes of {sum(sizes):.3g} bytes, more than the file is large"
    if found is not None:
        raise InputError(
            f"expected weights that lie in {path} itself, received {found}: "
            "use a file from a source that you trust"
        )


def _foreign_link(name: str, link: object) -> str | None:
    """What leads out of the place where it stands; None of an ordinary entry."""
    import h5py

    if isinstance(link, h5py.HardLink):
        return None
    return f"a {type(link).__name__} called {name[:99]!r}"


def _declared_bytes(entry: object) -> float:
    """Bytes that an entry of a HDF5 file says it has, with its attributes.

    It is infinite where they lie elsewhere, are packed, or are no plain numbers.
    """
    import h5py

    attributes = [entry.attrs.get_id(name) for name in entry.attrs]
    size = sum(math.prod(a.shape or ()) * a.dtype.itemsize for a in attributes)
    if not isinstance(entry, h5py.Dataset):
        return size
    elsewhere = entry.external or entry.is_virtual
    if elsewhere or entry.chunks is not None or entry.dtype.kind not in "fiub":
        return math.inf
    return size + math.prod(entry.shape or ()) * entry.dtype.itemsize


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"expected a whole network in {path}, but it is damaged or of another kind "
        f"({type(error).__name__}: {reason}): copy it anew"
    )
