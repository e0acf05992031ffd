"""Which keys sound in which channel, told by convolutions that treat all pitches alike, beside the latents.

PerceiverTF presses the spectrum of a frame into a few latents, and has to learn every pitch of every instrument from
examples of it; the paper had 25 million. Convolutions over harmonics share what they learn among all pitches, and learn
from the truth at every key and frame. What they tell can be read by rule (`yourmt3plus.reading`), and is added to the
memory, where a decoder finds it at the time and in the channel that it writes. The paper has nothing like it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from common.frontends import HarmonicStack

BINS_PER_PITCH = 3
N_KEYS = 128  # pitches, or keys of drums
RARE = -5.0  # logit of a note at the start


class Maps(NamedTuple):
    """Of keys (pitches, or the keys of drums) over frames, all (batch, channel, frame, key)."""

    onset: Tensor
    sounding: Tensor


class Residual(nn.Module):
    """A convolution over (pitch, frame) beside its input."""

    def __init__(self, width: int, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding="same", dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class Context(nn.Module):
    """What is heard anywhere in the segment scales and shifts what is heard at each place: who plays along."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(2 * width, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        heard = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        scale, shift = self.linear(heard)[..., None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class Salience(nn.Module):
    """Maps of all channels from a constant-Q picture.

    Args:
        n_bins: of the picture, three for each pitch.
        n_channels: of the memory; the last one is that of drums.
        lowest: pitch of the lowest three bins.
        width: channels of the convolutions.
        harmonics: frequency ratios of what is heard together.

    Raises:
        ValueError: a picture without three bins for each pitch, or a single channel.
    """

    def __init__(
        self,
        n_bins: int,
        n_channels: int,
        lowest: int = 28,
        width: int = 32,
        harmonics: Sequence[float] = (0.5, 1, 2, 3, 4, 5, 6),
    ):
        super().__init__()
        n_keys, rest = divmod(n_bins, BINS_PER_PITCH)
        if rest:
            raise ValueError(f"a salience needs a picture with three bins for each pitch, not {n_bins} bins")
        if n_channels < 2:
            raise ValueError("a salience tells channels apart, of which the last is that of drums; there is only one")
        self.keys = slice(lowest, lowest + n_keys)
        self.stack = HarmonicStack(tuple(harmonics), 12 * BINS_PER_PITCH, n_bins)
        self.first = nn.Conv2d(BINS_PER_PITCH * len(harmonics), width, (3, 3), padding="same", bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.trunk = nn.Sequential(
            Residual(width, (5, 1), (12, 1)),  # octaves
            Residual(width, (3, 3)),
            Context(width),
            Residual(width, (1, 5)),
            Residual(width, (3, 3)),
            Context(width),
            Residual(width, (1, 5), (1, 3)),
            Residual(width, (5, 1), (12, 1)),
        )
        self.notes = nn.Conv2d(width, 2, 1)  # of anybody
        self.player = nn.Conv2d(width, n_channels - 1, 1)
        self.beaten = nn.Conv2d(width, 4, 1)
        self.drums = nn.Linear(4 * n_keys, 2 * n_keys)
        for told in (self.notes, self.drums):
            nn.init.constant_(told.get_parameter("bias"), RARE)

    def forward(self, picture: Float[Tensor, "batch frame bin"]) -> Maps:
        """Logits."""
        x = self.stack(picture.mT)  # (batch, harmonic, bin, frame)
        x = x.unflatten(2, (-1, BINS_PER_PITCH)).transpose(2, 3).flatten(1, 2)  # (batch, harmonic third, pitch, frame)
        x = self.trunk(F.relu(self.norm(self.first(x))))
        pitched = whose(self.notes(x).float(), self.player(x).float())  # (2, batch, channel, frame, pitch)
        beaten = F.relu(self.beaten(x)).permute(0, 3, 1, 2).flatten(2)  # (batch, frame, ...)
        drums = self.drums(beaten).unflatten(-1, (2, -1)).permute(2, 0, 1, 3)[:, :, None]
        return Maps(*torch.cat([pitched, drums.float()], dim=2))


def whose(notes: Tensor, player: Tensor) -> Tensor:
    """Logits (2, batch, channel, frame, pitch) of notes of each channel.

    A note is one of somebody: what is sure that it sounds and unsure who plays it is shared out. Told channel by
    channel, it would be unlikely in each of them.

    Args:
        notes: (batch, 2, pitch, frame) logits of an onset, and of sounding, of anybody's note.
        player: (batch, channel, pitch, frame) logits of who plays, if anybody does.
    """
    sure = F.logsigmoid(notes)[:, :, None] + F.log_softmax(player, dim=1)[:, None]
    sure = sure.clamp(max=-1e-4)
    return (sure - torch.log(-torch.expm1(sure))).permute(1, 0, 2, 4, 3)


class Codes(nn.Module):
    """Maps as memory: each key has a vector for its onset, one while it sounds and one for its end.

    Args:
        n_keys: of the maps.
        n_channels: of the memory.
        dim: of the memory.
    """

    def __init__(self, n_keys: int, n_channels: int, dim: int):
        super().__init__()
        self.code = nn.Linear(3 * n_keys, dim, bias=False)
        self.channel = nn.Parameter(torch.randn(n_channels, 1, dim))
        nn.init.normal_(self.code.weight)

    def forward(self, maps: Maps) -> Float[Tensor, "batch channel frame dim"]:
        """What is added to the memory for maps of 0 to 1."""
        onset, sounding = maps
        ended = F.relu(F.pad(sounding, (0, 0, 1, 0))[:, :, :-1] - sounding)
        return self.code(torch.cat([onset, sounding, ended], dim=-1)) + self.channel


def told(maps: Maps, truth: Maps, which: Bool[Tensor, " batch"]) -> Maps:
    """Maps with the truth in place of some of the batch."""
    return Maps(*(torch.where(which[:, None, None, None], true, own) for own, true in zip(maps, truth, strict=True)))
