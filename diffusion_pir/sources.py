"""Where clips come from: every data set, folder or table as `melstore.Source`s with labels, groups and splits."""

import csv
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from common import audio as sound
from common import predominance
from common.datasets import files, irmas, openmic
from common.datasets.files import DatasetError
from common.instruments import IRMAS
from common.predominance import Excerpt, PredominanceSet
from diffusion_pir.melstore import SPLITS, Clip, MelStore, Source, write_store

VALIDATION = 0.15  # of the groups, where a data set has no validation split
DRUMS = {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def predominance_sources(corpus: PredominanceSet) -> list[Source]:
    """The predominance set of the embedded corpus."""
    return [Source(_excerpt_clip(excerpt), partial(_excerpt_audio, excerpt)) for excerpt in corpus.excerpts()]


def predominance_store(
    size: str = "predominance",
    root: str | Path | None = None,
    soundfonts: Sequence[str] = (),
    test_soundfont: str | None = None,
    jobs: int | None = 1,
    front_end: str = "vocoder",
) -> MelStore:
    """The predominance set of the embedded corpus as a store, both made on first use.

    Args:
        size: "predominance" or "predominance-tiny".
        root: folder for data; none means $TUTTI_DATA, or `data`.
        soundfonts: SF2 files to render it with, each scene with one of them; none means the one that is installed.
        test_soundfont: another one for its test excerpts.
        jobs: processes.
        front_end: one of `front_ends.FRONT_ENDS`.
    """
    corpus = predominance.build(size, root=root, soundfonts=soundfonts, test_soundfont=test_soundfont, jobs=jobs)
    folder = corpus.folder / ("log_mel" if front_end == "vocoder" else f"log_mel_{front_end}")
    return write_store(folder, predominance_sources(corpus), tuple(IRMAS), front_end)


def irmas_sources(roots: Iterable[str | Path], validation: float = VALIDATION, seed: int = 0) -> list[Source]:
    """IRMAS: its training clips as "train" and "validation", no recording in both, its test excerpts as "test".

    Args:
        roots: folders of training clips, of test excerpts, or with both below them.
        validation: share of the recordings of each class.
        seed: of their draw.
    """
    clips: list[tuple[irmas.Excerpt, str]] = []
    for root in map(Path, roots):
        clips += [(excerpt, "") for excerpt in irmas.training(root)] if irmas.has_training(root) else []
        clips += [(excerpt, "test") for excerpt in irmas.testing(root)] if irmas.has_testing(root) else []
    files.not_empty(clips, Path("IRMAS"), irmas.DOWNLOAD)
    found = [
        Clip(
            id=excerpt.id,
            group=f"{split or 'training'}/{excerpt.recording}",
            split=split,
            labels=excerpt.labels,
            drums=excerpt.drums,
            path=str(excerpt.audio),
        )
        for excerpt, split in clips
    ]
    return split_sources(found, validation, seed)


def openpir_sources(
    metadata: str | Path,
    root: str | Path,
    keep_other: bool = False,
    leave_out_test: bool = False,
    validation: float = VALIDATION,
    seed: int = 0,
) -> list[Source]:
    """The excerpts of OpenPIR as "train" and "validation".

    Args:
        metadata: OpenPIR_metadata.json.
        root: the folder `openmic-2018`.
        keep_other: keep the label "other".
        leave_out_test: leave out what is in OpenMIC's test partition, for who judges on that.
        validation: share of the recordings.
        seed: of their draw.
    """
    excerpts = openmic.openpir(metadata, root, keep_other)
    kept = [excerpt for excerpt in excerpts if not (leave_out_test and excerpt.partition == "test")]
    return split_sources([_openmic_clip(excerpt) for excerpt in kept], validation, seed)


def openmic_sources(root: str | Path, relevance: float = 0.5) -> list[Source]:
    """All of OpenMIC: its training partition as "train", the rest as "test"."""
    clips = [
        _openmic_clip(excerpt, "train" if excerpt.partition == "train" else "test")
        for excerpt in openmic.excerpts(root, relevance)
    ]
    return split_sources(clips)


def _openmic_clip(excerpt: openmic.Excerpt, split: str = "") -> Clip:
    return Clip(excerpt.id, excerpt.recording, split, excerpt.labels, excerpt.drums, str(excerpt.audio))


def folder_sources(root: str | Path, validation: float = VALIDATION, seed: int = 0) -> list[Source]:
    """A folder `<label>/*.wav`, or `<label>/<recording>/*.wav`, whose files are then kept together.

    Raises:
        DatasetError: there is no folder, or none in it that holds audio.
    """
    root = files.folder(root, "give a folder that has one for each label")
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    clips = []
    for folder in files.not_empty(folders, root, "give a folder that has one for each label"):
        for path in sound.find([folder]):
            inside = path.relative_to(folder)
            recording = inside.parts[0] if len(inside.parts) > 1 else inside.stem
            name = path.relative_to(root).as_posix()
            clips.append(Clip(name, f"{folder.name}/{recording}", "", (folder.name,), None, str(path)))
    return split_sources(clips, validation, seed)


def csv_sources(path: str | Path, validation: float = VALIDATION, seed: int = 0) -> list[Source]:
    """A table with the columns `path` and `labels` ("sax;piano") and, if it likes, `group`, `split` and `drums`.

    Args:
        path: of the CSV; paths in it count from its folder.
        validation: share of the groups of those rows that have no split.
        seed: of their draw.

    Raises:
        DatasetError: a column or value is missing or wrong.
    """
    path = Path(path)
    clips = []
    with files.annotation(path), path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            labels = tuple(dict.fromkeys(name.strip() for name in row["labels"].split(";") if name.strip()))
            split, drums = (row.get("split") or "").strip(), (row.get("drums") or "").strip().lower()
            if split not in ("", *SPLITS):
                raise ValueError(f"{row['path']}: split must be one of {', '.join(SPLITS)} or empty, not {split!r}")
            group = row.get("group") or row["path"]
            clips.append(Clip(row["path"], group, split, labels, DRUMS[drums], str(path.parent / row["path"])))
    files.not_empty(clips, path, "give a table with the columns path and labels")
    return split_sources(clips, validation, seed)


def split_sources(clips: Sequence[Clip], validation: float = VALIDATION, seed: int = 0) -> list[Source]:
    """Clips that have audio files as sources; those that have no split yet are drawn group by group."""
    strata: dict[str, set[str]] = {}
    for clip in clips:
        if not clip.split:
            strata.setdefault(clip.group, set()).update(clip.labels)
    chosen = validation_groups({group: tuple(sorted(labels)) for group, labels in strata.items()}, validation, seed)
    return [Source(_with_split(clip, chosen), partial(_read, clip.path)) for clip in clips]


def validation_groups(strata: Mapping[str, Hashable], share: float = VALIDATION, seed: int = 0) -> set[str]:
    """The groups that are kept for validation: the same share of each stratum, and one at least where there are two.

    Args:
        strata: group -> what it shall be drawn by, as its labels.
        share: of the groups; 0 for none.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    by_stratum: dict[Hashable, list[str]] = {}
    for group in sorted(strata):
        by_stratum.setdefault(strata[group], []).append(group)
    chosen: set[str] = set()
    for stratum in sorted(by_stratum, key=repr):
        groups = by_stratum[stratum]
        count = min(max(round(share * len(groups)), 1), len(groups) - 1) if share else 0
        chosen.update(groups[i] for i in rng.permutation(len(groups))[:count])
    return chosen


def classes_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """All labels, sorted.

    Raises:
        DatasetError: there are none.
    """
    labels = {label for source in sources for label in source.clip.labels}
    if not labels:
        raise DatasetError("no clip has a label; name the classes with --classes")
    return tuple(sorted(labels))


def _with_split(clip: Clip, validation: set[str]) -> Clip:
    drawn = "validation" if clip.group in validation else "train"
    return clip if clip.split else Clip(**{**vars(clip), "split": drawn})


def _read(path: str, sample_rate: int) -> np.ndarray:
    return sound.read(path, sample_rate)[0]


def _excerpt_clip(excerpt: Excerpt) -> Clip:
    return Clip(
        id=excerpt.id,
        group=excerpt.group,
        split=excerpt.split,
        labels=excerpt.labels,
        drums=excerpt.drums,
        path=f"{excerpt.group}.npy",
        unseen=excerpt.unseen,
    )


def _excerpt_audio(excerpt: Excerpt, sample_rate: int) -> np.ndarray:
    return sound.conform(excerpt.audio, excerpt.sample_rate, sample_rate)
