"""IDMT-SMT-Bass (Abesser et al. 2010): single notes of three electric basses, plucked in five ways, 44.1 kHz.

Layout (Zenodo record 7188892): `PS/<plucking>/BS_<bass>_EQ_<setting>_<plucking>_NO_<string>_<fret>.wav`, 2,342 files.
The folder `ES` has such notes with bends, vibrato, harmonics and the like, whose pitches no name tells: it is not read.

- Pitch: strings 1 to 4 are E1, A1, D2 and G2. BS_2_EQ_1_SP_NO_5_0 names a fifth string, which the basses have not: it
  is left out.
- Onset and end are not annotated. They are found in the sound, so that reading the notes reads it: from the first block
  of 5 ms above 5 % of the greatest amplitude to the last one above 2 % (the thresholds of YourMT3).
- Programs by plucking, as in YourMT3: fingers and muted 33, plectrum 34, slap-pluck 36, slap-thumb 37.
- Splits: YourMT3 draws a fifth of the files for validation, so that the same string and fret of a bass is in both. Here
  basses 1 and 2 train, and bass 3 is the test.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from common import audio as sound
from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.instruments import PROGRAM_NAMES
from common.notes import Notes

PROGRAMS = {"FS": 33, "MU": 33, "PK": 34, "SP": 36, "ST": 37}
OPEN_STRINGS = (28, 33, 38, 43)
NAME = re.compile(r"BS_([123])_EQ_\d+_(FS|MU|PK|SP|ST)_[A-Z]+_([1-4])_(\d+)")
WITHOUT_PITCH = ("BS_2_EQ_1_SP_NO_5_0",)
TEST_BASS = "3"
BLOCK_SECONDS, STARTS_ABOVE, ENDS_BELOW = 0.005, 0.05, 0.02
REMEDY = "give the folder IDMT-SMT-BASS, which has PS/FS, PS/PK and more"


def recordings(root: str | Path) -> list[Recording]:
    """The notes, by name.

    Raises:
        DatasetError: there is no such data set, or a file is not named as its files are.
    """
    root = files.folder(root, REMEDY)
    paths = [path for path in sorted(root.glob("PS/*/[!.]*.wav")) if path.stem not in WITHOUT_PITCH]
    return [_recording(path) for path in files.not_empty(paths, root, REMEDY)]


def _recording(path: Path) -> Recording:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise DatasetError.about(path, f"not named as the data set does, like BS_1_EQ_1_FS_NO_1_0.wav; {AGAIN}")
    bass, plucking, string, fret = match.groups()
    pitch = OPEN_STRINGS[int(string) - 1] + int(fret)
    split = "test" if bass == TEST_BASS else "train"
    return Recording(path.stem, split, path.stem, path, partial(_parts, path, pitch, PROGRAMS[plucking]))


def _parts(path: Path, pitch: int, program: int) -> list[Part]:
    onset, offset = _sounding(path)
    notes = Notes.build([onset], [offset], pitch)
    return [Part(PROGRAM_NAMES[program], program, False, (path,), notes)]


def _sounding(path: Path) -> tuple[float, float]:
    """Seconds from and to which a single note sounds."""
    audio, rate = sound.read(path)
    size = max(round(BLOCK_SECONDS * rate), 1)
    padded = np.pad(np.abs(audio), (0, -len(audio) % size))
    peaks = padded.reshape(-1, size).max(axis=1)
    loudest = peaks.max(initial=0.0)
    if loudest == 0.0:
        raise DatasetError.about(path, f"silent; {AGAIN}")
    first = int(np.argmax(peaks > STARTS_ABOVE * loudest))
    last = len(peaks) - 1 - int(np.argmax(peaks[::-1] > ENDS_BELOW * loudest))
    return first * size / rate, (last + 1) * size / rate
