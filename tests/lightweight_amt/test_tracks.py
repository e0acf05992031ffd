import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.cells import SOUNDING
from lightweight_amt.decode import LOW, N_PITCHES
from lightweight_amt.tracks import NoteVectors

GRID = FrameGrid(22050, 256)


def random_maps(seed: int, n_frames: int, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = rng.random((N_PITCHES, n_frames), np.float32) ** 3
    embedding = rng.standard_normal((dim, N_PITCHES, n_frames), np.float32)
    return frame, embedding / np.linalg.norm(embedding, axis=0)


def random_notes(seed: int, count: int, n_frames: int) -> Notes:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, n_frames - 1, count)
    stop = np.minimum(start + rng.integers(1, 40, count), n_frames)
    return Notes.build(GRID.times(start), GRID.times(stop), LOW + rng.integers(0, N_PITCHES, count), 90)


def by_hand(frame: np.ndarray, embedding: np.ndarray, notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    vectors, weights = [], []
    for onset, offset, pitch in zip(notes.onset, notes.offset, notes.pitch, strict=True):
        total, weight = np.zeros(len(embedding)), 0.0
        for t in range(int(GRID.frames(onset)), int(GRID.frames(offset))):
            if frame[pitch - LOW, t] >= SOUNDING:
                total += frame[pitch - LOW, t] * embedding[:, pitch - LOW, t]
                weight += frame[pitch - LOW, t]
        vectors.append(total / max(np.linalg.norm(total), 1e-9))
        weights.append(weight)
    return np.array(vectors), np.array(weights)


@pytest.mark.parametrize("block", [1, 37, 400])
def test_vectors_are_the_same_however_the_recording_is_cut(block):
    frame, embedding = random_maps(0, 400)
    notes = random_notes(1, 60, 400)
    collected = NoteVectors()
    for first in range(0, 400, block):
        collected.push(frame[:, first : first + block], embedding[..., first : first + block])
    vectors, weights = collected.vectors(notes, GRID)
    expected = by_hand(frame, embedding, notes)
    assert vectors == pytest.approx(expected[0], abs=1e-5)
    assert weights == pytest.approx(expected[1], abs=1e-4)


def test_a_long_note_of_maps_in_half_precision_has_a_direction():
    """The squares of its sums are beyond 65,504."""
    frame, embedding = np.ones((N_PITCHES, 1000), np.float16), np.zeros((3, N_PITCHES, 1000), np.float16)
    embedding[1] = 1.0
    collected = NoteVectors()
    collected.push(frame, embedding)
    vectors, weights = collected.vectors(Notes.build([0.0], [GRID.times(1000)], [60], 90), GRID)
    assert vectors.tolist() == [[0.0, 1.0, 0.0]]
    assert weights == 1000.0


def test_a_note_of_which_nothing_sounds_has_no_direction():
    frame, embedding = random_maps(0, 50)
    frame[3] = 0.0
    collected = NoteVectors()
    collected.push(frame, embedding)
    notes = Notes.build([0.1, 0.1], [0.4, 0.4], [LOW + 3, LOW + 4], 90)
    vectors, weights = collected.vectors(notes, GRID)
    assert not vectors[0].any()
    assert weights[0] == 0.0
    assert np.linalg.norm(vectors[1]) == pytest.approx(1.0, abs=1e-5)


def test_nothing_heard_and_no_notes():
    assert NoteVectors().vectors(Notes.empty(), GRID)[0].shape[0] == 0
    collected = NoteVectors()
    collected.push(*random_maps(0, 10))
    vectors, weights = collected.vectors(Notes.empty(), GRID)
    assert vectors.shape == (0, 5)
    assert len(weights) == 0
