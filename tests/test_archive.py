"""Archives: their lists, parts and stages, these beside predict.py and measure.py, and
all of it on a Ray of this machine."""

import contextlib
import csv
import errno
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import archive
import average
import measure
import predict
from retina.files import InputError
from retina.prediction import Options, load_network
from retina.resolution import Camera, write_camera

pa = pytest.importorskip("pyarrow", reason="requirements/archive.txt brings pyarrow")
from pyarrow import dataset  # noqa: E402

from retina import stages  # noqa: E402
from retina.listing import at_hand, hash_list, list_photographs  # noqa: E402
from retina.parts import READ, Parts  # noqa: E402

ROOT = Path(archive.__file__).parent

# ---- the list


@pytest.fixture
def tree(tmp_path):
    for name in ("b/eye.png", "a.JPG", "b/notes.txt", ".hidden/x.png", "b/.x.png"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"pixels")
    return tmp_path / "tree"


def listed(place):
    table = list_photographs(str(place))
    assert table["number"].to_pylist() == list(range(len(table)))
    columns = ["id", "path", "micrometres_per_pixel"]
    return [tuple(row.values()) for row in table.select(columns).to_pylist()]


def test_a_tree_has_all_its_pictures_in_order(tree):
    names = ("a.JPG", "b/eye.png")
    assert listed(tree) == [(name, f"{tree}/{name}", None) for name in names]
    uri = [(name, f"file://{tree}/{name}", None) for name in names]
    assert listed(f"file://{tree}") == uri


