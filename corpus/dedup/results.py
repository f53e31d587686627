"""What a finished deduplication has left in its folder: where each document is, and what was decided about it.

A document is found by the ids beside its SIGNATURES, or by the urls of the documents themselves. Its LABEL is in its
row. DECISIONS are read file by file. All files are streamed.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bpe.checksums import open_parquet
from bpe.terminal.text import readable_line
from corpus.dedup.config import Config
from corpus.dedup.labels import DECISIONS
from corpus.dedup.sections import Sections, offsets, read_section
from corpus.store.open import is_dir, open_path
from corpus.store.places import Places
from corpus.store.records import Output
from corpus.store.shards import DAMAGED, Dataset

_ROWS = 65536  # ids or urls that are searched at a time
GONE = "is not there (nor in a folder beside the deduplication)"


class Unit(NamedTuple):
    """A shard of the documents that were deduplicated."""

    key: str
    documents: str  # path of the shard
    signatures: Output


class Place(NamedTuple):
    """A document's unit (its number) and its row there."""

    unit: int
    row: int


@dataclass(frozen=True)
class Deduplication:
    """A finished deduplication: its settings, its shards in order, and its files of decisions by partition."""

    work: str  # the folder of its datasets
    labels: Dataset
    config: Config
    units: list[Unit]
    starts: list[int]  # by unit, the number of its first row; the rows of an index come before
    decisions: list[Output]

    def place(self, row: int) -> Place | None:
        """The unit and the row in it of a row over all units; None if it is a row of an index."""
        unit = bisect.bisect_right(self.starts, row) - 1
        return Place(unit, row - self.starts[unit]) if unit >= 0 else None

    def row(self, place: Place) -> int:
        """The number over all units of a row."""
        return self.starts[place.unit] + place.row


class Document(NamedTuple):
    """What the shards of documents say of a member of a cluster."""

    url: str | None
    dump: str | None
    bytes: int
    text: str


class NotFound(ValueError):
    """No document has this id or url."""


def open_deduplication(folder: str) -> Deduplication:
    """The deduplication in the output folder of `corpus dedup` or `corpus run`.

    Raises ValueError if there is none, or it is not finished.
    """
    work = next((path for path in (f"{folder}/_dedup", folder) if is_dir(f"{path}/signatures/_units")), None)
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
    settings = decisions.configuration(records[0].config)
    if settings is None:
        raise ValueError(
            f"{decisions.path}/_config: the settings of the decisions are gone; run the deduplication again"
        )
    known = {item.name for item in dataclasses.fields(Config)}
    config = Config(**{name: value for name, value in settings["dedup"].items() if name in known})
    places = Places(f"{work}/signatures")
    units = [
        Unit(record.unit, places.locate(record.inputs[0]), output)
        for record in Dataset(f"{work}/signatures").scan()
        if (output := record.output("signatures"))
    ]
    blocks = Dataset(f"{work}/blocks").record("all")
    if not units or not blocks:
        raise ValueError(
            f"{work}: signatures or blocks are gone, which say where each document is; run the deduplication again"
        )
    ends = list(itertools.accumulate(unit.signatures.rows for unit in units))
    # The pass `blocks` has counted the rows of an index too, which come first.
    published = blocks.counts[0]["read"] - ends[-1]
    starts = [published + end for end in (0, *ends[:-1])]
    return Deduplication(
        work, labels, config, units, starts, [output for record in records for output in record.outputs]
    )


def find_id(done: Deduplication, id: str) -> Place:
    """The first document with this id. Raises NotFound."""
    dataset, looked = Dataset(f"{done.work}/signatures"), 0
    for number, unit in enumerate(done.units):
        start = looked
        for batch in dataset.batches(unit.signatures, _ROWS, ["id"]):
            at = pc.index(batch.column("id"), id).as_py()
            if at >= 0:
                return Place(number, looked - start + at)
            looked += batch.num_rows
    hint = "" if id.startswith("<") else "; ids of Common Crawl's pages look like <urn:uuid:...>"
    raise NotFound(f"{id}: no document among {looked:,} has this id{hint}")


