"""Audio files: any format to float32 and back, decoded and resampled in pieces, so that memory stays flat."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr

from common.audiofile import AudioError, check_format, check_values, mean, open_audio
from common.storage import replacing

# Suffix -> libsndfile's format, and its encoding where there is but one.
FORMATS = {
    ".wav": ("WAV", None),
    ".flac": ("FLAC", None),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", None),
    ".aif": ("AIFF", None),
    ".w64": ("W64", None),
    ".caf": ("CAF", None),
}


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file announces; only reading tells whether it is true."""

    sample_rate: int
    n_channels: int
    n_samples: int  # of one channel

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sample_rate


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a signal with what surrounds it, all of it real: at the ends of the signal there is less.

    `audio` [time] or [channel, time] is `left` samples of context, the core, which begins at sample `start` of the
    signal, and `right` samples of context.
    """

    start: int
    audio: np.ndarray
    left: int
    right: int


def find(paths: Iterable[str | Path]) -> list[Path]:
    """The audio files that a command line names, each once.

    Args:
        paths: files, taken as they are, and folders, searched at any depth for the suffixes of `FORMATS`.

    Returns:
        The files in the order of `paths`; those of a folder sorted.

    Raises:
        AudioError: a folder holds no audio file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        files = [path]
        if os.path.isdir(path):
            # Names with a leading dot are what macOS leaves in archives: "._song.mp3".
            files = sorted(f for f in path.rglob("[!.]*") if f.suffix.lower() in FORMATS and os.path.isfile(f))
            if not files:
                raise AudioError.about(
                    path, f"no audio file in this folder; files of {' '.join(FORMATS)} are looked for"
                )
        found += files
    return list(dict.fromkeys(found))


def info(path: str | Path) -> AudioInfo:
    """Rate, channels and length by the header; a stream that does not say its length is decoded to count.

    Raises:
        AudioError: the file cannot be opened, or its header makes no sense.
    """
    with open_audio(path) as file:
        return AudioInfo(file.samplerate, file.channels, file.length())


def read(
    path: str | Path,
    sample_rate: int | None = None,
    mono: bool = True,
    start: float = 0.0,
    duration: float | None = None,
) -> tuple[np.ndarray, int]:
    """A file or a part of it; for long ones see `blocks`.

    Args:
        path: a file of any rate, width and number of channels.
        sample_rate: wanted rate in Hz; by default that of the file.
        mono: the mean of the channels, not each of them.
        start: seconds to skip. The part is resampled as if there were silence around it.
        duration: seconds to read, fewer if the file ends; by default all.

    Returns:
        float32 [time] or [channel, time], full scale at 1, and its rate. n samples of the file become
        n * sample_rate / (rate of the file) of them, rounded, halves up.

    Raises:
        AudioError: the file is missing, damaged, not audio, or holds values that are not sound.
    """
    with open_audio(path) as file:
        pieces = _resample(file.decode(mono, start=start, duration=duration), file.samplerate, sample_rate)
        return _join(pieces), sample_rate or file.samplerate


def blocks(
    path: str | Path, sample_rate: int | None = None, seconds: float = 10.0, mono: bool = True
) -> Iterator[np.ndarray]:
    """A file of any length in consecutive pieces of about `seconds` or less, to the bit what `read` gives at once.

    Yields:
        float32 [time] or [channel, time]; a piece may be empty.

    Raises:
        AudioError: as `read`, but not before the fault is reached.
    """
    with open_audio(path) as file:
        for piece in _resample(file.decode(mono, seconds), file.samplerate, sample_rate):
            yield np.ascontiguousarray(piece.T)


def conform(audio: np.ndarray, sample_rate: int, target_rate: int | None = None, mono: bool = True) -> np.ndarray:
    """What `read` would give for a file with this audio.

    Args:
        audio: floating point [time] or [channel, time], full scale at 1.
        sample_rate: of `audio`, in Hz.
        target_rate: wanted rate in Hz; by default the same.
        mono: the mean of the channels, not each of them.

    Raises:
        AudioError: a shape, type, rate or value that cannot be sound.
    """
    audio = _as_samples(audio, sample_rate, "the array")
    if mono and audio.ndim == 2:
        audio = mean(audio)
    return _join(_resample(iter([audio.T]), sample_rate, target_rate))


def windows(blocks: Iterable[np.ndarray], length: int, context: int) -> Iterator[Window]:
    """Cuts a signal into adjoining cores of `length` samples, each with up to `context` samples on either side.

    Holds no more than a window and a block. The arrays may be views: copy before writing to one.

    Args:
        blocks: consecutive pieces [time] or [channel, time], however cut: `blocks(path)`, or `[array]`.
        length: samples of a core; the last one has what is left.
        context: samples before and after.
    """
    if length < 1 or context < 0:
        raise ValueError(f"length must be positive and context not negative, not {length} and {context}")
    held, first, end, start = [], 0, 0, 0  # pieces with the samples first..end of the signal; start of the next core
    for block in chain(blocks, [None]):
        if block is not None:
            held.append(block)
            end += block.shape[-1]
        wanted = length + context if block is not None else 1
        if end - start < wanted:
            continue
        joined = np.concatenate(held, axis=-1) if len(held) > 1 else held[0]
        while end - start >= wanted:
            stop = min(start + length, end)
            low, high = max(start - context, 0), min(stop + context, end)
            yield Window(start, joined[..., low - first : high - first], start - low, high - stop)
            start = stop
        low = max(start - context, 0)
        held, first = [joined[..., low - first :]], low


