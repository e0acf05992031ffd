"""What all networks of segments have in common, and the one that tells notes without writing tokens."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from common.checkpoint import part
from yourmt3plus.front_ends import ConstantQ
from yourmt3plus.programs import MULTI, SINGLE, Channels
from yourmt3plus.salience import Maps, Salience
from yourmt3plus.tokenizer import TICKS_PER_SECOND, whole_ticks


class SegmentNetwork(nn.Module):
    """A network that hears segments.

    Args:
        front_end: makes pictures of audio, see `yourmt3plus.front_ends`.
        n_channels: that are told apart.
        n_samples: of a segment.
    """

    def __init__(self, front_end: nn.Module, n_channels: int, n_samples: int):
        super().__init__()
        self.front_end: Any = front_end
        self.n_channels = n_channels
        self.n_samples = n_samples
        self.salience: Salience | None = None

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.front_end.grid.sample_rate

    @property
    def n_ticks(self) -> int:
        """Ticks of 10 ms that a segment has for its own."""
        return whole_ticks(self.n_samples, self.sample_rate)

    @property
    def n_tasks(self) -> int:
        """What it can be asked for, beside everything."""
        return 0

    @property
    def frames_per_tick(self) -> float:
        """Frames of a picture in 10 ms."""
        return float(self.front_end.grid.rate) / TICKS_PER_SECOND

    @property
    def channels(self) -> Channels:
        """Who is written to which row.

        Raises:
            ValueError: the network has neither 1 row nor 13.
        """
        known = {len(channels): channels for channels in (SINGLE, MULTI)}
        if self.n_channels not in known:
            raise ValueError(f"no table of channels for {self.n_channels} rows, only for {sorted(known)}")
        return known[self.n_channels]

    def maps(self, audio: Float[Tensor, "batch time"]) -> Maps:
        """Logits of notes at all frames and keys.

        Args:
            audio: mono segments in -1..1 at `sample_rate`, `n_samples` long.

        Raises:
            ValueError: the network was made without salience.
        """
        if self.salience is None:
            raise ValueError("this network has no salience; make it with salience=64")
        return self.salience(self.front_end(audio))


class Listener(SegmentNetwork):
    """Front-end and salience alone: what it tells is read by rule, see `yourmt3plus.reading`.

    Args:
        front_end: a `front_ends.ConstantQ`, or the {"class_path", "init_args"} of one that a checkpoint holds.
        salience: width of its convolutions.
        n_channels: that are told apart.
        n_samples: of a segment.
    """

    def __init__(self, front_end: nn.Module, salience: int = 64, n_channels: int = len(MULTI), n_samples: int = 32_640):
        known = part(front_end, [ConstantQ])() if isinstance(front_end, Mapping) else front_end
        super().__init__(known, n_channels, n_samples)
        self.salience = Salience(self.front_end.n_bins, n_channels, width=salience)
        self.keys = self.salience.keys
