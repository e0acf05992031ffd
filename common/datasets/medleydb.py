"""MedleyDB (Bittner et al. 2014, 2016): songs as stems and mixture at 44.1 kHz, with annotations of their melodies.

What is known of the songs is public, github.com/marl/medleydb: `medleydb/data/Metadata/<song>_METADATA.yaml` and, in
`medleydb/data/Annotations`, the text files that are read here: `Activation_Confidence/original` and `/v2` (older clones
have them in the folder itself), `Melody/Ranking` and `Melody/Intervals`. The audio comes on request: a folder for each
song, in `Audio`, `V1` or `V2`, with `<song>_MIX.wav`, `<song>_STEMS/<song>_STEM_01.wav` and the raw tracks, which are
not needed. The release is WAV; copies in another format that have the same names are read too.

Traps:
- Stems have numbers, which may skip some, and names that change from one version of the metadata to the next. All
  files agree on the numbers alone.
- A stem of the later additions may be several instruments; `instruments` is a tuple.
- Not every file exists: v2 of the activations lacks songs with bleed, rankings and intervals are those of the first
  release, and some are empty. In five songs by Phoenix the activations lack a stem, in PurlingHiss_Lolita one of their
  stems is not in the metadata and one of the metadata not in them.
- The lines of many interval files end as those of old Macs do.
- The splits are those of whoever uses the songs; the data set has none.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.audio import FORMATS
from common.datasets import files

SUFFIX = "_METADATA.yaml"
STEM = re.compile(r"_STEM_(\d+)\b")
PLACES = ("Metadata", "data/Metadata", "medleydb/data/Metadata")
ROOTS = ("", "Audio", "V1", "V2")
CLONE = "give a clone of github.com/marl/medleydb"
DOWNLOAD = "give the folder that the archives of MedleyDB unpack to, which has a folder for each song"
# libyaml where it was built: several times faster.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Stem:
    """A stem as the metadata has it."""

    number: int
    instruments: tuple[str, ...]
    component: str  # "melody", "bass" or ""
    file: str


@dataclass(frozen=True)
class Song:
    """A song: what the metadata says, and the other files about it when they are asked for.

    Stems are in the order of their numbers; index i is that of row i of all that is read.
    """

    id: str
    metadata: Path  # its YAML
    stems: tuple[Stem, ...]
    mix: str
    stem_folder: str
    artist: str
    genre: str
    has_bleed: bool
    is_instrumental: bool

    @property
    def annotations(self) -> Path:
        """The folder of the text annotations, beside that of the metadata."""
        folder = self.metadata.parent.parent / "Annotations"
        return files.folder(folder, CLONE)

    def has_audio(self, root: str | Path) -> bool:
        """Whether there is a folder of the song."""
        return self._audio_folder(Path(root)).is_dir()

    def audio(self, root: str | Path) -> tuple[Path, tuple[Path, ...]]:
        """The mixture, and the stems in order.

        Args:
            root: where the archives were unpacked.

        Raises:
            DatasetError: the song or one of its files is not there.
        """
        folder = files.folder(self._audio_folder(files.folder(root, DOWNLOAD)), DOWNLOAD)
        stems = tuple(_any_format(folder / self.stem_folder / stem.file) for stem in self.stems)
        return _any_format(folder / self.mix), stems

    def ranking(self) -> tuple[int, ...]:
        """Indices of the stems that people ranked by predominance, the most predominant first; none: nobody did."""
        path = self.annotations / "Melody" / "Ranking" / f"{self.id}_RANKING.txt"
        if not path.is_file():
            return ()
        table = files.rows(path, 2, ",")
        with files.annotation(path):
            ranked = sorted((int(rank), _stem_number(name)) for name, rank, *_ in table)
        return tuple(self._index[number] for _, number in ranked if number in self._index)

    def intervals(self) -> tuple[tuple[float, float, int], ...]:
        """Which stem has the melody when: (start, end, index), seconds, in order; none: nobody has said."""
        path = self.annotations / "Melody" / "Intervals" / f"{self.id}_INTERVALS.txt"
        if not path.is_file():
            return ()
        table = files.rows(path, 3)
        with files.annotation(path):
            found = sorted((float(start), float(end), int(number)) for start, end, number, *_ in table)
        return tuple((start, end, self._index[number]) for start, end, number in found if number in self._index)

    def has_activations(self, version: str = "original") -> bool:
        """Whether there is what `activations` reads."""
        return any(path.is_file() for path in self._activation_files(version))

    def activations(self, version: str = "original") -> tuple[np.ndarray, np.ndarray]:
        """How surely each stem sounds, by its energy.

        Args:
            version: "original" or "v2", which has fewer songs.

        Returns:
            Seconds at which a row begins, (row,), about 46 ms apart; confidence from 0 to 1, float32 (stem, row), all 0
            for a stem that the file lacks.

        Raises:
            DatasetError: there is no such file, or it is damaged.
        """
        places = self._activation_files(version)
        path = next((path for path in places if path.is_file()), None) or files.file(places[0], CLONE)
        with files.annotation(path):
            header, *lines = path.read_text(encoding="utf-8").splitlines()
            if not any(line.strip() for line in lines):
                raise ValueError("no rows")
            numbers = [int(column.strip().removeprefix("S")) for column in header.split(",")[1:]]
            table = np.loadtxt(lines, delimiter=",", ndmin=2)
            times, confidence = table[:, 0], table[:, 1:].astype(np.float32).T
            if len(confidence) != len(numbers) or not np.isfinite(table).all() or (np.diff(times) <= 0.0).any():
                raise ValueError("rows that do not fit the header, or are not in order of time")
        by_number = dict(zip(numbers, confidence, strict=True))
        silence = np.zeros(len(times), np.float32)
        return times, np.stack([by_number.get(stem.number, silence) for stem in self.stems])

    def _audio_folder(self, root: Path) -> Path:
        return next((root / name / self.id for name in ROOTS if (root / name / self.id).is_dir()), root / self.id)

    def _activation_files(self, version: str) -> list[Path]:
        folder, name = self.annotations / "Activation_Confidence", f"{self.id}_ACTIVATION_CONF.lab"
        return [folder / version / name, *([folder / name] if version == "original" else [])]

    @property
    def _index(self) -> dict[int, int]:
        """Number of a stem -> its index."""
        return {stem.number: i for i, stem in enumerate(self.stems)}


def _stem_number(name: str) -> int:
    match = STEM.search(name)
    if match is None:
        raise ValueError(f"{name!r} names no stem")
    return int(match[1])


def _any_format(path: Path) -> Path:
    """The file, or the same sound in another format."""
    return files.first_of(path, *(path.with_suffix(suffix) for suffix in FORMATS))


def songs(root: str | Path, ids: Iterable[str] | None = None) -> list[Song]:
    """Songs by what the metadata says of them; no other file is read.

    Args:
        root: a clone of marl/medleydb, or the folder of the metadata in it.
        ids: which ones, in which order; by default all, by name.

    Raises:
        DatasetError: there is no metadata, or that of a song is missing or damaged.
    """
    root = files.folder(root, CLONE)
    folder = next((root / place for place in PLACES if (root / place).is_dir()), root)
    if ids is None:
        ids = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"[!.]*{SUFFIX}"))
    return [_song(files.file(folder / f"{id}{SUFFIX}", CLONE)) for id in files.not_empty(ids, folder, CLONE)]


def _song(path: Path) -> Song:
    with files.annotation(path):
        try:
            document = yaml.load(path.read_text(encoding="utf-8"), LOADER)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        stems = [_stem(name, entry) for name, entry in document["stems"].items()]
        if not stems:
            raise ValueError("no stems")
        return Song(
            path.name.removesuffix(SUFFIX),
            path,
            tuple(sorted(stems, key=lambda stem: stem.number)),
            _text(document["mix_filename"]),
            _text(document["stem_dir"]),
            str(document.get("artist", "")),
            str(document.get("genre", "")),
            document.get("has_bleed") in ("yes", True),
            document.get("instrumental") in ("yes", True),
        )


def _stem(name: str, entry: dict[str, Any]) -> Stem:
    told = entry["instrument"]
    instruments = tuple(_text(one) for one in (told if isinstance(told, list) else [told]))
    if not re.fullmatch(r"S\d+", name) or not instruments:
        raise ValueError(f"{name} is no stem of an instrument")
    return Stem(int(name[1:]), instruments, str(entry.get("component") or ""), _text(entry["filename"]))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} where a name should be")
    return value
