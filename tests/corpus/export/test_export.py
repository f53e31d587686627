"""Exports: what other readers find in them, the same bytes after a kill, and what is refused."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import huggingface_hub
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.export import FORMATS, load_format
from corpus.export.base import Options
from corpus.export.card import LICENCES, size_category
from corpus.export.jsonl import line
from corpus.export.megatron import with_ends
from corpus.export.source import cuts, find_source, rows_between
from corpus.export.write import Exported, Plan, export
from corpus.schema import DOCUMENTS, tokens_schema
from corpus.store.base import Storage
from corpus.store.local import LocalStorage
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from tests.support.command import command, commit_rows
from tests.support.exports import checked, contents, rows
from tests.support.loaded import loaded


def commit_tokens(folder: Path, documents: list[list[int]], vocab_size: int, end: int, unit: str = "u") -> None:
    dataset = Dataset(folder)
    digest = dataset.begin({})
    schema = tokens_schema(vocab_size)
    table = [{"id": f"<{number}>", "tokens": ids} for number, ids in enumerate(documents)]
    with dataset.storage.scratch() as scratch:
        writer = ShardWriter(scratch / "x", schema)
        writer.write(pa.RecordBatch.from_pylist(table, schema=schema))
        pairs = {"tokenizer_hash": "00", "vocab_size": str(vocab_size), "end_of_text": str(end), "token_total": "0"}
        writer.close(pairs)
        count = {"stage": "tokens", "read": len(table), "kept": len(table), "dropped": {}}
        record = CommitRecord(unit, "tokens", digest, (), (writer.output(unit, "tokens"),), (count,))
        dataset.commit(record, [writer.path])


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards: 2,500, 1 and 700 documents."""
    folder = tmp_path_factory.mktemp("export") / "documents"
    for unit, first, count in (("a", 0, 2500), ("b", 2500, 1), ("c", 2501, 700)):
        commit_rows(folder, rows(first, count), unit)
    return folder


def exported(folder: Path, output: Path, to: str, **options: Any) -> Exported:
    source = find_source(str(folder), load_format(to).kinds)
    return export(source, Plan(to, "Mine", **options), str(output), lambda text: None)


@pytest.fixture
def loader(tmp_path: Path) -> Any:
    """`datasets.load_dataset` with a cache of this test: the rows by the names of the splits."""
    return lambda folder, *config: loaded(folder, tmp_path / "hf-cache", *config)


# ---- Parquet ----


