"""A map is never taken for another one's, and no row is lost."""

import multiprocessing
import os
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina import maps
from retina.files import InputError, append_rows, fingerprint, read_table, write_table
from retina.identity import Identity
from retina.maps import COLUMNS, Row, read_map, read_predictions, write_map

ROW = Row(
    name="eye",
    photograph="mine/eye.jpg",
    photograph_sha256="1" * 64,
    pixels_sha256="2" * 64,
    network="models/x.keras",
    network_sha256="3" * 64,
    family="4" * 64,
    role="unseen",
    likely_copies="",
    epoch="best",
    threshold=0.4009002745151520,
    threshold_source="highest Dice on the 4 photographs held out",
    map_sha256="5" * 64,
    field_sha256="6" * 64,
    vessels_sha256="",
    field_from="estimated",
    bits=8,
    height=3,
    width=4,
    field_diameter=None,
    shown_diameter=None,
    scale=1.0,
    factors="1",
    scale_from="no round field",
    scale_file="",
    views=1,
    precision="float32",
    tile_side=640,
    tile_overlap=64,
    mean_probability=0.125,
    uncertain=0.5,
    seconds=0.25,
    note="",
    version="1.0",
)


def write(folder, name="eye", value=0.25, **changes):
    """Writes a map of one value, 3 x 4 pixels, its first column outside the field."""
    inside = np.ones((3, 4), bool)
    inside[:, 0] = False
    row = replace(ROW, name=name, **changes)
    return write_map(folder, row, np.float32(value * inside), inside)


# ---- tables


def test_cells_never_become_formulas_and_come_back_as_they_were(tmp_path):
    cells = [
        "=1+1",
        "+1",
        "@SUM(1)",
        "-x",
        "\tx",
        "\rx",
        "'=1",
        "'",
        "a\r\nb",
        'q"',
        "",
    ]
    write_table(tmp_path / "t.csv", cells, [cells, [None, 1, 0.5, *cells[3:]]])
    titles, first, second = read_table(tmp_path / "t.csv")
    assert titles == first == cells and second[:3] == ["", "1", "0.5"]
    for line in (tmp_path / "t.csv").read_text().splitlines():
        assert not any(
            cell.lstrip('"')[:1] in set("=+@-\t") for cell in line.split(",")
        )


def test_a_row_cut_short_in_the_writing_is_left_out_wherever_it_broke(tmp_path):
    path = tmp_path / "t.csv"
    append_rows(path, ["name", "note"], [["a", "1"]])
    whole = path.read_bytes()
    append_rows(path, ["name", "note"], [["b\r\nc", 'quoted "note"']])
    both = path.read_bytes()
    for length in range(len(whole), len(both)):
        path.write_bytes(both[:length])
        assert read_table(path) == [["name", "note"], ["a", "1"]]
        append_rows(path, ["name", "note"], [["d", "2"]])
        assert read_table(path) == [["name", "note"], ["a", "1"], ["d", "2"]]
    path.write_bytes(whole[:5])  # within the titles
    append_rows(path, ["name", "note"], [["d", "2"]])
    assert read_table(path) == [["name", "note"], ["d", "2"]]


# ---- rows


def test_a_row_comes_back_as_it_was_written(tmp_path):
    name = b"b\xe9 = \xff.png".decode("utf-8", "surrogateescape")
    written = [
        write(tmp_path, name, photograph=f"mine/{name}.tif", note="very dark"),
        write(tmp_path, "=eye", field_diameter=535.125, scale_from="field of view"),
    ]
    assert list(read_predictions(tmp_path).values()) == written
    maps.tidy_predictions(tmp_path)
    rows = read_predictions(tmp_path)
    assert list(rows) == ["=eye", name] and list(rows.values()) == written[::-1]
    assert np.all(read_map(tmp_path, rows[name]).probability[:, 1:] > 0.24)


def test_of_two_rows_of_a_name_the_last_counts(tmp_path):
    write(tmp_path, value=0.25)
    last = write(tmp_path, value=0.75)
    assert read_predictions(tmp_path) == {"eye": last}
    maps.tidy_predictions(tmp_path)
    assert len(read_table(tmp_path / "predictions.csv")) == 2


