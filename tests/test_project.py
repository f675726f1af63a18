"""What holds for the project as a whole: its arrows, and its commands as users type
them."""

import ast
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "train",
    "predict",
    "evaluate",
    "check",
    "measure",
    "average",
    "phantom",
}
FIRST_READ = {"unet", "augment"}  # at the top too, though they are imported
# From the ground up: what stands in a line imports from the lines above it alone.
FLOORS = (
    {"files", "metrics", "morphometry", "muon", "phantoms"},
    {"pictures", "networks", "history", "report"},
    {"field_of_view", "tiling", "maps"},
    {"quality", "resolution", "datasets"},
    {"prediction"},
)


def imports_of(path):
    """The project's modules that a file imports anywhere, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "retina":
            modules |= {f"retina.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    return modules


def test_at_the_top_stand_the_commands_and_what_a_student_reads_first():
    assert {path.stem for path in ROOT.glob("*.py")} == COMMANDS | FIRST_READ


@pytest.mark.parametrize("name", sorted(COMMANDS | FIRST_READ))
def test_commands_meet_on_disk_and_never_import_each_other(name):
    assert not imports_of(ROOT / f"{name}.py") & COMMANDS


def test_what_is_shared_stands_on_floors_and_imports_downwards_alone():
    assert set().union(*FLOORS) == {
        path.stem for path in (ROOT / "retina").glob("[!_]*.py")
    }
    for level, floor in enumerate(FLOORS):
        below = {f"retina.{name}" for lower in FLOORS[:level] for name in lower}
        for name in floor:
            imports = imports_of(ROOT / "retina" / f"{name}.py")
            assert not imports & (COMMANDS | FIRST_READ), name
            ours = {module for module in imports if module.startswith("retina.")}
            assert ours <= below, name


def test_tensorflow_stands_where_keras_cannot_do_the_work():
    paths = [*ROOT.glob("*.py"), *ROOT.glob("retina/*.py")]
    backends = {"tensorflow", "torch", "jax"}
    # Batch normalisation in one operation a pass, in unet.FusedBatchNormalization.
    assert [path.stem for path in paths if imports_of(path) & backends] == ["unet"]


def run(command, folder):
    """Runs a command of the README in `folder`. Returns what it said and its status."""
    words = command.split()
    words[:1] = [sys.executable, str(ROOT / words[0])]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def test_the_commands_of_the_card(phantoms, tmp_path):
    """Trains, predicts and evaluates just as a newcomer does, with tiny numbers."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input/DRIVE").symlink_to(phantoms)
    for command in (
        f"train.py --augment --validation 1 {' '.join(TINY)}",
        "predict.py",
        "evaluate.py",
    ):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())  # lines are wrapped
    assert "AUC ROC" in printed and "inside the field of view" in printed
    assert "no case trained the network" in printed
    folder = tmp_path / "output/default-scratch-augment"
    for name in ("report.html", "metrics.json", "curves.png", "01_test.png"):
        assert (folder / name).stat().st_size > 100


def test_held_out_photographs_are_scored_where_test_labels_are_missing(
    trained, phantoms, tmp_path
):
    tree = shutil.copytree(phantoms, tmp_path / "input/DRIVE")
    shutil.rmtree(tree / "test/1st_manual")
    shutil.copytree(trained, tmp_path / "models")
    assert run("predict.py", tmp_path).returncode == 0
    refused = run("evaluate.py", tmp_path)
    assert refused.returncode != 0 and "--split held-out" in refused.stderr
    assert run("predict.py --split held-out", tmp_path).returncode == 0
    scored = run("evaluate.py --split held-out", tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert "held-out split" in scored.stdout and "1 photograph" in scored.stdout


@pytest.mark.parametrize(
    "command, message",
    [
        ("train.py", "on registration"),
        ("train.py --data nowhere", "nowhere"),
        ("train.py --patch-side 7", "multiple of 16"),
        ("predict.py", "run train.py first"),
        ("evaluate.py", "run predict.py first"),
        ("check.py", "on registration"),
        ("phantom.py x --cases 1", "cases"),
    ],
)
def test_mistakes_get_one_sentence_and_no_traceback_at_once(command, message, tmp_path):
    began = time.perf_counter()
    done = run(command, tmp_path)
    seconds = time.perf_counter() - began
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not list(tmp_path.iterdir())
    assert seconds < 2  # TensorFlow alone takes longer to import


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_does_not_wait_for_heavy_imports(command, tmp_path):
    script = (
        f"import sys, {command}\n"
        f"try: {command}.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported too early: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "default" in done.stdout
