"""What holds for the project as a whole: its arrows, and its commands as users type
them."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

import evaluate
import predict
from retina.files import InputError

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "train",
    "predict",
    "evaluate",
    "check",
    "measure",
    "average",
    "phantom",
    "serve",
    "archive",
}
FIRST_READ = {"unet", "augment"}  # at the top too, though they are imported
# From the ground up: what stands in a line imports from the lines above it alone.
FLOORS = (
    {"files", "metrics", "morphometry", "muon", "phantoms", "recipes"},
    {"archives", "commands", "figures", "history", "onnx_networks"}
    | {"pictures", "profiles", "report"},
    {"checkpoints", "field_of_view", "identity", "labels", "listing", "tiling"},
    {"datasets", "maps", "networks", "parts", "quality", "resolution"},
    {"corrections", "prediction", "protocol", "training_set"},
    {"cameras", "measurements", "scoring", "worklist"},
    {"session", "stages"},
    {"web"},
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
            shared = {name for name in imports if name.startswith("retina.")}
            assert shared <= below | {"retina.__version__"}, name


def test_tensorflow_stands_where_keras_cannot_do_the_work():
    paths = [*ROOT.glob("*.py"), *ROOT.glob("retina/*.py")]
    backends = {"tensorflow", "torch", "jax"}
    # Batch normalisation in one operation a pass, in unet.FusedBatchNormalization.
    assert [path.stem for path in paths if imports_of(path) & backends] == ["unet"]


def run(command, folder, **variables):
    """Runs a command of the README in `folder`. Returns what it said and its status."""
    words = command.split()
    words[:1] = [sys.executable, str(ROOT / words[0])]
    env = os.environ | variables
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


def beside_the_shipped_network(folder):
    """A folder with models/vessels.keras, as a fresh clone has it."""
    (folder / "models").mkdir()
    for ending in ("keras", "json"):
        shutil.copy(ROOT / "models" / f"vessels.{ending}", folder / "models")
    return folder


def test_the_three_commands_of_the_readme(phantoms, tmp_path, monkeypatch):
    """Trains, predicts and evaluates just as a newcomer does, with tiny numbers; the
    network that was trained is taken, and not the one that is shipped.

    An old ~/.keras/keras.json, which Keras writes once and reads ever after, names
    another backend: it is not heeded.
    """
    folder = beside_the_shipped_network(tmp_path)
    (folder / "keras.json").write_text('{"backend": "theano"}')
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (folder / "input").mkdir()
    (folder / "input/DRIVE").symlink_to(phantoms)
    for command in (
        f"train.py --augment --validation 1 {' '.join(TINY)}",
        "predict.py",
        "evaluate.py",
    ):
        done = run(command, folder, KERAS_HOME=str(folder))
        assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())  # lines are wrapped
    assert "AUC ROC" in printed and "inside the field of view" in printed
    assert "no case is, pixel for pixel, one that trained the network" in printed
    maps = folder / "output/default-scratch-augment"
    for name in ("report.html", "metrics.json", "curves.png"):
        assert (maps / "report" / name).stat().st_size > 100
    assert (maps / "01_test.png").stat().st_size > 100


def demo_commands():
    """What `make demo` runs, without the drawing and with tiny numbers."""
    recipe = (ROOT / "Makefile").read_text().split("demo: ")[1].split("\n\n")[0]
    recipe = recipe.replace("\\\n", " ")
    lines = [line.split("$(RUN)")[1] for line in recipe.splitlines() if "RUN" in line]
    commands = [" ".join(line.split()) for line in lines]
    assert [words.split()[0] for words in commands] == [
        "phantom.py",
        "train.py",
        "predict.py",
        "evaluate.py",
    ]
    return [commands[1] + f" {' '.join(TINY)}", *commands[2:]]


@pytest.mark.slow
def test_after_the_demo_the_shipped_network_is_still_taken(phantoms, tmp_path):
    folder = beside_the_shipped_network(tmp_path)
    (folder / "input").mkdir()
    (folder / "input/PHANTOM").symlink_to(phantoms)
    for command in [*demo_commands(), *demo_commands()]:
        done = run(command, folder)
        assert done.returncode == 0, done.stderr
    assert (folder / "output/demo/maps/report/report.html").stat().st_size > 100
    shutil.copy(phantoms / "test/images/01_test.tif", folder / "photo.tif")
    done = run("predict.py photo.tif", folder)
    assert done.returncode == 0, done.stderr
    assert "models/vessels.keras, made 2026-11-26" in done.stdout
    assert (folder / "output/vessels/photo.png").is_file()


def test_held_out_photographs_are_scored_where_test_labels_are_missing(
    trained, phantoms, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tree = shutil.copytree(phantoms, tmp_path / "input/DRIVE")
    shutil.rmtree(tree / "test/1st_manual")
    shutil.copytree(trained, tmp_path / "models")
    predict.main([])
    with pytest.raises(InputError, match="--split held-out"):
        evaluate.main([])
    predict.main(["--split", "held-out"])
    evaluate.main(["--split", "held-out"])
    printed = capsys.readouterr().out
    assert "held-out split" in printed and "1 photograph" in printed


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
        ("archive.py nowhere --output x", "nowhere"),
    ],
)
def test_mistakes_get_one_sentence_and_no_traceback_at_once(command, message, tmp_path):
    began = os.times()
    done = run(command, tmp_path)
    ended = os.times()
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not list(tmp_path.iterdir())
    # Of processor time, as others may use it too; TensorFlow alone takes longer.
    seconds = sum(ended[2:4]) - sum(began[2:4])
    assert seconds < 2


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_that_is_missing_gets_a_sentence(backend, tmp_path):
    (tmp_path / f"{backend}.py").write_text(
        f"raise ModuleNotFoundError('No module named {backend}', name='{backend}')"
    )
    paths = {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": backend}
    photograph, model = ROOT / "docs/example.png", ROOT / "models/vessels.keras"
    done = subprocess.run(
        [sys.executable, ROOT / "predict.py", photograph, "--model", model],
        cwd=tmp_path,
        env=os.environ | paths,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"predict.py: expected the package {backend}, which is not")
    assert last.endswith("or unset KERAS_BACKEND, and TensorFlow is taken")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_backend_that_is_not_known_gets_a_sentence(command, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    done = run(f"{command}.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"{command}.py: expected KERAS_BACKEND to be tensorflow, jax or torch, "
        "received 'theano': unset it, and TensorFlow is taken\n"
    )


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
    assert not re.search(r"default:\s+(None|False|\[\]|\))", done.stdout)


# ---- documents


DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(path for path in ROOT.glob("*/*.md") if not path.parent.name.startswith(".")),
]


def anchors_of(path):
    """The names of a document's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings
    }


