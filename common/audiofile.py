"""One audio file, opened and decoded with suspicion: what may be wrong with it is found, and told in one line."""

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from shlex import quote
from typing import IO

import numpy as np
import soundfile

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_CHANNELS = 64
MAX_AMPLITUDE = 1e3  # 60 dB over full scale: float files may exceed 1, but 16-bit counts stored as floats are a mistake

_BLOCK_VALUES = 1 << 23  # most values decoded at once, over all channels: 32 MiB
_LOSSY = ("MP3", "OGG")  # made to be cut and to survive damage: what can be decoded is used, with a warning
_UNKNOWN = (1 << 63) - 1  # libsndfile's length of a stream that does not say it
# libsndfile reads what is left of a file that was cut, and says so only in its log. In WAV and AIFF the chunk of
# samples counts; W64 and RF64 tell only of the whole. Who writes to a pipe announces about 2 or 4 GiB.
_CUT = re.compile(r"^ *(?:data|SSND|riff|Riff size) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_PIPED = 0x7FFF_0000
_MP3_PADDING = 1 << 12  # bytes, more than two of the largest frames


class AudioError(ValueError):
    """Audio that cannot be used. The text is one line: which file, what is wrong with it, and the remedy."""

    @classmethod
    def about(cls, name: str | Path, text: str) -> "AudioError":
        return cls(" ".join(f"{name}: {text}".splitlines()))  # a file may have a line break in its name


class AudioFile(soundfile.SoundFile):
    """A file that is read from one end to the other; see `open_audio`."""

    def __init__(self, path: Path, handle: IO[bytes]):
        # By number: callbacks into an object may raise; names must be UTF-8, and .raw would mean a file without header.
        super().__init__(handle.fileno(), closefd=False)
        self.path, self.handle = path, handle

    def seekable(self) -> bool:
        # Where it can, soundfile seeks after each read, which fails in a FLAC whose header has a wrong length.
        return False

    def length(self) -> int:
        """Samples of a channel as the header has it; counted where it does not say."""
        return self.frames if self.frames != _UNKNOWN else sum(map(len, self.decode(mono=True)))

    def decode(
        self, mono: bool, seconds: float = 10.0, start: float = 0.0, duration: float | None = None
    ) -> Iterator[np.ndarray]:
        """The samples from `start` on, for `duration` or to the end, in pieces of at most `seconds`.

        A piece is all that is ever allocated, whatever length the header claims.

        Yields:
            float32 [time] or [time, channel], at least one.

        Raises:
            AudioError: when the fault is reached.
        """
        first = round(start * self.samplerate)
        stop = self.frames
        if duration is not None:
            stop = min(stop, first + round(duration * self.samplerate))
        if not 0 <= first < stop:
            raise AudioError.about(self.path, f"nothing to read at {start} s; it has {self._seconds(self.frames)}")
        if self.format in _LOSSY:
            seconds = min(seconds, 1.0)  # a fault costs the piece that it is in
        size = max(1, min(round(seconds * self.samplerate), _BLOCK_VALUES // self.channels))
        # In lossy formats what comes before is decoded too: libsndfile's seek into the last page of an ogg misses.
        position = self._seek(first) if first and self.format not in _LOSSY else 0
        while position < stop and len(block := self._next(min(size, stop - position))):
            check_values(self.path, block, position / self.samplerate, self.samplerate)
            wanted = block[max(first - position, 0) :]
            position += len(block)
            if len(wanted):
                yield mean(wanted.T) if mono else wanted
        if position <= first:
            raise AudioError.about(self.path, f"no sound can be decoded at {start} s; get the file again")
        self._check_end(position, stop)

    def _seek(self, position: int) -> int:
        try:
            return self.seek(position)
        except soundfile.LibsndfileError as error:
            problem = f"{self._seconds(position)} cannot be reached ({error.error_string}); get the file again"
            raise AudioError.about(self.path, problem) from error

    def _next(self, n_samples: int) -> np.ndarray:
        """[time, channel], up to `n_samples`; none at the end."""
        try:
            return self.read(n_samples, "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if self.format in _LOSSY:
                return np.empty((0, self.channels), np.float32)
            problem = f"damaged at {self._seconds(self.tell())} ({error.error_string}); get the file again"
            raise AudioError.about(self.path, problem) from error

    def _check_end(self, position: int, stop: int) -> None:
        """Compares what was decoded with what was announced."""
        missing = stop - position if stop != _UNKNOWN else 0
        reached = self._seconds(position)
        if missing and self.format not in _LOSSY:
            raise AudioError.about(self.path, f"cut short at {reached} of {self._seconds(stop)}; get the file again")
        doubt = None
        if missing > self.samplerate:
            doubt = f"ends at {reached} of {self._seconds(stop)}; if that is not all of it, get the file again"
        elif self.format == "MP3" and position == self.frames:
            # Without a header the length is guessed from the first frame, and libsndfile stops there. If the guess was
            # too short, another frame follows, which begins with eleven ones; one or two more are but padding.
            rest = self.handle.read(_MP3_PADDING)
            if len(rest) == _MP3_PADDING and int.from_bytes(rest[:2], "big") >= 0xFFE0:
                name = quote(self.path.name)
                doubt = f"only {reached} can be read, more follows; repair it: ffmpeg -i {name} -c copy out.mp3"
        if doubt:
            warnings.warn(f"{self.path}: {doubt}", stacklevel=3)

    def _seconds(self, position: int) -> str:
        return f"{position / self.samplerate:.2f} s"


@contextmanager
def open_audio(path: str | Path) -> Iterator[AudioFile]:
    """The file, if nothing is wrong with it that shows without decoding.

    Raises:
        AudioError: missing, unreadable, empty, cut, not audio, or with a header that makes no sense.
    """
    path = Path(path)
    convert = f"convert it: ffmpeg -i {quote(path.name)} out.wav"
    try:
        status = os.stat(path)
        handle = path.open("rb", buffering=0) if stat.S_ISREG(status.st_mode) else None
    except FileNotFoundError as error:
        raise AudioError.about(path, "there is no such file; check the name") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise AudioError.about(path, f"cannot be opened ({error}); check its name and permissions") from error
    if handle is None:
        kind = "a folder; name a file in it" if stat.S_ISDIR(status.st_mode) else "no regular file; copy it to one"
        raise AudioError.about(path, f"this is {kind}")
    with handle:
        if not status.st_size:
            raise AudioError.about(path, "the file is empty (0 bytes); get it again")
        try:
            file = AudioFile(path, handle)
        except soundfile.LibsndfileError as error:
            problem = f"not audio of a kind that can be read ({error.error_string}); {convert}"
            raise AudioError.about(path, problem) from error
        with file:
            check_format(path, file.samplerate, file.channels)
            if not file.frames:
                raise AudioError.about(path, f"holds no samples; record it again, or {convert}")
            for announced, present in re.findall(_CUT, file.extra_info):
                if int(present) < int(announced) < _PIPED:
                    problem = f"cut short: {present} bytes of {announced}; get it again, or {convert}"
                    raise AudioError.about(path, problem)
            yield file


def mean(channels: np.ndarray) -> np.ndarray:
    """[channel, time] -> [time]. By rows, which is thirty times faster than numpy's mean over interleaved samples."""
    return reduce(np.add, channels) / np.float32(len(channels))


def check_format(name: str | Path, sample_rate: int, n_channels: int) -> None:
    """Refuses what no recording has."""
    if not (MIN_RATE <= sample_rate <= MAX_RATE and n_channels <= MAX_CHANNELS):
        limits = f"{MIN_RATE} to {MAX_RATE} Hz and up to {MAX_CHANNELS} channels can be used"
        raise AudioError.about(name, f"{sample_rate} Hz and {n_channels} channels; {limits}")


def check_values(name: str | Path, samples: np.ndarray, start: float, sample_rate: int) -> None:
    """Refuses [time] or [time, channel], which begins at `start` seconds, if a value in it is no sound."""
    # A NaN passes through min and max, and fails every comparison.
    if samples.min() >= -MAX_AMPLITUDE and samples.max() <= MAX_AMPLITUDE:
        return
    where = tuple(np.argwhere(~(np.abs(samples) <= MAX_AMPLITUDE))[0])
    problem = f"the sample at {start + where[0] / sample_rate:.4f} s is {samples[where]:g}, where full scale is 1"
    raise AudioError.about(name, f"{problem}; export the audio again, within -1..1")
