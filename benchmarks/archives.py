"""What archive.py costs beside predict.py and measure.py, and what kills do to it.

    python -m benchmarks.archives costs --photographs 60 2000
    python -m benchmarks.archives growth --photographs 500 5000   # archive.py alone
    python -m benchmarks.archives nodes --photographs 60 300      # 1 and 2 of one core
    python -m benchmarks.archives kills --photographs 200 --kills 5
    python -m benchmarks.archives kills --photographs 24 --kills 1   # cheap: a test

Photographs are phantoms, drawn once and copied under other names. Seconds of processors
and memory are those of all processes of a command together; what one photograph costs
is the slope between the least and the largest number. Nodes are those of
`ray.cluster_utils.Cluster`, on this machine. Kills fall at random moments: of a
network's actor, of a node, of the command, and of all that is there; then the same
command goes on, and at the end its rows are compared with those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image
from pyarrow import dataset

from retina import phantoms

ROOT = Path(__file__).parents[1]
# Milliseconds and seconds after which Ray gives a part of it up: machines may be busy.
PATIENCE = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_health_check_timeout_ms": "120000",
}
KINDS = ("actor", "node", "command", "all")
BECOME_SUBREAPER = 36  # prctl: who waits for processes whose parents have ended


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="What archive.py costs, and what kills do to it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("what", choices=("costs", "growth", "nodes", "kills"))
    add("--photographs", type=int, nargs="+", default=[500, 5000], help="how many")
    add("--side", type=int, default=128, help="of the phantoms, pixels")
    add("--model", type=Path, default=Path("models/drive.keras"), help="the network")
    add("--kills", type=int, default=5, help="of each kind")
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is killed")
    add("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args(argv)


def draw(folder: Path, count: int, side: int) -> Path:
    """A folder of so many phantoms, 20 of them different."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06d}.png"
        if number < 20:
            image = phantoms.draw_phantom(
                rng=np.random.default_rng(number), height=side, width=side
            ).image
            Image.fromarray(np.uint8(image * 255)).save(path)
        else:
            path.write_bytes((folder / f"{number % 20:06d}.png").read_bytes())
    return folder


# ---- costs


class Cost(NamedTuple):
    """Seconds of the clock; seconds of processors, all of them and those of the command
    itself; and the largest memory, MB."""

    seconds: float
    processors: float
    command: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:.3f} s, {self.processors:.3f} s of processors, "
            f"{self.command:.4f} s of the command, {self.memory:.0f} MB"
        )


def sample(processors: dict[int, int]) -> int:
    """Notes the seconds of processors that each process begun by this one has taken.

    Returns:
        MB that they have together; what they share counts once.
    """
    words = ["ps", "-eo", "pid,ppid,pss,cputimes", "--no-headers"]
    lines = subprocess.check_output(words, text=True).splitlines()
    rows = {pid: rest for pid, *rest in (map(int, line.split()) for line in lines)}

    def is_own(pid: int) -> bool:
        parent = rows[pid][0] if pid in rows else 0
        return parent == os.getpid() or (parent > 0 and is_own(parent))

    own = {pid: rest for pid, rest in rows.items() if is_own(pid)}
    processors |= {pid: seconds for pid, (_, _, seconds) in own.items()}
    return sum(size for _, size, _ in own.values()) // 1000


def run(*words: object) -> Cost:
    """Runs a command of the project to its end, with all that it begins."""
    began, processors, most = time.perf_counter(), {}, 0
    with subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT) as command:
        while command.poll() is None:
            most = max(most, sample(processors))
            time.sleep(2)
    if command.returncode:
        sys.exit(f"{words[0]} failed")
    seconds, all_of_them = time.perf_counter() - began, sum(processors.values())
    return Cost(seconds, all_of_them, processors[command.pid], most)


def run_archive(images: Path, folder: Path, model: Path) -> Cost:
    return run("archive.py", images, "--model", model, "--output", folder / "archive")


def run_commands(images: Path, folder: Path, model: Path) -> Cost:
    maps = folder / "maps"
    predicted = run("predict.py", images, "--model", model, "--output", maps)
    measured = run("measure.py", maps)
    *added, _ = np.add(predicted, measured).tolist()
    return Cost(*added, max(predicted.memory, measured.memory))


def print_costs(folder: Path, args: argparse.Namespace) -> None:
    """Costs for each number of photographs, and of one photograph more."""
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    ways = {"archive.py": run_archive}
    if args.what == "costs":
        ways["predict.py and measure.py"] = run_commands
    costs = {way: [] for way in ways}
    for count in args.photographs:
        images = draw(folder / f"images{count}", count, args.side)
        for way, begin in ways.items():
            cost = begin(images, folder / f"{count}", args.model)
            costs[way].append(cost)
            print(f"{way}: {count}: {cost}", flush=True)
    more = args.photographs[-1] - args.photographs[0]
    for way, (first, *_, last) in costs.items():
        each = np.subtract(last, first) / more
        print(f"{way}: one photograph more: {Cost(*each)}")


# ---- nodes and kills


