"""The folder of a deduplication in, the cluster of one document out: who is in it, who stays, how similar they are.

Everything was decided before; here it is looked up. A document is found by the ids beside its SIGNATURES or by the
urls of the documents themselves; its LABEL stands in its row. The rest of its cluster is in one of the files of
DECISIONS, which are read one after the other until there is one with this cluster. All files are streamed: in memory
are the rows of one cluster, or for the largest clusters as many rows as are asked for.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup.candidates import candidates_schema
from corpus.dedup.config import Config
from corpus.dedup.difference import readable_line
from corpus.dedup.labels import DECISIONS
from corpus.dedup.sections import Sections, read_section
from corpus.dedup.signatures import shingle_sets
from corpus.store.open import is_dir, open_path
from corpus.store.records import Output
from corpus.store.shards import DAMAGED, Dataset

_ROWS = 65536  # ids or urls looked through at a time
GONE = "is not there (a relative path counts from where the deduplication was called)"


class Unit(NamedTuple):
    """A shard of the documents that were deduplicated."""

    key: str
    documents: str  # path of the shard
    signatures: Output


@dataclass(frozen=True)
class Deduplication:
    """What a deduplication left: its settings, its shards in order, and its files of decisions by partition."""

    work: str  # the folder of its datasets
    labels: Dataset
    config: Config
    units: list[Unit]
    starts: list[int]  # by unit, its first row over all: those of an index come before
    decisions: list[Output]

    def place(self, row: int) -> Place | None:
        """Where a row over all is; None if it is an index's."""
        unit = bisect.bisect_right(self.starts, row) - 1
        return Place(unit, row - self.starts[unit]) if unit >= 0 else None

    def row(self, place: Place) -> int:
        return self.starts[place.unit] + place.row


class Place(NamedTuple):
    """A document's unit (its number) and its row there."""

    unit: int
    row: int


class Member(NamedTuple):
    """A document of a cluster, or one that might have become one; `place` is None in an index."""

    id: str
    place: Place | None
    keep: bool
    rule: str | None = None
    similarity: float | None = None  # to the document that is kept, or to the one asked about
    threshold: float | None = None
    representative: str | None = None


@dataclass(frozen=True)
class Cluster:
    """`members` has the kept document first, if it is not in an index; then the others, the most similar first."""

    size: int  # documents that the kept one stands for, itself included
    asked: Member
    kept: Member
    members: list[Member]
    alone: bool = False  # no other document has anything in common with it

    @property
    def rules(self) -> Counter[str]:
        return Counter(member.rule for member in self.members if member.rule)


@dataclass
class Size:
    """A cluster among the largest."""

    cluster_id: int
    size: int
    representative: str
    kept: Place | None = None  # None: in an index
    rules: Counter[str] = field(default_factory=Counter)
    similarity: tuple[float, float] | None = None  # lowest and highest

    def add(self, rule: str, similarity: float) -> None:
        low, high = self.similarity or (similarity, similarity)
        self.rules[rule] += 1
        self.similarity = min(low, similarity), max(high, similarity)


class Document(NamedTuple):
    """What the documents know of a member."""

    url: str | None
    dump: str | None
    bytes: int
    text: str


class NotFound(ValueError):
    """No such document."""


