"""What options take, and what is said of anything else; how output is written."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retina.commands import above_zero, fraction, positive, whole


@pytest.mark.parametrize(
    "read, text, value",
    [(whole, "0", 0), (positive, "1", 1), (fraction, "0.9", 0.9), (above_zero, "2", 2)],
)
def test_what_is_in_range_is_taken(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    "read, texts, expected",
    [
        (whole, ["-1", "1.5", "many"], "a whole number from 0"),
        (positive, ["0", "1.5", "many"], "a whole number from 1"),
        (fraction, ["-0.1", "1", "nan", "much"], "0 or more, below 1"),
        (above_zero, ["0", "inf", "nan", "much"], "a number above 0"),
    ],
)
def test_anything_else_is_told_with_what_was_expected(read, texts, expected):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            read(text)
        assert str(refused.value) == f"expected {expected}, got {text}"


def run_printing(words, **options):
    """A command that prints these words, and writes the file `done`."""
    code = f"print({words!r}, flush=True), open('done', 'x')"
    script = f"from retina.commands import run; run(lambda: ({code}), 'x.py', 'so')"
    path = {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | path | {"PYTHONIOENCODING": "cp1252"},
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_terminal_that_cannot_show_a_name_stops_nothing(tmp_path):
    """Windows' terminals often take cp1252; a file's name may be no UTF-8."""
    name = os.fsdecode(b"b\xe9")
    done = run_printing(f"\u773c {name}", cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split() == [b"\\u773c", b"b\\udce9"]


def test_a_reader_that_stops_early_stops_nothing(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = run_printing("words", cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "done").exists()
