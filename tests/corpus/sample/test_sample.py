"""The sample crawl: it has the same bytes each time, is whole or not there, and has a page for every case."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html
from warcio.archiveiterator import ArchiveIterator

from corpus.sample import docstring
from corpus.sample.docs import documentation
from corpus.sample.make import SampleSummary, write_sample
from corpus.sample.own import own_pages
from corpus.sample.template import page

PAGES = 24


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("sample") / "crawl", pages=PAGES)


def members(path: Path) -> list[bytes]:
    """The gzip members of a file, one by one; a damaged last member is left out."""
    data, found = path.read_bytes(), []
    while data:
        inflate = zlib.decompressobj(zlib.MAX_WBITS + 16)
        content = inflate.decompress(data)
        if not inflate.eof:
            break
        found.append(content)
        data = inflate.unused_data
    return found


def records(summary: SampleSummary) -> list[Any]:
    found = []
    for path in summary.paths:
        whole = b"".join(gzip.compress(member, mtime=0) for member in members(path))
        for record in ArchiveIterator(io.BytesIO(whole), check_digests="raise"):
            record.body = record.raw_stream.read()
            found.append(record)
    return found


def test_two_calls_give_the_same_bytes(sample: SampleSummary, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again", pages=PAGES)
    for first, second in zip(sample.paths, again.paths, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()
    assert (sample.paths[0].parent / "sample.json").read_bytes() == (tmp_path / "again/sample.json").read_bytes()


def test_another_seed_gives_other_pages(sample: SampleSummary, tmp_path: Path) -> None:
    other = write_sample(tmp_path / "other", pages=PAGES, seed=2)
    assert other.paths[0].read_bytes() != sample.paths[0].read_bytes()


def test_a_record_is_a_gzip_member_and_the_last_one_is_cut(sample: SampleSummary) -> None:
    first, last = sample.paths
    assert [path.name for path in sample.paths] == ["SAMPLE-00000.warc.gz", "SAMPLE-00001.warc.gz"]
    for path in sample.paths:
        for member in members(path):
            assert member.startswith(b"WARC/1.0\r\n")
            assert member.count(b"WARC-Record-ID: ") == 1
            assert member.endswith(b"\r\n\r\n")
    sound = zlib.decompressobj(zlib.MAX_WBITS + 16)
    assert gzip.decompress(first.read_bytes())  # every member is whole
    with pytest.raises(EOFError):
        gzip.decompress(last.read_bytes())
    assert sound.unused_data == b""


def test_records_are_laid_out_as_common_crawl_does(sample: SampleSummary) -> None:
    found = records(sample)
    kinds = Counter(record.rec_type for record in found)
    total = sample.pages + sample.copies + sample.own
    assert kinds == {"warcinfo": 2, "request": total, "response": total, "metadata": total}
    assert b"isPartOf: SAMPLE\r\n" in found[0].body
    by_order = [record.rec_type for record in found if record.rec_type != "warcinfo"]
    assert by_order == ["request", "response", "metadata"] * total
    ids = [record.rec_headers.get_header("WARC-Record-ID") for record in found]
    assert len(set(ids)) == len(ids)
    urls = [record.rec_headers.get_header("WARC-Target-URI") for record in found if record.rec_type == "response"]
    assert len(set(urls)) == len(urls) == total
    for url in urls:  # RFC 2606
        host = url.split("/")[2]
        assert host.endswith((".example", "example.org", "example.net")), url


def test_copies_are_exact_and_near(sample: SampleSummary) -> None:
    bodies = {
        record.rec_headers.get_header("WARC-Target-URI"): record.body
        for record in records(sample)
        if record.rec_type == "response"
    }
    exact = [url for url in bodies if url.startswith("https://mirror.example/")]
    near = [url for url in bodies if url.startswith("https://archive.example/")]
    assert len(exact) + len(near) == sample.copies
    originals = {body for url, body in bodies.items() if url not in exact}
    assert any(bodies[url] in originals for url in exact)
    assert all(bodies[url] not in originals - {bodies[url]} for url in near)
    assert all(b"This page describes release 3.11." in bodies[url] for url in near)


def test_a_finished_sample_is_left_alone(sample: SampleSummary) -> None:
    folder = sample.paths[0].parent
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = write_sample(folder, pages=PAGES)
    assert not again.created
    assert str(again).startswith("sample was there already: 24 pages of documentation")
    assert again == SampleSummary(again.paths, PAGES, sample.copies, sample.own, sample.bytes, created=False)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("text", ["[]", "3", "{", "[" * 100_000, '{"settings": 1}', '{"settings": {"pages": [1]}}'])
def test_a_list_of_a_sample_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "sample.json").write_text(text)
    with pytest.raises(ValueError, match=r"sample\.json: damaged|holds a sample made with"):
        write_sample(tmp_path, pages=25)


def test_what_is_there_is_never_overwritten(sample: SampleSummary, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"made with pages = 24, .* not pages = 25"):
        write_sample(sample.paths[0].parent, pages=25)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=": is not empty and holds no sample"):
        write_sample(tmp_path, pages=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    made = write_sample(tmp_path / "crawl", pages=1, shards=1)
    made.paths[0].write_bytes(made.paths[0].read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"SAMPLE-00000.warc.gz: is missing or changed"):
        write_sample(tmp_path / "crawl", pages=1, shards=1)


@pytest.mark.parametrize("wrong", [{"pages": 0}, {"shards": 0}, {"shards": 1001}])
def test_wrong_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="should be"):
        write_sample(tmp_path / "crawl", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_sample_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("corpus.sample.archive.write_warc", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample(tmp_path / "crawl", pages=1)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_the_pages_were_made_from(sample: SampleSummary) -> None:
    manifest = json.loads((sample.paths[0].parent / "sample.json").read_text())
    assert manifest["counts"] == {"pages": PAGES, "copies": sample.copies, "own": sample.own, "damaged": 1}
    assert manifest["made_from"].keys() >= {"python", "click", "numpy"}
    assert [file["bytes"] for file in manifest["files"]] == [path.stat().st_size for path in sample.paths]


def test_our_own_pages_cover_what_they_promise() -> None:
    found = own_pages()
    statuses = Counter(response.status.split()[0] for response in found)
    assert statuses.keys() == {"200", "301", "302", "404", "503"}
    types = {value.split(";")[0] for response in found for name, value in response.headers if name == "Content-Type"}
    assert types == {"text/html", "text/plain", "application/pdf", "application/json", "image/png"}
    codings = {value for response in found for name, value in response.headers if name.endswith("-Encoding")}
    assert codings == {"gzip", "deflate", "br", "chunked"}
    bodies = {response.url: response.body for response in found}
    assert len(bodies) == len(found)
    assert "“As hot as it goes”" in bodies["https://kitchen.example/bread"].decode("windows-1252")
    assert "小さな郵便局" in bodies["https://ja.stories.example/1"].decode("shift_jis")
    assert b"4111 1111 1111 1111" in bodies["https://club.example.org/walks"]
    gzipped = bodies["https://harbour.example/codings/gzip"]
    assert b"and it should not make a difference" in gzip.decompress(gzipped)


def test_documentation_comes_from_several_packages_and_is_prose_in_a_frame() -> None:
    docs = list(documentation(30, seed=1))
    assert len({doc.url for doc in docs}) == 30
    assert len({doc.url.split("/")[2] for doc in docs}) >= 8
    for doc in docs:
        tree = lxml_html.fromstring(doc.html)
        assert tree.findtext(".//h1") == doc.title
        assert doc.main in doc.html
        assert len(doc.html) > len(doc.main) + 500  # navigation, footer


def test_a_docstring_becomes_html() -> None:
    text = """Return *the* ``area`` of a <shape>,
