"""The network has the article's size, its own input convention, and a safe file."""

import keras
import numpy as np
import pytest

import unet
from retina import networks


def convolution(taken, given, side=3):
    return taken * given * side * side + given


def level(taken, given):
    return convolution(taken, given) + convolution(given, given)


def decoder(bottleneck, skips):
    total = 0
    for filters, skip in zip((256, 128, 64, 32), skips, strict=True):
        total += convolution(bottleneck, filters, side=2)  # transposed, 2 x 2
        total += level(filters + skip, filters)
        bottleneck = filters
    return total + convolution(32, 1, side=1)


def test_scratch_has_the_articles_parameters():
    encoder = sum(
        level(taken, given)
        for taken, given in [(3, 32), (32, 64), (64, 128), (128, 256), (256, 512)]
    )
    total = encoder + decoder(512, (256, 128, 64, 32))
    assert total == 7_760_097
    assert unet.build_unet().count_params() == total


def test_four_levels_halve_three_times():
    model = unet.build_unet(filters=(4, 6, 8, 10))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("MaxPooling2D") == kinds.count("Conv2DTranspose") == 3
    down = level(3, 4) + level(4, 6) + level(6, 8) + level(8, 10)
    up = convolution(10, 8, side=2) + level(8 + 8, 8)
    up += convolution(8, 6, side=2) + level(6 + 6, 6)
    up += convolution(6, 4, side=2) + level(4 + 4, 4)
    assert model.count_params() == down + up + convolution(4, 1, side=1)


def test_vgg16_has_the_articles_parameters():
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    encoder = sum(map(convolution, widths[:-1], widths[1:]))
    total = encoder + decoder(512, (512, 256, 128, 64))
    assert total == 18_545_921
    model = unet.build_unet("vgg16")
    assert model.count_params() == total
    assert all(weight.trainable for weight in model.weights)


def test_batch_normalization_follows_each_convolution_and_takes_its_bias():
    model = unet.build_unet(filters=(4, 4, 4, 4, 4), batch_normalization=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    places = [i for i, kind in enumerate(kinds) if kind == "FusedBatchNormalization"]
    assert len(places) == 18  # nine levels of two convolutions
    assert all(kinds[i - 1] == "Conv2D" and kinds[i + 1] == "ReLU" for i in places)
    assert not any(model.layers[i - 1].use_bias for i in places)


@pytest.mark.parametrize("filters", [(4, 4, 6, 8), (4, 4, 6, 6, 8)])
@pytest.mark.parametrize("encoder", unet.ENCODERS)
def test_folded_normalisation_says_the_same(encoder, filters):
    keras.utils.set_random_seed(0)
    trained = unet.build_unet(encoder, filters=filters, batch_normalization=True)
    rng = np.random.default_rng(0)
    for layer in trained.layers:  # as if it had learnt: nothing is 0 or 1
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
            )
    plain = unet.build_unet(encoder, filters=filters, dropout_rate=0)
    image = rng.random((2, 32, 48, 3), np.float32)
    expected = trained.predict_on_batch(image)
    assert np.abs(plain.predict_on_batch(image) - expected).max() > 0.01
    networks.copy_folded(trained, plain)
    # VGG16's depth, with random weights, multiplies the rounding of float32.
    np.testing.assert_allclose(plain.predict_on_batch(image), expected, atol=1e-4)
    kinds = {type(layer).__name__ for layer in plain.layers}
    assert not kinds & {"FusedBatchNormalization", "Dropout"}


