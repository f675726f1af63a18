"""Files are whole or as they were before."""

import pytest

from retina.files import InputError, require_writable, whole_file


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(path) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_refuses_writing_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="--output"):
        require_writable(tmp_path / "file" / "maps")
    require_writable(tmp_path / "maps")
    assert list((tmp_path / "maps").iterdir()) == []
