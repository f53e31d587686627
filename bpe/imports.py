"""Reads the vocabularies of other programs: Hugging Face's `tokenizer.json`, GPT-2's `vocab.json` with `merges.txt`.

Both write a token as a letter for each byte and merge by a list of pairs. A file that is read encodes here exactly as
it does there. A file with anything that has no exact counterpart here is refused, in one line that names it.

A `tokenizer.json` may name added tokens, special or not. Its own library takes their names in any text for the tokens.
Here they become special tokens: `Tokenizer.encode(text, allowed_special="all")` gives the library's ids, and ordinary
encoding takes no name for a token. What a post-processor adds around a text, such as Llama's beginning of text, is not
added; the library leaves it out too with `add_special_tokens=False`.

The files beside a vocabulary say which special token ends a text (`end_beside`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bpe.formats import LETTERS, naming, read_merges
from bpe.parse import brief
from bpe.patterns import ANYTHING, from_oniguruma, is_named
from bpe.vocabulary import Vocabulary, all_cuts

_BYTES = {letter: byte for byte, letter in LETTERS.items()}


def end_beside(special: Mapping[str, int], folder: Path, read: Callable[[Path], Mapping[str, Any]]) -> str | None:
    """The special token that ends a text according to the files in `folder`; None if they name none of `special`.

    It is for vocabularies without `<|endoftext|>`. config.json goes first: of several ids in `eos_token_id`, the first
    ends a text, as in Llama 3.1, whereas the `eos_token` of a chat model's tokenizer_config.json ends an answer.
    generation_config.json comes last. `read` reads the JSON object in a file.
    """
    names = {token_id: name for name, token_id in special.items()}
    for file in ("config.json", "tokenizer_config.json", "generation_config.json"):
        facts = read(folder / file) if special and (folder / file).is_file() else {}
        ids = facts.get("eos_token_id")
        token = facts.get("eos_token")
        tokens = [names.get(one) for one in (ids if isinstance(ids, list) else [ids]) if type(one) is int]
        tokens.append(token.get("content") if isinstance(token, dict) else token)
        for name in tokens:
            if isinstance(name, str) and name in special:
                return name
    return None


def read_gpt2(path: Path, vocab: dict[str, Any], merges: Path, pattern: str = "gpt2") -> Vocabulary:
    """The vocabulary of GPT-2's two files. `vocab` is the content (token -> id) of the file at `path`.

    A token of several bytes that no merge makes is a special token, as `<|endoftext|>` is in GPT-2's own files. Raises
    ValueError for a damaged file, naming it.
    """
    ids = _ids(path, vocab)
    pairs = read_merges(merges, ids)
    names = {token_id: name for name, token_id in ids.items()}
    made = {names[left] + names[right] for left, right in pairs}
    special = {name: i for name, i in ids.items() if name not in made and name not in _BYTES}
    tokens = _tokens(path, ids, special)
    with naming(path):
        return Vocabulary(tokens, pattern, special, tuple(pairs))


def read_hugging_face(path: Path, content: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a byte-level BPE `tokenizer.json` at `path` with this content.

    If `ignore_merges` is set and the merges are every cut of every token, in the order of ids, that is tiktoken's rule
    in Hugging Face's words: the vocabulary then has no list of merges. Raises ValueError, naming what has no
    counterpart here.
    """
    try:
        model = content["model"]
        _refuse(path, content, model)
        pattern = _split_rule(path, content.get("pre_tokenizer"))
        ids = _ids(path, model["vocab"])
        special = _added(path, content.get("added_tokens") or [], ids)
        names = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        if odd := [merge for merge in names if len(merge) != 2 or not all(part in ids for part in merge)]:
            raise ValueError(f"{path}: merge {brief(odd[0])} is not of two tokens of the vocabulary")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is no tokenizer.json that can be read ({brief(repr(error))})") from error
    made = {left + right for left, right in names}
    if reused := [name for name in special if name in made]:
        raise ValueError(
            f"{path}: added token {brief(repr(reused[0]))} is made by merges too, which has no counterpart here"
        )
    tokens = _tokens(path, ids, special)
    merges = tuple((ids[left], ids[right]) for left, right in names)
    ignore_merges = bool(model.get("ignore_merges"))
    with naming(path):
        if ignore_merges and merges == all_cuts(tokens):
            return Vocabulary(tokens, pattern, special)
        return Vocabulary(tokens, pattern, special, merges, ignore_merges)


