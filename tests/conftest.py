"""What many tests need once: rendered by the code that renders the corpora, tiny, and gone afterwards."""

import pytest

from common import corpus, predominance


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> corpus.Corpus:
    return corpus.build("tiny", root=tmp_path_factory.mktemp("data"), jobs=1, progress=False)


@pytest.fixture(scope="session")
def tiny_predominance(tmp_path_factory) -> predominance.PredominanceSet:
    return predominance.build("predominance-tiny", root=tmp_path_factory.mktemp("data"), jobs=1, progress=False)
