"""Note and frame scores against mir_eval: equal on random cases, then time and memory by the number of notes.

`python -m benchmarks.speed.metrics` writes results/metrics.json and results/metrics.png. Ratios are of CPU time.
"""

import sys
import warnings
from functools import partial

import mir_eval
import numpy as np

from benchmarks.harness import alone, alternate, bars, goal, pin_threads, ratio, save, summary
from common.evaluation.frames import frame_scores
from common.evaluation.notes import precision_recall_f1_overlap
from common.frames import FrameGrid

AGAINST, BY_OURSELVES = (1_000, 5_000, 10_000), (50_000, 200_000)
SCORERS = {
    "ours": precision_recall_f1_overlap,
    "mir_eval": mir_eval.transcription.precision_recall_f1_overlap,
    "neither": lambda *notes, **criteria: None,
}


def main() -> None:
    pin_threads()
    warnings.simplefilter("ignore")  # mir_eval's, about empty sides
    if sys.argv[1:2] == ["--alone"]:
        SCORERS[sys.argv[2]](*performance(int(sys.argv[3])), offset_ratio=None)
        return
    notes = {n: {kind: against_mir_eval(n, kind) for kind in ("onsets", "offsets")} for n in AGAINST}
    by_ourselves = summary(
        alternate({str(n): partial(SCORERS["ours"], *performance(n), offset_ratio=None) for n in BY_OURSELVES})
    )
    results = {
        "equal_random_cases": assert_equal_on_random_cases(1000),
        "chain_of_3000_f1": {name: chain(SCORERS[name]) for name in ("ours", "mir_eval")},
        "notes": notes,
        "notes_by_ourselves": by_ourselves,
        "cpu_seconds_onsets": {
            "ours": once(notes, "ours") | {n: by_ourselves[str(n)]["cpu"]["median"] for n in BY_OURSELVES},
            "mir_eval": once(notes, "mir_eval"),
        },
        "peak_mb": {
            "ours": peak_mb("ours", AGAINST[-1:] + BY_OURSELVES),
            "mir_eval": peak_mb("mir_eval", AGAINST),
            "neither": peak_mb("neither", AGAINST[-1:] + BY_OURSELVES),
        },
        "frames_10_min": frames_against_mir_eval(seconds=600),
    }
    save("metrics", results, promises(results), packages=["numpy", "mir_eval"])
    bars("metrics", panels(results))


def promises(results: dict) -> list[dict]:
    seconds, frames = results["cpu_seconds_onsets"]["ours"], results["frames_10_min"]
    sizes, peaks = AGAINST[-1:] + BY_OURSELVES, results["peak_mb"]
    exponent = np.polyfit(np.log(sizes), np.log([seconds[n] for n in sizes]), 1)[0]
    ratios = {n: results["notes"][n]["onsets"]["ratio"]["median"] for n in AGAINST}
    return [
        goal("mir_eval / ours, onsets of 1,000 notes", ratios[1_000], at_least=50),
        goal("mir_eval / ours, onsets of 5,000 notes", ratios[5_000], at_least=150),
        goal("mir_eval / ours, onsets of 10,000 notes", ratios[10_000], at_least=500),
        goal("random cases equal to the bit", results["equal_random_cases"], at_least=1000),
        goal("F1 of a chain of 3,000 repeated notes", results["chain_of_3000_f1"]["ours"], at_least=1),
        goal("CPU seconds for 50,000 notes", seconds[50_000], at_most=0.1),
        goal("exponent of CPU time over notes, 10,000 to 200,000", float(exponent), at_most=1.15),
        goal("MB that scoring 200,000 notes adds", peaks["ours"][200_000] - peaks["neither"][200_000], at_most=50),
        goal("mir_eval / ours, frames of 10 min", frames["ratio"]["median"], at_least=100),
        goal("largest difference of a frame score", frames["difference"], at_most=0),
    ]


def panels(results: dict) -> dict[str, dict[str, float]]:
    names, n = ("ours", "mir_eval"), AGAINST[-1]
    frames = results["frames_10_min"]["times"]
    return {
        f"CPU seconds, {n:,} notes": {name: results["cpu_seconds_onsets"][name][n] for name in names},
        f"peak MB, {n:,} notes": {name: peaks[n] for name, peaks in results["peak_mb"].items()},
        "CPU seconds, frames of 10 min": {name: frames[name]["cpu"]["median"] for name in names},
    }


def against_mir_eval(n: int, kind: str) -> dict:
    notes, ratio_of_offset = performance(n), {"onsets": None, "offsets": 0.2}[kind]
    score = {name: partial(SCORERS[name], *notes, offset_ratio=ratio_of_offset) for name in ("ours", "mir_eval")}
    assert score["ours"]() == score["mir_eval"]()
    # A round scores 10,000 notes, in several calls where the piece is shorter.
    calls = AGAINST[-1] // n
    usages = alternate({name: lambda call=call: [call() for _ in range(calls)] for name, call in score.items()})
    return {"calls": calls, "times": summary(usages), "ratio": ratio(usages, "mir_eval", "ours")}


def once(notes: dict, name: str) -> dict[int, float]:
    """CPU seconds of one call, onsets only, by the number of notes."""
    rows = {n: notes[n]["onsets"] for n in AGAINST}
    return {n: row["times"][name]["cpu"]["median"] / row["calls"] for n, row in rows.items()}


