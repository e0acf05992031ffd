"""MAESTRO v3.0.0 (Hawthorne et al. 2019): 1,276 piano performances, MIDI captured by the instrument, 44.1 or 48 kHz.

Layout (the data set's page): `maestro-v3.0.0.csv` with canonical_composer, canonical_title, split (train, validation,
test; a composition is in one split only), year, midi_filename, audio_filename and duration, the file names relative to
the folder, as in `2018/<name>.midi`; `maestro-v3.0.0.json` is the same table, {column: {row: value}}, and is read where
the other is missing. The MIDI holds keys and pedals: a note ends when the sustain pedal lets it, not the finger, which
is what onset-and-offset scores of the literature are about (`common.midi.read_midi` does it).
"""

import csv
import json
from functools import partial
from pathlib import Path

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording

TABLE = "maestro-v3.0.0"
COLUMNS = ("canonical_composer", "canonical_title", "split", "midi_filename", "audio_filename")
SPLITS = ("train", "validation", "test")
REMEDY = f"give the folder maestro-v3.0.0, which has {TABLE}.csv"


def recordings(root: str | Path) -> list[Recording]:
    """The performances, in the order of the table.

    Raises:
        DatasetError: there is no such data set, its table is damaged, or a file that it names is missing.
    """
    root = files.folder(root, REMEDY)
    path = root / f"{TABLE}.json"
    if not path.is_file() or (root / f"{TABLE}.csv").is_file():
        path = files.file(root / f"{TABLE}.csv", REMEDY)
    return [_recording(root, path, row) for row in files.not_empty(_rows(path), path, AGAIN)]


def _rows(path: Path) -> list[dict[str, str]]:
    with files.annotation(path), path.open(newline="", encoding="utf-8") as lines:
        if path.suffix == ".csv":
            return [{name: _text(row[name]) for name in COLUMNS} for row in csv.DictReader(lines)]
        table = json.load(lines)
        return [{name: _text(table[name][key]) for name in COLUMNS} for key in table["split"]]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a row is not complete")
    return value


def _recording(root: Path, path: Path, row: dict[str, str]) -> Recording:
    if row["split"] not in SPLITS:
        raise DatasetError.about(path, f"a split {row['split']!r} instead of {', '.join(SPLITS)}; {AGAIN}")
    midi, audio = files.file(root / row["midi_filename"]), files.file(root / row["audio_filename"])
    title = f"{row['canonical_composer']}: {row['canonical_title']}"
    return Recording(midi.stem, row["split"], title, audio, partial(_parts, midi, audio))


def _parts(midi: Path, audio: Path) -> list[Part]:
    notes = files.midi_notes(midi)
    if not len(notes):
        raise DatasetError.about(midi, f"no notes in it; {AGAIN}")
    return [Part("piano", 0, False, (audio,), notes)]