@pytest.mark.parametrize(
    "column, value",
    [
        ("name", "../x"),
        ("name", "/tmp/x"),
        ("name", ".."),
        ("name", ""),
        ("photograph_sha256", "1" * 63),
        ("map_sha256", ""),
        ("vessels_sha256", "0"),
        ("family", "x"),
        ("role", "test"),
        ("threshold", "nan"),
        ("threshold", "-5"),
        ("threshold", "50"),
        ("threshold", "half"),
        ("height", "0"),
        ("width", "4.5"),
        ("field_diameter", "inf"),
        ("shown_diameter", "-1"),
        ("scale", "0"),
        ("scale_from", "the moon"),
        ("views", "2"),
        ("tile_side", "100"),
        ("mean_probability", ""),
        ("uncertain", "1.1"),
        ("seconds", "-1"),
    ],
)
def test_a_cell_that_no_run_writes_is_named(tmp_path, column, value):
    cells = dict(zip(COLUMNS, astuple(ROW), strict=True)) | {column: value}
    write_table(tmp_path / "predictions.csv", COLUMNS, [astuple(ROW), cells.values()])
    with pytest.raises(InputError, match=f"row 3, column {column}, received"):
        read_predictions(tmp_path)


def test_what_would_be_refused_is_never_written(tmp_path):
    with pytest.raises(InputError, match="column mean_probability, received 'nan'"):
        write(tmp_path, mean_probability=float("nan"))
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {".lock"}


@pytest.mark.parametrize(
    "table, message",
    [
        ("name,photograph,model\na,b,c\n", "those of another.*--output"),
        (",".join(COLUMNS) + "\na,b\n", "34 cells in .*row 2, received 2"),
        (",".join(COLUMNS) + "\n" + ",".join("x" * 33) + "\n", "received 33"),
        ("x" * 200_000 + "\n", "cannot be read as one"),
        ("the only line of another file", "those of another"),
    ],
)
def test_other_tables_get_a_sentence(tmp_path, table, message):
    (tmp_path / "predictions.csv").write_text(table)
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_cut_short_in_its_titles_is_empty(tmp_path):
    for begun in ("", "name,photogr", ",".join(COLUMNS) + "\r"):
        (tmp_path / "predictions.csv").write_text(begun, newline="")
        assert read_predictions(tmp_path) == {}
        row = write(tmp_path)
        assert read_predictions(tmp_path) == {"eye": row}


def append_many(folder, first):
    for number in range(first, first + 40):
        maps.add_row(folder, replace(ROW, name=f"{number:03d}"))
        maps.tidy_predictions(folder)


def test_two_runs_into_one_folder_lose_no_row(tmp_path):
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=append_many, args=(tmp_path, n)) for n in (0, 40)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert list(read_predictions(tmp_path)) == [f"{number:03d}" for number in range(80)]


# ---- maps


def test_a_map_is_read_with_the_field_that_was_used(tmp_path):
    row = write(tmp_path, value=0.25)
    found = read_map(tmp_path, row)
    assert found.field_of_view.tolist() == [[False, True, True, True]] * 3
    np.testing.assert_allclose(found.probability[:, 1:], 0.25, atol=1e-5)
    assert not found.probability[:, 0].any() and found.probability.dtype == np.float32
    with Image.open(tmp_path / "fields/eye.png") as picture:
        assert picture.mode == "1"


@pytest.mark.parametrize("which", ["eye.png", "fields/eye.png"])
def test_a_map_or_field_that_is_not_the_rows_is_refused(tmp_path, which):
    row = write(tmp_path)
    other = write(tmp_path / "other", value=0.5)
    inside = np.ones((3, 4), bool)
    write_map(tmp_path / "third", other, np.float32(0.5 * inside), inside)
    path = tmp_path / which
    path.write_bytes((tmp_path / "third" / which).read_bytes())
    with pytest.raises(InputError, match="found others or none"):
        read_map(tmp_path, row)
    path.unlink()
    with pytest.raises(InputError, match="found others or none"):
        read_map(tmp_path, row)


def test_a_map_of_another_size_than_its_row_says_is_refused(tmp_path):
    row = write(tmp_path, height=4, width=3)
    with pytest.raises(InputError, match="expected 3 x 4 pixels .* received 4 x 3"):
        read_map(tmp_path, row)


