"""Which network scores which camera, and figures that can be worked out by hand."""

import csv

import numpy as np
import pytest
from conftest import QUICK
from hand_made import write_hand_made

import phantom
import predict
import train
from benchmarks import leave_one_out
from retina import datasets, metrics, networks

SCRIPTS = {"train.py": train.main, "predict.py": predict.main}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    """Three cameras, two of them learnt from, and the rows after all were left out."""
    folder = tmp_path_factory.mktemp("cameras")
    for seed, camera in enumerate(("one", "two", "scored")):
        tree = folder / "input" / camera
        phantom.write_phantom_tree(tree, cases=2, seed=seed, height=128, width=120)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(leave_one_out, "ROOT", folder)
        patch.setattr(leave_one_out, "TABLE", folder / "rows.csv")
        patch.setattr(leave_one_out, "LEARNT", ("one", "two"))
        patch.setattr(leave_one_out, "SCORED", ("scored",))
        patch.setattr(
            leave_one_out,
            "run",
            lambda script, *options: SCRIPTS[script](list(map(str, options))),
        )
        common = ["tiny", "--input", str(folder / "input")]
        leave_one_out.main([*common, *QUICK])
        with patch.context() as unfit:
            unfit.setitem(SCRIPTS, "train.py", None)
            leave_one_out.main([*common, "--fitted", "--only", "two"])
        finished = folder / "models" / "tiny-without-two.keras"
        common[0] = "finished"
        leave_one_out.main([*common, "--network", str(finished)])
    with (folder / "rows.csv").open(newline="") as file:
        return folder, list(csv.DictReader(file))


def test_no_camera_is_scored_by_a_network_that_learnt_from_it(cameras):
    folder, rows = cameras
    scored = [(row["recipe"], row["camera"]) for row in rows]
    assert scored[:3] == [("tiny", "one"), ("tiny", "two"), ("tiny", "scored")]
    assert scored[3:] == [("tiny", "two"), ("finished", "two"), ("finished", "scored")]
    learnt = {}
    for path in (folder / "models").glob("*.keras"):
        learnt[path.stem] = set(networks.read_record(path).details["data"])
    assert learnt["tiny-without-one"] == {"two"}
    assert learnt["tiny-without-two"] == {"one"}
    assert learnt["tiny-without-scored"] == {"one", "two"}
    # The same network, the same maps.
    assert rows[1] == rows[3] == rows[4] | {"recipe": "tiny"}


def test_a_perfect_map_and_one_that_is_too_wide(phantoms, tmp_path):
    from scipy.ndimage import binary_dilation

    for case in datasets.list_cases(phantoms, "training"):
        label = datasets.read_label(case, "1st_manual")
        field = datasets.read_field_of_view(case)
        write_hand_made(
            tmp_path / "same", case.image, 0.9 * label, field, field_diameter=100.0
        )
        wide = 0.4 * binary_dilation(label) + 0.5 * label
        write_hand_made(
            tmp_path / "wide", case.image, 0.6 * (wide > 0), field, field_diameter=100.0
        )
    same, tally = leave_one_out.score(tmp_path / "same", phantoms)
    assert same["auc_roc"] == same["auc_pr"] == same["dice"] == same["cl_dice"] == 1
    assert same["width_error"] == 0 and same["photographs"] == 3
    assert same["shown"] == 100
    assert tally.sum() == sum(
        datasets.read_field_of_view(case).sum()
        for case in datasets.list_cases(phantoms, "training")
    )
    wide, _ = leave_one_out.score(tmp_path / "wide", phantoms)
    assert wide["width_error"] > 0.2 and wide["dice"] < 1


def test_ranks_and_dice_of_levels_are_those_of_pixels():
    rng = np.random.default_rng(0)
    label, level = rng.random(500) > 0.7, rng.integers(0, 65536, 500) // 5000 * 5000
    tally = np.zeros((2, 65536), int)
    np.add.at(tally, (label.astype(int), level), 1)
    exact = metrics.ranking_scores(label, level / 65535)
    assert leave_one_out.rank(tally) == pytest.approx(exact)
    for cut in (5000, 5001, 40000):
        expected = metrics.threshold_scores(label, level >= cut)["dice"]
        assert leave_one_out.dice(tally)[cut] == pytest.approx(expected)


def test_the_threshold_weighs_cameras_alike(monkeypatch, capsys):
    monkeypatch.setattr(leave_one_out, "LEARNT", ("few", "many"))
    tallies = {name: np.zeros((2, 65536), int) for name in ("few", "many", "scored")}
    levels = ("few", 10, 25000 - 1, 40000), ("many", 1000, 19000, 20000)
    for name, pixels, background, vessel in levels:
        tallies[name][:, [background, vessel]] = np.diag([pixels, pixels])
    tallies["scored"][:, 7] = 1
    leave_one_out.print_thresholds(tallies)
    first, few, many, scored = capsys.readouterr().out.splitlines()
    # Dice is 1 from 25,000 to 40,000, and from 19,001 to 20,000: the lowest counts.
    assert first == f"threshold {22000 / 65535:.3f}, mean of the best of 2"
    assert few.split()[1] == "0.6667," and "its own best 1.0000 at 0.381" in few
    assert many.split()[1] == "0.0000," and "its own best 1.0000 at 0.290" in many
    assert scored.split()[1] == "0.0000,"
