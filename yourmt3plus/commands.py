"""`python -m yourmt3plus transcribe`: files and folders in, a MIDI file with a track for each instrument out."""

import argparse

from common.options import transcription_parser

PRECISIONS = ("float32", "bfloat16")


def build_parser() -> argparse.ArgumentParser:
    parser = transcription_parser("yourmt3plus", "maps, or an exported .safetensors file", "maps")
    parser.add_argument(
        "--instruments",
        metavar="NAMES",
        help="only these, with commas: piano, bass, drums, singing ..., or names of General MIDI",
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--batch-size", type=int, metavar="N", help="segments of 2 s at a time: speed against memory")
    parser.add_argument("--one-pass", action="store_true", help="do not write again what contradicts what came before")
    parser.add_argument("--simple", action="store_true", help="the plain path of decoding, many times as slow")
    return parser


def transcribe_command(args: list[str]) -> int:
    """Exit code 0 if every file was transcribed, 2 if any was refused; the others are done all the same."""
    options = build_parser().parse_args(args)
    # Only now what costs time to import, so that --help answers at once.
    from common.jobs import carry_out
    from yourmt3plus import files

    return carry_out(lambda: files.plan(options), lambda jobs: files.run(jobs, options))
