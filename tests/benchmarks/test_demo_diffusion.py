import re

import numpy as np
import pytest

from benchmarks import demo_diffusion
from common import audio as sound
from common.instruments import IRMAS
from diffusion_pir.fits import COLUMNS, write_rows
from diffusion_pir.inference import Recognition

CLASSES = tuple(IRMAS)
SIGMAS = {0.0: 43.8, 0.1: 15.3, 0.9: -16.2}


def fit(role: str, model: str, sigma: float | None, micro: float, seed: int = 0) -> dict:
    """A row of a sweep."""
    told = {"train_set": "a", "test_set": "a", "agg": "S2", "loss": "bce", "draws": 4, "mixes": 0, "params": 9}
    row = (
        dict.fromkeys(COLUMNS) | told | {"role": role, "model": model, "micro": micro, "val_micro": micro, "seed": seed}
    )
    row |= {"layer": "bottleneck_2", "head": "mlp"} if sigma is not None else {"layer": "", "head": ""}
    row |= {"sigma": sigma, "noise": "" if sigma is None else f"{sigma:g}"}
    return row | {"log_snr_db": None if sigma is None else SIGMAS[sigma], "f1_cel": micro, "n_cel": 3}


def heard(audio: np.ndarray, rate: int, watch) -> Recognition:
    """Hears what is there at first, and never notices that another one comes to the fore; in one window it is deaf."""
    watch(np.full((128, 350), -5.0, np.float32))
    times = np.arange(21) * 0.25
    probabilities = np.zeros((21, len(CLASSES)), np.float32)
    probabilities[1:, CLASSES.index("sax")] = 0.9
    return Recognition(times, times + 2.0, probabilities, CLASSES, ("sax",), probabilities[1], 7.0)


@pytest.fixture
def record(tmp_path):
    rows = [fit("floor", "constant", None, 0.44)]
    for sigma, micro in zip(SIGMAS, (0.6, 0.7, 0.3), strict=True):
        rows += [fit("model", "small", sigma, micro + 0.01 * seed, seed) for seed in range(3)]
        rows += [fit("control", "random:small", sigma, micro - 0.2, seed) for seed in range(3)]
    write_rows(tmp_path / "record.csv", rows)
    return tmp_path / "record.csv"


def test_the_section_says_how_much_was_right_and_what_noise_does(tmp_path, monkeypatch, record, capsys):
    monkeypatch.setattr(demo_diffusion, "recognise", heard)
    monkeypatch.setattr(demo_diffusion, "RECORD", record)
    section = demo_diffusion.section(tmp_path, 3)
    # Seven windows end by 3.5 s, of which it misses the first; seven begin then or later, and it misses all.
    assert "right in 6 of the 14 windows" in capsys.readouterr().out
    assert section.html.count("6 of the 14 windows") == 2
    assert "At noise level 0.1 a micro-F of 0.71" in section.html
    assert "at 0.9 0.31" in section.html
    assert len(re.findall("<img", section.html)) == 2
    assert 6.5 < sound.info(tmp_path / "switch.mp3").duration < 7.5
