"""Decoding: our steps against transformers' `generate`, rows given up when they end, and the fast path on a piece.

`python -m benchmarks.speed.decoding` writes results/decoding.json and .png. All on one thread, in alternating rounds,
and every contender writes the same tokens, which is asserted. Weights are random, which takes as long as any others:

- against `generate`: the decoder of the paper, N_TOKENS tokens that are its own choice, in 1 and in 13 rows;
- rows of real lengths: segments of a composed piece, 13 rows each, whose tokens are dictated; with rows that have ended
  dropped, and carried on;
- a minute of a piece, from audio to tokens: the network of SMALL hears and writes it, dictated as well, so that both
  paths write what the piece has; the fast one is told by a perfect gate which rows are silent.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import alternate, bars, goal, pin_threads, ratio, save, summary
from benchmarks.speed.t5_peer import Generator
from common.composer import compose
from common.notes import Notes
from yourmt3plus.decoder import Decoder
from yourmt3plus.generate import SILENT_ROW, Rows, fast
from yourmt3plus.inference import Model
from yourmt3plus.model import YourMT3
from yourmt3plus.programs import MULTI
from yourmt3plus.tokenizer import EOS, encode, whole_ticks

PAPER: dict[str, Any] = {"n_heads": 6, "head_dim": 64, "ff_dim": 1024}
DIM, N_FRAMES = 512, 110
N_TOKENS = 96
N_TICKS = whole_ticks(32_767, 16_000)
SEGMENTS = 8  # of 13 rows: 104
SECONDS = 60
GOALS = {1: 1.5, 13: 1.15, "compaction": 3.0, "whole path": 3.0}
SMALL: dict[str, Any] = {  # a network whose plain path is worth waiting for
    "front_end": {"class_path": "Spectrum", "init_args": {}},
    "encoder": {"class_path": "PerceiverTF", "init_args": {"channels": [8, 16, 32], "dim": 64, "n_experts": 0}},
    "decoder": {
        "class_path": "Decoder",
        "init_args": {"dim": 96, "n_layers": 2, "n_heads": 3, "head_dim": 32, "ff_dim": 192},
    },
}


def main() -> None:
    pin_threads()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of the piece (default: %(default)s)")
    options = parser.parse_args()
    results = {label: measure(against_generate(n), options.rounds) for n, label in ((1, "1 row"), (13, "13 rows"))}
    results["compaction"] = measure(compaction(), options.rounds)
    results["whole path"] = measure(whole_path(options.seconds), 1)  # the plain path takes minutes
    save("decoding", results, promises(results), ["torch", "transformers", "numpy"])
    bars("decoding", pictures(results))


def promises(results: dict[str, dict]) -> list[dict]:
    told = {
        "1 row": f"CPU time of transformers' generate / ours, 1 row of {N_TOKENS} tokens",
        "13 rows": f"CPU time of transformers' generate / ours, 13 rows of {N_TOKENS} tokens",
        "compaction": f"CPU time of all rows carried on / dropped when they end, {13 * SEGMENTS} rows",
        "whole path": "CPU time of the simple path / the fast one, audio to tokens",
    }
    least = dict(zip(told, GOALS.values(), strict=True))
    return [goal(text, results[name]["ratio"]["median"], at_least=least[name]) for name, text in told.items()]


def pictures(results: dict[str, dict]) -> dict[str, dict[str, float]]:
    """CPU seconds, the quick contender first."""
    return {
        f"{name}, CPU seconds": {way: usage["cpu"]["median"] for way, usage in reversed(row["times"].items())}
        for name, row in results.items()
    }


def measure(contenders: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict:
    """CPU time of the first contender over that of the second, which write the same tokens."""
    tokens: dict[str, torch.Tensor] = {}

    def kept(name: str) -> Callable[[], None]:
        return lambda: tokens.update({name: contenders[name]()})

    times = alternate({name: kept(name) for name in contenders}, rounds)
    slow, quick = contenders
    assert torch.equal(tokens[slow], tokens[quick]), f"{slow} and {quick} do not write the same"
    return {"times": summary(times), "ratio": ratio(times, slow, quick), "rows": len(tokens[slow])}


def against_generate(n_rows: int) -> dict[str, Callable[[], torch.Tensor]]:
    """The paper's decoder. Transformers has biases where ours has sinusoids: to be equal, both are zero."""
    torch.manual_seed(0)
    decoder = Decoder(DIM, **PAPER).eval()
    decoder.positions.table.zero_()
    with torch.no_grad():
        decoder.embedding.weight *= 0.02  # or what was written last is written again
        decoder.embedding.weight[EOS] = 0.0  # neither ends a row
    theirs = Generator(decoder, **PAPER)
    decoder.arrange_for_steps()
    rows = Rows(torch.randn(n_rows, N_FRAMES, DIM), torch.zeros(n_rows, dtype=torch.int64))
    return {
        "transformers": partial(theirs, rows.memory, N_TOKENS),
        "ours": partial(fast, decoder, rows, N_TOKENS),
    }


def compaction() -> dict[str, Callable[[], torch.Tensor]]:
    """Rows of a piece as they are long, by the paper's decoder."""
    torch.manual_seed(0)
    decoder = Decoder(DIM, **PAPER).eval().arrange_for_steps()
    prologue = torch.from_numpy(written(SEGMENTS)).flatten(0, 1)
    channel = torch.arange(len(MULTI)).repeat(SEGMENTS)
    rows = Rows(torch.randn(len(prologue), N_FRAMES, DIM), channel, prologue=prologue)
    run = partial(fast, decoder, rows, prologue.shape[1])
    return {"carried on": partial(run, compact=False), "dropped": run}


def whole_path(n_seconds: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Audio of a piece to its tokens."""
    torch.manual_seed(0)
    model = Model(YourMT3(**SMALL).eval())
    n_segments = -(-n_seconds * model.sample_rate // model.hop_length)
    tokens = written(n_segments)
    audio = 0.1 * np.random.default_rng(0).standard_normal((n_segments, model.net.n_samples)).astype(np.float32)
    sounding = (tokens[:, :, : len(SILENT_ROW)] != SILENT_ROW).any(axis=2)

    def run(plainly: bool, size: int = 8) -> torch.Tensor:
        parts = []
        for start in range(0, n_segments, size):
            some = slice(start, start + size)
            wanted = np.ones_like(sounding[some]) if plainly else sounding[some]
            parts.append(model.write(model.hear(audio[some]), wanted, tokens[some], plainly))
        return torch.from_numpy(np.concatenate(parts)).flatten(0, 1)

    return {"simple": partial(run, True), "fast": partial(run, False)}


def written(n_segments: int) -> np.ndarray:
    """(segment, channel, token) of a band's piece."""
    seconds = n_segments * N_TICKS / 100
    score = compose(0, "band", seconds)
    notes = Notes.concatenate(part.notes for part in score.parts)
    return encode(notes, MULTI, N_TICKS, n_segments).tokens


if __name__ == "__main__":
    main()
