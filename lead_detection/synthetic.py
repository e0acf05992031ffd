"""Multitracks of plain tones in which who leads is known by construction: what a network must learn before music.

Each stem has a timbre and a pitch of its own. It holds one slowly trembling note, and while it leads it plays a melody
of short notes instead. Knobs take away, or leave as the only one, what a network might go by: the place of a stem, its
level, its timbre.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from common.corpus import FIRST_SEED
from common.notes import Notes
from common.stems import Multitrack, Stem

TABLE = 2048  # samples of one period of a timbre
PARTIALS = 5
SHORTEST = 0.5  # seconds that one stem leads, or nobody
HELD = 0.7  # amplitude of a held note against the start of a melody's
EIGHTH = 0.2  # seconds, of drums
SOUNDING = ("backing", "drums", "tacet")  # what may be heard while nobody leads


@dataclass(frozen=True)
class SyntheticSettings:
    """What songs are like.

    Args:
        n_train: songs for training.
        n_validation: for validation.
        n_test: for the test.
        seconds: of a song; some minutes are fine.
        min_tracks: fewest stems.
        max_tracks: most stems.
        segment_seconds: mean time until the lead may change.
        note_seconds: mean length of the notes of a melody.
        null_p: probability that nobody leads in a segment; the others then play on, or the drums alone, or none.
        first_p: probability that a segment with a lead is led by the first stem that can; otherwise all are alike.
        lead_db: how much louder a stem is while it leads.
        drums_p: probability that one stem is drums, which never lead.
        silent_p: probability of each stem to be silent throughout.
        twins_db: two stems share timbre, pitch and the habit to play melodies, and of these the one leads that is
            louder by this, throughout the song; null for none. Nothing but the level tells it.
        bleed_db: level at which each stem is heard in all others; null for none.
        seed: of the songs.
    """

    n_train: int = 1000
    n_validation: int = 100
    n_test: int = 100
    seconds: float = 5.0
    min_tracks: int = 2
    max_tracks: int = 5
    segment_seconds: float = 2.5
    note_seconds: float = 0.12
    null_p: float = 0.15
    first_p: float = 0.0
    lead_db: float = 0.0
    drums_p: float = 0.0
    silent_p: float = 0.0
    twins_db: float | None = None
    bleed_db: float | None = None
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.min_tracks <= self.max_tracks or (self.twins_db is not None and self.min_tracks < 2):
            raise ValueError("synthetic songs want 1 <= min_tracks <= max_tracks, and two tracks for twins")
        if self.seconds < SHORTEST:
            raise ValueError(f"a synthetic song lasts at least {SHORTEST} seconds, not {self.seconds}")


@dataclass(frozen=True, eq=False)
class Layout:
    """Who plays what and when, before anything sounds."""

    edges: np.ndarray  # (segment + 1,) seconds
    leader: np.ndarray  # (segment,) stem, or -1
    sounding: np.ndarray  # (segment,) index in SOUNDING, of segments that nobody leads
    silent: np.ndarray  # (stem,) bool
    drums: int  # stem, or -1
    twins: tuple[int, int] | None  # the louder one first


def lay_out(settings: SyntheticSettings, rng: np.random.Generator) -> Layout:
    """Draw a song."""
    n_tracks = int(rng.integers(settings.min_tracks, settings.max_tracks + 1))
    most = int(settings.seconds / SHORTEST)
    mean = max(settings.seconds / settings.segment_seconds - 1.0, 0.0)
    n_cuts = min(int(rng.binomial(max(round(2 * mean), 1), 0.5)) if mean else 0, most - 1)
    spare = settings.seconds - SHORTEST * (n_cuts + 1)
    cuts = np.sort(rng.uniform(0.0, spare, n_cuts)) + SHORTEST * np.arange(1, n_cuts + 1)
    order = rng.permutation(n_tracks)
    drums = int(order[0]) if n_tracks > 2 and rng.random() < settings.drums_p else -1
    twins = (int(order[-1]), int(order[-2])) if settings.twins_db is not None else None
    silent = rng.random(n_tracks) < settings.silent_p
    silent[list(twins or ())] = False
    able = np.flatnonzero(~silent & (np.arange(n_tracks) != drums))
    leader = np.full(n_cuts + 1, -1)
    if len(able):
        first = rng.random(n_cuts + 1) < settings.first_p
        leader = np.where(first, able[0], able[rng.integers(len(able), size=n_cuts + 1)])
    if twins:
        leader[:] = twins[0]
    leader[rng.random(n_cuts + 1) < settings.null_p] = -1
    sounding = rng.integers(len(SOUNDING), size=n_cuts + 1)
    sounding[(sounding == SOUNDING.index("drums")) & (drums < 0)] = 0
    return Layout(np.concatenate([[0.0], cuts, [settings.seconds]]), leader, sounding, silent, drums, twins)


def perform(layout: Layout, settings: SyntheticSettings, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The sound of all stems, float32 (stem, time)."""
    n_tracks, n_samples = len(layout.silent), round(settings.seconds * sample_rate)
    edges = np.rint(layout.edges * sample_rate).astype(np.int64)
    segment = np.repeat(np.arange(len(layout.leader)), np.diff(edges))
    plays = layout.leader == np.arange(n_tracks)[:, None]  # (stem, segment)
    level = 10.0 ** (rng.uniform(-6.0, 6.0, n_tracks) / 20.0)
    hz = rng.uniform(110.0, 620.0, n_tracks)
    timbre = timbres(n_tracks, rng)
    if layout.twins:
        louder, softer = layout.twins
        plays[softer] = plays[louder]
        level[softer] = level[louder] * 10.0 ** (-(settings.twins_db or 0.0) / 20.0)
        hz[softer], timbre[softer] = hz[louder], timbre[louder]
    tacet = (layout.leader < 0) & (layout.sounding != 0)
    sounds = np.tile(~tacet, (n_tracks, 1)) & ~layout.silent[:, None]
    gain = np.where(plays, 10.0 ** (settings.lead_db / 20.0), 1.0) * sounds * level[:, None]
    audio = np.empty((n_tracks, n_samples), np.float32)
    for i in range(n_tracks):
        if i == layout.drums:
            heard = (layout.leader >= 0) | (layout.sounding != SOUNDING.index("tacet"))
            audio[i] = hits(n_samples, sample_rate, rng) * np.float32(level[i]) * (heard & ~layout.silent[i])[segment]
        else:
            audio[i] = tone(plays[i][segment], hz[i], timbre[i], settings.note_seconds, sample_rate, rng)
            audio[i] *= gain[i].astype(np.float32)[segment]
    if settings.bleed_db is not None:
        heard = np.full((n_tracks, n_tracks), 10.0 ** (settings.bleed_db / 20.0), np.float32)
        np.fill_diagonal(heard, 1.0)
        audio = heard @ audio
    return audio * np.float32(0.1)


