import numpy as np
import pytest

from common import effects

RATE = 22050


def click(at: int = 4000, length: int = RATE) -> np.ndarray:
    audio = np.zeros(length, np.float32)
    audio[at : at + 2000] = 0.5 * np.exp(-np.arange(2000) / 300.0) * np.sin(0.3 * np.arange(2000))
    return audio


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.25 * np.sin(2.0 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def level_db(audio: np.ndarray) -> float:
    return float(10.0 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))


def response_db(sections: np.ndarray, hz: float) -> float:
    """The gain of a filter at a frequency, from its coefficients."""
    z = np.exp(-2j * np.pi * hz / RATE * np.arange(3))
    return float(sum(20.0 * np.log10(abs(s[:3] @ z) / abs(s[3:] @ z)) for s in sections))


@pytest.mark.parametrize("seed", range(40))
def test_chain_keeps_shape_onset_and_sane_levels(seed):
    audio = np.stack([click(), click(4000)])
    changed = effects.random_chain(audio, RATE, np.random.default_rng(seed))
    assert changed.shape == audio.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert np.abs(changed).max() <= 1.0
    assert -26.0 - 15.0 < level_db(changed) - level_db(audio) < 6.0 + 15.0
    # The attack is where it was: most of the energy that comes, and none that was not there before, except noise.
    before, after = (level_db(changed[:, at : at + 44]) for at in (4000 - 45, 4000))
    assert after > before + 6.0


def test_chain_is_seeded_and_leaves_its_input_alone():
    audio = click()
    first, again, other = (effects.random_chain(audio, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(audio, click())


@pytest.mark.parametrize("length", [1, 100])
def test_chain_takes_silence_and_almost_nothing(length):
    for seed in range(30):
        changed = effects.random_chain(np.zeros(length, np.float32), RATE, np.random.default_rng(seed))
        assert changed.shape == (length,)
        assert np.isfinite(changed).all()
        assert np.abs(changed).max(initial=0.0) < 0.1


def test_bell_and_shelves_do_what_they_are_named_for():
    bell = effects.peak(RATE, 1000.0, 9.0, 1.0)
    assert [response_db(bell, hz) for hz in (1000.0, 20.0, 10900.0)] == pytest.approx([9.0, 0.0, 0.0], abs=0.1)
    low, high = effects.shelf(RATE, 300.0, -6.0, low=True), effects.shelf(RATE, 3000.0, 5.0, low=False)
    assert [response_db(low, hz) for hz in (10.0, 300.0, 9000.0)] == pytest.approx([-6.0, -3.0, 0.0], abs=0.1)
    assert [response_db(high, hz) for hz in (20.0, 3000.0, 10900.0)] == pytest.approx([0.0, 2.5, 5.0], abs=0.1)


def test_equaliser_filters_with_its_sections():
    audio = tone(1000.0)
    louder = effects.equalise(audio, [effects.peak(RATE, 1000.0, 6.0, 1.0), effects.peak(RATE, 1000.0, 3.0, 2.0)])
    assert level_db(louder[2000:]) - level_db(audio[2000:]) == pytest.approx(9.0, abs=0.1)


def test_band_limit_keeps_the_middle():
    change = [
        level_db(effects.band_limit(tone(hz), RATE, 300.0, 3000.0)[2000:]) - level_db(tone(hz))
        for hz in (50, 900, 9000)
    ]
    assert change[0] < -20.0
    assert abs(change[1]) < 1.0
    assert change[2] < -18.0


def test_room_has_its_direct_sound_first_and_decays_as_told():
    rng = np.random.default_rng(0)
    for decay in (0.3, 1.2):
        response = effects.room(RATE, rng, decay, wet_db=-3.0, pre_delay=0.02)
        assert response[0] == 1.0
        assert not response[1 : int(0.019 * RATE)].any()
        assert np.sum(np.square(response[1:])) == pytest.approx(10**-0.3, rel=1e-3)
        # Energy decay curve (Schroeder) between -5 and -25 dB, stretched to 60 dB.
        curve = 10.0 * np.log10(np.cumsum(np.square(response[int(0.12 * RATE) :], dtype=np.float64)[::-1])[::-1])
        times = [np.argmax(curve < curve[0] - db) / RATE for db in (5.0, 25.0)]
        assert 3.0 * (times[1] - times[0]) == pytest.approx(decay, rel=0.35)


def test_highs_decay_sooner_than_lows():
    response = effects.room(RATE, np.random.default_rng(1), 1.0, 0.0)[int(0.05 * RATE) :]
    spectra = [np.abs(np.fft.rfft(response[at : at + 4410])) ** 2 for at in (0, RATE // 2)]
    hz = np.linspace(0.0, RATE / 2, len(spectra[0]))
    low, high = hz < 500.0, hz > 5000.0
    falls = [10.0 * np.log10(spectra[0][band].sum() / spectra[1][band].sum()) for band in (low, high)]
    assert falls[1] > falls[0] + 10.0


def test_reverb_is_the_convolution_cut_to_length():
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, 3000)).astype(np.float32)
    response = effects.room(RATE, rng, 0.2, 0.0)
    expected = np.stack([np.convolve(row, response)[:3000] for row in audio])
    assert np.allclose(effects.reverb(audio, response), expected, atol=1e-4)


def test_compressor_brings_soft_and_loud_together():
    audio = np.concatenate([tone(440.0, 2.0), 0.1 * tone(440.0, 2.0)])
    changed = effects.compress(audio, RATE, depth_db=30.0, ratio=4.0)
    loud, soft = (level_db(changed[at + RATE : at + 2 * RATE - 500]) for at in (0, 2 * RATE))
    assert loud == pytest.approx(level_db(tone(440.0)), abs=0.3)
    assert loud - soft == pytest.approx(20.0 / 4.0, abs=0.5)


def test_drive_saturates_and_keeps_the_peak():
    audio = tone(440.0)
    driven = effects.drive(audio, 12.0)
    assert np.abs(driven).max() == pytest.approx(np.abs(audio).max(), rel=1e-4)
    assert level_db(driven) > level_db(audio) + 1.5
    assert np.argmax(np.abs(driven) > 0.1) <= np.argmax(np.abs(audio) > 0.1)


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
def test_noise_has_its_level_and_slope(slope):
    audio = tone(440.0, 10.0)
    added = effects.noise(audio, RATE, 30.0, slope, np.random.default_rng(0)) - audio
    assert level_db(audio) - level_db(added) == pytest.approx(30.0, abs=0.1)
    power = np.abs(np.fft.rfft(added)) ** 2
    hz = np.fft.rfftfreq(len(added), 1 / RATE)
    octaves = [10.0 * np.log10(power[(hz > low) & (hz < 2 * low)].mean()) for low in (250.0, 2000.0)]
    assert (octaves[1] - octaves[0]) / 3.0 == pytest.approx(slope, abs=0.3)


def test_hum_is_the_mains():
    added = effects.hum(np.zeros(RATE, np.float32), RATE, 0.0, 50.0)
    assert level_db(added) == pytest.approx(-60.0, abs=0.1)
    assert sorted(np.argsort(np.abs(np.fft.rfft(added)))[-6:]) == [50, 100, 150, 200, 250, 300]


def test_gain_is_in_decibels():
    assert np.allclose(effects.gain(np.ones(3, np.float32), -20.0), 0.1)
    assert effects.gain(np.ones(3, np.float32), 6.0).dtype == np.float32
