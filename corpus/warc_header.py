"""Header lines of WARC records and HTTP responses -> names and values.

Two readers with one answer. `quick_warc` and `quick_http` take lines as nearly all of them are: ended by CR LF, none
of them folded, all of them UTF-8, and answer None to anything else. warcio's parser, which knows what servers and
crawlers have got wrong in twenty years, reads those: `read_warc`, `read_http`. It is four times slower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from warcio.statusandheaders import StatusAndHeadersParser, StatusAndHeadersParserException

__all__ = ["ROBOTS_HEADERS", "BadHeader", "Http", "quick_http", "quick_warc", "read_http", "read_warc"]

ROBOTS_HEADERS = ("x-robots-tag", "tdm-reservation")

BadHeader = StatusAndHeadersParserException  # `statusline` is what stands where a record should begin

_LONGEST = 32 * 1024  # bytes of a header that the quick readers take
_VERSIONS = ["WARC/1.1", "WARC/1.0", "WARC/0.18", "WARC/0.17"]
_QUICK_VERSIONS = ("WARC/1.1\r\n", "WARC/1.0\r\n")
_WARC = StatusAndHeadersParser(_VERSIONS)
_HTTP = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1"], verify=False)


class Http(NamedTuple):
    """An HTTP response's header: the word after the protocol, and names in lower case.

    The first of a name rules; of `ROBOTS_HEADERS`, which may be said to several robots, the value is all, a line each.
    """

    status: str
    headers: dict[str, str]


def quick_warc(data: bytes) -> tuple[dict[str, str], int] | None:
    """(names in lower case -> values, bytes to the block) of the record that `data` begins with, if it is plain."""
    end = data.find(b"\r\n\r\n", 0, _LONGEST)
    lines = _lines(data[:end]) if end > 0 else None
    if lines is None or not data.startswith((b"WARC/1.0\r\n", b"WARC/1.1\r\n")):
        return None
    headers = _fields(lines)
    return (headers, end + 4) if headers is not None else None


def quick_http(data: bytes, start: int, end: int) -> tuple[Http, int] | None:
    """(header, offset of the body) of the response in `data[start:end]`, if its header is plain."""
    stop = data.find(b"\r\n\r\n", start, min(end, start + _LONGEST))
    lines = _lines(data[start:stop]) if stop > start else None
    headers = _fields(lines) if lines else None
    if lines is None or headers is None:
        return None
    return Http(_status(lines[0].partition(" ")[2]), headers), stop + 4


def read_warc(source: Any) -> dict[str, str]:
    """The header that `source` stands on, read line by line; raises EOFError at the end, BadHeader if there is none."""
    return _first_of_name(_WARC.parse(source).headers)


def read_http(source: Any) -> Http:
    """The HTTP header that `source` stands on. Raises EOFError if there is nothing."""
    parsed = _HTTP.parse(source)
    return Http(_status(parsed.statusline), _first_of_name(parsed.headers))


def _lines(header: bytes) -> list[str] | None:
    """The lines of a header without the empty one, or None if a line is not ended by CR LF or is not UTF-8."""
    try:
        text = header.decode("utf_8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\r\n")
    return lines if text.count("\n") == len(lines) - 1 and lines[0].strip() else None


def _fields(lines: list[str]) -> dict[str, str] | None:
    """The fields after the first line, or None if one is folded or has no colon."""
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or line[0] in " \t" or line.isspace():
            return None
        _add(headers, name.rstrip(" \t").lower(), value.strip())
    return headers


def _add(headers: dict[str, str], name: str, value: str) -> None:
    if name in ROBOTS_HEADERS and name in headers:
        headers[name] += f"\n{value}"
    else:
        headers.setdefault(name, value)


def _status(line: str) -> str:
    return line.strip().partition(" ")[0]


def _first_of_name(headers: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        _add(found, name.lower(), value)
    return found
