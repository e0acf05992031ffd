from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.stems import Stem
from lead_detection.clips import (
    Augmentation,
    Selection,
    affect,
    choose_stems,
    draw,
    drop_instruments,
    everything,
    excerpt,
    factors,
    remap,
    render,
    track_instruments,
)
from lead_detection.songs import IGNORE
from tests.lead_detection.orchestra import RATE, Orchestra, Unreadable, shares

PLAIN = Augmentation(
    permute=False,
    min_tracks=99,
    max_tracks=0,
    null_p=0.0,
    drop_p=0.0,
    merge_p=0.0,
    gain_db=0.0,
    bleed_p=0.0,
    polarity=False,
    effects_p=0.0,
    instrument_dropout=0.0,
)
WILD = Augmentation(merge_p=0.5, null_p=0.3, drop_p=0.3, bleed_p=0.0, effects_p=0.0)
FULL = 10 ** (-0.1 / 20)


def labels(rng: np.random.Generator, n_stems: int, n_frames: int = 30) -> np.ndarray:
    """Three stretches of one label each."""
    return np.repeat(rng.choice([IGNORE, *range(n_stems + 1)], 3), n_frames // 3)


def test_labels_of_tracks_by_hand():
    lead = np.array([0, 1, 2, 3, 3, IGNORE])
    assert remap(lead, np.array([1, -1, 0])).tolist() == [0, 2, 0, 1, 1, IGNORE]
    assert remap(lead, np.array([0, 1, 1])).tolist() == [0, 1, 2, 2, 2, IGNORE]


def test_permuted_tracks_keep_sound_instrument_and_label_together():
    rng, moves = np.random.default_rng(0), 0
    for _ in range(1000):
        n_stems = int(rng.integers(2, 9))
        lead = labels(rng, n_stems)
        selection = draw(lead, n_stems, replace(PLAIN, permute=True), rng)
        stems = rng.standard_normal((n_stems, 20)).astype(np.float32)
        tracks, instrument = selection.gains @ stems, track_instruments(range(10, 10 + n_stems), selection)
        moved = remap(lead, selection.owner)
        assert len(tracks) == n_stems
        for before, after in zip(lead[::10], moved[::10], strict=True):
            if before > 0:
                assert np.array_equal(tracks[after - 1], stems[before - 1])
                assert instrument[after - 1] == 10 + before - 1
                moves += before != after
            else:
                assert before == after
    assert moves > 1000


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_one_selection_drives_sound_instrument_and_label(seed, n_stems):
    """Whatever was dropped, merged, turned over and made louder: who leads is in the track that the label names."""
    rng = np.random.default_rng(seed)
    lead = labels(rng, n_stems)
    selection = draw(lead, n_stems, WILD, rng)
    moved, owner = remap(lead, selection.owner), selection.owner
    assert np.count_nonzero(selection.gains, axis=0).max() <= 1
    assert (np.count_nonzero(selection.gains, axis=1) >= 1).all()
    assert np.array_equal(np.unique(owner[owner >= 0]), np.arange(len(selection.gains)))
    instrument = track_instruments([7] * n_stems, selection)
    assert instrument.tolist() == [7] * len(selection.gains)
    for before, after in zip(lead, moved, strict=True):
        if before > 0 and owner[before - 1] >= 0:
            assert selection.gains[after - 1, before - 1] != 0
        else:
            assert after == min(before, 0)


def test_number_of_tracks_is_drawn_from_its_range_and_leads_are_kept():
    rng = np.random.default_rng(0)
    lead = np.repeat([3, 6], 10)
    augment = replace(PLAIN, min_tracks=2, max_tracks=5)
    chosen = [choose_stems(lead, 8, augment, rng) for _ in range(400)]
    counts = np.bincount([len(stems) for stems in chosen])
    assert counts.tolist()[:2] == [0, 0]
    assert counts[2:].min() > 70
    assert len(counts) == 6
    assert all({2, 5} <= set(stems.tolist()) for stems in chosen)
    others = np.bincount(np.concatenate(chosen), minlength=8)[[0, 1, 3, 4, 6, 7]]
    assert others.min() > 0.7 * others.max()


def test_more_leads_than_tracks_leave_those_that_lead_most():
    lead = np.repeat([1, 2, 3, 4], [1, 5, 2, 4])
    stems = choose_stems(lead, 5, replace(PLAIN, min_tracks=2, max_tracks=2), np.random.default_rng(0))
    assert stems.tolist() == [1, 3]


def test_null_leaves_leads_out_and_keeps_the_others():
    rng = np.random.default_rng(0)
    augment = replace(PLAIN, null_p=1.0, min_tracks=1)
    for _ in range(50):
        assert choose_stems(np.full(10, 2), 4, augment, rng).tolist() == [0, 2, 3]
        two = set(choose_stems(np.repeat([1, 2], 5), 4, augment, rng).tolist())
        assert {2, 3} <= two < {0, 1, 2, 3}
    assert choose_stems(np.full(10, 1), 1, augment, rng).tolist() == [0]


def test_dropping_stops_at_the_fewest_tracks():
    rng = np.random.default_rng(0)
    augment = replace(PLAIN, min_tracks=3, drop_p=1.0)
    assert {len(choose_stems(np.full(5, 1), 6, augment, rng)) for _ in range(100)} == {3}
    assert all(0 in choose_stems(np.full(5, 1), 6, augment, rng) for _ in range(100))


def test_merged_tracks_sound_as_both_and_lead_with_either():
    lead = np.repeat([1, 2, 3], 4)
    augment = replace(PLAIN, min_tracks=2, merge_p=1.0)
    seen = set()
    for seed in range(40):
        selection = draw(lead, 3, augment, np.random.default_rng(seed))
        assert selection.gains.sum(axis=0).tolist() == [1, 1, 1]
        assert len(selection.gains) == 2
        seen.add(tuple(selection.owner.tolist()))
        instruments = track_instruments([5, 6, 5], selection)
        for track, instrument in enumerate(instruments):
            held = [(5, 6, 5)[i] for i in np.flatnonzero(selection.owner == track)]
            assert instrument == (held[0] if len(set(held)) == 1 else 0)
    assert seen == {(0, 0, 1), (0, 1, 0), (0, 1, 1)}


def test_gain_polarity_and_bleed_are_in_their_ranges():
    rng = np.random.default_rng(0)
    augment = replace(PLAIN, gain_db=6.0, polarity=True, bleed_p=1.0, bleed_db=(-30.0, -20.0))
    selections = [draw(np.zeros(5, np.int64), 4, augment, rng) for _ in range(200)]
    gains = np.concatenate([np.diag(selection.gains) for selection in selections])
    assert 0.4 < np.mean(gains < 0) < 0.6
    assert np.all(np.abs(20 * np.log10(np.abs(gains))) <= 6.001)
    assert np.std(20 * np.log10(np.abs(gains))) > 3
    off = np.concatenate([selection.bleed[~np.eye(4, dtype=bool)] for selection in selections])
    assert off.min() >= 10 ** (-30 / 20) * 0.999
    assert off.max() <= 10 ** (-20 / 20) * 1.001
    assert all(np.diag(selection.bleed).tolist() == [1] * 4 for selection in selections)


def test_instruments_are_unknown_all_at_once_or_one_by_one():
    rng = np.random.default_rng(0)
    drawn = np.array([drop_instruments(np.array([3, 4, 5]), 0.3, rng) for _ in range(4000)])
    unknown = (drawn == 0).all(axis=1)
    assert np.mean(unknown) == pytest.approx(0.3 + 0.7 * 0.027, abs=0.03)
    assert np.mean(drawn[~unknown] == 0) == pytest.approx(0.28, abs=0.03)
    assert drop_instruments(np.array([3, 4]), 0.0, rng).tolist() == [3, 4]
    assert drop_instruments(np.array([3, 4]), 1.0, rng).tolist() == [0, 0]


def test_an_excerpt_is_silent_outside_of_the_song():
    samples = np.arange(1, 6, dtype=np.int16)
    assert excerpt(samples, -2, 4).tolist() == [0, 0, 1, 2]
    assert excerpt(samples, 3, 4).tolist() == [4, 5, 0, 0]
    assert excerpt(samples, -9, 4).tolist() == excerpt(samples, 9, 4).tolist() == [0] * 4


def test_tracks_are_the_stems_of_the_clip_and_add_up_to_the_mixture():
    song, rng = Orchestra(), np.random.default_rng(3)
    truth = song.multitrack().crop(1.5, 2.0).audio
    for seed in range(10):
        selection = draw(np.full(4, 2), 5, replace(WILD, bleed_p=0.0), np.random.default_rng(seed))
        tracks, mixture = render(song, int(1.5 * RATE), 2 * RATE, selection, rng, norm="none")
        for track, gains in zip(tracks, selection.gains, strict=True):
            assert shares(track, truth) == pytest.approx(gains, abs=1e-3)
        assert mixture == pytest.approx(tracks.sum(axis=0), abs=1e-6)


def test_bleed_is_in_tracks_and_mixture():
    song = Orchestra(n_stems=2)
    bleed = np.array([[1, 0.1], [0.2, 1]], np.float32)
    tracks, mixture = render(song, 0, RATE, Selection(everything(2).gains, bleed), np.random.default_rng(0), "none")
    dry = song.multitrack().crop(0, 1).audio
    assert tracks == pytest.approx(bleed @ dry, abs=1e-6)
    assert mixture == pytest.approx((bleed @ dry).sum(axis=0), abs=1e-6)


def test_levels_are_normalised_by_the_whole_song():
    song, rng = Orchestra(), np.random.default_rng(0)
    dry = song.multitrack().audio
    peaks = np.abs(dry).max(axis=1)
    part = slice(RATE, 2 * RATE)
    tracks, mixture = render(song, RATE, RATE, everything(5), rng, "song_peak")
    assert tracks == pytest.approx(dry[:, part] * FULL / peaks.max(), rel=1e-4, abs=1e-6)
    assert mixture == pytest.approx(dry.sum(axis=0)[part] * FULL / peaks.max(), rel=1e-3, abs=1e-5)
    tracks, mixture = render(song, RATE, RATE, everything(5), rng, "stem_peak")
    assert tracks == pytest.approx(dry[:, part] * FULL / peaks[:, None], rel=1e-4, abs=1e-6)
    assert mixture == pytest.approx(dry.sum(axis=0)[part] * FULL / np.abs(dry.sum(axis=0)).max(), rel=1e-3, abs=1e-5)


def test_a_drawn_gain_survives_the_norm():
    song = Orchestra()
    louder = Selection(2 * everything(5).gains, everything(5).bleed)
    for norm in ("song_peak", "stem_peak"):
        plain = render(song, 0, RATE, everything(5), np.random.default_rng(0), norm)[0]
        assert render(song, 0, RATE, louder, np.random.default_rng(0), norm)[0] == pytest.approx(2 * plain)


def test_silence_is_left_silent():
    by_track, by_mixture = factors(Quiet(n_stems=2), everything(2), "stem_peak", own=False)
    assert by_track.tolist() == [1, 1]
    assert by_mixture == 1


class Quiet(Orchestra):
    """All stems are silent."""

    @property
    def samples(self) -> np.ndarray:
        return np.zeros((self.n_stems, 6 * RATE), np.int16)


def own_mixture(value: int = 1000) -> Stem:
    return replace(Orchestra(1).multitrack().stems[0], samples=np.full(6 * RATE, value, np.int16), scale=1e-4)


def test_the_songs_own_mixture_is_taken_while_no_stem_is_left_out():
    song, rng = Orchestra(mixture=own_mixture()), np.random.default_rng(0)
    _, mixture = render(song, 0, RATE, everything(5), rng, "none", "human")
    assert mixture == pytest.approx(np.full(RATE, 0.1))
    fewer = Selection(everything(5).gains[:4], np.eye(4, dtype=np.float32))
    tracks, mixture = render(song, 0, RATE, fewer, rng, "none", "human")
    assert mixture == pytest.approx(tracks.sum(axis=0), abs=1e-6)


@pytest.mark.parametrize("norm", ["none", "song_peak", "stem_peak"])
def test_a_pseudo_mixture_never_reads_the_songs_own(norm):
    rng = np.random.default_rng(0)
    gone = Orchestra(mixture=Unreadable())  # pyright: ignore[reportArgumentType]
    with pytest.raises(FileNotFoundError, match="the mixture was opened"):
        render(gone, 0, RATE, everything(5), rng, norm, "human")
    tracks, mixture = render(gone, 0, RATE, everything(5), rng, norm, "pseudo_wave")
    alone_tracks, alone = render(Orchestra(), 0, RATE, everything(5), rng, norm, "human")
    assert np.array_equal(tracks, alone_tracks)
    assert np.array_equal(mixture, alone)


def test_effects_change_the_sound_and_not_the_level():
    rng = np.random.default_rng(0)
    audio = np.float32(0.1) * rng.standard_normal((6, RATE)).astype(np.float32)
    audio[5] = 0
    heard = affect(audio.copy(), RATE, 1.0, rng)
    assert np.sqrt(np.mean(heard[:5] ** 2, axis=1)) == pytest.approx(np.sqrt(np.mean(audio[:5] ** 2, axis=1)), rel=1e-3)
    assert all(np.corrcoef(heard[i], audio[i])[0, 1] < 0.999 for i in range(5))
    assert not heard[5].any()
    assert np.array_equal(affect(audio.copy(), RATE, 0.0, rng), audio)
