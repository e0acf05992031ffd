"""GuitarSet (Xi et al. 2018): 360 excerpts of about 30 s on an acoustic guitar, annotated string by string, 44.1 kHz.

Layout (Zenodo record 3371780, each archive in a folder of its name, as in mirdata's loader): `annotation/<id>.jams`,
`audio_mono-mic/<id>_mic.wav` (the microphone) and `audio_mono-pickup_mix/<id>_mix.wav` (the pickups of the strings,
summed). An id such as 00_BN1-129-Eb_comp is the player, the style with the number of its chord progression, tempo and
key, and whether the take accompanies or is a solo. JAMS is JSON; of its annotations the six of namespace note_midi, one
for each string, hold {time, duration, value} with the pitch as a fractional MIDI number.

There is no official split. MT3 and YourMT3+ train on the progressions 1 and 2 and test on 3: so no lead sheet is in
both, though all six players are. The program is theirs too, 24.
"""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import files
from common.datasets.files import DatasetError
from common.datasets.recording import Part, Recording
from common.notes import Notes

AUDIO = {"mic": "audio_mono-mic", "mix": "audio_mono-pickup_mix"}
N_STRINGS = 6
ID = re.compile(r"\d\d_((?:BN|Funk|Jazz|Rock|SS)([123])-\d+-[A-G][#b]?)_(?:comp|solo)")
REMEDY = "give a folder that has annotation/ and audio_mono-mic/ or audio_mono-pickup_mix/, the unpacked archives"


def recordings(root: str | Path, audio: str = "mic") -> list[Recording]:
    """The excerpts, by id.

    Args:
        root: the folder.
        audio: "mic" for the microphone, "mix" for the pickups.

    Raises:
        DatasetError: there is no such data set, or a recording or its annotation is missing.
    """
    if audio not in AUDIO:
        raise DatasetError(f"GuitarSet was recorded by {' and '.join(AUDIO)}, not by {audio!r}; choose one of them")
    root = files.folder(root, REMEDY)
    annotations = files.folder(root / "annotation", REMEDY)
    heard = files.folder(root / AUDIO[audio], REMEDY)
    ids = {path.stem for path in annotations.glob("[!.]*.jams")}
    ids |= {path.stem.removesuffix(f"_{audio}") for path in heard.glob("[!.]*.wav")}
    return [
        _recording(annotations / f"{id}.jams", heard / f"{id}_{audio}.wav")
        for id in files.not_empty(sorted(ids), annotations, REMEDY)
    ]


def _recording(jams: Path, audio: Path) -> Recording:
    match = ID.fullmatch(jams.stem)
    if match is None:
        raise DatasetError.about(jams, "not named as the data set does, like 00_BN1-129-Eb_comp.jams; restore its name")
    lead_sheet, progression = match.groups()
    split = "test" if progression == "3" else "train"
    return Recording(jams.stem, split, lead_sheet, files.file(audio), partial(_parts, files.file(jams), audio))


def _parts(jams: Path, audio: Path) -> list[Part]:
    return [Part("guitar", 24, False, (audio,), _notes(jams))]


def _notes(path: Path) -> Notes:
    """The notes of all strings."""
    with files.annotation(path):
        document = json.loads(path.read_text(encoding="utf-8"))
        strings = [entry["data"] for entry in document["annotations"] if entry["namespace"] == "note_midi"]
        if len(strings) != N_STRINGS:
            raise ValueError(f"notes of {len(strings)} strings instead of {N_STRINGS}")
        played = [(note["time"], note["duration"], note["value"]) for data in strings for note in data]
        onset, duration, pitch = np.array(played, np.float64).reshape(-1, 3).T
        return files.checked_notes(path, onset, onset + duration, pitch)
