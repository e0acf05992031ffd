"""Slakh2100 (Manilow et al. 2019): Lakh MIDI files rendered by sampled instruments, a stem for each, 44.1 kHz.

Layout (ethman/slakh-utils, README and splits/README): `train`, `validation` and `test` hold a folder `Track00001` for
each piece with `metadata.yaml`, `mix.flac`, `stems/S00.flac`, `MIDI/S00.mid` and `all_src.mid` (all of Lakh's tracks).
The converted release has .wav for .flac; BabySlakh has its tracks in the folder itself, without splits.

- Splits. Slakh2100-redux has a fourth folder, `omitted`: the pieces whose MIDI file another piece has too. The original
  split (tracks 1 to 1500, to 1875, to 2100) shares MIDI files between its parts, so take it only to compare.
- Stems. The metadata lists instruments that were never rendered (`audio_rendered: false`, no files): they are not
  heard in the mixture and are left out. The flag is not to be trusted where the file is there.
- Drums have `is_drum` and the program 128 in the metadata; their MIDI need not be on channel 10, nor that of others off
  it, so the metadata decides.
- Bass. By YourMT3+ and MR-MT3, the samplers sound an octave below their MIDI, except one slap bass. Both lower the
  notes, and so do we by default; scores with and without are not comparable.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path

import yaml

from common.datasets import files
from common.datasets.files import AGAIN, DatasetError
from common.datasets.recording import Part, Recording
from common.notes import Notes

SPLITS = ("train", "validation", "test", "omitted")
ORIGINAL = {1500: "train", 1875: "validation", 2100: "test"}  # number of its last track -> split
BASSES = range(32, 40)
SOUNDS_AS_WRITTEN = "scarbee_jay_bass_slap_both.nkm"
REMEDY = "give the folder of Slakh2100 that has train/, validation/ and test/, or one with Track00001 in it"


def recordings(root: str | Path, original_split: bool = False, correct_bass: bool = True) -> list[Recording]:
    """The pieces, split by split, by number.

    Args:
        root: the folder.
        original_split: that of the first release, wherever the tracks lie now.
        correct_bass: lower the notes of basses to where they sound.

    Raises:
        DatasetError: there is no such data set, or a piece has no mixture or metadata.
    """
    root = files.folder(root, REMEDY)
    places = {name: root / name for name in SPLITS if (root / name).is_dir()} or {None: root}
    tracks = [
        (path, _original_split(path) if original_split else split)
        for split, place in places.items()
        for path in sorted(place.iterdir())
        if path.is_dir() and re.fullmatch(r"Track\d{5}", path.name)
    ]
    for name, times in Counter(path.name for path, _ in tracks).items():
        if times > 1:
            raise DatasetError.about(
                root, f"{name} is in {times} splits; unpack the data set again, into an empty folder"
            )
    return [_recording(path, split, correct_bass) for path, split in files.not_empty(tracks, root, REMEDY)]


def _original_split(track: Path) -> str:
    number = int(track.name[5:])
    split = next((split for last, split in ORIGINAL.items() if number <= last), None)
    if split is None:
        raise DatasetError.about(track, f"the data set ends with Track02100; {AGAIN}")
    return split


def _recording(track: Path, split: str | None, correct_bass: bool) -> Recording:
    files.file(track / "metadata.yaml")
    mixture = files.first_of(track / "mix.flac", track / "mix.wav")
    return Recording(track.name, split, track.name, mixture, partial(_parts, track, correct_bass))


def _parts(track: Path, correct_bass: bool) -> list[Part]:
    path = track / "metadata.yaml"
    with files.annotation(path):
        try:
            stems = yaml.safe_load(path.read_text(encoding="utf-8"))["stems"]
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        parts = [_part(track, name, stem, correct_bass) for name, stem in sorted(stems.items())]
        if not any(parts):
            raise ValueError("none of its stems was rendered")
    return [part for part in parts if part is not None]


def _part(track: Path, name: str, stem: dict, correct_bass: bool) -> Part | None:
    """An instrument that is heard; None if it was not rendered."""
    audio = (track / "stems" / f"{name}.flac", track / "stems" / f"{name}.wav")
    if not stem["audio_rendered"] and not any(path.is_file() for path in audio):
        return None
    sounding = files.first_of(*audio)
    notes = files.midi_notes(files.file(track / "MIDI" / f"{name}.mid"))
    program, is_drum = int(stem["program_num"]), bool(stem["is_drum"])
    if not is_drum and not 0 <= program <= 127:
        raise ValueError(f"{name} has the program {program}")
    if correct_bass and not is_drum and program in BASSES and stem["plugin_name"] != SOUNDS_AS_WRITTEN:
        notes = _octave_down(notes)
    program = 0 if is_drum else int(files.unsung(program))
    return Part(f"{name} {stem['inst_class']}", program, is_drum, (sounding,), notes)


def _octave_down(notes: Notes) -> Notes:
    high = notes[notes.pitch >= 12]
    return high.replace(pitch=high.pitch - 12)
