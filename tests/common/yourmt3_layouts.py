"""Tiny data sets in the layouts of those that YourMT3+ adds: drums, singing, more pianos. Writers return the truth."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.audio import write
from common.midi import write_midi
from common.notes import Notes
from tests.common.layouts import RATE, SECONDS, melody, sound, write_table

EGMD_COLUMNS = (
    "drummer", "session", "id", "style", "bpm", "beat_type", "time_signature", "duration", "split",
    "midi_filename", "audio_filename", "kit_name",
)  # fmt: skip


def beat(part: int, keys: tuple[int, ...] = (36, 42, 38), seconds: float = 0.01) -> Notes:
    """Three hits at times that no other part has."""
    onset = melody(part).onset
    return Notes.build(onset, onset + seconds, keys, is_drum=True)


def enst_drums(root: Path) -> dict[str, Notes]:
    names = (
        (1, "001_hits_snare-drum_sticks_x6"), (1, "107_minus-one_salsa_sticks"), (2, "115_minus-one_salsa_sticks"),
        (3, "016_phrase_disco_simple_slow_sticks"), (3, "126_minus-one_salsa_sticks"),
    )  # fmt: skip
    truth = {}
    for i, (drummer, name) in enumerate(names):
        hits = truth[f"{drummer}_{name}"] = beat(i)
        place = root / f"drummer_{drummer}"
        rows = [(f"{hit['onset']:.6f}", label) for hit, label in zip(hits.table, ("bd", "chh", "sd-"), strict=True)]
        write_table(place / "annotation" / f"{name}.txt", rows, " ")
        write(place / "audio/wet_mix" / f"{name}.wav", sound(hits), RATE)
        write(place / "audio/dry_mix" / f"{name}.wav", sound(hits), RATE)
        if "minus-one" in name:
            write(place / "audio/accompaniment" / f"{name}.wav", 0.5 * sound(melody(5), SECONDS / 2), RATE)
    return truth


def egmd_rows(root: Path) -> list[list[str]]:
    return [line.split(",") for line in (root / "e-gmd-v1.0.0.csv").read_text().splitlines()]


def egmd(root: Path) -> dict[str, Notes]:
    """Two kits each of three performances; keys as a Roland has them."""
    rows: list[tuple] = [EGMD_COLUMNS]
    truth = {}
    for i, split in enumerate(("train", "validation", "test")):
        session = f"drummer{i + 1}/session1"
        for kit, name in ((1, "Acoustic Kit"), (5, "Heavy Metal")):
            id = f"{session}/{i + 1}_funk_80_beat_4-4_{kit}"
            struck = beat(i, (36, 22, 55), 0.1).replace(velocity=[30, 60, 127])
            truth[id] = struck.replace(pitch=[36, 42, 49])
            write_midi(root / f"{id}.midi", struck)
            write(root / f"{id}.wav", sound(struck), RATE)
            performance = (f"drummer{i + 1}", session, f"{session}/{i + 1}", "funk", 80, "beat", "4-4", SECONDS)
            rows.append((*performance, split, f"{id}.midi", f"{id}.wav", name))
    write_table(root / "e-gmd-v1.0.0.csv", rows, ",")
    return truth


def maps_piece(root: Path, piano: str, piece: str, part: int) -> Notes:
    notes = melody(part).replace(track=0, velocity=[20, 64, 110])
    path = root / piano / "MUS" / f"MAPS_MUS-{piece}_{piano}"
    write_midi(Path(f"{path}.mid"), notes)
    write(Path(f"{path}.wav"), sound(notes), RATE)
    rows = [(note["onset"], note["offset"], note["pitch"]) for note in notes.table]
    write_table(Path(f"{path}.txt"), [("OnsetTime", "OffsetTime", "MidiPitch"), *rows])
    return notes


def maps(root: Path) -> dict[str, Notes]:
    takes = (("AkPnBcht", "alb_esp2"), ("AkPnBcht", "bor_ps1"), ("SptkBGCl", "mz_311_1"), ("ENSTDkCl", "alb_esp2"))
    (root / "AkPnBcht/ISOL/NO").mkdir(parents=True)
    return {f"{piece}_{piano}": maps_piece(root, piano, piece, i) for i, (piano, piece) in enumerate(takes)}


def song(folder: Path, notes: Notes, mixture: str, vocals: str) -> None:
    """A song whose accompaniment is a lower melody."""
    heard = sound(notes)
    for name, audio in (
        (vocals, heard),
        ("accompaniment.wav", sound(melody(-3))),
        (mixture, heard + sound(melody(-3))),
    ):
        write(folder / name, audio, RATE)


def json_rows(notes: Notes) -> list[list[float]]:
    return [[float(note["onset"]), float(note["offset"]), float(note["pitch"])] for note in notes.table]


def mir_st500(root: Path) -> dict[str, Notes]:
    """Songs 1, 2 and 401; song 3 is annotated but not there any more."""
    truth = {str(number): melody(i, 100).replace(track=0) for i, number in enumerate((1, 2, 3, 401))}
    annotations = root / "MIR-ST500_20210206/MIR-ST500_corrected.json"
    annotations.parent.mkdir(parents=True)
    annotations.write_text(json.dumps({number: json_rows(notes) for number, notes in truth.items()}))
    del truth["3"]
    for number, notes in truth.items():
        song(root / ("test" if number == "401" else "train") / number, notes, "Mixture.wav", "Vocal.wav")
    return truth


def cmedia(root: Path) -> dict[str, Notes]:
    truth = {str(number): melody(i, 100).replace(track=0) for i, number in enumerate((1, 2, 10))}
    annotations = root / "Cmedia-train/Cmedia_train_gt.json"
    annotations.parent.mkdir(parents=True)
    annotations.write_text(json.dumps({number: json_rows(notes) for number, notes in truth.items()}))
    for number, notes in truth.items():
        song(root / "train" / number, notes, "converted_Mixture.wav", "vocals.wav")
    return truth


# Name of a track -> program in the file, what it plays; programs are not to be believed where names tell.
RWC_TRACKS = {"MELODY": (65, 100), "CHORUS 1": (53, 101), "Drums": (0, 0), "BASS": (0, 33), "KIRA": (98, 98)}


def rwc_pop(root: Path) -> dict[str, Notes]:
    """The first song of two discs; a track of effects has notes that nobody plays."""
    truth = {}
    for number, place in ((1, "rwc-p-m01/1"), (81, "rwc-p-m06/1")):
        played = [
            melody(i, program, name == "Drums").replace(pitch=36 + 2 * i + number % 7)
            for i, (name, (_, program)) in enumerate(RWC_TRACKS.items())
        ]
        truth[f"RM-P{number:03d}"] = Notes.concatenate(played).sort()
        written = [
            notes.replace(program=program) for notes, (program, _) in zip(played, RWC_TRACKS.values(), strict=True)
        ]
        written.append(melody(7, 122).replace(track=len(RWC_TRACKS)))
        path = root / f"annotations/AIST.RWC-MDB-P-2001.SMF_SYNC/RM-P{number:03d}.SMF_SYNC.MID"
        write_midi(path, Notes.concatenate(written), names=dict(enumerate([*RWC_TRACKS, "INTRO SE"])))
        write(root / "audio" / f"{place}.wav", sound(truth[f"RM-P{number:03d}"]), RATE)
    return truth


def idmt_smt_bass(root: Path, seconds: float = 1.0) -> dict[str, Notes]:
    """Notes that decay; they start at 0.1 s and are let go after half a second."""
    truth = {}
    for name, program, pitch in (
        ("BS_1_EQ_1_FS_NO_1_0", 33, 28),
        ("BS_2_EQ_3_SP_NO_2_5", 36, 38),
        ("BS_3_EQ_2_PK_NO_4_12", 34, 55),
    ):
        note = truth[name] = Notes.build([0.1], [0.6], pitch, program=program)
        envelope = np.exp(-2.0 * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)
        write(root / "PS" / name.split("_")[4] / f"{name}.wav", sound(note, seconds) * envelope, RATE)
    write(root / "ES/BE/BS_1_EQ_1_FS_BEQ_1_0.wav", sound(note, seconds), RATE)
    write(root / "PS/SP/BS_2_EQ_1_SP_NO_5_0.wav", sound(note, seconds), RATE)
    return truth


WRITERS: dict[str, Callable[[Path], dict[str, Notes]]] = {
    "enst_drums": enst_drums, "egmd": egmd, "maps": maps, "mir_st500": mir_st500, "cmedia": cmedia,
    "rwc_pop": rwc_pop,
}  # fmt: skip
