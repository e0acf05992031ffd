"""From audio to notes without tokens: segments -> maps -> notes."""

from collections.abc import Iterable

import numpy as np
import torch

from common.notes import Notes
from yourmt3plus.decode import Repairs
from yourmt3plus.instruments import Chosen
from yourmt3plus.listener import Listener
from yourmt3plus.loaded import Loaded
from yourmt3plus.programs import with_tracks
from yourmt3plus.reading import Reader, Reading, Thresholds


class MapModel(Loaded):
    """A trained `Listener`, ready to tell notes.

    Args:
        net: in evaluation mode, on its device; it is the model's from now on.
        name: of the weights.
        precision: see `Loaded`.
        thresholds: that came with the weights.

    Raises:
        ValueError: see `Loaded`; or segments that are not whole frames.
    """

    def __init__(
        self,
        net: Listener,
        name: str = "",
        precision: str | None = None,
        thresholds: Thresholds | None = None,
    ):
        # Convolutions of few channels are a fifth faster in this layout.
        super().__init__(net.to(memory_format=torch.channels_last), name, precision)  # pyright: ignore[reportCallIssue]
        if self.hop_length != net.n_samples or net.n_samples % net.front_end.grid.hop_length:
            raise ValueError(f"segments of {net.n_samples} samples do not hold whole frames and ticks")
        self.reader = Reader(net.channels, net.keys.start, net.frames_per_tick, thresholds or Thresholds())

    @torch.inference_mode()
    def maps(self, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of onsets and of sounding keys, float32 (segment, channel, frame, key) each.

        Args:
            audio: segments (segment, time) at its sample rate.
        """
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            maps = self.net.maps(torch.from_numpy(audio).to(self.device))
        onset, sounding = (part.float().sigmoid().cpu().numpy() for part in maps)
        return onset, sounding


class MapTranscription:
    """The notes of one recording, whose segments come some at a time; how many at a time changes nothing.

    Args:
        model: that hears them.
        instruments: names, see `Chosen.of`; of each the whole channel is kept. None for all that there are.

    Raises:
        ValueError: no such instrument.
    """

    rewritten = 0  # rows of a second pass, of which there is none
    repairs = Repairs()

    def __init__(self, model: MapModel, instruments: str | Iterable[str] | None = None):
        self.model = model
        self.wanted = None if instruments is None else Chosen.of(instruments).channels(model.channels)
        self.n_segments = 0
        self._reading = Reading(model.reader)

    def push(self, audio: np.ndarray) -> None:
        """Take the next segments, (segment, time)."""
        self._reading.push(*self.model.maps(audio))
        self.n_segments += len(audio)

    def finish(self, seconds: float = np.inf) -> Notes:
        """The notes in order of onset, a `track` for each program; those that begin after `seconds` are left out."""
        notes = self._reading.finish().crop(0.0, seconds)
        if self.wanted is not None:
            notes = notes[self.wanted[self.model.channels.of(notes)]]
        return with_tracks(notes)
