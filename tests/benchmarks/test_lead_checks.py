"""The quick part of `python -m benchmarks.lead_checks`; the whole of it is recorded in results/lead-checks.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import harness, lead_checks
from benchmarks.lead_checks import TONES, Answers, ask, places, pointer, train

FEW = replace(TONES, n_test=20)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_pointer_finds_the_lead_among_more_tracks_than_it_was_trained_on():
    net = train(pointer(), TONES, steps=120)
    assert ask(net, FEW).accuracy() >= 0.9
    assert ask(net, replace(FEW, min_tracks=6, max_tracks=8)).accuracy() >= 0.9


def test_a_head_of_places_learns_the_place_where_the_first_always_leads():
    first = replace(TONES, first_p=1.0)
    net = train(places(), first, steps=60, permute=False)
    assert ask(net, replace(FEW, first_p=1.0)).accuracy() >= 0.7
    assert ask(net, FEW).accuracy() <= 0.6


def test_answers_by_hand():
    answers = Answers([np.array([0, 1, 2]), np.array([0, 0])], [np.array([0, 1, 1]), np.array([2, 0])])
    assert answers.accuracy() == pytest.approx(3 / 5)
    assert answers.null()["null_recall"] == pytest.approx(2 / 3)


def test_all_checks_together_make_the_record_and_some_of_them_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(lead_checks, "LEARNT", {"one": lambda steps: ({"steps": steps}, [harness.goal("g", 1.0, 0.5)])})
    monkeypatch.setattr(lead_checks, "USED", {"two": lambda: ({"used": True}, [])})
    assert lead_checks.main(["--only", "one", "--steps", "3"]) == 0
    assert not list(tmp_path.iterdir())
    assert lead_checks.main(["--steps", "3"]) == 0
    record = json.loads((tmp_path / "lead-checks.json").read_text())
    assert record["results"] == {"steps": 3, "one": {"steps": 3}, "two": {"used": True}}
    assert record["goals"][0]["met"]
    assert '"steps": 3' in capsys.readouterr().out
