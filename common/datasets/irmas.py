"""IRMAS (Bosch et al. 2012): 6,705 clips of 3 s with one predominant instrument, and 2,874 excerpts of 5 to 20 s with
one to five of them, stereo at 44.1 kHz, in eleven classes (`common.instruments.IRMAS`).

Training is `IRMAS-TrainingData/<class>/[class][genre]ID__SEGMENT.wav`. Testing comes in three archives, which unpack to
`IRMAS-TestingData-Part1/Part1`, `-Part2/IRTestingData-Part2` and `-Part3/Part3`, with a text file beside each sound:
one class a line, and a tab after it.

Traps:
- Some names begin with a number and have a tag for drums: `046__[cel][nod][cla]0034__2.wav`. The genre `cla` is
  classical music, the class `cla` the clarinet. The class is that of the folder.
- 6,705 clips are of 2,261 recordings, by their four digits: a split of clips would leak.
- 33 clips are there twice, under a name with and one without the number and the tag. The one that knows of drums is
  kept, and a line is logged for each.
- Names of test excerpts hold commas, brackets, spaces and letters that the archive garbled. A recording is what is left
  of a name without the number at its end.
- Archives packed on a Mac hold files that begin with a dot.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from common.datasets import files
from common.instruments import IRMAS

LOG = logging.getLogger(__name__)
CLASSES = tuple(IRMAS)
GENRES = ("cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")
DRUMS = {"dru": True, "nod": False, None: None}
TRAINING = re.compile(
    r"(?:\d+__)?"
    rf"\[(?P<label>{'|'.join(CLASSES)})\]"
    r"(?:\[(?P<drums>dru|nod)\])?"
    rf"(?:\[(?P<genre>{'|'.join(GENRES)})\])?"
    r"(?P<recording>\d+)__(?P<segment>\d+)"
)
NUMBER = re.compile(r"\s*-\s*\d+$")
DOWNLOAD = "give the folder that an archive of IRMAS unpacks to"


@dataclass(frozen=True)
class Excerpt:
    """A clip or an excerpt; `recording` is what it was cut from, as far as its name tells."""

    id: str
    recording: str
    audio: Path
    labels: tuple[str, ...]  # in the order of CLASSES
    drums: bool | None = None  # None: nobody has said
    genre: str | None = None


def training(root: str | Path) -> list[Excerpt]:
    """The training clips, in the order of their classes and names.

    Args:
        root: the folder that has one for each class, or the one above.

    Raises:
        DatasetError: there are none, or a name cannot be understood.
    """
    root = _training_folder(files.folder(root, DOWNLOAD))
    kept: dict[tuple[str, str, str], Excerpt] = {}
    for label in CLASSES:
        for path in _sounds(root / label):
            excerpt, segment = _clip(path, label)
            key = (label, excerpt.recording, segment)
            twin = kept.get(key)
            if twin:
                left_out = excerpt if twin.drums is not None else twin
                LOG.warning("%s: is there twice; left out", left_out.audio)
            if twin is None or twin.drums is None:
                kept[key] = excerpt
    return files.not_empty(kept.values(), root, DOWNLOAD)


def testing(root: str | Path) -> list[Excerpt]:
    """The test excerpts of all parts that are there, sorted by their paths.

    Args:
        root: a folder that has the parts, at any depth.

    Raises:
        DatasetError: there are none, or a text file is missing or names what is no class.
    """
    root = files.folder(root, DOWNLOAD)
    paths = [path for path in _sounds(root) if not TRAINING.fullmatch(path.stem)]
    return [
        Excerpt(
            id=path.relative_to(root).with_suffix("").as_posix(),
            recording=NUMBER.sub("", path.stem),
            audio=path,
            labels=_labels(path.with_suffix(".txt")),
        )
        for path in files.not_empty(paths, root, DOWNLOAD)
    ]


def has_training(root: str | Path) -> bool:
    """Whether there are folders for the classes."""
    return any((_training_folder(Path(root)) / name).is_dir() for name in CLASSES)


def has_testing(root: str | Path) -> bool:
    """Whether there are sounds with a text file beside them."""
    return any(path.with_suffix(".txt").is_file() for path in _sounds(Path(root)))


def _training_folder(root: Path) -> Path:
    return root / "IRMAS-TrainingData" if (root / "IRMAS-TrainingData").is_dir() else root


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("[!.]*") if path.suffix.lower() == ".wav")


def _clip(path: Path, label: str) -> tuple[Excerpt, str]:
    """What the name of a training clip says, and the number of its segment."""
    match = TRAINING.fullmatch(path.stem)
    if match is None:
        raise files.DatasetError.about(path, "not a name of IRMAS, as [cel][cla]0001__1.wav is; remove or rename it")
    recording, drums = match["recording"], DRUMS[match["drums"]]
    return Excerpt(f"{label}/{path.stem}", recording, path, (label,), drums, match["genre"]), match["segment"]


def _labels(path: Path) -> tuple[str, ...]:
    with files.annotation(path):
        # Not as `files.rows` does: nothing but the first three letters of a line is told to be text.
        lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines()
        found = {line.strip()[:3] for line in lines if line.strip()}
        if unknown := found - set(CLASSES):
            raise ValueError(f"{', '.join(sorted(unknown))} is no class of IRMAS")
        if not found:
            raise ValueError("it names no class")
        return tuple(label for label in CLASSES if label in found)
