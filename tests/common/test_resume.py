import csv
import hashlib
from pathlib import Path

import pytest
import torch

from tests.common.toy.training import toy

EMA = "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"
KILL = "--trainer.callbacks+=tests.common.toy.training.Kill"
OPTIONS = {
    "plain": [],
    "ema": [EMA, "--trainer.callbacks.decay=0.9"],
    "accumulation": ["--trainer.accumulate_grad_batches=2"],
    "both": [EMA, "--trainer.callbacks.decay=0.9", "--trainer.accumulate_grad_batches=2"],
}
# Before which batch or in which validation, and after how many steps each last.ckpt was written (besides at the end of
# each epoch, which has 8 batches).
KILLS = {
    "before the first checkpoint": ("batch=2", 3),
    "in the middle": ("batch=13", 3),
    "at the border": ("batch=16", 3),
    "in validation": ("validation=1", 3),
    "between the last batch and its validation": ("validation=1", 4),
}


def digest(value) -> str:
    """SHA-256 of a nested structure of tensors and plain values."""
    if isinstance(value, torch.Tensor):
        data = str(value.dtype).encode() + value.numpy().tobytes()
    elif isinstance(value, dict):
        data = "".join(f"{key}:{digest(value[key])}" for key in sorted(value, key=str)).encode()
    elif isinstance(value, (list, tuple)):
        data = "".join(map(digest, value)).encode()
    else:
        data = repr(value).encode()
    return hashlib.sha256(data).hexdigest()


def state(runs: Path) -> dict[str, str]:
    """Digest of each thing that training changes, in last.ckpt, and of the scores that were logged."""
    folder = runs / "tests.common.toy" / "base-seed0"
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    names = ("global_step", "epoch", "state_dict", "optimizer_states", "lr_schedulers")
    averaging = ("current_model_state", "averaging_state")
    digests = {name: digest(checkpoint[name]) for name in (*names, *(n for n in averaging if n in checkpoint))}
    with (folder / "metrics.csv").open() as file:
        scores = {(row["step"], row["train/loss"], row["val/loss"]) for row in csv.DictReader(file)}
    return digests | {"scores": digest(sorted(scores))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The state at the end of a run that is never killed, without worker processes."""
    states = {}
    for name, options in OPTIONS.items():
        runs = tmp_path_factory.mktemp(name)
        assert toy(runs, "fit", *options)[0] == 0
        states[name] = state(runs)
    return states


def test_the_options_matter(uninterrupted):
    """Otherwise the equalities below would say nothing."""
    weights = {digests["state_dict"] for digests in uninterrupted.values()}
    assert len(weights) == len(OPTIONS)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("name", OPTIONS)
def test_killed_and_resumed_equals_uninterrupted(uninterrupted, tmp_path, name, kill, num_workers):
    moment, every = KILLS[kill]
    words = ["fit", f"--checkpoint_every={every}", f"--data.num_workers={num_workers}", "--ckpt_path=last"]
    words += OPTIONS[name]
    assert toy(tmp_path, *words, KILL, f"--trainer.callbacks.{moment}")[0] == -9
    code, output = toy(tmp_path, *words)
    assert code == 0, output
    assert state(tmp_path) == uninterrupted[name]
