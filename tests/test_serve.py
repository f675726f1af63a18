"""The local page: who may ask it, what it does with what it gets, and that its files
are those of predict.py and measure.py."""

import csv
import errno
import io
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from starlette.testclient import TestClient

import measure
import predict
import serve
from retina import maps
from retina.files import InputError, fingerprint
from retina.networks import Network, read_record
from retina.pictures import read_pixels
from retina.prediction import Options, draw_overlay, load_network
from retina.resolution import Camera, write_camera
from retina.session import Session, plain_name
from retina.web import make_app

ROOT = Path(__file__).parent.parent
HERE = "http://127.0.0.1:8000"
OWN = {"Origin": HERE}
OPTIONS = Options(vessels=True, overlay=True)


SHIPPED = ROOT / "models/vessels.keras"


@pytest.fixture(scope="module")
def shipped():
    return load_network(SHIPPED)


class Darkness:
    """Takes for vessels what is darker than its surroundings: fast, and often right."""

    def predict_on_batch(self, tiles):
        around = ndimage.uniform_filter(tiles, (0, 31, 31, 0))
        return np.clip(20 * (around - tiles), 0, 1)[..., 1:2]


@pytest.fixture(scope="module")
def network():
    return Network(SHIPPED, Darkness(), "a" * 64, read_record(SHIPPED))


@pytest.fixture(scope="module")
def photographs(phantoms):
    return sorted((phantoms / "test/images").iterdir())


@contextmanager
def page(folder, network, options=OPTIONS, **more):
    """A browser at the page of a session that works, as `serve.serve` has it."""
    session = Session(folder, network, options, **more)
    worker = threading.Thread(target=session.work)
    worker.start()
    about = {"definitions": serve.read_definitions()}
    app = make_app(session, ROOT / "page", about, 8000)
    try:
        yield TestClient(app, base_url=HERE, headers=OWN), session
    finally:
        session.stop()
        worker.join()


def upload(client, path, name=None):
    name = path.name if name is None else name
    return client.post("/photographs", params={"name": name}, content=path.read_bytes())


def listed(client):
    """The photographs by name, once all is done."""
    for _ in range(6000):
        items = client.get("/photographs").json()
        if not any(item["step"] for item in items):
            return {item["name"]: item for item in items}
        time.sleep(0.01)
    raise TimeoutError(items)


@pytest.fixture(scope="module")
def session_folder(tmp_path_factory, shipped, photographs):
    """The folder of a session in which two photographs were dropped."""
    folder = tmp_path_factory.mktemp("session")
    with page(folder, shipped) as (client, _):
        for path in photographs[:2]:
            assert upload(client, path).status_code == 201
        assert [item["measured"] for item in listed(client).values()] == [1, 1]
    return folder


def by_command(folder, output):
    """What the commands make of the photographs in a session's folder."""
    model = ["--model", str(SHIPPED), "--output", str(output)]
    predict.main([str(folder / "photographs"), *model, "--overlay", "--vessels"])
    measure.main([str(output), "--segments"])


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def without(rows, *columns):
    return [{k: v for k, v in row.items() if k not in columns} for row in rows]


def test_page_and_commands_write_the_same_bytes_and_rows(
    session_folder, shipped, tmp_path
):
    by_command(session_folder, tmp_path / "maps")
    written = [
        path.relative_to(tmp_path / "maps")
        for path in (tmp_path / "maps").rglob("*.*")
        if path.suffix in (".png", ".jpg")
    ]
    assert len(written) == 8
    for path in written:
        own = (session_folder / path).read_bytes()
        assert own == (tmp_path / "maps" / path).read_bytes(), path
    mine, theirs = (
        without(table(folder / maps.TABLE), "seconds")
        for folder in (session_folder, tmp_path / "maps")
    )
    assert mine == theirs
    with page(session_folder, shipped) as (client, _):
        archive = client.get("/photographs/all/zip").content
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(tmp_path / "zip")
    assert {str(path) for path in written} < set(packed.namelist())
    for name in ("measurements.csv", "segments.csv"):
        mine, theirs = (table(tmp_path / part / name) for part in ("zip", "maps"))
        assert len(mine) >= 2
        assert without(mine, "source") == without(theirs, "source")


