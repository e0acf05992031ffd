"""Songs whose sung notes are annotated in one JSON file of all: what MIR-ST500 and CMedia have in common.

The file holds {song: [[onset, offset, pitch], ...]}, seconds and MIDI numbers; songs are numbers from 1. The audio is
not part of such a set, everybody fetches it: what is not there is no longer to be had, and is not listed. A song has a
folder of its number, with the recording and, once it was separated with Spleeter, the vocals.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import DatasetError
from common.datasets.recording import Part, Recording
from common.instruments import YOURMT3_CHANNELS
from common.stems import all_but

MELODY = YOURMT3_CHANNELS["Singing"][0]
NAMES = {"vocals": "[Vv]ocal*.wav", "mixture": "*[Mm]ixture.*"}  # what is heard -> its names in releases and tools
SEPARATE = "separate the song with Spleeter, or take audio='mixture'"
FETCH = "fetch the song again, or remove its folder"


def annotations(path: Path) -> dict[int, np.ndarray]:
    """(note, 3) onsets, offsets and pitches of each song; whether they make notes is seen when they are asked for."""
    with files.annotation(path):
        songs = json.loads(path.read_text(encoding="utf-8"))
        return {int(song): np.array(rows, np.float64).reshape(-1, 3) for song, rows in songs.items()}


def recordings(place: Path, table: dict[int, np.ndarray], path: Path, split: str, audio: str) -> list[Recording]:
    """The songs in a folder, by number.

    Args:
        place: has a folder for each song.
        table: `annotations(path)`.
        path: the file of the annotations, for errors.
        split: that of all of them.
        audio: "vocals" for the separated ones, whose other channels count as silent; "mixture" for the recording as it
            is, of which the singing alone is annotated.

    Raises:
        DatasetError: a song has no annotation, or not the audio that is asked for.
    """
    if audio not in NAMES:
        raise DatasetError(f"songs are heard as {' or '.join(NAMES)}, not as {audio!r}; choose one of them")
    folders = {int(song.name): song for song in place.iterdir() if song.is_dir() and song.name.isdigit()}
    unknown = sorted(folders.keys() - table.keys())
    if unknown:
        raise DatasetError.about(path, f"no notes of song {unknown[0]}; {FETCH}")
    return [_recording(folders[song], song, table[song], path, split, audio) for song in sorted(folders)]


def _recording(folder: Path, song: int, rows: np.ndarray, path: Path, split: str, audio: str) -> Recording:
    alone = audio == "vocals"
    heard = files.one_like(folder, NAMES[audio], SEPARATE if alone else FETCH)
    parts = partial(_parts, rows, Path(f"{path}: song {song}"), (heard,) if alone else ())
    return Recording(str(song), split, f"song {song}", heard, parts, frozenset() if alone else all_but("Singing"))


def _parts(rows: np.ndarray, source: Path, audio: tuple[Path, ...]) -> list[Part]:
    onset, offset, pitch = rows.T
    return [Part("singing", MELODY, False, audio, files.checked_notes(source, onset, offset, pitch))]
