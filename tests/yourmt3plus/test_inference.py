import numpy as np
import pytest
import torch

from common import audio as sound
from common.notes import Notes
from tests.yourmt3plus.rigged import HOP, RATE, SMALL, random_network, weights
from tests.yourmt3plus.slow import random_piece
from yourmt3plus.generate import Rows, fast
from yourmt3plus.graphs import GraphPool
from yourmt3plus.inference import Model, Transcription, listen, load, segments, transcribe
from yourmt3plus.programs import MULTI
from yourmt3plus.tokenizer import EOS, PAD, TIE, encode_piece, token

N_TICKS = 102


@pytest.fixture(scope="module")
def model() -> Model:
    """Random weights hear notes everywhere."""
    return Model(random_network(), "random", max_tokens=32)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)


class Rigged:
    """A model that writes the rows (segment, channel, token) it is given; forced to begin otherwise, `forced` is asked.

    The audio of a segment is its number, and so is its memory.
    """

    sample_rate, n_ticks, hop_length, channels, max_tokens = RATE, N_TICKS, HOP, MULTI, 32

    def __init__(self, rows: np.ndarray, forced=None):
        room = self.max_tokens - rows.shape[2]
        self.rows = np.pad(rows, [(0, 0), (0, 0), (0, max(room, 0))])
        self.forced = forced
        self.sizes = []

    def hear(self, audio: np.ndarray) -> torch.Tensor:
        self.sizes.append(len(audio))
        return torch.from_numpy(audio[:, 0].astype(int))[:, None].expand(-1, len(MULTI))

    def silent(self, memory: torch.Tensor) -> np.ndarray:
        return np.zeros(memory.shape, bool)

    def write(self, memory, wanted, prologue=None, plainly=False) -> np.ndarray:
        tokens = self.rows[memory[:, 0].numpy()].copy()
        if prologue is not None:
            for segment, channel in np.argwhere(wanted):
                begin = prologue[segment, channel]
                row = self.forced(int(memory[segment, 0]), int(channel), begin[begin != PAD].tolist())
                tokens[segment, channel] = np.pad(row, (0, tokens.shape[2] - len(row)))
        tokens[~wanted] = PAD
        tokens[~wanted, :2] = (TIE, EOS)
        return tokens


def numbered(n_segments: int) -> np.ndarray:
    return np.repeat(np.arange(n_segments, dtype=np.float32)[:, None], 10, axis=1)


def row(*events: str) -> np.ndarray:
    """Ids of "pitch 60", "tie" ..., and EOS."""
    words = [event.split() for event in events]
    return np.array([token(name, int(value[0]) if value else 0) for name, *value in words] + [EOS])


