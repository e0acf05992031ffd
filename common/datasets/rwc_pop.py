"""RWC-Pop (Goto et al. 2002): the popular music database, 100 songs made for research, with MIDI of all parts.

Layout (mirdata's loader; AIST's annotations): seven CDs as `audio/rwc-p-m01/1.wav` to `audio/rwc-p-m07/10.wav`, 44.1
kHz, and `annotations/AIST.RWC-MDB-P-2001.SMF_SYNC/RM-P001.SMF_SYNC.MID`, the MIDI that AIST aligned with the sound. CDs
1 to 5 have 16 songs each, 6 and 7 have 10. The MIDI that is sold with the CDs is not aligned, and is not read.

- Who plays. Programs were chosen for a sound module and often do not say it; the names of the tracks do (YourMT3 goes
  by them too). INSTRUMENTS has the words that we go by, in this order; a track that none of them fits has the program
  of the file. Percussion is read where it has the keys of General MIDI, on channel 10; elsewhere it is left out, and so
  are effects. Sung melody has program 100, chorus 101.
- Basses are written where their players read them, partly an octave above what sounds; nothing here corrects that, and
  nothing published says of which songs. YourMT3 scores this set also by pitch class.
- All is for testing. There are no stems.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.notes import Notes

SONGS_OF_DISCS = (16, 16, 16, 16, 16, 10, 10)
MIDI = "annotations/AIST.RWC-MDB-P-2001.SMF_SYNC"
DRUMS, NOBODY = -1, -2
# What is found in the name of a track -> who plays it, the first that fits.
INSTRUMENTS = tuple(
    (re.compile(pattern), who)
    for pattern, who in (
        (r"^(?!.*(/|\bGT)).*(CHORUS|SUB (VOCAL|MELO))", 101),
        (r"^(?!.*\bGT).*(MELO|VOCAL)", 100),
        (r"DRUM|\bDR\b|\bDS\b|HI-?HAT|BD&SD|KICK|\bTOMS?\b", DRUMS),
        (r"\bS\.?E\b|\bEX|WOW|\bPER|REV|GONG|\bRAP\b|L[AE]SER|TAMBOURINE|SHAKER|\b808\b", NOBODY),
        (r"E\.? ?P(IANO)?\b|\bE\.P|RHODES", 2),
        (r"P\.F|\bPF|PIANO|\bA\.P|CLAV|CEMBAL|HARPSI", 0),
        (r"GLOCKEN|VIB(RA|E)|MARIMBA|BELL|CH(I|AI)M|KALIMB|MALLET", 8),
        (r"ORG|HAMO|HARMONICA|ACCORD", 16),
        (r"DIST|\bDIS\.|\bD\.G|\bOD\b|E\.?G\.? ?\(?SOLO|E\.GUITAR \(SOLO", 30),
        (r"GUITAR|\bGT|\b[AE]\.?G\b|AC\.G|NYLON|MANDO|SITAR|G\. SOLO|CLEAN", 24),
        (r"BASS", 33),
        (r"SAX|OBOE|CLARINET|FAGOT|BASSOON", 64),
        (r"BRAS|TRUMP|\bT[PB]\b|TROM|HORN|FLUGEL", 56),
        (r"FLUTE|PICC?O|BOTTLE|WHISTLE", 72),
        (r"SYN(TH)?.?(SOLO|LEAD|SEQ)|SYNTH\(SEQ|SOLO SYNTH|PORTASYN|\bSE?Q", 80),
        (r"SYN|PAD|FANTAS|BRIGHTNESS", 88),
        (r"STR|ORCH|PIZZ|\bHIT\b|TIMPANI|VIOL|VIORA|\bV(N|A|C|LN)\b|HARP|CELLO|\bST\b|\bOR\b", 48),
    )
)
NAMES = {100: "melody", 101: "chorus"}
REMEDY = f"give a folder that has audio/rwc-p-m01 to m07 and {MIDI}"


def recordings(root: str | Path) -> list[Recording]:
    """The songs, by number.

    Raises:
        DatasetError: there is no such data set, or a song or its MIDI is missing.
    """
    root = files.folder(root, REMEDY)
    midi, audio = files.folder(root / MIDI, REMEDY), files.folder(root / "audio", REMEDY)
    numbers = {_number(path) for path in midi.glob("[!.]*.MID")}
    numbers |= {number for number in range(1, sum(SONGS_OF_DISCS) + 1) if (audio / _track(number)).is_file()}
    return [
        _recording(midi / f"RM-P{number:03d}.SMF_SYNC.MID", audio / _track(number), number)
        for number in files.not_empty(sorted(numbers), root, REMEDY)
    ]


def _number(path: Path) -> int:
    match = re.fullmatch(r"RM-P(\d{3})\.SMF_SYNC\.MID", path.name)
    if match is None or not 1 <= int(match[1]) <= sum(SONGS_OF_DISCS):
        raise DatasetError.about(path, f"not named as the data set does, like RM-P001.SMF_SYNC.MID; {AGAIN}")
    return int(match[1])


def _track(number: int) -> str:
    """The file of a song on its CD."""
    first = 1 + np.cumsum((0, *SONGS_OF_DISCS))
    disc = int(np.searchsorted(first, number, side="right"))
    return f"rwc-p-m{disc:02d}/{number - first[disc - 1] + 1}.wav"


def _recording(midi: Path, audio: Path, number: int) -> Recording:
    id = f"RM-P{number:03d}"
    return Recording(id, None, id, files.file(audio), partial(_parts, files.file(midi)))


def _parts(midi: Path) -> list[Part]:
    parts = [part for name, notes in files.midi_tracks(midi) if (part := _part(name, notes))]
    if not parts:
        raise DatasetError.about(midi, f"nobody plays in it; {AGAIN}")
    return parts


def _part(name: str, notes: Notes) -> Part | None:
    """A track; None if it is nobody's."""
    who = next((who for pattern, who in INSTRUMENTS if pattern.search(name.upper())), None)
    if who == DRUMS or (notes.is_drum.all() and who in (None, NOBODY)):
        return Part(name, 0, True, (), notes)
    if who == NOBODY:
        return None
    return Part(NAMES.get(who or 0, name), int(notes.program[0]) if who is None else who, False, (), notes)
