"""The same windows as audio, for backbones that hear audio rather than our log-mels."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from common import audio as sound
from common.melspec import HOP_LENGTH, SAMPLE_RATE
from common.predominance import PredominanceSet
from diffusion_pir.features import Windows
from diffusion_pir.melstore import Clip, MelStore, to_full_scale
from diffusion_pir.windows import ClipWindows, MixedWindows

RATE = SAMPLE_RATE / HOP_LENGTH  # frames a second
Reader = Callable[[Clip, int], np.ndarray]  # a clip at a rate in Hz, float32 [time]


def as_audio(windows: Windows, sample_rate: int) -> Windows:
    """Windows of log-mels as windows of audio, with the same names.

    Args:
        windows: `ClipWindows` or `MixedWindows`.
        sample_rate: in Hz.
    """
    if isinstance(windows, MixedWindows):
        return AudioMixes(windows, sample_rate)
    assert isinstance(windows, ClipWindows)
    return AudioWindows(windows, sample_rate)


def reader_of(store: MelStore) -> Reader:
    """What reads the audio of a store's clips: from their files, or from the predominance set that it lies in."""
    if not (store.folder.parent / "index.json").exists():
        return lambda clip, sample_rate: sound.read(clip.path, sample_rate)[0]
    excerpts = {excerpt.id: excerpt for excerpt in PredominanceSet(store.folder.parent).excerpts()}

    def read(clip: Clip, sample_rate: int) -> np.ndarray:
        excerpt = excerpts[clip.id]
        return sound.conform(excerpt.audio, excerpt.sample_rate, sample_rate)

    return read


class AudioWindows:
    """Windows of clips as audio, each clip brought to a peak of 1 as before its log-mel.

    Args:
        windows: where they are.
        sample_rate: in Hz.
    """

    def __init__(self, windows: ClipWindows, sample_rate: int):
        self.windows = windows
        self.sample_rate = sample_rate
        self.ids = windows.ids
        read = reader_of(windows.store)
        # The windows of a clip come one after the other.
        self.clip = lru_cache(4)(lambda index: to_full_scale(read(windows.clips[index], sample_rate)))

    def load(self, rows: np.ndarray) -> np.ndarray:
        """float32 (window, time); what reaches beyond its clip is silent there.

        Raises:
            AudioError: a file is missing or damaged.
        """
        length = round(self.windows.frames * self.sample_rate / RATE)
        found = np.zeros((len(rows), length), np.float32)
        for window, row in zip(found, rows.tolist(), strict=True):
            start = round(int(self.windows.start[row]) * self.sample_rate / RATE)
            piece = self.clip(int(self.windows.clip[row]))[start : start + length]
            window[: len(piece)] = piece
        return found

    def digest(self) -> str:
        """Hash of what is heard: that of the log-mels, of the same audio, and the rate."""
        return blake2b(f"{self.windows.digest()} {self.sample_rate} Hz".encode(), digest_size=12).hexdigest()


class AudioMixes:
    """Pairs of windows at once, as audio.

    Args:
        mixes: which pairs, at which levels.
        sample_rate: in Hz.
    """

    def __init__(self, mixes: MixedWindows, sample_rate: int):
        self.mixes = mixes
        self.windows = AudioWindows(mixes.windows, sample_rate)
        self.ids = mixes.ids

    def load(self, rows: np.ndarray) -> np.ndarray:
        """float32 (mix, time), the second of each pair brought to its level against the first."""
        first, second = (self.windows.load(self.mixes.pairs[rows, side]) for side in (0, 1))
        power = [np.square(part).mean(1, keepdims=True) + 1e-12 for part in (first, second)]
        level = 10 ** (self.mixes.levels_db[rows, None] / 20)
        return (first + second * np.sqrt(power[0] / power[1]) * level).astype(np.float32)

    def digest(self) -> str:
        """Hash of the windows and of how they are mixed."""
        return blake2b(f"{self.windows.digest()} {self.ids}".encode(), digest_size=12).hexdigest()
