"""`python -m lead_detection prepare`: a data set as it was downloaded -> a folder that training reads at random.

Every file is decoded once, to mono at 24 kHz, and keeps its level. For each song there are `ID.npy`, int16 [track,
sample], `ID.mix.npy`, int16 [sample], and `ID.json`, written last, with the files that they were made of and the scales
that turn their samples into audio. `index.json` has the songs with their leads and instruments; `open_cache` reads it.
What is there already is not decoded again, so that an interrupted run goes on where it ended.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import audio as sound
from common.datasets.files import DatasetError
from common.notes import Notes
from common.stems import Multitrack, Stem
from common.storage import replacing, sweep
from lead_detection.annotations import LEAD, annotated, plain_warnings, segments
from lead_detection.sources import Source, medleydb_sources, mjn_sources
from lead_detection.taxonomy import VOCABULARY

VERSION = 1  # raise it when other samples would be written
SAMPLE_RATE = 24_000
FULL_SCALE = 32_767


@dataclass(frozen=True, eq=False)
class CachedSong:
    """A song of a cache, see `lead_detection.songs.Song`; its samples are mapped from the disk when asked for.

    `leads` are the authors' (dtype LEAD, `stem` is 1 + the index, 0 for nobody), for `annotations.clip_labels`. `lead`
    and `annotated` are made of them, in seconds, and end where the audio does.
    """

    folder: Path
    id: str
    split: str
    sample_rate: int
    seconds: float
    names: tuple[str, ...]
    instruments: tuple[int, ...]  # ids of `taxonomy.VOCABULARY`
    scales: tuple[float, ...]
    mix_scale: float | None
    leads: np.ndarray
    lead: tuple[tuple[float, float, int], ...]
    annotated: tuple[tuple[float, float], ...]

    @property
    def mixture(self) -> Stem | None:
        """The released mixture as a stem, as long as the others; None if the sum of the stems is all there is."""
        return None if self.mix_scale is None else _open_mixture(self)

    def multitrack(self) -> Multitrack:
        """The stems with their leads, at the levels of the files; no sample is read yet."""
        return _open_stems(self)


# An open map holds a file descriptor, of which a process has 1,024 by default.
@lru_cache(maxsize=128)
def _open_stems(song: CachedSong) -> Multitrack:
    stems = []
    for i, samples in enumerate(_map(song.folder / f"{song.id}.npy")):
        lead = tuple((start, end) for start, end, leader in song.lead if leader == i)
        is_drum = VOCABULARY.name(song.instruments[i]) == "drum"
        stems.append(Stem(samples, 0, is_drum, song.names[i], Notes.empty(), lead, song.scales[i]))
    return Multitrack(tuple(stems), song.sample_rate)


@lru_cache(maxsize=128)
def _open_mixture(song: CachedSong) -> Stem:
    return Stem(_map(song.folder / f"{song.id}.mix.npy"), 0, False, "mix", Notes.empty(), scale=song.mix_scale or 0.0)


def _map(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def open_cache(folder: str | Path) -> list[CachedSong]:
    """The songs of a prepared data set, in the order of the data set.

    Raises:
        DatasetError: there is none, or not a whole one.
    """
    folder = Path(folder)
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return [_song(folder, entry) for entry in index["songs"]]
    except (OSError, LookupError, TypeError, ValueError) as error:
        told = "no prepared data set here; run `python -m lead_detection prepare` with this folder as --out"
        raise DatasetError.about(folder, told) from error


def _song(folder: Path, entry: dict[str, Any]) -> CachedSong:
    tracks, end_of_audio = entry["tracks"], entry["seconds"]
    leads = np.array([tuple(lead) for lead in entry["leads"]], LEAD)
    return CachedSong(
        folder,
        entry["id"],
        entry["split"],
        entry["sample_rate"],
        end_of_audio,
        tuple(track["name"] for track in tracks),
        tuple(VOCABULARY.id(track["instrument"]) for track in tracks),
        tuple(track["scale"] for track in tracks),
        entry["mix_scale"],
        leads,
        tuple((start, min(end, end_of_audio), stem) for start, end, stem in segments(leads) if start < end_of_audio),
        tuple((start, min(end, end_of_audio)) for start, end in annotated(leads) if start < end_of_audio),
    )


def prepare(sources: Sequence[Source], folder: Path, progress: bool = True) -> list[CachedSong]:
    """Decode what is not there yet, and write the index.

    Args:
        sources: the songs.
        folder: of the cache.
        progress: show a bar.

    Raises:
        AudioError: a file is damaged; what was finished before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    index = folder / "index.json"
    entries = []
    for source in tqdm(sources, unit="song", disable=not progress):
        path = folder / f"{source.id}.json"
        made_of = _made_of(source)
        if not _is_made_of(path, made_of):
            index.unlink(missing_ok=True)  # its scales are those of what is written over
            decode(source, folder, made_of)
        entries.append(_entry(source, json.loads(path.read_text(encoding="utf-8"))))
    with replacing(index) as temporary:
        temporary.write_text(json.dumps({"version": VERSION, "songs": entries}, indent=1), encoding="utf-8")
    return open_cache(folder)


