"""The index of published documents: what later crawls are compared with, without the documents themselves.

A shard of the index has a row for each document that stayed: its signature, the columns that decide which of two
documents stays, and the set of its n-grams. So a decision against the index is as exact as a decision within a corpus.
The size is 4 bytes a word and some 600 bytes a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.candidates import PRIORITY, ngrams, priority
from corpus.dedup.config import Config
from corpus.dedup.signatures import schema, sign, to_datasketch


def index_schema(config: Config) -> pa.Schema:
    """The columns of an index: SIGNATURES, the other columns of PRIORITY, and with MinHash `ngrams`."""
    signatures = schema(config)
    fields = [*signatures, *(field for field in PRIORITY if field.name not in signatures.names)]
    if config.minhash:
        fields.append(pa.field("ngrams", pa.large_list(pa.uint32())))
    return pa.schema(fields, metadata=signatures.metadata)


def index_rows(documents: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """The rows of an index for a batch of documents."""
    fields = index_schema(config)
    columns: dict[str, pa.Array] = {}
    for part in (priority(documents, config), sign(documents, config)):
        columns |= {name: part.column(name) for name in part.schema.names}
    if "ngrams" in fields.names:
        columns["ngrams"] = ngrams(documents, config)
    return pa.record_batch([columns[name] for name in fields.names], schema=fields)


def fill_lsh(
    batches: Iterable[pa.RecordBatch], config: Config, lsh: Any, key: Callable[[dict[str, Any]], Any] | None = None
) -> int:
    """Insert signed documents into a `datasketch.MinHashLSH`, with any of its storages (memory, Redis, Cassandra).

    Documents are inserted under their ids, or under `key(row)`; returns how many. Documents without words are left out,
    because to MinHash they are all equal. The LSH must be made with `num_perm=config.num_perm`, and may have bands of
    its own. Query it with a `datasketch.MinHash` of the scheme affine32, such as `to_datasketch` returns.
    """
    count = 0
    with lsh.insertion_session() as session:
        for batch in batches:
            worded = batch.filter(pc.greater(batch.column("shingles"), 0))
            for row in worded.select(["id", "signature"]).to_pylist():
                session.insert(key(row) if key else row["id"], to_datasketch(row, config), check_duplication=False)
                count += 1
    return count
