"""The two text formats that hold a vocabulary, as bytes and back: tiktoken's rank file and GPT-2's list of merges.

A rank file has a line for each token: base64 of its bytes, and its id. A list of merges has a line that names its
version and a line for each merge: two tokens, each written in letters, one letter for each byte.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bpe.vocabulary import BYTE_ORDER, PRINTABLE, Vocabulary
from bpe.whole import read_whole

MOST_BYTES = 1 << 30  # of a vocabulary's file; the largest that are published have 40 MB
RANKS_FILE, MERGES_FILE = "ranks.tiktoken", "merges.txt"

# GPT-2 writes a byte that prints as itself, and the other 68 as U+0100 and up.
LETTERS = {
    byte: chr(byte) if number < len(PRINTABLE) else chr(256 + number - len(PRINTABLE))
    for number, byte in enumerate(BYTE_ORDER)
}
_RANK_LINES = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n)+")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the path before the message of a ValueError raised in the block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def letters(token: bytes) -> str:
    """A token as GPT-2's files and Hugging Face write it: a printable character for each byte."""
    return "".join(map(LETTERS.__getitem__, token))


def rank_file(vocabulary: Vocabulary) -> bytes:
    """The tokens as a rank file."""
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(vocabulary.tokens) if token)
    return b"".join(lines)


def read_ranks(path: Path) -> list[bytes]:
    """The tokens of a rank file by rank, b"" in gaps. Raises ValueError naming file and line."""
    content = read_whole(path, MOST_BYTES)
    by_rank = _read_at_once(content) or _read_line_by_line(path, content)
    if not by_rank:
        raise ValueError(f"{path}: no token in it; download it again")
    if max(by_rank) >= 2 * len(by_rank) + 1024:
        raise ValueError(f"{path}: highest rank {max(by_rank)} of {len(by_rank)} tokens; download it again")
    return [by_rank.get(rank, b"") for rank in range(max(by_rank) + 1)]


def _read_at_once(content: bytes) -> dict[int, bytes]:
    """Tokens by rank of a file without fault, in two thirds of the time; of any other file, nothing."""
    if not _RANK_LINES.fullmatch(content):
        return {}
    words = content.split()
    try:
        tokens = [binascii.a2b_base64(encoded, strict_mode=True) for encoded in words[::2]]
        by_rank = dict(zip(map(int, words[1::2]), tokens, strict=True))
    except ValueError:
        return {}
    return by_rank if len(by_rank) == len(tokens) and max(by_rank) < 1 << 31 else {}


def _read_line_by_line(path: Path, content: bytes) -> dict[int, bytes]:
    """Tokens by rank. Raises ValueError naming file and line."""
    by_rank: dict[int, bytes] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line:
            continue
        try:
            encoded, rank_text = line.split()
            token, rank = base64.b64decode(encoded, validate=True), int(rank_text)
        except (ValueError, binascii.Error) as error:
            raise ValueError(
                f"{path}, line {number}: expected base64 and a rank, got {line[:40]!r}; download it again"
            ) from error
        if not token or not 0 <= rank < 1 << 31:
            raise ValueError(f"{path}, line {number}: empty token or bad rank {rank}; download it again")
        if rank in by_rank:
            raise ValueError(f"{path}, line {number}: rank {rank} is there twice; download it again")
        by_rank[rank] = token
    return by_rank


def merges_file(vocabulary: Vocabulary) -> bytes:
    """The merges as a list of merges."""
    names = [letters(token) for token in vocabulary.tokens]
    lines = [f"{names[left]} {names[right]}\n" for left, right in vocabulary.merges or ()]
    return ("#version: 0.2\n" + "".join(lines)).encode()


def read_merges(path: Path, ids: dict[str, int]) -> list[tuple[int, int]]:
    """The pairs of ids in a list of merges; `ids` by token in letters. Raises ValueError naming file and line."""
    pairs = []
    for number, line in enumerate(read_whole(path, MOST_BYTES).decode("utf-8", "replace").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.removesuffix("\r").partition(" ")
        if left not in ids or right not in ids:
            raise ValueError(f"{path}, line {number}: expected two tokens of the vocabulary, got {line[:40]!r}")
        pairs.append((ids[left], ids[right]))
    return pairs
