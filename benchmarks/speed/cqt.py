"""Constant-Q transform of a minute (22.05 kHz, hop 256, 8 octaves of 36 bins): time, memory and error, ours and peers'.

python -m benchmarks.speed.cqt [--rounds 7]
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.harness import alone, alternate, bars, goal, installed, pin_threads, ratio, save, summary

RATE, HOP, N_BINS, PER_OCTAVE, FMIN = 22_050, 256, 288, 36, 32.70319566257483
SECONDS, BLOCK_SECONDS, LONG = 60, 20, 1200
OURS, BLOCKS = "tutti", f"tutti, blocks of {BLOCK_SECONDS} s"
LIBROSA, RECURSIVE, DENSE = "librosa.cqt", "nnAudio CQT2010v2", "nnAudio CQT1992v2"
PEERS = {LIBROSA: "librosa", RECURSIVE: "nnAudio", DENSE: "nnAudio"}

# Windowed complex exponentials at the full rate, their first sample relative to the frame's centre, and a factor.
Wavelets = list[tuple[np.ndarray, int, float]]


def music(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Six decaying notes of twelve partials a second over faint noise, (time,) float32 with peak 0.5."""
    rng = np.random.default_rng(seed)
    audio = 1e-3 * rng.standard_normal(round(seconds * rate))
    time = np.arange(2 * rate) / rate
    for start in rng.integers(0, len(audio), max(1, round(6 * seconds))):
        hz = 440 * 2 ** ((rng.integers(28, 96) - 69) / 12) * np.arange(1, 13)
        amplitude = rng.uniform(0.1, 1) / np.arange(1, 13) * (hz < 0.45 * rate)
        note = np.exp(-time * rng.uniform(1, 6)) * (amplitude @ np.sin(2 * np.pi * np.outer(hz, time)))
        stop = min(start + len(note), len(audio))
        audio[start:stop] += note[: stop - start]
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def direct(audio: np.ndarray, wavelets: Wavelets, frames: np.ndarray) -> np.ndarray:
    """Magnitudes (bin, frame) by definition: every wavelet at the full rate over the signal extended by zeros."""
    margin = max(len(kernel) for kernel, _, _ in wavelets)
    padded = np.pad(audio.astype(np.float64), margin)
    windows = np.lib.stride_tricks.sliding_window_view
    return np.stack(
        [
            factor * np.abs(windows(padded, len(kernel))[frames * HOP + margin + start] @ kernel.conj())
            for kernel, start, factor in wavelets
        ]
    )


def our_wavelets(fmin: float = FMIN, window: tuple[float, ...] = (0.5, 0.5)) -> Wavelets:
    """The definition in the docstring of `CQT`, scaled as librosa scales."""
    ratio = 2 ** (2 / PER_OCTAVE)
    wavelets = []
    for hz in fmin * 2 ** (np.arange(N_BINS) / PER_OCTAVE):
        length = (ratio + 1) / (ratio - 1) * RATE / hz
        n = np.arange(-int(length / 2), int(length / 2) + 1)
        w = np.sum([a * np.cos(2 * np.pi * i * n / length) for i, a in enumerate(window)], axis=0)
        wavelets.append((w / w.sum() * np.exp(2j * np.pi * hz / RATE * n), n[0], np.sqrt(length)))
    return wavelets


def librosa_wavelets() -> Wavelets:
    """librosa's own filters at the full rate: what its recursion approximates."""
    import librosa

    hz = FMIN * 2 ** (np.arange(N_BINS) / PER_OCTAVE)
    bank, lengths = librosa.filters.wavelet(freqs=hz, sr=RATE, dtype=np.complex128)
    return _trimmed(bank, lengths)


def nnaudio_wavelets() -> Wavelets:
    """nnAudio's own filters at the full rate (its Q is 1 % below librosa's)."""
    from nnAudio.utils import create_cqt_kernels  # pyright: ignore[reportMissingImports]

    bank, _, lengths, _ = create_cqt_kernels(1 / (2 ** (1 / PER_OCTAVE) - 1), RATE, FMIN, N_BINS, PER_OCTAVE)
    return _trimmed(bank.astype(np.complex128), lengths.numpy())


def _trimmed(bank: np.ndarray, lengths: np.ndarray) -> Wavelets:
    """Rows of a bank that is centred on the middle of its width, without the zeros around them."""
    spans = [np.flatnonzero(row)[[0, -1]] for row in bank]
    middle = bank.shape[1] // 2
    return [
        (row[first : last + 1], first - middle, np.sqrt(length))
        for row, (first, last), length in zip(bank, spans, lengths, strict=True)
    ]


