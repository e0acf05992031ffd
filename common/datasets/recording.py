"""A recording of a data set: plain data about it, and its notes and audio when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import audio as sound
from common.datasets.files import DatasetError
from common.notes import Notes
from common.stems import Multitrack, Stem


@dataclass(frozen=True, eq=False)
class Part:
    """One instrument of a recording.

    `audio` are the files that add up to its sound, a section may have one for each player; none if it is not to be had
    on its own. What `notes` says of program, drums and track does not count.
    """

    name: str
    program: int
    is_drum: bool
    audio: tuple[Path, ...]
    notes: Notes

    def notes_of_track(self, track: int) -> Notes:
        """The notes as those of a track of a piece."""
        return self.notes.replace(program=self.program, is_drum=self.is_drum, track=track)


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording; what it gives has the shape of `common.pieces.Piece`. Nothing that was read is kept.

    Args:
        id: unique in its data set.
        split: "train", "validation", "test" or the data set's own word; None where it has none.
        title: of the piece; recordings of one piece share it where the data set tells.
        mix_path: the released mixture; None if the sum of the stems is all there is.
        read_parts: reads annotations, and no audio where there are some.
        unknown: kinds (`common.stems`) that may be heard in the mixture and of which the notes do not tell.
        read_mixture: makes a mixture that is neither released nor the sum of the parts, at the sample rate that is
            asked for, or that of the files; returns it and its rate.
    """

    id: str
    split: str | None
    title: str
    mix_path: Path | None
    read_parts: Callable[[], Sequence[Part]]
    unknown: frozenset[int] = frozenset()
    read_mixture: Callable[[int | None], tuple[np.ndarray, int]] | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The instruments, in an order that is part of the value.

        Raises:
            DatasetError: an annotation is missing or damaged.
        """
        return tuple(self.read_parts())

    @property
    def notes(self) -> Notes:
        """All notes, sorted; `track` is the index of the part."""
        return Notes.concatenate(part.notes_of_track(i) for i, part in enumerate(self.parts)).sort()

    def multitrack(self, sample_rate: int | None = None) -> Multitrack:
        """The stems, read now, padded with silence to the longest.

        Args:
            sample_rate: in Hz; by default that of the first file.

        Raises:
            DatasetError: an instrument is not to be had on its own.
            AudioError: a file is damaged.
        """
        parts = self.parts
        for part in parts:
            if not part.audio:
                told = f"{part.name} has no recording of its own here; take mixture() instead of multitrack()"
                raise DatasetError.about(self.mix_path or self.id, told)
        rate = sample_rate or (sound.info(parts[0].audio[0]).sample_rate if parts else 0)
        tracks = [add([sound.read(path, rate)[0] for path in part.audio]) for part in parts]
        longest = max(map(len, tracks), default=0)
        stems = (
            Stem(
                np.pad(track, (0, longest - len(track))),
                part.program,
                part.is_drum,
                part.name,
                part.notes_of_track(i),
            )
            for i, (part, track) in enumerate(zip(parts, tracks, strict=True))
        )
        return Multitrack(tuple(stems), rate)

    def mixture(self, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
        """float32 [time], and its rate: the mixture as released or documented, else the sum of the stems."""
        if self.read_mixture is not None:
            return self.read_mixture(sample_rate)
        if self.mix_path is not None:
            return sound.read(self.mix_path, sample_rate)
        band = self.multitrack(sample_rate)
        return band.mixture(), band.sample_rate


def add(tracks: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of [time] arrays of any lengths, as long as the longest."""
    total = np.zeros(max(map(len, tracks)), np.float32)
    for track in tracks:
        total[: len(track)] += track
    return total
