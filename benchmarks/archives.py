"""What archive.py costs beside predict.py and measure.py, and what kills do to it.

    python -m benchmarks.archives costs --photographs 60 2000
    python -m benchmarks.archives growth --photographs 500 5000   # archive.py alone
    python -m benchmarks.archives nodes --photographs 60 300      # 1 and 2 of one core
    python -m benchmarks.archives kills --photographs 200 --kills 5 --kinds node all
    python -m benchmarks.archives kills --photographs 24 --kills 1   # cheap: a test

Photographs are phantoms, drawn once and copied under other names. Seconds of processors
and memory are those of all processes of a command together, and of the command alone;
what one photograph costs is the slope from each number of photographs to the next.
Nodes are those of `ray.cluster_utils.Cluster`, on this machine. Kills fall at random
moments: of a network's actor, of a node, of the command, and of all that is there; then
the same command goes on, and at the end its rows are compared with those of an
undisturbed run. Archives are made until there were as many kills as asked for.
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
    add("--scale", type=float, help="as in archive.py; small ones spare the network")
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
    """Seconds of the clock; seconds of processors and the largest memory, MB, of all
    processes together, and of the command's own."""

    seconds: float
    processors: float
    memory: float
    own_processors: float
    own_memory: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.3f} s, {self.processors:.3f} s of processors, "
            f"{self.memory:.4g} MB; of the command {self.own_processors:.4f} s, "
            f"{self.own_memory:.4g} MB"
        )


def sample() -> dict[int, tuple[int, int]]:
    """Seconds of processors so far, and memory, kB, of each process begun by this one;
    what they share counts once."""
    words = ["ps", "-eo", "pid,ppid,cputimes,pss", "--no-headers"]
    lines = subprocess.check_output(words, text=True).splitlines()
    rows = {pid: rest for pid, *rest in (map(int, line.split()) for line in lines)}

    def is_own(pid: int) -> bool:
        parent = rows[pid][0] if pid in rows else 0
        return parent == os.getpid() or (parent > 0 and is_own(parent))

    return {pid: (rest[1], rest[2]) for pid, rest in rows.items() if is_own(pid)}


def run(*words: object) -> Cost:
    """Runs a command of the project to its end, with all that it begins."""
    began, processors, memory, own_memory = time.perf_counter(), {}, 0, 0
    with subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT) as command:
        while command.poll() is None:
            now = sample()
            processors |= {pid: seconds for pid, (seconds, _) in now.items()}
            memory = max(memory, sum(size for _, size in now.values()))
            own_memory = max(own_memory, now.get(command.pid, (0, 0))[1])
            time.sleep(2)
    if command.returncode:
        sys.exit(f"{words[0]} failed")
    seconds, own = time.perf_counter() - began, processors.get(command.pid, 0)
    total = sum(processors.values())
    return Cost(seconds, total, memory / 1000, own, own_memory / 1000)


def run_archive(images: Path, folder: Path, options: Sequence[str]) -> Cost:
    return run("archive.py", images, *options, "--output", folder / "archive")


def run_commands(images: Path, folder: Path, options: Sequence[str]) -> Cost:
    """Of the two together; the larger memory."""
    predicted = run("predict.py", images, *options, "--output", folder / "maps")
    measured = run("measure.py", folder / "maps")
    both = Cost(*np.add(predicted, measured).tolist())
    _, _, memory, _, own_memory = np.maximum(predicted, measured).tolist()
    return both._replace(memory=memory, own_memory=own_memory)


def print_costs(folder: Path, args: argparse.Namespace) -> None:
    """Costs for each number of photographs, and of one photograph more."""
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    ways = {"archive.py": run_archive}
    if args.what == "costs":
        ways["predict.py and measure.py"] = run_commands
    before = {}
    for count in args.photographs:
        images = draw(folder / f"images{count}", count, args.side)
        for way, begin in ways.items():
            cost = begin(images, folder / f"{count}", args.options)
            print(f"{way}: {count}: {cost}", flush=True)
            if way in before:
                fewer, less = before[way]
                each = Cost(*np.subtract(cost, less) / (count - fewer))
                print(f"{way}: from {fewer} on, one photograph more: {each}")
            before[way] = count, cost


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

    def start(
        self, images: Path, output: Path, options: Sequence[str]
    ) -> subprocess.Popen:
        """Begins an archive on them."""
        words = [sys.executable, "archive.py", images, "--output", output, *options]
        words += ["--maps", "--address", self.cluster.address]
        return subprocess.Popen(words, cwd=ROOT)

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


