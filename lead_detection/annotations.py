"""The authors' annotation of who leads in MedleyDB, and how they cut songs into clips and clips into labels.

The ground truth is one file of their public repository, `datasets/MedleyDB/metadata_song.json`: song -> list of leads
{lead_start, lead_end, lead_inst}: "MM:SS.mmm" from the start of the song, and "<number of the stem>#<its instrument>".
It has 109 songs of MedleyDB's first release. Times are whole milliseconds here, so that clips are theirs to the bit.

- The leads of a song adjoin, or are 1 ms apart; nothing says that nobody leads. Two songs are annotated in part, and
  out of order. What lies outside of the leads is not known, though the authors' clips reach 2 s into it.
- Stems are matched by number. One name is not the metadata's: that of stem 5 in EthanHein_GirlOnABridge.
- The split was drawn without a seed, so it is a list. 9 of the 16 test songs share their artist with training songs.
"""

import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.datasets import files, medleydb
from common.datasets.files import DatasetError
from lead_detection.taxonomy import VOCABULARY, of_medleydb

LEAD = np.dtype([("start_ms", np.int64), ("end_ms", np.int64), ("stem", np.int64)])
CLIP_MS, HOP_MS = 5_000, 2_500
BUFFER_MS = 2_000  # by which clips reach beyond the leads
SEAM_MS = 10  # leads that are no further apart adjoin
LABEL_RATE = 75  # labels a second
CLIP_FRAMES = CLIP_MS * LABEL_RATE // 1_000
SPLITS = ("train", "validation", "test")
TIME = re.compile(r"(?:(\d+):)?(\d+):(\d\d)\.(\d{3})")
NAME = "metadata_song.json"
PLACES = ("annotations", "MedleyDB", "datasets/MedleyDB")
REMEDY = "give a clone of github.com/Sonata165/LeadInstrumentDetection, or its datasets/MedleyDB/metadata_song.json"
VALIDATION = frozenset((
    "AmarLal_SpringDay1", "BrandonWebster_YesSirICanFly", "EthanHein_BluesForNofi", "HezekiahJones_BorrowedHeart",
    "LizNelson_Rainfall", "Mozart_DiesBildnis", "MusicDelta_ChineseChaoZhou", "MusicDelta_ChineseDrama",
    "MusicDelta_Country2", "MusicDelta_FunkJazz", "MusicDelta_ModalJazz", "MusicDelta_SpeedMetal",
    "MusicDelta_Vivaldi", "Phoenix_ColliersDaughter", "TablaBreakbeatScience_PhaseTransition", "Wolf_DieBekherte",
))  # fmt: skip
TEST = frozenset((
    "AClassicEducation_NightOwl", "Auctioneer_OurFutureFaces", "ClaraBerryAndWooldog_Boys", "Creepoid_OldTree",
    "EthanHein_GirlOnABridge", "Handel_TornamiAVagheggiar", "JoelHelander_IntheAtticBedroom",
    "KarimDouaidy_Hopscotch", "Meaxic_YouListen", "MichaelKropf_AllGoodThings", "Mozart_BesterJungling",
    "MusicDelta_80sRock", "MusicDelta_ChineseHenan", "MusicDelta_FreeJazz", "Phoenix_ElzicsFarewell",
    "Schumann_Mignon",
))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Annotation:
    """Who leads in a song."""

    id: str
    split: str  # "train", "validation" or "test"
    leads: np.ndarray  # dtype LEAD, in the order of the file; `stem` is the number of the stem, 0 for nobody
    names: tuple[str, ...]  # (lead,) what the annotation calls the instrument

    def resolve(self, stems: Sequence[medleydb.Stem]) -> "Annotation":
        """The same with labels for numbers: `stem` is 1 + the index of the stem.

        Warns of a stem that goes by another name in the metadata, once.

        Raises:
            DatasetError: a stem leads that the song does not have.
        """
        index = {stem.number: i for i, stem in enumerate(stems)}
        for number, name in dict.fromkeys(zip(self.leads["stem"].tolist(), self.names, strict=True)):
            if number not in index:
                told = f"stem {number} leads and is not in the metadata; take both from their newest versions"
                raise DatasetError.about(self.id, told)
            known = stems[index[number]].instruments
            if name not in [re.sub(r"[ /]", "_", instrument) for instrument in known]:
                told = f"{self.id}: stem {number} leads as {name}, and is {' and '.join(known)} in the metadata"
                warnings.warn(f"{told}; the number counts", stacklevel=2)
        leads = self.leads.copy()
        leads["stem"] = [1 + index[number] for number in leads["stem"].tolist()]
        return replace(self, leads=leads)


