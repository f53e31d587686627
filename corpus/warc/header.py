"""The header lines of WARC records and HTTP responses -> names and values.

There are two readers, and they give equal answers. `quick_warc` and `quick_http` read headers as nearly all of them
are: each line ends with CR LF, none is folded, all are UTF-8. They answer None to any other header. `read_warc` and
`read_http` read those by warcio's parser, which knows all that servers and crawlers have got wrong in twenty years, and
is four times slower.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from warcio.statusandheaders import StatusAndHeadersParser, StatusAndHeadersParserException

__all__ = ["ROBOTS_HEADERS", "BadHeader", "Http", "quick_http", "quick_warc", "read_http", "read_warc"]

ROBOTS_HEADERS = ("x-robots-tag", "tdm-reservation")
# Fields whose values count together where a name occurs more than once, and what stands between the values. Several
# fields Content-Type are one list (WHATWG Fetch, "get, decode, and split").
_JOINED = dict.fromkeys(ROBOTS_HEADERS, "\n") | {"content-type": ", "}

BadHeader = StatusAndHeadersParserException  # its `statusline` is the line that should begin a record, and does not

_LONGEST = 32 * 1024  # longest header that the quick readers read, in bytes
_VERSIONS = ["WARC/1.1", "WARC/1.0", "WARC/0.18", "WARC/0.17"]
_PLAIN_VERSIONS = (b"WARC/1.0\r\n", b"WARC/1.1\r\n")
_BESIDE = re.compile(rb"\r\nWARC-Type: (request|metadata)\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]{1,18})\r\n")
_WARC = StatusAndHeadersParser(_VERSIONS)
_HTTP = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1"], verify=False)


class Http(NamedTuple):
    """The header of an HTTP response.

    status   the word behind the protocol, such as "200"
    headers  the fields, names in lower case. Where a name occurs more than once, its first value counts. The fields of
             `ROBOTS_HEADERS` may speak to several robots: their value is all values, each on a line. Several fields
             Content-Type are one list with commas
    """

    status: str
    headers: dict[str, str]


def quick_warc(data: bytes, all_fields: bool = True) -> tuple[dict[str, str], int] | None:
    """(fields with names in lower case, offset of the block) of the record that begins `data`; None if it is not plain.

    Without `all_fields`, requests and metadata, which are two records in three, have only their type and their length.
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
    """(header, offset of the body) of the response in `data[start:end]`; None if its header is not plain."""
    stop = data.find(b"\r\n\r\n", start, min(end, start + _LONGEST))
    lines = _lines(data[start:stop]) if stop > start else None
    fields = _fields(lines) if lines else None
    if not lines or fields is None:
        return None
    return Http(_status(lines[0].partition(" ")[2]), fields), stop + 4


def read_warc(source: Any) -> dict[str, str]:
    """The WARC header at which `source` stands. Raises EOFError at the end, BadHeader if no header is there."""
    return _first_of_name(_WARC.parse(source).headers)


def read_http(source: Any) -> Http:
    """The HTTP header at which `source` stands. Raises EOFError at the end."""
    parsed = _HTTP.parse(source)
    return Http(_status(parsed.statusline), _first_of_name(parsed.headers))


def _no_folds(header: bytes) -> bool:
    return b"\n " not in header and b"\n\t" not in header and header.count(b"\n") == header.count(b"\r\n")


def _lines(header: bytes) -> list[str] | None:
    """The lines of a header, or None if they are not plain."""
    try:
        text = header.decode("utf_8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\r\n")
    return lines if lines[0].strip() and _no_folds(header) else None


def _fields(lines: list[str]) -> dict[str, str] | None:
    """The fields behind the first line; None if a line has no colon, because a line of white space ends a header."""
    parts = [line.partition(":") for line in lines[:0:-1]]  # from the last, so that the first value of a name stays
    if [line for line, colon, _ in parts if not colon]:
        return None
    named = [(name.rstrip(" \t").lower(), value.strip()) for name, _, value in parts]
    fields = dict(named)
    for name, between in _JOINED.items() if len(fields) < len(named) else ():
        if name in fields:
            fields[name] = between.join(value for other, value in reversed(named) if other == name)
    return fields


def _status(line: str) -> str:
    return line.strip().partition(" ")[0]


def _first_of_name(headers: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for written, value in headers:
        name = written.lower()
        if name in _JOINED and name in fields:
            fields[name] += f"{_JOINED[name]}{value}"
        else:
            fields.setdefault(name, value)
    return fields
