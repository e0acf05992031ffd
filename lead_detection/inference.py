"""From stems to the timeline of the lead, one rung after the other: load -> Stems -> logits -> Lead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common import audio as sound
from common.frames import FrameGrid
from lead_detection.decode import CrossFade, DecodeSettings, decode
from lead_detection.folders import StemsError, check_count, find_stems, instrument_ids, track_names
from lead_detection.streams import Norm, Source, Stems
from lead_detection.taxonomy import VOCABULARY

if TYPE_CHECKING:
    import torch
    from torch import nn

    Audio = str | Path | np.ndarray | torch.Tensor
    Tracks = str | Path | Sequence[str | Path] | Mapping[str, Audio] | np.ndarray | torch.Tensor

WEIGHTS = Path(__file__).parent / "weights"
WINDOW, HOP = 10.0, 5.0  # seconds that the network hears at once, and from the start of one such window to the next
ROWS = 32  # most tracks and mixtures in a batch; a window with more is a batch of its own
# On a CPU larger batches are no faster, and the heap breaks up under their buffers: with 32 rows its free pieces grew
# from 69 to 198 MB over 600 s of four stems, while what was in use stayed at 186 MB. With 8 the peak hardly grows.
CPU_ROWS = 8
MICRO_BATCH = 8  # of them are encoded at a time, unless the encoder itself says
LOWEST = 1e-20  # power, -200 dBFS, of digital silence


class Model:
    """A trained network, and what came with it.

    Args:
        net: a `LeadDetector`, or what has the same `grid`, `classifies`, `n_samples` and `forward`.
        name: for the outputs.
        settings: of the decoder.
        norm: of the levels that it was trained with, see `Stems.gains`.
        device: where it is.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str = "",
        settings: DecodeSettings | None = None,
        norm: Norm = "song_peak",
        device: str = "cpu",
    ):
        self.net: Any = net.eval()
        self.name = name
        self.settings = settings or DecodeSettings()
        self.norm: Norm = norm
        self.device = device
        encoder = getattr(net, "encoder", None)
        if encoder is not None and not encoder.micro_batch:
            encoder.micro_batch = MICRO_BATCH

    @property
    def grid(self) -> FrameGrid:
        return self.net.grid

    @property
    def classifies(self) -> Literal["track", "instrument"]:
        return self.net.classifies

    @property
    def rows(self) -> int:
        """Most tracks and mixtures that it is to be asked about at a time, but for a single window."""
        return CPU_ROWS if self.device == "cpu" else ROWS

    def __call__(self, audio: np.ndarray, instruments: Sequence[int]) -> np.ndarray:
        """Logits (window, frame, class) of windows of one song, float32 (window, track + 1, time), the mixture last."""
        import torch

        n_windows, n_tracks = len(audio), audio.shape[1] - 1
        with torch.inference_mode():
            tensor = torch.from_numpy(audio).to(self.device)
            clip = torch.arange(n_windows, device=self.device).repeat_interleave(n_tracks)
            instrument = torch.tensor(instruments, device=self.device).repeat(n_windows)
            logits = self.net(tensor[:, :-1].flatten(0, 1), clip, instrument, tensor[:, -1])
            if self.classifies == "track":
                logits = logits[..., : n_tracks + 1]  # the paper's head has classes for tracks that are not there
            return logits.float().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Lead:
    """Who leads when in a song."""

    segments: np.ndarray  # (segment,) of `decode.SEGMENT`, gapless from 0 to the duration
    names: tuple[str, ...]  # of the tracks
    instruments: tuple[str, ...]  # of the tracks; "unknown" where nobody knows
    probabilities: np.ndarray  # float32 (frame, 1 + track), column 0 for nobody
    levels: np.ndarray  # float32 (frame, track) dBFS
    grid: FrameGrid  # clock of the frames
    duration: float  # seconds


def load(model: str | Path = "base", device: str = "cpu") -> Model:
    """The weights we ship, by name, or a file of your own.

    Args:
        model: "base", or the path of an exported .safetensors file.
        device: "cpu", "cuda", "mps" ...

    Raises:
        ValueError: there is no such model, or the file holds another network.
    """
    path = Path(model) if Path(model).suffix else WEIGHTS / f"{model}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))) or "none"
        raise ValueError(f"{model}: no such model; the shipped ones are {shipped}, or give a .safetensors file")
    from common.checkpoint import load as load_checkpoint
    from lead_detection.model import LeadDetector

    net, extra = load_checkpoint(LeadDetector, path, device)
    settings = DecodeSettings(**extra.get("decode", {}))
    return Model(net, extra.get("name", path.stem), settings, extra.get("norm", "song_peak"), device)


