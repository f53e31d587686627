"""Masked values for review, without the values themselves: one row for each span.

The context is cut out of a text in which every span is masked by its tag. The shape of a value shows letters as a and
digits as 9, with the length of a run rounded up to a power of two. So a reviewer can tell a date from a phone number,
and the shape names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from corpus.pii.masks import mask, tag
from corpus.pii.text import Span

# `start` and `end` are indices of the text before masking, in code points.
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("type", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("context", pa.string()),
        ("shape", pa.string()),
    ]
)
_REACH = 30  # characters of context on each side
_RUN = re.compile(r"a+|9+|\?+")
_SHOWN = 64  # characters of a value that its shape shows
_SIGNS = " +-._@/():[]'\"%"  # shown in a shape as they are


def rows(text: str, spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """Type, place, context and shape of each span."""
    masked = mask(text, spans, tag)
    shift = 0  # of places in the masked text
    for span in spans:
        start = span.start + shift
        shift += len(tag(span)) - (span.end - span.start)
        context = masked[max(0, start - _REACH) : span.end + shift + _REACH]
        yield {"type": span.type, "start": span.start, "end": span.end, "context": context, "shape": shape(span.text)}


def shape(value: str) -> str:
    """The shape of a value: `+99 99 99999999` of `+49 30 1234567`, `aa.aa@aaaa.aaaaaaaa` of `jo.li@mail.example`."""
    signs = "".join("a" if c.isalpha() else "9" if c.isdigit() else c if c in _SIGNS else "?" for c in value[:_SHOWN])
    return _RUN.sub(lambda run: run[0][0] * (1 << (len(run[0]) - 1).bit_length()), signs)
