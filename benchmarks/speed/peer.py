"""Basic Pitch's network behind its exact clock: our own wrapper of the ONNX model that the package brings.

The network hears windows of 43,844 samples, in which it has 172 frames, 256 samples apart. 15 frames are cut off at
either end, so that 142 are kept of each window; but a window begins 36,164 samples after the one before, which is 188
samples less than 142 frames. Who counts the kept frames as 256 samples each is 8.5 ms late after every window, 3.1 s
after ten minutes.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE, HOP = 22_050, 256
WINDOW = 2 * RATE - HOP
CUT = 15  # frames at either end of a window
KEPT = -(-WINDOW // HOP) - 2 * CUT
STEP = WINDOW - 2 * CUT * HOP
LOW = 21  # MIDI number of row 0

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]


def load_peer():
    """The package's inference module and its ONNX model, whose `predict` is what `activations` takes."""
    logging.disable(logging.WARNING)  # it lists the runtimes that it has not found
    from basic_pitch import inference  # pyright: ignore[reportMissingImports]

    path = Path(str(inference.__file__)).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
    return inference, inference.Model(path)


def activations(audio: np.ndarray, predict: Predict) -> dict[str, np.ndarray]:
    """What the network says of a whole recording, to its end.

    Args:
        audio: (time,) float32 at RATE.
        predict: one window (1, WINDOW, 1) to maps by name, each (1, frame, bin).

    Returns:
        The maps, each (bin, frame); the times of the frames are `frame_times`, those of the last window reach beyond
        the end of the recording.
    """
    padded = np.concatenate([np.zeros(CUT * HOP), audio, np.zeros(WINDOW)]).astype(np.float32)
    windows = [predict(padded[None, start : start + WINDOW, None]) for start in range(0, len(audio), STEP)]
    return {name: np.concatenate([maps[name][0, CUT:-CUT] for maps in windows]).T for name in windows[0]}


def frame_times(n_frames: int) -> np.ndarray:
    """Centres in seconds of the kept frames of consecutive windows."""
    window, frame = np.divmod(np.arange(n_frames), KEPT)
    return (window * STEP + frame * HOP) / RATE