def test_parquet_has_the_rows_in_order_for_every_reader(documents: Path, tmp_path: Path, loader: Any) -> None:
    out = tmp_path / "hf"
    size = sum(output.bytes for output in Dataset(documents).files("documents"))
    done = exported(documents, out, "parquet", file_size=size // 3, row_group=100, licence="odc-by")
    expected = list(Dataset(documents).rows())
    names = sorted(path.name for path in (out / "data").iterdir())
    assert names == [f"train-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    assert (done.rows, done.files, done.before) == (3201, len(names), 0)
    assert len(names) in (3, 4)
    assert [row for path in sorted((out / "data").iterdir()) for row in pq.read_table(path).to_pylist()] == expected
    for path in sorted((out / "data").iterdir()):
        metadata = pq.ParquetFile(path).metadata
        sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        assert set(sizes[:-1]) == {100}
        assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert loader(out) == {"train": expected}
    pattern = f"{out}/data/*.parquet"
    assert polars.scan_parquet(pattern).collect().to_dicts() == expected
    found = duckdb.sql(
        f"SELECT id, text FROM read_parquet('{pattern}', file_row_number = true, filename = true) "
        "ORDER BY filename, file_row_number"
    ).fetchall()
    assert found == [(row["id"], row["text"]) for row in expected]
    checked(out)


def test_columns_are_chosen_and_named_when_they_are_not_there(documents: Path, tmp_path: Path) -> None:
    exported(documents, tmp_path / "some", "parquet", columns=("url", "text"))
    (path,) = (tmp_path / "some/data").iterdir()
    assert pq.read_schema(path).names == ["url", "text"]
    with pytest.raises(ValueError, match="no column txt; it has text, id, dump"):
        exported(documents, tmp_path / "none", "parquet", columns=("txt",))


def test_a_repeated_export_gives_the_same_bytes(documents: Path, tmp_path: Path) -> None:
    for to in ("parquet", "jsonl.zst", "dolma"):
        exported(documents, tmp_path / f"{to}-1", to, file_size=20_000)
        exported(documents, tmp_path / f"{to}-2", to, file_size=20_000)
        first = contents(tmp_path / f"{to}-1")
        assert len(first) > 4
        assert first == contents(tmp_path / f"{to}-2")


# ---- JSON lines and Dolma ----


def test_json_lines_have_all_columns(documents: Path, tmp_path: Path, loader: Any) -> None:
    exported(documents, tmp_path / "jl", "jsonl.zst", file_size=20_000)
    names = ("id", "text", "warc_offset")
    expected = [{name: row[name] for name in names} for row in Dataset(documents).rows()]
    assert [{name: row[name] for name in names} for row in loader(tmp_path / "jl")["train"]] == expected
    found = duckdb.sql(f"SELECT text FROM read_json('{tmp_path}/jl/data/*.jsonl.zst') ORDER BY warc_offset").fetchall()
    assert found == [(row["text"],) for row in Dataset(documents).rows()]
    checked(tmp_path / "jl")


def test_json_has_null_for_what_it_cannot_hold() -> None:
    assert json.loads(line({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}})) == {
        "a": None,
        "b": [None, 1.5],
        "c": {"d": None},
    }
    with pytest.raises(ValueError, match="type bytes has no form in JSON; choose other --columns"):
        line({"a": b"x"})


def test_dolma_s_fields(documents: Path, tmp_path: Path) -> None:
    exported(documents, tmp_path / "dolma", "dolma", file_size=20_000)
    paths = sorted((tmp_path / "dolma/documents").iterdir())
    assert [path.name for path in paths] == [f"Mine-{number:04d}.json.gz" for number in range(len(paths))]
    lines = [json.loads(text) for path in paths for text in gzip.decompress(path.read_bytes()).splitlines()]
    first = rows(0, 1)[0]
    assert lines[0] == {
        "id": "<0>",
        "text": first["text"],
        "source": "Mine",
        "created": "2026-10-01T12:00:00Z",
        "metadata": {"url": first["url"], "language": "en", "language_score": 0.5, "warc_offset": 0},
    }
    assert [item["id"] for item in lines] == [f"<{number}>" for number in range(3201)]
    assert all(path.read_bytes()[4:8] == b"\0\0\0\0" for path in paths)  # mtime: RFC 1952, 2.3
    with pytest.raises(ValueError, match="dolma needs the column id; add it"):
        exported(documents, tmp_path / "other", "dolma", columns=("text",))


# ---- Megatron ----


def read_index(path: Path) -> tuple[Any, ...]:
    """(type, lengths, pointers, documents) of an .idx file, by the specification."""
    data = path.read_bytes()
    assert data[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", data, 9)
    assert version == 1
    at = 9 + 8 + 1 + 8 + 8
    lengths = np.frombuffer(data, np.int32, sequences, at)
    pointers = np.frombuffer(data, np.int64, sequences, at + 4 * sequences)
    indices = np.frombuffer(data, np.int64, documents, at + 12 * sequences)
    assert len(data) == at + 12 * sequences + 8 * documents
    return {8: np.uint16, 4: np.int32}[code], lengths, pointers, indices


@pytest.mark.parametrize(
    ("size", "dtype"), [(1000, np.uint16), (65_499, np.uint16), (65_500, np.int32), (70_000, np.int32)]
)
def test_megatron_s_index(tmp_path: Path, size: int, dtype: Any) -> None:
    end = size - 1
    texts = [[1, 2, 3], [], [4], [5, end], [end - 1] * 3000]
    commit_tokens(tmp_path / "tokens", texts, size, end, "a")
    commit_tokens(tmp_path / "tokens", [[7, 8]], size, end, "b")
    exported(tmp_path / "tokens", tmp_path / "out", "megatron")
    kind, lengths, pointers, indices = read_index(tmp_path / "out/data/train.idx")
    assert kind == dtype
    expected = [[1, 2, 3, end], [end], [4, end], [5, end], [end - 1] * 3000 + [end], [7, 8, end]]
    data = (tmp_path / "out/data/train.bin").read_bytes()
    found = [np.frombuffer(data, kind, n, at).tolist() for n, at in zip(lengths, pointers, strict=True)]
    assert found == expected
    assert len(data) == sum(map(len, expected)) * np.dtype(kind).itemsize
    assert indices.tolist() == list(range(7))
    checked(tmp_path / "out")


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6), st.integers(0, 2))
def test_each_document_ends_once(documents: list[list[int]], skipped: int) -> None:
    offsets = np.cumsum([0, *map(len, documents)])
    ids = np.array([token for ids in documents for token in ids], np.uint16)
    lengths, joined = with_ends(offsets[skipped:] if skipped < len(offsets) else offsets[-1:], ids, 3)
    expected = [ids if ids[-1:] == [3] else [*ids, 3] for ids in documents[skipped:]]
    assert lengths.tolist() == list(map(len, expected))
    assert joined.tolist() == [token for ids in expected for token in ids]


