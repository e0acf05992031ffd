"""Heads: features of tracks and mixtures in, logits (batch, frame, class) out.

`PointerHead` is ours. `AttentionHead` is the best row of the paper's Table I, `AverageHead` and `MixHead` are others
of it (arXiv 2503.03232).
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders import TemporalBlock
from lead_detection.levels import N_LEVELS
from lead_detection.taxonomy import MIX, VOCABULARY

N_INSTRUMENTS = len(VOCABULARY) - 1


class Heard(NamedTuple):
    """What a head compares: features of the tracks, one clip after the other, and of the clips' mixtures."""

    tracks: Tensor  # (track, frame, dim)
    mixture: Tensor  # (batch, frame, dim)
    silence: Tensor  # (1, frame, dim), of a track without sound; (0, frame, dim) unless the head needs it
    levels: Tensor  # (track, frame, N_LEVELS)
    clip: Tensor  # int64 (track,), ascending
    instrument: Tensor  # int64 (track,), 0 = unknown


class Head(nn.Module):
    """Heard -> logits (batch, frame, class).

    Attributes:
        classifies: "track": class 0 is nobody, 1 + i the i-th track of the clip. "instrument": 0 is nobody, the others
            are ids of instruments. "segment": a class for the whole clip.
        needs_tracks: otherwise only the mixture need be encoded.
        needs_silence: features of a silent track are wanted if a clip has fewer tracks than another.
    """

    classifies: Literal["track", "instrument", "segment"] = "track"
    needs_tracks = True
    needs_silence = False


class PointerHead(Head):
    """Scores each track by itself, in the light of the mixture and of the mean of the clip's tracks, and nobody.

    The same weights score every track: their order cannot matter, nor can their number exceed a maximum, and a clip
    alone has the logits that it has among others.

    Args:
        dim: of the encoder.
        hidden: features of a track inside the head.
        n_instruments: ids known; 0 stays for unknown.
        level_features: hear how loud track and mixture are.
        temporal: how a track looks along time: "conv" (one TemporalBlock for each of `dilations`), "gru" or "none".
        dilations: in frames; 1, 4, 16, 64 reach 6.8 s to each side at 25 Hz: a figure that comes again each bar takes
            bars to hear.
        n_heads: of an attention of each track to all tracks of the clip, frame by frame; 0 for none.
        dropout: before the scores.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 96,
        n_instruments: int = N_INSTRUMENTS,
        level_features: bool = True,
        temporal: Literal["conv", "gru", "none"] = "conv",
        dilations: tuple[int, ...] = (1, 4, 16, 64),
        n_heads: int = 0,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.track = nn.Linear(dim, hidden)
        self.mixture = nn.Linear(dim, hidden)
        self.level = nn.Linear(N_LEVELS, hidden) if level_features else None
        self.instrument = nn.Embedding(n_instruments + 1, hidden, padding_idx=0)
        self.others = nn.Linear(hidden, hidden)
        self.attention = nn.MultiheadAttention(hidden, n_heads, batch_first=True) if n_heads else None
        self.temporal = temporal_layer(temporal, hidden, dilations)
        self.score = scorer(3 * hidden, hidden, dropout)
        self.nobody = scorer(2 * hidden, hidden, dropout)

    def forward(self, heard: Heard) -> Tensor:
        clip, n_clips = heard.clip, len(heard.mixture)
        mixture = self.mixture(heard.mixture)
        x = self.track(heard.tracks) + mixture[clip] + self.instrument(heard.instrument)[:, None]
        if self.level is not None:
            x = x + self.level(heard.levels)
        x = F.gelu(x)
        x = self.temporal(x + self.others(clip_mean(x, clip, n_clips))[clip])
        if self.attention is not None:
            x = x + attend_to_tracks(self.attention, x, clip, n_clips)
        mean = clip_mean(x, clip, n_clips)
        scores = self.score(torch.cat([x, mean[clip], mixture[clip]], dim=-1))  # (track, frame, 1)
        nobody = self.nobody(torch.cat([mean, mixture], dim=-1))  # (batch, frame, 1)
        scores, _ = pad_tracks(scores[..., 0], clip, n_clips, fill=-torch.inf)  # (batch, slot, frame)
        return torch.cat([nobody, scores.mT], dim=-1)


def scorer(n_inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(n_inputs), nn.Linear(n_inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
    )


class TemporalGRU(nn.Module):
    """Residual look along all of the clip, both ways; (track, frame, dim) -> the same."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.gru = nn.GRU(dim, dim // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gru(self.norm(x))[0]


def temporal_layer(kind: str, dim: int, dilations: tuple[int, ...]) -> nn.Module:
    if kind == "gru":
        return TemporalGRU(dim)
    return nn.Sequential(*(TemporalBlock(dim, dilation) for dilation in dilations if kind == "conv"))


