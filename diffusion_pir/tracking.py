"""What W&B is told of a sweep: one group, a run for each stage; all of it works offline and without an account."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.machine import wandb_mode

PROJECT = "diffusion_pir"


@contextmanager
def tracked(folder: Path, group: str, job: str, config: Mapping[str, Any]) -> Iterator[Any]:
    """A W&B run in a folder until the end of the block; None where WANDB_MODE is disabled.

    Args:
        folder: of the sweep.
        group: its name.
        job: "extract", "heads" or "report".
        config: what the stage was asked for.
    """
    if wandb_mode() == "disabled":
        yield None
        return
    import wandb  # takes seconds

    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_DATA_DIR", str(folder))  # where media wait for upload; elsewhere they would get lost
    run = wandb.init(
        project=PROJECT,
        group=group,
        job_type=job,
        name=f"{group}-{job}",
        dir=folder,
        mode="offline" if wandb_mode() == "offline" else "online",
        config=dict(config),
        settings=wandb.Settings(silent=True),
    )
    try:
        yield run
    finally:
        run.finish()


def log_rows(run: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """The fits of a sweep's cells, one step each; the last one's scores are what a sweep's agent is judged by."""
    if run is not None:
        for row in rows:
            run.log({name: value for name, value in row.items() if isinstance(value, int | float)})


def log_report(run: Any, table: Sequence[Mapping[str, Any]], pictures: Mapping[str, Path], csv: Path) -> None:
    """The whole table, the figures and the CSV with the scores of all excerpts beside it."""
    if run is None:
        return
    import wandb

    columns: list[Any] = list(dict.fromkeys(name for row in table for name in row))
    run.log({"fits": wandb.Table(columns=columns, data=[[row.get(name) for name in columns] for row in table])})
    run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
    artifact = wandb.Artifact("fits", "table")
    artifact.add_file(str(csv))
    if (csv.parent / "scores").is_dir():
        artifact.add_dir(str(csv.parent / "scores"), "scores")
    run.log_artifact(artifact)
