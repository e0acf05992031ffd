"""The parts of `benchmarks.lead_use`; the whole of it is recorded in results/lead-checks.json."""

import numpy as np
import pytest
import torch

from benchmarks import lead_use
from benchmarks.lead_checks import ENCODER, POINTER
from lead_detection.model import LeadDetector

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return lead_use.rendered_songs(tmp_path_factory.mktemp("songs"), count=1, seconds=14.0)[0]


def test_distances_by_hand():
    assert lead_use.distances(np.array([1.0, 5.0]), np.array([4.0, 7.0, 0.5])).tolist() == [0.5, 1.0]
    assert lead_use.distances(np.array([1.0]), np.zeros(0)).tolist() == [np.inf]
    assert not lead_use.distances(np.zeros(0), np.array([1.0])).size


def test_a_released_mixture_is_not_the_sum_of_the_stems(song):
    mixture, total = lead_use.master(song, np.random.default_rng(0)), song.multitrack().mixture()
    assert mixture.shape == total.shape
    assert np.isfinite(mixture).all()
    assert abs(np.corrcoef(mixture, total)[0, 1]) < 0.98


def test_a_song_is_judged_with_and_without_its_mixture(song):
    row = lead_use.judge(song, lead_use.load("base"), 0)
    assert row["tracks"] == len(song.instruments)
    assert row["covers the song"]
    for name in ("accuracy with a released mixture", "accuracy without", "frames on which hops agree"):
        assert 0.0 <= row[name] <= 1.0
    assert len(row["s from true changes to the next found"]) >= 1


def test_files_go_through_the_command_line_and_come_back(monkeypatch):
    """With a network that has learnt nothing: what it names is arbitrary, but all outputs say the same."""
    monkeypatch.setattr(lead_use, "LONG_TONES", lead_use.replace(lead_use.LONG_TONES, seconds=15.0))
    torch.manual_seed(0)
    parts = {"encoder": ("LogMelEncoder", ENCODER), "head": ("PointerHead", POINTER)}
    init_args = {part: {"class_path": name, "init_args": args} for part, (name, args) in parts.items()}
    results, goals = lead_use.round_trip(LeadDetector(**init_args), init_args)
    assert results["exit codes"] == [0, 0]
    assert goals[0]["met"]
    assert results["boundaries"] > 0


def test_kept_features_are_those_of_the_encoder():
    results, (size, _, same) = lead_use.check_features(TINY)
    assert not size["met"]  # it is tiny
    assert same["met"]
    assert results["difference / largest"] > 0.0  # half precision was kept