def commands_in(text):
    """The command lines in a document's blocks and code spans: command, options."""
    text = re.sub(r"\\\n\s*", "", text)
    # A name without a folder: `cross_validate` and its like have options of their own.
    pattern = r"(?<![\w/])(\w+)\.py((?: +[^`\n#]+)?)"
    for name, rest in re.findall(pattern, text):
        if name in COMMANDS:
            yield name, re.findall(r"(?<=\s)--[a-z-]+", rest)


@pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_in_documents_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_options_in_documents_exist(path, capsys):
    if path.name == "log.md":  # commands of their time
        return
    for name, options in commands_in(path.read_text()):
        with pytest.raises(SystemExit):
            importlib.import_module(name).parse_args(["--help"])
        told = capsys.readouterr().out
        assert "default: [" not in told and "default: (" not in told, name
        known = set(re.findall(r"--[a-z-]+", told))
        assert set(options) <= known, name


def test_the_readme_names_each_module_once_and_is_short():
    text = (ROOT / "README.md").read_text()
    files = text.split("## Files")[1].split("##")[0]
    named = re.findall(r"`(\w+)(?:\.py)?`", files.split("`--data")[0])
    modules = [*ROOT.glob("*.py"), *ROOT.glob("retina/[!_]*.py")]
    assert sorted(named) == sorted(path.stem for path in modules)
    assert len(text.splitlines()) <= 130


def test_the_benchmarks_are_all_described():
    text = (ROOT / "benchmarks/README.md").read_text()
    scripts = [path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")]
    assert sorted(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == sorted(scripts)


def test_every_measure_is_defined():
    from retina import morphometry, profiles, report

    text = (ROOT / "docs/measures.md").read_text()
    scores = [*report.MEASURES, *report.TOPOLOGY]
    columns = morphometry.PHOTOGRAPH_UNITS | morphometry.SEGMENT_UNITS | profiles.UNITS
    assert not [name for name in (*scores, *columns) if f"`{name}`" not in text]
