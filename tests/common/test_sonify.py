from itertools import pairwise

import numpy as np
import pytest

from common.notes import Notes
from common.sonify import sonify

RATE = 8000


def test_a_note_sounds_at_its_pitch_while_it_lasts_and_drums_do_not():
    notes = Notes.build([0.5, 0.1], [0.9, 0.2], [69, 38], 100, is_drum=[False, True])
    audio = sonify(notes, RATE, 0, 2 * RATE)
    assert audio.dtype == np.float32
    assert not audio[: RATE // 2].any()
    assert not audio[RATE:].any()
    heard = audio[RATE // 2 : RATE // 2 + 2400]
    assert np.abs(np.fft.rfft(heard)).argmax() * RATE / len(heard) == pytest.approx(440, abs=5)


def test_pieces_are_those_of_the_whole():
    notes = Notes.build([0.0, 0.3], [0.6, 0.7], [60, 64], [80, 120])
    whole = sonify(notes, RATE, 0, RATE)
    cuts = [0, 1000, 2400, 4801, RATE]
    parts = [sonify(notes, RATE, start, stop) for start, stop in pairwise(cuts)]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-6)
    assert np.abs(whole).max() < 1.0
