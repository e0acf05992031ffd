import librosa
import numpy as np
import pytest

from lead_detection.descriptors import (
    HOP,
    SAMPLE_RATE,
    Structure,
    describe,
    find_structure,
    pitch_features,
    sound_features,
)

WHOLE = Structure(np.array([0.0, 10.0, 40.0]), np.array([0, 1]))


def sine(frequency: float, seconds: float, sample_rate: int = SAMPLE_RATE, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def test_a_sine_by_hand():
    centroid, largest, crossings, crest, flux = sound_features(sine(1000, 2.0))[:5, 5:-5]
    assert centroid == pytest.approx(1000, rel=0.05)
    assert largest == pytest.approx(0.3, rel=1e-3)
    assert crossings == pytest.approx(2 * 1000 / SAMPLE_RATE, rel=0.05)
    assert (crest > 100).all()  # all of it in a few of 1025 bins
    assert (flux < 0.1).all()
    pitch, sure = pitch_features(sine(440, 2.0))[:, 5:-5]
    assert pitch == pytest.approx(69, abs=0.2)
    assert (sure > 0.5).all()


def test_noise_is_flat_and_has_no_pitch():
    noise = (0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    features = sound_features(noise)
    assert (features[3] < 10).all()
    assert features[2].mean() == pytest.approx(0.5, abs=0.05)
    assert pitch_features(noise)[1].mean() < 0.3


def test_all_features_have_one_clock():
    samples = sine(300, 1.3)
    assert sound_features(samples).shape == (17, 1 + len(samples) // HOP)
    assert abs(pitch_features(samples).shape[1] - (1 + len(samples) // HOP)) <= 1


def test_a_clip_is_42_numbers_of_finite_size():
    features = describe(sine(440, 2.0, 24_000), 24_000, 9.0, WHOLE)
    assert features.shape == (42,)
    # One second in a section of a quarter of the song, one in one of three quarters.
    assert features[19] == pytest.approx(0.5, abs=0.02)
    assert features[19 + 21] == pytest.approx(0.25, abs=0.02)
    assert features[17] == pytest.approx(69, abs=0.5)
    assert np.isfinite(describe(np.zeros(48_000, np.float32), 24_000, 0.0, WHOLE)).all()


def test_sections_by_hand():
    structure = Structure(np.array([0.0, 10.0, 30.0, 40.0]), np.array([1, 0, 1]))
    times = np.array([-1.0, 0.0, 9.9, 10.0, 35.0, 99.0])
    share, alike = structure.describe(times)
    assert share.tolist() == [0.25, 0.25, 0.25, 0.5, 0.25, 0.25]
    assert alike.tolist() == [2, 2, 2, 1, 2, 2]


def test_a_song_of_three_parts():
    rng = np.random.default_rng(0)
    rate = 16_000
    verse = [sine(220, 12.0, rate) + sine(331, 12.0, rate) + 0.01 * rng.standard_normal(12 * rate) for _ in range(2)]
    song = np.concatenate([verse[0], 0.2 * rng.standard_normal(12 * rate), verse[1]]).astype(np.float32)
    structure = find_structure(song, rate)
    assert structure.edges == pytest.approx([0, 12, 24, 36], abs=0.6)
    assert structure.kind[0] == structure.kind[2] != structure.kind[1]


@pytest.mark.parametrize("seconds", [0.3, 5.0, 40.0])
def test_any_song_has_gapless_sections(seconds):
    structure = find_structure(np.zeros(round(seconds * 8000), np.float32), 8000)
    assert structure.edges[0] == 0
    assert structure.edges[-1] == pytest.approx(seconds)
    assert len(structure.edges) == len(structure.kind) + 1
    assert (np.diff(structure.edges) > 0).all()


def test_mfcc_are_librosas_without_the_first():
    samples = sine(500, 1.0)
    reference = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=13, n_fft=2048, hop_length=HOP)
    assert np.allclose(sound_features(samples)[5:], reference[1:])
