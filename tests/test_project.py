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
VERBS = {"train", "average", "predict", "evaluate", "measure", "phantom"}
NOUNS = {
    "unet",
    "augment",
    "datasets",
    "tiling",
    "metrics",
    "curves",
    "field_of_view",
    "report",
    "morphometry",
    "muon",
    "networks",
}
# A noun imports no other noun, but for what stands here.
NOUNS_OF_NOUNS = {
    "curves": {"datasets"},
    "datasets": {"field_of_view"},
    "networks": {"datasets"},
    "report": {"datasets"},
}


def imports_of(name):
    """The modules that a file imports anywhere, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module.split(".")[0])
    return modules


def test_every_file_is_a_verb_or_a_noun():
    assert {path.stem for path in ROOT.glob("*.py")} == VERBS | NOUNS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_verbs_never_import_verbs(verb):
    assert not imports_of(verb) & VERBS


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_nouns_import_no_verb_and_no_other_noun(noun):
    assert not imports_of(noun) & VERBS
    assert imports_of(noun) & NOUNS <= NOUNS_OF_NOUNS.get(noun, set())


def test_tensorflow_stands_where_keras_cannot_do_the_work():
    backends = {"tensorflow", "torch", "jax"}
    found = {name: imports_of(name) & backends for name in VERBS | NOUNS}
    # Batch normalisation in one operation a pass, in unet.FusedBatchNormalization.
    assert {name for name in found if found[name]} == {"unet"}


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
        ("datasets.py", "on registration"),
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


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_does_not_wait_for_heavy_imports(verb, tmp_path):
    script = (
        f"import sys, {verb}\n"
        f"try: {verb}.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported too early: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "default" in done.stdout
