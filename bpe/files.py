"""Vocabularies on disk: `load_vocabulary` reads ours and other programs', `save_vocabulary` writes ours.

Ours is a directory of up to three files. `ranks.tiktoken` is a rank file, which tiktoken and its relatives read as it
is. `merges.txt`, if the vocabulary lists merges, is a list as GPT-2 writes it (`bpe.formats`). `vocab.json`, the
header, names the split rule, the special tokens and the vocabulary's hash. It is written last and read first, so a
damaged or half-written directory is detected. Where a text ends with another special token than `<|endoftext|>`, the
header has its name (`end`) and its id (`end_of_text`): the hash says nothing about them, so they vouch for each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bpe.formats import (
    MERGES_FILE,
    MOST_BYTES,
    RANKS_FILE,
    letters,
    merges_file,
    naming,
    rank_file,
    read_merges,
    read_ranks,
)
from bpe.imports import end_beside, read_gpt2, read_hugging_face
from bpe.parse import brief, parse_json
from bpe.patterns import REGEX, canonical, regex
from bpe.vocabulary import END_OF_TEXT, Vocabulary
from bpe.whole import make_folder, read_whole, write_whole

HEADER_FILE = "vocab.json"
FORMAT = 2
OLD_HEADER_FILE, OLD_RANKS_FILE = "vocabulary.json", "vocabulary.tiktoken"  # of format 1, which had no merges
HEADERS = (HEADER_FILE, OLD_HEADER_FILE, "tokenizer.json", "encoder.json")  # in the order in which they are looked for
_KINDS = "give a folder made by `bpe train`, a tokenizer.json, a vocab.json beside merges.txt, or a .tiktoken rank file"
_AS_GPT2 = ("GPT2", "Roberta", "Bart", "Longformer", "LED", "CodeGen")  # tokenizer_class begins so

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


def load_vocabulary(path: str | Path, pattern: str | None = None) -> Vocabulary:
    """Read a vocabulary. The kind of file is recognised:

    - a directory written by `save_vocabulary`;
    - a directory with `tokenizer.json`, with `vocab.json` and `merges.txt`, or with `encoder.json` and `vocab.bpe`, or
      such a `.json` file itself (`bpe.imports` says what is read). Where `tokenizer.json` lies beside GPT-2's files, it
      counts, because it alone says how text is split. `bpe.imports.end_beside` says which token then ends a text;
    - a tiktoken rank file. One called gpt2, cl100k_base or o200k_base has its published split rule and special tokens.
      Any other needs `pattern`, and its `<|endoftext|>` is the id after the last.

    `pattern` is for files that name no split rule. Raises FileNotFoundError or ValueError, naming file and fix.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".json":
        vocabulary = _load_directory(path, pattern)
        if pattern is not None and canonical(pattern) != vocabulary.pattern:
            raise ValueError(f"{path} has its own split rule, {vocabulary.pattern!r}: leave pattern= out")
        return vocabulary
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such tokenizer; {_KINDS}")
    tokens = read_ranks(path)
    published, special_tokens = PUBLISHED.get(path.name.removesuffix(".tiktoken"), (None, None))
    rule = pattern or published
    if rule is None:
        raise ValueError(f"{path}: which split rule? Pass pattern=, one of {', '.join(REGEX)} or a regular expression")
    with naming(path):
        return Vocabulary(tuple(tokens), rule, special_tokens or {END_OF_TEXT: len(tokens)})


def save_vocabulary(vocabulary: Vocabulary, directory: str | Path, overwrite: bool = False) -> bool:
    """Write `vocabulary` to `directory`; False if it is there already. Equal vocabularies give equal bytes.

    Each file appears whole or not at all, and the header, which holds the hash, last. Raises FileExistsError if the
    directory holds another vocabulary, or this one with another end of text, unless `overwrite`. An end of text is
    added to an equal vocabulary that has none, and stays where `vocabulary` has none.
    """
    directory = Path(directory)
    if not overwrite and (present := vocabulary_in(directory)):
        if present.hash != vocabulary.hash:
            raise another(directory, present.hash[:12])
        if vocabulary.ending in (None, present.ending):
            return False
        if present.ending is not None:
            raise another(directory, f"{present.hash[:12]} with the end of text {present.ending}")
    headers = [directory / HEADER_FILE, directory / OLD_HEADER_FILE]
    make_folder(directory)
    for old in (*headers, directory / MERGES_FILE, directory / OLD_RANKS_FILE):
        old.unlink(missing_ok=True)
    write_whole(directory / RANKS_FILE, rank_file(vocabulary))
    if vocabulary.merges is not None:
        write_whole(directory / MERGES_FILE, merges_file(vocabulary))
    write_whole(headers[0], (json.dumps(_header(vocabulary), indent=1) + "\n").encode("ascii"))
    return True


def vocabulary_in(directory: Path) -> Vocabulary | None:
    """The vocabulary that `save_vocabulary` would replace, None if there is none.

    Raises FileExistsError if it is damaged.
    """
    if not any((directory / name).exists() for name in (HEADER_FILE, OLD_HEADER_FILE)):
        return None
    try:
        return load_vocabulary(directory)
    except (ValueError, OSError):
        raise another(directory, "damaged") from None


def another(directory: Path, shown: str) -> FileExistsError:
    """The error for a directory that holds another vocabulary than the one to be saved; `shown` describes that one."""
    return FileExistsError(f"{directory} holds another tokenizer ({shown}): choose another directory or overwrite it")


