"""Batches of pages and of documents for the tests of the stages that read them."""

from __future__ import annotations

import pyarrow as pa

from corpus.schema import DOCUMENTS, PAGES

SENTENCE = "The harbour of the old town was rebuilt in stone after the great storm of that winter, "
ARTICLE = "".join(f"<p>{SENTENCE} and then in {year}.</p>" for year in range(1700, 1712))
REPEATED = f"<li>{SENTENCE * 3}</li>"


def html(body: str) -> bytes:
    """A page with a navigation before its body."""
    navigation = "<nav><ul><li><a href='/'>Home</a></li><li><a href='/b'>Basket</a></li></ul></nav>"
    return f"<html><head><title>Town</title></head><body>{navigation}{body}</body></html>".encode()


def pages(bodies: list[bytes]) -> pa.RecordBatch:
    """PAGES with these bodies, numbered from 0."""
    rows = [
        {
            "id": f"<urn:uuid:{number}>",
            "dump": "CC-MAIN-2026-43",
            "url": f"https://example.org/{number}",
            "date": "2026-10-17T00:00:00Z",
            "file_path": "s3://example/a.warc.gz",
            "warc_offset": number,
            "warc_length": 7,
            "charset": None,
            "html": body,
        }
        for number, body in enumerate(bodies)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PAGES)


def documents(texts: list[str | None]) -> pa.RecordBatch:
    """DOCUMENTS with these texts; all other columns are null."""
    columns = {field.name: pa.nulls(len(texts), field.type) for field in DOCUMENTS}
    columns["text"] = pa.array(texts, pa.string())
    return pa.record_batch(list(columns.values()), schema=DOCUMENTS)
