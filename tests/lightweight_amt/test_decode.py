import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import FAINT, LOW, N_PITCHES, DecodeSettings, NoteDecoder, decode

GRID = FrameGrid(22_050, 256)
N_FRAMES = 60


def maps(n_frames=N_FRAMES, frame=(), **peaks):
    """Onset, frame and offset map of one pitch: runs (start, stop, value) and peaks {position: value}."""
    rows = {name: np.zeros((1, n_frames), np.float32) for name in ("onset", "frame", "offset")}
    for start, stop, value in frame:
        rows["frame"][0, start:stop] = value
    for name, values in peaks.items():
        for position, value in values.items():
            rows[name][0, position] = value
    return rows.values()


def frames_of(notes: Notes) -> list[tuple[float, float]]:
    return [tuple(np.round(GRID.position(interval), 6)) for interval in notes.intervals]


def decoded(choices=None, **case) -> list[tuple[float, float]]:
    return frames_of(decode(*maps(**case), choices or DecodeSettings(), GRID))


# --- cases by hand; the defaults bridge gaps below 4.3 frames and drop notes below 4.3 frames ---


def test_onset_and_run_make_a_note():
    notes = decode(*maps(frame=[(10, 30, 0.64)], onset={10: 0.81}), DecodeSettings(), GRID, low=40)
    assert frames_of(notes) == [(10, 30)]
    assert notes.pitch == 40
    assert notes.velocity == round(30 + 90 * 0.81)
    assert notes.confidence == pytest.approx(0.9 * 0.8)  # sqrt(0.81 * 0.64)


def test_onset_blob_starts_the_note_at_its_maximum():
    blob = {8: 0.55, 9: 0.7, 10: 0.95, 11: 0.8, 12: 0.6}
    # Between frames: half the difference of the neighbours over the drop to the lower one, 0.5 * 0.1 / 0.25.
    assert decoded(frame=[(9, 30, 0.9)], onset=blob) == [(10.2, 30)]


def test_plateau_counts_once():
    assert decoded(frame=[(9, 30, 0.9)], onset=dict.fromkeys(range(8, 15), 0.9)) == [(8.5, 30)]


def test_close_peaks_merge_into_the_larger():
    assert decoded(frame=[(10, 40, 0.9)], onset={10: 0.7, 12: 0.8}) == [(12, 40)]
    assert decoded(frame=[(10, 40, 0.9)], onset={20: 0.8, 22: 0.7}) == [(10, 20), (20, 40)]


def test_repeated_note():
    assert decoded(frame=[(10, 50, 0.9)], onset={10: 0.9, 25: 0.9, 40: 0.9}) == [(10, 25), (25, 40), (40, 50)]


@pytest.mark.parametrize("onset", [18, 20, 22])
def test_gap_before_an_onset_stays_a_rest(onset):
    """Whether the run comes a little before or after its onset."""
    assert decoded(frame=[(5, 17, 0.9), (20, 40, 0.9)], onset={5: 0.9, onset: 0.9}) == [(5, 17), (onset, 40)]


@pytest.mark.parametrize("onset", [8, 10, 12])
def test_run_begins_at_an_onset_next_to_its_start(onset):
    everything = DecodeSettings(min_length=0.0, unstruck_threshold=0.3)
    assert decoded(everything, frame=[(10, 30, 0.9)], onset={onset: 0.9}) == [(onset, 30)]


@pytest.mark.parametrize("offset", [28, 30, 32])
def test_run_ends_at_an_offset_next_to_its_end(offset):
    everything = DecodeSettings(min_length=0.0, unstruck_threshold=0.3)
    assert decoded(everything, frame=[(10, 30, 0.9)], onset={10: 0.9}, offset={offset: 0.9}) == [(10, offset)]


