"""Vocabularies for these tests: the published ones beside tiktoken's encoders, and a small trained one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bpe.encode import Encoder
from bpe.files import PUBLISHED, load_vocabulary
from bpe.train import train
from bpe.vocabulary import Vocabulary
from tests.support.bpe_texts import Published, reference


@pytest.fixture(scope="session", params=list(PUBLISHED))
def published(request: pytest.FixtureRequest, testdata: Path) -> Published:
    vocabulary = load_vocabulary(testdata / "tokenizers" / f"{request.param}.tiktoken")
    # A cache of 64 entries: evictions all the time, so that stale or clashing entries would show.
    return Published(request.param, Encoder(vocabulary, cache_entries=64), reference(vocabulary))


@pytest.fixture(scope="session")
def news(testdata: Path) -> list[str]:
    """About 300 KB of English in documents."""
    with gzip.open(testdata / "text/en_news_web.txt.gz", "rt", encoding="utf-8") as file:
        return file.read(300_000).split("<|endoftext|>")


@pytest.fixture(scope="session")
def small(news: list[str]) -> Vocabulary:
    return train(news, 1000, "cl100k")
