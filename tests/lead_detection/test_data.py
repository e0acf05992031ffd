from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common import audio as sound
from common.corpus import SIZES, plan
from common.frames import FrameGrid
from common.loading import make_budget_loader
from common.render import default_soundfont
from lead_detection.annotations import LEAD
from lead_detection.clips import Augmentation
from lead_detection.data import LeadData, RandomClips, Shape, Windows, collate, window_starts
from lead_detection.prepare import prepare
from lead_detection.songs import IGNORE, embedded_songs, rasterise
from lead_detection.sources import Source
from lead_detection.synthetic import SyntheticSettings, synthetic_songs
from tests.lead_detection.orchestra import RATE, Orchestra, shares

GRIDS = {"25 Hz": FrameGrid(24_000, 960), "75 Hz": FrameGrid(24_000, 320)}
SHAPE = Shape(FrameGrid(RATE, 320), 50, 50 * 320)  # two seconds
AUGMENT = Augmentation(merge_p=0.3, null_p=0.3, bleed_p=0.0)


class Net(torch.nn.Module):
    """All that the data wants of a network."""

    def __init__(self, grid: FrameGrid, extra: int = 0):
        super().__init__()
        self.grid = grid
        self.extra = extra

    def n_samples(self, n_frames: int) -> int:
        return n_frames * self.grid.hop_length + self.extra


def attached(data: LeadData, net: Net) -> LeadData:
    """The data as in a training run of a network."""
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(net=net))  # pyright: ignore[reportAttributeAccessIssue]
    data.prepare_data()
    data.setup("fit")
    return data


def equal(a, b) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def clips(songs=None, **settings) -> RandomClips:
    return RandomClips(songs or [Orchestra(id=str(i)) for i in range(3)], SHAPE, AUGMENT, **settings)


def test_items_depend_on_seed_epoch_and_index_alone():
    data = clips()
    again = [clips()[0, i] for i in (2, 1, 0)][::-1]
    assert all(equal(data[0, i], again[i]) for i in range(3))
    others = (data[1, 0], data[0, 1], clips(seed=1)[0, 0])
    assert not any(a["mixture"].tobytes() == data[0, 0]["mixture"].tobytes() for a in others)


def test_what_an_item_costs_is_what_it_holds():
    data = clips()
    for i in range(30):
        assert data.cost((4, i)) == len(data[4, i]["audio"]) + 1


@pytest.mark.parametrize("name", GRIDS)
def test_labels_are_those_of_the_frames_centres(lead_corpus, name):
    grid = GRIDS[name]
    (song, *_) = embedded_songs(lead_corpus, "train")
    whole = Windows([song], Shape(grid, int(8 * grid.rate), 8 * 24_000), hop=8.0)[0, 0]
    assert len(whole["lead"]) == 8 * grid.rate
    for frame, label in enumerate(whole["lead"]):
        time = (frame + 0.5) / float(grid.rate)
        leader = next((1 + track for start, end, track in song.lead if start <= time < end), 0)
        assert label == leader
    # A window that starts somewhere else sees the same.
    second = Windows([song], Shape(grid, int(2 * grid.rate), 2 * 24_000), hop=1.0)[0, 3]
    start = int(3 * grid.rate)
    assert second["lead"].tolist() == whole["lead"][start : start + int(2 * grid.rate)].tolist()
    assert np.array_equal(second["mixture"], whole["mixture"][72_000:120_000])


def test_a_label_names_the_track_that_holds_the_leading_stem():
    song = Orchestra()
    dry = song.multitrack()
    data = RandomClips([song], SHAPE, replace(AUGMENT, instrument_dropout=0.0, effects_p=0.0), norm="none")
    leads, nulls = 0, 0
    for index in range(60):
        clip, item = data.clip((0, index), data.generator((0, index))), data[0, index]
        start = clip.first / RATE
        truth = rasterise(song.lead, start + (np.arange(50) + 0.5) * 0.04)
        made_of = np.array([shares(track, dry.crop(start, 2.0).audio) for track in item["audio"]]).round(2)
        for label in np.unique(truth[truth > 0]):
            (found,) = np.unique(item["lead"][truth == label])
            holders = np.flatnonzero(made_of[:, label - 1])
            assert [found] == ((holders + 1).tolist() or [0])
            leads, nulls = leads + (found > 0), nulls + (found == 0)
        assert (item["lead"][truth == 0] == 0).all()
        for row, instrument in zip(made_of, item["instrument"], strict=True):
            held = np.flatnonzero(row)
            assert instrument == (10 + held[0] if len(held) == 1 else 0)
    assert leads > 20
    assert nulls > 3


