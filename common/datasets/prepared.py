"""A data set decoded once, into the files of a corpus, so that training can read any second of it at once.

Where all instruments are to be had on their own, a recording becomes a piece of as many tracks; else the mixture is its
one track, with the notes of all of them, and says of which kinds nothing is known. See `common.corpus.Corpus`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.corpus import FIRST_SEED, Corpus, close
from common.datasets.files import DatasetError
from common.datasets.recording import Recording
from common.jobs import KilledError, in_processes
from common.notes import Notes
from common.pieces import Track, full_scales, write_piece
from common.stems import Multitrack, Stem
from common.storage import sweep

SPLITS: dict[str | None, str] = {name: name for name in FIRST_SEED}


def prepare(
    recordings: Sequence[Recording],
    folder: str | Path,
    sample_rate: int,
    splits: Mapping[str | None, str] = SPLITS,
    progress: bool = True,
    jobs: int | None = 1,
) -> Corpus:
    """Decode recordings; what is there already is not decoded again.

    Args:
        recordings: of a data set.
        folder: of the corpus.
        sample_rate: in Hz.
        splits: the data set's own words -> "train", "validation" or "test"; recordings of other splits are left out.
        progress: show a bar.
        jobs: processes; none means one for each CPU. A script that asks for several needs `if __name__ == "__main__":`.

    Raises:
        DatasetError: none is left, two have one name, an annotation is damaged, or a process was killed.
        AudioError: a file is damaged.
    """
    folder = Path(folder)
    chosen = {_id(recording): recording for recording in recordings if recording.split in splits}
    if unknown := set(splits.values()) - set(FIRST_SEED):
        raise DatasetError.about(folder, f"no split {sorted(unknown)}; a corpus has {', '.join(FIRST_SEED)}")
    if len(chosen) < sum(recording.split in splits for recording in recordings) or not chosen:
        raise DatasetError.about(folder, f"needs recordings of the splits {list(splits)}, each with a name of its own")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    works = [
        partial(_write, folder, id, recording, splits[recording.split], sample_rate)
        for id, recording in chosen.items()
        if not (folder / f"{id}.json").exists()
    ]
    for _ in tqdm(_done(works, jobs), folder.name, len(works), unit="recording", disable=not progress):
        pass
    return close(folder, chosen, folder.name, sample_rate)


def _done(works: Sequence[Callable[[], None]], jobs: int | None) -> Iterable[None]:
    """Do the works; one after the other where one process is enough."""
    jobs = min(jobs or os.cpu_count() or 1, len(works))
    if jobs <= 1:
        yield from (work() for work in works)
        return
    try:
        yield from (result for _, result in in_processes(works, jobs))
    except KilledError as error:
        raise DatasetError(str(error)) from error


def _id(recording: Recording) -> str:
    """Of a recording, as the name of a file."""
    return recording.id.replace("/", "-")


def _write(folder: Path, id: str, recording: Recording, split: str, sample_rate: int) -> None:
    band = as_multitrack(recording, sample_rate)
    stems, notes = band.audio, band.uncut_notes.sort()
    scales = full_scales(stems)
    tracks = [
        Track(stem.name, stem.program, stem.is_drum, "", False, float(scale), tuple(sorted(stem.unknown)))
        for stem, scale in zip(band.stems, scales, strict=True)
    ]
    entry = {
        "id": id,
        "split": split,
        "title": recording.title,
        "composer": "",
        "seconds": band.seconds,
        "sample_rate": sample_rate,
        "soundfont": "",
        "tuning_cents": 0.0,
        "unseen": False,
        "lead": [],
        "parts": [asdict(track) for track in tracks],
    }
    write_piece(folder, entry, stems, scales, notes)


def as_multitrack(recording: Recording, sample_rate: int) -> Multitrack:
    """The stems of a recording, or its mixture as the only one."""
    parts = recording.parts
    if parts and all(part.audio for part in parts) and not recording.unknown:
        return recording.multitrack(sample_rate)
    audio, _ = recording.mixture(sample_rate)
    notes = recording.notes.replace(track=0)
    is_drum = bool(len(notes)) and bool(np.all(notes.is_drum))
    program = 0 if is_drum or not len(notes) else int(np.bincount(notes.tuned().program).argmax())
    stem = Stem(audio, program, is_drum, recording.title, Notes(notes.table), unknown=recording.unknown)
    return Multitrack((stem,), sample_rate)
