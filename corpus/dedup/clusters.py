"""The folder of a deduplication in, the cluster of one document out: who is in it, who stays, how similar they are.

Everything was decided before; here it is looked up. A document is found by the ids beside its SIGNATURES or by the
urls of the documents themselves. Its LABEL is in the section of its unit in one of the files of labels, and the rest of
its cluster is in the sections of other units in the same file. A document without a label was alone in its block. Files
are streamed: in memory are the labels of one cluster, or for the largest clusters as many rows as are asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup.candidates import candidates_schema
from corpus.dedup.config import Config
from corpus.dedup.labels import LABELS
from corpus.dedup.sections import Sections, read_section
from corpus.dedup.signatures import shingle_sets
from corpus.shards import DAMAGED, Dataset, Output
from corpus.storage import is_dir, open_path

_READS = 8  # files asked at a time
_ROWS = 65536  # ids or urls looked through at a time
GONE = "is not there (a relative path counts from where the deduplication was called)"


class Unit(NamedTuple):
    """A shard of the documents that were deduplicated."""

    key: str
    documents: str  # path of the shard
    signatures: Output


@dataclass(frozen=True)
class Deduplication:
    """What a deduplication left: its settings, its units in order, and its files of labels by partition."""

    work: str  # the folder of its datasets
    config: Config
    units: list[Unit]
    labels: list[Output]

    def dataset(self, name: str) -> Dataset:
        return Dataset(f"{self.work}/{name}")

    def sections(self, name: str, output: Output) -> Sections:
        dataset = self.dataset(name)
        return Sections(functools.partial(dataset.storage.read_range, output.path), f"{dataset.path}/{output.path}")


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
    file: int = -1  # number of its file of labels
    position: int = -1  # of the asked document among the labels of its unit there

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
    places = [place for place in (f"{folder}/_dedup", folder) if is_dir(f"{place}/labels/_units")]
    if not places:
        raise ValueError(
            f"{folder}: holds no labels of duplicates; it should be the output folder of corpus dedup or corpus run"
        )
    work = places[0]
    records = Dataset(f"{work}/labels").records()
    parts = int(records[0].unit.rpartition("-")[2]) if records else 0
    if not parts or len(records) != parts:
        raise ValueError(f"{work}/labels: {len(records)} of {parts} units are there; finish the deduplication first")
    made = Dataset(f"{work}/labels").configuration(records[0].config)
    if made is None:
        raise ValueError(f"{work}/labels/_config: what the labels were made with is gone; run the deduplication again")
    known = {item.name for item in dataclasses.fields(Config)}
    config = Config(**{name: value for name, value in made["dedup"].items() if name in known})
    units = [
        Unit(record.unit, record.inputs[0].path, output)
        for record in Dataset(f"{work}/signatures").scan()
        if (output := record.output("signatures"))
    ]
    if not units:
        raise ValueError(f"{work}/signatures: no committed signatures; they say which documents the labels belong to")
    return Deduplication(work, config, units, [output for record in records for output in record.outputs])


def find_id(found: Deduplication, id: str) -> Place:
    """The first document with this id. Raises NotFound."""
    dataset, looked = found.dataset("signatures"), 0
    for number, unit in enumerate(found.units):
        batches = dataset.batches(unit.signatures, _ROWS, ["id"])
        row = _row_of((batch.column("id") for batch in batches), id)
        if row is not None:
            return Place(number, row)
        looked += unit.signatures.rows
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
    hint = f"; there is {closest}" if closest else ""
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


def _row_of(columns: Iterable[pa.Array], value: str) -> int | None:
    start = 0
    for column in columns:
        at = int(pc.index(column, value).as_py())
        if at >= 0:
            return start + at
        start += len(column)
    return None


def cluster_of(found: Deduplication, place: Place) -> Cluster:
    """The cluster of a document of the corpus; its labels are read from one of the files."""

    def look(output: Output) -> tuple[int, dict[str, Any]] | None:
        batches = list(read_section(found.sections("labels", output), place.unit, LABELS))
        table = pa.Table.from_batches(batches, LABELS)
        at = int(pc.index(table.column("row"), pa.scalar(place.row, pa.uint32())).as_py())
        return None if at < 0 else (at, table.slice(at, 1).to_pylist()[0])

    with ThreadPoolExecutor(_READS) as pool:
        hits = [(file, *hit) for file, hit in enumerate(pool.map(look, found.labels)) if hit]
    if not hits:
        asked = Member(_id_of(found, place), place, keep=True)
        return Cluster(1, asked, asked, [asked], alone=True)
    file, position, label = hits[0]
    members = []
    for unit, batch in _all_labels(found, found.labels[file]):
        mine = batch.filter(pc.equal(batch.column("cluster_id"), label["cluster_id"]))
        members += [_member(unit, row) for row in mine.to_pylist()]
    members.sort(key=lambda member: (not member.keep, -(member.similarity or 0), member.place))
    asked = next(member for member in members if member.place == place)
    kept = members[0] if members[0].keep else Member(label["representative"], None, keep=True)
    return Cluster(label["cluster_size"], asked, kept, members, file=file, position=position)


def _member(unit: int, row: dict[str, Any]) -> Member:
    known = (row["rule"], row["similarity"], row["threshold"], row["representative"])
    return Member(row["id"], Place(unit, row["row"]), row["keep"], *known)


def _id_of(found: Deduplication, place: Place) -> str:
    start = 0
    for batch in found.dataset("signatures").batches(found.units[place.unit].signatures, _ROWS, ["id"]):
        if place.row < start + batch.num_rows:
            return str(batch.column("id")[place.row - start].as_py())
        start += batch.num_rows
    raise AssertionError(place)


def _all_labels(found: Deduplication, output: Output) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of the unit, labels of it), one batch after the other: the whole of a file of sections."""
    dataset = found.dataset("labels")
    name = f"{dataset.path}/{output.path}"
    with dataset.storage.open(output.path) as stream:
        try:
            header = stream.read(8)
            header += stream.read(int.from_bytes(header, "little") - 8)
            offsets = np.frombuffer(header, "<u8").tolist()
            section = 0
            while (at := stream.tell()) < offsets[-1]:
                while offsets[section + 1] <= at:
                    section += 1
                yield section, pa.ipc.read_record_batch(pa.ipc.read_message(stream), LABELS)
        except (*DAMAGED, EOFError, IndexError) as error:
            raise ValueError(f"{name}: damaged ({error}); remove it, and run the deduplication again") from None


