"""Bach10 v1.1 (Duan and Pardo 2010): ten four-part chorales, each part recorded alone at 44.1 kHz.

Layout, as the authors' own scripts read it: a folder `01-AchGottundHerr` for each piece with `<piece>.wav`, the
mixture; `<piece>-violin.wav`, `-clarinet.wav`, `-saxphone.wav` (the release's spelling; copies have saxophone) and
`-bassoon.wav`; `<piece>-GTNotes.mat`, the notes; also `.mid` (the score, unaligned), `.txt` and `.asl` (onsets, no
offsets) and `-GTF0s.mat`, which are not needed here. A folder `Code` stands beside the pieces.

GTNotes is a MATLAB cell for each part, in the order above, of a cell for each note: a matrix [2, frame] of frame
numbers and of pitch in fractional MIDI numbers. As readers quote the description of the data set, its windows are 46 ms
long, 10 ms apart, and the first is centred at 23 ms; MATLAB counts from 1, so that frame k lies at 23 + 10 (k - 1) ms.
A note is taken to fill the 10 ms around each of its frames. (The code of the timbre paper takes 10 k ms, 8 ms before
our onsets, LIMUNIMI/ASMD 10 (k - 2) ms.) There is no split: the whole set is for testing.
"""

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.notes import Notes

# Part -> its names in the files, program.
PARTS = {
    "violin": (("violin",), 40),
    "clarinet": (("clarinet",), 71),
    "saxophone": (("saxphone", "saxophone"), 66),
    "bassoon": (("bassoon",), 70),
}
FIRST_CENTRE, HOP = 0.023, 0.010  # seconds
REMEDY = "give the folder Bach10_v1.1, which has 01-AchGottundHerr and nine more"


def recordings(root: str | Path) -> list[Recording]:
    """The pieces, in order.

    Raises:
        DatasetError: there is no such data set, or a file of a piece is missing.
    """
    return [_recording(piece) for piece in files.folders(root, "[0-9][0-9]-*", REMEDY)]


def _recording(piece: Path) -> Recording:
    audio = {
        name: files.first_of(*(piece / f"{piece.name}-{spelling}.wav" for spelling in spellings))
        for name, (spellings, _) in PARTS.items()
    }
    truth = files.file(piece / f"{piece.name}-GTNotes.mat")
    mixture = files.file(piece / f"{piece.name}.wav")
    return Recording(piece.name, None, piece.name[3:], mixture, partial(_parts, truth, audio))


def _parts(truth: Path, audio: dict[str, Path]) -> list[Part]:
    with files.annotation(truth):
        try:
            cells = loadmat(truth, variable_names=["GTNotes"])["GTNotes"].ravel()
        except Exception as error:  # scipy lets what it stumbles over through: MatReadError, zlib.error, TypeError
            raise DatasetError.about(
                truth, f"not the MATLAB file with GTNotes, or damaged ({error}); {AGAIN}"
            ) from error
        if len(cells) != len(PARTS):
            raise ValueError(f"{len(cells)} parts instead of {len(PARTS)}")
        return [
            Part(name, PARTS[name][1], False, (path,), _notes(truth, cell))
            for (name, path), cell in zip(audio.items(), cells, strict=True)
        ]


def _notes(truth: Path, cell: np.ndarray) -> Notes:
    """The notes of a part: a cell of matrices [2, frame], frame numbers from 1 over MIDI pitches."""
    matrices = [np.asarray(matrix, np.float64) for matrix in cell.ravel()]
    first, last = (FIRST_CENTRE + HOP * (np.array([matrix[0, i] for matrix in matrices]) - 1.0) for i in (0, -1))
    pitch = [np.median(matrix[1]) for matrix in matrices]
    return files.checked_notes(truth, first - HOP / 2, last + HOP / 2, pitch)