def test_an_unsure_pitch_is_a_note_where_it_is_alone():
    """0.3 over the root of itself is above a half; beside 0.9 it stays below."""
    onset, frame = np.zeros((2, 2, 60), np.float32)
    frame[0, 10:50], frame[1, 30:50], onset[1, 30] = 0.3, 0.9, 0.9
    found = {
        relative: decode(onset, frame, None, DecodeSettings(frame_threshold=0.5, relative=relative), GRID)
        for relative in (0.0, 0.5)
    }
    assert found[0.0].pitch.tolist() == [LOW + 1]
    assert found[0.5].pitch.tolist() == [LOW, LOW + 1]
    assert GRID.frames(found[0.5].intervals).tolist() == [[10, 30], [30, 50]]
    silence = np.full((2, 60), 1e-5, np.float32)
    assert not len(decode(np.zeros_like(silence), silence, None, DecodeSettings(relative=0.9), GRID))


def test_short_dip_is_bridged_and_a_long_one_is_not():
    assert decoded(frame=[(10, 20, 0.9), (24, 40, 0.9)], onset={10: 0.9}) == [(10, 40)]
    assert decoded(frame=[(10, 20, 0.9), (25, 40, 0.9)], onset={10: 0.9}) == [(10, 20), (25, 40)]
    assert decoded(DecodeSettings(gap=0.0), frame=[(10, 20, 0.9), (21, 40, 0.9)], onset={10: 0.9}) == [
        (10, 20),
        (21, 40),
    ]


def test_bridged_frames_count_in_the_mean():
    notes = decode(*maps(frame=[(10, 20, 1.0), (22, 40, 1.0)], onset={10: 1.0}), DecodeSettings(), GRID)
    assert notes.confidence == pytest.approx(math.sqrt(28 / 30))


def test_onset_without_frames_is_nothing():
    assert decoded(onset={20: 1.0}) == []
    assert decoded(frame=[(23, 40, 0.9)], onset={20: 1.0}) == [(23, 40)]  # too early to belong to the run
    assert decoded(frame=[(5, 20, 0.9)], onset={5: 0.9, 20: 0.9}) == [(5, 20)]


def test_run_without_onset_must_be_strong():
    assert decoded(frame=[(10, 30, 0.6)]) == [(10, 30)]
    assert decoded(frame=[(10, 30, 0.4)]) == []
    assert decoded(DecodeSettings(unstruck_threshold=None), frame=[(10, 30, 1.0)]) == []
    assert decoded(frame=[(10, 30, 0.6)], onset={20: 0.9}) == [(10, 20), (20, 30)]


def test_unstruck_note_is_soft_and_unsure():
    notes = decode(*maps(frame=[(10, 30, 1.0)], onset={10: 0.04}), DecodeSettings(), GRID)
    assert notes.confidence == pytest.approx(0.2)
    assert notes.velocity == 34


def test_offset_splits():
    held = {"frame": [(10, 50, 0.9)], "onset": {10: 0.9}}
    assert decoded(**held, offset={30: 0.9}) == [(10, 30), (30, 50)]
    assert decoded(DecodeSettings(unstruck_threshold=None), **held, offset={30: 0.9}) == [(10, 30)]
    assert decoded(**held, offset={30: 0.4}) == [(10, 50)]


def test_offset_next_to_an_onset_is_that_of_the_note_before():
    struck = {10: 0.9, 30: 0.9}
    for offset in (28, 32):
        assert decoded(frame=[(10, 50, 0.9)], onset=struck, offset={offset: 0.9}) == [(10, 30), (30, 50)]


def test_short_notes_are_dropped():
    assert decoded(frame=[(10, 14, 0.9)], onset={10: 0.9}) == []
    assert decoded(frame=[(10, 15, 0.9)], onset={10: 0.9}) == [(10, 15)]


def test_first_and_last_frame():
    assert decoded(frame=[(0, 10, 0.9), (50, 60, 0.9)], onset={0: 0.9, 50: 0.9}) == [(0, 10), (50, 60)]
    last = DecodeSettings(min_length=0.0)
    assert decoded(last, frame=[(59, 60, 0.9)], onset={59: 0.9}) == [(59, 60)]
    assert decoded(frame=[(20, 60, 0.9)], onset={20: 0.9}, offset={59: 0.9}) == [(20, 59)]