def details(client, name):
    item = listed(client)[name]
    path = f"/photographs/{item['key']}"
    seen = client.get(f"{path}/drawing").headers["ETag"]
    return client.get(f"{path}/measures").json() | item | {"seen": seen}


def send_vessels(client, told, vessels, **more):
    words = {"threshold": told["row"]["threshold"], "seen": told["seen"]} | more
    content = vessels.tobytes()
    path = f"/photographs/{told['key']}/drawing"
    return client.put(path, params=words, content=content)


def vessels_of(client, told):
    content = client.get(f"/photographs/{told['key']}/drawing").content
    shape = told["row"]["height"], told["row"]["width"]
    return np.frombuffer(content, bool).reshape(shape).copy()


def full(*_, **__):
    """A function that finds the disk full."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def one(tmp_path, network, photographs):
    """A page with one photograph, `01_test`, that is done."""
    with page(tmp_path / "page", network) as (client, session):
        upload(client, photographs[0])
        listed(client)
        yield client, session


def write_map_by_hand(session, probability):
    """Gives the only photograph another map."""
    (item,) = session.items.values()
    inside = np.ones(probability.shape, bool)
    (session.folder / "vessels" / f"{item.name}.png").unlink()
    vessels = maps.cut_map(probability, item.row.threshold)
    pictures = {
        "vessels": Image.fromarray(vessels),
        "overlay": draw_overlay(read_pixels(item.path), vessels),
    }
    item.row = maps.write_map(session.folder, item.row, probability, inside, **pictures)
    session.ask(item)


def bars(shape):
    """Two vessels, of probabilities 1 and 0.3."""
    probability = np.zeros(shape)
    probability[20:25, 20:100] = 1
    probability[40:45, 20:100] = 0.3
    return probability


@pytest.fixture
def drawn(one):
    """A page with one photograph whose map shows two vessels, one at its threshold."""
    client, session = one
    (item,) = session.items.values()
    item.row = replace(item.row, threshold=0.5)
    write_map_by_hand(session, bars((item.row.height, item.row.width)))
    return client, session, details(client, "01_test")


def measured_by_command(session, tmp_path, *words):
    measure.main([*map(str, words), "--output", str(tmp_path / "by"), "--replace"])
    return table(tmp_path / "by/measurements.csv")


def test_a_correction_is_measured_as_measure_py_measures_it(drawn, tmp_path):
    client, session, told = drawn
    assert len(told["rows"]) == 1
    vessels = vessels_of(client, told)
    assert vessels.sum() == 400
    vessels[60:64, 20:100] = True
    vessels[20:25, 20:40] = False
    answer = send_vessels(client, told, vessels, scale=4.5)
    assert answer.status_code == 202, answer.text
    again = details(client, "01_test")
    before, after = again["rows"]
    assert (after["pixels_added"], after["pixels_removed"]) == ("320", "100")
    assert float(after["total_length_um"]) > float(before["total_length_um"])
    units = ("--micrometres-per-pixel", 4.5)
    rows = measured_by_command(session, tmp_path, session.folder, *units)
    rows += measured_by_command(session, tmp_path, "--vessels", session.folder, *units)
    assert [before, after] == rows
    changes = Image.open(session.folder / "changes/01_test.png").convert("RGB")
    colours = {colour: count for count, colour in changes.getcolors()}
    assert colours[(20, 90, 255)] == 320 and colours[(225, 25, 30)] == 100
    np.testing.assert_array_equal(vessels_of(client, again), vessels)
    overlay = np.asarray(Image.open(session.folder / "overlays/01_test.jpg"))
    assert overlay[62, 50, 1] > overlay[62, 50, 0] + 40  # green


def test_a_correction_that_is_undone_leaves_the_files_as_they_were(drawn):
    client, session, told = drawn
    paths = [
        session.folder / f"{kind}/01_test.{e}"
        for kind, e in (("vessels", "png"), ("overlays", "jpg"))
    ]
    send_vessels(client, told, vessels_of(client, told))
    told = details(client, "01_test")
    written = [path.read_bytes() for path in paths]
    vessels = vessels_of(client, told)
    edited = vessels.copy()
    edited[60:64, 20:100] = True
    send_vessels(client, told, edited)
    told = details(client, "01_test")
    assert told["rows"][1]["pixels_added"] == "320"
    assert [path.read_bytes() for path in paths] != written
    send_vessels(client, told, vessels)
    assert len(details(client, "01_test")["rows"]) == 1
    assert [path.read_bytes() for path in paths] == written


def test_another_threshold_is_measured_as_measure_py_measures_it(drawn, tmp_path):
    client, session, told = drawn
    probability = client.get(f"/photographs/{told['key']}/probability").content
    values = np.frombuffer(probability, "<u2").reshape(128, 120)
    assert (values[22, 30], values[42, 30], values[0, 0]) == (65535, 19660, 0)
    vessels = values >= 19660
    assert send_vessels(client, told, vessels, threshold=0.2).status_code == 202
    again = details(client, "01_test")
    rows = measured_by_command(session, tmp_path, session.folder)
    rows += measured_by_command(session, tmp_path, "--vessels", session.folder)
    assert again["rows"] == rows and again["threshold"] == 0.2
    by_threshold = (session.folder, "--threshold", 0.2)
    (row,) = measured_by_command(session, tmp_path, *by_threshold)
    words = ("vessels", "source", "pixels_added", "pixels_removed")
    assert without(rows[1:], *words) == without([row], *words)
    np.testing.assert_array_equal(vessels_of(client, again), vessels)


def test_two_windows_do_not_undo_each_other(drawn):
    client, session, told = drawn
    vessels = vessels_of(client, told)
    vessels[60:64, 20:100] = True
    assert send_vessels(client, told, vessels).status_code == 202
    kept = (session.folder / "vessels/01_test.png").read_bytes()
    refused = send_vessels(client, told, ~vessels)
    assert refused.status_code == 400
    assert "another one has changed them since" in refused.json()["error"]
    assert (session.folder / "vessels/01_test.png").read_bytes() == kept


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda vessels: ~vessels, "less vessel than background"),
        (lambda vessels: vessels & False, "none is vessel"),
        (lambda vessels: np.roll(vessels, 20, 0), "share 0% at most"),
        (lambda vessels: vessels[1:], "expected 15360 bytes"),
        (lambda vessels: np.vstack([vessels, vessels]), "expected 15360 bytes"),
    ],
)
def test_what_cannot_be_a_correction_is_refused_and_changes_nothing(
    drawn, change, sentence
):
    client, session, told = drawn
    kept = (session.folder / "vessels/01_test.png").read_bytes()
    refused = send_vessels(client, told, change(vessels_of(client, told)))
    assert refused.status_code == 400 and sentence in refused.json()["error"]
    assert ".part" not in refused.json()["error"]
    assert (session.folder / "vessels/01_test.png").read_bytes() == kept


@pytest.mark.parametrize(
    "words", [{"threshold": 2}, {"threshold": "nan"}, {"scale": -1}, {"scale": "inf"}]
)
def test_numbers_that_cannot_be_are_refused(drawn, words):
    client, _, told = drawn
    refused = send_vessels(client, told, vessels_of(client, told), **words)
    assert refused.status_code == 400 and "enter another" in refused.json()["error"]


def test_a_correction_during_a_measurement_is_measured_too(drawn, monkeypatch):
    client, session, told = drawn
    begun, go, measure = threading.Event(), threading.Event(), session._measure

    def slow(*of):
        begun.set()
        go.wait(60)
        measure(*of)

    monkeypatch.setattr(session, "_measure", slow)
    vessels = vessels_of(client, told)
    seen = told["seen"]
    for row in (60, 70):
        vessels[row, 20:100] = True
        answer = send_vessels(client, told | {"seen": seen}, vessels)
        seen = answer.json()["seen"]
        assert begun.wait(60)
    go.set()
    assert details(client, "01_test")["rows"][1]["pixels_added"] == "160"


def test_a_correction_that_cannot_be_written_changes_nothing(drawn, monkeypatch):
    client, session, told = drawn
    kept = (session.folder / "vessels/01_test.png").read_bytes()
    vessels = vessels_of(client, told)
    vessels[60:64, 20:100] = True
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_write_measures", full)
        assert send_vessels(client, told, vessels).status_code == 507
    assert (session.folder / "vessels/01_test.png").read_bytes() == kept
    assert details(client, "01_test")["error"] == ""
    assert send_vessels(client, told, vessels).status_code == 202


# ---- restarts


def test_after_a_restart_all_is_there_and_the_rest_is_done(
    session_folder, shipped, photographs, tmp_path
):
    with page(session_folder, shipped) as (client, session):
        assert not any(item.wanted for item in session.items.values())
        told = [details(client, name) for name in listed(client)]
    assert [one["name"] for one in told] == ["01_test", "02_test"]
    assert all(one["rows"][0]["name"] == one["name"] for one in told)
    folder = tmp_path / "page"
    stopped = Session(folder, shipped, OPTIONS)  # stopped before it did anything
    for path in photographs[:2]:
        stopped.add(Path(shutil.copy(path, tmp_path / path.name)), path.name)
    (folder / ".page-x").mkdir()
    for half in (".page-x/upload", ".eye.1.part.png"):
        (folder / half).write_bytes(b"half")
    with page(folder, shipped) as (client, _):
        assert [one["measured"] for one in listed(client).values()] == [1, 1]
    assert len(list((folder / "photographs").iterdir())) == 2
    assert not list(folder.glob(".*.part*")) and not list(folder.glob(".page-*"))
    for name in ("01_test.png", "02_test.png"):
        assert (folder / name).read_bytes() == (session_folder / name).read_bytes()


def test_a_correction_is_measured_after_a_restart(tmp_path, network, photographs):
    folder = tmp_path / "page"
    with page(folder, network) as (client, session):
        upload(client, photographs[0])
        told = details(client, "01_test")
        session.stop()
        vessels = vessels_of(client, told)
        vessels[60, 20:100] = ~vessels[60, 20:100]
        words = {"scale": 4.5, "threshold": 0.4}
        assert send_vessels(client, told, vessels, **words).status_code == 202
    with page(folder, network) as (client, _):
        again = details(client, "01_test")
    before, after = again["rows"]
    assert after["pixels_added"] != "0" and "total_length_um" in after
    assert again["threshold"] == 0.4


def test_another_photograph_under_a_known_name_is_predicted_anew(
    tmp_path, network, photographs
):
    folder = tmp_path / "page"
    with page(folder, network) as (client, session):
        upload(client, photographs[0])
        listed(client)
    shutil.copy(photographs[1], folder / "photographs/01_test.tif")
    (folder / "photographs/folder").mkdir()
    with page(folder, network) as (client, session):
        row = details(client, "01_test")["row"]
    assert row["photograph_sha256"] == fingerprint(photographs[1])


@pytest.mark.parametrize("text", ["", "{", '{"before": {}}'])
def test_measures_that_are_not_whole_are_made_again(
    text, tmp_path, network, photographs
):
    folder = tmp_path / "page"
    with page(folder, network) as (client, _):
        upload(client, photographs[0])
        listed(client)
    path = folder / "measures/01_test.json"
    kept = path.read_text()
    path.write_text(text)
    with page(folder, network) as (client, _):
        assert listed(client)["01_test"]["measured"]
    assert path.read_text() == kept


def test_one_page_has_a_folder(tmp_path):
    with serve.take_folder(tmp_path):
        busy = pytest.raises(InputError, match="another serve.py is at work there")
        with busy, serve.take_folder(tmp_path):
            pass
    with serve.take_folder(tmp_path):
        pass


def test_a_folder_whose_table_is_of_something_else_is_refused(tmp_path, network):
    (tmp_path / maps.TABLE).write_text("a,b\r\n1,2\r\n")
    with pytest.raises(InputError, match="columns of this version"):
        Session(tmp_path, network, OPTIONS)


@pytest.mark.parametrize(
    "name", ["vessels", "photographs", "measures", maps.TABLE, maps.LOCK]
)
def test_a_link_out_of_the_folder_is_refused(name, tmp_path, network):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "page"
    folder.mkdir()
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match=f"{name}, but it is a symbolic link"):
        Session(folder, network, OPTIONS)
    assert not elsewhere.exists()


def test_the_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path / ".page.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        serve.take_folder(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "files",
    [{"eye.jpg": b"one", "EYE.png": b"two"}, {"one.png": b"eye", "two.png": b"eye"}],
)
def test_two_files_of_one_name_or_content_are_refused(files, tmp_path, network):
    (tmp_path / "photographs").mkdir()
    for name, content in files.items():
        (tmp_path / "photographs" / name).write_bytes(content)
    with pytest.raises(InputError, match="each photograph once, under") as told:
        Session(tmp_path, network, OPTIONS)
    assert all(name in str(told.value) for name in files)


# ---- uploads


def png_of(side):
    """A sound PNG that says to have so many pixels each way, and has one."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "png")
    content = bytearray(file.getvalue())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("notes.txt", b"Dear all,", "expected a picture in notes.txt, but it cannot"),
        ("nothing.png", b"", "nothing.png, but it cannot be read as one (it is empty)"),
        ("huge.png", png_of(60_000), "huge.png, but it is too large"),
        ("eye.dcm", bytes(128) + b"DICM", "(it is DICOM)"),
    ],
)
def test_what_is_no_photograph_gets_a_sentence_and_is_not_kept(
    tmp_path, network, name, content, sentence
):
    with page(tmp_path, network) as (client, _):
        refused = client.post("/photographs", params={"name": name}, content=content)
        assert refused.status_code == 400
        told = refused.json()["error"]
        assert sentence in told and str(tmp_path) not in told
        assert listed(client) == {}
    assert not list((tmp_path / "photographs").iterdir())


