"""Notes -> sound without a SoundFont: players who sing, blow, bow, pluck and strike, no two of them alike.

A SoundFont has one recording of each instrument and strikes every note anew. Here a timbre is drawn for each player:
vowels or a body with resonances of its own, strings stiffer or softer, and legato lines that glide from note to note
under one breath, as voices and bowed strings do. Whoever learns from both hears what they have in common, the notes.
"""

import numpy as np
from scipy import signal

from common.instruments import FAMILY_OF_PROGRAM
from common.notes import Notes
from common.render import CONTROL_STEP, RENDER_RATE

STEP = CONTROL_STEP / RENDER_RATE  # seconds between two values of everything that moves
LEGATO = 0.06  # seconds; a shorter gap is bridged by the breath or the bow
MOST_HARMONICS = 60
HEADROOM = 0.45  # of the sample rate: nothing sounds above
BLOCK = 256  # samples

SUNG = frozenset((52, 53, 54, 85, 91))
STRUCK_FAMILIES = ("Piano", "Chromatic Percussion", "Guitar", "Bass", "Ethnic")
STRUCK = (frozenset(p for p in range(128) if FAMILY_OF_PROGRAM[p] in STRUCK_FAMILIES) | {45, 46}) - {109, 110, 111}

# Formants in Hz of eight vowels of an adult man, after Peterson and Barney (1952); the fourth and fifth hardly move.
VOWELS = np.array(
    [
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410),
        (730, 1090, 2440), (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240),
    ],
    np.float64,
)  # fmt: skip


def synthesise(
    notes: Notes, sample_rate: int, rng: np.random.Generator, seconds: float, tuning_cents: float = 0.0
) -> np.ndarray:
    """The sound of one instrument of no SoundFont; what kind it is follows from the program of the notes.

    Args:
        notes: of one program, with pitches.
        sample_rate: of the result.
        rng: draws the timbre, the intonation and the touch.
        seconds: length of the result.
        tuning_cents: all pitches are moved by this.

    Returns:
        Mono float32 [time] with a peak of 0.5.
    """
    n_samples = round(seconds * sample_rate)
    notes = notes.sort()
    program = int(notes.program[0]) if len(notes) else 0
    if program in STRUCK:
        audio = _struck(notes, sample_rate, rng, n_samples, tuning_cents)
    else:
        timbre = Voice(rng) if program in SUNG else Body(rng)
        audio = np.zeros(n_samples)
        for line in lines(notes):
            audio += _line(line, timbre, sample_rate, rng, n_samples, tuning_cents)
    return (0.5 * audio / max(float(np.abs(audio).max(initial=0.0)), 1e-9)).astype(np.float32)


def lines(notes: Notes) -> list[Notes]:
    """Sorted notes dealt to as few players as can play them one at a time; each goes to whoever rests longest."""
    free_at: list[float] = []
    player = np.zeros(len(notes), np.int64)
    for i, (onset, offset) in enumerate(zip(notes.onset.tolist(), notes.offset.tolist(), strict=True)):
        at = min(range(len(free_at)), key=free_at.__getitem__, default=-1)
        if at < 0 or free_at[at] > onset + LEGATO / 2:
            at = len(free_at)
            free_at.append(0.0)
        player[i], free_at[at] = at, offset
    return [notes[player == i] for i in range(len(free_at))]


