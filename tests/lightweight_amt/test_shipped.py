"""What the shipped weights promise on odd input: the study's acceptance checks 7 to 10."""

import numpy as np
import pytest

from common.corpus import Corpus
from common.evaluation.notes import note_scores
from common.notes import Notes
from lightweight_amt import load, transcribe
from lightweight_amt.inference import Model
from lightweight_amt.targets import merge_unisons

RATE = 22050


@pytest.fixture(scope="module")
def model() -> Model:
    return load("base")


@pytest.fixture(scope="module")
def pieces(tiny_corpus: Corpus) -> list[tuple[np.ndarray, Notes]]:
    """Every piece that training has not seen: audio and notes."""
    unseen = [*tiny_corpus.pieces("validation"), *tiny_corpus.pieces("test")]
    return [(piece.multitrack().mixture(), merge_unisons(piece.notes)) for piece in unseen]


def mean_f1(pieces, model, gain: float = 1.0) -> float:
    return float(
        np.mean([note_scores(notes, transcribe(gain * a, RATE, model=model))["note_f1"] for a, notes in pieces])
    )


def test_rendered_music_is_transcribed(pieces, model):
    assert mean_f1(pieces, model) > 0.6


@pytest.mark.parametrize("gain_db", [-40, -20, 12])
def test_gain_does_not_matter(gain_db, pieces, model):
    assert mean_f1(pieces, model, 10 ** (gain_db / 20)) == pytest.approx(mean_f1(pieces, model), abs=0.02)


@pytest.mark.parametrize("seconds", [3, 60])
def test_silence_and_a_constant_have_no_notes(seconds, model):
    for value in (0.0, 0.1, -1.0):
        assert len(transcribe(np.full(seconds * RATE, value, np.float32), RATE, model=model)) == 0


def test_quiet_noise_has_hardly_any(model):
    noise = 1e-3 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert len(transcribe(noise, RATE, model=model)) <= 2


def test_what_comes_later_does_not_change_what_was(pieces, model):
    audio = pieces[0][0]
    rng = np.random.default_rng(0)
    until = (len(audio) - model.context) // model.grid.hop_length
    before = model(audio)
    for tail in (np.zeros(20 * RATE), 0.5 * rng.standard_normal(RATE)):
        after = model(np.concatenate([audio, tail.astype(np.float32)]))
        for name, values in before.items():
            assert np.abs(after[name][:, :until] - values[:, :until]).max() < 0.02
