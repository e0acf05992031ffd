"""What heads learn from, choose by and are judged on: windows of prepared data with the labels of their clips."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.predominance import SIZES
from diffusion_pir.features import Windows
from diffusion_pir.grid import JOIN
from diffusion_pir.judge import Heard
from diffusion_pir.melstore import Clip, MelStore
from diffusion_pir.sources import predominance_store
from diffusion_pir.windows import ClipWindows, MixedWindows, draw_mixes, mixed_labels


class ProbeError(ValueError):
    """Data on which no head can be fitted or judged."""


@dataclass(frozen=True, eq=False)
class Part:
    """Windows, and the clips that they are of.

    Args:
        windows: what features are taken from; they know no labels.
        clip: (window,) index of each window's clip.
        labels: (clip, class), 0 and 1.
        groups: recording of each clip.
    """

    windows: Windows
    clip: np.ndarray
    labels: np.ndarray
    groups: tuple[str, ...]

    def heard(self, logits: np.ndarray) -> Heard:
        """What a head says of it."""
        return Heard(logits, self.clip, self.labels)


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Parts by what they are for.

    Args:
        classes: names of the labels.
        train: heads are fitted to these.
        validation: they say when to stop, and those of `deciding` how to decide.
        deciding: those parts of the validation that are like the test, with several labels to a clip.
        test: what is scored.
    """

    classes: tuple[str, ...]
    train: list[Part]
    validation: list[Part]
    deciding: list[Part]
    test: Part

    @property
    def parts(self) -> list[Part]:
        return [
            *self.train,
            *self.validation,
            *(part for part in self.deciding if part not in self.validation),
            self.test,
        ]


def open_store(name: str) -> MelStore:
    """A size of the predominance set of the embedded corpus, built on first use, or the folder of prepared data.

    Raises:
        ValueError: there is none.
    """
    return predominance_store(name, jobs=os.cpu_count()) if name in SIZES else MelStore.open(name)


def open_set(train: str, test: str, mixes: float = 0.0, seed: int = 0) -> ProbeSet:
    """What a cell of a sweep is fitted to and judged on.

    Validation clips that last longer than any training clip are excerpts, as those of the test are, and decide. Where
    there are none, as in IRMAS, mixes of two validation windows do.

    Args:
        train: names of data with training and validation clips, joined by "+"; see `open_store`.
        test: name of data with test clips.
        mixes: windows of two training clips at once, for each window of one.
        seed: of the mixes.

    Raises:
        ProbeError: a split is empty, or classes differ.
        ValueError: there is no such data.
    """
    stores = [open_store(name) for name in train.split(JOIN)]
    judged = open_store(test)
    for store in (*stores, judged):
        if store.classes != judged.classes:
            raise ProbeError(f"{train} and {test} have other classes: prepare both with the same --classes")
    learnt = [part_of(store, store.clips("train")) for store in stores]
    validation, excerpts = [], []
    for store in stores:
        longest = max((clip.n_frames for clip in store.clips("train")), default=0)
        clips = store.clips("validation")
        validation.append(part_of(store, [clip for clip in clips if clip.n_frames <= longest]))
        excerpts.append(part_of(store, [clip for clip in clips if clip.n_frames > longest]))
    learnt, validation, excerpts = (
        [part for part in parts if len(part.clip)] for parts in (learnt, validation, excerpts)
    )
    tested = part_of(judged, judged.clips("test"))
    for name, parts in (("training", learnt), ("validation", validation + excerpts), ("test", [tested])):
        if not sum(len(part.clip) for part in parts):
            raise ProbeError(f"{test if name == 'test' else train}: no {name} clips; choose other data")
    deciding = excerpts or [mixed(part, len(part.clip), seed) for part in validation]
    added = [mixed(part, round(mixes * len(part.clip)), seed) for part in learnt] if mixes else []
    return ProbeSet(judged.classes, learnt + added, validation + excerpts, deciding, tested)


def part_of(store: MelStore, clips: Sequence[Clip]) -> Part:
    """All windows of some clips."""
    windows = ClipWindows(store, clips)
    return Part(windows, windows.clip, store.labels(clips), tuple(clip.group for clip in clips))


def mixed(part: Part, n_mixes: int, seed: int) -> Part:
    """Pairs of windows at once, each a clip of its own.

    Raises:
        ValueError: all windows are of one recording.
    """
    assert isinstance(part.windows, ClipWindows)
    groups = [part.groups[clip] for clip in part.clip.tolist()]
    pairs, levels_db = draw_mixes(groups, n_mixes, seed)
    labels = mixed_labels(part.labels[part.clip], pairs, levels_db)
    names = tuple(f"{groups[a]}+{groups[b]}" for a, b in pairs.tolist())
    return Part(MixedWindows(part.windows, pairs, levels_db), np.arange(n_mixes), labels, names)
