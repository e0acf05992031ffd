"""All data sets with notes by name: one table for who scores on them and who trains on them.

| name | what is heard | whose notes are known | splits; the scored one first |
|---|---|---|---|
| bach10, phenicx | chorales, symphonies | everybody's; stems | none: all is scored |
| urmp | chamber music | everybody's; stems | test, train |
| musicnet, musicnet-em | classical recordings | everybody's | test, train |
| slakh | rendered bands | everybody's; stems | test, validation, train, omitted |
| maestro, maps | piano | everybody's | test, train; maestro also validation |
| guitarset | guitar | everybody's | test, train |
| idmt-smt-bass | single notes of basses | everybody's | test, train |
| e-gmd, e-gmd-reduced | electronic drums | everybody's | test, validation, train |
| enst-drums | drums alone | everybody's | test, test_alone, train |
| enst-drums-mixed | drums with accompaniment | the drums' | test, train |
| mir-st500, cmedia | separated vocals | taken for everybody's | test, train; cmedia only train |
| mir-st500-mixture, cmedia-mixture | the songs | who sings | as above |
| rwc-pop | popular songs | everybody's | none: all is scored |
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.datasets import (
    bach10,
    cmedia,
    egmd,
    enst_drums,
    guitarset,
    idmt_smt_bass,
    maestro,
    maps,
    mir_st500,
    musicnet,
    phenicx,
    rwc_pop,
    slakh,
    urmp,
)
from common.datasets.files import DatasetError
from common.datasets.recording import Recording


@dataclass(frozen=True)
class DataSet:
    """A data set, or one of its variants.

    Args:
        recordings: lists it, given its folder and options.
        splits: their names in it, that which is scored first; none for one that has no splits.
    """

    recordings: Callable[..., list[Recording]]
    splits: tuple[str | None, ...] = (None,)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of what can be chosen about it."""
        return tuple(inspect.signature(self.recordings).parameters)[1:]


SONGS = ("test", "train")
DATASETS = {
    "bach10": DataSet(bach10.recordings),
    "phenicx": DataSet(phenicx.recordings),
    "urmp": DataSet(urmp.recordings, ("test", "train", None)),
    "musicnet": DataSet(musicnet.recordings, ("test", "train")),
    "musicnet-em": DataSet(partial(musicnet.recordings, em=True), ("test", "train")),
    "slakh": DataSet(slakh.recordings, ("test", "validation", "train", "omitted", None)),
    "maestro": DataSet(maestro.recordings, ("test", "validation", "train")),
    "maps": DataSet(maps.recordings, ("test", "train", None)),
    "guitarset": DataSet(guitarset.recordings, ("test", "train")),
    "idmt-smt-bass": DataSet(idmt_smt_bass.recordings, ("test", "train")),
    "e-gmd": DataSet(egmd.recordings, ("test", "validation", "train")),
    "e-gmd-reduced": DataSet(partial(egmd.recordings, kits=(5, 10)), ("test", "validation", "train")),
    "enst-drums": DataSet(enst_drums.recordings, ("test", "test_alone", "train")),
    "enst-drums-mixed": DataSet(partial(enst_drums.recordings, accompaniment=0.25), ("test", "train")),
    "mir-st500": DataSet(mir_st500.recordings, SONGS),
    "mir-st500-mixture": DataSet(partial(mir_st500.recordings, audio="mixture"), SONGS),
    "cmedia": DataSet(cmedia.recordings, ("train",)),
    "cmedia-mixture": DataSet(partial(cmedia.recordings, audio="mixture"), ("train",)),
    "rwc-pop": DataSet(rwc_pop.recordings),
}


def find(name: str) -> DataSet:
    """A data set.

    Raises:
        DatasetError: there is none of that name.
    """
    if name not in DATASETS:
        raise DatasetError(f"no data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def scored(name: str, root: str | Path) -> list[Recording]:
    """The recordings that results are reported of.

    Args:
        name: a key of DATASETS.
        root: its folder.

    Raises:
        DatasetError: there is no such data set, none of these recordings is there, or the data set is damaged.
    """
    return recordings(name, root, find(name).splits[0])


def recordings(name: str, root: str | Path, *splits: str | None, **options: Any) -> list[Recording]:
    """The recordings of splits.

    Args:
        name: a key of DATASETS.
        root: its folder.
        *splits: some of its own; none means all recordings.
        **options: as its adapter takes them.

    Raises:
        DatasetError: there is no such data set, split or option, a split is empty, or the data set is damaged.
    """
    dataset = find(name)
    for split in splits:
        if split not in dataset.splits:
            raise DatasetError(f"{name} has no split {split!r}; it has {', '.join(map(str, dataset.splits))}")
    if unknown := sorted(options.keys() - set(dataset.options)):
        raise DatasetError(f"{name} has no option {unknown[0]!r}; it has {', '.join(dataset.options) or 'none'}")
    listed = dataset.recordings(root, **options)
    for split in splits:
        if not any(recording.split == split for recording in listed):
            raise DatasetError.about(root, f"no recording of the {split} split here; give the whole data set")
    return [recording for recording in listed if not splits or recording.split in splits]
