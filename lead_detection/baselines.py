"""The networks that the paper compares itself with, from its text and from what its authors' code does.

Table IV's are an encoder and a head of a `LeadDetector`; Table V's hears the mixture alone. Its support vector machine
is in `lead_detection.segments`.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders import Encoder
from common.frames import FrameGrid
from common.frontends import LogMel
from lead_detection.heads import N_INSTRUMENTS, Head, Heard, ask, instruments_told
from lead_detection.taxonomy import MIX

FLOOR = 1e-7


class MelEncoder(Encoder):
    """Mel spectra at 75 Hz as features, with nothing to learn: 128 bins, windows of 85 ms.

    Args:
        log: logarithms, 0 for silence; otherwise energies, as published.
        sample_rate: in Hz.
        hop_length: samples of a frame.
    """

    def __init__(self, log: bool = True, sample_rate: int = 24_000, hop_length: int = 320):
        super().__init__(FrameGrid(sample_rate, hop_length), dim=128, tail=0, micro_batch=0)
        self.log = log
        self.mel = LogMel(sample_rate, 2048, hop_length, self.dim, floor=FLOOR)

    def encode(self, audio: Tensor) -> Tensor:
        picture = self.mel(audio[:, : self.n_samples(self.n_frames(audio.shape[1]))]).mT
        return picture / -math.log(FLOOR) + 1 if self.log else picture.exp()


class CRNNHead(Head):
    """Table IV: the recurrent network of Adavanne et al. (2018), whose channels are the mixture and the tracks.

    As published its outputs go through a sigmoid and then through the softmax of the loss, which with 17 classes cannot
    fall below 1.93: `sigmoid=True` with `MelEncoder(log=False)`. Without either it is repaired.

    Args:
        dim: of the encoder; its features are the axis that convolutions pool.
        n_instruments: ids known, which it classifies.
        max_tracks: channels, the mixture counted; what a clip does not have is 0.
        attention: attend to the tracks with the mixture as query first, so that there is one channel ("CRNN + attn").
        n_heads: of that attention.
        attn_dropout: of what it gives.
        mixture_id: id of the mixture.
        sigmoid: before the loss.
        dropout: behind each convolution.
    """

    classifies = "instrument"

    def __init__(
        self,
        dim: int,
        n_instruments: int = N_INSTRUMENTS,
        max_tracks: int = 10,
        attention: bool = False,
        n_heads: int = 8,
        attn_dropout: float = 0.5,
        mixture_id: int = MIX,
        sigmoid: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.max_tracks = max_tracks
        self.mixture_id = mixture_id
        self.instrument = nn.Embedding(n_instruments + 1, dim) if attention else None
        self.attention = nn.MultiheadAttention(dim, n_heads, batch_first=True) if attention else None
        self.attn_dropout = nn.Dropout(attn_dropout)
        pools = (5, 2, 2)
        widths = (1 if attention else max_tracks, 128, 128, 128)
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(n_inputs, n_outputs, 3, padding=1),
                    nn.BatchNorm2d(n_outputs),
                    nn.ReLU(),
                    nn.MaxPool2d((1, pool)),
                    nn.Dropout(dropout),
                )
                for n_inputs, n_outputs, pool in zip(widths, widths[1:], pools, strict=False)
            )
        )
        for pool in pools:
            dim //= pool
        self.recurrent = nn.GRU(widths[-1] * dim, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, n_instruments + 1))
        self.output = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, heard: Heard) -> Tensor:
        channels = self.channels(heard) if self.attention is None else self.attend(self.attention, heard)
        picture = rearrange(self.convolutions(channels), "batch channel frame dim -> batch frame (channel dim)")
        return self.output(self.classifier(self.recurrent(picture)[0]))

    def channels(self, heard: Heard) -> Tensor:
        """Mixture, tracks and zeros, (batch, max_tracks, frame, dim)."""
        tracks, mixture, _ = instruments_told(heard, None, self.mixture_id)
        missing = self.max_tracks - 1 - tracks.shape[1]
        if missing < 0:
            raise ValueError(f"a clip of {tracks.shape[1]} tracks and their mixture: set max_tracks to more")
        return F.pad(torch.cat([mixture[:, None], tracks], dim=1), (0, 0, 0, 0, 0, missing))

    def attend(self, attention: nn.MultiheadAttention, heard: Heard) -> Tensor:
        """(batch, 1, frame, dim)."""
        tracks, mixture, present = instruments_told(heard, self.instrument, self.mixture_id)
        everything = torch.cat([mixture[:, None], tracks], dim=1)
        return self.attn_dropout(ask(attention, mixture, everything, F.pad(~present, (1, 0))))[:, None]


class SegmentHead(Head):
    """Table V: does the guitar lead in the clip? The mean of the mixture's features over time, and a linear classifier.

    Args:
        dim: of the encoder.
    """

    classifies = "segment"
    needs_tracks = False

    def __init__(self, dim: int):
        super().__init__()
        self.classifier = nn.Linear(dim, 2)

    def forward(self, heard: Heard) -> Tensor:
        """(batch, 1, 2): no, yes."""
        return self.classifier(heard.mixture.mean(1, keepdim=True))
