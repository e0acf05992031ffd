"""Eight segments of a toy band of four channels: what a network of the tiny configuration is to learn by heart."""

import numpy as np
import torch

from common.notes import Notes
from tests.yourmt3plus.networks import N_SAMPLES
from yourmt3plus.programs import Channels
from yourmt3plus.tokenizer import encode, whole_ticks

SAMPLE_RATE = 16_000
N_TICKS = whole_ticks(N_SAMPLES, SAMPLE_RATE)
PROGRAMS = (0, 33, 48)
MAX_TOKENS = 32
TIME = np.arange(N_SAMPLES) / SAMPLE_RATE


def channels() -> Channels:
    of_program = np.full(128, -1)
    of_program[list(PROGRAMS)] = np.arange(3)
    return Channels(("Piano", "Bass", "Strings", "Drums"), of_program, 3)


def segments(n_segments: int = 8) -> tuple[torch.Tensor, torch.Tensor, list[Notes]]:
    """Audio (batch, time), tokens (batch, channel, token) and notes of each, which all end in their segment."""
    rng = np.random.default_rng(0)
    audio, tokens, notes = [], torch.zeros(n_segments, 4, MAX_TOKENS, dtype=torch.int64), []
    for index in range(n_segments):
        played = tune(rng)
        rows = encode(played, channels(), N_TICKS, max_tokens=MAX_TOKENS)
        assert not rows.truncated.any()
        tokens[index, :, : rows.tokens.shape[2]] = torch.from_numpy(rows.tokens[0])
        audio.append(sound(played, rng))
        notes.append(played)
    return torch.from_numpy(np.stack(audio)).float(), tokens, notes


def tune(rng: np.random.Generator) -> Notes:
    """Up to three notes or hits for each channel, on the grid of ticks, none at the same time as another of it."""
    onset, channel = [], []
    for part in np.flatnonzero(rng.random(4) < 0.7):
        starts = np.sort(rng.choice(np.arange(5, 75, 15), rng.integers(1, 4), replace=False))
        onset += starts.tolist()
        channel += [part] * len(starts)
    begin, part = np.array(onset, float) / 100, np.array(channel, int)
    is_drum = part == 3
    pitch = np.where(is_drum, rng.choice([36, 38, 42], len(part)), rng.integers(40, 80, len(part)))
    end = np.where(is_drum, begin + 0.01, begin + 0.12)
    return Notes.build(begin, end, pitch, 100, np.where(is_drum, 0, np.array([*PROGRAMS, 0])[part]), is_drum, part)


def sound(notes: Notes, rng: np.random.Generator) -> np.ndarray:
    mixture = np.zeros(N_SAMPLES)
    for onset, offset, pitch, program, is_drum in zip(
        notes.onset, notes.offset, notes.pitch, notes.program, notes.is_drum, strict=True
    ):
        since = TIME - onset
        if is_drum:
            mixture += np.where(since >= 0, np.exp(-pitch * since.clip(0)), 0) * rng.normal(0, 0.1, N_SAMPLES)
            continue
        brightness = 1 + PROGRAMS.index(program)
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * h * frequency * since) / h ** (2 / brightness) for h in range(1, 6))
        mixture += 0.1 * np.where((since >= 0) & (offset > TIME), tone, 0)
    return mixture