def _made_of(source: Source) -> dict[str, Any]:
    """What the samples of a song depend on."""
    paths = [*source.stems, *([source.mix] if source.mix else [])]
    files = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return {"version": VERSION, "sample_rate": SAMPLE_RATE, "files": files}


def _is_made_of(path: Path, made_of: dict[str, Any]) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["made_of"] == made_of
    except (OSError, LookupError, TypeError, ValueError):
        return False


def decode(source: Source, folder: Path, made_of: dict[str, Any]) -> None:
    """Write the samples of a song, and then its JSON.

    Raises:
        AudioError: a file is damaged.
    """
    tracks = [_quantise(path) for path in source.stems]
    mix = _quantise(source.mix) if source.mix else None
    length = max(len(samples) for samples, _ in [*tracks, *([mix] if mix else [])])
    with replacing(folder / f"{source.id}.npy") as temporary:
        stems = np.lib.format.open_memmap(temporary, "w+", np.int16, (len(tracks), length))
        for row, (samples, _) in zip(stems, tracks, strict=True):
            row[: len(samples)] = samples
        stems.flush()
    if mix:
        with replacing(folder / f"{source.id}.mix.npy") as temporary:
            np.save(temporary, np.pad(mix[0], (0, length - len(mix[0]))))
    entry = {
        "made_of": made_of,
        "seconds": length / SAMPLE_RATE,
        "scales": [scale for _, scale in tracks],
        "mix_scale": mix[1] if mix else None,
    }
    with replacing(folder / f"{source.id}.json") as temporary:
        temporary.write_text(json.dumps(entry, indent=1), encoding="utf-8")


def _quantise(path: Path) -> tuple[np.ndarray, float]:
    """int16 (sample,) over the full range, and what they are to be multiplied by."""
    samples = sound.read(path, SAMPLE_RATE)[0]
    scale = max(float(np.abs(samples).max(initial=0.0)), 1e-9) / FULL_SCALE
    return np.rint(samples / np.float32(scale)).astype(np.int16), scale


def _entry(source: Source, decoded: dict[str, Any]) -> dict[str, Any]:
    """A song in the index: names and leads as they are known now, with the samples as they were decoded."""
    rows = zip(source.names, source.instruments, source.stems, decoded["scales"], strict=True)
    return {
        "id": source.id,
        "split": source.split,
        "sample_rate": SAMPLE_RATE,
        "seconds": decoded["seconds"],
        "mix_scale": decoded["mix_scale"],
        "leads": source.leads.tolist(),
        "tracks": [
            {"name": name, "instrument": instrument, "file": path.name, "scale": scale}
            for name, instrument, path, scale in rows
        ],
    }


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lead_detection prepare",
        description="Decode MedleyDB or MJN once, to mono at 24 kHz, so that training reads it at random.",
    )
    audio = parser.add_mutually_exclusive_group(required=True)
    audio.add_argument("--medleydb", type=Path, help="the folder with the audio of MedleyDB")
    audio.add_argument("--mjn", type=Path, help="the folder of MJN, with stem_audio/ and annotations/")
    parser.add_argument("--annotations", type=Path, help="a clone of Sonata165/LeadInstrumentDetection, for MedleyDB")
    parser.add_argument("--metadata", type=Path, help="a clone of marl/medleydb, for MedleyDB")
    parser.add_argument("--partial", action="store_true", help="leave out songs of MedleyDB whose folder is not there")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cache")
    return parser


def prepare_command(args: list[str]) -> int:
    parser = build_parser()
    options = parser.parse_args(args)
    if options.medleydb and not (options.annotations and options.metadata):
        parser.error("--medleydb wants --annotations and --metadata")
    try:
        with plain_warnings():
            if options.medleydb:
                sources = medleydb_sources(options.medleydb, options.annotations, options.metadata, options.partial)
            else:
                sources = mjn_sources(options.mjn)
            songs = prepare(sources, options.out)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    tracks = sum(len(song.names) for song in songs)
    print(f"{options.out}: {len(songs)} songs, {tracks} tracks, {sum(song.seconds for song in songs) / 3600:.2f} h")
    return 0
