"""One clip of a song: which stems become which tracks, at which levels, and what follows from it for the labels.

A Selection is drawn before any audio is read. It alone decides what the tracks sound like, what the mixture is made of,
which instruments are named and who leads, so that they cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common import effects
from lead_detection.songs import IGNORE, Song, mixture_peak, stem_peaks
from lead_detection.streams import FULL, SILENT, Norm

MixSource = Literal["human", "pseudo_wave"]


@dataclass(frozen=True)
class Augmentation:
    """What training does to a clip; probabilities are of a clip unless they say "each".

    Args:
        permute: shuffle the order of the tracks.
        min_tracks: fewest tracks of a clip, where the song has as many.
        max_tracks: most tracks; the number is drawn between the two, and the stems that lead in the clip are kept
            first. 0 keeps all that the song has.
        null_p: stems that lead are left out of tracks and mixture, so that nobody leads there.
        drop_p: each track that does not lead is left out, down to `min_tracks`.
        merge_p: two tracks become one, their sum, which leads when either does.
        gain_db: each track's level changes by up to this, up or down.
        bleed_p: the microphones hear each other.
        bleed_db: lowest and highest level at which a microphone hears a neighbour.
        polarity: turn each track's waveform upside down half of the time.
        effects_p: each track, and the mixture, goes through `common.effects.random_chain`, keeping its level.
        instrument_dropout: no instrument of the clip is known; where not that, each is unknown as often.
    """

    permute: bool = True
    min_tracks: int = 2
    max_tracks: int = 5
    null_p: float = 0.1
    drop_p: float = 0.1
    merge_p: float = 0.1
    gain_db: float = 6.0
    bleed_p: float = 0.5
    bleed_db: tuple[float, float] = (-34.0, -14.0)
    polarity: bool = True
    effects_p: float = 0.05
    instrument_dropout: float = 0.3


@dataclass(frozen=True, eq=False)
class Selection:
    """Tracks made of stems."""

    gains: np.ndarray  # float32 (track, stem), linear: what of each stem a track holds; a stem is in one at most
    bleed: np.ndarray  # float32 (track, track): row i says how much of each track microphone i hears

    @property
    def owner(self) -> np.ndarray:
        """(stem,) int64: the track that holds the stem, -1 for a stem that is left out."""
        return np.where(self.gains.any(axis=0), np.abs(self.gains).argmax(axis=0), -1)


def everything(n_stems: int) -> Selection:
    """All stems as they are."""
    eye = np.eye(n_stems, dtype=np.float32)
    return Selection(eye, eye)


def remap(lead: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Labels of tracks from labels of stems; where the leading stem is left out, nobody leads.

    Args:
        lead: (frame,) 0, 1 + stem, or IGNORE.
        owner: (stem,) see `Selection.owner`.

    Returns:
        (frame,) 0, 1 + track, or IGNORE.
    """
    known = lead != IGNORE
    return np.where(known, np.concatenate([[0], 1 + owner])[np.where(known, lead, 0)], IGNORE)


def track_instruments(instruments: Sequence[int], selection: Selection) -> np.ndarray:
    """(track,) ids: that of the stems of a track, 0 where they differ."""
    ids = np.asarray(instruments, np.int64)
    held = selection.gains != 0
    first = ids[held.argmax(axis=1)]
    return np.where((held & (ids != first[:, None])).any(axis=1), 0, first)