def timbres(n_tracks: int, rng: np.random.Generator) -> np.ndarray:
    """One period of each stem's sound, float32 (stem, TABLE), with a peak of 1."""
    partial = np.arange(1, PARTIALS + 1)
    amplitude = rng.random((n_tracks, PARTIALS, 1)) / partial[:, None]
    phase = 2.0 * np.pi * (np.outer(partial, np.arange(TABLE) / TABLE) + rng.random((n_tracks, PARTIALS, 1)))
    period = np.sum(amplitude * np.sin(phase), axis=1)
    return (period / np.abs(period).max(axis=1, keepdims=True)).astype(np.float32)


def tone(
    plays: np.ndarray, hz: float, timbre: np.ndarray, note_seconds: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A held note of `hz`, and where `plays` (time,) a melody within an octave above it, with vibrato and decay."""
    time = np.arange(len(plays), dtype=np.float32) / np.float32(sample_rate)
    length = note_seconds * rng.uniform(0.8, 1.25)
    position = time / np.float32(length) + np.float32(rng.random())
    note = position.astype(np.int32)
    vibrato = 1.0 + 0.01 * np.sin((2.0 * np.pi * 6.0) * time + np.float32(rng.uniform(0.0, 2.0 * np.pi)))
    ratio = (2.0 ** (rng.integers(0, 13, int(note[-1]) + 1) / 12.0)).astype(np.float32)
    step = np.where(plays, ratio[note] * vibrato, np.float32(1.0)) * np.float32(hz * TABLE / sample_rate)
    audio = timbre[np.cumsum(step, dtype=np.float64).astype(np.int64) % TABLE]
    tremolo = 1.0 + 0.15 * np.sin((2.0 * np.pi * rng.uniform(0.5, 1.5)) * time + np.float32(rng.uniform(0.0, 6.0)))
    return audio * np.where(plays, np.exp(np.float32(-1.5) * (position - note)), np.float32(HELD) * tremolo)


def hits(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Drums: a figure of eight strokes of noise, over and over, float32 (time,)."""
    position = np.arange(n_samples, dtype=np.float32) / np.float32(EIGHTH * rng.uniform(0.8, 1.25) * sample_rate)
    stroke = position.astype(np.int32)
    strength = rng.choice((0.0, 0.4, 1.0), 8).astype(np.float32)
    strength[0] = 1.0
    decay = np.exp(np.float32(-rng.uniform(4.0, 10.0)) * (position - stroke))
    return strength[stroke % 8] * decay * rng.uniform(-1.0, 1.0, n_samples).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SyntheticSong:
    """A song that is made when its audio is asked for; see `lead_detection.songs.Song`."""

    settings: SyntheticSettings
    split: str
    number: int
    sample_rate: int

    @property
    def id(self) -> str:
        return f"synthetic-{self.settings.seed}-{self.number}"

    @property
    def seconds(self) -> float:
        return self.settings.seconds

    @property
    def annotated(self) -> tuple[tuple[float, float], ...]:
        return ((0.0, self.seconds),)

    @property
    def mixture(self) -> None:
        return None

    @property
    def instruments(self) -> tuple[int, ...]:
        return (0,) * len(self.layout.silent)

    @cached_property
    def layout(self) -> Layout:
        return lay_out(self.settings, np.random.default_rng((self.settings.seed, self.number)))

    @property
    def lead(self) -> tuple[tuple[float, float, int], ...]:
        edges, leader = self.layout.edges, self.layout.leader
        turn = np.flatnonzero(np.diff(leader, prepend=-2))
        rows = zip(edges[turn].tolist(), edges[np.append(turn[1:], -1)].tolist(), leader[turn].tolist(), strict=True)
        return tuple(row for row in rows if row[2] >= 0)

    def multitrack(self) -> Multitrack:
        return _perform(self)


@lru_cache(maxsize=4)
def _perform(song: SyntheticSong) -> Multitrack:
    rng = np.random.default_rng((song.settings.seed, song.number, 1))
    audio = perform(song.layout, song.settings, song.sample_rate, rng)
    stems = []
    for i, samples in enumerate(audio):
        lead = tuple((start, end) for start, end, leader in song.lead if leader == i)
        is_drum = i == song.layout.drums
        stems.append(Stem(samples, 0, is_drum, f"{'Drums' if is_drum else 'Tone'} {i + 1}", Notes.empty(), lead))
    return Multitrack(tuple(stems), song.sample_rate)


def synthetic_songs(settings: SyntheticSettings, split: str, sample_rate: int) -> list[SyntheticSong]:
    """The songs of "train", "validation" or "test"."""
    count = {"train": settings.n_train, "validation": settings.n_validation, "test": settings.n_test}[split]
    return [SyntheticSong(settings, split, FIRST_SEED[split] + i, sample_rate) for i in range(count)]
