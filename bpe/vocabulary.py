"""A vocabulary: the bytes of each token, which pairs merge, the split rule it goes with, the special tokens.

`bpe.files` reads and writes it. No Numba is imported here, so that a trainer or a report can ask for sizes and decode
at once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bpe import arguments
from bpe.parse import brief
from bpe.patterns import canonical

END_OF_TEXT = "<|endoftext|>"
NAMES_SHOWN = 8  # special tokens that an error lists; Llama 3 has 256

# GPT-2 numbers the bytes that print as themselves first (bytes_to_unicode in openai/gpt-2, encoder.py).
PRINTABLE = bytes([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])
BYTE_ORDER = PRINTABLE + bytes(byte for byte in range(256) if byte not in PRINTABLE)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id.

    `tokens[i]` is the bytes of token i, or b"" where i is a gap or a special token. `pattern` is the name of a split
    rule or a regular expression (`bpe.patterns`). A known spelling of a named rule becomes the name.

    Without `merges`, any two neighbours whose bytes together are a token merge, the lower id first (tiktoken's rule).
    With `merges`, only these pairs of ids merge, in the order of the list, into the token with their joined bytes.
    With `ignore_merges` too, a pretoken that is a token becomes that token without any merging. (Both are as in
    Hugging Face's tokenizers; by tiktoken's rule such a pretoken always becomes the token.)

    `end` is the name of the special token that ends a text, None for `<|endoftext|>`. No id of a text depends on it.

    Raises ValueError for tokens that lack a byte or name bytes twice, for special tokens that share an id with another
    token, for merges that are named twice, of an id that is no token, or into bytes that are no token, and for an `end`
    that is no special token.

    >>> from bpe import Tokenizer, Vocabulary
    >>> tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"abab"]
    >>> Tokenizer(Vocabulary(tuple(tokens), "gpt2", {"<|endoftext|>": 258})).encode("ababab")
    [257, 256]
    """

    tokens: tuple[bytes, ...]
    pattern: str
    special_tokens: dict[str, int]
    merges: tuple[tuple[int, int], ...] | None = None
    ignore_merges: bool = False
    end: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", canonical(self.pattern))
        arguments.mapping("special_tokens", self.special_tokens, '{"<|endoftext|>": 256}')
        arguments.several("tokens", self.tokens, "the bytes of each token")
        object.__setattr__(self, "tokens", tuple(self.tokens))
        by_id = sorted(self.special_tokens.items(), key=lambda item: item[1])
        object.__setattr__(self, "special_tokens", dict(by_id))
        present = set(self.tokens) - {b""}
        missing = [byte for byte in range(256) if bytes([byte]) not in present]
        if missing:
            raise ValueError(f"the vocabulary has no token for byte 0x{missing[0]:02X}: every byte needs one")
        if len(present) < len(self.tokens) - self.tokens.count(b""):
            token, times = Counter(filter(None, self.tokens)).most_common(1)[0]
            raise ValueError(f"the vocabulary holds {brief(token)} {times} times: every token needs its own bytes")
        for name, token_id in by_id:
            if not 0 <= token_id < 1 << 31 or (token_id < len(self.tokens) and self.tokens[token_id]):
                raise ValueError(f"special token {brief(repr(name))} has id {token_id}: choose one that no token has")
        if len(set(self.special_tokens.values())) != len(by_id):
            raise ValueError(f"special tokens {brief(dict(by_id))} share an id: give each its own")
        if self.merges is not None:
            object.__setattr__(self, "merges", _checked(self.merges, self.tokens))
        elif self.ignore_merges:
            raise ValueError("ignore_merges without merges: leave it out, tiktoken's rule takes whole tokens anyway")
        if self.end is not None and self.end not in self.special_tokens:
            raise ValueError(f"end = {self.end!r}: the vocabulary has no such special token, only {self.some_specials}")
        if self.end == END_OF_TEXT:  # vocabularies that end alike should be equal
            object.__setattr__(self, "end", None)

    @property
    def size(self) -> int:
        """One more than the highest id, special tokens included: tiktoken's n_vocab."""
        return max(len(self.tokens), *(token_id + 1 for token_id in self.special_tokens.values()), 0)

    @property
    def ending(self) -> str | None:
        """The name of the token that ends a text: `end`, or else `<|endoftext|>` if there is one, or else None."""
        return self.end or (END_OF_TEXT if END_OF_TEXT in self.special_tokens else None)

    @property
    def end_of_text(self) -> int:
        """Id of the token that ends a text. Raises ValueError, listing the special tokens, if none is known to."""
        if self.ending is None:
            fix = "name the special token that ends a text (--end-of-text NAME)"
            if not self.special_tokens:
                fix = "train it with that special token"
            raise ValueError(f"the vocabulary has no {END_OF_TEXT}, only {self.some_specials}: {fix}")
        return self.special_tokens[self.ending]

    def with_end(self, end: str | None) -> Vocabulary:
        """The vocabulary with another `end`. Raises ValueError, listing the special tokens, if that is none of them."""
        return replace(self, end=end)

    @property
    def some_specials(self) -> str:
        """The first names of special tokens and the number of the others, for a message."""
        names = list(self.special_tokens)
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        return brief(", ".join(names[:NAMES_SHOWN])) + more or "ordinary tokens"

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of split rule, special tokens, tokens and merges.

        Vocabularies share it if they are equal, or differ in `end` alone: then they give equal ids.
        """
        head: dict[str, Any] = {"pattern": self.pattern, "special_tokens": list(self.special_tokens.items())}
        if self.merges is not None:  # else left out: a vocabulary of format 1 keeps its hash
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


def _checked(merges: Iterable[tuple[int, int]], tokens: tuple[bytes, ...]) -> tuple[tuple[int, int], ...]:
    """`merges` as tuples of two ints. Raises ValueError for a pair that no encoder could merge, or named twice."""
    pairs = tuple((int(left), int(right)) for left, right in merges)
    known, count = set(tokens) - {b""}, len(tokens)
    for left, right in pairs:
        if not (0 <= left < count and 0 <= right < count and tokens[left] and tokens[right]):
            raise ValueError(f"merges name the pair ({left}, {right}), of which one id is no token")
        if tokens[left] + tokens[right] not in known:
            raise ValueError(
                f"merges make {brief(tokens[left] + tokens[right])}, which is no token: add it or drop the merge"
            )
    if len(set(pairs)) != len(pairs):
        pair, times = Counter(pairs).most_common(1)[0]
        raise ValueError(f"merges name the pair {pair} {times} times: name each once")
    return pairs


def all_cuts(tokens: Sequence[bytes]) -> tuple[tuple[int, int], ...]:
    """Every pair of ids whose joined bytes are a token, in the order of that token's id."""
    ids = {token: token_id for token_id, token in enumerate(tokens) if token}
    merges: list[tuple[int, int]] = []
    for token in ids:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        merges += sorted((ids[left], ids[right]) for left, right in cuts if left in ids and right in ids)
    return tuple(merges)
