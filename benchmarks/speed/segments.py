"""Training segments of yourmt3plus that a core makes in a second, with each part of the augmentation left out in turn.

`python -m benchmarks.speed.segments` writes results/segments.json and results/segments.png. Batches are as training has
them: 2 s of several sources at 16 kHz, their tokens and rows. Pitch shift is also compared with torchaudio's phase
vocoder, as the code released with YourMT3+ calls it: told a quarter of the rate, so that it has less to do.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torchaudio

from benchmarks.harness import alternate, bars, goal, pin_threads, ratio, save, summary
from common.mixing import AS_THEY_ARE, Mixing
from yourmt3plus.augment import PitchShift, run_faster, samples_to_read
from yourmt3plus.data import DEFAULT_CORPORA, YourMT3Data, collate
from yourmt3plus.items import Shape
from yourmt3plus.model import N_SAMPLES
from yourmt3plus.programs import MULTI
from yourmt3plus.tokenizer import whole_ticks

RATE, BATCH, BATCHES, SHIFTS = 16_000, 16, 4, (-2, -1, 1, 2)
SHAPE = Shape(RATE, N_SAMPLES, whole_ticks(N_SAMPLES, RATE), MULTI)
VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "no effects": {"augment": 0.0},
    "no pitch shift": {"shift": PitchShift(most=0)},
    "no other sources": {"mixing": Mixing(max_sources=0)},
    "pieces as they are": {"augment": 0.0, "shift": PitchShift(most=0), "mixing": AS_THEY_ARE},
}


def main(argv: list[str] | None = None) -> None:
    pin_threads()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.segments")
    parser.add_argument(
        "--corpus", action="append", help="size of a corpus; may be repeated (default: the shipped mix)"
    )
    parser.add_argument("--soundfont", action="append", help="SF2 file that the corpora are rendered with; as above")
    options = parser.parse_args(argv)
    corpora = {name: DEFAULT_CORPORA.get(name, 1.0) for name in options.corpus or DEFAULT_CORPORA}
    make = partial(YourMT3Data, corpora=corpora, soundfonts=options.soundfont)
    contenders: dict[str, Callable] = {name: maker(make(**settings)) for name, settings in VARIANTS.items()}
    times = alternate(contenders)
    rates = {name: round(BATCH * BATCHES / entry["cpu"]["median"], 1) for name, entry in summary(times).items()}
    shifts = alternate(shifters())
    against = ratio(shifts, "torchaudio", "ours")
    goals = [
        goal("training segments a CPU second, everything on", rates["everything"], at_least=60),
        goal("CPU time of torchaudio's pitch shift / ours", against["median"], at_least=20),
    ]
    save("segments", {"segments_per_cpu_second": rates, "torchaudio": against}, goals, ["numpy", "scipy", "torchaudio"])
    bars("segments", {"segments a CPU second": rates})


def maker(data: YourMT3Data) -> Callable[[], None]:
    """Makes other batches each time it is called, as training does."""
    dataset, epoch = data.train_set(SHAPE), iter(range(1_000_000))

    def make() -> None:
        key = next(epoch)
        for batch in range(BATCHES):
            collate([dataset[key, batch * BATCH + i] for i in range(BATCH)])

    return make


def shifters() -> dict[str, Callable[[], None]]:
    """A segment moved by each of the shifts."""
    audio = np.random.default_rng(0).standard_normal(samples_to_read(N_SAMPLES, max(SHIFTS))).astype(np.float32)
    theirs = [torchaudio.transforms.PitchShift(RATE // 4, by, n_fft=512) for by in SHIFTS]
    segment = torch.from_numpy(audio[:N_SAMPLES])

    def ours() -> None:
        for by in SHIFTS:
            run_faster(audio[: samples_to_read(N_SAMPLES, by)], by, N_SAMPLES)

    def torchaudio_() -> None:
        with torch.no_grad():
            for shift in theirs:
                shift(segment)

    return {"ours": ours, "torchaudio": torchaudio_}


if __name__ == "__main__":
    main()
