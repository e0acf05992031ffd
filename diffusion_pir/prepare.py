"""`python -m diffusion_pir prepare`: data sets as they were downloaded, or the embedded corpus -> a store of log-mels.

Every file is decoded once. An interrupted run goes on where it ended. Sources may be combined in one store:

    prepare --irmas IRMAS-TrainingData --irmas IRMAS-TestingData --openpir OpenPIR_metadata.json openmic-2018 --out DIR
    prepare --folder my_sounds --classes harp,viola --out DIR
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common import predominance
from common.audio import AudioError
from common.corpus import CorpusError
from common.datasets.files import DatasetError
from common.instruments import IRMAS
from common.render import RenderError
from diffusion_pir.front_ends import FRONT_ENDS
from diffusion_pir.melstore import SPLITS, MelStore, Source, write_store
from diffusion_pir.sources import (
    VALIDATION,
    classes_of,
    csv_sources,
    folder_sources,
    irmas_sources,
    openmic_sources,
    openpir_sources,
    predominance_sources,
)


def prepare(options: argparse.Namespace) -> MelStore:
    """The store that the options ask for."""
    sources = gather(options)
    if not sources:
        raise DatasetError("nothing to prepare; name a source, as --irmas FOLDER or --folder FOLDER")
    of_irmas = {label for source in sources for label in source.clip.labels} <= {*IRMAS}
    classes = options.classes.split(",") if options.classes else tuple(IRMAS) if of_irmas else classes_of(sources)
    return write_store(options.out, sources, classes, options.front_end)


def gather(options: argparse.Namespace) -> list[Source]:
    """The clips of all sources that are named."""
    drawn = {"validation": options.validation, "seed": options.seed}
    sources: list[Source] = []
    if options.irmas:
        sources += irmas_sources(options.irmas, **drawn)
    for metadata, root in options.openpir:
        others = {"keep_other": options.keep_other, "leave_out_test": options.leave_out_openmic_test}
        sources += openpir_sources(metadata, root, **others, **drawn)
    for root in options.openmic:
        sources += openmic_sources(root)
    for root in options.folder:
        sources += folder_sources(root, **drawn)
    for path in options.csv:
        sources += csv_sources(path, **drawn)
    for size in options.predominance:
        fonts = {"soundfonts": options.soundfont, "test_soundfont": options.test_soundfont}
        sources += predominance_sources(predominance.build(size, root=options.root, jobs=options.jobs, **fonts))
    return sources


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m diffusion_pir prepare", description="Log-mels of data sets, computed once for training."
    )
    many = {"action": "append", "default": []}
    made.add_argument(
        "--irmas", **many, type=Path, metavar="FOLDER", help="IRMAS, training or testing; may be repeated"
    )
    made.add_argument("--openpir", **many, type=Path, nargs=2, metavar=("JSON", "FOLDER"), help="OpenPIR, and OpenMIC")
    made.add_argument("--openmic", **many, type=Path, metavar="FOLDER", help="all of OpenMIC, its own labels")
    made.add_argument(
        "--folder", **many, type=Path, metavar="FOLDER", help="<label>/*.wav or <label>/<recording>/*.wav"
    )
    made.add_argument(
        "--csv", **many, type=Path, metavar="FILE", help="columns path, labels (a;b), group, split, drums"
    )
    made.add_argument("--predominance", **many, choices=list(predominance.SIZES), help="the embedded corpus")
    made.add_argument("--soundfont", **many, metavar="FILE", help="of the embedded corpus; may be repeated")
    made.add_argument("--test-soundfont", metavar="FILE", help="another one for its test split")
    made.add_argument("--root", help="folder for the embedded corpus (default: $TUTTI_DATA, or data)")
    made.add_argument("--jobs", type=int, help="processes that render it (default: one per CPU)")
    made.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the store")
    made.add_argument("--front-end", choices=list(FRONT_ENDS), default="vocoder", help="(default: %(default)s)")
    made.add_argument("--classes", help="labels of the store, a,b,c (default: those of IRMAS, or all that there are)")
    made.add_argument("--keep-other", action="store_true", help='keep the label "other" of OpenPIR')
    made.add_argument("--leave-out-openmic-test", action="store_true", help="of OpenPIR, what OpenMIC tests on")
    made.add_argument("--validation", type=float, default=VALIDATION, help="share of recordings (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of their draw (default: %(default)s)")
    return made


def prepare_command(argv: Sequence[str]) -> int:
    """Run the command; returns an exit status."""
    options = parser().parse_args(argv)
    try:
        store = prepare(options)
    except (AudioError, CorpusError, DatasetError, RenderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    counts = Counter(clip.split for clip in store.clips())
    print(f"{store.folder}: {', '.join(f'{counts[split]} {split}' for split in SPLITS)}; {len(store.classes)} classes")
    return 0
