"""What is written in place of personal data, in three styles.

`fineweb` writes FineWeb's replacements: one of two e-mail addresses, one of six IPv4 addresses. FineWeb masks no other
type; here, they get tags. FineWeb uses its addresses in turn, so its text depends on the documents that a process has
read before. Here, a hash of the value chooses: a value has one replacement in all documents, in any order of documents.

`tags` writes `<EMAIL>`.

`hash` writes `<EMAIL:hdkcbpoamfjeliag>`: sixteen letters that a secret key and the value decide. Equal values have
equal letters, and without the key nobody can find out the value by trying.

No replacement is found as personal data again, or it is its own replacement: masking twice is masking once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial

from corpus.pii.text import Span

STYLES = ("fineweb", "tags", "hash")
# From datatrove, pipeline/formatters/pii.py. The six IPv4 addresses answered no ping when its authors chose them.
EMAILS = ("email@example.com", "firstname.lastname@example.org")
IPV4 = ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")
IPV6 = ("2001:db8::1",)  # RFC 3849, documentation; FineWeb masks IPv4 alone

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # digits could be taken for a number
KEY_BYTES = 16  # fewest bytes of a key

Masker = Callable[[Span], str]


def masker(style: str, key: bytes = b"") -> Masker:
    """The function that masks a span in a style. Raises ValueError if the key of the style `hash` is too short."""
    if style == "tags":
        return tag
    if style == "fineweb":
        return _as_fineweb
    if len(key) < KEY_BYTES:
        raise ValueError(f"hash_key: the file has {len(key)} bytes; make one with: head -c 32 /dev/urandom > FILE")
    return partial(_pseudonym, hashlib.blake2b(key).digest())


def mask(text: str, spans: Iterable[Span], write: Masker) -> str:
    """`text` with `write(span)` in place of each span; the spans are in order, without overlaps."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], write(span)]
        end = span.end
    return "".join([*parts, text[end:]])


def tag(span: Span) -> str:
    """The tag of a span's type, such as `<EMAIL>` or `<CREDIT_CARD>`."""
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
    """BLAKE2b of the value, which is equal for every way to write it.

    +49 30 123456 and +4930123456 have one hash, and so have A@B.example and a@b.example.
    """
    value = span.text.lower()
    if span.type not in ("email", "secret", "ip"):
        value = "".join(c for c in value if c.isalnum() or c == "+")
    data = f"{span.type}:{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=size, key=key).digest()