def test_clips_lie_in_what_is_annotated():
    song = Orchestra(annotated=((1.0, 3.5), (4.0, 5.0)), lead=((1.0, 3.0, 0), (4.0, 5.0, 2)))
    data = clips([song])
    starts = [data.clip((0, i), data.generator((0, i))).first / RATE for i in range(200)]
    assert all(1.0 <= start <= 1.5 or start == 4.0 for start in starts)
    assert np.mean([start == 4.0 for start in starts]) == pytest.approx(1.0 / 3.5, abs=0.1)
    short = next(i for i, start in enumerate(starts) if start == 4.0)
    assert (data[0, short]["lead"] == IGNORE).tolist() == [False] * 25 + [True] * 25


def test_songs_are_drawn_by_their_length():
    long, short = Orchestra(id="long"), Orchestra(id="short", annotated=((0.0, 2.0),))
    data = clips([long, short])
    drawn = Counter(data.clip((0, i), data.generator((0, i))).song.id for i in range(400))
    assert drawn["long"] == pytest.approx(300, abs=35)


@pytest.mark.parametrize(
    ("stretch", "hop", "tail", "expected"),
    [
        ((0, 100), 10, True, [*range(0, 100, 10)]),
        ((0, 105), 10, True, [*range(0, 110, 10)]),
        ((0, 105), 10, False, [*range(0, 100, 10)]),
        ((0, 20), 5, False, [0, 5, 10]),
        ((3, 22), 5, True, [3, 8, 13]),
        ((3, 9), 5, True, [3]),
        ((3, 9), 5, False, []),
        ((0, 60), 60, True, [0]),
        ((0, 60), 30, True, [0, 30]),
    ],
)
def test_windows_cover_a_stretch(stretch, hop, tail, expected):
    assert window_starts(*stretch, 10, hop, tail) == expected


def test_windows_hold_all_stems_as_they_are():
    song = Orchestra(n_stems=7, annotated=((0.0, 5.0),))
    data = Windows([song, Orchestra(id="other")], SHAPE, hop=2.0, norm="none")
    assert [first for _, first in data.windows] == [0, 16_000, 32_000, 0, 16_000, 32_000]
    item = data[0, 2]
    assert item["audio"] == pytest.approx(song.multitrack().crop(4.0, 2.0).audio, abs=1e-6)
    assert item["instrument"].tolist() == list(range(10, 17))
    assert item["lead"].tolist() == [1] * 25 + [IGNORE] * 25
    assert data.cost((0, 2)) == 8
    unknown = Windows([song], SHAPE, hop=2.0, instruments=False)
    assert unknown[0, 0]["instrument"].tolist() == [0] * 7


def test_a_batch_is_its_clips_one_after_the_other_and_nothing_else():
    items = [clips()[0, i] for i in range(5)]
    batch = collate(items)
    counts = [len(item["audio"]) for item in items]
    assert len(set(counts)) > 1
    assert batch["audio"].shape == (sum(counts), 16_000)
    assert torch.bincount(batch["clip"]).tolist() == counts
    assert batch["clip"].tolist() == sorted(batch["clip"].tolist())
    for i, item in enumerate(items):
        rows = batch["clip"] == i
        assert np.array_equal(batch["audio"][rows].numpy(), item["audio"])
        assert np.array_equal(batch["instrument"][rows].numpy(), item["instrument"])
        assert np.array_equal(batch["mixture"][i].numpy(), item["mixture"])
        assert np.array_equal(batch["lead"][i].numpy(), item["lead"])
        assert item["lead"].max() <= counts[i]
    assert {tensor.dtype for tensor in (batch["audio"], batch["mixture"])} == {torch.float32}
    assert {tensor.dtype for tensor in (batch["clip"], batch["instrument"], batch["lead"])} == {torch.int64}


