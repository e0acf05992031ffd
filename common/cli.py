"""The one training command line: `python -m <package> fit|validate|test --config ... --model.net.width=3`.

A package has `configs/base.yaml`, the default of every command; other files, and then options, name what differs. A key
that does not exist or a value of the wrong type stops the command with its dotted name and exit code 2.

How a Task is written for it (a LightningModule; see `lightweight_amt.task`):

- `monitor` and `monitor_mode` are class attributes: the logged score that chooses `best.ckpt`, and "max" or "min".
- `__init__(self, net: nn.Module, optimizer: OptimizerCallable, ...)` calls `self.save_hyperparameters(logger=False)`,
  without `ignore`: the checkpoint then holds the configuration (not the weights) of `net`, from which
  `common.checkpoint.export_checkpoint` builds it again. The network is called `self.net`.
- `optimizer` has no default (a default cannot be overridden in base.yaml); base.yaml writes `net` and `optimizer` in
  full, with `class_path` and `init_args`; a delta may give `init_args` alone.
- A step draws random numbers from torch's generators only; a dataset as `common.loading` says.

How a Data is written: a LightningDataModule without `save_hyperparameters`, whose loaders come from `make_loader`.

A run lives in `runs/<package>/<name>/` (another root: TUTTI_RUNS): config.yaml (the resolved configuration, which runs
again as it is), best.ckpt, last.ckpt, metrics.csv, pictures/ and wandb/. After a kill, the same command with
`--ckpt_path=last` goes on exactly where last.ckpt was written.
"""

import argparse
import csv
import linecache
import logging
import os
import sys
import traceback
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from jsonargparse import Namespace, set_parsing_settings
from jsonargparse.typing import PositiveInt
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from matplotlib.figure import Figure

from common.machine import has_bf16, wandb_mode
from common.resume import ExactResume, LastCheckpoint
from common.storage import replacing


