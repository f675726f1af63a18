"""Draws what evaluate.py scored and predict.py drew: tables, curves, pages.

A `Result` is what metrics.json holds of one folder of maps. A table is a list of rows
of words, its titles first; a picture comes with its caption.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retina.files import whole_file

MEASURES = {
    "auc_roc": "AUC ROC",
    "auc_pr": "AUC PR",
    "dice": "Dice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "accuracy": "accuracy",
    "mcc": "MCC",
}
TOPOLOGY = {
    "cl_dice": "clDice",
    "topology_precision": "precision",
    "topology_sensitivity": "sensitivity",
}
PREVIEW_PATCHES = 32
CONTACTS = (
    "Green: vessels, at the network's threshold. A click shows the whole picture."
)
SECOND_OBSERVER = "2nd_manual, the second observer"

Table = list[list[str]]
Captioned = tuple[str, Image.Image]
Points = tuple[Sequence[float], Sequence[float]]

# A difference picture's colours. The first four stand at label + 2 * vessels.
PALETTE = {
    "background": (255, 255, 255),
    "missed vessel": (20, 90, 255),
    "false vessel": (225, 25, 30),
    "hit": (168, 168, 168),
    "outside the field of view": (232, 230, 226),
}
CURVE_COLOURS = ("#1f6f8b", "#c8553d", "#6a994e", "#7b5ea7", "#b8860b", "#444444")


# ---- what was scored


@dataclass(frozen=True)
class Scores:
    """How well maps fit labels inside the fields of view, pooled over their pixels."""

    pixels: int
    vessel_pixels: int  # of the label
    auc_roc: float  # 0..1, nan where only one class is there
    auc_pr: float  # likewise
    # Measure -> value of maps cut at 0.5 and at their networks' thresholds: as
    # `metrics.threshold_scores` and, if asked for, `metrics.thin_vessel_scores`.
    at_half: dict
    at_stored: dict

    def by_name(self, cut: dict) -> dict:
        """All measures by name, where `cut` is one of the two above."""
        return {"auc_roc": self.auc_roc, "auc_pr": self.auc_pr} | cut


@dataclass(frozen=True)
class ImageScores(Scores):
    """The scores of one photograph, its role for the network and its threshold."""

    name: str
    role: str
    threshold: float


@dataclass(frozen=True)
class Against(Scores):
    """The scores of a folder against one observer."""

    protocol: list[str]  # what the figures mean, as phrases, doubts first
    per_image: list[ImageScores]
    mean_per_image: dict[str, float]  # `auc_roc` and `auc_pr` of each, averaged
    auc_roc_all_pixels: float | None  # None where it was not asked for


@dataclass(frozen=True)
class SecondObserver:
    """What 2nd_manual drew, scored like a map that was cut."""

    against: str  # whose label is the truth
    cases: int  # how many photographs both drew
    pixels: int  # inside their fields of view
    scores: dict  # measure -> value, as in `Scores.at_half`


@dataclass(frozen=True)
class Result:
    """All figures of one folder of maps with what they mean."""

    folder: str  # where the maps are
    name: str  # of that folder
    data: str  # where the data set is
    split: str  # `test`, `training` or `held-out`; empty: the data set has none
    cases: int  # how many photographs were scored
    networks: int  # of how many networks the maps are
    region: str  # where pixels count, in words
    maps: dict[str, dict[str, int]]  # column -> value -> how many maps have it
    likely_copies: dict[str, str]  # case -> what it looks like, as in `maps.Row`
    doubts: list[str]  # why the figures are no test, or may be none; worst first
    thresholds: list[float]  # of the networks, from low to high
    against: dict[str, Against]  # observer -> scores
    second_observer: SecondObserver | None  # None: no photograph has both labels


# ---- tables


def title_of(result: Result) -> str:
    """The name of a folder in tables and curves, with a warning where one is due."""
    warning = result.doubts[0].partition(":")[0] if result.doubts else ""
    return result.name + (f" ({warning})" if warning else "")


def own_threshold(result: Result) -> str:
    """A table's name for a folder at its networks' thresholds."""
    low, high = result.thresholds[0], result.thresholds[-1]
    own = f"{low:.3f}" if low == high else f"{low:.3f}-{high:.3f}"
    return f"{title_of(result)} at its threshold {own}"


def four_places(value: float | None) -> str:
    """A score as it is printed; a dash where it is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def table_row(name: str, scores: dict, columns: Iterable[str] = MEASURES) -> list[str]:
    return [name, *(four_places(scores.get(score)) for score in columns)]