def test_a_glob_takes_what_matches(tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    assert listed("tree/*/e?e.p*") == [("b/eye.png", f"{tree}/b/eye.png", None)]
    assert [name for name, *_ in listed("tree/*")] == ["a.JPG", "b/eye.png"]
    assert listed("tree/b/[a-f]ye.png") == [("eye.png", f"{tree}/b/eye.png", None)]


def test_a_list_may_have_ids_and_scales(tree):
    text = "micrometres_per_pixel,path,id,age\n4.5,b/eye.png,007,3\n,/far/b.png,08,\n"
    (tree / "list.csv").write_text(text)
    expected = [("007", f"{tree}/b/eye.png", 4.5), ("08", "/far/b.png", None)]
    assert listed(tree / "list.csv") == expected


def test_names_may_hold_spaces_quotes_and_commas(tree):
    name = 'b/a "left", ü.png'
    (tree / "b/eye.png").rename(tree / name)
    tree = tree.rename(tree.with_name("my tree, 100% ü"))
    for place in (str(tree), tree.as_uri(), f"{tree.as_uri()}/*"):
        (_, (found, path, _)) = listed(place)
        with at_hand(path) as file:
            assert found == name and file.read_bytes() == b"pixels"
    (tree / "my list.csv").write_text('\ufeffpath\n"b/a ""left"", ü.png"\n')
    assert listed(tree / "my list.csv") == [(name, f"{tree}/{name}", None)]


def test_names_that_are_no_text_are_told(tree):
    (Path(os.fsdecode(bytes(tree) + b"/\xff.png"))).touch()
    with pytest.raises(InputError, match="names in UTF-8 .*xff.png.*: rename"):
        list_photographs(str(tree))


def test_a_list_without_ids_has_its_paths(tree):
    from pyarrow import parquet

    paths = {"path": ["x/1.png", "s3://a/b"]}
    parquet.write_table(pa.table(paths), tree / "l.parquet")
    expected = [("x/1.png", f"{tree}/x/1.png", None), ("s3://a/b", "s3://a/b", None)]
    assert listed(tree / "l.parquet") == expected
    parquet.write_table(pa.table(paths | {"id": [7, None]}), tree / "l.parquet")
    assert [id for id, *_ in listed(tree / "l.parquet")] == ["7", "s3://a/b"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("photo\na.png\n", "row 1 .*: is there a column path"),
        ("path\n", "expected photographs"),
        ("path,id\na.png,1\n,2\n", "row 2 of .*, found an empty cell"),
        ("path;id\na.png;1\n", "row 1 .*parted by commas"),
        ("path,id\na.png,1\nb.png,1\n", "every id once"),
        ("path,micrometres_per_pixel\na.png,-1\n", "0.1 to 1000"),
        ("path,micrometres_per_pixel\na.png,2000\n", "0.1 to 1000"),
        ("path,micrometres_per_pixel\na.png,wide\n", "expected a list"),
        ("path,id\na.png\n", "expected a list"),
    ],
)
def test_a_wrong_list_is_refused(text, message, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        list_photographs(str(tmp_path / "list.csv"))


@pytest.mark.parametrize(
    "place", ["nowhere", "nowhere.csv", "x.zip", "no://where", "x/*", "\udcff"]
)
def test_what_is_no_place_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.zip").touch()
    with pytest.raises(InputError, match="expected (a path|photographs).*: check"):
        list_photographs(place)


def test_ids_paths_and_scales_make_a_list_what_it_is(tmp_path):
    texts = ["path,id\na,1\nb,2\n", "path,id\na,1\nb,3\n", "path,id\na,1\nc,2\n"]
    texts += ["path,id\nb,2\na,1\n", "path,id,micrometres_per_pixel\na,1,2\nb,2,\n"]
    hashes = set()
    for text in texts:
        (tmp_path / "list.csv").write_text(text)
        hashes.add(hash_list(list_photographs(str(tmp_path / "list.csv"))))
    assert len(hashes) == len(texts)


def test_a_photograph_elsewhere_is_copied_for_the_while(tree):
    with at_hand(f"file://{tree}/b/eye.png") as copy:
        assert copy.read_bytes() == b"pixels" and tree not in copy.parents
    assert not copy.exists()
    for other in ("b", "nowhere.png"):  # a folder may hold a terabyte
        with pytest.raises(OSError, match=other), at_hand(f"file://{tree}/{other}"):
            pass
    with at_hand(f"{tree}/b/eye.png") as same:
        assert same == tree / "b/eye.png"


# ---- parts


def rows(numbers, failures=(), columns=READ):
    made = [
        {"number": number, "id": f"photo {number}"}
        | ({"failure": "why"} if number in failures else {"map": b"map %d" % number})
        for number in numbers
    ]
    return pa.Table.from_pylist(made, columns)


@pytest.fixture
def parts(tmp_path):
    parts = Parts(tmp_path / "out")
    with parts.alone():
        parts.begin({"network": "x"}, replace=False)
    return parts


def test_what_is_added_is_there(parts):
    done, failed = parts.read_done(3)
    assert done.tolist() == [False] * 3 and failed == 0
    assert parts.add(rows([2, 0], failures=[2]), done) == (2, 1)
    again, failed = parts.read_done(3)
    assert done.tolist() == again.tolist() == [True, False, True] and failed == 1
    assert parts.read_map("photo 0") == b"map 0"


def test_no_photograph_is_there_twice(parts):
    done, _ = parts.read_done(3)
    parts.add(rows([0, 1]), done)
    assert parts.add(rows([1, 2], failures=[1]), done) == (1, 0)
    assert parts.add(rows([1, 2]), done) == (0, 0)
    assert sorted(read_rows(parts.folder)) == ["photo 0", "photo 1", "photo 2"]


@pytest.mark.parametrize("step", ["write_table", "fsync", "replace"])
def test_a_kill_leaves_a_file_or_none(step, parts, monkeypatch):
    """Of two, the second is cut short as it is written, flushed or moved."""
    done, _ = parts.read_done(2)
    parts.add(rows([0]), done)

    def killed(*args, **options):
        raise KeyboardInterrupt

    places = {
        "write_table": "pyarrow.parquet",
        "fsync": "os",
        "replace": "pathlib.Path",
    }
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"{places[step]}.{step}", killed)
        parts.add(rows([1]), done)
    parts.begin({"network": "x"}, replace=False)
    done, _ = parts.read_done(2)
    assert done.tolist() == [True, False]
    parts.add(rows([1]), done)
    assert sorted(read_rows(parts.folder)) == ["photo 0", "photo 1"]


