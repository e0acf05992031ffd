"""Two timbres, of one of which half of the labels are hidden: what masking brings (study check 10)."""

from functools import partial

import numpy as np
import torch

from yourmt3plus.decoder import Decoder
from yourmt3plus.front_ends import Spectrum
from yourmt3plus.loss import token_scores
from yourmt3plus.model import YourMT3
from yourmt3plus.perceiver import PerceiverTF
from yourmt3plus.rows import bucket
from yourmt3plus.tokenizer import EOS, PAD, PITCH, PROGRAM, TIE, VELOCITY

SAMPLE_RATE, N_SAMPLES = 16_000, 4096
TIME = np.arange(N_SAMPLES) / SAMPLE_RATE
PROGRAMS = (0, 64)
PITCHES = (60, 67, 74)


def sound(timbre: int, pitch: int, rng: np.random.Generator) -> np.ndarray:
    """A sine, or a tone of odd harmonics alone an octave below."""
    phase = 2 * np.pi * (440 * 2 ** ((pitch - 69) / 12) * TIME + rng.random())
    harmonics = (2,) if timbre == 0 else (1, 3, 5, 7)
    return np.sum([np.sin(h * phase / 2) / h for h in harmonics], axis=0)


def segments(n_segments: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Audio, and tokens (batch, 2, token) of both timbres, each of which plays a note in three of four segments."""
    audio, tokens = np.zeros((n_segments, N_SAMPLES)), np.full((n_segments, 2, 6), PAD)
    for index in range(n_segments):
        for timbre, program in enumerate(PROGRAMS):
            row = [TIE, EOS]
            if rng.random() < 0.75:
                pitch = rng.choice(PITCHES)
                audio[index] += 0.1 * sound(timbre, pitch, rng)
                row = [TIE, PROGRAM + program, VELOCITY + 1, PITCH + pitch, EOS]
            tokens[index, timbre, : len(row)] = row
    return torch.from_numpy(audio).float(), torch.from_numpy(tokens)


def recall_of_the_second(hidden: float, masking: bool) -> float:
    """Of a network that has learnt with this share of the second timbre's labels hidden, from what it hears."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    encoder = partial(
        PerceiverTF, channels=(8,), pools=(2,), n_latents=2, dim=32, n_blocks=1, n_latent_layers=1,
        n_temporal_layers=0, n_heads=4, widening=2, n_experts=0, dropout=0.0,
    )  # fmt: skip
    decoder = Decoder(dim=32, n_layers=1, n_heads=4, head_dim=8, ff_dim=64, dropout=0.0)
    net = YourMT3(Spectrum(n_fft=512, hop_length=512, n_bins=96), encoder, decoder, 2, N_SAMPLES)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    silent = torch.tensor([TIE, EOS, PAD, PAD, PAD, PAD])
    for _ in range(60):
        audio, tokens = segments(24, rng)
        known = torch.ones(len(audio), 2, dtype=torch.bool)
        known[:, 1] = torch.from_numpy(rng.random(len(audio)) >= hidden)
        tokens = torch.where(known[..., None], tokens, silent)
        annotated = known if masking else torch.ones_like(known)
        rows = bucket(tokens)
        loss = token_scores(net(audio, rows).logits, rows, annotated).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    audio, tokens = segments(64, np.random.default_rng(1))
    playing = tokens[:, 1] != silent
    memory = net.encode(audio).memory[:, 1]
    first = net.decoder(tokens[:, 1], memory)[:, 1].argmax(dim=-1)  # after the tie: is there a note, or the end?
    third = net.decoder(tokens[:, 1], memory)[:, 3].argmax(dim=-1)  # and which
    right = (first == PROGRAM + PROGRAMS[1]) & (third == tokens[:, 1, 3])
    return float(right[playing.any(dim=1)].float().mean())


def test_masking_keeps_what_half_of_the_labels_hide():
    full = recall_of_the_second(0.0, masking=True)
    assert full > 0.9
    assert recall_of_the_second(0.5, masking=True) >= 0.9 * full
    assert recall_of_the_second(0.5, masking=False) <= 0.7 * full
