import math

import pytest

from common.schedules import warmup_cosine


def test_the_rate_rises_and_falls():
    factor = warmup_cosine(100, 2000)
    assert factor(0) == pytest.approx(0.01)
    assert factor(50) == pytest.approx(0.505)
    assert factor(100) == 1.0
    assert factor(1050) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert factor(2000) == factor(9999) == pytest.approx(0.01)


def test_a_short_run_warms_up_for_a_tenth_of_it():
    assert warmup_cosine(200, 50)(5) == 1.0
