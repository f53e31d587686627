"""The body of an HTTP response -> the bytes of the page: transfer and content codings undone, the type sniffed.

Archives disagree with their headers: Common Crawl stores bodies decoded (and renames the headers), older crawls
kept `Transfer-Encoding: chunked` in front of a plain body, and connections end early. So a coding is undone where
the bytes bear it out and ignored where they do not; what decodes before a cut is kept, as a browser would show it.
Nothing here trusts a length from the wire: every decoder stops at `limit` bytes.
"""

from __future__ import annotations

import re
import zlib

HTML_TYPES = ("text/html", "application/xhtml+xml")
# Types that servers send when they do not know: here the bytes decide, as in browsers (WHATWG MIME Sniffing,
# "undefined" types; octet-stream is many servers' default). XML may be XHTML by its root element.
_UNSURE = ("", "unknown/unknown", "application/unknown", "*/*", "application/octet-stream")
_XML_TYPES = ("text/xml", "application/xml")

# WHATWG MIME Sniffing, "identifying a resource with an unknown MIME type": tags that only HTML begins with.
_HTML_START = re.compile(
    rb"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>/]", re.IGNORECASE
)
_XHTML_START = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_BEFORE_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_SNIFF_BYTES = 4096
_PIECE = 64 * 1024
_ZSTD_WINDOW = 8 * 1024 * 1024  # RFC 9659: what a client has to have for the coding, and all that a server may use
_MOST_CODINGS = 8  # of one response; real ones have one or two
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")

_SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "audio/video/image (RIFF)"),
    (b"OggS\0", "application/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x7fELF", "application/x-executable"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
)
_MAGICS = tuple(magic for magic, _ in _SIGNATURES)
# WHATWG MIME Sniffing, "binary data byte": in no text of a one-byte or variable-length encoding.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def html_type(declared: str, body: bytes) -> str | None:
    """None if `body` is an HTML page, else the type that it is taken for.

    `declared` is the media type in lower case without parameters, "" for none.
    """
    found = next(name for magic, name in _SIGNATURES if body.startswith(magic)) if body.startswith(_MAGICS) else None
    if declared in HTML_TYPES:
        return found
    if found is None and declared in _UNSURE and starts_as_html(body):
        return None
    if found is None and declared in _XML_TYPES and _XHTML_START.match(_markup(body)):
        return None
    return declared or found or "unknown"


def starts_as_html(body: bytes) -> bool:
    """Do the first bytes hold a tag that HTML alone begins with?"""
    return _HTML_START.match(_markup(body)) is not None


def undo_codings(body: bytes, transfer: str, content: str, limit: int) -> tuple[bytes, str | None]:
    """`body` without its transfer and content codings, at most `limit + 1` bytes, and the coding that failed.

    `transfer` and `content` are the values of Transfer-Encoding and Content-Encoding. A failed coding (unknown, or
    nothing of it decodes although the bytes are no text) is named as the page declares it, else None.
    """
    codings = [token.strip().lower() for token in f"{content},{transfer}".split(",") if token.strip()]
    if len(codings) > _MOST_CODINGS:
        return body, codings[0][:40]
    if "chunked" not in codings and "chunked" in transfer.lower():
        body = dechunk(body)
    for coding in reversed(codings):
        if coding == "chunked":
            body = dechunk(body)
            continue
        if coding == "identity" or starts_as_html(body):
            continue
        decoded = _decoded(body, coding, limit)
        if decoded:
            body = decoded
        elif body and not _is_text(body):
            return body, coding
    return body, None


def _decoded(body: bytes, coding: str, limit: int) -> bytes:
    """What decodes of `body`, b"" if nothing does."""
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, 16 + zlib.MAX_WBITS, limit) if body.startswith(b"\x1f\x8b") else b""
    if coding == "deflate":
        # RFC 9110 means zlib's format; some servers send raw deflate.
        plain = _inflate(body, zlib.MAX_WBITS, limit) or _inflate(body, -zlib.MAX_WBITS, limit)
        return plain if _is_text(plain) else b""
    if coding == "br":
        plain = _unbrotli(body, limit)
        return plain if _is_text(plain) else b""
    if coding == "zstd":
        return _unzstd(body, limit) if body.startswith(b"\x28\xb5\x2f\xfd") else b""
    return b""


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    plain = bytearray()
    while body and len(plain) <= limit:
        inflater = zlib.decompressobj(window_bits)
        try:
            # In pieces, because an error discards the output of the call that meets it.
            while body and not inflater.eof and len(plain) <= limit:
                plain += inflater.decompress(body, min(_PIECE, limit + 1 - len(plain)))
                body = inflater.unconsumed_tail
        except zlib.error:
            break
        body = inflater.unused_data if window_bits > zlib.MAX_WBITS else b""  # gzip may have several members
    return bytes(plain)


def _unbrotli(body: bytes, limit: int) -> bytes:
    import brotli

    plain = bytearray()
    inflater = brotli.Decompressor()
    data = body
    try:
        while len(plain) <= limit:
            piece = inflater.process(data, output_buffer_limit=min(_PIECE, limit + 1 - len(plain)))
            data = b""
            plain += piece
            if inflater.is_finished() or (not piece and inflater.can_accept_more_data()):
                break
    except brotli.error:
        pass  # what came before the damage is the page
    return bytes(plain[: limit + 1])


def _unzstd(body: bytes, limit: int) -> bytes:
    import zstandard

    plain = bytearray()
    inflater = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with inflater.stream_reader(body, read_across_frames=True) as reader:
            while len(plain) <= limit and (piece := reader.read(min(_PIECE, limit + 1 - len(plain)))):
                plain += piece
    except zstandard.ZstdError:
        pass  # as with the others
    return bytes(plain)


def dechunk(body: bytes) -> bytes:
    """The chunks of RFC 9112 joined; `body` as it is if it does not begin with one."""
    chunks: list[bytes] = []
    at, ended = 0, False
    while (size := _CHUNK_SIZE.match(body, at)) is not None:
        length = int(size[1], 16)
        if length == 0:
            ended = True
            break
        end = size.end() + length
        if end < len(body) and body[end : end + 1] not in (b"\r", b"\n"):
            break  # that was no chunk: text that begins with hexadecimal digits
        chunks.append(body[size.end() : end])
        at = end + (2 if body[end : end + 1] == b"\r" else 1)
    return b"".join(chunks) if chunks or ended else body


def _markup(body: bytes) -> bytes:
    """The first bytes after a byte order mark, white space, comments and processing instructions."""
    head = body[:_SNIFF_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")[2:]  # UTF-16: markup begins in ASCII
    before = _BEFORE_MARKUP.match(head)
    return head[before.end() :] if before else head


def _is_text(body: bytes) -> bool:
    return body.startswith((b"\xff\xfe", b"\xfe\xff")) or not _BINARY.search(body[:_SNIFF_BYTES])
