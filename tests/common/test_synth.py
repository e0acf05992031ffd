import librosa
import numpy as np
import pytest

from common import synth
from common.notes import Notes
from common.synth import STEP, lines, sung_pitch, synthesise

RATE = 22050
SINGER, PIANO, VIOLIN, ORGAN = 53, 0, 40, 18


def note(pitch=60, program=SINGER, onset=0.0, offset=1.0, velocity=100) -> Notes:
    return Notes.build([onset], [offset], [pitch], velocity, program=program)


def melody(program: int) -> Notes:
    onset = np.arange(8) * 0.5
    return Notes.build(onset, onset + 0.48, [60, 62, 64, 65, 67, 65, 64, 62], 90, program=program)


@pytest.mark.parametrize("program", [SINGER, PIANO, VIOLIN, ORGAN])
@pytest.mark.parametrize("pitch", [55, 69])
def test_pitch_is_near_what_is_written(program, pitch):
    for seed in range(4):
        audio = synthesise(note(pitch, program), RATE, np.random.default_rng(seed), 1.0)
        low, high = librosa.midi_to_hz([pitch - 7, pitch + 7])
        hz = librosa.yin(audio[RATE // 4 : RATE // 2], sr=RATE, fmin=low, fmax=high)
        # A bar rings at its fundamental and far above it; a loose singer may miss by a semitone.
        assert librosa.hz_to_midi(np.median(hz)) == pytest.approx(pitch, abs=0.3 if program == PIANO else 1.2)


@pytest.mark.parametrize("program", [SINGER, PIANO, VIOLIN])
def test_sound_begins_and_ends_with_the_note(program):
    for seed in range(5):
        audio = synthesise(note(60, program, 1.0, 2.0), RATE, np.random.default_rng(seed), 4.0)
        assert audio.dtype == np.float32
        assert len(audio) == 4 * RATE
        assert np.abs(audio).max() == pytest.approx(0.5)
        before, late = audio[: round(0.85 * RATE)], audio[round(3.0 * RATE) :]
        assert np.abs(before).max() < 0.01
        assert np.abs(late).max() < 0.01
        assert np.sqrt(np.mean(audio[RATE : round(1.5 * RATE)] ** 2)) > 0.02


@pytest.mark.parametrize("program", [SINGER, PIANO, VIOLIN])
def test_a_seed_is_a_player(program):
    first, again, other = (synthesise(melody(program), RATE, np.random.default_rng(seed), 4.0) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    spectra = [np.abs(np.fft.rfft(audio)) for audio in (first, other)]
    cosine = spectra[0] @ spectra[1] / np.prod([np.linalg.norm(spectrum) for spectrum in spectra])
    assert cosine < 0.95


def test_slurred_notes_are_one_breath_and_others_are_not():
    apart = Notes.build([0.0, 1.0], [0.5, 1.5], [60, 64], 100, program=SINGER)
    slurred = apart.replace(offset=np.array([0.98, 1.5]))
    for seed in range(5):
        quiet = [
            np.abs(
                synthesise(notes, RATE, np.random.default_rng(seed), 1.5)[round(0.8 * RATE) : round(0.88 * RATE)]
            ).max()
            for notes in (apart, slurred)
        ]
        assert quiet[0] < 0.05 < quiet[1]


def test_chords_are_dealt_to_as_many_players_as_they_need():
    notes = Notes.build([0.0, 0.0, 1.0, 1.0, 2.0], [1.0, 1.5, 2.0, 2.0, 3.0], [60, 64, 62, 65, 60], 90)
    parts = lines(notes)
    assert len(parts) == 3  # at 1.0 the second still plays and two more begin, one of them a third
    assert sorted(np.concatenate([part.pitch for part in parts]).tolist()) == sorted(notes.pitch.tolist())
    for part in parts:
        assert (part.onset[1:] >= part.offset[:-1] - synth.LEGATO).all()


def test_a_trained_singer_keeps_the_pitch_and_a_loose_one_does_not():
    notes = melody(SINGER)
    time = np.arange(round(4.0 / STEP)) * STEP
    written = notes.pitch[np.searchsorted(notes.onset, time, side="right") - 1]
    misses = [
        np.mean([np.abs(sung_pitch(notes, time, loose, np.random.default_rng(i)) - written).mean() for i in range(20)])
        for loose in (0.0, 1.0)
    ]
    assert misses[0] < 0.35
    assert misses[1] > 1.5 * misses[0]


def test_a_glide_is_half_way_at_the_onset():
    notes = Notes.build([0.0, 1.0], [1.0, 2.0], [60, 67], 100)
    time = np.arange(round(2.0 / STEP)) * STEP
    curves = [sung_pitch(notes, time, 1.0, np.random.default_rng(seed)) for seed in range(200)]
    assert np.median(curves, axis=0)[round(1.0 / STEP)] == pytest.approx(63.5, abs=0.5)


def test_partials_are_the_sum_of_decaying_cosines():
    hz, decay, amplitude = np.array([110.0, 333.3]), np.array([3.0, 9.0]), np.array([0.5, 0.2j])
    time = np.arange(1000) / RATE
    expected = sum(
        np.real(a * np.exp((-d + 2j * np.pi * f) * time)) for f, d, a in zip(hz, decay, amplitude, strict=True)
    )
    assert synth._ringing(hz, decay, amplitude, RATE, 1000) == pytest.approx(expected, abs=1e-10)


def test_harmonics_are_the_sum_of_sines():
    steps = 30
    n_samples = int(STEP * RATE * (steps - 1))
    f0, amplitude = np.full(steps, 441.0), np.outer([1.0, 0.0, 0.25], np.ones(steps))
    phase = 2 * np.pi * 441.0 * np.arange(1, n_samples + 1) / RATE
    expected = np.sin(phase) + 0.25 * np.sin(3 * phase)
    assert synth._harmonics(f0, amplitude, RATE, n_samples) == pytest.approx(expected, abs=1e-9)


def test_nothing_sounds_above_the_headroom():
    for program in (SINGER, PIANO, ORGAN):
        audio = synthesise(note(96, program), 16000, np.random.default_rng(0), 1.0)
        power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
        assert power[int(0.47 * len(audio)) :].sum() < 1e-3 * power.sum()


def test_no_notes_are_silence():
    assert not synthesise(Notes.empty(), RATE, np.random.default_rng(0), 0.5).any()
