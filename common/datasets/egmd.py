"""E-GMD v1.0.0, the Expanded Groove MIDI Dataset (Callender et al. 2020): 45,537 takes of drums, 44.1 kHz.

Layout (the data set's page): `e-gmd-v1.0.0.csv` with drummer, session, id, style, bpm, beat_type, time_signature,
duration, split, midi_filename, audio_filename and kit_name, the file names relative to the folder, as in
`drummer1/session1/1_funk_80_beat_4-4_1.midi`. It holds the 1,059 performances of the Groove data set, each played again
on 43 kits of a Roland TD-17: `id` is the performance, the number at the end of a file's name the kit.

- Splits: train, validation and test, all takes of a performance in one. The test has the ten beats that four drummers
  played each in their own way. Of its 5,289 takes YourMT3 scores the 246 of kits 5 and 10 (`kits`).
- Keys are those of the Roland, which uses numbers of General MIDI for rims and edges: 55, there a splash, is here the
  edge of the first crash. They are mapped to General MIDI by what was struck; the page's own reduction to nine drums
  is coarser. Velocities are kept. The kit of every take has its own sounds for them.
- Annotated are the drums, and nothing else is heard.
"""

import csv
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording

TABLE = "e-gmd-v1.0.0.csv"
COLUMNS = ("id", "split", "midi_filename", "audio_filename")
SPLITS = ("train", "validation", "test")
# Roland's key -> General MIDI's, where it is another: rims as their heads, edges as their bows.
TO_GENERAL_MIDI = {
    40: 38, 48: 50, 45: 47, 58: 43, 26: 46, 22: 42, 55: 49, 52: 57, 59: 51,
}  # fmt: skip
KEY = np.array([TO_GENERAL_MIDI.get(key, key) for key in range(128)])
REMEDY = f"give the folder e-gmd-v1.0.0, which has {TABLE}"


def recordings(root: str | Path, kits: Collection[int] = ()) -> list[Recording]:
    """The takes, in the order of the table.

    Args:
        root: the folder.
        kits: numbers of those to list, by the names of the files; none means all.

    Raises:
        DatasetError: there is no such data set, its table is damaged, a file that it names is missing, or a performance
            is in two splits.
    """
    root = files.folder(root, REMEDY)
    path = files.file(root / TABLE, REMEDY)
    rows = files.not_empty(_rows(path), path, AGAIN)
    _check_splits(path, rows)
    chosen = [row for row in rows if not kits or _kit(row) in kits]
    return [_recording(root, row) for row in files.not_empty(chosen, path, "choose kits that the data set has")]


def _rows(path: Path) -> list[dict[str, str]]:
    with files.annotation(path), path.open(newline="", encoding="utf-8") as lines:
        rows = [{name: row[name] for name in COLUMNS} for row in csv.DictReader(lines)]
        for number, row in enumerate(rows, 1):
            if not all(row.values()):
                raise ValueError(f"row {number} is not complete")
            if row["split"] not in SPLITS:
                raise ValueError(f"row {number} has the split {row['split']!r} instead of {', '.join(SPLITS)}")
        return rows


def _check_splits(path: Path, rows: list[dict[str, str]]) -> None:
    split = {}
    for row in rows:
        if split.setdefault(row["id"], row["split"]) != row["split"]:
            raise DatasetError.about(path, f"the performance {row['id']} is in two splits; {AGAIN}")


def _kit(row: dict[str, str]) -> int:
    number = re.search(r"_(\d+)\.midi?$", row["midi_filename"])
    return int(number[1]) if number else -1


def _recording(root: Path, row: dict[str, str]) -> Recording:
    midi, audio = files.file(root / row["midi_filename"]), files.file(root / row["audio_filename"])
    id = str(Path(row["midi_filename"]).with_suffix(""))
    return Recording(id, row["split"], row["id"], audio, partial(_parts, midi, audio))


def _parts(midi: Path, audio: Path) -> list[Part]:
    hits = files.midi_notes(midi, sustain=False)
    if not len(hits):
        raise DatasetError.about(midi, f"no hits in it; {AGAIN}")
    return [Part("drums", 0, True, (audio,), hits.replace(pitch=KEY[hits.pitch]))]
