from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from common import checkpoint
from common.resume import ExactResume, LastCheckpoint
from diffusion_pir.averaging import RunningAverage
from diffusion_pir.data import Batch
from diffusion_pir.diffusion import add_noise, ddim, stratified_timesteps, velocity
from diffusion_pir.loss import velocity_loss
from diffusion_pir.model import Denoiser
from diffusion_pir.task import DiffusionTask
from tests.diffusion_pir.patterns import INIT_ARGS, PictureData, batch, denoiser

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is already saved during checkpointing"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]


class Weights(L.Callback):
    """What the weights were after each step."""

    def __init__(self):
        self.history: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.history.append(pl_module.net.null.detach().clone())


class Fall(L.Callback):
    """The run dies before a batch."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise RuntimeError("power cut")


def task(net: Denoiser | None = None, **options: Any) -> DiffusionTask:
    made = DiffusionTask(
        net or denoiser(), partial(torch.optim.AdamW, lr=2e-3), **{"warmup": 2, "ema": 0.9, "sample_steps": 0} | options
    )
    made.hparams.clear()  # as the command line has them, which is what an export reads
    made.hparams["net"] = {"class_path": "diffusion_pir.model.Denoiser", "init_args": INIT_ARGS}
    return made


def fit(folder: Path, made: DiffusionTask, steps: int, *callbacks: L.Callback, seed: int = 0, **options: Any) -> Path:
    """Train on pictures, 4 batches an epoch; the path of last.ckpt."""
    torch.set_num_threads(1)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[ExactResume(seed), LastCheckpoint(folder / "last.ckpt", 5), *callbacks],
        **{"limit_val_batches": 0} | {key: value for key, value in options.items() if key != "ckpt_path"},
    )
    trainer.fit(made, PictureData(), ckpt_path=options.get("ckpt_path"))
    return folder / "last.ckpt"


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_one_batch_is_learnt_by_heart():
    """Check 6: the loss of 8 clips with noise that stays falls below 30 % of its start in 300 steps."""
    net, given = denoiser(), batch(8)
    torch.manual_seed(0)
    x = net.standardise(given["log_mel"])
    eps, t = torch.randn_like(x), stratified_timesteps(8)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses: list[float] = []
    while len(losses) < 300 and (not losses or losses[-1] >= 0.3 * losses[0]):
        told = net(add_noise(x, eps, t), t, net.prompt(given["labels"]))
        loss = velocity_loss(told, velocity(x, eps, t), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_what_is_kept_is_the_running_average(tmp_path):
    """Check 13: the checkpoint's `state_dict` is the average as computed from the weights of all steps by hand."""
    weights = Weights()
    kept = read(fit(tmp_path, task(ema=0.5), 8, weights))
    expected = weights.history[0]  # the first step is taken over
    for n, value in enumerate(weights.history[1:], 1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(kept["state_dict"]["net.null"], expected)
    assert kept["current_model_state"]["net.null"].equal(weights.history[-1])


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path):
    """Check 14: weights, average, optimiser and rate are equal to the bit, 20 steps at once or with a fall between."""
    whole = read(fit(tmp_path / "whole", task(), 20))
    cut = tmp_path / "cut" / "last.ckpt"
    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path / "cut", task(), 20, Fall(13))
    assert read(cut)["global_step"] == 10
    resumed = read(fit(tmp_path / "cut", task(denoiser(seed=5)), 20, ckpt_path=cut))
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert equal(resumed[key], whole[key]), key
    assert resumed["global_step"] == 20


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.equal(second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def test_a_run_starts_from_the_average_of_another(tmp_path):
    """And one that is resumed does not read it again."""
    first = fit(tmp_path / "0", task(), 6)
    average = read(first)["state_dict"]
    checkpoint.export_checkpoint(first, Denoiser, tmp_path / "0.safetensors")
    for init in (first, tmp_path / "0.safetensors"):
        made = task(denoiser(seed=3), init=str(init), ema=1.0)
        made.optimizer = partial(torch.optim.SGD, lr=0.0)
        assert equal(read(fit(tmp_path / f"from {init.name}", made, 2))["state_dict"], average)
    resumed = task(init=str(tmp_path / "gone.ckpt"))
    assert read(fit(tmp_path / "on", resumed, 9, ckpt_path=first))["global_step"] == 9
    with pytest.raises(checkpoint.CheckpointError, match=r"gone\.ckpt"):
        fit(tmp_path / "off", task(init=str(tmp_path / "gone.ckpt")), 2)
    with pytest.raises(checkpoint.CheckpointError, match="not the weights of this Denoiser"):
        fit(tmp_path / "other", task(denoiser(patch=1), init=str(first)), 2)


def logged(made: DiffusionTask) -> dict[str, float]:
    """Where the task's scores go when there is no trainer."""
    scores: dict[str, float] = {}
    made.log = lambda name, value, **options: scores.update({name: value.item()})
    return scores


def relabelled(given: Batch) -> Batch:
    return {**given, "labels": given["labels"].flip(1)}


def test_prompts_are_dropped_as_often_as_is_said():
    """Check 15: 4,000 clips at 0.1, within 4 standard deviations of the binomial."""
    made = task(prompt_dropout=0.1)
    logged(made)
    seen: list[torch.Tensor] = []
    made.forward = lambda batch, t, eps, dropped: seen.append(dropped) or torch.zeros(())
    torch.manual_seed(0)
    for _ in range(5):
        made.training_step(batch(800), 0)
    assert abs(torch.cat(seen).float().mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 4000)


@pytest.mark.parametrize("prompt_dropout", [0.1, 1.0])
def test_a_network_without_prompts_never_sees_a_label(prompt_dropout):
    """The gradient does not depend on the labels, nor does the score."""
    outcomes = []
    for given in (batch(4), relabelled(batch(4))):
        made = task(prompt_dropout=prompt_dropout)
        scores = logged(made)
        torch.manual_seed(1)
        made.training_step(given, 0).backward()
        made.validation_step(given, 0)
        outcomes.append((made.net.unet.conv_in.weight.grad, scores["val/loss"]))
    assert equal(outcomes[0], outcomes[1]) == (prompt_dropout == 1.0)


def test_every_validation_has_the_same_noise():
    made = task()
    scores = logged(made)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.validation_step(batch(4), 3)
        found.append(dict(scores))
    assert found[0] == found[1]
    levels = [value for name, value in scores.items() if name.startswith("val/loss_sigma_")]
    assert scores["val/loss"] == pytest.approx(np.mean(levels))
    made.validation_step(batch(4), 4)
    assert scores != found[0]


def test_silence_after_a_clip_does_not_count():
    made, given = task(), batch(2)
    t, eps, dropped = torch.tensor([9, 700]), torch.randn(2, 16, 16), torch.zeros(2, dtype=torch.bool)
    assert made({**given, "frames": torch.tensor([16, 4])}, t, eps, dropped) != made(given, t, eps, dropped)


def test_checkpointed_gradients_are_the_same():
    gradients = []
    for option in (False, True):
        made = task(gradient_checkpointing=option)
        logged(made)
        torch.manual_seed(0)
        made.training_step(batch(2), 0).backward()
        gradients.append(made.net.unet.conv_in.weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_validation_draws_what_the_network_makes_of_each_class(tmp_path):
    options = {"limit_val_batches": 1, "val_check_interval": 4, "check_val_every_n_epoch": None}
    fit(tmp_path, task(sample_steps=2), 4, **options)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["samples-0000004.png"]


def test_the_average_is_of_no_use_outside_of_training():
    made = task()
    made.trainer = L.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    assert made.configure_callbacks() == []
    made.trainer.state.fn = "fit"  # pyright: ignore[reportAttributeAccessIssue]
    assert [type(callback) for callback in made.configure_callbacks()] == [RunningAverage]


def test_samples_are_of_the_class_that_is_asked_for():
    """Check 16 in small: stripes along time or along frequency, as the prompt says."""
    net = denoiser()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    made = task(net)
    logged(made)
    torch.manual_seed(0)
    for step in range(120):
        loss = made.training_step(batch(8, seed=step), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = torch.eye(2, dtype=torch.bool).repeat_interleave(8, 0)
    noise = torch.randn(8, 16, 16).repeat(2, 1, 1)
    x = ddim(net.eval(), noise, 10, 2.0, labels)
    along_frequency = x.mean(1).std(1) > x.mean(2).std(1)
    assert (along_frequency == labels[:, 1]).float().mean() > 0.9


def test_memory_format_and_bfloat16_change_little():
    """Check 23, as far as a CPU goes."""
    net = denoiser().eval()
    given = torch.randn(4, 16, 16), torch.tensor([10, 300, 600, 900]), net.prompt(torch.eye(2).repeat(2, 1))
    with torch.no_grad():
        expected = net(*given)
        last = task(net, channels_last=True).net(*given)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(*given)
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)
    assert rough.dtype == torch.float32
    assert torch.cosine_similarity(rough.flatten(1), expected.flatten(1)).min() > 0.999