class AttentionHead(Head):
    """The paper's: attention over the tracks of a frame with the mixture as query, and a linear classifier.

    Classes are positions, so there is a most of tracks. The defaults are the code's of the row "Track attn., Track";
    what differs from the text is one switch each.

    Args:
        dim: of the encoder.
        classifies: "track", or "instrument" (Table I's third row, in the code without norm and track embedding).
        max_tracks: most tracks of a clip, the mixture counted: 15 for the paper's own data, 27 with MedleyDB.
        n_instruments: ids known.
        mixture_id: id of the mixture among them.
        n_heads: of the attention.
        attn_dropout: of the attention's weights.
        out_dropout: before the classifier.
        layer_norm: normalise what the attention gives.
        ln_trainable: train that norm; the code's optimiser does not know it.
        mask_padding: take no notice of tracks that a clip does not have. Otherwise they are there as silent ones, as in
            the code, and their logits and that of the mixture, which is the last class, take part.
        mix_in_kv: let the attention see the mixture among the tracks; not in the text.
        track_emb: tell the position of a track.
        inst_emb: tell its instrument.
        pseudo_mix: ask with the mean of the tracks' features instead of the mixture ("w/o oracle mix" as coded; as
            published it is the audio that is averaged: that is up to the data).
    """

    def __init__(
        self,
        dim: int,
        classifies: Literal["track", "instrument"] = "track",
        max_tracks: int = 15,
        n_instruments: int = N_INSTRUMENTS,
        mixture_id: int = MIX,
        n_heads: int = 12,
        attn_dropout: float = 0.0,
        out_dropout: float = 0.8,
        layer_norm: bool = True,
        ln_trainable: bool = False,
        mask_padding: bool = False,
        mix_in_kv: bool = True,
        track_emb: bool = True,
        inst_emb: bool = True,
        pseudo_mix: bool = False,
    ):
        super().__init__()
        self.classifies = classifies
        self.max_tracks = max_tracks
        self.mixture_id = mixture_id
        self.mask_padding = mask_padding
        self.needs_silence = not mask_padding
        self.mix_in_kv = mix_in_kv
        self.pseudo_mix = pseudo_mix
        # As many rows as the released weights have, the last two of which no position reaches.
        self.track = nn.Embedding(max_tracks + 2, dim) if track_emb else None
        self.instrument = nn.Embedding(n_instruments + 1, dim) if inst_emb else None
        self.attention = nn.MultiheadAttention(dim, n_heads, dropout=attn_dropout, batch_first=True)
        self.norm = nn.LayerNorm(dim).requires_grad_(ln_trainable) if layer_norm else nn.Identity()
        self.dropout = nn.Dropout(out_dropout)
        self.classifier = nn.Linear(dim, (max_tracks if classifies == "track" else n_instruments) + 1)

    def forward(self, heard: Heard) -> Tensor:
        tracks, mixture, present = instruments_told(heard, self.instrument, self.mixture_id)
        n_slots = tracks.shape[1]
        if n_slots >= self.max_tracks:
            raise ValueError(
                f"a clip of {n_slots} tracks and their mixture, but the head was made for {self.max_tracks}: set its "
                "max_tracks, or take a PointerHead, which has no maximum"
            )
        if self.track is not None:
            position = self.track(torch.arange(n_slots + 1, device=present.device))
            mixture, tracks = mixture + position[0], tracks + position[1:, None]
        query = masked_mean(tracks, counted(present, self.mask_padding)) if self.pseudo_mix else mixture
        if self.mix_in_kv:
            tracks = torch.cat([mixture[:, None], tracks], dim=1)
        absent = F.pad(~present, (int(self.mix_in_kv), 0)) if self.mask_padding else None
        logits = self.classifier(self.dropout(self.norm(ask(self.attention, query, tracks, absent))))
        if self.classifies == "instrument" or not self.mask_padding:
            return logits
        nobody, scores = logits[..., :1], logits[..., 1 : n_slots + 1]
        return torch.cat([nobody, scores.masked_fill(~present[:, None], -torch.inf)], dim=-1)


class AverageHead(Head):
    """Table I, "Track avg.": the mean over tracks and mixture, and a linear classifier of instruments.

    Args:
        dim: of the encoder.
        n_instruments: ids known.
        mixture_id: id of the mixture among them.
        inst_emb: tell the instruments.
        mask_padding: average what a clip has only; in the code silent tracks stand for what others have.
    """

    classifies = "instrument"

    def __init__(
        self,
        dim: int,
        n_instruments: int = N_INSTRUMENTS,
        mixture_id: int = MIX,
        inst_emb: bool = True,
        mask_padding: bool = False,
    ):
        super().__init__()
        self.mixture_id = mixture_id
        self.mask_padding = mask_padding
        self.needs_silence = not mask_padding
        self.instrument = nn.Embedding(n_instruments + 1, dim) if inst_emb else None
        self.classifier = nn.Linear(dim, n_instruments + 1)

    def forward(self, heard: Heard) -> Tensor:
        tracks, mixture, present = instruments_told(heard, self.instrument, self.mixture_id)
        everything = torch.cat([mixture[:, None], tracks], dim=1)
        mask = F.pad(counted(present, self.mask_padding), (1, 0), value=True)
        return self.classifier(masked_mean(everything, mask))


