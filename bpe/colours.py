"""Tokens made visible: the characters that show the bytes of a token, also in the colours of a terminal.

In go bytes, out comes text that is safe to print. A token may be half a character, a line break, a control sequence or
an accent that would join its neighbour. So a mark stands for every character that does not print as itself: `↵` and
`→` (before the line break or tab itself), `\\xE4` for a byte that is no whole character, `\\u200d` for a character
without a shape. Spaces stay spaces: the background shows where a token starts and ends.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

# Of the 256-colour palette: light backgrounds under black text look alike on light and on dark terminals.
BACKGROUNDS = (153, 223, 158, 217, 229, 183)
BLACK, GREY = 16, 242
_MARKS = {"\n": "↵\n", "\r": "␍", "\t": "→\t"}
_RESET = "\x1b[0m"


def pieces(token: bytes) -> Iterator[tuple[str, bool]]:
    """The token as (text, whether it is a mark): runs of characters that print as themselves, and runs of marks."""
    text = token.decode("utf-8", "surrogateescape")
    if text and unicodedata.category(text[0]).startswith("M"):
        yield "◌", True  # what an accent is shown on when its letter is another token
    for is_mark, characters in itertools.groupby(text, lambda character: not character.isprintable()):
        run = "".join(characters)
        yield ("".join(map(_mark, run)), True) if is_mark else (run, False)


def visible(token: bytes) -> str:
    """The token in one line of printable characters."""
    return "".join(text for text, _ in pieces(token)).replace("\n", "").replace("\t", "")


def coloured(tokens: Iterable[bytes]) -> str:
    """The tokens in the escape codes of terminals, neighbours on different backgrounds."""
    return "".join(
        _painted(text, background, GREY if is_mark else BLACK)
        for token, background in zip(tokens, itertools.cycle(BACKGROUNDS), strict=False)
        for text, is_mark in pieces(token)
    )


def coloured_ids(ids: Iterable[int]) -> str:
    """The ids, separated by spaces, each on the background that `coloured` gives its token."""
    pairs = zip(ids, itertools.cycle(BACKGROUNDS), strict=False)
    return " ".join(_painted(str(token_id), background, BLACK) for token_id, background in pairs)


def _mark(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape's name for the byte code - 0xDC00
        return f"\\x{code - 0xDC00:02X}"
    return _MARKS.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _painted(text: str, background: int, colour: int) -> str:
    # A colour ends before a line break: a terminal that scrolls fills the new line with the background.
    parts = (part if part == "\n" else f"\x1b[38;5;{colour};48;5;{background}m{part}{_RESET}" for part in _lines(text))
    return "".join(parts)


def _lines(text: str) -> Iterator[str]:
    return (part for part in re.split("(\n)", text) if part)
