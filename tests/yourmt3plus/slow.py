"""Rows written and read one event at a time, as plainly as can be: what the arrays of the package are held to."""

from dataclasses import fields

import numpy as np

from common.notes import Notes
from yourmt3plus.decode import Repairs
from yourmt3plus.programs import MULTI, Channels
from yourmt3plus.tokenizer import event, token

PROGRAMS = np.concatenate([MULTI.programs(channel) for channel in range(12)])
KEYS = (36, 38, 42, 46, 49, 51)


def random_piece(seed: int, n_notes: int = 60, n_ticks: int = 900, programs: np.ndarray = PROGRAMS) -> Notes:
    """Notes on the grid, few pitches that repeat often, some long; as decoded: velocity 100, hits of one tick."""
    rng = np.random.default_rng(seed)
    is_drum = rng.random(n_notes) < 0.2
    program = np.where(is_drum, 0, rng.choice(programs, n_notes))
    pitch = np.where(is_drum, rng.choice(KEYS, n_notes), rng.integers(58, 63, n_notes))
    on = rng.choice([*range(n_ticks), *[204, 408, 612] * 20], n_notes)
    length = np.where(is_drum, 1, rng.choice([1, 2, 15, 60, 204, 408, 700], n_notes))
    off = np.where(~is_drum & (rng.random(n_notes) < 0.2), (on // 204 + 1) * 204, on + length)
    notes = Notes.build(on / 100, off / 100, pitch, 100, program, is_drum, program + 128 * is_drum).without_overlaps()
    return notes.replace(track=np.unique(notes.track, return_inverse=True)[1]).sort()


def write(notes: Notes, channels: Channels, n_ticks: int, n_segments: int, start_tick: int, max_tokens: int):
    """Lists of ids, one for each channel of each segment, and how many events found no room in each."""
    columns = (np.rint(notes.onset * 100), np.rint(notes.offset * 100), notes.pitch, notes.program, notes.is_drum)
    table = [tuple(int(value) for value in row) for row in zip(*columns, strict=True)]
    rows = []
    for start in range(start_tick, start_tick + n_segments * n_ticks, n_ticks):
        for channel in range(len(channels)):
            mine = [note for note, owner in zip(table, channels.of(notes), strict=True) if owner == channel]
            rows.append(_row(mine, start, start + n_ticks, max_tokens))
    return rows


def _row(table, start: int, end: int, max_tokens: int) -> tuple[list[int], int]:
    ids, state, missing = [], {}, 0
    for program, pitch in sorted((p, n) for on, off, n, p, drum in table if not drum and on < start <= off):
        group = [] if state.get("program") == program else [token("program", program)]
        group.append(token("pitch", pitch))
        if len(ids) + len(group) + 2 > max_tokens:
            missing += 1
            continue
        ids += group
        state["program"] = program
    ids.append(token("tie"))
    events = [(on - start, drum, p, 1, n) for on, off, n, p, drum in table if start <= on < end]
    events += [(off - start, drum, p, 0, n) for on, off, n, p, drum in table if start <= off < end and not drum]
    state["tick"] = 0
    for tick, drum, program, velocity, pitch in sorted(events):
        wanted = {"tick": tick, "program": program, "velocity": velocity}
        if drum:
            del wanted["program"]
        changed = {name: value for name, value in wanted.items() if state.get(name) != value}
        group = [token({"tick": "shift"}.get(name, name), value) for name, value in changed.items()]
        group.append(token("drum" if drum else "pitch", pitch))
        if missing or len(ids) + len(group) + 1 > max_tokens:
            missing += 1
            continue
        ids += group
        state |= changed
    return [*ids, token("EOS")], missing


def read(tokens: np.ndarray, n_ticks: int) -> tuple[list[tuple[int, int, int, int, bool]], dict[str, int]]:
    """(start, end, pitch, program, is_drum) in ticks, sorted, and the counts of Repairs."""
    notes, sounding = [], {}  # (channel, program, pitch) -> tick of its start
    counts = dict.fromkeys((field.name for field in fields(Repairs)), 0)

    def close(key, tick):
        start = sounding.pop(key)
        if tick > start:
            notes.append((start, tick, key[2], key[1], False))
        else:
            counts["empty_notes"] += 1

    for segment, rows in enumerate(tokens):
        base = segment * n_ticks
        for channel, row in enumerate(rows):
            ids = [event(int(i)) for i in row]
            names = [name for name, _ in ids]
            counts["unended_rows"] += "EOS" not in names
            if "EOS" in names:
                ids = ids[: names.index("EOS")]
            ids = [(name, value) for name, value in ids if name != "PAD"]

            body = next(
                (i for i, (name, _) in enumerate(ids) if name in ("tie", "shift", "velocity", "drum")), len(ids)
            )
            program, tied = None, set()
            for name, value in ids[:body]:
                if name == "program":
                    program = value
                elif name == "pitch" and program is not None:
                    tied.add((channel, program, value))
                else:
                    counts["stray_tokens"] += 1
            counts["unstarted_ties"] += len(tied - set(sounding))
            for key in [key for key in sounding if key[0] == channel and key not in tied]:
                counts["untied_notes"] += 1
                close(key, base)

            if body < len(ids) and ids[body][0] == "tie":
                body += 1
            else:
                counts["untied_rows"] += 1
            velocity, tick = None, 0
            for name, value in ids[body:]:
                if name == "program":
                    program = value
                elif name == "velocity":
                    velocity = value
                elif name == "shift":
                    counts["stray_tokens"] += value < tick
                    tick = max(tick, value)
                elif name == "pitch" and program is not None and velocity is not None:
                    key = (channel, program, value)
                    if tick >= n_ticks:
                        counts["late_events"] += 1
                    elif velocity == 1:
                        if key in sounding:
                            close(key, base + tick)
                        sounding[key] = base + tick
                    elif key in sounding:
                        close(key, base + tick)
                    else:
                        counts["unstarted_ends"] += 1
                elif name == "drum" and velocity == 1:
                    if tick >= n_ticks:
                        counts["late_events"] += 1
                    else:
                        notes.append((base + tick, base + tick + 1, value, 0, True))
                else:
                    counts["stray_tokens"] += 1
    for key in list(sounding):
        close(key, len(tokens) * n_ticks)
    return sorted(notes), counts
