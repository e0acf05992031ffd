"""What the network is trained on: clips of multitracks with the lead of each frame, in ragged batches."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Int

from common import corpus as corpora
from common.frames import FrameGrid
from common.loading import ResumableLoader, make_budget_loader
from lead_detection import clips
from lead_detection.clips import Augmentation, MixSource, Norm, Selection
from lead_detection.prepare import open_cache
from lead_detection.songs import Song, embedded_songs, rasterise
from lead_detection.synthetic import SyntheticSettings, synthetic_songs

SPLITS = ("train", "validation", "test")
TRAINING = Augmentation()


class Item(TypedDict):
    """One clip, as plain arrays."""

    audio: np.ndarray  # float32 (track, time)
    instrument: np.ndarray  # int64 (track,)
    mixture: np.ndarray  # float32 (time,)
    lead: np.ndarray  # int64 (frame,)


class Batch(TypedDict):
    """Clips with different numbers of tracks; no track is padding."""

    audio: Float[torch.Tensor, " track time"]  # the stems of all clips, one clip after the other
    clip: Int[torch.Tensor, " track"]  # which clip a row of audio belongs to, ascending
    instrument: Int[torch.Tensor, " track"]  # ids of lead_detection.taxonomy, 0 = unknown
    mixture: Float[torch.Tensor, " batch time"]
    lead: Int[torch.Tensor, " batch frame"]  # 0 nobody, 1 + i the clip's i-th stem, IGNORE not annotated


def collate(items: list[Item]) -> Batch:
    """Clips -> one ragged batch."""
    n_tracks = torch.tensor([len(item["audio"]) for item in items])
    return {
        "audio": torch.from_numpy(np.concatenate([item["audio"] for item in items])),
        "clip": torch.repeat_interleave(torch.arange(len(items)), n_tracks),
        "instrument": torch.from_numpy(np.concatenate([item["instrument"] for item in items])),
        "mixture": torch.from_numpy(np.stack([item["mixture"] for item in items])),
        "lead": torch.from_numpy(np.stack([item["lead"] for item in items])),
    }


@dataclass(frozen=True, eq=False)
class Clip:
    """Where a clip lies and what it is made of; nothing of it is read yet."""

    song: Song
    first: int  # sample of the song at which it starts
    lead: np.ndarray  # int64 (frame,) labels of the stems of the song
    selection: Selection


@dataclass(frozen=True)
class Shape:
    """How long a clip is, on the clock of the network that reads it.

    Args:
        grid: of the labels; its rate is that of the audio.
        n_frames: with labels.
        n_samples: of audio; the network says how many it wants for so many frames.
    """

    grid: FrameGrid
    n_frames: int
    n_samples: int

    def times(self, first: int) -> np.ndarray:
        """(frame,) seconds into the song of the frames' centres."""
        return first / self.grid.sample_rate + self.grid.times(np.arange(self.n_frames) + 0.5)


class LeadDataset(torch.utils.data.Dataset, ABC):
    """Clips of songs; item (epoch, index) is always the same, whoever loads it.

    Args:
        songs: of one split.
        shape: of a clip.
        norm: see `lead_detection.clips.factors`.
        mix: see `lead_detection.clips.render`.
        instruments: whether any is known.
        seed: of everything random here.
    """

    effects_p = 0.0
    instrument_dropout = 0.0

    def __init__(
        self,
        songs: Sequence[Song],
        shape: Shape,
        norm: Norm = "song_peak",
        mix: MixSource = "human",
        instruments: bool = True,
        seed: int = 0,
    ):
        if not songs:
            raise ValueError("no song in this split: give a corpus, cache folders or synthetic songs that have one")
        self.songs = songs
        self.shape = shape
        self.norm: Norm = norm
        self.mix: MixSource = mix
        self.instruments = instruments
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def clip(self, key: tuple[int, int], rng: np.random.Generator) -> Clip:
        """What an item is made of."""

    def generator(self, key: tuple[int, int]) -> np.random.Generator:
        return np.random.default_rng((self.seed, *key))

    def cost(self, key: tuple[int, int]) -> int:
        """Tracks of an item and its mixture: what an encoder will have to encode."""
        return len(self.clip(key, self.generator(key)).selection.gains) + 1

    def labels(self, song: Song, first: int) -> np.ndarray:
        """(frame,) labels of the stems of a song in the clip that starts at a sample."""
        return rasterise(song.lead, self.shape.times(first), song.annotated)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        rng = self.generator(key)
        clip = self.clip(key, rng)
        instrument = clips.track_instruments(clip.song.instruments, clip.selection)
        unknown = self.instrument_dropout if self.instruments else 1.0
        audio, mixture = clips.render(
            clip.song, clip.first, self.shape.n_samples, clip.selection, rng, self.norm, self.mix, self.effects_p
        )
        return {
            "audio": audio,
            "instrument": clips.drop_instruments(instrument, unknown, rng),
            "mixture": mixture,
            "lead": clips.remap(clip.lead, clip.selection.owner),
        }


