"""Log-mels of whole clips, computed once, in one memory map: training and probing decode no audio.

A store is a folder: `log_mel.npy`, float16 (frame, bin) of all clips one after the other, and `index.json` with what is
known of each clip, written last. Every clip was brought to a peak of 1 before its mel, as recordings differ in level by
more than instruments do; whoever uses a network that was trained on a store does the same with the audio.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tqdm import tqdm

from common.datasets.files import DatasetError
from common.melspec import SILENCE, VocoderMel
from common.pieces import content_hash
from common.storage import replacing

VERSION = 1  # raise it when other numbers would be written
SPLITS = ("train", "validation", "test")
FRONT_END = "VocoderMel, peak 1"
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
    """A clip that is not in a store yet, and how to read its audio, float32 [time] at 16 kHz."""

    clip: Clip
    read: Callable[[], np.ndarray]


class MelStore:
    """The clips of a store; see `MelStore.open`."""

    def __init__(self, folder: Path, classes: tuple[str, ...], clips: list[Clip], digest: str):
        self.folder = folder
        self.classes = classes
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
            store = cls(folder, tuple(index["classes"]), clips, index["digest"])
            whole = store._frames.shape == (sum(clip.n_frames for clip in clips), index["n_bins"])
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


def log_mel(audio: np.ndarray, front_end: VocoderMel) -> np.ndarray:
    """float16 (frame, bin) of audio [time] brought to a peak of 1."""
    with torch.inference_mode():
        picture = front_end(torch.from_numpy(to_full_scale(audio))[None])
    return picture[0].T.numpy().astype(DTYPE)


def to_full_scale(audio: np.ndarray) -> np.ndarray:
    """float32 audio brought to a peak of 1; what is silent stays so."""
    peak = float(np.abs(audio).max(initial=0.0))
    return np.asarray(audio / peak if peak > SILENT else audio, np.float32)


def write_store(
    folder: str | Path, sources: Sequence[Source], classes: Sequence[str], progress: bool = True
) -> MelStore:
    """Compute a store, or open it if it is there; an interrupted run goes on where it ended.

    Args:
        folder: of the store.
        sources: its clips, in order.
        classes: the columns of its labels.
        progress: show a bar.

    Raises:
        DatasetError: there is another store in the folder, no clip, or a group in two splits.
        AudioError: a file is damaged.
    """
    folder = Path(folder)
    check_groups([source.clip for source in sources], folder)
    digest = content_hash(VERSION, FRONT_END, list(classes), [asdict(source.clip) for source in sources])
    if (folder / "index.json").exists():
        store = MelStore.open(folder)
        if store.digest != digest:
            raise DatasetError.about(folder, "holds other prepared data; give another folder as --out, or remove it")
        return store
    folder.mkdir(parents=True, exist_ok=True)
    written = _write_frames(folder, sources, digest, progress)
    index = {
        "front_end": FRONT_END,
        "n_bins": VocoderMel.n_bins,
        "silence": SILENCE,
        "classes": list(classes),
        "digest": digest,
        "clips": [asdict(clip) for clip in written],
    }
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
    (folder / "part.jsonl").unlink()
    return MelStore.open(folder)


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


def _write_frames(folder: Path, sources: Sequence[Source], digest: str, progress: bool) -> list[Clip]:
    """Append clip by clip to `log_mel.part.npy`; `part.jsonl` says which are whole."""
    part, journal = folder / "log_mel.part.npy", folder / "part.jsonl"
    done = _journal(journal, digest)
    counts = [entry["n_frames"] for entry in done]
    front_end = VocoderMel()
    with part.open("r+b" if done else "w+b") as frames, journal.open("a") as log:
        _header(frames, sum(counts))
        frames.truncate(frames.tell() + sum(counts) * VocoderMel.n_bins * DTYPE.itemsize)
        frames.seek(0, 2)
        remaining = sources[len(counts) :]
        for source in tqdm(remaining, "log-mels", unit="clip", initial=len(counts), disable=not progress):
            picture = log_mel(source.read(), front_end)
            frames.write(picture.tobytes())
            frames.flush()
            counts.append(len(picture))
            log.write(json.dumps({"id": source.clip.id, "n_frames": len(picture)}) + "\n")
            log.flush()
        _header(frames, sum(counts))
    part.replace(folder / "log_mel.npy")
    starts = np.cumsum([0, *counts]).tolist()
    located = zip(sources, starts[:-1], counts, strict=True)
    return [replace(source.clip, start_frame=start, n_frames=count) for source, start, count in located]


def _journal(path: Path, digest: str) -> list[dict]:
    """What an interrupted run of the same plan has written; the journal then holds no more than that."""
    first, *lines = path.read_text().splitlines() if path.exists() else [""]
    entries = []
    if first == digest and path.with_name("log_mel.part.npy").exists():
        for line in lines:
            with suppress(json.JSONDecodeError):  # the last line, if the process was killed while it wrote
                entries.append(json.loads(line))
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in [digest, *map(json.dumps, entries)]))
    return entries


def _header(file: BinaryIO, n_frames: int) -> None:
    """Write that of an array (n_frames, bin); numpy pads it so that it is as long for every number of frames."""
    file.seek(0)
    shape = {"descr": DTYPE.str, "fortran_order": False, "shape": (n_frames, VocoderMel.n_bins)}
    np.lib.format.write_array_header_1_0(file, shape)
