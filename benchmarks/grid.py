"""A grid of configs and seeds, read from a W&B sweep file, and the command lines of its runs.

The same file serves agents on many machines (`wandb sweep FILE`) and `benchmarks.ablate` on one. A row is a config file
and bears its name; `config` and `seed_everything` vary, and what else stands under `parameters` is the same for all.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

STEPS, INTERVAL = "trainer.max_steps", "trainer.val_check_interval"
CORPUS, CORPORA = "data.corpus", "data.corpora"  # one, or several with the weight of each: a grid has one of the two


class GridError(ValueError):
    """A grid that cannot be read, or a row that it does not have."""


@dataclass(frozen=True)
class Run:
    """One row with one seed."""

    row: str
    seed: int
    config: str


@dataclass(frozen=True)
class Grid:
    """What is run, and how.

    Args:
        name: of the file, without its suffix.
        package: whose command line it is.
        verb: of the command line that trains, "fit" or "fit-" and what it trains.
        options: words after the verb; "${args}" stands for what differs between runs.
        configs: file by row.
        seeds: of each row.
        settings: further options of every run.
    """

    name: str
    package: str
    verb: str
    options: tuple[str, ...]
    configs: dict[str, str]
    seeds: tuple[int, ...]
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Grid":
        """Raises GridError if this is not a sweep file of the form that benchmarks/sweeps has."""
        try:
            sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
            parameters = dict(sweep["parameters"])
            _, verb, *options = sweep["command"][sweep["command"].index("${program}") :]
            configs = {Path(config).stem: config for config in parameters.pop("config")["values"]}
            seeds = tuple(parameters.pop("seed_everything")["values"])
            settings = {name: parameter["value"] for name, parameter in parameters.items()}
            grid = cls(path.stem, sweep["program"], verb, tuple(options), configs, seeds, settings)
            for name in (STEPS, INTERVAL, CORPORA if CORPORA in settings else CORPUS):
                settings[name]
        except (OSError, yaml.YAMLError, LookupError, ValueError, TypeError) as error:
            raise GridError(
                f"{path}: not a grid ({error!r}); take the files of benchmarks/sweeps as a model"
            ) from error
        return grid

    def select(
        self,
        only: list[str] | None = None,
        seeds: list[int] | None = None,
        steps: int | None = None,
        corpus: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> "Grid":
        """The same with fewer rows, other seeds, another budget, another corpus, other settings.

        Raises:
            GridError: there is no row of that name.
        """
        for row in only or ():
            if row not in self.configs:
                raise GridError(f"{row}: no such row; the rows of {self.name} are {', '.join(self.configs)}")
        changed = self.settings | (settings or {})
        if steps is not None:
            # Without a validation there would be no best checkpoint.
            changed |= {STEPS: steps, INTERVAL: min(changed[INTERVAL], steps)}
        if corpus is not None:
            changed |= {CORPORA: {corpus: 1.0}} if CORPORA in changed else {CORPUS: corpus}
        configs = {row: config for row, config in self.configs.items() if not only or row in only}
        return replace(self, configs=configs, seeds=tuple(seeds or self.seeds), settings=changed)

    @property
    def corpora(self) -> list[str]:
        """What is trained and tested on."""
        return [*self.settings[CORPORA]] if CORPORA in self.settings else [self.settings[CORPUS]]

    @property
    def budget(self) -> str:
        """Name of the folder that keeps runs of another budget apart."""
        return f"{'+'.join(self.corpora)}-{self.settings[STEPS]}"

    def runs(self) -> list[Run]:
        """One seed of every row after the other: stopped halfway, every row has been seen."""
        return [Run(row, seed, config) for seed in self.seeds for row, config in self.configs.items()]

    def folder(self, root: Path, run: Run) -> Path:
        """Where the command line puts a run when TUTTI_RUNS is `root`."""
        branch = "".join(f"{part}-" for part in self.verb.split("-")[1:])
        return root / self.package / f"{branch}{run.row}-seed{run.seed}"

    def training(self, run: Run) -> list[str]:
        """Words after the interpreter that train; given again, they go on where the run was stopped."""
        return self._words(run, self.verb, list(self.options))

    def testing(self, run: Run, scores: Path) -> list[str]:
        """Words after the interpreter that score the best checkpoint on the test split and write a JSON file."""
        options = [word for word in self.options if not word.startswith("--ckpt_path")]
        callback = ["--trainer.callbacks+=benchmarks.scores.WriteScores", f"--trainer.callbacks.path={scores}"]
        return self._words(run, self.verb.replace("fit", "test", 1), [*options, "--ckpt_path=best", *callback])

    def _words(self, run: Run, verb: str, options: list[str]) -> list[str]:
        parameters = {"config": run.config, "seed_everything": run.seed, **self.settings}
        at = options.index("${args}")
        options[at : at + 1] = [f"--{name}={value}" for name, value in parameters.items()]
        return ["-m", self.package, verb, *options]
