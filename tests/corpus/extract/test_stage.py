"""Extraction: the score on annotated pages, the rules, and answers that do not depend on earlier pages."""

from __future__ import annotations

import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from corpus.extract import stage as extract
from corpus.schema import DOCUMENTS, DROPPED, Drop, replace_column
from corpus.text.charset import Decoded
from tests.support.web_pages import ARTICLE, REPEATED, SENTENCE, html, pages


def responses(path: Path) -> list[tuple[str, bytes, str | None]]:
    """(URL, body, charset of the HTTP header) of each response."""
    found = []
    with path.open("rb") as file:
        for record in ArchiveIterator(file):
            if record.rec_type == "response":
                named = re.search(r"charset=([\w-]+)", record.http_headers.get_header("Content-Type", ""))
                url = record.rec_headers.get_header("WARC-Target-URI")
                found.append((url, record.content_stream().read(), named and named.group(1)))
    return found


def segment_counts(path: Path, segments: dict[str, dict[str, list[str]]]) -> tuple[int, int, int]:
    """(wanted segments found, wanted ones missing, unwanted ones found) in the pages of one WARC."""
    config = extract.Config(favor="balanced")
    found = missing = unwanted = 0
    for url, body, charset in responses(path):
        if url in segments:
            text = extract.extract(body, charset, config)
            spaced = "" if isinstance(text, Drop) else " ".join(text.split())
            hits = sum(" ".join(segment.split()) in spaced for segment in segments[url]["with"])
            found += hits
            missing += len(segments[url]["with"]) - hits
            unwanted += sum(" ".join(segment.split()) in spaced for segment in segments[url]["without"])
    return found, missing, unwanted


# The one slow test of this file, half a minute: all 990 annotated pages, so that the figure is the published one.
def test_acceptance_score_on_annotated_pages(testdata: Path) -> None:
    segments = json.loads((testdata / "gold/extraction_segments.json").read_text(encoding="utf-8"))
    paths = sorted((testdata / "warc").glob("DEV-*.warc.gz"))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        counts = list(pool.map(segment_counts, paths, [segments] * len(paths)))
    found, missing, unwanted = (sum(column) for column in zip(*counts, strict=True))
    assert found + missing == sum(len(page["with"]) for page in segments.values())
    f1 = 2 * found / (2 * found + missing + unwanted)
    assert f1 >= 0.92


def test_kept_pages_are_documents() -> None:
    kept, dropped, *_ = extract.process(pages([html(ARTICLE), b""]), extract.Config())
    assert (kept.schema, dropped.schema) == (pa.schema([*DOCUMENTS, extract.ENCODING]), DROPPED)
    (row,) = kept.to_pylist()
    assert SENTENCE.strip(" ,") in row.pop("text")
    assert row == {
        "id": "<urn:uuid:0>",
        "dump": "CC-MAIN-2026-43",
        "url": "https://example.org/0",
        "date": "2026-10-17T00:00:00Z",
        "file_path": "s3://example/a.warc.gz",
        "language": None,
        "language_score": None,
        "token_count": None,
        "warc_offset": 0,
        "warc_length": 7,
        "encoding": "utf-8",
    }
    (row,) = dropped.to_pylist()
    assert (row["id"], row["stage"], row["warc_offset"]) == ("<urn:uuid:1>", "extract", 1)
    assert (row["rule"], row["value"], row["threshold"], row["text"]) == ("extract.empty", "0", "1", None)


def test_navigation_is_left_out() -> None:
    text = extract.extract(html(ARTICLE), "utf-8", extract.Config())
    assert isinstance(text, str)
    assert "Basket" not in text
    assert text == text.strip()


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"\0\0\0", b"plain words", html(""), html("<p> </p>"), b"<", b"\xff\xfe\x00"]
)
def test_a_page_without_text_is_empty_or_has_text(body: bytes) -> None:
    text = extract.extract(body, None, extract.Config())
    if isinstance(text, Drop):
        assert text.rule == "extract.empty"
    else:
        assert text


def test_short_text_is_dropped_with_its_length() -> None:
    text = extract.extract(html(ARTICLE), None, extract.Config())
    assert isinstance(text, str)
    assert extract.extract(html(ARTICLE), None, extract.Config(min_chars=len(text))) == text
    drop = extract.extract(html(ARTICLE), None, extract.Config(min_chars=len(text) + 1))
    assert drop == Drop("extract.empty", len(text), len(text) + 1)


def test_too_many_tags() -> None:
    body = html(ARTICLE)
    tags = body.count(b"<")
    assert extract.extract(body, None, extract.Config(max_tags=tags - 1)) == Drop(
        "extract.too_many_tags", tags, tags - 1
    )
    assert isinstance(extract.extract(body, None, extract.Config(max_tags=tags)), str)
    monster = b"<html><body>" + b"<p>word" * 100_000
    (row,) = extract.process(pages([monster]), extract.Config()).dropped.to_pylist()
    assert (row["rule"], row["value"], row["threshold"]) == ("extract.too_many_tags", "100002", "100000")


