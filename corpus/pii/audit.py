"""What was masked, for review, without the data themselves: a row a span.

The context is cut from the text with every span masked by its tag. The shape shows letters as a, digits as 9, and
runs of them rounded up to a power of two, so that it tells a date from a phone number and names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from corpus.pii.masks import tag
from corpus.pii.text import Span

# Start and end are places in the text before masking, in Python string indices (code points).
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
_SHOWN = 64  # characters of a shape


def rows(text: str, spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """Type, place, context and shape of each span."""
    masked, places, end = "", [], 0
    parts = []
    for span in spans:
        parts += [text[end : span.start], tag(span)]
        end = span.end
    masked = "".join([*parts, text[end:]])
    shift = 0
    for span in spans:
        start = span.start + shift
        shift += len(tag(span)) - (span.end - span.start)
        places.append((start, span.end + shift))
    for span, (start, stop) in zip(spans, places, strict=True):
        context = masked[max(0, start - _REACH) : stop + _REACH]
        yield {"type": span.type, "start": span.start, "end": span.end, "context": context, "shape": shape(span.text)}


def shape(value: str) -> str:
    """`+49 30 1234567` -> `+99 99 99999999`; `jo.li@mail.example` -> `aa.aa@aaaa.aaaaaaaa`."""
    signs = "".join("a" if c.isalpha() else "9" if c.isdigit() else c if c in _SIGNS else "?" for c in value[:_SHOWN])
    return _RUN.sub(lambda run: run[0][0] * (1 << (len(run[0]) - 1).bit_length()), signs)


_SIGNS = " +-._@/():[]'\"%"
