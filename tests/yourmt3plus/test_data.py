from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from common.corpus import SIZES, CorpusError, plan
from common.datasets import preset
from common.datasets.files import DatasetError
from common.mixing import AS_THEY_ARE, Mixing
from common.notes import Notes
from common.render import default_soundfont
from common.sampling import WeightedSources
from common.stems import kinds
from tests.common import layouts, yourmt3_layouts
from tests.yourmt3plus.labels import on_grid
from yourmt3plus.augment import PitchShift
from yourmt3plus.data import Segments, YourMT3Data, collate
from yourmt3plus.decode import decode
from yourmt3plus.items import Shape
from yourmt3plus.programs import MULTI, SINGLE, written
from yourmt3plus.sources import Hidden, Source, sources
from yourmt3plus.tokenizer import PAD, TICKS_PER_SECOND

SHAPE = Shape(22_050, 22_050, 100, MULTI)  # the rate of the tiny corpus
NO_SHIFT = PitchShift(most=0)


def segments(pieces: list[Source], shape: Shape = SHAPE, **settings) -> Segments:
    defaults: dict[str, Any] = {
        "mixing": Mixing(), "shift": PitchShift(), "augment": 0.5, "size": 8, "seed": 3, "max_tokens": 1024,
    }  # fmt: skip
    return Segments(WeightedSources([pieces], [1.0]), shape, **(defaults | settings))


@pytest.fixture(scope="module")
def pieces(tiny_corpus) -> list[Source]:
    return sources(tiny_corpus.pieces("train"))


def test_items_depend_on_seed_epoch_and_index_alone(pieces):
    dataset = segments(pieces)
    again = [segments(pieces)[0, i] for i in (2, 1, 0)][::-1]
    for i in range(3):
        for column, same in zip(dataset[0, i], again[i], strict=True):
            assert np.array_equal(column, same)
    assert not np.array_equal(dataset[0, 0].audio, dataset[1, 0].audio)
    assert not np.array_equal(dataset[0, 0].audio, segments(pieces, seed=4)[0, 0].audio)


def test_tokens_say_what_just_the_stems_of_the_mix_play(pieces):
    dataset = segments(pieces, shift=NO_SHIFT, augment=0.0)
    n_notes = 0
    for index in range(40):
        mixture, _, _ = dataset.mixture((0, index))
        item = dataset[0, index]
        assert np.allclose(item.audio[0], mixture.mixture(), atol=1e-6)
        found, _ = decode(item.tokens, SHAPE.n_ticks)
        expected = on_grid(mixture.uncut_notes, SHAPE.n_ticks)
        assert on_grid(found, SHAPE.n_ticks) == expected
        n_notes += len(expected)
    assert n_notes > 200


def test_a_segment_ties_what_began_before_it(pieces):
    dataset = segments(pieces, mixing=AS_THEY_ARE, shift=NO_SHIFT, augment=0.0)
    n_tied = 0
    for index in range(20):
        mixture, _, _ = dataset.mixture((0, index))
        notes = mixture.uncut_notes
        ticks = np.floor(notes.intervals * TICKS_PER_SECOND + 0.5)
        sounding = notes[(ticks[:, 0] < 0) & (ticks[:, 1] >= 0) & ~notes.is_drum & (MULTI.of(notes) >= 0)]
        program, pitch = written(sounding)
        item = dataset[0, index]
        n_ties = (np.cumsum(item.tokens == 339, axis=2) == 0) & (item.tokens >= 209) & (item.tokens < 337)
        assert n_ties.sum() == len(set(zip(program.tolist(), pitch.tolist(), strict=True)))
        n_tied += int(n_ties.sum())
    assert n_tied > 10


def test_shifted_segments_are_the_same_music_in_another_key(pieces):
    shifted = segments(pieces, mixing=AS_THEY_ARE, augment=0.0)
    for index in range(12):
        mixture, semitones, _ = shifted.mixture((0, index))
        found, _ = decode(shifted[0, index].tokens, SHAPE.n_ticks)
        played = mixture.uncut_notes
        pitched = played[(played.onset >= 0) & ~played.is_drum & (MULTI.of(played) >= 0)]
        in_time = pitched[pitched.onset / 2 ** (semitones / 12) < 0.99]
        heard = set(written(found.tuned())[1].tolist())
        assert {int(p) + semitones for p in in_time.pitch} <= heard
        assert shifted[0, index].audio.shape == (1, SHAPE.n_samples)


