"""The body of an HTTP response -> the bytes of the page, without transfer and content codings, and their type.

The bodies in an archive often disagree with their headers. Common Crawl stores bodies decoded (and renames the header
fields), older crawls kept `Transfer-Encoding: chunked` before a plain body, and connections end early. So a coding is
undone where the bytes are coded so, and ignored where they are not. Of a body that was cut, the bytes that decode are
kept; a browser shows them too. No decoder trusts a length that the body states: each stops at `limit` bytes.
"""

from __future__ import annotations

import re
import zlib

# HTML and XHTML, and the names that servers give them by mistake: no browser knows these, and the pages are HTML.
_HTML_TYPES = frozenset(
    (
        *("text/html", "application/xhtml+xml"),
        *("text/htm", "text/x-html", "text/xhtml", "application/html", "application/xhtml", "application/x-httpd-php"),
        *("html", "htm"),
    )
)
# WHATWG MIME Sniffing, "parse a MIME type": both names are HTTP tokens.
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_LISTED = re.compile(
    r"""(?:[^",]|"(?:[^"\\]|\\.)*(?:"|$))+""", re.DOTALL
)  # a value of a list; a quoted comma is part of it
_CHARSET = re.compile(r"""\bcharset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)
# Types that servers send where they do not know the type: here the bytes decide, as in browsers (WHATWG MIME Sniffing,
# "undefined" types; octet-stream is the default of many servers). XML whose root element is html is XHTML.
_UNSURE = ("", "unknown/unknown", "application/unknown", "*/*", "application/octet-stream")
_XML_TYPES = ("text/xml", "application/xml")

# WHATWG MIME Sniffing, "identifying a resource with an unknown MIME type": the tags with which only HTML begins.
_HTML_START = re.compile(
    rb"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>/]", re.IGNORECASE
)
_XHTML_START = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_BEFORE_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_SNIFF_BYTES = 4096
_PIECE = 64 * 1024
_ZSTD_WINDOW = 8 * 1024 * 1024  # RFC 9659: the window that a client must support, and the largest for a server
_MOST_CODINGS = 8  # of one response; real responses have one or two
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
# WHATWG MIME Sniffing, "binary data byte": no text in an encoding of one byte, or of a variable length, has them.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def media_type(content_type: str) -> tuple[str, str | None]:
    """(media type in lower case and without parameters, charset or None) that a Content-Type names.

    Of a list, the last valid type counts, with the charset that it or the values of this type before it name (WHATWG
    Fetch, "extract a MIME type"). The type is "" if no value is valid. `html` and `htm` count as valid. The charset is
    found wherever it stands, also behind a type that is not valid, as in `text/html charset=big5`.
    """
    chosen, charset = "", None
    for value in _LISTED.findall(content_type) if "," in content_type else [content_type]:
        name = value.partition(";")[0].strip().lower()
        if name == "*/*" or not (_MEDIA_TYPE.fullmatch(name) or name in _HTML_TYPES):
            continue
        own = _CHARSET.search(value)
        charset = own[1] if own else charset if name == chosen else None
        chosen = name
    if not chosen and (own := _CHARSET.search(content_type)):
        charset = own[1]
    return chosen, charset


def html_type(declared: str, body: bytes) -> str | None:
    """None if `body` is an HTML page, else the type that it seems to have.

    `declared` is the media type in lower case and without parameters; "" if no valid type is declared.
    """
    signed = next(name for magic, name in _SIGNATURES if body.startswith(magic)) if body.startswith(_MAGICS) else None
    if declared in _HTML_TYPES:
        return signed
    if signed is None and declared in _UNSURE and starts_as_html(body):
        return None
    if signed is None and declared in _XML_TYPES and _XHTML_START.match(_markup(body)):
        return None
    return declared or signed or "unknown"


def starts_as_html(body: bytes) -> bool:
    """Whether the markup begins with a tag with which only HTML begins."""
    return _HTML_START.match(_markup(body)) is not None


def undo_codings(body: bytes, transfer: str, content: str, limit: int) -> tuple[bytes, str | None]:
    """(`body` without its transfer and content codings, the coding that failed or None).

    `transfer` and `content` are the values of Transfer-Encoding and Content-Encoding. A decoded body has at most
    `limit + 1` bytes. A coding fails if it is unknown or if no byte decodes, and the bytes are no text either; it is
    named as the response declares it.
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
    """The bytes of `body` that decode, b"" if none does."""
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, 16 + zlib.MAX_WBITS, limit) if body.startswith(b"\x1f\x8b") else b""
    if coding == "deflate":
        # RFC 9110 means the format of zlib; some servers send deflate without it.
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
            # In pieces: zlib drops the output of the call that meets an error.
            while body and not inflater.eof and len(plain) <= limit:
                plain += inflater.decompress(body, min(_PIECE, limit + 1 - len(plain)))
                body = inflater.unconsumed_tail
        except zlib.error:
            break
        body = inflater.unused_data if window_bits > zlib.MAX_WBITS else b""  # gzip can have several members
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
        pass  # the bytes before the damage are the page
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
        pass  # the bytes before the damage are the page
    return bytes(plain)


def dechunk(body: bytes) -> bytes:
    """The chunks of the chunked coding (RFC 9112) joined; `body` itself if it does not begin with a chunk."""
    chunks: list[bytes] = []
    at, ended = 0, False
    while (size := _CHUNK_SIZE.match(body, at)) is not None:
        length = int(size[1], 16)
        if length == 0:
            ended = True
            break
        end = size.end() + length
        if end < len(body) and body[end : end + 1] not in (b"\r", b"\n"):
            break  # no chunk, but text that begins with hexadecimal digits
        chunks.append(body[size.end() : end])
        at = end + (2 if body[end : end + 1] == b"\r" else 1)
    return b"".join(chunks) if chunks or ended else body


def _markup(body: bytes) -> bytes:
    """The first bytes behind a byte order mark, white space, comments and processing instructions."""
    head = body[:_SNIFF_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")[2:]  # UTF-16: markup begins with ASCII characters
    before = _BEFORE_MARKUP.match(head)
    return head[before.end() :] if before else head


def _is_text(body: bytes) -> bool:
    return body.startswith((b"\xff\xfe", b"\xfe\xff")) or not _BINARY.search(body[:_SNIFF_BYTES])
