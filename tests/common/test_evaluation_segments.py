import warnings

import mir_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.evaluation.segments import boundary_scores, from_frames, runs, to_frames
from common.frames import FrameGrid

GRID = FrameGrid(24_000, 320)


def intervals(boundaries: np.ndarray) -> np.ndarray:
    return np.stack([boundaries[:-1], boundaries[1:]], axis=1)


def pieces(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boundaries of a piece and an estimate of them, some on a coarse grid so that differences equal the tolerance."""
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0, 60, rng.integers(0, 40))
    kept = reference[rng.random(len(reference)) < 0.7]
    guessed = np.r_[kept + rng.normal(0, 1, len(kept)), rng.uniform(0, 60, rng.integers(0, 20))]
    if seed % 2:
        reference, guessed = (np.round(2 * times) / 2 for times in (reference, guessed))
    return tuple(np.unique(np.clip(np.r_[0.0, times, 60.0], 0.0, 60.0)) for times in (reference, guessed))


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("tolerance", [0.5, 3.0])
def test_equals_mir_eval(tolerance, trim):
    for seed in range(150):
        reference, estimate = pieces(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pieces of one segment
            theirs = mir_eval.segment.detection(intervals(reference), intervals(estimate), tolerance, trim=trim)
        ours = boundary_scores(reference, estimate, tolerance, trim)
        assert tuple(ours.values()) == pytest.approx(theirs, abs=1e-12)


def test_one_boundary_is_good_for_one():
    assert boundary_scores(np.array([1.0]), np.array([0.8, 1.2])) == {"precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    # 1.2 may be 0.8 or 1.6, 0.5 only 0.8: both are found.
    assert boundary_scores(np.array([0.8, 1.6]), np.array([1.2, 0.5]))["f1"] == 1.0


def test_without_boundaries_the_score_is_0():
    nothing, one = np.empty(0), np.array([1.0])
    for pair in ((nothing, one), (one, nothing), (nothing, nothing)):
        assert set(boundary_scores(*pair).values()) == {0.0}
    assert boundary_scores(np.array([0.0, 9.0]), np.array([0.0, 9.0]), trim=True)["f1"] == 0.0


@pytest.mark.parametrize("times", [[[0.0, 1.0]], [0.0, np.nan], [-1.0, 1.0], [0.0, np.inf]])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(ValueError, match="boundaries"):
        boundary_scores(np.array(times), np.array([1.0]))
    with pytest.raises(ValueError, match="tolerance"):
        boundary_scores(np.array([1.0]), np.array([1.0]), 0.0)


@given(st.lists(st.integers(-100, 3), min_size=1, max_size=40), st.floats(0.001, 1.0))
def test_frames_to_segments_and_back(labels, part):
    labels = np.array(labels)
    duration = float(GRID.times(len(labels) - 1 + part))
    edges, names = from_frames(labels, GRID, duration)
    assert edges[0] == 0.0
    assert edges[-1] == duration
    assert (np.diff(edges) > 0).all()
    assert (names[1:] != names[:-1]).all()
    np.testing.assert_array_equal(to_frames(edges, names, GRID, len(labels)), labels)


def test_a_frame_has_the_label_at_its_centre():
    grid = FrameGrid(10, 1)
    labels = to_frames(np.array([0.0, 0.14, 0.25, 0.5]), np.array([1, 2, 3]), grid, 6)
    # Centres at 0.05, 0.15, 0.25, ...; a segment begins with its edge.
    np.testing.assert_array_equal(labels, [1, 2, 3, 3, 3, 3])


def test_frames_of_another_duration_are_refused():
    for duration in (1.0, 2.1):
        with pytest.raises(ValueError, match="frames"):
            from_frames(np.zeros(20, int), FrameGrid(1000, 100), duration)


def test_runs():
    start, stop = runs(np.array([4, 4, 0, 4]))
    np.testing.assert_array_equal(start, [0, 2, 3])
    np.testing.assert_array_equal(stop, [2, 3, 4])
    assert [len(part) for part in runs(np.empty(0, int))] == [0, 0]
