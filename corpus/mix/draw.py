"""How often each document is taken: by the sizes of groups and their wanted shares, decided by the document's id.

A group is a source, or the documents with one value of a column (`language`), or with a number in one range
(`quality_score`). The factor of a group is its wanted size divided by its size. A document is taken as often as the
whole part of the factor says, and once more if the draw of its id is below the fractional part. The draw is a hash of
the id and the seed. So the choice of documents does not depend on the shards, and whoever takes more of a group takes
all documents that a smaller mixture takes. By chance, the share in the result differs from the wanted share by about a
tenth of a percent for a million documents.

With weights by cluster size, the factor is also multiplied by the weight of the document's cluster: by how many
near-duplicates it was found to have. FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920) repeats documents in this way;
`FINEWEB2` has its weights.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import Drop

NAME = "mix"
GROUP, COPY = "mix_group", "mix_copy"  # columns that a mixture adds
# SIZE:WEIGHT, for clusters of SIZE documents and more.
FINEWEB2 = "1:1,2:2,3:3,5:5,100:8,1000:1"
MEASURES = ("documents", "tokens", "bytes")
CLUSTER_SIZE = "minhash_cluster_size"
_RANGE = ".."


@dataclass(frozen=True)
class Grouping:
    """How documents are put into groups, and how the size of a group is measured.

    names     the groups that have a weight; a range is LOW..HIGH, and HIGH is not in it
    by        the column that decides the group; "": the source decides
    measure   one of MEASURES
    clusters  (size, weight) for clusters of so many documents and more, ascending; none: every document has weight 1
    """

    names: tuple[str, ...]
    by: str = ""
    measure: str = "documents"
    clusters: tuple[tuple[int, float], ...] = ()

    def columns(self) -> list[str]:
        """The columns that decide a document's group, size and weight."""
        measured = {"documents": [], "tokens": ["token_count"], "bytes": ["text"]}[self.measure]
        return [*([self.by] if self.by else []), *measured, *([CLUSTER_SIZE] if self.clusters else [])]


class Sized(NamedTuple):
    """Of each row of a batch: its group (None if no group with a weight), its size, and the weight of its cluster."""

    groups: list[str | None]
    sizes: list[int]
    weights: list[float]


class Part(NamedTuple):
    """A group: its size, the share of the result that it should have, and how often its documents are taken."""

    name: str
    have: float
    share: float
    factor: float


def size_up(batch: pa.RecordBatch, source: str, grouping: Grouping) -> Sized:
    """Group, size and weight of each row. Raises ValueError naming a column that has nulls where it needs numbers."""
    rows = batch.num_rows
    groups: list[str | None] = [source] * rows
    if grouping.by:
        groups = _groups(batch.column(grouping.by).to_pylist(), grouping)
    sizes = [1] * rows
    if grouping.measure == "bytes":
        sizes = pc.fill_null(pc.binary_length(batch.column("text")), 0).to_pylist()
    elif grouping.measure == "tokens":
        sizes = _numbers(batch, "token_count", "count tokens first, with the stage token_count")
    weights = [1.0] * rows
    if grouping.clusters:
        bounds = [size for size, _ in grouping.clusters]
        cluster_sizes = _numbers(batch, CLUSTER_SIZE, "deduplicate first")
        weights = [grouping.clusters[max(0, bisect.bisect_right(bounds, size) - 1)][1] for size in cluster_sizes]
    return Sized(groups, sizes, weights)


def _numbers(batch: pa.RecordBatch, name: str, fix: str) -> list[int]:
    column = batch.column(name)
    if column.null_count:
        raise ValueError(f"column {name} has nulls: {fix}")
    numbers: list[int] = column.to_pylist()
    return numbers


def _groups(values: Sequence[Any], grouping: Grouping) -> list[str | None]:
    ranges = [(*_bounds(name), name) for name in grouping.names if _RANGE in name]
    if not ranges:
        return [str(value) if str(value) in grouping.names else None for value in values]
    for value in values:
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"column {grouping.by} holds {value!r}: ranges need numbers; name values instead")
    return [
        next((name for low, high, name in ranges if value is not None and low <= value < high), None)
        for value in values
    ]