class Machines:
    """A cluster on this machine: a head that computes nothing, and nodes of a core and
    of a GPU in name, beside which reading is a stage of its own."""

    def __init__(self, count: int):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add_node() for _ in range(count)]

    def add_node(self):
        return self.cluster.add_node(num_cpus=1, num_gpus=1)

    def kill_node(self, rng: np.random.Generator) -> None:
        """Kills a node, and begins another in its place."""
        node = self.nodes.pop(rng.integers(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self.add_node())

    def kill_actor(self, rng: np.random.Generator) -> bool:
        """Kills the process of a network; False where there is none."""
        nodes = [n.all_processes["raylet"][0].process.pid for n in self.nodes]
        listing = subprocess.check_output(["ps", "-eo", "pid,ppid,args"], text=True)
        lines = [line.split(None, 2) for line in listing.splitlines()[1:]]
        actors = [
            int(pid)
            for pid, parent, name in lines
            if int(parent) in nodes and name.startswith("ray::MapWorker")
        ]
        if actors:
            os.kill(int(rng.choice(actors)), signal.SIGKILL)
        return bool(actors)

    def kill_all(self) -> None:
        for node in (*self.nodes, self.cluster.head_node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def start(images: Path, output: Path, model: Path, machines: Machines):
    words = ["archive.py", images, "--output", output, "--model", model, "--maps"]
    words += ["--address", machines.cluster.address]
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT)


def finish(*words) -> float:
    """Runs an archive to its end. Returns seconds."""
    began = time.perf_counter()
    if status := start(*words).wait():
        sys.exit(f"archive.py failed with status {status}")
    return time.perf_counter() - began


def read_rows(output: Path) -> list[dict]:
    """All rows, as any reader sees them; but for seconds, which differ."""
    rows = dataset.dataset(output / "rows", format="parquet").to_table()
    return rows.drop_columns(["seconds"]).to_pylist() if rows.num_rows else []


def kill_often(
    kind: str,
    count: int,
    words: tuple[Path, Path, Path],
    photographs: int,
    rng: np.random.Generator,
) -> int:
    """Makes an archive, with kills while it has some of its rows. Returns how many."""
    output, killed = words[1], 0
    last = 1 if kind == "actor" else photographs * 3 // 4  # networks are done early
    targets = sorted(rng.integers(0, last, count).tolist())
    machines = Machines(2)
    command = start(*words, machines)
    while command.poll() is None:
        rows = len(read_rows(output)) if (output / "rows").is_dir() else 0
        time.sleep(rng.uniform(0, 2))
        if killed == count or rows < targets[killed] or command.poll() is not None:
            continue
        if kind == "actor" and not machines.kill_actor(rng):
            continue  # the network is not there yet
        killed += 1
        print(f"{kind} {killed} killed after {rows} rows", flush=True)
        if kind == "node":
            machines.kill_node(rng)
        if kind in ("command", "all"):
            command.kill()
            command.wait()
        if kind == "all":
            machines.kill_all()
            machines = Machines(2)
        if kind in ("command", "all"):
            command = start(*words, machines)
    machines.cluster.shutdown()
    if command.returncode:
        sys.exit(f"archive.py ended with status {command.returncode}")
    return killed


def print_kills(folder: Path, args: argparse.Namespace) -> None:
    """For each kind of kill: how many rows are lost, doubled, or differ."""
    (count,) = args.photographs[:1]
    images, rng = (
        draw(folder / "images", count, args.side),
        np.random.default_rng(args.seed),
    )
    machines = Machines(2)
    finish(images, folder / "whole", args.model, machines)
    machines.cluster.shutdown()
    whole = {row["id"]: row for row in read_rows(folder / "whole")}
    for kind in args.kinds:
        words = (images, folder / kind, args.model)
        killed = kill_often(kind, args.kills, words, count, rng)
        rows = read_rows(folder / kind)
        ids = [row["id"] for row in rows]
        lost, doubled = whole.keys() - set(ids), len(ids) - len(set(ids))
        differing = sum(row != whole[row["id"]] for row in rows)
        told = f"{len(lost)} lost, {doubled} doubled, {differing} differing"
        print(f"{kind}: {killed} kills, {len(rows)} rows: {told}", flush=True)


def print_nodes(folder: Path, args: argparse.Namespace) -> None:
    """Seconds of the clock on one node of one core, and on two."""
    for photographs in args.photographs:
        images = draw(folder / f"images{photographs}", photographs, args.side)
        for count in (1, 2):
            machines = Machines(count)
            output = folder / f"{photographs}-{count}"
            seconds = finish(images, output, args.model, machines)
            machines.cluster.shutdown()
            told = f"{photographs} photographs, {count} nodes: {seconds:.1f} s"
            print(told, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.model = args.model.absolute()
    os.environ |= PATIENCE
    with TemporaryDirectory() as name:
        folder = Path(name)
        if args.what in ("costs", "growth"):
            print_costs(folder, args)
        elif args.what == "nodes":
            print_nodes(folder, args)
        else:
            print_kills(folder, args)


if __name__ == "__main__":
    main()
