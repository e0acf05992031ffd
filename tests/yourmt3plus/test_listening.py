"""Recordings of any length through a network that tells maps: what comes out does not depend on how it goes in."""

import numpy as np
import pytest
import torch

from yourmt3plus.front_ends import ConstantQ
from yourmt3plus.inference import begin, listen, transcribe
from yourmt3plus.listener import Listener
from yourmt3plus.listening import MapModel
from yourmt3plus.programs import MULTI
from yourmt3plus.reading import Thresholds

RATE, N_SAMPLES = 16_000, 32_640


@pytest.fixture(scope="module")
def model() -> MapModel:
    """Random weights that hear notes everywhere."""
    torch.manual_seed(0)
    net = Listener(ConstantQ(hop_length=384), salience=4)
    with torch.no_grad():
        for told in (net.salience.notes, net.salience.drums):
            told.bias.zero_()
            told.weight.mul_(8.0)
    return MapModel(net.eval(), "random", thresholds=Thresholds(0.5, 0.5, 0.6))


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE)).astype(np.float32)


def test_how_many_segments_are_heard_at_a_time_changes_nothing(model):
    audio = noise(11.0)
    notes = transcribe(audio, RATE, model=model, batch_size=4)
    assert len(notes) > 50
    assert notes.is_drum.any()
    assert not notes.is_drum.all()
    for size in (1, 3, 100):
        other = transcribe(audio, RATE, model=model, batch_size=size)
        assert np.array_equal(other.pitch, notes.pitch)
        assert np.array_equal(other.program, notes.program)
        np.testing.assert_allclose(other.intervals, notes.intervals, rtol=0, atol=1e-4)  # sums in another order


def test_notes_end_with_the_recording(model):
    notes = transcribe(noise(3.0), RATE, model=model)
    assert notes.offset.max() <= 3.0
    assert notes.onset.max() > 2.1
    assert len(np.unique(notes.track)) == notes.track.max() + 1


def test_only_the_instruments_that_are_asked_for(model):
    audio = noise(6.0)
    everything = transcribe(audio, RATE, model=model)
    channel = MULTI.of(everything)
    assert len(np.unique(channel)) > 1
    for one in np.unique(channel):
        some = transcribe(audio, RATE, model=model, instruments=MULTI.names[one])
        wanted = everything[channel == one]
        assert np.array_equal(some.onset, wanted.onset)
        assert np.array_equal(some.pitch, wanted.pitch)
        assert set(some.track) == {0}


def test_progress_adds_up(model):
    told = []
    listen(begin(model), iter(np.array_split(noise(5.0), 7)), 1, told.append)
    assert sum(told) == pytest.approx(5.0)


def test_segments_must_hold_whole_frames():
    with pytest.raises(ValueError, match="whole frames"):
        MapModel(Listener(ConstantQ(hop_length=512), salience=4).eval())
