import numpy as np
import pytest

from benchmarks.speed import networks


@pytest.mark.parametrize("name", networks.OURS)
def test_a_network_hears_a_second_in_its_windows(name):
    (maps,) = networks.network(name)(np.zeros(22_050, np.float32))
    assert {values.shape[-1] for values in maps.values()} == {87}
    assert ("embedding" in maps) == (name == networks.INSTRUMENTS)


def test_what_is_promised():
    ratios = {name: {"median": 0.6} for name in networks.OURS}
    assert {row["goal"].split(" / ")[0]: row["met"] for row in networks.promises(ratios)} == {
        "CPU time of base": True,
        "CPU time of nano": False,
        "CPU time of base, instruments": True,
    }
