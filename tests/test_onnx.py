"""Networks as ONNX: the same maps without Keras, and hostile files are refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from onnx import helper

import average
import predict
import unet
from retina import networks, onnx_networks
from retina.files import InputError, fingerprint
from retina.maps import read_predictions, read_probability

ROOT = Path(__file__).parent.parent
SIDES = [(1, 16, 16), (3, 48, 80), (1, 160, 32)]
# What stands in requirements.txt and not in requirements/onnx.txt, or comes with it.
HEAVY = ("keras", "tensorflow", "onnx", "scipy", "sklearn", "skimage", "matplotlib")


def small(**options):
    return unet.build_unet(filters=(4, 4, 6, 6), **options)


def averages():
    return networks.average([small(), networks.average([small(), small()])])


# ---- written


@pytest.mark.parametrize(
    "build",
    [
        lambda: unet.build_unet(filters=(4, 4, 6, 6, 8)),  # with dropout
        lambda: small(encoder="vgg16"),
        averages,
    ],
    ids=["scratch", "vgg16", "averages"],
)
def test_every_kind_of_network_returns_what_keras_returns(build, tmp_path):
    keras.utils.set_random_seed(2)  # others may round by more than is allowed
    model = build()
    path = tmp_path / "x.onnx"
    sha256 = onnx_networks.save(model, path)
    assert sha256 == fingerprint(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    network = onnx_networks.read(path.read_bytes(), path)
    rng = np.random.default_rng(1)
    for sides in SIDES:
        images = rng.random((*sides, 3), np.float32)
        theirs = network.predict_on_batch(images)
        assert theirs.shape == (*sides, 1) and theirs.std() > 1e-4
        np.testing.assert_allclose(theirs, model.predict_on_batch(images), atol=1e-5)


def test_the_record_goes_with_it(trained, light):
    source, record = (
        networks.read_record(path) for path in (trained / "tiny.keras", light)
    )
    assert record.network_sha256 == fingerprint(light)
    assert record.details["onnx_of"] == [source.network_sha256]
    assert record.made > source.made
    own = {name: getattr(source, name) for name in ("network_sha256", "made")}
    assert replace(record, **own, details=source.details) == source


def test_a_shipped_network_is_not_shipped_as_onnx(tmp_path):
    average.main(
        [str(ROOT / "models/vessels.keras"), "--onnx", str(tmp_path / "x.onnx")]
    )
    assert not networks.load(tmp_path / "x.onnx").record.shipped


def test_an_average_is_written_at_once(trained, tmp_path):
    other = tmp_path / "other.keras"
    sha256 = networks.save(unet.build_unet(filters=(4, 4, 4, 4)), other)
    record = networks.read_record(trained / "tiny.keras")
    networks.finish(other, replace(record, parameters=7), sha256)
    paths = [trained / "tiny.keras", other]
    average.main([*map(str, paths), "--onnx", str(tmp_path / "both.onnx")])
    both = networks.load(tmp_path / "both.onnx")
    images = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    parts = [networks.load(path).model.predict_on_batch(images) for path in paths]
    np.testing.assert_allclose(
        both.model.predict_on_batch(images), np.mean(parts, axis=0), atol=1e-5
    )
    assert both.record.parameters == record.parameters + 7
    assert len(both.record.details["onnx_of"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        *("other.keras", "other.json", "both.onnx", "both.json")
    }


def test_the_same_network_gives_the_same_file(trained, tmp_path):
    model = networks.load(trained / "tiny.keras").model
    again = networks.load(trained / "tiny.keras").model
    hashes = [onnx_networks.save(each, tmp_path / "x.onnx") for each in (model, again)]
    assert hashes[0] == hashes[1]


def one_layer(layer, after=lambda x: x):
    image = keras.Input((None, None, 3))
    x = layer(image)
    return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(after(x)))


def not_finite():
    model = small()
    model.layers[1].set_weights([np.nan * each for each in model.layers[1].weights])
    return model


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: one_layer(keras.layers.LeakyReLU()), "found LeakyReLU"),
        (lambda: one_layer(keras.layers.Conv2D(4, 3, activation="tanh")), "found tanh"),
        (lambda: one_layer(lambda x: keras.ops.flip(x, axis=1)), "differs by .*e-0"),
        (lambda: one_layer(keras.layers.Conv2D(4, 3)), "differs by inf"),  # not "same"
        (
            lambda: one_layer(
                keras.layers.Conv2D(3, 1, strides=2),
                keras.layers.Conv2DTranspose(3, 2, strides=2),
            ),
            "differs by inf",
        ),
        (not_finite, "differs by nan"),
    ],
)
def test_what_would_not_be_the_same_is_not_written(build, message, tmp_path):
    with pytest.raises(InputError, match=message):
        onnx_networks.save(build(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_more_weights_than_a_file_holds_get_a_sentence(tmp_path, monkeypatch):
    model = small()
    monkeypatch.setattr(onnx_networks, "LARGEST", 4 * model.count_params())
    onnx_networks.save(model, tmp_path / "x.onnx")
    monkeypatch.setattr(onnx_networks, "LARGEST", 4 * model.count_params() - 1)
    with pytest.raises(InputError, match="average fewer"):
        onnx_networks.save(model, tmp_path / "y.onnx")


def test_no_network_and_no_record_is_written_over(trained, light, tmp_path, capsys):
    source = str(trained / "tiny.keras")
    before = light.read_bytes()
    with pytest.raises(InputError, match="--replace"):
        average.main([source, "--onnx", str(light)])
    average.main([source, "--onnx", str(light), "--replace"])
    assert light.read_bytes() == before
    record = (trained / "tiny.json").read_bytes()
    with pytest.raises(InputError, match="that of another network"):
        average.main([source, "--onnx", str(trained / "tiny.onnx"), "--replace"])
    assert (trained / "tiny.json").read_bytes() == record
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="expected nothing called x"):
        average.main([source, "--onnx", str(tmp_path / "x.onnx")])
    with pytest.raises(SystemExit):
        average.parse_args([source, "--onnx", "x.keras"])
    assert "ends in .onnx" in capsys.readouterr().err


def test_onnx_networks_are_not_averaged_and_not_taken_unasked(light):
    with pytest.raises(InputError, match="expected a .keras file"):
        average.main([str(light), str(light), "--name", "new"])
    with pytest.raises(InputError, match="run train.py first"):
        networks.choose(light.parent)


# ---- predicted


@pytest.mark.parametrize("words", [[], ["--tta", "--scale", "0.8"]])
def test_the_map_is_the_same(trained, light, phantoms, tmp_path, words):
    photograph = str(phantoms / "test/images/01_test.tif")
    maps, rows = [], []
    for path in (trained / "tiny.keras", light):
        folder = tmp_path / path.suffix
        options = ["--model", str(path), "--output", str(folder), *words]
        predict.main([photograph, *options])
        maps.append(read_probability(folder / "01_test.png"))
        rows.append(read_predictions(folder)["01_test"])
    np.testing.assert_allclose(*maps, atol=1e-4)
    assert maps[0].std() > 1e-3
    assert rows[0].threshold == rows[1].threshold and rows[0].role == rows[1].role
    assert rows[1].network_sha256 == fingerprint(light) != rows[0].network_sha256


def test_nothing_heavy_is_needed(light, phantoms, tmp_path):
    """As in an environment of requirements/onnx.txt alone."""
    words = ["--model", str(light), "--output", str(tmp_path / "maps"), "--overlay"]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY}))\n"  # whose import then fails
        "import predict\n"
        f"predict.main([{str(phantoms / 'test/images')!r}, *{words}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "3 maps in" in done.stdout and "3/3 photographs" in done.stdout
    assert len(read_predictions(tmp_path / "maps")) == 3


def test_the_light_install_has_the_versions_of_the_whole_one():
    whole = (ROOT / "requirements.txt").read_text().splitlines()
    light = (ROOT / "requirements/onnx.txt").read_text().splitlines()
    packages = [line for line in light if not line.startswith("#")]
    assert [line.split(">")[0] for line in packages] == [
        *("numpy", "pillow", "onnxruntime")
    ]
    assert set(packages[:2]) <= set(whole)


def test_without_onnxruntime_a_sentence_names_it(light, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        networks.load(light)


def test_other_precisions_are_refused(light, phantoms):
    words = [str(phantoms / "test/images"), "--precision", "bfloat16"]
    with pytest.raises(InputError, match="float32 with .*tiny.onnx, received bfloat16"):
        predict.main([*words, "--model", str(light)])


# ---- refused


def copied(light, folder, content, **changes):
    """`light` with other content, and with a record that bears its hash."""
    path = folder / "x.onnx"
    path.write_bytes(content)
    record = networks.read_record(light)
    entries = {"network_sha256": fingerprint(path)} | changes
    networks.write_record(path, replace(record, **entries))
    return path


def test_without_its_record_it_is_refused(light, tmp_path):
    path = shutil.copy(light, tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"expected .*x\.json"):
        networks.load(path)


@pytest.mark.parametrize("sha256", ["", "a" * 64])
def test_with_the_record_of_another_it_is_refused(light, tmp_path, sha256):
    path = copied(light, tmp_path, light.read_bytes(), network_sha256=sha256)
    with pytest.raises(InputError, match="that of another network"):
        networks.load(path)


def external(model):
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "passwd")


def external_elsewhere(model):
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def external_in_an_attribute(model):
    value = helper.make_tensor("t", 1, [1], bytes(4), raw=True)
    onnx.external_data_helper.set_external_data(value, "passwd")
    model.graph.node[1].attribute.append(helper.make_attribute("t", value))


def other_operator(model):
    model.graph.node[-2].op_type = "Erf"


def other_domain(model):
    model.graph.node[-2].domain = "com.microsoft"


def imported_domain(model):
    model.opset_import.append(helper.make_opsetid("my.own", 1))


def function(model):
    names = ["x"], ["y"]
    nodes = [helper.make_node("Relu", *names)]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "Relu", *names, nodes, opsets))


def subgraph(model):
    graph = helper.make_graph([], "inner", [], [])
    model.graph.node[1].attribute.append(helper.make_attribute("body", graph))


def sparse(model):
    model.graph.sparse_initializer.add()


def training(model):
    model.training_info.add()


def huge(model):
    model.graph.initializer[0].dims[0] = 10**15


def negative(model):
    model.graph.initializer[0].dims[0] = -1


def one_channel(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1


def whole_numbers(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64


def two_results(model):
    model.graph.output.add().CopyFrom(model.graph.output[0])
    model.graph.output[1].name = "other"
    model.graph.node.append(helper.make_node("Relu", ["probability"], ["other"]))


@pytest.mark.parametrize(
    "change, message",
    [
        (external, "weights in another file"),
        (external_elsewhere, "weights in another file"),
        (external_in_an_attribute, "the entry 5 of its attribute"),
        (other_operator, "the operator b'Erf'"),
        (other_domain, "the domain b'com.microsoft'"),
        (imported_domain, "the domain b'my.own'"),
        (function, "functions"),
        (subgraph, "a graph within an operator"),
        (sparse, "the entry 15 of its graph"),
        (training, "the entry 20 of its model"),
        (huge, "cannot be read"),
        (negative, "cannot be read"),
        (one_channel, "cannot be read"),
        (whole_numbers, "cannot be read"),
        (two_results, "it takes and returns"),
    ],
)
def test_what_average_never_writes_is_refused(light, tmp_path, change, message):
    model = onnx.load(light)
    change(model)
    path = copied(light, tmp_path, model.SerializeToString())
    with pytest.raises(InputError, match=message):
        networks.load(path)


def test_what_is_said_twice_is_read_twice(light, tmp_path):
    """Of two values of a field the last counts: the first must not hide it."""
    other = onnx.ModelProto()
    other.graph.node.append(helper.make_node("Erf", ["image"], ["erf"]))
    twice = light.read_bytes() + other.SerializeToString()
    assert onnx.load_from_string(twice).graph.node[-1].op_type == "Erf"
    with pytest.raises(InputError, match="the operator b'Erf'"):
        networks.load(copied(light, tmp_path, twice))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"PK\x03\x04",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a graph of 2**63 bytes
        b"\x38\x05",  # a number where the graph should be
        b"\xff" * 40,
        b"\x0b\x08\x08\x0c",  # a group, which ONNX has none of
    ],
)
def test_what_is_no_onnx_file_is_refused(light, tmp_path, content):
    with pytest.raises(InputError, match="cannot be read"):
        networks.load(copied(light, tmp_path, content))


def test_half_a_file_is_refused(light, tmp_path):
    whole = light.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 40, dtype=int):
        with pytest.raises(InputError, match="cannot be read"):
            networks.load(copied(light, tmp_path, whole[:length]))


def test_flipped_bytes_are_refused_or_harmless(light, tmp_path, capfd):
    rng = np.random.default_rng(0)
    whole = light.read_bytes()
    refused = 0
    for number in range(200):
        content = bytearray(whole)
        # Names and operators come first; after them, the most are weights.
        end = (2000, len(whole))[number % 2]
        content[rng.integers(end)] ^= 1 << rng.integers(8)
        try:
            networks.load(copied(light, tmp_path, content))
        except InputError:
            refused += 1
    assert 10 < refused < 200
    assert capfd.readouterr() == ("", "")  # onnxruntime itself says nothing


def test_a_record_that_is_none_is_refused(light, tmp_path):
    path = copied(light, tmp_path, light.read_bytes())
    path.with_suffix(".json").write_text(json.dumps({"network_sha256": "a"}))
    with pytest.raises(InputError, match="cannot be read"):
        networks.load(path)
