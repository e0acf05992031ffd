"""The network: a segment of audio in, the logits of its rows of tokens out.

Paper: "YourMT3+: Multi-instrument music transcription with enhanced transformer architectures and cross-dataset stem
augmentation" (Chang et al., MLSP 2024, arXiv 2407.04822). Front-end -> encoder (T5's, or PerceiverTF with or without a
mixture of experts) -> bridge -> decoder, which writes one row for everything or one for each of 13 channels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from common.checkpoint import part
from yourmt3plus.decoder import Decoder
from yourmt3plus.front_ends import ConstantQ, Mel, Spectrum
from yourmt3plus.listener import SegmentNetwork
from yourmt3plus.moe import Routing
from yourmt3plus.perceiver import PerceiverTF
from yourmt3plus.positions import clock
from yourmt3plus.programs import MULTI
from yourmt3plus.rows import RowBatch
from yourmt3plus.salience import N_KEYS, Codes, Maps, Salience, told
from yourmt3plus.t5 import T5Encoder
from yourmt3plus.tokenizer import DRUM, MAX_TICKS, PITCH, SHIFT

PARTS = (Spectrum, Mel, ConstantQ, PerceiverTF, T5Encoder, Decoder)
N_SAMPLES = 32_767  # of a released segment: 110 frames of 300 samples, 256 of 128


class Heard(NamedTuple):
    """What the network makes of segments before it writes."""

    memory: Tensor  # (batch, channel, frame, dim), which the decoder's rows listen to
    routing: Routing | None  # how busy its experts were, (layer, expert), if it has such
    maps: Maps | None = None  # logits of notes, if it has a salience


class Predicted(NamedTuple):
    """Logits of rows, and what the experts did."""

    logits: list[Tensor]  # of each batch of rows, (row, token, id)
    routing: Routing | None


class Bridge(nn.Module):
    """The latents of a frame as the memory of each channel: so many for each, side by side, through one linear map.

    Args:
        n_latents: of a frame; a multiple of `n_channels`.
        dim: of a latent.
        n_channels: rows that a segment is written to.
        memory_dim: of the decoder. Where it is that of the latents of a channel, they go through as they are.
    """

    def __init__(self, n_latents: int, dim: int, n_channels: int, memory_dim: int):
        super().__init__()
        per_channel, remainder = divmod(n_latents, n_channels)
        if remainder or not per_channel:
            raise ValueError(f"n_latents must be a multiple of the {n_channels} channels, not {n_latents}")
        self.n_channels = n_channels
        n_inputs = per_channel * dim
        self.linear = nn.Identity() if n_inputs == memory_dim else nn.Linear(n_inputs, memory_dim, bias=False)

    def forward(self, latents: Float[Tensor, "batch frame latent dim"]) -> Float[Tensor, "batch channel frame memory"]:
        pattern = "batch frame (channel latent) dim -> batch channel frame (latent dim)"
        return self.linear(rearrange(latents, pattern, channel=self.n_channels))


class YourMT3(SegmentNetwork):
    """Front-end, encoder, bridge and decoder.

    Args:
        front_end: `front_ends.Spectrum` or `Mel`.
        encoder: makes a `PerceiverTF` or `T5Encoder` from the front-end's n_frames and n_bins; in a configuration, its
            class_path and init_args without those.
        decoder: a `Decoder`.
        n_channels: rows of a segment: 13, or 1 for everything.
        n_samples: of a segment.
        gate: learn to tell which channels are silent before anything is written, see `silence`.
        clock: say in the memory what time it is, see `start_clock`.
        salience: width of the convolutions that tell notes beside the latents, see `yourmt3plus.salience`; 0 for none,
            as in the paper.

    The first three may also be the {"class_path", "init_args"} that a checkpoint holds. Of such, only `PARTS` are
    built.
    """

    clock: Tensor | None  # (frame, dim); constants, in no checkpoint

    def __init__(
        self,
        front_end: nn.Module,
        encoder: Callable[[int, int], nn.Module],
        decoder: nn.Module,
        n_channels: int = len(MULTI),
        n_samples: int = N_SAMPLES,
        gate: bool = False,
        clock: bool = False,
        salience: int = 0,
    ):
        known = part(front_end, PARTS)() if isinstance(front_end, Mapping) else front_end
        super().__init__(known, n_channels, n_samples)
        make: Any = part(encoder, PARTS) if isinstance(encoder, Mapping) else encoder
        n_frames = self.front_end.n_frames(n_samples)
        self.encoder = make(n_frames, self.front_end.n_bins)
        self.decoder: Any = part(decoder, PARTS)() if isinstance(decoder, Mapping) else decoder
        self.bridge = Bridge(self.encoder.n_latents, self.encoder.dim, n_channels, self.decoder.dim)
        if self.decoder.following is not None:
            self.decoder.following.frames_per_tick = self.frames_per_tick
        self.salience = Salience(self.front_end.n_bins, n_channels, width=salience) if salience else None
        self.codes = None
        if self.salience is not None:
            keys = self.salience.keys
            self.codes = Codes(keys.stop - keys.start, n_channels, self.decoder.dim)
            self.start_reading(self.codes, keys)
        self.gate = nn.Linear(self.decoder.dim, 1) if gate else None
        self.register_buffer("clock", self.start_clock(n_frames) if clock else None, persistent=False)

    @torch.no_grad()
    def start_clock(self, n_frames: int) -> Tensor:
        """Let frames and shifts that mean the same time look alike, and the decoder look for what is alike.

        A decoder writes times counted from the start of the segment. Encoders that turn queries and keys know of
        distances only, and trained positions are another code for each latent, which takes a decoder long to learn.
        Here the memory has the sinusoids of its frames' times added, shifts start out with those of theirs, and
        attention to the memory starts with equal maps for queries and keys: from the first step on, what follows a
        shift listens there.

        Returns:
            (frame, dim) sinusoids for the memory.
        """
        dim, sqrt2 = self.decoder.dim, 2**0.5
        shifts = sqrt2 * clock(torch.arange(MAX_TICKS), dim)
        written = slice(SHIFT, SHIFT + MAX_TICKS)
        self.decoder.embedding.weight[written] = shifts
        self.decoder.head.weight[written] = shifts * self.decoder.head.weight.std()
        for layer in self.decoder.layers:
            heard = layer.memory
            heard.query.weight.copy_(heard.key_value.weight[: len(heard.query.weight)] * heard.head_dim**-0.5)
        ticks = torch.arange(n_frames) / self.frames_per_tick
        return clock(ticks, dim)

    @torch.no_grad()
    def start_reading(self, codes: Codes, keys: slice) -> None:
        """Let a key in the memory look like its token, and attention to the memory hand on what it finds.

        The code of a key begins as the embedding of its pitch, plus what is common to onsets and to ends;
        the head asks for that very vector, and so does the token of the drum with that number. The values of the
        attention to the memory begin as a rotation, which its output takes back.
        """
        decoder = self.decoder
        pitches = decoder.embedding.weight[PITCH : PITCH + N_KEYS]
        for table, scale in ((decoder.embedding.weight, 1.0), (decoder.head.weight, decoder.head.weight.std())):
            for first in (PITCH, DRUM):
                table[first : first + N_KEYS] = pitches * scale
        onset, _, ended = codes.code.weight.T.chunk(3)  # each (key, dim), a view
        for code in (onset, ended):
            code.copy_(pitches[keys] + code[:1].clone())
        for layer in decoder.layers:
            heard = layer.memory
            value = heard.key_value.weight[len(heard.query.weight) :]
            nn.init.orthogonal_(value)
            heard.out.weight.copy_(value.T)

    @property
    def n_tasks(self) -> int:
        """What the decoder can be asked for, beside everything."""
        return self.decoder.n_tasks

    def encode(
        self, audio: Float[Tensor, "batch time"], truth: Maps | None = None, which: Bool[Tensor, " batch"] | None = None
    ) -> Heard:
        """What the decoder's rows listen to.

        Args:
            audio: mono segments in -1..1 at `sample_rate`, `n_samples` long.
            truth: maps of 0 and 1 to put in the place of what the salience tells.
            which: of the segments is told the truth.
        """
        picture = self.front_end(audio)
        encoding = self.encoder(picture)
        memory = self.bridge(encoding.latents)
        maps = None
        if self.salience is not None and self.codes is not None:
            maps = self.salience(picture)
            heard = Maps(*(part.sigmoid() for part in maps))
            if truth is not None and which is not None:
                heard = told(heard, truth, which)
            memory = memory + self.codes(heard)
        if self.clock is not None:
            memory = memory + self.clock[: memory.shape[2]]
        return Heard(memory, encoding.routing, maps)

    def write(
        self,
        memory: Float[Tensor, "batch channel frame dim"],
        rows: RowBatch,
        task: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "row token id"]:
        """Logits of each token of some rows, given those before it.

        Args:
            memory: of `encode`.
            rows: of its segments and channels.
            task: what each segment is asked for, if the decoder knows tasks.
        """
        asked = None if task is None else task[rows.row // self.n_channels]
        return self.decoder(rows.tokens, memory.flatten(0, 1)[rows.row], asked)

    def silence(self, memory: Float[Tensor, "batch channel frame dim"]) -> Float[Tensor, "batch channel"]:
        """Logits of there being nothing in a channel, from where its frames say most.

        Raises:
            ValueError: the network was made without gate.
        """
        if self.gate is None:
            raise ValueError("this network has no gate; make it with gate=True")
        return self.gate(memory.amax(dim=2))[..., 0]

    def forward(
        self,
        audio: Float[Tensor, "batch time"],
        rows: Sequence[RowBatch],
        task: Int[Tensor, " batch"] | None = None,
    ) -> Predicted:
        """Logits of the rows, in batches as they come; see `rows.bucket`."""
        heard = self.encode(audio)
        return Predicted([self.write(heard.memory, batch, task) for batch in rows], heard.routing)