def stretches(
    pieces: Iterable[np.ndarray], starts: Iterable[int], length: int, fill: float = 0.0
) -> Iterator[np.ndarray]:
    """Cuts a signal into stretches of one length that begin where they are wanted; they may overlap or leave gaps.

    Args:
        pieces: consecutive parts [..., time] of the signal, however cut, at least one; samples, or frames of a picture.
        starts: where the stretches begin, ascending, each at or before the end of the signal.
        length: of each; where the signal ends before, `fill` follows.
        fill: what silence is.
    """
    pieces = iter(pieces)
    held, first = next(pieces), 0  # `held` begins at `first`
    for start in starts:
        parts, end = [held], first + held.shape[-1]
        while end < start + length and (piece := next(pieces, None)) is not None:
            parts.append(piece)
            end += piece.shape[-1]
        held, first = np.concatenate(parts, axis=-1)[..., start - first :], start
        stretch = held[..., :length]
        around = [(0, 0)] * (stretch.ndim - 1)
        yield np.pad(stretch, [*around, (0, length - stretch.shape[-1])], constant_values=fill)


def overlap_add(chunks: Iterable[tuple[int, np.ndarray]], n_frames: int, fade: int) -> np.ndarray:
    """Joins predictions for overlapping windows: a frame that several cover gets their weighted mean.

    The weight of a chunk rises over its first `fade` frames and falls over its last, never to zero: two that overlap by
    `fade` are cross-faded linearly, and a frame with one prediction keeps it.

    Args:
        chunks: first frame and values [..., frame] of each; frames from `n_frames` on are left out.
        n_frames: length of the whole.
        fade: frames of a ramp; 0 gives the plain mean.

    Returns:
        float32 [..., n_frames].

    Raises:
        ValueError: a frame has no prediction.
    """
    total, weights = np.zeros(n_frames, np.float32), np.zeros(n_frames, np.float32)
    for start, values in chunks:
        if not weights.any():  # only now is the shape known
            total = np.zeros((*values.shape[:-1], n_frames), np.float32)
        ramp = np.arange(1, values.shape[-1] + 1, dtype=np.float32)
        weight = np.minimum(np.minimum(ramp, ramp[::-1]) / (fade + 1), 1.0)[: max(n_frames - start, 0)]
        stop = start + len(weight)
        total[..., start:stop] += weight * values[..., : len(weight)]
        weights[start:stop] += weight
    if not weights.all():
        raise ValueError(f"no prediction for frame {np.argmin(weights)} of {n_frames}")
    return total / weights


def write(path: str | Path, audio: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Writes a file, whole or not at all, over what was there.

    Args:
        path: its suffix names the format, see `FORMATS`; missing folders are made.
        audio: floating point [time] or [channel, time], cut at full scale, +-1, unless encoded as FLOAT or DOUBLE.
        sample_rate: in Hz.
        subtype: libsndfile's name of the encoding; ogg, opus and mp3 have their own.

    Raises:
        AudioError: the audio is none, the format cannot hold it, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AudioError.about(path, f"cannot be written; name it with one of {' '.join(FORMATS)}")
    audio = _as_samples(audio, sample_rate, path)
    form, own = FORMATS[path.suffix.lower()]
    subtype = own or subtype
    if subtype not in ("FLOAT", "DOUBLE"):
        audio = np.clip(audio, -1.0, 1.0)  # libsndfile does so only for integers
    encoded = BytesIO()  # not a file: on a full disk libsndfile cuts an ogg or mp3 and says nothing
    try:
        soundfile.write(encoded, audio.T, sample_rate, format=form, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError) as error:
        signal = f"{1 if audio.ndim == 1 else len(audio)} channels at {sample_rate} Hz as {subtype}"
        raise AudioError.about(path, f"{form} cannot hold {signal} ({error}); write a .wav") from error
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(encoded.getbuffer())
    except OSError as error:
        raise AudioError.about(path, f"cannot be written ({error.strerror}); choose another place") from error


def _resample(pieces: Iterator[np.ndarray], rate: int, target: int | None) -> Iterator[np.ndarray]:
    """[time] or [time, channel] at another rate, in phase, and to the bit the same however the signal was cut."""
    if target is None or target == rate:
        yield from pieces
        return
    first = next(pieces)
    stream = soxr.ResampleStream(rate, target, 1 if first.ndim == 1 else first.shape[1])
    for piece in chain([first], pieces):
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(first[:0], last=True)


def _join(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """[time] or [time, channel] pieces -> [time] or [channel, time]."""
    return np.ascontiguousarray(np.concatenate(list(pieces)).T)


def _as_samples(audio: np.ndarray, sample_rate: int, name: str | Path) -> np.ndarray:
    """Audio from a caller as float32, checked."""
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2) or not audio.size or audio.dtype.kind != "f":
        wanted = "wants floating-point samples [time] or [channel, time], integers divided by their full scale"
        raise AudioError.about(name, f"{wanted}; this is {audio.dtype} {list(audio.shape)}")
    check_format(name, sample_rate, len(audio) if audio.ndim == 2 else 1)
    with np.errstate(over="ignore"):  # becomes an infinity, which is refused
        audio = audio.astype(np.float32, copy=False)
    check_values(name, audio.T, 0.0, sample_rate)
    return audio
