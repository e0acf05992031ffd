"""ENST-Drums (Gillet and Richard 2006): three drummers on kits of their own, 318 public recordings at 44.1 kHz.

Layout (ENST-drums-public; the names as ADTOF and YourMT3 read them): `drummer_1/annotation/<name>.txt`, each line a
time in seconds and a label; `drummer_1/audio/wet_mix/<name>.wav`, all microphones mixed; for the names with minus-one
also `audio/accompaniment/<name>.wav`, the music that the drummer played to, without drums. The folders of the single
microphones and the dry mix are not needed. A name such as 107_minus-one_salsa_sticks is number, kind, piece and what
the drummer held.

- Labels. A digit tells cymbals of one kind apart (rc1, rc2), other signs how it was struck: neither is read. Velocities
  are not annotated. What General MIDI has no key for is written as the nearest that nobody takes for kick, snare or
  hi-hat: rim shots and the rims of toms as side stick, other cymbals as a crash, brush sweeps and sticks as the keys 29
  and 31 of General MIDI 2.
- Splits, as YourMT3 has them: drummers 1 and 2 train, the 21 minus-one recordings of drummer 3 are the test; his
  others, which nobody reports, are "test_alone". Drummers play to the same accompaniments, so that a network that
  trained on these has heard the music of the test.
- Annotated are the drums. Without accompaniment nobody else is heard, so everything is known.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from common import audio as sound
from common.datasets import files
from common.datasets.files import DatasetError
from common.datasets.recording import Part, Recording, add
from common.notes import Notes
from common.stems import all_but

KEYS = {
    "bd": 36, "sd": 38, "cs": 37, "rs": 37, "chh": 42, "ohh": 46, "lft": 41, "lt": 45, "lmt": 47, "mt": 48,
    "ltr": 37, "mtr": 37, "rc": 51, "cr": 49, "c": 57, "ch": 52, "spl": 55, "cb": 56, "sweep": 29, "sticks": 31,
}  # fmt: skip
DRUMMERS = (1, 2, 3)
HIT_SECONDS = 0.01  # onsets are annotated, ends are not
REMEDY = "give the folder ENST-drums-public, which has drummer_1/, drummer_2/ and drummer_3/"


def recordings(root: str | Path, accompaniment: float = 0.0) -> list[Recording]:
    """The recordings, by drummer and number.

    Args:
        root: the folder.
        accompaniment: its share of the mixture, drums and accompaniment being brought to one peak before. Two are in
            use (Wu et al. 2018): 0.25 and 0.4. 0 means drums alone; with more, only the minus-one recordings are
            listed.

    Raises:
        DatasetError: there is no such data set, or a recording lacks its annotation, mix or accompaniment.
    """
    if not 0.0 <= accompaniment < 1.0:
        raise DatasetError(f"an accompaniment of {accompaniment} leaves no drums; give a share from 0 to below 1")
    root = files.folder(root, REMEDY)
    return [
        _recording(root / f"drummer_{drummer}", drummer, name, accompaniment)
        for drummer in DRUMMERS
        for name in _names(root / f"drummer_{drummer}")
        if not accompaniment or "minus-one" in name
    ]


def _names(drummer: Path) -> list[str]:
    """What has an annotation or a mix; that it has both is seen later."""
    annotations = files.folder(drummer / "annotation", REMEDY).glob("[!.]*.txt")
    mixes = files.folder(drummer / "audio" / "wet_mix", REMEDY).glob("[!.]*.wav")
    return files.not_empty(sorted({path.stem for path in (*annotations, *mixes)}), drummer, REMEDY)


def _recording(place: Path, drummer: int, name: str, accompaniment: float) -> Recording:
    annotation = files.file(place / "annotation" / f"{name}.txt")
    drums = files.file(place / "audio" / "wet_mix" / f"{name}.wav")
    split = "train" if drummer != 3 else "test" if "minus-one" in name else "test_alone"
    id, parts = f"{drummer}_{name}", partial(_parts, annotation, drums)
    if not accompaniment:
        return Recording(id, split, id, drums, parts)
    music = files.file(place / "audio" / "accompaniment" / f"{name}.wav")
    return Recording(id, split, id, None, parts, all_but("Drums"), partial(_mix, drums, music, accompaniment))


def _mix(drums: Path, music: Path, accompaniment: float, sample_rate: int | None) -> tuple[np.ndarray, int]:
    """float32 [time] and its rate: both brought to a peak of 1, then added with their shares."""
    heard, rate = sound.read(drums, sample_rate)
    tracks = (heard, sound.read(music, rate)[0])
    shares = (1.0 - accompaniment, accompaniment)
    peaks = (max(float(np.abs(track).max(initial=0.0)), 1e-9) for track in tracks)
    return add(
        [track * np.float32(share / peak) for track, share, peak in zip(tracks, shares, peaks, strict=True)]
    ), rate


def _parts(annotation: Path, drums: Path) -> list[Part]:
    return [Part("drums", 0, True, (drums,), _hits(annotation))]


def _hits(path: Path) -> Notes:
    table = files.rows(path, 2)
    with files.annotation(path):
        labels = [re.sub("[^a-z]", "", row[1].lower()) for row in table]
        for number, label in enumerate(labels, 1):
            if label not in KEYS:
                raise ValueError(f"row {number} has the label {label!r}, which is none of the data set")
        onset = np.array([row[0] for row in table], np.float64)
        return files.checked_notes(path, onset, onset + HIT_SECONDS, [KEYS[label] for label in labels], is_drum=True)