def test_too_large_a_file_is_refused_before_it_is_read(one, monkeypatch):
    client, session = one
    sizes = {"content-length": str(3 * 10**9)}
    refused = client.post("/photographs?name=a.tif", content=b"x", headers=sizes)
    assert refused.status_code == 400 and "make it smaller" in refused.json()["error"]

    def more_than_told():
        for _ in range(8):
            yield bytes(2**20)

    monkeypatch.setattr("retina.web.MOST_BYTES", 2**22)
    refused = client.post("/photographs?name=a.tif", content=more_than_told())
    assert refused.status_code == 400
    assert not list(session.folder.glob(".page-*"))
    assert len(list((session.folder / "photographs").iterdir())) == 1


def test_the_same_photograph_twice_is_told(one, photographs):
    client, _ = one
    refused = upload(client, photographs[0], "copy.tif")
    assert refused.status_code == 400
    assert "copy.tif is here already, as 01_test" in refused.json()["error"]


def test_photographs_of_one_name_are_kept_apart(one, photographs):
    client, session = one
    upload(client, photographs[1], "A\\01_TEST.tif")
    assert list(listed(client)) == ["01_test", "01_TEST (2)"]
    for name in ("01_test", "01_TEST (2)"):
        assert (session.folder / f"{name}.png").is_file()


