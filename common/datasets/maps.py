"""MAPS, MIDI Aligned Piano Sounds (Emiya et al. 2010): 270 piano pieces, 30 on each of nine pianos, 44.1 kHz.

Layout (the data set's page): the archives unpack to a folder for each piano, of which `MUS` has the pieces:
`AkPnBcht/MUS/MAPS_MUS-alb_esp2_AkPnBcht.wav`, with `.mid` and `.txt`. They are found wherever they lie below the root;
single notes and chords (`ISOL`, `RAND`, `UCHO`) are not read. The notes are those of the MIDI, which has velocities and
the sustain pedal; the text holds onset, offset and pitch of the same notes.

- Splits (Sigtia et al. 2016, "configuration 2"; YourMT3): the 60 recordings of the two Disklaviers, ENSTDkAm and
  ENSTDkCl, are the test; the seven others are software pianos and train. Pianos share pieces: the 71 training
  recordings of pieces that the test has too have no split, so that 139 train.
"""

import re
from functools import partial
from pathlib import Path

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording

TEST_PIANOS = ("ENSTDkAm", "ENSTDkCl")
NAME = re.compile(r"MAPS_MUS-(.+)_([A-Za-z0-9]+)")
REMEDY = "give the folder that the archives of MAPS were unpacked to, which has AkPnBcht/MUS and more pianos"


def recordings(root: str | Path) -> list[Recording]:
    """The pieces, by piano and name.

    Raises:
        DatasetError: there is no such data set, or a recording or its MIDI is missing.
    """
    root = files.folder(root, REMEDY)
    found = {path.with_suffix("") for kind in ("wav", "mid") for path in root.rglob(f"MUS/MAPS_MUS-*.{kind}")}
    found = files.not_empty(sorted(found), root, REMEDY)
    named = [(path, *_piece_and_piano(path)) for path in found]
    tested = {piece for _, piece, piano in named if piano in TEST_PIANOS}
    return [_recording(path, piece, _split(piano, piece in tested)) for path, piece, piano in named]


def _piece_and_piano(path: Path) -> tuple[str, str]:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise DatasetError.about(path, f"not named as the data set does, like MAPS_MUS-alb_esp2_AkPnBcht; {AGAIN}")
    return match[1], match[2]


def _split(piano: str, tested: bool) -> str | None:
    if piano in TEST_PIANOS:
        return "test"
    return None if tested else "train"


def _recording(path: Path, piece: str, split: str | None) -> Recording:
    # The name of a piece may have a dot: with_suffix would take it for one of a file.
    midi, audio = (files.file(path.with_name(f"{path.name}.{kind}")) for kind in ("mid", "wav"))
    return Recording(path.name.removeprefix("MAPS_MUS-"), split, piece, audio, partial(_parts, midi, audio))


def _parts(midi: Path, audio: Path) -> list[Part]:
    notes = files.midi_notes(midi)
    if not len(notes):
        raise DatasetError.about(midi, f"no notes in it; {AGAIN}")
    return [Part("piano", 0, False, (audio,), notes)]