def hear(
    model: Model,
    stems: Stems,
    instruments: Sequence[int],
    window: float = WINDOW,
    hop: float = HOP,
    progress: Callable[[float], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the network says of a song of any length; beside the result only a few windows are held.

    Args:
        model: see `load`.
        stems: see there.
        instruments: id of each track, 0 = unknown.
        window: seconds that the network hears at once.
        hop: seconds from one window to the next, at most a window.
        progress: called with the seconds of the song that are done since the last call.

    Returns:
        Logits (frame, class), and the levels (frame, track) of the tracks in dBFS, both float32.
    """
    grid = model.grid
    n_frames = max(grid.n_frames(int(stems.duration * grid.sample_rate + 0.5)), 1)
    n_window = min(max(int(grid.frames(window)), 1), n_frames)
    n_hop = min(max(int(grid.frames(hop)), 1), n_window)
    starts = [*range(0, n_frames - n_window, n_hop), n_frames - n_window]
    gains = stems.gains(grid.sample_rate, model.norm)[:, None]
    levels = np.empty((n_frames, len(stems.tracks)), np.float32)

    def windows() -> Iterator[tuple[int, np.ndarray]]:
        pieces = stems.pieces(grid.sample_rate)
        firsts = [start * grid.hop_length for start in starts]
        cuts = sound.stretches(pieces, firsts, model.net.n_samples(n_window))
        for start, audio in zip(starts, cuts, strict=True):
            levels[start : start + n_window] = _levels(audio[:-1], n_window, grid.hop_length)
            yield start, audio * gains

    faded, done = None, 0.0
    for batch in _batches(windows(), max(model.rows // len(gains), 1)):
        logits = model(np.stack([audio for _, audio in batch]), instruments)
        faded = faded or CrossFade(logits.shape[-1])
        for (start, _), values in zip(batch, logits, strict=True):
            faded.push(start, values)
        if progress is not None:
            reached = min(float(grid.times(batch[-1][0] + n_window)), stems.duration)
            progress(reached - done)
            done = reached
    assert faded is not None
    return faded.finish(), levels


def detect(
    model: Model,
    stems: Stems,
    instruments: Sequence[int],
    settings: DecodeSettings | None = None,
    progress: Callable[[float], object] | None = None,
) -> Lead:
    """The timeline of a song.

    Args:
        model: see `load`.
        stems: see there.
        instruments: id of each track, 0 = unknown.
        settings: of the decoder, instead of those that came with the weights.
        progress: see `hear`.

    Raises:
        ValueError: the model names instruments, not tracks.
    """
    if model.classifies != "track":
        raise ValueError(f"{model.name}: tells which instrument leads, not which track; take a model that points")
    logits, levels = hear(model, stems, instruments, progress=progress)
    segments, probabilities = decode(logits, levels, model.grid, stems.duration, settings or model.settings)
    names = tuple(source.name for source in stems.tracks)
    played = tuple(VOCABULARY.name(instrument) for instrument in instruments)
    return Lead(segments, names, played, probabilities, levels, model.grid, stems.duration)


def detect_lead(
    stems: Tracks,
    sample_rate: int | None = None,
    mixture: Audio | None = None,
    instruments: Mapping[str, str | int] | Sequence[str | int] | None = None,
    *,
    model: str | Path | Model = "base",
    device: str = "cpu",
    **settings: float,
) -> Lead:
    """Who leads when.

    Args:
        stems: a folder with a file for each track, the files, or by name files or arrays; or an array or tensor
            (track, time) in -1..1. Files may be of any kind, rate and length.
        sample_rate: of arrays in Hz; a file knows its own.
        mixture: a file or an array. None: the file of the folder whose name says that it is the mixture; if there is
            none, the sum of the tracks.
        instruments: what the tracks play, one for each or by name: names or ids of `taxonomy.VOCABULARY`. What is not
            given is guessed from the names of the tracks.
        model: the name of shipped weights, an exported file, or what `load` returned (to load once and use often).
        device: where to run.
        **settings: fields of `DecodeSettings` to use instead of those that came with the weights.

    Returns:
        The timeline; times in seconds from the start.

    Raises:
        AudioError: audio cannot be read or used; the text names the file and the remedy.
        ValueError: no such model, a setting out of range, fewer than two tracks, or an array without a sample rate.
    """
    tracks, found = _sources(stems, sample_rate or 0)
    if mixture is not None:
        found = _source("the mixture", mixture, sample_rate or 0)
    if sample_rate is None and any(isinstance(source.audio, np.ndarray) for source in (*tracks, found) if source):
        raise ValueError("an array does not know its sample rate: give sample_rate=")
    check_count("stems", len(tracks))
    ids = instrument_ids([source.name for source in tracks], instruments)
    if isinstance(model, str | Path):
        model = load(model, device)
    opened = Stems.open(tracks, found)
    for doubt in opened.doubts():
        warnings.warn(doubt, stacklevel=2)
    return detect(model, opened, ids, replace(model.settings, **settings))


def _sources(stems: Tracks, sample_rate: int) -> tuple[list[Source], Source | None]:
    """The tracks of whatever a caller has, and the mixture if it is a folder that has one."""
    if isinstance(stems, str | Path):
        folder = find_stems(stems)
        return _files(folder.tracks), folder.mixture and Source(folder.mixture.name, folder.mixture)
    if isinstance(stems, Mapping):
        return [_source(name, audio, sample_rate) for name, audio in stems.items()], None
    if isinstance(stems, Sequence):
        return _files([Path(path) for path in stems]), None
    audio = _as_array(stems)
    if audio.ndim != 2:
        raise StemsError.about("stems", f"an array of stems is (track, time), not {list(audio.shape)}")
    return [Source(f"track {i}", row, sample_rate) for i, row in enumerate(audio, 1)], None


def _files(paths: Sequence[Path]) -> list[Source]:
    return [Source(name, path) for name, path in zip(track_names(paths), paths, strict=True)]


def _source(name: str, audio: Audio, sample_rate: int) -> Source:
    return Source(name, audio if isinstance(audio, str | Path) else _as_array(audio), sample_rate)


def _as_array(audio: Any) -> np.ndarray:
    # A tensor is told by what it can do: asking torch for its class would import it.
    return audio.detach().cpu().numpy() if hasattr(audio, "detach") else np.asarray(audio)


def _batches(windows: Iterator[tuple[int, np.ndarray]], size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    while batch := list(islice(windows, size)):
        yield batch


def _levels(audio: np.ndarray, n_frames: int, hop_length: int) -> np.ndarray:
    """dBFS of each frame, (track, time) -> (frame, track)."""
    frames = audio[:, : n_frames * hop_length].reshape(len(audio), n_frames, hop_length)
    power = np.einsum("tfs,tfs->ft", frames, frames) / hop_length
    return 10.0 * np.log10(np.maximum(power, LOWEST))
