"""Stems side by side: files of any kind, or arrays, read in step and piece by piece at one rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from common import audio as sound

Norm = Literal["none", "song_peak", "stem_peak"]
FULL = 10.0 ** (-0.1 / 20.0)  # the paper's peak
SILENT = 1e-4  # peak, -80 dBFS; the noise of a silent recording is not made loud
TOLERANCE = 0.1  # seconds by which stems may differ in length without a word
PIECE = 5.0  # seconds of each file that are held at a time


@dataclass(frozen=True)
class Measures:
    """Of a whole source: seconds, and its greatest absolute sample."""

    duration: float
    peak: float


@dataclass(frozen=True, eq=False)
class Source:
    """A file, or audio that is in memory already; the mean of its channels counts."""

    name: str
    audio: str | Path | np.ndarray  # an array is floating point, [time] or [channel, time]
    sample_rate: int = 0  # of an array, in Hz; a file knows its own

    def blocks(self, sample_rate: int | None = None) -> Iterator[np.ndarray]:
        """float32 [time] in consecutive pieces, at a rate in Hz or at its own.

        Raises:
            AudioError: when a fault is reached.
        """
        if isinstance(self.audio, np.ndarray):
            yield sound.conform(self.audio, self.sample_rate, sample_rate)
        else:
            yield from sound.blocks(self.audio, sample_rate, PIECE)

    def measure(self) -> Measures:
        """Reads all of it.

        Raises:
            AudioError: it cannot be read.
        """
        rate = self.sample_rate if isinstance(self.audio, np.ndarray) else sound.info(self.audio).sample_rate
        n_samples, peak = 0, 0.0
        for block in self.blocks():
            n_samples += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
        return Measures(n_samples / rate, peak)


@dataclass(frozen=True, eq=False)
class Stems:
    """The tracks of a song and its mixture, for which their sum stands in where there is none."""

    tracks: Sequence[Source]
    mixture: Source | None
    measures: Sequence[Measures]  # of the tracks, then of the mixture if there is one

    @classmethod
    def open(cls, tracks: Sequence[Source], mixture: Source | None = None) -> "Stems":
        """All of them read once, so that what is wrong with any of them is known before the work begins.

        Raises:
            AudioError: one cannot be read.
        """
        return cls(tracks, mixture, [source.measure() for source in _all(tracks, mixture)])

    @property
    def duration(self) -> float:
        """Seconds of the longest."""
        return max(each.duration for each in self.measures)

    def doubts(self) -> list[str]:
        """What a user should know before blaming the timeline."""
        texts = []
        for source, each in zip(_all(self.tracks, self.mixture), self.measures, strict=True):
            missing = self.duration - each.duration
            if missing > TOLERANCE:
                texts.append(f"{source.name}: ends {missing:.2f} s before the longest; silence is taken for the rest")
            if each.peak < SILENT:
                texts.append(f"{source.name}: silent throughout; is this the right file, or a muted track?")
        return texts

    def pieces(self, sample_rate: int) -> Iterator[np.ndarray]:
        """All of them, piece by piece, at the levels that they have: float32 (track + 1, time), the mixture last."""
        sources = _all(self.tracks, self.mixture)
        for piece in in_step([source.blocks(sample_rate) for source in sources], round(PIECE * sample_rate)):
            yield piece if self.mixture else np.concatenate([piece, piece.sum(axis=0, keepdims=True)])

    def gains(self, sample_rate: int, norm: Norm) -> np.ndarray:
        """What they are to be multiplied by, float32 (track + 1,), the mixture last.

        Args:
            sample_rate: for what has to be read again to know.
            norm: "none" leaves the levels alone; "song_peak" brings the loudest track to -0.1 dBFS and all others and
                the mixture by the same; "stem_peak", the paper's, brings each track and the mixture there.
        """
        peaks = np.array([each.peak for each in self.measures])
        n_tracks = len(self.tracks)
        if norm == "none":
            peaks = np.full(n_tracks + 1, FULL)
        elif norm == "song_peak":
            peaks = np.full(n_tracks + 1, peaks[:n_tracks].max())
        elif self.mixture is None:
            summed = max(float(np.abs(piece[-1]).max()) for piece in self.pieces(sample_rate))
            peaks = np.append(peaks, summed)
        return np.where(peaks < SILENT, 1.0, FULL / np.maximum(peaks, SILENT)).astype(np.float32)


def _all(tracks: Sequence[Source], mixture: Source | None) -> list[Source]:
    return [*tracks, *([mixture] if mixture else [])]


def in_step(streams: Sequence[Iterator[np.ndarray]], length: int) -> Iterator[np.ndarray]:
    """Streams of audio side by side, in pieces of `length` samples; the last may be shorter.

    Args:
        streams: each gives consecutive pieces [time], however cut; silence follows where one ends before the others.
        length: samples.

    Yields:
        float32 (stream, time).
    """
    held = [np.zeros(0, np.float32)] * len(streams)
    while True:
        for i, stream in enumerate(streams):
            parts = [held[i]]
            while sum(map(len, parts)) < length and (block := next(stream, None)) is not None:
                parts.append(block)
            held[i] = np.concatenate(parts)
        n_samples = min(max(map(len, held)), length)
        if not n_samples:
            return
        piece = np.zeros((len(held), n_samples), np.float32)
        for row, audio in zip(piece, held, strict=True):
            row[: len(audio)] = audio[:n_samples]
        yield piece
        held = [audio[length:] for audio in held]
