"""Log-mels of whole clips, computed once, in one memory map: training and probing decode no audio.

A store is a folder: `log_mel.npy`, float16 (frame, bin) of all clips one after the other, and `index.json` with what is
known of each clip, written last. Every clip was brought to a peak of 1 before its mel, as recordings differ in level by
more than instruments do; whoever uses a network that was trained on a store does the same with the audio.

Two processes that make the same store take turns, and the second finds it made.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tqdm import tqdm

from common.datasets.files import DatasetError
from common.frontends import LogMel
from common.melspec import SILENCE
from common.pieces import content_hash
from common.storage import locked, replacing
from diffusion_pir.front_ends import FRONT_ENDS, FrontEnd

VERSION = 1  # raise it when other numbers would be written
SPLITS = ("train", "validation", "test")
FRONT_END = FRONT_ENDS["vocoder"].told
DTYPE = np.dtype(np.float16)
SILENT = 1e-5  # peak, -100 dBFS


@dataclass(frozen=True)
class Clip:
    """A clip of a store: what is known of it, and which frames of the store are its own."""

    id: str
    group: str  # the recording or composition that it is a part of; no group is in two splits
    split: str
    labels: tuple[str, ...]
    drums: bool | None  # None: nobody has said
    path: str  # of the audio
    unseen: bool = False  # its predominant instruments are of a kind that training never hears
    start_frame: int = 0
    n_frames: int = 0


@dataclass(frozen=True, eq=False)
class Source:
    """A clip that is not in a store yet, and how to read its audio, float32 [time] at a rate in Hz."""

    clip: Clip
    read: Callable[[int], np.ndarray]


class MelStore:
    """The clips of a store; see `MelStore.open`."""

    def __init__(
        self, folder: Path, classes: tuple[str, ...], clips: list[Clip], digest: str, front_end: str = FRONT_END
    ):
        self.folder = folder
        self.classes = classes
        self.front_end = front_end  # as `FrontEnd.told`
        self.digest = digest  # of everything that it was made of, for caches of features
        self._clips = clips

    @classmethod
    def open(cls, folder: str | Path) -> "MelStore":
        """The store in a folder.

        Raises:
            DatasetError: there is none, or not a whole one.
        """
        folder = Path(folder)
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            clips = [Clip(**{**entry, "labels": tuple(entry["labels"])}) for entry in index["clips"]]
            store = cls(folder, tuple(index["classes"]), clips, index["digest"], index["front_end"])
            whole = len(store._frames) == sum(clip.n_frames for clip in clips)
        except (OSError, LookupError, TypeError, ValueError) as error:
            told = "no prepared data here; run `python -m diffusion_pir prepare` with this folder as --out"
            raise DatasetError.about(folder, told) from error
        if not whole:
            raise DatasetError.about(folder, "log_mel.npy is not that of index.json; remove both and prepare again")
        return store

    def clips(self, split: str | None = None) -> list[Clip]:
        """The clips of "train", "validation" or "test", or all of them, in the order of their frames."""
        if split not in (None, *SPLITS):
            raise ValueError(f"a store is split into {', '.join(SPLITS)}, not {split!r}")
        return [clip for clip in self._clips if split in (None, clip.split)]

    def log_mel(self, clip: Clip) -> np.ndarray:
        """float16 (frame, bin) of a clip, a view of the memory map."""
        return self._frames[clip.start_frame : clip.start_frame + clip.n_frames]

    def labels(self, clips: Sequence[Clip]) -> np.ndarray:
        """float32 (clip, class), 1 where a clip has a label of the store's classes."""
        return multi_hot([clip.labels for clip in clips], self.classes)

    def __getstate__(self) -> dict:
        """Without the map: another process opens its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_frames"}

    @cached_property
    def _frames(self) -> np.ndarray:
        return np.asarray(np.load(self.folder / "log_mel.npy", mmap_mode="r", allow_pickle=False))


def multi_hot(labels: Iterable[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """float32 (clip, class); labels that are no class are left out."""
    return np.array([[float(name in own) for name in classes] for own in labels], np.float32).reshape(-1, len(classes))


def log_mel(audio: np.ndarray, front_end: LogMel) -> np.ndarray:
    """float16 (frame, bin) of audio [time] brought to a peak of 1."""
    with torch.inference_mode():
        picture = front_end(torch.from_numpy(to_full_scale(audio))[None])
    return picture[0].T.numpy().astype(DTYPE)


def to_full_scale(audio: np.ndarray) -> np.ndarray:
    """float32 audio brought to a peak of 1; what is silent stays so."""
    peak = float(np.abs(audio).max(initial=0.0))
    return np.asarray(audio / peak if peak > SILENT else audio, np.float32)


def write_store(
    folder: str | Path,
    sources: Sequence[Source],
    classes: Sequence[str],
    front_end: str = "vocoder",
    progress: bool = True,
) -> MelStore:
    """Compute a store, or open it if it is there; an interrupted run goes on where it ended.

    Args:
        folder: of the store.
        sources: its clips, in order.
        classes: the columns of its labels.
        front_end: one of FRONT_ENDS.
        progress: show a bar.

    Raises:
        DatasetError: there is another store in the folder, no clip, or a group in two splits.
        AudioError: a file is damaged.
    """
    folder = Path(folder)
    check_groups([source.clip for source in sources], folder)
    told = FRONT_ENDS[front_end].told
    digest = content_hash(VERSION, told, list(classes), [asdict(source.clip) for source in sources])
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not (folder / "index.json").exists():
            clips = _write_frames(folder, sources, FRONT_ENDS[front_end], digest, progress)
            _write_index(folder, clips, told, classes, digest)
    store = MelStore.open(folder)
    if store.digest != digest:
        raise DatasetError.about(folder, "holds other prepared data; give another folder as --out, or remove it")
    return store


def check_groups(clips: Sequence[Clip], folder: Path) -> None:
    """Refuse what would let a network be judged on what it was trained on."""
    if not clips:
        raise DatasetError.about(folder, "no clip to prepare; name a folder with audio")
    split_of = {}
    for clip in clips:
        if split_of.setdefault(clip.group, clip.split) != clip.split:
            raise DatasetError.about(folder, f"{clip.group} is in {split_of[clip.group]} and in {clip.split}")
    if len({clip.id for clip in clips}) < len(clips):
        raise DatasetError.about(folder, "two clips have the same id; name the files differently")


def _write_index(folder: Path, clips: Sequence[Clip], told: str, classes: Sequence[str], digest: str) -> None:
    index = {
        "front_end": told,
        "silence": SILENCE,
        "classes": list(classes),
        "digest": digest,
        "clips": [asdict(clip) for clip in clips],
    }
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
    (folder / "part.jsonl").unlink()


def _write_frames(folder: Path, sources: Sequence[Source], kind: FrontEnd, digest: str, progress: bool) -> list[Clip]:
    """Append clip by clip to `log_mel.part.npy`; `part.jsonl` says which are whole."""
    part, journal = folder / "log_mel.part.npy", folder / "part.jsonl"
    counts = _journal(journal, digest)
    front_end = kind.make()
    with part.open("r+b" if counts else "w+b") as frames, journal.open("a") as log:
        _header(frames, sum(counts), kind.n_bins)
        frames.truncate(frames.tell() + sum(counts) * kind.n_bins * DTYPE.itemsize)
        frames.seek(0, os.SEEK_END)
        remaining = sources[len(counts) :]
        for source in tqdm(remaining, "log-mels", unit="clip", disable=not progress):
            picture = log_mel(source.read(kind.sample_rate), front_end)
            frames.write(picture.tobytes())
            frames.flush()
            counts.append(len(picture))
            log.write(f"{len(picture)}\n")
            log.flush()
        _header(frames, sum(counts), kind.n_bins)
    part.replace(folder / "log_mel.npy")
    starts = np.cumsum([0, *counts]).tolist()
    located = zip(sources, starts[:-1], counts, strict=True)
    return [replace(source.clip, start_frame=start, n_frames=count) for source, start, count in located]


def _journal(path: Path, digest: str) -> list[int]:
    """Frames of each clip that an interrupted run of the same plan has written; the journal then holds no more."""
    text = path.read_text() if path.exists() else ""
    first, *lines = text.rpartition("\n")[0].split("\n")  # what follows the last line break was cut off
    if first != digest or not path.with_name("log_mel.part.npy").exists():
        lines = []
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in [digest, *lines]))
    return [int(line) for line in lines]


def _header(file: BinaryIO, n_frames: int, n_bins: int) -> None:
    """Write that of an array (n_frames, n_bins); numpy pads it so that it is as long for every number of frames."""
    file.seek(0)
    shape = {"descr": DTYPE.str, "fortran_order": False, "shape": (n_frames, n_bins)}
    np.lib.format.write_array_header_1_0(file, shape)