@pytest.mark.parametrize(
    "text, name, ending",
    [
        ("eye.JPG", "eye", ".JPG"),
        ("../../etc/passwd", "passwd", ""),
        ("..\\..\\evil.png", "evil", ".png"),
        ("..", "photograph", ""),
        ("", "photograph", ""),
        (".hidden.png", "hidden", ".png"),
        ("a\nb\x00c.png", "a_b_c", ".png"),
        ('<script>"x"</script>.png', "script_", ".png"),
        ("=HYPERLINK(1).tif", "=HYPERLINK(1)", ".tif"),
        ("it's \u00fc \u773c.tif", "it's \u00fc \u773c", ".tif"),
        ("CON:x.png", "CON_x", ".png"),
        ("nul.tar.png", "_nul.tar", ".png"),
        ("Com1", "_Com1", ""),
        ("\u773c" * 100 + ".png", "\u773c" * 40, ".png"),
    ],
)
def test_names_of_uploads_are_words_and_no_paths(text, name, ending):
    assert plain_name(text) == (name, ending)


def test_hostile_names_do_no_harm(one, photographs):
    client, session = one
    assert upload(client, photographs[1], "../../=1+1'\"<b>\n.tif").status_code == 201
    names = list(listed(client))
    assert names[1] == "=1+1'__b__"
    outside = {path.name for path in session.folder.parent.iterdir()}
    assert outside == {"page"}
    archive = zipfile.ZipFile(io.BytesIO(client.get("/photographs/all/zip").content))
    assert f"{names[1]}.png" in archive.namelist()
    assert b"'=1+1'__b__," in archive.read("measurements.csv")
    key = listed(client)[names[1]]["key"]
    for kind in ("map", "vessels", "overlay", "measurements.csv", "segments.csv"):
        answer = client.get(f"/photographs/{key}/{kind}")
        assert answer.status_code == 200 and len(answer.content) > 50