@pytest.mark.parametrize("moment", ["add_row", "rename"])
def test_cut_short_no_map_stands_under_the_row_of_another(
    tmp_path, monkeypatch, moment
):
    """Killed before the row is written, and between row and map."""
    old = write(tmp_path, value=0.25)
    whole = maps.add_row

    def killed(*args):
        if moment == "rename":
            whole(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(maps, "add_row", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, value=0.75, threshold=0.9)
    row = read_predictions(tmp_path)["eye"]
    if moment == "add_row":
        assert row == old and read_map(tmp_path, row).probability.max() < 0.3
    else:
        assert row.threshold == 0.9
        with pytest.raises(InputError, match="found others or none"):
            read_map(tmp_path, row)


def test_pictures_of_an_older_map_go(tmp_path):
    inside = np.ones((3, 4), bool)
    pictures = {"vessels": Image.fromarray(inside), "overlay": Image.new("RGB", (4, 3))}
    write_map(tmp_path, ROW, np.float32(inside), inside, **pictures)
    written = [path for path in tmp_path.rglob("*/*") if path.is_file()]
    assert sorted(path.parent.name for path in written) == [
        "fields",
        "overlays",
        "vessels",
    ]
    write(tmp_path)
    assert [path.parent.name for path in tmp_path.rglob("*/*.*g")] == ["fields"]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_picture_that_a_person_edited_stays(tmp_path, wanted):
    inside = np.ones((3, 4), bool)
    drawn = {"vessels": Image.fromarray(inside)}
    row = write_map(tmp_path, ROW, np.float32(inside), inside, **drawn)
    path = tmp_path / "vessels" / "eye.png"
    assert row.vessels_sha256 == fingerprint(path) and not maps.is_edited(tmp_path, row)
    Image.fromarray(~inside).save(path)
    edited = path.read_bytes()
    assert maps.list_edited(tmp_path, {"eye"}) == [path]
    assert maps.list_edited(tmp_path, {"other"}) == []
    row = write_map(
        tmp_path, ROW, np.float32(inside), inside, **drawn if wanted else {}
    )
    assert row.vessels_sha256 == "" and maps.is_edited(tmp_path, row)
    maps.remove_maps(tmp_path, {"eye"})
    assert path.read_bytes() == edited
    assert not (tmp_path / "eye.png").exists()
    assert list(read_predictions(tmp_path)) == ["eye"]  # or the next run would stop


def test_a_picture_of_an_older_map_is_not_taken_for_an_edit(tmp_path, monkeypatch):
    """Killed between the row of the new map and its pictures."""
    inside = np.ones((3, 4), bool)
    pictures = [{"vessels": Image.fromarray(v)} for v in (inside, ~inside)]
    write_map(tmp_path, ROW, np.float32(inside), inside, **pictures[0])
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_map(tmp_path, ROW, np.float32(~inside), inside, **pictures[1])
    assert maps.list_edited(tmp_path, {"eye"}) == []


def test_vessels_are_cut_from_the_map_as_its_file_holds_it(tmp_path):
    """Probabilities a little below the threshold are rounded up to it, and above it
    down."""
    threshold = 3 / 65535
    probability = np.float32([[2.4, 2.6, 3.4, 3.6]]) / 65535
    vessels = maps.cut_map(probability, threshold)
    maps.as_16_bits(probability).save(tmp_path / "map.png")
    read = maps.read_probability(tmp_path / "map.png")
    np.testing.assert_array_equal(vessels, [[False, True, True, True]])
    np.testing.assert_array_equal(vessels, read >= threshold)


def test_the_seconds_of_writing_are_added(tmp_path, monkeypatch):
    moments = iter((10.0, 12.5))
    monkeypatch.setattr(maps.time, "perf_counter", lambda: next(moments))
    assert write(tmp_path, seconds=0.25).seconds == 2.75


def test_maps_are_removed_with_their_rows_and_no_others(tmp_path):
    write(tmp_path, "a")
    kept = write(tmp_path, "b")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "a.jpg").touch()  # no picture of vessels: it is missing
    maps.remove_maps(tmp_path, {"a", "c"})
    assert read_predictions(tmp_path) == {"b": kept}
    files = {path.name for path in tmp_path.rglob("*.*g")}
    assert files == {"b.png"} and maps.is_whole(tmp_path, kept)


def test_the_folder_that_was_written_into_last_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="under output/, found none"):
        maps.newest_predictions()
    for moment, name in enumerate("bca"):
        write(tmp_path / "output" / name)
        os.utime(tmp_path / "output" / name / maps.TABLE, (moment, 9 - moment))
    assert maps.newest_predictions() == Path("output/b")


# ---- what may be written over


def test_maps_that_rows_tell_of_may_be_written_over(tmp_path):
    assert maps.require_free(tmp_path, ["eye"], []) == {}
    (tmp_path / maps.LOCK).touch()
    assert maps.require_free(tmp_path, ["eye"], []) == {}
    row = write(tmp_path)
    (tmp_path / maps.PAGE).touch()
    assert maps.require_free(tmp_path, ["eye", "new"], []) == {"eye": row}


