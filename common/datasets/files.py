"""Files of a data set, read with suspicion: what is missing or damaged is told in one line."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from common.instruments import YOURMT3_CHANNELS
from common.midi import MidiError, read_midi, read_midi_tracks
from common.notes import Notes

# Program that stands for General MIDI's 100 and 101, effects that nobody tells apart: here those mean who sings.
EFFECT = 99
AGAIN = "unpack the archive of the data set again"


class DatasetError(ValueError):
    """A data set that is missing, not whole or damaged. One line: which file, what is wrong with it, and the remedy."""

    @classmethod
    def about(cls, path: str | Path, text: str) -> "DatasetError":
        return cls(" ".join(f"{path}: {text}".splitlines()))  # a file may have a line break in its name


def folder(path: str | Path, remedy: str) -> Path:
    """The path, if there is a folder."""
    path = Path(path)
    if not path.is_dir():
        raise DatasetError.about(path, f"no such folder; {remedy}")
    return path


def file(path: Path, remedy: str = AGAIN) -> Path:
    """The path, if there is a file."""
    if not path.is_file():
        raise DatasetError.about(path, f"missing; {remedy}")
    return path


def one_like(folder: Path, pattern: str, remedy: str = AGAIN) -> Path:
    """The first file of a folder whose name matches."""
    return next(iter(sorted(folder.glob(pattern))), None) or file(folder / pattern, remedy)


def first_of(*paths: Path, remedy: str = AGAIN) -> Path:
    """The first of several names under which releases have one file."""
    return next((path for path in paths if path.is_file()), None) or file(paths[0], remedy)


def not_empty(items: Iterable, path: Path, remedy: str) -> list:
    """The items of a folder or table as a list, if there are any."""
    items = list(items)
    if not items:
        raise DatasetError.about(path, f"nothing of the data set here; {remedy}")
    return items


def folders(root: str | Path, pattern: str, remedy: str) -> list[Path]:
    """The folders in one whose names match, in order; there must be some."""
    root = folder(root, remedy)
    return not_empty(sorted(path for path in root.glob(pattern) if path.is_dir()), root, remedy)


@contextmanager
def annotation(path: Path) -> Iterator[None]:
    """Errors of reading a damaged or absent file of annotations become one DatasetError about it."""
    try:
        yield
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError.about(path, f"cannot be read ({error.strerror}); {AGAIN}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError.about(path, f"a damaged annotation ({error or type(error).__name__}); {AGAIN}") from error


def rows(path: Path, n_columns: int, separator: str | None = None) -> list[list[str]]:
    """The lines of a text file as columns, empty lines left out; without a separator, at white space."""
    with annotation(path):
        text = path.read_text(encoding="utf-8-sig")  # some releases were edited on Windows
        table = [line.split(separator) for line in text.splitlines() if line.strip()]
        for number, row in enumerate(table, 1):
            if len(row) < n_columns:
                raise ValueError(f"row {number} has {len(row)} of {n_columns} columns")
        return table


def checked_notes(path: Path, onset: ArrayLike, offset: ArrayLike, pitch: ArrayLike, **columns: ArrayLike) -> Notes:
    """Notes from the columns of an annotation, sorted; notes without length are left out.

    Args:
        path: the annotation, for the error.
        onset: seconds.
        offset: seconds.
        pitch: MIDI numbers, rounded to the nearest semitone, halves up.
        **columns: further columns as `Notes.build` takes them.

    Raises:
        DatasetError: there are no notes, or a value that cannot be one.
    """
    onset, offset, pitch = (np.asarray(column, np.float64) for column in (onset, offset, pitch))
    semitone = np.floor(pitch + 0.5)
    faults = {
        "a value that is not finite": ~np.isfinite([onset, offset, pitch]).all(axis=0),
        "a start before 0 s": onset < 0.0,
        "an end before its start": offset < onset,
        "a pitch outside MIDI's 0..127": (semitone < 0) | (semitone > 127),
    }
    for fault, at in faults.items():
        if at.any():
            raise DatasetError.about(path, f"note {at.argmax() + 1} has {fault}; {AGAIN}")
    if not len(onset):
        raise DatasetError.about(path, f"no notes in it; {AGAIN}")
    notes = Notes.build(onset, offset, semitone, **columns)
    return notes[notes.offset > notes.onset].sort()


def midi_notes(path: Path, sustain: bool = True) -> Notes:
    """`read_midi`, whose errors name the file and the remedy already; nobody sings in a file of General MIDI."""
    with _midi_errors():
        notes = read_midi(path, sustain)
    return notes.replace(program=unsung(notes.program))


def midi_tracks(path: Path) -> list[tuple[str, Notes]]:
    """`read_midi_tracks`, otherwise as `midi_notes`."""
    with _midi_errors():
        tracks = read_midi_tracks(path)
    return [(name, notes.replace(program=unsung(notes.program))) for name, notes in tracks]


@contextmanager
def _midi_errors() -> Iterator[None]:
    try:
        yield
    except MidiError as error:
        raise DatasetError(str(error)) from error


def unsung(program: ArrayLike) -> np.ndarray:
    """Programs of General MIDI as they are, but for those that mean sung notes in this project."""
    return np.where(np.isin(program, YOURMT3_CHANNELS["Singing"]), EFFECT, program)
