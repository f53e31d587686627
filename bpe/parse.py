"""JSON and TOML of any origin -> their values, and a value of any origin -> words for a message.

Whatever is wrong with a text is a ValueError.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

_BREAKS = {ord(character): repr(character)[1:-1] for character in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for a text that is no JSON, no UTF-8, or nested too deep.

    >>> from bpe.parse import parse_json
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: brackets are nested too deep
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets are nested too deep") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError for a text that is no TOML, nested too deep, or has huge numbers.

    >>> from bpe.parse import parse_toml
    >>> parse_toml("a = " + "[" * 100_000)
    Traceback (most recent call last):
    ValueError: brackets are nested too deep
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("brackets are nested too deep") from None


def brief(text: object, most: int = 200) -> str:
    """The text of a value for a message: one line, cut after `most` characters. A file may hold any value anywhere.

    >>> from bpe.parse import brief
    >>> brief("first\\nsecond"), brief(list(range(1000)), 12)
    ('first\\\\nsecond', '[0, 1, 2, 3,…')
    """
    line = str(text)[: most + 1].translate(_BREAKS)
    return line if len(line) <= most else line[:most] + "…"
