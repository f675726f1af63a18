"""What a figure means, in words, from the rows that predict.py wrote.

phrases = list_phrases(rows, "1st_manual", rules, pixels, data, split, region)
find_doubts(rows)  # why it is no test of the network, if so
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from retina.files import counted
from retina.maps import Row, require_poolable

NAMED = 5  # likely copies that are named one by one


def list_phrases(
    rows: Sequence[Row],
    observer: str,
    rules: Sequence[str],
    pixels: int,
    data: str,
    split: str,
    region: str,
) -> list[str]:
    """What a figure means as phrases, doubts first.

    Args:
        rows: of the maps that were pooled.
        observer: whose labels are the truth.
        rules: how these were read, from `labels.describe_rules`.
        pixels: how many were pooled.
        data: where the data set is.
        split: of the data set, empty where it knows none.
        region: from `describe_region`.
    """
    is_known = not {"training", "unknown"} & {row.role for row in rows}
    phrases = (
        *find_doubts(rows),
        f"{data}, {split} split" if split else data,
        counted(len(rows), "photograph"),
        f"against {observer}",
        *rules,
        region,
        f"pooled over {pixels:,} pixels",
        "exact",
        describe_networks(rows),
        "no case is, pixel for pixel, one that trained the network" if is_known else "",
        describe_epoch(rows),
        describe_threshold(rows),
        describe_views(rows[0]),
        f"scale: {summarise(row.scale_from for row in rows)}",
        f"predict.py {summarise(row.version for row in rows)}",
    )
    return [phrase for phrase in phrases if phrase]


def find_doubts(rows: Sequence[Row]) -> list[str]:
    """Why figures are no test of the network, or may be none; worst first."""
    roles, cases, doubts = Counter(row.role for row in rows), len(rows), []
    if trained := roles["training"]:
        doubts.append(f"NOT A TEST: {trained} of {cases} cases trained the network")
    copies = [
        f"{row.name} (like {row.likely_copies})"
        for row in rows
        if row.likely_copies and row.role != "training"
    ]
    if copies:
        more = f" and {len(copies) - NAMED} more" if len(copies) > NAMED else ""
        doubts.append(
            f"LIKELY NOT A TEST: {len(copies)} of {cases} cases look like copies of "
            "photographs that the network learnt from or held out: "
            f"{', '.join(copies[:NAMED])}{more}"
        )
    if unknown := roles["unknown"]:
        doubts.append(
            f"NOT KNOWN TO BE A TEST: whether {unknown} of {cases} cases trained the "
            "network is not recorded"
        )
    return doubts


def describe_region(rows: Sequence[Row], others: int) -> str:
    """Where pixels count, and where the fields of view come from.

    Args:
        rows: of the maps.
        others: how many were made in another field than the data set's own.
    """
    advice = (
        f"; in {others} of {len(rows)} cases not the data set's own field: use --data "
        "in predict.py to compare with published figures"
    )
    sources = summarise(row.field_from for row in rows)
    return f"inside the field of view ({sources}{advice if others else ''})"


def describe_networks(rows: Sequence[Row]) -> str:
    """Of how many networks the maps are, and which."""
    count = require_poolable(rows)
    if count == 1:
        return f"maps of one network, {rows[0].network}"
    return (
        f"out of fold: maps of {count} networks of one recipe, each of photographs "
        "that it held out"
    )


def describe_views(row: Row) -> str:
    """Which maps of a photograph were averaged."""
    views = "mean of 8 views" if row.views == 8 else "one view"
    scales = len(row.factors.split())
    return f"{views}, mean of {scales} scales" if scales > 1 else views


def describe_epoch(rows: Sequence[Row]) -> str:
    """How the epoch was chosen, and whether that was on these cases."""
    epochs = {row.epoch for row in rows}
    if epochs == {"last"}:
        return "last epoch"
    on = sum(row.role == "validation" and row.epoch == "best" for row in rows)
    if on:
        return f"epoch chosen on {on} of the {len(rows)} cases"
    if "unknown" in epochs | {row.role for row in rows}:
        return "how the epoch was chosen is not recorded"
    return "epoch not chosen on these cases"


def describe_threshold(rows: Sequence[Row]) -> str:
    """How the thresholds were chosen, and whether that was on these cases."""
    sources = summarise(row.threshold_source for row in rows)
    if {row.threshold_source for row in rows} <= {"not measured", "unknown"}:
        return f"how the stored threshold was chosen: {sources}"
    roles, where = Counter(row.role for row in rows), ""
    if roles["validation"]:
        where = f" chosen on {roles['validation']} of the {len(rows)} cases"
    elif roles["unseen"] == len(rows):
        where = " not chosen on these cases"
    return f"stored threshold{where}: {sources}"


def summarise(values: Iterable[str]) -> str:
    """`estimated` of values all alike, else `estimated in 3, given in 2 of 5 maps`."""
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    parts = ", ".join(f"{value} in {count}" for value, count in counts.items())
    return f"{parts} of {sum(counts.values())} maps"
