from dataclasses import replace

import numpy as np
import pytest

from common.stems import Multitrack
from lead_detection.songs import Song, rasterise
from lead_detection.synthetic import SHORTEST, SyntheticSettings, SyntheticSong, synthetic_songs

RATE = 8000
PLAIN = SyntheticSettings(n_train=60, n_validation=10, n_test=10)


def songs(settings: SyntheticSettings, split: str = "train", rate: int = RATE) -> list[SyntheticSong]:
    return synthetic_songs(settings, split, rate)


def rms(track: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(track, dtype=np.float64))))


def labels(song: Song, rate: float = 100.0) -> np.ndarray:
    return rasterise(song.lead, (np.arange(int(song.seconds * rate)) + 0.5) / rate)


def liveliness(tracks: Multitrack, hop: int = RATE // 100) -> np.ndarray:
    """(track, block) how much the level moves within 0.3 s: melodies have decaying notes, held tones only tremble."""
    audio = tracks.audio[:, : tracks.n_samples // hop * hop].reshape(len(tracks.stems), -1, hop)
    level = np.log(np.maximum(np.sqrt(np.mean(audio**2, axis=2)), 1e-6))
    return np.stack([np.std(level[:, max(i - 15, 0) : i + 15], axis=1) for i in range(level.shape[1])], axis=1)


def test_a_song_is_the_same_each_time_and_no_two_are_alike():
    first, again = songs(PLAIN)[:5], songs(PLAIN)[:5]
    for a, b in zip(first, again, strict=True):
        assert a.lead == b.lead
        assert np.array_equal(a.multitrack().audio, b.multitrack().audio)
    sums = {float(np.abs(song.multitrack().mixture()).sum()) for song in first}
    assert len(sums) == 5


def test_splits_and_seeds_share_no_song():
    ids = [song.id for split in ("train", "validation", "test") for song in songs(PLAIN, split)]
    ids += [song.id for song in songs(replace(PLAIN, seed=1))]
    assert len(set(ids)) == len(ids) == 140
    other = songs(replace(PLAIN, seed=1))[0].layout.edges
    assert not np.array_equal(songs(PLAIN)[0].layout.edges, other)


def test_songs_have_the_shape_that_was_asked_for():
    for seconds, n_tracks in ((0.5, 1), (5.0, 4), (130.0, 2)):
        settings = replace(PLAIN, seconds=seconds, min_tracks=n_tracks, max_tracks=n_tracks)
        song = songs(settings)[0]
        assert song.multitrack().n_samples == round(seconds * RATE)
        assert len(song.instruments) == len(song.multitrack().stems) == n_tracks
        assert song.multitrack().lead == song.lead
        assert song.annotated == ((0.0, seconds),)
        ends = [0.0, *(end for _, end, _ in song.lead)]
        assert all(start >= end for (start, *_), end in zip(song.lead, ends, strict=False))
        assert all(end - start >= SHORTEST - 1e-9 for start, end, _ in song.lead)


def test_the_lead_is_what_moves():
    right, frames = 0, 0
    for song in songs(PLAIN)[:30]:
        label = labels(song)
        moving = liveliness(song.multitrack()).argmax(axis=0)
        right += np.count_nonzero(moving[label > 0] == label[label > 0] - 1)
        frames += np.count_nonzero(label > 0)
    assert right / frames > 0.9


def test_the_lead_may_always_be_the_first_stem():
    biased = [stem for song in songs(replace(PLAIN, first_p=1.0)) for *_, stem in song.lead]
    assert set(biased) == {0}
    fair = [stem for song in songs(replace(PLAIN, min_tracks=4, max_tracks=4)) for *_, stem in song.lead]
    assert np.bincount(fair).min() > 0.15 * len(fair)


def test_nobody_leads_as_often_as_asked():
    for null_p in (0.0, 0.4, 1.0):
        free = np.concatenate([labels(song) for song in songs(replace(PLAIN, null_p=null_p, seconds=30.0))]) == 0
        assert np.mean(free) == pytest.approx(null_p, abs=0.06)


def test_without_a_lead_all_play_or_the_drums_or_nobody():
    settings = replace(PLAIN, null_p=1.0, drums_p=1.0, min_tracks=3)
    kinds = set()
    for song in songs(settings):
        tracks = song.multitrack()
        drums = np.array([stem.is_drum for stem in tracks.stems])
        assert drums.sum() == 1
        for start, end in zip(song.layout.edges[:-1], song.layout.edges[1:], strict=True):
            sounds = np.array([rms(row) > 1e-4 for row in tracks.crop(start + 0.01, end - start - 0.02).audio])
            kinds.add((bool(sounds[drums].all()), bool(sounds[~drums].all()), bool(sounds[~drums].any())))
    assert kinds == {(True, True, True), (True, False, False), (False, False, False)}


def test_drums_and_silent_stems_never_lead():
    for song in songs(replace(PLAIN, drums_p=1.0, silent_p=0.4, min_tracks=3, max_tracks=6)):
        stems = song.multitrack().stems
        for *_, stem in song.lead:
            assert not stems[stem].is_drum
            assert stems[stem].audio.any()
    silent = songs(replace(PLAIN, silent_p=1.0))[0]
    assert silent.lead == ()
    assert not silent.multitrack().mixture().any()


def test_twins_differ_in_nothing_but_their_level():
    for song in songs(replace(PLAIN, twins_db=12.0, null_p=0.0, segment_seconds=5.0))[:20]:
        assert song.layout.twins
        louder, softer = song.layout.twins
        assert {stem for *_, stem in song.lead} == {louder}
        assert sum(end - start for start, end, _ in song.lead) == pytest.approx(song.seconds)
        loud, soft = (song.multitrack().stems[i].audio for i in (louder, softer))
        assert 20 * np.log10(np.abs(loud).max() / np.abs(soft).max()) == pytest.approx(12, abs=0.5)
        moving = liveliness(song.multitrack()).mean(axis=1)
        assert moving[softer] == pytest.approx(moving[louder], rel=0.3)
        assert moving[softer] > 2 * max(np.delete(moving, [louder, softer]), default=0.0)


def test_leads_are_louder_by_what_is_asked():
    for db in (0.0, 12.0):
        ratio = []
        for song in songs(replace(PLAIN, lead_db=db, null_p=0.0))[:30]:
            for start, end, stem in song.lead:
                whole, part = song.multitrack(), song.multitrack().crop(start, end - start)
                aside = [s for a, b, s in song.lead if s != stem for s in [whole.crop(a, b - a).stems[stem].audio]]
                if aside:
                    ratio.append(np.abs(part.stems[stem].audio).max() / max(np.abs(np.concatenate(aside)).max(), 1e-9))
        # A held tone has 0.7 and trembles by 15 %.
        assert 20 * np.log10(np.median(ratio)) == pytest.approx(db + 20 * np.log10(1 / 0.7 / 1.15), abs=1.0)


def test_bleed_is_heard_everywhere():
    dry = songs(replace(PLAIN, min_tracks=3, max_tracks=3))[0].multitrack().audio
    wet = songs(replace(PLAIN, min_tracks=3, max_tracks=3, bleed_db=-20.0))[0].multitrack().audio
    assert wet == pytest.approx(0.9 * dry + 0.1 * dry.sum(axis=0), abs=1e-6)


def test_tempo_is_a_knob():
    for note_seconds in (0.1, 0.3):
        settings = replace(PLAIN, note_seconds=note_seconds, min_tracks=1, max_tracks=1, null_p=0.0)
        for song in songs(settings)[:5]:
            blocks = song.multitrack().mixture().reshape(-1, RATE // 100)  # a note begins 4.5 times as loud as it ends
            level = np.sqrt(np.mean(blocks**2, axis=1))
            onsets = np.count_nonzero(level[2:] > 2 * level[:-2]) / 2
            assert song.seconds / onsets == pytest.approx(note_seconds, rel=0.35)


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="min_tracks <= max_tracks"):
        SyntheticSettings(min_tracks=3, max_tracks=2)
    with pytest.raises(ValueError, match="two tracks for twins"):
        SyntheticSettings(min_tracks=1, twins_db=6.0)
    with pytest.raises(ValueError, match=r"at least 0\.5 seconds"):
        SyntheticSettings(seconds=0.1)
