import numpy as np
import pytest
import torch

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.bends import NoteBends, smooth
from lightweight_amt.decode import LOW, N_PITCHES

RATE = 22_050
GRID = FrameGrid(RATE, 256)
TIME = np.arange(2 * RATE) / RATE


def tone(pitch: int, cents: np.ndarray | float) -> np.ndarray:
    """Six partials, moved by cents at each sample."""
    hz = 440.0 * 2.0 ** ((pitch - 69 + np.broadcast_to(cents, TIME.shape) / 100.0) / 12.0)
    phase = 2.0 * np.pi * np.cumsum(hz) / RATE
    return 0.1 * np.sum([np.sin(h * phase) / h for h in range(1, 7)], axis=0)


@pytest.fixture(scope="module")
def hear(networks):
    """Audio and the notes that are said to sound in it -> bends."""

    def bends(audio: np.ndarray, notes: Notes, cuts=()) -> np.ndarray:
        with torch.inference_mode():
            log_energy = networks["ours"].log_energy(torch.from_numpy(audio.astype(np.float32))[None])[0].numpy()
        frame = np.zeros((N_PITCHES, log_energy.shape[1]), np.float32)
        frame[notes.pitch - LOW] = 0.9
        listener = NoteBends()
        for part in np.split(np.arange(frame.shape[1]), cuts):
            listener.push(frame[:, part], log_energy[:, part])
        return listener.of(notes, GRID)

    return bends


def inside(points: np.ndarray) -> np.ndarray:
    """Away from the edges of the sound."""
    return points[(points["seconds"] > 0.4) & (points["seconds"] < 1.6)]


@pytest.mark.parametrize("pitch", [36, 45, 57, 65, 72, 90])
@pytest.mark.parametrize("cents", [-45.0, 0.0, 20.0])
def test_a_note_out_of_tune(pitch, cents, hear):
    points = hear(tone(pitch, cents), Notes.build([0.1], [1.9], [pitch]))
    assert np.abs(inside(points)["cents"] - cents).max() < 1.0
    assert points["seconds"][0] == 0.1
    assert points["seconds"][-1] < 1.9
    assert np.diff(points["seconds"]).min() > 0
    assert len(points) == 155  # frames 9 .. 163


@pytest.mark.parametrize("pitch", [48, 60, 67, 79])
def test_a_vibrato_is_followed(pitch, hear):
    cents = 40.0 * np.sin(2.0 * np.pi * 5.5 * TIME)
    points = inside(hear(tone(pitch, cents), Notes.build([0.0], [2.0], [pitch])))
    truth = np.interp(points["seconds"], TIME, cents)
    assert np.abs(points["cents"] - truth).mean() < 7.0  # of 25 where the pitch stands still
    assert np.corrcoef(points["cents"], truth)[0, 1] > 0.99


def test_neighbours_do_not_pull(hear):
    """A semitone and an octave apart; the octave hides the partial that would be listened to."""
    notes = Notes.build([0.0] * 3, [2.0] * 3, [60, 61, 72])
    points = inside(hear(tone(60, 15.0) + tone(61, -10.0) + tone(72, -20.0), notes))
    for note, cents in enumerate((15.0, -10.0, -20.0)):
        assert np.median(points["cents"][points["note"] == note]) == pytest.approx(cents, abs=6.0)


def test_blocks_do_not_matter(hear):
    audio, notes = tone(60, 20.0 * np.sin(10.0 * TIME)), Notes.build([0.2, 1.0], [0.9, 1.8], [60, 60])
    assert np.array_equal(hear(audio, notes), hear(audio, notes, (20, 21, 100)))


def test_silence_and_nothing(hear):
    assert len(hear(tone(60, 0.0), Notes.empty())) == 0
    assert len(NoteBends().of(Notes.build([0.0], [1.0], [60]), GRID)) == 0
    points = hear(np.zeros(RATE), Notes.build([0.0], [0.5], [60]))
    assert np.isfinite(points["cents"]).all()


def test_smoothing_is_a_weighted_mean_within_a_note():
    rng = np.random.default_rng(0)
    note, frame = np.repeat([0, 1, 2], [5, 1, 14]), np.cumsum(rng.integers(1, 3, 20))
    cents, energy = rng.normal(0.0, 30.0, 20), rng.random(20)
    expected = []
    for i in range(20):
        weight = [
            energy[j] * np.exp(-0.5 * (frame[j] - frame[i]) ** 2) if note[i] == note[j] and abs(i - j) <= 3 else 0.0
            for j in range(20)
        ]
        expected.append(np.dot(weight, cents) / np.sum(weight))
    assert smooth(note, frame, cents, energy) == pytest.approx(expected)
