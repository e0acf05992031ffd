import numpy as np
import pytest
import torch

from benchmarks import harness
from benchmarks.speed import lead


@pytest.fixture(scope="module")
def training():
    torch.set_num_threads(1)
    return lead.Training("2-26 tracks")


def test_both_layouts_hold_the_same_clips(training):
    for ragged, padded in zip(training.layouts["ragged"], training.layouts["padded"], strict=True):
        counts = torch.bincount(ragged["clip"])
        assert torch.equal(torch.bincount(padded["clip"]), torch.full_like(counts, int(counts.max())))
        for i, count in enumerate(counts):
            rows = padded["audio"][padded["clip"] == i]
            assert torch.equal(rows[:count], ragged["audio"][ragged["clip"] == i])
            assert not rows[count:].any()
        assert torch.equal(ragged["mixture"], padded["mixture"])
        assert torch.equal(ragged["lead"], padded["lead"])
    for layout in ("ragged", "padded"):
        batches = training.layouts[layout]
        assert training.encoded[layout] == sum(len(batch["audio"]) + len(batch["mixture"]) for batch in batches)


def test_a_step_of_either_layout_trains(training, monkeypatch):
    for layout in ("ragged", "padded"):
        monkeypatch.setitem(training.layouts, layout, training.layouts[layout][:1])
        before = training.net.head.track.weight.clone()
        training(layout)
        assert not torch.equal(before, training.net.head.track.weight)


def test_tracks_are_as_many_as_the_data_has():
    rng = np.random.default_rng(0)
    for tracks, (low, high) in lead.TRACKS.items():
        counts = np.array([lead.n_tracks(tracks, rng) for _ in range(400)])
        assert counts.min() >= low
        assert counts.max() <= high
    assert counts.mean() == pytest.approx(lead.MEAN, rel=0.1)  # MedleyDB's


def test_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    entry = {"clips_per_cpu_second": {"ragged": 2.0, "padded": 1.0}}
    lengths = {f"{seconds} s": {"times_real_time": 9.0, "peak_mb": 300.0} for seconds in lead.LENGTHS}
    harness.bars("lead", lead.pictures({"training": dict.fromkeys(lead.TRACKS, entry), "detection": lengths}))
    assert (tmp_path / "lead.png").stat().st_size > 0