@pytest.mark.parametrize("encoder", unet.ENCODERS)
def test_all_but_the_last_layer_computes_in_bfloat16(encoder):
    model = unet.build_unet(encoder, filters=(4, 4, 6, 8), dropout_rate=0)
    low = networks.in_bfloat16(model)
    image = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    probability = low.predict_on_batch(image)
    assert probability.dtype == np.float32
    difference = np.abs(probability - model.predict_on_batch(image)).max()
    assert 0 < difference < 0.1
    inner = low.get_layer("vgg16").layers if encoder == "vgg16" else []
    convolutions = [
        layer
        for layer in (*inner, *low.layers)
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(convolutions) == (15 if encoder == "scratch" else 13 + 9)
    assert {layer.compute_dtype for layer in convolutions[:-1]} == {"bfloat16"}
    assert convolutions[-1].compute_dtype == "float32"
    assert all(weight.dtype == "float32" for weight in low.weights)


def fit_one_step(layer, image):
    """What a normalisation says, learns and remembers of one batch."""
    model = keras.Sequential([keras.Input(image.shape[1:]), layer])
    # As large a gradient at each pixel as its value differs from a fixed target.
    model.compile(keras.optimizers.SGD(0.5), keras.losses.MeanSquaredError())
    target = np.random.default_rng(1).random(image.shape, np.float32)
    loss = model.train_on_batch(image, target)
    return float(loss), layer.get_weights(), model.predict_on_batch(image)


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 2e-2)]
)
def test_fused_normalisation_learns_what_kerass_own_does(precision, tolerance):
    image = np.random.default_rng(0).normal(3, 2, (4, 16, 16, 3)).astype(np.float32)
    own = fit_one_step(keras.layers.BatchNormalization(momentum=0.5), image)
    fused = fit_one_step(
        unet.FusedBatchNormalization(momentum=0.5, dtype=precision), image
    )
    assert fused[0] == pytest.approx(own[0], rel=tolerance)
    names = ("gain", "offset", "moving mean", "moving variance")
    for name, actual, expected in zip(names, fused[1], own[1], strict=True):
        # The variance of the 1,024 values as a sample's is 1/1023 larger.
        np.testing.assert_allclose(
            actual, expected, rtol=max(tolerance, 2e-3), atol=1e-3, err_msg=name
        )
    np.testing.assert_allclose(
        fused[2].astype(np.float32), own[2], atol=0.01 + 5 * tolerance
    )


def test_fused_normalisation_is_one_operation_on_tensorflow():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends take Keras' own layer")
    import tensorflow as tf

    layer = unet.FusedBatchNormalization()
    layer.build((4, 8, 8, 3))
    traced = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec((4, 8, 8, 3))
    )
    kinds = [operation.type for operation in traced.graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == 1 and "Mean" not in kinds


@pytest.mark.parametrize("encoder", unet.ENCODERS)
def test_round_trip_in_safe_mode(encoder, tmp_path):
    model = unet.build_unet(encoder, filters=(4, 4, 4, 4, 4))
    image = np.random.default_rng(0).random((2, 32, 48, 3), np.float32)
    before = model.predict_on_batch(image)
    assert before.shape == (2, 32, 48, 1)
    assert 0 <= before.min() < before.max() <= 1
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again.predict_on_batch(image), before, atol=1e-6)


def test_vgg16_sees_what_imagenet_weights_expect():
    """RGB in 0..1 goes in; centred blue, green, red reaches the first layer."""
    model = unet.build_unet("vgg16", filters=(4, 4, 4, 4, 4))
    layer = model.get_layer("centred_bgr")
    preprocessed = keras.Model(model.inputs, layer.output)
    assert model.get_layer("vgg16").inputs[0].shape == layer.output.shape
    image = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    expected = keras.applications.vgg16.preprocess_input(image * 255)
    np.testing.assert_allclose(preprocessed(image), expected, atol=1e-3)


def test_weights_come_from_a_file(tmp_path):
    keras.utils.set_random_seed(1)
    source = keras.applications.VGG16(include_top=False, weights=None)
    source.save_weights(tmp_path / "vgg16.weights.h5")
    model = unet.build_unet("vgg16", encoder_weights=tmp_path / "vgg16.weights.h5")
    for name in ("block1_conv1", "block5_conv3"):
        np.testing.assert_array_equal(
            model.get_layer("vgg16").get_layer(name).kernel,
            source.get_layer(name).kernel,
        )


def test_imagenet_is_kerass_own_download(monkeypatch):
    asked = []

    def no_network(*args, **kwargs):
        asked.append(args[0])
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(OSError, match="URL fetch failure.*give its path"):
        unet.build_unet("vgg16", encoder_weights="imagenet")
    assert asked == ["vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"]


def test_a_missing_weights_file_says_how_to_get_it(tmp_path):
    with pytest.raises(OSError, match="nowhere.h5.*machine with internet access"):
        unet.build_unet("vgg16", encoder_weights=tmp_path / "nowhere.h5")


def test_a_wrong_weights_file_is_refused(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(
        tmp_path / "other.weights.h5"
    )
    with pytest.raises(OSError, match="other.weights.h5"):
        unet.build_unet("vgg16", encoder_weights=tmp_path / "other.weights.h5")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"encoder": "resnet"}, "resnet"),
        ({"filters": (8, 16)}, "four or five"),
        ({"encoder_weights": "imagenet"}, "scratch"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        unet.build_unet(**arguments)
