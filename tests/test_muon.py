"""Orthogonal steps for kernels, AdamW's for the rest, and that they learn."""

import keras
import numpy as np
import pytest

from retina import muon


@pytest.mark.parametrize("shape", [(144, 16), (16, 144), (9, 9)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    result = np.asarray(muon.orthogonalize(matrix))
    mapped = left.T @ result @ right.T  # diagonal where the vectors are the same
    np.testing.assert_allclose(mapped, np.diag(np.diag(mapped)), atol=2e-3)
    large = values > 0.1 * values[0]
    assert 0.6 < np.diag(mapped)[large].min() <= np.diag(mapped).max() < 1.25


def test_nothing_stays_nothing():
    assert not np.asarray(muon.orthogonalize(np.zeros((9, 4), np.float32))).any()


def a_step(shape, gradient, **options):
    """By how much a first step at a rate of .01 changes a variable of ones."""
    variable = keras.Variable(np.ones(shape, np.float32))
    optimizer = muon.Muon(0.01, weight_decay=0.0, **options)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return np.asarray(variable) - 1


def test_a_kernels_step_is_orthogonal_and_as_large_as_adamws():
    shape = (3, 3, 8, 6)
    gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    step = a_step(shape, gradient)
    assert (step * gradient).sum() < 0
    values = np.linalg.svd(step.reshape(72, 6), compute_uv=False)
    expected = 0.01 * 0.2 * 72**0.5
    assert 0.6 * expected < values.min() <= values.max() < 1.25 * expected


@pytest.mark.parametrize("shape", [(6,), (3, 3, 3, 6), (1, 1, 6, 1)])
def test_vectors_and_first_and_last_kernels_get_adamws_step(shape):
    gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    # Adam's first step is the rate, whatever the gradient's size.
    np.testing.assert_allclose(a_step(shape, gradient), -0.01 * np.sign(gradient), 1e-3)


def test_momentum_is_nesterovs():
    """After gradients g and 0 the step still goes along g."""
    shape = (1, 1, 4, 4)
    gradient = np.eye(4, dtype=np.float32).reshape(shape)
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer = muon.Muon(1.0, weight_decay=0.0)
    sizes = []
    for each in (gradient, 0 * gradient):
        before = np.asarray(variable)
        optimizer.apply([keras.ops.convert_to_tensor(each)], [variable])
        sizes.append(np.asarray(variable) - before)
    np.testing.assert_allclose(sizes[1], sizes[0], atol=1e-5)
    assert sizes[0][0, 0, 0, 0] < -0.2


def test_momentum_outlives_a_gradient_of_less_than_half_its_size():
    """After gradients g and -c g what counts is m (m - c) - c: for m = .95 it changes
    sign at c = .463, where the step turns round."""
    gradient = np.eye(4, dtype=np.float32).reshape(1, 1, 4, 4)
    for size, sign in ((0.45, -1), (0.48, 1)):
        variable = keras.Variable(np.zeros((1, 1, 4, 4), np.float32))
        optimizer = muon.Muon(1.0, weight_decay=0.0)
        for each in (gradient, -size * gradient):
            before = np.asarray(variable)
            optimizer.apply([keras.ops.convert_to_tensor(each)], [variable])
        assert np.sign((np.asarray(variable) - before)[0, 0, 0, 0]) == sign


def test_weights_decay():
    variable = keras.Variable(np.ones((1, 1, 4, 4), np.float32))
    optimizer = muon.Muon(0.5, weight_decay=0.1)
    optimizer.apply([keras.ops.zeros((1, 1, 4, 4))], [variable])
    np.testing.assert_allclose(np.asarray(variable), 0.95, rtol=1e-6)


def test_it_fits_a_convolution():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 8, 8, 4)).astype(np.float32)
    target = images @ rng.normal(size=(4, 4)).astype(np.float32)
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 1)])
    model.compile(muon.Muon(0.1), "mse")
    losses = model.fit(images, target, epochs=40, batch_size=16, verbose=0).history
    assert losses["loss"][-1] < 0.02 * losses["loss"][0]
