"""Texts made of invented words, and documents that have them."""

from __future__ import annotations

import itertools

import pyarrow as pa

from corpus.schema import DOCUMENTS


def unique(count: int, length: int = 4, skip: int = 0) -> list[str]:
    """Different made-up words of one length."""
    endings = itertools.product("bcdfghjklm", repeat=4)
    return ["x" * (length - 4) + "".join(ending) for ending in itertools.islice(endings, skip, skip + count)]


def documents(texts: list[str | None], language: str | None = None) -> pa.RecordBatch:
    columns = {field.name: pa.nulls(len(texts), field.type) for field in DOCUMENTS}
    columns["text"] = pa.array(texts, pa.string())
    columns["id"] = pa.array([f"<urn:uuid:{row}>" for row in range(len(texts))])
    columns["language"] = pa.array([language] * len(texts), pa.string())
    return pa.record_batch(list(columns.values()), schema=DOCUMENTS)
