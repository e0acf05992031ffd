"""Encoders: audio (clip, time) in, features of frames (clip, frame, dim) out, each with its own exact clock.

A clip of an encoder is one track or one mixture. Frame i stands for the samples [i * hop, (i + 1) * hop) of its grid.
"""

import math
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from common import pretrained
from common.features import FeatureStore
from common.frames import FrameGrid
from common.frontends import LogMel
from common.pretrained import EncoderError


class Encoder(nn.Module):
    """What encoders share: the clock, and how many clips go through at a time.

    Args:
        grid: clock of the frames.
        dim: of a frame's features.
        tail: samples that `n_frames` frames need beyond their own.
        micro_batch: clips that are encoded at a time, 0 for all. When training, the activations of such a part are
            computed again for its gradient instead of being kept, so that memory no longer grows with the clips; the
            gradient is the same.
    """

    def __init__(self, grid: FrameGrid, dim: int, tail: int, micro_batch: int):
        super().__init__()
        if micro_batch < 0:
            raise EncoderError(f"micro_batch must be 0 (all clips at once) or more, not {micro_batch}")
        self.grid = grid
        self.dim = dim
        self.tail = tail
        self.micro_batch = micro_batch

    @property
    def sample_rate(self) -> int:
        return self.grid.sample_rate

    def n_samples(self, n_frames: int) -> int:
        """Samples of audio of which exactly `n_frames` frames are made."""
        return n_frames * self.grid.hop_length + self.tail

    def n_frames(self, n_samples: int) -> int:
        """Frames that are made of so many samples."""
        return max(n_samples - self.tail, 0) // self.grid.hop_length

    def encode(self, audio: Tensor) -> Tensor:
        """As `forward`, all clips at once."""
        raise NotImplementedError

    def forward(self, audio: Tensor) -> Tensor:
        """(clip, time) audio in -1..1 at `sample_rate` -> (clip, frame, dim), `n_frames(time)` frames."""
        if self.n_frames(audio.shape[1]) < 1:
            raise EncoderError(f"{audio.shape[1]} samples are less than a frame: give at least {self.n_samples(1)}")
        if not 0 < self.micro_batch < len(audio):
            return self.encode(audio)
        parts = audio.split(self.micro_batch)
        if not torch.is_grad_enabled():
            return torch.cat([self.encode(part) for part in parts])
        encode: Any = partial(checkpoint, self.encode, use_reentrant=False)
        return torch.cat([encode(part) for part in parts])


