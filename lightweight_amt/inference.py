"""From audio to notes, one rung after the other: load -> activations -> notes. On a CPU without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common import audio as sound
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import DecodeSettings, NoteDecoder

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"
WINDOW_SECONDS = 10.0  # of new audio in each run of the network: longer is little faster and takes more memory

Activations = dict[str, np.ndarray]


class Model(Protocol):
    """A trained network behind either runtime.

    `grid` is the clock of its frames, `context` the samples on either side that a frame depends on, `settings` the
    thresholds that came with the weights.
    """

    name: str
    grid: FrameGrid
    context: int
    settings: DecodeSettings

    def __call__(self, audio: np.ndarray) -> Activations:
        """(time,) float32 at the grid's rate -> probabilities by output name, each (pitch, frame)."""
        ...


class OnnxModel:
    """The exported graph in ONNX Runtime, constant-Q transform included."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        card = json.loads(self.session.get_modelmeta().custom_metadata_map["tutti"])
        self.name = card["name"]
        self.grid = FrameGrid(card["sample_rate"], card["hop_length"])
        self.context = card["context"]
        self.settings = DecodeSettings(**card["decode"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, audio: np.ndarray) -> Activations:
        values = self.session.run(self.outputs, {"audio": audio[None]})
        return {name: np.asarray(value)[0] for name, value in zip(self.outputs, values, strict=True)}


class TorchModel:
    """The safetensors weights in torch, for a GPU."""

    def __init__(self, path: Path, device: str):
        from common.checkpoint import load as load_checkpoint
        from lightweight_amt.model import Transcriber

        self.net, extra = load_checkpoint(Transcriber, path, device)
        self.net.eval()
        self.device = device
        self.name = extra["name"]
        self.grid = self.net.grid
        self.context = self.net.context
        self.settings = DecodeSettings(**extra["decode"])

    def __call__(self, audio: np.ndarray) -> Activations:
        import torch

        with torch.inference_mode():
            logits = self.net(torch.from_numpy(audio)[None].to(self.device))
            return {name: torch.sigmoid(logit)[0].cpu().numpy() for name, logit in logits.items()}


def load(model: str | Path = "base", device: str = "cpu") -> Model:
    """The weights we ship, by name, or a file of your own.

    Args:
        model: "base", or the path of an exported .onnx or .safetensors file.
        device: "cpu" runs the ONNX graph and imports no torch; any other ("cuda", "mps") runs the safetensors in torch.

    Raises:
        ValueError: there is no such model.
    """
    path = Path(model)
    if not path.suffix:
        path = WEIGHTS / f"{model}.{'onnx' if device == 'cpu' else 'safetensors'}"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.onnx")))
        raise ValueError(
            f"{model}: no such model; the shipped ones are {shipped}, or give a .onnx or .safetensors file"
        )
    return OnnxModel(path) if path.suffix == ".onnx" else TorchModel(path, device)


def activations(model: Model, blocks: Iterable[np.ndarray]) -> Iterator[Activations]:
    """Probabilities of consecutive stretches of a signal of any length, equal to those of the whole.

    Args:
        model: see `load`.
        blocks: consecutive float32 (time,) pieces of the signal at the model's sample rate, however cut.
    """
    hop = model.grid.hop_length
    length = round(WINDOW_SECONDS * model.grid.sample_rate / hop) * hop
    # Whole hops, so that the frames of a window fall on the frames of the file.
    context = -(-model.context // hop) * hop
    for window in sound.windows(blocks, length, context):
        first = window.left // hop
        count = model.grid.n_frames(len(window.audio) - window.left - window.right)
        yield {name: values[:, first : first + count] for name, values in model(window.audio).items()}


def transcribe(
    audio: str | Path | np.ndarray | torch.Tensor,
    sample_rate: int | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    **thresholds: float,
) -> Notes:
    """The notes of a recording.

    Args:
        audio: a file of any length, or an array or tensor in -1..1, (time,) or (channel, time).
        sample_rate: of the array in Hz; a file knows its own.
        model: the name of shipped weights, an exported file, or what `load` returned (to load once and use often).
        device: where to run, see `load`.
        **thresholds: fields of `DecodeSettings` to use instead of those that came with the weights.

    Returns:
        Notes in order of onset; times in seconds from the start of the recording.

    Raises:
        AudioError: the audio cannot be read or used; the text names the file and the remedy.
        ValueError: no such model or setting, or an array without a sample rate.
    """
    if isinstance(model, str | Path):
        model = load(model, device)
    if isinstance(audio, str | Path):
        blocks = sound.blocks(audio, model.grid.sample_rate)
    else:
        if sample_rate is None:
            raise ValueError("an array does not know its sample rate: give sample_rate=")
        blocks = iter([sound.conform(_as_array(audio), sample_rate, model.grid.sample_rate)])
    decoder = NoteDecoder(replace(model.settings, **thresholds), model.grid)
    for part in activations(model, blocks):
        decoder.push(**part)
    return decoder.finish()


def _as_array(audio: Any) -> np.ndarray:
    # A tensor is told by what it can do: asking torch for its class would import it.
    return audio.detach().cpu().numpy() if hasattr(audio, "detach") else np.asarray(audio)
