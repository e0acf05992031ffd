"""Labelled recordings as a user has them: a folder, a table or prepared data, as a store of log-mels."""

import os
from collections.abc import Sequence
from pathlib import Path

from common.datasets.files import DatasetError
from common.pieces import content_hash
from diffusion_pir.melstore import FRONT_END, MelStore, Source, write_store
from diffusion_pir.sources import classes_of, csv_sources, folder_sources


def open_labelled(path: str | Path, cache: str | Path | None = None) -> MelStore:
    """The clips of a folder `<label>/*.wav`, of a CSV `path,labels`, or of prepared data.

    Log-mels of a folder or table are made once and kept, until a file changes.

    Args:
        path: what there is. Clips without a split of their own are all in "train".
        cache: folder for what is kept; none means `labelled` in $TUTTI_DATA, or in `data`.

    Raises:
        DatasetError: it is none of these, or of another front-end.
        AudioError: a file is damaged.
    """
    path = Path(path)
    if (path / "index.json").exists():
        store = MelStore.open(path)
        if store.front_end != FRONT_END:
            raise DatasetError.about(path, f"was prepared as {store.front_end}, not {FRONT_END}; prepare it again")
        return store
    sources = folder_sources(path, validation=0.0) if path.is_dir() else csv_sources(path, validation=0.0)
    cache = Path(cache or Path(os.environ.get("TUTTI_DATA", "data"), "labelled"))
    return write_store(cache / state_of(sources), sources, classes_of(sources))


def state_of(sources: Sequence[Source]) -> str:
    """Hash of clips and of when their files were changed."""
    stats = [os.stat(source.clip.path) for source in sources if os.path.exists(source.clip.path)]
    changed = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return content_hash([(source.clip.id, source.clip.labels) for source in sources], changed)[:16]
