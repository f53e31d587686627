"""WARC files in every compression, bombs, digests, and the two ways to read a record, which give equal answers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tracemalloc
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.warc import framing, inflate
from corpus.warc.digest import expected
from corpus.warc.framing import WarcRecord, records
from corpus.warc.header import BadHeader, quick_http, quick_warc, read_http
from corpus.warc.http_body import undo_codings
from corpus.warc.members import Window, whole_member
from corpus.warc.pages import BadRecord, Page, read_pages, read_record
from tests.oracles import warc_reader
from tests.support.warc_records import HTML, bad_of, chunked, pages_of, read, record, response

LIMIT = 1_000_000


def one(number: int, body: bytes = HTML, **options: Any) -> bytes:
    """A response with an id of its own."""
    data = response(body, "Content-Type: text/html", url=f"https://a.example/{number}", **options)
    return data.replace(b"<urn:uuid:response>", b"<urn:uuid:%d>" % number)


def with_digests(block: bytes, payload: bytes | None = None, *, kind: str = "response", form: str = "base32") -> bytes:
    def said(data: bytes) -> str:
        digest = hashlib.sha1(data).digest()
        return "sha1:" + (base64.b32encode(digest).decode() if form == "base32" else digest.hex())

    extra = f"WARC-Block-Digest: {said(block)}\r\n"
    if payload is not None:
        extra += f"WARC-Payload-Digest: {said(payload)}\r\n"
    return record(kind, block, extra=extra)


BLOCK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML
SOUND = [one(n) for n in range(4)]


# --- Zstandard


def frames(parts: list[bytes], dictionary: bytes = b"", **options: Any) -> bytes:
    if dictionary:
        options["dict_data"] = zstandard.ZstdCompressionDict(dictionary)
    return b"".join(zstandard.ZstdCompressor(**options).compress(part) for part in parts)


def trained() -> bytes:
    samples = [one(n, HTML + hashlib.sha512(b"%d" % n).hexdigest().encode()) for n in range(200)]
    return zstandard.train_dictionary(4096, samples).as_bytes()


@pytest.mark.parametrize("options", [{}, {"write_checksum": True}, {"write_content_size": False}, {"level": 19}])
def test_zstandard_by_record(options: dict[str, Any]) -> None:
    data = frames(SOUND, **options)
    items = pages_of(read(data))
    assert [item.url[-1] for item in items] == ["0", "1", "2", "3"]
    for item in items:
        assert item.html == HTML
        assert read_record(io.BytesIO(data), item.warc_offset, item.warc_length).id == item.id
        assert read(data[item.warc_offset : item.warc_offset + item.warc_length])[0].id == item.id


def test_zstandard_in_one_frame() -> None:
    items = read(frames([b"".join(SOUND)]))
    assert [(type(item), item.warc_offset) for item in items] == [(Page, 0)] * 4
    assert [item.warc_length for item in pages_of(items)] == [0] * 4


@pytest.mark.parametrize("packed", [False, True])
def test_zstandard_with_a_dictionary_in_front(packed: bool) -> None:
    dictionary = trained()
    held = zstandard.compress(dictionary) if packed else dictionary
    data = b"\x5d\x2a\x4d\x18" + len(held).to_bytes(4, "little") + held + frames(SOUND, dictionary)
    items = pages_of(read(data))
    assert [item.html for item in items] == [HTML] * 4
    assert read_record(io.BytesIO(data), items[2].warc_offset, items[2].warc_length).id == items[2].id
    broken = bytearray(data)
    broken[items[1].warc_offset + 10 : items[1].warc_offset + 30] = b"\xff" * 20
    got = read(bytes(broken))
    assert {item.id for item in pages_of(got)} >= {items[0].id, items[3].id, items[2].id}
    assert bad_of(got)


def test_skippable_frames_are_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (100_000).to_bytes(4, "little") + b"\0" * 100_000
    assert len(read(frames(SOUND[:1]) + skipped + frames(SOUND[1:]))) == 4
    assert [type(item) for item in read(frames(SOUND[:1]) + skipped[:-1])] == [Page, BadRecord]


@settings(max_examples=150)
@given(st.data())
def test_damage_to_zstandard_costs_only_the_records_that_it_touches(data: st.DataObject) -> None:
    parts = [frames([part], write_checksum=True) for part in SOUND]
    sound = b"".join(parts)
    begin = data.draw(st.integers(0, len(sound) - 1))
    end = data.draw(st.integers(begin + 1, min(len(sound), begin + 200)))
    new = data.draw(st.binary(max_size=200))
    try:
        items = read(sound[:begin] + new + sound[end:])
    except ValueError:
        items = []
    ids = [page.id for page in pages_of(items)]
    assert len(ids) == len(set(ids))
    at = 0
    for number, part in enumerate(parts):
        if at + len(part) <= begin or at >= end:
            assert f"<urn:uuid:{number}>" in ids
        at += len(part)
    assert all(page.html == HTML for page in pages_of(items))


# --- The quick way and the slow one, isal and zlib


def slowly(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[WarcRecord]:
    with monkeypatch.context() as patch:
        patch.setattr(framing, "_quick", lambda *_: None)
        return list(records(Window(io.BytesIO(data), 0), LIMIT, digests=True))


@pytest.mark.parametrize("library", sorted(inflate.BACKENDS))
def test_both_ways_give_the_same_records(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "backend", inflate.BACKENDS[library])
    many = [
        *SOUND,
        record("warcinfo", b"isPartOf: X\r\n"),
        record("request", b"GET / HTTP/1.1\r\n\r\n"),
        record("metadata", b"a: b\r\n", extra="WARC-Block-Digest: sha1:AAAA\r\n"),
        with_digests(BLOCK, HTML),
        with_digests(BLOCK, b"other"),
        with_digests(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(HTML, 50), HTML),
        one(7, HTML * 400),
        one(8, b"<p>" + bytes(range(256)) * 3000),
        response(b"x", "A: b", " folded: yes", "B: c"),
        response(b"x", "A: caf\u00e9"),
        response(b"x", "no colon", "A: b"),
        response(b"", "A: b"),
        record("response", b"1 2", url="dns:a.example"),
        record("response", b""),
        record("response", b"HTTP/1.1 200 OK\nA: b\n\nx"),
        record("response", b"HTTP/1.1 200"),
        response(HTML, length=10),
        response(HTML, length=10**9),
        record("conversion", b"text", extra="Content-Type: text/plain\r\n"),
        record("revisit", b"", extra="WARC-Payload-Digest: sha1:" + "A" * 32 + "\r\n"),
    ]
    data = b"".join(gzip.compress(part) for part in many)
    quick = list(records(Window(io.BytesIO(data), 0), LIMIT, digests=True))
    assert quick == slowly(data, monkeypatch)
    lean = [(r.offset, r.length, r.type, r.http, r.body if r.type == "response" else b"", r.fault) for r in quick]
    got = list(records(Window(io.BytesIO(data), 0), LIMIT))
    assert lean == [(r.offset, r.length, r.type, r.http, r.body if r.type == "response" else b"", r.fault) for r in got]


@settings(max_examples=300)
@given(st.binary(max_size=3000), st.data())
def test_isal_inflates_no_member_that_zlib_refuses(body: bytes, data: st.DataObject) -> None:
    """The fast library may give up on a damaged member that zlib reads in part, and then gives nothing."""
    member = bytearray(gzip.compress(body, mtime=0))
    for _ in range(data.draw(st.integers(0, 2))):
        member[data.draw(st.integers(0, len(member) - 1))] = data.draw(st.integers(0, 255))
    stream = bytes(member[: data.draw(st.integers(1, len(member)))]) + data.draw(st.sampled_from([b"", b"next"]))
    found = {}
    for name, backend in inflate.BACKENDS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inflate, "backend", backend)
            whole = whole_member(Window(io.BytesIO(stream), 0), 0, LIMIT)
            found[name] = whole and (b"".join(whole.pieces), whole.end)
    assert found.get("isal") in (None, found["zlib"])
    if stream.startswith(gzip.compress(body, mtime=0)):
        assert found["zlib"] == found.get("isal", found["zlib"]) == (body, len(member))


LINE = st.one_of(
    st.sampled_from(
        [
            "WARC-Type: response",
            "Content-Length: 5",
            "Content-Type: a/b",
            "warc-type : x",
            " folded",
            "\tfolded",
            ":",
            "a:",
            "é: ü",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12),
)


@example(["Content-Type: a/b", "content-type: c/d"], "\r\n", "WARC/1.0")
@example([""], "\r\r\n", "WARC/1.0")  # a line of white space ends a header
@given(
    st.lists(LINE, max_size=6), st.sampled_from(["\r\n", "\n", "\r\r\n"]), st.sampled_from(["WARC/1.0", "WARC/1.1 "])
)
def test_quick_headers_equal_warcio_s(lines: list[str], newline: str, version: str) -> None:
    data = (version + "\r\n" + newline.join([*lines, "X-Last: 1"])).encode() + b"\r\n\r\nblock"
    quick = quick_warc(data)
    if quick is not None:
        assert quick == (warc_reader.headers(data), data.index(b"\r\n\r\n") + 4)
    http = data.replace(b"WARC/1.", b"HTTP/1.")
    found = quick_http(http, 0, len(http))
    if found is not None:
        source = io.BytesIO(http)
        assert found == (read_http(source), source.tell())


def test_plain_headers_are_read_quickly() -> None:
    assert quick_warc(SOUND[0]) is not None
    assert quick_http(BLOCK, 0, len(BLOCK)) is not None
    request = record("request", b"x")
    assert quick_warc(request, all_fields=False) == ({"warc-type": "request", "content-length": "1"}, len(request) - 5)
    with pytest.raises(BadHeader):
        warc_reader.headers(b"HTTP/1.1 200 OK\r\n\r\n")


# --- Bombs


def gzip_bomb(head: bytes, size: int) -> bytes:
    """A gzip member of `head` and `size` zeros (a multiple of 64 MiB), with a wrong checksum."""
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = deflater.compress(head) + deflater.flush(zlib.Z_FULL_FLUSH)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = deflater.compress(b"\0" * (1 << 26)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + block * (size >> 26) + b"\x03\0" + b"\0" * 8


def zstd_bomb(head: bytes, size: int) -> bytes:
    """A frame of one raw block and run-length blocks of 128 KiB."""
    raw = (len(head) << 3).to_bytes(3, "little") + head
    run = (1 << 1 | (1 << 17) << 3).to_bytes(3, "little") + b"\0"
    last = (1 | 1 << 1 | (1 << 17) << 3).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + raw + run * ((size >> 17) - 1) + last


@pytest.mark.parametrize("library", sorted(inflate.BACKENDS))
@pytest.mark.parametrize("bomb", [gzip_bomb, zstd_bomb])
@pytest.mark.parametrize("kind", ["response", "metadata", "header"])
def test_a_bomb_of_ten_gigabytes(library: str, bomb: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "backend", inflate.BACKENDS[library])
    size = 10 << 30
    head = record(kind, b"HTTP/1.1 200 OK\r\n\r\n<p>", length=size + 22).removesuffix(b"\r\n\r\n")
    packed = bomb(b"WARC/1.0\r\nX: " if kind == "header" else head, size)
    pack = gzip.compress if bomb is gzip_bomb else zstandard.compress
    tracemalloc.start()
    try:
        items = read(pack(SOUND[0]) + packed + pack(SOUND[1]), max_page_bytes=LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [page.url[-1] for page in pages_of(items)] == ["0", "1"]
    rules = [item.drop.rule for item in bad_of(items)]
    if kind == "header":
        assert rules == ["warc.damaged"]
    else:
        assert [tuple(item.drop) for item in bad_of(items)] == [("warc.too_large", size + 22, LIMIT)]
    assert peak < 64_000_000


def test_bombs_in_content_codings() -> None:
    zeros = b"<p>" + b" " * 30_000_000
    twice = gzip.compress(gzip.compress(zeros))
    rle = zstd_bomb(b"<p>", 10 << 30)
    for coding, body in (
        ("gzip, gzip", twice),
        ("br", brotli.compress(zeros)),
        ("zstd", rle),
        ("deflate", zlib.compress(zeros)),
    ):
        got, failed = undo_codings(body, "", coding, LIMIT)
        assert (len(got), failed) == (LIMIT + 1, None)
    wide = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27))
    stream = wide.compressobj()
    packed = stream.compress(zeros) + stream.flush()
    assert undo_codings(packed, "", "zstd", 10**8) == (packed, "zstd")  # a window that no browser would take
    assert undo_codings(b"\xff" * 99, "", "gzip," * 5000, LIMIT) == (b"\xff" * 99, "gzip")


@pytest.mark.parametrize(
    ("transfer", "content"), [("gzip, chunked", ""), ("chunked", "gzip, zstd"), ("", "gzip, zstd")]
)
def test_several_codings_in_a_row(transfer: str, content: str) -> None:
    coders = {"gzip": gzip.compress, "zstd": zstandard.compress, "br": brotli.compress}
    body = HTML
    for coding in [*content.split(","), *transfer.split(",")]:
        coding = coding.strip()
        body = chunked(body, 64) if coding == "chunked" else coders.get(coding, bytes)(body)
    assert undo_codings(body, transfer, content, LIMIT) == (HTML, None)


# --- Digests


@pytest.mark.parametrize("form", ["base32", "hex"])
def test_wrong_digests_in_a_plain_file_are_damage(form: str) -> None:
    good = with_digests(BLOCK, HTML, form=form)
    flipped = good.replace(b"paragraph 7 ", b"paragraph 8 ")
    assert [type(item) for item in read(good + SOUND[0])] == [Page, Page]
    items = read(flipped + SOUND[0])
    assert [type(item) for item in items] == [BadRecord, Page]
    (bad,) = bad_of(items)
    assert bad.drop.rule == "warc.damaged"
    assert str(bad.drop.value).startswith("sha1:")
    # One member for all: its checksum comes too late for the first record.
    assert [type(item) for item in read(gzip.compress(flipped + SOUND[0]))] == [BadRecord, Page]
    # Checked by the member's own checksum: what the crawler saw, whatever it wrote in the header.
    assert [type(item) for item in read(gzip.compress(flipped) + gzip.compress(SOUND[0]))] == [Page, Page]
    # Found again after damage: nobody knows whether this is a record.
    assert [type(item) for item in read(b"x" * 99 + gzip.compress(flipped) + gzip.compress(SOUND[0]))] == [
        *(BadRecord, BadRecord, Page),
    ]


def test_a_payload_digest_may_be_of_three_forms_of_the_body() -> None:
    stored = chunked(gzip.compress(HTML, mtime=0), 100)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"

    def read_with(payload: bytes, extra: str = "") -> Page | BadRecord:
        digest = base64.b32encode(hashlib.sha256(payload).digest()).decode()
        return read(record("response", head + stored, extra=f"WARC-Payload-Digest: sha256:{digest}\r\n{extra}"))[0]

    for payload in (stored, gzip.compress(HTML, mtime=0), HTML):
        assert isinstance(read_with(payload), Page)
    assert isinstance(read_with(b"another"), BadRecord)
    assert isinstance(read_with(b"another", "WARC-Truncated: length\r\n"), Page)
    assert isinstance(
        read_with(b"another", "WARC-Block-Digest: sha1:" + hashlib.sha1(head + stored).hexdigest() + "\r\n"), Page
    )


def test_forms_of_digests() -> None:
    raw = {name: hashlib.new(name, b"x").digest() for name in ("sha1", "sha256", "sha512", "md5")}
    for name, value in raw.items():
        label = {"sha1": "SHA-1", "sha256": "sha-256"}.get(name, name)
        for text in (
            value.hex(),
            value.hex().upper(),
            base64.b32encode(value).decode(),
            base64.b32encode(value).decode().lower().rstrip("="),
            base64.b64encode(value).decode(),
            base64.urlsafe_b64encode(value).decode(),
        ):
            found = expected(f"{label}: {text}")
            assert found is not None
            assert (found.value, found.is_of(b"x"), found.is_of(b"y")) == (value, True, False)
    for odd in ("", None, "sha1:", "sha1:xyz", "blake3:" + "0" * 64, "sha1:" + "!" * 40, "sha1:" + "1" * 32, "0" * 40):
        assert expected(odd) is None


# --- What damage must not do


def test_a_stored_member_is_not_delivered_twice() -> None:
    """Deflate stores bytes that do not compress as they are: a broken member may hold its records uncompressed."""
    whole = bytearray(gzip.compress(b"".join(SOUND), compresslevel=0))
    whole[-6] ^= 1
    items = read(bytes(whole) + gzip.compress(one(9)))
    assert [page.id for page in pages_of(items)] == [f"<urn:uuid:{number}>" for number in (0, 1, 2, 9)]
    assert [item.id for item in bad_of(items)] == ["<urn:uuid:3>"]


def test_lengths_that_all_lie_do_not_take_all_day() -> None:
    """Each record claims the rest of the file, which is read again for the next record, but not without end."""

    liars = b"".join(one(number, HTML, length=10**12) for number in range(2000))
    window = Window(io.BytesIO(liars), 0)
    found = list(records(window, LIMIT))
    assert all(record.fault for record in found)
    assert window.reread <= 10 * len(liars)
    inside = list(records(Window(io.BytesIO(gzip.compress(liars)), 0), LIMIT))
    assert all(record.fault for record in inside)
    assert len(inside) > 2
    assert isinstance(next(read_pages(io.BytesIO(liars), "f")), BadRecord)
