"""A vocabulary for other programs: tiktoken's rank file, Hugging Face's `tokenizer.json`, GPT-2's pair of files.

Hugging Face and GPT-2 merge by a list of pairs, tiktoken by the rank of the token that a pair makes.

From ranks to a list: every way to cut a token into two tokens is listed, in the order of ids (`all_cuts`), and
`ignore_merges` makes a pretoken that is a token that token.

From a list to ranks: exact if the list makes the tokens in ascending order of ids, and if every token is made from its
own bytes by merges of tokens made before it. Then two neighbours whose bytes together are a token, but which the list
does not merge, never meet: their bytes would already have become that token, since merges do not depend on what stands
around the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bpe.formats import MERGES_FILE, RANKS_FILE, letters, merges_file, rank_file
from bpe.patterns import ANYTHING, to_oniguruma
from bpe.vocabulary import Vocabulary, all_cuts
from bpe.whole import make_folder, write_whole

TARGETS = ("tiktoken", "hf", "gpt2")
ENDINGS = {".tiktoken": "tiktoken", ".json": "hf"}  # of an output that is one file, and its format


def write_export(vocabulary: Vocabulary, output: Path, to: str | None, overwrite: bool) -> dict[Path, int | None]:
    """Write the files of `export_files`; the bytes of each file, or None for one that was there already.

    An output with an ending in ENDINGS is the file to write, any other a folder for the files; without `to`, the ending
    decides the format. Raises ValueError as `export_files` does and if nothing tells the format. Raises
    FileExistsError, before it writes anything, for a file that is there and differs, unless `overwrite`.
    """
    to = to or ENDINGS.get(output.suffix)
    if to is None:
        raise ValueError(f"to = None: should be one of {', '.join(TARGETS)}, since {output} has no known ending")
    contents = export_files(vocabulary, to)
    is_file = len(contents) == 1 and output.suffix in ENDINGS and not output.is_dir()
    files = {output if is_file else output / name: content for name, content in contents.items()}
    written_before = {file for file in files if file.exists() and file.read_bytes() == files[file]}
    for file in files:
        if file.exists() and file not in written_before and not overwrite:
            raise FileExistsError(f"{file} is there and differs: choose another name or overwrite it")
    for file, content in files.items():
        if file not in written_before:
            make_folder(file.parent)
            write_whole(file, content)
    return {file: None if file in written_before else len(content) for file, content in files.items()}


def export_files(vocabulary: Vocabulary, to: str) -> dict[str, bytes]:
    """File name -> content. The other program then encodes ordinary text as `bpe.encode.Encoder` does.

    A rank file does not hold the split rule and the special tokens, which tiktoken has to be told. If the rule is a
    regular expression that leaves text between its matches, tiktoken drops that text.
    Raises ValueError, with the reason, for a vocabulary that the program would not follow exactly.
    """
    if to == "tiktoken":
        _refuse_if(_why_not_ranks(vocabulary), to)
        return {RANKS_FILE: rank_file(vocabulary)}
    if to == "hf":
        return {"tokenizer.json": hugging_face(vocabulary)}
    if to == "gpt2":
        _refuse_if(_why_not_gpt2(vocabulary), to)
        listed = Vocabulary(vocabulary.tokens, "gpt2", vocabulary.special_tokens, _merges(vocabulary))
        content = json.dumps(_vocab(vocabulary), ensure_ascii=False)
        return {"vocab.json": content.encode() + b"\n", MERGES_FILE: merges_file(listed)}
    raise ValueError(f"to = {to!r}: should be one of {', '.join(TARGETS)}")


def hugging_face(vocabulary: Vocabulary) -> bytes:
    """The content of a `tokenizer.json` that encodes ordinary text as `bpe.encode.Encoder` does.

    Hugging Face's library takes the name of a special token in a text for the token. Raises ValueError for a special
    token whose name equals an ordinary token in letters, and for a split rule that the library's engine cannot follow.
    """
    names = [letters(token) for token in vocabulary.tokens]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    steps: list[dict[str, Any]] = [byte_level]
    if vocabulary.pattern != ANYTHING:
        expression = {"Regex": to_oniguruma(vocabulary.pattern)}
        steps.insert(0, {"type": "Split", "pattern": expression, "behavior": "Isolated", "invert": False})
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, token_id) for name, token_id in vocabulary.special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": vocabulary.merges is None or vocabulary.ignore_merges,
            "vocab": _vocab(vocabulary),
            "merges": [[names[left], names[right]] for left, right in _merges(vocabulary)],
        },
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _merges(vocabulary: Vocabulary) -> tuple[tuple[int, int], ...]:
    return all_cuts(vocabulary.tokens) if vocabulary.merges is None else vocabulary.merges


def _vocab(vocabulary: Vocabulary) -> dict[str, int]:
    """Tokens in letters -> ids, with the special tokens by name."""
    vocab = {letters(token): token_id for token_id, token in enumerate(vocabulary.tokens) if token}
    for name, token_id in vocabulary.special_tokens.items():
        if name in vocab:
            raise ValueError(f"special token {name!r} is an ordinary token too: one file cannot hold both")
        vocab[name] = token_id  # else the library would count: wrong where the ids have gaps
    return vocab


def _added(name: str, token_id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": name, **flags}


def _refuse_if(reason: str | None, to: str) -> None:
    if reason:
        raise ValueError(f"an export to {to} would not encode alike: {reason}")


def _why_not_ranks(vocabulary: Vocabulary) -> str | None:
    """Why the order of ids does not give the merges of a vocabulary; None if it does."""
    if vocabulary.merges is None:
        return None
    tokens, ids = vocabulary.tokens, {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    last, live = -1, []
    for pair in vocabulary.merges:
        made = ids[tokens[pair[0]] + tokens[pair[1]]]
        if any(len(tokens[part]) > 1 and part >= made for part in pair):
            continue  # the pair never meets, if the other merges make the token from its bytes
        if made < last:
            return f"the merges make token {made} ({tokens[made]!r}) after token {last} ({tokens[last]!r})"
        live.append(pair)
        last = made
    for token in _unmade(tokens, live):
        # As a pretoken it is one token in both programs; inside a longer one, tiktoken would make it of two tokens.
        cut = any(token[:i] in ids and token[i:] in ids for i in range(1, len(token)))
        if cut or not vocabulary.ignore_merges:
            return f"the merges do not make token {ids[token]} ({token!r}) of earlier tokens"
    return None


def _why_not_gpt2(vocabulary: Vocabulary) -> str | None:
    """Why GPT-2's files cannot say how the vocabulary encodes; None if they can."""
    if vocabulary.pattern != "gpt2":
        return f"its split rule is gpt2, and that of the vocabulary is {vocabulary.pattern!r}"
    if vocabulary.merges is None or vocabulary.ignore_merges:
        for token in _unmade(vocabulary.tokens, _merges(vocabulary)):
            return f"the merges do not make {token!r} of its bytes, which here is taken whole as a pretoken"
    return None


def _unmade(tokens: Sequence[bytes], merges: Sequence[tuple[int, int]]) -> Iterable[bytes]:
    """The tokens that their own bytes do not merge to."""
    rank = {(tokens[left], tokens[right]): i for i, (left, right) in enumerate(merges)}
    for token in tokens:
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 1:
            mergeable = [(rank[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in rank]
            if not mergeable:
                yield token
                break
            _, i = min(mergeable)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