def pooled_rows(results: Sequence[Result], observer: str) -> list[tuple[str, dict]]:
    """Name and scores of all folders at both thresholds, the second observer below."""
    rows = []
    for result in results:
        scores = result.against[observer]
        rows.append((f"{title_of(result)} at 0.5", scores.by_name(scores.at_half)))
        rows.append((own_threshold(result), scores.by_name(scores.at_stored)))
    second = results[0].second_observer
    if second and second.against == observer:
        some = f" (only {second.cases} of the cases)"
        all_drawn = second.cases == results[0].cases
        rows.append((SECOND_OBSERVER + ("" if all_drawn else some), second.scores))
    return rows


def pooled_table(results: Sequence[Result], observer: str) -> Table:
    """All scores of what `pooled_rows` names."""
    rows = pooled_rows(results, observer)
    return [["", *MEASURES.values()], *(table_row(*row) for row in rows)]


def thin_tables(results: Sequence[Result], observer: str) -> dict[str, Table]:
    """Title -> table of thin vessels, where they were scored: widths and clDice."""
    rows = pooled_rows(results, observer)
    if "by_width" not in rows[0][1]:
        return {}
    bins = rows[0][1]["by_width"]
    by_width = [["width in pixels", *map(width_range, bins)]]
    by_width.append(["pixels of the label", *(f"{bin_['pixels']:,}" for bin_ in bins)])
    for name, scores in rows:
        found = [four_places(bin_["sensitivity"]) for bin_ in scores["by_width"]]
        by_width.append([name, *found])
    topology = [table_row(*row, TOPOLOGY) for row in rows]
    return {
        "Sensitivity by width of the vessel": by_width,
        "Centre lines": [["", *TOPOLOGY.values()], *topology],
    }


def width_range(bin_: dict) -> str:
    """The name of a bin of widths: `under 2`, `2 to 3`, `6 and more`."""
    low, high = bin_["from"], bin_["below"]
    if low == 0:
        return f"under {high:g}"
    return f"{low:g} and more" if math.isinf(high) else f"{low:g} to {high:g}"


def image_table(result: Result, observer: str) -> Table:
    """Single photographs, cut at their networks' thresholds."""
    return [["", *MEASURES.values()]] + [
        table_row(f"{image.name} ({image.role})", image.by_name(image.at_stored))
        for image in result.against[observer].per_image
    ]


def explain_aucs(result: Result, observer: str) -> dict[str, str]:
    """AUC -> what it means, of one folder; the pooled AUC ROC comes first."""
    scores = result.against[observer]
    mean = four_places(scores.mean_per_image["auc_roc"])
    lines = {
        f"AUC ROC {four_places(scores.auc_roc)}": (
            f"{result.folder}: {'; '.join(scores.protocol)}"
        ),
        f"mean per image {mean}": (
            f"AUC ROC of each photograph on its own, averaged over {result.cases}"
        ),
    }
    if scores.auc_roc_all_pixels is not None:
        lines[f"AUC ROC over all pixels {four_places(scores.auc_roc_all_pixels)}"] = (
            "outside the field of view at zero; not comparable with figures from "
            "inside the field of view"
        )
    return lines


# ---- pictures


def draw_curves(path: Path, curves: Iterable[tuple[str, Points, Points]]) -> None:
    """Draws named ROC and PR curves; what is a single point in both, as a diamond."""
    from matplotlib.figure import Figure

    curves = list(curves)
    height = 5.5 + 0.22 * len(curves)  # inches: a line of the legend for each
    drawing = Figure(figsize=(10.5, height), dpi=110, layout="constrained")
    roc, pr = drawing.subplots(1, 2)
    corner = roc.inset_axes((0.38, 0.12, 0.57, 0.57), xlim=(0, 0.15), ylim=(0.7, 1))
    corner.set(title="its upper left corner", xticks=[0, 0.05, 0.1, 0.15])
    for index, (name, roc_points, pr_points) in enumerate(curves):
        style = {"color": CURVE_COLOURS[index % len(CURVE_COLOURS)], "linewidth": 1.6}
        if len(roc_points[0]) == 1:
            style = {"color": "black", "linestyle": "", "marker": "D"}
        roc.plot(*roc_points, label=name, **style)
        corner.plot(*roc_points, **style)
        pr.plot(*pr_points, **style)
    finish_axes(roc, "ROC", "1 - specificity", "sensitivity")
    finish_axes(pr, "Precision and recall", "sensitivity (recall)", "precision")
    if roc.lines:
        entries = roc.get_legend_handles_labels()
        drawing.legend(*entries, loc="outside lower center", frameon=False, fontsize=9)
    with whole_file(path) as part:
        drawing.savefig(part)