in square metres.

Parameters
----------
shape : Shape
    The shape,
    closed.

- one
- two
  more

>>> area(1) < 2

Like this::

    area(x)
"""
    assert docstring.render(text) == (
        "<p>Return <em>the</em> <code>area</code> of a &lt;shape&gt;, in square metres.</p>\n"
        "<h3>Parameters</h3>\n"
        "<dl><dt>shape : Shape</dt>\n<dd><p>The shape, closed.</p></dd></dl>\n"
        "<ul>\n<li>one</li>\n<li>two more</li>\n</ul>\n"
        "<pre>&gt;&gt;&gt; area(1) &lt; 2</pre>\n"
        "<p>Like this:</p>\n"
        "<pre>area(x)</pre>"
    )


def test_prose_is_sentences_of_words() -> None:
    sentence = "This function walks along the shore and counts every shell that it finds on the way home."
    code = "f(x, y) = {1, 2, 3}; g(a[0], b[1], c[2]) -> 4, 5, 6, 7, 8, 9, 10, 11, 12."
    assert docstring.prose(f"{sentence}\n\n{code}\n\nToo short.\n\n    {sentence}") == [sentence, sentence]


WORDS = st.text("ab<&>*`:-=. \n>1.)", max_size=200)


@given(WORDS)
def test_any_docstring_renders_to_html_that_loses_no_letter(text: str) -> None:
    """Nothing of a docstring is lost, except directives (`.. name::`), which are left out on purpose."""
    if ".." in text:
        text = text.replace("..", ".")
    rendered = docstring.render(text)
    letters = lxml_html.fromstring(f"<div>{rendered}</div>").text_content()
    assert Counter(c for c in letters if c in "ab") == Counter(c for c in text if c in "ab")


def test_titles_are_escaped() -> None:
    for host in ("a", "b", "c", "d", "e", "f"):  # all three frames
        made = page(f"https://{host}.example/x", "<script>alert(1)</script>", "<p>x</p>")
        assert "<script>alert" not in made
