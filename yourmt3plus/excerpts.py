"""What is judged: excerpts of unseen pieces as they are, in segments that follow one another."""

from collections.abc import Sequence

import numpy as np
import torch

from common import effects
from common.notes import Notes
from common.stems import Multitrack
from yourmt3plus.items import Item, Shape, below_full_scale, make_item
from yourmt3plus.programs import written
from yourmt3plus.sources import Source
from yourmt3plus.tokenizer import TICKS_PER_SECOND


class Excerpts(torch.utils.data.Dataset):
    """Excerpts of pieces as they are, in segments that follow one another; item (epoch, index) is that of a piece.

    Args:
        pieces: of one split.
        shape: of a segment.
        seconds: of an excerpt, at most; it starts somewhere in the piece, the same place each time. None takes pieces
            whole.
        augment: probability of the effects.
        max_tokens: of a row.
    """

    def __init__(self, pieces: Sequence[Source], shape: Shape, seconds: float | None, augment: float, max_tokens: int):
        self.pieces = pieces
        self.shape = shape
        self.seconds = seconds
        self.augment = augment
        self.max_tokens = max_tokens

    def __len__(self) -> int:
        return len(self.pieces)

    def n_segments(self, index: int) -> int:
        """Whole ones in an excerpt, at least one; the last one of a whole piece is filled up with silence."""
        own = self.shape.n_ticks / TICKS_PER_SECOND
        if self.seconds is None or self.seconds >= self.pieces[index].seconds:
            return int(np.ceil(self.pieces[index].seconds / own))
        return max(int(self.seconds / own), 1)

    def excerpt(self, index: int) -> tuple[Multitrack, np.random.Generator]:
        """The stems, and the generator that goes on to the effects."""
        rng = np.random.default_rng((0, index))
        source, n_segments = self.pieces[index], self.n_segments(index)
        n_samples = int(self.shape.starts(n_segments)[-1]) + self.shape.n_samples
        seconds = n_samples / self.shape.sample_rate
        return source.multitrack().crop(rng.uniform(0.0, max(source.seconds - seconds, 0.0)), seconds), rng

    def reference(self, index: int) -> Notes:
        """What a perfect transcription of an item is, with the programs and keys of classes that rows are written in.

        A note that began before the excerpt is nobody's, and is not in it.
        """
        excerpt, _ = self.excerpt(index)
        end = self.n_segments(index) * self.shape.n_ticks / TICKS_PER_SECOND
        notes = excerpt.uncut_notes
        program, pitch = written(notes)
        return notes.replace(program=program, pitch=pitch)[notes.onset >= 0.0].crop(0.0, end).sort()

    def __getitem__(self, key: tuple[int, int]) -> Item:
        _, index = key
        excerpt, rng = self.excerpt(index)
        audio = below_full_scale(excerpt.mixture())
        if rng.random() < self.augment:
            audio = effects.random_chain(audio, self.shape.sample_rate, rng)
        options = {"max_tokens": self.max_tokens, "excerpt": index, "n_segments": self.n_segments(index)}
        return make_item(self.shape, audio, excerpt.uncut_notes, excerpt.unknown, **options)
