"""`python -m common.datasets TABLE`: decode the data sets of a table once, for training."""

import argparse
import sys
from pathlib import Path

from common.audio import AudioError
from common.datasets import preset
from common.datasets.files import DatasetError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m common.datasets", description="Decode the data sets of a table once, for training."
    )
    parser.add_argument("table", type=Path, help="YAML, such as yourmt3plus/configs/data/all_cross.yaml")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="Hz (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=(), metavar="ROW", help="only these rows of the table")
    parser.add_argument("--root", help="folder for data (default: $TUTTI_DATA, or data)")
    parser.add_argument("--jobs", type=int, help="processes (default: one per CPU)")
    parser.add_argument("--list", action="store_true", help="only count the recordings of each split")
    options = parser.parse_args(argv)
    try:
        rows = preset.load(options.table, options.only)
        for row in rows:
            splits = [recording.split for recording in row.recordings(options.root)]
            print(row.name, *(f"{use} {splits.count(use)}" for use in preset.USES), f"weight {row.weight}", sep="\t")
        if not options.list:
            preset.decode(rows, options.sample_rate, options.root, jobs=options.jobs)
    except (DatasetError, AudioError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
