"""From a recording to its instruments, one rung after the other: load -> Recording -> logits -> Recognition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common import audio as sound
from common import checkpoint
from diffusion_pir.backbones import WEIGHTS, Backbone, open_backbone
from diffusion_pir.decode import Calibration
from diffusion_pir.features import FeatureSpec, hear
from diffusion_pir.heads import HEADS, Head, concatenate
from diffusion_pir.judge import Decision
from diffusion_pir.melstore import FRONT_END
from diffusion_pir.streams import Blocks, Recording, batches
from diffusion_pir.windows import FRAMES

if TYPE_CHECKING:
    Audio = str | Path | np.ndarray | torch.Tensor

HEAD = "plus"
HOP = 0.25  # seconds


class WeightsError(ValueError):
    """Weights that cannot be used; the text tells the remedy."""


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A frozen backbone, a head on what its layers hear, and how a decision is made of what that says."""

    backbone: Backbone
    head: Head
    spec: FeatureSpec
    decision: Decision
    classes: tuple[str, ...]
    name: str
    frames: int = FRAMES  # of a window

    @torch.inference_mode()
    def __call__(self, windows: np.ndarray, ids: Sequence[str]) -> np.ndarray:
        """Logits float32 (window, class) of windows as the backbone takes them, whose names fix the noise."""
        heard = hear(self.backbone, windows, ids, self.spec)
        return self.head(concatenate([heard[cell] for cell in self.spec.cells])).float().cpu().numpy()

    def with_draws(self, draws: int | None) -> Recogniser:
        """The same with features averaged over so many draws of noise; None leaves it alone.

        Raises:
            FeatureError: fewer than one.
        """
        return self if draws is None else replace(self, spec=replace(self.spec, draws=draws))


@dataclass(frozen=True, eq=False)
class Recognition:
    """Which instruments are heard above all others in a recording, window by window and as a whole."""

    times: np.ndarray  # float64 (window,) seconds at which the windows begin
    ends: np.ndarray  # float64 (window,) and end
    probabilities: np.ndarray  # float32 (window, class); 0 where there is silence
    classes: tuple[str, ...]
    labels: tuple[str, ...]  # those that are decided on for the whole, the most probable first; none for silence
    scores: np.ndarray  # float64 (class,) 0..1, what the decision is made of
    duration: float  # seconds

    @property
    def predominant(self) -> np.ndarray:
        """Index of the most probable class of each window, -1 in silence, int64 (window,)."""
        return np.where(self.probabilities.any(axis=1), self.probabilities.argmax(axis=1), -1)


def save(path: str | Path, model: Recogniser, dtype: torch.dtype | None = None, **notes: Any) -> None:
    """Write the head with everything that `load` needs but the backbone, of which it keeps name and hash.

    Args:
        path: file to write, whole or not at all; .safetensors.
        model: its head and all that belongs to it.
        dtype: of the weights, see `checkpoint.save`.
        **notes: more to know of it, such as scores; plain types.
    """
    checkpoint.save(
        path,
        model.head,
        model.head.init_args,
        dtype=dtype,
        name=model.name,
        classes=list(model.classes),
        spec=asdict(model.spec),
        decision=asdict(model.decision),
        frames=model.frames,
        front_end=FRONT_END,
        backbone={"name": model.backbone.name, "digest": model.backbone.digest()},
        notes=notes,
    )


def load(model: str | Path | None = None, head: str | Path = HEAD, device: str = "cpu") -> Recogniser:
    """A head and its backbone.

    Args:
        model: the backbone, see `open_backbone`: shipped weights by name, or a file. None: as the head calls it.
        head: a shipped one by name, or a file that `train-head` wrote.
        device: "cpu", "cuda", "mps" ...

    Raises:
        WeightsError: there is no such head, or it belongs to another backbone or front-end.
        CheckpointError: there is no such backbone, or a file is damaged.
    """
    path = find_weights(head, "head")
    net, extra = checkpoint.load(list(HEADS.values()), path, device)
    if "spec" not in extra or extra.get("front_end") != FRONT_END:
        raise WeightsError(f"{path}: was made for another front-end; train the head again with this version")
    backbone = open_backbone(str(model or extra["backbone"]["name"]), device)
    if backbone.digest() != extra["backbone"]["digest"]:
        raise WeightsError(
            f"{path}: was trained on another backbone, called {extra['backbone']['name']}, than {backbone.name}; "
            "give its file as --model, or train the head again"
        )
    calibration = extra["decision"]["calibration"]
    return Recogniser(
        backbone,
        net,
        FeatureSpec(**extra["spec"]),
        Decision(
            extra["decision"]["rule"],
            tuple(extra["decision"]["thresholds"]),
            Calibration(calibration["temperature"], tuple(calibration["bias"])) if calibration else None,
        ),
        tuple(extra["classes"]),
        extra["name"],
        extra["frames"],
    )


