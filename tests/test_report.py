"""Draws hand-made figures and pictures, apart from any data set."""

import math
import re

import numpy as np
import pytest
from PIL import Image

from retina import report


def result_of(name, **scores):
    """A result as evaluate.py makes it, of one photograph."""
    cut = {"dice": 0.5, "mcc": -0.25}
    image = {"name": "01_<test>", "role": "unseen", "at_stored": cut}
    against = {
        "auc_roc": 0.875,
        "auc_pr": math.nan,
        "mean_per_image": {"auc_roc": 0.75},
        "protocol": ["a & b", "exact"],
        "at_half": cut,
        "at_stored": cut | {"dice": 0.625},
        "per_image": [image],
    }
    return {
        "folder": f"output/{name}",
        "name": name,
        "cases": 1,
        "region": "inside the field of view",
        "roles": {"training": 0, "unknown": 0},
        "thresholds": [0.4],
        "against": {"1st_manual": against | scores},
        "second_observer": {"against": "1st_manual", "cases": 1, "dice": 0.7},
    }


@pytest.fixture
def curves(tmp_path):
    """A file of curves: one of three points, and a human as a point."""
    path = tmp_path / "curves.png"
    line = [0, 0.5, 1], [0, 0.8, 1]
    point = [0.1], [0.7]
    report.draw_curves(path, [("unet", line, line), (report.HUMAN, point, point)])
    return path


def test_tables_have_titles_dashes_and_the_human_line():
    table = report.pooled_table([result_of("unet")], "1st_manual")
    none = ["-"] * 4
    assert table == [
        ["", *report.SCORES.values()],
        ["unet at 0.5", "0.8750", "-", "0.5000", *none, "-0.2500"],
        ["unet at its own 0.400", "0.8750", "-", "0.6250", *none, "-0.2500"],
        ["2nd_manual, a human", "-", "-", "0.7000", *none, "-"],
    ]
    per_image = report.image_table(result_of("unet"), "1st_manual")
    assert per_image[1] == ["01_<test> (unseen)", "-", "-", "0.5000", *none, "-0.2500"]


def thin(cl_dice, *found):
    """What evaluate.py adds for thin vessels: two bins of widths."""
    edges = zip((0.0, 2.0), (2.0, math.inf), (1234, 0), found, strict=True)
    keys = ("from", "below", "pixels", "sensitivity")
    bins = [dict(zip(keys, each, strict=True)) for each in edges]
    return {"cl_dice": cl_dice, "topology_precision": 0.5, "by_width": bins}


def test_tables_of_thin_vessels_are_there_where_they_were_scored():
    result = result_of("unet")
    assert report.thin_tables([result], "1st_manual") == {}
    against = result["against"]["1st_manual"]
    against["at_half"] = against["at_half"] | thin(0.5, 0.25, math.nan)
    against["at_stored"] = against["at_stored"] | thin(0.75, 0.375, math.nan)
    result["second_observer"] |= thin(0.875, 1.0, math.nan)
    assert report.thin_tables([result], "1st_manual") == {
        "Sensitivity by width of the vessel": [
            ["width in pixels", "under 2", "2 and more"],
            ["pixels of the label", "1,234", "0"],
            ["unet at 0.5", "0.2500", "-"],
            ["unet at its own 0.400", "0.3750", "-"],
            ["2nd_manual, a human", "1.0000", "-"],
        ],
        "Centre lines": [
            ["", "clDice", "precision", "sensitivity"],
            ["unet at 0.5", "0.5000", "0.5000", "-"],
            ["unet at its own 0.400", "0.7500", "0.5000", "-"],
            ["2nd_manual, a human", "0.8750", "0.5000", "-"],
        ],
    }
    assert report.width_range({"from": 2.0, "below": 3.0}) == "2 to 3"


def test_titles_tell_what_is_no_test():
    result = result_of("unet")
    assert report.title_of(result) == "unet"
    result["roles"]["unknown"] = 1
    assert report.title_of(result) == "unet (NOT KNOWN TO BE A TEST)"
    result["roles"]["training"] = 1
    assert report.title_of(result) == "unet (NOT A TEST)"
    result["thresholds"] = [0.3, 0.7]
    assert report.own_threshold(result) == "unet (NOT A TEST) at its own 0.300-0.700"


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


def test_a_sheet_has_a_row_for_every_case(tmp_path):
    red, grey = np.zeros((30, 40, 3), np.float32), np.full((30, 40), 0.5, np.float32)
    red[..., 0] = 1
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
    results = [result_of("a<b>&c"), result_of("vgg16", auc_roc_all_pixels=0.99)]
    results[1]["roles"]["training"] = 1
    cases = {"01_<test>": [('"map"', Image.new("L", (4, 4)))]}
    report.write_report(tmp_path / "report.html", results, curves, cases)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page
    assert "<script" not in page and "<link" not in page and "url(" not in page
    sources = re.findall(r'(?:src|href)\s*=\s*"(.{0,5})', page)
    assert sources == ["data:"] * 2
    assert "<b>&c" not in page and "<test>" not in page
    assert "a&lt;b&gt;&amp;c at its own 0.400" in page and "a &amp; b; exact" in page
    assert '<p class="loud">output/vgg16: NOT A TEST: 1 of 1 cases' in page
    assert page.count("<table>") == 3
    assert page.count("AUC ROC over all pixels 0.9900: outside") == 1
