"""Patches are what they promise, and the same for one seed; that labels stay aligned
and no fill enters is in test_properties.py."""

from functools import partial

import keras
import numpy as np
import pytest

import augment

SIDE = 64


@pytest.fixture(scope="module")
def photographs():
    """Images whose red is the label and whose green and blue say where we are."""
    rng = np.random.default_rng(0)
    photographs = []
    for height, width in [(120, 100), (97, 131), (64, 64)]:
        label = np.kron(rng.random((17, 17)) > 0.6, np.ones((8, 8)))[:height, :width]
        row, column = np.indices((height, width))
        image = np.stack([label, (row + 1) / 200, (column + 1) / 200], axis=-1)
        photographs.append(one(image.astype(np.float32), label > 0))
    return photographs


def one(image, label, field_of_view=None):
    """A photograph at one scale; without a field of view none is asked for."""
    return [(image, label, field_of_view)]


def generator(photographs, augmentation="article", **kwargs):
    if isinstance(augmentation, str):
        augmentation = augment.AUGMENTATIONS[augmentation]
    arguments = {"patch_side": SIDE, "batch_size": 8, "steps": 5, **kwargs}
    return augment.PatchGenerator(photographs, augmentation=augmentation, **arguments)


STRONG = augment.Augmentation(
    geometric=(
        (0.5, augment.flip_rows),
        (0.5, augment.quarter_turn),
        (1.0, partial(augment.rotate, degrees=45)),
        (1.0, partial(augment.shear, degrees=15)),
        (1.0, partial(augment.zoom, low=0.7, high=1.4)),
        (1.0, partial(augment.shift, fraction=0.5)),
    )
)


def test_batches_have_the_promised_shapes_and_ranges(photographs):
    for augmentation in augment.AUGMENTATIONS:
        images, labels = generator(photographs, augmentation)[0]
        assert images.shape == (8, SIDE, SIDE, 3) and images.dtype == np.float32
        assert labels.shape == (8, SIDE, SIDE, 1) and labels.dtype == np.float32
        assert 0 <= images.min() and images.max() <= 1
        assert set(np.unique(labels)) == {0, 1}


def test_one_resample_however_many_transforms(photographs, monkeypatch):
    calls = []
    resample = augment._resample
    monkeypatch.setattr(
        augment, "_resample", lambda *args: calls.append(1) or resample(*args)
    )
    generator(photographs, STRONG)[0]
    assert len(calls) == 8  # eight patches, image and label at once


@pytest.mark.parametrize(
    "transform, expected",
    [
        (augment.flip_rows, np.flipud),
        (augment.flip_columns, np.fliplr),
        (augment.quarter_turn, np.rot90),
    ],
)
def test_flips_and_turns_are_exact(photographs, transform, expected):
    only = photographs[2:]  # 64 x 64: there is one place for the patch
    augmentation = augment.Augmentation(geometric=((1.0, transform),))
    patches, _ = generator(only, augmentation)[0]
    image = only[0][0][0]
    np.testing.assert_allclose(patches[0], expected(image), atol=0.5 / 255)


def test_a_rotation_turns_by_its_angle():
    rng = np.random.default_rng(0)
    matrix = augment.rotate(rng=rng, degrees=10)
    angle = np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))
    assert 0 < abs(angle) < 10
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


def test_a_shift_moves_the_patch_where_there_is_room():
    """The same draw with and without a shift of a tenth of the side, in a photograph so
    large that neither lies at its edge."""
    for seed in range(5):
        places = []
        for matrix in (np.eye(3), np.array([[1, 0, 0.1], [0, 1, -0.2], [0, 0, 1]])):
            rng = np.random.default_rng(seed)
            window = augment.place_in_photograph(matrix, 10_000, 10_000, 60, rng=rng)
            places.append(window[:, 2])
        np.testing.assert_allclose(places[1] - places[0], [6, -12])
    rng = np.random.default_rng(0)
    moves = [augment.shift(rng=rng, fraction=0.1)[:2, 2] for _ in range(100)]
    assert 0.09 < np.abs(moves).max() <= 0.1