def sung_pitch(notes: Notes, time: np.ndarray, looseness: float, rng: np.random.Generator) -> np.ndarray:
    """MIDI pitch at each time, as a voice or a bow finds it: never quite there, gliding, shaking.

    Args:
        notes: one after the other.
        time: seconds, evenly spaced.
        looseness: 0 is a trained player, 1 somebody who sings on the street. Two songs of the vocadito collection, for
            comparison: 0.3 semitones RMS from the nearest semitone, glides of a fifth in a quarter of a second.
        rng: draws all of it.
    """
    loose = 0.15 + 0.85 * looseness
    aimed = notes.pitch + rng.normal(0.0, 0.3 * loose, len(notes))
    steps = np.diff(aimed)
    width = rng.uniform(0.004, 0.008 + 0.035 * loose, len(steps))  # seconds; a glide lasts about five of them
    past = np.clip((time - notes.onset[1:, None]) / np.maximum(width, 1e-3)[:, None], -30.0, 30.0)
    pitch = aimed[0] + steps @ (1.0 / (1.0 + np.exp(-past)))
    pause = np.r_[np.inf, notes.onset[1:] - notes.offset[:-1], np.inf] > LEGATO
    for i in np.flatnonzero(pause[:-1] & (rng.random(len(notes)) < 0.3 + 0.4 * loose)):  # into a phrase from below
        age = time - notes.onset[i]
        depth, width = min(rng.exponential(0.3 + 1.2 * loose), 5.0), rng.uniform(0.02, 0.02 + 0.1 * loose)
        pitch -= depth * np.exp(-np.maximum(age, 0.0) / width) * (age > -LEGATO)
    for i in np.flatnonzero(pause[1:] & (rng.random(len(notes)) < 0.4 * loose)):  # and out of it downwards
        left = notes.offset[i] - time
        inside = (left < 0.5) & (left > -0.2)
        pitch[inside] -= rng.exponential(1.0) * np.exp(-np.maximum(left[inside], 0.0) / rng.uniform(0.03, 0.12))
    drift = np.asarray(signal.lfilter([STEP / 0.15], [1.0, STEP / 0.15 - 1.0], rng.standard_normal(len(time))))
    pitch += drift * (0.05 + 0.25 * loose * rng.random()) / max(float(np.std(drift)), 1e-9)
    current = np.maximum(np.searchsorted(notes.onset, time, side="right") - 1, 0)
    late = np.clip((time - notes.onset[current]) / rng.uniform(0.1, 0.5) - 0.5, 0.0, 1.0)
    depth = rng.uniform(0.0, 0.9) * (rng.random() < 0.7)
    return pitch + depth * late * np.sin(2.0 * np.pi * np.cumsum(rng.uniform(4.5, 6.8) * np.ones(len(time))) * STEP)


