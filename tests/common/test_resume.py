import csv
import hashlib
from pathlib import Path

import pytest
import torch

from tests.common.toy.training import toy

KILL = "--trainer.callbacks+=tests.common.toy.training.Kill"
AVERAGED = [
    "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging",
    "--trainer.callbacks.decay=0.9",
    "--trainer.accumulate_grad_batches=2",
]
# An epoch has 8 batches. Where steps set the length, validation keeps a rhythm of its own.
STEPS = ["--trainer.max_epochs=-1", "--trainer.max_steps=13"]
RHYTHM = ["--trainer.val_check_interval=5", "--trainer.check_val_every_n_epoch=null"]
OPTIONS = {
    "plain": [],
    "averaged and accumulated": AVERAGED,
    "by steps": [*AVERAGED, *STEPS, *RHYTHM],
    "two processes": ["--trainer.strategy=ddp_fork", "--trainer.devices=2"],
}
CASES = [
    # options, before which batch or in which validation it is killed, steps between checkpoints, workers
    ("plain", "batch=2", 3, 0),  # before the first checkpoint
    ("plain", "batch=13", 3, 2),  # in the middle of an epoch
    ("plain", "batch=16", 3, 0),  # between two epochs
    ("plain", "validation=1", 4, 0),  # a checkpoint was due between the last batch and this validation
    ("averaged and accumulated", "batch=13", 2, 0),
    ("averaged and accumulated", "batch=16", 3, 2),
    ("by steps", "batch=9", 1, 0),  # resumes with half of the batches of a step behind it
    ("by steps", "batch=16", 3, 0),
    ("by steps", "batch=17", 5, 2),  # resumes from a checkpoint written after a validation
    ("two processes", "batch=7", 2, 0),
]


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


@pytest.mark.parametrize(("name", "kill", "every", "num_workers"), CASES)
def test_killed_and_resumed_equals_uninterrupted(uninterrupted, tmp_path, name, kill, every, num_workers):
    words = ["fit", f"--checkpoint_every={every}", f"--data.num_workers={num_workers}", "--ckpt_path=last"]
    words += OPTIONS[name]
    code, output = toy(tmp_path, *words, KILL, f"--trainer.callbacks.{kill}")
    assert code == -9 or "terminated with signal SIGKILL" in output
    code, output = toy(tmp_path, *words)
    assert code == 0, output
    assert state(tmp_path) == uninterrupted[name]