def test_a_batch_has_all_rows_and_none_of_what_is_unknown(pieces):
    hidden = [replace(source, hidden=frozenset(range(8))) for source in pieces]
    items = [segments(hidden)[0, i] for i in range(8)]
    batch = collate(items)
    assert batch["audio"].shape == (8, SHAPE.n_samples)
    assert batch["audio"].dtype == torch.float32
    assert batch["tokens"].shape[:2] == batch["annotated"].shape == (8, 13)
    assert not batch["annotated"][:, 0].all()
    assert batch["annotated"][:, 1:].all()
    flat = batch["tokens"].flatten(0, 1)
    rows = torch.cat([bucket.row for bucket in batch["rows"]])
    assert sorted(rows.tolist()) == torch.nonzero(batch["annotated"].flatten())[:, 0].tolist()
    for bucket in batch["rows"]:
        width = bucket.tokens.shape[1]
        assert torch.equal(flat[bucket.row, :width], bucket.tokens)
        assert (flat[bucket.row, width:] == PAD).all()
    assert batch["task"].tolist() == [0] * 8
    assert batch["excerpt"].tolist() == list(range(8))


def test_without_masking_what_is_unknown_counts_as_silence(pieces):
    hidden = [replace(source, hidden=frozenset(range(8))) for source in pieces]
    masked, unmasked = (collate([segments(hidden, masking=m)[0, i] for i in range(8)]) for m in (True, False))
    assert torch.equal(masked["audio"], unmasked["audio"])
    assert torch.equal(masked["tokens"], unmasked["tokens"])
    assert not masked["annotated"].all()
    assert unmasked["annotated"].all()


def test_a_single_row_holds_everything(pieces):
    shape = replace(SHAPE, channels=SINGLE)
    multi, single = (segments(pieces, s, shift=NO_SHIFT)[0, 1] for s in (SHAPE, shape))
    assert single.tokens.shape[1] == single.annotated.shape[1] == 1
    assert np.array_equal(multi.audio, single.audio)
    (written_by_many, _), (written_by_one, _) = (decode(item.tokens, SHAPE.n_ticks) for item in (multi, single))
    in_channels = written_by_one[MULTI.of(written_by_one) >= 0]
    assert in_channels.replace(track=0).sort() == written_by_many.replace(track=0).sort()


def test_silence_is_drawn_anew_but_not_for_ever(pieces):
    class Turns:
        def __init__(self, *turns):
            self.turns = iter(turns)

        def draw(self, rng):
            return 0, next(self.turns)

    class Silent(Source):
        def multitrack(self):
            band = super().multitrack()
            return replace(band, stems=tuple(replace(stem, notes=Notes.empty()) for stem in band.stems))

    silent = Silent(pieces[0].piece)
    dataset = segments(pieces)
    for turns, has_notes in ([silent] * 4 + [pieces[0]], True), ([silent] * 5, False):
        dataset.drawn_from = Turns(*turns)  # pyright: ignore[reportAttributeAccessIssue]
        assert bool(len(dataset.excerpt(np.random.default_rng(0), 4 * 22_050).notes)) == has_notes


class Net:
    """What the data asks of a network."""

    sample_rate, n_samples, n_ticks, channels = SHAPE.sample_rate, SHAPE.n_samples, SHAPE.n_ticks, MULTI
    n_tasks = 0


class Trainer:
    class lightning_module:
        net = Net


def module(tiny_corpus, **settings) -> YourMT3Data:
    data = YourMT3Data(corpora={str(tiny_corpus.folder): 1.0}, batch_size=2, epoch_size=6, **settings)
    data.trainer = Trainer()  # pyright: ignore[reportAttributeAccessIssue]
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_module_hands_out_what_the_network_reads(tiny_corpus):
    data = module(tiny_corpus, validation_seconds=2.0, validation_size=1)
    batches = list(data.train_dataloader())
    assert [len(batch["audio"]) for batch in batches] == [2, 2, 2]
    (validation,) = data.val_dataloader()
    assert validation["audio"].shape == (2, SHAPE.n_samples)
    assert validation["excerpt"].tolist() == [0, 0]
    assert [batch["excerpt"].unique().tolist() for batch in data.test_dataloader()] == [[0], [1], [2]]