def test_shear_draws_both_ways_and_many_angles():
    rng = np.random.default_rng(0)
    slopes = [augment.shear(rng=rng, degrees=5)[1, 0] for _ in range(100)]
    assert min(slopes) < -0.05 and max(slopes) > 0.05
    assert len(set(slopes)) == 100
    assert max(np.abs(slopes)) <= np.tan(np.radians(5))


def test_zoom_magnifies():
    rng = np.random.default_rng(0)
    matrix = augment.zoom(rng=rng, low=2, high=2)
    np.testing.assert_allclose(matrix, np.diag([0.5, 0.5, 1]))


def test_patches_reach_every_part_of_a_photograph(photographs):
    patches = generator(photographs[:1], "none")
    seen = {
        tuple(np.round(patch[0, 0, 1:] * 200).astype(int) - 1)
        for index in range(200)
        for patch in patches[index][0]
    }
    rows, columns = zip(*seen, strict=True)
    assert (min(rows), max(rows)) == (0, 120 - SIDE)
    assert (min(columns), max(columns)) == (0, 100 - SIDE)


def test_colour_by_hand():
    class Fixed:
        def __init__(self, value):
            self.value = value

        def uniform(self, low, high):
            assert low <= self.value <= high
            return self.value

    image = np.array([[[0.2, 0.4, 0.6], [0.2, 0.2, 0.2]]], np.float32)
    brighter = augment.brightness(image, rng=Fixed(0.1), amount=0.1)
    np.testing.assert_allclose(brighter, image + 0.1, atol=1e-6)
    grey = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    saturated = augment.saturation(image, rng=Fixed(1.1), amount=0.1)
    np.testing.assert_allclose(saturated[0, 0], grey + 1.1 * (image[0, 0] - grey))
    np.testing.assert_allclose(saturated[0, 1], 0.2)
    mean = (grey + 0.2) / 2
    stretched = augment.contrast(image, rng=Fixed(0.9), amount=0.1)
    np.testing.assert_allclose(stretched, mean + 0.9 * (image - mean), rtol=1e-6)
    assert augment.brightness(image, rng=Fixed(0.9), amount=0.9).max() == 1


def test_white_balance_by_hand():
    class Fixed:
        def uniform(self, low, high, size):
            assert (low, high, size) == (0.75, 1.25, 3)
            return np.array([1.25, 1.0, 0.75])

    image = np.array([[[0.2, 0.4, 0.6], [0.9, 0.0, 1.0]]], np.float32)
    balanced = augment.white_balance(image, rng=Fixed(), amount=0.25)
    expected = [[[0.25, 0.4, 0.45], [1.0, 0.0, 0.75]]]
    np.testing.assert_allclose(balanced, expected, rtol=1e-6)


def test_a_batch_is_a_function_of_seed_epoch_and_index(photographs):
    first, second = generator(photographs), generator(photographs)
    second[3], second[1]  # the order in which batches are asked for changes nothing
    np.testing.assert_array_equal(first[2][0], second[2][0])
    others = [generator(photographs, seed=1), generator(photographs)]
    others[1].epoch = 1
    for other in others:
        assert not np.array_equal(first[2][0], other[2][0])
    assert not np.array_equal(first[2][0], first[3][0])
    first.on_epoch_end()
    np.testing.assert_array_equal(first[2][0], others[1][2][0])


def batches_seen_by_fit(patches, epochs):
    """Sums of the batches in the order in which a model is trained on them."""
    seen = []

    class Spy(keras.Model):
        def train_step(self, data):
            seen.append(float(np.asarray(data[0], np.float64).sum()))
            return {"loss": 0.0}

    model = Spy()
    model.compile(run_eagerly=True)
    model.built = True
    model.fit(patches, epochs=epochs, shuffle=False, verbose=0)
    return seen


