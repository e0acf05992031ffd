"""What the network is trained on: segments of mixtures that nobody played together, and what is to be written of them.

An item is one or several segments that follow one another; a training item is one. One selection of stems gives the
audio, the tokens and the mask of what is known.
"""

import os
from typing import Any, TypedDict

import lightning as L
import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from common import corpus as corpora
from common import effects
from common.datasets.preset import corpora as decoded
from common.loading import make_loader
from common.mixing import Mixing, mix
from common.notes import Notes
from common.sampling import Rule, WeightedSources
from common.stems import DRUMS, Multitrack
from yourmt3plus import augment as keys
from yourmt3plus.augment import PitchShift
from yourmt3plus.excerpts import Excerpts
from yourmt3plus.items import Item, Shape, below_full_scale, draw_task, make_item
from yourmt3plus.programs import WRITTEN_PROGRAM
from yourmt3plus.rows import RowBatch, bucket
from yourmt3plus.sources import Hidden, Source, sources
from yourmt3plus.tokenizer import PAD

GROUPS = np.append(WRITTEN_PROGRAM, DRUMS)  # kinds that are written as one class are one instrument to the mixer
NEW_DRAWS = 4  # as often is an excerpt without a note drawn anew
DEFAULT_CORPORA = {"full": 0.6, "band": 0.4}
TRAINING, SHIFTED = Mixing(), PitchShift()
OVERHANG = 0.25  # of its length a segment may reach over either end of a piece


class Batch(TypedDict):
    """Segments, the rows to write of them, and what is known. Rows of which nothing is known are not in `rows`."""

    audio: Float[torch.Tensor, "batch time"]
    tokens: Int[torch.Tensor, "batch channel token"]  # PAD after EOS
    rows: list[RowBatch]
    annotated: Bool[torch.Tensor, "batch channel"]
    task: Int[torch.Tensor, " batch"]  # index in TASKS; decoders of several rows ignore it
    excerpt: Int[torch.Tensor, " batch"]  # index of the item; evaluation puts its segments together
    truncated: Int[torch.Tensor, " batch"]  # notes, starts and ends that found no room in their row
    dropped: Int[torch.Tensor, " batch"]  # notes that no channel takes, or that were moved out of 0..127


def collate(items: list[Item]) -> Batch:
    """The segments of all items, one after the other."""
    longest = max(item.tokens.shape[2] for item in items)
    room = [((0, 0), (0, 0), (0, longest - item.tokens.shape[2])) for item in items]
    padded = [np.pad(item.tokens, width, constant_values=PAD) for item, width in zip(items, room, strict=True)]
    n_segments = torch.tensor([len(item.audio) for item in items])
    tokens, annotated = (
        torch.from_numpy(np.concatenate(rows)) for rows in (padded, [item.annotated for item in items])
    )
    return {
        "audio": torch.from_numpy(np.concatenate([item.audio for item in items])),
        "tokens": tokens,
        "rows": bucket(tokens, annotated),
        "annotated": annotated,
        "task": torch.tensor([item.task for item in items]).repeat_interleave(n_segments),
        "excerpt": torch.tensor([item.excerpt for item in items]).repeat_interleave(n_segments),
        "truncated": torch.from_numpy(np.concatenate([item.truncated for item in items])),
        "dropped": torch.tensor([item.dropped for item in items]).repeat_interleave(n_segments),
    }