def test_rows_are_pitches_and_do_not_mix():
    onset, frame = np.zeros((2, N_PITCHES, N_FRAMES), np.float32)
    for row in range(N_PITCHES):  # each pitch ends with the file, the next one begins with it
        frame[row, 30 * (row % 2) :] = 0.9
        onset[row, 30 * (row % 2)] = 0.9
    notes = decode(onset, frame, None, DecodeSettings(), GRID)
    assert sorted(notes.pitch) == list(range(LOW, LOW + N_PITCHES))
    assert set(frames_of(notes[notes.pitch % 2 == 0])) == {(0, 60)}
    assert set(frames_of(notes[notes.pitch % 2 == 1])) == {(30, 60)}


def test_all_ones_is_one_note_for_each_pitch():
    ones = np.ones((N_PITCHES, 500), np.float32)
    notes = decode(ones, ones, ones, DecodeSettings(), GRID)
    assert len(notes) == N_PITCHES
    assert set(frames_of(notes)) == {(0, 500)}
    assert set(notes.confidence) == {1.0}


def test_silence_and_nothing():
    assert decode(*maps(), DecodeSettings(), GRID) == Notes.empty()
    assert decode(*maps(n_frames=0), DecodeSettings(), GRID) == Notes.empty()
    assert NoteDecoder(DecodeSettings(), GRID).finish() == Notes.empty()


# --- bad input ---


@pytest.mark.parametrize("name", ["onset", "frame", "offset"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5])
def test_no_probability(name, value):
    arrays = dict(zip(("onset", "frame", "offset"), maps(), strict=True))
    arrays[name][0, 7] = value
    with pytest.raises(ValueError, match=f"{name} map must hold probabilities"):
        decode(**arrays, settings=DecodeSettings(), grid=GRID)


def test_wrong_shapes():
    onset, frame, offset = maps()
    decoder = NoteDecoder(DecodeSettings(), GRID, n_pitches=1)
    for arrays in ((onset[:, 1:], frame, offset), (onset, frame, offset[0]), (np.tile(onset, (2, 1)), frame, offset)):
        with pytest.raises(ValueError, match="map has shape"):
            decoder.push(*arrays)
    with pytest.raises(ValueError, match="onset map has shape"):
        NoteDecoder(DecodeSettings(), GRID).push(onset, frame)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onset_threshold", 0.0),
        ("frame_threshold", 1.1),
        ("offset_threshold", np.nan),
        ("unstruck_threshold", -0.5),
        ("min_length", -0.01),
        ("gap", np.inf),
        ("relative", 1.0),
        ("relative", np.nan),
    ],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=name):
        DecodeSettings(**{name: value})


# --- against the definition, in loops ---


def slow_peaks(values, threshold):
    """(frame, position) of each value that is the first of the largest within two frames."""
    found = []
    for t, value in enumerate(values):
        before, after = values[max(t - 2, 0) : t], values[t + 1 : t + 3]
        if value >= threshold and all(value > other for other in before) and all(value >= other for other in after):
            inside = bool(before) and bool(after)
            shift = (after[0] - before[-1]) / (2 * (value - min(after[0], before[-1]))) if inside else 0.0
            found.append((t, t + shift))
    return found