def _header(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of `vocab.json`."""
    from bpe.unicode import VERSION  # brings numpy

    return {
        "format": FORMAT,
        "what": "byte-level BPE vocabulary made by bpe: ids and bytes in ranks.tiktoken, merges in merges.txt if any",
        "pattern": vocabulary.pattern,
        "regex": regex(vocabulary.pattern),
        # These classes of a regular expression are pinned; all others are those of the regex package.
        "unicode": {"version": VERSION, "classes": "L Lu Lt Ll Lm Lo M N \\s"},
        "special_tokens": dict(vocabulary.special_tokens),
        **({} if vocabulary.end is None else {"end": vocabulary.end, "end_of_text": vocabulary.end_of_text}),
        "merges": None if vocabulary.merges is None else len(vocabulary.merges),
        "ignore_merges": vocabulary.ignore_merges,
        "size": vocabulary.size,
        "hash": vocabulary.hash,
    }


def _load_directory(path: Path, pattern: str | None) -> Vocabulary:
    """Reads the `.json` file at `path`, or the first known file of the directory there, with the files beside it."""
    directory = path if path.is_dir() else path.parent
    names = [path.name] if path.suffix == ".json" and not path.is_dir() else HEADERS
    header = next((directory / name for name in names if (directory / name).is_file()), None)
    if header is None:
        raise FileNotFoundError(f"{path}: no such tokenizer or no {HEADER_FILE} in it; {_KINDS}")
    facts = _read_json(header)
    if isinstance(facts.get("hash"), str):
        return _read_own(header, facts)
    vocabulary = _read_foreign(path, header, facts, pattern)
    if vocabulary.ending is not None:
        return vocabulary
    return vocabulary.with_end(end_beside(vocabulary.special_tokens, directory, _read_json))


def _read_foreign(path: Path, header: Path, facts: dict[str, Any], pattern: str | None) -> Vocabulary:
    """Reads the files of another program: `header`, which has the content `facts`, and the files beside it."""
    directory = header.parent
    if "model" in facts and not isinstance(facts["model"], int):
        return read_hugging_face(header, facts)
    fuller = directory / "tokenizer.json"
    if fuller.is_file() and path.is_dir():
        return read_hugging_face(fuller, _read_json(fuller))
    for merges in (MERGES_FILE, "vocab.bpe"):
        if (directory / merges).is_file():
            return read_gpt2(header, facts, directory / merges, pattern or _rule_beside(header, fuller))
    raise ValueError(f"{header} is damaged or lacks {MERGES_FILE} beside it: train or copy the tokenizer again")


def _read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError naming the file if it holds none."""
    try:
        facts = parse_json(read_whole(path, MOST_BYTES))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): train or copy the tokenizer again") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{path} holds a {type(facts).__name__}, no tokenizer; {_KINDS}")
    return facts


def _rule_beside(header: Path, fuller: Path) -> str:
    """The split rule of GPT-2's files: GPT-2's. Raises ValueError if a file beside them speaks for another one."""
    if fuller.is_file():
        raise ValueError(f"{header}: {fuller.name} beside it says how text is split; give that file, or pass --pattern")
    config = header.parent / "tokenizer_config.json"
    kind = str(_read_json(config).get("tokenizer_class") or "") if config.is_file() else ""
    if kind and not kind.startswith(_AS_GPT2):
        raise ValueError(f"{header}: which split rule? {config.name} names {brief(kind)}, not GPT-2's; pass --pattern")
    return "gpt2"


def _read_own(header: Path, facts: dict[str, Any]) -> Vocabulary:
    """Reads a directory written by `save_vocabulary`, whose header has the content `facts`."""
    try:
        rule, special_tokens, expected = facts["pattern"], facts["special_tokens"], facts["hash"]
        version, has_merges = facts["format"], facts.get("merges") is not None
    except KeyError as error:
        raise ValueError(f"{header} is damaged ({error!r}): train or copy the tokenizer again") from error
    ids = list(special_tokens.values()) if isinstance(special_tokens, dict) else [None]
    if not isinstance(rule, str) or not all(isinstance(token_id, int) for token_id in ids):
        raise ValueError(f"{header} is damaged (pattern or special_tokens): train or copy the tokenizer again")
    end = facts.get("end")
    named = end is None or (isinstance(end, str) and end in special_tokens)
    if not named or special_tokens.get(end) != facts.get("end_of_text"):
        raise ValueError(
            f"{header} is damaged (end {brief(repr(end))} and end_of_text {brief(facts.get('end_of_text'))} should "
            "be the name and the id of a special token): train or copy the tokenizer again"
        )
    if version not in (1, FORMAT):
        raise ValueError(f"{header} has format {brief(version)}, this version reads {FORMAT}: update the toolkit")
    ranks = header.parent / (OLD_RANKS_FILE if version == 1 else RANKS_FILE)
    tokens, merges = read_ranks(ranks), None
    if has_merges:
        by_letters = {letters(token): token_id for token_id, token in enumerate(tokens) if token}
        merges = tuple(read_merges(header.parent / MERGES_FILE, by_letters))
    with naming(ranks):
        ignore_merges = facts.get("ignore_merges", False)
        vocabulary = Vocabulary(tuple(tokens), rule, special_tokens, merges, ignore_merges, facts.get("end"))
    if vocabulary.hash != expected:
        files = f"{ranks} and {MERGES_FILE} do" if has_merges else f"{ranks} does"
        raise ValueError(f"{files} not match the hash in {header.name}: train or copy the tokenizer again")
    return vocabulary
