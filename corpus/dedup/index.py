"""The index of what is published: all that later documents have to be compared with, without the documents themselves.

A shard of it has a row for each document that stayed: its signature, what decides between it and others, and the set
of its n-grams, so that a decision against the index is as exact as one within a corpus. That is 4 bytes a word and
some 600 bytes a document.
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
    """SIGNATURES, the rest of PRIORITY, and `ngrams` where there is MinHash."""
    signatures = schema(config)
    fields = [*signatures, *(field for field in PRIORITY if field.name not in signatures.names)]
    if config.minhash:
        fields.append(pa.field("ngrams", pa.large_list(pa.uint32())))
    return pa.schema(fields, metadata=signatures.metadata)


def index_rows(documents: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """What the index keeps of documents."""
    wanted = index_schema(config)
    signed, known = sign(documents, config), priority(documents, config)
    columns = {name: known.column(name) for name in PRIORITY.names}
    columns |= {name: signed.column(name) for name in signed.schema.names}
    if "ngrams" in wanted.names:
        columns["ngrams"] = ngrams(documents, config)
    return pa.record_batch([columns[name] for name in wanted.names], schema=wanted)


def fill_lsh(
    batches: Iterable[pa.RecordBatch], config: Config, lsh: Any, key: Callable[[dict[str, Any]], Any] | None = None
) -> int:
    """Insert signed documents into a `datasketch.MinHashLSH` (whatever its storage: memory, Redis, Cassandra), under
    their ids, or under `key(row)`; returns how many. Those without words are left out: they are all alike to MinHash.

    The LSH should be made with `num_perm=config.num_perm` and may have bands of its own; a query is a
    `datasketch.MinHash` of the same scheme, for example of `to_datasketch`.
    """
    count = 0
    with lsh.insertion_session() as session:
        for batch in batches:
            worded = batch.filter(pc.greater(batch.column("shingles"), 0))
            for row in worded.select(["id", "signature"]).to_pylist():
                session.insert(key(row) if key else row["id"], to_datasketch(row, config), check_duplication=False)
                count += 1
    return count
