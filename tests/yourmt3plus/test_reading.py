"""Maps that tell the truth are read as the notes that they were made of, over segments and in drums."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.notes import Notes
from yourmt3plus.events import truth
from yourmt3plus.programs import MULTI, WRITTEN_DRUM
from yourmt3plus.reading import Reader, Reading, Thresholds, peaks
from yourmt3plus.tokenizer import encode_piece

N_FRAMES, N_TICKS, LOWEST, N_KEYS = 85, 204, 28, 84
FRAMES_PER_TICK = 16_000 / 384 / 100
TICK = 0.01
FRAME = TICK / FRAMES_PER_TICK  # seconds
READER = Reader(MULTI, LOWEST, FRAMES_PER_TICK)
PROGRAMS = [int(MULTI.programs(channel)[0]) for channel in (0, 4, 5, 8)]  # those that a channel is read as
KEYS = np.flatnonzero(np.arange(128) == WRITTEN_DRUM)  # of drums, each the first of its group


def band(seed: int, n_notes: int = 60) -> Notes:
    """Notes of four instruments and drums in three segments, none within 100 ms of another of its pitch."""
    rng = np.random.default_rng(seed)
    free: dict[tuple[bool, int], float] = {}
    rows = []
    for onset in np.sort(rng.uniform(0.05, 5.8, n_notes)):
        is_drum = rng.random() < 0.2
        program = PROGRAMS[rng.integers(4)]
        pitch = int(rng.choice(KEYS[(KEYS >= 35) & (KEYS < 60)]) if is_drum else rng.integers(40, 90))
        key = (is_drum, pitch)
        if free.get(key, 0.0) > onset:
            continue
        offset = onset + (0.05 if is_drum else rng.uniform(0.15, 2.5))
        free[key] = offset + 0.1
        rows.append((onset, offset, pitch, 0 if is_drum else program, is_drum))
    onset, offset, pitch, program, is_drum = (np.array(column) for column in zip(*rows, strict=True))
    return Notes.build(onset, offset, pitch, program=program, is_drum=is_drum)


def maps(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    rows = torch.from_numpy(encode_piece(notes, MULTI, N_TICKS).tokens)
    onset, sounding = truth(rows, N_FRAMES, FRAMES_PER_TICK)
    keys = slice(LOWEST, LOWEST + N_KEYS)
    return onset[..., keys].numpy(), sounding[..., keys].numpy()


def found(reference: Notes, estimate: Notes, tolerance: float) -> bool:
    """Has every note of the reference, and nothing else, been read where it is?"""

    def table(notes: Notes) -> list[tuple]:
        rows = zip(notes.is_drum, notes.program, notes.pitch, notes.onset, notes.offset, strict=True)
        return sorted((bool(d), 0 if d else int(p), int(k), float(b), 0.0 if d else float(e)) for d, p, k, b, e in rows)

    ours, theirs = table(estimate), table(reference)
    return len(ours) == len(theirs) and all(
        one[:3] == other[:3] and np.allclose(one[3:], other[3:], atol=tolerance)
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_is_true_is_read_to_within_a_frame(seed):
    notes = band(seed)
    assert notes.offset.max() > 2 * N_TICKS * TICK  # over three segments
    # A round of half a frame, and one of half a tick; ends lie half a frame early.
    assert found(notes, READER.notes(*maps(notes)), FRAME + TICK)


def test_how_many_segments_come_at_a_time_changes_nothing():
    onset, sounding = maps(band(3))
    rng = np.random.default_rng(0)
    onset, sounding = (np.clip(part + 0.3 * rng.random(part.shape) - 0.1, 0, 1) for part in (onset, sounding))
    reading = Reading(READER)
    for segment in range(len(onset)):
        reading.push(onset[segment : segment + 1], sounding[segment : segment + 1])
    whole = READER.notes(onset, sounding)
    assert len(whole) > 60
    assert reading.finish() == whole


def test_thresholds_decide():
    onset, sounding = np.zeros((2, 1, len(MULTI), N_FRAMES, N_KEYS))
    onset[0, 0, 10, 5], onset[0, 0, 40, 7], onset[0, 12, 20, 9] = 0.5, 0.7, 0.7
    sounding[0, 0, 10:20, 5], sounding[0, 0, 40:50, 7] = 0.9, 0.4

    def read(*thresholds: float) -> list[tuple[int, bool, int]]:
        notes = replace(READER, thresholds=Thresholds(*thresholds)).notes(onset, sounding)
        frames = np.ceil((notes.offset - notes.onset) / FRAME).astype(int)
        return list(zip(notes.pitch.tolist(), notes.is_drum.tolist(), frames.tolist(), strict=True))

    assert read(0.6, 0.3, 0.6) == [(37, True, 1), (35, False, 10)]
    assert read(0.4, 0.3, 0.8) == [(33, False, 10), (35, False, 10)]
    assert read(0.4, 0.6, 0.8) == [(33, False, 10), (35, False, 1)]
    assert read(0.8, 0.1, 0.8) == []


def test_a_note_goes_on_in_the_next_segment():
    onset, sounding = np.zeros((2, 2, len(MULTI), N_FRAMES, N_KEYS))
    onset[0, 3, 80, 5] = 1.0
    sounding[0, 3, 80:, 5] = sounding[1, 3, :10, 5] = 1.0
    notes = READER.notes(onset, sounding)
    assert len(notes) == 1
    assert notes.onset[0] == pytest.approx(80 * FRAME)
    assert notes.offset[0] == pytest.approx((85 + 9.5) * FRAME)


def test_who_plays_is_decided_over_the_whole_note():
    """Unsure at its onset, and wrong for a frame: the note is one, of the channel that is likely for longest."""
    onset, sounding = np.zeros((2, 1, len(MULTI), N_FRAMES, N_KEYS))
    onset[0, 2, 10, 5], onset[0, 4, 10, 5] = 0.26, 0.24
    sounding[0, 2, 10:12, 5], sounding[0, 4, 12:30, 5] = 0.6, 0.6
    notes = READER.notes(onset, sounding)
    assert notes.program.tolist() == [MULTI.programs(4)[0]]
    assert notes.offset[0] - notes.onset[0] == pytest.approx(19.5 * FRAME)


def test_a_peak_on_the_edge_of_segments_counts_once():
    onset, sounding = np.zeros((2, 2, len(MULTI), N_FRAMES, N_KEYS))
    onset[0, 0, -1, 3], onset[1, 0, 0, 3] = 0.6, 0.8
    assert len(READER.notes(onset, sounding)) == 1
    onset[1, 0, 0, 3] = 0.6  # of equals the later
    assert len(READER.notes(onset, sounding)) == 1


def test_peaks_lean_to_the_louder_neighbour():
    """A parabola through samples of a parabola has its top where that has."""
    onset = 1.0 - 0.1 * (np.arange(5.0)[:, None] - 2.3) ** 2
    is_peak, lean = peaks(onset, 0.5)
    assert is_peak[:, 0].tolist() == [False, True, False]
    assert lean[1, 0] == pytest.approx(0.3)


def test_nothing_is_read_of_nothing():
    reading = Reading(READER)
    assert len(reading.finish()) == 0
    assert len(READER.notes(*np.zeros((2, 1, len(MULTI), 1, N_KEYS)))) == 0


def test_thresholds_are_chosen_by_what_they_find():
    notes = [band(7), band(8)]
    rng = np.random.default_rng(0)

    def uncertain(part: np.ndarray) -> np.ndarray:
        """The truth at 0.55; lies in one channel, of up to 0.45."""
        lies = np.zeros_like(part)
        lies[:, [0, 12]] = 0.41 + 0.08 * rng.random(lies[:, [0, 12]].shape)
        return np.where(part > 0, 0.55, lies)

    heard = [(uncertain(onset), uncertain(sounding)) for onset, sounding in map(maps, notes)]
    chosen = READER.chosen(heard, notes).thresholds
    assert chosen.hit == 0.5
    assert min(chosen.onset, chosen.sounding) >= 0.5
