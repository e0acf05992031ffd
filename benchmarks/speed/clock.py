"""Does a clock run true? Short tones at known times over ten minutes, and when they are heard; part of `transcribe`."""

from pathlib import Path

import numpy as np

from benchmarks.harness import goal
from benchmarks.speed.peer import HOP, LOW, RATE, activations, frame_times, load_peer
from common import audio as sound
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import DecodeSettings, decode
from lightweight_amt.inference import load, transcribe

SECONDS = 600
TONES = np.arange(1.0, SECONDS - 1.0, 1.37)  # seconds; no multiple of any hop or window
PITCH, HZ = 69, 440.0
TONE_SECONDS, FADE_SECONDS = 0.25, 0.02


def measure_clock(folder: Path, models: list[str]) -> tuple[dict, list]:
    """How far the first and the last onset are from the truth by each clock."""
    path = folder / "tones.wav"
    sound.write(path, tones(), RATE)
    heard = {name: transcribe(path, model=load(name)) for name in models} | peer_notes(path)
    results = {name: errors(notes.onset[notes.pitch == PITCH]) for name, notes in heard.items()}
    text = "error of the last onset of ten minutes of tones, ms"
    return results, [
        goal(f"{text}, {name}", abs(results[name]["last_error_ms"]), at_most=12)
        for name in ("base", "Basic Pitch, exact clock")
    ]


def tones() -> np.ndarray:
    """Sines that begin at the TONES, between two samples where need be."""
    audio = np.zeros(SECONDS * RATE, np.float32)
    for start in TONES:
        samples = np.arange(int(np.ceil(start * RATE)), int((start + TONE_SECONDS) * RATE))
        time = samples / RATE - start
        fade = np.minimum(1.0, (TONE_SECONDS - time) / FADE_SECONDS)
        audio[samples] = 0.3 * np.sin(2 * np.pi * HZ * time) * fade
    return audio


def peer_notes(path: Path) -> dict[str, Notes]:
    """The notes of Basic Pitch's network, decoded as ours are, by two clocks, and those that the package makes."""
    basic_pitch, model = load_peer()
    maps = activations(sound.read(path, RATE)[0], model.predict)
    maps = {name: np.clip(values, 0, 1) for name, values in maps.items()}
    settings = DecodeSettings(onset_threshold=0.5, frame_threshold=0.3)
    naive = decode(maps["onset"], maps["note"], None, settings, FrameGrid(RATE, HOP), low=LOW)
    times = frame_times(maps["note"].shape[1])

    def exact(seconds: np.ndarray) -> np.ndarray:
        return np.interp(seconds * RATE / HOP, np.arange(len(times)), times)

    starts, ends, pitches, *_ = zip(*basic_pitch.predict(path, model)[2], strict=True)
    return {
        "Basic Pitch, exact clock": Notes.build(exact(naive.onset), exact(naive.offset), naive.pitch),
        "Basic Pitch, naive clock": naive,
        "Basic Pitch, package": Notes.build(starts, ends, pitches).sort(),
    }


def errors(onsets: np.ndarray) -> dict[str, float]:
    """Of sorted onsets in seconds: how many there are of how many tones, and the errors of the first and the last."""
    first, last = onsets[[0, -1]] - TONES[[0, -1]] if len(onsets) else (np.inf, np.inf)
    return {
        "onsets": len(onsets),
        "tones": len(TONES),
        "first_error_ms": round(1e3 * float(first), 2),
        "last_error_ms": round(1e3 * float(last), 2),
    }
