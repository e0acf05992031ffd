"""Notes -> audio with a SoundFont: one instrument at a time, the same bits every time."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr

# The class behind `tinysoundfont.Synth`: it alone can share one loaded font between players and play in mono. Importing
# the package does not import pyaudio, which its metadata asks for and only live playback uses.
from tinysoundfont._tinysoundfont import OutputMode, SoundFont

from common.notes import Notes
from common.scores import SHORTEST, Score

RENDER_RATE = 44100  # most samples of the fonts are recorded at it; rendering at a lower rate would alias
CONTROL_STEP = 256  # samples at RENDER_RATE between two positions of a moving pitch
SILENCE = 1e-4  # peak, -80 dBFS, below which a decaying note has ended
MAX_TAIL = 8.0  # seconds
DRUM_BANK = 128

# Players of these bend their notes: strings, voices, brass, reeds, pipes and a few more that sustain.
VIBRATO_PROGRAMS = frozenset(
    (21, 22, 23, *range(40, 44), *range(48, 50), *range(52, 55), *range(56, 80), 109, 110, 111)
)


class RenderError(ValueError):
    """A SoundFont that cannot be used, or notes that are not one instrument's."""


def default_soundfont() -> Path:
    """TimGM6mb.sf2, which the pretty_midi wheel carries: all of General MIDI in 6 MB."""
    package = importlib.util.find_spec("pretty_midi")
    path = Path(package.origin).with_name("TimGM6mb.sf2") if package and package.origin else None
    if path is None or not path.is_file():
        raise RenderError("no default SoundFont: install pretty_midi, which carries one, or name an SF2 file")
    return path


@lru_cache(maxsize=4)
def _load(path: Path) -> SoundFont:
    if not path.is_file():
        raise RenderError(f"{path}: no such SoundFont; name an SF2 or SF3 file")
    try:
        return SoundFont(str(path))
    except RuntimeError as error:
        raise RenderError(f"{path}: cannot be read as a SoundFont; name a whole SF2 or SF3 file") from error


def _player(soundfont: str | Path | None, program: int, is_drum: bool) -> SoundFont:
    """A player of its own with channel 0 set to a preset. A kit that the font lacks is played by kit 0, as in GM."""
    path = Path(soundfont or default_soundfont())
    font = _load(path.resolve())
    if is_drum and font.get_preset_index(DRUM_BANK, program) < 0:
        program = 0
    bank = DRUM_BANK if is_drum else 0
    if font.get_preset_index(bank, program) < 0:
        raise RenderError(
            f"{path}: has no preset for {'drums' if is_drum else f'program {program}'}; use a GM SoundFont"
        )
    player = SoundFont(font)
    player.set_output(OutputMode.Mono, RENDER_RATE, 0.0)
    player.channel_set_bank(0, bank)
    player.channel_set_preset_number(0, program, is_drum)
    return player


