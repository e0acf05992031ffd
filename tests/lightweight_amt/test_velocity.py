import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW, N_PITCHES
from lightweight_amt.velocity import Loudness, VelocityRule, evidence, local_level, pitch_energy

GRID = FrameGrid(22_050, 256)
RULE = VelocityRule(centre=70.0, confidence=10.0, energy=5.0, level=8.0)


def test_a_rule_weighs_loudness_against_the_median_note():
    notes = Notes.build([0.0, 1.0, 2.0], [0.5, 1.5, 2.5], [60, 62, 64], confidence=[0.5, 1.0, 0.0])
    loudness = np.array([[-3.0, -9.0], [-1.0, -8.0], [-4.0, -8.5]])
    # Medians -3 and -8.5.
    assert RULE(notes, loudness).tolist() == [70 + 5 + 0 - 4, 70 + 10 + 10 + 4, 70 + 0 - 5 + 0]
    assert RULE(notes, loudness + np.array([20.0, -7.0])).tolist() == RULE(notes, loudness).tolist()


def test_velocities_stay_within_midi():
    notes = Notes.build([0.0, 1.0, 2.0], [0.5, 1.5, 2.5], 60)
    assert RULE(notes, np.array([[-99.0, 0.0], [0.0, 0.0], [99.0, 0.0]])).tolist() == [1, 80, 127]


def test_unknown_loudness_is_the_median():
    notes = Notes.build([0.0, 1.0, 2.0], [0.5, 1.5, 2.5], 60)
    loudness = np.array([[-3.0, -9.0], [np.nan, np.nan], [-3.0, -9.0]])
    assert RULE(notes, loudness).tolist() == [80, 80, 80]
    assert RULE(notes, np.full((3, 2), np.nan)).tolist() == [80, 80, 80]
    assert evidence(Notes.empty(), np.empty((0, 2))).shape == (0, 3)


def test_energy_of_a_pitch_sums_its_partials():
    energy = np.zeros((288, 4))
    row = 60 - LOW
    for partial, value in ((12, 0.5), (19, 0.25), (30, 9.0)):  # nothing of the pitch lies 30 semitones above it
        energy[3 * (row + partial)] = value
    energy[3 * row : 3 * row + 3] = np.array([0.2, 1.0, 0.4])[:, None]  # the three bins of one peak
    with np.errstate(divide="ignore"):
        assert np.exp(pitch_energy(np.log(energy)))[row] == pytest.approx(1.75)
    assert pitch_energy(np.zeros((288, 4)))[N_PITCHES - 1] == pytest.approx(np.log(2))  # beyond the bins is nothing


@pytest.mark.parametrize("n_samples", [1, 256, 30_000, 60_001])
def test_level_is_the_mean_square_of_two_seconds(n_samples):
    audio = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    level = local_level(audio, GRID)[0]
    assert len(level) == GRID.n_frames(n_samples)
    for frame, value in enumerate(level):
        around = audio[max(256 * frame - 22_050, 0) : 256 * frame + 22_051]
        assert value == pytest.approx(np.log(np.mean(np.square(around.astype(np.float64)))), abs=1e-5)


def test_silence_has_a_level():
    assert local_level(np.zeros(1000, np.float32), GRID) == pytest.approx(np.log(1e-10))


def test_loudness_of_a_note_is_the_largest_of_its_attack():
    frame = np.zeros((N_PITCHES, 100), np.float32)
    frame[60 - LOW, 10:80] = 0.9
    log_energy = np.full((288, 100), -16.0, np.float32)
    log_energy[3 * (60 - LOW) + 1, [8, 15, 60]] = [3.0, 1.0, 2.0]  # before it, in its attack, long after
    level = np.linspace(-9.0, -8.0, 100, dtype=np.float32)[None]
    loudness = Loudness()
    for part in (slice(0, 12), slice(12, 100)):
        loudness.push(frame[:, part], log_energy[:, part], level[:, part])
    notes = Notes.build(GRID.times(np.array([10, 10])), GRID.times(np.array([80, 80])), [60, 61])
    known, unknown = loudness.of(notes, GRID)
    assert known == pytest.approx([1.0, level[0, 26]], abs=1e-3)  # 0.2 s are 17 frames
    assert np.isnan(unknown).all()
    assert np.isnan(Loudness().of(notes, GRID)).all()
