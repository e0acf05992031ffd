"""Pieces as this project learns from them: which parts are sung, and whose labels are kept from the network."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.instruments import YOURMT3_CHANNELS
from common.pieces import Piece
from common.stems import Multitrack, Stem, kinds, kinds_of
from yourmt3plus.programs import MELODY

# What no channel writes -> what it is plucked, struck, blown and bowed like. Left without a label, a banjo would teach
# the network not to hear a guitar.
NEAREST = {104: 25, 105: 25, 106: 25, 107: 46, 108: 12, 109: 68, 110: 40, 111: 68}
WRITABLE = np.array([NEAREST.get(program, program) for program in range(128)])


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
        stems = (_played_by(stem, MELODY if sings else None) for stem, sings in zip(band.stems, sung, strict=True))
        return replace(band, stems=tuple(_hide(stem, self.hidden) for stem in stems))


def sources(pieces: Sequence[Piece], hidden: Hidden | None = None) -> list[Source]:
    """All pieces, some perhaps with hidden labels."""
    return [Source(piece, hidden.kinds(piece.id) if hidden else frozenset()) for piece in pieces]


def _played_by(stem: Stem, program: int | None) -> Stem:
    """The same with this program, or without one, those that can be written."""
    if program is None and not stem.kinds & NEAREST.keys():
        return stem
    of_notes = WRITABLE[stem.notes.program] if program is None else program
    of_stem = int(WRITABLE[stem.program]) if program is None else program
    return replace(stem, program=of_stem, notes=stem.notes.replace(program=of_notes))


def _hide(stem: Stem, hidden: frozenset[int]) -> Stem:
    """Without notes of these kinds, if it plays any of them; it may then be playing all of them."""
    if not hidden or not stem.kinds & hidden:
        return stem
    told = ~np.isin(kinds(stem.notes), sorted(hidden))
    return replace(stem, notes=stem.notes[told], unknown=stem.unknown | hidden)