def test_a_damaged_photograph_gets_a_sentence_and_the_others_go_on(one, photographs):
    client, session = one
    file = io.BytesIO()
    Image.open(photographs[1]).save(file, "jpeg")
    client.post("/photographs?name=half.jpg", content=file.getvalue()[:2000])
    upload(client, photographs[2])
    items = listed(client)
    assert items["03_test"]["measured"]
    assert not items["half"]["measured"]
    assert items["half"]["error"].startswith("expected a whole picture in half.jpg")
    assert str(session.folder) not in items["half"]["error"]
    assert client.delete(f"/photographs/{items['half']['key']}").status_code == 200
    assert list(listed(client)) == ["01_test", "03_test"]


def test_a_full_disk_is_told_and_the_photograph_is_tried_again(
    one, photographs, monkeypatch
):
    client, session = one
    with monkeypatch.context() as patch:
        patch.setattr("retina.prediction.write_photograph", full)
        upload(client, photographs[1])
        item = listed(client)["02_test"]
    assert "No space left on device): make room there" in item["error"]
    with monkeypatch.context() as patch:
        patch.setattr("retina.session.fingerprint", full)
        refused = upload(client, photographs[2])
    assert refused.status_code == 507 and "make room" in refused.json()["error"]
    for _ in range(2):  # the second time it is at work already
        assert client.post(f"/photographs/{item['key']}/again").status_code == 202
    assert listed(client)["02_test"]["measured"]
    assert list(listed(client)) == ["01_test", "02_test"]


