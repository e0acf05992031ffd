"""PHENICX-Anechoic (Miron et al. 2016): four symphonic passages, each player recorded alone in an anechoic room.

Layout (Zenodo record 840025; mirdata's loader and its fixture): `audio/<piece>/<instrument>[number].wav`, one file for
each player or desk, and `annotations/<piece>/<instrument>.txt`, the notes of all players of the instrument as
`onset,offset,name` in seconds and names such as C#4 (A4 is 440 Hz). `<instrument>_o.txt` is the unaligned score: not
the truth. The mixture is the sum of all files; the release has none. There is no split: the set is for testing.
"""

import re
from functools import partial
from pathlib import Path

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.notes import Notes

PROGRAMS = {
    "violin": 40, "viola": 41, "cello": 42, "doublebass": 43, "flute": 73,
    "oboe": 68, "clarinet": 71, "bassoon": 70, "horn": 60, "trumpet": 56,
}  # fmt: skip
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NOTE_NAME = re.compile(r"([A-G])(#*|b*)(-?\d+)")
REMEDY = "give the folder PHENICX-Anechoic, which has audio/ and annotations/"


def recordings(root: str | Path) -> list[Recording]:
    """The pieces, by name.

    Raises:
        DatasetError: there is no such data set, or an instrument has sound without notes or notes without sound.
    """
    root = files.folder(root, REMEDY)
    return [_recording(root, piece.name) for piece in files.folders(root / "audio", "[!.]*", REMEDY)]


def _recording(root: Path, piece: str) -> Recording:
    annotations = files.folder(root / "annotations" / piece, AGAIN)
    players: dict[str, list[Path]] = {}
    for path in sorted((root / "audio" / piece).glob("[!.]*.wav")):
        players.setdefault(path.stem.rstrip("0123456789"), []).append(path)
    for instrument in files.not_empty(players, root / "audio" / piece, AGAIN):
        files.file(annotations / f"{instrument}.txt")
        if instrument not in PROGRAMS:
            raise DatasetError.about(players[instrument][0], f"no instrument of the data set; {AGAIN}")
    for instrument in PROGRAMS:
        if (annotations / f"{instrument}.txt").is_file() and instrument not in players:
            raise DatasetError.about(root / "audio" / piece / f"{instrument}.wav", f"missing; {AGAIN}")
    return Recording(piece, None, piece, None, partial(_parts, annotations, players))


def _parts(annotations: Path, players: dict[str, list[Path]]) -> list[Part]:
    return [
        Part(instrument, PROGRAMS[instrument], False, tuple(paths), _notes(annotations / f"{instrument}.txt"))
        for instrument, paths in players.items()
    ]


def _notes(path: Path) -> Notes:
    table = files.rows(path, 3, ",")
    with files.annotation(path):
        onset, offset = ([float(row[column]) for row in table] for column in (0, 1))
        return files.checked_notes(path, onset, offset, [_pitch(row[2].strip()) for row in table])


def _pitch(name: str) -> int:
    """MIDI number of a note name; C4 is 60."""
    match = NOTE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a note")
    step, accidental, octave = match.groups()
    return 12 * (int(octave) + 1) + STEPS[step] + accidental.count("#") - accidental.count("b")