def test_tokens_as_parquet_keep_their_vocabulary(tmp_path: Path) -> None:
    commit_tokens(tmp_path / "tokens", [[1, 2], [3]], 300, 299)
    exported(tmp_path / "tokens", tmp_path / "out", "parquet")
    pairs = pq.ParquetFile(tmp_path / "out/data/train-00000-of-00001.parquet").metadata.metadata
    assert {b"vocab_size": b"300", b"end_of_text": b"299", b"token_total": b"3"}.items() <= pairs.items()


# ---- The card ----


def test_the_card_is_one_that_the_hub_reads(documents: Path, tmp_path: Path) -> None:
    exported(documents, tmp_path / "hf", "parquet", licence="odc-by", repeat="corpus export x -o y")
    card = huggingface_hub.DatasetCard.load(tmp_path / "hf/README.md")
    data = card.data
    assert isinstance(data, huggingface_hub.DatasetCardData)
    assert data.language == ["en", "no"]
    assert (data.license, data.pretty_name, data.size_categories) == ("odc-by", "Mine", ["1K<n<10K"])
    assert data.task_categories == ["text-generation"]
    assert data.to_dict()["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
    ]
    assert huggingface_hub.metadata_load(tmp_path / "hf/README.md") == data.to_dict()
    for part in ("3,201 documents", "## Recipe", "corpus export x -o y", "Licence: odc-by.", "| `text` | string |"):
        assert (part in card.text) == (part != "## Recipe")
    exported(documents, tmp_path / "hf", "parquet")
    assert "No licence is stated" in (tmp_path / "hf/README.md").read_text()


@pytest.mark.parametrize(
    ("number", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**12, "n>1T")]
)
def test_sizes_by_the_hub_s_names(number: int, name: str) -> None:
    assert size_category(number) == name
    assert {"odc-by", "cc-by-4.0", "apache-2.0", "other"} <= LICENCES


def test_what_a_command_leaves_opens_by_its_name(tmp_path: Path, loader: Any) -> None:
    long = "The ship came home, and with it the cargo that they have of the old harbour."
    texts = [long if number % 2 else "Too short." for number in range(40)]
    commit_rows(tmp_path / "docs", [{"text": text, "id": f"<{number}>"} for number, text in enumerate(texts)])
    options = ("--only", "gopher_quality", "--min-words", "9")
    command("corpus", "filter", tmp_path / "docs", "-o", tmp_path / "filtered", *options)
    command("corpus", "mix", f"{tmp_path}/docs=1", "-o", tmp_path / "mixed", "--documents", "20")
    for folder in (tmp_path / "filtered", tmp_path / "mixed"):
        kept, dropped = len(loader(folder)["train"]), len(loader(folder, "dropped")["train"])
        assert kept + dropped == 40
        assert "all as committed" in command("corpus", "verify", folder).stderr
        assert command("corpus", "gc", folder, "--min-age", "0").stderr == "gc: 0 files, 0.0 MB; 0 unfinished uploads\n"
        assert (folder / "README.md").is_file()


def test_a_dataset_opens_with_its_card(documents: Path, loader: Any) -> None:
    from corpus.store.card import dataset_card

    (documents / "README.md").write_text(dataset_card("documents", dropped=True))
    try:
        assert len(loader(documents)["train"]) == 3201
        data = huggingface_hub.DatasetCard.load(documents / "README.md").data
        assert [config["config_name"] for config in data.to_dict()["configs"]] == ["default", "dropped"]
    finally:
        (documents / "README.md").unlink()