class Segments(torch.utils.data.Dataset):
    """Random segments of random mixtures: item (epoch, index) is always the same, whoever loads it.

    Args:
        drawn_from: pieces by data sets.
        shape: of a segment.
        mixing: of stems.
        shift: of pitch.
        augment: probability with which the mixture goes through the effects of a recording.
        size: items in an epoch.
        seed: of everything random here.
        max_tokens: of a row.
        masking: false: what is not known counts as silence.
    """

    def __init__(
        self,
        drawn_from: WeightedSources[Source],
        shape: Shape,
        mixing: Mixing,
        shift: PitchShift,
        augment: float,
        size: int,
        seed: int,
        max_tokens: int,
        masking: bool = True,
    ):
        self.drawn_from = drawn_from
        self.shape = shape
        self.mixing = mixing
        self.shift = shift
        self.augment = augment
        self.size = size
        self.seed = seed
        self.max_tokens = max_tokens
        self.masking = masking

    def __len__(self) -> int:
        return self.size

    def excerpt(self, rng: np.random.Generator, n_samples: int) -> Multitrack:
        """Of some piece; one without a note is not taken at once."""
        seconds = n_samples / self.shape.sample_rate
        for _ in range(NEW_DRAWS + 1):
            _, source = self.drawn_from.draw(rng)
            latest = max(source.seconds - (1 - OVERHANG) * seconds, 0.0)
            excerpt = source.multitrack().crop(rng.uniform(-OVERHANG * seconds, latest), seconds)
            if len(excerpt.notes):
                break
        return excerpt

    def mixture(self, key: tuple[int, int]) -> tuple[Multitrack, int, np.random.Generator]:
        """The stems of an item, by how many semitones they are to be moved, and the generator that goes on."""
        rng = np.random.default_rng((self.seed, *key))
        semitones = self.shift.draw(rng)
        n_samples = keys.samples_to_read(self.shape.n_samples, semitones)
        return mix(lambda rng: self.excerpt(rng, n_samples), self.mixing, rng, GROUPS), semitones, rng

    def __getitem__(self, key: tuple[int, int]) -> Item:
        mixture, semitones, rng = self.mixture(key)
        audio = keys.run_faster(mixture.mixture(), semitones, self.shape.n_samples)
        audio = below_full_scale(audio)
        if rng.random() < self.augment:
            audio = effects.random_chain(audio, self.shape.sample_rate, rng)
        notes, lost = keys.move(_near(mixture), semitones, self.shift.labels)
        unknown = mixture.unknown if self.masking else frozenset()
        task = draw_task(unknown, self.shape.n_tasks, rng)
        options = {"max_tokens": self.max_tokens, "excerpt": key[1], "task": task, "lost": lost}
        return make_item(self.shape, audio, notes, unknown, **options)


def _near(mixture: Multitrack) -> Notes:
    """Notes that sound in the excerpt or shortly before, uncut, so that the tokenizer finds what is tied."""
    notes = mixture.uncut_notes
    return notes[(notes.offset > -1.0) & (notes.onset < mixture.seconds)]


