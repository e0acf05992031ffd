"""What the network is trained on: random mixtures of the rendered corpus, with soft targets on its frame grid."""

import os
from typing import Any, TypedDict

import lightning as L
import numpy as np
import torch
from jaxtyping import Float

from common import corpus as corpora
from common import effects
from common.frames import FrameGrid
from common.loading import make_loader
from common.notes import Notes
from common.stems import Multitrack
from lightweight_amt.targets import merge_unisons, targets


class Batch(TypedDict):
    """Crops of mixtures; `margin` frames of audio at either end have no targets, they are context for the front-end."""

    audio: Float[torch.Tensor, " batch time"]
    onset: Float[torch.Tensor, " batch pitch frame"]
    frame: Float[torch.Tensor, " batch pitch frame"]
    offset: Float[torch.Tensor, " batch pitch frame"]


def random_mixture(pieces: list[corpora.Piece], seconds: float, rng: np.random.Generator) -> Multitrack:
    """A crop of a few stems at random levels; one time in seven with stems of another piece, in another key and metre.

    Pieces are drawn by their length, and the crop may hang over either end of the piece by a quarter of its own length.
    """
    lengths = np.array([piece.seconds for piece in pieces])

    def draw() -> Multitrack:
        piece = pieces[rng.choice(len(pieces), p=lengths / lengths.sum())]
        start = rng.uniform(-0.25 * seconds, max(piece.seconds - 0.75 * seconds, 0.0))
        excerpt = piece.multitrack().crop(start, seconds)
        n_stems = rng.integers(1, len(excerpt.stems) + 1)
        stems = rng.permutation(len(excerpt.stems))[:n_stems]
        return excerpt.select(stems, gains_db=rng.normal(0.0, 4.0, n_stems))

    return draw() if rng.random() < 6 / 7 else Multitrack.pseudo_mix([draw(), draw()])


class AMTDataset(torch.utils.data.Dataset):
    """Random mixtures: item (epoch, index) is always the same crop, whoever loads it.

    Args:
        pieces: of one split.
        grid: clock of the network's frames.
        crop_frames: frames with targets.
        margin: frames of context on either side of them.
        size: items in an epoch.
        seed: of everything random here.
        augment: probability with which room, equaliser, noise and level are changed.
    """

    def __init__(self, pieces, grid: FrameGrid, crop_frames: int, margin: int, size: int, seed: int, augment: float):
        self.pieces = pieces
        self.grid = grid
        self.crop_frames = crop_frames
        self.margin = margin
        self.size = size
        self.seed = seed
        self.augment = augment

    def __len__(self) -> int:
        return self.size

    def mixture(self, epoch: int, index: int) -> tuple[Multitrack, np.random.Generator]:
        """The stems of an item with their notes, and the generator that goes on to the effects."""
        rng = np.random.default_rng((self.seed, epoch, index))
        n_frames = self.crop_frames + 2 * self.margin
        return random_mixture(self.pieces, float(self.grid.times(n_frames)), rng), rng

    def notes(self, mixture: Multitrack) -> Notes:
        """All notes of the stems, on a clock that starts with the first frame that has targets."""
        return mixture.notes.shift(-float(self.grid.times(self.margin)))

    def reference(self, index: int) -> Notes:
        """What a perfect transcription of the item of epoch 0 would be."""
        mixture, _ = self.mixture(0, index)
        return merge_unisons(self.notes(mixture)).crop(0.0, float(self.grid.times(self.crop_frames)))

    def audio(self, mixture: Multitrack, rng: np.random.Generator) -> torch.Tensor:
        """(time,) the stems together, perhaps through the effects."""
        n_samples = (self.crop_frames + 2 * self.margin) * self.grid.hop_length
        audio = mixture.mixture()[:n_samples]
        audio = np.pad(audio, (0, n_samples - len(audio)))
        if rng.random() < self.augment:
            audio = effects.random_chain(audio, self.grid.sample_rate, rng)
        return torch.from_numpy(audio)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        mixture, rng = self.mixture(*key)
        audio = self.audio(mixture, rng)
        labels = targets(self.notes(mixture), self.grid, self.crop_frames)
        onset, frame, offset = (torch.from_numpy(labels[name]) for name in ("onset", "frame", "offset"))
        return {"audio": audio, "onset": onset, "frame": frame, "offset": offset}


class AMTData(L.LightningDataModule):
    """The embedded corpus as crops.

    Args:
        corpus: size to use ("tiny", "small", "full"); built on first use.
        soundfonts: SF2 files to render with, each piece with one of them; none means the one that is installed.
        root: folder of the corpora.
        batch_size: crops in a batch.
        crop_frames: frames with targets in a training crop, 11.6 ms each.
        validation_frames: the same for validation.
        margin: frames of context on either side.
        epoch_size: training crops in what is called an epoch.
        validation_size: crops in the validation set, the same ones each time.
        augment: probability of the effects chain, in training and validation alike.
        num_workers: loader processes.
        seed: of the crops and mixtures; another seed sees other data.
    """

    dataset_class = AMTDataset

    def __init__(
        self,
        corpus: str = "small",
        soundfonts: list[str] | None = None,
        root: str | None = None,
        batch_size: int = 16,
        crop_frames: int = 256,
        validation_frames: int = 1024,
        margin: int = 80,
        epoch_size: int = 4096,
        validation_size: int = 48,
        augment: float = 0.85,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.corpus = corpus
        self.soundfonts = soundfonts
        self.root = root
        self.batch_size = batch_size
        self.crop_frames = crop_frames
        self.validation_frames = validation_frames
        self.margin = margin
        self.epoch_size = epoch_size
        self.validation_size = validation_size
        self.augment = augment
        self.num_workers = num_workers
        self.seed = seed

    def prepare_data(self):
        self.build()

    def build(self) -> corpora.Corpus:
        return corpora.build(self.corpus, root=self.root, soundfonts=self.soundfonts or (), jobs=os.cpu_count())

    def dataset(self, split: str, grid: FrameGrid) -> AMTDataset:
        """The crops of one split on the grid of the network that will read them."""
        training = split == "train"
        return self.dataset_class(
            self.build().pieces(split),
            grid,
            crop_frames=self.crop_frames if training else self.validation_frames,
            margin=self.margin,
            size=self.epoch_size if training else self.validation_size,
            seed=self.seed if training else 0,
            augment=self.augment,
        )

    def setup(self, stage: str):
        trainer: Any = self.trainer
        grid = trainer.lightning_module.grid
        self.datasets = {split: self.dataset(split, grid) for split in ("train", "validation", "test")}

    def train_dataloader(self):
        return make_loader(
            self.datasets["train"], self.batch_size, self.seed, shuffle=True, num_workers=self.num_workers
        )

    def val_dataloader(self):
        return make_loader(self.datasets["validation"], 4, seed=0, shuffle=False, num_workers=self.num_workers)

    def test_dataloader(self):
        return make_loader(self.datasets["test"], 4, seed=0, shuffle=False, num_workers=self.num_workers)
