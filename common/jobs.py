"""What commands that work through recordings share: which file becomes which, what is told of each, and exit codes."""

import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from common import audio as sound
from common.storage import check_writable

CLIPPED = 0.999  # of full scale
QUIET = 1e-2  # peak; -40 dBFS
REFUSED, STOPPED = 2, 130  # exit codes; the second is what a shell says of Ctrl-C

AnyJob = TypeVar("AnyJob")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One recording and where its main output goes; others stand beside that one with another suffix."""

    audio: Path
    out: Path


@dataclass(frozen=True)
class Done:
    """What to tell of a job."""

    line: str
    warnings: list[str]


class KilledError(ValueError):
    """Work that is lost, since its process was killed."""


Outcome = Done | ValueError | OSError


def plan_files(
    paths: Sequence[Path], out: Path | None, suffix: str, named: Sequence[str]
) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; no audio is read yet.

    Args:
        paths: files, and folders to search for them.
        out: one file, or a folder, in which the folders that are searched keep their shape. None: beside the audio.
        suffix: of a main output, instead of that of the recording.
        named: suffixes by which `out` is the main output itself.

    Raises:
        ValueError: many recordings would go into one file.
    """
    jobs: list[Job] = []
    refused = []
    for path in paths:
        try:
            jobs += [Job(audio, _target(audio, path, out, suffix, named)) for audio in sound.find([path])]
        except sound.AudioError as error:
            refused.append(error)
    jobs = list(dict.fromkeys(jobs))  # a recording may be named twice
    if out is not None and out.suffix.lower() in named and len(jobs) > 1:
        raise ValueError(f"{out}: {len(jobs)} recordings cannot go into one {out.suffix} file; give -o a folder")
    return _told_apart(jobs, suffix), refused


def _told_apart(jobs: list[Job], suffix: str) -> list[Job]:
    """Jobs whose outputs had one name take longer ones, so that none is written over another."""
    # song.wav and song.mp3 side by side keep their suffixes, a/song.wav and b/song.wav also their folders.
    for name in (lambda audio: audio.name, lambda audio: f"{audio.resolve().parent.name}-{audio.name}"):
        uses = Counter(job.out for job in jobs)
        jobs = [
            replace(job, out=job.out.with_name(f"{name(job.audio)}{suffix}")) if uses[job.out] > 1 else job
            for job in jobs
        ]
    (out, n_uses), *_ = Counter(job.out for job in jobs).most_common(1) or [(None, 0)]
    if n_uses > 1:
        alike = " and ".join(str(job.audio) for job in jobs if job.out == out)
        raise ValueError(f"{out}: would be written for {alike}; do one at a time, each with an -o of its own")
    return jobs


def _target(audio: Path, path: Path, out: Path | None, suffix: str, named: Sequence[str]) -> Path:
    """Where the output of a file goes that was named by `path`, or found in the folder of that name."""
    if out is None:
        return audio.with_name(f"{audio.stem}{suffix}")
    if out.suffix.lower() in named:
        return out
    inside = audio.parent.relative_to(path) if path.is_dir() else Path()
    return out / inside / f"{audio.stem}{suffix}"


def seconds_of(path: Path) -> float:
    """By the header; what is wrong with a file is told when its turn comes."""
    try:
        return sound.info(path).duration
    except sound.AudioError:
        return 0.0


