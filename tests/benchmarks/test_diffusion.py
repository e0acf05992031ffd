import json

import numpy as np
import pytest

from benchmarks import diffusion, harness
from benchmarks.diffusion_scores import Excerpts
from diffusion_pir.prober import Result
from tests.diffusion_pir.tones import make_store, write_weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    make_store(root / "tones")
    write_weights(root / "net.safetensors")
    return root


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path / "runs"))
    return tmp_path


def command(data, *words: str) -> int:
    model = ["--model", str(data / "net.safetensors"), "--data", str(data / "tones")]
    return diffusion.main([*model, "--features", str(data / "features"), *words])


def test_all_systems_stand_side_by_side(data, results, capsys):
    han = results / "han.json"
    scores = {"threshold": 0.5, "micro": 0.6, "macro": 0.5, "lrap": 0.7, "map": 0.65}
    han.write_text(json.dumps({"S1": scores, "S2": scores | {"micro": 0.62}}))
    assert command(data, "--seeds", "0", "1", "--zero-shot", "--han", str(han)) == 0
    record = json.loads((results / "eval-diffusion.json").read_text())
    systems = record["results"]["systems"]
    assert set(systems) == {
        "paper's recipe", "plus", "random weights", "plus on random weights", "mel statistics", "constant",
        "denoising error, no head",
    }  # fmt: skip
    assert systems["plus"]["seeds"] == [0, 1]
    assert systems["plus"]["noise"] == "0.1+0.3"
    assert (systems["paper's recipe"]["layer"], systems["paper's recipe"]["head"]) == ("bottleneck_2", "mlp")
    assert systems["constant"]["seeds"] == [0]
    assert record["results"]["data"]["excerpts"] == record["results"]["data"]["recordings"] == 9
    assert [float(sigma) for sigma in record["results"]["noise"]] == list(diffusion.NOISE)
    assert record["results"]["han"]["Han CNN, S2"]["micro"] == {"mean": 0.62, "deviation": None}
    assert len(record["goals"]) == 7 + 7
    mean, low, high = record["results"]["differences"]["plus - paper's recipe"]
    assert low <= mean <= high
    assert mean == pytest.approx(
        systems["plus"]["micro"]["mean"] - systems["paper's recipe"]["micro"]["mean"], abs=2e-4
    )
    assert (results / "eval-diffusion.png").exists()
    shown = capsys.readouterr().out
    assert "Han CNN, S1" in shown
    assert "denoising error, no head" in shown


def test_validation_and_not_the_test_set_finds_the_noise_of_the_papers_recipe(monkeypatch):
    def fits(asked, options):
        """The higher the noise the better on the test set, and the worse on validation."""
        return {
            name: [Result({"val_micro": -sigma_of(point), "micro": sigma_of(point)}, np.zeros((1, 2)))]
            for name, point in asked.items()
        }

    def sigma_of(point) -> float:
        return point.sigmas[0]

    monkeypatch.setattr(diffusion, "fit_each", fits)
    systems, noise, layers = diffusion.fit_all(diffusion.build_parser().parse_args(["--others", "more.safetensors"]))
    assert systems[diffusion.PAPER] is noise[min(diffusion.NOISE)]
    assert {"plus on more", "paper's recipe on more"} <= set(systems)
    assert set(layers) == {*diffusion.LAYERS, "all"}


def test_what_is_promised():
    """A network that knows at low noise what its control does not, and nothing at high noise."""
    labels = np.eye(4)[np.arange(40) % 4]
    excerpts = Excerpts(labels, tuple(map(str, range(40))))

    def fits(share: float) -> list[Result]:
        right = np.arange(40) < share * 40
        scores = np.where(right[:, None], labels, np.roll(labels, 1, axis=1))
        return [Result({"threshold": 0.5, "agg": "S1", "micro": share}, scores)]

    noise = {0.02: 0.9, 0.1: 0.9, 0.3: 0.85, 0.5: 0.8, 0.7: 0.6, 0.9: 0.4, 0.99: 0.25}
    layers = dict.fromkeys(diffusion.LAYERS, 0.9) | {"all": 1.0}
    systems = {
        diffusion.PAPER: 0.9, diffusion.PLUS: 0.95, diffusion.RANDOM: 0.6, diffusion.RANDOM_PLUS: 0.7,
        diffusion.MEL: 0.7, diffusion.FLOOR: 0.3,
    }  # fmt: skip
    systems, noise, layers = (
        {name: fits(share) for name, share in table.items()} for table in (systems, noise, layers)
    )
    rows = diffusion.checks(systems, noise, layers, excerpts)
    assert [row["value"] for row in rows] == pytest.approx([0.3, 0.65, 0.0, 0.3, -0.1, 0.1, 0.3])
    assert all(row["met"] for row in rows)
    found = diffusion.differences(systems, noise, excerpts)
    assert found["paper's recipe - random weights"][0] == pytest.approx(0.3)
    assert all(row["met"] for row in diffusion.order(found))
    worse = diffusion.order(diffusion.differences(systems | {diffusion.PLUS: fits(0.8)}, noise, excerpts))
    assert not worse[0]["met"]


def test_what_is_missing_is_one_line(data, results, tmp_path, capsys):
    assert command(data, "--han", str(tmp_path / "none.json")) == 2
    assert "none.json" in capsys.readouterr().err
    assert diffusion.main(["--model", "huge", "--data", str(data / "tones")]) == 2
    assert "huge: no such model" in capsys.readouterr().err
