r"""The split rules: which stretches of text BPE never merges across.

Each rule is a regular expression published with its vocabulary. Here it is named, kept word for word as tiktoken 0.14
has it (`REGEX`), and mapped to the number by which `kernels.split.next_boundary` knows its hand-written scanner. The
expressions are in the syntax of Rust's fancy-regex: `++`, `?+`, `{1,3}+` are possessive, `$` is the end of the text.

`ONIGURUMA` holds the same languages for Hugging Face's `tokenizers`, whose engine reads `{1,3}+` as a repeated group
and `$` as the end of a line.
"""

from __future__ import annotations

# tiktoken_ext/openai_public.py, tiktoken 0.14 (MIT).
REGEX = {
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
        r"""|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
    "o200k": (
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    ),
}

ONIGURUMA = {
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+\z|\s+(?!\S)|\s""",
    "cl100k": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
        r"""|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
    "o200k": REGEX["o200k"],
}

PATTERNS = tuple(REGEX)


def scheme(pattern: str) -> int:
    """The number of a split rule in `kernels.split.next_boundary`. Raises ValueError for an unknown name."""
    if pattern not in REGEX:
        raise ValueError(f"pattern = {pattern!r}: should be one of {', '.join(PATTERNS)}")
    return PATTERNS.index(pattern)
