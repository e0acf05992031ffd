"""Random mixtures of 2 s and 8 stems, as training draws them: from our memory maps, and from files that are sought in.

`python -m benchmarks.speed.reading` writes results/reading.json and results/reading.png. All contenders make the same
mixtures of the same `small` corpus (built if it is not there), with the files in the page cache.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from benchmarks.harness import alternate, bars, goal, pin_threads, ratio, save, summary
from common import corpus
from common.corpus import Piece
from common.stems import Multitrack

SECONDS, STEMS, PIECES, MIXTURES = 2.0, 8, 24, 100
FORMATS = ("flac", "wav")

Excerpt = tuple[Piece, float]  # from where on, seconds


def main() -> None:
    pin_threads()
    rng = np.random.default_rng(0)
    pieces = corpus.build("small").pieces("train")[:PIECES]
    draws = [(draw(pieces, rng), rng.normal(0.0, 4.0, STEMS)) for _ in range(MIXTURES)]
    with TemporaryDirectory() as folder:
        for piece in pieces:
            write_stems(piece, Path(folder))
        readers = {"memory map": from_memory_map}
        readers |= {f"{format} seek": partial(from_files, Path(folder), format) for format in FORMATS}
        error = {name: max(difference(read, *d) for d in draws[:20]) for name, read in readers.items()}
        times = alternate({name: partial(read_all, read, draws) for name, read in readers.items()})
    rates = {name: round(MIXTURES / entry["cpu"]["median"]) for name, entry in summary(times).items()}
    ratios = {name: ratio(times, name, "memory map") for name in readers if name != "memory map"}
    goals = [
        goal("CPU time of FLAC seek / memory map", ratios["flac seek"]["median"], at_least=25),
        goal("greatest difference between the mixtures of memory map and FLAC", error["flac seek"], at_most=1e-6),
    ]
    results = {"mixtures_per_cpu_second": rates, "ratio_to_memory_map": ratios, "difference": error}
    save("reading", results, goals, packages=["numpy", "soundfile"])
    bars("reading", {"CPU ms for a mixture": {name: 1000 / rate for name, rate in rates.items()}})


def draw(pieces: list[Piece], rng: np.random.Generator) -> list[Excerpt]:
    """Excerpts of as many pieces as it takes to have STEMS stems."""
    excerpts: list[Excerpt] = []
    while sum(len(piece.parts) for piece, _ in excerpts) < STEMS:
        piece = pieces[rng.integers(len(pieces))]
        excerpts.append((piece, rng.uniform(0.0, piece.seconds - SECONDS - 0.1)))
    return excerpts


def read_all(read: Callable, draws: list) -> None:
    for excerpts, gains_db in draws:
        read(excerpts, gains_db)


def from_memory_map(excerpts: list[Excerpt], gains_db: np.ndarray) -> np.ndarray:
    parts = [piece.multitrack().crop(start, SECONDS) for piece, start in excerpts]
    band = Multitrack.pseudo_mix(parts).select(range(STEMS), gains_db)
    return band.mixture()


def write_stems(piece: Piece, folder: Path) -> None:
    """Each stem as a file of each format, at the scale of the memory map."""
    for i, samples in enumerate(piece.audio):
        for format in FORMATS:
            soundfile.write(folder / f"{piece.id}.{i}.{format}", samples, piece.sample_rate)


def from_files(folder: Path, format: str, excerpts: list[Excerpt], gains_db: np.ndarray) -> np.ndarray:
    stems = [(piece, start, i) for piece, start in excerpts for i in range(len(piece.parts))][:STEMS]
    mixture = np.zeros(round(SECONDS * stems[0][0].sample_rate), np.float32)
    for (piece, start, i), factor in zip(stems, 10.0 ** (gains_db / 20.0), strict=True):
        with soundfile.SoundFile(folder / f"{piece.id}.{i}.{format}") as file:
            file.seek(round(start * piece.sample_rate))
            samples = file.read(len(mixture), dtype="int16")
        mixture += samples * np.float32(piece.parts[i].scale * factor)
    return mixture


def difference(read, excerpts: list[Excerpt], gains_db: np.ndarray) -> float:
    return float(np.abs(read(excerpts, gains_db) - from_memory_map(excerpts, gains_db)).max())


if __name__ == "__main__":
    main()
