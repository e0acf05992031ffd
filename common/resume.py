"""What Lightning needs so that a run which was killed goes on as if nothing had happened."""

from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint


class ExactResume(L.Callback):
    """A run that was killed and resumed ends with the weights of one that was not, bit by bit (on a CPU).

    Random numbers are not saved but made anew: every batch starts from a seed of its own, so that dropout and noise
    depend on the place in training alone, and validation draws the same each time. `common.loading` does the same for
    the data. A checkpoint in the middle of an accumulation carries the gradients so far.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.gradients: dict[str, torch.Tensor] = {}

    def reseed(self, trainer: L.Trainer, *place: int):
        sequence = np.random.SeedSequence((self.seed, trainer.global_rank, *place))
        seed = int(sequence.generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 -- for libraries that draw from the global state

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.reseed(trainer, trainer.current_epoch, batch_idx)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.reseed(trainer, dataloader_idx, batch_idx)

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if trainer.fit_loop._should_accumulate():
            checkpoint["gradients"] = {
                name: parameter.grad for name, parameter in pl_module.named_parameters() if parameter.grad is not None
            }

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        self.gradients = checkpoint.get("gradients", {})

    def on_train_start(self, trainer, pl_module):
        for name, gradient in self.gradients.items():
            parameter = pl_module.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        self.gradients = {}


class LastCheckpoint(Checkpoint):
    """Writes where the run is: every so many optimiser steps, and where training may end.

    Only at moments from which Lightning resumes correctly (2.6 does not from two others): not between a batch and its
    validation, which the resumed run would leave out, and with it a score and perhaps the best checkpoint; nor, where
    `max_steps` sets the length, at the end of an epoch, which would be counted twice. The checkpoint is then written at
    the next good moment. Lightning runs callbacks of this type last, when weights are averaged and the best is chosen.

    Args:
        path: the file, replaced each time.
        every: optimiser steps from one writing to the next.
    """

    def __init__(self, path: Path, every: int):
        self.path = path
        self.every = every
        self.saved = 0  # optimiser steps when it was last written

    def save(self, trainer: L.Trainer):
        trainer.save_checkpoint(self.path, weights_only=False)
        self.saved = trainer.global_step

    def is_due(self, trainer: L.Trainer) -> bool:
        return trainer.global_step >= self.saved + self.every and not trainer.is_last_batch

    def on_train_start(self, trainer, pl_module):
        self.saved = trainer.global_step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        place = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
        validates = trainer.val_check_batch and (place + 1) % trainer.val_check_batch == 0
        if self.is_due(trainer) and not validates:
            self.save(trainer)

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking and self.is_due(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer, pl_module):
        # `max_steps` is -1 where epochs set the length.
        if trainer.global_step >= trainer.max_steps or trainer.should_stop:
            self.save(trainer)
