"""`python -m lightweight_amt transcribe`: files and folders in, a MIDI file each out."""

import argparse
from pathlib import Path

MOST_INSTRUMENTS = 15  # a MIDI file has as many channels beside the drums
SETTINGS = (
    "onset_threshold", "frame_threshold", "offset_threshold", "relative", "unstruck_threshold", "unstruck_length",
    "min_length",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightweight_amt transcribe",
        description="Transcribe audio files (wav, flac, ogg, opus, mp3, aiff) to MIDI.",
    )
    parser.add_argument("audio", nargs="+", type=Path, help="audio files, or folders to search for them")
    parser.add_argument("-o", "--out", type=Path, help="folder, or for one file a .mid; beside the audio if not given")
    parser.add_argument(
        "--model", default="base", help="base, nano, or an exported .onnx or .safetensors file (default: base)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda or mps with torch (default: cpu)")
    parser.add_argument(
        "--instruments",
        type=count,
        metavar="auto|N",
        help="a track for each instrument: how many there are, or auto to let the program find out",
    )
    parser.add_argument(
        "--pitch-bends",
        action="store_true",
        help="also tell how pitches move: in the MIDI where one note of a track sounds alone, and in the JSON",
    )
    parser.add_argument("--json", action="store_true", help="also write the notes as JSON")
    parser.add_argument("--csv", action="store_true", help="also write the notes as CSV")
    parser.add_argument("--plot", action="store_true", help="also write a picture of the piano roll")
    parser.add_argument("--sonify", action="store_true", help="also write a WAV: the recording left, the notes right")
    for name in SETTINGS:
        unit = "seconds" if name.endswith("length") else "0 to 1"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, help=f"{unit}, instead of what the weights bring"
        )
    parser.add_argument("--skip-existing", action="store_true", help="leave files alone whose MIDI is there already")
    parser.add_argument("--jobs", type=int, default=1, help="files at the same time (default: 1)")
    return parser


def count(text: str) -> int | str:
    if text != "auto" and (not text.isdecimal() or not 1 <= int(text) <= MOST_INSTRUMENTS):
        raise argparse.ArgumentTypeError(f"auto, or a number from 1 to {MOST_INSTRUMENTS}, not {text!r}")
    return text if text == "auto" else int(text)


def transcribe_command(args: list[str]) -> int:
    """Exit code 0 if every file was transcribed, 2 if any was refused; the others are done all the same."""
    options = build_parser().parse_args(args)
    # Only now what costs time to import, so that --help answers at once.
    from common.jobs import carry_out
    from lightweight_amt import files

    return carry_out(lambda: files.plan(options), lambda jobs: files.run(jobs, options))