def intonation(notes: Notes, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Cents by which a player's pitch leaves the written one, one value every CONTROL_STEP samples.

    Every player drifts by 5 cents and has a vibrato of 8-35 cents at 4.5-6.5 Hz, which grows in each note and is in the
    mean at its pitch. Half of them play as singers and fiddlers do: they slide into notes from the last pitch or from
    below, waver by 15 cents, and their vibrato is 30-90 cents deep.
    """
    step = CONTROL_STEP / RENDER_RATE
    time = np.arange(int(seconds / step) + 1) * step
    order = np.argsort(notes.onset, kind="stable")
    onset, pitch = np.r_[0.0, notes.onset[order]], np.r_[0.0, notes.pitch[order].astype(np.float64)]
    current = np.searchsorted(onset, time, side="right") - 1
    age = time - onset[current]
    free = rng.random() < 0.5
    depth, waver, every = (rng.uniform(30.0, 90.0), 15.0, 0.15) if free else (rng.uniform(8.0, 35.0), 5.0, 1.0)
    rate, delay = rng.uniform(4.5, 6.5), rng.uniform(0.1, 0.4)
    knots = np.arange(0.0, seconds + 2.0 * every, every)
    drift = np.interp(time, knots, rng.normal(0.0, waver, len(knots)))
    cents = drift + depth * np.clip(age / delay - 0.5, 0.0, 1.0) * np.sin(2.0 * np.pi * rate * time)
    if free:
        leap = np.r_[0.0, 0.0, 100.0 * np.clip(pitch[1:-1] - pitch[2:], -4.0, 4.0)][: len(onset)]
        scoop = np.maximum(-rng.exponential(80.0, len(onset)), -250.0)
        slide = np.where(rng.random(len(onset)) < 0.5, leap, scoop)
        cents += slide[current] * np.exp(-age / rng.uniform(0.02, 0.06))
    return cents


def _events(player: SoundFont, notes: Notes, cents: np.ndarray) -> list[tuple]:
    """(sample, function, *arguments) in order of time: the keys of the notes, and a tuning every CONTROL_STEP."""
    start = np.round(notes.onset * RENDER_RATE).astype(np.int64)
    stop = np.maximum(np.round(notes.offset * RENDER_RATE).astype(np.int64), start + 1)
    keys = notes.pitch.tolist()
    # Where events meet, the pitch moves first, and a key is released before it is struck again: sorting is stable.
    events = [(i * CONTROL_STEP, player.channel_set_tuning, 0, c / 100.0) for i, c in enumerate(cents.tolist())]
    events += [(at, player.channel_note_off, 0, key) for at, key in zip(stop.tolist(), keys, strict=True)]
    struck = zip(start.tolist(), keys, (notes.velocity / 127.0).tolist(), strict=True)
    events += [(at, player.channel_note_on, 0, key, volume) for at, key, volume in struck]
    return sorted(events, key=lambda event: event[0])


def _play(player: SoundFont, events: list[tuple], n_samples: int) -> np.ndarray:
    """The sound of the first n samples; each event takes effect exactly at its own, those outside never."""
    audio = np.zeros(n_samples, np.float32)
    position = 0
    for sample, act, *arguments in events:
        if not 0 <= sample < n_samples:
            continue
        if sample > position:
            player.render(audio[position:sample].view(np.uint8))
            position = sample
        act(*arguments)
    if n_samples > position:
        player.render(audio[position:].view(np.uint8))
    return audio


def _tail(player: SoundFont) -> np.ndarray:
    """What still sounds, up to the silence."""
    blocks = [np.zeros(0, np.float32)]
    for _ in range(int(MAX_TAIL * 10)):
        block = np.zeros(RENDER_RATE // 10, np.float32)
        player.render(block.view(np.uint8))
        blocks.append(block)
        if np.abs(block).max() < SILENCE:
            break
    return np.concatenate(blocks)


@lru_cache(maxsize=8192)
def _attack(soundfont: str | Path | None, program: int, is_drum: bool, key: int) -> float:
    """Seconds until a note has risen to a tenth of its level, -20 dB; NaN where the font has no sound for the key."""
    player = _player(soundfont, program, is_drum)
    level = np.abs(_play(player, [(0, player.channel_note_on, 0, key, 0.8)], RENDER_RATE // 2))
    return float(np.argmax(level > 0.1 * level.max())) / RENDER_RATE if level.any() else np.nan


def heard(notes: Notes, soundfont: str | Path | None = None) -> Notes:
    """The notes as one hears `render` play them, for labels.

    Pads and some strings rise slowly, and their onset moves to where they can be heard (TimGM6mb: up to 110 ms, most
    instruments below 10 ms). Notes for which the SoundFont has no sample are left out.
    """
    columns = zip(notes.program.tolist(), notes.is_drum.tolist(), notes.pitch.tolist(), strict=True)
    attack = np.array([_attack(soundfont, *column) for column in columns])
    onset = np.minimum(notes.onset + attack, np.maximum(notes.offset - SHORTEST, notes.onset))
    return notes.replace(onset=onset)[~np.isnan(attack)]


def render(
    notes: Notes,
    sample_rate: int,
    soundfont: str | Path | None = None,
    tuning_cents: float = 0.0,
    seconds: float | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The sound of one instrument.

    Args:
        notes: of one program, or of one drum kit (whose number is the program).
        sample_rate: of the result; the synthesiser runs at 44.1 kHz and soxr resamples.
        soundfont: SF2 or SF3 file; none means `default_soundfont()`.
        tuning_cents: all pitches are moved by this.
        seconds: length of the result; without it the sound lasts until the last note has decayed.
        rng: draws the intonation of instruments that have one; without it pitches stand still.

    Returns:
        Mono float32 [time]. The peak of one loud note is about 0.5, and nothing is clipped.

    Raises:
        RenderError: the SoundFont is missing, broken or lacks the preset, or the notes are of several instruments.
    """
    if not len(notes):
        return np.zeros(round((seconds or 0.0) * sample_rate), np.float32)
    program, is_drum = int(notes.program[0]), bool(notes.is_drum[0])
    if (notes.program != program).any() or (notes.is_drum != is_drum).any():
        raise RenderError("render plays one instrument at a time; split the notes by program first")
    player = _player(soundfont, program, is_drum)
    last = notes.end + 2.0 / RENDER_RATE if seconds is None else seconds  # so that the last key is released
    bend = np.zeros(1)
    if rng is not None and not is_drum and program in VIBRATO_PROGRAMS:
        bend = intonation(notes, last, rng)
    audio = _play(player, _events(player, notes, tuning_cents + bend), int(np.ceil(last * RENDER_RATE)))
    if seconds is None:
        audio = np.concatenate([audio, _tail(player)])
    audio = soxr.resample(audio, RENDER_RATE, sample_rate)
    length = len(audio) if seconds is None else round(seconds * sample_rate)
    return np.pad(audio, (0, max(length - len(audio), 0)))[:length]


def render_score(
    score: Score,
    sample_rate: int,
    soundfont: str | Path | None = None,
    tuning_cents: float = 0.0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """All parts of a score, float32 [part, time], each as `render` plays it; their sum is the mixture."""
    stems = [render(part.notes, sample_rate, soundfont, tuning_cents, score.seconds, rng) for part in score.parts]
    return np.stack(stems) if stems else np.zeros((0, round(score.seconds * sample_rate)), np.float32)