def open_deduplication(folder: str) -> Deduplication:
    """The deduplication in the output folder of `corpus dedup` or `corpus run`.

    Raises ValueError if there is none, or it is not complete.
    """
    work = next((place for place in (f"{folder}/_dedup", folder) if is_dir(f"{place}/signatures/_units")), None)
    if not work:
        raise ValueError(
            f"{folder}: no duplicates were sought here; it should be the output folder of corpus dedup or corpus run"
        )
    decisions = Dataset(f"{work}/decisions")
    records = decisions.records()
    parts = int(records[0].unit.rpartition("-")[2]) if records else 0
    labels = Dataset(f"{work}/labels" if is_dir(f"{work}/labels/_units") else folder)
    if not parts or len(records) != parts or not labels.units():
        raise ValueError(f"{folder}: the deduplication is not finished; run it again, and it goes on")
    made = decisions.configuration(records[0].config)
    if made is None:
        raise ValueError(f"{decisions.path}/_config: what was decided by is gone; run the deduplication again")
    known = {item.name for item in dataclasses.fields(Config)}
    config = Config(**{name: value for name, value in made["dedup"].items() if name in known})
    units = [
        Unit(record.unit, record.inputs[0].path, output)
        for record in Dataset(f"{work}/signatures").scan()
        if (output := record.output("signatures"))
    ]
    blocks = Dataset(f"{work}/blocks").record("all")
    if not units or not blocks:
        raise ValueError(f"{work}: signatures or blocks are gone, which say where what is; run the deduplication again")
    ends = list(itertools.accumulate(unit.signatures.rows for unit in units))
    # What is published is counted there, and comes first.
    published = blocks.counts[0]["read"] - ends[-1]
    starts = [published + end for end in (0, *ends[:-1])]
    return Deduplication(
        work, labels, config, units, starts, [output for record in records for output in record.outputs]
    )


def find_id(found: Deduplication, id: str) -> Place:
    """The first document with this id. Raises NotFound."""
    dataset, looked = Dataset(f"{found.work}/signatures"), 0
    for number, unit in enumerate(found.units):
        start = looked
        for batch in dataset.batches(unit.signatures, _ROWS, ["id"]):
            at = pc.index(batch.column("id"), id).as_py()
            if at >= 0:
                return Place(number, looked - start + at)
            looked += batch.num_rows
    hint = "" if id.startswith("<") else "; ids of Common Crawl's pages look like <urn:uuid:...>"
    raise NotFound(f"{id}: no document among {looked:,} has this id{hint}")


def find_url(found: Deduplication, url: str, on_looked: Callable[[int], None] = lambda looked: None) -> Place:
    """The first document with this url; `on_looked` is told now and then how many were looked through.

    Raises NotFound with the url that comes closest, FileNotFoundError if the documents are gone.
    """
    wanted, looked = _bare(url), 0
    path = re.split("[?#]", wanted)[0]
    near: list[str] = []
    for number, unit in enumerate(found.units):
        start = looked
        for column in _urls(unit.documents):
            at = pc.index(column, url).as_py()
            if at >= 0:
                return Place(number, looked - start + at)
            if path and len(near) < _ROWS:
                near += column.filter(pc.match_substring(column, path, ignore_case=True)).drop_null().to_pylist()[:100]
            looked += len(column)
            on_looked(looked)
    # Closest is what differs in scheme or slash alone, then what is about as long.
    closest = min(near, key=lambda other: (_bare(other) != wanted, abs(len(other) - len(url)), other), default=None)
    hint = f"; there is {readable_line(closest)}" if closest else ""
    raise NotFound(f"{url}: not among the urls of the {looked:,} documents{hint}")


def _bare(url: str) -> str:
    """A url without what is written now this way, now that: scheme, www. and a slash at the end."""
    return re.sub(r"^[a-z]+://(www\.)?|[/?#]+$", "", url.lower())


def _urls(path: str) -> Iterator[pa.Array]:
    folder, _, name = path.rpartition("/")
    try:
        for batch in Dataset(folder or ".").batches(name, _ROWS, ["url"]):
            if "url" not in batch.schema.names:
                raise ValueError(f"{path}: has no column url; ask with --id")
            yield batch.column("url")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: {GONE}; without the documents ask with --id") from None


