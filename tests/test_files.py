"""Files are whole or as they were before."""

import errno
import resource
from unittest.mock import Mock

import pytest

from retina import files
from retina.files import (
    InputError,
    append_rows,
    locked,
    read_table,
    require_writable,
    whole_file,
)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(path) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_whole_rows(tmp_path):
    """The disk is as full as this process may fill it."""
    path = tmp_path / "table.csv"
    append_rows(path, ("name", "Dice"), [("a", 0.5)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            append_rows(path, ("name", "Dice"), [("b", 0.6), ("c" * 99, 0.7)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"name,Dice\r\na,0.5\r\n"
    append_rows(path, ("name", "Dice"), [("b", 0.6)])
    assert read_table(path) == [["name", "Dice"], ["a", "0.5"], ["b", "0.6"]]


def test_a_folder_that_refuses_writing_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output"):
        require_writable(tmp_path / "file" / "maps")
    require_writable(tmp_path / "maps")
    assert list((tmp_path / "maps").iterdir()) == []


def test_a_lock_that_is_held_is_told_from_a_disk_without_locks(tmp_path, monkeypatch):
    with locked(tmp_path / "lock"):
        with pytest.raises(InputError, match="busy"):
            with locked(tmp_path / "lock", busy="busy"):
                pass
    failure = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(files, "_lock", Mock(side_effect=failure))
    with pytest.raises(OSError, match="No locks available"):
        with locked(tmp_path / "lock", busy="busy"):
            pass
