"""A vocabulary for other programs: Hugging Face's `tokenizer.json`. (`vocabulary.rank_file` serves tiktoken's kin.)

Hugging Face merges by a list of pairs, tiktoken by the rank of what a pair makes. So every way to cut a token into two
tokens is listed, in the order of the token's rank, and `ignore_merges` takes a pretoken whole when it is a token.
"""

from __future__ import annotations

import json
from typing import Any

from bpe.patterns import ONIGURUMA
from bpe.vocabulary import Vocabulary
from bpe.vocabulary import letters as hugging_face_letters


def hugging_face(vocabulary: Vocabulary) -> bytes:
    """The content of a `tokenizer.json` that encodes as `bpe.encode.Encoder` does, but for special tokens.

    Hugging Face's library takes the name of a special token in a text for the token itself. Raises ValueError for a
    special token whose name is also how an ordinary token is written there.
    """
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens) if token}
    vocab = {hugging_face_letters(token): token_id for token, token_id in ids.items()}
    for name, token_id in vocabulary.special_tokens.items():
        if name in vocab:
            raise ValueError(f"special token {name!r} is an ordinary token too: tokenizer.json cannot hold both")
        vocab[name] = token_id  # or the library would number it by the tokens before it, which gaps in the ids upset
    merges = []
    for token in ids:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(ids[left], ids[right], left, right) for left, right in cuts if left in ids and right in ids]
        merges += [[hugging_face_letters(left), hugging_face_letters(right)] for _, _, left, right in sorted(known)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split_rule = {"Regex": ONIGURUMA[vocabulary.pattern]}
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, token_id) for name, token_id in vocabulary.special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": split_rule, "behavior": "Isolated", "invert": False},
                byte_level,
            ],
        },
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
            "ignore_merges": True,
            "vocab": vocab,
            "merges": merges,
        },
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _added(name: str, token_id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": name, **flags}
