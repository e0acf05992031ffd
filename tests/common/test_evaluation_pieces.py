import numpy as np
import pytest

from common.evaluation.bootstrap import bootstrap_interval
from common.evaluation.pieces import interval, kinds, summary


def test_kinds_of_pieces():
    rows = [
        {"id": "composed-1", "unseen": False},
        {"id": "bach-1", "unseen": True},
        {"id": "composed-2", "unseen": True},
    ]
    assert kinds(rows) == {
        "all": rows,
        "composed": [rows[0], rows[2]],
        "real works": [rows[1]],
        "unseen instruments": rows[1:],
    }


def test_scores_are_summed_up_over_the_pieces_that_have_them():
    rows = [{"id": f"composed-{i}", "unseen": False, "f1": i / 10, "drum_f1": np.nan, "solo": None} for i in range(5)]
    rows[1]["drum_f1"], rows[3]["drum_f1"] = 0.5, 1.0
    assert interval(rows, "f1") == pytest.approx(bootstrap_interval([row["f1"] for row in rows]), abs=1e-4)
    assert interval(rows, "drum_f1")[0] == 0.75
    assert interval(rows, "solo") == interval(rows, "other") == []
    table = summary(rows, ("f1", "drum_f1", "solo"))
    assert set(table) == {"all", "composed"}
    assert set(table["all"]) == {"pieces", "f1", "drum_f1"}
