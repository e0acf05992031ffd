"""Transcription against Basic Pitch: time and memory of the whole command, the decoder alone, clock and accuracy.

`python -m benchmarks.speed.transcribe` writes results/transcribe.json and .png. Both hear the same files: the mixtures
of the corpus test split, end to end for the timings, piece by piece for the scores. Basic Pitch 0.4 runs its ONNX model
on the CPU with its own defaults; we run the shipped ONNX models with the thresholds that came with them.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from benchmarks.harness import Usage, alone, alternate, bars, goal, installed, pin_threads, ratio, save, summary
from benchmarks.speed.clock import measure_clock
from benchmarks.speed.peer import load_peer
from common import corpus
from common.audio import write
from common.evaluation.bootstrap import bootstrap_difference
from common.evaluation.pieces import summary as score_summary
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import DecodeSettings, decode
from lightweight_amt.evaluate import SCORES, score_pieces
from lightweight_amt.inference import WEIGHTS, load, transcribe

RATE = 44_100
LENGTHS = (10, 60, 600)  # seconds
MODELS = sorted(path.stem for path in WEIGHTS.glob("*.onnx"))
BASIC_PITCH = "import sys; from basic_pitch.predict import main; main()"


def main() -> None:
    pin_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="small", choices=corpus.SIZES)
    parser.add_argument("--test-soundfont", help="score the test pieces with this SF2 or SF3 as well")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not installed({"Basic Pitch": "basic_pitch"}):
        sys.exit(2)
    pieces = corpus.build(options.corpus).pieces("test")
    with TemporaryDirectory() as folder:
        files = {seconds: concatenation(pieces, seconds, Path(folder)) for seconds in LENGTHS}
        commands, goals = measure_commands(files, Path(folder), options.rounds)
        decoding, decoding_goals = measure_decoders(files[600], options.rounds)
        clock, clock_goals = measure_clock(Path(folder), MODELS)
    accuracy, accuracy_goals = measure_accuracy(pieces)
    results: dict[str, object] = {"commands": commands, "decoders": decoding, "clock": clock, "accuracy": accuracy}
    if options.test_soundfont:
        other = corpus.build(options.corpus, test_soundfont=options.test_soundfont).pieces("test")
        results["accuracy with another SoundFont"], _ = measure_accuracy(other)
        results["other SoundFont"] = Path(options.test_soundfont).name
    goals += decoding_goals + clock_goals + accuracy_goals
    save("transcribe", results, goals, ["onnxruntime", "basic-pitch", "numpy"])
    bars("transcribe", pictures(results))


def concatenation(pieces: list[corpus.Piece], seconds: int, folder: Path) -> Path:
    """The mixtures one after the other, as often as it takes, as a 44.1 kHz WAV file."""
    audio = np.concatenate([piece.multitrack().mixture() for piece in pieces])
    audio = np.resize(audio, seconds * pieces[0].sample_rate)
    write(folder / f"{seconds}.wav", soxr.resample(audio, pieces[0].sample_rate, RATE), RATE)
    return folder / f"{seconds}.wav"


def time_commands(path: Path, folder: Path, rounds: int, peer: bool = True) -> dict[str, list[Usage]]:
    """What it takes the command of each contender to transcribe a file, in fresh processes, start-up included.

    Args:
        path: the audio.
        folder: for what they write.
        rounds: in each round every contender runs once.
        peer: Basic Pitch among them.
    """
    ours = [sys.executable, "-m", "lightweight_amt", "transcribe", str(path)]
    contenders = {name: [*ours, "-o", f"{folder}/{name}", "--model", name] for name in MODELS}
    if peer:
        (folder / "peer").mkdir(exist_ok=True)
        theirs = [sys.executable, "-c", BASIC_PITCH, "--model-serialization", "onnx", f"{folder}/peer", str(path)]
        contenders["Basic Pitch"] = theirs
    runs: dict[str, list[Usage]] = {name: [] for name in contenders}

    def run(name: str) -> None:
        for old in (folder / "peer").glob("*.mid"):
            old.unlink()  # it refuses to overwrite
        runs[name].append(alone(contenders[name]))

    # `alternate` is for its order; what counts is what each process says of itself.
    alternate({name: partial(run, name) for name in contenders}, rounds)
    return {name: usages[1:] for name, usages in runs.items()}


def measure_commands(files: dict[int, Path], folder: Path, rounds: int) -> tuple[dict, list]:
    """CPU time, wall time and peak memory of the commands at each length."""
    results, goals = {}, []
    peaks: dict[tuple[str, int], float] = {}
    for seconds, path in files.items():
        runs = time_commands(path, folder, rounds if seconds < 600 else min(rounds, 3))
        peak = {name: max(usage.peak_mb for usage in usages) for name, usages in runs.items()}
        peaks |= {(name, seconds): value for name, value in peak.items()}
        ratios = {name: ratio(runs, "Basic Pitch", name) for name in MODELS}
        results[f"{seconds} s"] = {"times": summary(runs), "peak_mb": peak, "ratio": ratios}
        wanted = {10: (2.0, 1.0), 60: (1.3, 0.5), 600: (2.3, 0.25)}[seconds]
        goals.append(goal(f"CPU time of Basic Pitch / ours, {seconds} s", ratios["base"]["median"], at_least=wanted[0]))
        goals.append(
            goal(
                f"peak memory of ours / Basic Pitch, {seconds} s", peak["base"] / peak["Basic Pitch"], at_most=wanted[1]
            )
        )
    growth = peaks["base", 600] - peaks["base", 60]
    goals.append(goal("growth of our peak memory from 60 s to 600 s, MB", growth, at_most=60))
    help_usage = alone([sys.executable, "-m", "lightweight_amt", "transcribe", "--help"])
    results["--help"] = vars(help_usage)
    goals.append(goal("--help, seconds", help_usage.wall, at_most=0.5))
    goals.append(goal("--help, MB", help_usage.peak_mb, at_most=60))
    return results, goals


def measure_decoders(path: Path, rounds: int) -> tuple[dict, list]:
    """Both note creations on the activations of Basic Pitch's network, 600 s and 60 s."""
    basic_pitch, model = load_peer()
    from basic_pitch.note_creation import output_to_notes_polyphonic  # pyright: ignore[reportMissingImports]

    maps = basic_pitch.run_inference(path, model)
    note, onset = np.clip(maps["note"], 0, 1), np.clip(maps["onset"], 0, 1)
    grid, settings = FrameGrid(22050, 256), DecodeSettings(onset_threshold=0.5, frame_threshold=0.3)

    def theirs(frames: int) -> None:
        output_to_notes_polyphonic(note[:frames], onset[:frames], 0.5, 0.3, 11, True, None, None, True)

    def ours(frames: int) -> None:
        decode(onset[:frames].T, note[:frames].T, None, settings, grid, low=21)

    results, long = {}, len(note)
    for name, frames in (("60 s", long // 10), ("600 s", long)):
        times = alternate({"ours": partial(ours, frames), "Basic Pitch": partial(theirs, frames)}, min(rounds, 3))
        results[name] = {"times": summary(times), "ratio": ratio(times, "Basic Pitch", "ours")}
    growth = results["600 s"]["times"]["ours"]["cpu"]["median"] / results["60 s"]["times"]["ours"]["cpu"]["median"]
    return results, [
        goal(
            "CPU time of Basic Pitch's note creation / our decoder, 600 s",
            results["600 s"]["ratio"]["median"],
            at_least=15,
        ),
        goal("our decoder, CPU time 600 s / 60 s", growth, at_most=12),
    ]


def measure_accuracy(pieces: list[corpus.Piece]) -> tuple[dict, list]:
    """Scores of whole test pieces; note F of ours and theirs compared piece by piece."""
    grid = FrameGrid(22050, 256)
    basic_pitch, model = load_peer()

    def peer(audio: np.ndarray, rate: int) -> Notes:
        with TemporaryDirectory() as folder:
            soundfile.write(f"{folder}/piece.wav", audio, rate, subtype="FLOAT")
            _, _, events = basic_pitch.predict(f"{folder}/piece.wav", model)
        columns = list(zip(*((start, end, pitch) for start, end, pitch, *_ in events), strict=True))
        return Notes.build(*columns) if columns else Notes.empty()

    rows = {name: score_pieces(pieces, partial(transcribe, model=load(name)), grid) for name in MODELS}
    rows["Basic Pitch"] = score_pieces(pieces, peer, grid)
    f1 = {name: [row["note_f1"] for row in table] for name, table in rows.items()}
    results: dict[str, object] = {name: score_summary(table, SCORES) for name, table in rows.items()}
    results["base - Basic Pitch, note F"] = bootstrap_difference(f1["base"], f1["Basic Pitch"])
    factor = float(np.mean(f1["base"]) / np.mean(f1["Basic Pitch"]))
    return results, [goal("note F of ours / Basic Pitch, test split", factor, at_least=1.1)]


def pictures(results: dict) -> dict[str, dict[str, float]]:
    at_60 = results["commands"]["60 s"]
    return {
        "CPU seconds for 60 s of audio": {name: times["cpu"]["median"] for name, times in at_60["times"].items()},
        "peak memory at 600 s, MB": results["commands"]["600 s"]["peak_mb"],
        "note F, test split": {
            name: results["accuracy"][name]["all"]["note_f1"][0] for name in (*MODELS, "Basic Pitch")
        },
    }


if __name__ == "__main__":
    main()
