"""Mutated pictures of every format: each is read, or told in one sentence.

    python -m benchmarks.fuzz_pictures --files 20000
    python -m benchmarks.fuzz_pictures --files 500      # cheap

Prints what escaped, how long the slowest file took, in seconds of the processor, and
the memory at its highest. A file that takes minutes ends the run, and where the time
went is printed. Pictures are small, but for those whose mutated head says otherwise.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from retina.commands import positive, whole
from retina.files import InputError
from retina.pictures import picture_size, read_binary, read_pixels

MODES = {
    "bmp": ("1", "L", "P", "RGB"),
    "gif": ("L", "P"),
    "jpg": ("L", "RGB", "CMYK"),
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "ppm": ("1", "L", "RGB"),
    "tif": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "webp": ("RGB", "RGBA"),
}
HANGS = 120  # seconds, of the clock: other work may be beside it
EVERY = 1000  # files between two lines of progress
READERS = (read_pixels, read_binary, picture_size)


def seeds(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """A sound file of every format, mode and side, as (ending, bytes)."""
    found = []
    for ending, modes in MODES.items():
        for mode in modes:
            for side in (1, 17, 64):
                values = rng.integers(0, 256, (side, side + 3, 3), np.uint8)
                picture = Image.fromarray(values)
                if mode in ("I;16", "F"):
                    picture = picture.convert("L").convert("I" if mode > "F" else "F")
                picture = picture.convert(mode)
                kinds = [{"progressive": True}, {}] if ending == "jpg" else [{}]
                kinds += [{"compression": "tiff_lzw"}] if ending == "tif" else []
                for kind in kinds:
                    file = io.BytesIO()
                    known = Image.registered_extensions()[f".{ending}"]
                    picture.save(file, known, **kind)
                    found.append((ending, file.getvalue()))
    return found


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Cuts, flips, overwrites, repeats or removes bytes, mostly near the head."""
    changed = bytearray(content)
    reach = len(changed) if rng.random() < 0.3 else min(len(changed), 200)
    for _ in range(rng.integers(1, 6)):
        place, count = rng.integers(reach), int(rng.integers(1, 16))
        action = rng.integers(6)
        if action == 0:
            changed[place] ^= 1 << rng.integers(8)
        elif action == 1:
            changed[place] = rng.choice([0, 1, 127, 128, 255])
        elif action == 2:
            changed[place : place + 4] = rng.bytes(4)
        elif action == 3:
            changed[place:place] = changed[place : place + count]
        elif action == 4:
            del changed[place : place + count]
        else:
            del changed[rng.integers(1, len(changed) + 1) :]
        reach = min(reach, len(changed))
        if not reach:
            break
    return bytes(changed)


def read_all(path: Path) -> Counter:
    """What each reader makes of a file: `read`, `told`, or what escaped."""
    found = Counter()
    for read in READERS:
        try:
            read(path)
            found["read"] += 1
        except InputError as error:
            found["two lines" if "\n" in str(error) else "told"] += 1
        except Exception as error:
            found[f"{read.__name__}: {type(error).__name__}: {error}"] += 1
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=positive, default=20000)
    parser.add_argument("--seed", type=whole, default=0)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(args.seed)
    sound = seeds(rng)
    found, slowest = Counter(), (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.files):
            ending, content = sound[number % len(sound)]
            path = Path(folder) / f"photo.{ending}"
            path.write_bytes(mutate(content, rng))
            faulthandler.dump_traceback_later(HANGS, exit=True)
            began = time.process_time()
            found += read_all(path)
            slowest = max(slowest, (time.process_time() - began, f"{number} {ending}"))
            path.unlink()
            if number % EVERY == EVERY - 1 or number == args.files - 1:
                print(summary(number + 1, slowest), flush=True)
    faulthandler.cancel_dump_traceback_later()
    for outcome, count in found.most_common():
        print(f"{count:7} {outcome}")


def summary(files: int, slowest: tuple[float, str]) -> str:
    """So many files, the slowest, the memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds, which = slowest
    return f"{files} files, slowest {seconds:.1f} s ({which}), at most {peak:.2f} GB"


if __name__ == "__main__":
    main()
