"""The chart of results has the figures of the table, and the best on top."""

from PIL import Image

from benchmarks import drive_chart

TABLE = """
| system | parameters | AUC ROC | AUC-PR |
|---|---|---|---|
| second observer | | | |
| other, `net` | 1 M | 0.9810 | |
| this project | 2 M | 0.9827 | 0.9 |

| another | table | 0.1 |
"""


def test_systems_with_a_figure_are_drawn_highest_first(tmp_path):
    systems = drive_chart.read_systems(TABLE)
    assert systems == [("this project", 0.9827), ("other, net", 0.9810)]
    drive_chart.draw(tmp_path / "chart.png", systems)
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.width == 960


def test_the_results_hold_the_table():
    systems = dict(drive_chart.read_systems(drive_chart.RESULTS.read_text()))
    assert systems["this project, drive.keras, eight views"] == 0.9827
