"""A vocabulary: which bytes each token stands for, what merges, the split rule it goes with, which tokens are special.

On disk it is a directory. `ranks.tiktoken` is a line a token, base64 of its bytes and its id, which tiktoken and its
kin read as it is. `merges.txt`, where there is a list of merges, is a line a merge as GPT-2 writes it. `vocab.json`
names the split rule, the special tokens and the hash of it all; it is written last and read first, so a half-written
or damaged directory is found out. `load_vocabulary` also reads what others publish (`bpe.imports`).

Light on purpose: no Numba here, so that a trainer or a report can ask for sizes and decode at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bpe.patterns import canonical

END_OF_TEXT = "<|endoftext|>"
HEADER_FILE, RANKS_FILE, MERGES_FILE = "vocab.json", "ranks.tiktoken", "merges.txt"
FORMAT = 2
OLD_HEADER_FILE, OLD_RANKS_FILE = "vocabulary.json", "vocabulary.tiktoken"  # format 1, which had no merges

HEADERS = (HEADER_FILE, OLD_HEADER_FILE, "tokenizer.json", "encoder.json")  # what `load_vocabulary` looks for, in order
_RANK_LINES = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n)+")
_GIVE = "give a folder made by `bpe train`, a tokenizer.json, a vocab.json beside merges.txt, or a .tiktoken rank file"

# GPT-2's bytes_to_unicode lists the bytes that print as themselves first (openai/gpt-2, encoder.py).
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTE_ORDER = bytes([*_PRINTABLE, *(byte for byte in range(256) if byte not in _PRINTABLE)])
# How a byte is written there: as itself if it prints, the other 68 as U+0100 and up.
LETTERS = {byte: chr(byte) if i < len(_PRINTABLE) else chr(256 + i - 188) for i, byte in enumerate(BYTE_ORDER)}

# tiktoken_ext/openai_public.py, tiktoken 0.14 (MIT): file stem -> (split rule, special tokens).
PUBLISHED: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": ("gpt2", {END_OF_TEXT: 50256}),
    "cl100k_base": (
        "cl100k",
        {
            END_OF_TEXT: 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k_base": ("o200k", {END_OF_TEXT: 199999, "<|endofprompt|>": 200018}),
}


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id.

    `tokens[i]` is the bytes of token i, b"" where i is no ordinary token (a gap, or a special token). `pattern` is the
    name of a split rule or a regular expression (`bpe.patterns`); known spellings of a named rule become the name.

    Without `merges`, whatever two neighbours make a token merges, and of two possible merges the one that makes the
    lower id goes first (tiktoken's rule). With `merges`, only these pairs of ids merge, the earlier in the list first,
    into the token with their joined bytes; `ignore_merges` then takes a pretoken that is a token whole (both as
    Hugging Face's tokenizers have it; by tiktoken's rule such a pretoken is always taken whole).

    Raises ValueError for a token list that lacks a byte or names one twice, for special tokens that clash with it or
    with each other, and for merges of or into what is no token, or named twice.
    """

    tokens: tuple[bytes, ...]
    pattern: str
    special_tokens: dict[str, int]
    merges: tuple[tuple[int, int], ...] | None = None
    ignore_merges: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", canonical(self.pattern))
        object.__setattr__(self, "tokens", tuple(self.tokens))
        by_id = sorted(self.special_tokens.items(), key=lambda item: item[1])
        object.__setattr__(self, "special_tokens", dict(by_id))
        present = set(self.tokens) - {b""}
        missing = [byte for byte in range(256) if bytes([byte]) not in present]
        if missing:
            raise ValueError(f"the vocabulary has no token for byte 0x{missing[0]:02X}: every byte needs one")
        if len(present) < len(self.tokens) - self.tokens.count(b""):
            token, times = Counter(filter(None, self.tokens)).most_common(1)[0]
            raise ValueError(f"the vocabulary holds {token!r} {times} times: every token needs its own bytes")
        for name, token_id in by_id:
            if not 0 <= token_id < 1 << 31 or (token_id < len(self.tokens) and self.tokens[token_id]):
                raise ValueError(f"special token {name!r} has id {token_id}: choose one that no token has")
        if len(set(self.special_tokens.values())) != len(by_id):
            raise ValueError(f"special tokens {dict(by_id)} share an id: give each its own")
        if self.merges is not None:
            object.__setattr__(self, "merges", _checked(self.merges, self.tokens))
        elif self.ignore_merges:
            raise ValueError("ignore_merges without merges: leave it out, tiktoken's rule takes whole tokens anyway")

    @property
    def size(self) -> int:
        """One more than the highest id, special tokens included (tiktoken's n_vocab)."""
        return max(len(self.tokens), *(token_id + 1 for token_id in self.special_tokens.values()), 0)

    @property
    def end_of_text(self) -> int:
        """Id of `<|endoftext|>`. Raises ValueError if the vocabulary has none."""
        if END_OF_TEXT not in self.special_tokens:
            raise ValueError(f"the vocabulary has no {END_OF_TEXT}: train it with that special token")
        return self.special_tokens[END_OF_TEXT]

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of split rule, special tokens, tokens and merges: equal exactly for equal vocabularies."""
        head: dict[str, Any] = {"pattern": self.pattern, "special_tokens": list(self.special_tokens.items())}
        if self.merges is not None:  # else nothing of them, so that the hashes of format 1 stay
            head |= {"merges": self.merges, "ignore_merges": self.ignore_merges}
        digest = hashlib.sha256(json.dumps(head).encode("ascii") + b"\n")
        digest.update(b"".join(len(token).to_bytes(4, "little") + token for token in self.tokens))
        return digest.hexdigest()

    @cached_property
    def _special_bytes(self) -> dict[int, bytes]:
        return {token_id: name.encode() for name, token_id in self.special_tokens.items()}

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token, ordinary or special. Raises ValueError if `token_id` is neither."""
        token = self.tokens[token_id] if 0 <= token_id < len(self.tokens) else b""
        token = token or self._special_bytes.get(token_id, b"")
        if not token:
            raise ValueError(f"token id {token_id} is not in this vocabulary of {self.size} ids")
        return token

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, special tokens as their names. Raises ValueError for an id that is no token."""
        return b"".join(self.token_bytes(int(token_id)) for token_id in ids)


def rank_file(vocabulary: Vocabulary) -> bytes:
    """The tokens as a tiktoken rank file."""
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(vocabulary.tokens) if token)
    return b"".join(lines)


def merges_file(vocabulary: Vocabulary) -> bytes:
    """The merges as GPT-2's `merges.txt`, a pair of tokens a line after a line that names the version."""
    written = [letters(token) for token in vocabulary.tokens]
    lines = [f"{written[left]} {written[right]}\n" for left, right in vocabulary.merges or ()]
    return ("#version: 0.2\n" + "".join(lines)).encode()