def slow_pitch(onset, frame, offset, choices):
    """[start, end, mean, onset probability] in frames of the notes of one pitch, from lists."""
    on = [value >= choices.frame_threshold for value in frame]
    starts = [t for t in range(len(on)) if on[t] and (t == 0 or not on[t - 1])]
    ends = [t + 1 for t in range(len(on)) if on[t] and (t + 1 == len(on) or not on[t + 1])]
    runs = list(zip(starts, ends, strict=True))
    onsets, offsets = [], []
    for t, position in slow_peaks(onset, choices.onset_threshold):
        started = [run for run in runs if run[0] <= t + 2]
        if started and started[-1][1] > t:
            onsets.append((t, position))
    for t, position in slow_peaks(offset, choices.offset_threshold):
        not_over = [run for run in runs if run[1] >= t - 2]
        if not_over and not_over[0][0] < t and all(abs(t - other) > 2 for other, _ in onsets):
            offsets.append((t, position))
    fresh = []
    for i, (start, _) in enumerate(runs):
        bridged = i > 0 and GRID.times(start - runs[i - 1][1]) < choices.gap
        if not bridged and all(abs(start - other) > 2 for other, _ in onsets):
            fresh.append((start, start))

    cuts = [(t, 0, p, "offset") for t, p in offsets] + [(t, 1, p, "run") for t, p in fresh]
    cuts = sorted(cuts + [(t, 2, p, "onset") for t, p in onsets])
    found = []
    for i, (t, _, begin, kind) in enumerate(cuts):
        following, _, stop, next_kind = cuts[i + 1] if i + 1 < len(cuts) else (len(frame) + 9, 1, 0.0, "run")
        first, last = t, following
        if kind != "onset":
            later = [run for run in runs if run[1] > t + 2 * (kind == "offset")]
            if not later:
                continue
            if later[0][0] > t:
                first = begin = later[0][0]
        if next_kind != "offset":
            earlier = [run for run in runs if run[0] < following - 2 * (next_kind == "onset")]
            if not earlier:
                continue
            if earlier[-1][1] < following:
                last = stop = earlier[-1][1]
        if last <= first:
            continue
        mean = math.fsum(frame[first:last]) / (last - first)
        unstruck = choices.unstruck_threshold
        length = GRID.times(stop) - GRID.times(begin)
        strong = kind == "onset" or (unstruck is not None and mean >= unstruck and length >= choices.unstruck_length)
        if strong and length >= choices.min_length:
            found.append((begin, stop, mean, onset[first]))
    return found


def slow_decode(onset, frame, offset, choices) -> Notes:
    notes, frame = [], frame.copy()
    for t in range(frame.shape[1]):
        surest = np.float32(max(frame[:, t].tolist()))
        frame[:, t] *= np.maximum(surest, np.float32(FAINT)) ** np.float32(-choices.relative)
    for row in range(len(frame)):
        quiet = [0.0] * frame.shape[1]
        rows = (onset[row].tolist(), frame[row].tolist(), quiet if offset is None else offset[row].tolist())
        for begin, stop, mean, struck in slow_pitch(*rows, choices):
            velocity, confidence = round(30 + 90 * struck), math.sqrt(struck * mean)
            notes.append((GRID.times(begin), GRID.times(stop), LOW + row, velocity, 0, False, 0, confidence))
    return Notes(np.array(notes, Notes.empty().table.dtype)).sort()


def random_maps(rng, n_pitches, n_frames, hold):
    """Three maps in eighths, which a float sums exactly; each value is held for a few frames on average."""
    values = rng.integers(0, 9, (3, n_pitches, n_frames)) / 8
    held = np.maximum.accumulate(np.where(rng.random(values.shape) < 1 / hold, np.arange(n_frames), 0), axis=2)
    return np.take_along_axis(values, held, axis=2).astype(np.float32)


eighths = st.integers(1, 8).map(lambda k: k / 8)
some_settings = st.builds(
    DecodeSettings,
    onset_threshold=eighths,
    frame_threshold=eighths,
    relative=st.sampled_from([0.0, 0.5]),
    offset_threshold=eighths,
    unstruck_threshold=st.none() | eighths,
    unstruck_length=st.sampled_from([0.0, 0.08]),
    min_length=st.sampled_from([0.0, 0.03, 0.1]),
    gap=st.sampled_from([0.0, 0.02, 0.03, 0.07]),
)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 80), st.sampled_from([1.0, 2.0, 5.0]), st.booleans(), some_settings)
def test_equals_the_definition(seed, n_frames, hold, with_offset, choices):
    onset, frame, offset = random_maps(np.random.default_rng(seed), 3, n_frames, hold)
    offset = offset if with_offset else None
    ours = decode(onset, frame, offset, choices, GRID)
    slow = slow_decode(onset, frame, offset, choices)
    np.testing.assert_allclose(ours.intervals, slow.intervals, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.pitch, slow.pitch)
    np.testing.assert_array_equal(ours.velocity, slow.velocity)
    np.testing.assert_allclose(ours.confidence, slow.confidence, rtol=1e-6)


