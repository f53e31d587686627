"""."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from bpe.patterns import REGEX, canonical, regex
from bpe.vocabulary import (
    _GIVE,
    _RANK_LINES,
    END_OF_TEXT,
    FORMAT,
    HEADER_FILE,
    HEADERS,
    MERGES_FILE,
    OLD_HEADER_FILE,
    OLD_RANKS_FILE,
    PUBLISHED,
    RANKS_FILE,
    Vocabulary,
    letters,
    made_from,
    merges_file,
    rank_file,
    read_merges,
)
from bpe.whole import write_whole


def load_vocabulary(path: str | Path, pattern: str | None = None) -> Vocabulary:
    """Read a vocabulary of any kind, told apart by what is there.

    - a directory written by `save_vocabulary`;
    - a directory with `tokenizer.json`, or with `vocab.json` and `merges.txt`, or `encoder.json` and `vocab.bpe`, or
      such a `.json` file itself (`bpe.imports` says what of them is read);
    - a tiktoken rank file. One called gpt2, cl100k_base or o200k_base brings its published split rule and special
      tokens along; another one needs `pattern` and gets `<|endoftext|>` as the id after its last.

    `pattern` is for files that name no split rule. Raises FileNotFoundError or ValueError, naming file and fix.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".json":
        vocabulary = _load_directory(path, pattern)
        if pattern is not None and canonical(pattern) != vocabulary.pattern:
            raise ValueError(f"{path} has its own split rule, {vocabulary.pattern!r}: leave pattern= out")
        return vocabulary
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such tokenizer; {_GIVE}")
    tokens = _read_ranks(path)
    published, special_tokens = PUBLISHED.get(path.name.removesuffix(".tiktoken"), (None, None))
    rule = pattern or published
    if rule is None:
        raise ValueError(f"{path}: which split rule? Pass pattern=, one of {', '.join(REGEX)} or a regular expression")
    return made_from(path, tokens, rule, special_tokens or {END_OF_TEXT: len(tokens)})


def save_vocabulary(vocabulary: Vocabulary, directory: str | Path, overwrite: bool = False) -> bool:
    """Write `vocabulary` to `directory`, the same bytes for the same vocabulary; False if it was there already.

    Each file appears whole or not at all, the header that vouches for them last. Raises FileExistsError if the
    directory holds another vocabulary, unless `overwrite`.
    """
    directory = Path(directory)
    headers = [directory / HEADER_FILE, directory / OLD_HEADER_FILE]
    if not overwrite and any(header.exists() for header in headers):
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
    for old in (*headers, directory / MERGES_FILE, directory / OLD_RANKS_FILE):
        old.unlink(missing_ok=True)
    write_whole(directory / RANKS_FILE, rank_file(vocabulary))
    if vocabulary.merges is not None:
        write_whole(directory / MERGES_FILE, merges_file(vocabulary))
    write_whole(headers[0], (json.dumps(_header(vocabulary), indent=1) + "\n").encode("ascii"))
    return True


def _header(vocabulary: Vocabulary) -> dict[str, Any]:
    """What `vocab.json` says."""
    from bpe.unicode import VERSION  # brings numpy

    return {
        "format": FORMAT,
        "what": "byte-level BPE vocabulary made by bpe: ids and bytes in ranks.tiktoken, merges in merges.txt if any",
        "pattern": vocabulary.pattern,
        "regex": regex(vocabulary.pattern),
        # Of the classes in a regular expression these are the pinned ones; any others are the regex package's.
        "unicode": {"version": VERSION, "classes": "L Lu Lt Ll Lm Lo M N \\s"},
        "special_tokens": dict(vocabulary.special_tokens),
        "merges": None if vocabulary.merges is None else len(vocabulary.merges),
        "ignore_merges": vocabulary.ignore_merges,
        "size": vocabulary.size,
        "hash": vocabulary.hash,
    }


def _load_directory(path: Path, pattern: str | None) -> Vocabulary:
    """A directory, or the one around a `.json` file that belongs to it, by the first of the known files in it."""
    from bpe.imports import read_gpt2, read_hugging_face

    directory = path if path.is_dir() else path.parent
    names = [path.name] if path.suffix == ".json" and not path.is_dir() else HEADERS
    header = next((directory / name for name in names if (directory / name).is_file()), None)
    if header is None:
        raise FileNotFoundError(f"{path}: no such tokenizer or no {HEADER_FILE} in it; {_GIVE}")
    try:
        facts = json.loads(header.read_bytes())
    except ValueError as error:
        raise ValueError(f"{header} is damaged ({error}): train or copy the tokenizer again") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{header} holds a {type(facts).__name__}, no tokenizer; {_GIVE}")
    if isinstance(facts.get("hash"), str):
        return _read_own(header, facts)
    if "model" in facts and not isinstance(facts["model"], int):
        return read_hugging_face(header, facts)
    for merges in (MERGES_FILE, "vocab.bpe"):
        if (directory / merges).is_file():
            return read_gpt2(header, facts, directory / merges, pattern or "gpt2")
    raise ValueError(f"{header} is damaged or lacks {MERGES_FILE} beside it: train or copy the tokenizer again")


def _read_own(header: Path, facts: dict[str, Any]) -> Vocabulary:
    try:
        rule, special_tokens, expected = facts["pattern"], facts["special_tokens"], facts["hash"]
        version, merged = facts["format"], facts.get("merges") is not None
    except KeyError as error:
        raise ValueError(f"{header} is damaged ({error!r}): train or copy the tokenizer again") from error
    ids = list(special_tokens.values()) if isinstance(special_tokens, dict) else [None]
    if not isinstance(rule, str) or not all(isinstance(token_id, int) for token_id in ids):
        raise ValueError(f"{header} is damaged (pattern or special_tokens): train or copy the tokenizer again")
    if version not in (1, FORMAT):
        raise ValueError(f"{header} has format {version}, this version reads {FORMAT}: update the toolkit")
    ranks = header.parent / (OLD_RANKS_FILE if version == 1 else RANKS_FILE)
    tokens, merges = _read_ranks(ranks), None
    if merged:
        by_letters = {letters(token): token_id for token_id, token in enumerate(tokens) if token}
        merges = read_merges(header.parent / MERGES_FILE, by_letters)
    vocabulary = made_from(ranks, tokens, rule, special_tokens, merges, facts.get("ignore_merges", False))
    if vocabulary.hash != expected:
        files = f"{ranks} and {MERGES_FILE} do" if merged else f"{ranks} does"
        raise ValueError(f"{files} not match the hash in {header.name}: train or copy the tokenizer again")
    return vocabulary


def _read_ranks(path: Path) -> list[bytes]:
    """Tokens by rank, b"" in gaps. Raises ValueError naming file and line."""
    content = path.read_bytes()
    by_rank = _read_at_once(content) or _read_line_by_line(path, content)
    if not by_rank:
        raise ValueError(f"{path}: no token in it; download it again")
    if max(by_rank) >= 2 * len(by_rank) + 1024:
        raise ValueError(f"{path}: highest rank {max(by_rank)} of {len(by_rank)} tokens; download it again")
    return [by_rank.get(rank, b"") for rank in range(max(by_rank) + 1)]


def _read_at_once(content: bytes) -> dict[int, bytes]:
    """Tokens by rank, in two thirds of the time, of a file without fault; else nothing."""
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
