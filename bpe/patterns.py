r"""The split rules: they cut a text into pretokens, and BPE never merges across a cut.

A named rule is a regular expression that was published with a vocabulary. `REGEX` has it word for word as tiktoken
0.14 does, and `scheme` gives the number of the hand-written scanner for it (`kernels.scan`). The expressions are in
the syntax of Rust's fancy-regex: `++`, `?+` and `{1,3}+` are possessive, and `$` is the end of the text.

Any other regular expression is a split rule too. It has no name, and `bpe.regex_split` matches it, more slowly.

`canonical` gives the name of an expression that splits every text as a named rule does. Look-alikes often do not: the
expressions of Llama 3, of rustbpe and of earlier versions of tiktoken resemble cl100k's. But at the end of a text they
cut white space after its last newline, where cl100k's `\s++$` keeps it whole.

`ONIGURUMA` has the same rules for Hugging Face's `tokenizers`, whose engine reads `{1,3}+` as a repeated group and `$`
as the end of a line.
"""

from __future__ import annotations

import re

from bpe.arguments import string
from bpe.parse import brief

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

# Other spellings of the rules: from GPT-2's encoder.py (openai/gpt-2; Hugging Face's ByteLevel has it too) and from
# tiktoken before it had possessive repeats.
_SPELLINGS = {
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""": "gpt2",
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""": "gpt2",
    **{expression: name for spelt in (REGEX, ONIGURUMA) for name, expression in spelt.items()},
}

PATTERNS = tuple(REGEX)
ANYTHING = "(?s:.+)"  # the rule that does not split


def is_named(pattern: str) -> bool:
    """Whether `pattern` is the name of a rule and not a regular expression."""
    return pattern in REGEX


def canonical(pattern: str) -> str:
    """The name of the rule that `pattern` is a known spelling of, else `pattern` itself.

    Raises ValueError if it is empty or a mere word: that is a mistyped name, not a split rule. Raises TypeError for
    what is no string.
    """
    pattern = string("pattern", pattern)
    if is_named(pattern):
        return pattern
    if not pattern or pattern.replace("-", "_").isidentifier():
        raise ValueError(
            f"pattern = {brief(repr(pattern))}: should be one of {', '.join(PATTERNS)} or a regular expression"
        )
    return _SPELLINGS.get(pattern, pattern)


def regex(pattern: str) -> str:
    """The regular expression of a split rule, in the syntax of tiktoken's engine."""
    return REGEX.get(pattern, pattern)


def scheme(pattern: str) -> int:
    """The number of a named rule in `kernels.scan`. Raises ValueError for any other pattern."""
    if pattern not in REGEX:
        raise ValueError(f"pattern = {brief(repr(pattern))}: should be one of {', '.join(PATTERNS)}")
    return PATTERNS.index(pattern)


def to_oniguruma(pattern: str) -> str:
    """A split rule in the syntax of Hugging Face's engine. Raises ValueError if the syntax has no counterpart."""
    if is_named(pattern):
        return ONIGURUMA[pattern]
    return _translated(pattern, {"$": r"\z", "^": r"\A"})


def from_oniguruma(expression: str) -> str:
    """The split rule of an expression in the syntax of Hugging Face's engine, where `^` and `$` bound a line.

    Raises ValueError if our syntax has no counterpart.
    """
    if expression in _SPELLINGS and "$" not in expression:  # there, tiktoken's own `$` is the end of a line
        return _SPELLINGS[expression]
    return _translated(expression, {"$": r"(?=\n|\z)", "^": r"(?<![^\n])"})


def _translated(expression: str, anchors: dict[str, str]) -> str:
    """`expression` with `^` and `$` replaced by `anchors` where they are neither escaped nor between brackets."""
    if re.search(r"(?<!\\[xu])\{[0-9,]+\}\+|\(\?(?=[a-zA-Z-]+[:)])(?![i-]+[:)])", expression):
        raise ValueError(
            f"{brief(repr(expression))}: engines disagree on {{m,n}}+ and on flags other than i; write them out"
        )
    parts, depth = re.findall(r"(?s)\\.|\[\^?\]?|.", expression), 0
    for i, part in enumerate(parts):
        if part[0] == "[":
            depth += 1
        elif part == "]" and depth:
            depth -= 1
        elif not depth:
            parts[i] = anchors.get(part, part)
    return "".join(parts)
