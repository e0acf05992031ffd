from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.frames import FrameGrid

GRIDS = st.builds(FrameGrid, st.integers(1, 200_000), st.integers(1, 5_000))


@settings(deadline=None)
@given(GRIDS, st.integers(0, 20_000))
def test_as_many_frames_as_centres_inside_the_signal(grid, n_samples):
    assert grid.n_frames(n_samples) == len(range(0, n_samples, grid.hop_length))


@settings(deadline=None)
@given(GRIDS, st.integers(-(10**9), 10**9))
def test_a_frame_is_its_own_nearest_frame(grid, frame):
    assert grid.frames(grid.times(frame)) == frame
    assert grid.position(grid.times(frame)) == pytest.approx(frame, rel=1e-15)


def test_the_clock_does_not_drift():
    grid = FrameGrid(22_050, 256)
    assert grid.rate == Fraction(11_025, 128)
    last = 10 * 3600 * 22_050 // 256  # of ten hours
    assert grid.times(last) == float(last / Fraction(11_025, 128))


def test_the_nearest_frame_of_a_time():
    seconds = np.array([-0.51, -0.5, 0.0, 0.49, 0.5, 1.5, 2.51])
    assert FrameGrid(100, 100).frames(seconds).tolist() == [-1, 0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("arguments", [(0, 256), (22_050, 0), (-1, 256)])
def test_a_grid_needs_positive_numbers(arguments):
    with pytest.raises(ValueError, match="must be positive"):
        FrameGrid(*arguments)
