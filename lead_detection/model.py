"""The network: stems and their mixture in, logits of who leads out, a frame at a time.

Paper: "Lead Instrument Detection from Multitrack Music" (Ou, Takahashi and Wang, ICASSP 2025, arXiv 2503.03232). An
encoder shared by all tracks hears each of them and the mixture; a head compares what it heard.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from common.checkpoint import part
from common.encoders import LogMelEncoder, SSLEncoder
from common.frames import FrameGrid
from lead_detection.baselines import CRNNHead, MelEncoder, SegmentHead
from lead_detection.heads import AttentionHead, AverageHead, Heard, MixHead, PointerHead
from lead_detection.levels import levels

ENCODERS = (LogMelEncoder, SSLEncoder, MelEncoder)
HEADS = (PointerHead, AttentionHead, AverageHead, MixHead, CRNNHead, SegmentHead)
PARTS = (*ENCODERS, *HEADS)
# Tracks that a CPU encodes at a time: ragged batches all have another size, and from buffers of another size each the
# heap breaks up. With parts of one size training on 3 to 8 tracks takes 15 % less memory, and no more time.
CPU_ROWS = 8


class LeadDetector(nn.Module):
    """An encoder that hears every track and the mixture, and a head that compares them.

    Args:
        encoder: one of `common.encoders`, or the like.
        head: makes one of `lead_detection.heads` from the encoder's dim; in a configuration, its class_path and
            init_args without `dim`.

    Either may also be the {"class_path", "init_args"} that a checkpoint holds. Of such, only `PARTS` are built.
    """

    def __init__(self, encoder: nn.Module, head: Callable[[int], nn.Module]):
        super().__init__()
        self.encoder: Any = part(encoder, PARTS)() if isinstance(encoder, Mapping) else encoder
        make: Any = part(head, PARTS) if isinstance(head, Mapping) else head
        self.head = make(self.encoder.dim)

    @property
    def grid(self) -> FrameGrid:
        """Clock of the frames; frame i is the samples [i * hop, (i + 1) * hop)."""
        return self.encoder.grid

    @property
    def classifies(self) -> Literal["track", "instrument", "segment"]:
        return self.head.classifies

    def n_samples(self, n_frames: int) -> int:
        """Samples of audio that `n_frames` frames take."""
        return self.encoder.n_samples(n_frames)

    def standalone(self, init_args: dict[str, Any]) -> dict[str, Any]:
        """The arguments that this network was made with, as a checkpoint is to hold them.

        A transformer then is built of its settings: it needs neither its folder nor the hub, nor a cache.
        """
        encoder = init_args["encoder"]
        if not isinstance(self.encoder, SSLEncoder):
            return init_args
        arguments = {**encoder["init_args"], "path": None, "cache": None, **self.encoder.settings}
        return {**init_args, "encoder": {**encoder, "init_args": arguments}}

    def hear(self, audio: Tensor, clip: Tensor, instrument: Tensor, mixture: Tensor) -> Heard:
        """What the head compares; the arguments are those of `forward`. Whatever it does not ask for is not encoded."""
        tracks = audio if self.head.needs_tracks else audio[:0]
        ragged = self.head.needs_silence and len(audio) < len(mixture) * int(torch.bincount(clip).max())
        silence = torch.zeros_like(mixture[: int(ragged)])
        features = self.encode(torch.cat([tracks, mixture, silence]))
        return Heard(
            *features.split([len(tracks), len(mixture), len(silence)]),
            levels=levels(audio, clip, mixture, self.grid, features.shape[1]),
            clip=clip,
            instrument=instrument,
        )

    def encode(self, audio: Tensor) -> Tensor:
        """(track, time) -> (track, frame, dim), each track by itself."""
        if audio.device.type != "cpu" or self.encoder.micro_batch:  # which goes in parts already
            return self.encoder(audio)
        return torch.cat([self.encoder(part) for part in audio.split(CPU_ROWS)])

    def forward(
        self,
        audio: Float[Tensor, " track time"],
        clip: Int[Tensor, " track"],
        instrument: Int[Tensor, " track"],
        mixture: Float[Tensor, " batch time"],
    ) -> Float[Tensor, " batch frame class"]:
        """Logits of each clip.

        Args:
            audio: tracks of all clips, one clip after the other, in -1..1 at `grid.sample_rate`.
            clip: which clip a track belongs to, ascending; each has one at least.
            instrument: id of each track, 0 = unknown.
            mixture: of each clip.

        Returns:
            float32. Where tracks are classified, class 0 is nobody and 1 + i the clip's i-th track, -inf where it has
            none; otherwise a class is the id of an instrument.
        """
        return self.head(self.hear(audio, clip, instrument, mixture)).float()
