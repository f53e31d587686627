"""Pages made to exhaust an extractor: `corpus extract` ends, and each of them has exactly one outcome."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.corpus.crawl_server import write_warc
from tests.e2e.command import command

START = "<html><body>"
PAGES = {
    "paragraphs": START + "<p>word and more of it" * 100_000,
    "rows": START + "<table>" + "<tr><td>cell" * 100_000,
    "deep": START + "<div>" * 100_000 + "text",
    "lists": START + "<ul><li>" * 4_000 + "item",
    "tables": START + "<table><tr><td>" * 3_000 + "cell",
    "text": START + "<p>" + "word " * 3_000_000,
    "text too large": START + "<p>" + "word " * 10_000_000,
    "attributes": START + "<p " + " ".join(f"a{number}=1" for number in range(1_000_000)) + ">text</p><p>x</p>",
    "attribute": START + "<p class='" + "x " * 5_000_000 + "'>text</p><p>y</p>",
}


LONG = {"rows", "text", "attributes", "attribute", "tables", "lists"}


@pytest.mark.parametrize(
    "names", [pytest.param(PAGES.keys() - LONG, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)]
)
def test_each_page_ends_and_has_one_outcome(tmp_path: Path, names: set[str]) -> None:
    pages = [(f"https://example.org/{name.replace(' ', '-')}", PAGES[name].encode()) for name in sorted(names)]
    crawl = tmp_path / "odd.warc.gz"
    crawl.write_bytes(write_warc(pages))
    command("corpus", "extract", crawl, "-o", tmp_path / "docs", "--page-seconds", "15")
    kept, dropped = (
        [
            url
            for file in (tmp_path / "docs" / folder).glob("*.parquet")
            for url in pq.read_table(file)["url"].to_pylist()
        ]
        for folder in ("data", "dropped")
    )
    assert sorted(kept + dropped) == [url for url, _ in pages]
    assert len(dropped) == len(pages)  # none of these is a text in a language