class RandomClips(LeadDataset):
    """Augmented clips from anywhere in the songs, for training.

    Args:
        songs: see `LeadDataset`.
        shape: see there.
        augment: what is done to them.
        **settings: see there.
    """

    def __init__(self, songs: Sequence[Song], shape: Shape, augment: Augmentation, **settings):
        super().__init__(songs, shape, **settings)
        self.augment = augment
        self.effects_p = augment.effects_p
        self.instrument_dropout = augment.instrument_dropout
        self.stretches = [(song, start, end) for song in songs for start, end in song.annotated]
        lengths = np.cumsum([end - start for _, start, end in self.stretches])
        self.odds = lengths / lengths[-1]

    def __len__(self) -> int:
        """There is an item for every index."""
        return sys.maxsize

    def clip(self, key: tuple[int, int], rng: np.random.Generator) -> Clip:
        song, start, end = self.stretches[int(np.searchsorted(self.odds, rng.random(), side="right"))]
        rate = self.shape.grid.sample_rate
        first, last = round(start * rate), round(end * rate) - self.shape.n_samples
        first = int(rng.integers(first, max(last, first) + 1))
        lead = self.labels(song, first)
        return Clip(song, first, lead, clips.draw(lead, len(song.instruments), self.augment, rng))


class Windows(LeadDataset):
    """All of the songs in fixed windows, as they are, for evaluation.

    Args:
        songs: see `LeadDataset`.
        shape: see there.
        hop: seconds from one window to the next.
        tail: also take a last window that reaches over the end of a stretch that is not covered yet; its frames after
            the end are IGNORE. Without it stretches are cut as the paper does.
        **settings: see `LeadDataset`.
    """

    def __init__(self, songs: Sequence[Song], shape: Shape, hop: float, tail: bool = True, **settings):
        super().__init__(songs, shape, **settings)
        rate = shape.grid.sample_rate
        length = shape.n_frames * shape.grid.hop_length
        self.windows = [
            (song, first)
            for song in songs
            for start, end in song.annotated
            for first in window_starts(round(start * rate), round(end * rate), length, round(hop * rate), tail)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def clip(self, key: tuple[int, int], rng: np.random.Generator) -> Clip:
        song, first = self.windows[key[1]]
        return Clip(song, first, self.labels(song, first), clips.everything(len(song.instruments)))


def window_starts(start: int, end: int, length: int, hop: int, tail: bool) -> list[int]:
    """Where windows of a stretch begin, all in samples; see `Windows`."""
    starts = list(range(start, end - length + 1, hop))
    covered, following = (starts[-1] + length, starts[-1] + hop) if starts else (start, start)
    return [*starts, following] if tail and max(covered, following) < end else starts


class LeadData(L.LightningDataModule):
    """Songs of one source or of several together, as clips.

    Args:
        corpus: size of the embedded corpus ("lead", "lead-tiny"), built on first use; null for none.
        soundfonts: SF2 files to render it with, each piece with one of them; none means the one that is installed.
        test_soundfont: another one for its test pieces.
        root: folder of the corpora.
        cache: folders of prepared data sets (`python -m lead_detection prepare`).
        synthetic: songs made on the fly; null for none.
        window: seconds of a training clip.
        evaluation_window: seconds of a window in validation and test; null takes `window`.
        hop: seconds from one of those windows to the next; null takes their length.
        tail: whether they also cover the ends of the songs.
        norm: of the levels: "none", "song_peak" or "stem_peak".
        mix: "human" where there is one, or "pseudo_wave".
        instruments: false: all are unknown.
        augment: of the training clips.
        budget: most tracks in a batch, the mixtures counted; a clip that has more is a batch of its own.
        batch_size: most clips in a batch; null leaves it to the budget.
        epoch_batches: training batches in what is called an epoch, of all processes together.
        num_workers: loader processes.
        seed: of the clips; another seed sees other data.
    """

    def __init__(
        self,
        corpus: str | None = "lead",
        soundfonts: list[str] | None = None,
        test_soundfont: str | None = None,
        root: str | None = None,
        cache: list[str] | None = None,
        synthetic: SyntheticSettings | None = None,
        window: float = 5.0,
        evaluation_window: float | None = None,
        hop: float | None = None,
        tail: bool = True,
        norm: Norm = "song_peak",
        mix: MixSource = "human",
        instruments: bool = True,
        augment: Augmentation = TRAINING,
        budget: int = 48,
        batch_size: int | None = None,
        epoch_batches: int = 250,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.corpus = corpus
        self.soundfonts = soundfonts
        self.test_soundfont = test_soundfont
        self.root = root
        self.cache = cache
        self.synthetic = synthetic
        self.window = window
        self.evaluation_window = evaluation_window or window
        self.hop = hop or self.evaluation_window
        self.tail = tail
        self.norm: Norm = norm
        self.mix: MixSource = mix
        self.instruments = instruments
        self.augment = augment
        self.budget = budget
        self.batch_size = batch_size
        self.epoch_batches = epoch_batches
        self.num_workers = num_workers
        self.seed = seed

    @property
    def net(self) -> Any:
        """The network that will read the clips; its clock is the data's."""
        trainer: Any = self.trainer
        return trainer.lightning_module.net

    @property
    def rate(self) -> int:
        return self.net.grid.sample_rate

    def prepare_data(self):
        if self.corpus:
            self.build(self.rate)

    def build(self, sample_rate: int) -> corpora.Corpus:
        return corpora.build(
            self.corpus or "", sample_rate, self.root, self.soundfonts or (), self.test_soundfont, jobs=os.cpu_count()
        )

    def songs(self, split: str, sample_rate: int) -> list[Song]:
        """Those of one split, of all sources."""
        songs: list[Song] = []
        if self.corpus:
            songs.extend(embedded_songs(self.build(sample_rate), split))
        for folder in self.cache or ():
            cached = [song for song in open_cache(folder) if song.split == split]
            if any(song.sample_rate != sample_rate for song in cached):
                raise ValueError(f"{folder}: holds {cached[0].sample_rate} Hz; the network wants {sample_rate} Hz")
            songs.extend(cached)
        if self.synthetic:
            songs.extend(synthetic_songs(self.synthetic, split, sample_rate))
        return songs

    def setup(self, stage: str):
        songs = {split: self.songs(split, self.rate) for split in SPLITS}
        settings: dict[str, Any] = {"norm": self.norm, "mix": self.mix, "instruments": self.instruments}
        self.datasets: dict[str, LeadDataset] = {
            "train": RandomClips(songs["train"], self.shape(self.window), self.augment, seed=self.seed, **settings)
        }
        for split in ("validation", "test"):
            shape = self.shape(self.evaluation_window)
            self.datasets[split] = Windows(songs[split], shape, self.hop, self.tail, **settings)

    def shape(self, seconds: float) -> Shape:
        n_frames = int(self.net.grid.frames(seconds))
        return Shape(self.net.grid, n_frames, self.net.n_samples(n_frames))

    def loader(self, split: str) -> ResumableLoader:
        n_batches = self.epoch_batches if split == "train" else None
        return make_budget_loader(
            self.datasets[split], collate, self.budget, n_batches, self.batch_size, self.num_workers
        )

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("validation")

    def test_dataloader(self):
        return self.loader("test")
