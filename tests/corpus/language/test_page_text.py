"""The long lines of a page: the compiled loop beside its twin, on made-up and on real markup."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.language import prescreen
from corpus.language.kernels.page_text import long_lines
from corpus.warc.pages import Page, read_pages
from tests.oracles import page_text as oracle


def lines_of(html: bytes, line_chars: int = 1, max_chars: int = 2000) -> bytes:
    """The bytes that the kernel writes, with room for all of them."""
    page, room = np.frombuffer(html, np.uint8), np.empty(5 * len(html) + 64, np.uint8)
    tags, entities = (table.ctypes.data for table in prescreen.tables())
    begin, out = page.ctypes.data, room.ctypes.data
    size = long_lines(begin, begin + page.size, tags, entities, out, out + room.size, line_chars, max_chars)
    return room[:size].tobytes()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (b"<p>One <b>bo</b>ld\n line.</p><p>Two</p>", b"One bold line.\nTwo\n"),
        (b"a<br>b<BR/>c<unknown-element>d", b"a\nb\nc\nd\n"),
        (b"a<SCRIPT>if (1 < 2) x = '<p>no</p>';</Script >b", b"a\nb\n"),
        (b"a<script>x</scripts></script\n>b<script/>c", b"a\nb\n"),
        (b"a<style>p{}</style><title>t</title><noscript>turn it on</noscript>b", b"a\nb\n"),
        (b"a<svg/>b<svg><text>no</text></svg>c", b"a\nb\nc\n"),
        (b"a<!-- <p>no --> b<!-->c<!--->d<!-- never closed <p>no", b"a bcd\n"),
        (b"<!DOCTYPE html><?xml version='1.0'?>a</ bogus >b<![CDATA[no]]>c", b"abc\n"),
        (b"<a title='1 > 0' href = \"x>y\">link</a><i a=b'c>text", b"linktext\n"),
        (b"a < b <3 <", b"a < b <3 <\n"),
        (b"<p title='never closed>text", b""),
        (b"Fu&szlig;g&auml;nger &#8220;x&#x201D; &amp;lt; &apos;", "Fußgänger “x” &lt; '\n".encode()),
        (
            b"&unknown; &amp &#; &#x; &#xg; &; &#99999999999;&#0;&#xD800;x",
            b"&unknown; &amp &#; &#x; &#xg; &; &#99999999999; x\n",
        ),
        (b"soft&shy;hyphen&nbsp;&#160;and spaces \t\r\n here ", b"softhyphen and spaces here\n"),
        (b"Warning: in line 1<html><head></head><body class=x>text<body>more", b"text\nmore\n"),
        (b"Warning <script>'<body>'</script> no such tag</body>", b"Warning\nno such tag\n"),
        ("日本語<p>語".encode(), "日本語\n語\n".encode()),
        (b"", b""),
    ],
)
def test_text_and_markup(html: bytes, text: bytes) -> None:
    assert lines_of(html) == text
    assert oracle.long_lines(html, 1, 2000) == text


def test_short_lines_do_not_count_and_enough_is_enough() -> None:
    line = "Ärger mit Übersetzungen: zwanzig Zeichen mehr. ".strip()
    html = f"<li>Menü<p>{line}<li>Menü<p>{line}<p>{line}".encode()
    size = len(line)
    assert lines_of(html, 20, 1).decode() == f"{line[:20]}\n"
    assert lines_of(html, 20, size).decode() == f"{line}\n"
    assert lines_of(html, 20, size + 3).decode() == f"{line}\n{line[:20]}\n"
    assert lines_of(html, 20, 3 * size).decode() == f"{line}\n" * 3
    assert lines_of(html, size + 1, 1000) == b""


def test_enough_remarks_of_the_server_do_not_hide_the_body() -> None:
    html = b"Deprecated: something is deprecated in some file on some line<br>" * 100 + b"<body>text"
    assert lines_of(html, 4, 100) == oracle.long_lines(html, 4, 100) == b"text\n"


MARKUP = [
    *("<p>", "</p>", "<b>", "</b>", "<br/>", "<script>", "</script>", "</SCRIPT\n", "<svg/>", "<svg>", "</svg>"),
    *("<!--", "-->", "--", "->", "<", ">", "</", "<!", "<?", "=", "'", '"', "<a href=", "<body>", "<body", "/>"),
    *(
        "&",
        ";",
        "&amp;",
        "&#",
        "&#x",
        "&shy;",
        "&nbsp;",
        "&auml;",
        "&#128512;",
        "&bdquo;",
        "\0",
        "\x1b",
        " ",
        "\n",
        "x" * 70,
    ),
    *("<title>", "</title", "ä", "語", "\U0001f600", "word ", "<blockquote>", "<h\0>"),
]
PAGES = st.one_of(
    st.lists(st.sampled_from(MARKUP), max_size=40).map(lambda parts: "".join(parts).encode()),
    st.lists(st.one_of(st.sampled_from(MARKUP).map(str.encode), st.binary(max_size=6)), max_size=40).map(b"".join),
    st.binary(max_size=300),
)


@given(PAGES, st.sampled_from([1, 3, 20]), st.sampled_from([1, 10, 100, 1000]))
@example(b"\x80" * 50, 1, 10)
@example(b"a\xcc\x80\x80\x80<p>b", 1, 1)
def test_any_bytes_give_the_twin_s_lines(html: bytes, line_chars: int, max_chars: int) -> None:
    assert lines_of(html, line_chars, max_chars) == oracle.long_lines(html, line_chars, max_chars)


_NOTHING, _READ_AND_WRITE = 0, 3  # PROT_NONE, PROT_READ | PROT_WRITE


@given(PAGES)
@example(b"\xc3" + b"\x80" * 5000)
@example(b"x" * 5000)
@example("\U0001f600".encode() * 3000)
def test_nothing_is_read_or_written_outside(html: bytes) -> None:
    """The page ends where readable memory ends: reading one byte more kills the process. Nothing is written behind the
    room.
    """
    with mmap.mmap(-1, 16 * mmap.PAGESIZE) as memory:
        guarded = np.frombuffer(memory, np.uint8)
        limit = guarded.size - mmap.PAGESIZE
        _protect(guarded.ctypes.data + limit, _NOTHING)
        page = guarded[limit - len(html) : limit]
        page[:] = np.frombuffer(html, np.uint8)
        room = np.full(4 * 120 + 16 + 64, 77, np.uint8)
        tags, entities = (table.ctypes.data for table in prescreen.tables())
        begin, out = page.ctypes.data, room.ctypes.data
        size = long_lines(begin, begin + page.size, tags, entities, out, out + room.size - 64, 20, 100)
        _protect(guarded.ctypes.data + limit, _READ_AND_WRITE)
        assert 0 <= size <= room.size - 64
        assert (room[-64:] == 77).all()
        del guarded, page


def _protect(address: int, rights: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), rights) == 0


def test_real_pages_give_the_twin_s_lines(testdata: Path) -> None:
    path = testdata / "warc" / "tiny" / "tiny-12-pages.warc.gz"
    with path.open("rb") as stream:
        bodies = [item.html for item in read_pages(stream, str(path)) if isinstance(item, Page)]
    assert len(bodies) == 12
    for body in bodies:
        assert lines_of(body[:60_000], 60, 2000) == oracle.long_lines(body[:60_000], 60, 2000)