def test_loader_processes_hand_out_the_same(tiny_corpus):
    alone, helped = (list(module(tiny_corpus, num_workers=n).train_dataloader()) for n in (0, 2))
    for batch, same in zip(alone, helped, strict=True):
        assert torch.equal(batch["audio"], same["audio"])
        assert torch.equal(batch["tokens"], same["tokens"])
        for bucket, twin in zip(batch["rows"], same["rows"], strict=True):
            assert torch.equal(bucket.row, twin.row)
            assert torch.equal(bucket.tokens, twin.tokens)


def test_pieces_are_in_one_split_alone(tiny_corpus):
    data = module(tiny_corpus, hidden=Hidden(("Drums",), 1.0))
    trained = {source.piece.id for pieces in data.datasets["train"].drawn_from.data_sets for source in pieces}
    judged = [{source.piece.id for source in data.datasets[split].pieces} for split in ("validation", "test")]
    assert not trained & judged[0]
    assert not trained & judged[1]
    assert not judged[0] & judged[1]
    assert not any(source.hidden for split in ("validation", "test") for source in data.datasets[split].pieces)


def test_corpora_that_are_mixed_share_no_piece_between_splits():
    recipes = [recipe for size in ("full", "band") for recipe in plan(size, 16_000, [default_soundfont()])]
    for column in ("seed", "work"):
        splits = [
            {
                getattr(recipe, column)
                for recipe in recipes
                if recipe.split == split and (recipe.work or column == "seed")
            }
            for split in ("train", "validation", "test")
        ]
        assert not splits[0] & splits[1]
        assert not splits[0] & splits[2]
        assert not splits[1] & splits[2]
    assert {recipe.style for recipe in recipes} == {"", SIZES["band"].style}


def test_a_corpus_of_another_rate_is_refused(tiny_corpus):
    data = YourMT3Data(corpora={str(tiny_corpus.folder): 1.0})
    with pytest.raises(CorpusError, match="holds 22050 Hz; the network wants 16000 Hz"):
        data.open(16_000)


def test_nothing_of_the_augmentation_is_in_a_checkpoint(tiny_corpus):
    data = module(tiny_corpus)
    collate([data.datasets["train"][0, 0]])
    assert data.state_dict() == {}
    assert not any(isinstance(value, (torch.nn.Module, torch.Tensor)) for value in vars(data).values())


def test_kinds_of_the_mixer_are_those_that_are_written(pieces):
    """Programs that are written alike never come from two sources, or two notes would be one."""
    dataset = segments(pieces, mixing=replace(AS_THEY_ARE, tau=0.0, max_sources=3), shift=NO_SHIFT)
    for index in range(20):
        mixture, _, _ = dataset.mixture((0, index))
        owners: dict[tuple, set] = {}
        for stem in mixture.stems:
            for kind in set(zip(kinds(stem.notes).tolist(), written(stem.notes)[0].tolist(), strict=True)):
                owners.setdefault((kind[0] == 128, kind[1]), set()).add(stem.start)
        assert all(len(starts) == 1 for starts in owners.values())


def test_a_preset_of_public_data_sets_is_trained_on_with_what_it_leaves_unknown(tmp_path):
    layouts.slakh(tmp_path / "slakh")
    yourmt3_layouts.mir_st500(tmp_path / "songs")
    rows = [
        {"dataset": "slakh", "root": "slakh", "weight": 1.0, "train": "train", "validation": "validation"},
        {"dataset": "mir-st500-mixture", "root": "songs", "weight": 3.0, "train": "train"},
    ]
    table = tmp_path / "table.yaml"
    table.write_text(yaml.safe_dump(rows))
    shape = Shape(layouts.RATE, layouts.RATE, 100, MULTI)
    data = YourMT3Data(preset=str(table), root=str(tmp_path), mixing=AS_THEY_ARE, shift=NO_SHIFT, augment=0.0)
    with pytest.raises(DatasetError, match="slakh is not decoded yet; run python -m"):
        data.train_set(shape)
    preset.decode(preset.load(table), layouts.RATE, tmp_path, progress=False)
    known = [collate([data.train_set(shape)[0, index]])["annotated"][0].tolist() for index in range(60)]
    songs = [name == "Singing" for name in MULTI.names]
    assert known.count(songs) + known.count([True] * len(MULTI)) == 60
    assert 35 <= known.count(songs) <= 55
    assert len(data.evaluation_set("validation", shape)) == 1
