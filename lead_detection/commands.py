"""`python -m lead_detection detect`: folders of stems in, the timeline of the lead of each out."""

import argparse
from pathlib import Path

SETTINGS = {
    "temperature": "above 0; a higher one makes the network less sure of itself",
    "null_bias": "above 0 fewer leads are found, below 0 more",
    "switch_probability": "0 to 1; that the lead changes within a second",
    "min_length": "seconds; no lead is shorter",
    "silence_db": "dB against the loudest moment; what is below is silence, and cannot lead",
    "silence_hold": "seconds; rests up to twice as long are no silence",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lead_detection detect",
        description="Tell who leads when, from folders that hold an audio file for each track of a song.",
    )
    parser.add_argument("stems", nargs="+", type=Path, help="folders, one for each song")
    parser.add_argument(
        "--mix", type=Path, help="the mixture of one song; else a file called so, or the sum of the tracks"
    )
    parser.add_argument(
        "-o", "--out", type=Path, help="folder, or for one song a file, such as lead.csv; else the folder of stems"
    )
    parser.add_argument(
        "--csv", action="store_true", help="write a CSV (which is what is written if nothing is asked for)"
    )
    parser.add_argument(
        "--json", action="store_true", help="write the segments and all that is known of the tracks as JSON"
    )
    parser.add_argument("--labels", action="store_true", help="write a label track for Audacity")
    parser.add_argument("--plot", action="store_true", help="write a picture of the timeline")
    parser.add_argument("--frames", action="store_true", help="write the probabilities of every frame as .npy")
    parser.add_argument("--instruments", type=Path, metavar="CSV", help="what the tracks play: columns file,instrument")
    parser.add_argument("--model", default="base", help="base, or an exported .safetensors file (default: base)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    for name, text in SETTINGS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, metavar="X", help=f"{text}; instead of what the weights bring"
        )
    return parser


def detect_command(args: list[str]) -> int:
    """Exit code 0 if every song was done, 2 if any was refused; the others are done all the same."""
    options = build_parser().parse_args(args)
    # Only now what costs time to import, so that --help answers at once.
    from common.jobs import carry_out
    from lead_detection import files

    return carry_out(lambda: files.plan(options), lambda jobs: files.run(jobs, options))
