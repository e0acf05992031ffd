"""The songs of a data set as they were downloaded: which files are its stems, what plays them, and who leads when.

MedleyDB is read as `common.datasets.medleydb` says, with the authors' annotation. MJN, the paper's own recordings of 25
performances, is not public; who has it finds the layout here in which the authors' scripts keep it:
`stem_audio/<performance>/<stem>.mp3` with `mix.mp3` among the stems, and `annotations/<performance>.csv`, the markers
that Adobe Audition exports: columns apart by tabs, among them Start and Duration ("1:02.345") and Description, which
abbreviates the stem that leads; "na" or nothing says that nobody does. A performance is an event and a band, "14-5".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.audio import FORMATS
from common.datasets import files
from common.datasets.files import DatasetError
from lead_detection.annotations import LEAD, milliseconds, read_songs
from lead_detection.taxonomy import VOCABULARY, guess, of_medleydb

# Stem of MJN -> what else its file, or who marks it as the lead, may call it.
MJN_STEMS = {
    "vocal": ("v", "vo"),
    "back-vocal": ("bv", "background vocal"),
    "sax": ("sa", "alto sax"),
    "sax_2": ("sa2", "sax2", "tenor sax"),
    "trumpet": ("tr",),
    "brass": ("br",),
    "kantele": ("ka",),
    "key": ("k", "keyboard"),
    "key_2": ("key2",),
    "organ": ("or",),
    "synth": ("sy",),
    "e-guitar": ("eg", "electric guitar", "guitar"),
    "e-guitar_2": ("eg2",),
    "a-guitar": ("ag", "acoustic guitar"),
    "a-guitar_2": ("ag2", "acoustic guitar 2"),
    "a-guitar_3": ("ag3", "acoustic guitar 3"),
    "a-guitar_4": ("ag4", "acoustic guitar 4"),
    "e-bass": ("eb", "bass"),
    "drum": ("dr",),
    "cajon": (),
    "pc": ("bt",),
}
MJN_SPLITS = {"2-5": "validation", "14-5": "validation", "15-1": "validation", "2-2": "test", "15-3": "test"}
MJN_REMEDY = "give the folder of MJN that has stem_audio/ and annotations/"
MIX = "mix"
NOBODY = ("", "na")
_MJN_STEM = {name: stem for stem, others in MJN_STEMS.items() for name in (stem, *others)}


@dataclass(frozen=True, eq=False)
class Source:
    """A song on disk. Stem i is entry i of names, instruments and stems; the leads call it 1 + i."""

    id: str
    split: str  # "train", "validation" or "test"
    names: tuple[str, ...]
    instruments: tuple[str, ...]  # classes of the vocabulary, or "unknown"
    stems: tuple[Path, ...]
    mix: Path | None
    leads: np.ndarray  # dtype LEAD, 0 for nobody


def medleydb_sources(audio: Path, annotations: Path, clone: Path, partial: bool = False) -> list[Source]:
    """The annotated songs of MedleyDB.

    Args:
        audio: where its archives were unpacked.
        annotations: as in `read_annotations`.
        clone: as in `medleydb.songs`.
        partial: leave out the songs whose folder is not there.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    found = []
    for annotation, song in read_songs(annotations, clone):
        if partial and not song.has_audio(audio):
            continue
        mix, stems = song.audio(audio)
        names = tuple(f"{stem.number} {' and '.join(stem.instruments)}" for stem in song.stems)
        instruments = tuple(VOCABULARY.name(of_medleydb(stem.instruments)) for stem in song.stems)
        found.append(Source(song.id, annotation.split, names, instruments, stems, mix, annotation.leads))
    return files.not_empty(found, audio, "give the folder that the archives of MedleyDB unpack to")


def mjn_sources(root: Path) -> list[Source]:
    """The performances of MJN, in order.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    audio = files.folder(files.folder(root, MJN_REMEDY) / "stem_audio", MJN_REMEDY)
    markers = files.folder(root / "annotations", MJN_REMEDY)
    folders = sorted(path for path in audio.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [_performance(folder, markers) for folder in files.not_empty(folders, audio, MJN_REMEDY)]


def _performance(folder: Path, markers: Path) -> Source:
    paths = {}
    for path in sorted(folder.glob("[!.]*")):
        name = path.stem.lower()
        if path.suffix.lower() in FORMATS:
            if name != MIX and name not in _MJN_STEM:
                raise DatasetError.about(path, f"no stem of MJN; it is called one of {', '.join(sorted(_MJN_STEM))}")
            stem = MIX if name == MIX else _MJN_STEM[name]
            if stem in paths:
                raise DatasetError.about(path, f"the same stem as {paths[stem].name}; keep one of them")
            paths[stem] = path
    mix = paths.pop(MIX, None) or files.file(folder / f"{MIX}.mp3", MJN_REMEDY)
    names = tuple(files.not_empty(paths, folder, MJN_REMEDY))
    instruments = tuple(VOCABULARY.name(guess(name)) for name in names)
    leads = _markers(markers / f"{folder.name}.csv", names)
    split = MJN_SPLITS.get(folder.name, "train")
    return Source(f"MJN-{folder.name}", split, names, instruments, tuple(paths.values()), mix, leads)


def _markers(path: Path, names: Iterable[str]) -> np.ndarray:
    labels = {name: 1 + i for i, name in enumerate(names)}
    header, *rows = files.not_empty(files.rows(files.file(path, MJN_REMEDY), 2, "\t"), path, MJN_REMEDY)
    with files.annotation(path):
        start_at, duration_at, lead_at = (header.index(name) for name in ("Start", "Duration", "Description"))
        leads = []
        for row in rows:
            said = row[lead_at].strip().lower() if len(row) > lead_at else ""
            if said not in NOBODY and _MJN_STEM.get(said) not in labels:
                raise ValueError(f"{said!r} leads and is no stem of the performance")
            stem = 0 if said in NOBODY else labels[_MJN_STEM[said]]
            start = milliseconds(row[start_at].strip())
            leads.append((start, start + milliseconds(row[duration_at].strip()), stem))
        leads = [lead for lead in leads if lead[0] < lead[1]]
        return np.array(files.not_empty(leads, path, MJN_REMEDY), LEAD)
