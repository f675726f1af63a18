"""check.py prints what a data set holds, and everything that is wrong with it."""

import shutil

import numpy as np
import pytest
from conftest import tiff
from PIL import Image

import check
from retina import datasets
from retina.files import InputError


@pytest.fixture
def tree(phantoms, tmp_path):
    """A copy of the phantoms to damage."""
    return shutil.copytree(phantoms, tmp_path / "PHANTOM")


def test_the_check_prints_sizes_shares_and_gaps(tree, capsys):
    shutil.rmtree(tree / "test/1st_manual")
    check.main([str(tree)])
    printed = capsys.readouterr().out
    assert "training: 3 photographs" in printed
    assert "120 x 128" in printed and "% vessels" in printed
    assert "1st_manual missing" in printed and "RITE" in printed


def test_the_rules_of_each_observer_and_what_is_skipped_are_told(tree, capsys):
    (tree / "scan.dcm").touch()
    (tree / "._scan.png").touch()
    check.main([str(tree)])
    printed = capsys.readouterr().out
    rule = "1st_manual: 3 labels read: two values: 0 background, 255 vessel"
    assert printed.count(rule) == 2  # training and test
    rule = "2nd_manual: 3 labels read: two values: 3 background, 253 vessel"
    assert printed.count(rule) == 1
    assert "skipped: " in printed and "1 .dcm" in printed and ".png" not in printed


def test_photographs_all_but_black_in_sixteen_bits_are_refused(tree):
    """A network would learn from next to nothing; predict.py has --bits for them."""
    path = tree / "training/images/21_training.tif"
    values = np.asarray(Image.open(path).convert("RGB")).astype(np.uint16) * 16
    path.write_bytes(tiff(values, planar=1))
    with pytest.raises(
        InputError, match="some that need 12: multiply them by 16"
    ) as no:
        check.main([str(tree)])
    assert str(no.value).startswith("1 to mend")
    with pytest.raises(InputError, match="some that need 12"):
        datasets.read_labelled(datasets.list_cases(tree, "training"), "1st_manual")
    path.write_bytes(tiff(values * 16, planar=1))
    check.main([str(tree)])


def test_all_that_is_wrong_is_told_at_the_end(tree, capsys):
    """An unreadable photograph, a label of classes and a mirrored label."""
    (tree / "training/images/21_training.tif").write_bytes(b"II*\0damaged")
    classes = np.zeros((128, 120), np.uint8)
    classes[40:60], classes[60:80] = 9, 5
    Image.fromarray(classes).save(tree / "training/1st_manual/22_manual1.gif")
    path = tree / "training/1st_manual/23_manual1.gif"
    label = np.array(Image.open(path).convert("L"))
    Image.fromarray(label[:, ::-1]).save(path)
    with pytest.raises(InputError) as caught:
        check.main([str(tree)])
    head, *problems = str(caught.value).splitlines()
    assert head == "3 to mend:" and len(problems) == 3
    assert "21_training.tif" in problems[0] and "cannot be read" in problems[0]
    assert "22_manual1.gif" in problems[1] and "values 0 5 9" in problems[1]
    assert "label of 23_training: it fits mirrored left to right" in problems[2]
    printed = capsys.readouterr().out
    assert "01_test" in printed and printed.count("% vessels") == 1 + 6


def test_labels_may_be_trusted_and_values_named(tree, capsys):
    path = tree / "training/1st_manual/23_manual1.gif"
    label = np.array(Image.open(path).convert("L")) > 0
    Image.fromarray(np.where(label, 0, 255).astype(np.uint8)[::-1]).save(path)
    for path in tree.glob("*/*_manual/*.gif"):
        if path.name != "23_manual1.gif":
            label = np.array(Image.open(path).convert("L")) > 127
            Image.fromarray(np.where(label, 0, 255).astype(np.uint8)).save(path)
    with pytest.raises(InputError, match="9 to mend"):
        check.main([str(tree)])
    with pytest.raises(InputError, match="1 to mend"):
        check.main([str(tree), "--vessel-values", "0"])
    capsys.readouterr()
    check.main([str(tree), "--vessel-values", "0", "--trust-labels"])
    printed = capsys.readouterr().out
    assert "the label of 23_training: it fits mirrored top to bottom" in printed


def test_a_cameras_photographs_in_a_folder_within_are_told(tmp_path, capsys):
    for name in ("one.png", "within/two.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (90, 80)).save(tmp_path / name)
    assert check.list_photographs(tmp_path) == [tmp_path / "one.png"]
    assert f"not entered unless named: {tmp_path / 'within'}" in capsys.readouterr().out
