"""Rows of tokens, written greedily: one path that is plainly right, and one that is fast and writes the same.

`simple` decodes every row from its beginning for each token. `fast` projects memories once, keeps keys and values of
tokens, writes silent channels down unheard if a gate says so, and goes on with the rows that have not ended: all of
them for two tokens, in which silent channels end, and then what is left together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from yourmt3plus.decoder import Cache, Decoder
from yourmt3plus.grammar import Grammar, GrammarState
from yourmt3plus.tokenizer import EOS, PAD, TIE

SILENT_ROW = (TIE, EOS)
FIRST_ROOM = 32  # tokens that a cache has room for at first; doubled when it is full
CPU_ROWS, GPU_ROWS = 128, 1024  # at a time; each takes megabytes of keys and values
GPU_PATIENCE = 8  # steps between looks at which rows have ended, for which a GPU has to stop; a CPU looks each time
WORTHWHILE = 0.85  # share of rows still going below which the others are dropped: that copies what one step reads


class Rows(NamedTuple):
    """What to write: rows of any segments and channels, independent of one another."""

    memory: Tensor  # (row, frame, dim)
    channel: Tensor  # (row,) int64
    task: Tensor | None = None  # (row,) int64, if the decoder knows tasks
    prologue: Tensor | None = None  # (row, token) int64, what rows begin with whatever the network says; PAD after it

    @classmethod
    def of(cls, memory: Tensor, task: Tensor | None = None) -> "Rows":
        """All rows of memory (batch, channel, frame, dim), segments that are asked for tasks (batch,), if any."""
        batch, n_channels = memory.shape[:2]
        channel = torch.arange(n_channels, device=memory.device).repeat(batch)
        return cls(memory.flatten(0, 1), channel, None if task is None else task.repeat_interleave(n_channels))

    def select(self, rows: Tensor) -> "Rows":
        """Those of an index or mask."""
        task, prologue = (None if column is None else column[rows] for column in (self.task, self.prologue))
        return Rows(self.memory[rows], self.channel[rows], task, prologue)


@dataclass
class Choice:
    """Which token comes next in each of some rows, which is for both paths the same."""

    max_tokens: int
    ended: Tensor  # (row,) bool
    prologue: Tensor | None
    grammar: Grammar | None
    state: GrammarState | None

    @classmethod
    def start(cls, rows: Rows, max_tokens: int, grammar: Grammar | None) -> "Choice":
        state = None if grammar is None else grammar.start(rows.channel)
        return cls(max_tokens, torch.zeros_like(rows.channel, dtype=torch.bool), rows.prologue, grammar, state)

    def take(self, logits: Tensor, place: int) -> Tensor:
        """The tokens (row,) at a place, which are PAD after EOS; logits (row, id) of all of them."""
        if self.grammar is not None and self.state is not None:
            allowed = self.grammar.allowed(self.state, room=self.max_tokens - place)
            logits = logits.masked_fill(~allowed, -torch.inf)
        token = logits.argmax(dim=1)
        if self.prologue is not None and place < self.prologue.shape[1]:
            given = self.prologue[:, place]
            token = torch.where(given == PAD, token, given)
        token = token.masked_fill(self.ended, PAD)
        self.ended = self.ended | (token == EOS)
        if self.grammar is not None and self.state is not None:
            self.state = self.grammar.advance(self.state, token)
        return token

    def select(self, rows: Tensor) -> "Choice":
        """Those of an index (row,) int64, alone."""
        return replace(
            self,
            ended=self.ended[rows],
            prologue=None if self.prologue is None else self.prologue[rows],
            state=None if self.state is None else self.state.select(rows),
        )

    @staticmethod
    def join(parts: "Sequence[Choice]") -> "Choice":
        """One after the other."""
        ended = torch.cat([part.ended for part in parts])
        prologues = [part.prologue for part in parts if part.prologue is not None]
        states = [part.state for part in parts if part.state is not None]
        return replace(
            parts[0],
            ended=ended,
            prologue=torch.cat(prologues) if prologues else None,
            state=GrammarState(*map(torch.cat, zip(*states, strict=True))) if states else None,
        )


@torch.inference_mode()
def simple(
    decoder: Decoder, rows: Rows, max_tokens: int = 256, grammar: Grammar | None = None
) -> Int[Tensor, "row token"]:
    """Write rows with no memory of what was computed for the token before.

    Args:
        decoder: in evaluation mode.
        rows: what to write.
        max_tokens: of a row. With a grammar a row ends by then; without, it may break off.
        grammar: lets only legal rows be written.

    Returns:
        (row, max_tokens), PAD after EOS.
    """
    tokens = rows.channel.new_full((len(rows.channel), max_tokens), PAD)
    choice = Choice.start(rows, max_tokens, grammar)
    for place in range(max_tokens):
        logits = decoder(tokens[:, : place + 1], rows.memory, rows.task)[:, place]
        tokens[:, place] = choice.take(logits, place)
        if choice.ended.all():
            break
    return tokens


class Steps(Protocol):
    """Steps of a decoder over the rows of a cache; with `graphs` on a GPU, those of a recording."""

    cache: Cache

    def __call__(self, token: Tensor, place: int) -> Tensor:
        """Logits (row, id) of what comes at `place`, after token (row,)."""
        ...


class PlainSteps:
    """Steps of a cache that grows as rows do."""

    def __init__(self, decoder: Decoder, cache: Cache):
        self.decoder = decoder
        self.cache = cache

    def __call__(self, token: Tensor, place: int) -> Tensor:
        if place == self.cache.capacity:
            self.cache = self.cache.grown(2 * place)
        return self.decoder.step(self.cache, token, torch.tensor([place], device=token.device), place + 1)


@dataclass
class Batch:
    """Rows that are written together, all as far."""

    row: Tensor  # (row,) int64 place in the result
    token: Tensor  # (row,) int64 last one
    place: int
    cache: Cache
    choice: Choice

    @classmethod
    def start(cls, decoder: Decoder, rows: Rows, row: Tensor, choice: Choice) -> "Batch":
        rows = rows.select(row)
        cache = decoder.begin(rows.memory, min(FIRST_ROOM, choice.max_tokens))
        return cls(row, decoder.first(len(row), rows.task, row.device), 0, cache, choice.select(row))

    def select(self, rows: Tensor) -> "Batch":
        """Those of an index (row,) int64, alone."""
        cache, choice = self.cache.select(rows), self.choice.select(rows)
        return Batch(self.row[rows], self.token[rows], self.place, cache, choice)

    @staticmethod
    def join(parts: "Sequence[Batch]") -> "list[Batch]":
        """One of several that are as far, in a list; of none an empty list."""
        if len(parts) < 2:
            return list(parts)
        row, token = (torch.cat([getattr(part, name) for part in parts]) for name in ("row", "token"))
        cache = Cache.join([part.cache for part in parts])
        return [Batch(row, token, parts[0].place, cache, Choice.join([part.choice for part in parts]))]


@torch.inference_mode()
def fast(
    decoder: Decoder,
    rows: Rows,
    max_tokens: int = 256,
    grammar: Grammar | None = None,
    silent: Bool[Tensor, " row"] | None = None,
    compact: bool = True,
    max_rows: int | None = None,
    load: Callable[[Cache], Steps] | None = None,
) -> Int[Tensor, "row token"]:
    """Write the rows that `simple` writes.

    Args:
        decoder: in evaluation mode.
        rows: what to write.
        max_tokens: of a row.
        grammar: lets only legal rows be written.
        silent: rows in which there is nothing, see `YourMT3.silence`; they become tie, EOS without being decoded.
        compact: drop rows that have ended instead of carrying them on.
        max_rows: how many to decode at a time.
        load: makes the steps of a cache, see `graphs.GraphPool.load`; plain ones by default.

    Returns:
        (row, max_tokens), PAD after EOS.
    """
    device = rows.memory.device
    tokens = rows.channel.new_full((len(rows.channel), max_tokens), PAD)
    heard = torch.arange(len(tokens), device=device)
    if silent is not None:
        tokens[silent, : len(SILENT_ROW)] = tokens.new_tensor(SILENT_ROW)
        heard = heard[~silent]
    everything = Choice.start(rows, max_tokens, grammar)
    max_rows = max_rows or (CPU_ROWS if device.type == "cpu" else GPU_ROWS)
    load = load or (lambda cache: PlainSteps(decoder, cache))
    probe = len(SILENT_ROW) if compact else 0

    def begun() -> Iterator[Batch]:
        for row in heard.split(max_rows):
            yield write(Batch.start(decoder, rows, row, everything), tokens, probe, compact, load)

    for batch in gathered(begun(), max_rows if compact else 0):
        write(batch, tokens, max_tokens, compact, load)
    return tokens


def write(batch: Batch, tokens: Tensor, until: int, compact: bool, load: Callable[[Cache], Steps]) -> Batch:
    """Go on up to the place `until`, or until all have ended; tokens (row, token) are changed in place.

    Returns:
        what is left of the batch, in a cache of its own.
    """
    every = 1 if tokens.device.type == "cpu" else GPU_PATIENCE
    share = WORTHWHILE if compact else 0.0
    steps = load(batch.cache)
    while batch.place < until and len(batch.row):
        batch.token = batch.choice.take(steps(batch.token, batch.place), batch.place)
        tokens[batch.row, batch.place] = batch.token
        batch.place += 1
        batch.cache = steps.cache
        if batch.place != until and batch.place % every:
            continue
        alive = torch.nonzero(~batch.choice.ended)[:, 0]
        if batch.place == until:
            return batch.select(alive)
        if len(alive) <= share * len(batch.row):
            batch = batch.select(alive)
            steps = load(batch.cache)
    return batch


def gathered(batches: Iterable[Batch], n_rows: int) -> Iterator[Batch]:
    """Batches that are equally far, joined until they have `n_rows` rows at least."""
    waiting: list[Batch] = []
    for batch in batches:
        waiting += [batch] if len(batch.row) else []
        if sum(len(part.row) for part in waiting) >= n_rows:
            yield from Batch.join(waiting)
            waiting = []
    yield from Batch.join(waiting)
