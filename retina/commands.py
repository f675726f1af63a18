"""What all commands share: types of options, and how a command ends.

add("--epochs", type=positive)

if __name__ == "__main__":
    run(main, "train.py", stopped="the same command with --resume continues it")
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable

from retina.files import InputError


def whole(text: str) -> int:
    """A whole number from 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text}")
    return number


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


def fraction(text: str) -> float:
    """A number from 0, below 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"expected 0 or more, below 1, got {text}")
    return number


def above_zero(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def run(main: Callable[[], None], name: str, stopped: str) -> None:
    """Runs a command. Mistakes and interruptions end it with a sentence on stderr.

    Args:
        main: of the command.
        name: of its file, which begins the sentence.
        stopped: how to go on after Ctrl-C or SIGTERM.
    """
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a name that it cannot show is no reason to stop
        stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except BrokenPipeError:  # `evaluate.py | head`: all files are written by then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(
            f"{name}: expected to read and write files, but "
            f"{error.filename or 'a write'} failed ({error.strerror or error}): check "
            f"the path, make room, then {stopped}"
        )
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped; {stopped}")
