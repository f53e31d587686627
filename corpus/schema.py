"""The data contracts: what a page, a document, a dropped document and a tokenized document look like in Arrow.

Schemas are explicit and flat, never inferred from a first batch. PAGES lives in memory only; the others are what
the Parquet shards hold. A stage takes a batch of one of them and returns an `Outcome`: every row of the batch is
either in `kept` or is one row of `dropped`, which names the rule, the value it measured and the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# A page as it was crawled: the body after transfer and content codings are undone.
PAGES = pa.schema(
    [
        ("id", pa.string()),  # WARC-Record-ID, `<urn:uuid:...>`
        ("dump", pa.string()),  # `CC-MAIN-2026-43`, from the warcinfo record's isPartOf
        ("url", pa.string()),
        ("date", pa.string()),  # WARC-Date, ISO 8601
        ("file_path", pa.string()),  # the WARC file's own address
        ("warc_offset", pa.int64()),  # the record's first byte in that file
        ("warc_length", pa.int64()),  # its length in that file, in bytes (compressed, if the file is)
        ("charset", pa.string()),  # from the HTTP header; null where it names none
        ("robots_headers", pa.string()),  # X-Robots-Tag, TDM-Reservation: lines `name: value`; null where it has none
        ("media", pa.string()),  # "text/html", or "text/plain" for text extracted before (WET); null means HTML
        ("html", pa.binary()),
    ]
)

# FineWeb's nine columns in FineWeb's order, then the byte range that the text came from.
DOCUMENTS = pa.schema(
    [
        ("text", pa.string()),
        ("id", pa.string()),
        ("dump", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("file_path", pa.string()),
        ("language", pa.string()),  # ISO 639 code as fastText's lid.176 names it; null before language ID
        ("language_score", pa.float64()),
        ("token_count", pa.int64()),  # null until a stage counts tokens
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
    ]
)

# One row for every document that a stage did not keep. `value` and `threshold` are text because rules measure
# different things: a number in its shortest exact form, or the matched term and the list that holds it.
DROPPED = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("rule", pa.string()),
        ("value", pa.string()),
        ("threshold", pa.string()),
        ("file_path", pa.string()),
        ("warc_offset", pa.int64()),
        ("duplicate_of", pa.string()),  # id of the kept document that this one duplicates; null if it is no duplicate
        ("text", pa.string()),  # written to the shard only if the recipe asks for it
    ]
)


def tokens_schema(vocab_size: int) -> pa.Schema:
    """TOKENS: a row a document; two-byte ids while the vocabulary allows it."""
    width = pa.uint16() if vocab_size <= 65536 else pa.uint32()
    return pa.schema([("id", pa.string()), ("tokens", pa.list_(width))])


class Drop(NamedTuple):
    """Why a document is not kept: the rule that drops it, what it measured, and its threshold.

    rule       `stage.rule_name`, unique across the toolkit; a rule of one's own may leave out the stage
    value      what was measured or found
    threshold  what it was compared with

    >>> from corpus import Drop
    >>> def rule(text, config=None):
    ...     share = sum(map(str.isupper, text)) / max(len(text), 1)
    ...     return Drop("upper_case", share, 0.3) if share > 0.3 else None
    >>> rule("LOUD!"), rule("quiet")
    (Drop(rule='upper_case', value=0.8, threshold=0.3), None)
    """

    rule: str
    value: float | int | str
    threshold: float | int | str


class Outcome(NamedTuple):
    """A stage's answer for one batch: every row of it is either in `kept` or in `dropped`.

    kept      the rows that stay, in the order of the batch
    dropped   DROPPED rows of the others, in the order of the batch
    mask      bool[rows of the batch]: which rows are in `kept`; None means all of them
    sums      what the stage counted besides documents, for its account
    audit     rows for review, by the stage's audit schema, in the order of the batch; None if none were asked for
    measured  float32[rows of the batch] by the name of a rule: the number that the rule measured of each row, kept and
              dropped alike; NaN where an earlier rule had decided. Stages may leave it empty

    `corpus.schema.outcome` makes the Outcome of most stages, of a batch and the drops by row:

    >>> import pyarrow as pa
    >>> from corpus import Drop, Outcome
    >>> from corpus.schema import outcome
    >>> batch = pa.RecordBatch.from_pylist([{"text": "LOUD!"}, {"text": "quiet"}])
    >>> answer = outcome(batch, "loud", {0: Drop("loud.upper_case", 0.8, 0.3)})
    >>> isinstance(answer, Outcome), answer.kept.to_pylist(), answer.dropped.column("rule").to_pylist()
    (True, [{'text': 'quiet'}], ['loud.upper_case'])
    """

    kept: pa.RecordBatch
    dropped: pa.RecordBatch
    mask: NDArray[np.bool_] | None = None
    sums: Mapping[str, int] = MappingProxyType({})
    audit: pa.RecordBatch | None = None
    measured: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


def outcome(batch: pa.RecordBatch, stage: str, drops: Mapping[int, Drop]) -> Outcome:
    """Split `batch` by `drops` (row number -> reason), keeping the order of rows on both sides."""
    if not drops:
        return Outcome(batch, dropped_rows(batch, stage, {}))
    mask = np.ones(batch.num_rows, bool)
    mask[list(drops)] = False
    return Outcome(batch.filter(pa.array(mask)), dropped_rows(batch, stage, drops), mask)


# The answer of most batches. It is made of nulls, because a list of anything else would make Arrow load pandas.
_NONE_DROPPED = pa.record_batch([pa.nulls(0, field.type) for field in DROPPED], schema=DROPPED)


def dropped_rows(batch: pa.RecordBatch, stage: str, drops: Mapping[int, Drop]) -> pa.RecordBatch:
    """DROPPED rows for the named rows of `batch` (PAGES, whose text is null, or DOCUMENTS)."""
    if not drops:
        return _NONE_DROPPED
    rows = sorted(drops)
    names = ("id", "url", "file_path", "warc_offset", "duplicate_of", "text")
    known = batch.select([name for name in names if name in batch.schema.names])  # not the HTML, which is long
    picked = known.take(pa.array(rows, pa.int64()))
    columns = {
        "stage": pa.array([stage] * len(rows), pa.string()),
        "rule": pa.array([drops[row].rule for row in rows], pa.string()),
        "value": pa.array([_shown(drops[row].value) for row in rows], pa.string()),
        "threshold": pa.array([_shown(drops[row].threshold) for row in rows], pa.string()),
    }
    for name in names:
        is_there = name in picked.schema.names
        columns[name] = picked.column(name) if is_there else pa.nulls(len(rows), DROPPED.field(name).type)
    return pa.record_batch([columns[name] for name in DROPPED.names], schema=DROPPED)


def replace_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with column `name` set to `values` (appended if it is new)."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, batch.schema.field(index), values)


def _shown(value: float | int | str) -> str:
    """Shortest exact text of a rule's value; 0.1 + 0.2 stays 0.30000000000000004, 5.0 is 5."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
