"""Edited pictures of vessels are read right, whatever saved them, or refused."""

import shutil

import numpy as np
import pytest
from hand_made import write_hand_made
from PIL import Image

import measure
from retina.corrections import find_pictures, read_correction
from retina.files import InputError
from retina.maps import paths_of, read_predictions

HEIGHT, WIDTH = 60, 80
NAME = "=eye ü [1].a"  # as a file may be called


def bars():
    """Two vessels, of 200 pixels each."""
    vessels = np.zeros((HEIGHT, WIDTH), bool)
    vessels[20:25, 20:60] = vessels[35:40, 20:60] = True
    return vessels


def edit():
    """One vessel of 100 pixels more, and a gap of 50 pixels in another."""
    vessels = bars()
    vessels[45:50, 20:40] = True
    vessels[20:25, 30:40] = False
    return vessels


@pytest.fixture
def folder(tmp_path):
    """Maps of one photograph, whose field is all but a frame of 5 pixels, and the
    picture of its vessels."""
    photograph = tmp_path / f"{NAME}.png"
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(photograph)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[5:-5, 5:-5] = True
    folder = tmp_path / "maps"
    drawn = Image.fromarray(bars())
    write_hand_made(folder, photograph, np.float32(bars()), inside, vessels=drawn)
    return folder


def written(folder):
    return paths_of(folder, NAME)["vessels"]


def read(folder, path=None, **options):
    row = read_predictions(folder)[NAME]
    return read_correction(path or written(folder), folder, row, **options)


def test_what_nobody_edited_is_the_map(folder):
    correction = read(folder)
    assert correction.rule == "picture of the map cut at 0.4"
    assert (correction.added, correction.removed, correction.outside) == (0, 0, 0)
    np.testing.assert_array_equal(correction.vessels, bars())
    assert correction.field_of_view.sum() == 50 * 70


def grey(vessels=None):
    return Image.fromarray(np.uint8(edit() if vessels is None else vessels) * 255)


def on_opacity(colour):
    picture = Image.new("RGBA", (WIDTH, HEIGHT), colour)
    picture.putalpha(grey())
    return picture


def swapped_palette():
    picture = Image.fromarray(np.uint8(~edit()))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    return picture


@pytest.mark.parametrize(
    "ending, picture",
    [
        ("png", lambda: grey().convert("RGB")),
        ("png", lambda: grey().convert("RGBA")),
        ("png", lambda: on_opacity("white")),
        ("png", lambda: on_opacity("black")),
        ("png", lambda: grey().convert("1")),
        ("png", swapped_palette),
        ("png", lambda: Image.fromarray(np.uint8(edit()))),  # 0 and 1
        ("png", lambda: Image.fromarray(np.uint16(edit()) * 65535)),
        ("jpg", grey),  # its edges are shades
        ("JPEG", lambda: grey().convert("RGB")),
        ("webp", lambda: grey().convert("RGB")),
        ("gif", grey),
        ("bmp", lambda: grey().convert("1")),
        ("tif", grey),
    ],
)
def test_pictures_of_any_paint_program_are_read_right(folder, ending, picture):
    path = folder / "vessels" / f"{NAME}.{ending}"
    picture().save(path)
    pictures, _ = find_pictures(path.parent, folder, read_predictions(folder))
    assert pictures == {NAME: path}  # and not the unchanged one beside it
    correction = read(folder, path)
    assert correction.rule.startswith("edited picture, ")
    assert (correction.added, correction.removed) == (100, 50)
    np.testing.assert_array_equal(correction.vessels, edit())


def test_what_is_drawn_outside_the_field_is_told_and_not_added(folder):
    vessels = bars()
    vessels[:2, :10] = True
    grey(vessels).save(written(folder))
    correction = read(folder)
    assert (correction.added, correction.outside) == (0, 20)


def test_on_an_empty_map_all_may_be_drawn_by_hand(folder, tmp_path):
    nothing = np.zeros((HEIGHT, WIDTH))
    photograph = tmp_path / f"{NAME}.png"
    write_hand_made(folder, photograph, nothing, np.ones((HEIGHT, WIDTH), bool))
    grey().save(tmp_path / "drawn.png")
    correction = read(folder, tmp_path / "drawn.png")
    assert (correction.added, correction.removed) == (edit().sum(), 0)
    assert correction.rule.startswith("picture not of this map, ")  # whose has none


