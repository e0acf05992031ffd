from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.notes import Notes
from common.stems import DRUMS, Multitrack, Stem, all_but, kinds_of

RATE = 1000


def stem(i: int, seconds: float = 4.0, dtype=np.float32) -> Stem:
    """A stem that can be told from all others by its samples, notes, program and lead."""
    samples = (
        np.random.default_rng(i).uniform(-1, 1, int(seconds * RATE)) * (1 if dtype == np.float32 else 30000)
    ).astype(dtype)
    notes = Notes.build([0.5, 1.5 + i / 10], [1.25, 3.5], [40 + i, 50 + i], program=i, track=77)
    lead = ((i / 4, i / 4 + 0.5),)
    return Stem(samples, i, False, f"player {i}", notes, lead, 1.0 if dtype == np.float32 else 1 / 32767)


@pytest.fixture
def band() -> Multitrack:
    return Multitrack(tuple(stem(i) for i in range(5)), RATE)


def test_mixture_is_the_sum_of_the_stems_to_the_bit(band):
    expected = np.zeros(4000, np.float32)
    for row in band.audio:
        expected += row
    assert np.array_equal(band.mixture(), expected)
    assert band.mixture().dtype == np.float32
    assert (band.n_samples, band.seconds) == (4000, 4.0)


@given(st.lists(st.integers(0, 4), max_size=8), st.randoms(use_true_random=False))
def test_one_selection_drives_everything(indices, random):
    band = Multitrack(tuple(stem(i) for i in range(5)), RATE)
    gains = [random.uniform(-20, 6) for _ in indices]
    chosen = band.select(indices, gains)
    assert [s.program for s in chosen.stems] == indices
    assert [s.name for s in chosen.stems] == [f"player {i}" for i in indices]
    for row, i, db in zip(chosen.audio, indices, gains, strict=True):
        assert np.allclose(row, band.stems[i].samples * 10 ** (db / 20), atol=1e-6)
    assert len(chosen.notes) == 2 * len(indices)
    for note in chosen.notes.table:
        assert note["program"] == indices[note["track"]]
    assert chosen.lead == tuple(sorted((i / 4, i / 4 + 0.5, track) for track, i in enumerate(indices)))


def test_selection_by_mask_equals_selection_by_index(band):
    mask = np.array([True, False, True, True, False])
    for chosen in (band.select(mask), band.select([0, 2, 3]), band.drop(1, 4)):
        assert [s.program for s in chosen.stems] == [0, 2, 3]
        assert np.array_equal(chosen.mixture(), band.select(np.flatnonzero(mask)).mixture())


def test_gains_add_up_and_need_one_entry_per_stem(band):
    twice = band.gain([6.0] * 5).gain([-6.0] * 5)
    assert np.allclose(twice.audio, band.audio, rtol=1e-6)
    with pytest.raises(ValueError, match="shorter"):
        band.select([0, 1], [3.0])
    with pytest.raises(IndexError):
        band.select([5])


def test_crop_moves_sound_notes_and_lead_together(band):
    part = band.crop(1.0, 2.0)
    assert np.array_equal(part.audio, band.audio[:, 1000:3000])
    for i in range(5):
        own = part.notes[part.notes.track == i]
        assert own.onset.tolist() == pytest.approx([0.0, 0.5 + i / 10])
        assert own.offset.tolist() == pytest.approx([0.25, 2.0])
    assert part.lead == ((0.0, 0.25, 3), (0.0, 0.5, 4))
    again = part.crop(0.25, 1.0)
    assert np.array_equal(again.audio, band.audio[:, 1250:2250])
    assert again.notes == band.crop(1.25, 1.0).notes
    assert again.lead == ((0.0, 0.25, 4),)


@pytest.mark.parametrize(("start", "seconds"), [(-1.0, 2.0), (3.0, 2.0), (-1.0, 6.0), (-3.0, 1.0), (9.0, 0.5)])
def test_crop_beyond_the_ends_is_silent(band, start, seconds):
    padded = np.pad(band.audio, ((0, 0), (3000, 6000)))
    part = band.crop(start, seconds)
    first = int(start * RATE) + 3000
    assert np.array_equal(part.audio, padded[:, first : first + int(seconds * RATE)])
    assert part.notes.onset.min(initial=0.0) >= 0.0
    assert part.notes.end <= seconds


