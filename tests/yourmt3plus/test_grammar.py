"""The automaton against a regular expression and plain loops, which know nothing of it."""

import re

import numpy as np
import pytest
import torch

from tests.yourmt3plus import slow
from yourmt3plus.decode import Repairs, decode
from yourmt3plus.grammar import Grammar, GrammarState
from yourmt3plus.programs import MULTI, SINGLE, Channels
from yourmt3plus.tokenizer import EOS, N_TOKENS, PAD, TIE, encode_piece, event, token

N_TICKS = 204
LETTERS = {"EOS": "e", "UNK": "?", "shift": "s", "pitch": "p", "velocity": "v", "tie": "t", "program": "g", "drum": "d"}
ROW = re.compile(r"(gp+)*t(s?g?v?[pd])*e")


def assert_legal(row: list[int], channels: Channels, channel: int) -> None:
    """A whole row, up to EOS and with nothing but PAD after it."""
    end = row.index(EOS)
    assert not any(row[end + 1 :])
    events = [event(number) for number in row[: end + 1]]
    letters = "".join(LETTERS[name] for name, _ in events)
    assert ROW.fullmatch(letters), letters
    program, velocity, tick = None, None, 0
    for name, value in events[: letters.index("t")]:
        program = value if name == "program" else program
    for name, value in events[letters.index("t") :]:
        if name == "program":
            program = value
        elif name == "velocity":
            velocity = value
        elif name == "shift":
            assert tick < value < N_TICKS
            tick = value
        elif name == "pitch":
            assert program is not None
            assert velocity is not None
        elif name == "drum":
            assert velocity == 1
    used = {name for name, _ in events}
    programs = {value for name, value in events if name == "program"}
    assert programs <= set(channels.programs(channel).tolist())
    assert "drum" not in used or channel == channels.drums
    assert "pitch" not in used or len(channels.programs(channel))


def babble(channels: Channels, n_rows: int, max_tokens: int, seed: int, end: float = 0.0):
    """Rows of a network that knows nothing and has strong opinions, and the channel of each."""
    generator = torch.Generator().manual_seed(seed)
    grammar = Grammar(channels, N_TICKS)
    channel = torch.arange(n_rows) % len(channels)
    state = grammar.start(channel)
    rows = []
    bias = torch.zeros(N_TOKENS)
    bias[EOS] = end
    for place in range(max_tokens):
        logits = 3 * torch.randn(n_rows, N_TOKENS, generator=generator) + bias
        allowed = grammar.allowed(state, room=max_tokens - place)
        assert allowed.any(dim=1).all()
        chosen = logits.masked_fill(~allowed, -torch.inf).argmax(dim=1)
        state = grammar.advance(state, chosen)
        rows.append(chosen)
    return torch.stack(rows, dim=1), channel


@pytest.mark.parametrize("channels", [MULTI, SINGLE], ids=["multi", "single"])
@pytest.mark.parametrize(("max_tokens", "end"), [(2, 0.0), (3, 0.0), (7, 0.0), (48, -99.0), (48, 4.0)])
def test_a_thousand_rows_of_noise_are_legal_whole_and_decodable(channels, max_tokens, end):
    rows, channel = babble(channels, 1001, max_tokens, seed=max_tokens, end=end)
    for row, owner in zip(rows.tolist(), channel.tolist(), strict=True):
        assert_legal(row, channels, owner)
    tokens = rows.numpy().reshape(-1, len(channels), max_tokens)
    _, repairs = decode(tokens, N_TICKS)
    wrong = (repairs.unended_rows, repairs.untied_rows, repairs.stray_tokens, repairs.late_events)
    assert wrong == (0, 0, 0, 0)


@pytest.mark.parametrize("channels", [MULTI, SINGLE], ids=["multi", "single"])
@pytest.mark.parametrize("max_tokens", [10, 30, 2000])
def test_what_is_written_may_be_written(channels, max_tokens):
    grammar = Grammar(channels, N_TICKS)
    for seed in range(5):
        tokens = torch.from_numpy(encode_piece(slow.random_piece(seed), channels, N_TICKS, max_tokens).tokens)
        rows = tokens.reshape(-1, tokens.shape[-1])
        state = grammar.start(torch.arange(len(rows)) % len(channels))
        for place in range(rows.shape[1]):
            allowed = grammar.allowed(state, room=max_tokens - place)
            assert allowed.gather(1, rows[:, place : place + 1]).all()
            state = grammar.advance(state, rows[:, place])


def allowed_after(channels: Channels, channel: int, words: str, room: int | None = None) -> set[str]:
    """Names of what may follow, with values for velocities."""
    grammar = Grammar(channels, N_TICKS)
    state = grammar.start(torch.tensor([channel]))
    for word in filter(None, words.split(", ")):
        name, *value = word.split()
        state = grammar.advance(state, torch.tensor([token(name, *map(int, value))]))
    allowed = grammar.allowed(state) if room is None else grammar.allowed(state, room)
    events = [event(number) for number in allowed[0].nonzero().ravel().tolist()]
    return {f"{name} {value}" if name == "velocity" else name for name, value in events}


