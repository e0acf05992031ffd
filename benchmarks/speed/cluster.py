"""Notes to tracks: time, memory and accuracy beside the dense spectral form, and how well instruments are counted.

`python -m benchmarks.speed.cluster` writes results/cluster.json and results/cluster.png. Ratios are of CPU time. The
dense form is scikit-learn's SpectralClustering with a precomputed affinity and cluster_qr, which the paper uses. All
sets are synthetic, see `benchmarks.embeddings`; rules are fitted on some seeds and judged on others. What notes that
sound together have in common is not in them, so here instruments are counted without it.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.embeddings import Embedded, crowd, mixture
from benchmarks.harness import alone, alternate, bars, goal, pin_threads, ratio, save, summary
from lightweight_amt.clustering import cluster, landmark, spectral, spherical_kmeans
from lightweight_amt.count import StopRule, estimate_k, fit_stop_rule

N_AGAINST, N_SETS = 8_000, 20
ALONE = (20_000, 50_000)
KS, MOST = (1, 2, 3, 4), 8
N_TRAIN, N_TEST = 150, 150  # mixtures of each K

Counter = Callable[[Embedded], int]


def main() -> None:
    pin_threads()
    if sys.argv[1:2] == ["--alone"]:  # first of all: this process is measured
        cluster(np.load(sys.argv[2]), int(sys.argv[3]) or None)
        return
    large = [crowd(seed, 2 + seed % 4, N_AGAINST) for seed in range(N_SETS)]
    train = [mixture(seed, k) for k in KS for seed in range(N_TRAIN)]
    test = [mixture(1000 + seed, k) for k in KS for seed in range(N_TEST)]
    rule = fit_stop_rule([(item.vectors, None, count(item)) for item in train])
    results = {
        "time_8000": against_dense(large[2]),
        "ari_8000": agreement(large),
        "alone": {n: by_itself(n) for n in ALONE},
        "purity": separation(test),
        "instruments": counting(train, test, rule),
        "rule": asdict(rule),
    }
    save("cluster", results, promises(results), packages=["numpy", "scikit-learn"])
    bars("cluster", panels(results))


def promises(results: dict) -> list[dict]:
    alone_, ours = results["alone"], results["instruments"]["stop rule"]
    return [
        goal("dense / landmark, 8,000 notes", results["time_8000"]["landmark"]["median"], at_least=50),
        goal("ARI of landmark minus dense, mean of 20 sets", results["ari_8000"]["landmark"]["gain"], at_least=-0.01),
        goal(
            f"of {N_SETS} sets, those whose landmark ARI is at most 0.01 below dense",
            results["ari_8000"]["landmark"]["as_good"],
            N_SETS,
        ),
        goal("CPU seconds for 50,000 notes, K estimated", alone_[50_000]["estimated"]["cpu"], at_most=2),
        goal("peak MB for 50,000 notes, K estimated", alone_[50_000]["estimated"]["peak_mb"], at_most=200),
        goal("CPU seconds for 20,000 notes, K estimated", alone_[20_000]["estimated"]["cpu"], at_most=5),
        goal("peak MB for 20,000 notes, K estimated", alone_[20_000]["estimated"]["peak_mb"], at_most=300),
        goal("K exact, share of mixtures", ours["exact"], at_least=0.6),
        goal("K within 1, share of mixtures", ours["within_1"], at_least=0.9),
        goal("K = 1 recognised, share of solos", ours["exact_of_k"][1], at_least=0.8),
    ]


def panels(results: dict) -> dict[str, dict[str, float]]:
    seconds = results["time_8000"]["times"]
    return {
        "CPU seconds, 8,000 notes": {name: row["cpu"]["median"] for name, row in seconds.items()},
        "ARI, 20 sets of 8,000 notes": {name: row["mean"] for name, row in results["ari_8000"].items()},
        "K exact": {name: row["exact"] for name, row in results["instruments"].items()},
    }


def count(item: Embedded) -> int:
    return int(item.truth.max()) + 1


# --- against the dense form ---


def dense(vectors: np.ndarray, k: int, temperature: float = 0.15) -> np.ndarray:
    from sklearn.cluster import SpectralClustering

    affinity = np.exp((vectors @ vectors.T - 1) / temperature)
    return SpectralClustering(k, affinity="precomputed", assign_labels="cluster_qr", random_state=0).fit_predict(
        affinity
    )


def against_dense(item: Embedded) -> dict:
    names = {"landmark": landmark, "k-means": spherical_kmeans, "dense": dense}
    calls = {name: partial(form, item.vectors, count(item)) for name, form in names.items()}
    usages = alternate(calls, rounds=5)
    faster = {name: ratio(usages, "dense", name) for name in ("landmark", "k-means")}
    return {"notes": len(item.truth), "times": summary(usages), **faster}


def agreement(sets: list[Embedded]) -> dict[str, dict]:
    """ARI with the truth, set by set, and beside that of the dense form.

    `gain` is the mean difference, `worst` the least, `as_good` the number of sets that lose at most 0.01. On hard
    sets either form may find the better of two cuts that are nearly as good.
    """
    from sklearn.metrics import adjusted_rand_score

    forms = {"landmark": landmark, "k-means": spherical_kmeans, "dense": dense}
    rows = {
        name: np.array([adjusted_rand_score(item.truth, form(item.vectors, count(item))) for item in sets])
        for name, form in forms.items()
    }
    return {
        name: {
            "mean": round(float(row.mean()), 4),
            "gain": round(float((row - rows["dense"]).mean()), 4),
            "worst": round(float((row - rows["dense"]).min()), 4),
            "as_good": int(np.sum(row - rows["dense"] >= -0.01)),
            "sets": row.round(3).tolist(),
        }
        for name, row in rows.items()
    }


def by_itself(n: int) -> dict[str, dict[str, float]]:
    """CPU seconds and peak memory of a fresh process that loads n notes and clusters them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, crowd(0, 4, n).vectors)
        command = [sys.executable, "-m", "benchmarks.speed.cluster", "--alone", str(path)]
        usages = {name: alone([*command, k]) for name, k in {"given": "4", "estimated": "0"}.items()}
    return {name: {"cpu": round(usage.cpu, 3), "peak_mb": round(usage.peak_mb, 1)} for name, usage in usages.items()}


