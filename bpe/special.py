"""The names of special tokens in texts: where they stand, in a whole text or in one that arrives in chunks.

If two names start at one place, the longer one counts, as in Hugging Face's tokenizers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

Special = Literal["all"] | Collection[str]


@functools.lru_cache(maxsize=64)
def finder(names: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the leftmost of `names`, the longest at that place, as its one group."""
    return re.compile("(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")")


def refuse(text: str, disallowed: frozenset[str]) -> None:
    """Raises ValueError if one of the names `disallowed` is in `text`."""
    if match := finder(disallowed).search(text):
        raise _refusal(match.group(), match.start())


def refused(chunks: Iterable[str], disallowed: frozenset[str]) -> Iterator[str]:
    """The text of `chunks` in other chunks. Raises ValueError where one of the names `disallowed` stands in it.

    No part of a refused name is given out before.
    """
    position = 0
    for text, name in at_names(chunks, disallowed):
        position += len(text)
        if name:
            raise _refusal(name, position)
        yield text


def at_names(chunks: Iterable[str], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The text of `chunks` as (text without names, the name that follows it, or "" where the text goes on).

    The last characters of a chunk are held back for as long as they may be the beginning of a name.
    """
    names -= {""}
    if not names:
        yield from ((chunk, "") for chunk in chunks)
        return
    longest, held = max(map(len, names)), ""
    for chunk in chunks:
        held += chunk
        # A name is certain only where the longest name would fit too.
        start, undecided = 0, max(0, len(held) - longest + 1)
        while (match := finder(names).search(held, start)) and match.start() < undecided:
            yield held[start : match.start()], match.group()
            start = match.end()
        undecided = max(start, undecided)
        yield held[start:undecided], ""
        held = held[undecided:]
    *pairs, end = finder(names).split(held)
    yield from zip(pairs[::2], pairs[1::2], strict=True)
    yield end, ""


def _refusal(name: str, position: int) -> ValueError:
    return ValueError(
        f"text holds the special token {name!r} at character {position}: pass allowed_special={{{name!r}}} "
        "for the token, or disallowed_special=() to take its name for ordinary text"
    )
