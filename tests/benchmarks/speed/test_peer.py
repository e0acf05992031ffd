"""The clock of the wrapper, on a stand-in for the network: the peer's package is not needed."""

import numpy as np
import pytest

from benchmarks.speed.peer import activations, frame_times


def where_frames_are_centred(window: np.ndarray) -> dict[str, np.ndarray]:
    """In place of the network: 172 frames of a window, each with the sample in its middle."""
    assert window.shape == (1, 43_844, 1)
    assert window.dtype == np.float32
    centres = window[:, ::256]
    assert centres.shape == (1, 172, 1)
    return {"note": centres.repeat(88, axis=2), "contour": centres.repeat(264, axis=2)}


@pytest.mark.parametrize("n_samples", [1, 36_164, 36_165, 300_000])
def test_a_frame_has_the_time_of_the_sample_that_it_is_centred_on(n_samples):
    audio = np.arange(n_samples, dtype=np.float32)  # each sample says where it is
    maps = activations(audio, where_frames_are_centred)
    times = frame_times(maps["note"].shape[1])
    assert maps["note"].shape == (88, len(times))
    assert maps["contour"].shape == (264, len(times))
    inside = times * 22_050 < n_samples
    np.testing.assert_allclose(maps["note"][:, inside], [times[inside] * 22_050] * 88, atol=1e-3)
    assert not maps["note"][:, ~inside].any()
    assert n_samples - times[inside][-1] * 22_050 <= 256  # to the end


def test_times_by_hand():
    times = frame_times(100_000)
    assert times[0] == 0.0
    assert times[141] == pytest.approx(141 * 256 / 22_050)
    assert times[142] == pytest.approx(36_164 / 22_050)  # not 142 * 256 = 36,352
    assert times[5 * 142 + 7] == pytest.approx((5 * 36_164 + 7 * 256) / 22_050)
    assert (np.diff(times) > 0).all()
    ten_minutes = np.searchsorted(times, 600.0)
    assert ten_minutes * 256 / 22_050 - 600.0 == pytest.approx(3.1, abs=0.05)  # what the naive clock is off