class TemporalBlock(nn.Module):
    """Residual look along time: depthwise and dilated, then across features of a frame (Liu et al., ConvNeXt).

    Every norm is over one frame of one clip: what a clip becomes does not depend on the others of the batch.
    """

    def __init__(self, dim: int, dilation: int, kernel: int = 5, expansion: int = 2):
        super().__init__()
        # As a picture of one row: depthwise convolutions of sequences are a third slower on a CPU.
        self.depthwise = nn.Conv2d(
            dim, dim, (1, kernel), padding=(0, kernel // 2 * dilation), dilation=(1, dilation), groups=dim
        )
        self.norm = nn.LayerNorm(dim)
        self.pointwise = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(clip, frame, dim) -> the same."""
        y = self.depthwise(x.mT[:, :, None])[:, :, 0].mT
        return x + self.pointwise(self.norm(y))


class LogMelEncoder(Encoder):
    """Log-mel pictures through convolutions, trained from scratch: 350,000 parameters, 1.3 s of context to each side.

    It does not hear the gain: every frame is taken relative to the mean energy of the surrounding two seconds, down to
    a floor. Whoever needs the level gives it apart.

    Args:
        dim: of a frame's features.
        channels: widths of the three convolutions over the picture; each halves the mel axis.
        dilations: one TemporalBlock for each, in frames.
        n_mels: bins, 30 Hz to half the rate.
        sample_rate: in Hz.
        hop_length: samples of a frame; even. The picture has two columns for each.
        micro_batch: see `Encoder`.
    """

    def __init__(
        self,
        dim: int = 128,
        channels: tuple[int, int, int] = (16, 32, 48),
        dilations: tuple[int, ...] = (1, 2, 4, 8),
        n_mels: int = 80,
        sample_rate: int = 24_000,
        hop_length: int = 960,
        micro_batch: int = 0,
    ):
        super().__init__(FrameGrid(sample_rate, hop_length), dim, 0, micro_batch)
        if hop_length % 2 or n_mels % 8:
            raise EncoderError(f"hop_length must be even and n_mels a multiple of 8, not {hop_length} and {n_mels}")
        first, second, third = channels
        self.mel = LogMel(sample_rate, 2048, hop_length // 2, n_mels, fmin=30.0)
        self.level = LocalLevel(reach=2 * sample_rate // hop_length)
        # Mel x time. Without padding at the left the kernel of 3 columns is centred on the middle of its frame.
        self.picture = nn.Sequential(
            nn.Conv2d(1, first, (5, 3), stride=(2, 2), padding=(2, 0)),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=(2, 1), padding=1),
            nn.GELU(),
            nn.Conv2d(second, third, 3, stride=(2, 1), padding=1),
            nn.GELU(),
        ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.project = nn.Linear(third * n_mels // 8, dim)
        self.temporal = nn.Sequential(*(TemporalBlock(dim, dilation) for dilation in dilations))
        self.norm = nn.LayerNorm(dim)

    def encode(self, audio: Tensor) -> Tensor:
        n_frames = self.n_frames(audio.shape[1])
        x = self.level(self.mel(audio[:, : self.n_samples(n_frames)]))  # (clip, mel, column)
        x = self.picture(F.pad(x, (0, 1), value=self.level.silence)[:, None])  # (clip, channel, mel, frame)
        x = self.project(x.permute(0, 3, 1, 2).flatten(2))
        return self.norm(self.temporal(x))


class LocalLevel(nn.Module):
    """Log energies against the mean energy of the columns around them, down to a floor, scaled to about -1..1.

    Args:
        reach: columns on either side that belong to the mean.
        floor: lowest value against that mean, in nepers of energy.
        quietest: mean energy of a mel bin below which the level is held, so that the noise of a silent track is not
            lifted: that of white noise at about -75 dBFS.
    """

    def __init__(self, reach: int, floor: float = -12.0, quietest: float = 1e-4):
        super().__init__()
        self.reach = reach
        self.floor = floor
        self.quietest = quietest

    @property
    def silence(self) -> float:
        return self.floor / 4 + 1

    def forward(self, log_energy: Tensor) -> Tensor:
        """(clip, bin, column) natural logarithms -> the same shape."""
        mean = log_energy.exp().mean(dim=1, keepdim=True)
        # Columns beyond the ends do not count, or every clip would begin with a swell.
        width = 2 * self.reach + 1
        level = F.avg_pool1d(mean, width, stride=1, padding=self.reach, count_include_pad=False)
        return (log_energy - level.clamp(min=self.quietest).log()).clamp(min=self.floor) / 4 + 1


Freeze = Literal["none", "conv", "all_but_k", "all"]


class SSLEncoder(Encoder):
    """A self-supervised transformer of the HuBERT family: MERT-v1-95M and -330M, HuBERT, wav2vec 2.0.

    MERT v1 is a HuBERT: transformers' class loads its weights and gives its features, and no code that comes with a
    checkpoint runs. Its first norm takes the level out of each clip: whoever needs the level gives it apart.

    A clip of n_frames * hop + 320 samples gives n_frames frames; what the convolutions make of more is cut.

    Args:
        path: folder with config.json and weights, or hub id such as "m-a-p/MERT-v1-95M".
        config: settings of `transformers.HubertConfig`; instead of a path, for a network with random weights.
        layers: "last" hidden states, or the "weighted" mean of all layers' with learnt weights.
        freeze: nothing, the "conv" stack below the transformer, "all_but_k" (the last `unfrozen_layers` learn), or
            "all". What is frozen stays in evaluation mode, and no graph is built of it.
        unfrozen_layers: k of "all_but_k".
        spec_augment: share of frames that are masked in training.
        layerdrop: probability that a layer is left out in training; keep 0 with several devices.
        gradient_checkpointing: compute the activations of each layer again for its gradient.
        micro_batch: see `Encoder`.
        pool: frames whose mean becomes one; 3 makes 25 Hz of 75 Hz.
        sample_rate: in Hz that the network was trained at; by default what the checkpoint says, or 24,000.
        normalise: bring each clip to zero mean and unit variance; by default what the checkpoint says, or not.
        attention: implementation, "sdpa" or "eager".
        cache: folder in which what a frozen ("all") network hears is kept. A clip is known by its samples: whatever
            changes them (gain, bleed, another crop) makes a new one. 5 s take 0.6 MB, and with weighted layers as often
            as there are layers.

    Raises:
        EncoderError: there is no such checkpoint, it lacks weights, or the arguments contradict each other.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        layers: Literal["last", "weighted"] = "last",
        freeze: Freeze = "conv",
        unfrozen_layers: int = 1,
        spec_augment: float = 0.0,
        layerdrop: float = 0.0,
        gradient_checkpointing: bool = False,
        micro_batch: int = 0,
        pool: int = 1,
        sample_rate: int | None = None,
        normalise: bool | None = None,
        attention: str = "sdpa",
        cache: str | None = None,
    ):
        if (path is None) == (config is None):
            raise EncoderError("give either path, a folder or hub id, or config, settings of transformers.HubertConfig")
        if freeze in ("all_but_k", "all") and (spec_augment or layerdrop):
            raise EncoderError("set spec_augment and layerdrop to 0 where transformer layers are frozen")
        if cache is not None and freeze != "all":
            raise EncoderError("only what a frozen encoder hears can be kept: set freeze to all, or no cache")
        if layers == "weighted" and layerdrop:
            raise EncoderError("set layerdrop to 0: a weighted mean needs every layer")
        found = pretrained.read_settings(path) if path else {"config": config}
        self.settings = {
            "config": found["config"],
            "sample_rate": sample_rate or found.get("sample_rate", 24_000),
            "normalise": found.get("normalise", False) if normalise is None else normalise,
        }
        network = pretrained.build(path, self.settings["config"], spec_augment, layerdrop, attention)
        hop = math.prod(network.config.conv_stride)
        super().__init__(
            FrameGrid(self.settings["sample_rate"], hop * pool), network.config.hidden_size, hop, micro_batch
        )
        self.network: Any = network
        self.pool = pool
        self.weights = nn.Parameter(torch.zeros(len(network.encoder.layers) + 1)) if layers == "weighted" else None
        self.frozen = frozen_parts(network, freeze, unfrozen_layers)
        for part in self.frozen:
            part.requires_grad_(False)
        if not spec_augment and hasattr(network, "masked_spec_embed"):
            network.masked_spec_embed.requires_grad_(False)
        if gradient_checkpointing:
            network.activation_checkpointing_enable({"use_reentrant": False})
        self.store = FeatureStore(cache, network, [self.settings, layers, pool]) if cache is not None else None
        self.train(self.training)

    def train(self, mode: bool = True) -> "SSLEncoder":
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def states(self, audio: Tensor) -> Tensor:
        """Hidden states that `mix` reads, (clip, layer, frame, dim): of all layers, or of the last one alone."""
        if self.settings["normalise"]:
            audio = (audio - audio.mean(1, keepdim=True)) / (audio.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
        frozen = self.network in self.frozen
        with torch.no_grad() if frozen else nullcontext():
            output = self.network(audio, output_hidden_states=self.weights is not None)
            below = () if self.weights is None else output.hidden_states[:-1]
            # Not the last of the hidden states, which lacks the norm that comes last in pre-norm networks.
            states = torch.stack([*below, output.last_hidden_state], dim=1)
        n_frames = self.n_frames(audio.shape[1])
        return states[:, :, : n_frames * self.pool].unflatten(2, (n_frames, self.pool)).mean(3)

    def mix(self, states: Tensor) -> Tensor:
        """(clip, layer, frame, dim) -> (clip, frame, dim)."""
        if self.weights is None:
            return states[:, 0]
        return torch.einsum("clfd,l->cfd", states, self.weights.softmax(0).to(states.dtype))

    def encode(self, audio: Tensor) -> Tensor:
        return self.mix(self.states(audio) if self.store is None else self.store(audio, self.states))


def frozen_parts(network: Any, freeze: Freeze, unfrozen_layers: int) -> tuple[nn.Module, ...]:
    """The parts of a transformer that do not learn."""
    stack = network.encoder
    match freeze:
        case "none":
            return ()
        case "conv":
            return (network.feature_extractor,)
        case "all":
            return (network,)
        case "all_but_k":
            if not 0 < unfrozen_layers <= len(stack.layers):
                raise EncoderError(f"unfrozen_layers must be in 1..{len(stack.layers)}, not {unfrozen_layers}")
            below = (network.feature_extractor, network.feature_projection, stack.pos_conv_embed, stack.dropout)
            # With pre-norm layers ("stable") this norm comes last, and learns.
            norm = () if network.config.do_stable_layer_norm else (stack.layer_norm,)
            return (*below, *norm, *stack.layers[:-unfrozen_layers])
    raise EncoderError(f"freeze must be none, conv, all_but_k or all, not {freeze!r}")
