"""Where clips come from: every data set, folder or table as `melstore.Source`s with labels, groups and splits."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from common import audio as sound
from common.melspec import SAMPLE_RATE
from common.predominance import Excerpt, PredominanceSet
from diffusion_pir.melstore import Clip, Source

VALIDATION = 0.15  # of the groups, where a data set has no validation split


def predominance_sources(corpus: PredominanceSet) -> list[Source]:
    """The predominance set of the embedded corpus."""
    return [Source(_excerpt_clip(excerpt), partial(_excerpt_audio, excerpt)) for excerpt in corpus.excerpts()]


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


def _excerpt_audio(excerpt: Excerpt) -> np.ndarray:
    return sound.conform(excerpt.audio, excerpt.sample_rate, SAMPLE_RATE)


def read(path: Path) -> np.ndarray:
    """A file as float32 [time] at the rate of the front-end."""
    return sound.read(path, SAMPLE_RATE)[0]


def validation_groups(strata: Mapping[str, Hashable], share: float = VALIDATION, seed: int = 0) -> set[str]:
    """The groups that are kept for validation, the same share of each stratum, and at least one of each that has two.

    Args:
        strata: group -> what it shall be drawn by, as its labels.
        share: of the groups.
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


def split_of(group: str, validation: set[str]) -> str:
    return "validation" if group in validation else "train"


def classes_of(clips: Sequence[Clip]) -> tuple[str, ...]:
    """All labels, sorted."""
    return tuple(sorted({label for clip in clips for label in clip.labels}))
