import csv
import json

import pytest
import torch
from torch import nn

from benchmarks import harness, smoke
from benchmarks.harness import Usage
from common.frames import FrameGrid


class OneConvolution(nn.Module):
    grid = FrameGrid(1000, 10)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 5, padding=2)
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def forward(self, audio):
        return self.conv(audio[:, None])


def test_multiplications_by_hand():
    net = OneConvolution()
    assert smoke.macs_per_second(net, seconds=2.0) == 1000 * 4 * 5
    assert smoke.n_parameters(net) == 4 * 5 + 4


def test_the_papers_network_costs_what_the_study_counted():
    """8.04 GFLOP for 900 frames of the reference code: 4.47 million multiplications a frame."""
    net = smoke.NETWORKS["paper"]()
    assert smoke.macs_per_second(net, 4.0) / (22050 / 256) == pytest.approx(4.47e6, rel=0.03)


@pytest.fixture
def quick(tmp_path, monkeypatch, tiny_corpus):
    """Everything but the processes: a run that is there already, and times that nobody has measured."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setenv("TUTTI_DATA", str(tiny_corpus.folder.parents[1]))
    columns = ["step", "train/loss_step", "val/note_f1", "val/note_offset_f1", "val/frame_f1"]
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        rows = [[0, 9.0, "", "", ""], [29, "", 0.1, 0.05, 0.2], [58, 1.5, "", "", ""], [59, "", 0.3, 0.15, 0.4]]
        csv.writer(file).writerows([columns, *rows])
    monkeypatch.setattr(smoke, "train", lambda folder, *options: tmp_path)

    def time_commands(path, folder, rounds, peer):
        usages = {name: [Usage(1.0, 2.0, 100.0), Usage(1.0, 2.0, 90.0)] for name in smoke.MODELS}
        return usages | ({"Basic Pitch": [Usage(4.0, 6.0, 300.0)] * 2} if peer else {})

    monkeypatch.setattr(smoke, "time_commands", time_commands)
    return tmp_path / "train-amt-smoke.json"


def test_one_record_has_what_a_smoke_test_is_to_tell(quick, monkeypatch):
    monkeypatch.setattr(smoke, "installed", list)
    assert smoke.main() == 0
    results = json.loads(quick.read_text())["results"]
    assert results["training"] == {
        "steps": smoke.STEPS,
        "first_loss": 9.0,
        "last_loss": 1.5,
        "note_f1": 0.3,
        "note_offset_f1": 0.15,
        "frame_f1": 0.4,
    }
    assert results["networks"]["paper"]["parameters"] == 18_978
    assert results["networks"]["Basic Pitch"]["parameters"] == 16_782
    assert results["transcribe"]["cpu_time_of_basic_pitch"]["base"]["median"] == 3.0
    assert results["transcribe"]["peak_mb"]["base"] == 100.0
    assert 0.3 < results["scores"]["base"]["note_f1"] <= 1.0


def test_without_the_peer_there_is_no_ratio(quick, monkeypatch):
    monkeypatch.setattr(smoke, "installed", lambda peers: [])
    assert smoke.main() == 0
    record = json.loads(quick.read_text())
    assert "cpu_time_of_basic_pitch" not in record["results"]["transcribe"]
    assert not any("Basic Pitch" in row["goal"] for row in record["goals"])