def letters(token: bytes) -> str:
    """A token as GPT-2's files and Hugging Face write it: a printable character for each byte."""
    return "".join(map(LETTERS.__getitem__, token))


def made_from(path: Path, *fields: Any) -> Vocabulary:
    """`Vocabulary(*fields)`, whose complaints name the file at `path`."""
    try:
        return Vocabulary(*fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_merges(path: Path, ids: dict[str, int]) -> list[tuple[int, int]]:
    """The pairs of ids in a file such as `merges_file` writes; `ids` by letters. Raises ValueError naming the line."""
    pairs = []
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.removesuffix("\r").partition(" ")
        if left not in ids or right not in ids:
            raise ValueError(f"{path}, line {number}: expected two tokens of the vocabulary, got {line[:40]!r}")
        pairs.append((ids[left], ids[right]))
    return pairs


def _checked(merges: Iterable[tuple[int, int]], tokens: tuple[bytes, ...]) -> tuple[tuple[int, int], ...]:
    """`merges` as tuples of two ints. Raises ValueError for those that no encoder could follow."""
    pairs = tuple((int(left), int(right)) for left, right in merges)
    known, count = set(tokens) - {b""}, len(tokens)
    for left, right in pairs:
        if not (0 <= left < count and 0 <= right < count and tokens[left] and tokens[right]):
            raise ValueError(f"merges name the pair ({left}, {right}), of which one id is no token")
        if tokens[left] + tokens[right] not in known:
            raise ValueError(
                f"merges make {tokens[left] + tokens[right]!r}, which is no token: add it or drop the merge"
            )
    if len(set(pairs)) != len(pairs):
        pair, times = Counter(pairs).most_common(1)[0]
        raise ValueError(f"merges name the pair {pair} {times} times: name each once")
    return pairs


def all_cuts(tokens: Sequence[bytes]) -> list[tuple[int, int]]:
    """Every pair of ids whose bytes joined are a token, in the order of that token's id."""
    ids = {token: token_id for token_id, token in enumerate(tokens) if token}
    merges: list[tuple[int, int]] = []
    for token in ids:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        merges += sorted((ids[left], ids[right]) for left, right in cuts if left in ids and right in ids)
    return merges
