"""Notes read from maps by rule, without a decoder: onsets are peaks, and a note lasts as long as its key sounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.evaluation.notes import note_scores
from common.notes import NOTE, Notes
from yourmt3plus.decode import VELOCITY_HEARD
from yourmt3plus.programs import Channels, with_tracks
from yourmt3plus.tokenizer import TICKS_PER_SECOND

STEPS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)  # thresholds that are tried
HIT_SECONDS = 0.01  # how long a drum sounds in a table of notes
ONSET_WEIGHT = 3.0  # frames of sounding that an onset is worth where it is decided who plays


@dataclass(frozen=True)
class Thresholds:
    """Probabilities from which on an onset, a sounding key and a hit are believed."""

    onset: float = 0.3
    sounding: float = 0.3
    hit: float = 0.3


@dataclass(frozen=True, eq=False)
class Reader:
    """What it takes to read the maps of a network.

    Args:
        channels: who writes what; a note gets the first program of its channel.
        lowest: pitch of key 0.
        frames_per_tick: frames in 10 ms.
        thresholds: what is believed.
    """

    channels: Channels
    lowest: int
    frames_per_tick: float
    thresholds: Thresholds = Thresholds()

    def notes(self, onset: np.ndarray, sounding: np.ndarray) -> Notes:
        """Of all segments of an excerpt, (segment, channel, frame, key) probabilities each."""
        reading = Reading(self)
        reading.push(onset, sounding)
        return reading.finish()

    def chosen(self, maps: Sequence[tuple[np.ndarray, np.ndarray]], references: Sequence[Notes]) -> "Reader":
        """The same with the thresholds that are best on average over excerpts.

        That of onsets is chosen by the F1 of onsets, then that of what sounds by that with ends, and that of hits by
        the F1 of drums whose keys are pitches.
        """

        def best(reader: Reader, threshold: str, score: str, drums: bool) -> Reader:
            def mean(step: float) -> float:
                changed = replace(reader, thresholds=replace(reader.thresholds, **{threshold: step}))
                pairs = (
                    (_only(r, drums), _only(changed.notes(*m), drums)) for r, m in zip(references, maps, strict=True)
                )
                return float(np.mean([note_scores(*pair)[score] for pair in pairs]))

            return replace(reader, thresholds=replace(reader.thresholds, **{threshold: max(STEPS, key=mean)}))

        reader = best(self, "onset", "note_f1", drums=False)
        reader = best(reader, "sounding", "note_offset_f1", drums=False)
        return best(reader, "hit", "note_f1", drums=True)


def _only(notes: Notes, drums: bool) -> Notes:
    """The drums, as if their keys were pitches, or all others."""
    return notes[notes.is_drum == drums].replace(is_drum=False)


class Reading:
    """The notes of one recording, whose segments come some at a time; how many at a time changes nothing.

    Whether there is a note at a key is asked of all pitched channels together, and then who plays it: the channel that
    is most likely over the length of the note.
    """

    def __init__(self, reader: Reader):
        self.reader = reader
        self._heard: np.ndarray | None = None  # (map, channel, frame, key) that wait for the frame after them
        self._first = -1  # frame of the recording at which these begin: before the first there is silence
        self._open: dict[int, tuple[float, np.ndarray]] = {}  # by key: onset in frames, and what tells who plays
        self._notes: list[tuple[float, float, int, int, bool]] = []

    def push(self, onset: np.ndarray, sounding: np.ndarray) -> None:
        """Take the next segments, (segment, channel, frame, key) probabilities each."""
        maps = np.stack([onset, sounding]).astype(np.float32)
        maps = maps.transpose(0, 2, 1, 3, 4).reshape(2, maps.shape[2], -1, maps.shape[4])
        self._frames(maps)

    def _frames(self, maps: np.ndarray) -> None:
        heard = np.zeros_like(maps[:, :, :1]) if self._heard is None else self._heard
        heard = np.concatenate([heard, maps], axis=2)
        if heard.shape[2] > 2:
            self._read(heard)
            self._first += heard.shape[2] - 2
        self._heard = heard[:, :, -2:]

    def _read(self, heard: np.ndarray) -> None:
        """The frames between the first and the last of these, which are their neighbours."""
        drums, limits = self.reader.channels.drums, self.reader.thresholds
        pitched = np.delete(heard, drums, axis=1)
        anybody = 1.0 - np.prod(1.0 - pitched, axis=1)  # (map, frame, key)
        starts, lean = peaks(anybody[0], limits.onset)
        sounds = (anybody[1, 1:-1] >= limits.sounding) | starts
        evidence = np.concatenate([np.zeros_like(pitched[1, :, :1]), pitched[1, :, 1:-1].cumsum(axis=1)], axis=1)
        for key in np.flatnonzero(starts.any(axis=0) | np.isin(np.arange(starts.shape[1]), list(self._open))):
            self._read_key(
                int(key), starts[:, key], sounds[:, key], lean[:, key], pitched[0, :, :, key], evidence[:, :, key]
            )
        hits, lean = peaks(heard[0, drums], limits.hit)
        for frame, key in np.argwhere(hits):
            self._note(self._first + 1 + frame + lean[frame, key], None, int(key), 0, is_drum=True)

    def _read_key(self, key: int, starts, sounds, lean, onset, evidence) -> None:
        """Notes of one key; onset (channel, frame) with both neighbours, evidence (channel, frame) summed up so far."""
        begin, first = 0, self._first + 1
        for start in [*np.flatnonzero(starts).tolist(), len(starts)]:
            if key in self._open:
                silent = np.flatnonzero(~sounds[begin:start])
                end = begin + int(silent[0]) if len(silent) else start
                since, who = self._open[key]
                who = who + evidence[:, end] - evidence[:, begin]
                if len(silent) or start < len(starts):
                    # An end is told in the first frame that is silent: it lies half a frame before.
                    self._note(since, first + end - 0.5, key, int(who.argmax()))
                    del self._open[key]
                else:
                    self._open[key] = (since, who)
            if start < len(starts):
                self._open[key] = (first + start + lean[start], ONSET_WEIGHT * onset[:, start : start + 3].sum(axis=1))
                begin = start

    def _note(self, begin: float, end: float | None, key: int, player: int, is_drum: bool = False) -> None:
        self._notes.append((begin, begin if end is None else end, key, player, is_drum))

    def finish(self) -> Notes:
        """The notes in order of onset, in seconds; a `track` for each program and for the drums."""
        if self._heard is not None:
            self._frames(np.zeros_like(self._heard[:, :, :1]))
        reader, end = self.reader, self._first + 1
        for key, (since, who) in self._open.items():
            self._note(since, end, key, int(who.argmax()))
        self._open.clear()
        if not self._notes:
            return Notes.empty()
        begin, end, key, player, is_drum = (np.array(column) for column in zip(*self._notes, strict=True))
        others = np.delete(np.arange(len(reader.channels)), reader.channels.drums)
        program = np.array([reader.channels.programs(int(channel))[0] for channel in others])[player]
        seconds_per_frame = 1.0 / (reader.frames_per_tick * TICKS_PER_SECOND)
        table = np.zeros(len(begin), NOTE)
        table["onset"] = np.maximum(begin, 0.0) * seconds_per_frame
        table["offset"] = np.where(is_drum, table["onset"] + HIT_SECONDS, end * seconds_per_frame)
        table["pitch"], table["velocity"], table["confidence"] = key + reader.lowest, VELOCITY_HEARD, 1.0
        table["program"], table["is_drum"] = np.where(is_drum, 0, program), is_drum
        return with_tracks(Notes(table[table["offset"] > table["onset"]]).sort())


def peaks(onset: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a map of onsets (frame, key) has peaks, without its first and last frame.

    Returns:
        (frame, key) bool: at least the threshold, not less than the frame before and more than the one after; and
        (frame, key) where between the frames the top is, -0.5 to 0.5: that of a parabola through the three.
    """
    left, top, right = (onset[start : len(onset) - 2 + start].astype(np.float64) for start in range(3))
    bend = left - 2.0 * top + right
    lean = np.divide(left - right, 2.0 * bend, out=np.zeros_like(bend), where=bend < -1e-9)
    return (top >= threshold) & (top >= left) & (top > right), np.clip(lean, -0.5, 0.5)