def test_a_kill_in_the_beginning_can_be_gone_on_with(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("retina.parts.whole_file", killed)
        Parts(tmp_path).begin({}, replace=False)
    Parts(tmp_path).begin({}, replace=False)
    assert not Parts(tmp_path).read_done(1)[0].any()


def test_a_damaged_file_is_told(parts):
    parts.add(rows([0]), np.zeros(2, bool))
    (file,) = parts.folder.glob("rows/*")
    file.write_bytes(file.read_bytes()[:-9])
    for read in (lambda: parts.read_done(2), lambda: parts.read_map("photo 0")):
        with pytest.raises(InputError, match=f"damaged .*{file.name}.*: remove it"):
            read()
    file.unlink()
    assert not parts.read_done(2)[0].any()


def test_a_flipped_bit_in_a_map_is_told(parts):
    pixels = np.random.default_rng(0).bytes(1000)
    made = {"number": 0, "id": "photo 0", "map": pixels}
    parts.add(pa.Table.from_pylist([made], READ), np.zeros(1, bool))
    assert parts.read_map("photo 0") == pixels
    (file,) = parts.folder.glob("rows/*")
    content = bytearray(file.read_bytes())
    content[content.index(pixels[400:420])] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"damaged .*{file.name}.*: remove it"):
        parts.read_map("photo 0")


def test_damaged_settings_are_told(parts):
    for content in ("{", "3", "\0"):
        (parts.folder / "archive.json").write_text(content)
        with pytest.raises(InputError, match="archive.json, but it cannot be read"):
            parts.begin({"network": "x"}, replace=False)
    parts.begin({"network": "x"}, replace=True)


def test_a_full_disk_adds_nothing(parts):
    (parts.folder / ".unfinished").symlink_to("/dev/full")
    done, _ = parts.read_done(1)
    with pytest.raises(OSError, match="No space"):
        parts.add(rows([0]), done)
    assert not done.any() and not list(parts.folder.glob("rows/*"))