class MixHead(Head):
    """Table I, "From mix": a linear classifier of instruments on the mixture.

    Args:
        dim: of the encoder.
        n_instruments: ids known.
    """

    classifies = "instrument"
    needs_tracks = False

    def __init__(self, dim: int, n_instruments: int = N_INSTRUMENTS):
        super().__init__()
        self.classifier = nn.Linear(dim, n_instruments + 1)

    def forward(self, heard: Heard) -> Tensor:
        return self.classifier(heard.mixture)


def instruments_told(heard: Heard, embedding: nn.Embedding | None, mixture_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tracks (batch, slot, frame, dim), mixtures (batch, frame, dim), and whether a clip has a track, (batch, slot).

    The embeddings of the instruments are added. Where a clip has no track there is silence, or 0 if that is unknown.
    """
    tracks, mixture, silence, _, clip, instrument = heard
    if embedding is not None:
        tracks = tracks + embedding(instrument)[:, None]
        mixture = mixture + embedding(instrument.new_tensor(mixture_id))
        silence = silence + embedding(instrument.new_tensor(0))
    tracks, present = pad_tracks(tracks, clip, len(mixture))
    if len(silence):
        tracks = torch.where(present[:, :, None, None], tracks, silence)
    return tracks, mixture, present


def pad_tracks(x: Tensor, clip: Tensor, n_clips: int, fill: float = 0.0) -> tuple[Tensor, Tensor]:
    """(track, ...) -> (batch, slot, ...), the clip's tracks in their order, and whether there is one (batch, slot)."""
    count = torch.bincount(clip, minlength=n_clips)
    slot = torch.arange(len(clip), device=clip.device) - (count.cumsum(0) - count)[clip]
    n_slots = int(count.max())
    padded = x.new_full((n_clips, n_slots, *x.shape[1:]), fill).index_put((clip, slot), x)
    return padded, torch.arange(n_slots, device=clip.device) < count[:, None]


def counted(present: Tensor, mask_padding: bool) -> Tensor:
    """Slots that a mean is over."""
    return present if mask_padding else torch.ones_like(present)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, slot, frame, dim), (batch, slot) -> (batch, frame, dim), the mean of the slots in the mask."""
    weight = mask.to(x.dtype) / mask.sum(1, keepdim=True)
    return torch.einsum("bsfd,bs->bfd", x, weight)


def clip_mean(x: Tensor, clip: Tensor, n_clips: int) -> Tensor:
    """(track, frame, dim) -> (batch, frame, dim), the mean of the tracks of each clip."""
    count = torch.bincount(clip, minlength=n_clips)
    return x.new_zeros(n_clips, *x.shape[1:]).index_add(0, clip, x) / count[:, None, None]


def ask(attention: nn.MultiheadAttention, query: Tensor, tracks: Tensor, absent: Tensor | None) -> Tensor:
    """Attention over the tracks of each frame.

    Args:
        attention: over batch-first sequences.
        query: (batch, frame, dim).
        tracks: (batch, slot, frame, dim).
        absent: (batch, slot), slots to take no notice of.

    Returns:
        (batch, frame, dim).
    """
    n_frames = query.shape[1]
    keys = rearrange(tracks, "batch slot frame dim -> (batch frame) slot dim")
    queries = rearrange(query, "batch frame dim -> (batch frame) 1 dim")
    mask = None if absent is None else absent.repeat_interleave(n_frames, dim=0)
    answer, _ = attention(queries, keys, keys, key_padding_mask=mask, need_weights=False)
    return rearrange(answer, "(batch frame) 1 dim -> batch frame dim", frame=n_frames)


def attend_to_tracks(attention: nn.MultiheadAttention, x: Tensor, clip: Tensor, n_clips: int) -> Tensor:
    """Each track looks at all tracks of its clip in the same frame, (track, frame, dim) -> the same."""
    padded, present = pad_tracks(x, clip, n_clips)
    tokens = rearrange(padded, "batch slot frame dim -> (batch frame) slot dim")
    absent = (~present).repeat_interleave(x.shape[1], dim=0)
    seen, _ = attention(tokens, tokens, tokens, key_padding_mask=absent, need_weights=False)
    return rearrange(seen, "(batch frame) slot dim -> batch slot frame dim", batch=n_clips)[present]