class Voice:
    """Vowels that change with the notes, on a source that falls by 6 to 15 dB an octave."""

    def __init__(self, rng: np.random.Generator):
        self.looseness = rng.random()
        self.size = rng.uniform(0.95, 1.3)  # of the vocal tract, against an adult man's; a child's is shorter
        self.slope = rng.uniform(6.0, 13.0)
        self.ring = rng.uniform(0.0, 15.0)  # dB of the singer's formant around 3 kHz
        self.vowels = VOWELS[rng.permutation(len(VOWELS))[: rng.integers(2, len(VOWELS))]]
        self.consonants = rng.uniform(0.0, 0.8)  # how often a note begins with one
        self.breath_db = rng.uniform(-50.0, -22.0)
        self.attack = (0.01, 0.06)
        self.dip = 0.9
        self.odd_only = 0.0

    def resonances(self, note: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Index of the note at each step -> Hz of five formants (formant, step), moving from vowel to vowel."""
        drawn = self.vowels[rng.integers(0, len(self.vowels), note.max(initial=0) + 1)]  # (note, 3)
        formants = np.concatenate([drawn, np.full((len(drawn), 1), 3400.0), np.full((len(drawn), 1), 4200.0)], axis=1)
        glide = signal.lfilter([0.25], [1.0, -0.75], formants[note] - formants[note[0]], axis=0)
        return self.size * (formants[note[0]] + glide).T

    def envelope(self, hz: np.ndarray, resonances: np.ndarray) -> np.ndarray:
        """Level in dB at (harmonic, step) frequencies."""
        level = -self.slope * np.log2(np.maximum(hz, 60.0) / 200.0)
        gains = (12.0, 12.0, 12.0, 8.0 + self.ring, 6.0)
        for centre, db in zip(resonances, gains, strict=True):
            width = 0.5 * (60.0 + 0.04 * centre)
            level += 0.7 * (db + 10.0) / (1.0 + ((hz - centre) / (2.0 * width)) ** 2)
        return level


class Body:
    """A few resonances that stay where they are whatever is played: a fiddle, a pipe, a reed, or none of them."""

    def __init__(self, rng: np.random.Generator):
        self.looseness = rng.random() * 0.7 if rng.random() < 0.4 else 0.0
        count = rng.integers(2, 7)
        self.centres = np.exp(rng.uniform(np.log(250.0), np.log(6000.0), count))
        self.gains = rng.uniform(-12.0, 18.0, count)
        self.widths = rng.uniform(0.15, 0.8, count)  # octaves
        self.slope = rng.uniform(3.0, 15.0)
        self.odd_only = rng.uniform(5.0, 30.0) if rng.random() < 0.25 else 0.0  # dB by which even harmonics lack
        self.consonants = 0.0
        self.breath_db = rng.uniform(-60.0, -25.0)
        self.attack = (0.008, rng.uniform(0.02, 0.08))
        self.dip = rng.uniform(0.0, 0.9)

    def resonances(self, note: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(self.centres[:, None], len(note), axis=1)

    def envelope(self, hz: np.ndarray, resonances: np.ndarray) -> np.ndarray:
        level = -self.slope * np.log2(np.maximum(hz, 60.0) / 200.0)
        for centre, db, width in zip(self.centres, self.gains, self.widths, strict=True):
            level += db * np.exp(-0.5 * (np.log2(np.maximum(hz, 20.0) / centre) / width) ** 2)
        return level


def _line(
    notes: Notes, timbre: Voice | Body, sample_rate: int, rng: np.random.Generator, n_samples: int, tuning: float
) -> np.ndarray:
    """One player's notes, one after the other, each glide and each breath drawn."""
    n_steps = int(n_samples / (STEP * sample_rate)) + 2
    time = np.arange(n_steps) * STEP
    note = np.maximum(np.searchsorted(notes.onset, time, side="right") - 1, 0)
    pitch = sung_pitch(notes, time, timbre.looseness, rng) + tuning / 100.0
    f0 = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    loudness = _loudness(notes, timbre, time, rng) * (1.0 + 0.3 * rng.random() * np.sin(2 * np.pi * 5.5 * time))
    n_harmonics = int(min(HEADROOM * sample_rate / f0.min(), MOST_HARMONICS))
    hz = f0 * np.arange(1, n_harmonics + 1)[:, None]  # (harmonic, step)
    level = timbre.envelope(hz, timbre.resonances(note, rng))
    level[1::2] -= timbre.odd_only
    # Played softly, the upper harmonics go first.
    level += (
        (notes.velocity[note] / 127.0 - 0.8) * rng.uniform(0.0, 8.0) * np.log2(np.arange(1, n_harmonics + 1))[:, None]
    )
    amplitude = np.where(hz < HEADROOM * sample_rate, 10.0 ** (level / 20.0), 0.0)
    amplitude *= loudness / np.maximum(np.sqrt(np.sum(amplitude**2, axis=0)), 1e-9)
    audio = _harmonics(f0, amplitude, sample_rate, n_samples)
    breath = _noise(rng, n_samples, sample_rate, rng.uniform(500.0, 3000.0)) * _at_rate(
        loudness, sample_rate, n_samples
    )
    audio += 10.0 ** (timbre.breath_db / 20.0) * breath
    if timbre.consonants:
        audio += _noise(rng, n_samples, sample_rate, 3000.0) * _consonants(notes, timbre, sample_rate, n_samples, rng)
    return audio


def _loudness(notes: Notes, timbre: Voice | Body, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Amplitude at each time: attacks and releases at the ends of breaths, at most a dip between slurred notes."""
    loudness = np.zeros(len(time))
    ends = notes.offset.copy()
    gaps = np.r_[notes.onset[1:] - ends[:-1], np.inf]
    slurred = gaps < LEGATO
    ends[slurred] = notes.onset[1:][slurred[:-1]]
    strike = True
    for i, (start, end) in enumerate(zip(notes.onset.tolist(), ends.tolist(), strict=True)):
        inside = slice(*np.searchsorted(time, (start, end + 0.2)))
        age, left = time[inside] - start, end - time[inside]
        attack, release = rng.uniform(*timbre.attack), rng.uniform(0.02, 0.15)
        shape = np.interp(age / max(end - start, 0.05), (0.0, 0.3, 1.0), rng.uniform(0.5, 1.0, 3))
        rise = np.minimum(age / attack, 1.0) if strike else 1.0 - rng.uniform(0.0, timbre.dip) * np.exp(-age / 0.03)
        fall = np.ones_like(age) if slurred[i] else np.where(left > 0.0, 1.0, np.exp(left / (release / 3.0)))
        if slurred[i]:
            fall[left < 0.0] = 0.0
        level = 10.0 ** ((notes.velocity[i] / 127.0 - 1.0) * 1.2)
        loudness[inside] = np.maximum(loudness[inside], level * shape * rise * fall)
        strike = not slurred[i]
    return np.asarray(signal.lfilter([0.5], [1.0, -0.5], loudness))


def _consonants(
    notes: Notes, timbre: Voice | Body, sample_rate: int, n_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Amplitude [time] of hiss and plosives just before some of the notes."""
    amplitude = np.zeros(n_samples)
    for onset in notes.onset[rng.random(len(notes)) < timbre.consonants].tolist():
        length = int(rng.uniform(0.015, 0.1) * sample_rate)
        stop = min(int((onset + 0.01) * sample_rate), n_samples)
        start = max(stop - length, 0)
        amplitude[start:stop] = np.hanning(length)[: stop - start] * 10.0 ** (rng.uniform(-35.0, -12.0) / 20.0)
    return amplitude


def _noise(rng: np.random.Generator, n_samples: int, sample_rate: int, hz: float) -> np.ndarray:
    """White noise through one resonance, with an RMS near one."""
    sos = np.asarray(
        signal.butter(1, (0.5 * hz, min(2.0 * hz, 0.45 * sample_rate)), "bandpass", fs=sample_rate, output="sos")
    )
    noise = np.asarray(signal.sosfilt(sos, rng.standard_normal(n_samples)))
    return noise / max(float(np.std(noise)), 1e-9) if n_samples else noise


def _at_rate(values: np.ndarray, sample_rate: int, n_samples: int) -> np.ndarray:
    """Values at the steps -> values at the samples, on straight lines between them."""
    return np.interp(np.arange(n_samples) / (STEP * sample_rate), np.arange(len(values)), values)


def _harmonics(f0: np.ndarray, amplitude: np.ndarray, sample_rate: int, n_samples: int) -> np.ndarray:
    """Sum of the harmonics of a moving pitch; f0 (step,) in Hz, amplitude (harmonic, step)."""
    phase = 2.0 * np.pi * np.cumsum(_at_rate(f0, sample_rate, n_samples)) / sample_rate
    # sin((n + 1) x) = 2 cos(x) sin(n x) - sin((n - 1) x) saves the sines of all but the first.
    double_cosine, before, now = 2.0 * np.cos(phase), np.zeros(n_samples), np.sin(phase)
    audio = np.zeros(n_samples)
    for row in amplitude:
        if row.any():
            audio += now * _at_rate(row, sample_rate, n_samples)
        before, now = now, double_cosine * now - before
    return audio


class Strings:
    """Strings, or now and then bars, that are plucked or struck and left to ring: decaying partials."""

    def __init__(self, rng: np.random.Generator):
        bar = rng.random() < 0.15
        stiffness = np.exp(rng.uniform(np.log(1e-5), np.log(1e-3)))
        order = np.arange(1, MOST_HARMONICS + 1)
        self.ratios = np.array([1.0, 3.98, 9.6]) if bar else order * np.sqrt(1.0 + stiffness * order**2)
        where = rng.uniform(0.08, 0.45)  # on the string
        spectrum = np.ones(3) if bar else np.abs(np.sin(np.pi * where * order))
        self.spectrum = spectrum / np.arange(1, len(spectrum) + 1) ** (rng.uniform(0.3, 1.6) + bar)
        self.body = Body(rng)
        self.ring = np.exp(rng.uniform(np.log(0.6), np.log(8.0)))  # seconds to fall by 60 dB at middle C
        self.dull = rng.uniform(0.02, 0.4)  # how much faster each next partial falls
        self.second = rng.uniform(0.0, 0.5)  # how loud the second string is, if there is one
        self.damp = rng.uniform(0.02, 0.12)  # seconds
        self.knock = 10.0 ** (rng.uniform(-40.0, -12.0) / 20.0)

    def note(self, pitch: float, loud: float, held: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """One note [time] that is held for some seconds and then damped; `loud` is 0 to 1."""
        hz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0) * self.ratios
        hz = hz[hz < HEADROOM * sample_rate]
        order = np.arange(1, len(hz) + 1)
        # Half the body's resonances, and struck softly the upper partials go first.
        colour = 10.0 ** (0.5 * self.body.envelope(hz, self.body.centres) / 20.0) * order ** (1.5 * (loud - 0.8))
        partial = self.spectrum[: len(hz)] * colour
        partial = partial / max(float(np.linalg.norm(partial)), 1e-9)
        decay = 6.9 / (self.ring * 2.0 ** ((60.0 - pitch) / 18.0)) * (1.0 + self.dull * (order - 1))
        # Two strings a little apart, the second quieter and slower: the beating, two-stage decay of pianos.
        hz = np.concatenate([hz, hz * (1.0 + rng.uniform(0.0, 6e-4))])
        decay = np.concatenate([decay, 0.4 * decay])
        partial = np.concatenate([partial, self.second * partial]) * np.exp(2j * np.pi * rng.random(len(hz)))
        sound = _ringing(hz, decay, partial, sample_rate, round((held + 4.0 * self.damp) * sample_rate))
        time = np.arange(len(sound)) / sample_rate
        sound *= np.exp(-np.maximum(time - held, 0.0) / self.damp) * np.minimum(time / rng.uniform(0.001, 0.005), 1.0)
        sound += self.knock * rng.standard_normal(len(sound)) * np.maximum(1.0 - time / 0.03, 0.0) ** 2
        return sound * 10.0 ** ((loud - 1.0) * 1.2)


def _struck(notes: Notes, sample_rate: int, rng: np.random.Generator, n_samples: int, tuning: float) -> np.ndarray:
    """All notes of one instrument, each from its onset."""
    strings, audio = Strings(rng), np.zeros(n_samples)
    columns = zip(notes.onset.tolist(), notes.offset.tolist(), notes.pitch, notes.velocity / 127.0, strict=True)
    for onset, offset, pitch, loud in columns:
        start = round(onset * sample_rate)
        cents = tuning + rng.normal(0.0, 2.0)
        sound = strings.note(pitch + cents / 100.0, loud, offset - onset, sample_rate, rng)[: max(n_samples - start, 0)]
        audio[start : start + len(sound)] += sound
    return audio


def _ringing(hz: np.ndarray, decay: np.ndarray, amplitude: np.ndarray, sample_rate: int, length: int) -> np.ndarray:
    """Sum of exponentially decaying partials [time]; `decay` in nepers a second, `amplitude` complex."""
    rate = (-decay + 2j * np.pi * hz) / sample_rate
    # exp(rate (block + i)) is a product, so all samples are one product of two small matrices.
    blocks: np.ndarray = np.exp(rate * (np.arange(-(-length // BLOCK)) * BLOCK)[:, None])
    inside: np.ndarray = amplitude[:, None] * np.exp(rate[:, None] * np.arange(BLOCK))
    return (np.real(blocks) @ np.real(inside) - np.imag(blocks) @ np.imag(inside)).ravel()[:length]
