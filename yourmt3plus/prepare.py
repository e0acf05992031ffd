"""`python -m yourmt3plus prepare`: a public data set as it was downloaded -> a folder that `data.corpora` takes."""

import argparse
import sys
from collections.abc import Sequence

from common.audio import AudioError
from common.corpus import FIRST_SEED
from common.datasets import catalogue
from common.datasets.files import DatasetError
from common.datasets.prepared import SPLITS, prepare
from common.datasets.recording import Recording


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m yourmt3plus prepare",
        description="Decode a data set once, so that training can read any second of it at once.",
        epilog="Then train with --data.corpora='{\"FOLDER\": WEIGHT, ...}'. An interrupted run goes on where it ended.",
    )
    parser.add_argument("name", choices=catalogue.DATASETS, help="of the data set")
    parser.add_argument("root", help="folder of the data set")
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="to write to")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="Hz (default: %(default)s)")
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        type=_renamed,
        metavar="ITS=OURS",
        help=f"take its split ITS as {', '.join(FIRST_SEED)}; may be repeated (default: those of these names; a data "
        "set without splits is all for training)",
    )
    return parser


def _renamed(text: str) -> tuple[str, str]:
    its, _, ours = text.partition("=")
    if ours not in FIRST_SEED:
        raise argparse.ArgumentTypeError(f"{text}: write ITS=OURS, where OURS is {', '.join(FIRST_SEED)}")
    return its, ours


def splits_of(recordings: Sequence[Recording], chosen: Sequence[tuple[str, str]]) -> dict[str | None, str]:
    """Which splits of a data set are taken, and as what."""
    if all(recording.split is None for recording in recordings):
        return {None: "train"}
    return dict(chosen) if chosen else SPLITS


def prepare_command(args: list[str]) -> int:
    """Exit code 0, or 2 if the data set is not as it should be; the reason was printed."""
    options = build_parser().parse_args(args)
    try:
        recordings = catalogue.recordings(options.name, options.root)
        splits = splits_of(recordings, options.split)
        corpus = prepare(recordings, options.out, options.sample_rate, splits)
    except (DatasetError, AudioError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    hours = sum(piece.seconds for piece in corpus.pieces()) / 3600
    print(f"{corpus.folder}: {len(corpus.pieces())} recordings, {hours:.2f} h")
    return 0