class YourMT3Data(L.LightningDataModule):
    """Corpora as segments.

    Args:
        corpora: sizes of the embedded corpus, built on first use, or folders of corpora, and the weight of each.
        preset: a table of public data sets (`common.datasets.preset`) to take in place of corpora, once
            `python -m common.datasets` has decoded them.
        sampling: what the weights mean, see `common.sampling.shares`.
        soundfonts: SF2 files to render with, each piece with one of them; none means the one that is installed.
        root: folder of the embedded corpora.
        batch_size: segments in a batch.
        epoch_size: training segments in what is called an epoch.
        validation_seconds: of each excerpt that validation hears.
        validation_size: excerpts in the validation set, the same ones each time, of as many pieces; none means all.
        test_seconds: of each excerpt of the test; none takes pieces whole.
        mixing: of stems, in training.
        shift: of pitch, in training.
        augment: probability of the effects chain, in training and validation alike.
        hidden: labels that are kept back in training; none means none.
        masking: do rows of which not all is known stay out of the loss? Otherwise what is not known counts as silence.
        max_tokens: of a row; none means 256 for one of several rows and 1024 for a single one, as released.
        num_workers: loader processes.
        seed: of the segments and mixtures; another seed sees other data.
    """

    def __init__(
        self,
        corpora: dict[str, float] | None = None,
        preset: str | None = None,
        sampling: Rule = "data_set",
        soundfonts: list[str] | None = None,
        root: str | None = None,
        batch_size: int = 16,
        epoch_size: int = 4096,
        validation_seconds: float = 20.0,
        validation_size: int | None = None,
        test_seconds: float | None = None,
        mixing: Mixing = TRAINING,
        shift: PitchShift = SHIFTED,
        augment: float = 0.85,
        hidden: Hidden | None = None,
        masking: bool = True,
        max_tokens: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.corpora = corpora or DEFAULT_CORPORA
        self.preset = preset
        self.sampling: Rule = sampling
        self.soundfonts = soundfonts
        self.root = root
        self.batch_size = batch_size
        self.epoch_size = epoch_size
        self.validation_seconds = validation_seconds
        self.validation_size = validation_size
        self.test_seconds = test_seconds
        self.mixing = mixing
        self.shift = shift
        self.augment = augment
        self.hidden = hidden
        self.masking = masking
        self.max_tokens = max_tokens
        self.num_workers = num_workers
        self.seed = seed

    @property
    def shape(self) -> Shape:
        """Segments as the network wants them that will hear them."""
        trainer: Any = self.trainer
        return Shape.of(trainer.lightning_module.net)

    def prepare_data(self):
        self.open(self.shape.sample_rate)

    def weights(self, sample_rate: int) -> dict[str, float]:
        """The corpora, by size or folder, and the weight of each.

        Raises:
            DatasetError: a data set of the preset is not decoded yet.
        """
        return decoded(self.preset, sample_rate, self.root) if self.preset else self.corpora

    def open(self, sample_rate: int) -> list[corpora.Corpus]:
        """All corpora.

        Raises:
            CorpusError: one is not there, or has another rate.
        """
        return [self.open_one(name, sample_rate) for name in self.weights(sample_rate)]

    def open_one(self, name: str, sample_rate: int) -> corpora.Corpus:
        if name in corpora.SIZES:
            return corpora.build(name, sample_rate, self.root, self.soundfonts or (), jobs=os.cpu_count())
        corpus = corpora.Corpus(name)
        if corpus.sample_rate != sample_rate:
            raise corpora.CorpusError(f"{name}: holds {corpus.sample_rate} Hz; the network wants {sample_rate} Hz")
        return corpus

    def train_set(self, shape: Shape) -> Segments:
        """Random segments of random mixtures."""
        opened = self.open(shape.sample_rate)
        data_sets = [sources(corpus.pieces("train"), self.hidden) for corpus in opened]
        return Segments(
            WeightedSources(data_sets, list(self.weights(shape.sample_rate).values()), self.sampling),
            shape,
            self.mixing,
            self.shift,
            self.augment,
            self.epoch_size,
            self.seed,
            self.row_length(shape),
            self.masking,
        )

    def evaluation_set(self, split: str, shape: Shape) -> Excerpts:
        """Excerpts of the pieces of a split."""
        pieces = [piece for corpus in self.open(shape.sample_rate) for piece in sources(corpus.pieces(split))]
        if split == "test":
            return Excerpts(pieces, shape, self.test_seconds, 0.0, self.row_length(shape))
        chosen = np.linspace(0, len(pieces), min(self.validation_size or len(pieces), len(pieces)), endpoint=False)
        pieces = [pieces[int(i)] for i in chosen]
        return Excerpts(pieces, shape, self.validation_seconds, self.augment, self.row_length(shape))

    def row_length(self, shape: Shape) -> int:
        return self.max_tokens or (256 if len(shape.channels) > 1 else 1024)

    def setup(self, stage: str):
        self.datasets: dict[str, Any] = {
            split: self.evaluation_set(split, self.shape) for split in ("validation", "test")
        }
        self.datasets["train"] = self.train_set(self.shape)

    def train_dataloader(self):
        return make_loader(self.datasets["train"], self.batch_size, self.seed, True, self.num_workers, collate)

    def val_dataloader(self):
        """One excerpt at a time."""
        return make_loader(self.datasets["validation"], 1, 0, False, self.num_workers, collate)

    def test_dataloader(self):
        return make_loader(self.datasets["test"], 1, 0, False, self.num_workers, collate)
