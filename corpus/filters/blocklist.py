"""Lists of millions of hosts or URLs, held as sorted 64-bit hashes: eight bytes an entry, loaded in a few seconds.

A text file with one entry a line becomes one sorted array; a look-up is a binary search. Two different entries
share a hash with a probability of 2**-64: over four million entries and ten billion look-ups, there is one wrong
answer with a probability of 0.2 %. The hash is fixed, so that every run answers alike.

The hash of a line of bytes b_0 ... b_(n-1) is the sum of table[b_i] * ODD**i modulo 2**64, mixed. All lines of a
block are hashed at once: running sums over the block, differences at the line ends, and one multiplication by an
inverse power that moves each line to the front.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

# Odd, so that it has an inverse modulo 2**64: the golden ratio in 64 bits (Knuth, TAOCP 3, 6.4).
_ODD = 0x9E3779B97F4A7C15
_INVERSE = pow(_ODD, -1, 2**64)
_BLOCK = 1 << 20  # bytes hashed at a time: bounds the working memory at some 50 MB
_TABLE = np.frombuffer(hashlib.shake_256(b"corpus.filters.blocklist").digest(2048), "<u8")

_COMMENT = re.compile(rb"#[^\n]*")
_BLANKS = re.compile(rb"\n{2,}")
_WILDCARD = re.compile(rb"\n(?:\*?\.)+")


def load_hosts(path: str) -> Hashes:
    """Sorted hashes of the hosts in a file: one a line, `#` begins a comment, a leading `*.` or `.` is ignored.

    Raises OSError if the file cannot be read.
    """
    return _load_hosts(*_identity(path))


def load_urls(path: str) -> Hashes:
    """Sorted hashes of the `url_key` of the URLs in a file: one a line, lines that begin with `#` are comments.

    Raises OSError if the file cannot be read.
    """
    return _load_urls(*_identity(path))


def hash_lines(lines: Iterable[str]) -> Hashes:
    """The hash of each line, in order; lines hold no newline."""
    joined = "".join(f"{line}\n" for line in lines)
    return _hash_block(joined.encode("utf-8", "surrogatepass"))


def contains(sorted_hashes: Hashes, wanted: Hashes) -> NDArray[np.bool_]:
    """For each wanted hash, whether it is among the sorted ones."""
    if not len(sorted_hashes):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(sorted_hashes, wanted), len(sorted_hashes) - 1)
    found: NDArray[np.bool_] = sorted_hashes[at] == wanted
    return found


def host_key(host: str) -> str:
    """A host as lists write it: small letters, ASCII (IDNA), no dot at the end."""
    host = host.strip().lower().rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return host
    return host


def url_key(url: str) -> str:
    """A URL without its scheme, fragment and last slashes, the host in small letters; "" if it has no host."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    place = host_key(host) + ("" if port in (None, 80, 443) else f":{port}")
    query = f"?{parts.query}" if parts.query else ""
    return f"{place}{parts.path.rstrip('/')}{query}"


def _identity(path: str) -> tuple[str, int, int]:
    """What a list is remembered by: a file that was changed is read again."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise OSError(f"list {path}: {error.strerror}; give a text file with one entry a line") from error
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _load_hosts(path: str, _modified: int, _size: int) -> Hashes:
    hashes = []
    for block in _blocks(path):
        block = _COMMENT.sub(b"", block).lower().translate(None, b" \t\r")
        if not block.isascii():
            block = "".join(f"{host_key(line)}\n" for line in block.decode("utf-8", "replace").split("\n")).encode()
        block = _BLANKS.sub(b"\n", _WILDCARD.sub(b"\n", b"\n" + block)).removeprefix(b"\n")
        hashes.append(_hash_block(block))
    return _sorted(hashes)


@lru_cache(maxsize=32)
def _load_urls(path: str, _modified: int, _size: int) -> Hashes:
    hashes = []
    for block in _blocks(path):
        lines = (line.strip() for line in block.decode("utf-8", "replace").split("\n"))
        hashes.append(hash_lines(key for line in lines if not line.startswith("#") and (key := url_key(line))))
    return _sorted(hashes)


def _sorted(hashes: list[Hashes]) -> Hashes:
    joined = np.concatenate([*hashes, np.empty(0, np.uint64)])
    joined.sort()
    return joined


def _blocks(path: str) -> Iterator[bytes]:
    """The file in pieces of whole lines, each ending in a newline."""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            yield block if block.endswith(b"\n") else block + b"\n"


def _hash_block(data: bytes) -> Hashes:
    """The hash of each line of `data`, which is empty or ends in a newline."""
    if not data:
        return np.empty(0, np.uint64)
    chars = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(chars == ord("\n"))
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    size = max(len(chars), 2 * _BLOCK)  # one table of powers does for all but monstrous lines
    sums = np.zeros(len(chars) + 1, np.uint64)
    np.cumsum(_TABLE[chars] * _powers(_ODD, size)[: len(chars)], out=sums[1:])
    hashes: Hashes = (sums[ends] - sums[starts]) * _powers(_INVERSE, size)[starts]
    # The low bits of such a sum are weak; a final mix spreads them (splitmix64: Steele, Lea, Flood 2014).
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


@lru_cache(maxsize=4)
def _powers(base: int, size: int) -> Hashes:
    """base**0, base**1, ... base**(size - 1) modulo 2**64."""
    powers = np.full(size, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
