"""JSON of any origin -> its value. Whatever is wrong with the text is a ValueError."""

from __future__ import annotations

import json
from typing import Any


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
