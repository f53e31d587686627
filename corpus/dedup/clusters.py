"""The clusters of a finished deduplication: the members of one, the largest ones, and the documents nearest to one.

Nothing is decided here. All members of a cluster are in one file of DECISIONS; the files are read one after the other
until one has the cluster. Files are streamed: in memory are the rows of one cluster, or for the largest clusters as
many rows as are asked for.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.candidates import candidates_schema
from corpus.dedup.config import Config
from corpus.dedup.results import Deduplication, Place, label_of, read_candidates, read_decisions
from corpus.dedup.signatures import shingle_sets


class Member(NamedTuple):
    """A document of a cluster, or a candidate for it; `place` is None for a document of an index."""

    id: str
    place: Place | None
    keep: bool
    rule: str | None = None
    similarity: float | None = None  # to the kept document, or to the document that was asked about
    threshold: float | None = None
    representative: str | None = None


@dataclass(frozen=True)
class Cluster:
    """The cluster of a document.

    size     documents that the kept one represents, itself included
    asked    the document that was asked about
    members  the kept document first, unless it is in an index; then the others, the most similar first
    alone    the document shares a block with no other
    """

    size: int
    asked: Member
    kept: Member
    members: list[Member]
    alone: bool = False

    @property
    def rules(self) -> Counter[str]:
        return Counter(member.rule for member in self.members if member.rule)


@dataclass
class Size:
    """The size of a cluster, and of its parts by rule."""

    cluster_id: int
    size: int
    representative: str
    kept: Place | None = None  # None: in an index
    rules: Counter[str] = field(default_factory=Counter)
    similarity: tuple[float, float] | None = None  # lowest and highest

    def add(self, rule: str, similarity: float) -> None:
        """Count a member that was dropped."""
        low, high = self.similarity or (similarity, similarity)
        self.rules[rule] += 1
        self.similarity = min(low, similarity), max(high, similarity)


def cluster_of(done: Deduplication, place: Place) -> Cluster:
    """The cluster of a document of the corpus."""
    label = label_of(done, place)
    if label["cluster_size"] == 1:
        only = Member(label["id"], place, keep=True)
        return Cluster(1, only, only, [only], label["alone"])
    members: list[Member] = []
    for output in done.decisions:
        for batch in read_decisions(done, output):
            mine = batch.filter(pc.equal(batch.column("cluster_id"), label["cluster_id"]))
            members += [_member(done, row) for row in mine.to_pylist()]
        if members:  # all of them: a cluster is in one file
            break
    members.sort(key=lambda member: (not member.keep, -(member.similarity or 0), member.place))
    asked = next((member for member in members if member.place == place), None)
    if asked is None:
        raise ValueError(f"{done.work}/decisions: they do not belong to the labels; run the deduplication again")
    kept = members[0] if members[0].keep else Member(label["representative"], None, keep=True)
    return Cluster(label["cluster_size"], asked, kept, members)


def _member(done: Deduplication, row: dict[str, Any]) -> Member:
    known = (row["rule"], row["similarity"], row["threshold"], row["representative"])
    return Member(row["id"], done.place(row["row"]), row["keep"], *known)


def largest(done: Deduplication, count: int) -> list[Size]:
    """The largest clusters of more than one document, the largest first."""
    top: dict[int, int] = {}  # by the id of a cluster, its file
    heap: list[tuple[int, int]] = []  # (size, -id)
    for file, output in enumerate(done.decisions):
        for batch in read_decisions(done, output):
            lowest = heap[0][0] if len(heap) == count else 2
            large = batch.filter(pc.greater_equal(batch.column("cluster_size"), lowest))
            ids, first = np.unique(large.column("cluster_id").to_numpy(), return_index=True)
            sizes = large.column("cluster_size").to_numpy()[first]
            for cluster, size in zip(ids.tolist(), sizes.tolist(), strict=True):
                if cluster not in top:
                    top[cluster] = file
                    heapq.heappush(heap, (size, -cluster))
                    if len(heap) > count:
                        del top[-heapq.heappop(heap)[1]]
    by_id = {-cluster: Size(-cluster, size, "", done.place(-cluster)) for size, cluster in heap}
    wanted = pa.array(list(by_id), pa.int64())
    for file in sorted(set(top.values())):
        for batch in read_decisions(done, done.decisions[file]):
            for row in batch.filter(pc.is_in(batch.column("cluster_id"), wanted)).to_pylist():
                by_id[row["cluster_id"]].representative = row["representative"]
                if not row["keep"]:
                    by_id[row["cluster_id"]].add(row["rule"], row["similarity"])
    return sorted(by_id.values(), key=lambda item: (-item.size, item.cluster_id))


class Nearest(NamedTuple):
    """The documents nearest to one that resembles no kept document enough to be its duplicate."""

    candidates: int  # number of other documents in its block
    members: list[Member]  # some of these, the most similar first


def nearest(done: Deduplication, place: Place, count: int) -> Nearest | None:
    """The `count` documents most similar to a document without duplicates, among all documents of its block.

    None if the n-grams of the candidates are not known, because their files have been removed, or if unverified: then
    no similarity decided.
    """
    schema, row = candidates_schema(done.config), done.row(place)
    number = pa.scalar(row, pa.uint64())
    if "ngrams" not in schema.names or not done.config.verify:
        return None
    part = next(
        part
        for part, output in enumerate(done.decisions)
        if any(pc.index(batch.column("row"), number).as_py() >= 0 for batch in read_decisions(done, output))
    )
    asked = None
    for batch in read_candidates(done, part, schema):
        at = pc.index(batch.column("row"), number).as_py()
        if at >= 0:
            asked = batch.slice(at, 1)
            break
    if asked is None:
        return None
    block, ngrams = asked.column("block")[0], _ngrams(asked, 0)
    best: list[tuple[float, int, str]] = []  # similarity, -row, id
    others = -1  # the document itself is counted, too
    for batch in read_candidates(done, part, schema):
        rows = batch.column("row").to_pylist()
        for at in np.flatnonzero(pc.equal(batch.column("block"), block).to_numpy(zero_copy_only=False)).tolist():
            others += 1
            if rows[at] != row:
                item = (_jaccard(ngrams, _ngrams(batch, at)), -rows[at], batch.column("id")[at].as_py())
                (heapq.heappush if len(best) < count else heapq.heappushpop)(best, item)
    wanted = pa.array([-below for _, below, _ in best], pa.uint64())
    decided = {
        row["row"]: _member(done, row)
        for batch in read_decisions(done, done.decisions[part])
        for row in batch.filter(pc.is_in(batch.column("row"), wanted)).to_pylist()
    }
    members = [
        decided.get(-below, Member(id, None, keep=True))._replace(similarity=similarity)
        for similarity, below, id in sorted(best, reverse=True)
    ]
    return Nearest(others, members)


def _jaccard(one: Any, other: Any) -> float:
    """Similarity of two sorted sets."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    total = len(one) + len(other) - common
    return common / total if total else 1.0


def _ngrams(batch: pa.RecordBatch, row: int) -> Any:
    return batch.column("ngrams")[row].values.to_numpy()


def ngrams_in_common(kept: str, other: str, config: Config) -> tuple[int, int]:
    """(distinct n-grams that both texts have, distinct n-grams of either), whose ratio is the similarity."""
    values, ends = shingle_sets(pa.array([kept, other], pa.large_string()), config)
    common = len(np.intersect1d(values[: ends[1]], values[ends[1] :], assume_unique=True))
    return common, len(values) - common