def _bounds(name: str) -> tuple[float, float]:
    low, high = name.split(_RANGE)
    return float(low), float(high)


def parse_weights(pairs: Sequence[str]) -> dict[str, float]:
    """Weights by name, from pairs NAME=WEIGHT. Raises ValueError naming a pair of another form or a repeated name."""
    weights: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.rpartition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = -1.0
        if not equals or not name or not 0 <= weight < float("inf"):
            raise ValueError(f"{pair}: should be NAME=WEIGHT, with a weight of 0 or more, as in en=0.7")
        if name in weights:
            raise ValueError(f"{pair}: {name} has a weight already")
        weights[name] = weight
    if not any(weights.values()):
        raise ValueError(f"{', '.join(pairs)}: all weights are 0; nothing would be taken")
    return weights


def check_names(names: Sequence[str], by: str) -> None:
    """Raises ValueError naming a range of another form or two that overlap, or if there are both ranges and values."""
    ranges = []
    for name in (name for name in names if _RANGE in name):
        try:
            low, high = _bounds(name)
        except ValueError:
            raise ValueError(f"{name}: should be LOW..HIGH, as in 0.5..1.01") from None
        if not low < high:
            raise ValueError(f"{name}: is empty; LOW should be below HIGH, which is not in the range itself")
        ranges.append((low, high, name))
    if ranges and len(ranges) < len(names):
        raise ValueError(f"{', '.join(names)}: either ranges of {by} or values, not both")
    ranges.sort()
    for (_, high, one), (low, _, other) in itertools.pairwise(ranges):
        if low < high:
            raise ValueError(f"{other}: overlaps {one}")


def parse_clusters(text: str) -> tuple[tuple[int, float], ...]:
    """(size, weight) of each pair in `SIZE:WEIGHT,...`, sorted. Raises ValueError naming the right form."""
    try:
        pairs = sorted((int(size), float(weight)) for size, weight in (pair.split(":") for pair in text.split(",")))
    except ValueError:
        pairs = []
    if not pairs or pairs[0][0] != 1 or len({size for size, _ in pairs}) < len(pairs) or any(w < 0 for _, w in pairs):
        raise ValueError(f"{text}: should be SIZE:WEIGHT,... beginning with size 1, as in {FINEWEB2}")
    return tuple(pairs)


def plan(have: Mapping[str, float], weights: Mapping[str, float], total: float | None, most: float) -> list[Part]:
    """How often the documents of each group are taken: `most` times at the most.

    have     the size of each group
    weights  the part of the result that each group should have, in any unit
    total    the size of the result; None: as much as the weights allow without taking any group more than `most` times

    A group that is too small for its share is taken `most` times, and has a smaller share of the result than wanted.
    Raises ValueError naming a group that is empty.
    """
    whole = sum(weights.values())
    shares = {name: weight / whole for name, weight in weights.items() if weight}
    if empty := next((name for name in shares if not have.get(name)), None):
        raise ValueError(f"{empty}: nothing of it is there; leave it out, or give it the weight 0")
    if total is None:
        total = min(have[name] * most / share for name, share in shares.items())
    factors = {name: min(share * total / have[name], most) for name, share in shares.items()}
    return [Part(name, have.get(name, 0.0), shares.get(name, 0.0), factors.get(name, 0.0)) for name in weights]


def draw(id: str, seed: int) -> float:
    """A number in [0, 1), from a hash of a document's id and the seed."""
    digest = hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def copies(factor: float, drawn: float) -> int:
    """How often a document is taken, by the factor of its group and its draw."""
    whole = int(factor)
    return whole + (drawn < factor - whole)


def judge(group: str | None, value: str, factor: float, drawn: float) -> Drop | None:
    """Why a document is not taken at all; None if it is taken. `value` is what decided its group."""
    if group is None:
        return Drop(f"{NAME}.no_weight", value, "none")
    return None if copies(factor, drawn) else Drop(f"{NAME}.sampled_out", drawn, factor)
