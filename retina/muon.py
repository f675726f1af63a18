"""Muon, an optimizer for convolutions: it learns in fewer batches than AdamW.

    model.compile(Muon(3e-3), loss="binary_crossentropy")

Keras' own Muon leaves the kernels of convolutions to AdamW, hence this one. What it
gains: docs/log.md.
"""

from __future__ import annotations

import keras
from keras import ops

# Of a polynomial that brings singular values in 0..1 near 1 when applied five times.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
MOMENTUM = 0.95
LEAST_CHANNELS = 4  # a kernel from or to fewer is a first or last layer's


class Muon(keras.optimizers.AdamW):
    """Orthogonalised momentum for kernels of hidden convolutions, AdamW for the rest.

    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks",
    with Nesterov's momentum. Steps are as large as AdamW's, as in Liu et al. (2025),
    "Muon is scalable for LLM training", so that one learning rate and weight decay
    serves both. A kernel (height, width, from, to) counts as a matrix (height width
    from, to).
    """

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) != 4 or min(variable.shape[2:]) < LEAST_CHANNELS:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign(momentum, MOMENTUM * momentum + gradient)
        ahead = ops.reshape(gradient + MOMENTUM * momentum, (-1, variable.shape[-1]))
        step = 0.2 * max(ahead.shape) ** 0.5 * orthogonalize(ahead)
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * ops.reshape(step, variable.shape))


def orthogonalize(matrix):
    """The nearest matrix with orthonormal rows or columns, approximately.

    Newton-Schulz iterations, worked out on the products of the shorter side's vectors,
    which are many times smaller than the matrix.

    Args:
        matrix: (m, n) float32.

    Returns:
        (m, n) float32 with the singular vectors of `matrix`; singular values that are
        not tiny beside the largest become .7 to 1.2.
    """
    tall = matrix.shape[0] >= matrix.shape[1]
    gram = ops.transpose(matrix) @ matrix if tall else matrix @ ops.transpose(matrix)
    square_norm = ops.trace(gram) + keras.config.epsilon() ** 2
    gram = gram / square_norm
    once, cubed, to_the_fifth = COEFFICIENTS
    identity = ops.eye(gram.shape[0])
    product = identity
    for _ in range(STEPS):
        factor = once * identity + cubed * gram + to_the_fifth * gram @ gram
        product = product @ factor
        gram = gram @ factor @ factor  # all of these commute
    product = product * ops.rsqrt(square_norm)
    return matrix @ product if tall else product @ matrix
