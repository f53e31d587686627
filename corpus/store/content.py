"""Whether the bytes of a download are the file that was asked for.

In: a file, or its first bytes, and its name. Out: what is wrong with it, in a few words; "" if nothing is. A portal or
a proxy answers 200 with a page of its own, a server answers 200 with an error in XML, and a connection may end early
without a sign. A compressed file begins with the signature of its format. Each record of a WARC file is a gzip member
(WARC 1.1, annex D), so the last one shows whether the file is whole, and the others need not be inflated.
"""

from __future__ import annotations

import mmap
import re
import zlib
from pathlib import Path

HEAD = 1024  # bytes by which a wrong file is known, before the rest is downloaded
_LONG_HEAD = 128 * 1024  # the header of a gzip member has 64 KiB and a file name at the most
_RECORD = b"WARC/"
_GZIP = b"\x1f\x8b\x08"
_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    ".gz": (_GZIP,),
    ".tgz": (_GZIP,),
    ".warc": (_RECORD,),
    ".wet": (_RECORD,),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([byte]) + b"\x2a\x4d\x18" for byte in range(0x50, 0x60))),
    ".bz2": (b"BZh",),
    ".xz": (b"\xfd7zXZ\0",),
    ".zip": (b"PK",),
    ".parquet": (b"PAR1",),
}
_WARC_NAME = re.compile(r"\.(warc|wat|wet)(\.|$)")
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|error)", re.IGNORECASE)
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".xml")

_BLOCK = 1 << 20
_TAIL = 32 << 20  # bytes at the end in which the last member is looked for; Common Crawl's have 5 MiB at the most
_INFLATED = 1 << 30  # bytes that this search inflates at the most
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 100  # as for the members of WARC files in corpus.warc.members


def head_fault(name: str, head: bytes) -> str:
    """What is wrong with a file of this name that begins with `head`, its first `HEAD` bytes (or all its bytes)."""
    if not head:
        return "no bytes"
    ending = Path(name.lower()).suffix
    signatures = _SIGNATURES.get(ending)
    if signatures and not head.startswith(signatures):
        return f"begins with {ascii(head[:24])[1:]} and is no {ending} file"
    if not signatures and _PAGE.match(head) and not name.lower().endswith(_PAGE_NAMES):
        return f"begins with {ascii(head[:24])[1:]} and is a web page"
    return _gzip_fault(name, head) if signatures == (_GZIP,) else ""


def file_fault(path: Path, name: str, *, has_length: bool = True) -> str:
    """What is wrong with a whole file that was downloaded as `name`.

    `has_length`: the server said where the body ends. If it did not, a text should end with a newline. Raises OSError
    if the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_LONG_HEAD)
        if fault := head_fault(name, head):
            return fault
        if _SIGNATURES.get(Path(name.lower()).suffix) == (_GZIP,):
            if not _inflated(head):
                return "begins with an empty gzip member"
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return "" if _last_member_ends(data) else "the last gzip member is cut off or damaged"
        file.seek(-1, 2)
        return (
            ""
            if has_length or file.read(1) == b"\n"
            else "the last line has no newline, and the server named no length"
        )


def _gzip_fault(name: str, head: bytes) -> str:
    """What is wrong with the first bytes that a gzip file inflates to, as far as `head` tells."""
    try:
        begin = _inflated(head)
    except zlib.error:
        return "the first gzip member is damaged"
    if begin.startswith(_GZIP):
        return "is compressed twice"
    if _WARC_NAME.search(name.lower()) and not begin.startswith(_RECORD[: len(begin)]):
        return f"inflates to {ascii(begin)[1:]} and is no WARC file"
    return ""


def _inflated(head: bytes) -> bytes:
    """At most 24 bytes that the first gzip member inflates to."""
    return zlib.decompressobj(31).decompress(head, 24)


def _last_member_ends(data: mmap.mmap) -> bool:
    """Whether a gzip member ends with the file's last byte.

    Members are tried from the last signature backwards. A signature within compressed data begins no sound member, and
    a whole gzip file within a record never ends with the last byte. Where the search meets no sound record, the last
    member has over 32 MiB, or the file is no WARC file: then all members are inflated from the first on.
    """
    at, left, has_record = len(data), _INFLATED, False
    while left > 0 and (at := data.rfind(_GZIP, max(0, len(data) - _TAIL), at)) >= 0:
        end, inflated = _member_end(data, at, left)
        if end == len(data):
            return True
        has_record |= end is not None and _inflated(data[at : at + _LONG_HEAD]).startswith(_RECORD)
        left -= inflated
    if has_record:
        return False
    at = 0
    while at < len(data):
        if (end := _member_end(data, at, None)[0]) is None:
            return False
        at = end
    return True


def _member_end(data: mmap.mmap, at: int, most: int | None) -> tuple[int | None, int]:
    """(offset behind the gzip member at `at`, bytes that it inflates to); (None, bytes) if it isn't sound and whole.

    A member that inflates to more than `most` bytes, or out of all proportion, counts as not sound.
    """
    inflater, position, inflated = zlib.decompressobj(31), at, 0
    while not inflater.eof and position < len(data):
        block = data[position : position + _BLOCK]
        try:
            inflated += len(inflater.decompress(block, 16 * _BLOCK))
        except zlib.error:
            return None, inflated
        position += len(block) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
        bomb = inflated > _BOMB_BYTES and inflated > _BOMB_RATIO * (position - at)
        if bomb or (most is not None and inflated > most):
            return None, inflated
    return (position if inflater.eof else None), inflated
