"""A vocabulary: which bytes each token stands for, which split rule it was made with, which tokens are special.

On disk it is a directory of two files. `vocabulary.tiktoken` is a line a token, base64 of its bytes and its id, which
tiktoken and its kin read as it is. `vocabulary.json` names the split rule, the special tokens and the hash of it all;
it is written last and read first, so a half-written or damaged directory is found out. `load_vocabulary` also reads a
bare rank file such as OpenAI publishes.

Light on purpose: no Numba here, so that a trainer or a report can ask for sizes and decode at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bpe.patterns import REGEX, scheme

END_OF_TEXT = "<|endoftext|>"
RANKS_FILE = "vocabulary.tiktoken"
HEADER_FILE = "vocabulary.json"
FORMAT = 1

# GPT-2's bytes_to_unicode lists the bytes that print as themselves first (openai/gpt-2, encoder.py).
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTE_ORDER = bytes([*_PRINTABLE, *(byte for byte in range(256) if byte not in _PRINTABLE)])

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

    `tokens[i]` is the bytes of token i, b"" where i is no ordinary token (a gap, or a special token). The id is the
    rank: of two possible merges the one that makes the lower id goes first. Raises ValueError for a token list that
    lacks a byte or names one twice, and for special tokens that clash with it or with each other.
    """

    tokens: tuple[bytes, ...]
    pattern: str
    special_tokens: dict[str, int]

    def __post_init__(self) -> None:
        scheme(self.pattern)
        object.__setattr__(self, "tokens", tuple(self.tokens))
        by_id = sorted(self.special_tokens.items(), key=lambda item: item[1])
        object.__setattr__(self, "special_tokens", dict(by_id))
        present = Counter(self.tokens)
        missing = [byte for byte in range(256) if bytes([byte]) not in present]
        if missing:
            raise ValueError(f"the vocabulary has no token for byte 0x{missing[0]:02X}: every byte needs one")
        del present[b""]
        token, times = present.most_common(1)[0]
        if times > 1:
            raise ValueError(f"the vocabulary holds {token!r} {times} times: every token needs its own bytes")
        for name, token_id in by_id:
            if not 0 <= token_id < 1 << 31 or (token_id < len(self.tokens) and self.tokens[token_id]):
                raise ValueError(f"special token {name!r} has id {token_id}: choose one that no token has")
        if len(set(self.special_tokens.values())) != len(by_id):
            raise ValueError(f"special tokens {dict(by_id)} share an id: give each its own")

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
        """sha256 (hex) of split rule, special tokens and tokens: equal exactly for equal vocabularies."""
        head = {"pattern": self.pattern, "special_tokens": list(self.special_tokens.items())}
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


def load_vocabulary(path: str | Path, pattern: str | None = None) -> Vocabulary:
    """Read a directory written by `save_vocabulary`, or a bare `.tiktoken` rank file.

    A rank file called gpt2, cl100k_base or o200k_base brings its published split rule and special tokens along;
    another one needs `pattern` and gets `<|endoftext|>` as the id after its last. Raises FileNotFoundError or
    ValueError, naming the file, the line and the fix.
    """
    path = Path(path)
    if path.is_dir():
        return _load_directory(path)
    if not path.is_file():
        known = ", ".join(PUBLISHED)
        raise FileNotFoundError(
            f"{path}: no such tokenizer; give a directory made by `bpe train` or a rank file such as {known}.tiktoken"
        )
    tokens = _read_ranks(path)
    published, special_tokens = PUBLISHED.get(path.name.removesuffix(".tiktoken"), (None, None))
    rule = pattern or published
    if rule is None:
        raise ValueError(f"{path}: which split rule? Pass pattern=, one of {', '.join(REGEX)}")
    return _made_from(path, tokens, rule, special_tokens or {END_OF_TEXT: len(tokens)})


def save_vocabulary(vocabulary: Vocabulary, directory: str | Path, overwrite: bool = False) -> bool:
    """Write `vocabulary` to `directory`, the same bytes for the same vocabulary; False if it was there already.

    Each file appears whole or not at all, the header that vouches for both last. Raises FileExistsError if the
    directory holds another vocabulary, unless `overwrite`.
    """
    directory = Path(directory)
    header = directory / HEADER_FILE
    if header.exists() and not overwrite:
        try:
            there = load_vocabulary(directory).hash
        except (ValueError, OSError):
            there = "a damaged one"
        if there == vocabulary.hash:
            return False
        raise FileExistsError(
            f"{directory} holds another tokenizer ({there[:12]}): choose another directory or overwrite it"
        )
    directory.mkdir(parents=True, exist_ok=True)
    header.unlink(missing_ok=True)
    write_file(directory / RANKS_FILE, rank_file(vocabulary))
    facts = {
        "format": FORMAT,
        "pattern": vocabulary.pattern,
        "regex": REGEX[vocabulary.pattern],
        "special_tokens": dict(vocabulary.special_tokens),
        "size": vocabulary.size,
        "hash": vocabulary.hash,
    }
    write_file(header, (json.dumps(facts, indent=1) + "\n").encode("ascii"))
    return True


def rank_file(vocabulary: Vocabulary) -> bytes:
    """The tokens as a tiktoken rank file."""
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(vocabulary.tokens) if token)
    return b"".join(lines)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _load_directory(directory: Path) -> Vocabulary:
    header = directory / HEADER_FILE
    if not header.is_file():
        raise FileNotFoundError(f"{directory}: no {HEADER_FILE} in it; give a directory made by `bpe train`")
    try:
        facts = json.loads(header.read_bytes())
        rule, special_tokens, expected = facts["pattern"], facts["special_tokens"], facts["hash"]
        version = facts["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{header} is damaged ({error!r}): train or copy the tokenizer again") from error
    if version != FORMAT:
        raise ValueError(f"{header} has format {version}, this version reads {FORMAT}: update the toolkit")
    ranks = directory / RANKS_FILE
    vocabulary = _made_from(ranks, _read_ranks(ranks), rule, special_tokens)
    if vocabulary.hash != expected:
        raise ValueError(f"{ranks} does not match the hash in {HEADER_FILE}: train or copy the tokenizer again")
    return vocabulary


def _made_from(path: Path, tokens: list[bytes], rule: str, special_tokens: dict[str, int]) -> Vocabulary:
    try:
        return Vocabulary(tuple(tokens), rule, special_tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_ranks(path: Path) -> list[bytes]:
    """Tokens by rank, b"" in gaps. Raises ValueError naming file and line."""
    by_rank: dict[int, bytes] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
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
    if not by_rank:
        raise ValueError(f"{path}: no token in it; download it again")
    if max(by_rank) >= 2 * len(by_rank) + 1024:
        raise ValueError(f"{path}: highest rank {max(by_rank)} of {len(by_rank)} tokens; download it again")
    return [by_rank.get(rank, b"") for rank in range(max(by_rank) + 1)]
