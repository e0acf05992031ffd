"""Logits of overlapping windows to the timeline of the lead, in time and memory linear in the length.

The windows are cross-faded, a temperature makes their logits probabilities, a track that is silent cannot lead, Viterbi
finds the likeliest timeline given how often leads change, and what is too short to be a lead goes to a neighbour.
"""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from common.evaluation.segments import from_frames, runs
from common.frames import FrameGrid

NOBODY = -1
SEGMENT = np.dtype([("start", np.float64), ("end", np.float64), ("track", np.int32), ("confidence", np.float32)])
QUIETEST = -90.0  # dBFS; digital silence with dither lies below

Fade = Literal["triangular", "hann"]


@dataclass(frozen=True)
class DecodeSettings:
    """What counts as a lead; to be chosen on validation data.

    Args:
        temperature: the logits are divided by it; above 1 the network is less sure of itself.
        null_bias: added to the logit of "nobody leads"; above 0 fewer leads are found.
        switch_probability: that the lead changes within a second; 1 lets each frame decide for itself. In MedleyDB it
            changes once in 29 s.
        min_length: seconds; what is shorter goes to a neighbour, unless that is silent there. Of MedleyDB's leads 1.5 %
            are shorter than 1 s.
        silence_db: level against the loudest frame of any track up to which a track is silent.
        silence_hold: seconds; a rest in which no frame within this distance sounds is silence.
    """

    temperature: float = 1.0
    null_bias: float = 0.0
    switch_probability: float = 0.05
    min_length: float = 0.5
    silence_db: float = -60.0
    silence_hold: float = 1.0

    def __post_init__(self):
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if not np.isfinite(value):
                raise ValueError(f"{name} is a number, not {value}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is above 0, not {self.temperature}")
        if not 0 < self.switch_probability <= 1:
            raise ValueError(f"switch_probability is above 0 and up to 1, not {self.switch_probability}")
        if not self.silence_db < 0:
            raise ValueError(f"silence_db is a level below 0 dB, not {self.silence_db}")
        for name in ("min_length", "silence_hold"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a time in seconds, 0 or more, not {getattr(self, name)}")


class CrossFade:
    """Joins the logits of overlapping windows: each frame gets the mean of those that see it, the nearer to the middle
    of its window the more.

    What no later window can reach is done with, so that beside the result only one window is held.
    """

    def __init__(self, n_classes: int, fade: Fade = "hann"):
        self.n_classes = n_classes
        self.fade: Fade = fade
        self._reset()

    def _reset(self):
        self._total = np.zeros((0, self.n_classes), np.float32)
        self._weight = np.zeros((0, 1), np.float32)
        self._first = 0  # frame with which these sums begin
        self._done = [self._total]

    def push(self, start: int, logits: np.ndarray):
        """Take the next window: (frame, class) float32, which begins at frame `start`, not before the last one did.

        Raises:
            ValueError: it comes too early or too late, or is NaN somewhere.
        """
        if not self._first <= start <= self._first + len(self._total):
            raise ValueError(f"a window cannot begin at frame {start} now")
        if np.isnan(logits).any():
            raise ValueError("the network gave NaN; train it again, or try fp32")
        self._settle(start)
        missing = ((0, max(len(logits) - len(self._total), 0)), (0, 0))
        self._total, self._weight = np.pad(self._total, missing), np.pad(self._weight, missing)
        weight = fade_in_and_out(len(logits), self.fade)[:, None]
        self._total[: len(logits)] += weight * logits
        self._weight[: len(logits)] += weight

    def finish(self) -> np.ndarray:
        """(frame, class) float32 of everything that was pushed; ready for another recording."""
        self._settle(self._first + len(self._total))
        whole = np.concatenate(self._done)
        self._reset()
        return whole

    def _settle(self, start: int):
        """Frames before `start` get no more windows."""
        n_settled = start - self._first
        self._done.append(self._total[:n_settled] / self._weight[:n_settled])
        self._first, self._total, self._weight = start, self._total[n_settled:], self._weight[n_settled:]


def fade_in_and_out(n_frames: int, fade: Fade) -> np.ndarray:
    """(frame,) float32 weights of a window, nowhere 0."""
    phase = np.arange(1, n_frames + 1, dtype=np.float32) / (n_frames + 1)
    if fade == "hann":
        return np.sin(np.pi * phase) ** 2
    return 2 * np.minimum(phase, 1 - phase)


def audible(levels: np.ndarray, grid: FrameGrid, settings: DecodeSettings) -> np.ndarray:
    """Which tracks sound, bool (frame, track).

    Args:
        levels: (frame, track) dBFS.
        grid: clock of the frames.
        settings: `silence_db` and `silence_hold` of it.
    """
    sounds = levels > max(levels.max(initial=QUIETEST) + settings.silence_db, QUIETEST)
    hold = int(grid.frames(settings.silence_hold))
    # A frame is held if the running count of sounding frames rises within its surroundings.
    count = np.concatenate([np.zeros((1, sounds.shape[1]), np.int32), np.cumsum(sounds, axis=0, dtype=np.int32)])
    frame = np.arange(len(sounds))
    return count[np.minimum(frame + hold + 1, len(sounds))] > count[np.maximum(frame - hold, 0)]


def log_probabilities(logits: np.ndarray, can_lead: np.ndarray | None, settings: DecodeSettings) -> np.ndarray:
    """Logits (frame, class) -> log-probabilities, float32; class 0 is nobody.

    Args:
        logits: of the network.
        can_lead: (frame, class - 1) bool; -inf stands where not. None: all can.
        settings: `temperature` and `null_bias` of it.
    """
    scores = logits / np.float32(settings.temperature)
    scores[:, 0] += np.float32(settings.null_bias)
    if can_lead is not None:
        scores[:, 1:][~can_lead] = -np.inf
        scores[~can_lead.any(axis=1), 0] = 0.0  # somebody has to be there, whatever the network says of nobody
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def switch_penalty(n_classes: int, grid: FrameGrid, settings: DecodeSettings) -> float:
    """By how much the logarithm of a switch to one given class lies below that of no switch, 0 or more."""
    stay = (1.0 - settings.switch_probability) ** float(1 / grid.rate)  # from frame to frame
    if stay == 0.0:
        return 0.0
    return max(float(np.log(stay) - np.log((1.0 - stay) / max(n_classes - 1, 1))), 0.0)


def viterbi(scores: np.ndarray, penalty: float) -> np.ndarray:
    """The sequence of classes with the largest sum of scores less a penalty for each change, int64 (frame,).

    All changes cost the same, so a step needs only the best class before it, not every pair: O(frame * class).

    Args:
        scores: (frame, class); -inf for what cannot be, but not for all of a frame.
        penalty: 0 or more.
    """
    n_frames, n_classes = scores.shape
    if not n_frames:
        return np.zeros(0, np.int64)
    best = np.zeros(n_frames, np.int64)  # class of the frame before from which a change comes
    changed = np.zeros((n_frames, n_classes), bool)
    total = scores[0].astype(np.float64)
    for i in range(1, n_frames):
        best[i] = total.argmax()
        after_change = total[best[i]] - penalty
        np.less(total, after_change, out=changed[i])
        total = np.maximum(total, after_change)
        total += scores[i]
    labels = np.empty(n_frames, np.int64)
    label = labels[-1] = total.argmax()
    for i in range(n_frames - 1, 0, -1):
        label = labels[i - 1] = best[i] if changed[i, label] else label
    return labels


def absorb_short(labels: np.ndarray, scores: np.ndarray, min_frames: int) -> np.ndarray:
    """Runs of equal labels that are too short go to the neighbour that explains them better, from left to right.

    A run whose neighbours are impossible in it (-inf) stays.

    Args:
        labels: (frame,) classes.
        scores: (frame, class).
        min_frames: shorter is too short.
    """
    stack: list[tuple[int, int, int]] = []  # first frame, frame after the last, label

    def append(start: int, stop: int, label: int):
        if stack and stack[-1][2] == label:
            start = stack.pop()[0]
        stack.append((start, stop, label))

    def resolve(following: int | None):
        """Give the last run away if it is too short; to `following`, it is left for whoever comes next."""
        start, stop, _ = stack[-1]
        takers = [stack[-2][2]] if len(stack) > 1 else []
        takers += [] if following is None else [following]
        if stop - start >= min_frames or not takers:
            return
        evidence = [float(scores[start:stop, taker].sum(dtype=np.float64)) for taker in takers]
        if max(evidence) > -np.inf:
            stack.pop()
            append(start, stop, takers[int(np.argmax(evidence))])

    for start, stop in zip(*(edge.tolist() for edge in runs(labels)), strict=True):
        label = int(labels[start])
        if stack:
            resolve(label)
        append(start, stop, label)
    if stack:
        resolve(None)
    lengths = [stop - start for start, stop, _ in stack]
    return np.repeat(np.array([label for *_, label in stack], np.int64), lengths)


def decode(
    logits: np.ndarray, levels: np.ndarray | None, grid: FrameGrid, duration: float, settings: DecodeSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The timeline of a recording.

    Args:
        logits: (frame, 1 + track) float32, class 0 for nobody.
        levels: (frame, track) dBFS of the tracks; None if none of them is to count as silent.
        grid: clock of the frames.
        duration: of the recording in seconds; it ends within the last frame.
        settings: see there.

    Returns:
        segments (segment,) SEGMENT, gapless from 0 to the duration; the confidence of each is the mean probability of
            its track in it, and probabilities (frame, 1 + track) float32.
    """
    scores = log_probabilities(logits, None if levels is None else audible(levels, grid, settings), settings)
    labels = viterbi(scores, switch_penalty(scores.shape[1], grid, settings))
    labels = absorb_short(labels, scores, int(np.ceil(grid.position(settings.min_length))))
    probabilities = np.exp(scores, out=scores)
    edges, names = from_frames(labels, grid, duration)
    start, stop = runs(labels)
    chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    segments = np.empty(len(names), SEGMENT)
    segments["start"], segments["end"], segments["track"] = edges[:-1], edges[1:], names + NOBODY
    segments["confidence"] = np.add.reduceat(chosen, start, dtype=np.float64) / (stop - start)
    return segments, probabilities
