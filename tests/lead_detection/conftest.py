import pytest

from common import corpus


@pytest.fixture(scope="session")
def lead_corpus(tmp_path_factory) -> corpus.Corpus:
    return corpus.build("lead-tiny", 24_000, root=tmp_path_factory.mktemp("data"), jobs=1, progress=False)
