"""What these tests share: the published vocabularies beside tiktoken's encoders, a small trained one, odd texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import pytest
import tiktoken
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.files import PUBLISHED, load_vocabulary
from bpe.patterns import regex
from bpe.train import train
from bpe.vocabulary import Vocabulary


class Published(NamedTuple):
    name: str
    ours: Encoder
    tiktoken: tiktoken.Encoding


def reference(vocabulary: Vocabulary) -> tiktoken.Encoding:
    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
    return tiktoken.Encoding(
        "reference",
        pat_str=regex(vocabulary.pattern),
        mergeable_ranks=ranks,
        special_tokens=dict(vocabulary.special_tokens),
    )


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


ODD = """
the cat's DON'T I'LL we'Ve don't it'S x'\u017f ' 's '' Hello HelloWorld helloWORLD ABCdef e\u0301 E\u0301x
naïve ŁÓDŹ Ωμέγα привет 你好世界 こんにちは カタカナ \u0e2a\u0e27\u0e31\u0e2a नमस्ते ǅungla ʰʲ ªº
123 4567 ½²Ⅷ ٣٤٥ 1e-5 // /* */ #include <a.h> {}[](); ==> __init__ a/b/c \\n https://x.y/?z=1 <|endoftext|>
😀 👩\u200d👩\u200d👧 \u0301 \u200d
"""
WORDS = ODD.split()
SPACES = (
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    "\n\n ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\u0085",
    "\x1c",
    "\x0b",
    " \n ",
    "/",
    "",
)
pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(SPACES),
    st.text(max_size=6),
    st.builds(
        str.__mul__,
        st.sampled_from(["a", "ab", " ", "\n", "é", "'s", "A", "1", "=", "字", "\u0301"]),
        st.integers(1, 90),
    ),
)
texts = st.lists(pieces, max_size=12).map("".join)


@pytest.fixture(scope="session")
def small(news: list[str]) -> Vocabulary:
    return train(news, 1000, "cl100k")