def largest(found: Deduplication, count: int) -> list[Size]:
    """The largest clusters of more than one document, the largest first."""
    top: dict[int, tuple[int, int]] = {}  # by cluster: size, file
    heap: list[tuple[int, int]] = []  # (size, -cluster)
    for file, output in enumerate(found.labels):
        for _, batch in _all_labels(found, output):
            lowest = heap[0][0] if len(heap) == count else 2
            large = batch.filter(pc.greater_equal(batch.column("cluster_size"), lowest))
            ids, first = np.unique(large.column("cluster_id").to_numpy(), return_index=True)
            sizes = large.column("cluster_size").to_numpy()[first]
            for cluster, size in zip(ids.tolist(), sizes.tolist(), strict=True):
                if cluster not in top:
                    top[cluster] = size, file
                    heapq.heappush(heap, (size, -cluster))
                if len(heap) > count:
                    del top[-heapq.heappop(heap)[1]]
    sizes_by_id = {cluster: Size(cluster, size, "") for cluster, (size, _) in top.items()}
    wanted = pa.array(list(top), pa.int64())
    for file in sorted({file for _, file in top.values()}):
        for unit, batch in _all_labels(found, found.labels[file]):
            mine = batch.filter(pc.is_in(batch.column("cluster_id"), wanted))
            for row in mine.to_pylist():
                size = sizes_by_id[row["cluster_id"]]
                size.representative = row["representative"]
                if row["keep"]:
                    size.kept = Place(unit, row["row"])
                else:
                    size.add(row["rule"], row["similarity"])
    return sorted(sizes_by_id.values(), key=lambda item: (-item.size, item.cluster_id))


