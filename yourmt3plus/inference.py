"""From audio to notes, one rung after the other: load -> segments -> memory -> tokens -> events -> notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import audio as sound
from common.checkpoint import load as load_checkpoint
from common.notes import Notes
from yourmt3plus.decode import EVENT, Repairs, contradicted, prologues, read, stitch
from yourmt3plus.generate import SILENT_ROW, Rows, fast, simple
from yourmt3plus.grammar import Grammar
from yourmt3plus.graphs import GraphPool
from yourmt3plus.instruments import Chosen
from yourmt3plus.listener import Listener
from yourmt3plus.listening import MapModel, MapTranscription
from yourmt3plus.loaded import Loaded
from yourmt3plus.model import YourMT3
from yourmt3plus.reading import Thresholds
from yourmt3plus.tokenizer import PAD

Audio = str | Path | np.ndarray | Tensor

WEIGHTS = Path(__file__).parent / "weights"
CPU_SEGMENTS, GPU_SEGMENTS = 8, 64  # at a time
CPU_HEARD = 2  # of these are encoded at a time: maps of the published networks' convolutions take 60 MB for each
MAX_TOKENS = {1: 1024}  # of a row that everything is written to; one of many has 256
SILENCE = 0.5  # probability from which on the gate is believed
EVERYTHING = 0  # task of a decoder that knows tasks


class Model(Loaded):
    """A trained `YourMT3`, ready to write.

    Args:
        net: in evaluation mode, on its device; it is the model's from now on.
        name: of the weights.
        precision: see `Loaded`.
        max_tokens: of a row; none takes what the released networks have.
        silence: probability of silence from which on the gate, if there is one, keeps a row from being decoded.

    Raises:
        ValueError: see `Loaded`.
    """

    def __init__(
        self,
        net: YourMT3,
        name: str = "",
        precision: str | None = None,
        max_tokens: int | None = None,
        silence: float = SILENCE,
    ):
        super().__init__(net, name, precision)
        self.max_tokens = max_tokens or MAX_TOKENS.get(net.n_channels, 256)
        self.silence = silence
        self.grammar = Grammar(self.channels, net.n_ticks, self.device)
        self.decoder = net.decoder.to(self.dtype)
        if self.device.type == "cpu":
            self.decoder.arrange_for_steps()
        self.steps = GraphPool(self.decoder, self.max_tokens).load if self.device.type == "cuda" else None

    @torch.inference_mode()
    def hear(self, audio: np.ndarray) -> Tensor:
        """Memory (segment, channel, frame, dim) of segments (segment, time) at its sample rate."""
        at_once = CPU_HEARD if self.device.type == "cpu" else len(audio)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            parts = [self.net.encode(part.to(self.device)).memory for part in torch.from_numpy(audio).split(at_once)]
        return torch.cat(parts)

    @torch.inference_mode()
    def silent(self, memory: Tensor) -> np.ndarray:
        """(segment, channel) bool: rows in which there is nothing, as the gate has it; without a gate, none of them."""
        if self.net.gate is None:
            return np.zeros(memory.shape[:2], bool)
        return (self.net.silence(memory.float()).sigmoid() > self.silence).cpu().numpy()

    def write(
        self, memory: Tensor, wanted: np.ndarray, prologue: np.ndarray | None = None, plainly: bool = False
    ) -> np.ndarray:
        """Tokens (segment, channel, token), PAD after EOS.

        Args:
            memory: of `hear`.
            wanted: (segment, channel) bool, rows to decode; the others are silent.
            prologue: (segment, channel, token) what rows begin with, PAD after it; none: they begin as they like.
            plainly: with `generate.simple`, which takes longer to write the same.
        """
        tokens = np.full((*wanted.shape, self.max_tokens), PAD, np.int64)
        tokens[:, :, : len(SILENT_ROW)] = SILENT_ROW
        if not wanted.any():
            return tokens
        task = None
        if self.decoder.n_tasks:
            task = torch.full((len(memory),), EVERYTHING, device=self.device)
        rows = Rows.of(memory.to(self.dtype), task).select(torch.from_numpy(wanted.ravel()).to(self.device))
        if prologue is not None:
            rows = rows._replace(prologue=torch.from_numpy(prologue[wanted]).to(self.device))
        decode = simple if plainly else partial(fast, load=self.steps)
        tokens[wanted] = decode(self.decoder, rows, self.max_tokens, self.grammar).cpu().numpy()
        return tokens


def load(model: str | Path = "maps", device: str = "cpu", precision: str | None = None) -> Model | MapModel:
    """The weights we ship, by name, or a file of your own.

    Args:
        model: "maps", or the path of a .safetensors file of `export` or `import`.
        device: "cpu", "cuda" or "mps".
        precision: one of PRECISIONS; none takes bfloat16 on a GPU.

    Raises:
        ValueError: there is no such model, device or precision, or the file is something else.
    """
    path = Path(model)
    if not path.suffix:
        path = WEIGHTS / f"{model}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))) or "none yet"
        raise ValueError(f"{model}: no such model; the shipped ones: {shipped}; or give --model a .safetensors file")
    net, extra = load_checkpoint((YourMT3, Listener), path, device)
    if isinstance(net, Listener):
        return MapModel(net, extra.get("name", path.stem), precision, Thresholds(**extra["thresholds"]))
    known = {name: extra[name] for name in ("max_tokens", "silence") if name in extra}
    return Model(net, extra.get("name", path.stem), precision, **known)


def segments(model: Loaded, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The segments (time,) of a signal of any length, the last one filled up with silence.

    Args:
        model: that is to hear them.
        blocks: consecutive float32 (time,) pieces of the signal at the model's sample rate, however cut.
    """
    n_samples = model.net.n_samples
    for window in sound.windows(blocks, model.hop_length, n_samples - model.hop_length):
        heard = window.audio[window.left : window.left + n_samples]
        yield np.pad(heard, (0, n_samples - len(heard)))


