"""The public text files of the study, read where they lie; nothing of them is in this repository."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("TUTTI_LEAD_DATA", Path(__file__).parents[3] / "shared" / "data" / "lead_detection"))
ANNOTATIONS = FOLDER / "annotations"
MEDLEYDB = FOLDER / "medleydb"

needs_study = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"{FOLDER} is not there; TUTTI_LEAD_DATA may name a folder with annotations/ and medleydb/",
)
