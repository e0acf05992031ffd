"""OpenMIC-2018 (Humphrey et al. 2018): 20,000 excerpts of 10 s from the Free Music Archive, and OpenPIR, which says who
is predominant in 1,228 of them in the classes of IRMAS.

OpenMIC unpacks to `openmic-2018/`, with `audio/<first three digits>/<key>.ogg`, `openmic-2018-aggregated-labels.csv`
(sample_key, instrument, relevance, num_responses) and `partitions/split01_train.csv` and `_test.csv`. A key is
`<number of the track>_<milliseconds into it>`. OpenPIR is one JSON: a list of objects with `filepath`, `samplekey`,
`instrument` (one to three codes), `genre` and `drums`.

Traps:
- All values of `drums` in OpenPIR are null, though its paper speaks of them.
- 69 of its items have a twelfth label, "other", 29 of them no other: left without a label of the eleven.
- `filepath` has a prefix of its makers' machine; the key counts.
- 311 of its items are in OpenMIC's test partition. Who judges on that must leave them out.
- In OpenMIC nobody was asked about most pairs of excerpt and instrument: no row is no answer, not a no.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from common.datasets import files
from common.instruments import IRMAS

CLASSES = tuple(IRMAS)
OTHER = "other"
DOWNLOAD = "give the folder openmic-2018 that the archive of OpenMIC-2018 unpacks to"
METADATA = "give OpenPIR_metadata.json of the OpenPIR annotations"


@dataclass(frozen=True)
class Excerpt:
    """An excerpt of OpenMIC; `recording` is the track of the Free Music Archive that it is from."""

    id: str
    recording: str
    audio: Path
    labels: tuple[str, ...]  # with OpenPIR in the order of CLASSES, "other" last; else OpenMIC's names, sorted
    partition: str | None  # "train" or "test" of OpenMIC's own; None where its files do not say
    drums: bool | None = None  # None: nobody has said
    genres: tuple[str, ...] = ()


def excerpts(root: str | Path, relevance: float = 0.5) -> list[Excerpt]:
    """All excerpts that are there, with the instruments that the crowd heard, sorted by their keys.

    Args:
        root: the folder `openmic-2018`.
        relevance: from which on an instrument counts as heard.

    Raises:
        DatasetError: there are none, or a table is missing or damaged.
    """
    root = files.folder(root, DOWNLOAD)
    partition, heard = _partitions(root), _heard(root / "openmic-2018-aggregated-labels.csv", relevance)
    paths = sorted((root / "audio").glob("*/[!.]*.ogg"))
    return [
        Excerpt(
            path.stem, _recording(path.stem), path, tuple(sorted(heard.get(path.stem, ()))), partition.get(path.stem)
        )
        for path in files.not_empty(paths, root, DOWNLOAD)
    ]


def openpir(metadata: str | Path, root: str | Path, keep_other: bool = False) -> list[Excerpt]:
    """The excerpts of OpenPIR with their predominant instruments, in the order of its file.

    Args:
        metadata: OpenPIR_metadata.json.
        root: the folder `openmic-2018`, which has the audio.
        keep_other: keep the label "other"; without it some excerpts have none.

    Raises:
        DatasetError: the JSON is damaged or names what is no class, or the audio of an item is missing.
    """
    root, path = files.folder(root, DOWNLOAD), files.file(Path(metadata), METADATA)
    partition = _partitions(root)
    with files.annotation(path):
        items = json.loads(path.read_text(encoding="utf-8"))
        found = [_item(item, root, partition, keep_other) for item in items]
        if len({excerpt.id for excerpt in found}) < len(found):
            raise ValueError("an excerpt is in it twice")
    for excerpt in files.not_empty(found, path, METADATA):
        files.file(excerpt.audio, DOWNLOAD)
    return found


def _item(item: dict, root: Path, partition: dict[str, str], keep_other: bool) -> Excerpt:
    key, named, drums = item["samplekey"], item["instrument"], item["drums"]
    if unknown := set(named) - {*CLASSES, OTHER}:
        raise ValueError(f"{key}: {', '.join(sorted(unknown))} is no class of OpenPIR")
    if drums is not None and not isinstance(drums, bool):
        raise ValueError(f"{key}: drums must be true, false or null, not {drums!r}")
    allowed = (*CLASSES, OTHER) if keep_other else CLASSES
    labels = tuple(name for name in allowed if name in named)
    return Excerpt(
        key, _recording(key), root / "audio" / key[:3] / f"{key}.ogg", labels, partition.get(key), drums,
        tuple(item["genre"]),
    )  # fmt: skip


def _recording(key: str) -> str:
    return key.split("_")[0]


def _partitions(root: Path) -> dict[str, str]:
    """Key -> "train" or "test"; nothing where the files are missing."""
    paths = {name: root / "partitions" / f"split01_{name}.csv" for name in ("train", "test")}
    return {row[0]: name for name, path in paths.items() if path.is_file() for row in files.rows(path, 1, ",")}


def _heard(path: Path, relevance: float) -> dict[str, set[str]]:
    """Key -> the instruments that count as heard."""
    heard: dict[str, set[str]] = {}
    with files.annotation(path), path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if float(row["relevance"]) >= relevance:
                heard.setdefault(row["sample_key"], set()).add(row["instrument"])
    return heard
