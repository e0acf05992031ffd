"""Tiny data sets in their real layouts: sine tones for sound, a few notes each. Every writer returns what is true."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import yaml
from scipy.io import savemat

from common.audio import write
from common.midi import write_midi
from common.notes import Notes

RATE, SECONDS = 8000, 2.0
MAESTRO_COLUMNS = (
    "canonical_composer", "canonical_title", "split", "year", "midi_filename", "audio_filename", "duration"
)  # fmt: skip


def melody(part: int, program: int = 0, is_drum: bool = False) -> Notes:
    """Three notes that no other part has; times on a grid of 10 ms from 18 ms on, which suits Bach10."""
    onset = 0.118 + 0.5 * np.arange(3) + 0.05 * part
    return Notes.build(onset, onset + 0.4, 60 + 5 * part + 2 * np.arange(3), 100, program, is_drum, part)


def sound(notes: Notes, seconds: float = SECONDS) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    audio = np.zeros(len(time), np.float32)
    for (onset, offset), hz in zip(notes.intervals, notes.hz, strict=True):
        audio += 0.1 * np.sin(2 * np.pi * hz * time) * ((time >= onset) & (time < offset))
    return audio


def parts(programs: list[int]) -> Notes:
    return Notes.concatenate(melody(i, program) for i, program in enumerate(programs)).sort()


def part(notes: Notes, track: int) -> Notes:
    return notes[notes.track == track]


def assert_same(notes: Notes, expected: Notes):
    for column in ("pitch", "program", "is_drum", "track"):
        assert notes.table[column].tolist() == expected.table[column].tolist()
    assert np.allclose(notes.intervals, expected.intervals, atol=6e-4)


def write_table(path: Path, rows: list, separator: str = "\t") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))


def bach10(root: Path) -> dict[str, Notes]:
    truth = {name: parts([40, 71, 66, 70]) for name in ("01-AchGottundHerr", "02-AchLiebenChristen")}
    (root / "Code").mkdir(parents=True)
    for name, notes in truth.items():
        cells = np.empty((4, 1), object)
        for i, instrument in enumerate(("violin", "clarinet", "saxphone", "bassoon")):
            own = part(notes, i)
            write(root / name / f"{name}-{instrument}.wav", sound(own), RATE)
            cells[i, 0] = np.empty((len(own), 1), object)
            for j, note in enumerate(own.table):
                first, last = round((note["onset"] - 0.008) * 100), round((note["offset"] - 0.018) * 100)
                frames = np.arange(first, last + 1, dtype=np.float64)
                vibrato = 0.3 * np.sin(frames)
                cells[i, 0][j, 0] = np.stack([frames, note["pitch"] + vibrato])
        write(root / name / f"{name}.wav", sound(notes), RATE)
        savemat(root / name / f"{name}-GTNotes.mat", {"GTNotes": cells})
    return truth


PLAYERS = {"doublebass": 43, "horn": 60, "violin": 40}


def phenicx(root: Path) -> dict[str, Notes]:
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
    own = {name: melody(i, program) for i, (name, program) in enumerate(PLAYERS.items())}
    for instrument, notes in own.items():
        rows = [(n["onset"], n["offset"], f"{names[n['pitch'] % 12]}{n['pitch'] // 12 - 1}") for n in notes.table]
        write_table(root / "annotations/beethoven" / f"{instrument}.txt", rows, ",")
        write_table(root / "annotations/beethoven" / f"{instrument}_o.txt", [(0, 1, "A4")], ",")
        players = {"": notes} if instrument != "violin" else {"1": notes[:1], "2": notes[1:]}
        for number, player in players.items():
            write(root / "audio/beethoven" / f"{instrument}{number}.wav", sound(player, player.end + 0.1), RATE)
    return {"beethoven": Notes.concatenate(own.values()).sort()}


URMP_PROGRAMS = {"vn": 40, "va": 41, "vc": 42, "fl": 73, "tpt": 56, "tbn": 57, "sax": 65}


def urmp_piece(root: Path, piece: str, misspelt: dict[int, str] | None = None) -> Notes:
    """One piece; `misspelt` says what the files of a part call its instrument."""
    number, title, *instruments = piece.split("_")
    notes = parts([URMP_PROGRAMS[name] for name in instruments])
    notes = notes.replace(pitch=notes.pitch + int(number) % 12)
    for i, name in enumerate(instruments):
        own = part(notes, i)
        file = f"{i + 1}_{(misspelt or {}).get(i, name)}_{number}_{title}"
        write(root / piece / f"AuSep_{file}.wav", sound(own), RATE)
        rows = [(n["onset"], hz, n["offset"] - n["onset"]) for n, hz in zip(own.table, own.hz * 1.01, strict=True)]
        write_table(root / piece / f"Notes_{file}.txt", rows, "\t\t")
    write(root / piece / f"AuMix_{piece}.wav", sound(notes), RATE)
    return notes


def urmp(root: Path) -> dict[str, Notes]:
    (root / "Supplementary_Files").mkdir(parents=True)
    pieces = ("01_Jupiter_vn_vc", "04_Allegro_fl_fl", "12_Spring_vn_vn_vc")
    return {piece: urmp_piece(root, piece) for piece in pieces}


def musicnet(root: Path) -> dict[str, Notes]:
    truth = {"1727": parts([40, 71]), "2194": parts([0]), "2303": parts([0])}
    for id, notes in truth.items():
        split = "test" if id == "2303" else "train"
        write(root / f"{split}_data/{id}.wav", sound(notes), RATE)
        header = ["start_time", "end_time", "instrument", "note", "start_beat", "end_beat", "note_value"]
        rows = [
            [round(n["onset"] * 44100), round(n["offset"] * 44100), n["program"] + 1, n["pitch"], 0.0, 1.0, "Quarter"]
            for n in notes.table
        ]
        write_table(root / f"{split}_labels/{id}.csv", [header, *rows], ",")
        if id != "2194":
            write_midi(root / f"musicnet_em/{id}.mid", notes)
    return truth


def maestro_rows(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "maestro-v3.0.0.csv").read_text().splitlines()))


def maestro(root: Path) -> dict[str, Notes]:
    rows, truth = [MAESTRO_COLUMNS], {}
    for i, split in enumerate(("train", "validation", "test")):
        name = f"MIDI-Unprocessed_{i}"
        truth[name] = melody(i).replace(track=0)
        write_midi(root / f"2018/{name}.midi", truth[name])
        write(root / f"2018/{name}.wav", sound(truth[name]), RATE)
        rows.append(("Alban Berg", f"Sonata {i}", split, 2018, f"2018/{name}.midi", f"2018/{name}.wav", SECONDS))
    write_table(root / "maestro-v3.0.0.csv", rows, ",")
    return truth


def maestro_json(root: Path) -> None:
    """The other form of the table, in place of the first."""
    rows = maestro_rows(root)
    columns = {name: {str(i): row[name] for i, row in enumerate(rows)} for name in MAESTRO_COLUMNS}
    (root / "maestro-v3.0.0.json").write_text(json.dumps(columns))
    (root / "maestro-v3.0.0.csv").unlink()


def guitarset(root: Path) -> dict[str, Notes]:
    truth = {}
    (root / "annotation").mkdir(parents=True)
    for i, id in enumerate(("00_BN1-129-Eb_comp", "00_BN1-129-Eb_solo", "05_Funk3-98-A_comp", "03_Jazz2-110-Bb_solo")):
        notes = truth[id] = melody(i, 24).replace(track=0)
        observations = [
            {"time": n["onset"], "duration": n["offset"] - n["onset"], "value": n["pitch"] + 0.2, "confidence": None}
            for n in notes.table
        ]
        strings = [
            {"namespace": "note_midi", "annotation_metadata": {"data_source": str(i)}, "data": observations[i : i + 1]}
            for i in range(6)
        ]
        other = {"namespace": "tempo", "annotation_metadata": {}, "data": [{"time": 0, "duration": 2, "value": 129}]}
        (root / f"annotation/{id}.jams").write_text(json.dumps({"annotations": [other, *strings]}))
        write(root / f"audio_mono-mic/{id}_mic.wav", sound(notes), RATE)
        write(root / f"audio_mono-pickup_mix/{id}_mix.wav", 0.5 * sound(notes), RATE)
    return truth


def slakh_track(track: Path, suffix: str = ".flac", **changes: dict) -> Notes:
    """A piano, a bass, drums that are on channel 1, a harp on channel 10, and an instrument that was never rendered.

    `changes` go into the metadata of a stem, by its name.
    """
    stems = {
        "S00": ("Piano", 0, False),
        "S01": ("Bass", 33, False),
        "S02": ("Drums", 128, True),
        "S03": ("Strings", 46, False),
    }
    metadata, truth = {}, []
    for i, (name, (kind, program, is_drum)) in enumerate(stems.items()):
        heard = melody(i, 0 if is_drum else program, is_drum)
        truth.append(heard)
        written = heard.replace(is_drum=kind == "Strings", pitch=heard.pitch + (12 if kind == "Bass" else 0))
        write_midi(track / f"MIDI/{name}.mid", written)
        write(track / f"stems/{name}{suffix}", sound(heard), RATE)
        metadata[name] = {"inst_class": kind, "program_num": program, "is_drum": is_drum, "audio_rendered": True}
    metadata["S04"] = {
        "inst_class": "Sound Effects",
        "program_num": 103,
        "is_drum": False,
        "audio_rendered": False,
    }
    for name, stem in metadata.items():
        stem |= {"midi_saved": stem["audio_rendered"], "plugin_name": "some.nkm", **changes.get(name, {})}
    (track / "metadata.yaml").write_text(yaml.safe_dump({"UUID": "1a81", "stems": metadata}))
    write(track / f"mix{suffix}", sum(map(sound, truth)), RATE)
    return Notes.concatenate(truth).sort()


def slakh(root: Path) -> dict[str, Notes]:
    places = {"Track00001": "train", "Track01501": "validation", "Track01876": "test", "Track00049": "omitted"}
    return {name: slakh_track(root / split / name) for name, split in places.items()}


def pedalled_midi(path: Path) -> None:
    """A note whose key is let go after 0.5 s and whose pedal after 1 s."""
    midi = mido.MidiFile(ticks_per_beat=480)  # 120 beats a minute
    track = midi.add_track()
    track.append(mido.Message("control_change", control=64, value=127, time=0))
    track.append(mido.Message("note_on", note=60, velocity=64, time=480))
    track.append(mido.Message("note_off", note=60, time=480))
    track.append(mido.Message("control_change", control=64, value=0, time=480))
    midi.save(path)


WRITERS: dict[str, Callable[[Path], dict[str, Notes]]] = {
    "bach10": bach10, "phenicx": phenicx, "urmp": urmp, "musicnet": musicnet,
    "maestro": maestro, "guitarset": guitarset, "slakh": slakh,
}  # fmt: skip
