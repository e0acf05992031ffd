import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import effects, scenes
from common.instruments import HELD_OUT_PROGRAMS, IRMAS
from common.render import default_soundfont
from common.scenes import KINDS, LABELLED_WITHIN, SceneRecipe, cast, choose_starts, make_scene, mix, record

RATE = 16_000


def scene(**changes) -> SceneRecipe:
    recipe = SceneRecipe("train", "clip", 7, ("sax",), 3.0, 2, False, RATE, "digest", default_soundfont())
    return replace(recipe, **changes)


def loudness(stem: np.ndarray, whole: np.ndarray) -> float:
    """dB of the tenths of a second that are within 25 dB of the loudest of the whole, written out; -inf if none is."""

    def powers(audio: np.ndarray) -> list[float]:
        tenths = range(0, len(audio) - RATE // 10 + 1, RATE // 10)
        return [float(np.mean(audio[i : i + RATE // 10] ** 2)) for i in tenths]

    loud = [power for power in powers(stem) if power > max(powers(whole)) / 10**2.5]
    return 10 * np.log10(np.mean(loud)) if len(loud) > 1 else -np.inf


@pytest.mark.parametrize(("kind", "labels"), [("clip", ("org",)), ("excerpt", ("cla", "gel")), ("excerpt", ("voi",))])
def test_the_predominant_are_heard_above_all_others(kind, labels, monkeypatch):
    monkeypatch.setattr(effects, "random_chain", lambda audio, *_: audio)
    for seed in range(4):
        recipe, rng = scene(kind=kind, labels=labels, seed=seed, n_clips=1), np.random.default_rng(seed)
        take = record(recipe, rng)
        (start,) = take.starts
        first = start * RATE // 10
        heard = take.stems[:, first : first + 3 * RATE]
        mixture, levels = mix(rng, take, start, recipe)
        # The mixture is a sum of stems: its factors, by least squares, say how loud each is in it.
        factors = np.linalg.lstsq(heard.T, mixture, rcond=None)[0]
        played = heard * factors[:, None], take.stems * factors[:, None]
        measured = np.array([loudness(*pair) for pair in zip(*played, strict=True)])
        n_leads = len(labels)
        plays = np.isfinite(measured)
        assert plays[:n_leads].all()
        assert (measured - measured[:n_leads].max())[plays] == pytest.approx(np.array(levels)[plays], abs=0.05)
        assert max(levels[:n_leads]) == 0.0
        assert min(levels[:n_leads]) >= -LABELLED_WITHIN
        others = [
            min(levels[:n_leads]) - level
            for player, level in zip(take.players, levels, strict=True)
            if player.role not in ("lead", "drums")
        ]
        assert all(KINDS[kind].below[0] - 0.02 <= gap <= KINDS[kind].below[1] + 0.02 for gap in others)


def test_a_cast_has_its_labels_and_no_other_of_them():
    rng = np.random.default_rng(0)
    casts = [cast(rng, ("vio", "org"), unseen=False) for _ in range(300)]
    for players in casts:
        assert [player.label for player in players[:2]] == ["vio", "org"]
        assert not any(player.label in ("vio", "org") for player in players[2:])
        assert not any(player.program in HELD_OUT_PROGRAMS and not player.is_drum for player in players)
        assert sum(player.role == "bass" for player in players) <= 1
        assert 2 <= len(players) <= 6
    assert {players[1].program for players in casts} == {16, 17, 18, 19}
    assert 100 < sum(any(player.is_drum for player in players) for players in casts) < 200


def test_unseen_programs_where_the_class_has_any():
    rng = np.random.default_rng(0)
    for label, programs in IRMAS.items():
        held_out = set(programs) & set(HELD_OUT_PROGRAMS)
        drawn = {cast(rng, (label,), unseen=True)[0].program for _ in range(40)}
        assert drawn == held_out if held_out else drawn <= set(programs)


def test_voices_sing_or_are_choirs():
    rng = np.random.default_rng(0)
    sung = Counter(cast(rng, ("voi",), unseen=False)[0].sung for _ in range(200))
    assert 90 < sung[True] < 150
    assert not cast(rng, ("voi",), unseen=True)[0].sung


def test_clips_are_cut_where_everybody_is_heard_and_do_not_overlap():
    recipe = scene(clip_seconds=2.0, n_clips=2)  # slots of 3 s from 1.5 s on
    stems = np.zeros((2, round(recipe.seconds * RATE)), np.float32)
    stems[:, 2 * RATE :] = 1.0
    for seed in range(20):
        starts = choose_starts(np.random.default_rng(seed), stems, recipe)
        assert 15 <= starts[0] <= 25
        assert 45 <= starts[1] <= 55
    stems[1, 5 * RATE :] = 0.0
    assert choose_starts(np.random.default_rng(0), stems, recipe) == ()


def test_a_scene_is_the_same_to_the_bit_and_another_seed_is_another(tmp_path):
    recipe = scene()
    first = make_scene(recipe, tmp_path / "first")
    again = make_scene(recipe, tmp_path / "again")
    other = make_scene(scene(seed=8), tmp_path / "first")
    assert first.read_bytes() == again.read_bytes()
    audio = np.load(first.with_suffix(".npy"))
    assert np.array_equal(audio, np.load(again.with_suffix(".npy")))
    assert audio.dtype == np.int16
    assert audio.shape == (2, 3 * RATE)
    assert not np.array_equal(audio, np.load(other.with_suffix(".npy")))
    entry = json.loads(first.read_text())
    assert entry["labels"] == ["sax"]
    assert entry["drums"] == any(player["role"] == "drums" for player in entry["players"])
    assert scene(soundfont=Path("elsewhere.sf2")).id == recipe.id != scene(font_digest="other").id


def test_it_is_said_if_somebody_is_never_heard(monkeypatch):
    monkeypatch.setattr(scenes, "perform", lambda *_: np.zeros((4, 20 * RATE), np.float32))
    with pytest.raises(RuntimeError, match="no clip with all of sax"):
        record(scene(), np.random.default_rng(0))
