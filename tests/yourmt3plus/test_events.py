"""Maps of what rows say: held to a loop over notes."""

import numpy as np
import torch

from tests.yourmt3plus.slow import random_piece
from yourmt3plus.events import EventHead, Maps, event_loss, truth
from yourmt3plus.programs import MULTI, written
from yourmt3plus.tokenizer import encode

N_TICKS, N_SEGMENTS, N_FRAMES, FRAMES_PER_TICK = 204, 4, 82, 0.4


def test_maps_say_what_the_notes_say():
    notes = random_piece(3, n_notes=80, n_ticks=N_TICKS * N_SEGMENTS)
    rows = encode(notes, MULTI, N_TICKS, N_SEGMENTS, max_tokens=512)
    assert not rows.truncated.any()
    maps = truth(torch.from_numpy(rows.tokens), N_FRAMES, FRAMES_PER_TICK)
    onset = np.zeros((N_SEGMENTS, 13, N_FRAMES, 128), bool)
    sounding = onset.copy()
    key = written(notes)[1]
    for begin, end, pitch, channel in zip(notes.onset, notes.offset, key, MULTI.of(notes), strict=True):
        on, off = round(begin * 100), round(end * 100)
        for segment in range(N_SEGMENTS):
            first, last = on - segment * N_TICKS, off - segment * N_TICKS
            if 0 <= first < N_TICKS:
                onset[segment, channel, min(round(first * FRAMES_PER_TICK), N_FRAMES - 1), pitch] = True
            if channel != 12 and first < N_TICKS and last >= 0:
                frames = [round(max(first, 0) * FRAMES_PER_TICK), round(last * FRAMES_PER_TICK)]
                sounding[segment, channel, frames[0] : max(frames[1], 0) if last < N_TICKS else None, pitch] = True
    assert np.array_equal(maps.onset.numpy() > 0, onset)
    assert np.array_equal(maps.sounding.numpy() > 0, sounding | onset)


def test_silent_and_empty_rows_say_nothing():
    tokens = torch.tensor([[[339, 1, 0], [0, 0, 0]]])
    assert not any(part.any() for part in truth(tokens, 10, 0.4))


def test_the_loss_is_zero_where_it_is_right_and_has_no_gradient_where_nothing_is_known():
    generator = torch.Generator().manual_seed(0)
    target = Maps(*(torch.rand(2, 3, 5, 128, generator=generator) < 0.1 for _ in range(2)))
    target = Maps(*(part.float() for part in target))
    known = torch.tensor([[True, False, True], [False, True, True]])
    assert event_loss(Maps(*(40 * part - 20 for part in target)), target, known) < 1e-4
    memory = torch.randn(2, 3, 5, 16, generator=generator, requires_grad=True)
    loss = event_loss(EventHead(16)(memory), target, known)
    (gradient,) = torch.autograd.grad(loss, memory)
    assert gradient[known].any()
    assert not gradient[~known].any()
    assert event_loss(target, target, torch.zeros_like(known)) == 0
