"""The one door of a sub-project: `python -m PACKAGE VERB ...`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

VERBS = ("fit", "validate", "test")  # of LightningCLI


@dataclass(frozen=True)
class Training:
    """What `fit`, `validate` and `test` work on: dotted names of a task and its data, and the configuration of both."""

    task: str
    data: str
    base: str = "base"


@dataclass(frozen=True)
class Door:
    """The verbs of a sub-project. Each imports what it needs when it is called: who transcribes a file does not wait
    for a trainer.

    Args:
        package: name of the sub-project.
        usage: what is printed for --help, or if there is no such verb.
        commands: dotted names of functions by verb. They take the words after it, and return an exit code.
        trainings: what is trained, by what its verbs end in: "" for `fit`, "-timbre" for `fit-timbre`.
    """

    package: str
    usage: str
    commands: Mapping[str, str] = field(default_factory=dict)
    trainings: Mapping[str, Training] = field(default_factory=dict)

    def __call__(self, args: list[str] | None = None) -> int:
        """Do what the words (by default those of the command line) say.

        Returns:
            Exit code: 0, or 2 for what a user got wrong.
        """
        verb, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
        if verb in self.commands:
            return named(self.commands[verb])(rest)
        name, dash, branch = verb.partition("-")
        if name in VERBS and dash + branch in self.trainings:
            from common.cli import run

            training = self.trainings[dash + branch]
            run(named(training.task), named(training.data), self.package, [name, *rest], base=training.base)
            return 0
        print(self.usage, file=sys.stdout if verb in ("-h", "--help") else sys.stderr)
        return 0 if verb in ("-h", "--help") else 2


def named(dotted: str) -> Any:
    """A function or class by its dotted name."""
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)
