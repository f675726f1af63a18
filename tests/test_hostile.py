"""Crafted networks: one sentence each; nothing runs, nothing is written."""

import io
import json
import re
import resource
import zipfile

import h5py
import keras
import numpy as np
import pytest

import unet
from retina import networks
from retina.files import InputError

LIMIT = 2 * 2**30  # bytes of memory
CODE = "4wEAAAAAAAAA"  # of a Lambda; it is refused before anything looks at it


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The members of a tiny network's archive."""
    path = tmp_path_factory.mktemp("sound") / "x.keras"
    networks.save(unet.build_unet(filters=(4, 4, 4, 4)), path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(autouse=True)
def nothing_is_written_or_taken(tmp_path):
    """Fails a test that leaves files elsewhere, or takes memory over the limit."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    beside = set(tmp_path.parent.iterdir())
    yield
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken * 1024 < LIMIT
    assert set(tmp_path.parent.iterdir()) <= beside | {tmp_path}


def write_archive(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refuse(path, message):
    with pytest.raises(InputError, match=message) as refused:
        networks.load(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 900


# ---- configurations


def with_entry(sound, entry, place=-1):
    """The archive's members, with an entry of the configuration in a layer's place."""
    config = json.loads(sound["config.json"])
    layers = config["config"]["layers"]
    layers[place] = entry | {
        "name": layers[place]["name"],
        "inbound_nodes": layers[place]["inbound_nodes"],
    }
    return sound | {"config.json": json.dumps(config)}


def layer(module, name, registered=None, **config):
    return {
        "module": module,
        "class_name": name,
        "config": {"name": "probability", **config},
        "registered_name": registered,
    }


FUNCTION = {"class_name": "function", "module": "os", "config": "system"}
FOREIGN = {
    "Lambda": layer(
        "keras.layers",
        "Lambda",
        function={"class_name": "__lambda__", "config": {"code": CODE}},
    ),
    "TFSMLayer": layer("keras.layers", "TFSMLayer", filepath="/tmp/x"),
    "TorchModuleWrapper": layer("keras.layers", "TorchModuleWrapper", state=CODE),
    "StringLookup": layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "subprocess.Popen": layer("subprocess", "Popen", args="touch pwned"),
    "os.function": layer("keras.layers", "Activation", activation=FUNCTION),
    "keras.src.utils.file_utils.get_file": layer(
        "keras.layers",
        "ReLU",
        max_value={
            "module": "keras.src.utils.file_utils",
            "class_name": "get_file",
            "config": {"origin": "http://localhost/x"},
        },
    ),
    "keras.layers.ReLU": layer("keras.layers", "ReLU", registered="own>ReLU"),
    "None.ReLU": layer(None, "ReLU"),
    "__numpy__": layer(
        "keras.layers", "Rescaling", scale={"class_name": "__numpy__", "config": {}}
    ),
    "['a']": layer(["a"], "ReLU"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_does_not_compute_is_not_named(sound, tmp_path, name):
    members = with_entry(sound, FOREIGN[name])
    refuse(write_archive(tmp_path / "x.keras", members), f"names .*{re.escape(name)}")


def test_code_from_a_real_file_does_not_run(tmp_path, monkeypatch):
    """As an attacker writes it: with Keras itself."""
    monkeypatch.chdir(tmp_path)
    image = keras.Input((None, None, 3))
    run = keras.layers.Lambda(lambda x: [open("pwned", "w"), x[..., :1]][1])
    network = keras.Model(image, run(image))
    assert (tmp_path / "pwned").unlink() is None  # it runs where it is built
    network.save("x.keras")
    refuse(tmp_path / "x.keras", "names keras.layers.Lambda")
    assert not (tmp_path / "pwned").exists()


def test_plain_networks_of_others_load(tmp_path):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.SeparableConv2D(4, 3, padding="same", activation="elu"),
            layers.BatchNormalization(),
            layers.AveragePooling2D(2),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(1, 1, activation="sigmoid", kernel_regularizer="l2"),
        ]
    )
    network.save(tmp_path / "x.keras")
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(
        networks.load(tmp_path / "x.keras").model.predict_on_batch(image),
        network.predict_on_batch(image),
    )


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"null", b"[" * 200_000, b"\xff"])
def test_what_is_no_configuration_gets_a_sentence(sound, tmp_path, config):
    members = sound | {"config.json": config}
    refuse(write_archive(tmp_path / "x.keras", members), "expected a")


@pytest.mark.parametrize("filters", [10**6, 10**12, 10**30, -1, "4", 2.5, None])
def test_numbers_that_the_file_does_not_hold_take_no_memory(sound, tmp_path, filters):
    config = json.loads(sound["config.json"])
    for entry in config["config"]["layers"]:
        if "filters" in entry["config"]:
            entry["config"]["filters"] = filters
    members = sound | {"config.json": json.dumps(config)}
    refuse(write_archive(tmp_path / "x.keras", members), "expected a")


def test_after_a_refusal_the_next_network_loads(sound, tmp_path):
    """All shapes agree, and declare 100 terabytes."""
    config = sound["config.json"].decode()
    for wide in ('"filters": %d', "null, %d]"):
        config = config.replace(wide % 4, wide % 400_000)
        config = config.replace(wide % 8, wide % 800_000)
    members = sound | {"config.json": config}
    refuse(write_archive(tmp_path / "x.keras", members), "expected all weights")
    assert networks.load(write_archive(tmp_path / "y.keras", sound)).sha256


def build(output=1, taken=(None, None, 3), **options):
    """A network of one convolution."""
    image = keras.Input(taken)
    options = {"padding": "same", "activation": "sigmoid"} | options
    return keras.Model(image, keras.layers.Conv2D(output, 3, **options)(image))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"output": 5}, r"received .* to \(None, None, None, 5\)"),
        ({"taken": (None, None, 1)}, r"received \(None, None, None, 1\)"),
        ({"taken": (64, 64, 3)}, r"received \(None, 64, 64, 3\)"),
        ({"padding": "valid"}, r"received \(1, 62, 62, 1\) of 64 x 64"),
        ({"strides": 2}, r"received \(1, 32, 32, 1\) of 64 x 64"),
        ({"bias_initializer": keras.initializers.Constant(np.nan)}, "not finite"),
        ({"bias_initializer": keras.initializers.Constant(np.inf)}, "not finite"),
    ],
)
def test_what_segments_no_photograph_is_refused(tmp_path, options, message):
    build(**options).save(tmp_path / "x.keras")
    refuse(tmp_path / "x.keras", message)


def test_several_inputs_or_outputs_are_refused(tmp_path):
    images = [keras.Input((None, None, 3)) for _ in range(2)]
    keras.Model(images, keras.layers.Average()(images)).save(tmp_path / "x.keras")
    refuse(tmp_path / "x.keras", "of images")
    image = images[0]
    twice = [keras.layers.ReLU()(image) for _ in range(2)]
    keras.Model(image, twice).save(tmp_path / "y.keras")
    refuse(tmp_path / "y.keras", "of images")


# ---- archives


@pytest.mark.parametrize(
    "name", ["../outside", "/tmp/outside", "assets/x", "model.weights.json"]
)
def test_other_members_are_refused(sound, tmp_path, name):
    path = write_archive(tmp_path / "x.keras", sound | {name: b"x"})
    refuse(path, "received 4 files")


def test_a_member_twice_or_none_is_refused(sound, tmp_path):
    path = write_archive(tmp_path / "x.keras", sound)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("config.json", b"{}")
    refuse(path, "received 4 files")
    del (less := dict(sound))["metadata.json"]
    refuse(write_archive(path, less), "received 2 files")


def test_bombs_are_refused(sound, tmp_path):
    bomb = sound | {"config.json": b" " * 200_000_000}
    path = write_archive(
        tmp_path / "x.keras", bomb, compression=zipfile.ZIP_DEFLATED, compresslevel=1
    )
    assert path.stat().st_size < 2_000_000
    refuse(path, "compressed ones")
    large = sound | {"config.json": b" " * 11_000_000}
    refuse(write_archive(path, large), "a configuration of 10 MB")


def test_a_size_that_lies_is_refused(sound, tmp_path):
    path = write_archive(tmp_path / "x.keras", sound)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"model.weights.h5") - 46  # in the central directory
    content[place + 20 : place + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(content)
    refuse(path, "more than the file is large")


def pointer():
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "it is empty"),
        (pointer(), "git lfs pull"),
        (b"PK\x05\x06" + bytes(18), "received 0 files"),
        (b"\x80\x04\x95pickle", "damaged or of another kind"),
    ],
)
def test_what_is_no_archive_gets_a_sentence(tmp_path, content, message):
    (tmp_path / "x.keras").write_bytes(content)
    refuse(tmp_path / "x.keras", message)


def test_what_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "x.keras", "wb") as file:
        file.write(b"PK")
        file.truncate(10**13)
    refuse(tmp_path / "x.keras", "it has 9313.2 GB")


def test_hdf5_is_not_read_whatever_its_name(tmp_path):
    build().save(tmp_path / "x.h5")
    refuse(tmp_path / "x.h5", "expected a .keras or .onnx file")
    refuse((tmp_path / "x.h5").rename(tmp_path / "x.keras"), "HDF5 under another name")


def test_half_a_file_and_flipped_bytes_are_refused_or_do_not_matter(sound, tmp_path):
    path = write_archive(tmp_path / "x.keras", sound)
    content, sha256 = path.read_bytes(), networks.load(path).sha256
    for share in (0.01, 0.3, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        refuse(path, "damaged or of another kind")
    rng = np.random.default_rng(0)
    ends = rng.integers(len(content) - 300, len(content), 30)  # the directory
    refused = 0
    for place in (*rng.integers(0, len(content), 60), *ends):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            assert networks.load(path).sha256 == sha256
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused >= 60  # all in the members, most in the directory


# ---- weights


def external_link(weights):
    weights["away"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(weights):
    weights["away"] = h5py.SoftLink("/layers")


def external_storage(weights):
    weights.create_dataset("away", (99,), "u1", external=[("/etc/passwd", 0, 99)])


def virtual(weights):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    weights.create_virtual_dataset("away", layout)


def petabytes(weights):
    weights.create_dataset("away", (2**50,), "u1", chunks=(2**20,))


def petabytes_in_one_piece(weights):
    space = h5py.h5s.create_simple((2**50,))
    h5py.h5d.create(weights.id, b"away", h5py.h5t.STD_U8LE, space)


def packed(weights):
    weights.create_dataset("away", data=np.zeros(10**7, "u1"), compression="gzip")


def text(weights):
    weights.create_dataset("away", data=["a", "b"], dtype=h5py.string_dtype())


HIDDEN = {
    external_link: "a ExternalLink called '.*away'",
    soft_link: "a SoftLink called '.*away'",
    external_storage: "shapes of inf bytes",
    virtual: "shapes of inf bytes",
    petabytes: "shapes of inf bytes",
    petabytes_in_one_piece: r"shapes of 1\.13e\+15 bytes",
    packed: "shapes of inf bytes",
    text: "shapes of inf bytes",
}


@pytest.mark.parametrize("hide", HIDDEN)
@pytest.mark.parametrize("deep", [True, False])
def test_weights_lie_in_the_file(sound, tmp_path, hide, deep):
    file = io.BytesIO(sound["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        group = weights["layers/conv2d/vars"]
        hide(group if deep else weights)
    members = sound | {"model.weights.h5": file.getvalue()}
    refuse(write_archive(tmp_path / "x.keras", members), HIDDEN[hide])


@pytest.mark.parametrize("weights", [b"", b"\x89HDF\r\n\x1a\n", b"x" * 999])
def test_what_are_no_weights_get_a_sentence(sound, tmp_path, weights):
    members = sound | {"model.weights.h5": weights}
    refuse(write_archive(tmp_path / "x.keras", members), "damaged or of another kind")


def test_weights_of_other_shapes_are_refused(sound, tmp_path):
    file = io.BytesIO(sound["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        group = weights["layers/conv2d/vars"]
        del group["0"]
        group["0"] = np.zeros((2, 2), np.float32)
    members = sound | {"model.weights.h5": file.getvalue()}
    refuse(write_archive(tmp_path / "x.keras", members), "cannot be loaded")


@pytest.mark.parametrize("hide", HIDDEN)
def test_weights_of_vgg16_lie_in_the_file(tmp_path, hide):
    path = tmp_path / "vgg16.weights.h5"
    with h5py.File(path, "w") as weights:
        hide(weights)
    with pytest.raises(InputError, match=HIDDEN[hide]):
        unet.build_unet("vgg16", encoder_weights=path)


@pytest.mark.parametrize("content", [b"", pointer(), b"PK\x03\x04", b"\x80\x04\x95"])
def test_no_other_file_counts_as_weights_of_vgg16(tmp_path, content):
    path = tmp_path / "vgg16.weights.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a"):
        unet.build_unet("vgg16", encoder_weights=path)
