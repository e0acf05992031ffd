"""From audio to notes, one rung after the other: load -> activations -> notes. On a CPU without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np

from common import audio as sound
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.bends import NoteBends
from lightweight_amt.clustering import STOP_RULE, StopRule, cluster
from lightweight_amt.decode import DecodeSettings, NoteDecoder
from lightweight_amt.restrikes import RestrikeRule
from lightweight_amt.tracks import NoteVectors
from lightweight_amt.velocity import Loudness, VelocityRule, local_level

if TYPE_CHECKING:
    import torch

    Audio = str | Path | np.ndarray | torch.Tensor

WEIGHTS = Path(__file__).parent / "weights"
WINDOW_SECONDS = 6.0  # of new audio in each run of the network: longer is little faster and takes more memory

Activations = dict[str, np.ndarray]
ALL = slice(None)
Instruments = int | Literal["auto"] | None


class Model(Protocol):
    """A trained network behind either runtime.

    `grid` is the clock of its frames, `context` the samples on either side that a frame depends on, `reach` the frames
    on either side that the convolutions see, `settings` the thresholds that came with the weights, `outputs` the names
    of its probabilities, `rule` when to stop splitting into instruments (of use with the timbre branch only),
    `restrikes` which notes that follow upon another one are believed (none: all), `velocity` how loudness becomes
    velocity (none: the decoder's stand-in is kept), `tells_energy` whether the log energies come out beside the
    probabilities.
    """

    name: str
    grid: FrameGrid
    context: int
    reach: int
    settings: DecodeSettings
    outputs: list[str]
    rule: StopRule
    restrikes: RestrikeRule | None
    velocity: VelocityRule | None
    tells_energy: bool

    def __call__(self, audio: np.ndarray, frames: slice = ALL) -> Activations:
        """(time,) float32 at the grid's rate -> probabilities by output name, each (pitch, frame), of these frames.

        The convolutions see no other frames: what lies within `reach` of a cut is not as it is in the whole.

        If the model tells energies also "log_energy", (bin, frame), natural logarithms. With the timbre branch also
        "embedding", (dim, pitch, frame), of unit length over dim.
        """
        ...


def _session(path: Path, told: str) -> tuple[Any, dict[str, Any]]:
    """A graph in ONNX Runtime and its card, which tells `told` if the graph is the one that is wanted."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        card = json.loads(session.get_modelmeta().custom_metadata_map["tutti"])
        card[told]
    except Exception as error:  # those of ONNX Runtime have no class in common
        problem = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a graph that `export` wrote for this ({problem}); export it again") from error
    return session, card


def velocity_rule(card: dict[str, Any]) -> VelocityRule | None:
    """The rule that came with weights, if `calibrate` has written one."""
    return VelocityRule(**card["velocity"]) if card.get("velocity") else None


def restrike_rule(card: dict[str, Any]) -> RestrikeRule | None:
    """Likewise."""
    return RestrikeRule(**card["restrikes"]) if card.get("restrikes") else None


class OnnxModel:
    """The exported graph in ONNX Runtime, constant-Q transform included, and perhaps that of the timbre branch."""

    def __init__(self, path: Path, timbre: Path | None = None):
        self.session, card = _session(path, "sample_rate")
        self.name = card["name"]
        self.grid = FrameGrid(card["sample_rate"], card["hop_length"])
        self.context = card["context"]
        self.reach = card["reach"]
        self.settings = DecodeSettings(**card["decode"])
        self.restrikes = restrike_rule(card)
        self.velocity = velocity_rule(card)
        self.names = [output.name for output in self.session.get_outputs()]
        self.outputs = [name for name in self.names if name != "log_energy"]
        self.tells_energy = "log_energy" in self.names
        self.timbre, card = _session(timbre, "rule") if timbre else (None, {})
        self.rule = StopRule(**card["rule"]) if timbre else STOP_RULE

    def __call__(self, audio: np.ndarray, frames: slice = ALL) -> Activations:
        wanted = np.arange(self.grid.n_frames(len(audio)))[frames]
        maps = self.session.run(self.names, {"audio": audio[None], "frames": wanted})
        values = dict(zip(self.names, maps, strict=True))
        if self.timbre is not None:
            values["embedding"] = self.timbre.run(["embedding"], {"log_energy": values["log_energy"]})[0]
        return {name: np.asarray(value)[0] for name, value in values.items()}


class TorchModel:
    """The safetensors weights in torch, for a GPU."""

    tells_energy = True

    def __init__(self, path: Path, device: str, timbre: Path | None = None):
        from common.checkpoint import load as load_checkpoint
        from lightweight_amt.model import Transcriber
        from lightweight_amt.timbre import TimbreEncoder

        self.net, extra = load_checkpoint(Transcriber, path, device)
        self.device = device
        self.name = extra["name"]
        self.grid = self.net.grid
        self.context = self.net.context
        self.reach = self.net.trunk.reach
        self.settings = DecodeSettings(**extra["decode"])
        self.restrikes = restrike_rule(extra)
        self.velocity = velocity_rule(extra)
        self.outputs: list[str] = list(self.net.outputs)
        self.encoder, extra = load_checkpoint(TimbreEncoder, timbre, device) if timbre else (None, {})
        self.rule = StopRule(**extra["rule"]) if timbre else STOP_RULE

    def __call__(self, audio: np.ndarray, frames: slice = ALL) -> Activations:
        import torch

        with torch.inference_mode():
            log_energy = self.net.log_energy(torch.from_numpy(audio)[None].to(self.device))[..., frames]
            values = {name: torch.sigmoid(logit) for name, logit in self.net.transcribe(log_energy).items()}
            if self.encoder is not None:
                values["embedding"] = self.encoder.encode(log_energy)
            values["log_energy"] = log_energy
            return {name: value[0].cpu().numpy() for name, value in values.items()}


def load(model: str | Path = "base", device: str = "cpu", timbre: bool = False) -> Model:
    """The weights we ship, by name, or a file of your own.

    Args:
        model: "base", or the path of an exported .onnx or .safetensors file.
        device: "cpu" runs the ONNX graph and imports no torch; any other ("cuda", "mps") runs the safetensors in torch.
        timbre: also the branch that tells instruments apart: the file of the same name in the folder `timbre` beside.

    Raises:
        ValueError: there is no such model or device, or the file is something else.
    """
    path = Path(model)
    if not path.suffix:
        path = WEIGHTS / f"{model}.{'onnx' if device == 'cpu' else 'safetensors'}"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.onnx")))
        raise ValueError(
            f"{model}: no such model; the shipped ones are {shipped}, or give a .onnx or .safetensors file"
        )
    branch = path.parent / "timbre" / path.name if timbre else None
    if branch and not branch.is_file():
        raise ValueError(f"{branch}: no timbre branch for {model}; train and export one, or leave out --instruments")
    return OnnxModel(path, branch) if path.suffix == ".onnx" else TorchModel(path, device, branch)


def activations(model: Model, blocks: Iterable[np.ndarray]) -> Iterator[Activations]:
    """Probabilities of consecutive stretches of a signal of any length, equal to those of the whole.

    Args:
        model: see `load`.
        blocks: consecutive float32 (time,) pieces of the signal at the model's sample rate, however cut.

    Yields:
        What the model says; if it tells energies also "level", (1, frame), against which they are told.
    """
    hop = model.grid.hop_length
    length = round(WINDOW_SECONDS * model.grid.sample_rate / hop) * hop
    # Whole hops, so that the frames of a window fall on the frames of the file.
    context = -(-model.context // hop) * hop
    for window in sound.windows(blocks, length, context):
        first = window.left // hop
        count = model.grid.n_frames(len(window.audio) - window.left - window.right)
        seen = slice(max(first - model.reach, 0), first + count + model.reach)
        maps = model(window.audio, seen)
        if model.tells_energy:
            maps["level"] = local_level(window.audio, model.grid)[..., seen]
        yield {name: values[..., first - seen.start :][..., :count] for name, values in maps.items()}


class Transcription:
    """The notes of one recording, which comes block by block.

    Args:
        model: see `load`; with the timbre branch if instruments are to be told apart.
        instruments: how many there are, or "auto", or None for one track with all notes.
        pitch_bends: also listen to how the pitches of the notes move.
        **thresholds: fields of `DecodeSettings` to use instead of those that came with the weights.

    Raises:
        ValueError: no such setting, or pitch bends of a model that tells no energies.
    """

    def __init__(self, model: Model, instruments: Instruments = None, pitch_bends: bool = False, **thresholds: float):
        if pitch_bends and not model.tells_energy:
            raise ValueError(f"{model.name}: no pitch bends, its graph tells no log energies; export the weights again")
        self.model = model
        self.instruments = instruments
        self.decoder = NoteDecoder(replace(model.settings, **thresholds), model.grid)
        # An onset threshold given by hand is to hold for every onset.
        self.restrikes = None if "onset_threshold" in thresholds else model.restrikes
        self.vectors = None if instruments is None else NoteVectors()
        self.directions: np.ndarray | None = None  # (note, dim) of the notes that `finish` gave, if they are told apart
        self.loudness = None if model.velocity is None else Loudness()
        self.pitches = NoteBends() if pitch_bends else None

    def push(self, activations: Activations) -> None:
        """Take what `activations` yields."""
        self.decoder.push(**{name: activations[name] for name in self.model.outputs})
        if self.vectors is not None:
            self.vectors.push(activations["frame"], activations["embedding"])
        if self.loudness is not None:
            self.loudness.push(activations["frame"], activations["log_energy"], activations["level"])
        if self.pitches is not None:
            self.pitches.push(activations["frame"], activations["log_energy"])

    def _notes(self) -> Notes:
        """The notes without their instruments."""
        notes = self.decoder.finish()
        if self.restrikes is not None:
            notes = self.restrikes(notes)
        if self.loudness is None or self.model.velocity is None:
            return notes
        return notes.replace(velocity=self.model.velocity(notes, self.loudness.of(notes, self.model.grid)))

    def embedded(self) -> tuple[Notes, np.ndarray, np.ndarray]:
        """The notes in order of onset, their directions (note, dim), and how surely these are known (note,).

        Raises:
            ValueError: the instruments are not told apart here.
        """
        if self.vectors is None:
            raise ValueError("there is no direction without the timbre branch: give instruments=")
        notes = self._notes()
        return notes, *self.vectors.vectors(notes, self.model.grid)

    def finish(self) -> Notes:
        """The notes in order of onset; `track` counts the instruments in the order in which they enter."""
        if self.vectors is None:
            return self._notes()
        notes, self.directions, weights = self.embedded()
        k = self.instruments if isinstance(self.instruments, int) else None
        return notes.replace(track=cluster(self.directions, k, weights, rule=self.model.rule, notes=notes))

    def bends(self, notes: Notes) -> np.ndarray:
        """How the pitches of these notes, which `finish` gave, move: (point,) BEND.

        Raises:
            ValueError: nobody has listened for it.
        """
        if self.pitches is None:
            raise ValueError("the bends were not listened for: give pitch_bends=True")
        return self.pitches.of(notes, self.model.grid)


@overload
def transcribe(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    instruments: Instruments = None,
    pitch_bends: Literal[False] = False,
    **thresholds: float,
) -> Notes: ...


@overload
def transcribe(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    instruments: Instruments = None,
    pitch_bends: Literal[True],
    **thresholds: float,
) -> tuple[Notes, np.ndarray]: ...


@overload
def transcribe(
    audio: list[Audio],
    sample_rate: int | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    instruments: Instruments = None,
    pitch_bends: bool = False,
    **thresholds: float,
) -> list: ...


def transcribe(
    audio: Audio | list[Audio],
    sample_rate: int | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    instruments: Instruments = None,
    pitch_bends: bool = False,
    **thresholds: float,
) -> Notes | tuple[Notes, np.ndarray] | list:
    """The notes of a recording, or of each of several.

    Args:
        audio: a file of any length, or an array or tensor in -1..1, (time,) or (channel, time); or a list of such.
        sample_rate: of the arrays in Hz; a file knows its own.
        model: the name of shipped weights, an exported file, or what `load` returned (to load once and use often).
        device: where to run, see `load`.
        instruments: tell them apart, a track each: how many there are, or "auto". A loaded model must have the timbre
            branch for it.
        pitch_bends: also tell how the pitches of the notes move.
        **thresholds: fields of `DecodeSettings` to use instead of those that came with the weights.

    Returns:
        Notes in order of onset; times in seconds from the start of the recording. With pitch_bends also the bends,
        (point,) of `common.bends.BEND`, which `common.midi.write_midi` takes. For a list of recordings a list of these.

    Raises:
        AudioError: the audio cannot be read or used; the text names the file and the remedy.
        ValueError: no such model or setting, or an array without a sample rate.
    """
    if isinstance(model, str | Path):
        model = load(model, device, timbre=instruments is not None)
    recordings = audio if isinstance(audio, list) else [audio]
    heard = [
        _heard(each, sample_rate, Transcription(model, instruments, pitch_bends, **thresholds)) for each in recordings
    ]
    return heard if isinstance(audio, list) else heard[0]


def _heard(audio: Audio, sample_rate: int | None, transcription: Transcription) -> Notes | tuple[Notes, np.ndarray]:
    """The notes of one recording, with the bends if the transcription listens to them."""
    rate = transcription.model.grid.sample_rate
    if isinstance(audio, str | Path):
        blocks = sound.blocks(audio, rate)
    else:
        if sample_rate is None:
            raise ValueError("an array does not know its sample rate: give sample_rate=")
        blocks = iter([sound.conform(_as_array(audio), sample_rate, rate)])
    for part in activations(transcription.model, blocks):
        transcription.push(part)
    notes = transcription.finish()
    return notes if transcription.pitches is None else (notes, transcription.bends(notes))


def _as_array(audio: Any) -> np.ndarray:
    # A tensor is told by what it can do: asking torch for its class would import it.
    return audio.detach().cpu().numpy() if hasattr(audio, "detach") else np.asarray(audio)
