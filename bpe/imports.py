"""Vocabularies of other programs: Hugging Face's `tokenizer.json`, and GPT-2's `vocab.json` with `merges.txt`.

Both write a token as a letter for each byte and merge by a list of pairs. What is read encodes as it does there, all
of it or none: a file with something that has no exact counterpart here is refused in one line that names it.

A `tokenizer.json` may name added tokens, special or not. Its own library takes their names in any text for the tokens
themselves; here they become special tokens, so that this is what `Tokenizer.encode(text, allowed_special="all")`
gives, while ordinary encoding takes no name for a token. What a post-processor adds around a text (Llama's
beginning of text, say) is not added; that library leaves it out too with `add_special_tokens=False`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bpe.patterns import ANYTHING, from_oniguruma, is_named
from bpe.vocabulary import LETTERS, Vocabulary, all_cuts, made_from, read_merges

_BYTES = {letter: byte for byte, letter in LETTERS.items()}


def read_gpt2(path: Path, vocab: dict[str, Any], merges: Path, pattern: str = "gpt2") -> Vocabulary:
    """GPT-2's two files, of which `vocab` is the content of the first (token -> id).

    A token of several bytes that no merge makes is a special token, as `<|endoftext|>` is there. Raises ValueError
    for a damaged file, naming it.
    """
    ids = _ids(path, vocab)
    pairs = read_merges(merges, ids)
    names = {token_id: name for name, token_id in ids.items()}
    made = {names[left] + names[right] for left, right in pairs}
    special = {name: i for name, i in ids.items() if name not in made and name not in _BYTES}
    return made_from(path, _tokens(path, ids, special), pattern, special, pairs)


def read_hugging_face(path: Path, content: dict[str, Any]) -> Vocabulary:
    """A byte-level BPE `tokenizer.json`, of which `content` is the content.

    Where the merges are every cut of every token in the order of ids, and whole tokens are taken whole, this is
    tiktoken's rule (what the exports of tiktoken's vocabularies look like) and becomes it. Raises ValueError, naming
    what cannot be reproduced.
    """
    try:
        model = content["model"]
        _refuse(path, content, model)
        pattern = _split_rule(path, content.get("pre_tokenizer"))
        ids = _ids(path, model["vocab"])
        special = _added(path, content.get("added_tokens") or [], ids)
        written = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        if odd := [merge for merge in written if len(merge) != 2 or not all(part in ids for part in merge)]:
            raise ValueError(f"{path}: merge {odd[0]} is not of two tokens of the vocabulary")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is no tokenizer.json that can be read ({error!r})") from error
    made = {left + right for left, right in written}
    if reused := [name for name in special if name in made]:
        raise ValueError(f"{path}: added token {reused[0]!r} is made by merges too, which has no counterpart here")
    tokens = _tokens(path, ids, special)
    merges = [(ids[left], ids[right]) for left, right in written]
    whole = bool(model.get("ignore_merges"))
    if whole and merges == all_cuts(tokens):
        return made_from(path, tokens, pattern, special)
    return made_from(path, tokens, pattern, special, merges, whole)


def _refuse(path: Path, content: dict[str, Any], model: dict[str, Any]) -> None:
    """Raises ValueError for what changes ids and has no counterpart here."""
    # With a token for every byte, which Vocabulary asks for, there is nothing unknown: unk_token may be anything.
    kind = model.get("type", "BPE")
    normalizer = content.get("normalizer") or {}
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    reasons = {
        f"model {kind}": kind != "BPE",
        f"normalizer {normalizer.get('type')}": normalizer and normalizer.get("normalizers") != [],
        f"dropout {model.get('dropout')}": model.get("dropout"),
        "byte_fallback": model.get("byte_fallback"),
        f"continuing_subword_prefix {prefix!r}": prefix,
        f"end_of_word_suffix {suffix!r}": suffix,
        "truncation": content.get("truncation"),
        "padding": content.get("padding"),
    }
    for reason, present in reasons.items():
        if present:
            raise ValueError(f"{path}: {reason} has no counterpart here; only byte-level BPE without it can be read")


def _split_rule(path: Path, pre_tokenizer: dict[str, Any] | None) -> str:
    """The split rule of ByteLevel alone, or of one Split before it."""
    steps = [pre_tokenizer] if pre_tokenizer else []
    if steps and steps[0]["type"] == "Sequence":
        steps = steps[0]["pretokenizers"]
    kinds = [step["type"] for step in steps]
    if kinds[-1:] != ["ByteLevel"] or kinds[:-1] not in ([], ["Split"]):
        found = " and ".join(kinds) or "none"
        raise ValueError(f"{path}: pre_tokenizer is {found}; only ByteLevel, alone or after one Split, can be read")
    byte_level = steps[-1]
    if byte_level.get("add_prefix_space", True):
        raise ValueError(f"{path}: ByteLevel with add_prefix_space has no counterpart here")
    if len(steps) == 1:
        return "gpt2" if byte_level.get("use_regex", True) else ANYTHING
    if byte_level.get("use_regex", True):
        raise ValueError(f"{path}: ByteLevel with use_regex after a Split splits twice, which has no counterpart here")
    split = steps[0]
    expression = split["pattern"].get("Regex")
    if expression is None:
        raise ValueError(f"{path}: Split by the string {split['pattern'].get('String')!r}; only by Regex can be read")
    try:
        pattern = from_oniguruma(expression)
        if not is_named(pattern):
            from bpe.regex_split import compile_pattern

            compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    # "Removed" and inverted keeps the matches alone, which is as good where they cover every text: a named rule does.
    kept = split["behavior"] == "Removed" and split.get("invert") and is_named(pattern)
    if split["behavior"] != "Isolated" and not kept:
        raise ValueError(f"{path}: Split with behavior {split['behavior']} has no counterpart here, only Isolated")
    return pattern


def _added(path: Path, added: Iterable[dict[str, Any]], ids: dict[str, int]) -> dict[str, int]:
    """Added tokens by name."""
    special: dict[str, int] = {}
    for token in added:
        name, token_id = str(token["content"]), int(token["id"])
        for flag in ("lstrip", "rstrip", "single_word"):
            if token.get(flag):
                raise ValueError(f"{path}: added token {name!r} with {flag} has no counterpart here")
        if ids.get(name, token_id) != token_id:
            raise ValueError(f"{path}: added token {name!r} has id {token_id}, and {ids[name]} in the vocabulary")
        special[name] = token_id
    return special


def _ids(path: Path, vocab: dict[str, Any]) -> dict[str, int]:
    """`vocab`, checked to be of ids that are told apart and dense enough to be listed."""
    wrong = [(name, i) for name, i in vocab.items() if not isinstance(i, int) or not 0 <= i < 2 * len(vocab) + 1024]
    if wrong:
        raise ValueError(
            f"{path}: token {wrong[0][0]!r} has {wrong[0][1]!r} for an id, in a vocabulary of {len(vocab)}"
        )
    if len(set(vocab.values())) != len(vocab):
        raise ValueError(f"{path}: two tokens share an id")
    return vocab


def _tokens(path: Path, ids: dict[str, int], special: dict[str, int]) -> list[bytes]:
    """The ordinary tokens by id, b"" in gaps; those of `special` are none of them."""
    ordinary = {token_id: name for name, token_id in ids.items() if name not in special}
    tokens = [b""] * (max(ordinary, default=-1) + 1)
    for token_id, name in ordinary.items():
        if not all(letter in _BYTES for letter in name):
            raise ValueError(f"{path}: token {name!r} is not written in the letters of byte-level BPE")
        tokens[token_id] = bytes(map(_BYTES.__getitem__, name))
    return tokens
