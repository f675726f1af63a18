"""Tests of retina/worklist.py that need no network; others are in test_predict.py."""

import os
from pathlib import Path

import pytest

from retina import maps
from retina.files import InputError
from retina.worklist import list_photographs

WITHIN = "folders with pictures, not entered unless named: "


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of one photograph, and within it folders of all kinds."""
    monkeypatch.chdir(tmp_path)
    pictures = ["one.png", "left/two.png", "deep/down/three.png"]
    hidden = ["a/.four.png", "b/.cache/five.png", "c/._six.png"]
    made = ["output/unet/one.png", "output/unet/fields/one.png"]
    for name in (*pictures, *hidden, *made, f"output/unet/{maps.TABLE}"):
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path("mine")


def test_folders_are_told_in_which_pictures_lie_themselves(mine):
    files, left_out = list_photographs([mine])
    assert files == [mine / "one.png"]
    assert left_out == f"{WITHIN}mine/deep/down, mine/left"
    with pytest.raises(InputError, match="none: name mine/deep/down, with pictures$"):
        list_photographs([mine / "deep"])
    assert list_photographs([mine / "deep/down"])[1] == ""  # the advice can be followed


@pytest.mark.parametrize("name", ["mine/left", "mine/../mine/left", "/", "link"])
def test_a_folder_that_is_named_is_not_told_however_it_is_named(mine, name):
    Path("link").symlink_to(mine / "left")
    named = Path.cwd() / "mine/left" if name == "/" else Path(name)
    files, left_out = list_photographs([mine, named])
    assert files == [mine / "one.png", named / "two.png"]
    assert left_out == f"{WITHIN}mine/deep/down"


def test_maps_among_the_photographs_are_no_pictures(mine):
    assert list_photographs([mine / "output/unet"])[1] == "1 file skipped: 1 .csv"
    with pytest.raises(InputError, match="found none: check it"):
        list_photographs([mine / "output"])


def test_a_folder_that_cannot_be_read_is_passed_over(mine, monkeypatch):
    def refuse(path, scan=os.scandir):
        if Path(path).name == "left":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_photographs([mine])[1] == f"{WITHIN}mine/deep/down"
