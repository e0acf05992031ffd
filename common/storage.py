"""Files that are whole or not there."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing swept
    fcntl = None

TEMPORARY = re.compile(r"\..+\.\d+(\.[^.]+)?")  # .NAME.PROCESS.SUFFIX


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` at the end of the block, and vanishes if the block fails.

    Missing folders are made. The temporary name keeps the suffix, from which many writers take the format. A process
    that is killed leaves the file behind, but not the lock that it has on it: see `sweep`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with locked(temporary):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out before long work whether `replacing` could make a file there; nothing is left behind.

    Raises:
        OSError: it could not, for the folder's sake.
    """
    folder = Path(path).parent
    while not os.path.lexists(folder):  # those that are missing would be made
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def sweep(folder: str | Path) -> None:
    """Remove the temporary files that killed processes have left in a folder, and none that is being written."""
    if fcntl is None:
        return
    for path in Path(folder).iterdir():
        if TEMPORARY.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:  # it is gone meanwhile, or somebody holds it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(file, path):
                    path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """An empty file that is locked until the end of the block; writers may open it again, but not put another there."""
    if fcntl is None:
        yield
        return
    while True:
        with path.open("wb") as file:
            with suppress(OSError):  # a file system without locks, where nothing can be swept either
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is(file, path):
                yield
                return
            # It was swept before it was locked.


def _is(file: IO, path: Path) -> bool:
    """Whether an open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
