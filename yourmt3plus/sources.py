"""Pieces as this project learns from them: which parts are sung, and whose labels are kept from the network."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.instruments import YOURMT3_CHANNELS
from common.pieces import Piece
from common.stems import Multitrack, Stem, kinds, kinds_of
from yourmt3plus.programs import MELODY


@dataclass(frozen=True)
class Hidden:
    """Labels that are kept back, as in data sets that have only some instruments annotated; the audio stays.

    Args:
        channels: names of `YOURMT3_CHANNELS`.
        share: of the pieces.
    """

    channels: tuple[str, ...]
    share: float

    def kinds(self, piece_id: str) -> frozenset[int]:
        """What of a piece is hidden; the same each time.

        Raises:
            ValueError: there is no such channel.
        """
        if unknown := set(self.channels) - set(YOURMT3_CHANNELS):
            raise ValueError(f"no channels {sorted(unknown)} to hide; there are {', '.join(YOURMT3_CHANNELS)}")
        if np.random.default_rng(zlib.crc32(piece_id.encode())).random() >= self.share:
            return frozenset()
        return kinds_of(self.channels)


@dataclass(frozen=True, eq=False)
class Source:
    """A piece to take segments from."""

    piece: Piece
    hidden: frozenset[int] = frozenset()  # kinds of which nothing is told

    @property
    def seconds(self) -> float:
        return self.piece.seconds

    def multitrack(self) -> Multitrack:
        """Its stems. Voices of `common.synth`, who sing vowels, are sung melody; those of a SoundFont are choirs."""
        band = self.piece.multitrack()
        sung = [part.synthesised and part.role == "voice" for part in self.piece.parts]
        stems = (_as_sung(stem) if sings else stem for stem, sings in zip(band.stems, sung, strict=True))
        return replace(band, stems=tuple(_hide(stem, self.hidden) for stem in stems))


def sources(pieces: Sequence[Piece], hidden: Hidden | None = None) -> list[Source]:
    """All pieces, some perhaps with hidden labels."""
    return [Source(piece, hidden.kinds(piece.id) if hidden else frozenset()) for piece in pieces]


def _as_sung(stem: Stem) -> Stem:
    return replace(stem, program=MELODY, notes=stem.notes.replace(program=MELODY))


def _hide(stem: Stem, hidden: frozenset[int]) -> Stem:
    """Without notes of these kinds, if it plays any of them; it may then be playing all of them."""
    if not hidden or not stem.kinds & hidden:
        return stem
    told = ~np.isin(kinds(stem.notes), sorted(hidden))
    return replace(stem, notes=stem.notes[told], unknown=stem.unknown | hidden)