def test_what_is_removed_is_gone_from_the_disk(drawn):
    client, session, told = drawn
    vessels = vessels_of(client, told)
    vessels[60:64, 20:100] = True
    send_vessels(client, told, vessels)
    listed(client)
    assert client.delete(f"/photographs/{told['key']}").status_code == 200
    left = [path.name for path in session.folder.rglob("*") if path.is_file()]
    assert sorted(left) == [".lock", maps.TABLE]
    assert client.get(f"/photographs/{told['key']}").status_code == 404
    assert not maps.read_predictions(session.folder)


# ---- who may ask


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "evil.example:8000"}, 403),  # a name that leads here
        ({"Host": "127.0.0.1:8000.evil.example"}, 403),
        ({"Host": "127.0.0.1:8001"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8888"}, 403),  # another page of this machine
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_only_the_page_itself_is_answered(one, headers, status, method):
    client, session = one
    (key,) = session.items
    path = f"/photographs/{key}" + ("/view" if method == "GET" else "")
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert (key in session.items) == (status == 403 or method == "GET")
    assert status == 200 or answer.json()["error"].startswith("expected")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_without_an_origin_nothing_is_changed(one):
    client, session = one
    del client.headers["Origin"]
    (key,) = session.items
    assert client.get("/photographs").status_code == 200
    assert client.delete(f"/photographs/{key}").status_code == 403
    assert upload(client, ROOT / "docs/example.png").status_code == 403
    assert list(session.items) == [key]


def test_other_machines_need_the_token(tmp_path, network, capsys):
    session = Session(tmp_path, network, OPTIONS)
    app, address = serve.make_page(session, "0.0.0.0", 8000)
    assert "Whoever has the address with its token" in capsys.readouterr().out
    query = address.partition("?")[2]
    client = TestClient(app, base_url="http://clinic:8000", follow_redirects=False)
    for path in ("/", "/photographs", "/?token=", "/?token=%ff", f"/?{query}x"):
        assert client.get(path).status_code == 403, path
    answer = client.get(f"/?{query}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert client.get("/photographs").json() == []
    for headers in ({"Origin": HERE}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.get("/photographs", headers=headers).status_code == 403
    refused = TestClient(app, base_url=HERE).get("/photographs").json()["error"]
    assert refused.startswith("expected the address with its token")
    app, address = serve.make_page(session, serve.HERE, 8000)
    assert address == HERE and capsys.readouterr().out == ""
    assert TestClient(app, base_url=HERE).get("/photographs").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../serve.py",
        "/..%2fserve.py",
        "/%2e%2e%2fserve.py",
        "//etc/passwd",
        "/photographs/..%2f..%2fetc",
        "/photographs/none",
        "/photographs/none/view",
        "/photographs/{key}/..%2fmap",
        "/photographs/{key}/scales.csv",
        "/photographs/{key}/..%2fphotographs",
        "/docs",
    ],
)
def test_nothing_but_its_own_files_is_handed_out(one, path):
    client, session = one
    answer = client.get(path.replace("{key}", *session.items))
    assert answer.status_code == 404 and set(answer.json()) == {"error"}


def test_what_is_served_names_no_foreign_host_and_writes_no_html(one):
    client, _ = one
    served = [client.get("/").text, client.get("/about").text]
    served += [client.get(f"/{p.name}").text for p in (ROOT / "page").iterdir()]
    assert len(served) == 12
    for text in served:
        text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"(?i)(\w+:)?//[\w-]+\.\w|@import|url\((?!#)", text)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|\beval\b", text)
        assert not re.search(r"(?i)<style|<script>|\son\w+=|\sstyle=", text)
    paths = re.findall(r'(?:src|href)="([^#"]+)"', served[0])
    assert len(paths) == 4 and not any(":" in path or "//" in path for path in paths)
    policy = client.get("/").headers["content-security-policy"]
    assert "http" not in policy and "unsafe" not in policy and "*" not in policy


def test_every_measure_on_the_page_has_a_definition(drawn):
    client, _, told = drawn
    definitions = client.get("/about").json()["definitions"]
    columns = list(told["rows"][0])
    columns = columns[columns.index("micrometres_per_pixel") + 1 : -1]
    pattern = r"_(per_)?(px|um)2?$|_degrees$"
    names = [re.sub(pattern, "", column) for column in columns]
    assert len(names) > 20 and not set(names) - set(definitions)


# ---- the command


def test_a_port_in_use_gets_a_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} to be free.*--port"):
            serve.main(["--port", str(port), "--no-browser"])


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_the_page_listens_to_this_machine_alone():
    port = free_port()
    with serve.listen(serve.HERE, port) as taken:
        assert taken.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "skan"])