def test_no_batch_exceeds_the_budget_but_a_clip_that_does_so_alone():
    songs = [Orchestra(n_stems=n, id=str(n)) for n in (3, 27, 5, 2, 8, 4, 4)]
    loader = make_budget_loader(Windows(songs, SHAPE, hop=6.0), collate, budget=12, n_batches=None)
    sizes = [torch.bincount(batch["clip"]).tolist() for batch in loader]
    assert len(sizes) == len(loader)
    assert [n for size in sizes for n in size] == [3, 27, 5, 2, 8, 4, 4]
    assert sizes == [[3], [27], [5, 2], [8], [4, 4]]
    training = make_budget_loader(clips(songs), collate, budget=12, n_batches=40)
    sizes = [torch.bincount(batch["clip"]).tolist() for batch in training]
    assert len(sizes) == len(training) == 40
    assert all(sum(size) + len(size) <= 12 for size in sizes)
    assert np.mean([sum(size) + len(size) for size in sizes]) > 8


@pytest.mark.parametrize("name", GRIDS)
def test_the_corpus_as_clips_on_the_clock_of_a_network(lead_corpus, name):
    root = str(lead_corpus.folder.parents[1])
    data = LeadData(corpus="lead-tiny", root=root, window=2.0, hop=1.0, budget=20, epoch_batches=3)
    attached(data, Net(GRIDS[name], extra=80))
    n_frames = int(2 * GRIDS[name].rate)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert len(batches) == len(loader)
        for batch in batches:
            assert batch["audio"].shape[1] == batch["mixture"].shape[1] == 48_080
            assert batch["lead"].shape[1] == n_frames
            assert batch["audio"].isfinite().all()
            assert len(batch["audio"]) + len(batch["mixture"]) <= 20
    assert [len(data.datasets[split]) for split in ("validation", "test")] == [2 * 9, 3 * 9]


def test_no_song_or_composition_is_in_two_splits(lead_corpus):
    splits = [set(), set(), set()]
    settings = SyntheticSettings(n_train=30, n_validation=20, n_test=20)
    for found, split in zip(splits, ("train", "validation", "test"), strict=True):
        songs = [*embedded_songs(lead_corpus, split), *synthetic_songs(settings, split, RATE)]
        assert {song.split for song in songs} == {split}
        found.update(song.id for song in songs)
        found.update(song.piece.title for song in embedded_songs(lead_corpus, split))
    assert sum(map(len, splits)) == len(set.union(*splits))
    recipes = plan("lead", 24_000, [default_soundfont()])
    assert Counter(recipe.split for recipe in recipes) == SIZES["lead"].composed
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    assert {recipe.style for recipe in recipes} == {"ensemble"}


def test_sources_are_combined():
    settings = SyntheticSettings(n_train=5, n_validation=2, n_test=3)
    data = LeadData(corpus=None, synthetic=settings, window=1.0)
    assert [len(data.songs(split, RATE)) for split in ("train", "validation", "test")] == [5, 2, 3]
    with pytest.raises(ValueError, match="no song in this split"):
        attached(LeadData(corpus=None), Net(FrameGrid(RATE, 320)))


def test_prepared_data_sets_are_read_beside_others(tmp_path):
    path = tmp_path / "stem.wav"
    sound.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 24_000), 24_000)
    leads = np.array([(200, 600, 1)], LEAD)
    songs = [
        Source(split, split, ("a", "b"), ("vocal", "drum"), (path, path), path, leads)
        for split in ("train", "validation", "test")
    ]
    cache = tmp_path / "cache"
    prepare(songs, cache, progress=False)
    settings = SyntheticSettings(n_train=2, n_validation=1, n_test=1, seconds=1.0)
    data = attached(LeadData(None, cache=[str(cache)], synthetic=settings, window=0.4), Net(GRIDS["25 Hz"]))
    assert [song.id for song in data.datasets["validation"].songs][:1] == ["validation"]
    assert len(data.datasets["train"].songs) == 3
    with pytest.raises(ValueError, match="holds 24000 Hz; the network wants 8000 Hz"):
        attached(LeadData(None, cache=[str(cache)]), Net(FrameGrid(RATE, 320)))
