"""Edges and labels of a whole corpus in memory, by dictionaries: what the exchange through files has to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.dedup import LABELS, Config


def keys(row: dict[str, Any], config: Config) -> Iterator[tuple[object, ...]]:
    """What another document must share one of to be alike: the text's hash, or a whole band if there are words."""
    if config.exact:
        yield ("text", row["text_hash"])
    if config.minhash and row["shingles"]:
        yield from enumerate(row["bands"])


def edges(rows: Sequence[dict[str, Any]], config: Config) -> set[tuple[int, int]]:
    """(first document with a key, another with that key), for all keys."""
    first: dict[tuple[object, ...], int] = {}
    found = set()
    for number, row in enumerate(rows):
        for key in keys(row, config):
            if first.setdefault(key, number) != number:
                found.add((first[key], number))
    return found


def roots(count: int, joined: set[tuple[int, int]]) -> list[int]:
    """For each document the first one of its connected component: the smaller label spreads until nothing moves."""
    label = list(range(count))
    moved = True
    while moved:
        moved = False
        for one, other in joined:
            low = min(label[one], label[other])
            moved |= label[one] != low or label[other] != low
            label[one] = label[other] = low
    return label


def labels(shards: Sequence[pa.Table], config: Config) -> list[pa.Table]:
    """A LABELS table for each SIGNATURES table."""
    rows = [row for table in shards for row in table.to_pylist()]
    label = roots(len(rows), edges(rows, config))
    sizes = Counter(label)
    found = [_label(number, root, rows, sizes[root], config) for number, root in enumerate(label)]
    whole, cut, start = pa.Table.from_pylist(found, schema=LABELS), [], 0
    for table in shards:
        cut.append(whole.slice(start, table.num_rows))
        start += table.num_rows
    return cut


def _label(number: int, root: int, rows: list[dict[str, Any]], size: int, config: Config) -> dict[str, Any]:
    row, kept = rows[number], rows[root]
    found = {
        "id": row["id"],
        "keep": number == root,
        "cluster_id": root,
        "cluster_size": size,
        "representative": kept["id"],
    }
    if number == root:
        return found
    if config.exact and row["text_hash"] == kept["text_hash"]:
        return found | {"rule": "dedup.exact", "value": 1.0, "threshold": 1.0}
    mine, its = (np.frombuffer(one["signature"], "<u4") for one in (row, kept))
    return found | {
        "rule": "dedup.minhash",
        "value": int((mine == its).sum()) / len(mine),
        "threshold": config.threshold,
    }
