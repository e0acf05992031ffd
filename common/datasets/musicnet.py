"""MusicNet (Thickstun et al. 2017): 330 classical recordings at 44.1 kHz with notes and instruments, no stems.

Layout (musicnet.tar.gz, Zenodo record 5120004): `train_data/<id>.wav` and `train_labels/<id>.csv`, and the same with
`test`: the split. A label file has the columns start_time and end_time in samples at 44.1 kHz, instrument, note (a
MIDI number), and start_beat, end_beat and note_value, which are not needed. Instruments count from 1, so program =
instrument - 1 (magenta/magenta#1324).

MusicNet-EM (Maman and Bermano 2022) has better aligned labels for the same recordings: `musicnet_em/<id>.mid`. Seven
recordings of the training split have none and are left out. Its programs count from 0 as in any MIDI file; readers
report that in string quartets the second violin may be 45, pizzicato. It is left as it is. There are no drums.
"""

import csv
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import DatasetError
from common.datasets.recording import Part, Recording
from common.instruments import PROGRAM_NAMES
from common.notes import Notes

SAMPLE_RATE = 44_100  # of the label times
SPLITS = ("train", "test")
WITHOUT_EM = ("2194", "2211", "2227", "2230", "2292", "2305", "2310")
REMEDY = "give the folder that musicnet.tar.gz unpacks to, which has train_data/, train_labels/ and the same of test"
EM_REMEDY = "unpack musicnet_em.zip beside train_data/"


def recordings(root: str | Path, em: bool = False) -> list[Recording]:
    """The recordings, by id, those of the training split first.

    Args:
        root: the folder.
        em: take the labels of MusicNet-EM instead of the original ones.

    Raises:
        DatasetError: there is no such data set, a label or a recording is missing, or an id is in two splits.
    """
    root = files.folder(root, REMEDY)
    ids = {split: files.not_empty(_ids(root, split, em), root / f"{split}_data", REMEDY) for split in SPLITS}
    twice = set(ids["train"]) & set(ids["test"])
    if twice:
        raise DatasetError.about(root / f"train_data/{min(twice)}.wav", "also in the test split; remove one of them")
    return [_recording(root, split, id, em) for split in SPLITS for id in ids[split]]


def _ids(root: Path, split: str, em: bool) -> list[str]:
    """What has audio or labels; that it has both is seen later."""
    ids = {path.stem for path in files.folder(root / f"{split}_data", REMEDY).glob("[!.]*.wav")}
    if em:
        return sorted(ids - set(WITHOUT_EM))
    return sorted(ids | {path.stem for path in files.folder(root / f"{split}_labels", REMEDY).glob("[!.]*.csv")})


def _recording(root: Path, split: str, id: str, em: bool) -> Recording:
    audio = files.file(root / f"{split}_data" / f"{id}.wav")
    if em:
        nested = root / "musicnet_em" / "musicnet_em" / f"{id}.mid"  # as some programs unpack the archive
        labels = nested if nested.is_file() else files.file(root / "musicnet_em" / f"{id}.mid", EM_REMEDY)
    else:
        labels = files.file(root / f"{split}_labels" / f"{id}.csv")
    return Recording(id, split, id, audio, partial(_parts, labels, audio))


def _parts(labels: Path, audio: Path) -> list[Part]:
    """A part for each program. One that plays alone has the recording to itself."""
    notes = files.midi_notes(labels) if labels.suffix == ".mid" else _notes(labels)
    programs = sorted(set(notes.program.tolist()))
    alone = (audio,) if len(programs) == 1 else ()
    return [
        Part(PROGRAM_NAMES[program], program, False, alone, notes[notes.program == program]) for program in programs
    ]


def _notes(path: Path) -> Notes:
    with files.annotation(path), path.open(newline="", encoding="utf-8") as lines:
        table = [
            [int(row[name]) for name in ("start_time", "end_time", "note", "instrument")]
            for row in csv.DictReader(lines)
        ]
        if not all(1 <= row[-1] <= 128 for row in table):
            raise ValueError("an instrument outside 1..128")
        start, end, pitch, instrument = np.array(table, np.float64).reshape(-1, 4).T
        program = files.unsung(instrument - 1.0)
        return files.checked_notes(path, start / SAMPLE_RATE, end / SAMPLE_RATE, pitch, program=program)