def _refuse(path: Path, content: dict[str, Any], model: dict[str, Any]) -> None:
    """Raises ValueError for a setting that changes ids and has no counterpart here."""
    # unk_token may be anything: a Vocabulary has a token for every byte, so no text is unknown.
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
            raise ValueError(
                f"{path}: {brief(reason)} has no counterpart here; only byte-level BPE without it can be read"
            )


def _split_rule(path: Path, pre_tokenizer: dict[str, Any] | None) -> str:
    """The split rule of a pre-tokenizer. Raises ValueError unless it is ByteLevel, alone or after one Split."""
    steps = [pre_tokenizer] if pre_tokenizer else []
    if steps and steps[0]["type"] == "Sequence":
        steps = steps[0]["pretokenizers"]
    kinds = [step["type"] for step in steps]
    if kinds[-1:] != ["ByteLevel"] or kinds[:-1] not in ([], ["Split"]):
        present = brief(" and ".join(kinds)) or "none"
        raise ValueError(f"{path}: pre_tokenizer is {present}; only ByteLevel, alone or after one Split, can be read")
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
        string = brief(repr(split["pattern"].get("String")))
        raise ValueError(f"{path}: Split by the string {string}; only by Regex can be read")
    with naming(path):
        pattern = from_oniguruma(expression)
        if not is_named(pattern):
            from bpe.regex_split import compile_pattern  # brings numpy and pyarrow

            compile_pattern(pattern)
    # "Removed" and inverted keeps the matches alone. A named rule matches all of every text, so nothing is lost.
    keeps_all = split["behavior"] == "Removed" and split.get("invert") and is_named(pattern)
    if split["behavior"] != "Isolated" and not keeps_all:
        behavior = brief(split["behavior"])
        raise ValueError(f"{path}: Split with behavior {behavior} has no counterpart here, only Isolated")
    return pattern


def _added(path: Path, added: Iterable[dict[str, Any]], ids: dict[str, int]) -> dict[str, int]:
    """The ids of the added tokens by name. Raises ValueError for one that has no counterpart here."""
    special: dict[str, int] = {}
    for token in added:
        name, token_id = token["content"], token["id"]
        shown = brief(repr(name))
        if not isinstance(name, str) or not isinstance(token_id, int):
            raise TypeError(f"added token {shown} with the id {brief(repr(token_id))}")
        for flag in ("lstrip", "rstrip", "single_word"):
            if token.get(flag):
                raise ValueError(f"{path}: added token {shown} with {flag} has no counterpart here")
        if ids.get(name, token_id) != token_id:
            raise ValueError(f"{path}: added token {shown} has id {token_id}, and {ids[name]} in the vocabulary")
        special[name] = token_id
    return special


def _ids(path: Path, vocab: dict[str, Any]) -> dict[str, int]:
    """`vocab` itself. Raises ValueError if two tokens share an id or if the ids are too sparse for a list."""
    wrong = [(name, i) for name, i in vocab.items() if not isinstance(i, int) or not 0 <= i < 2 * len(vocab) + 1024]
    if wrong:
        name, token_id = (brief(repr(part)) for part in wrong[0])
        raise ValueError(f"{path}: token {name} has {token_id} for an id, in a vocabulary of {len(vocab)}")
    if len(set(vocab.values())) != len(vocab):
        raise ValueError(f"{path}: two tokens share an id")
    return vocab


def _tokens(path: Path, ids: dict[str, int], special: dict[str, int]) -> tuple[bytes, ...]:
    """The bytes of the tokens that are not in `special`, by id, and b"" in gaps."""
    ordinary = {token_id: name for name, token_id in ids.items() if name not in special}
    tokens = [b""] * (max(ordinary, default=-1) + 1)
    for token_id, name in ordinary.items():
        if not all(letter in _BYTES for letter in name):
            raise ValueError(f"{path}: token {brief(repr(name))} is not written in the letters of byte-level BPE")
        tokens[token_id] = bytes(map(_BYTES.__getitem__, name))
    return tuple(tokens)