def transforms(names: list[str]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The contenders, ready for use: audio (time,) to magnitudes (bin, frame)."""
    makers = {
        OURS: tutti,
        BLOCKS: tutti_in_blocks,
        LIBROSA: librosa_cqt,
        RECURSIVE: lambda: nnaudio("CQT2010v2"),
        DENSE: lambda: nnaudio("CQT1992v2"),
    }
    return {name: makers[name]() for name in names}


def tutti():
    import torch

    from common.frontends import CQT

    cqt = CQT(fmin=FMIN, scale="librosa")
    return torch.inference_mode()(lambda audio: cqt(torch.from_numpy(audio)[None])[0].sqrt_().numpy())


def tutti_in_blocks():
    """As a stream is transformed: blocks with the context that they need, cut off again."""
    from common.frontends import CQT

    whole = tutti()
    context = -(-CQT(fmin=FMIN).context // HOP)
    length = BLOCK_SECONDS * RATE // HOP

    def transform(audio: np.ndarray) -> np.ndarray:
        pictures = []
        for start in range(0, -(-len(audio) // HOP), length):
            before = min(start, context)
            picture = whole(audio[(start - before) * HOP : (start + length + context) * HOP])
            pictures.append(picture[:, before : before + length])
        return np.concatenate(pictures, axis=1)

    return transform


def librosa_cqt():
    import librosa

    return lambda audio: np.abs(
        librosa.cqt(audio, sr=RATE, hop_length=HOP, fmin=FMIN, n_bins=N_BINS, bins_per_octave=PER_OCTAVE)
    )


def nnaudio(name: str):
    import torch
    from nnAudio import features  # pyright: ignore[reportMissingImports]

    cqt = getattr(features, name)(
        RATE, HOP, FMIN, n_bins=N_BINS, bins_per_octave=PER_OCTAVE, pad_mode="constant", verbose=False
    )
    return torch.inference_mode()(lambda audio: cqt(torch.from_numpy(audio)[None])[0].numpy())


def errors(contenders: dict[str, Callable[[np.ndarray], np.ndarray]]) -> dict[str, float]:
    """Relative Frobenius error of each against its own definition, on 20 s, a second from the edges."""
    audio = music(20)
    frames = np.arange(RATE // HOP, len(audio) // HOP - RATE // HOP, 5)
    theirs = nnaudio_wavelets if RECURSIVE in contenders else None
    definitions = {OURS: our_wavelets, LIBROSA: librosa_wavelets, RECURSIVE: theirs, DENSE: theirs}
    result = {}
    for name in [name for name in contenders if name in definitions]:
        truth = direct(audio, definitions[name](), frames)
        result[name] = float(np.linalg.norm(contenders[name](audio)[:, frames] - truth) / np.linalg.norm(truth))
    return result


def peak_mb(name: str, seconds: int) -> float:
    command = [sys.executable, "-m", "benchmarks.speed.cqt", "--alone", name, "--seconds", str(seconds)]
    return alone(command).peak_mb


def run_alone(name: str, seconds: int) -> None:
    """What `peak_mb` measures. A stream comes block by block, and its result is not kept."""
    transform = transforms([name])[name]
    at_once = BLOCK_SECONDS if name == BLOCKS else seconds
    rng = np.random.default_rng(0)
    for _ in range(0, seconds, at_once):
        transform(rng.standard_normal(at_once * RATE, np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--alone", help="run one contender and nothing else: for the measure of memory")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    pin_threads()
    if options.alone:
        run_alone(options.alone, options.seconds)
        return
    contenders = transforms([OURS, BLOCKS, *installed(PEERS)])
    audio = music(SECONDS)
    whole, pieces = contenders[OURS](audio), contenders[BLOCKS](audio)
    usages = alternate({name: lambda f=f: f(audio) for name, f in contenders.items()}, options.rounds)
    faster = {name: ratio(usages, name, OURS) for name in contenders if name != OURS}
    error = errors(contenders)
    peak = {name: peak_mb(name, SECONDS) for name in contenders}
    growth = peak_mb(BLOCKS, LONG) - peak[BLOCKS]
    goals = [
        goal("relative error against the float64 definition", error[OURS], at_most=1e-4),
        goal("values that differ between blocks and the whole", int((whole != pieces).sum()), at_most=0),
        goal("speed in blocks / at once", 1 / faster[BLOCKS]["median"], at_least=0.7),
        goal(f"MB that a stream of {LONG} s adds to one of {SECONDS} s", growth, at_most=20),
        *(
            goal(f"CPU time of {name} / ours", faster[name]["median"], at_least=times)
            for name, times in {LIBROSA: 6, RECURSIVE: 40}.items()
            if name in faster
        ),
    ]
    seconds = summary(usages)
    results = {"seconds": seconds, "cpu_times_ours": faster, "relative_error": error, "peak_mb": peak}
    save("cqt", results, goals, ["torch", "numpy", "librosa", "nnAudio"])
    panels = {
        f"CPU seconds for {SECONDS} s of audio": {name: seconds[name]["cpu"]["median"] for name in contenders},
        "relative error": {name: error[name] for name in contenders if name in error},
        "peak memory, MB": peak,
    }
    bars("cqt", panels)


if __name__ == "__main__":
    main()
