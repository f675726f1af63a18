"""What all commands share: types of options, and how a command ends.

add("--epochs", type=positive)

if __name__ == "__main__":
    run(main, "train.py", stopped="the same command with --resume continues it")
"""

from __future__ import annotations

import argparse
import io
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from retina.files import InputError

BACKENDS = ("tensorflow", "jax", "torch")  # of Keras, on which this was tried


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of an option, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default = action.default
        is_none = default is None or default is False or default in ("", [])
        if is_none or "default:" in action.help:
            return action.help
        if isinstance(default, (list, tuple)):  # as it would be typed
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


def number(
    read: Callable[[str], float], expected: str, allowed: Callable[[float], bool]
) -> Callable[[str], float]:
    """A type of options: what `read` makes of the text, where that is `allowed`."""

    def parse(text: str) -> float:
        try:
            value = read(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
        return value

    return parse


whole = number(int, "a whole number from 0", lambda value: value >= 0)
positive = number(int, "a whole number from 1", lambda value: value >= 1)
fraction = number(float, "0 or more, below 1", lambda value: 0 <= value < 1)
share = number(float, "a number of 0 to 1", lambda value: 0 <= value <= 1)
above_zero = number(float, "a number above 0", lambda value: 0 < value < math.inf)
# How large a pixel is on the retina: 1 to 30 in cameras. Millimetres are refused.
micrometres = number(float, "0.1 to 1000 (micrometres)", lambda v: 0.1 <= v <= 1000)


def file_name(text: str) -> str:
    """A name for files, to which endings are added."""
    hidden_or_none = text[:1] in ("", ".")
    if hidden_or_none or Path(text).name != text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"expected a plain file name, got {text!r}")
    if len(os.fsencode(text)) > 200:  # 255 with endings and what marks a part
        raise argparse.ArgumentTypeError("expected a name of at most 200 bytes")
    return text


class LenientStream(io.TextIOWrapper):
    """A stream that never fails: it escapes what it cannot show, and drops what nobody
    reads, as in `train.py | head`."""

    def __init__(self, stream: TextIO):
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def run(main: Callable[[], None], name: str, stopped: str) -> None:
    """Runs a command. Mistakes and interruptions end it with a sentence on stderr.

    Args:
        main: of the command.
        name: of its file, which begins the sentence.
        stopped: how to go on after Ctrl-C or SIGTERM.
    """
    sys.stdout, sys.stderr = LenientStream(sys.stdout), LenientStream(sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        require_backend()
        main()
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except ModuleNotFoundError as error:
        advice = "pip install -r requirements.txt with Python 3.10 to 3.13, and see "
        advice += "requirements/ for what is optional"
        if error.name in BACKENDS[1:]:
            advice = "install it (see docs/trust.md), or unset KERAS_BACKEND, and "
            advice += "TensorFlow is taken"
        package = f"the package {error.name}, which is not installed"
        sys.exit(f"{name}: expected {package}: {advice}")
    except OSError as error:
        sys.exit(
            f"{name}: expected to read and write files, but "
            f"{error.filename or 'a write'} failed ({error.strerror or error}): check "
            f"the path, make room, then {stopped}"
        )
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped; {stopped}")


def require_backend() -> None:
    """Raises an InputError where KERAS_BACKEND names none that this was tried on."""
    backend = os.environ["KERAS_BACKEND"]
    if backend not in BACKENDS:
        raise InputError(
            f"expected KERAS_BACKEND to be {', '.join(BACKENDS[:-1])} or "
            f"{BACKENDS[-1]}, received {backend!r}: unset it, and TensorFlow is taken"
        )
