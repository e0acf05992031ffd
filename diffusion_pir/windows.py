"""Equally long windows of log-mels, alone or two at once; and all windows of clips, which features are taken from.

Those of clips know names and sounds, and no labels.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b

import numpy as np

from common.melspec import SILENCE
from diffusion_pir.melstore import Clip, MelStore

FRAMES, HOP = 100, 50  # 2 s, and 1 s from one to the next
NEPERS_PER_DB = np.log(10.0) / 20.0
LABELLED_WITHIN = 6.0  # dB below the louder clip that the other may be and still count as predominant
MIX_RANGE = (-15.0, 0.0)  # dB of the second clip against the first


def window_starts(n_frames: int, length: int = FRAMES, hop: int = HOP) -> list[int]:
    """Frames at which the windows of a clip begin: every `hop`, and a last one that ends with the clip.

    A clip that is shorter than a window has one.
    """
    last = max(n_frames - length, 0)
    return [*range(0, last, hop), last]


def cut(picture: np.ndarray, start: int, length: int, silence: float = SILENCE) -> np.ndarray:
    """float32 (bin, frame): a window of a log-mel (frame, bin), after its end silence."""
    window = np.full((picture.shape[1], length), silence, np.float32)
    piece = picture[start : start + length]
    window[:, : len(piece)] = piece.T
    return window


def louder(log_mel: np.ndarray, db: float, silence: float = SILENCE) -> np.ndarray:
    """A log-mel at another level; the floor stays where it is."""
    return np.maximum(log_mel + np.float32(db * NEPERS_PER_DB), np.float32(silence))


def level_db(log_mel: np.ndarray) -> float:
    """Level of a log-mel (bin, frame) against one whose magnitudes are all 1."""
    return float(10.0 * np.log10(np.mean(np.exp(2.0 * log_mel.astype(np.float64)))))


def mix(first: np.ndarray, second: np.ndarray, db: float, silence: float = SILENCE) -> np.ndarray:
    """Two log-mels at once, the second brought to `db` against the first.

    Sounds that do not know of each other add up in energy, so magnitudes do as the sides of a right angle.
    """
    second = louder(second, level_db(first) - level_db(second) + db, silence)
    return 0.5 * np.logaddexp(2.0 * first, 2.0 * second)


class ClipWindows:
    """Windows of the clips of a store, in order.

    Args:
        store: has the log-mels.
        clips: of the store.
        frames: length of a window; a clip that is shorter ends in silence.
        hop: frames from one to the next.
    """

    def __init__(self, store: MelStore, clips: Sequence[Clip], frames: int = FRAMES, hop: int = HOP):
        self.store = store
        self.clips = list(clips)
        self.frames = frames
        starts = [window_starts(clip.n_frames, frames, hop) for clip in clips]
        self.clip = np.repeat(np.arange(len(clips)), [len(own) for own in starts])  # index of each window's clip
        self.start = np.array([start for own in starts for start in own], np.int64)  # frames into it
        names = zip(self.clip.tolist(), self.start.tolist(), strict=True)
        self.ids = [f"{self.clips[clip].id}@{start}" for clip, start in names]

    def load(self, rows: np.ndarray) -> np.ndarray:
        """Log-mels, float32 (window, bin, frame)."""
        places = ((self.clips[self.clip[row]], int(self.start[row])) for row in rows)
        return np.stack([cut(self.store.log_mel(clip), start, self.frames) for clip, start in places])

    def digest(self) -> str:
        """Hash of names, lengths and log-mels; the clips are read for it once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = blake2b(f"{self.frames} {self.ids}".encode(), digest_size=12)
        for clip in self.clips:
            digest.update(np.ascontiguousarray(self.store.log_mel(clip)).data)
        return digest.hexdigest()


class MixedWindows:
    """Pairs of windows at once: clips with several labels, where all that there are have one.

    Args:
        windows: what is mixed.
        pairs: (mix, 2) rows of these.
        levels_db: (mix,) level of the second of each pair against the first.
    """

    def __init__(self, windows: ClipWindows, pairs: np.ndarray, levels_db: np.ndarray):
        self.windows = windows
        self.pairs = pairs
        self.levels_db = levels_db
        named = zip(pairs.tolist(), levels_db.tolist(), strict=True)
        self.ids = [f"{windows.ids[a]}+{windows.ids[b]}{level:+.3f}dB" for (a, b), level in named]

    def load(self, rows: np.ndarray) -> np.ndarray:
        """Log-mels, float32 (mix, bin, frame)."""
        first, second = (self.windows.load(self.pairs[rows, side]) for side in (0, 1))
        return np.stack([mix(*both) for both in zip(first, second, self.levels_db[rows], strict=True)])

    def digest(self) -> str:
        """Hash of the windows and of how they are mixed."""
        return blake2b(f"{self.windows.digest()} {self.ids}".encode(), digest_size=12).hexdigest()


def mixed_labels(labels: np.ndarray, pairs: np.ndarray, levels_db: np.ndarray) -> np.ndarray:
    """Labels (mix, class) of mixes of windows that have the labels (window, class); see `LABELLED_WITHIN`."""
    heard = (levels_db >= -LABELLED_WITHIN)[:, None]
    return np.maximum(labels[pairs[:, 0]], labels[pairs[:, 1]] * heard)


def draw_mixes(groups: Sequence[str], n_mixes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of windows of different recordings, and levels of the second of each, evenly from `MIX_RANGE`.

    Args:
        groups: recording of each window.
        n_mixes: how many pairs.
        seed: of the draw.

    Returns:
        (mix, 2) int64 rows and (mix,) float64 dB.

    Raises:
        ValueError: all windows are of one recording.
    """
    names = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(np.unique(names)) < 2:
        raise ValueError("mixes are made of two recordings, and there is one: give more clips, or no mixes")
    rng = np.random.default_rng(seed)
    pairs = np.zeros((0, 2), np.int64)
    while len(pairs) < n_mixes:
        drawn = rng.integers(len(names), size=(2 * n_mixes, 2))
        pairs = np.concatenate([pairs, drawn[names[drawn[:, 0]] != names[drawn[:, 1]]]])
    return pairs[:n_mixes], rng.uniform(*MIX_RANGE, n_mixes)