def make(machines: Machines, *words: object) -> float:
    """Makes an archive, and ends the machines. Returns seconds of the clock."""
    began = time.perf_counter()
    status = machines.start(*words).wait()
    seconds = time.perf_counter() - began
    machines.cluster.shutdown()
    if status:
        sys.exit(f"archive.py ended with status {status}")
    return seconds


def open_rows(output: Path) -> dataset.Dataset:
    """The rows, as any reader sees them."""
    return dataset.dataset(output / "rows", format="parquet")


def read_rows(output: Path) -> list[dict]:
    """All rows, but for seconds, which differ."""
    return open_rows(output).to_table().drop_columns(["seconds"]).to_pylist()


def make_with_kills(
    kind: str, targets: list[int], rng: np.random.Generator, *words: object
) -> int:
    """Makes an archive, with a kill after each of these numbers of rows. Returns how
    many kills there were, fewer where it was done before."""
    output, killed, machines = words[1], 0, Machines(2)
    command = machines.start(*words)
    while command.poll() is None:
        rows = open_rows(output).count_rows() if (output / "rows").is_dir() else 0
        time.sleep(rng.uniform(0, 2))
        if (
            killed == len(targets)
            or rows < targets[killed]
            or command.poll() is not None
        ):
            continue
        if kind == "actor" and not machines.kill_actor(rng):
            continue  # the network is not there yet
        killed += 1
        print(f"{kind} killed after {rows} rows", flush=True)
        if kind == "node":
            machines.kill_node(rng)
        if kind in ("command", "all"):
            command.kill()
            command.wait()
            if kind == "all":
                machines.kill_all()
                machines = Machines(2)
            command = machines.start(*words)
    machines.cluster.shutdown()
    if command.returncode:
        sys.exit(f"archive.py ended with status {command.returncode}")
    return killed


def print_kills(folder: Path, args: argparse.Namespace) -> None:
    """For each kind of kill: how many rows are lost, doubled, or differ."""
    count, rng = args.photographs[0], np.random.default_rng(args.seed)
    images, whole = draw(folder / "images", count, args.side), folder / "whole"
    make(Machines(2), images, whole, args.options)
    whole = {row["id"]: row for row in read_rows(whole)}
    for kind in args.kinds:
        last = 1 if kind == "actor" else count * 3 // 4  # networks are done early
        killed, made, lost, doubled, differing = 0, 0, 0, 0, 0
        while killed < args.kills and made < 2 * args.kills:
            output, made = folder / f"{kind}{made}", made + 1
            targets = sorted(rng.integers(0, last, args.kills - killed).tolist())
            words = (images, output, args.options)
            killed += make_with_kills(kind, targets, rng, *words)
            rows = read_rows(output)
            ids = {row["id"] for row in rows}
            lost += len(whole.keys() - ids)
            doubled += len(rows) - len(ids)
            differing += sum(row != whole[row["id"]] for row in rows)
        told = f"{lost} lost, {doubled} doubled, {differing} differing"
        print(f"{kind}: {killed} kills, {made} x {count} rows: {told}", flush=True)


def print_nodes(folder: Path, args: argparse.Namespace) -> None:
    """Seconds of the clock on one node of one core, and on two."""
    for photographs in args.photographs:
        images = draw(folder / f"images{photographs}", photographs, args.side)
        for count in (1, 2):
            output = folder / f"{photographs}-{count}"
            seconds = make(Machines(count), images, output, args.options)
            told = f"{photographs} photographs, {count} nodes: {seconds:.1f} s"
            print(told, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.options = ["--model", str(args.model.absolute())]
    if args.scale:
        args.options += ["--scale", str(args.scale)]
    os.environ |= PATIENCE
    tell = {"kills": print_kills, "nodes": print_nodes}.get(args.what, print_costs)
    with TemporaryDirectory() as name:
        tell(Path(name), args)


if __name__ == "__main__":
    main()
