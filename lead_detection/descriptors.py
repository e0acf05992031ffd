"""What the support vector machine of the paper's Table V hears of a clip of the mixture, as 42 numbers.

After Pati and Lerch, "A Dataset and Method for Electric Guitar Solo Detection in Rock Music" (2017), in the shape that
the paper's authors give it. Two of its parts are not at hand here: the pitch is librosa's pYIN instead of CREPE, and
the structure is librosa's clustering of successive frames instead of msaf's. The spectral flux is that of the log-mel
spectrum, not its derivative, which the authors' code takes once more.
"""

from dataclasses import dataclass

import librosa
import numpy as np
from sklearn.cluster import AgglomerativeClustering

from common.audio import conform

SAMPLE_RATE, N_FFT, HOP = 44_100, 2048, 1024  # frames of 46 ms every 23 ms
PITCHES = (65.0, 1000.0)  # Hz
BLOCK = 0.5  # seconds of the frames in which a song's structure is looked for
SECTION = 12.0  # seconds of a section, in the mean of a song
CHROMA = 10.0  # weight of pitch classes, 0..1, beside cepstra in dB


@dataclass(frozen=True, eq=False)
class Structure:
    """Sections of a song, gapless."""

    edges: np.ndarray  # (section + 1,) seconds
    kind: np.ndarray  # (section,) those of one kind sound alike

    def describe(self, seconds: np.ndarray) -> np.ndarray:
        """(2, time): share of the song that the section at a time has, and how many sections are of its kind."""
        at = np.clip(np.searchsorted(self.edges, seconds, side="right") - 1, 0, len(self.kind) - 1)
        share = np.diff(self.edges) / self.edges[-1]
        return np.stack([share, np.bincount(self.kind)[self.kind]])[:, at]


def describe(audio: np.ndarray, sample_rate: int, start: float, structure: Structure) -> np.ndarray:
    """Mean and deviation over a clip of each feature of its frames, (42,) float64.

    Args:
        audio: (time,) the mixture.
        sample_rate: of it.
        start: seconds into the song at which it starts.
        structure: of the song.
    """
    samples = conform(audio, sample_rate, SAMPLE_RATE)
    sound, pitch = sound_features(samples), pitch_features(samples)
    times = start + np.arange(sound.shape[1]) * HOP / SAMPLE_RATE
    parts = (sound, pitch, structure.describe(times))
    return np.concatenate([part.mean(axis=1) for part in parts] + [part.std(axis=1) for part in parts])


def sound_features(samples: np.ndarray) -> np.ndarray:
    """(17, frame): centroid, largest amplitude, zero crossings, crest, flux and MFCC 2 to 13, at SAMPLE_RATE."""
    magnitude = np.abs(librosa.stft(samples, n_fft=N_FFT, hop_length=HOP))
    options = {"y": samples, "hop_length": HOP}
    frames = librosa.util.frame(np.pad(samples, N_FFT // 2), frame_length=N_FFT, hop_length=HOP)
    crest = magnitude.max(axis=0) / np.maximum(magnitude.mean(axis=0), 1e-9)
    return np.vstack(
        [
            librosa.feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE),
            np.abs(frames).max(axis=0),
            librosa.feature.zero_crossing_rate(frame_length=N_FFT, **options),
            crest,
            librosa.onset.onset_strength(sr=SAMPLE_RATE, **options),
            librosa.feature.mfcc(sr=SAMPLE_RATE, n_fft=N_FFT, n_mfcc=13, **options)[1:],
        ]
    )


def pitch_features(samples: np.ndarray) -> np.ndarray:
    """(2, frame): pitch as a MIDI number, and how sure that is, at half of SAMPLE_RATE and the same clock."""
    lowest, highest = PITCHES
    f0, _, sure = librosa.pyin(
        conform(samples, SAMPLE_RATE, SAMPLE_RATE // 2),
        fmin=lowest,
        fmax=highest,
        sr=SAMPLE_RATE // 2,
        frame_length=N_FFT,
        hop_length=HOP // 2,
        resolution=0.25,
        fill_na=None,
    )
    return np.stack([librosa.hz_to_midi(f0), sure])


def find_structure(audio: np.ndarray, sample_rate: int) -> Structure:
    """Sections of a song: stretches that are alike within, of which those that sound alike are of one kind.

    Args:
        audio: (time,) the whole mixture.
        sample_rate: of it.
    """
    duration = len(audio) / sample_rate
    block = round(BLOCK * sample_rate)
    n_blocks, n_sections = len(audio) // block, round(duration / SECTION)
    if n_sections < 2:
        return Structure(np.array([0.0, duration]), np.array([0]))
    spectrum = np.abs(librosa.stft(audio, n_fft=N_FFT, hop_length=block // 8)) ** 2
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum, sr=sample_rate))
    chroma = librosa.feature.chroma_stft(S=spectrum, sr=sample_rate, tuning=0.0)
    features = np.vstack([librosa.feature.mfcc(S=mel, n_mfcc=13), CHROMA * chroma])
    features = features[:, : 8 * n_blocks].reshape(len(features), n_blocks, 8).mean(axis=2)
    first = librosa.segment.agglomerative(features, n_sections)
    means = np.stack([part.mean(axis=1) for part in np.split(features, first[1:], axis=1)])
    kind = AgglomerativeClustering(-(-n_sections // 2)).fit_predict(means)
    return Structure(np.append(first * block / sample_rate, duration), kind)
