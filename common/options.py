"""The options that every `transcribe` command has. Light to import, so that --help answers at once."""

import argparse
from pathlib import Path


def transcription_parser(package: str, models: str, default: str) -> argparse.ArgumentParser:
    """A parser to which a package adds what is its own.

    Args:
        package: that has the command.
        models: what --model may be, in words.
        default: name of the model that is taken if none is given.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {package} transcribe",
        description="Transcribe audio files (wav, flac, ogg, opus, mp3, aiff) to MIDI.",
    )
    parser.add_argument("audio", nargs="+", type=Path, help="audio files, or folders to search for them")
    parser.add_argument("-o", "--out", type=Path, help="folder, or for one file a .mid; beside the audio if not given")
    parser.add_argument("--model", default=default, help=f"{models} (default: {default})")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda or mps with torch (default: cpu)")
    parser.add_argument("--json", action="store_true", help="also write the notes as JSON")
    parser.add_argument("--csv", action="store_true", help="also write the notes as CSV")
    parser.add_argument("--plot", action="store_true", help="also write a picture of the piano roll")
    parser.add_argument("--sonify", action="store_true", help="also write a WAV: the recording left, the notes right")
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave files alone whose outputs are there already"
    )
    parser.add_argument("--jobs", type=int, default=1, help="files at the same time (default: 1)")
    return parser