def test_a_package_that_is_missing_gets_a_sentence(package, tmp_path, monkeypatch):
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(
        [sys.executable, ROOT / "serve.py", "--no-browser"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"the package {package}," in done.stderr
    assert "pip install -r requirements/page.txt" in done.stderr


def test_options_reach_the_session(tmp_path, network, monkeypatch):
    path, sessions, loaded = tmp_path / "camera.json", [], []
    camera = Camera(540.0, 500.0, 9, 9, [], [540.0, 540.0], 1, "a" * 64, "2026")
    write_camera(path, camera)

    def load(*arguments, **options):
        loaded.append((arguments, options))
        return network

    monkeypatch.setattr(serve, "load_network", load)
    monkeypatch.setattr(serve, "serve", lambda *given: sessions.append(given[0]))
    monkeypatch.setattr(serve.webbrowser, "open", print)
    words = ["--port", str(free_port()), "--output", str(tmp_path / "page"), "--tta"]
    words += ["--bits", "12", "--micrometres-per-pixel", "4.5", "--camera", str(path)]
    serve.main([*words, "--model", "one.keras"])
    (session,) = sessions
    camera = replace(camera, file=str(path))
    assert loaded == [((Path("one.keras"),), {"camera": camera})]
    assert session.options == replace(OPTIONS, views=8, bits=12, camera=camera)
    assert session.scale == 4.5 and session.folder == tmp_path / "page"


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "80"],
        ["--bits", "7"],
        ["--shown-diameter", "3"],
        ["--scale", "0"],
        ["--shown-diameter", "540", "--camera", "camera.json"],
    ],
)
def test_options_out_of_range_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        serve.parse_args(words)
    assert re.search("expected|not allowed", capsys.readouterr().err)