def cluster_of(found: Deduplication, place: Place) -> Cluster:
    """The cluster of a document of the corpus."""
    label = _label(found, place)
    if label["cluster_size"] == 1:
        only = Member(label["id"], place, keep=True)
        return Cluster(1, only, only, [only], label["alone"])
    members: list[Member] = []
    for output in found.decisions:
        for batch in _decided(found, output):
            mine = batch.filter(pc.equal(batch.column("cluster_id"), label["cluster_id"]))
            members += [_member(found, row) for row in mine.to_pylist()]
        if members:  # a cluster is in one file
            break
    members.sort(key=lambda member: (not member.keep, -(member.similarity or 0), member.place))
    asked = next((member for member in members if member.place == place), None)
    if asked is None:
        raise ValueError(f"{found.work}/decisions: do not belong to the labels; run the deduplication again")
    kept = members[0] if members[0].keep else Member(label["representative"], None, keep=True)
    return Cluster(label["cluster_size"], asked, kept, members)


def _label(found: Deduplication, place: Place) -> dict[str, Any]:
    """A document's LABEL, from the row group that it is in."""
    unit = found.units[place.unit].key
    for record in found.labels.scan():
        for output in record.outputs:
            if output.kind == "labels" and output.unit == unit:
                return next(_read_rows(f"{found.labels.path}/{output.path}", [place.row], None))[1]
    raise ValueError(f"{found.labels.path}: no labels of unit {unit}; finish the deduplication first")


def _member(found: Deduplication, row: dict[str, Any]) -> Member:
    known = (row["rule"], row["similarity"], row["threshold"], row["representative"])
    return Member(row["id"], found.place(row["row"]), row["keep"], *known)