def attempt(work: Callable[[], Done], out: Path) -> Outcome:
    """What became of a job; an error is a value here, since it may have to leave a worker.

    Args:
        work: the job. Of what it warns, as of a recording that ends before its header says, the user is told.
        out: where its outputs go.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            check_writable(out)  # now, rather than after an hour of listening
            done = work()
    except OSError as error:
        return OSError(f"{out}: cannot be written ({error.strerror}); choose another place with -o")
    except ValueError as error:
        return error
    return replace(done, warnings=[*(str(warning.message) for warning in caught), *done.warnings])


def in_processes(works: Sequence[Callable[[], Result]], n: int) -> Iterator[tuple[int, Result]]:
    """Do works in n processes, which end at once when Ctrl-C is pressed or the iterator is closed.

    Args:
        works: to be pickled.
        n: processes; not more than works.

    Yields:
        The place of each work and its result, in order of completion.

    Raises:
        KilledError: a process was killed by somebody else.
    """
    others = set(active_children())
    # Spawned, not forked: a copy of a process with running threads may deadlock.
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        with _deaf_to_ctrl_c():
            places = {pool.submit(work): place for place, work in enumerate(works)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BrokenProcessPool as error:
            raise KilledError("a process was killed, most likely for want of memory; take fewer --jobs") from error
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()  # or all that waits in the pool would be done first
            raise


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started here leave Ctrl-C to this one, which ends them, instead of telling where they were."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals, and may say what they do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_all(
    outcomes: Callable[[Callable[[float], object]], Iterable[Outcome]], seconds: float, unit: str = "audio"
) -> int:
    """Do jobs under a progress bar, and tell what became of each in a line.

    Args:
        outcomes: gives them one by one, in order of completion; it is handed what to call with the seconds done.
        seconds: of all jobs.
        unit: what the seconds are of.

    Returns:
        Exit code 0, or 2 if any job was refused.
    """
    refused = 0
    bar_format = f"{{l_bar}}{{bar}}| {{n:.0f}}/{{total:.0f}} s of {unit} [{{elapsed}}<{{remaining}}]"
    with tqdm(total=seconds, bar_format=bar_format, leave=False) as bar:
        # Resampled blocks are rounded up, and headers err: tqdm warns of more than all.
        for outcome in outcomes(lambda done: bar.update(min(done, seconds - bar.n))):
            if isinstance(outcome, Exception):
                refused += 1
                bar.write(str(outcome), file=sys.stderr)
                continue
            bar.write(outcome.line, file=sys.stdout)
            for warning in outcome.warnings:
                bar.write(f"warning: {warning}", file=sys.stderr)
    return REFUSED if refused else 0


def carry_out(plan: Callable[[], tuple[list[AnyJob], Sequence[ValueError]]], run: Callable[[list[AnyJob]], int]) -> int:
    """A whole command: plan the jobs, tell which cannot be done, do the others.

    Returns:
        Exit code 0 if every job was done, 2 if any was refused or the command makes no sense, 130 if it was stopped.
    """

    def work() -> int:
        jobs, refused = plan()
        for error in refused:
            print(error, file=sys.stderr)
        return max(run(jobs), REFUSED if refused else 0)

    return guarded(work)


def guarded(work: Callable[[], int]) -> int:
    """The exit code of a command, which says in one line what a user did wrong, or that the user stopped it."""
    try:
        return work()
    except ValueError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("stopped; what is written is whole", file=sys.stderr)
        return STOPPED


class Meter:
    """Passes blocks of audio on and notes how loud they were."""

    def __init__(self):
        self.peak = 0.0
        self.clipped = 0
        self.n_samples = 0

    def watch(
        self, blocks: Iterable[np.ndarray], progress: Callable[[float], object] | None, sample_rate: int
    ) -> Iterator[np.ndarray]:
        for block in blocks:
            size = np.abs(block)
            self.peak = max(self.peak, float(size.max(initial=0.0)))
            self.clipped += int((size >= CLIPPED).sum())
            self.n_samples += len(block)
            yield block
            if progress is not None:
                progress(len(block) / sample_rate)

    def doubts(self) -> Iterator[str]:
        """What a user should know before blaming the result."""
        if self.peak < QUIET:
            level = f"{20 * np.log10(self.peak):.0f} dBFS" if self.peak else "digital silence"
            yield f"very quiet (peak {level}): is this the right file, or a muted track?"
        if self.clipped > 1e-4 * self.n_samples:
            yield f"clipped ({100 * self.clipped / self.n_samples:.2f} % of the samples): lower the recording level"