def test_another_network_needs_replace(parts):
    done, _ = parts.read_done(1)
    parts.add(rows([0]), done)
    with pytest.raises(InputError, match="expected the network .*, x, .*--replace"):
        parts.begin({"network": "y"}, replace=False)
    assert parts.read_done(1)[0].all()
    parts.begin({"network": "y"}, replace=True)
    assert not parts.read_done(1)[0].any()
    parts.begin({"network": "y"}, replace=False)


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_with_other_files_is_left_alone(replace, tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/mine.parquet").touch()
    with pytest.raises(InputError, match="rows for one"):
        Parts(tmp_path).begin({}, replace)
    assert (tmp_path / "rows/mine.parquet").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        with Parts(tmp_path / "out").alone():
            pass
    assert (tmp_path / "out").read_text() == "mine"


def test_two_do_not_write_at_a_time(tmp_path):
    with Parts(tmp_path / "out").alone():
        with pytest.raises(InputError, match="no other archive.py"):
            with Parts(tmp_path / "out").alone():
                pass


@pytest.mark.parametrize("id, message", [("photo 0", "why"), ("photo 9", "no such id")])
def test_a_map_that_is_not_there_is_told(id, message, parts):
    parts.add(rows([0], failures=[0]), np.zeros(1, bool))
    with pytest.raises(InputError, match=message):
        parts.read_map(id)


def test_a_map_of_an_archive_without_maps_or_of_none_is_told(parts, tmp_path):
    parts.add(
        rows([0], columns=READ.remove(READ.get_field_index("map"))), np.zeros(1, bool)
    )
    with pytest.raises(InputError, match="without --maps"):
        parts.read_map("photo 0")
    with pytest.raises(InputError, match="expected an archive in .*nowhere"):
        Parts(tmp_path / "nowhere").read_map("photo 0")


# ---- stages, beside the commands


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """One that finds vessels, as ONNX, which loads quickly."""
    path = tmp_path_factory.mktemp("onnx") / "drive.onnx"
    average.main([str(ROOT / "models/drive.keras"), "--onnx", str(path)])
    return path


@pytest.fixture(scope="module")
def photographs(phantoms, tmp_path_factory):
    """A list of two photographs, one with a scale, a broken one, and one elsewhere."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "broken.png").write_bytes(b"nothing")
    one, two, three = sorted(phantoms.glob("test/images/*"))
    (folder / "list.csv").write_text(
        f"id,path,micrometres_per_pixel\n1,{one},\n2,broken.png,\n3,{two},2.5\n"
        f"4,file://{three},\n"
    )
    return folder / "list.csv"


@pytest.fixture(scope="module")
def commands(network, phantoms, tmp_path_factory):
    """The folder of predict.py's maps of the same photographs, its rows by name, and
    those of measure.py in pixels and in micrometres."""
    folder = tmp_path_factory.mktemp("commands") / "maps"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        images = [str(path) for path in sorted(phantoms.glob("test/images/*"))]
        predict.main([*images, "--model", str(network), "--output", str(folder)])
        patch.chdir(folder)
        Path("scales.csv").write_text(
            "photograph,micrometres_per_pixel\n01_test,2.5\n02_test,2.5\n03_test,2.5\n"
        )
        measure.main([str(folder), "--output", "px"])
        measure.main([str(folder), "--output", "um", "--calibration", "scales.csv"])
    tables = ("predictions.csv", "px/measurements.csv", "um/measurements.csv")
    return folder, [read_by_name(folder / table) for table in tables]


def read_by_name(path):
    with open(path, newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def job_of(network, **changes):
    known = {"options": Options(), "most_pixels": 10**6, "pictures": ("map", "field")}
    return stages.Job(**(known | {"network": load_network(network)} | changes))


def pass_through(table, job):
    """All stages, one after the other, in this process. Returns the rows by id."""
    predict = stages.Predict(job)
    made = [predict(stages.advance(r, stages.read, job)) for r in table.to_pylist()]
    rows = [stages.finish(pa.Table.from_pylist([row]), job) for row in made]
    return {row["id"]: row for row in pa.concat_tables(rows).to_pylist()}


def read_rows(place):
    """The rows of an archive by id, each there once."""
    rows = dataset.dataset(f"{place}/rows").to_table().to_pylist()
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def require_as_commands(rows, commands):
    """Rows 1, 3 and 4 hold what predict.py and measure.py wrote of the photographs."""
    folder, (predicted, in_pixels, in_micrometres) = commands
    measured = {"1": in_pixels, "3": in_micrometres, "4": in_pixels}
    for id, name in (("1", "01_test"), ("3", "02_test"), ("4", "03_test")):
        row, compared = rows[id], 0
        assert row["map"] == (folder / f"{name}.png").read_bytes()
        assert row["field"] == (folder / f"fields/{name}.png").read_bytes()
        for column, text in predicted[name].items():
            if column not in ("name", "photograph", "seconds"):
                assert str("" if row[column] is None else row[column]) == text, column
        for column, text in measured[id][name].items():
            if column in row and column not in (*predicted[name], "photograph"):
                wanted = float(text) if isinstance(row[column], float) else text or None
                assert (row[column] or None) == (wanted or None), column
                compared += row[column] is not None
        assert compared > 30


def test_rows_and_maps_are_those_of_the_commands(
    photographs, network, commands, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    table = list_photographs(str(photographs))
    rows = pass_through(table, job_of(network))
    require_as_commands(rows, commands)
    assert [row["number"] for row in rows.values()] == [0, 1, 2, 3]
    assert [row["photograph"] for row in rows.values()] == table["path"].to_pylist()
    assert rows["3"]["micrometres_per_pixel"] == 2.5 and rows["1"]["failure"] is None
    assert "cannot be read as one" in rows["2"]["failure"]
    assert rows["2"]["map"] is None and rows["2"]["mean_width_px"] is None


def test_too_many_pixels_are_a_reason(photographs, network, tmp_path, monkeypatch):
    def decode(*_):
        raise AssertionError("a photograph was decoded")

    monkeypatch.setattr("retina.prediction.read_pixels", decode)
    table = list_photographs(str(photographs)).slice(0, 1)
    job = job_of(network, most_pixels=128 * 120 - 1, pictures=())
    row = pass_through(table, job)["1"]
    assert "at most 15359 pixels" in row["failure"] and "120 x 128" in row["failure"]
    assert "map" not in row


def test_a_full_disk_is_no_reason_but_stops_all(photographs, network, tmp_path):
    def full(*_, job):
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        stages.advance({"path": "x.png"}, full, None)


def test_a_network_as_onnx_has_as_many_threads_as_the_cores_given(network, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does for every process
    session = load_network(network).model.session
    assert session.get_session_options().intra_op_num_threads == 1


def test_what_ray_did_twice_counts_once_and_what_it_left_out_is_told(
    parts, monkeypatch, capsys
):
    passes = [[[1], [1]], [[1, 2]]]  # Ray's parts: photograph 2 is left out at first

    def run_stages(photographs, job):
        left.append(photographs["number"].to_pylist())
        for numbers in passes.pop(0):
            yield rows(numbers, failures=[2])

    left, photographs = [], rows([0, 1, 2])
    parts.add(rows([0]), np.zeros(3, bool))
    monkeypatch.setattr(archive, "connect", lambda address: None)
    monkeypatch.setattr(stages, "run_stages", run_stages)
    with pytest.raises(InputError, match="3 rows from Ray, received 2: the same"):
        archive.archive(photographs, None, parts, "local")
    assert archive.archive(photographs, None, parts, "local") == 1
    assert left == [[1, 2], [2]]
    assert "3/3 photographs, 1 failed" in capsys.readouterr().out
    assert sorted(read_rows(parts.folder)) == ["photo 0", "photo 1", "photo 2"]


def test_progress_tells_of_done_failed_speed_and_time_left(parts, monkeypatch, capsys):
    """Two blocks of two photographs of five, of which one is there already."""
    clock = iter([100, 105, 140])  # the first is within ten seconds, and not told
    monkeypatch.setattr(archive.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(archive, "connect", lambda address: None)
    blocks = [rows([1, 2], failures=[2]), rows([3])]
    monkeypatch.setattr(stages, "run_stages", lambda *_: iter(blocks))
    parts.add(rows([0], failures=[0]), np.zeros(5, bool))
    with pytest.raises(InputError, match="5 rows from Ray, received 4"):
        archive.archive(rows(range(5)), None, parts, "local")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "5 photographs, 4 to do"
    assert lines == ["4/5 photographs, 2 failed, 0.07 a second, 0:00:13 left"]


# ---- on Ray


@pytest.fixture
def ray(monkeypatch):
    """Ray, which waits longer than usual for its parts: machines of tests are busy."""
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "300000")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    yield pytest.importorskip("ray", reason="requirements/archive.txt brings Ray")
    __import__("ray").shutdown()


def plan_of(photographs, job, machines):
    """What Ray does for an archive on such machines; not done here."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("ray.cluster_resources", lambda: machines)
        patch.setattr("ray.data.Dataset.iter_batches", lambda it, **_: [it])
        (begun,) = stages.run_stages(photographs, job)
        begun.explain()
    return said.getvalue().rpartition("Physical Plan (Optimized)")[2]


@pytest.mark.parametrize("count, blocks", [(3, 3), (100, 8), (1000, 16)])
def test_a_kill_costs_at_most_64_photographs_a_process(count, blocks, monkeypatch, ray):
    """As many pass through together; fewer where that would leave cores idle."""

    def from_arrow(table, *, override_num_blocks):
        raise LookupError(override_num_blocks)

    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2})
    monkeypatch.setattr("ray.data.from_arrow", from_arrow)
    with pytest.raises(LookupError, match=f"^{blocks}$"):
        next(stages.run_stages(rows(range(count)), None))


