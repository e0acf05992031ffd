"""What Lightning leaves out of a resumed run: random numbers, and gradients that wait for their optimiser step."""

import lightning as L
import numpy as np
import torch


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