def frames_against_mir_eval(seconds: float) -> dict:
    """Rolls of an 88-key piano at the frame rate of our network."""
    n_frames = FrameGrid(22_050, 256).n_frames(round(22_050 * seconds))
    rng = np.random.default_rng(0)
    reference = rng.random((88, n_frames)) < 0.04
    estimate = reference ^ (rng.random(reference.shape) < 0.01)
    lists = (*as_mir_eval(reference), *as_mir_eval(estimate))
    ours, theirs = frame_scores(reference, estimate), mir_eval.multipitch.metrics(*lists)[:7]
    mine = [value for name, value in ours.items() if name != "f1"]
    usages = alternate(
        {"ours": partial(frame_scores, reference, estimate), "mir_eval": partial(mir_eval.multipitch.metrics, *lists)},
        rounds=5,
    )
    return {
        "difference": float(np.abs(np.subtract(mine, theirs)).max()),
        "times": summary(usages),
        "ratio": ratio(usages, "mir_eval", "ours"),
    }


def assert_equal_on_random_cases(n: int) -> int:
    rng = np.random.default_rng(0)
    for _ in range(n):
        notes, velocities, criteria = random_case(rng)
        theirs = mir_eval.transcription.precision_recall_f1_overlap(*notes, **criteria)
        assert precision_recall_f1_overlap(*notes, **criteria) == theirs
        (ref, hz, est, est_hz), (ref_velocity, est_velocity) = notes, velocities
        theirs = mir_eval.transcription_velocity.precision_recall_f1_overlap(
            ref, hz, ref_velocity, est, est_hz, est_velocity, **criteria
        )
        assert precision_recall_f1_overlap(*notes, **criteria, velocities=velocities) == theirs
    return n


def chain(score) -> float | str:
    """F1 where each estimate fits two of 3,000 repeated notes, listed backwards: the longest path there can be."""
    onset, hz = 0.06 * np.arange(3000), np.full(3000, 440.0)
    intervals = np.stack([onset, onset + 0.05], axis=1)
    try:
        return score(intervals[::-1], hz, intervals + 0.03, hz, offset_ratio=None)[2]
    except RecursionError:
        return "RecursionError"


def peak_mb(name: str, sizes: tuple[int, ...]) -> dict[int, float]:
    """Peaks of fresh processes that load both libraries, make n notes and score them by one, or by neither."""
    command = [sys.executable, "-m", "benchmarks.speed.metrics", "--alone", name]
    return {n: round(alone([*command, str(n)]).peak_mb, 1) for n in sizes}


def performance(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """n notes, ten a second, and a fair transcription: 20 ms of jitter, 10 % missed, 10 % added, 5 % of wrong pitch.

    Both in order of their onsets, as a table of notes is.
    """
    rng = np.random.default_rng(0)

    def notes(k):
        return np.sort(rng.uniform(0, n / 10, k)), rng.uniform(0.1, 1, k), rng.integers(40, 90, k)

    onset, duration, pitch = notes(n)
    kept = rng.random(n) >= 0.1
    heard, added = kept.sum(), notes(n // 10)
    columns = (
        np.abs(onset[kept] + rng.normal(0, 0.02, heard)),
        duration[kept] * rng.uniform(0.8, 1.2, heard),
        pitch[kept] + (rng.random(heard) < 0.05),
    )
    est = np.array([np.concatenate(pair) for pair in zip(columns, added, strict=True)])
    est_onset, est_duration, est_pitch = est[:, np.argsort(est[0])]
    return (
        np.stack([onset, onset + duration], axis=1),
        440 * 2 ** ((pitch - 69) / 12),
        np.stack([est_onset, est_onset + est_duration], axis=1),
        440 * 2 ** ((est_pitch - 69) / 12),
    )


def random_case(rng: np.random.Generator) -> tuple[tuple, tuple, dict]:
    """A small pair of unsorted transcriptions and criteria, made to be hard: crowded, repeated, tied, often on a grid.

    Returns:
        (reference intervals and hz, estimate intervals and hz), both velocities, keyword arguments of the criteria.
    """
    span, n_pitches, detuning = rng.choice([0.5, 2, 10]), rng.choice([1, 3, 12]), rng.choice([0, 20])
    step = rng.choice([1e-6, 0.01, 0.025])  # 0.025 makes distances of just 50 ms common

    def side():
        n = rng.choice([0, 1, 20, 60], p=[0.05, 0.05, 0.5, 0.4])
        onset = step * np.around(rng.uniform(0, span, n) / step)
        duration = step * np.maximum(np.around(rng.uniform(0, 0.5, n) / step), 1)
        cents = 100 * rng.integers(0, n_pitches, n) + detuning * rng.normal(size=n)
        return np.stack([onset, onset + duration], axis=1), 220 * 2 ** (cents / 1200), rng.integers(1, 128, n)

    (ref, ref_hz, ref_velocity), (est, est_hz, est_velocity) = side(), side()
    criteria = {
        "onset_tolerance": rng.choice([0.025, 0.05, 0.1]),
        "pitch_tolerance": rng.choice([25.0, 50.0, 100.0]),
        "offset_ratio": (None, 0.2, 0.5)[rng.integers(3)],
        "offset_min_tolerance": rng.choice([0.05, 0.1]),
        "strict": bool(rng.integers(2)),
    }
    return (ref, ref_hz, est, est_hz), (ref_velocity, est_velocity), criteria


def as_mir_eval(roll: np.ndarray, low: int = 21) -> tuple[np.ndarray, list[np.ndarray]]:
    """Times and a list of frequencies per frame, as mir_eval takes a (pitch, frame) roll."""
    hz = 440 * 2 ** ((low + np.arange(len(roll)) - 69) / 12)
    return 0.01 * np.arange(roll.shape[1]), [hz[frame] for frame in roll.T]


if __name__ == "__main__":
    main()