@pytest.mark.parametrize(
    "workers", [{"workers": 4}, {"workers": 2, "use_multiprocessing": True}]
)
def test_workers_change_nothing(photographs, workers):
    alone = batches_seen_by_fit(generator(photographs), epochs=2)
    together = batches_seen_by_fit(generator(photographs, **workers), epochs=2)
    assert len(alone) == 10 and len(set(alone)) == 10
    assert alone == together


def grey(tenths):
    """A picture of one grey, without vessels."""
    image = np.full((SIDE, SIDE, 3), tenths / 10, np.float32)
    return image, np.zeros((SIDE, SIDE), bool), None


def test_photographs_share_a_batch_equally():
    batch, _ = generator([[grey(tenths)] for tenths in range(1, 7)], "none")[0]
    values, counts = np.unique(np.round(batch[:, 0, 0, 0] * 10), return_counts=True)
    assert len(values) == 4 and set(counts) == {2}


def test_a_photograph_at_several_scales_takes_its_part_alone():
    photographs = [[grey(1), grey(2), grey(3)], [grey(4)], [grey(5)], [grey(6)]]
    patches = generator(photographs, "none", batch_size=16)
    seen = np.concatenate([patches[index][0][:, 0, 0, 0] for index in range(50)])
    values, counts = np.unique(np.round(seen * 10), return_counts=True)
    assert list(values) == [1, 2, 3, 4, 5, 6]
    assert sum(counts[:3]) == counts[3] == counts[4] == counts[5] == 200
    assert min(counts[:3]) > 40


def test_soft_labels_keep_their_shares():
    label = np.full((SIDE, SIDE), 0.25, np.float32)
    photographs = [one(np.zeros((SIDE, SIDE, 3), np.float32), label)]
    for soft, expected in ((True, 0.25), (False, 0.0)):
        patches = generator(photographs, "none", soft=soft)
        np.testing.assert_allclose(patches[0][1], expected, atol=0.5 / 255)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"patch_side": 100}, "at least 100 x 100"),
        ({"batch_size": 6}, "multiple of 4"),
    ],
)
def test_mistakes_are_named(photographs, change, message):
    with pytest.raises(ValueError, match=message):
        generator(photographs, **change)


def test_images_and_labels_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="Received"):
        generator([one(np.zeros((64, 64, 3)), np.zeros((64, 65), bool))])


def test_every_pixel_of_the_field_is_as_often_a_centre():
    """Also those at the edge of the photograph, around which a patch reaches beyond."""
    row, column = np.indices((40, 48))
    image = np.stack([row, column, row], axis=-1).astype(np.float32) / 200
    field = (row - 20) ** 2 + (column - 24) ** 2 < 20**2
    patches = augment.PatchGenerator(
        [one(image, row > 20, field)],
        inside_field=True,
        patch_side=32,
        batch_size=64,
    )
    centres = np.concatenate([patches[i][0][:, 16, 16, :2] for i in range(200)])
    found = np.zeros(field.shape, int)
    np.add.at(found, tuple(np.round(centres * 200).astype(int).T), 1)
    assert not found[~field].any()
    expected = 200 * 64 / field.sum()  # 10: chance alone has a deviation of 3.2
    assert np.abs(found[field] - expected).max() < 6 * np.sqrt(expected)
    rim = field & ((row - 20) ** 2 + (column - 24) ** 2 > 18**2)
    assert abs(found[rim].mean() / expected - 1) < 0.1


def test_beyond_the_photograph_lies_its_reflection(photographs):
    original, label, _ = photographs[0][0]
    corner = np.zeros(label.shape, bool)
    corner[0, 0] = True
    only = [one(original, label, corner)]
    patches = generator(only, "none", inside_field=True)
    image, label = (batch[0] for batch in patches[0])
    half = SIDE // 2
    np.testing.assert_allclose(image[half:, half:], original[:half, :half], atol=0.002)
    padded = np.pad(original, ((half, 0), (half, 0), (0, 0)), "reflect")
    np.testing.assert_allclose(image, padded[:SIDE, :SIDE], atol=0.002)
    np.testing.assert_array_equal(image[..., 0] > 0.5, label[..., 0] == 1)
