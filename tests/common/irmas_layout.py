"""Tiny copies of IRMAS and OpenMIC in their real layouts: short noises for sound, and the traps of their names."""

import csv
import json
import os
from pathlib import Path

import numpy as np

from common.audio import write

RATE = 8000
GARBLED = "Canci\u00f3n del F\u03a6ego"
TRAINING = (  # class, name, recording
    ("cel", "[cel][cla]0001__1", "0001"),
    ("cel", "[cel][cla]0001__2", "0001"),
    ("cel", "[cel][jaz_blu]0002__1", "0002"),
    ("cla", "[cla][cla]0003__1", "0003"),
    ("cla", "046__[cla][nod][cla]0004__2", "0004"),
    ("cla", "[cla][jaz_blu]0005__3", "0005"),
    ("voi", "052__[voi][dru][pop_roc]0006__1", "0006"),
    ("voi", "[voi][pop_roc]0006__2", "0006"),
    ("voi", "[voi][lat_sou]0007__1", "0007"),
)
TWIN = ("[cla][cla]0004__2", "046__[cla][nod][cla]0004__2")
TESTING = (  # part, name, text, labels, recording
    ("IRMAS-TestingData-Part1/Part1", "02 - And The Body Will Die-8", b"gel\t\nvoi\t\n", ("gel", "voi"), 0),
    ("IRMAS-TestingData-Part1/Part1", "02 - And The Body Will Die-14", b"voi\t\r\ngel\t\r\n", ("gel", "voi"), 0),
    ("IRMAS-TestingData-Part2/IRTestingData-Part2", "(02) dont kill [the], whale-1", b"org\t\n", ("org",), 1),
    ("IRMAS-TestingData-Part2/IRTestingData-Part2", f"{GARBLED} - 3", b"\xef\xbb\xbfcel \n\n", ("cel",), 2),
    ("IRMAS-TestingData-Part3/Part3", "04. Air-2", b"cla\t\npia\t\nvio\t", ("cla", "pia", "vio"), 3),
)  # fmt: skip
RECORDINGS = ("02 - And The Body Will Die", "(02) dont kill [the], whale", GARBLED, "04. Air")


def noise(path: Path, seconds: float = 0.25) -> None:
    seed = sum(os.fsencode(path.name))
    audio = 0.3 * np.random.default_rng(seed).standard_normal((2, round(seconds * RATE)))
    write(path, np.clip(audio, -1, 1), RATE)


def irmas_training(root: Path) -> Path:
    """One folder for each of three classes, one clip twice, and what a Mac leaves."""
    folder = root / "IRMAS-TrainingData"
    for label, name, _ in TRAINING:
        noise(folder / label / f"{name}.wav")
    noise(folder / "cla" / f"{TWIN[0]}.wav")
    (folder / "cla" / "._[cla][cla]0003__1.wav").write_bytes(b"\0")
    (folder / "README.txt").write_text("IRMAS")
    return folder


def irmas_testing(root: Path) -> Path:
    for part, name, text, *_ in TESTING:
        noise(root / part / f"{name}.wav", 1.0)
        (root / part / f"{name}.txt").write_bytes(text)
    return root


ITEMS = (  # key, instruments, genres
    ("000046_3840", ["voi"], ["rock"]),
    ("000135_483840", ["gel", "voi"], ["rock", "pop"]),
    ("000139_119040", ["other"], []),
    ("000141_153600", ["other", "pia"], ["classical", "instrumental"]),
)
PARTITION = {"000046_3840": "train", "000135_483840": "test", "000139_119040": "train", "000141_153600": "train"}
HEARD = (  # key, instrument, relevance
    ("000046_3840", "voice", 1.0), ("000046_3840", "drums", 0.62), ("000046_3840", "flute", 0.17),
    ("000135_483840", "guitar", 0.5),
)  # fmt: skip


def openmic(root: Path) -> Path:
    folder = root / "openmic-2018"
    for key, *_ in ITEMS:
        noise(folder / "audio" / key[:3] / f"{key}.ogg", 0.5)
    for name in ("train", "test"):
        keys = [key for key, partition in PARTITION.items() if partition == name]
        path = folder / "partitions" / f"split01_{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{key}\n" for key in keys))
    with (folder / "openmic-2018-aggregated-labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("sample_key", "instrument", "relevance", "num_responses"))
        table.writerows((*row, 3) for row in HEARD)
    return folder


def openpir(root: Path, **changes) -> Path:
    """Its JSON; `changes` replace fields of the first item."""
    items = [
        {
            "filepath": f"OpenMic2018/extracted/openmic-2018/audio/{key[:3]}/{key}.ogg",
            "samplekey": key,
            "instrument": instruments,
            "genre": genres,
            "drums": None,
        }
        for key, instruments, genres in ITEMS
    ]
    items[0].update(changes)
    path = root / "OpenPIR_metadata.json"
    path.write_text(json.dumps(items))
    return path
