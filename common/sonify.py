"""A transcription made audible, without a SoundFont."""

import numpy as np

from common.notes import Notes

HARMONICS = (1.0, 0.5, 0.25, 0.12)
ATTACK, DECAY, RELEASE = 0.005, 1.5, 0.05  # seconds; DECAY is the time in which a held note falls to 1/e


def sonify(notes: Notes, sample_rate: int, start: int, stop: int) -> np.ndarray:
    """Decaying harmonic tones, one for each note, drums left out.

    Args:
        notes: the whole transcription.
        sample_rate: in Hz.
        start: first sample wanted; a note that began before it goes on in phase.
        stop: sample after the last.

    Returns:
        (time,) float32 in -1..1.
    """
    notes = notes.tuned()
    first = np.round(notes.onset * sample_rate).astype(np.int64)
    last = np.round((notes.offset + RELEASE) * sample_rate).astype(np.int64)
    audio = np.zeros(stop - start)
    for i in np.flatnonzero((first < stop) & (last > start)):
        sample = np.arange(max(first[i], start), min(last[i], stop))
        age, left = (sample - first[i]) / sample_rate, (last[i] - sample) / sample_rate
        envelope = np.minimum(age / ATTACK, 1.0) * np.exp(-age / DECAY) * np.minimum(left / RELEASE, 1.0)
        for k, level in enumerate(HARMONICS, 1):
            if k * notes.hz[i] < sample_rate / 2:
                tone = np.sin(2 * np.pi * k * notes.hz[i] * age)
                audio[sample - start] += 0.15 * level * notes.velocity[i] / 127 * envelope * tone
    return np.tanh(audio).astype(np.float32)
