import json
import re

import numpy as np
import pytest

from benchmarks import demo_diffusion
from common import audio as sound
from common.instruments import IRMAS
from diffusion_pir.inference import Recognition

CLASSES = tuple(IRMAS)


def heard(audio: np.ndarray, rate: int, watch) -> Recognition:
    """Hears what is there at first, and never notices that another one comes to the fore; in one window it is deaf."""
    watch(np.full((128, 350), -5.0, np.float32))
    times = np.arange(21) * 0.25
    probabilities = np.zeros((21, len(CLASSES)), np.float32)
    probabilities[1:, CLASSES.index("sax")] = 0.9
    return Recognition(times, times + 2.0, probabilities, CLASSES, ("sax",), probabilities[1], 7.0)


@pytest.fixture
def record(tmp_path):
    """What `benchmarks.diffusion` writes, as far as the page reads it."""

    def scores(mean: float) -> dict:
        return {"micro": {"mean": mean, "deviation": 0.01}}

    results = {
        "data": {"name": "predominance", "excerpts": 231},
        "noise": {"0.02": scores(0.6), "0.1": scores(0.71), "0.99": scores(0.31)},
        "systems": {"mel statistics": scores(0.5), "constant": scores(0.44), "plus": scores(0.8)},
    }
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"goals": [], "results": results}))
    return path


def test_the_section_says_how_much_was_right_and_what_noise_does(tmp_path, monkeypatch, record, capsys):
    monkeypatch.setattr(demo_diffusion, "recognise", heard)
    monkeypatch.setattr(demo_diffusion, "RECORD", record)
    section = demo_diffusion.section(tmp_path, 3)
    # Seven windows end by 3.5 s, of which it misses the first; seven begin then or later, and it misses all.
    assert "right in 6 of the 14 windows" in capsys.readouterr().out
    assert section.html.count("6 of the 14 windows") == 2
    assert (
        "on 231 excerpts of held-out music: at noise level 0.1 a micro-F of 0.71 is reached, at 0.99 0.31"
        in section.html
    )
    assert len(re.findall("<img", section.html)) == 2
    assert 6.5 < sound.info(tmp_path / "switch.mp3").duration < 7.5


def test_the_curve_has_its_points_in_order_and_lines_for_what_has_no_noise():
    curve = {0.5: {"mean": 0.6, "deviation": 0.02}, 0.1: {"mean": 0.7, "deviation": None}}
    figure = demo_diffusion.draw_curve(curve, {"mel": 0.5, "constant": 0.4})
    drawn, *floors = figure.axes[0].lines
    np.testing.assert_allclose(drawn.get_xydata(), [[0.1, 0.7], [0.5, 0.6]])
    assert [line.get_ydata()[0] for line in floors] == [0.5, 0.4]
