from pathlib import Path

import numpy as np
import pytest

from common import render as rendering
from common.notes import Notes
from common.render import RENDER_RATE, RenderError, default_soundfont, heard, render, render_score
from common.scores import Part, Score

RATE = 22050


def pitch_hz(audio: np.ndarray, near: float, rate: int = RATE) -> float:
    """Fundamental within an octave of `near`: first strong peak of the autocorrelation, refined by a parabola."""
    audio = audio - audio.mean()
    spectrum = np.fft.rfft(audio, 2 * len(audio))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(audio)]
    correlation /= np.arange(len(audio), 0, -1)
    lags = np.arange(int(rate / near / 1.9), int(rate / near * 1.9) + 1)
    inner = correlation[lags]
    peaks = lags[1:-1][(inner[1:-1] > inner[:-2]) & (inner[1:-1] >= inner[2:])]
    lag = peaks[correlation[peaks] > 0.9 * correlation[peaks].max()][0]
    before, top, after = correlation[lag - 1 : lag + 2]
    return rate / (lag + 0.5 * (before - after) / (before - 2.0 * top + after))


def cents(hz: float, key: float) -> float:
    return 1200.0 * np.log2(hz / 440.0) + 100.0 * (69.0 - key)


def note(pitch=60, program=0, onset=0.0, offset=1.0, velocity=100, **columns) -> Notes:
    return Notes.build([onset], [offset], [pitch], velocity, program=program, **columns)


