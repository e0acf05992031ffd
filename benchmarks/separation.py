"""How well the shipped timbre branch tells instruments apart: 1 to 4 of them, their number given and estimated.

`python -m benchmarks.separation` writes results/separation.json and .png: 24 mixtures of 20 s for each number from the
test split of the embedded corpus, with fixed seeds. Beside it stand what the study measured of the authors' published
network on 24 mixtures of its own (other music, true notes) and what simple rules for the number of instruments find on
ours.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.harness import RESULTS, goal, save
from common import corpus as corpora
from common import plots
from common.storage import replacing
from lightweight_amt import separation
from lightweight_amt.clustering import spherical_kmeans
from lightweight_amt.count import estimate_k
from lightweight_amt.inference import load

REFERENCE_PURITY = {2: 0.887, 3: 0.729, 4: 0.642}  # of the authors' septimbre_44100.onnx, spectral clustering, K given
MOST = 4  # the simple rules are told that there are no more


def silhouette(vectors: np.ndarray) -> int:
    """The number of clusters from 2 on whose mean silhouette is largest."""
    from sklearn.metrics import silhouette_score

    scores = {}
    for k in range(2, min(MOST, len(vectors) - 1) + 1):
        labels = spherical_kmeans(vectors, k)
        scores[k] = silhouette_score(vectors, labels) if len(np.unique(labels)) > 1 else -1.0
    return max(scores, key=scores.__getitem__, default=1)


def eigengap(vectors: np.ndarray, temperature: float = 0.15) -> int:
    """Where the eigenvalues of the normalised affinity exp(cos / temperature) fall most."""
    affinity = np.exp((vectors @ vectors.T - 1.0) / temperature)
    scale = 1.0 / np.sqrt(affinity.sum(axis=1))
    values = np.linalg.eigvalsh(affinity * scale[:, None] * scale)[::-1][: MOST + 1]
    return int(np.argmax(values[:-1] - values[1:])) + 1


def hdbscan(vectors: np.ndarray) -> int:
    """How many clusters scikit-learn's HDBSCAN finds, at least one."""
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=5, copy=True)  # pyright: ignore[reportArgumentType] -- its stub is wrong
    labels = model.fit_predict(vectors)
    return max(len(set(labels.tolist()) - {-1}), 1)


def counting(heard: list[separation.Heard], rules: dict[str, Callable[[separation.Heard], int]]) -> dict[str, dict]:
    """How often each rule is right, and right within one, for all mixtures and for each number of instruments."""
    truth = np.array([item.k for item in heard])
    table = {}
    for name, rule in rules.items():
        errors = np.array([rule(item) for item in heard]) - truth
        exact = {f"K = {k}": round(float(np.mean(errors[truth == k] == 0)), 4) for k in np.unique(truth)}
        within = round(float(np.mean(np.abs(errors) <= 1)), 4)
        table[name] = {"exact": round(float(np.mean(errors == 0)), 4), "within_1": within, **exact}
    return table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.separation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="base", help="shipped weights or an exported file (default: base)")
    parser.add_argument("--mixtures", type=int, default=24, help="of each number of instruments (default: 24)")
    parser.add_argument("--corpus", default="small", choices=corpora.SIZES)
    parser.add_argument("--test-soundfont", help="another SoundFont for the test split")
    options = parser.parse_args(argv)
    try:
        model = load(options.model, timbre=True)
        corpus = corpora.build(options.corpus, test_soundfont=options.test_soundfont, jobs=None)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    heard = separation.hear_all(corpus.pieces("test"), model, options.mixtures)
    rows = [separation.score(item, model.rule) for item in heard]
    summary = separation.summary(heard, rows)
    rules = {
        "ours": lambda item: estimate_k(item.vectors, item.notes, rule=model.rule),
        "silhouette": lambda item: silhouette(item.vectors),
        "eigengap": lambda item: eigengap(item.vectors),
        "HDBSCAN": lambda item: hdbscan(item.vectors),
    }
    goals = [
        goal(f"purity, {k} instruments", summary[f"K = {k}"]["purity"][0], at_least=round(reference + 0.03, 3))
        for k, reference in REFERENCE_PURITY.items()
    ]
    goals += [
        goal("number of instruments exact", summary["all"]["k_exact"], at_least=0.6),
        goal("number of instruments within 1", summary["all"]["k_within_1"], at_least=0.9),
        goal("one instrument recognised", summary["K = 1"]["k_exact"], at_least=0.8),
    ]
    results = {
        "scores": summary,
        "counting": counting([item for item in heard if len(item.vectors) > MOST], rules),
        "purity of the authors' network in the study": REFERENCE_PURITY,
        "data": {"corpus": options.corpus, "seconds": separation.SECONDS, "test_soundfont": options.test_soundfont},
    }
    save("separation", results, goals, ["onnxruntime", "numpy", "scikit-learn"])
    draw(heard)
    return 0


def draw(heard: list[separation.Heard]) -> None:
    """Directions of the notes of the first mixture of each number from 2 on, coloured by who plays them."""
    panels = {}
    for k in REFERENCE_PURITY:
        item = next(item for item in heard if item.k == k)
        found, instrument = item.matched()
        panels[f"{k} instruments, {len(found)} notes"] = (item.vectors[found], instrument)
    names = [f"instrument {i + 1}" for i in range(max(REFERENCE_PURITY))]
    with replacing(RESULTS / "separation.png") as temporary:
        plots.directions(panels, names).savefig(temporary, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