def find_url(done: Deduplication, url: str, on_looked: Callable[[int], None] = lambda looked: None) -> Place:
    """The first document with this url. `on_looked` is called now and then with the number of urls searched so far.

    Raises NotFound naming the most similar url, FileNotFoundError if the documents are gone.
    """
    wanted, looked = _bare(url), 0
    path = re.split("[?#]", wanted)[0]
    near: list[str] = []
    for number, unit in enumerate(done.units):
        start = looked
        for column in _urls(unit.documents):
            at = pc.index(column, url).as_py()
            if at >= 0:
                return Place(number, looked - start + at)
            if path and len(near) < _ROWS:
                near += column.filter(pc.match_substring(column, path, ignore_case=True)).drop_null().to_pylist()[:100]
            looked += len(column)
            on_looked(looked)
    # The best hint differs in scheme or slash alone; after that, the url that is about as long.
    closest = min(near, key=lambda other: (_bare(other) != wanted, abs(len(other) - len(url)), other), default=None)
    hint = f"; there is {readable_line(closest)}" if closest else ""
    raise NotFound(f"{url}: not among the urls of the {looked:,} documents{hint}")


def _bare(url: str) -> str:
    """A url in lower case without the parts that people write or leave out: scheme, www. and a slash at the end."""
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


def label_of(done: Deduplication, place: Place) -> dict[str, Any]:
    """A document's LABEL. Only its row group is read."""
    unit = done.units[place.unit].key
    for record in done.labels.scan():
        for output in record.outputs:
            if output.kind == "labels" and output.unit == unit:
                return next(_read_rows(f"{done.labels.path}/{output.path}", [place.row], None))[1]
    raise ValueError(f"{done.labels.path}: no labels of unit {unit}; finish the deduplication first")


def read_decisions(done: Deduplication, output: Output) -> Iterator[pa.RecordBatch]:
    """DECISIONS of all sections of a file, one after the other. The file is read once, from beginning to end."""
    dataset = Dataset(f"{done.work}/decisions")
    name = f"{dataset.path}/{output.path}"
    with dataset.storage.open(output.path) as stream:
        first = stream.read(8)
        begin = min(*offsets(name, first), output.bytes)  # the first section begins where the words end
        words = first + stream.read(max(begin - len(first), 0))

        def read(start: int, length: int) -> bytes:
            if start + length <= len(words):
                return words[start : start + length]
            stream.seek(start)
            return stream.read(length)

        sections = Sections(read, name)
        for section in range(len(words) // 8 - 1):
            try:
                yield from read_section(sections, section, DECISIONS)
            except (*DAMAGED, EOFError) as error:
                raise ValueError(f"{sections.name}: damaged ({error}); run corpus verify") from None


def read_candidates(done: Deduplication, part: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The candidates of one partition: a section of the file of each group of shards."""
    dataset = Dataset(f"{done.work}/candidates")
    for output in dataset.files("candidates"):
        read = functools.partial(dataset.storage.read_range, output.path)
        yield from read_section(Sections(read, f"{dataset.path}/{output.path}"), part, schema)


def load(
    done: Deduplication, places: Iterable[Place], with_text: Container[Place] = ()
) -> tuple[dict[Place, Document], str | None]:
    """(the documents at these places, `with_text` with their texts; the first path that is missing).

    Only the row groups with these rows are read.
    """
    documents: dict[Place, Document] = {}
    missing = None
    for unit, group in itertools.groupby(sorted(set(places)), lambda place: place.unit):
        path = done.units[unit].documents
        try:
            for row, values in _read_rows(path, [place.row for place in group], ["url", "dump", "text"]):
                place, text = Place(unit, row), values.get("text") or ""
                url, dump = values.get("url"), values.get("dump")
                documents[place] = Document(url, dump, len(text.encode()), text if place in with_text else "")
        except FileNotFoundError:
            missing = missing or path
    return documents, missing


def _read_rows(path: str, rows: Sequence[int], names: Sequence[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row, its columns of these names, or all columns if there are no names), in order."""
    with open_path(path) as stream:
        try:
            file = open_parquet(stream)
            columns = [name for name in file.schema_arrow.names if not names or name in names]
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                here = [row for row in rows if first <= row < last]
                if here:
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    selected = table.take(pa.array([row - first for row in here]))
                    yield from zip(here, selected.to_pylist(), strict=True)
                first = last
        except DAMAGED as error:
            raise ValueError(f"{path}: damaged shard ({error})") from None