@pytest.mark.parametrize(
    ("program", "keys"),
    [(0, (48, 60, 76)), (24, (45, 60, 72)), (40, (57, 69, 88)), (56, (60, 72)), (65, (57, 72)), (73, (62, 84))],
)
def test_pitch_is_what_is_written(program, keys):
    for key in keys:
        audio = render(note(key, program), RATE)[RATE // 8 : RATE // 2]
        assert abs(cents(pitch_hz(audio, 440.0 * 2 ** ((key - 69) / 12)), key)) < 20


def test_tuning_moves_every_pitch():
    plain, tuned = (pitch_hz(render(note(69, 73), RATE, tuning_cents=t)[2000:20000], 440.0) for t in (0.0, 30.0))
    assert 1200.0 * np.log2(tuned / plain) == pytest.approx(30.0, abs=2.0)


def intonations(notes: Notes, seconds: float) -> list[np.ndarray]:
    return [rendering.intonation(notes, seconds, np.random.default_rng(seed)) for seed in range(20)]


def test_intonation_is_heard_from_those_who_bend_notes():
    middles = np.arange(RATE, 3 * RATE - 1500, 500) + 750
    seed = next(i for i, curve in enumerate(intonations(note(69, offset=3.0), 3.0)) if np.abs(curve).max() < 50)

    def track(program, rng=None):
        audio = render(note(69, program, offset=3.0), RATE, rng=rng)
        return np.array([cents(pitch_hz(audio[at - 750 : at + 750], 440.0), 69) for at in middles])

    curve = intonations(note(69, offset=3.0), 3.0)[seed]
    expected = np.interp(middles / RATE, np.arange(len(curve)) * rendering.CONTROL_STEP / RENDER_RATE, curve)
    assert track(71, np.random.default_rng(seed)) - track(71) == pytest.approx(expected, abs=8.0)
    assert np.array_equal(track(0, np.random.default_rng(seed)), track(0))


@pytest.mark.parametrize("seconds", [0.3, 2.0, 7.77])
def test_intonation_stays_about_the_pitch(seconds):
    for curve in intonations(note(offset=seconds), seconds):
        assert len(curve) == int(seconds * RENDER_RATE / rendering.CONTROL_STEP) + 1
        settled = curve[len(curve) // 2 :] if seconds > 1 else curve[:0]
        assert np.abs(settled).max(initial=0.0) < 90 + 60
        assert abs(settled.mean() if len(settled) else 0.0) < 30


def test_free_players_slide_into_a_note_from_the_one_before():
    two = Notes.build([0.0, 1.0], [1.0, 2.0], [60, 63])
    at_onset = int(1.0 * RENDER_RATE / rendering.CONTROL_STEP) + 1
    depths = np.array([curve[at_onset] for curve in intonations(two, 2.0)])
    # Half the players keep within their vibrato; of the others some come from the last pitch, three semitones below.
    assert 4 <= (depths > -45).sum() <= 17
    assert (depths < -200).any()


@pytest.mark.parametrize(
    ("program", "is_drum", "key"), [(0, False, 60), (11, False, 72), (25, False, 52), (0, True, 38)]
)
def test_sound_starts_with_its_note(program, is_drum, key):
    audio = render(note(key, program, onset=0.1234, offset=0.8, is_drum=is_drum), RATE)
    start = np.argmax(np.abs(audio) > 0.1 * np.abs(audio).max()) / RATE
    assert start == pytest.approx(0.1234, abs=0.005)


def test_events_fall_on_their_sample():
    notes = Notes.build([0.01, 0.2, 0.2], [0.3, 0.4, 0.5], [50, 62, 65], program=4)
    early, late = (render(notes.shift(n / RENDER_RATE), RENDER_RATE, seconds=1.0) for n in (0, 1001))
    assert np.array_equal(early[:-1001], late[1001:])


def test_louder_keys_sound_louder():
    peaks = [np.abs(render(note(velocity=v), RATE)).max() for v in (1, 20, 50, 80, 110, 127)]
    assert np.all(np.diff(peaks) > 0)
    assert peaks[-1] / peaks[1] == pytest.approx(127 / 20, rel=0.05)


def test_the_same_bits_every_time_whatever_was_played_before():
    notes = Notes.build([0.0, 0.5, 0.5], [0.4, 1.0, 1.0], [60, 64, 67], program=48)
    first = render(notes, RATE, rng=np.random.default_rng(5))
    render(note(30, 33, offset=0.1), RATE, seconds=0.05)
    again = render(notes, RATE, rng=np.random.default_rng(5))
    assert first.dtype == np.float32
    assert np.array_equal(first, again)


def test_length():
    assert len(render(note(offset=5.0), 16000, seconds=1.7)) == 27200
    assert len(render(note(offset=0.1), 16000, seconds=3.3)) == 52800
    assert len(render(Notes.empty(), 16000, seconds=0.5)) == 8000
    assert len(render(note(), 16000, seconds=0.0)) == 0
    assert len(render(Notes.empty(), 16000)) == 0
    whole = render(note(offset=0.2, program=11), RATE)
    assert 0.2 * RATE < len(whole) < 9 * RATE
    assert np.abs(whole[-100:]).max() < 1e-3 < np.abs(whole).max()


def test_a_released_note_decays_and_a_repeated_one_is_struck_again():
    long, short = (render(note(60, 16, offset=t), RATE, seconds=2.0) for t in (2.0, 0.5))
    assert np.abs(short[RATE:]).max() < 0.05 * np.abs(long[RATE:]).max()
    twice = render(Notes.build([0.0, 0.5], [0.5, 1.0], [60, 60], program=0), RATE, seconds=1.0)
    after, before = (np.abs(twice[int(t * RATE) : int((t + 0.05) * RATE)]).max() for t in (0.5, 0.45))
    assert after > 1.5 * before


def test_a_note_without_length_does_not_hang():
    audio = render(note(60, 16, onset=0.1, offset=0.1), RATE, seconds=2.0)
    assert np.abs(audio[RATE:]).max() < 1e-3
    assert len(render(note(60, 16, onset=0.1, offset=0.1), RATE)) < RATE


def test_drums_take_the_kit_and_fall_back_to_the_standard_one():
    standard, electronic, none = (render(note(38, kit, is_drum=True), RATE, seconds=1.0) for kit in (0, 25, 7))
    assert np.array_equal(standard, none)
    assert not np.array_equal(standard, electronic)


def test_score_is_played_part_by_part():
    parts = (
        Part("Piano", 0, False, "comping", note(60, 0)),
        Part("Nobody", 40, False, "melody", Notes.empty()),
        Part("Drums", 0, True, "drums", note(36, 0, is_drum=True, track=2)),
    )
    stems = render_score(Score("x", parts, 1.5), RATE, tuning_cents=7.0)
    assert stems.shape == (3, round(1.5 * RATE))
    assert np.array_equal(stems[0], render(parts[0].notes, RATE, tuning_cents=7.0, seconds=1.5))
    assert not stems[1].any()
    assert stems[2].any()
    assert render_score(Score("x", (), 1.0), 100).shape == (0, 100)


def test_heard_onsets_lie_where_the_sound_rises():
    notes = Notes.build([1.0, 1.0, 1.0], [3.0, 3.0, 1.02], [60, 60, 60], program=[0, 89, 89])
    heard_notes = heard(notes)
    assert np.array_equal(heard_notes.offset, notes.offset)
    assert heard_notes.onset[0] == pytest.approx(1.0, abs=0.005)
    assert heard_notes.onset[2] == 1.0  # too short to wait
    audio = np.abs(render(notes[1:2], RATE, seconds=1.5))
    audible = heard_notes.onset[1]
    assert 1.02 < audible < 1.2
    assert audio[: int((audible - 0.005) * RATE)].max() < 0.11 * audio.max()
    assert audio[int(audible * RATE) : int((audible + 0.01) * RATE)].max() > 0.09 * audio.max()


def test_keys_without_a_sample_are_not_heard():
    # The alto saxophone of TimGM6mb has a hole at E4.
    line = Notes.build([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [63, 64, 65], program=65)
    assert [bool(render(line[i : i + 1], RATE).any()) for i in range(3)] == [True, False, True]
    assert heard(line).pitch.tolist() == [63, 65]
    assert heard(Notes.empty()) == Notes.empty()


def chunk(font: bytes, name: bytes) -> int:
    """Where the data of a chunk of a SoundFont starts."""
    return font.index(name) + 8


@pytest.fixture
def without_piano(tmp_path) -> Path:
    """The default SoundFont with the preset of bank 0, program 0 moved to bank 9."""
    font = bytearray(default_soundfont().read_bytes())
    start = chunk(font, b"phdr")
    size = int.from_bytes(font[start - 4 : start], "little")
    for at in range(start, start + size, 38):
        if font[at + 20 : at + 24] == bytes(4):
            font[at + 22] = 9
    path = tmp_path / "no_piano.sf2"
    path.write_bytes(font)
    return path


def test_missing_preset_is_named(without_piano):
    assert render(note(60, 40), RATE, without_piano).any()
    with pytest.raises(RenderError, match=r"no_piano\.sf2: has no preset for program 0"):
        render(note(60, 0), RATE, without_piano)


def test_bad_soundfonts_are_named(tmp_path):
    whole = default_soundfont().read_bytes()
    for name, content in {"text.sf2": b"hello" * 99, "empty.sf2": b"", "cut.sf2": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RenderError, match=name):
            render(note(), RATE, tmp_path / name)
    for path in (tmp_path / "missing.sf2", tmp_path):
        with pytest.raises(RenderError, match="no such SoundFont"):
            render(note(), RATE, path)


def test_notes_of_two_instruments_are_refused():
    for table in (
        Notes.build([0, 1], [1, 2], 60, program=[0, 1]),
        Notes.build([0, 1], [1, 2], 60, is_drum=[False, True]),
    ):
        with pytest.raises(RenderError, match="one instrument"):
            render(table, RATE)