def find_weights(name: str | Path, kind: str) -> Path:
    """The file of shipped weights, by their name, or of the user's, by its path; kind is what they are, for the error.

    Raises:
        WeightsError: there is none.
    """
    path = Path(name) if Path(name).suffix else WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))) or "none"
        raise WeightsError(
            f"{name}: there is no such {kind}; the shipped weights are {shipped}, or give a .safetensors file"
        )
    return path


def logits(model: Recogniser, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """What the model says of each window of a recording, float32 (window, class), and which are silent, bool (window,).

    Silent windows are not asked about and have zeros.
    """
    said, silent = [], []
    for batch in batches(recording, model.backbone):
        said.append(np.zeros((len(batch.ids), len(model.classes)), np.float32))
        silent.append(batch.silent)
        asked = np.flatnonzero(~batch.silent)
        if len(asked):
            said[-1][asked] = model(batch.windows[asked], [batch.ids[row] for row in asked])
    return np.concatenate(said), np.concatenate(silent)


def decide(model: Recogniser, recording: Recording) -> Recognition:
    """The last rung: what is said of the windows of a recording becomes probabilities and a set of labels."""
    said, silent = logits(model, recording)
    sounding = np.flatnonzero(~silent)
    probabilities = np.zeros(said.shape, np.float32)
    scores, chosen = np.zeros(len(model.classes)), np.zeros(len(model.classes), bool)
    if len(sounding):
        # A window by itself is an excerpt whose mean is its probability.
        alone = replace(model.decision, rule="S1")
        probabilities[sounding] = alone.scores(said[sounding], np.arange(len(sounding)), len(sounding))
        together = model.decision.scores(said[sounding], np.zeros(len(sounding), np.int64), 1)
        scores, chosen = together[0], model.decision(together)[0]
    order = np.argsort(-scores, kind="stable")
    times = recording.times
    ends = np.minimum(times + float(recording.grid.times(model.frames)), recording.duration)
    labels = tuple(model.classes[i] for i in order if chosen[i])
    return Recognition(times, ends, probabilities, model.classes, labels, scores, recording.duration)


def recognise(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    model: str | Path | Recogniser | None = None,
    head: str | Path = HEAD,
    hop: float = HOP,
    draws: int | None = None,
    device: str = "cpu",
    progress: Callable[[float], object] | None = None,
    watch: Callable[[np.ndarray], object] | None = None,
) -> Recognition:
    """The instruments that are heard above all others.

    A recording that is shorter than a window, 2 s, is heard with silence after it.

    Args:
        audio: a file of any length, or an array or tensor in -1..1, (time,) or (channel, time).
        sample_rate: of the array in Hz; a file knows its own.
        model: the backbone, shipped ("small") or a file, or what `load` returned (to load once and use often). None: as
            the head calls it.
        head: a shipped one by name, or a file that `train-head` wrote.
        hop: seconds from one window to the next.
        draws: of noise, over which features are averaged; instead of as many as the head was trained with.
        device: where to run.
        progress: called with the seconds that are done since the last call.
        watch: called with the log-mel (bin, frame), piece by piece, see `streams.Overview`.

    Returns:
        Probabilities of each window, and the decision for the whole.

    Raises:
        AudioError: the audio cannot be read or used; the text names the file and the remedy.
        ValueError: no such model or head, a hop or a number of draws that cannot be, or an array without a sample rate.
    """
    if not isinstance(model, Recogniser):
        model = load(model, head, device)
    model = model.with_draws(draws)
    return decide(model, Recording(blocks_of(audio, sample_rate), hop, model.frames, progress, watch))


def blocks_of(audio: Audio, sample_rate: int | None = None) -> Blocks:
    """A file, array or tensor as `Recording` reads it.

    Raises:
        ValueError: an array without a sample rate.
        AudioError: an array that cannot be sound.
    """
    if isinstance(audio, str | Path):
        return lambda rate: sound.blocks(audio, rate)
    if sample_rate is None:
        raise ValueError("an array does not know its sample rate: give sample_rate=")
    samples = sound.conform(_as_array(audio), sample_rate)
    return lambda rate: [sound.conform(samples, sample_rate, rate)]


def _as_array(audio: Any) -> np.ndarray:
    return audio.detach().cpu().numpy() if isinstance(audio, torch.Tensor) else np.asarray(audio)
