"""Several data sets as one table in YAML: where they lie, which splits are used for what, and how often each is heard.

A table is a list of rows. Of each row:

    dataset    a name of `common.datasets.catalogue`
    root       its folder: absolute, or in the folder for data
    weight     share of the training examples, of the sum of all weights; 0 for what does not train
    train, validation, test    its own splits that are used so; those that are left out are not used
    stems      false: take mixtures even where there are stems
    annotated  everything, or channels (common.instruments): the notes of others are taken to be unknown
    options    of its adapter
    name       of the row, where two have one data set
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from common.corpus import FIRST_SEED
from common.datasets import catalogue
from common.datasets.files import DatasetError
from common.datasets.prepared import prepare
from common.datasets.recording import Part, Recording
from common.instruments import YOURMT3_CHANNELS
from common.pieces import content_hash
from common.stems import all_but

USES = tuple(FIRST_SEED)  # what a corpus calls its splits
EVERYTHING = "everything"


@dataclass(frozen=True)
class Row:
    """A data set of a table; see above."""

    dataset: str
    root: str
    weight: float
    train: tuple[str | None, ...] = ()
    validation: tuple[str | None, ...] = ()
    test: tuple[str | None, ...] = ()
    stems: bool = True
    annotated: tuple[str, ...] = (EVERYTHING,)
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def splits(self) -> dict[str | None, str]:
        """Its own split -> what it is used for."""
        return {split: use for use in USES for split in getattr(self, use)}

    def recordings(self, root: str | Path | None = None) -> list[Recording]:
        """What is used of it; `split` says for what.

        Args:
            root: folder for data; none means $TUTTI_DATA, or `data`.

        Raises:
            DatasetError: the data set is not there, or is damaged.
        """
        place = data_folder(root) / self.root
        listed = catalogue.recordings(self.dataset, place, *self.splits, **self.options)
        return [self._used(recording) for recording in listed]

    def folder(self, sample_rate: int, root: str | Path | None = None) -> Path:
        """Of the corpus that it is decoded to; another one for other splits or options."""
        content = {name: value for name, value in asdict(self).items() if name not in ("weight", "name")}
        return data_folder(root) / "datasets" / f"{self.name}-{sample_rate}-{content_hash(content)[:8]}"

    def _used(self, recording: Recording) -> Recording:
        unknown = frozenset() if EVERYTHING in self.annotated else all_but(*self.annotated)
        parts = recording.read_parts if self.stems else partial(_without_stems, recording)
        return replace(
            recording, split=self.splits[recording.split], unknown=recording.unknown | unknown, read_parts=parts
        )


def _without_stems(recording: Recording) -> list[Part]:
    return [replace(part, audio=()) for part in recording.parts]


def data_folder(root: str | Path | None) -> Path:
    return Path(root or os.environ.get("TUTTI_DATA", "data"))


def load(path: str | Path, only: Sequence[str] = ()) -> list[Row]:
    """The rows of a table.

    Args:
        path: the YAML file.
        only: names of those that are wanted; none means all.

    Raises:
        DatasetError: no such file, or one that is no such table; one line with the row and what is wrong with it.
    """
    path = Path(path)
    entries = _entries(path)
    rows = [_row(path, number, entry) for number, entry in enumerate(entries, 1)]
    names = [row.name for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError.about(path, f"two rows are called {twice[0]}; give one of them a name of its own")
    if missing := sorted(set(only) - set(names)):
        raise DatasetError.about(path, f"no row {missing[0]!r}; there are {', '.join(names)}")
    return [row for row in rows if not only or row.name in only]


def decode(
    rows: Sequence[Row],
    sample_rate: int,
    root: str | Path | None = None,
    progress: bool = True,
    jobs: int | None = 1,
) -> None:
    """Decode what is used of all data sets, as far as it is not there yet; see `prepared.prepare`.

    Raises:
        DatasetError: a data set is not there, or is damaged.
        AudioError: a file of one is damaged.
    """
    for row in rows:
        prepare(row.recordings(root), row.folder(sample_rate, root), sample_rate, progress=progress, jobs=jobs)


def corpora(path: str | Path, sample_rate: int, root: str | Path | None = None) -> dict[str, float]:
    """The folders that the data sets of a table were decoded to, and their weights.

    Raises:
        DatasetError: one has not been decoded to the end.
    """
    rows = load(path)
    for row in rows:
        if not (row.folder(sample_rate, root) / "index.json").is_file():
            command = f"python -m common.datasets {path} --sample-rate {sample_rate}"
            raise DatasetError.about(row.folder(sample_rate, root), f"{row.name} is not decoded yet; run {command}")
    return {str(row.folder(sample_rate, root)): row.weight for row in rows}


def _entries(path: Path) -> list:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError.about(path, f"cannot be read ({error.strerror}); give the path of a table") from error
    except (ValueError, yaml.YAMLError) as error:
        raise DatasetError.about(path, f"not YAML ({error}); mend it there") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError.about(path, "not a list of rows with a dataset each; see common/datasets/preset.py")
    return entries


def _row(path: Path, number: int, entry: dict[str, Any]) -> Row:
    where = f"row {number} ({entry.get('name') or entry.get('dataset')})"
    known = {column.name for column in fields(Row)}
    if unknown := [key for key in entry if key not in known]:
        raise DatasetError.about(
            path, f"{where} has the unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )
    if missing := [key for key in ("dataset", "root", "weight") if key not in entry]:
        raise DatasetError.about(path, f"{where} has no {missing[0]}; add it")
    lists = {key: _strings(entry[key]) for key in (*USES, "annotated") if key in entry}
    row = Row(**{**entry, **lists, "name": entry.get("name") or entry["dataset"]})
    for fault, remedy in _faults(row):
        raise DatasetError.about(path, f"{where} {fault}; {remedy}")
    return row


def _strings(value: Any) -> tuple:
    return tuple(value) if isinstance(value, list) else (value,)


def _faults(row: Row) -> list[tuple[str, str]]:
    """What is wrong with the values of a row, and what to do."""
    dataset = catalogue.DATASETS.get(str(row.dataset))
    if dataset is None:
        return [(f"has no known data set {row.dataset!r}", f"there are {', '.join(catalogue.DATASETS)}")]
    used = [split for use in USES for split in getattr(row, use)]
    channels = (EVERYTHING, *YOURMT3_CHANNELS)
    options = row.options if isinstance(row.options, dict) else {}
    checks = [
        *(
            (split in dataset.splits, f"has the unknown split {split!r}", f"it has {_list(dataset.splits)}")
            for split in used
        ),
        (len(used) == len(set(map(str, used))), "uses a split twice", "leave it in one place"),
        (bool(used), "uses no split", f"name some of {_list(dataset.splits)} for train, validation or test"),
        (isinstance(row.root, str), f"has the root {row.root!r}", "give the path of a folder"),
        (_is_weight(row.weight), f"has the weight {row.weight!r}", "give a number from 0"),
        (not row.weight or bool(row.train), "has a weight and nothing to train on", "set it to 0, or name a split"),
        (isinstance(row.stems, bool), f"has stems: {row.stems!r}", "say true or false"),
        (isinstance(row.options, dict), f"has options: {row.options!r}", "give names and values"),
        *(
            (name in channels, f"has the unknown channel {name!r}", f"there are {_list(channels)}")
            for name in row.annotated
        ),
        *(
            (name in dataset.options, f"has the unknown option {name!r}", f"it has {_list(dataset.options)}")
            for name in options
        ),
    ]
    return [(fault, remedy) for good, fault, remedy in checks if not good]


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _list(names: Sequence[str | None]) -> str:
    return ", ".join(map(str, names)) or "none"