def test_crop_onset_stays_with_its_sample():
    samples = np.zeros(4000, np.float32)
    samples[1234] = 1.0
    band = Multitrack((Stem(samples, 0, False, "click", Notes.build([1.234], [1.5], [60])),), RATE)
    for start in (0.3337, 0.5, 1.2336, -0.5004):
        part = band.crop(start, 2.0)
        assert np.argmax(part.mixture()) == pytest.approx(part.notes.onset[0] * RATE, abs=1e-6)


def test_integer_stems_are_scaled_and_only_the_excerpt_is_read(tmp_path):
    np.save(tmp_path / "piece.npy", np.stack([stem(i, dtype=np.int16).samples for i in range(3)]))
    mapped = np.load(tmp_path / "piece.npy", mmap_mode="r")
    band = Multitrack(tuple(Stem(row, 0, False, "", Notes.empty(), scale=1 / 32767) for row in mapped), RATE)
    part = band.select([2, 0], [0.0, -6.0]).crop(1.0, 0.5)
    for s, row in zip(part.stems, (2, 0), strict=True):
        assert s.samples.dtype == np.int16
        assert np.shares_memory(s.samples, mapped)
        assert np.array_equal(s.samples, mapped[row, 1000:1500])
    expected = mapped[2, 1000:1500] / 32767 + mapped[0, 1000:1500] / 32767 * 10 ** (-6 / 20)
    assert np.allclose(part.mixture(), expected, atol=1e-6)
    assert part.mixture().dtype == np.float32


def test_bleed_mixes_the_microphones_and_keeps_who_plays(band):
    matrix = np.eye(5) + 0.1 * np.random.default_rng(0).random((5, 5))
    heard = band.bleed(matrix)
    assert np.allclose(heard.audio, matrix @ band.audio, atol=1e-5)
    assert heard.notes == band.notes
    assert np.allclose(heard.mixture(), heard.audio.sum(0), atol=1e-5)


def test_pseudo_mix_is_all_stems_of_the_shortest_length(band):
    other = Multitrack((stem(7, 2.5), stem(8, 2.5)), RATE)
    mix = Multitrack.pseudo_mix([band, other])
    assert [s.program for s in mix.stems] == [0, 1, 2, 3, 4, 7, 8]
    assert mix.seconds == 2.5
    assert mix.notes.end == 2.5
    assert np.allclose(mix.mixture(), band.mixture()[:2500] + other.mixture(), atol=1e-5)
    with pytest.raises(ValueError, match="sample rate"):
        Multitrack.pseudo_mix([band, Multitrack(other.stems, 2 * RATE)])


def test_stems_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        Multitrack((stem(0), stem(1, 3.0)), RATE)


def test_a_multitrack_without_stems():
    nothing = Multitrack((stem(0),), RATE).drop(0)
    assert nothing.audio.shape == (0, 0)
    assert nothing.mixture().shape == (0,)
    assert len(nothing.notes) == 0
    assert nothing.crop(0.0, 1.0).seconds == 0.0


def test_kinds_are_told_by_channels():
    assert kinds_of(["Singing", "Drums"]) == {100, 101, DRUMS}
    assert all_but("Drums") == set(range(128))
    assert all_but("Bass") | kinds_of(["Bass"]) == set(range(129))


def test_uncut_notes_are_as_long_as_they_are_and_those_of_an_excerpt_are_cut(band):
    excerpt = band.crop(1.0, 1.0)
    assert set(zip(excerpt.uncut_notes.track.tolist(), excerpt.uncut_notes.onset.round(6), strict=True)) == {
        (i, onset) for i in range(5) for onset in (-0.5, round(0.5 + i / 10, 6))
    }
    assert excerpt.notes == excerpt.uncut_notes.crop(0.0, 1.0).sort()


def test_a_stem_tells_what_kinds_it_plays_and_what_it_may_play():
    plain, silent = stem(3), replace(stem(4), notes=Notes.empty())
    mixed = replace(stem(0), notes=Notes.build([0, 1, 2], [1, 2, 3], 60, program=[0, 40, 0], is_drum=[0, 0, 1]))
    unheard = replace(stem(0), notes=Notes.empty(), unknown=frozenset({7, DRUMS}))
    assert [s.kinds for s in (plain, silent, mixed, unheard)] == [{3}, {4}, {0, 40, DRUMS}, set()]
    assert replace(silent, is_drum=True).kinds == {DRUMS}
    assert Multitrack((plain, unheard), RATE).unknown == {7, DRUMS}
    assert Multitrack((plain, unheard), RATE).crop(0.0, 1.0).select([0]).unknown == frozenset()