class Transcription:
    """The notes of one recording, whose segments come some at a time; how many at a time changes nothing.

    Args:
        model: see `load`.
        instruments: names, see `Chosen.of`; none for all that there are.
        two_pass: write a row again whose tied notes are not those that the row before leaves open, and let it begin
            with those. Without, an instrument that is taken for another one hops at the edges of segments.
        plainly: see `Model.write`.

    Raises:
        ValueError: no such instrument.
    """

    def __init__(
        self,
        model: Model,
        instruments: str | Iterable[str] | None = None,
        two_pass: bool = True,
        plainly: bool = False,
    ):
        self.model = model
        self.chosen = None if instruments is None else Chosen.of(instruments)
        self.two_pass = two_pass
        self.plainly = plainly
        self.n_segments = 0
        self.rewritten = 0  # rows of the second pass
        self.repairs = Repairs()
        self._events: list[np.ndarray] = []
        self._before = np.empty(0, EVENT)  # what the first pass said of the segment before, as segment 0

    def push(self, audio: np.ndarray) -> None:
        """Take the next segments, (segment, time)."""
        model = self.model
        memory = model.hear(audio)
        wanted = ~model.silent(memory)
        if self.chosen is not None:
            wanted &= self.chosen.channels(model.channels)
        tokens = model.write(memory, wanted, plainly=self.plainly)
        events, repairs = read(tokens, model.n_ticks)
        if self.two_pass:
            events, repairs = self._again(memory, tokens, events, repairs)
        events["segment"] += self.n_segments
        self._events.append(events)
        self.n_segments += len(audio)
        self.repairs += repairs

    def _again(
        self, memory: Tensor, tokens: np.ndarray, events: np.ndarray, repairs: Repairs
    ) -> tuple[np.ndarray, Repairs]:
        """The events of the second pass. It believes what the first one said of the segment before."""
        later = events.copy()
        later["segment"] += 1
        chain = np.concatenate([self._before, later])
        size = len(tokens) + 1, len(self.model.channels)
        wrong = contradicted(chain, *size)[1:]
        self._before = events[events["segment"] == len(tokens) - 1]
        self._before["segment"] = 0
        if not wrong.any():
            return events, repairs
        begin = prologues(chain, *size, self.model.max_tokens)[1:]
        tokens[wrong] = self.model.write(memory, wrong, begin, self.plainly)[wrong]
        self.rewritten += int(wrong.sum())
        return read(tokens, self.model.n_ticks)

    def finish(self, seconds: float = np.inf) -> Notes:
        """The notes in order of onset, a `track` for each program; those that begin after `seconds` are left out."""
        events = np.concatenate([np.empty(0, EVENT), *self._events])
        notes, repairs = stitch(events, self.model.n_ticks, self.n_segments)
        self.repairs += repairs
        notes = notes.crop(0.0, seconds)
        return notes if self.chosen is None else self.chosen.keep(notes)