def rows(n_segments: int, given: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    tokens = np.full((n_segments, len(MULTI), 16), PAD)
    tokens[:, :, :2] = (TIE, EOS)
    for place, ids in given.items():
        tokens[place] = np.pad(ids, (0, 16 - len(ids)))
    return tokens


@pytest.mark.parametrize("size", [1, 3, 8])
def test_notes_across_any_number_of_segments_come_back(size):
    piece = random_piece(3, n_notes=40, n_ticks=900)
    tokens = encode_piece(piece, MULTI, N_TICKS).tokens
    rigged = Rigged(tokens)
    rigged.max_tokens = tokens.shape[2]
    transcription = Transcription(rigged)
    for some in np.split(numbered(len(tokens)), range(size, len(tokens), size)):
        transcription.push(some)
    assert transcription.finish() == piece
    assert transcription.rewritten == 0


PIANO, GUITAR, STRINGS = 0, 3, 5
LEAK = {
    (0, PIANO): row("tie", "shift 80", "program 0", "velocity 1", "pitch 60"),  # left open
    (1, PIANO): row("tie"),
    (1, GUITAR): row("program 24", "pitch 60", "tie", "shift 50", "velocity 0", "pitch 60"),  # hops to the guitar
    (1, STRINGS): row("tie", "shift 10", "program 40", "velocity 1", "pitch 70", "shift 20", "velocity 0", "pitch 70"),
}


def obeying(segment: int, channel: int, begin: list[int]) -> np.ndarray:
    """What a network goes on with: it ends at tick 50 the notes that it is told are open, and hears nothing else."""
    open_notes = [i for i in begin if 209 <= i < 337]
    if not open_notes:
        return np.array([*begin, EOS])
    return np.array([*begin, token("shift", 50), token("velocity", 0), *open_notes, EOS])


@pytest.mark.parametrize("size", [1, 2])
def test_a_note_that_hops_to_another_instrument_is_brought_back(size):
    """The leak of MT3: the same note goes on in another channel; written again, it stays where it began."""
    rigged = Rigged(rows(2, LEAK), obeying)
    notes = {}
    for two_pass in (False, True):
        transcription = Transcription(rigged, two_pass=two_pass)
        for some in np.split(numbered(2), range(size, 2, size)):
            transcription.push(some)
        notes[two_pass] = transcription.finish()
    found = {
        key: sorted(zip(n.program.tolist(), n.onset.tolist(), n.offset.tolist(), strict=True))
        for key, n in notes.items()
    }
    violin = (40, pytest.approx(1.12), pytest.approx(1.22))
    assert found[False] == [
        (0, 0.8, pytest.approx(1.02)),
        violin,
    ]  # cut at the edge, and what is tied to nothing is lost
    assert found[True] == [(0, 0.8, pytest.approx(1.52)), violin]
    assert transcription.rewritten == 2
    assert transcription.repairs.untied_notes == transcription.repairs.unstarted_ties == 0


def test_what_is_tied_at_the_very_start_is_written_again():
    rigged = Rigged(rows(1, {(0, GUITAR): LEAK[1, GUITAR]}), obeying)
    transcription = Transcription(rigged)
    transcription.push(numbered(1))
    assert len(transcription.finish()) == 0
    assert transcription.rewritten == 1


def test_what_begins_after_the_end_is_left_out():
    ring = row("tie", "shift 20", "program 0", "velocity 1", "pitch 60", "shift 90", "pitch 62")
    transcription = Transcription(Rigged(rows(1, {(0, PIANO): ring})))
    transcription.push(numbered(1))
    notes = transcription.finish(0.5)
    assert (notes.onset.tolist(), notes.offset.tolist()) == ([0.2], [0.5])


def test_both_paths_and_all_sizes_of_batches_give_the_same(model):
    audio = noise(6.5)
    notes = transcribe(audio, RATE, model=model)
    assert len(notes) > 50
    assert len(set(notes.program.tolist())) > 3
    for options in ({"simple": True}, {"batch_size": 1}, {"batch_size": 3}, {"batch_size": 100}):
        assert transcribe(audio, RATE, model=model, **options) == notes, options
    assert transcribe(audio, RATE, model=model, two_pass=False) != notes


def test_array_tensor_and_file_give_the_same_notes(model, tmp_path):
    audio = noise(2.5)
    sound.write(tmp_path / "noise.wav", audio, RATE, subtype="FLOAT")
    notes = transcribe(tmp_path / "noise.wav", model=model)
    assert notes == transcribe(audio, RATE, model=model)
    assert notes == transcribe(torch.from_numpy(audio), RATE, model=model)
    assert notes == transcribe(np.stack([audio, audio]), RATE, model=model)
    assert isinstance(notes, Notes)


def test_segments_follow_one_another_on_the_clock_of_the_tokens(model):
    audio = np.arange(2.5 * HOP, dtype=np.float32)
    found = list(segments(model, np.array_split(audio, 7)))
    assert len(found) == 3
    for index, segment in enumerate(found):
        cut = audio[index * HOP :][: model.net.n_samples]
        assert np.array_equal(segment, np.pad(cut, (0, model.net.n_samples - len(cut))))


def test_memory_does_not_grow_with_the_recording():
    rigged = Rigged(rows(1, {}))
    asked = 0

    def blocks():
        nonlocal asked
        for _ in range(600):
            asked += 1
            yield np.zeros(RATE, np.float32)
            # Never are more than a batch and what is on its way read ahead.
            assert asked - sum(rigged.sizes) * HOP / RATE < 8 * HOP / RATE + 3

    rigged.net, rigged.device = type("Net", (), {"n_samples": 16_384}), torch.device("cpu")
    notes = listen(Transcription(rigged), blocks())
    assert len(notes) == 0
    assert max(rigged.sizes) == 8
    assert sum(rigged.sizes) == -(-600 * RATE // HOP)


def test_only_the_wanted_instruments_are_decoded_and_kept(model, monkeypatch):
    audio = noise(4.0)
    everything = transcribe(audio, RATE, model=model, two_pass=False)
    decoded = []
    write = Model.write

    def counted(self, memory, wanted, *args, **options):
        decoded.append(np.flatnonzero(wanted.any(axis=0)).tolist())
        return write(self, memory, wanted, *args, **options)

    monkeypatch.setattr(Model, "write", counted)
    notes = transcribe(audio, RATE, model=model, instruments="synth pad, drums", two_pass=False)
    assert decoded == [[10, 12]]
    kept = everything[everything.is_drum | (everything.program == 88)]
    assert notes == kept.replace(track=notes.track)
    assert set(notes.track.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="no instrument 'kazoo'"):
        transcribe(audio, RATE, model=model, instruments="kazoo")


def test_the_gate_spares_rows(monkeypatch):
    model = Model(random_network(gate=True), max_tokens=32, silence=0.5)
    memory = model.hear(np.stack([noise(1.024)]))
    silent = model.silent(memory)
    assert 0 < silent.sum() < silent.size
    tokens = model.write(memory, ~silent)
    assert (tokens[silent][:, :3] == [TIE, EOS, PAD]).all()
    everything = model.write(memory, np.ones_like(silent))
    assert np.array_equal(everything[~silent], tokens[~silent])


def test_the_slots_of_a_gpu_write_the_same(model, monkeypatch):
    notes = transcribe(noise(4.0), RATE, model=model)
    monkeypatch.setattr(model, "steps", GraphPool(model.decoder, model.max_tokens).load)
    assert transcribe(noise(4.0), RATE, model=model) == notes


def test_progress_is_told_in_seconds(model):
    told = []
    transcribe(noise(5.0), RATE, model=model, batch_size=2, progress=told.append)
    assert len(told) == 3
    assert sum(told) == pytest.approx(5.0)
    assert min(told) > 0


def test_ctrl_c_goes_through(model):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcribe(noise(5.0), RATE, model=model, batch_size=2, progress=stop)


@pytest.mark.parametrize("n_samples", [1, 100, HOP, HOP + 1])
def test_the_shortest_recordings(n_samples, model):
    notes = transcribe(noise(2.0)[:n_samples], RATE, model=model)
    assert notes.end <= n_samples / RATE


def test_what_makes_no_sense_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="sample_rate="):
        transcribe(noise(1.0), model=model)
    with pytest.raises(ValueError, match="no precision 'float8'"):
        Model(random_network(), precision="float8")
    front_end = {"class_path": "Spectrum", "init_args": {"sample_rate": 22_050, "n_fft": 512, "n_bins": 128}}
    halves = random_network(front_end=front_end, n_samples=22_800)
    with pytest.raises(ValueError, match="103 ticks are not whole samples"):
        Model(halves)
    with pytest.raises(ValueError, match=r"large: no such model; the shipped ones: .*; or give --model a"):
        load("large")


def test_bfloat16_hears_about_the_same(tmp_path):
    path = weights(tmp_path / "random.safetensors")
    memories = [load(path, precision=name).hear(np.stack([noise(1.024)])).float() for name in ("float32", "bfloat16")]
    assert (memories[0] - memories[1]).abs().max() < 0.1 * memories[0].abs().max()
    assert len(transcribe(noise(2.0), RATE, model=path, precision="bfloat16"))


def test_a_single_row_is_asked_for_everything():
    changes = {
        "n_channels": 1,
        "decoder": {**SMALL["decoder"], "init_args": {**SMALL["decoder"]["init_args"], "n_tasks": 3}},
    }
    model = Model(random_network(eos=0.0, **changes), max_tokens=40)
    memory, wanted = model.hear(np.stack([noise(1.024)])), np.ones((1, 1), bool)
    tokens = model.write(memory, wanted)
    assert np.array_equal(tokens, model.write(memory, wanted, plainly=True))
    assert (tokens != PAD).sum() > 10
    asked = Rows.of(memory, torch.tensor([1]))
    assert not np.array_equal(tokens[0], fast(model.decoder, asked, 40, model.grammar).numpy())
    assert Model(random_network(**changes)).max_tokens == 1024