@pytest.mark.parametrize("start", [0, 1, 19, 20, 21, 59])
def test_too_many_attributes(start: int) -> None:
    limited = extract.Config(max_attributes=10)
    before = "<p>" + "x" * start
    for count in (10, 11, 300):
        page = f"{before}<p {' '.join(f'{number}=1' for number in range(count))}>{SENTENCE}"
        found = extract.main_text(Decoded(page, "utf-8"), limited)
        expected = Drop("extract.too_many_attributes", count, 10)
        assert found == expected if count > 10 else found != expected
    one = f"{before}<p class='{'x ' * 300}'>{SENTENCE}"
    assert extract.most_attributes(one, 10) == 0  # all of it is one attribute
    assert extract.most_attributes(f"{before}<!doctype {'x ' * 300}>", 10) == 0
    assert extract.most_attributes(f"{before}<script>i<n; {'1, ' * 300}</script>", 10) == 0
    assert extract.most_attributes(f"{before}<script>i<n; </SCRIPT><p {'a ' * 300}", 10) == 300
    assert extract.most_attributes(f"{before}<p {'a ' * 300}", 10) == 300
    assert extract.most_attributes(f"{before}<!-- <p {'a ' * 300} -->", 10) == 0
    assert extract.most_attributes(f"<!-- <script -->{before}<p {'a ' * 300}>", 10) == 300
    for separated in (" a=' > '", "a='<'", '/a=">"', " a=it's ", " < a", "\na =\n'<p'"):
        assert extract.most_attributes(f"{before}<p {separated * 300}><p>", 10) >= 300


