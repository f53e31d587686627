"""Odd texts for tokenizers, split rules of others, and tiktoken's encoder of a vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import tiktoken
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.patterns import regex
from bpe.vocabulary import Vocabulary

# The rules of Llama 3 and Qwen 2, and rustbpe's default.
LLAMA = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
QWEN = LLAMA.replace(r"\p{N}{1,3}", r"\p{N}")
RUSTBPE = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
)
ODD = """
the cat's DON'T I'LL we'Ve don't it'S x'\u017f ' 's '' Hello HelloWorld helloWORLD ABCdef e\u0301 E\u0301x
naïve ŁÓDŹ Ωμέγα привет 你好世界 こんにちは カタカナ \u0e2a\u0e27\u0e31\u0e2a नमस्ते ǅungla ʰʲ ªº
123 4567 ½²Ⅷ ٣٤٥ 1e-5 // /* */ #include <a.h> {}[](); ==> __init__ a/b/c \\n https://x.y/?z=1 <|endoftext|>
😀 👩\u200d👩\u200d👧 \u0301 \u200d
"""
WORDS = ODD.split()
SPACES = (
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    "\n\n ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\u0085",
    "\x1c",
    "\x0b",
    " \n ",
    "/",
    "",
)
pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(SPACES),
    st.text(max_size=6),
    st.builds(
        str.__mul__,
        st.sampled_from(["a", "ab", " ", "\n", "é", "'s", "A", "1", "=", "字", "\u0301"]),
        st.integers(1, 90),
    ),
)
texts = st.lists(pieces, max_size=12).map("".join)


class Published(NamedTuple):
    name: str
    ours: Encoder
    tiktoken: tiktoken.Encoding


def reference(vocabulary: Vocabulary) -> tiktoken.Encoding:
    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
    return tiktoken.Encoding(
        "reference",
        pat_str=regex(vocabulary.pattern),
        mergeable_ranks=ranks,
        special_tokens=dict(vocabulary.special_tokens),
    )
