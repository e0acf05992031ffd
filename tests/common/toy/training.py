"""Commands that may be killed: each in a process of its own, forked from one that has imported Lightning once."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import lightning as L
import torch
from matplotlib.figure import Figure

from common.cli import log_figure, run
from tests.common.toy import ToyData, ToyTask

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.common.toy.training"])


class Kill(L.Callback):
    """SIGKILL before the given batch, counted from the start of training, or in the given validation."""

    def __init__(self, batch: int = -1, validation: int = -1):
        self.batch = batch
        self.validation = validation

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking and trainer.current_epoch == self.validation:
            os.kill(os.getpid(), signal.SIGKILL)


class Draw(L.Callback):
    """A picture after each validation."""

    def on_validation_end(self, trainer, pl_module):
        log_figure(trainer, "val/points", Figure((1, 1)))


def command(runs: Path, words: list[str], output: Path, environment: dict[str, str]):
    multiprocessing.set_start_method("fork", force=True)  # of the loaders; a forkserver's children would inherit it
    torch.set_num_threads(1)
    os.environ.update(environment, TUTTI_RUNS=str(runs))
    sys.argv = ["toy"]
    with output.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    run(ToyTask, ToyData, "tests.common.toy", words)


def toy(runs: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Run the toy's command line; its exit code, or minus the signal that killed it, and what it printed."""
    output = runs / "output.txt"
    child = CONTEXT.Process(target=command, args=(runs, list(words), output, {"WANDB_MODE": "disabled"} | environment))
    child.start()
    child.join()
    return child.exitcode, output.read_text()
