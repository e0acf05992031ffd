import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from diffusion_pir.__main__ import main
from diffusion_pir.baselines import HanCNN
from diffusion_pir.data import Windows
from diffusion_pir.decode import Calibration, aggregate, sigmoid
from diffusion_pir.han_task import HanTask, mean_of
from diffusion_pir.judge import Decision
from diffusion_pir.melstore import Clip, MelStore, Source, write_store

CLASSES = ("sine", "square")
CONFIGS = Path(__file__).parents[2] / "diffusion_pir" / "configs" / "han"

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*is already saved")


def sound(kinds: tuple[str, ...], hz: float, seconds: float, sample_rate: int) -> np.ndarray:
    phase = 2 * np.pi * hz * np.arange(round(seconds * sample_rate)) / sample_rate
    waves = {"sine": np.sin(phase), "square": np.sign(np.sin(1.3 * phase))}
    return np.sum([waves[kind] for kind in kinds], axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> MelStore:
    """Clips of one timbre to learn from; excerpts that are three times as long, some of both, to decide and to test."""
    made = []
    for i in range(32):
        split = "train" if i < 16 else "validation" if i < 24 else "test"
        kinds = CLASSES if split != "train" and i % 3 == 0 else (CLASSES[i % 2],)
        clip = Clip(f"clip{i}", f"song{i}", split, kinds, None, "")
        made.append(Source(clip, partial(sound, kinds, 200.0 + 37 * i, 0.6 if split == "train" else 1.8)))
    return write_store(tmp_path_factory.mktemp("store"), made, CLASSES, "han", progress=False)


def words(store: MelStore, **options) -> list[str]:
    values = {
        "data.corpus": "null",
        "data.stores": f"[{store.folder}]",
        "data.frames": 12,
        "data.hop": 24,
        "data.batch_size": 8,
        "data.num_workers": 0,
        "model.net.init_args.n_classes": 2,
        "model.net.init_args.hidden": 16,
        "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",
        "trainer.log_every_n_steps": 2,
        "trainer.enable_progress_bar": "false",
        **options,
    }
    return [f"--{name}={value}" for name, value in values.items()]


def test_it_trains_decides_and_is_judged_by_the_thresholds_of_its_validation(store, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    steps = {"trainer.max_steps": 12, "trainer.val_check_interval": 6, "model.optimizer.init_args.lr": 0.003}
    assert main(["fit-han", *words(store, **steps)]) == 0
    folder = tmp_path / "diffusion_pir" / "han-base-seed0"
    assert main(["test-han", "--ckpt_path=best", *words(store)]) == 0
    scores = json.loads((folder / "scores.json").read_text())
    saved = torch.load(folder / "best.ckpt", weights_only=True)
    assert {rule: tuple(own) for rule, own in saved["thresholds"].items()} == {
        rule: (row["threshold"],) for rule, row in scores.items()
    }
    assert saved["state_dict"]["net.mean"] == pytest.approx(mean_of([(store, clip) for clip in store.clips("train")]))
    assert set(scores) == {"S1", "S2"}
    assert scores["S2"]["lrap"] > 0.8
    assert scores["S1"]["f1_square"] > 0.7
    capfd.readouterr()


def task_with(windows: Windows, said: np.ndarray) -> tuple[HanTask, object]:
    """A task that has heard this of windows, and what stands for their loader."""
    task = HanTask(HanCNN(2, None), torch.optim.Adam)  # pyright: ignore[reportArgumentType] -- it is never made
    task.heard = list(said)
    loader = type("Loader", (), {"sampler": [(0, i) for i in range(len(windows))], "dataset": windows})()
    return task, loader


def test_windows_are_put_together_to_the_excerpts_that_they_are_of(store):
    windows = Windows([store], "test", CLASSES, 20, 20)
    said = np.random.default_rng(0).standard_normal((len(windows), 2)).astype(np.float32)
    task, loader = task_with(windows, said)
    heard = task.collect(loader)
    clips = store.clips("test")
    assert np.array_equal(heard.labels, store.labels(clips))
    expected = [said[[clip == own for _, own, _ in windows.windows]] for clip in clips]
    np.testing.assert_allclose(
        aggregate(sigmoid(heard.logits), heard.excerpt, len(clips), "S1"), [sigmoid(own).mean(0) for own in expected]
    )
    assert task.heard == []


def test_a_sanity_check_hears_some_windows_only(store):
    windows = Windows([store], "test", CLASSES, 20, 20)
    task, loader = task_with(windows, np.zeros((5, 2), np.float32))
    heard = task.collect(loader)
    assert len(heard.logits) == 5
    assert len(heard.labels) == 2


def test_the_published_loss_is_that_of_sigmoids_brought_to_a_sum_of_one():
    task = HanTask(HanCNN(2, None), torch.optim.Adam, loss="han")  # pyright: ignore[reportArgumentType]
    logits, labels = torch.tensor([[2.0, -1.0], [0.5, 0.5]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    chances = torch.sigmoid(logits)
    chances = chances / chances.sum(1, keepdim=True)
    expected = -(chances[0, 0].log() + 0.5 * chances[1].log().sum()) / 2
    assert torch.allclose(task.label_loss(logits, labels), expected)


def test_thresholds_are_in_the_checkpoint():
    task, again = (HanTask(HanCNN(2, None), torch.optim.Adam) for _ in range(2))  # pyright: ignore[reportArgumentType]
    task.decisions = {"S1": Decision("S1", (0.3,), Calibration()), "S2": Decision("S2", (0.5,), Calibration())}
    checkpoint: dict = {}
    task.on_save_checkpoint(checkpoint)
    again.on_load_checkpoint(checkpoint)
    assert again.decisions == task.decisions


def test_the_rate_is_halved_every_so_many_epochs():
    task = HanTask(HanCNN(2, None), lambda parameters: torch.optim.SGD(parameters, lr=1.0), halve_every=5)
    made = task.configure_optimizers()
    rates = []
    for _ in range(11):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"].step()
    assert rates == [1.0] * 5 + [0.5] * 5 + [0.25]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_builds_and_says_how_it_is_used(path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit-han", f"--config={path}", "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    HanCNN(**config["model"]["net"]["init_args"])
    assert config["data"]["front_end"] == "han"
    assert "#   make train-han" in path.read_text()