def test_an_archive_on_this_machine(
    photographs, network, commands, tmp_path, ray, capsys, monkeypatch
):
    """Whole, gone on with, refused, and one map of it; on GPUs, which are never to wait
    for photographs, reading is a stage of its own."""
    output = tmp_path / "out"
    words = [str(photographs), "--model", str(network), "--output", str(output)]
    with pytest.raises(InputError, match="1 photograph failed"):
        archive.main([*words, "--maps"])
    require_as_commands(read_rows(output), commands)
    said = capsys.readouterr().out
    assert "4 photographs, 4 to do" in said
    assert "4/4 photographs, 1 failed" in said and "0:00:00 left" in said
    assert f"4 rows in {output}/rows" in said
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    told = ray.get(ray.remote(lambda: dict(os.environ)).remote())
    assert archive.ENVIRONMENT.items() <= told.items()
    monkeypatch.setattr(archive, "connect", None)  # no Ray where nothing is to do
    with pytest.raises(InputError, match="1 photograph failed"):
        archive.main([*words, "--maps"])
    assert "4 photographs, 0 to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="maps .*--replace"):
        archive.main(words)
    extract = ["--extract", "3", str(tmp_path / "map.png"), "--output", str(output)]
    archive.main(extract)
    folder, _ = commands
    assert (tmp_path / "map.png").read_bytes() == (folder / "02_test.png").read_bytes()
    for machines in ({"CPU": 2}, {"CPU": 2, "GPU": 1}):
        plan = plan_of(list_photographs(str(photographs)), job_of(network), machines)
        assert "TaskPoolMapOperator[MapBatches(finish)]" in plan
        assert "ActorPoolMapOperator" in plan  # where the network is loaded once
        assert ("TaskPoolMapOperator[Map(advance)]" in plan) == ("GPU" in machines)