@pytest.mark.parametrize(("tags", "each"), [(150, 9900), (5, 2001), (49, 205), (8_000, 250)])
@pytest.mark.parametrize("attribute", ["a{}", 'a{}=">"', "a{}=1"])
def test_many_tags_with_many_attributes(tags: int, each: int, attribute: str) -> None:
    tag = f"<p {' '.join(attribute.format(number) for number in range(each))}>word</p>"
    start = time.process_time()
    drop = extract.main_text(Decoded(tag * tags, "utf-8"), extract.Config())
    assert drop == Drop("extract.too_many_attributes", tags * each, 10_000)
    assert time.process_time() - start < 10
    assert extract.most_attributes(tag * (10_000 // each), 10_000) == 0
    assert extract.most_attributes(f"<p {'a ' * 200}>" * 1000, 10_000) == 0  # 200 are not many


@given(st.lists(st.sampled_from(["<p", "<", ">", " a", " b=1", " c='d e'", "text "]), max_size=80), st.integers(1, 6))
def test_a_tag_of_many_attributes_is_found_wherever_it_is(parts: list[str], limit: int) -> None:
    html = "".join(parts)
    tags = [len(re.sub("'[^']*'", " ", tag).split()) - 1 for tag in re.findall("<[a-z][^>]*", html)]
    assert extract.most_attributes(html, limit) == sum(count for count in tags if count > limit)


def test_pages_of_the_crawl_have_no_such_tags(testdata: Path) -> None:
    pages = responses(min((testdata / "warc").glob("DEV-*.warc.gz")))
    assert not any(extract.most_attributes(body.decode("latin-1"), 1_000) for _, body, _ in pages)


RESILIPARSE = extract.Config(extractor="resiliparse")


def test_resiliparse() -> None:
    comment = "<div id='comments'><div class='comment'><p>A reader was here and liked it.</p></div></div>"
    table = "<table><tr><td>First harbour cell</td><td>Second harbour cell</td></tr></table>"
    batch = pages([html(f"<article><h1>Town</h1>{ARTICLE}{table}</article>{comment}"), b"", html("<p> </p>")])
    kept, dropped, *_ = extract.process(batch, RESILIPARSE)
    (text,) = kept.column("text").to_pylist()
    assert SENTENCE.strip(" ,") in text
    assert "Basket" not in text
    assert "A reader was here" not in text
    assert "Second harbour cell" in text
    assert dropped.column("rule").to_pylist() == ["extract.empty"] * 2
    (bare,) = extract.process(batch, replace(RESILIPARSE, tables=False)).kept.column("text").to_pylist()
    assert "Second harbour cell" not in bare
    (full,) = extract.process(batch, replace(RESILIPARSE, comments=True)).kept.column("text").to_pylist()
    assert "A reader was here" in full
    assert extract.resources(RESILIPARSE).keys() == {"resiliparse"}
    assert extract.resources(extract.Config()) == {}


@pytest.mark.parametrize(
    "body",
    [
        "<svg><path d='M0 0'/><text>in a drawing</text></svg>" + ARTICLE,
        "<svg><foreignObject><body><p>inside</p></body></foreignObject></svg>" + ARTICLE,
        "<svg><svg><svg><title>nested</title><desc><div>" + ARTICLE,
        "<math><mi>x</mi><annotation-xml encoding='text/html'><p>y</p></annotation-xml></math>" + ARTICLE,
        ARTICLE + "<svg class='x' id xlink:href='#a' xml:lang=en><use/><script>1</script><style>p{}</style>",
        "<svg>" * 3000 + ARTICLE,
        "<p>" + "<svg><p>" * 500 + ARTICLE,
    ],
)
def test_resiliparse_survives_drawings(body: str) -> None:
    kept, dropped, *_ = extract.process(pages([html(body)]), RESILIPARSE)
    assert kept.num_rows + dropped.num_rows == 1


def test_a_missing_resiliparse_is_reported_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resiliparse.extract.html2text", None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'resiliparse>=2,<3'"):
        extract.Config(extractor="resiliparse")


@pytest.mark.parametrize("error", [ValueError, RecursionError, AttributeError, KeyError, UnicodeError])
def test_an_exception_drops_the_page_with_its_name(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error("odd markup")

    monkeypatch.setattr("corpus.extract.trafilatura_fast.main_text", fail)
    (row,) = extract.process(pages([html(ARTICLE)]), extract.Config()).dropped.to_pylist()
    assert (row["rule"], row["value"]) == ("extract.error", error.__name__)


def test_a_fault_of_the_machine_drops_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise MemoryError

    monkeypatch.setattr("corpus.extract.trafilatura_fast.main_text", fail)
    with pytest.raises(MemoryError):
        extract.extract(html(ARTICLE), None, extract.Config())


def test_text_is_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.extract.trafilatura_fast.main_text", lambda *_, **__: " \ud800a\0b\udfff\n")
    assert extract.extract(html(""), None, extract.Config()) == "ab"


def test_earlier_pages_do_not_matter() -> None:
    repeated = html(f"<article>{ARTICLE}<ul>{REPEATED * 9}</ul></article>")
    once = extract.extract(repeated, None, extract.Config())
    again = [extract.extract(repeated, None, extract.Config()) for _ in range(6)]
    assert again == [once] * 6
    together = extract.process(pages([repeated] * 5), extract.Config()).kept
    assert together.column("text").to_pylist() == [once] * 5


def test_settings_reach_trafilatura() -> None:
    base = extract.Config()
    table = html(ARTICLE + "<table><tr><td>First harbour cell</td><td>Second harbour cell</td></tr></table>")
    assert "Second harbour cell" in str(extract.extract(table, None, base))
    assert "Second harbour cell" not in str(extract.extract(table, None, replace(base, tables=False)))
    repeated = html(f"<article>{ARTICLE}<ul>{REPEATED * 9}</ul></article>")
    longer = extract.extract(repeated, None, replace(base, deduplicate=False))
    assert len(str(longer)) > len(str(extract.extract(repeated, None, base)))
    comments = html(
        ARTICLE + "<div id='comments'><div class='comment'><p>A reader was here and liked it.</p></div></div>"
    )
    assert "A reader was here" not in str(extract.extract(comments, None, base))
    assert "A reader was here" in str(extract.extract(comments, None, replace(base, comments=True)))


def test_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    extract.process(pages([b"", b"no markup at all", b"<p>x</p>", html(ARTICLE)]), extract.Config())
    assert capfd.readouterr() == ("", "")


def test_text_that_was_extracted_before_is_taken_as_it_is() -> None:
    bodies = [b"\n<b>one</b>\r\ntwo\rthree\0\n", "\ufeffżółw".encode(), b" \n"]
    batch = replace_column(pages(bodies), "media", pa.array(["text/plain"] * 3))
    kept, dropped, *_ = extract.process(batch, extract.Config())
    assert kept.column("text").to_pylist() == ["<b>one</b>\ntwo\nthree", "żółw"]
    assert kept.column("encoding").to_pylist() == ["utf-8", "utf-8"]
    assert dropped.column("rule").to_pylist() == ["extract.empty"]


def test_the_encoding_is_a_column() -> None:
    german = html(f"<p>Grüße. {SENTENCE * 9}</p>").decode()
    bodies = [german.encode(), german.encode("cp1252"), german.encode("utf-16")]
    kept, *_ = extract.process(pages(bodies), extract.Config())
    assert kept.column("encoding").to_pylist() == ["utf-8", "windows-1252", "utf-16le"]
    assert len(set(kept.column("text").to_pylist())) == 1


def test_an_empty_batch() -> None:
    kept, dropped, *_ = extract.process(pages([]), extract.Config())
    assert (kept.num_rows, dropped.num_rows) == (0, 0)
    assert (kept.schema, dropped.schema) == (pa.schema([*DOCUMENTS, extract.ENCODING]), DROPPED)
