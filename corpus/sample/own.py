"""The sample's own pages: good pages, and at least one page for every rule that can drop one.

In: nothing. Out: HTTP responses under reserved host names, each of them a small case: a wrong charset, a redirect, a
PDF, a page of placeholders, a blocked address, an opt-out. The text of a page is harmless even if its address is not.
"""

from __future__ import annotations

import gzip
import html
import importlib.resources
import json
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from corpus.sample.template import page

_HTML = "text/html; charset=utf-8"
# The smallest PNG: one transparent pixel.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
    "a5f645400000000049454e44ae426082"
)


class Response(NamedTuple):
    """The answer of a server; `headers` include the Content-Type, unless the server sent none."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", _HTML),)
    status: str = "200 OK"


def own_pages() -> list[Response]:
    """Every page of our own, in a fixed order. No two have the same address."""
    stories = _stories()
    return [
        *_good(stories),
        *_languages(stories),
        *_not_pages(stories["lighthouse"]),
        *_codings(stories["lighthouse"]),
        *_rule_breakers(stories),
        *_refused(stories["lighthouse"]),
    ]


_Stories = dict[str, list[str]]


def _stories() -> _Stories:
    """Heading -> paragraphs, from stories.txt."""
    text = importlib.resources.files(__package__).joinpath("stories.txt").read_text(encoding="utf-8")
    stories = {}
    for section in text.split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        stories[heading] = [line for line in lines if line]
    return stories


def _prose(paragraphs: list[str]) -> str:
    return "\n".join(f"<p>{html.escape(text, quote=False)}</p>" for text in paragraphs)


def _page(url: str, title: str, main: str, *, head: str = "", extra: tuple[tuple[str, str], ...] = ()) -> Response:
    body = page(url, title, main, head=head).encode()
    return Response(url, body, (("Content-Type", _HTML), *extra))


def _good(stories: _Stories) -> Iterator[Response]:
    """Pages that every rule should keep. Some name a wrong charset, and one holds personal data."""
    url = "https://harbour.example/journal/lighthouse"
    yield _page(url, "The keeper's log", _prose(stories["lighthouse"]))
    yield _page("https://club.example.org/walks", "Walking club", _prose(stories["contacts"]))

    url = "https://kitchen.example/bread"
    body = page(url, "Bread", _prose(stories["bread"]), charset="").encode("windows-1252")
    yield Response(url, body, (("Content-Type", "text/html; charset=windows-1252"),))
    # The usual mistake: windows-1252 declared as ISO-8859-1, which browsers read as windows-1252 (WHATWG Encoding).
    url = "https://garden.example/tomatoes"
    body = page(url, "Tomatoes", _prose(stories["tomatoes"]), charset="iso-8859-1").encode("windows-1252")
    yield Response(url, body, (("Content-Type", "text/html"),))
    # UTF-8 declared as ISO-8859-1 in the header.
    url = "https://garden.example/tomatoes-again"
    note = "This copy of the page comes from a server that names the wrong charset."
    body = page(url, "Tomatoes", _prose([*stories["tomatoes"], note]), charset="").encode()
    yield Response(url, body, (("Content-Type", "text/html; charset=ISO-8859-1"),))


def _languages(stories: _Stories) -> Iterator[Response]:
    for heading, body in stories.items():
        if " | " not in heading:
            continue
        language, declared, codec, title = heading.split(" | ")
        url = f"https://{language}.stories.example/1"
        meta = declared if declared == codec else ""
        content = page(url, title, _prose(body), language=language, charset=meta).encode(codec)
        yield Response(url, content, (("Content-Type", f"text/html; charset={declared}"),))


def _not_pages(story: list[str]) -> Iterator[Response]:
    """Answers that are no HTML page, one of which claims to be one."""
    host = "https://harbour.example"
    moved = b"<html><body>Moved <a href='/journal/lighthouse'>here</a>.</body></html>"
    location = (("Location", f"{host}/journal/lighthouse"), ("Content-Type", "text/html"))
    yield Response("http://harbour.example/journal/lighthouse", moved, location, "301 Moved Permanently")
    yield Response(f"{host}/old", moved, location, "302 Found")
    lost = page(f"{host}/lost", "Not found", "<p>There is no such page.</p>").encode()
    yield Response(f"{host}/lost", lost, status="404 Not Found")
    yield Response(f"{host}/busy", b"<h1>Busy</h1>", status="503 Service Unavailable")
    tides = json.dumps({"tides": [{"hour": 6, "metres": 3.1}, {"hour": 12, "metres": 0.4}]}).encode()
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    for slug, body, content_type in (
        ("plan.pdf", pdf, "application/pdf"),
        ("api/tides", tides, "application/json"),
        ("pixel.png", _PIXEL, "image/png"),
        ("picture", _PIXEL, "text/html"),
        ("log.txt", "\n\n".join(story).encode(), "text/plain"),
        ("empty", b"", _HTML),
        ("frame", b"<html><head><title>Frame</title></head><body></body></html>", _HTML),
    ):
        yield Response(f"{host}/{slug}", body, (("Content-Type", content_type),))


def _codings(story: list[str]) -> Iterator[Response]:
    """Compressed bodies, chunked bodies, and one that is both. Common Crawl decodes them, other crawlers do not."""
    import brotli

    codings: dict[str, tuple[Callable[[bytes], bytes], tuple[tuple[str, str], ...]]] = {
        "gzip": (_gzip, (("Content-Encoding", "gzip"),)),
        "deflate": (zlib.compress, (("Content-Encoding", "deflate"),)),
        "br": (brotli.compress, (("Content-Encoding", "br"),)),
        "chunked": (_chunks, (("Transfer-Encoding", "chunked"),)),
        "gzip-chunked": (
            lambda body: _chunks(_gzip(body)),
            (("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")),
        ),
    }
    for slug, (encode, headers) in codings.items():
        url = f"https://harbour.example/codings/{slug}"
        note = f"This page travelled under the name of {slug}, and it should not make a difference."
        body = page(url, "The log, continued", _prose([*story[1:], note])).encode()
        yield Response(url, encode(body), (("Content-Type", _HTML), *headers))


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _chunks(body: bytes, size: int = 700) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _rule_breakers(stories: _Stories) -> Iterator[Response]:
    """Pages in English that a quality rule drops, or from which it removes lines."""
    story, bullets = stories["lighthouse"], stories["bullets"]
    words = " ".join(story).split()
    ticket = "Please keep this ticket until the end of the journey, and show it to the staff when they ask."
    short = "The bench by the pier was painted green last spring. Sit down anyway, for it has dried since then. "
    short += "From there you see the whole bay, and in October you may also see the first geese come in."
    rows = "".join(f"<tr><td>{n}</td><td>{n * 37 % 101}</td><td>{n * 53 % 97}.5</td></tr>" for n in range(120))
    items = "".join(f"<li>{text} and {text}</li>" for text in bullets * 2)
    cases = {
        "placeholder": _prose(stories["lorem"] + story),
        "curly-brackets": _prose([*story, "The template says {name}, and nobody ever filled it in."]),
        "javascript-notice": _prose(stories["notice"] + story),
        "bullets": f"<ul>{items}</ul>",
        "bullet-signs": _prose([f"• {text}, please" for text in bullets]),
        "too-short": _prose([short]),
        "repeated-lines": _prose([story[0], *[ticket] * 12]),
        "repeated-words": _prose(["The wind is in the north. " * 30, story[0]]),
        "short-lines": _prose(stories["short-lines"] + story[:1]),
        "no-full-stops": _prose([part for text in story for part in text.replace(".", "").split(", ")]),
        "unfinished": _prose([f"{part} ..." for text in story for part in text.split(". ")]),
        "long-words": _prose(stories["long-words"]),
        "hashtags": _prose([" ".join(f"#{word}" for word in words)]),
        "table-of-numbers": f"<p>{story[0]}</p><table><tr><th>day</th><th>low</th><th>high</th></tr>{rows}</table>",
        "no-stop-words": _prose(stories["telegram"]),
        "deeply-nested": "<div>" * 400 + _prose(story) + "</div>" * 400,
    }
    for slug, main in cases.items():
        yield _page(f"https://odd.example/{slug}", slug.replace("-", " ").capitalize(), main)


def _refused(story: list[str]) -> Iterator[Response]:
    """Pages with an address on a blocklist, and pages whose owners opted out. Their text alone would be kept."""
    main = _prose(story[:3])
    note = "<p>This page stands for the pages that a corpus leaves out by their address alone.</p>"
    for url in (
        "https://free-porn-videos.example/watch/1",
        "https://www.example.net/xxx/sex/adult-pictures.html",
        "https://casino-poker-bonus.example/viagra/index.html",
    ):
        yield _page(url, "Blocked by its address", note + main)
    host, noai = "https://optout.example", '<meta name="robots" content="noai, noimageai">'
    yield _page(f"{host}/meta", "No training", main, head=noai)
    yield _page(f"{host}/header", "No training", main, extra=(("X-Robots-Tag", "noai"),))
    yield _page(f"{host}/tdm", "Rights reserved", main, extra=(("tdm-reservation", "1"),))
    yield _page(f"{host}/noindex", "No index", main, head='<meta name="robots" content="noindex">')