class Nearest(NamedTuple):
    """What a document that resembles none of those that are kept was a candidate to resemble."""

    candidates: int  # other documents of its block
    members: list[Member]  # the most similar to it, the most similar first


def nearest(found: Deduplication, cluster: Cluster, count: int) -> Nearest | None:
    """The documents of the asked one's block that are most similar to it, whatever was decided about them.

    None if that was not kept: unverified, or the candidates have been removed.
    """
    schema = candidates_schema(found.config)
    files = {output.unit: output for output in found.dataset("candidates").files("candidates")}
    assert cluster.asked.place is not None
    unit = cluster.asked.place.unit
    own = files.get(found.units[unit].key)
    if "ngrams" not in schema.names or own is None:
        return None
    table = pa.Table.from_batches(list(read_section(found.sections("candidates", own), cluster.file, schema)), schema)
    asked = table.slice(cluster.position, 1).combine_chunks().to_batches()[0]
    block, ngrams = asked.column("block")[0], _ngrams(asked, 0)
    numbers = {unit.key: number for number, unit in enumerate(found.units)}
    best: list[tuple[float, int, Member]] = []
    others = 0
    for key, output in files.items():
        number, start = numbers.get(key), 0
        labels: pa.Table | None = None
        for batch in read_section(found.sections("candidates", output), cluster.file, schema):
            for at in np.flatnonzero(pc.equal(batch.column("block"), block).to_numpy(zero_copy_only=False)).tolist():
                if number == unit and start + at == cluster.position:
                    continue
                others += 1
                theirs = _ngrams(batch, at)
                common = len(np.intersect1d(ngrams, theirs, assume_unique=True))
                total = len(ngrams) + len(theirs) - common
                similarity = common / total if total else 1.0
                member = Member(batch.column("id")[at].as_py(), None, keep=True)
                if number is not None:  # its labels have the rows of its candidates, in their order
                    if labels is None:
                        section = read_section(found.sections("labels", found.labels[cluster.file]), number, LABELS)
                        labels = pa.Table.from_batches(list(section), LABELS)
                    member = _member(number, labels.slice(start + at, 1).to_pylist()[0])
                item = (similarity, -others, member._replace(similarity=similarity))
                (heapq.heappush if len(best) < count else heapq.heappushpop)(best, item)
            start += batch.num_rows
    return Nearest(others, [member for _, _, member in sorted(best, reverse=True)])


def _ngrams(batch: pa.RecordBatch, row: int) -> Any:
    return batch.column("ngrams")[row].values.to_numpy()


def ngrams_in_common(kept: str, other: str, config: Config) -> tuple[int, int]:
    """(distinct n-grams that both texts have, distinct n-grams of the two), whose ratio is the similarity."""
    values, ends = shingle_sets(pa.array([kept, other], pa.large_string()), config)
    common = len(np.intersect1d(values[: ends[1]], values[ends[1] :], assume_unique=True))
    return common, len(values) - common


def load(
    found: Deduplication, places: Sequence[Place], with_text: Sequence[Place]
) -> tuple[dict[Place, Document], str | None]:
    """(what the documents know of these members, of some with the text; the first path that is missing).

    Only the row groups with these rows are read.
    """
    documents: dict[Place, Document] = {}
    missing = None
    texts = set(with_text)
    for unit in sorted({place.unit for place in [*places, *with_text]}):
        rows = sorted({place.row for place in [*places, *with_text] if place.unit == unit})
        path = found.units[unit].documents
        try:
            for row, values in _read_rows(path, rows):
                place, text = Place(unit, row), values.get("text") or ""
                size = len(text.encode())
                url, dump = values.get("url"), values.get("dump")
                documents[place] = Document(url, dump, size, text if place in texts else "")
        except FileNotFoundError:
            missing = missing or path
    return documents, missing


def _read_rows(path: str, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_path(path) as stream:
        try:
            file = pq.ParquetFile(stream)
            columns = [name for name in ("url", "dump", "text") if name in file.schema_arrow.names]
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