def split_of(id: str) -> str:
    """The authors' split of a song; one that they do not know may be trained with."""
    return "validation" if id in VALIDATION else "test" if id in TEST else "train"


def milliseconds(time: str) -> int:
    """ "MM:SS.mmm" or "H:MM:SS.mmm" as a number.

    Raises:
        ValueError: it is none.
    """
    match = TIME.fullmatch(time)
    if match is None:
        raise ValueError(f"{time!r} is no time like 01:36.619")
    hours, minutes, seconds, rest = (int(part or 0) for part in match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000 + rest


def read_annotations(path: str | Path) -> list[Annotation]:
    """The annotated songs, in the order of the file.

    Args:
        path: a clone of the authors' repository, a folder of it, or the file.

    Raises:
        DatasetError: there is no annotation, or it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / place / NAME for place in PLACES if (path / place / NAME).is_file()), path / NAME)
    files.file(path, REMEDY)
    with files.annotation(path):
        songs = json.loads(path.read_text(encoding="utf-8"))
        return [_annotation(id, leads) for id, leads in files.not_empty(songs.items(), path, REMEDY)]


def read_songs(path: str | Path, clone: str | Path) -> list[tuple[Annotation, medleydb.Song]]:
    """The annotated songs with labels, each with what MedleyDB has of it.

    Args:
        path: as in `read_annotations`.
        clone: as in `medleydb.songs`.

    Raises:
        DatasetError: a file is missing or damaged, or a lead is no stem.
    """
    annotations = read_annotations(path)
    songs = medleydb.songs(clone, [annotation.id for annotation in annotations])
    return [(annotation.resolve(song.stems), song) for annotation, song in zip(annotations, songs, strict=True)]


@contextmanager
def plain_warnings() -> Iterator[None]:
    """What is warned of in the block goes to standard error as it is, without file and line: a command tells users."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(message, file=sys.stderr)
        yield


def _annotation(id: str, leads: list[dict[str, str]]) -> Annotation:
    rows, names = [], []
    for lead in leads:
        number, _, name = lead["lead_inst"].partition("#")
        rows.append((milliseconds(lead["lead_start"]), milliseconds(lead["lead_end"]), int(number)))
        names.append(name)
        if rows[-1][0] >= rows[-1][1]:
            raise ValueError(f"a lead of {id} ends at {lead['lead_end']}, before it starts")
    if not rows:
        raise ValueError(f"{id} has no leads")
    return Annotation(id, split_of(id), np.array(rows, LEAD), tuple(names))


def clip_starts(leads: np.ndarray) -> np.ndarray:
    """Milliseconds at which the authors' clips of a song start, int64 (clip,): every 2.5 s while a clip fits.

    A lead is extended by 2 s on either side, and goes on the region before it if it starts before the lead before it
    ends, so extended.
    """
    regions: list[list[int]] = []
    last_end = -1
    for start, end, _ in leads.tolist():
        start, end = max(start - BUFFER_MS, 0), end + BUFFER_MS
        if start <= last_end:
            regions[-1][1] = max(regions[-1][1], end)
        else:
            regions.append([start, end])
        last_end = end
    starts = [np.arange(start, end - CLIP_MS + 1, HOP_MS) for start, end in regions]
    return np.concatenate([np.empty(0, np.int64), *starts])


def rasterise_clip(leads: np.ndarray, start_ms: int) -> np.ndarray:
    """The authors' labels of a clip, int64 (CLIP_FRAMES,): the `stem` of each lead, and 0 where there is none.

    Frames count from the clip's start. A lead has those from floor(75 start) to floor(75 end), the latter excluded, in
    floating point as the authors reckon, and overwrites those before it.
    """
    labels = np.zeros(CLIP_FRAMES, np.int64)
    for start, end, stem in leads[(leads["start_ms"] < start_ms + CLIP_MS) & (leads["end_ms"] > start_ms)].tolist():
        first, last = max(start - start_ms, 0), min(end - start_ms, CLIP_MS)
        labels[int(first / 1_000 * LABEL_RATE) : int(last / 1_000 * LABEL_RATE)] = stem
    return labels


def clip_labels(leads: np.ndarray) -> np.ndarray:
    """The labels of all clips of a song, int64 (clip, CLIP_FRAMES)."""
    clips = [rasterise_clip(leads, start) for start in clip_starts(leads).tolist()]
    return np.array(clips, np.int64).reshape(-1, CLIP_FRAMES)


def segments(leads: np.ndarray) -> tuple[tuple[float, float, int], ...]:
    """Who leads when: (start, end, index of the stem), seconds, in order of time, without the seams of 1 ms.

    Args:
        leads: with labels for `stem`, see `Annotation.resolve`.
    """
    leads = np.sort(leads, order="start_ms", kind="stable")
    gap = leads["start_ms"][1:] - leads["end_ms"][:-1]
    leads["end_ms"][:-1] += np.where((gap > 0) & (gap <= SEAM_MS), gap, 0)
    return tuple((start / 1_000, end / 1_000, stem - 1) for start, end, stem in leads.tolist() if stem > 0)


def annotated(leads: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The stretches in which it is known who leads, or that nobody does: (start, end), seconds, disjoint, in order."""
    stretches: list[list[int]] = []
    for start, end, _ in np.sort(leads, order="start_ms").tolist():
        if stretches and start - stretches[-1][1] <= SEAM_MS:
            stretches[-1][1] = max(stretches[-1][1], end)
        else:
            stretches.append([start, end])
    return tuple((start / 1_000, end / 1_000) for start, end in stretches)


def lead_hours(annotation: Annotation, song: medleydb.Song) -> Counter[str]:
    """Class of the vocabulary -> hours for which its stems lead."""
    hours: Counter[str] = Counter()
    for start, end, stem in annotation.leads[annotation.leads["stem"] > 0].tolist():
        hours[VOCABULARY.name(of_medleydb(song.stems[stem - 1].instruments))] += (end - start) / 3_600_000
    return hours


def statistics(songs: Sequence[tuple[Annotation, medleydb.Song]]) -> dict[str, Any]:
    """What there is.

    Args:
        songs: see `read_songs`.

    Returns:
        Numbers of "songs" and "leads"; "lead_hours" by class, the longest first, and "hours" of them all; "clips" and
        "unlabelled", the share of label 0, by split; numbers of clips with so many "channels", stems and mixture, and
        with so many "switches", changes of the label.
    """
    labels = [clip_labels(annotation.leads) for annotation, _ in songs]
    by_split: dict[str, list[np.ndarray]] = {}
    hours, channels, switches = Counter(), Counter(), Counter()
    for (annotation, song), clips in zip(songs, labels, strict=True):
        by_split.setdefault(annotation.split, []).append(clips)
        hours += lead_hours(annotation, song)
        channels[len(song.stems) + 1] += len(clips)
        switches.update(np.count_nonzero(np.diff(clips), axis=1).tolist())
    return {
        "songs": len(songs),
        "leads": sum(len(annotation.leads) for annotation, _ in songs),
        "hours": hours.total(),
        "lead_hours": dict(hours.most_common()),
        "clips": {split: sum(map(len, clips)) for split, clips in by_split.items()},
        "unlabelled": {split: float(np.mean(np.concatenate(clips) == 0)) for split, clips in by_split.items()},
        "channels": dict(sorted(channels.items())),
        "switches": dict(sorted(switches.items())),
    }