def finish_axes(axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.005))
    axes.set_box_aspect(1)
    for each in (axes, *axes.child_axes):
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)


def difference_picture(
    label: np.ndarray, vessels: np.ndarray, field_of_view: np.ndarray
) -> Image.Image:
    """Where a map, cut at its threshold, differs from the label.

    Args:
        label, vessels, field_of_view: bool arrays of shape (H, W).

    Returns:
        Palette picture of the photograph's size: missed vessels blue, false ones red,
        hits grey, background white, outside the field of view dimmed.
    """
    codes = label + 2 * vessels.astype(np.uint8)
    codes[~field_of_view] = 4
    picture = Image.fromarray(codes)
    picture.putpalette(sum(PALETTE.values(), ()))
    return picture


def as_picture(array: np.ndarray) -> Image.Image:
    """A photograph's pixels, a map (0..1) or a label as Pillow's picture."""
    if array.dtype == np.uint16:
        array = np.uint8(array // 257)
    elif array.dtype.kind == "f":
        array = np.uint8(array * 255 + 0.5)
    return Image.fromarray(array)


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture no larger than `side` pixels either way."""
    if max(picture.size) <= side:
        return picture
    # Palettes and black-and-white pictures are not averaged by Pillow.
    mode = {"P": "RGB", "1": "L"}.get(picture.mode, picture.mode)
    small = picture.convert(mode)
    small.thumbnail((side, side))
    return small


def draw_patches(path: Path, patches) -> None:
    """Draws augmented patches, each over its label, as they go into the network."""
    batches = -(-PREVIEW_PATCHES // patches.batch_size)
    pairs = [
        np.concatenate([image, np.repeat(label, 3, axis=-1)])  # (2 P, P, 3)
        for index in range(batches)
        for image, label in zip(*patches[index], strict=True)
    ]
    framed = [np.pad(pair, ((2, 2), (2, 2), (0, 0))) for pair in pairs]
    rows = [
        np.concatenate(framed[first : first + 8], axis=1)
        for first in range(0, PREVIEW_PATCHES, 8)
    ]
    sheet = Image.fromarray(np.round(np.concatenate(rows) * 255).astype(np.uint8))
    with whole_file(path) as part:
        sheet.resize((sheet.width * 2, sheet.height * 2), 0).save(part)


def draw_sheet(path: Path, cases: dict[str, list[Captioned]]) -> None:
    """Draws the pictures of all cases, one row a case."""
    gap, head = 8, 26
    rows = [
        [(caption, shrunk(picture, 220)) for caption, picture in pictures]
        for pictures in cases.values()
    ]
    width = max(picture.width for row in rows for _, picture in row) + gap
    height = max(picture.height for row in rows for _, picture in row) + gap + head
    sheet = Image.new("RGB", (len(rows[0]) * width + gap, len(rows) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for top, name, row in zip(range(0, sheet.height, height), cases, rows, strict=True):
        for column, (caption, picture) in enumerate(row):
            left = gap + column * width
            text = f"{name}, {caption}" if column == 0 else caption
            pen.text((left, top + 6), text, "#333333", font)
            sheet.paste(picture, (left, top + head))
    save_picture(path, sheet)


def save_picture(path: Path, picture: Image.Image) -> None:
    with whole_file(path) as part:
        picture.save(part, compress_level=3)  # as small as 6, in half the time


STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 1.5rem; background: #fafaf8;
  color: #222; font: 16px/1.5 system-ui, sans-serif }
.loud, .headline { padding: .6rem 1rem; border-radius: 8px; background: white }
.loud { background: #b3261e; color: white; font-weight: bold }
.headline b { display: block; font-size: 1.5rem; color: #1f6f8b }
small, figcaption, thead { color: #555 }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
  white-space: nowrap; font-weight: normal; font-variant-numeric: tabular-nums }
th:first-child { text-align: left; white-space: normal; min-width: 7rem }
figure { margin: 0; font-size: .8rem }
.curves { overflow-x: auto }
.curves img { width: 100%; min-width: 760px; max-width: 1155px }
.case { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)) }
.case img { width: 100% }
span { display: inline-block; margin-right: 1em }
i { display: inline-block; width: .9em; height: .9em; margin-right: .3em;
  border: 1px solid #999 }
"""


def write_report_page(
    path: Path,
    results: Sequence[Result],
    curves: Path,
    cases: dict[str, list[Captioned]],
) -> None:
    """Writes figures, tables and pictures as one page that needs no other file."""
    body = [
        f'<p class="loud">{html.escape(f"{result.folder}: {doubt}")}</p>'
        for result in results
        for doubt in result.doubts
    ]
    for observer in results[0].against:
        body.append(f"<h2>Against {observer}, inside the field of view</h2>")
        body += [html_headlines(explain_aucs(result, observer)) for result in results]
        tables = {"Pooled": pooled_table(results, observer)}
        tables |= thin_tables(results, observer)
        for title, table in tables.items():
            body += [f"<h3>{title}</h3>", html_table(table)]
    with Image.open(curves, formats=("PNG",)) as picture:
        figure = html_picture("ROC and PR curves", picture)
        body += ["<h2>Curves</h2>", f'<div class="curves">{figure}</div>']
    for observer in results[0].against:
        for result in results:
            title = html.escape(own_threshold(result))
            body.append(f"<h2>Per image: {title}, against {observer}</h2>")
            body.append(html_table(image_table(result, observer)))
    body += ["<h2>Pictures</h2>", html_key()]
    for name, pictures in cases.items():
        figures = "".join(html_picture(*captioned) for captioned in pictures)
        body.append(f'<h3>{html.escape(name)}</h3><div class="case">{figures}</div>')
    title = f"Retinal vessels in {' and '.join(result.folder for result in results)}"
    write_page(path, html_page(title, "\n".join(body)))


def write_contact_sheet(
    path: Path, *, title: str, contacts: Iterable[tuple[str, str, str, Image.Image]]
) -> None:
    """Writes thumbnails of many photographs as one page that needs no other file.

    Args:
        path: of the page.
        title: of the page.
        contacts: name, note, address relative to the page and thumbnail of each.
    """
    figures = [
        f'<a href="{quote(address, errors="surrogateescape")}">'
        + html_picture(f"{name}: {note}" if note else name, thumbnail)
        + "</a>"
        for name, note, address, thumbnail in contacts
    ]
    body = f'<p>{CONTACTS}</p><div class="case">{"".join(figures)}</div>'
    write_page(path, html_page(title, body))


def write_page(path: Path, page: str) -> None:
    """Writes a page; a name that is not UTF-8 is shown with a question mark."""
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")


def html_page(title: str, body: str) -> str:
    title = html.escape(title)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
<h1>{title}</h1>
{body}
</html>
"""


def html_headlines(lines: dict[str, str]) -> str:
    (score, meaning), *others = lines.items()
    small = [meaning, *map(": ".join, others)]
    return (
        f'<p class="headline"><b>{score}</b>'
        f"<small>{'<br>'.join(map(html.escape, small))}</small></p>"
    )


def html_table(table: Table) -> str:
    titles, *rows = [[html.escape(cell) for cell in row] for row in table]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(
        f"<tr><th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for name, *cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_key() -> str:
    """The legend of the difference pictures."""
    entries = "".join(
        f'<span><i style="background: rgb{colour}"></i>{name}</span>'
        for name, colour in PALETTE.items()
        if name != "background"
    )
    return f"<p><span>Differences at the network's threshold:</span>{entries}</p>"


def html_picture(caption: str, picture: Image.Image) -> str:
    """A figure with the picture's own bytes in it: no other file is needed."""
    smooth = picture.mode in ("L", "RGB")  # JPEG would smear drawings
    kind, options = ("jpeg", {"quality": 80}) if smooth else ("png", {})
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
