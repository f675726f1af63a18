"""Draws hand-made figures and pictures, apart from any data set."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from retina import report

NOT_A_TEST = "NOT A TEST: 1 of 1 cases trained the network"


def result_of(name, doubts=(), thresholds=(0.4,), thin=({}, {}, {}), all_pixels=None):
    """What evaluate.py makes of one photograph.

    `thin`: what is added at half, at the stored threshold and for the second observer.
    """
    half, stored, second = thin
    cut = {"dice": 0.5, "mcc": -0.25}
    scores = {"pixels": 9, "vessel_pixels": 3, "auc_roc": 0.875, "auc_pr": math.nan}
    scores |= {"at_half": cut | half, "at_stored": cut | {"dice": 0.625} | stored}
    image = report.ImageScores(**scores, name="01_<test>", role="unseen", threshold=0.4)
    against = report.Against(
        **scores,
        protocol=[*doubts, "a & b", "exact"],
        per_image=[image],
        mean_per_image={"auc_roc": 0.75},
        auc_roc_all_pixels=all_pixels,
    )
    return report.Result(
        folder=f"output/{name}",
        name=name,
        data="input/DRIVE",
        split="test",
        cases=1,
        networks=1,
        region="inside the field of view (given)",
        maps={},
        likely_copies={},
        doubts=list(doubts),
        thresholds=list(thresholds),
        against={"1st_manual": against},
        second_observer=report.SecondObserver(
            "1st_manual", cases=1, pixels=9, scores={"dice": 0.7} | second
        ),
    )


@pytest.fixture
def curves(tmp_path):
    """A file of curves: one of three points, and a second observer as a point."""
    path = tmp_path / "curves.png"
    line = [0, 0.5, 1], [0, 0.8, 1]
    point = [0.1], [0.7]
    named = [("unet", line, line), (report.SECOND_OBSERVER, point, point)]
    report.draw_curves(path, named)
    return path


def test_tables_have_titles_dashes_and_the_second_observer():
    table = report.pooled_table([result_of("unet")], "1st_manual")
    none = ["-"] * 4
    assert table == [
        ["", *report.MEASURES.values()],
        ["unet at 0.5", "0.8750", "-", "0.5000", *none, "-0.2500"],
        ["unet at its threshold 0.400", "0.8750", "-", "0.6250", *none, "-0.2500"],
        ["2nd_manual, the second observer", "-", "-", "0.7000", *none, "-"],
    ]
    per_image = report.image_table(result_of("unet"), "1st_manual")
    name = "01_<test> (unseen)"
    assert per_image[1] == [name, "0.8750", "-", "0.6250", *none, "-0.2500"]


def thin(cl_dice, *found):
    """What evaluate.py adds for thin vessels: two bins of widths."""
    edges = zip((0.0, 2.0), (2.0, math.inf), (1234, 0), found, strict=True)
    keys = ("from", "below", "pixels", "sensitivity")
    bins = [dict(zip(keys, each, strict=True)) for each in edges]
    return {"cl_dice": cl_dice, "topology_precision": 0.5, "by_width": bins}


def test_tables_of_thin_vessels_are_there_where_they_were_scored():
    assert report.thin_tables([result_of("unet")], "1st_manual") == {}
    found = ((0.5, 0.25), (0.75, 0.375), (0.875, 1.0))
    result = result_of("unet", thin=[thin(*each, math.nan) for each in found])
    assert report.thin_tables([result], "1st_manual") == {
        "Sensitivity by width of the vessel": [
            ["width in pixels", "under 2", "2 and more"],
            ["pixels of the label", "1,234", "0"],
            ["unet at 0.5", "0.2500", "-"],
            ["unet at its threshold 0.400", "0.3750", "-"],
            ["2nd_manual, the second observer", "1.0000", "-"],
        ],
        "Centre lines": [
            ["", "clDice", "precision", "sensitivity"],
            ["unet at 0.5", "0.5000", "0.5000", "-"],
            ["unet at its threshold 0.400", "0.7500", "0.5000", "-"],
            ["2nd_manual, the second observer", "0.8750", "0.5000", "-"],
        ],
    }
    assert report.width_range({"from": 2.0, "below": 3.0}) == "2 to 3"


def test_titles_tell_what_is_no_test():
    result = result_of("unet")
    assert report.title_of(result) == "unet"
    result = result_of("unet", [NOT_A_TEST, "LIKELY NOT A TEST: x"], [0.3, 0.5, 0.7])
    assert report.title_of(result) == "unet (NOT A TEST)"
    assert (
        report.own_threshold(result) == "unet (NOT A TEST) at its threshold 0.300-0.700"
    )


def test_a_second_observer_of_fewer_cases_says_so():
    result = replace(result_of("unet"), cases=3)
    assert report.pooled_table([result], "1st_manual")[3][0] == (
        "2nd_manual, the second observer (only 1 of the cases)"
    )


@pytest.mark.parametrize("count", [1, 3, 8])
def test_curves_are_whole_with_a_white_margin(tmp_path, count):
    """What was cut off at the top were the titles."""
    line = [0, 1], [0, 1]
    named = [(f"{number} {'x' * 90}", line, line) for number in range(count)]
    report.draw_curves(tmp_path / "curves.png", named)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 255
    assert pixels[:40].min() < 100  # the titles


def test_curves_are_drawn_even_where_there_are_none(curves):
    def colours(path):
        with Image.open(path) as picture:
            return {colour for _, colour in picture.getcolors(1 << 16)}

    report.draw_curves(curves.with_name("empty.png"), [])
    first = (0x1F, 0x6F, 0x8B, 255)
    assert first in colours(curves) - colours(curves.with_name("empty.png"))


def test_a_difference_picture_has_the_promised_colours():
    label = np.array([[False, False, True, True, True]])
    vessels = np.array([[False, True, False, True, True]])
    inside = np.array([[True, True, True, True, False]])
    picture = report.difference_picture(label, vessels, inside).convert("RGB")
    assert picture.size == (5, 1)
    colours = [picture.getpixel((column, 0)) for column in range(5)]
    names = ("background", "false vessel", "missed vessel", "hit")
    assert colours[:4] == [report.PALETTE[name] for name in names]
    assert colours[4] == report.PALETTE["outside the field of view"]
    red, _, blue = report.PALETTE["missed vessel"]
    assert blue > 200 and red < 60
    red, _, blue = report.PALETTE["false vessel"]
    assert red > 200 and blue < 60


def test_large_photographs_are_shrunk_for_the_page():
    palette = Image.new("P", (1200, 900))
    small = report.shrunk(palette, 600)
    assert (small.size, small.mode) == ((600, 450), "RGB")
    assert report.shrunk(Image.new("1", (700, 10)), 600).mode == "L"
    assert report.shrunk(palette, 1200) is palette


def test_photographs_of_any_depth_maps_and_labels_become_pictures():
    deep = np.full((2, 2, 3), 65535, np.uint16)
    assert report.as_picture(deep).getpixel((1, 1)) == (255, 255, 255)
    assert report.as_picture(np.full((2, 2), 0.5, np.float32)).getpixel((0, 0)) == 128
    assert report.as_picture(np.uint8(deep // 512)).getpixel((0, 0)) == (127, 127, 127)
    assert report.as_picture(np.eye(2, dtype=bool)).mode == "1"


def test_a_sheet_has_a_row_for_every_case(tmp_path):
    red, grey = np.zeros((30, 40, 3), np.uint8), np.full((30, 40), 0.5, np.float32)
    red[..., 0] = 255
    pictures = [("a", report.as_picture(red)), ("b", report.as_picture(grey))]
    report.draw_sheet(tmp_path / "sheet.png", {"01": pictures, "02": pictures[::-1]})
    with Image.open(tmp_path / "sheet.png") as sheet:
        width, height = sheet.width // 2, sheet.height // 2
        assert width >= 40 and height >= 30
        rows = [height - 20, sheet.height - 20]
        corners = [sheet.getpixel((x, y)) for y in rows for x in (20, width + 20)]
    assert corners[0] == corners[3] == (255, 0, 0)
    assert corners[1] == corners[2] == (128, 128, 128)


def test_a_report_is_one_file_with_names_escaped(curves, tmp_path):
    results = [result_of("a<b>&c"), result_of("vgg16", [NOT_A_TEST], all_pixels=0.99)]
    cases = {"01_<test>": [('"map"', Image.new("L", (4, 4)))]}
    report.write_report_page(tmp_path / "report.html", results, curves, cases)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page
    assert "<script" not in page and "<link" not in page and "url(" not in page
    sources = re.findall(r'(?:src|href)\s*=\s*"(.{0,5})', page)
    assert sources == ["data:"] * 2
    assert "<b>&c" not in page and "<test>" not in page
    assert (
        "a&lt;b&gt;&amp;c at its threshold 0.400" in page and "a &amp; b; exact" in page
    )
    assert '<p class="loud">output/vgg16: NOT A TEST: 1 of 1 cases' in page
    assert page.count("<table>") == 3
    assert page.count("AUC ROC over all pixels 0.9900: outside") == 1
