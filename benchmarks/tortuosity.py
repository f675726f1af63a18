"""Tortuosities of 60 vessels beside an expert's ranking of them.

    python -m benchmarks.tortuosity /data/RET_TORT           # seconds

RET-TORT (Grisan, Foracchia and Ruggeri, IEEE Trans. Med. Imaging 27 (2008), 310-319):
30 arteries and 30 veins with centre lines drawn by hand (centrelines/NAME.csv: x, y), a
point in about 30 pixels, and the rank that an expert gave each (truth.csv), 1 the least
and 30 the most tortuous of its kind. A cubic spline is laid through the points and
measured as measure.py measures a segment. For each tortuosity: Spearman's correlation
with the rank and its 95 % interval (vessels drawn anew with replacement, percentiles),
then the same for the column of that name that the data set ships. The pictures are not
there, so the bend scale is that of a field of view of 1,100 pixels. One measure is
chosen on the arteries and reported on the veins, and the reverse.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import interpolate, stats

from retina import morphometry
from retina.commands import run
from retina.files import InputError

KINDS = ("artery", "vein")
BEND_SCALE = morphometry.BEND_SCALE[1] * 1100  # pixels
RANK = "clinical_rank_1_least_30_most"
SHIPPED = {
    "arc_over_chord": "shipped_s/chord-1",
    "total_curvature": "shipped_tc",
    "total_squared_curvature": "shipped_tsc",
    "mean_curvature": "shipped_tc/s",
    "squared_curvature": "shipped_tsc/s",
    "curvature_over_chord": "shipped_tc/chord",
    "squared_curvature_over_chord": "shipped_tsc/chord",
}


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of `folder`/truth.csv."""
    path = folder / "truth.csv"
    if not path.is_file():
        raise InputError(
            f"expected ranks in {path}, found no such file: give the folder of RET-TORT"
        )
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_centre_line(path: Path) -> morphometry.Segment:
    """A spline through the points of one vessel, a point a pixel."""
    points = np.loadtxt(path, delimiter=",", skiprows=1)[:, ::-1]  # (row, column)
    steps = morphometry.path_steps(points)
    points = points[np.append(True, steps > 0)]
    along = np.append(0.0, np.cumsum(steps[steps > 0]))
    spline = interpolate.CubicSpline(along, points)
    line = morphometry.space_evenly(spline(np.arange(0, along[-1], 0.25)))
    return morphometry.Segment(line, np.full(len(line), np.nan), ("end", "end"))


def measure_all(folder: Path, rows: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    """Tortuosity -> values (N,) of all vessels."""
    values = []
    for row in rows:
        path = folder / "centrelines" / Path(row["image"]).with_suffix(".csv").name
        segment = read_centre_line(path)
        values.append(morphometry.measure_segment(segment, BEND_SCALE)[0])
    names = morphometry.TORTUOSITY_UNITS
    return {name: np.array([v[name] for v in values], float) for name in names}


def correlate(
    values: np.ndarray, ranks: np.ndarray, draws: np.ndarray
) -> tuple[float, float, float]:
    """Spearman's correlation of values (N,) with ranks (N,), and its 95 % interval.

    Args:
        values: of a tortuosity.
        ranks: of the expert.
        draws: int array of shape (B, N), which vessels each resample holds.
    """
    drawn = [stats.spearmanr(values[draw], ranks[draw])[0] for draw in draws]
    return (stats.spearmanr(values, ranks)[0], *np.percentile(drawn, (2.5, 97.5)))


def print_table(folder: Path, resamples: int, *, rng: np.random.Generator) -> None:
    """Prints the correlations of arteries and veins, and what is chosen on each."""
    rows = read_rows(folder)
    values = measure_all(folder, rows)
    kinds = np.array([row["kind"] for row in rows])
    ranks = np.array([row[RANK] for row in rows], float)
    table = {}
    print(f"{'':30s}" + "".join(f"{k:>9s}  95 % interval shipped" for k in KINDS))
    for name, column in values.items():
        line = f"{name:30s}"
        for kind in KINDS:
            chosen = np.flatnonzero(kinds == kind)
            draws = rng.integers(0, len(chosen), (resamples, len(chosen)))
            found = correlate(column[chosen], ranks[chosen], draws)
            table[name, kind] = found[0]
            shipped = "-"
            if name in SHIPPED:
                other = np.array([rows[i][SHIPPED[name]] for i in chosen], float)
                shipped = f"{stats.spearmanr(other, ranks[chosen])[0]:.3f}"
            line += "{:9.3f}  {:5.3f} to {:5.3f}".format(*found) + f"{shipped:>8s}"
        print(line)
    for chosen_on, reported_on in (KINDS, KINDS[::-1]):
        best = max(values, key=lambda name: table[name, chosen_on])
        print(
            f"chosen on {chosen_on}: {best} ({table[best, chosen_on]:.3f}); "
            f"{reported_on}: {table[best, reported_on]:.3f}"
        )
    print("published: best of twelve 0.908 (arteries) and 0.871 (veins), two different")
    print("ones; arc over chord 0.851 and 0.644")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints how tortuosities agree with an expert's ranking.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="RET_TORT: truth.csv, centrelines/")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="decides the resamples")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    print_table(args.folder, args.resamples, rng=np.random.default_rng(args.seed))


if __name__ == "__main__":
    run(main, "benchmarks.tortuosity", stopped="run the same command again")
