"""Pages made to exhaust an extractor: `corpus extract` ends, and each of them has exactly one outcome."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.command import command
from tests.support.crawl_server import write_warc

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
    "quoted attributes": START + "<p " + " ".join(f'a{number}="<>"' for number in range(15_000)) + ">text</p><p>x</p>",
    "many attributes": START + f"<p {' '.join(f'a{number}=1' for number in range(9_900))}>text</p>" * 150,
    "attribute": START + "<p class='" + "x " * 5_000_000 + "'>text</p><p>y</p>",
}


LONG = {"rows", "text", "attribute", "tables", "lists"}
RULES = {
    **dict.fromkeys(("paragraphs", "rows"), "too_many_tags"),
    **dict.fromkeys(("attributes", "quoted attributes", "many attributes"), "too_many_attributes"),
}


DRAWINGS = {
    "plain": "<svg><path d='M0 0'/><text>in a drawing</text></svg>",
    "page inside": "<svg><foreignObject><body><p>inside</p></body></foreignObject></svg>",
    "open": "<svg class='x' id xlink:href='#a' xml:lang=en><use/><script>1</script><style>p{}</style>",
    "nested": "<svg><svg><title>nested</title><desc><div>" * 300,
    "formula": "<math><mi>x</mi><annotation-xml encoding='text/html'><p>y</p></annotation-xml></math>",
    "cut": "<svg viewBox='0 0 1",
}


def extracted(tmp_path: Path, pages: dict[str, str], *options: str) -> tuple[list[str], dict[str, str]]:
    """`corpus extract`: the names of the pages that were kept, and the rules for which the others were dropped."""
    crawl, docs = tmp_path / "odd.warc.gz", tmp_path / "docs"
    base = "https://example.org/"
    crawl.write_bytes(write_warc([(base + name.replace(" ", "-"), page.encode()) for name, page in pages.items()]))
    command("corpus", "extract", crawl, "-o", docs, *options)
    kept, dropped = (
        [row for file in (docs / folder).glob("*.parquet") for row in pq.read_table(file).to_pylist()]
        for folder in ("data", "dropped")
    )
    names = {base + name.replace(" ", "-"): name for name in pages}
    assert sorted(row["url"] for row in kept + dropped) == sorted(names)
    return [names[row["url"]] for row in kept], {names[row["url"]]: row["rule"] for row in dropped}


@pytest.mark.parametrize(
    "names", [pytest.param(PAGES.keys() - LONG, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)]
)
def test_each_page_ends_and_has_one_outcome(tmp_path: Path, names: set[str]) -> None:
    kept, dropped = extracted(tmp_path, {name: PAGES[name] for name in names}, "--page-seconds", "15")
    assert kept == []  # none of these is a text in a language
    for name in names & RULES.keys():
        assert dropped[name] == f"extract.{RULES[name]}"


def test_resiliparse_survives_drawings(tmp_path: Path) -> None:
    article = "<article>" + "<p>A sentence of the page about the old harbour, and more of it.</p>" * 9 + "</article>"
    pages = {
        f"{name} {place}": START + page
        for name, drawing in DRAWINGS.items()
        for place, page in (("before", drawing + article), ("after", article + drawing), ("alone", drawing))
    }
    kept, dropped = extracted(tmp_path, pages, "--extractor", "resiliparse", "--language", "all")
    assert {name for name in pages if name.endswith("after")} <= set(kept)
    assert set(dropped.values()) <= {"extract.empty"}


def test_a_missing_extractor_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/resiliparse.py").write_text("raise ImportError", encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(tmp_path / "hidden"), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    crawl = tmp_path / "crawl.warc.gz"
    crawl.write_bytes(write_warc([("https://example.org/", b"<p>text")]))
    done = command("corpus", "extract", crawl, "-o", tmp_path / "docs", "--extractor", "resiliparse", code=2)
    (line,) = [line for line in done.stderr.splitlines() if "resiliparse" in line]
    assert "not installed: pip install 'resiliparse>=2,<3'" in line
    assert not (tmp_path / "docs").exists()
