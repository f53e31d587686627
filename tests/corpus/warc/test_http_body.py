"""The body of a response: its codings are undone, and its type and charset are told from header and bytes."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.warc.http_body import html_type, media_type, undo_codings
from corpus.warc.pages import Page
from tests.support.warc_records import HTML, chunked, only, response, rule


def raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": lambda body: gzip.compress(body[:7]) + gzip.compress(body[7:]),
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "br": brotli.compress,
    "identity": bytes,
}


@given(st.text(min_size=1), st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3), st.integers(0, 50))
def test_codings_are_undone(text: str, codings: list[str], chunk: int) -> None:
    body = plain = b"<p>" + text.replace("\0", "").encode("utf-8", "ignore")
    body = plain = bytes(byte for byte in plain if byte >= 32 or byte in (9, 10, 13))
    for coding in codings:
        body = ENCODERS[coding](body)
    if chunk:
        body = chunked(body, chunk)
    transfer = "chunked" if chunk else ""
    nested = len([coding for coding in codings if coding not in ("identity",)]) > 1
    got, failed = undo_codings(body, transfer, ", ".join(codings), 10**6)
    # deflate and brotli carry no signature, so an inner coding under them is not told from damage.
    if not nested or all("gzip" in coding for coding in codings if coding != "identity"):
        assert (got, failed) == (plain, None)


@given(st.binary(max_size=200), st.sampled_from(["", "chunked"]), st.sampled_from([*ENCODERS, "zstd", ",", "gzip, br"]))
def test_undoing_codings_never_raises(body: bytes, transfer: str, content: str) -> None:
    got, failed = undo_codings(body, transfer, content, 1000)
    assert len(got) <= 1001
    assert failed is None or failed in content.lower()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "utf-8", "none", "x"])
def test_a_body_that_is_not_coded_is_taken_as_it_is(coding: str) -> None:
    for body in (HTML, b"\n\n" + HTML, b"plain words", "<p>żółw".encode("utf-16")):
        assert undo_codings(body, "chunked", coding, 10**6) == (body, None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "Compress"])
def test_a_coding_that_cannot_be_undone_is_named(coding: str) -> None:
    noise = b"\x1f\x8b\x07" + hashlib.sha256(b"x").digest() * 30
    data = response(noise, f"Content-Encoding: {coding}", "Content-Type: text/html")
    assert rule(data) == ("warc.coding", coding.lower(), "gzip, deflate, br, zstd")


def test_the_bytes_that_decode_before_a_cut_are_kept() -> None:
    body = b"<p>" + b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(3000))
    for coding in ("gzip", "deflate", "Deflate", "br"):
        got, failed = undo_codings(ENCODERS[coding](body)[:60_000], "", coding, 10**6)
        assert failed is None
        assert body.startswith(got)
        assert len(got) > 50_000
    assert undo_codings(chunked(HTML, 100)[:350], "chunked", "", 10**6)[0] == HTML[:312]


@pytest.mark.parametrize(
    ("declared", "body", "answer"),
    [
        ("text/html", b"anything", None),
        ("application/xhtml+xml", b"<?xml version='1.0'?><html>", None),
        ("text/html", b"%PDF-1.7", "application/pdf"),
        ("text/html", b"\x1f\x8b\x08\0", "application/gzip"),
        ("text/html", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("text/html", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("", b" \n<!DOCTYPE html>", None),
        ("", b"\xef\xbb\xbf<?xml version='1.0'?> <!-- x --><HTML lang=en>", None),
        ("", "\ufeff<html>".encode("utf-16-le"), None),
        ("", b"<!-- x --><urlset>", "unknown"),
        ("", b"hello", "unknown"),
        ("", b"<pre", "unknown"),
        ("", b"GIF89a", "image/gif"),
        ("application/octet-stream", b"<title>x", None),
        ("*/*", b"<a href=x>", None),
        ("application/xml", b"<?xml version='1.0'?>\n<html xmlns='x'>", None),
        ("application/xml", b"<?xml version='1.0'?>\n<feed>", "application/xml"),
        ("text/plain", b"<html>", "text/plain"),
        ("application/json", b"<html>", "application/json"),
        *((name, b"anything", None) for name in ("text/htm", "text/x-html", "html", "application/x-httpd-php")),
        ("html", b"%PDF-1.7", "application/pdf"),
    ],
)
def test_html_is_known_by_its_type_and_its_bytes(declared: str, body: bytes, answer: str | None) -> None:
    assert html_type(declared, body) == answer


@pytest.mark.parametrize(
    ("header", "media"),
    [
        ("text/html", "text/html"),
        ("TEXT/HTML ; charset=x", "text/html"),
        ("text/html, text/html", "text/html"),
        ("text/html,text/html;charset=utf-8", "text/html"),
        ("text/plain, text/html", "text/html"),
        ("text/html, text/plain", "text/plain"),
        ("text/html, */*, nonsense, ", "text/html"),
        ("application/json, html", "html"),
        ('text/html; a="b, text/plain"', "text/html"),
        ('text/html; a="b, text/plain', "text/html"),
        ("text/html charset=utf-8", ""),
        ("text /html", ""),
        ("text/", ""),
        ("/html", ""),
        ("*/*", ""),
        ("", ""),
        (",", ""),
        (";charset=utf-8", ""),
        ("json", ""),
        ("html", "html"),
        ("HTML; charset=utf-8", "html"),
        ('"' * 30_000 + "\\", ""),
    ],
)
def test_the_last_valid_type_of_a_list_counts(header: str, media: str) -> None:
    assert media_type(header)[0] == media


@pytest.mark.parametrize(
    "header",
    [
        *("text/html,text/html", "text/html, text/html; charset=utf-8", "text/plain, text/html", "html", "text/htm"),
        *("text/x-html", "application/x-httpd-php", "text/html charset=utf-8", "Text/HTML charset=utf-8, nonsense"),
        *(
            "nonsense",
            "text",
            "*/*",
            "",
            "text/plain\r\nContent-Type: text/html",
            "text/html\r\nContent-Type: text/html",
        ),
    ],
)
def test_html_is_a_page_however_its_type_is_written(header: str) -> None:
    for data in (response(HTML, f"Content-Type: {header}"), gzip.compress(response(HTML, f"Content-Type: {header}"))):
        item = only(data)
        assert isinstance(item, Page)
        assert (item.html, item.media) == (HTML, "text/html")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("text/html, text/plain", "text/plain"),
        ("text/html\r\nContent-Type: application/json", "application/json"),
        ("image/png", "image/png"),
        ("json; x=y", "json"),
        ("text plain", "text plain"),
        ("", "unknown"),
        ("x" * 500, "x" * 100),
    ],
)
def test_what_is_no_html_is_named_by_its_type(header: str, value: str) -> None:
    for data in (
        response(b"words", f"Content-Type: {header}"),
        gzip.compress(response(b"words", f"Content-Type: {header}")),
    ):
        assert rule(data) == ("warc.content_type", value, "text/html")


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        ("text/html; charset=UTF-8", "UTF-8"),
        ("Text/HTML;Charset='utf-8'", "utf-8"),
        ('text/html; x=y; charset = "big5";z', "big5"),
        ("text/html; charset=utf8;", "utf8"),
        ("text/html; charset=", None),
        ("text/html", None),
        ("text/html;Charset=iso-8859-1;charset=UTF-8", "iso-8859-1"),
        ("text/html charset=windows-1252", "windows-1252"),
        ("text/html; charset=big5, text/html", "big5"),
        ("text/html, text/html; charset=windows-1252", "windows-1252"),
        ("text/plain; charset=big5, text/html", None),
        ("text/html; charset=big5, x", "big5"),
        ('text/html; a="x, y"; charset=big5', "big5"),
        ("charset=big5", "big5"),
    ],
)
def test_charset_of_the_header(header: str, charset: str | None) -> None:
    item = only(response(HTML, f"Content-Type: {header}"))
    assert isinstance(item, Page)
    assert item.charset == charset