def _decided(found: Deduplication, output: Output) -> Iterator[pa.RecordBatch]:
    """DECISIONS of all sections of a file, one after the other; the file is read once, from its beginning on."""
    dataset = Dataset(f"{found.work}/decisions")
    with dataset.storage.open(output.path) as stream:
        first = stream.read(8)
        begin = min(int.from_bytes(first, "little"), output.bytes)  # of the first section, where the offsets end
        offsets = first + stream.read(max(begin - len(first), 0))

        def read(start: int, length: int) -> bytes:
            if start + length <= len(offsets):
                return offsets[start : start + length]
            stream.seek(start)
            return stream.read(length)

        sections = Sections(read, f"{dataset.path}/{output.path}")
        for section in range(len(offsets) // 8 - 1):
            try:
                yield from read_section(sections, section, DECISIONS)
            except (*DAMAGED, EOFError) as error:
                raise ValueError(f"{sections.name}: damaged ({error}); run corpus verify") from None


def largest(found: Deduplication, count: int) -> list[Size]:
    """The largest clusters of more than one document, the largest first."""
    top: dict[int, int] = {}  # by cluster, its file
    heap: list[tuple[int, int]] = []  # (size, -cluster)
    for file, output in enumerate(found.decisions):
        for batch in _decided(found, output):
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
    by_id = {-cluster: Size(-cluster, size, "", found.place(-cluster)) for size, cluster in heap}
    wanted = pa.array(list(by_id), pa.int64())
    for file in sorted(set(top.values())):
        for batch in _decided(found, found.decisions[file]):
            for row in batch.filter(pc.is_in(batch.column("cluster_id"), wanted)).to_pylist():
                by_id[row["cluster_id"]].representative = row["representative"]
                if not row["keep"]:
                    by_id[row["cluster_id"]].add(row["rule"], row["similarity"])
    return sorted(by_id.values(), key=lambda item: (-item.size, item.cluster_id))


class Nearest(NamedTuple):
    """What a document that resembles none of those that are kept was a candidate to resemble."""

    candidates: int  # other documents of its block
    members: list[Member]  # the most similar to it, the most similar first


def nearest(found: Deduplication, place: Place, count: int) -> Nearest | None:
    """The documents of the block of one that has no duplicates that are most similar to it, whatever became of them.

    None if that was not kept: unverified, or the candidates have been removed.
    """
    schema, row = candidates_schema(found.config), found.row(place)
    number = pa.scalar(row, pa.uint64())
    if "ngrams" not in schema.names:
        return None
    part = next(
        part
        for part, output in enumerate(found.decisions)
        if any(pc.index(batch.column("row"), number).as_py() >= 0 for batch in _decided(found, output))
    )
    asked = None
    for batch in _candidates(found, part, schema):
        at = pc.index(batch.column("row"), number).as_py()
        if at >= 0:
            asked = batch.slice(at, 1)
            break
    if asked is None:
        return None
    block, ngrams = asked.column("block")[0], _ngrams(asked, 0)
    best: list[tuple[float, int, str]] = []  # similarity, -row, id
    others = -1  # itself is among them
    for batch in _candidates(found, part, schema):
        rows = batch.column("row").to_pylist()
        for at in np.flatnonzero(pc.equal(batch.column("block"), block).to_numpy(zero_copy_only=False)).tolist():
            others += 1
            if rows[at] != row:
                item = (_jaccard(ngrams, _ngrams(batch, at)), -rows[at], batch.column("id")[at].as_py())
                (heapq.heappush if len(best) < count else heapq.heappushpop)(best, item)
    wanted = pa.array([-below for _, below, _ in best], pa.uint64())
    decided = {
        row["row"]: _member(found, row)
        for batch in _decided(found, found.decisions[part])
        for row in batch.filter(pc.is_in(batch.column("row"), wanted)).to_pylist()
    }
    members = [
        decided.get(-below, Member(id, None, keep=True))._replace(similarity=similarity)
        for similarity, below, id in sorted(best, reverse=True)
    ]
    return Nearest(others, members)


def _candidates(found: Deduplication, part: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The candidates of one partition: a section of the file of each group of shards."""
    dataset = Dataset(f"{found.work}/candidates")
    for output in dataset.files("candidates"):
        read = functools.partial(dataset.storage.read_range, output.path)
        yield from read_section(Sections(read, f"{dataset.path}/{output.path}"), part, schema)


def _jaccard(one: Any, other: Any) -> float:
    """Of two sorted sets."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    total = len(one) + len(other) - common
    return common / total if total else 1.0


def _ngrams(batch: pa.RecordBatch, row: int) -> Any:
    return batch.column("ngrams")[row].values.to_numpy()


def ngrams_in_common(kept: str, other: str, config: Config) -> tuple[int, int]:
    """(distinct n-grams that both texts have, distinct n-grams of the two), whose ratio is the similarity."""
    values, ends = shingle_sets(pa.array([kept, other], pa.large_string()), config)
    common = len(np.intersect1d(values[: ends[1]], values[ends[1] :], assume_unique=True))
    return common, len(values) - common


def load(
    found: Deduplication, places: Iterable[Place], with_text: Container[Place] = ()
) -> tuple[dict[Place, Document], str | None]:
    """(what the documents know of these, of some with the text; the first path that is missing).

    Only the row groups with these rows are read.
    """
    documents: dict[Place, Document] = {}
    missing = None
    for unit, group in itertools.groupby(sorted(set(places)), lambda place: place.unit):
        path = found.units[unit].documents
        try:
            for row, values in _read_rows(path, [place.row for place in group], ["url", "dump", "text"]):
                place, text = Place(unit, row), values.get("text") or ""
                url, dump = values.get("url"), values.get("dump")
                documents[place] = Document(url, dump, len(text.encode()), text if place in with_text else "")
        except FileNotFoundError:
            missing = missing or path
    return documents, missing


def _read_rows(path: str, rows: Sequence[int], names: Sequence[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row, its columns of these names, of all if there are none), in order."""
    with open_path(path) as stream:
        try:
            file = pq.ParquetFile(stream)
            columns = [name for name in file.schema_arrow.names if not names or name in names]
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                here = [row for row in rows if first <= row < last]
                if here:
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    taken = table.take(pa.array([row - first for row in here]))
                    yield from zip(here, taken.to_pylist(), strict=True)
                first = last
        except DAMAGED as error:
            raise ValueError(f"{path}: damaged shard ({error})") from None
