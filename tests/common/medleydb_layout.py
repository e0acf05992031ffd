"""Tiny songs in MedleyDB's layout: half a second of sine tones, stereo, and every text file about them."""

from pathlib import Path

import numpy as np
import yaml

from common.audio import write

RATE, SECONDS = 44_100, 0.5
Stems = dict[int, str | list[str]]  # number -> instrument
STEMS: Stems = {1: "drum set", 3: "fx/processed sound", 8: "male singer"}
MELODY = "Annotations/Melody"
ACTIVATIONS = "Annotations/Activation_Confidence"


def tone(number: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """float32 [channel, time]: what stem `number` sounds like; one channel is twice as loud as the other."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.02 * number * np.sin(2 * np.pi * 110.0 * number * time) * np.array([[0.5], [1.0]])).astype(np.float32)


def write_metadata(clone: Path, id: str, stems: Stems = STEMS, changes: dict | None = None) -> Path:
    """The metadata in a clone of marl/medleydb; `changes` are of its top level."""
    entries = {
        f"S{number:02d}": {
            "component": "melody" if number == max(stems) else "",
            "filename": f"{id}_STEM_{number:02d}.wav",
            "instrument": instrument,
            "raw": {"R01": {"filename": f"{id}_RAW_{number:02d}_01.wav", "instrument": instrument}},
        }
        for number, instrument in stems.items()
    }
    document = {
        "artist": "Somebody",
        "genre": "Jazz",
        "has_bleed": "no",
        "instrumental": "yes",
        "mix_filename": f"{id}_MIX.wav",
        "stem_dir": f"{id}_STEMS",
        "raw_dir": f"{id}_RAW",
        "stems": entries,
    } | (changes or {})
    path = clone / f"medleydb/data/Metadata/{id}_METADATA.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def write_audio(root: Path, id: str, stems: Stems = STEMS, suffix: str = ".wav") -> Path:
    """The folder of a song as the archives have it; the mixture is the sum."""
    folder = root / id
    for number in stems:
        write(folder / f"{id}_STEMS" / f"{id}_STEM_{number:02d}{suffix}", tone(number), RATE)
        write(folder / f"{id}_RAW" / f"{id}_RAW_{number:02d}_01{suffix}", tone(number), RATE)
    write(folder / f"{id}_MIX{suffix}", np.sum([tone(number) for number in stems], axis=0), RATE)
    return folder


def write_annotations(clone: Path, id: str) -> dict[str, Path]:
    """Ranking, intervals and activations of a song with the default stems."""
    texts = {
        f"{MELODY}/Ranking/{id}_RANKING.txt": f"{id}_STEM_03.csv,2\n{id}_STEM_08.csv,1",
        f"{MELODY}/Intervals/{id}_INTERVALS.txt": "0.000000\t0.250000\t8\r0.250000\t0.500000\t3\r",
        f"{ACTIVATIONS}/original/{id}_ACTIVATION_CONF.lab": (
            "time,S01,S08,S09\n0.0000,0.1,0.9,0.2\n0.0464,0.3,0.2,0.2\n0.0929,0.3,0.4,0.2\n"
        ),
        f"{ACTIVATIONS}/v2/{id}_ACTIVATION_CONF.lab": "time,S01,S03,S08\n0.0000,0.5,0.25,0.75\n",
    }
    paths = {name.split("/")[-2]: clone / "medleydb/data" / name for name in texts}
    for path, text in zip(paths.values(), texts.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return paths