OWN = ["eye.png", "fields/eye.png", "vessels/eye.png", "overlays/eye.jpg"]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("stranger", [*OWN, "index.html"])
def test_files_that_no_row_tells_of_are_not_written_over(tmp_path, stranger, begun):
    if begun:
        write(tmp_path, "other")
    path = tmp_path / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    if stranger == "index.html" and begun:
        assert maps.require_free(tmp_path, ["eye"], []).keys() == {"other"}
        return
    with pytest.raises(InputError, match="predictions.csv does not name"):
        maps.require_free(tmp_path, ["eye"], [])


@pytest.mark.parametrize("original", OWN[:2])
def test_originals_are_not_written_over_whatever_they_are_called(tmp_path, original):
    write(tmp_path)
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path / original)
    for path in (tmp_path / original, link):
        with pytest.raises(InputError, match="a photograph or a field of view that"):
            maps.require_free(tmp_path, ["eye"], [path])


@pytest.mark.parametrize("link", [*OWN, "fields", maps.TABLE, maps.LOCK, maps.PAGE])
def test_nothing_is_written_through_symbolic_links(tmp_path, link):
    path = tmp_path / "maps" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")  # which need not be there
    if link == maps.TABLE:
        write_table(tmp_path / "elsewhere", COLUMNS, [])
    with pytest.raises(InputError, match="a symbolic link: choose another folder"):
        maps.require_free(tmp_path / "maps", ["eye"], [])


# ---- what may be put beside what


def test_a_map_is_of_a_photograph_by_bytes_or_by_pixels(tmp_path):
    maps.require_photograph(ROW, Identity("renamed", "1" * 64, "9" * 64))
    maps.require_photograph(ROW, Identity("saved again", "9" * 64, "2" * 64))
    with pytest.raises(InputError, match="is of another one, mine/eye.jpg"):
        maps.require_photograph(ROW, Identity("eye", "9" * 64, "9" * 64))


def test_what_is_each_maps_own_may_differ():
    other = replace(
        ROW,
        name="other",
        photograph_sha256="9" * 64,
        field_from="given",
        field_diameter=500.0,
        scale=0.5,
        scale_from="field of view",
        threshold=0.5,
        version="0.9",
    )
    assert maps.require_poolable([ROW, other]) == 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"views": 8}, "one views, received 1 .map eye. and 8 .map other"),
        ({"precision": "bfloat16"}, "one precision, received float32 .*bfloat16"),
        ({"tile_side": 320}, "one tile_side, received 640 .*320"),
        ({"tile_overlap": 32}, "one tile_overlap, received 64 .*32"),
        ({"scale_from": "given"}, "one scale_from, received automatic .*given"),
        ({"scale_from": "camera"}, "one scale_from, received automatic .*camera"),
        ({"scale_from": "shown diameter"}, "automatic .*shown diameter"),
        ({"network_sha256": "a" * 64}, "one network, received .*33333333.*aaaaaaaa"),
    ],
)
def test_maps_that_were_made_otherwise_are_not_pooled(changes, message):
    with pytest.raises(InputError, match=message):
        maps.require_poolable([ROW, replace(ROW, name="other", **changes)])


def test_several_networks_are_pooled_out_of_fold_alone():
    held_out = replace(ROW, role="validation")
    other = replace(held_out, network_sha256="a" * 64)
    assert maps.require_poolable([held_out, held_out, other]) == 2
    for changes in ({"role": "unseen"}, {"family": "b" * 64}):
        with pytest.raises(InputError, match="one network"):
            maps.require_poolable([held_out, replace(other, **changes)])
    unknown = [replace(row, family="") for row in (held_out, other)]
    with pytest.raises(InputError, match="one network"):
        maps.require_poolable(unknown)


def test_maps_keep_sixteen_bits(tmp_path):
    probability = np.array([[0, 1 / 65535], [0.5, 1]], np.float32)
    maps.as_16_bits(probability).save(tmp_path / "map.png")
    read = maps.read_probability(tmp_path / "map.png")
    np.testing.assert_allclose(read, probability, atol=0.5 / 65535)
    assert read[0, 1] == np.float32(1 / 65535)


def test_an_eight_bit_map_is_refused(tmp_path):
    Image.fromarray(np.uint8([[0, 255]])).save(tmp_path / "map.png")
    with pytest.raises(InputError, match="16-bit"):
        maps.read_probability(tmp_path / "map.png")
