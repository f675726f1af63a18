"""The network: a U-Net with an encoder from scratch or VGG16's, and one decoder.

    model = build_unet()                                     # 7,760,097 parameters
    model = build_unet(encoder="vgg16", encoder_weights="imagenet")      # 18,545,921

Print its layers:

    python -c "import unet; unet.build_unet().summary()"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
from keras import layers

from retina import archives
from retina.files import first_line
from retina.networks import PROBABILITY

ENCODERS = ("scratch", "vgg16")
VGG16_SKIPS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
VGG16_BOTTLENECK = "block5_conv3"
HOW_TO_GET = (
    'on a machine with internet access, `python -c "import keras; '
    'keras.applications.VGG16(include_top=False)"` puts the file into '
    "~/.keras/models; copy it and give its path"
)
# Mean of ImageNet in the order blue, green, red, 0..255: what VGG16 was trained on.
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


def build_unet(
    encoder: str = "scratch",
    *,
    filters: Sequence[int] = (32, 64, 128, 256, 512),
    dropout_rate: float = 0.1,
    batch_normalization: bool = False,
    encoder_weights: str | Path | None = None,
) -> keras.Model:
    """Builds a U-Net that returns each pixel's probability of being vessel.

    After Ronneberger, Fischer, Brox (2015), "U-Net: Convolutional Networks for
    Biomedical Image Segmentation", with "same" padding. The VGG16 branch rescales
    and centres its input within the graph, so both take the same images.

    Input shape: (N, H, W, 3) float32, RGB, 0..1, H and W multiples of 16.
    Output shape: (N, H, W, 1) float32, probability 0..1.

    Args:
        encoder: `"scratch"`, or `"vgg16"` up to `block5_conv3`.
        filters: filters of the four or five levels, finest first. VGG16 has levels of
            its own: the decoder uses the first four.
        dropout_rate: share of values dropped after convolutions outside VGG16, 0..1.
        batch_normalization: between each such convolution and its ReLU (Ioffe,
            Szegedy (2015), "Batch Normalization").
        encoder_weights: for VGG16: None (random), `"imagenet"` (Keras downloads and
            caches them) or the path of a `.weights.h5` file without the top.

    Raises:
        ValueError: an unknown encoder, other than four or five filter counts, or
            weights were named for the scratch encoder.
        OSError: the weights cannot be read or downloaded.
        InputError: the file of weights is damaged, or its contents lie elsewhere.
    """
    _check(encoder, filters, encoder_weights)
    level = partial(
        _two_convolutions,
        dropout_rate=dropout_rate,
        batch_normalization=batch_normalization,
    )
    image = keras.Input((None, None, 3), name="image")
    if encoder == "scratch":
        x, skips = _scratch_encoder(image, filters, level)
    else:
        x, skips = _vgg16_encoder(image, encoder_weights)
    decoder = reversed(filters[: len(skips)])
    for count, skip in zip(decoder, reversed(skips), strict=True):
        x = layers.Conv2DTranspose(count, 2, strides=2)(x)
        x = layers.Concatenate()([x, skip])
        x = level(x, count)
    # Under mixed precision too, probabilities are float32: 8 bits would round them.
    probability = layers.Conv2D(
        1, 1, activation="sigmoid", dtype="float32", name=PROBABILITY
    )(x)
    return keras.Model(image, probability, name=f"unet_{encoder}")


def _check(
    encoder: str, filters: Sequence[int], encoder_weights: str | Path | None
) -> None:
    if encoder not in ENCODERS:
        raise ValueError(f"encoder must be one of {ENCODERS}. Received: {encoder!r}")
    if len(filters) not in (4, 5):
        raise ValueError(f"filters must be four or five numbers. Received: {filters}")
    if encoder == "scratch" and encoder_weights is not None:
        raise ValueError(
            "encoder_weights are for encoder='vgg16'; the scratch encoder has none. "
            f"Received: {encoder_weights!r}"
        )


class FusedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation over (N, H, W, C), in training one operation a pass.

    Keras has none: it works out moments, factors and offsets in a dozen passes over
    memory, and under mixed precision rounds the moments to 16 bits. TensorFlow has one,
    with moments of 32 bits; on other backends this is Keras' own layer. Networks are
    saved without it (`copy_folded`). The moving variance is that of a sample (n - 1).
    """

    def call(self, inputs, training=None, mask=None):
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=tf.constant([], tf.float32),  # it takes the batch's own
            variance=tf.constant([], tf.float32),
            epsilon=self.epsilon,
            is_training=True,
        )
        kept = self.momentum
        self.moving_mean.assign(kept * self.moving_mean + (1 - kept) * mean)
        self.moving_variance.assign(kept * self.moving_variance + (1 - kept) * variance)
        return outputs


def _two_convolutions(
    x, filter_count: int, *, dropout_rate: float, batch_normalization: bool
):
    for _ in range(2):
        x = layers.Conv2D(
            filter_count,
            3,
            padding="same",
            kernel_initializer="he_normal",
            use_bias=not batch_normalization,  # it has a bias of its own
        )(x)
        if batch_normalization:
            x = FusedBatchNormalization()(x)
        x = layers.ReLU()(x)
        if dropout_rate:
            x = layers.Dropout(dropout_rate)(x)
    return x


def _scratch_encoder(image, filters: Sequence[int], level: Callable):
    """Returns the bottleneck and the skips of the levels above it, finest first."""
    skips = []
    x = image
    for count in filters[:-1]:
        x = level(x, count)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    return level(x, filters[-1]), skips


def _vgg16_encoder(image, weights: str | Path | None):
    """Returns the bottleneck (1/16 of the side) and four skips, finest first.

    Simonyan, Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale
    Image Recognition".
    """
    vgg16 = _vgg16(weights)
    names = (*VGG16_SKIPS, VGG16_BOTTLENECK)
    outputs = [vgg16.get_layer(name).output for name in names]
    encoder = keras.Model(vgg16.inputs, outputs, name="vgg16")
    centre = layers.Rescaling(
        255.0, offset=[-mean for mean in IMAGENET_MEAN_BGR], name="centred_bgr"
    )
    blue_green_red = keras.ops.flip(image, axis=-1)
    *skips, bottleneck = encoder(centre(blue_green_red))
    return bottleneck, skips


def _vgg16(weights: str | Path | None) -> keras.Model:
    if weights not in (None, "imagenet"):
        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"expected VGG16's weights in {weights}, found no such file: "
                f"{HOW_TO_GET}"
            )
        archives.require_weights(Path(weights))
    try:
        return keras.applications.VGG16(include_top=False, weights=weights)
    except Exception as error:  # Keras' download raises nothing narrower
        raise OSError(
            f"expected VGG16's weights without the top from {weights}, but they could "
            f"not be had ({first_line(error)}): {HOW_TO_GET}"
        ) from error
