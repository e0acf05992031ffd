"""What the shipped weights promise on music that they have not heard, and on odd input."""

import numpy as np
import pytest

from common.corpus import Corpus
from common.evaluation.notes import note_scores
from yourmt3plus import load, transcribe
from yourmt3plus.listening import MapModel

RATE = 22_050  # of the tiny corpus


@pytest.fixture(scope="module")
def model() -> MapModel:
    return load()


def mean_f1(corpus: Corpus, model: MapModel, gain: float = 1.0) -> float:
    pieces = [piece.multitrack() for piece in [*corpus.pieces("validation"), *corpus.pieces("test")]]
    return float(
        np.mean(
            [
                note_scores(piece.notes, transcribe(gain * piece.mixture(), RATE, model=model))["note_f1"]
                for piece in pieces
            ]
        )
    )


def test_rendered_music_is_transcribed(tiny_corpus, model):
    assert mean_f1(tiny_corpus, model) > 0.4


def test_silence_has_no_notes(model):
    for value in (0.0, 0.1):
        assert len(transcribe(np.full(5 * RATE, value, np.float32), RATE, model=model)) == 0


@pytest.mark.parametrize("n_samples", [1, 100])
def test_the_shortest_recordings_have_no_notes(n_samples, model):
    assert len(transcribe(np.zeros(n_samples, np.float32), RATE, model=model)) == 0
