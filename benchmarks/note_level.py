"""Clustering by notes against clustering by frames, and the picture of both: the paper's Figure 5, on mixtures of ours.

`python -m benchmarks.note_level` writes results/note-level.json and .png: mixtures of 20 s from the test split of the
embedded corpus, their number of instruments given, the same algorithm for both. The picture shows the mixture of three
instruments with the most notes, in the colours of those that truly play.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from benchmarks.harness import RESULTS, goal, save
from common import corpus as corpora
from common import plots
from common.evaluation.bootstrap import bootstrap_interval
from common.evaluation.notes import match_notes
from common.frames import FrameGrid
from common.instruments import PROGRAM_NAMES
from common.stems import Multitrack
from common.storage import replacing
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.evaluate import Clip, decode_clip, listen
from lightweight_amt.inference import Model, load
from lightweight_amt.separation import mixtures
from lightweight_amt.timbre_data import note_map
from lightweight_amt.timbre_scores import purities, track_f1
from lightweight_amt.tracks import NoteVectors

NUMBERS = (2, 3, 4)  # of instruments
PICTURED = 3
MOST_POINTS = 2000  # of a panel


@dataclass(frozen=True)
class Embedded:
    """Directions of the rightly found notes, (note, dim), and of the cells that sound, (cell, dim), and who plays."""

    notes: np.ndarray
    instrument: np.ndarray
    cells: np.ndarray
    owner: np.ndarray


def hear(mixture: Multitrack, model: Model) -> Clip:
    """Probabilities and embeddings of a mixture, and the notes that are in it."""
    return listen(mixture.mixture(), mixture.notes, model, names=["embedding"])


def embed(clip: Clip, settings: DecodeSettings, grid: FrameGrid) -> Embedded:
    """What is known of a clip's notes and of its cells. A cell belongs to the one note that truly sounds there."""
    found, vectors = decode_clip(clip, settings, grid), NoteVectors()
    frame, embedding = clip.activations["frame"], clip.activations["embedding"]
    vectors.push(frame, embedding)
    truth = clip.notes.tuned()
    pairs = match_notes(truth.intervals, truth.hz, found.intervals, found.hz, offset_ratio=None)
    note = note_map(truth, grid, frame.shape[1])
    sounds = (frame >= settings.frame_threshold) & (note >= 0)
    track = truth.track.astype(np.int64)
    return Embedded(
        vectors.vectors(found, grid)[0][pairs[:, 1]], track[pairs[:, 0]], embedding[:, sounds].T, track[note[sounds]]
    )


def score(clip: Clip, settings: DecodeSettings, grid: FrameGrid, k: int) -> dict[str, float]:
    """Both purities and both track F of a mixture of k instruments."""
    known = embed(clip, settings, grid)
    return purities(known.notes, known.instrument, known.cells, known.owner) | track_f1(clip, settings, grid, k)


def summary(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean of each score with its 95 % bootstrap interval."""
    return {name: [round(value, 4) for value in bootstrap_interval([row[name] for row in rows])] for name in rows[0]}


def draw(clip: Clip, names: Sequence[str], settings: DecodeSettings, grid: FrameGrid) -> None:
    """Cells and notes of a mixture side by side, coloured by the instruments `names` that play them."""
    known = embed(clip, settings, grid)
    shares = purities(known.notes, known.instrument, known.cells, known.owner)
    drawn = np.random.default_rng(0).permutation(len(known.cells))[:MOST_POINTS]
    panels = {
        f"{len(known.cells)} frames of pitches, purity {shares['frame_purity']:.2f}": (
            neighbours(known.cells[drawn]),
            known.owner[drawn],
        ),
        f"{len(known.notes)} notes, purity {shares['purity']:.2f}": (neighbours(known.notes), known.instrument),
    }
    with replacing(RESULTS / "note-level.png") as temporary:
        plots.directions(panels, names).savefig(temporary, dpi=120)


def neighbours(vectors: np.ndarray) -> np.ndarray:
    """t-SNE by cosine, (point, 2): who is near whom, as the paper draws it."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=0).fit_transform(vectors)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.note_level", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="base", help="shipped weights or an exported file (default: base)")
    parser.add_argument("--mixtures", type=int, default=24, help="of each number of instruments (default: 24)")
    parser.add_argument("--corpus", default="small", choices=corpora.SIZES)
    options = parser.parse_args(argv)
    try:
        model = load(options.model, timbre=True)
        pieces = corpora.build(options.corpus, jobs=None).pieces("test")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rows: dict[int, list[dict[str, float]]] = {}
    for k in NUMBERS:
        chosen = list(mixtures(pieces, k, options.mixtures))
        heard = (hear(mixture, model) for mixture in tqdm(chosen, desc=f"{k} instruments", leave=False))
        rows[k] = [score(clip, model.settings, model.grid, k) for clip in heard]
        if k == PICTURED:
            full = max(chosen, key=lambda mixture: len(mixture.notes))
            draw(hear(full, model), [PROGRAM_NAMES[stem.program] for stem in full.stems], model.settings, model.grid)
    scores = {f"K = {k}": summary(group) for k, group in rows.items()}
    scores["all"] = summary([row for group in rows.values() for row in group])
    gain = {name: round(row["track_f1"][0] - row["frame_track_f1"][0], 4) for name, row in scores.items()}
    goals = [goal(f"track F by notes - by frames, {name}", value, at_least=0) for name, value in gain.items()]
    results = {"scores": scores, "data": {"corpus": options.corpus, "mixtures of each number": options.mixtures}}
    save("note-level", results, goals, ["onnxruntime", "numpy", "scikit-learn"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
