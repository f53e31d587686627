"""Header lines of WARC records and HTTP responses -> names and values.

Two readers with one answer. `quick_warc` and `quick_http` take lines as nearly all of them are: ended by CR LF, none
of them folded, all of them UTF-8, and answer None to anything else. warcio's parser, which knows what servers and
crawlers have got wrong in twenty years, reads those: `read_warc`, `read_http`. It is four times slower.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from warcio.statusandheaders import StatusAndHeadersParser, StatusAndHeadersParserException

__all__ = ["ROBOTS_HEADERS", "BadHeader", "Http", "quick_http", "quick_warc", "read_http", "read_warc"]

ROBOTS_HEADERS = ("x-robots-tag", "tdm-reservation")

BadHeader = StatusAndHeadersParserException  # `statusline` is what stands where a record should begin

_LONGEST = 32 * 1024  # bytes of a header that the quick readers take
_VERSIONS = ["WARC/1.1", "WARC/1.0", "WARC/0.18", "WARC/0.17"]
_PLAIN_VERSIONS = (b"WARC/1.0\r\n", b"WARC/1.1\r\n")
_BESIDE = re.compile(rb"\r\nWARC-Type: (request|metadata)\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]{1,18})\r\n")
_WARC = StatusAndHeadersParser(_VERSIONS)
_HTTP = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1"], verify=False)


class Http(NamedTuple):
    """An HTTP response's header: the word after the protocol, and names in lower case.

    The first of a name rules; of `ROBOTS_HEADERS`, which may be said to several robots, the value is all, a line each.
    """

    status: str
    headers: dict[str, str]


def quick_warc(data: bytes, all_fields: bool = True) -> tuple[dict[str, str], int] | None:
    """(names in lower case -> values, bytes to the block) of the record that `data` begins with, if it is plain.

    Of requests and metadata, two records in three, only the type and the length are given unless `all_fields` are
    asked for.
    """
    end = data.find(b"\r\n\r\n", 0, _LONGEST)
    if end < 0 or not data.startswith(_PLAIN_VERSIONS):
        return None
    header = data[: end + 2]
    if not all_fields and (beside := _BESIDE.search(header)) and (length := _LENGTH.search(header)):
        lower = header.lower()
        if lower.count(b"warc-type") == 1 and lower.count(b"content-length") == 1 and _no_folds(header):
            return {"warc-type": beside[1].decode(), "content-length": length[1].decode()}, end + 4
    lines = _lines(header[:-2])
    fields = _fields(lines) if lines else None
    return (fields, end + 4) if fields is not None else None


def quick_http(data: bytes, start: int, end: int) -> tuple[Http, int] | None:
    """(header, offset of the body) of the response in `data[start:end]`, if its header is plain."""
    stop = data.find(b"\r\n\r\n", start, min(end, start + _LONGEST))
    lines = _lines(data[start:stop]) if stop > start else None
    fields = _fields(lines) if lines else None
    if not lines or fields is None:
        return None
    return Http(_status(lines[0].partition(" ")[2]), fields), stop + 4


def read_warc(source: Any) -> dict[str, str]:
    """The header that `source` stands on, read line by line; raises EOFError at the end, BadHeader if there is none."""
    return _first_of_name(_WARC.parse(source).headers)


def read_http(source: Any) -> Http:
    """The HTTP header that `source` stands on. Raises EOFError if there is nothing."""
    parsed = _HTTP.parse(source)
    return Http(_status(parsed.statusline), _first_of_name(parsed.headers))


def _no_folds(header: bytes) -> bool:
    return b"\n " not in header and b"\n\t" not in header and header.count(b"\n") == header.count(b"\r\n")


def _lines(header: bytes) -> list[str] | None:
    """The lines of a header without the empty one, or None if they are not plain."""
    try:
        text = header.decode("utf_8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\r\n")
    return lines if lines[0].strip() and _no_folds(header) else None


def _fields(lines: list[str]) -> dict[str, str] | None:
    """The fields after the first line, or None if one has no colon: it may be white space, which ends a header."""
    parts = [line.partition(":") for line in lines[:0:-1]]  # the first of a name comes last, and stays
    if [line for line, colon, _ in parts if not colon]:
        return None
    named = [(name.rstrip(" \t").lower(), value.strip()) for name, _, value in parts]
    fields = dict(named)
    for name in ROBOTS_HEADERS:
        if name in fields:
            fields[name] = "\n".join(value for said, value in reversed(named) if said == name)
    return fields


def _status(line: str) -> str:
    return line.strip().partition(" ")[0]


def _first_of_name(headers: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for said, value in headers:
        name = said.lower()
        if name in ROBOTS_HEADERS and name in found:
            found[name] += f"\n{value}"
        else:
            found.setdefault(name, value)
    return found
