import re

import numpy as np

from benchmarks import demo_yourmt3
from common import audio as sound
from common.composer import compose
from common.instruments import TRAIN_PROGRAMS
from common.midi import read_midi
from common.notes import Notes
from common.render import heard
from tests.yourmt3plus.rigged import random_network
from yourmt3plus.inference import Model
from yourmt3plus.programs import MULTI

SEED, SECONDS = 2_000_003, 6.0


def model() -> Model:
    return Model(random_network(), "random", max_tokens=16)


def test_the_section_shows_what_a_network_hears(tmp_path, capsys):
    section = demo_yourmt3.section(tmp_path, SEED, SECONDS, model())
    assert len(re.findall("<img", section.html)) == 2
    assert len(re.findall("<audio", section.html)) == 2
    n_heard = int(re.search(r"what was heard: (\d+) notes", section.html)[1])  # pyright: ignore[reportOptionalSubscript]
    notes = read_midi(tmp_path / "all-instruments.mid")
    assert 0 < len(notes.tuned()) <= n_heard  # overlaps are one note in a MIDI file
    assert "onset F 0." in capsys.readouterr().out
    for name in ("all-instruments.mp3", "all-instruments-transcribed.mp3"):
        assert abs(sound.info(tmp_path / name).duration - SECONDS) < 0.2


def test_who_writes_down_what_was_played_scores_one(tmp_path, monkeypatch, capsys):
    score = compose(SEED, "band", SECONDS, TRAIN_PROGRAMS)
    truth = demo_yourmt3.of_classes(heard(score.notes))
    assert truth.is_drum.any()
    assert (MULTI.of(truth) >= 0).all()  # or somebody could never write it
    for row in range(len(MULTI) - 1):
        assert set(truth.program[MULTI.of(truth) == row]) <= set(MULTI.programs(row).tolist())
    parts = np.unique(truth.program + 128 * truth.is_drum, return_inverse=True)[1]
    monkeypatch.setattr(demo_yourmt3.inference, "transcribe", lambda *_, **__: truth.replace(track=parts))
    demo_yourmt3.section(tmp_path, SEED, SECONDS, model())
    assert "onset F 1.00, multi-F 1.00, drum F 1.00" in capsys.readouterr().out


def test_nothing_heard_is_a_picture_too(tmp_path):
    assert len(demo_yourmt3.pictures(Notes.empty(), Notes.empty(), SECONDS)) == 2
    assert demo_yourmt3.sounds(np.zeros(1000, np.float32), Notes.empty(), SECONDS, tmp_path)
