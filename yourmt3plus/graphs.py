"""Steps of a decoder as recordings on a GPU: a step is hundreds of small kernels, and launching them takes the time.

A recording is of fixed addresses and sizes. So rows live in slots of powers of two, and a step looks at as many places
as the next power of two has; both are kept from file to file.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from yourmt3plus.decoder import Cache, Decoder

SMALLEST_EXTENT = 32
WARM_UP = 3  # runs before a recording, in which libraries make what they need


class Slot:
    """Room for up to so many rows, and the recordings of its steps; a `generate.Steps`.

    Args:
        decoder: in evaluation mode and in the type that it is to run in: autocast is off here.
        cache: of all its rows, written in place from now on.
    """

    def __init__(self, decoder: Decoder, cache: Cache):
        self.decoder = decoder
        self.cache = cache
        device = cache.keys.device
        self.token = torch.zeros(cache.keys.shape[1], dtype=torch.int64, device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.recordings: dict[int, Callable[[], Tensor]] = {}  # by extent

    def __call__(self, token: Tensor, place: int) -> Tensor:
        self.token[: len(token)].copy_(token)
        self.place.fill_(place)
        extent = min(max(SMALLEST_EXTENT, power_of_two(place + 1)), self.cache.capacity)
        if extent not in self.recordings:
            self.recordings[extent] = self.record(extent)
        return self.recordings[extent]()[: len(token)]

    def step(self, extent: int) -> Tensor:
        with torch.autocast(self.place.device.type, enabled=False):
            return self.decoder.step(self.cache, self.token, self.place, extent, masked=True)

    def record(self, extent: int) -> Callable[[], Tensor]:
        """What runs a step with the token and place that there are by then; on a CPU nothing is recorded."""
        if self.place.device.type != "cuda":
            return lambda: self.step(extent)
        # The place is written again with the same values each time, so trying out changes nothing.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.step(extent)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self.step(extent)

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay


class GraphPool:
    """Slots of all sizes that have been asked for.

    Args:
        decoder: see `Slot`.
        max_tokens: of a row.
    """

    def __init__(self, decoder: Decoder, max_tokens: int = 256):
        self.decoder = decoder
        self.max_tokens = max_tokens
        self.slots: dict[tuple[int, int], Slot] = {}  # by rows and frames

    def load(self, cache: Cache) -> Slot:
        """Put rows into the smallest slot that holds them; what was in it is gone."""
        n_layers, n_rows, n_heads, n_frames, head_dim = cache.memory_keys.shape
        n_rows = power_of_two(n_rows)
        if (n_rows, n_frames) not in self.slots:

            def zeros(places: int) -> Tensor:
                return cache.keys.new_zeros(n_layers, n_rows, n_heads, places, head_dim)

            token_room, memory_room = (
                (zeros(self.max_tokens), zeros(self.max_tokens)),
                (zeros(n_frames), zeros(n_frames)),
            )
            room = Cache(*token_room, *memory_room, cache.now.new_zeros(1, n_rows))
            self.slots[n_rows, n_frames] = Slot(self.decoder, room)
        slot = self.slots[n_rows, n_frames]
        slot.cache.copy_(cache)
        return slot


def power_of_two(number: int) -> int:
    """The smallest that is not below."""
    return 1 << max(0, number - 1).bit_length()
