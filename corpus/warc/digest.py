"""What a record's digest headers say of its bytes.

In: `WARC-Block-Digest` and `WARC-Payload-Digest`, as `algorithm:value` with the value in base32, in hexadecimal or in
base64, and the bytes. Out: whether they agree. The block's digest is over all bytes of the block and leaves no doubt,
so it decides where it is there. The payload's does not: WARC 1.1 means the entity body without its transfer coding,
most crawlers wrote it over the bytes as stored, some over the page as decoded. It agrees if one of these does, and
says nothing of a record that the crawler cut (WARC-Truncated), because nobody knows over how much it was taken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, NamedTuple

_ALGORITHMS = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "md5": 16}  # -> bytes


class Expected(NamedTuple):
    """A digest that can be checked."""

    algorithm: str
    value: bytes

    def hasher(self) -> Any:
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def is_of(self, *pieces: bytes) -> bool:
        hasher = self.hasher()
        for piece in pieces:
            hasher.update(piece)
        return bool(hasher.digest() == self.value)


class Checked(NamedTuple):
    """What the digests said: True, False, or None where there is none that can be checked."""

    block: bool | None
    payload: bool | None

    @property
    def wrong(self) -> str | None:
        """The header that disagrees; the block's goes before the payload's, which it holds."""
        if self.block is not None:
            return None if self.block else "warc-block-digest"
        return "warc-payload-digest" if self.payload is False else None


UNCHECKED = Checked(None, None)


def expected(header: str | None) -> Expected | None:
    """The digest in a header's value; None if there is none, or of a kind or in a form unknown here."""
    algorithm, _, text = (header or "").partition(":")
    algorithm = algorithm.strip().lower().replace("-", "")
    size = _ALGORITHMS.get(algorithm)
    text = text.strip().rstrip("=")
    if size is None:
        return None
    try:
        if len(text) == 2 * size:
            return Expected(algorithm, bytes.fromhex(text))
        if len(text) == -(-size * 8 // 5):
            return Expected(algorithm, base64.b32decode(text.upper() + "=" * (-len(text) % 8)))
        if len(text) == -(-size * 8 // 6):
            return Expected(algorithm, base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_"))
    except (ValueError, binascii.Error):
        pass
    return None


class Hashing:
    """A reader that hashes what is read through it, for blocks that are not held as a whole."""

    def __init__(self, source: Any, headers: dict[str, str]) -> None:
        self._source = source
        self._block = expected(headers.get("warc-block-digest"))
        self._payload = payload_expected(headers)
        self._hashers = [(wanted.hasher(), wanted) if wanted else None for wanted in (self._block, self._payload)]
        self.in_payload = False

    def read(self, size: int) -> bytes:
        return self._seen(self._source.read(size))

    def readline(self, size: int | None = None) -> bytes:
        return self._seen(self._source.readline(size))

    def _seen(self, data: bytes) -> bytes:
        block, payload = self._hashers
        if block:
            block[0].update(data)
        if payload and self.in_payload:
            payload[0].update(data)
        return data

    def checked(self) -> Checked:
        block, payload = (hasher[0].digest() == hasher[1].value if hasher else None for hasher in self._hashers)
        return Checked(block, payload)


def payload_expected(headers: dict[str, str]) -> Expected | None:
    """The payload's digest, where it is of what the record itself holds whole: a revisit names that of another."""
    held = headers.get("warc-type", "").lower() in ("response", "resource", "conversion")
    return expected(headers.get("warc-payload-digest")) if held and "warc-truncated" not in headers else None
