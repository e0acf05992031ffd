"""What the data asks of a song, and the pieces of the embedded corpus as such songs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from common import corpus as corpora
from common.stems import Multitrack, Stem
from lead_detection import taxonomy

IGNORE = -100  # label of a frame that nobody has annotated: no loss, no score

Segment = tuple[float, float, int]  # seconds, seconds, index of the stem


class Song(Protocol):
    """Stems of one song and who leads when: a rendered piece, a synthetic one, or one of a prepared data set.

    Stem i is entry i of `instruments`, of `multitrack().stems`, and of what `lead` names. All but the audio is cheap
    to ask for: who draws a clip asks before anything is read.
    """

    @property
    def id(self) -> str:
        """Unique among all songs of all splits."""
        ...

    @property
    def split(self) -> str:
        """ "train", "validation" or "test"."""
        ...

    @property
    def seconds(self) -> float: ...

    @property
    def instruments(self) -> Sequence[int]:
        """(stem,) ids of `lead_detection.taxonomy`; 0 is unknown."""
        ...

    @property
    def lead(self) -> Sequence[Segment]:
        """Who leads when, in order of time; where segments overlap the later one counts."""
        ...

    @property
    def annotated(self) -> Sequence[tuple[float, float]]:
        """Disjoint stretches in seconds, in order, in which `lead` is known; in its gaps nobody leads there."""
        ...

    @property
    def mixture(self) -> Stem | None:
        """The released mixture, as long as the stems and at their rate; None if it is the sum of the stems."""
        ...

    def multitrack(self) -> Multitrack:
        """The stems at the levels that they have in the mixture; no sample is read before it is asked for."""
        ...


@dataclass(frozen=True, eq=False)
class EmbeddedSong:
    """A piece of the embedded corpus, whose lead is known throughout."""

    piece: corpora.Piece

    @property
    def id(self) -> str:
        return self.piece.id

    @property
    def split(self) -> str:
        return self.piece.split

    @property
    def seconds(self) -> float:
        return self.piece.seconds

    @property
    def instruments(self) -> tuple[int, ...]:
        return tuple(taxonomy.of_program(part.program, part.is_drum) for part in self.piece.parts)

    @property
    def lead(self) -> tuple[Segment, ...]:
        return self.piece.lead

    @property
    def annotated(self) -> tuple[tuple[float, float], ...]:
        return ((0.0, self.piece.seconds),)

    @property
    def mixture(self) -> None:
        return None

    def multitrack(self) -> Multitrack:
        return self.piece.multitrack()


def rasterise(
    lead: Sequence[Segment], times: np.ndarray, annotated: Sequence[tuple[float, float]] | None = None
) -> np.ndarray:
    """Who leads at each time.

    Args:
        lead: segments in order of time; each is [start, end), and a later one overrules an earlier.
        times: (frame,) seconds, ascending: the centres of the frames.
        annotated: outside of these stretches nothing is known; None knows everything.

    Returns:
        (frame,) int64: 0 where nobody leads, 1 + i where stem i does, IGNORE where it is not known.
    """
    labels = np.zeros(len(times), np.int64)
    for start, end, stem in lead:
        labels[slice(*np.searchsorted(times, (start, end)))] = 1 + stem
    if annotated is not None:
        known = np.zeros(len(times), bool)
        for start, end in annotated:
            known[slice(*np.searchsorted(times, (start, end)))] = True
        labels[~known] = IGNORE
    return labels


def _peak(samples: np.ndarray) -> float:
    return float(max(samples.max(initial=0), -float(samples.min(initial=0))))


@cache
def stem_peaks(song: Song) -> np.ndarray:
    """(stem,) greatest absolute sample of each stem of a song; reads all of it, once."""
    return np.array([stem.scale * _peak(stem.samples) for stem in song.multitrack().stems])


@cache
def mixture_peak(song: Song, own: bool) -> float:
    """The same for its own mixture, or for the sum of its stems."""
    mixture = song.mixture if own else None
    return _peak(song.multitrack().mixture()) if mixture is None else mixture.scale * _peak(mixture.samples)


def embedded_songs(corpus: corpora.Corpus, split: str) -> list[EmbeddedSong]:
    return [EmbeddedSong(piece) for piece in corpus.pieces(split)]