def transcribe(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    model: str | Path | Model | MapModel = "maps",
    device: str = "cpu",
    precision: str | None = None,
    instruments: str | Iterable[str] | None = None,
    batch_size: int | None = None,
    two_pass: bool = True,
    simple: bool = False,
    progress: Callable[[float], Any] | None = None,
) -> Notes:
    """The notes of a recording, of all its instruments.

    Args:
        audio: a file of any length, or an array or tensor in -1..1, (time,) or (channel, time).
        sample_rate: of the array in Hz; a file knows its own.
        model: the name of shipped weights, an exported file, or what `load` returned (to load once and use often).
        device: where to run, see `load`.
        precision: see `load`.
        instruments: names of those that are wanted, "piano, bass"; see `yourmt3plus.instruments.Chosen.of`.
        batch_size: segments at a time; changes speed and memory, not the notes.
        two_pass: write rows again that contradict the ones before, see `Transcription`; of no use without tokens.
        simple: the plain path, which takes many times as long to write the same; likewise.
        progress: called with the seconds that have been done since it was called last.

    Returns:
        Notes in order of onset, in seconds from the start of the recording. `program` is General MIDI's, the first one
        of its class; sung melody is 100, chorus 101. Hits have `is_drum`. A `track` for each program.

    Raises:
        AudioError: the audio cannot be read or used; the text names the file and the remedy.
        ValueError: no such model or instrument, or an array without a sample rate.
    """
    if not isinstance(model, Loaded):
        model = load(model, device, precision)
    transcription = begin(model, instruments, two_pass, simple)
    if isinstance(audio, str | Path):
        blocks = sound.blocks(audio, model.sample_rate)
    else:
        if sample_rate is None:
            raise ValueError("an array does not know its sample rate: give sample_rate=")
        array = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
        blocks = iter([sound.conform(array, sample_rate, model.sample_rate)])
    return listen(transcription, blocks, batch_size, progress)


def begin(
    model: Model | MapModel,
    instruments: str | Iterable[str] | None = None,
    two_pass: bool = True,
    plainly: bool = False,
) -> Transcription | MapTranscription:
    """The transcription of a recording of which nothing has been heard yet; for the arguments see `Transcription`."""
    if isinstance(model, MapModel):
        return MapTranscription(model, instruments)
    return Transcription(model, instruments, two_pass, plainly)


def listen(
    transcription: Transcription | MapTranscription,
    blocks: Iterable[np.ndarray],
    batch_size: int | None = None,
    progress: Callable[[float], Any] | None = None,
) -> Notes:
    """The notes of a signal that comes in pieces, at the model's rate; see `transcribe`."""
    model = transcription.model
    n_samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    told = 0.0
    size = batch_size or (CPU_SEGMENTS if model.device.type == "cpu" else GPU_SEGMENTS)
    coming = segments(model, counted())
    while some := list(islice(coming, size)):
        transcription.push(np.stack(some))
        done = min(transcription.n_segments * model.hop_length, n_samples) / model.sample_rate
        if progress is not None:
            progress(done - told)
        told = done
    return transcription.finish(n_samples / model.sample_rate)
