import numpy as np
import pytest

from common.notes import Notes
from yourmt3plus.augment import PitchShift, move, run_faster, samples_to_read, speed

RATE = 16_000
N_SAMPLES = 32_767
SHIFTS = (-2, -1, 0, 1, 2)


def tone(hz: float, n_samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE).astype(np.float32)


def frequency(audio: np.ndarray) -> float:
    """Of a tone, by a parabola through the peak of its logarithmic spectrum."""
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 4 * len(audio))))
    at = int(np.argmax(spectrum))
    left, middle, right = spectrum[at - 1 : at + 2]
    return (at + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / (4 * len(audio))


@pytest.mark.parametrize("semitones", SHIFTS)
def test_a_tone_moves_by_so_many_semitones_and_keeps_its_length_and_level(semitones):
    moved = run_faster(tone(440.0, samples_to_read(N_SAMPLES, semitones)), semitones, N_SAMPLES)
    assert moved.shape == (N_SAMPLES,)
    assert moved.dtype == np.float32
    cents = 1200 * np.log2(frequency(moved) / (440.0 * 2 ** (semitones / 12)))
    assert abs(cents) < 1.0
    assert np.abs(moved[100:-100]).max() == pytest.approx(1.0, abs=0.01)


def test_nothing_comes_back_from_above_half_the_rate():
    moved = run_faster(tone(7800.0, samples_to_read(N_SAMPLES, 2)), 2, N_SAMPLES)
    assert np.sqrt(np.mean(moved[100:-100] ** 2)) < 0.02


@pytest.mark.parametrize("semitones", SHIFTS)
def test_notes_sound_where_they_are_written(semitones):
    """A tone burst of 100 ms, heard and written after the shift."""
    start = 1.2
    audio = np.zeros(samples_to_read(N_SAMPLES, semitones), np.float32)
    audio[round(start * RATE) : round((start + 0.1) * RATE)] = 1.0
    moved = np.abs(run_faster(audio, semitones, N_SAMPLES)) > 0.5
    notes, _ = move(Notes.build([start], [start + 0.1], 69), semitones)
    heard = np.flatnonzero(moved)[[0, -1]] / RATE
    assert heard == pytest.approx(notes.intervals[0], abs=2e-4)


@pytest.mark.parametrize("semitones", SHIFTS)
def test_labels_move_with_the_audio_and_hits_keep_their_keys(semitones):
    notes = Notes.build([0.0, 0.5, 1.0], [0.4, 0.9, 1.1], [60, 64, 38], is_drum=[False, False, True])
    moved, lost = move(notes, semitones)
    assert moved.pitch.tolist() == [60 + semitones, 64 + semitones, 38]
    assert moved.onset * float(speed(semitones)) == pytest.approx(notes.onset)
    assert float(speed(semitones)) == pytest.approx(2 ** (semitones / 12), rel=1e-4)
    assert lost == 0


def test_notes_that_leave_the_keyboard_are_dropped_and_counted():
    notes = Notes.build([0.0] * 4, [1.0] * 4, [127, 1, 126, 127], is_drum=[False, False, False, True])
    for semitones, kept, gone in ((1, [2, 127, 127], 1), (-2, [125, 124, 127], 1), (2, [3, 127], 2)):
        moved, lost = move(notes, semitones)
        assert (moved.pitch.tolist(), lost) == (kept, gone)


def test_labels_can_be_lost_as_the_released_code_loses_them():
    moved, lost = move(Notes.build([0.0, 0.0], [1.0, 1.0], [60, 127]), 2, labels="dropped")
    assert (moved.pitch.tolist(), lost) == ([60, 127], 0)


def test_all_shifts_are_drawn_equally_often():
    rng = np.random.default_rng(0)
    counts = np.bincount([PitchShift().draw(rng) + 2 for _ in range(5000)])
    assert len(counts) == 5
    assert np.abs(counts / 5000 - 0.2).max() < 0.02
    assert {PitchShift(most=0).draw(rng) for _ in range(5)} == {0}
