"""What the networks are trained on: crops of log-mels, at random levels, some of them two clips at once."""

import os
from collections.abc import Sequence
from typing import TypedDict

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Int

from common.loading import ResumableLoader, make_loader
from diffusion_pir.front_ends import FRONT_ENDS
from diffusion_pir.melstore import SPLITS, MelStore, multi_hot
from diffusion_pir.sources import predominance_store
from diffusion_pir.windows import LABELLED_WITHIN, MIX_RANGE, cut, louder, mix, window_starts


class Batch(TypedDict):
    """Windows; those that reach beyond their clip are filled up with silence after their first `frames`."""

    log_mel: Float[torch.Tensor, " batch bin frame"]
    labels: Float[torch.Tensor, " batch class"]
    frames: Int[torch.Tensor, " batch"]


class RandomCrops(torch.utils.data.Dataset):
    """One random crop of every clip, for training; item (epoch, index) is always the same, whoever loads it.

    Args:
        stores: their training clips.
        classes: columns of the labels.
        frames: length of a crop.
        gain_db: range of a random change of level.
        mixing: how often a second clip joins; it adds its labels if it is at most 6 dB below the first.
        seed: of everything random here.
    """

    def __init__(
        self,
        stores: Sequence[MelStore],
        classes: Sequence[str],
        frames: int,
        gain_db: tuple[float, float] = (-12.0, 0.0),
        mixing: float = 0.0,
        seed: int = 0,
    ):
        self.clips = [(store, clip) for store in stores for clip in store.clips("train")]
        self.labels = multi_hot([clip.labels for _, clip in self.clips], classes)
        self.frames = frames
        self.gain_db = gain_db
        self.mixing = mixing
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        rng = np.random.default_rng((self.seed, *key))
        picture, frames = self._crop(key[1], rng)
        labels = self.labels[key[1]]
        if rng.random() < self.mixing:
            other, db = int(rng.integers(len(self.clips))), rng.uniform(*MIX_RANGE)
            second, other_frames = self._crop(other, rng)
            picture, frames = mix(picture, second, db), max(frames, other_frames)
            if db >= -LABELLED_WITHIN:
                labels = np.maximum(labels, self.labels[other])
        return {"log_mel": louder(picture, rng.uniform(*self.gain_db)), "labels": labels, "frames": frames}

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """A crop (bin, frame) of a clip, and how many of its frames are the clip's."""
        store, clip = self.clips[index]
        start = int(rng.integers(max(clip.n_frames - self.frames, 0) + 1))
        return cut(store.log_mel(clip), start, self.frames), min(clip.n_frames, self.frames)


class Windows(torch.utils.data.Dataset):
    """All of the clips of a split in fixed windows, as they are, for evaluation.

    Args:
        stores: their clips.
        split: which of them.
        classes: columns of the labels.
        frames: length of a window.
        hop: frames from one window to the next.
    """

    def __init__(self, stores: Sequence[MelStore], split: str, classes: Sequence[str], frames: int, hop: int):
        self.windows = [
            (store, clip, start)
            for store in stores
            for clip in store.clips(split)
            for start in window_starts(clip.n_frames, frames, hop)
        ]
        self.labels = multi_hot([clip.labels for _, clip, _ in self.windows], classes)
        self.frames = frames

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        store, clip, start = self.windows[key[1]]
        window = cut(store.log_mel(clip), start, self.frames)
        return {"log_mel": window, "labels": self.labels[key[1]], "frames": min(clip.n_frames - start, self.frames)}


class PIRData(L.LightningDataModule):
    """Clips of one source or of several together, as windows of log-mels.

    Args:
        corpus: size of the predominance set ("predominance", "predominance-tiny"), built on first use; null for none.
        soundfonts: SF2 files to render it with, each scene with one of them; none means the one that is installed.
        test_soundfont: another one for its test excerpts.
        root: folder of the corpora.
        stores: folders of prepared data (`python -m diffusion_pir prepare`).
        front_end: "vocoder", or "han" for the network that the paper compares with.
        frames: of a window; the front-ends have 50 and 43 a second.
        hop: frames from one window to the next in validation and test; null takes `frames`.
        gain_db: range of the random change of level in training.
        mixing: how often two training clips sound at once.
        batch_size: windows in a batch.
        num_workers: loader processes.
        seed: of the crops; another seed sees others.
    """

    def __init__(
        self,
        corpus: str | None = "predominance",
        soundfonts: list[str] | None = None,
        test_soundfont: str | None = None,
        root: str | None = None,
        stores: list[str] | None = None,
        front_end: str = "vocoder",
        frames: int = 100,
        hop: int | None = None,
        gain_db: tuple[float, float] = (-12.0, 0.0),
        mixing: float = 0.0,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        if not corpus and not stores:
            raise ValueError("no data: give data.corpus or data.stores")
        self.corpus = corpus
        self.soundfonts = soundfonts
        self.test_soundfont = test_soundfont
        self.root = root
        self.stores = stores
        self.front_end = front_end
        self.frames = frames
        self.hop = hop or frames
        self.gain_db = gain_db
        self.mixing = mixing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    def prepare_data(self):
        if self.corpus:
            self._corpus_store()

    def _corpus_store(self) -> MelStore:
        return predominance_store(
            self.corpus or "", self.root, self.soundfonts or (), self.test_soundfont, os.cpu_count(), self.front_end
        )

    def open_stores(self) -> list[MelStore]:
        """All sources; their groups are apart, as they come from different places."""
        prepared = [MelStore.open(folder) for folder in self.stores or ()]
        return [*([self._corpus_store()] if self.corpus else []), *prepared]

    def setup(self, stage: str):
        opened = self.open_stores()
        self.classes = opened[0].classes
        for store in opened:
            if store.front_end != FRONT_ENDS[self.front_end].told:
                raise ValueError(
                    f"{store.folder}: holds {store.front_end}, and data.front_end is {self.front_end}; "
                    "prepare it with the same --front-end"
                )
            if store.classes != self.classes:
                raise ValueError(
                    f"{store.folder}: its classes are {', '.join(store.classes)}, those of {opened[0].folder} are "
                    f"{', '.join(self.classes)}; prepare both with the same --classes"
                )
        self.datasets = {
            "train": RandomCrops(opened, self.classes, self.frames, self.gain_db, self.mixing, self.seed),
            **{split: Windows(opened, split, self.classes, self.frames, self.hop) for split in SPLITS[1:]},
        }

    def loader(self, split: str) -> ResumableLoader:
        return make_loader(
            self.datasets[split], self.batch_size, self.seed, shuffle=split == "train", num_workers=self.num_workers
        )

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("validation")

    def test_dataloader(self):
        return self.loader("test")
