"""Recordings of any length as windows of log-mel: what a backbone hears of them, with no more in memory than a few."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from common import audio as sound
from common.melspec import HOP_LENGTH, SAMPLE_RATE, SILENCE, VocoderMel
from diffusion_pir.backbones import Backbone
from diffusion_pir.melstore import SILENT
from diffusion_pir.windows import FRAMES

PIECE_FRAMES = 500  # of log-mel that are made at a time: 10 s
CONTEXT = 2 * HOP_LENGTH  # samples that the last frame of a piece sees beyond it, and as many before
BATCH = 16  # windows that go through a backbone together
QUIET = np.log(1e-2)  # a window without a mel magnitude above this, 80 dB below a full tone, is silence

Blocks = Callable[[int], Iterable[np.ndarray]]


class Recording:
    """A recording as the front-end shows it, at a peak of 1 as the clips of a store are.

    It is read twice: once for its peak and length, when this is made, and once for each walk through its windows.

    Args:
        blocks: gives the recording from its start at a rate in Hz, float32 (time,) pieces, however cut.
        hop: seconds from one window to the next, at least a frame; the last window ends with the recording. Windows
            begin on frames, so that a hop of 0.25 s is 12 or 13 of them.
        frames: of a window.
        progress: called with seconds that have been made into log-mel.
        watch: called with every piece of log-mel (bin, frame) on its way, in order.

    Raises:
        ValueError: a hop that is shorter than a frame.
        AudioError: audio that cannot be read, or has no sample.
    """

    def __init__(
        self,
        blocks: Blocks,
        hop: float,
        frames: int = FRAMES,
        progress: Callable[[float], object] | None = None,
        watch: Callable[[np.ndarray], object] | None = None,
    ):
        self.blocks = blocks
        self.frames = frames
        self.progress = progress
        self.watch = watch
        self.front_end = VocoderMel()
        self.grid = self.front_end.grid
        if not 0 < HOP_LENGTH <= hop * SAMPLE_RATE:
            raise ValueError(f"a hop of {hop} s: windows are at least a frame of {float(1 / self.grid.rate)} s apart")
        peak, n_samples = 0.0, 0
        for block in blocks(SAMPLE_RATE):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            n_samples += len(block)
        self.gain = 1.0 / peak if peak > SILENT else 1.0
        self.duration = n_samples / SAMPLE_RATE
        last = max(self.grid.n_frames(n_samples) - frames, 0)
        regular = self.grid.frames(np.arange(0.0, float(self.grid.times(last)), hop))
        self.starts = np.append(regular[regular < last], last)  # frames

    @property
    def times(self) -> np.ndarray:
        """Seconds at which the windows begin, float64 (window,)."""
        return self.grid.times(self.starts)

    @property
    def ids(self) -> list[str]:
        """Names of the windows, which fix their noise: where they begin, whatever the recording is called."""
        return [f"@{start}" for start in self.starts.tolist()]

    def windows(self) -> Iterator[np.ndarray]:
        """float32 (bin, frame) each, silence after the end of a recording that is shorter than a window."""
        return sound.stretches(self.log_mel(), self.starts.tolist(), self.frames, SILENCE)

    def audio(self, sample_rate: int) -> Iterator[np.ndarray]:
        """The same windows as audio at a rate in Hz, float32 (time,) each."""
        per_frame = sample_rate * HOP_LENGTH / SAMPLE_RATE
        starts = [round(start * per_frame) for start in self.starts.tolist()]
        for window in sound.stretches(self.blocks(sample_rate), starts, round(self.frames * per_frame)):
            yield window * np.float32(self.gain)

    def log_mel(self) -> Iterator[np.ndarray]:
        """All frames in order, float32 (bin, frame) pieces."""
        for window in sound.windows(self.blocks(SAMPLE_RATE), PIECE_FRAMES * HOP_LENGTH, CONTEXT):
            n_samples = len(window.audio) - window.left - window.right
            first, count = window.left // HOP_LENGTH, self.grid.n_frames(n_samples)
            with torch.inference_mode():
                audio = torch.from_numpy(np.ascontiguousarray(window.audio)) * self.gain
                piece = self.front_end(audio[None])[0, :, first : first + count].numpy()
            if self.watch:
                self.watch(piece)
            if self.progress:
                self.progress(n_samples / SAMPLE_RATE)
            yield piece


@dataclass(frozen=True, eq=False)
class Batch:
    """A few windows of a recording.

    Args:
        ids: their names.
        windows: as a backbone takes them, float32 (window, bin, frame) or (window, time).
        silent: which hold no sound, bool (window,).
    """

    ids: list[str]
    windows: np.ndarray
    silent: np.ndarray


def batches(recording: Recording, backbone: Backbone) -> Iterator[Batch]:
    """The windows of a recording, in order."""
    pictures, ids = recording.windows(), iter(recording.ids)
    audio = recording.audio(backbone.sample_rate) if backbone.takes == "audio" else None
    while batch := list(islice(pictures, BATCH)):
        log_mels = np.stack(batch)
        windows = log_mels if audio is None else np.stack(list(islice(audio, len(batch))))
        yield Batch(list(islice(ids, len(batch))), windows, log_mels.max(axis=(1, 2)) < QUIET)


class Overview:
    """A log-mel of any length in a bounded number of columns: when there get to be more, neighbours become one.

    Args:
        most: columns.
    """

    def __init__(self, most: int = 2000):
        self.most = most
        self.span = 1  # frames of a column
        self.columns = np.zeros((VocoderMel.n_bins, 0), np.float32)
        self.rest = self.columns  # frames that make no whole column yet

    def push(self, log_mel: np.ndarray) -> None:
        """Take the next frames (bin, frame)."""
        frames = np.concatenate([self.rest, log_mel], axis=1)
        whole = frames.shape[1] // self.span * self.span
        self.columns = np.concatenate([self.columns, _means(frames[:, :whole], self.span)], axis=1)
        self.rest = frames[:, whole:]
        while self.columns.shape[1] > self.most:
            if self.columns.shape[1] % 2:
                self.rest = np.concatenate([self.columns[:, -1:].repeat(self.span, axis=1), self.rest], axis=1)
                self.columns = self.columns[:, :-1]
            self.columns = _means(self.columns, 2)
            self.span *= 2

    def finish(self) -> np.ndarray:
        """(bin, column) means of all frames; at least one column."""
        rest = self.rest.mean(axis=1, keepdims=True) if self.rest.shape[1] else self.rest
        return np.concatenate([self.columns, rest], axis=1)


def _means(frames: np.ndarray, span: int) -> np.ndarray:
    """Of so many neighbours each."""
    return frames.reshape(len(frames), -1, span).mean(axis=2)