# --- properties ---


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 200), max_size=12), some_settings)
def test_blocks_do_not_matter(seed, cuts, choices):
    rng = np.random.default_rng(seed)
    arrays = rng.random((3, 4, 200), np.float32) ** rng.choice([1, 4])
    decoder = NoteDecoder(choices, GRID, n_pitches=4)
    for first, last in np.lib.stride_tricks.sliding_window_view(sorted([0, *cuts, 200]), 2):
        decoder.push(*arrays[:, :, first:last])
    assert decoder.finish() == decode(*arrays, choices, GRID)


def test_frame_by_frame_and_reuse():
    arrays = np.random.default_rng(0).random((3, 4, 100), np.float32)
    decoder = NoteDecoder(DecodeSettings(), GRID, n_pitches=4)
    for _ in range(2):
        for t in range(100):
            decoder.push(*arrays[:, :, t : t + 1])
        assert decoder.finish() == decode(*arrays, DecodeSettings(), GRID)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(7, 40), st.just(0.0) | st.floats(8, 20)), min_size=1, max_size=9),
)
def test_targets_come_back_exactly(seed, lengths_and_rests):
    """Triangles of half-width 3 around the exact places, as the network is trained on, give the exact notes."""
    lengths, rests = np.array(lengths_and_rests).T
    onset = np.random.default_rng(seed).uniform(1, 9) + np.r_[0.0, np.cumsum(lengths + rests)[:-1]]
    end = onset + lengths
    rests[-1] = 8.0
    arrays = np.zeros((3, 1, int(end[-1]) + 9))
    t = np.arange(arrays.shape[2])
    for begin, stop, rest in zip(onset, end, rests, strict=True):
        arrays[0, 0] = np.maximum(arrays[0, 0], 1 - abs(t - begin) / 3)
        arrays[1, 0, round(begin) : round(stop)] = 1.0
        if rest:
            arrays[2, 0] = np.maximum(arrays[2, 0], 1 - abs(t - stop) / 3)
    notes = decode(*arrays.astype(np.float32), DecodeSettings(), GRID)
    np.testing.assert_allclose(GRID.position(notes.intervals), np.stack([onset, end], axis=1), atol=1e-5)


def test_ten_minutes_of_noise():
    """Result in proportion, one note of a pitch after the other, none too short."""
    n_frames = GRID.n_frames(600 * 22_050)
    arrays = np.random.default_rng(0).random((3, N_PITCHES, n_frames), np.float32)
    choices = DecodeSettings(min_length=0.0)
    notes = decode(*arrays, choices, GRID)
    assert n_frames < len(notes) <= N_PITCHES * n_frames / 3  # cuts are three frames apart at least
    order = np.lexsort((notes.onset, notes.pitch))
    same = np.diff(notes.pitch[order]) == 0
    assert (notes.offset[order][:-1] <= notes.onset[order][1:])[same].all()
    assert (notes.offset > notes.onset).all()
    assert ((notes.confidence >= 0) & (notes.confidence <= 1)).all()


def test_memory_does_not_grow_with_held_notes_or_silence():
    decoder = NoteDecoder(DecodeSettings(), GRID)
    held, silent = np.full((N_PITCHES, 256), 0.9, np.float32), np.zeros((N_PITCHES, 256), np.float32)

    def retained(n_blocks: int) -> int:
        for _ in range(n_blocks):
            decoder.push(silent, held, silent)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    few = retained(5)
    many = retained(100)
    tracemalloc.stop()
    assert many - few < 2_000
    assert len(decoder.finish()) == N_PITCHES
