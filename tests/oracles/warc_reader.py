"""Slow, obviously right twins of corpus.warc.pages: a reader of sound files, and the pages that damage must spare."""

from __future__ import annotations

import io
import zlib

from warcio.statusandheaders import StatusAndHeadersParser


def members(data: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each gzip member of a sound file, by inflating the whole file."""
    places = []
    at = 0
    while at < len(data):
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        inflater.decompress(data[at:])
        assert inflater.eof
        end = len(data) - len(inflater.unused_data)
        places.append((at, end - at))
        at = end
    return places


def pages(data: bytes) -> list[tuple[str, str, int, int, bytes]]:
    """(id, url, offset, length, body) of each response of a sound file.

    Each record of the file has a member of its own, and no codings.
    """
    responses = []
    for offset, length in members(data):
        record = zlib.decompress(data[offset : offset + length], 16 + zlib.MAX_WBITS)
        header, _, block = record.partition(b"\r\n\r\n")
        names = {}
        for line in header.decode().split("\r\n")[1:]:
            name, value = line.split(": ", 1)
            names[name] = value
        assert len(block) == int(names["Content-Length"]) + 4
        assert block.endswith(b"\r\n\r\n")
        if names["WARC-Type"] == "response":
            body = block[:-4].partition(b"\r\n\r\n")[2]
            responses.append((names["WARC-Record-ID"], names["WARC-Target-URI"], offset, length, body))
    return responses


def untouched(data: bytes, begin: int, end: int) -> list[tuple[str, str, int, int, bytes]]:
    """The pages whose bytes all lie outside [begin, end)."""
    return [page for page in pages(data) if page[2] + page[3] <= begin or page[2] >= end]


def headers(data: bytes) -> dict[str, str]:
    """The values of a WARC header, as warcio reads it line by line: of each name the first, of Content-Type a list."""
    parsed = StatusAndHeadersParser(["WARC/1.1", "WARC/1.0"]).parse(io.BytesIO(data))
    fields: dict[str, str] = {}
    for name, value in parsed.headers:
        if name.lower() == "content-type" and name.lower() in fields:
            fields["content-type"] += f", {value}"
        fields.setdefault(name.lower(), value)
    return fields