def upright():
    """The vessels of another photograph."""
    vessels = np.zeros((HEIGHT, WIDTH), bool)
    vessels[10:50, 30:35] = vessels[10:50, 45:50] = True
    return vessels


def test_of_a_poor_map_the_photograph_decides(folder, tmp_path):
    """The map shows vessels where there are none; the photograph shows the true ones,
    dark on bright."""
    photograph = tmp_path / f"{NAME}.png"
    Image.fromarray(np.where(bars(), 80, 160).astype(np.uint8)).save(photograph)
    inside = np.ones((HEIGHT, WIDTH), bool)
    write_hand_made(folder, photograph, np.float32(upright()), inside)
    path = tmp_path / "drawn.png"
    grey(bars()).save(path)
    np.testing.assert_array_equal(read(folder, path).vessels, bars())
    grey(np.roll(bars(), 1, axis=0)).save(path)
    with pytest.raises(InputError, match="fit the photograph better 1 px up"):
        read(folder, path)
    grey(np.roll(bars(), 20, axis=1)).save(path)
    with pytest.raises(InputError, match=r"share \d+% at most \(.*another photograph"):
        read(folder, path)
    photograph.unlink()
    with pytest.raises(InputError, match="at most .the photograph is gone.: is it"):
        read(folder, path)


def greyish():
    """A stroke in half a white, which may be a vessel or not."""
    values = np.uint8(bars()) * 255
    values[45:50, 20:40] = 128
    return Image.fromarray(values)


def half_erased():
    picture = grey(bars()).convert("RGBA")
    picture.paste((255, 255, 255, 0), (20, 20, 30, 25))
    return picture


@pytest.mark.parametrize(
    "picture, sentence",
    [
        (lambda: grey(~edit()), "less vessel than background .*--vessel-values"),
        (lambda: grey(edit() & False), "which none is vessel: replace it"),
        (lambda: grey(edit() | True), "which none is vessel: replace it"),
        (lambda: grey(edit()[1:]), "80 x 60 .* received 80 x 59"),
        (lambda: grey().resize((160, 120)), "80 x 60 .* received 160 x 120"),
        (lambda: grey(upright()), r"share \d+% at most \(.*\): is it of another"),
        (lambda: grey(np.roll(edit(), 8, axis=0)), r"share \d+% at most"),
        (greyish, "the values 0 128 255: name those that are vessel"),
        (half_erased, "both colours and transparency: save it in black and white"),
    ],
)
def test_what_cannot_be_right_is_refused(folder, picture, sentence):
    picture().save(written(folder))
    with pytest.raises(InputError, match=sentence) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_values_can_be_named(folder):
    grey(~edit()).save(written(folder))
    correction = read(folder, vessel_values=[0])
    np.testing.assert_array_equal(correction.vessels, edit())


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_half_a_file_is_refused(folder, ending):
    path = folder / f"half.{ending}"
    grey().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="whole picture .* damaged .* fresh copy"):
        read(folder, path)


def test_without_its_map_nothing_can_be_compared(folder):
    grey().save(written(folder))
    paths_of(folder, NAME)["map"].unlink()
    with pytest.raises(InputError, match="found others or none"):
        read(folder)


def test_folders_that_leave_a_doubt_are_refused(folder, tmp_path):
    rows = read_predictions(folder)
    pictures = folder / "vessels"
    with pytest.raises(InputError, match="found none: write them with"):
        find_pictures(tmp_path / "nowhere", folder, rows)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / f"{NAME}.csv").touch()
    (empty / ".hidden.png").touch()
    with pytest.raises(InputError, match="found none: write them with"):
        find_pictures(empty, folder, rows)
    (pictures / f"{NAME}.xcf").touch()
    assert find_pictures(pictures, folder, rows)[1] == "1 file skipped: 1 .xcf"
    for ending in ("jpg", "gif"):
        grey().save(pictures / f"{NAME}.{ending}")
    with pytest.raises(InputError, match="found .*gif and .*jpg: move those away"):
        find_pictures(pictures, folder, rows)
    (pictures / "other.png").touch()
    with pytest.raises(InputError, match="called as their maps .*other.png: rename"):
        find_pictures(pictures, folder, rows)


def test_measurements_are_not_written_through_a_link(folder, tmp_path):
    """Where the folder of the maps is named, not that of the pictures."""
    shutil.move(folder / "vessels", tmp_path / "elsewhere")
    (folder / "vessels").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="maps/vessels, but it is a symbolic link"):
        measure.main(["--vessels", str(folder)])
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [f"{NAME}.png"]
