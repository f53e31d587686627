"""Responses -> a WARC file, laid out like Common Crawl's files.

In: responses. Out: one gzip member for each record: warcinfo, then request, response and metadata of every page (WARC
1.0, ISO 28500). Dates, addresses (RFC 5737) and record ids are made from the sample's seed and the page's URL, so that
the same pages give the same bytes.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from corpus.sample.own import Response

DUMP = "SAMPLE"
_START = datetime.datetime(2026, 1, 5, 8, tzinfo=datetime.UTC)


def write_warc(
    out: BinaryIO, name: str, responses: Sequence[Response], *, seed: int, first: int, damaged: Response | None
) -> None:
    """Write `responses` to `out` as the WARC file `name`; `first` is the number of the first response in the sample.

    `damaged` is added as a response record whose gzip member ends in the middle, like a file cut by a full disk.
    """
    from warcio.warcwriter import WARCWriter

    writer = WARCWriter(out, gzip=True, warc_version="1.0")
    info_id = _record_id(seed, "warcinfo", name)
    info = {
        "isPartOf": DUMP,
        "publisher": "made on this machine by `corpus sample`",
        "description": "pages for a demonstration; nothing was crawled",
        "software": "corpus-toolkit over warcio",
        "format": "WARC File Format 1.0",
        "conformsTo": "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.0/",
    }
    fields = "".join(f"{key}: {value}\r\n" for key, value in info.items()).encode()
    headers = {"WARC-Record-ID": info_id, "WARC-Date": _date(first), "WARC-Filename": name}
    writer.write_record(_record(writer, "", "warcinfo", fields, headers))
    for number, response in enumerate(responses, start=first):
        for record in _records(writer, response, number, seed=seed, info_id=info_id):
            writer.write_record(record)
    if damaged is not None:
        whole = io.BytesIO()
        *_, response_record, _ = _records(writer, damaged, first + len(responses), seed=seed, info_id=info_id)
        WARCWriter(whole, gzip=True, warc_version="1.0").write_record(response_record)
        out.write(whole.getvalue()[: len(whole.getvalue()) // 2])


def _records(writer: Any, response: Response, number: int, *, seed: int, info_id: str) -> Iterator[Any]:
    """The request, response and metadata records of a page."""
    from warcio.statusandheaders import StatusAndHeaders

    url, host = response.url, urlsplit(response.url).hostname or ""
    ids = {kind: _record_id(seed, kind, url) for kind in ("request", "response", "metadata")}
    digest = hashlib.blake2b(host.encode(), digest_size=1).digest()
    common = {"WARC-Date": _date(number), "WARC-Warcinfo-ID": info_id, "WARC-IP-Address": f"192.0.2.{digest[0]}"}

    path = url.split("/", 3)[3]
    request = StatusAndHeaders(
        f"GET /{path} HTTP/1.1",
        [("User-Agent", "corpus-sample"), ("Accept-Encoding", "br,gzip"), ("Host", host)],
        is_http_request=True,
    )
    yield _record(writer, url, "request", b"", common | {"WARC-Record-ID": ids["request"]}, request)

    headers = [("Date", _http_date(number)), *response.headers, ("Content-Length", str(len(response.body)))]
    if any(name == "Transfer-Encoding" for name, _ in headers):
        headers.pop()  # a chunked message has no length of its own (RFC 9112, 6.3)
    answer = StatusAndHeaders(response.status, headers, protocol="HTTP/1.1")
    about = {"WARC-Record-ID": ids["response"], "WARC-Concurrent-To": ids["request"]}
    yield _record(writer, url, "response", response.body, common | about, answer)

    about = {"WARC-Record-ID": ids["metadata"], "WARC-Concurrent-To": ids["response"]}
    fields = f"fetchTimeMs: {digest[0] + 20}\r\n".encode()
    yield _record(writer, url, "metadata", fields, common | about)


def _record(writer: Any, url: str, kind: str, payload: bytes, headers: dict[str, str], http_headers: Any = None) -> Any:
    return writer.create_warc_record(
        url,
        kind,
        payload=io.BytesIO(payload),
        length=len(payload),
        warc_headers_dict=headers,
        http_headers=http_headers,
    )


def _record_id(seed: int, kind: str, name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{seed} {kind} {name}").urn.join("<>")


def _date(number: int) -> str:
    return (_START + datetime.timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _http_date(number: int) -> str:
    return (_START + datetime.timedelta(seconds=number)).strftime("%a, %d %b %Y %H:%M:%S GMT")