def choose_stems(lead: np.ndarray, n_stems: int, augment: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """The stems that a clip keeps, ascending.

    Args:
        lead: (frame,) labels of the clip in stems.
        n_stems: of the song.
        augment: `min_tracks`, `max_tracks`, `null_p` and `drop_p` of it.
        rng: draws.
    """
    frames = np.bincount(lead[lead > 0] - 1, minlength=n_stems)
    others = rng.permutation(np.flatnonzero(frames == 0))
    leaders = np.argsort(-frames, kind="stable")[: np.count_nonzero(frames)]
    if len(leaders) and len(others) and rng.random() < augment.null_p:
        leaders = rng.permutation(leaders)[: rng.integers(len(leaders))]
    fewest = min(augment.min_tracks, n_stems)
    count = n_stems
    if augment.max_tracks:
        count = int(rng.integers(fewest, max(min(augment.max_tracks, n_stems), fewest) + 1))
    leaders = leaders[:count]
    others = others[: count - len(leaders)]
    spare = max(len(leaders) + len(others) - fewest, 0)
    dropped = np.flatnonzero(rng.random(len(others)) < augment.drop_p)[:spare]
    return np.sort(np.concatenate([leaders, np.delete(others, dropped)]))


def draw(lead: np.ndarray, n_stems: int, augment: Augmentation, rng: np.random.Generator) -> Selection:
    """What training makes of a clip; the arguments are those of `choose_stems`."""
    stems = choose_stems(lead, n_stems, augment, rng)
    stems = rng.permutation(stems) if augment.permute else stems
    track = np.arange(len(stems))
    if len(stems) > augment.min_tracks and rng.random() < augment.merge_p:
        kept, moved = np.sort(rng.choice(len(stems), 2, replace=False))
        track[moved] = kept
        track[moved + 1 :] -= 1
    n_tracks = int(track.max()) + 1
    gain = 10.0 ** (rng.uniform(-augment.gain_db, augment.gain_db, len(stems)) / 20.0)
    if augment.polarity:
        gain *= rng.choice((-1.0, 1.0), n_tracks)[track]
    gains = np.zeros((n_tracks, n_stems), np.float32)
    gains[track, stems] = gain
    bleed = np.eye(n_tracks, dtype=np.float32)
    if rng.random() < augment.bleed_p:
        heard = 10.0 ** (rng.uniform(*augment.bleed_db, bleed.shape) / 20.0)
        bleed = np.where(bleed > 0, 1.0, heard).astype(np.float32)
    return Selection(gains, bleed)


def drop_instruments(instrument: np.ndarray, p: float, rng: np.random.Generator) -> np.ndarray:
    """Ids of which some are unknown: with probability p all of them, otherwise each with p."""
    unknown = np.full(len(instrument), True) if rng.random() < p else rng.random(len(instrument)) < p
    return np.where(unknown, 0, instrument)


def excerpt(samples: np.ndarray, first: int, n_samples: int) -> np.ndarray:
    """float32 (time,) from a sample on; silence before and after what there is."""
    inside = samples[max(first, 0) : max(first + n_samples, 0)]
    before = min(max(-first, 0), n_samples)
    padded = np.zeros(n_samples, np.float32)
    padded[before : before + len(inside)] = inside
    return padded


def affect(audio: np.ndarray, sample_rate: int, p: float, rng: np.random.Generator) -> np.ndarray:
    """Rows (row, time) of which each has gone through a chain of effects with probability p; none changes its level."""
    for i in np.flatnonzero(rng.random(len(audio)) < p):
        level = np.sqrt(np.mean(np.square(audio[i])))
        if level > 0:
            audio[i] = effects.random_chain(audio[i], sample_rate, rng)
            audio[i] *= level / max(float(np.sqrt(np.mean(np.square(audio[i])))), 1e-9)
    return audio


def factors(song: Song, selection: Selection, norm: Norm, own: bool) -> tuple[np.ndarray, np.float32]:
    """What the tracks (track,) and the mixture of a clip are multiplied by, whatever their gains are.

    Args:
        song: its peaks are meant, not the clip's.
        selection: which stems the tracks hold.
        norm: "none" leaves the levels alone; "song_peak" brings the loudest stem of the song to -0.1 dBFS, and all
            others and the mixture by the same; "stem_peak" (the paper's) brings each stem and the mixture there, which
            loses their levels.
        own: the mixture is the song's own, not the sum of its stems.
    """
    held = selection.gains != 0
    if norm == "none":
        peaks, mixture = np.full(len(held), FULL), FULL
    elif norm == "song_peak":
        mixture = float(stem_peaks(song).max())
        peaks = np.full(len(held), mixture)
    else:
        peaks, mixture = np.max(stem_peaks(song) * held, axis=1), mixture_peak(song, own)
    peaks = np.append(peaks, mixture)
    gains = np.where(peaks < SILENT, 1.0, FULL / np.maximum(peaks, SILENT)).astype(np.float32)
    return gains[:-1], gains[-1]


def render(
    song: Song,
    first: int,
    n_samples: int,
    selection: Selection,
    rng: np.random.Generator,
    norm: Norm = "song_peak",
    mix: MixSource = "human",
    effects_p: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The sound of a clip.

    Args:
        song: is read in the clip alone, but for its peaks.
        first: sample at which the clip starts; outside of the song there is silence.
        n_samples: of the clip.
        selection: its tracks.
        rng: draws the effects.
        norm: see `factors`.
        mix: "human" takes the song's own mixture where it has one and no stem is left out; "pseudo_wave" is the sum of
            the tracks, and no other mixture is ever opened.
        effects_p: see `Augmentation`.

    Returns:
        float32 (track, time) and (time,).
    """
    multitrack = song.multitrack()
    stems, kept = multitrack.stems, np.flatnonzero(selection.owner >= 0)
    samples = np.stack([excerpt(stems[i].samples, first, n_samples) for i in kept])
    scale = np.array([stems[i].scale for i in kept], np.float32)
    tracks = affect((selection.gains[:, kept] * scale) @ samples, multitrack.sample_rate, effects_p, rng)
    if np.count_nonzero(selection.bleed) > len(tracks):
        tracks = selection.bleed @ tracks
    own = song.mixture if mix == "human" and len(kept) == len(stems) else None
    mixture = tracks.sum(axis=0) if own is None else excerpt(own.samples, first, n_samples) * np.float32(own.scale)
    mixture = affect(mixture[None], multitrack.sample_rate, effects_p, rng)[0]
    by_track, by_mixture = factors(song, selection, norm, own is not None)
    return tracks * by_track[:, None], mixture * by_mixture
