"""Which tokens may come next: the order of `tokenizer`'s rows as an automaton that many rows go through at once.

Before the tie come programs and pitches, after it groups of [shift] [program] [velocity] pitch|drum, and EOS between
two groups. A pitch needs a program and a velocity, a hit needs velocity 1, shifts grow. A channel writes its own
programs, drums or both. A row that has room for n more tokens may only begin what it can end in n.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from yourmt3plus.programs import WRITTEN_DRUM, Channels
from yourmt3plus.tokenizer import IDS, N_TOKENS, SHIFT, VALUES

# What an id is to the grammar.
KINDS = ("PAD", "EOS", "UNK", "shift", "pitch", "off", "on", "tie", "program", "drum")
GROUP = {"shift": 0, "program": 1, "off": 2, "on": 2, "pitch": 3, "drum": 3}  # places of tokens in a group
NEVER = 2**14  # more tokens than any row has


class Place(NamedTuple):
    """Where in a row one is: the kind of the last token, and what the row has set so far."""

    last: str = "start"
    in_ties: bool = True
    has_program: bool = False
    velocity: str = ""  # "on", "off", or none yet

    def after(self, kind: str) -> "Place | None":
        """Where a token of this kind leads; None if it may not come here."""
        if self == END:
            return END if kind == "PAD" else None
        place = self._replace(last=kind)
        if self.in_ties:
            may = {"program": self.last != "program", "pitch": self.has_program, "tie": self.last != "program"}
            place = place._replace(in_ties=kind != "tie")
        else:
            complete = self.last in ("tie", "pitch", "drum")
            in_order = complete or GROUP[self.last] < GROUP.get(kind, -1)
            may = dict.fromkeys(GROUP, in_order) | {"EOS": complete}
            may["pitch"] &= self.has_program and self.velocity != ""
            may["drum"] &= self.velocity == "on"
        if not may.get(kind, False):
            return None
        if kind == "EOS":
            return END
        if kind in ("on", "off"):
            return place._replace(velocity=kind)
        return place._replace(has_program=self.has_program or kind == "program")


END = Place("EOS", in_ties=False)


class GrammarState(NamedTuple):
    """Where each of many rows is; all tensors are (row,) int64."""

    channel: Tensor
    place: Tensor  # index into Grammar.places
    shift: Tensor  # last shift in ticks, 0 before the first

    def select(self, rows: Tensor) -> "GrammarState":
        """The rows of an index or mask, to go on with fewer."""
        return GrammarState(*(column[rows] for column in self))


class Grammar:
    """The tables of the automaton on one device. Nothing here asks the device for a value."""

    def __init__(self, channels: Channels, n_ticks: int, device: torch.device | str = "cpu"):
        """Build the tables.

        Args:
            channels: what each row writes.
            n_ticks: ticks of a segment; shifts stay below.
            device: where the rows are.
        """
        self.places = _places()
        kind = _kind_of_id()
        following = np.array([[_index(self.places, place.after(name)) for name in KINDS] for place in self.places])
        spoken = np.stack([_vocabulary(channels, channel, n_ticks) for channel in range(len(channels))])
        cost = np.stack([_cost(following[:, kind], ids, self.places.index(END)) for ids in spoken])
        stay = np.arange(len(following))[:, None]
        self._kind = torch.as_tensor(kind, device=device)
        self._next = torch.as_tensor(np.where(following < 0, stay, following), device=device)
        self._cost = torch.as_tensor(cost, device=device)
        # For a shift its ticks; for everything else more than any shift.
        self._ticks = torch.as_tensor(np.where(kind == KINDS.index("shift"), VALUES, NEVER), device=device)

    def start(self, channel: Tensor) -> GrammarState:
        """The state of empty rows.

        Args:
            channel: (row,) int64 channel of each.
        """
        zeros = torch.zeros_like(channel)
        return GrammarState(channel, zeros, zeros)

    def allowed(self, state: GrammarState, room: Tensor | int = NEVER - 1) -> Tensor:
        """(row, 596) bool, the ids that may come next; always at least one.

        Args:
            state: where the rows are.
            room: how many tokens still fit, EOS among them; a number, or (row, 1). At least 2 for an empty row.
        """
        grows = self._ticks > state.shift[:, None]
        return (self._cost[state.channel, state.place] <= room) & grows

    def advance(self, state: GrammarState, token: Tensor) -> GrammarState:
        """The state after one more token in each row, (row,) int64; a token that may not come changes nothing."""
        kind = self._kind[token]
        following = self._next[state.place, kind]
        moved = (kind == KINDS.index("shift")) & (following != state.place)
        return GrammarState(state.channel, following, torch.where(moved, token - SHIFT, state.shift))


def _places() -> tuple[Place, ...]:
    """All that can be reached, the start first."""
    places = [Place()]
    for place in places:  # grows as it goes
        found = (place.after(kind) for kind in KINDS)
        places += [new for new in dict.fromkeys(found) if new is not None and new not in places]
    return tuple(places)


def _index(places: tuple[Place, ...], place: Place | None) -> int:
    return -1 if place is None else places.index(place)


def _kind_of_id() -> np.ndarray:
    """(596,) int64 index into KINDS."""

    def names() -> Iterator[str]:
        for name, ids in IDS.items():
            yield from ("off", "on") if name == "velocity" else [name] * len(ids)

    return np.array([KINDS.index(name) for name in names()])


def _vocabulary(channels: Channels, channel: int, n_ticks: int) -> np.ndarray:
    """(596,) bool, the ids that a channel uses."""
    writes = {"program": channels.programs(channel), "shift": np.arange(1, n_ticks), "UNK": np.empty(0, int)}
    if channel == channels.drums:
        writes["drum"] = np.unique(WRITTEN_DRUM)
    else:
        writes["drum"] = np.empty(0, int)
    if not len(writes["program"]):
        writes["pitch"] = np.empty(0, int)
    used = np.ones(N_TOKENS, bool)
    for name, values in writes.items():
        used[IDS[name].start : IDS[name].stop] = np.isin(np.arange(len(IDS[name])), values)
    return used


def _cost(following: np.ndarray, used: np.ndarray, end: int) -> np.ndarray:
    """(place, id) int16: how many tokens the shortest row takes that goes on with this id, NEVER if none does.

    Args:
        following: (place, id) index of the place that an id leads to, -1 where it may not come.
        used: (id,) bool, the ids there are.
        end: the place of a row that has ended.
    """
    legal = (following >= 0) & used
    to_end = np.full(len(following), NEVER)
    to_end[end] = 0
    while True:
        cost = np.where(legal, np.minimum(1 + to_end[following], NEVER), NEVER)
        shorter = np.minimum(to_end, cost.min(axis=1))
        if (shorter == to_end).all():
            return cost.astype(np.int16)
        to_end = shorter
