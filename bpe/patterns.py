r"""The split rules: which stretches of text BPE never merges across.

Each rule is a regular expression published with its vocabulary. Here it is named, kept word for word as tiktoken 0.14
has it (`REGEX`), and mapped to the number by which `kernels.split.next_boundary` knows its hand-written scanner. The
expressions are in the syntax of Rust's fancy-regex: `++`, `?+`, `{1,3}+` are possessive, `$` is the end of the text.

Any other regular expression is a split rule too: it has no name and runs through `bpe.regex_split`, more slowly.
`canonical` gives the name of an expression that splits every text as a named rule does. That is less often the case
than it seems: the expressions of Llama 3, of rustbpe and of earlier versions of tiktoken look like cl100k's, but of
the white space at the end of a text they cut off what follows the last newline, where cl100k's `\s++$` takes all.

`ONIGURUMA` holds the same languages for Hugging Face's `tokenizers`, whose engine reads `{1,3}+` as a repeated group
and `$` as the end of a line.
"""

from __future__ import annotations

import re

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

# Other spellings of the same languages: of GPT-2's encoder.py (openai/gpt-2, also Hugging Face's ByteLevel) and of
# tiktoken before it turned to possessive repeats.
_SPELLINGS = {
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""": "gpt2",
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""": "gpt2",
    **{expression: name for spelt in (REGEX, ONIGURUMA) for name, expression in spelt.items()},
}

PATTERNS = tuple(REGEX)
ANYTHING = "(?s:.+)"  # the rule that does not split


def is_named(pattern: str) -> bool:
    """Whether `pattern` is the name of a rule with a hand-written scanner, no regular expression."""
    return pattern in REGEX


def canonical(pattern: str) -> str:
    """`pattern` itself, or the name of the rule that it spells out in a known way.

    Raises ValueError for one that is empty or only a word, which no split rule is: a name mistyped.
    """
    if is_named(pattern):
        return pattern
    if not pattern or pattern.replace("-", "_").isidentifier():
        raise ValueError(f"pattern = {pattern!r}: should be one of {', '.join(PATTERNS)} or a regular expression")
    return _SPELLINGS.get(pattern, pattern)


def regex(pattern: str) -> str:
    """The regular expression of a split rule, in the syntax of tiktoken's engine."""
    return REGEX.get(pattern, pattern)


def scheme(pattern: str) -> int:
    """The number of a named rule in `kernels.split`. Raises ValueError for any other pattern."""
    if pattern not in REGEX:
        raise ValueError(f"pattern = {pattern!r}: should be one of {', '.join(PATTERNS)}")
    return PATTERNS.index(pattern)


def to_oniguruma(pattern: str) -> str:
    """A split rule in the syntax of Hugging Face's engine. Raises ValueError where that has no way to say it."""
    if is_named(pattern):
        return ONIGURUMA[pattern]
    return _translated(pattern, {"$": r"\z", "^": r"\A"})


def from_oniguruma(expression: str) -> str:
    """A split rule out of that syntax, where `^` and `$` are the bounds of a line. Raises ValueError likewise."""
    if expression in _SPELLINGS and "$" not in expression:  # tiktoken's own text says something else there
        return _SPELLINGS[expression]
    return _translated(expression, {"$": r"(?=\n|\z)", "^": r"(?<![^\n])"})


def _translated(expression: str, anchors: dict[str, str]) -> str:
    """`expression` with `^` and `$` replaced where they are neither escaped nor between brackets."""
    if re.search(r"(?<!\\[xu])\{[0-9,]+\}\+|\(\?(?=[a-zA-Z-]+[:)])(?![i-]+[:)])", expression):
        raise ValueError(f"{expression!r}: engines disagree on {{m,n}}+ and on flags other than i; write them out")
    parts, depth = re.findall(r"(?s)\\.|\[\^?\]?|.", expression), 0
    for i, part in enumerate(parts):
        if part[0] == "[":
            depth += 1
        elif part == "]" and depth:
            depth -= 1
        elif not depth:
            parts[i] = anchors.get(part, part)
    return "".join(parts)
