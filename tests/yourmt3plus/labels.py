"""What rows should say of notes, found without the tokenizer."""

import numpy as np

from common.notes import Notes
from yourmt3plus.programs import MULTI, written
from yourmt3plus.tokenizer import TICKS_PER_SECOND


def on_grid(notes: Notes, n_ticks: int) -> list[tuple]:
    """What is to be written of notes that start in a segment: (drum, program, pitch, tick, end)."""
    return _without_repeats(_one_by_one(notes, n_ticks), n_ticks)


def _one_by_one(notes: Notes, n_ticks: int) -> list[tuple]:
    program, pitch = written(notes)
    rows = []
    for i in range(len(notes)):
        channel = int(MULTI.of(notes[i : i + 1])[0])
        on = int(np.floor(notes.onset[i] * TICKS_PER_SECOND + 0.5))
        off = max(int(np.floor(notes.offset[i] * TICKS_PER_SECOND + 0.5)), on + 1)
        if channel >= 0 and 0 <= on < n_ticks:
            drum = bool(notes.is_drum[i])
            rows.append((drum, int(program[i]), int(pitch[i]), on, on + 1 if drum else off))
    return sorted(rows)


def _without_repeats(rows: list[tuple], n_ticks: int) -> list[tuple]:
    """Each note ends where its key starts again or the segment ends; of those that start at once the longest counts."""
    kept = []
    for i, (drum, program, pitch, on, off) in enumerate(rows):
        following = rows[i + 1] if i + 1 < len(rows) and rows[i + 1][:3] == (drum, program, pitch) else None
        if following and following[3] == on:
            continue
        end = off if drum else min(off, following[3] if following else off, n_ticks)
        kept.append((drum, program, pitch, on, end))
    return kept
