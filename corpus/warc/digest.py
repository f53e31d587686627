"""The digests of a record, checked.

In: the fields `WARC-Block-Digest` and `WARC-Payload-Digest`, as `algorithm:value` with the value in base32, in
hexadecimal or in base64, and the bytes. Out: whether they agree. The block's digest is over all bytes of the block; it
leaves no doubt, so it decides where a record has it. The payload's digest is less clear: WARC 1.1 means the body
without its transfer coding, most crawlers took the digest over the bytes as stored, and some over the decoded page. It
is right if one of the three has it. Nobody knows over how many bytes it was taken where the crawler has cut the record
(WARC-Truncated), so there it is not checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, NamedTuple

_ALGORITHMS = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "md5": 16}  # name -> bytes of the digest


class Expected(NamedTuple):
    """The digest that a header states, by an algorithm that can be computed here."""

    algorithm: str
    value: bytes

    def hasher(self) -> Any:
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def is_of(self, *pieces: bytes) -> bool:
        """Whether it is the digest of the pieces, one behind the other."""
        hasher = self.hasher()
        for piece in pieces:
            hasher.update(piece)
        return bool(hasher.digest() == self.value)


class Checked(NamedTuple):
    """Whether each digest is right; None where there is no digest that can be checked."""

    block: bool | None
    payload: bool | None

    @property
    def wrong(self) -> str | None:
        """The field whose digest is wrong, or None. The block holds the payload, so the block's digest decides."""
        if self.block is not None:
            return None if self.block else "warc-block-digest"
        return "warc-payload-digest" if self.payload is False else None


UNCHECKED = Checked(None, None)


def expected(header: str | None) -> Expected | None:
    """The digest in the value of a field; None if there is no field, or its algorithm or its form is unknown."""
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
    """A reader that hashes the bytes which are read through it, for blocks that are never held as a whole.

    in_payload  whether the next bytes belong to the payload; the caller sets it behind the HTTP header
    """

    def __init__(self, source: Any, headers: dict[str, str]) -> None:
        self._source = source
        self._block = expected(headers.get("warc-block-digest"))
        self._payload = payload_expected(headers)
        self._hashers = [(stated.hasher(), stated) if stated else None for stated in (self._block, self._payload)]
        self.in_payload = False

    def read(self, size: int) -> bytes:
        return self._hashed(self._source.read(size))

    def readline(self, size: int | None = None) -> bytes:
        return self._hashed(self._source.readline(size))

    def _hashed(self, data: bytes) -> bytes:
        block, payload = self._hashers
        if block:
            block[0].update(data)
        if payload and self.in_payload:
            payload[0].update(data)
        return data

    def checked(self) -> Checked:
        """Whether the digests are right, of all bytes that were read."""
        block, payload = (hasher[0].digest() == hasher[1].value if hasher else None for hasher in self._hashers)
        return Checked(block, payload)


def payload_expected(headers: dict[str, str]) -> Expected | None:
    """The payload's digest, if the record holds that payload whole. A revisit names the digest of another record."""
    held = headers.get("warc-type", "").lower() in ("response", "resource", "conversion")
    return expected(headers.get("warc-payload-digest")) if held and "warc-truncated" not in headers else None