# ---- Cuts, kills, refusals ----


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 500)), min_size=1, max_size=6), st.integers(1, 700))
def test_cuts_cover_all_rows_once(shards: list[tuple[int, int]], file_size: int) -> None:
    from corpus.export.source import Source
    from corpus.store.records import Output

    outputs = [Output(f"data/{number}.parquet", "documents", *shard, "") for number, shard in enumerate(shards)]
    source = Source(None, "documents", outputs, DOCUMENTS, {}, None)  # type: ignore[arg-type]
    bounds = cuts(source, file_size)
    assert (bounds[0], bounds[-1]) == (0, source.rows)
    assert all(low < high for low, high in itertools.pairwise(bounds)) or source.rows == 0
    assert len(bounds) - 1 <= max(1, -(-sum(size for _, size in shards) // file_size))


def test_rows_between_are_these_rows(documents: Path) -> None:
    source = find_source(str(documents), ("documents",))
    for start, end in ((0, 0), (0, 3201), (10, 20), (1020, 1030), (2499, 2502), (2500, 2501), (3000, 3201)):
        batches = rows_between(source, start, end, ["warc_offset"])
        assert [n for batch in batches for n in batch.column(0).to_pylist()] == list(range(start, end))


@pytest.mark.parametrize("to", ["parquet", "dolma"])
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_killed_and_repeated_it_comes_to_the_same_bytes(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, to: str
) -> None:
    exported(documents, tmp_path / "whole", to, file_size=5_000)
    publish, calls = LocalStorage.publish, []

    def stopped(self: Storage, local: Path, key: str) -> None:
        if len(calls) == at:
            raise KeyboardInterrupt
        calls.append(key)
        publish(self, local, key)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStorage, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        exported(documents, tmp_path / "out", to, file_size=5_000)
    monkeypatch.undo()
    assert not (tmp_path / "out/SHA256SUMS").exists()
    assert exported(documents, tmp_path / "out", to, file_size=5_000).before == at
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_output_with_other_content_is_refused(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"out: holds notes.txt and no export; name a new folder"):
        exported(documents, out, "parquet")
    exported(documents, tmp_path / "hf", "parquet")
    with pytest.raises(ValueError, match=r"hf: holds another export: row_group is 1024 there, 7 here"):
        exported(documents, tmp_path / "hf", "parquet", row_group=7)
    (path,) = (tmp_path / "hf/data").iterdir()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"00001.parquet: differs from SHA256SUMS; remove this file to write it again"):
        exported(documents, tmp_path / "hf", "parquet")
    path.unlink()
    exported(documents, tmp_path / "hf", "parquet")
    checked(tmp_path / "hf")


def test_what_is_no_dataset_is_refused(documents: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_source(str(tmp_path / "none"), ("documents",))
    with pytest.raises(ValueError, match="holds no committed documents; name the output folder"):
        find_source(str(tmp_path), ("documents",))
    with pytest.raises(ValueError, match="holds documents and no committed tokens; make tokens of them"):
        find_source(str(documents), ("tokens",))
    with pytest.raises(ValueError, match=r"x: no such format; use one of parquet, jsonl.zst, dolma, megatron"):
        load_format("x")
    assert all(load_format(name).load for name in FORMATS)


def test_shards_of_two_kinds_of_columns_are_refused(tmp_path: Path) -> None:
    commit_rows(tmp_path / "two", rows(0, 3), "a")
    commit_rows(tmp_path / "two", rows(3, 3), "b", DOCUMENTS.append(pa.field("extra", pa.string())))
    with pytest.raises(ValueError, match=r"data/b-\w+.parquet: has other columns than the first shard"):
        exported(tmp_path / "two", tmp_path / "out", "parquet")


def test_no_format_holds_all_rows(documents: Path, tmp_path: Path) -> None:
    source = find_source(str(documents), ("documents",))
    most = 0

    def watched() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for batch in rows_between(source, 0, source.rows, source.schema.names):
            most = max(most, pa.total_allocated_bytes() - before)
            yield batch

    before = pa.total_allocated_bytes()
    for to in ("parquet", "jsonl.zst", "dolma"):
        load_format(to).write(tmp_path / to, watched(), source.schema, Options("x", 100, {}))
    assert 0 < most < 16 << 20
