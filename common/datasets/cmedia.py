"""CMedia (MIREX 2020, singing transcription from polyphonic music): 100 Mandarin pop songs with the sung notes.

Layout, as YourMT3 reads it: `Cmedia-train/Cmedia_train_gt.json`, the notes, and for each song `train/<song>/` with
`vocals.wav` and `converted_Mixture.wav`. There is one split, for training; YourMT3 also validates on it, so its numbers
there are of songs that it knows.

Some notes last less than 10 ms: they are sung legato, up to the next. If that starts within half a second, they end
where it starts (YourMT3 mends the same ten); the others are left out. Program and velocities are as in MIR-ST500.
"""

from pathlib import Path

import numpy as np

from common.datasets import files, songs
from common.datasets.recording import Recording

ANNOTATIONS = "Cmedia-train/Cmedia_train_gt.json"
SHORTEST, LONGEST_GAP = 0.01, 0.5  # seconds
REMEDY = f"give the folder that has {ANNOTATIONS} and the songs in train/"


def recordings(root: str | Path, audio: str = "vocals") -> list[Recording]:
    """The songs that are there, by number.

    Args:
        root: the folder.
        audio: "vocals" or "mixture", see `common.datasets.songs.recordings`.

    Raises:
        DatasetError: there is no such data set, or it is damaged.
    """
    root = files.folder(root, REMEDY)
    path = files.file(root / ANNOTATIONS, REMEDY)
    table = {song: legato(rows) for song, rows in songs.annotations(path).items()}
    place = files.folder(root / "train", REMEDY)
    return files.not_empty(songs.recordings(place, table, path, "train", audio), root, REMEDY)


def legato(rows: np.ndarray) -> np.ndarray:
    """(note, 3) onsets, offsets and pitches in order, notes without length drawn out to the next one, or left out."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    following = np.append(rows[1:, 0], np.inf)
    short = rows[:, 1] - rows[:, 0] < SHORTEST
    near = following - rows[:, 1] < LONGEST_GAP
    rows[short & near, 1] = following[short & near]
    return rows[~short | near]