def separation(sets: list[Embedded]) -> dict[str, dict[int, float]]:
    """Mean purity by number of instruments, K given."""
    from common.evaluation.multitrack import purity

    forms: dict[str, Callable[[Embedded], np.ndarray]] = {
        "dense exp(cos), the paper's": lambda item: dense(item.vectors, count(item), temperature=1.0),
        "dense exp(cos / 0.15)": lambda item: dense(item.vectors, count(item)),
        "ours, dense": lambda item: spectral(item.vectors, count(item)),
        "landmark": lambda item: landmark(item.vectors, count(item)),
        "k-means": lambda item: spherical_kmeans(item.vectors, count(item)),
        "landmark, weighted": lambda item: landmark(item.vectors, count(item), weights=item.weights),
    }
    return {
        name: {
            k: round(float(np.mean([purity(form(item), item.truth) for item in sets if count(item) == k])), 4)
            for k in KS[1:]
        }
        for name, form in forms.items()
    }


# --- how many instruments ---


def counting(train: list[Embedded], test: list[Embedded], rule: StopRule) -> dict[str, dict]:
    """Our rule beside others; what these have to choose is chosen for most exact counts on the same mixtures."""
    quarter = train[::4]  # enough for one number
    counters: dict[str, Counter] = {
        "stop rule": lambda item: estimate_k(item.vectors, most=MOST, rule=rule),
        "silhouette, never 1": silhouette(-1.0),
        "silhouette, 1 below a threshold": fitted(quarter, [silhouette(x) for x in np.arange(0.1, 0.6, 0.05)]),
        "eigengap of exp(cos)": eigengap(1.0),
        "eigengap of exp(cos / 0.15)": eigengap(0.15),
        "HDBSCAN": fitted(quarter, [hdbscan(share) for share in (0.02, 0.05, 0.1, 0.2)]),
    }
    return {name: judged(counter, test) for name, counter in counters.items()}


def judged(counter: Counter, sets: list[Embedded]) -> dict:
    truth = np.array([count(item) for item in sets])
    error = np.array([counter(item) for item in sets]) - truth
    return {
        "exact": round(float(np.mean(error == 0)), 4),
        "within_1": round(float(np.mean(abs(error) <= 1)), 4),
        "exact_of_k": {k: round(float(np.mean(error[truth == k] == 0)), 4) for k in KS},
    }


def fitted(sets: list[Embedded], candidates: list[Counter]) -> Counter:
    return max(candidates, key=lambda counter: judged(counter, sets)["exact"])


def silhouette(threshold: float) -> Counter:
    """The k of k-means with the largest silhouette, or 1 if that is below the threshold."""
    from sklearn.metrics import silhouette_score

    def counter(item: Embedded) -> int:
        labels = {k: spherical_kmeans(item.vectors, k, restarts=4) for k in range(2, MOST + 1)}
        scores = {k: silhouette_score(item.vectors, row) for k, row in labels.items()}
        best = max(scores, key=lambda k: scores[k])
        return best if scores[best] >= threshold else 1

    return counter


def eigengap(temperature: float) -> Counter:
    """Where the eigenvalues of the normalised affinity fall most."""

    def counter(item: Embedded) -> int:
        affinity = np.exp((item.vectors @ item.vectors.T - 1) / temperature)
        scale = 1 / np.sqrt(affinity.sum(axis=1))
        values = np.linalg.eigvalsh(affinity * np.outer(scale, scale))[::-1][: MOST + 1]
        return int(np.argmax(-np.diff(values))) + 1

    return counter


def hdbscan(share: float) -> Counter:
    """The clusters that HDBSCAN finds, the smallest of which may have a given share of the notes."""
    from sklearn.cluster import HDBSCAN

    def counter(item: Embedded) -> int:
        size = max(round(share * len(item.vectors)), 3)
        options = {"min_cluster_size": size, "min_samples": 3, "allow_single_cluster": True, "copy": True}
        model = HDBSCAN(**options)
        return max(int(model.fit_predict(item.vectors).max()) + 1, 1)

    return counter


if __name__ == "__main__":
    main()