def run(
    task_class: type[L.LightningModule],
    data_class: type[L.LightningDataModule],
    package: str,
    args: list[str] | None = None,
    base: str = "base",
) -> L.Trainer:
    """Parse the command line (or `args`, a list of words) and do what it says.

    Args:
        task_class: what trains; see the module's text.
        data_class: what loads.
        package: its import name; its runs go to a folder of this name.
        args: instead of `sys.argv[1:]`.
        base: the file of the package's `configs` that has the defaults; a package with two tasks has two.

    Returns:
        The trainer, when it is done.
    """
    quieten()
    # Interpolations such as ${data.bins} are relative to the command's own keys, and are resolved after all overrides.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    command = {
        "default_config_files": [str(files(package) / "configs" / f"{base}.yaml")],
        "usage": f"python -m {package} COMMAND [--config FILE]... [--KEY=VALUE]...",  # the list of keys is in --help
    }
    try:
        cli = TrainingCLI(
            task_class,
            data_class,
            package=package,
            base=base,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs={"parser_mode": "omegaconf+"} | {name: dict(command) for name in TrainingCLI.subcommands()},
            # The sampler of common.loading shares the data out itself.
            trainer_defaults={"use_distributed_sampler": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=args,
        )
    except ValueError as error:
        if not is_ours(error, package):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    for logger in cli.trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # or another run in this process would be written into it
    return cli.trainer


def is_ours(error: Exception, package: str) -> bool:
    """Whether our code raised it on purpose: then it is about what the user gave, and else a fault to be traced."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    raised = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return raised and f"{frame.f_globals['__name__']}.".startswith(("common.", f"{package}."))


def quieten():
    """Leave out what Lightning says about products, its own internals, and what we do on purpose."""
    for message in (
        ".*LeafSpec.*",
        ".*is an instance of `nn.Module` and is already saved.*",
        ".*exists and is not empty.*",
        ".*args parameter is intended to run from within Python.*",
    ):
        warnings.filterwarnings("ignore", message)
    adverts = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    adverts.addFilter(lambda record: "Tip:" not in record.getMessage())


class TrainingCLI(LightningCLI):
    """LightningCLI with the run folder, loggers and callbacks of this house."""

    def __init__(self, *args, package: str, base: str, **kwargs):
        self.package = package
        self.base = base
        super().__init__(*args, **kwargs)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        commands = LightningCLI.subcommands()
        return {name: commands[name] for name in ("fit", "validate", "test")}

    def parse_arguments(self, parser: LightningArgumentParser, args):
        super().parse_arguments(parser, args)
        # Which files were given is not kept in the configuration.
        given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        given.add_argument("-c", "--config", default=self.base)
        preset = Path(given.parse_known_args(args)[0].config).stem
        self.preset = "-".join([*Path(self.base).parts[:-1], preset])

    def add_arguments_to_parser(self, parser: LightningArgumentParser):
        parser.add_argument("--name", type=str | None, help="Name of the run; none takes configuration and seed.")
        parser.add_argument(
            "--checkpoint_every", type=PositiveInt, default=500, help="Optimiser steps between writing last.ckpt."
        )

    @property
    def settings(self) -> Namespace:
        """Configuration of the command that was given."""
        return self.config[str(self.subcommand)]

    def before_instantiate_classes(self):
        """Settle the run folder and the checkpoint to start from."""
        config, error = self.settings, self._parser(self.subcommand).error
        if config.name is None:
            config.name = f"{self.preset}-seed{config.seed_everything}"
        self.folder = Path(os.environ.get("TUTTI_RUNS", "runs"), self.package, config.name).absolute()
        training = self.subcommand == "fit" and not config.trainer.fast_dev_run and rank_zero_only.rank == 0
        if training and not config.ckpt_path and any(self.folder.glob("*.ckpt")):
            error(f"{self.folder} holds a run: continue it with --ckpt_path=last, or give another --name")
        if config.ckpt_path in ("last", "best"):
            path = self.folder / f"{config.ckpt_path}.ckpt"
            # Where jobs get interrupted the same command is given each time, and the first time it starts from nothing.
            if not path.exists() and (self.subcommand, config.ckpt_path) != ("fit", "last"):
                error(f"there is no {path}: train first, or give the --name of the run or the path of a .ckpt")
            config.ckpt_path = str(path) if path.exists() else None

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        config = self.settings
        options: dict[str, Any] = {"default_root_dir": str(self.folder)}
        callbacks: list[L.Callback] = [ExactResume(int(config.seed_everything))]
        if self.subcommand != "fit" or config.trainer.fast_dev_run:
            options["logger"] = False
        elif config.trainer.logger is None:
            options["logger"] = loggers(self.folder, self.package, resumes=bool(config.ckpt_path))
            callbacks.append(LearningRateMonitor("step"))
        if config.trainer.enable_checkpointing is not False and not config.trainer.fast_dev_run:
            task: Any = self.model
            score = {"monitor": task.monitor, "mode": task.monitor_mode}
            callbacks.append(ModelCheckpoint(self.folder, "best", enable_version_counter=False, **score))
            callbacks.append(LastCheckpoint(self.folder / "last.ckpt", config.checkpoint_every))
        if str(config.trainer.precision).startswith("bf16") and not has_bf16(config.trainer.accelerator):
            rank_zero_info("This CPU has no bfloat16 units and would be 25 times slower with it: precision is 32-true.")
            options["precision"] = "32-true"
        self.trainer_defaults["callbacks"] = callbacks
        return super().instantiate_trainer(**options, **kwargs)


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration of a training run beside its checkpoints, and into its W&B record."""

    def save_config(self, trainer, pl_module, stage):
        if stage != "fit":
            return
        config = self.config.clone()
        config.ckpt_path = None  # how it was resumed is not what it is
        text = self.parser.dump(config, skip_none=False)
        with replacing(Path(trainer.default_root_dir, "config.yaml")) as temporary:
            temporary.write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(yaml.safe_load(text))


def loggers(folder: Path, package: str, resumes: bool) -> list[Logger]:
    """metrics.csv, and W&B in the mode of `wandb_mode`; both go on where the run left off if it is resumed."""
    metrics = folder / "metrics.csv"
    rows = list(csv.DictReader(metrics.open(newline=""))) if resumes and metrics.exists() else []
    table = CSVLogger(folder.parent, name="", version=folder.name, flush_logs_every_n_steps=1)
    if rows and rank_zero_only.rank == 0:
        table.experiment.metrics.extend(rows)  # Lightning has just removed the file
        table.save()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_MODE"] = wandb_mode()
    if os.environ["WANDB_MODE"] == "disabled":
        return [table]
    os.environ.setdefault("WANDB_DATA_DIR", str(folder))  # where media wait for upload; elsewhere they would get lost
    ids = [path.name.rpartition("-")[2] for path in folder.glob("wandb/*run-*-*")] if resumes else []
    return [table, WandbLogger(folder.name, save_dir=folder, project=package, id=next(iter(ids), None))]


@rank_zero_only
def log_figure(trainer: L.Trainer, name: str, figure: Figure):
    """Save a picture as pictures/<name>-<step>.png in the run folder, and log it to W&B."""
    path = Path(trainer.default_root_dir, "pictures", f"{name}-{trainer.global_step:07d}.png")
    with replacing(path) as temporary:
        figure.savefig(temporary)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step=trainer.global_step)
