"""Music that nobody played together: stems left out and changed in level, and stems of other pieces added to them.

The augmentation of YourMT3+ (arXiv 2407.04822, section 3.4). It only ever chooses whole stems, so that what is heard,
what is written of it and what is known of it come from one selection; nothing that it is given is changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from common.stems import N_KINDS, Multitrack, Stem

ALL_APART = np.arange(N_KINDS)  # every kind is a group of its own

Draw = Callable[[np.random.Generator], Multitrack]


@dataclass(frozen=True)
class Mixing:
    """How excerpts are mixed.

    Args:
        keep: probability with which the stems of a group of kinds stay in the excerpt that they come from.
        keep_of: the same for single kinds, such as sung melody, where it is another.
        gains: smallest and largest factor of a stem.
        tau: how fast the odds of yet another source fall; see `source_odds`.
        alpha: 1 lets them fall by the same factor each time.
        max_sources: at most so many excerpts are added to the first one; 0 for none.
    """

    keep: float = 0.7
    keep_of: Mapping[int, float] = field(default_factory=dict)
    gains: tuple[float, float] = (0.8, 1.1)
    tau: float = 0.3
    alpha: float = 1.0
    max_sources: int = 5


AS_THEY_ARE = Mixing(keep=1.0, gains=(1.0, 1.0), max_sources=0)


def source_odds(policy: Mixing) -> np.ndarray:
    """(k + 1,) probability of k added excerpts: the drops of the survival curve exp(-(k tau) ** alpha).

    What the curve has left after `max_sources` is the probability of those.
    """
    survival = np.exp(-((np.arange(policy.max_sources + 1) * policy.tau) ** policy.alpha))
    return -np.diff(survival, append=0.0)


def mix(draw: Draw, policy: Mixing, rng: np.random.Generator, groups: np.ndarray = ALL_APART) -> Multitrack:
    """An excerpt with fewer stems, and with stems of other excerpts that play nothing that is there already.

    Args:
        draw: makes excerpts, all of one rate and length.
        policy: how.
        rng: draws all that is random.
        groups: (kind,) the group of each program and of the drums; kinds of one group stay or go together, and no
            group comes from two sources.
    """
    mixed = drop_stems(draw(rng), policy, rng, groups)
    for _ in range(rng.choice(policy.max_sources + 1, p=source_odds(policy))):
        other = drop_stems(draw(rng), policy, rng, groups)
        fits = _that_fit(other, mixed, groups)
        if fits.any():
            mixed = Multitrack.pseudo_mix([mixed, other.select(fits)])
    low, high = policy.gains
    return mixed.gain(20.0 * np.log10(rng.uniform(low, high, len(mixed.stems))))


def drop_stems(
    excerpt: Multitrack, policy: Mixing, rng: np.random.Generator, groups: np.ndarray = ALL_APART
) -> Multitrack:
    """Each group of kinds stays with its probability; its stems stay together. One that plays stays in any case.

    A stem of several groups, which is not to be divided, stays if any of them does. A stem of which nothing is known is
    a group of its own.
    """
    members = [_groups(stem.kinds, groups) or {-1 - i} for i, stem in enumerate(excerpt.stems)]
    present = sorted(set().union(*members))
    chance = np.full(len(present), policy.keep)
    for kind, keep in policy.keep_of.items():
        chance[np.asarray(present) == groups[kind]] = keep
    kept = {group for group, stays in zip(present, rng.random(len(present)) < chance, strict=True) if stays}
    playing = [members[i] for i in np.unique(excerpt.notes.track)] or members
    if playing and not any(kept & groups_of_stem for groups_of_stem in playing):
        kept |= playing[rng.integers(len(playing))]
    return excerpt.select(np.array([bool(kept & groups_of_stem) for groups_of_stem in members], bool))


def _groups(of: frozenset[int], groups: np.ndarray) -> set[int]:
    return {int(groups[kind]) for kind in of}


def _heard(stem: Stem, groups: np.ndarray) -> set[int]:
    """Groups that a stem plays or may play."""
    return _groups(stem.kinds | stem.unknown, groups)


def _that_fit(other: Multitrack, mixed: Multitrack, groups: np.ndarray) -> np.ndarray:
    """(stem,) bool: stems of the other excerpt that neither play nor may play what the mixed ones play or may play."""
    taken = set().union(*(_heard(stem, groups) for stem in mixed.stems))
    return np.array([not taken & _heard(stem, groups) for stem in other.stems], bool)