BOTH = {"velocity 0", "velocity 1"}
NEXT = {  # channel 0, then the drums, then the single decoder
    (0, ""): {"program", "tie"},
    (0, "program 0"): {"pitch"},
    (0, "program 0, pitch 60"): {"program", "pitch", "tie"},
    (0, "tie"): {"program", "shift", "EOS"},
    (0, "program 0, pitch 60, tie"): {"program", "shift", "EOS", *BOTH},
    (0, "tie, shift 9"): {"program"},
    (0, "tie, shift 9, program 0"): BOTH,
    (0, "tie, shift 9, program 0, velocity 1"): {"pitch"},
    (0, "tie, shift 9, program 0, velocity 1, pitch 60"): {"shift", "program", "pitch", "EOS", *BOTH},
    (0, "tie, shift 9, program 0, velocity 1, pitch 60, shift 10"): {"program", "pitch", *BOTH},
    (0, "tie, EOS"): {"PAD"},
    (0, "tie, EOS, PAD"): {"PAD"},
    (12, ""): {"tie"},
    (12, "tie"): {"shift", "velocity 1", "EOS"},
    (12, "tie, velocity 1"): {"drum"},
    (12, "tie, velocity 1, drum 36"): {"shift", "velocity 1", "drum", "EOS"},
    (None, "tie"): {"shift", "program", "velocity 1", "EOS"},
    (None, "tie, velocity 1"): {"drum"},
    (None, "tie, velocity 1, drum 36, program 0"): {"pitch", "drum", *BOTH},
}


@pytest.mark.parametrize(("channel", "words"), NEXT)
def test_what_may_come_next(channel, words):
    channels = SINGLE if channel is None else MULTI
    assert allowed_after(channels, channel or 0, words) == NEXT[channel, words]


def test_shifts_grow_and_stay_in_the_segment():
    grammar = Grammar(SINGLE, N_TICKS)
    state = grammar.start(torch.tensor([0]))
    for word in (TIE, token("shift", 200), token("velocity", 1), token("drum", 36)):
        state = grammar.advance(state, torch.tensor([word]))
    allowed = grammar.allowed(state)[0].nonzero().ravel().tolist()
    assert [value for name, value in map(event, allowed) if name == "shift"] == [201, 202, 203]


def test_a_channel_may_say_its_own_programs_only():
    grammar = Grammar(MULTI, N_TICKS)
    allowed = grammar.allowed(grammar.start(torch.arange(13)))
    for channel, row in enumerate(allowed):
        events = [event(number) for number in row.nonzero().ravel().tolist()]
        assert [value for name, value in events if name == "program"] == MULTI.programs(channel).tolist()


@pytest.mark.parametrize(
    ("words", "room", "expected"),
    [
        ("", 2, {"tie"}),
        ("", 3, {"tie"}),
        ("", 4, {"tie", "program"}),
        ("program 0, pitch 60", 2, {"tie"}),
        ("tie", 1, {"EOS"}),
        ("tie", 4, {"EOS", "program"}),
        ("tie", 5, {"EOS", "program", "shift"}),
        ("tie, program 0, velocity 1, pitch 60", 2, {"EOS", "pitch"}),
        ("tie, program 0, velocity 1, pitch 60", 3, {"EOS", "pitch", "shift", "program", *BOTH}),
    ],
)
def test_nothing_is_begun_that_has_no_room_to_end(words, room, expected):
    assert allowed_after(MULTI, 0, words, room) == expected


def test_rows_can_be_left_out_on_the_way():
    rows, channel = babble(MULTI, 26, 20, seed=1)
    grammar = Grammar(MULTI, N_TICKS)
    state, few = grammar.start(channel), torch.tensor([3, 12, 25])
    fewer = None
    for place in range(20):
        state = grammar.advance(state, rows[:, place])
        fewer = state.select(few) if place == 9 else fewer and grammar.advance(fewer, rows[few, place])
    assert isinstance(fewer, GrammarState)
    assert torch.equal(grammar.allowed(fewer), grammar.allowed(state)[few])


def test_a_token_that_may_not_come_changes_nothing():
    grammar = Grammar(MULTI, N_TICKS)
    state = grammar.start(torch.arange(13))
    for illegal in (PAD, EOS, token("shift", 9), token("velocity", 1)):
        after = grammar.advance(state, torch.full((13,), illegal))
        assert torch.equal(after.place, state.place)
        assert torch.equal(after.shift, state.shift)


def test_no_value_is_asked_of_the_device():
    """Tensors without values stand for a GPU: whoever waits for a value fails."""
    grammar = Grammar(MULTI, N_TICKS, device="meta")
    state = grammar.start(torch.zeros(5, dtype=torch.int64, device="meta"))
    allowed = grammar.allowed(state, room=torch.ones(5, 1, dtype=torch.int64, device="meta"))
    state = grammar.advance(state, allowed.int().argmax(dim=1))
    assert allowed.shape == (5, N_TOKENS)
    assert state.place.shape == (5,)


def test_noise_without_the_grammar_is_repaired():
    """What the masks are for: the same noise without them is full of faults."""
    rows = np.random.default_rng(0).integers(0, N_TOKENS, (77, 13, 48))
    _, repairs = decode(rows, N_TICKS)
    assert repairs != Repairs()
    assert repairs.stray_tokens > 1000
