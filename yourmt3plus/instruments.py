"""Instruments by their names: which of all notes a user wants."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from common.instruments import FAMILIES, MT3_CLASSES, PROGRAM_NAMES, YOURMT3_CHANNELS
from common.notes import Notes
from yourmt3plus.programs import WRITTEN_PROGRAM, Channels, with_tracks

DRUMS = "drums"
ALSO = {"voice": "singing", "vocals": "singing", "percussion": DRUMS}


@dataclass(frozen=True, eq=False)
class Chosen:
    """Instruments, as the tokens know them: a class that is written as one program is chosen as a whole."""

    programs: np.ndarray  # (128,) bool
    drums: bool

    @classmethod
    def of(cls, names: str | Iterable[str]) -> "Chosen":
        """The instruments of these names, in one text with commas between them or in several.

        A name is one of a decoder channel ("piano", "synth lead", "singing", "drums"), of a family or a program of
        General MIDI ("ensemble", "violin"), of a class of MT3 ("acoustic guitar"), or a word of several programs
        ("sax"). Capitals do not count.

        Raises:
            ValueError: nothing is called so.
        """
        programs, drums = np.zeros(128, bool), False
        for name in names.split(",") if isinstance(names, str) else names:
            word = plain(name)
            word = ALSO.get(word, word)
            drums |= word == DRUMS
            programs[[] if word == DRUMS else programs_of(word, name)] = True
        # The network writes a class as its first program.
        written = np.zeros(128, bool)
        written[WRITTEN_PROGRAM[programs]] = True
        return cls(written, drums)

    def channels(self, channels: Channels) -> np.ndarray:
        """(channel,) bool: does it write any of these?"""
        rows = [bool(self.programs[channels.programs(row)].any()) for row in range(len(channels))]
        rows[channels.drums] |= self.drums
        return np.array(rows)

    def keep(self, notes: Notes) -> Notes:
        """These instruments' notes; `track` counts what is left."""
        notes = notes[np.where(notes.is_drum, self.drums, self.programs[WRITTEN_PROGRAM[notes.program]])]
        return with_tracks(notes)


def plain(name: str) -> str:
    """Small letters and digits with one space between words."""
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))


def programs_of(word: str, name: str) -> list[int]:
    """The programs that a plain word stands for; `name` is what the user wrote."""
    groups = [*YOURMT3_CHANNELS.items(), *_families(), *MT3_CLASSES.items()]
    groups += [(title, (program,)) for program, title in enumerate(PROGRAM_NAMES)]
    known: dict[str, list[int]] = {}
    for title, members in groups:
        known.setdefault(plain(title), list(members))
    if word in known:
        return known[word]
    found = [program for program, title in enumerate(PROGRAM_NAMES) if word and f" {word} " in f" {plain(title)} "]
    if not found:
        channels = ", ".join(title.lower() for title in YOURMT3_CHANNELS)
        raise ValueError(f"no instrument {name.strip()!r}; there are {channels}, and the names of General MIDI")
    return found


def _families() -> Iterable[tuple[str, range]]:
    return ((family, range(8 * index, 8 * index + 8)) for index, family in enumerate(FAMILIES))
