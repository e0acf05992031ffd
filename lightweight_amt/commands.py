"""`python -m lightweight_amt transcribe`: files and folders in, a MIDI file each out."""

import argparse

from common.options import transcription_parser

MOST_INSTRUMENTS = 15  # a MIDI file has as many channels beside the drums
SETTINGS = (
    "onset_threshold", "frame_threshold", "offset_threshold", "relative", "unstruck_threshold", "unstruck_length",
    "min_length",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = transcription_parser("lightweight_amt", "base, nano, or an exported .onnx or .safetensors file", "base")
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
    for name in SETTINGS:
        unit = "seconds" if name.endswith("length") else "0 to 1"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, help=f"{unit}, instead of what the weights bring"
        )
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


def evaluate_command(args: list[str]) -> int:
    """On the embedded corpus, or by the paper's protocol on a public data set if one is named; see there."""
    from lightweight_amt import evaluate, protocol

    on_data_set = any(word.split("=")[0] == "--dataset" for word in args)
    return (protocol.protocol_command if on_data_set else evaluate.evaluate_command)(args)
