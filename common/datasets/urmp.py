"""URMP (Li et al. 2019): 44 chamber pieces of two to five parts, each part recorded alone at 48 kHz.

Layout (URMP_doc.pdf in the release): a folder `01_Jupiter_vn_vc` for each piece, its name the number, the title and the
abbreviated instruments of the parts in order, with `AuMix_<piece>.wav`, and for each part
`AuSep_<part>_<instrument>_<number>_<title>.wav` and `Notes_<...>.txt`: onset in seconds, mean frequency in Hz and
duration in seconds, apart by white space. `F0s_*.txt`, `Sco_*.mid` (the unaligned score) and the video are not needed,
nor is the folder `Supplementary_Files`.

Traps. In 15_Surprise_tpt_tpt_tbn the files of part 3 say tpt: the folder's name is right (YourMT3's preprocessing
renames the files). Pieces share takes: 24 and 25 Pirates have one viola recording, so that a title is never divided
between splits here. There is no official split: "test" are MT3's nine pieces (Gardner et al. 2022), the rest is
"train", but for 08_Spring, which has the title of test piece 12 and no split. The kind of saxophone is not documented:
alto is assumed, as in YourMT3.
"""

from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.instruments import PROGRAM_NAMES
from common.notes import Notes

PROGRAMS = {
    "vn": 40, "va": 41, "vc": 42, "db": 43, "fl": 73, "ob": 68, "cl": 71,
    "sax": 65, "bn": 70, "tpt": 56, "hn": 60, "tbn": 57, "tba": 58,
}  # fmt: skip
TEST = (1, 2, 12, 13, 24, 25, 31, 38, 39)
UNUSED = (8,)
REMEDY = "give the folder Dataset of URMP, which has 01_Jupiter_vn_vc and 43 more"


def recordings(root: str | Path) -> list[Recording]:
    """The pieces, in order.

    Raises:
        DatasetError: there is no such data set, or a file of a piece is missing.
    """
    return [_recording(piece) for piece in files.folders(root, "[0-9][0-9]_*", REMEDY)]


def _recording(piece: Path) -> Recording:
    number, title, *instruments = piece.name.split("_")
    unknown = set(instruments) - set(PROGRAMS)
    if unknown or not instruments:
        raise DatasetError.about(piece, f"names no instruments of the data set; {AGAIN}")
    paths = [
        # Whatever instrument the name of the file itself says.
        (
            files.one_like(piece, f"AuSep_{i}_*_{number}_{title}.wav"),
            files.one_like(piece, f"Notes_{i}_*_{number}_{title}.txt"),
        )
        for i in range(1, len(instruments) + 1)
    ]
    mixture = files.file(piece / f"AuMix_{piece.name}.wav")
    return Recording(piece.name, _split(int(number)), title, mixture, partial(_parts, instruments, paths))


def _split(number: int) -> str | None:
    if number in UNUSED:
        return None
    return "test" if number in TEST else "train"


def _parts(instruments: list[str], paths: list[tuple[Path, Path]]) -> list[Part]:
    return [
        Part(f"{i} {PROGRAM_NAMES[PROGRAMS[name]]}", PROGRAMS[name], False, (audio,), _notes(truth))
        for i, (name, (audio, truth)) in enumerate(zip(instruments, paths, strict=True), 1)
    ]


def _notes(path: Path) -> Notes:
    table = files.rows(path, 3)
    with files.annotation(path):
        onset, hz, duration = np.array([row[:3] for row in table], np.float64).reshape(-1, 3).T
        if (hz <= 0.0).any():
            raise ValueError(f"row {(hz <= 0.0).argmax() + 1} has no frequency")
        return files.checked_notes(path, onset, onset + duration, 69.0 + 12.0 * np.log2(hz / 440.0))
