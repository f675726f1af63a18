"""What is said of maps: never more than their rows say."""

from dataclasses import replace

import pytest
from test_maps import ROW

from retina import protocol

UNSEEN = replace(ROW, role="unseen", family="")


def phrases(*rows):
    return protocol.list_phrases(
        rows, "1st_manual", ["2 labels read: so"], 12000, "input/X", "", "inside"
    )


def test_a_fair_test_by_one_network():
    assert phrases(UNSEEN, replace(UNSEEN, name="other")) == [
        "input/X",
        "2 photographs",
        "against 1st_manual",
        "2 labels read: so",
        "inside",
        "pooled over 12,000 pixels",
        "exact",
        "maps of one network, models/x.keras",
        "no case is, pixel for pixel, one that trained the network",
        "epoch not chosen on these cases",
        "stored threshold not chosen on these cases: highest Dice on the 4 photographs "
        "held out",
        "one view",
        "scale: no round field",
        "predict.py 1.0",
    ]


def test_doubts_come_first_and_the_worst_of_them_before_the_others():
    rows = [
        replace(ROW, name="a", role="unknown", epoch="unknown"),
        replace(ROW, name="b", role="training", likely_copies="a; c"),
        replace(ROW, name="c", likely_copies="d"),
    ]
    doubts = protocol.find_doubts(rows)
    assert phrases(*rows)[:4] == [*doubts, "input/X"]
    trained, alike, unknown = doubts
    assert trained == "NOT A TEST: 1 of 3 cases trained the network"
    assert alike.startswith("LIKELY NOT A TEST: 1 of 3 cases look like copies")
    assert alike.endswith("held out: c (like d)")
    assert unknown.startswith("NOT KNOWN TO BE A TEST: whether 1 of 3 cases")
    assert not any(phrase.startswith("no case is") for phrase in phrases(*rows))
    many = [replace(ROW, name=str(n), likely_copies="x") for n in range(8)]
    assert protocol.find_doubts(many)[0].endswith("4 (like x) and 3 more")


@pytest.mark.parametrize(
    ("role", "source", "said"),
    [
        ("unseen", "not measured", "how the stored threshold was chosen: not measured"),
        ("unknown", "unknown", "how the stored threshold was chosen: unknown"),
        (
            "validation",
            "highest",
            "stored threshold chosen on 1 of the 1 cases: highest",
        ),
        ("unseen", "highest", "stored threshold not chosen on these cases: highest"),
        # On out-of-fold maps of the training photographs it may be.
        ("training", "highest", "stored threshold: highest"),
        ("unknown", "highest", "stored threshold: highest"),
    ],
)
def test_how_a_threshold_was_chosen(role, source, said):
    row = replace(ROW, role=role, threshold_source=source)
    assert protocol.describe_threshold([row]) == said


@pytest.mark.parametrize(
    ("role", "epoch", "said"),
    [
        ("unseen", "last", "last epoch"),
        ("validation", "best", "epoch chosen on 1 of the 1 cases"),
        ("unseen", "best", "epoch not chosen on these cases"),
        ("unseen", "unknown", "how the epoch was chosen is not recorded"),
        ("unknown", "best", "how the epoch was chosen is not recorded"),
    ],
)
def test_how_an_epoch_was_chosen(role, epoch, said):
    assert protocol.describe_epoch([replace(ROW, role=role, epoch=epoch)]) == said


def test_what_differs_between_maps_is_counted():
    rows = [replace(UNSEEN, name=f) for f in "abc"]
    rows[2] = replace(rows[2], field_from="given", version="1.1")
    assert phrases(*rows)[-1] == "predict.py 1.0 in 2, 1.1 in 1 of 3 maps"
    region = protocol.describe_region(rows, others=0)
    assert region == "inside the field of view (estimated in 2, given in 1 of 3 maps)"


def test_out_of_fold_maps_are_named_as_such():
    rows = [
        replace(ROW, name=fold, role="validation", network_sha256=fold * 64, views=8)
        for fold in "abc"
    ]
    assert phrases(*rows)[7:9] == [
        "out of fold: maps of 3 networks of one recipe, each of photographs that it "
        "held out",
        "no case is, pixel for pixel, one that trained the network",
    ]
    assert "mean of 8 views" in phrases(*rows)


def test_averaged_scales_are_told():
    assert "one view, mean of 3 scales" in phrases(replace(ROW, factors="0.9 1 1.25"))
