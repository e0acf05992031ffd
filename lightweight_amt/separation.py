"""Mixtures of a known number of instruments, to learn from and to score how well they are told apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from tqdm import tqdm

from common.corpus import Piece
from common.evaluation.bootstrap import bootstrap_interval
from common.evaluation.multitrack import purity, track_scores
from common.evaluation.notes import match_notes, note_scores
from common.notes import Notes
from common.stems import Multitrack
from lightweight_amt.clustering import cluster
from lightweight_amt.count import StopRule
from lightweight_amt.inference import Model, Transcription, activations

MOST_INSTRUMENTS = 4  # in a mixture
SECONDS = 20.0  # of a mixture that is scored
FEWEST_NOTES = 5  # of each instrument


@dataclass(frozen=True)
class Heard:
    """A mixture as the network heard it: the notes it found, and what the timbre branch says of each.

    `vectors` (note, dim) and `weights` (note,) are those of `tracks.NoteVectors`; `truth` holds the notes that were
    played, whose track is the instrument, and `k` how many instruments there are.
    """

    notes: Notes
    vectors: np.ndarray
    weights: np.ndarray
    truth: Notes
    k: int

    def matched(self) -> tuple[np.ndarray, np.ndarray]:
        """Index of each note that was found rightly (onset and pitch), and the instrument that plays it."""
        intervals, truth = self.notes.intervals, self.truth
        pairs = match_notes(truth.intervals, truth.hz, intervals, self.notes.hz, offset_ratio=None)
        return pairs[:, 1], truth.track[pairs[:, 0]].astype(np.int64)


def band(excerpt: Multitrack, most: int, rng: np.random.Generator) -> list[int]:
    """Up to `most` stems in random order, pitched, each with notes in the excerpt and each of another program."""
    playing = np.bincount(excerpt.notes.track, minlength=len(excerpt.stems)) > 0
    order = rng.permutation(len(excerpt.stems)).tolist()
    pitched = [i for i in order if playing[i] and not excerpt.stems[i].is_drum]
    first_of = {excerpt.stems[i].program: i for i in reversed(pitched)}
    return sorted(first_of.values(), key=pitched.index)[:most]


def random_band(pieces: list[Piece], seconds: float, rng: np.random.Generator) -> Multitrack:
    """A crop of up to MOST_INSTRUMENTS stems at random levels.

    One time in three the stems come from two pieces, so that neither key nor rhythm tells who belongs to whom; one time
    in three drums play along. They have no label.
    """

    def draw() -> Multitrack:
        piece = pieces[rng.integers(len(pieces))]
        start = rng.uniform(-0.1 * seconds, max(piece.seconds - 0.9 * seconds, 0.0))
        return piece.multitrack().crop(start, seconds)

    excerpt = Multitrack.pseudo_mix([draw(), draw()]) if rng.random() < 1 / 3 else draw()
    chosen = band(excerpt, int(rng.integers(2, MOST_INSTRUMENTS + 1)), rng)
    if rng.random() < 1 / 3:
        chosen += [i for i, stem in enumerate(excerpt.stems) if stem.is_drum][:1]
    return excerpt.select(chosen, gains_db=rng.normal(0.0, 4.0, len(chosen)))


def mixtures(pieces: list[Piece], k: int, count: int, seed: int = 0, synthesised: bool = True) -> Iterator[Multitrack]:
    """`count` crops of random pieces with exactly `k` instruments of different programs, drums left out.

    Each instrument plays FEWEST_NOTES notes or more; levels differ by 3 dB RMS. Mixture i is the same for any count.

    Args:
        pieces: of a corpus.
        k: number of instruments.
        count: of mixtures.
        seed: of pieces, crops, instruments and levels.
        synthesised: also take the players of `common.synth`, of which there are none in the test split.

    Raises:
        ValueError: no piece has so many instruments.
    """

    def eligible(piece: Piece) -> list[int]:
        return [i for i, part in enumerate(piece.parts) if synthesised or not part.synthesised]

    def programs(piece: Piece) -> set[int]:
        return {piece.parts[i].program for i in eligible(piece) if not piece.parts[i].is_drum}

    if not any(len(programs(piece)) >= k for piece in pieces):
        raise ValueError(f"none of these {len(pieces)} pieces has {k} instruments; take a larger corpus")
    for i in range(count):
        rng = np.random.default_rng((seed, k, i))
        while True:
            piece = pieces[rng.integers(len(pieces))]
            start = rng.uniform(0.0, max(piece.seconds - SECONDS, 0.0))
            excerpt = piece.multitrack().select(eligible(piece)).crop(start, SECONDS)
            chosen = excerpt.select(found := band(excerpt, k, rng), gains_db=rng.normal(0.0, 3.0, len(found)))
            if len(found) == k and np.bincount(chosen.notes.track, minlength=k).min() >= FEWEST_NOTES:
                yield chosen
                break


def hear(mixture: Multitrack, model: Model) -> Heard:
    """Transcribe a mixture; the model needs its timbre branch."""
    transcription = Transcription(model, instruments=1)
    for part in activations(model, iter([mixture.mixture()])):
        transcription.push(part)
    notes, vectors, weights = transcription.embedded()
    return Heard(notes, vectors, weights, mixture.notes, len(mixture.stems))


def hear_all(pieces: list[Piece], model: Model, count: int, seed: int = 0, synthesised: bool = True) -> list[Heard]:
    """`count` mixtures of 1, 2, ... MOST_INSTRUMENTS instruments each, see `mixtures`."""
    wanted = chain.from_iterable(mixtures(pieces, k, count, seed, synthesised) for k in range(1, MOST_INSTRUMENTS + 1))
    total = MOST_INSTRUMENTS * count
    return [hear(mixture, model) for mixture in tqdm(wanted, desc="mixtures", total=total, leave=False)]


def score(heard: Heard, rule: StopRule, seed: int = 0) -> dict[str, float]:
    """Scores of one mixture.

    purity: share of the notes that were found rightly (onset and pitch) which lie in the right track, K given;
    track_f1: mean note F of the instruments, each against its track, K given; track_f1_estimated: K estimated;
    note_f1: regardless of tracks, which no separation of these notes can exceed by much; k_estimated.
    """
    found, instrument = heard.matched()
    given = cluster(heard.vectors, heard.k, heard.weights, seed=seed)
    estimated = cluster(heard.vectors, None, heard.weights, seed=seed, rule=rule, notes=heard.notes)
    return {
        "purity": purity(given[found], instrument),
        "track_f1": track_scores(heard.truth, heard.notes.replace(track=given))["track_f1"],
        "track_f1_estimated": track_scores(heard.truth, heard.notes.replace(track=estimated))["track_f1"],
        "note_f1": note_scores(heard.truth, heard.notes)["note_f1"],
        "k_estimated": len(np.unique(estimated)),
    }


def summary(heard: list[Heard], rows: list[dict[str, float]]) -> dict[str, dict]:
    """Mean of each score with its 95 % bootstrap interval, and how often K was right, for each K and for all."""
    groups = {"all": range(len(rows))} | {
        f"K = {k}": [i for i, item in enumerate(heard) if item.k == k] for k in sorted({item.k for item in heard})
    }
    result = {}
    for name, chosen in groups.items():
        error = np.array([rows[i]["k_estimated"] - heard[i].k for i in chosen])
        scores = {
            key: [round(value, 4) for value in bootstrap_interval([rows[i][key] for i in chosen])]
            for key in ("purity", "track_f1", "track_f1_estimated", "note_f1")
        }
        counts = {"k_exact": float(np.mean(error == 0)), "k_within_1": float(np.mean(np.abs(error) <= 1))}
        result[name] = {"mixtures": len(chosen), **scores, **{key: round(value, 4) for key, value in counts.items()}}
    return result
