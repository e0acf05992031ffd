"""What happens to a sound between the instrument and the file: rooms, filters, dynamics, noise.

All functions take float32 [..., time], return the same shape and never delay: the direct sound comes first, so that
onsets keep their place. Whatever is random is drawn from the generator that is handed in.
"""

import numpy as np
from scipy import signal


def gain(audio: np.ndarray, db: float | np.ndarray) -> np.ndarray:
    return audio * np.power(10.0, np.asarray(db) / 20.0).astype(np.float32)


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if audio.size else 0.0


def _fast_length(n_samples: int) -> int:
    """The next length without large prime factors, for which a Fourier transform is quick."""
    return max(-(-n_samples // 1024), 1) * 1024


def _filter(sos: np.ndarray, audio: np.ndarray) -> np.ndarray:
    return np.asarray(signal.sosfilt(sos, audio), np.float32)


def peak(sample_rate: int, hz: float, db: float, q: float) -> np.ndarray:
    """Second-order section (1, 6) of a bell of `db` around `hz` (R. Bristow-Johnson, Audio EQ Cookbook)."""
    a, w = 10.0 ** (db / 40.0), 2.0 * np.pi * hz / sample_rate
    alpha = np.sin(w) / (2.0 * q)
    b = np.array([1.0 + alpha * a, -2.0 * np.cos(w), 1.0 - alpha * a])
    denominator = np.array([1.0 + alpha / a, -2.0 * np.cos(w), 1.0 - alpha / a])
    return np.concatenate([b, denominator])[None] / denominator[0]


def shelf(sample_rate: int, hz: float, db: float, low: bool) -> np.ndarray:
    """Second-order section (1, 6) that lifts what lies below (`low`) or above `hz` by `db`; source as for `peak`."""
    a, w = 10.0 ** (db / 40.0), 2.0 * np.pi * hz / sample_rate
    slope, side = np.sin(w) * np.sqrt(2.0 * a), 1.0 if low else -1.0
    up, down, c = a + 1.0, a - 1.0, side * np.cos(w)
    b = a * np.array([up - down * c + slope, 2.0 * side * (down - up * c), up - down * c - slope])
    denominator = np.array([up + down * c + slope, -2.0 * side * (down + up * c), up + down * c - slope])
    return np.concatenate([b, denominator])[None] / denominator[0]


def equalise(audio: np.ndarray, sections: list[np.ndarray]) -> np.ndarray:
    """Filters with the given `peak` and `shelf` sections."""
    return _filter(np.concatenate(sections), audio)


def band_limit(audio: np.ndarray, sample_rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Only what lies between two frequencies, 12 dB an octave outside: a telephone, a radio, an old record."""
    high_hz = min(high_hz, 0.49 * sample_rate)
    sections = np.asarray(signal.butter(2, (low_hz, high_hz), "bandpass", fs=sample_rate, output="sos"))
    return _filter(sections, audio)


def room(
    sample_rate: int, rng: np.random.Generator, decay: float, wet_db: float, pre_delay: float = 0.01
) -> np.ndarray:
    """A random impulse response, float32 [time]: direct sound 1 at sample 0, six reflections, a tail of noise.

    Args:
        sample_rate: of the response.
        rng: draws the reflections and the tail.
        decay: seconds in which the middle frequencies fall by 60 dB; lows last longer, highs half as long.
        wet_db: energy of everything but the direct sound against the direct sound.
        pre_delay: seconds from the direct sound to the first reflection.
    """
    n_samples = _fast_length(int((pre_delay + decay) * sample_rate) + 1)
    time = np.arange(n_samples) / sample_rate
    noise = np.fft.rfft(rng.standard_normal(n_samples, np.float32))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n_samples, 1.0 / sample_rate), 1.0) / 1000.0)
    response = np.zeros(n_samples)
    # Three bands with raised-cosine borders whose sum is one: centred two octaves below and above 1 kHz, and on it.
    for centre, lasting in ((-2.0, 1.3), (0.0, 1.0), (2.0, 0.5)):
        distance = np.clip(octaves - centre, -2.0 if centre > -2.0 else 0.0, 2.0 if centre < 2.0 else 0.0)
        band = np.fft.irfft(noise * (0.5 + 0.5 * np.cos(0.5 * np.pi * distance)).astype(np.float32), n_samples)
        response += band * 10.0 ** (-3.0 * np.maximum(time - pre_delay, 0.0) / (lasting * decay))
    response *= np.minimum(np.maximum(time - pre_delay, 0.0) / 0.02, 1.0) / max(_rms(response), 1e-12)
    taps = np.minimum(pre_delay + rng.exponential(0.015, 6), time[-1])
    response[(taps * sample_rate).astype(np.int64)] += rng.choice((-1.0, 1.0), 6) * rng.uniform(5.0, 20.0, 6)
    response *= np.sqrt(10.0 ** (wet_db / 10.0) / max(np.sum(response**2), 1e-12))
    response[0] = 1.0
    return response.astype(np.float32)


def reverb(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The sound in a `room`, cut to its own length."""
    response = response.reshape((1,) * (audio.ndim - 1) + (-1,))
    return signal.oaconvolve(audio, response, axes=-1)[..., : audio.shape[-1]].astype(np.float32)


def compress(audio: np.ndarray, sample_rate: int, depth_db: float, ratio: float, release: float = 0.15) -> np.ndarray:
    """Turns down what is louder than `depth_db` below the loudest moment; the loudest moment keeps its level.

    The level is taken every 5 ms, rises at once and falls with the time constant `release`, in seconds.
    """
    hop = max(sample_rate // 200, 1)
    n_hops = -(-audio.shape[-1] // hop)
    padded = np.zeros((*audio.shape[:-1], n_hops * hop), np.float32)
    padded[..., : audio.shape[-1]] = audio
    power = np.mean(padded.reshape(*audio.shape[:-1], n_hops, hop) ** 2, axis=-1) + 1e-10
    pole = np.exp(-hop / (sample_rate * release))
    level = 10.0 * np.log10(np.maximum(power, signal.lfilter([1.0 - pole], [1.0, -pole], power)))
    over = np.maximum(level - level.max(initial=-100.0) + depth_db, 0.0)
    change = (depth_db - over) * (1.0 - 1.0 / ratio)
    centres = (np.arange(n_hops) + 0.5) * hop
    curves = [np.interp(np.arange(audio.shape[-1]), centres, row) for row in change.reshape(-1, n_hops)]
    return gain(audio, np.reshape(curves, audio.shape))


def drive(audio: np.ndarray, db: float) -> np.ndarray:
    """Soft saturation as of an overdriven amplifier: the peak keeps its level, what lies `db` below it comes up."""
    top = max(float(np.abs(audio).max(initial=0.0)), 1e-9)
    push = 10.0 ** (db / 20.0)
    return (np.tanh(audio * (push / top)) * (top / np.tanh(push))).astype(np.float32)


def noise(audio: np.ndarray, sample_rate: int, snr_db: float, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Adds a steady noise floor.

    Args:
        audio: what to add it to.
        sample_rate: of it.
        snr_db: how far the noise lies below the sound, both as RMS; silence counts as -60 dBFS.
        slope: dB per octave: 0 is white, -3 pink, -6 brown.
        rng: draws the noise.
    """
    n_samples = _fast_length(audio.shape[-1])
    spectrum = np.fft.rfft(rng.standard_normal((*audio.shape[:-1], n_samples), np.float32))
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1.0 / sample_rate), 30.0)
    floor = np.fft.irfft(spectrum * (hz ** (slope / 6.0)).astype(np.float32), n_samples)[..., : audio.shape[-1]]
    return audio + floor * np.float32(max(_rms(audio), 1e-3) * 10.0 ** (-snr_db / 20.0) / max(_rms(floor), 1e-12))


def hum(audio: np.ndarray, sample_rate: int, snr_db: float, hz: float = 50.0) -> np.ndarray:
    """Adds the buzz of the mains: `hz` and its next five multiples, falling; levels as in `noise`."""
    time = np.arange(audio.shape[-1]) / sample_rate
    harmonic = np.arange(1.0, 7.0)[:, None]
    buzz = np.sum(np.sin(2.0 * np.pi * hz * harmonic * time) / harmonic, axis=0)
    level = max(_rms(audio), 1e-3) * 10.0 ** (-snr_db / 20.0) / max(_rms(buzz), 1e-12)
    return audio + (buzz * level).astype(np.float32)


def random_eq(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Two shelves and one or two bells of up to about 10 dB."""
    top = 0.4 * sample_rate
    sections = [
        shelf(sample_rate, rng.uniform(80.0, 300.0), rng.normal(0.0, 4.0), low=True),
        shelf(sample_rate, min(rng.uniform(2500.0, 8000.0), top), rng.normal(0.0, 4.0), low=False),
    ]
    for _ in range(rng.integers(1, 3)):
        hz = min(np.exp(rng.uniform(np.log(150.0), np.log(6000.0))), top)
        sections.append(peak(sample_rate, hz, rng.normal(0.0, 5.0), rng.uniform(0.5, 2.0)))
    return equalise(audio, sections)


def random_chain(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """What a recording may have gone through: a few of the effects above in the order of a studio, then any level.

    The level moves by -24 to +6 dB, and what exceeds full scale is clipped, as a file would do.
    """
    if rng.random() < 0.7:
        audio = random_eq(audio, sample_rate, rng)
    if rng.random() < 0.15:
        audio = drive(audio, rng.uniform(0.0, 12.0))
    if rng.random() < 0.5:
        decay = np.exp(rng.uniform(np.log(0.15), np.log(1.5)))
        response = room(sample_rate, rng, decay, rng.uniform(-20.0, 0.0), rng.uniform(0.002, 0.03))
        audio = reverb(audio, response)
    if rng.random() < 0.3:
        audio = compress(audio, sample_rate, rng.uniform(6.0, 24.0), rng.uniform(1.5, 6.0))
    if rng.random() < 0.15:
        audio = band_limit(
            audio, sample_rate, rng.uniform(20.0, 300.0), np.exp(rng.uniform(np.log(2500.0), np.log(9000.0)))
        )
    if rng.random() < 0.6:
        audio = noise(audio, sample_rate, rng.uniform(15.0, 60.0), rng.uniform(-6.0, 0.0), rng)
    if rng.random() < 0.1:
        audio = hum(audio, sample_rate, rng.uniform(25.0, 50.0), rng.choice((50.0, 60.0)))
    return np.clip(gain(audio, rng.uniform(-24.0, 6.0)), -1.0, 1.0)
