"""Draws docs/drive.png: AUC ROC on DRIVE's test set, this project's and others'.

    python -m benchmarks.drive_chart

The figures are those of the table of other systems in docs/results.md.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results.md"
CHART = ROOT / "docs" / "drive.png"
HEAD = "| system | parameters | AUC ROC |"
OWN = "this project"
COLOURS = {True: "#1f6f8b", False: "#888888"}


def read_systems(text: str) -> list[tuple[str, float]]:
    """Name and AUC ROC of each row of the table that has one, the highest first."""
    lines = iter(text[text.index(HEAD) :].splitlines()[2:])
    systems = []
    for line in lines:
        if not line.startswith("|"):
            break
        name, _, auc_roc, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        if auc_roc:
            systems.append((name.replace("`", ""), float(auc_roc)))
    return sorted(systems, key=lambda system: -system[1])


def draw(path: Path, systems: list[tuple[str, float]]) -> None:
    """A dot a system, from the highest down."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.34 * len(systems) + 0.9), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, auc_roc) in enumerate(systems):
        colour = COLOURS[name.startswith(OWN)]
        axes.plot(auc_roc, -place, "o", color=colour, markersize=8)
        axes.annotate(
            f"{auc_roc:.4f}",
            (auc_roc, -place),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
    labels = axes.set_yticks(
        [-place for place in range(len(systems))], [name for name, _ in systems]
    )
    for label, (name, _) in zip(labels, systems, strict=True):
        label.label1.set_color(COLOURS[name.startswith(OWN)])
    axes.set_title("AUC ROC on DRIVE's test set, first observer", fontsize="medium")
    axes.set_xlabel("(*): the field of view was estimated, which costs 0.0009")
    axes.margins(x=0.2)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    draw(CHART, read_systems(RESULTS.read_text(encoding="utf-8")))
    print(CHART)


if __name__ == "__main__":
    main()
