"""Trainings that are cut short end as if they had not been."""

import errno
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from retina import checkpoints, history
from retina.checkpoints import Checkpoint
from retina.files import InputError
from retina.muon import Muon

EPOCHS, STEPS = 4, 3
PLAN = {"recipe": {"seed": 0, "filters": [4, 4]}, "data": "a" * 64}
SCORES = {1: 0.6, 2: 0.9, 3: 0.7, 4: 0.8}  # of the epochs: the second is the best


class Killed(Exception):
    """Stands for the end of the process: nothing after it is executed."""


def make_model(seed, policy="float32"):
    """A network that has all kinds of state: dropout, normalisation, momentum."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Conv2D(1, 1, activation="sigmoid", dtype="float32"),
        ]
    )
    keras.config.set_dtype_policy("float32")
    schedule = keras.optimizers.schedules.CosineDecay(0.03, EPOCHS * STEPS)
    model.compile(Muon(schedule), "binary_crossentropy")
    return model


def train(folder, *, seed=0, plan=PLAN, epochs=EPOCHS, callbacks=(), validate=None):
    """Trains from where `folder` says, in what could be a new process."""
    model = make_model(seed)
    rng = np.random.default_rng(0)
    x = rng.random((2 * STEPS, 8, 8, 3), np.float32)
    y = rng.integers(0, 2, (2 * STEPS, 4, 4, 1)).astype(np.float32)
    checkpoint = Checkpoint(folder / "state", plan, keep_best=True)
    scores = {}
    validate = validate or (lambda model: next(scores["left"]))
    curves = history.Curves(folder / "x.csv", checkpoint.rows, validate=validate)
    done = checkpoint.restore(model)
    scores["left"] = iter([SCORES[epoch] for epoch in SCORES if epoch > done])
    model.fit(
        x,
        y,
        batch_size=2,
        shuffle=False,
        initial_epoch=done,
        epochs=epochs,
        callbacks=[curves, checkpoint, *callbacks],
        verbose=0,
    )
    return model, checkpoint


def everything(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.copy(keras.ops.convert_to_numpy(each)) for each in variables]


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same(result, whole):
    """Every variable, the rows and the best weights are equal, bit for bit."""
    (model, checkpoint), (whole_model, whole_checkpoint) = result, whole
    for own, theirs in zip(everything(model), everything(whole_model), strict=True):
        np.testing.assert_array_equal(own, theirs)
    assert without_time(checkpoint.rows) == without_time(whole_checkpoint.rows)
    assert checkpoint.best == whole_checkpoint.best


def kill_at(epoch, batch):
    def kill(number, logs):
        if (at["epoch"], number) == (epoch, batch):
            raise Killed

    at = {}
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda number, logs: at.update(epoch=number + 1),
        on_train_batch_begin=kill,
    )


def states(folder):
    return sorted((folder / "state").iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted: its model and checkpoint."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def cut_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(Killed):
        train(folder, callbacks=[kill_at(4, 1)])
    return folder


@pytest.fixture
def cut(cut_once, tmp_path):
    """The folder of a training that was killed in its fourth epoch."""
    return shutil.copytree(cut_once, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("epoch, batch", [(1, 0), (1, 2), (2, 0), (3, 2), (4, 2)])
def test_killed_in_a_batch_it_ends_with_the_same_weights(whole, tmp_path, epoch, batch):
    with pytest.raises(Killed):
        train(tmp_path, callbacks=[kill_at(epoch, batch)])
    assert_same(train(tmp_path, seed=7), whole)  # other first weights: all restored


def test_killed_in_a_validation_it_ends_with_the_same_weights(whole, tmp_path):
    scores = iter([SCORES[1], SCORES[2]])

    def validate(model):
        for score in scores:
            return score
        raise Killed

    with pytest.raises(Killed):
        train(tmp_path, validate=validate)
    assert_same(train(tmp_path), whole)


def test_killed_twice_and_after_the_last_epoch_it_ends_with_the_same(whole, tmp_path):
    for epoch in (2, 4):
        with pytest.raises(Killed):
            train(tmp_path, callbacks=[kill_at(epoch, 1)])
    train(tmp_path)
    (tmp_path / "x.csv").unlink()
    result = train(tmp_path, seed=7)  # nothing is left to learn
    assert_same(result, whole)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == EPOCHS + 1


def test_dropout_goes_on_with_its_random_state(tmp_path):
    """Without it, masks would begin anew: `save_weights` does not write it."""
    model, _ = train(tmp_path, epochs=1)
    (generator,) = (v for v in model.variables if "seed_generator" in v.path)
    other = make_model(7)
    (restored,) = (v for v in other.variables if "seed_generator" in v.path)
    assert not np.array_equal(generator, restored)
    Checkpoint(tmp_path / "state", PLAN).restore(other)
    assert np.array_equal(generator, restored)


def test_the_best_weights_so_far_survive(cut):
    """Validation fell after the second epoch: its weights are kept, not the last."""
    model = make_model(0)
    checkpoint = Checkpoint(cut / "state", PLAN, keep_best=True)
    assert checkpoint.restore(model) == 3 and history.best_epoch(checkpoint.rows) == 2
    after_three = model.get_weights()
    checkpoint.load_best(model)
    best = model.get_weights()
    assert not np.array_equal(best[0], after_three[0])
    two_epochs = make_model(0)
    states(cut)[-1].unlink()
    assert Checkpoint(cut / "state", PLAN).restore(two_epochs) == 2
    for own, theirs in zip(best, two_epochs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, theirs)


def test_nothing_begun_is_epoch_0_and_a_plan_is_kept_before_the_first(tmp_path):
    assert checkpoints.read_plan(tmp_path / "state") is None
    with pytest.raises(Killed):
        train(tmp_path, callbacks=[kill_at(1, 0)])
    assert checkpoints.read_plan(tmp_path / "state") == PLAN
    assert Checkpoint(tmp_path / "state", PLAN).restore(make_model(0)) == 0


def test_the_last_two_states_are_kept_until_they_are_removed(cut):
    assert [path.name for path in states(cut)] == [
        "epoch-000002.zip",
        "epoch-000003.zip",
    ]
    Checkpoint(cut / "state", PLAN).remove()
    assert not (cut / "state").exists()


def test_killed_while_states_are_removed_the_newest_is_left(cut, monkeypatch):
    unlink = Path.unlink

    def once(path):
        unlink(path)
        raise Killed

    monkeypatch.setattr(Path, "unlink", once)
    with pytest.raises(Killed):
        Checkpoint(cut / "state", PLAN).remove()
    assert [path.name for path in states(cut)] == ["epoch-000003.zip"]


def test_garbage_in_the_csv_does_not_matter(whole, cut):
    (cut / "x.csv").write_bytes(b"epoch,loss\nx,\xff\n9,9,9,9,9,9\n")
    assert_same(train(cut), whole)
    lines = (cut / "x.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch", *"1234"]


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [half, empty, flip])
def test_where_the_newest_is_damaged_the_one_before_is_taken(
    whole, cut, capsys, damage
):
    damage(states(cut)[-1])
    assert_same(train(cut), whole)
    assert "epoch-000003.zip is damaged: training continues from" in (
        capsys.readouterr().out
    )


def test_where_both_are_damaged_it_says_so(cut):
    for path in states(cut):
        flip(path)
    with pytest.raises(InputError, match="all 2 are damaged: start anew with --rep"):
        train(cut)


def test_no_flipped_byte_and_no_cut_passes_for_the_state(cut):
    """Whatever is damaged is recognised, or was of no account (a date in the zip)."""
    path = states(cut)[-1]
    content, truth = path.read_bytes(), checkpoints._read_state(path)
    rng = np.random.default_rng(0)
    harmless = 0
    for case in range(600):
        damaged = bytearray(content)
        if case % 3:
            near_the_end = len(content) - 1 - int(rng.integers(400))
            place = near_the_end if case % 3 == 1 else rng.integers(len(content))
            damaged[place] ^= 1 << rng.integers(8)
        else:
            damaged = damaged[: rng.integers(len(content))]
        path.write_bytes(damaged)
        try:
            state = checkpoints._read_state(path)
        except Exception:
            continue
        assert state == truth
        harmless += 1
    assert harmless < 300


def test_parts_that_a_kill_left_are_cleared_away(cut):
    (cut / "state" / ".epoch-000004.77.part.zip").write_bytes(b"half")
    train(cut)
    assert [path.name for path in states(cut)] == [
        "epoch-000003.zip",
        "epoch-000004.zip",
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"recipe": {"seed": 7, "filters": [4, 4]}}, r"\(seed 0, now 7\): give"),
        ({"data": "b" * 64}, r"\(data aaaaaaaa..., now bbbbbbbb...\)"),
        ({"recipe": {"seed": 0}}, r"\(filters \[4, 4\], now None\)"),
        ({"keras": "3.99"}, r"\(keras None, now 3.99\)"),
    ],
)
def test_another_plan_is_refused_and_what_differs_is_named(cut, change, message):
    before = [path.read_bytes() for path in states(cut)]
    with pytest.raises(InputError, match=message):
        train(cut, plan=PLAN | change)
    assert [path.read_bytes() for path in states(cut)] == before


def test_tuples_in_a_plan_are_the_lists_that_json_makes_of_them(whole, cut):
    train(cut, plan=PLAN | {"recipe": {"seed": 0, "filters": (4, 4)}})


def test_another_network_is_refused(cut):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match="of other layers"):
        Checkpoint(cut / "state", PLAN).restore(model)


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_variables_of_few_bits_and_the_scale_of_the_loss_survive(tmp_path, policy):
    rng = np.random.default_rng(0)
    model, other = make_model(0, policy), make_model(7, policy)
    checkpoint = Checkpoint(tmp_path, PLAN)
    checkpoint.restore(model)
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(rng.integers(0, 99, variable.shape))
    checkpoint.set_model(model)
    checkpoint.on_train_begin()
    Checkpoint(tmp_path, PLAN).restore(other)
    expected = everything(model)
    for own, theirs in zip(everything(other), expected, strict=True):
        assert own.dtype == theirs.dtype
        np.testing.assert_array_equal(own, theirs)
    kinds = {str(each.dtype) for each in expected}
    assert ("bfloat16" in kinds) == (policy == "bfloat16")


def test_a_full_disk_gets_a_sentence_and_the_states_before_stay(
    whole, cut, monkeypatch
):
    before = {path: path.read_bytes() for path in states(cut)}

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left .* --resume"):
            train(cut)
    assert {path: path.read_bytes() for path in states(cut)} == before
    assert_same(train(cut), whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid(), reason="mounts a disk")
def test_a_disk_that_is_really_full_gets_a_sentence(whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        with pytest.raises(Killed):
            train(disk, callbacks=[kill_at(3, 1)])
        before = {path: path.read_bytes() for path in states(disk)}
        with pytest.raises(OSError), (disk / "filler").open("wb", 0) as filler:
            for size in (4096, 1):
                while True:
                    filler.write(bytes(size))
        with pytest.raises(InputError, match="No space left .* --resume"):
            train(disk)
        assert {path: path.read_bytes() for path in states(disk)} == before
        (disk / "filler").unlink()
        assert_same(train(disk), whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_is_gone_is_made_again(whole, tmp_path):
    def lose(epoch, logs):
        if epoch == 2:
            Checkpoint(tmp_path / "state", PLAN).remove()

    train(tmp_path, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=lose)])
    assert_same(train(tmp_path), whole)


def test_a_file_in_the_place_of_the_folder_gets_a_sentence(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(InputError, match="epoch 0 into .*state, but it failed"):
        train(tmp_path)


def test_a_state_is_an_ordinary_zip_file(cut):
    with zipfile.ZipFile(states(cut)[-1]) as archive:
        assert archive.namelist() == ["values", "best", "state.json"]
        assert archive.testzip() is None
