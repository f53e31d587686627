"""What is written in place of personal data, in three styles.

`fineweb` writes what FineWeb writes: one of two addresses for e-mail, one of six for IPv4; the other types, which
FineWeb does not mask, get tags. FineWeb takes turns from one document to the next, so that its text depends on what a
process has seen before; here a hash of the value chooses: one value has one replacement in all documents, whatever
their order. `tags` writes `<EMAIL>`. `hash` writes `<EMAIL:hdkcbpoamfjeliag>`, sixteen letters that a secret key and
the value decide: equal values can be told to be equal, and without the key nobody can try out which they were.

None of these is found as personal data again, or it is replaced by itself: masking twice is masking once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from corpus.pii.text import Span

STYLES = ("fineweb", "tags", "hash")
# datatrove, pipeline/formatters/pii.py; the six addresses answered no ping when its authors chose them.
EMAILS = ("email@example.com", "firstname.lastname@example.org")
IPV4 = ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")
IPV6 = ("2001:db8::1",)  # RFC 3849, documentation; FineWeb masks IPv4 alone

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # digits could be taken for a number
KEY_BYTES = 16  # at least

Masker = Callable[[Span], str]


def masker(style: str, key: bytes = b"") -> Masker:
    """The function that says what is written for a span. Raises ValueError if `hash` has no key, or too short a one."""
    if style == "tags":
        return tag
    if style == "fineweb":
        return _as_fineweb
    if len(key) < KEY_BYTES:
        raise ValueError(f"hash_key: the file has {len(key)} bytes; make one with: head -c 32 /dev/urandom > FILE")
    return partial(_pseudonym, hashlib.blake2b(key).digest())


def tag(span: Span) -> str:
    """`<EMAIL>`, `<CREDIT_CARD>`."""
    return f"<{span.type.upper()}>"


def _as_fineweb(span: Span) -> str:
    if span.type not in ("email", "ip"):
        return tag(span)
    of_ip = IPV6 if ":" in span.text else IPV4
    choices: tuple[str, ...] = EMAILS if span.type == "email" else of_ip
    if span.text in choices:
        return span.text
    return choices[int.from_bytes(_hash(span, b"", 4)) % len(choices)]


def _pseudonym(key: bytes, span: Span) -> str:
    return f"<{span.type.upper()}:{_hash(span, key, 8).hex().translate(_LETTERS)}>"


def _hash(span: Span, key: bytes, size: int) -> bytes:
    """BLAKE2b of the value however it is written: +49 30 123456 is +4930123456, A@B.example is a@b.example."""
    value = span.text.lower()
    if span.type not in ("email", "secret", "ip"):
        value = "".join(c for c in value if c.isalnum() or c == "+")
    data = f"{span.type}:{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=size, key=key).digest()