def test_options_reach_the_work(photographs, network, tmp_path, monkeypatch):
    """And another camera, limit or list is another archive, which needs --replace."""
    other = tmp_path / "other.csv"
    other.write_text(photographs.read_text().replace("2.5", "2.6"))
    jobs, sha256 = [], load_network(network).sha256
    camera = Camera(540, 115, 128, 120, [], [540, 540], 2, sha256, "today")
    write_camera(tmp_path / "camera.json", camera)
    write_camera(tmp_path / "other.json", replace(camera, shown_diameter=500))
    write_camera(tmp_path / "far.json", replace(camera, network_sha256="f" * 64))
    monkeypatch.setattr(archive, "archive", lambda _, job, *__: jobs.append(job) or 0)
    monkeypatch.chdir(tmp_path)

    def run(*changes, photographs=photographs):
        words = ["--camera", "camera.json", "--max-pixels", "5", "--output", "x"]
        archive.main([str(photographs), "--model", str(network), *words, *changes])

    run()
    assert jobs[0].options.camera.shown_diameter == 540 and jobs[0].most_pixels == 5
    assert jobs[0].options.views == 1 and jobs[0].pictures == ()
    with pytest.raises(InputError, match="expected the camera .*--replace"):
        run("--camera", "other.json")
    with pytest.raises(InputError, match="expected the views .*, 1, received 8"):
        run("--tta")
    with pytest.raises(InputError, match="expected the max_pixels .*--replace"):
        run("--max-pixels", "6")
    with pytest.raises(InputError, match="expected the list .*--replace"):
        run(photographs=other)
    settings = jobs[0].describe(list_photographs(str(photographs)))
    assert settings["network"] == sha256
    with pytest.raises(InputError, match="found one for ffff"):
        run("--camera", "far.json")
    run("--max-pixels", "6", "--replace")
    assert len(jobs) == 2 and jobs[1].most_pixels == 6


def test_without_ray_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(archive, "find_spec", {"pyarrow": 1}.get)
    with pytest.raises(InputError, match="ray is not installed: .*archive.txt"):
        archive.main(["photographs", "--output", "out"])


def test_without_a_cluster_it_says_how_to_start_one(monkeypatch, ray):
    def init(*_, **__):
        raise ConnectionError("nobody there")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(InputError, match="at auto, .*nobody there.*ray start --head"):
        archive.connect("auto")


@pytest.mark.parametrize("words", [[], [""], ["x", "--extract", "1", "x.png"]])
def test_photographs_or_an_id(words, capsys):
    with pytest.raises(SystemExit):
        archive.parse_args([*words, "--output", "x"])
    assert "either photographs or --extract" in capsys.readouterr().err


def test_an_address_is_no_folder(capsys):
    with pytest.raises(SystemExit):
        archive.parse_args(["photographs", "--output", "s3://bucket/out"])
    assert "expected a folder, got the address s3://" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kills(network, ray):
    """Of a network's actor, a node, the command, and all at once."""
    words = "-m benchmarks.archives kills --photographs 24 --kills 1 --model"
    done = subprocess.run(
        [sys.executable, *words.split(), network],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # A short archive may be over before its moment comes: then it is made once more.
    told = r"^(\w+): ([01]) kills, [12] x 24 rows: 0 lost, 0 doubled, 0 differing$"
    kills = dict(re.findall(told, done.stdout, re.MULTILINE))
    assert kills.keys() == {"actor", "node", "command", "all"}, done.stdout
    assert sum(map(int, kills.values())) >= 2


@pytest.mark.slow
def test_what_stops_ray_is_told(photographs, network, tmp_path, monkeypatch, ray):
    """Here the network's file goes before an actor loads it."""
    copy = tmp_path / network.name
    for path in (network, network.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    join = archive.connect
    monkeypatch.setattr(archive, "connect", lambda on: copy.unlink() or join(on))
    words = [str(photographs), "--model", str(copy), "--output", str(tmp_path / "x")]
    with pytest.raises(InputError, match="it stopped .*the same command goes on"):
        archive.main(words)
    assert not list((tmp_path / "x/rows").glob("*/*"))
