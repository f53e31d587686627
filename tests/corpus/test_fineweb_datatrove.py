"""FineWeb's text filters, in order, beside datatrove's, with which FineWeb was made, on pages in many languages.

They may differ where the two split words differently: spaCy, which datatrove asks, takes `im` for a contraction, leaves
the full stop after a unit (`cm³.`) and does not part Chinese characters, and a share that lies at its threshold then
falls on the other side.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.extract import stage as extract
from corpus.warc.pages import Page, read_pages
from tests.oracles.fineweb_datatrove import datatrove_fate, datatrove_filters, our_fates

AGREE = 0.98


@pytest.fixture(scope="module")
def texts(testdata: Path) -> list[str]:
    """The main texts of a hundred pages, and some of the near-duplicates, evenly spaced."""
    config = extract.Config()
    with (testdata / "warc/DEV-20240518000000-00003.warc.gz").open("rb") as file:
        pages = [page for page in itertools.islice(read_pages(file, "x"), 100) if isinstance(page, Page)]
    found = [extract.extract(page.html, page.charset, config) for page in pages]
    more = pq.read_table(testdata / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()
    return [text for text in found if isinstance(text, str)] + more[:: len(more) // 70]


def test_the_same_documents_are_kept_with_the_same_text(texts: list[str]) -> None:
    pytest.importorskip("datatrove", reason="pip install '.[bench]'")
    pytest.importorskip("spacy", reason="pip install '.[bench]'")
    filters = datatrove_filters()
    pairs = list(zip(our_fates(texts), (datatrove_fate(text, filters) for text in texts), strict=True))
    kept = [(ours, theirs) for ours, theirs in pairs if "" in (ours[0], theirs[0])]
    assert len(kept) > 30
    assert len(pairs) - len(kept) > 30
    other = [(ours, theirs) for ours, theirs in pairs if ours[0] != theirs[0]]
    assert len(other) <= (1 - AGREE) * len(pairs), other
    other = [(ours, theirs) for ours, theirs in kept if ours[0] != theirs[0]]
    assert len(other) <= (1 - AGREE) * len(kept), other
    assert [ours for ours, theirs in kept if ours[0] == theirs[0] and ours != theirs] == []
