"""One scale for a camera: found, written, taken, and refused to other photographs."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import check
import predict
from retina import cameras, maps, phantoms, prediction
from retina.files import InputError
from retina.networks import Network, Record
from retina.prediction import Options
from retina.resolution import Camera, read_camera, write_camera

SURE = 192  # pixels: the side of the tiles on which the network below is most certain


def is_sure(tiles):
    """A network that is less certain, the further the side of a tile is from `SURE`."""
    p = 1 - 0.05 - 0.3 * abs(np.log(tiles.shape[1] / SURE))
    return np.full((*tiles.shape[:3], 1), p, np.float32)


NETWORK = Network(
    Path("models/x.keras"),
    SimpleNamespace(predict_on_batch=is_sure),
    "a" * 64,
    Record(field_diameter=115.0),
)


def save_eye(path, side=240, seed=0):
    drawn = phantoms.draw_phantom(
        height=side, width=side, rng=np.random.default_rng(seed)
    )
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.uint8(drawn.image * 255)).save(path)
    return path


@pytest.fixture
def eyes(tmp_path, monkeypatch):
    """Two photographs by one camera, and commands that take `NETWORK`."""
    monkeypatch.chdir(tmp_path)
    for module in (check, predict):
        monkeypatch.setattr(
            module,
            "load_network",
            lambda path, precision="float32", camera=None: (
                camera and camera.require_network(NETWORK.sha256),
                NETWORK,
            )[1],
        )
    monkeypatch.setattr(predict.networks, "choose", lambda: Path("models/x.keras"))
    monkeypatch.setattr(predict.networks, "read_record", lambda path: NETWORK.record)
    for seed in (1, 2):
        save_eye(Path(f"eyes/{seed}.png"), seed=seed)
    return tmp_path


def test_a_network_of_several_scales_is_less_uncertain_at_finer_ones(eyes):
    """The uncertainty is corrected for that, by the power 0.2 of the scale."""
    plain = np.array(find().uncertainties)
    Path("camera.json").unlink()
    several = replace(NETWORK.record, factors=(0.7, 1.0, 1.4))
    corrected = cameras.find_camera(
        replace(NETWORK, record=several), sorted(Path("eyes").iterdir()), Options()
    )
    corrected = np.array(corrected.uncertainties)
    np.testing.assert_allclose(corrected[:, 0], plain[:, 0])
    expected = np.power([0.67, 0.8, 1, 1.33, 1.8], 0.2)
    np.testing.assert_allclose(corrected[:, 1] / plain[:, 1], expected)


def test_of_scales_that_are_as_good_the_usual_one_is_taken(eyes):
    """A network that is nowhere more certain, but for 1 % at coarser scales."""

    def says(tiles):
        p = 0.602 if tiles.shape[1] < 128 else 0.6
        return np.full((*tiles.shape[:3], 1), p, np.float32)

    model = SimpleNamespace(predict_on_batch=says)
    camera = cameras.find_camera(
        replace(NETWORK, model=model), sorted(Path("eyes").iterdir()), Options()
    )
    least = min(camera.uncertainties, key=lambda pair: pair[1])
    assert least[0] < 115 and camera.shown_diameter == pytest.approx(115)
    assert camera.flat == pytest.approx([115 * 0.67, 115 * 1.8])


def find(folder="eyes"):
    check.main([folder, "--camera", "camera.json"])
    return read_camera(Path("camera.json"))


def test_the_scale_of_least_uncertainty_is_found_and_written(eyes, capsys):
    """The field of 229 pixels is shown 115 wide, or so many times that; at 1.33 the
    tile is 192 pixels wide. At 2.4 the photographs would be enlarged."""
    camera = find()
    assert camera.field_diameter == pytest.approx(229.4, abs=1)
    assert camera.shown_diameter == pytest.approx(115 * 1.33, rel=1e-6)
    assert camera.scale == pytest.approx(115 * 1.33 / camera.field_diameter)
    assert (camera.height, camera.width, camera.photographs) == (240, 240, 2)
    assert camera.network_sha256 == NETWORK.sha256 and camera.made.startswith("20")
    shown = [diameter for diameter, _ in camera.uncertainties]
    assert shown == pytest.approx([115 * f for f in (0.67, 0.8, 1, 1.33, 1.8)])
    least = dict(map(tuple, camera.uncertainties))[camera.shown_diameter]
    assert least == pytest.approx(0.05, abs=1e-3)
    assert camera.flat == [camera.shown_diameter] * 2
    assert "shown, uncertainty" in capsys.readouterr().out
    with pytest.raises(InputError, match="expected no file camera.json"):
        find()


def test_maps_are_made_at_the_camera_s_scale_and_say_so(eyes):
    camera = find()
    predict.main(["eyes", "--camera", "camera.json"])
    rows = maps.read_predictions("output/x")
    assert len(rows) == 2
    for row in rows.values():
        assert (row.scale, row.scale_from) == (camera.scale, "camera")
        assert row.scale_file == "camera.json"
        assert row.shown_diameter == pytest.approx(camera.shown_diameter, rel=0.02)
    predict.main(["eyes", "--camera", "camera.json", "--resume"])
    write_camera(Path("other.json"), replace(camera, shown_diameter=100.0))
    with pytest.raises(InputError, match="with another scale, 0.66., camera"):
        predict.main(["eyes", "--camera", "other.json", "--resume"])
    with pytest.raises(InputError, match="with another scale, 0.66., camera"):
        predict.main(["eyes", "--resume"])


def test_photographs_by_another_camera_fail_and_the_others_are_mapped(eyes):
    find()
    save_eye(Path("eyes/large.png"), side=300)
    noise = np.random.default_rng(0).integers(90, 160, (240, 240, 3), np.uint8)
    Image.fromarray(noise).save("eyes/noise.png")
    frame = np.zeros((240, 240, 3), np.uint8)
    frame[20:220, 20:220] = Image.open(save_eye(Path("small.png"), side=200))
    Image.fromarray(frame).save("eyes/narrow.png")
    with pytest.raises(InputError) as no:
        predict.main(["eyes", "--camera", "camera.json"])
    said = str(no.value)
    assert "large.png, as camera.json has, found 300 x 300" in said
    assert "noise.png, as camera.json has, found 240 x 240 and no round one" in said
    assert "narrow.png, as camera.json has, found 240 x 240 and one 19" in said
    assert sorted(maps.read_predictions("output/x")) == ["1", "2"]
    with pytest.raises(InputError, match="large.png, as in eyes/1.png, found 300"):
        check.main(["eyes", "--camera", "more.json"])
    assert not Path("more.json").exists()


def test_a_setting_for_another_network_is_refused(eyes):
    write_camera(Path("other.json"), replace(find(), network_sha256="b" * 64))
    with pytest.raises(InputError, match="network aaaa.*found one for bbbb"):
        predict.main(["eyes", "--camera", "other.json"])
    assert maps.TABLE not in [path.name for path in Path("output/x").glob("*")]


@pytest.mark.parametrize(
    "changes",
    [
        {"shown_diameter": -1.0},
        {"shown_diameter": float("nan")},
        {"field_diameter": "540"},
        {"shown_diameter": 1e9},
        {"shown_diameter": 10**400},  # no float can hold it
        {"field_diameter": 1e-300},
        {"height": 1.5},
        {"made": None},
        {"moon": 1},
    ],
)
def test_a_file_that_is_no_setting_is_refused(tmp_path, changes):
    camera = Camera(540.0, 500.0, 9, 9, [[540.0, 0.2]], [540.0, 540.0], 1, "a", "b")
    path = tmp_path / "camera.json"
    write_camera(path, camera)
    assert read_camera(path) == replace(camera, file=str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(
        InputError, match="expected a camera's setting in .*camera.json"
    ):
        read_camera(path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="expected a camera's setting"):
        read_camera(path)


def test_a_network_is_refused_where_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction.networks, "load", lambda path: NETWORK)
    camera = Camera(540.0, 500.0, 9, 9, [], [], 1, "b" * 64, "", file="c.json")
    with pytest.raises(InputError, match="in c.json, found one for bbbbbbbbbbbb"):
        prediction.load_network(Path("x.keras"), camera=camera)


def test_a_field_is_shown_as_wide_as_is_asked(eyes):
    predict.main(["eyes/1.png", "--shown-diameter", "160"])
    row = maps.read_predictions("output/x")["1"]
    assert (row.shown_diameter, row.scale_from) == (160.0, "shown diameter")
    assert row.scale == pytest.approx(160 / row.field_diameter, rel=1e-3)
    predict.main(["eyes/1.png", "--shown-diameter", "160", "--resume"])
    with pytest.raises(InputError, match="another scale, 0.*, shown diameter"):
        predict.main(["eyes/1.png", "--shown-diameter", "150", "--resume"])
    Image.new("RGB", (64, 64), (200, 90, 40)).save("plain.png")
    with pytest.raises(InputError, match="round field .*plain.png .*--scale"):
        predict.main(["plain.png", "--shown-diameter", "160"])


def test_a_data_set_is_taken_for_one_camera_s_photographs(phantoms, eyes):
    assert find(str(phantoms)).photographs == 6
