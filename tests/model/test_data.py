"""Shards, streams, windows and batches: equal to those made with Python lists, and every token once an epoch."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import model.stream
from corpus.schema import tokens_schema
from model.data import Batches, make_batches
from model.stream import Stream, fingerprint_of, id_hashes, open_stream, read_shards, token_files, vocabulary_of
from tests.oracles.model_stream import hash_fraction, held_out, packed, visited, windows
from tests.support.model_shards import END_OF_TEXT, random_documents, write_record, write_shard

documents = st.lists(st.lists(st.integers(0, END_OF_TEXT - 1), max_size=12), min_size=1, max_size=12)
fractions = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-300, 0.02, 0.5, 1.0]))


def ids_of(count: int) -> list[str]:
    """The ids that `write_shard` gives documents by default."""
    return [f"<urn:uuid:{number}>" for number in range(count)]


def both(first: list[list[int]], second: list[list[int]], fraction: float) -> tuple[list[int], list[int]]:
    """The stream to train on and the held-out stream of two shards."""
    chosen = held_out(ids_of(len(first)) + ids_of(len(second)), fraction)
    pairs = list(zip(chosen, first + second, strict=True))
    train, rest = ([document for is_out, document in pairs if is_out == side] for side in (False, True))
    return packed(train, END_OF_TEXT), packed(rest, END_OF_TEXT)


@settings(max_examples=80)
@given(first=documents, second=documents, fraction=fractions, context=st.integers(1, 8))
def test_streams_and_windows_equal_lists(
    first: list[list[int]],
    second: list[list[int]],
    fraction: float,
    context: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "a.parquet", first)
    write_shard(folder / "b.parquet", second)
    if max(len(first), len(second)) == 1 and 0 < fraction < 1:
        with pytest.raises(ValueError, match="holds one document, which cannot be both trained on and held out"):
            open_stream(folder, folder, fraction)
        return
    stream = open_stream(folder, folder / "run", fraction)
    train, rest = both(first, second, fraction)
    assert (stream.train_N.tolist(), stream.held_out_N.tolist()) == (train, rest)
    mapped = open_stream(folder, folder / "run", fraction, in_memory=0)
    assert (mapped.train_N.tolist(), mapped.held_out_N.tolist()) == (train, rest)
    assert stream.fingerprint == mapped.fingerprint == fingerprint_of(read_shards(folder), fraction)
    cut, cut_rest = windows(train, context), windows(rest, context)
    if not cut:
        with pytest.raises(ValueError, match=f"{len(train)} tokens to train on, {len(rest)} held out: should be at"):
            make_batches(stream, context, context, 0)
        return
    if rest and not cut_rest:
        with pytest.raises(ValueError, match=f"{len(rest)} tokens held out of {len(train + rest)}: should be at"):
            make_batches(stream, context, context, 0)
        return
    batches = make_batches(stream, context, context, 0)
    assert (batches.train_windows, batches.validation_windows) == (len(cut), len(cut_rest))
    for expected, (x_NT, y_NT) in (
        (cut, batches.windows(np.arange(len(cut)))),
        (cut_rest, batches.held_out(batches.validation(10**6))),
    ):
        assert (x_NT.tolist(), y_NT.tolist()) == ([x for x, _ in expected], [y for _, y in expected])


@given(id=st.text(max_size=60))
def test_hash_equals_its_twin(id: str) -> None:
    [hashed] = id_hashes(pa.array([id]))
    assert int(hashed) == hash_fraction(id) * 2**64


def test_hash_is_the_one_that_it_has_always_been() -> None:
    hashes = id_hashes(pa.array(["<urn:uuid:0>", "<urn:uuid:1>", "", "é"]))
    assert [f"{int(each):016x}" for each in hashes] == [
        "f6efb47dc1d4f1f0",
        "700f9c3f17dfcc5e",
        "56689b613c2cb764",
        "908b6dcc3851782a",
    ]


def test_share_held_out_is_the_one_asked_for() -> None:
    hashes = id_hashes(pa.array([f"<urn:uuid:{number:032x}>" for number in range(50_000)]))
    for fraction in (0.01, 0.02, 0.5):
        expected = fraction * 50_000
        assert abs((hashes < np.uint64(int(fraction * 2**64))).sum() - expected) < 5 * expected**0.5


def held_out_ids(folder: Path, ids: list[str], fraction: float, shards: int = 1) -> set[str]:
    """The documents held out of so many shards; each document has one token, the number in its id."""
    metadata = {"tokenizer_hash": "a" * 64, "vocab_size": "1000", "end_of_text": "999"}
    folder.mkdir()
    for shard in range(shards):
        mine = ids[shard::shards]
        schema = tokens_schema(1000).with_metadata({**metadata, "token_total": str(len(mine))})
        tokens = [[int(id[3:])] for id in mine]
        pq.write_table(pa.table({"id": mine, "tokens": tokens}, schema=schema), folder / f"{shard}.parquet")
    stream = open_stream(folder, folder, fraction)
    assert len(stream.train_N) + len(stream.held_out_N) == 2 * len(ids)
    return {f"id {number}" for number in stream.held_out_N.tolist()[::2]}


def test_split_depends_on_id_and_fraction_alone(tmp_path: Path) -> None:
    ids = [f"id {number}" for number in range(600)]
    apart = held_out_ids(tmp_path / "a", ids, 0.1)
    assert held_out_ids(tmp_path / "b", ids[::-1], 0.1, shards=7) == apart
    assert held_out_ids(tmp_path / "c", ids[:300], 0.1) == apart & set(ids[:300])
    previous: set[str] = set()
    for number, fraction in enumerate((0.0, 1e-9, 0.01, 0.1, 0.11, 0.7, 1 - 1e-9, 1.0)):
        found = held_out_ids(tmp_path / str(number), ids, fraction)
        assert previous <= found
        previous = found
        assert len(found) == {0.0: 0, 1e-9: 1, 1 - 1e-9: 599, 1.0: 600}.get(fraction, len(found))


def test_fraction_outside_its_range_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", random_documents(5))
    for fraction in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"validation_fraction = {fraction}: should be between 0 and 1"):
            open_stream(tmp_path, tmp_path, fraction)


def test_mapped_files_hold_the_same_streams_and_are_reused(tmp_path: Path) -> None:
    write_shard(tmp_path / "tokens/a.parquet", random_documents(300))
    in_memory = open_stream(tmp_path / "tokens", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    mapped = open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10)
    assert isinstance(mapped.train_N, np.memmap)
    stem = f"tokens-{mapped.fingerprint[:16]}"
    written = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir()}
    assert set(written) == {f"{stem}-train.bin", f"{stem}-held-out.bin"}
    again = open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10)
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir()} == written
    for other in (mapped, again):
        assert_equal_streams(other, in_memory)
    for array in (in_memory.train_N, mapped.train_N, mapped.held_out_N):
        assert not array.flags.writeable
    other_split = open_stream(tmp_path / "tokens", tmp_path / "run", 0.1, in_memory=10)
    assert other_split.fingerprint != mapped.fingerprint
    assert len(list((tmp_path / "run").iterdir())) == 4


def assert_equal_streams(left: Stream, right: Stream) -> None:
    for field in dataclasses.fields(Stream):
        assert np.array_equal(getattr(left, field.name), getattr(right, field.name)), field.name


def test_damaged_and_half_written_files_are_written_again(tmp_path: Path) -> None:
    write_shard(tmp_path / "tokens/a.parquet", random_documents(300))
    whole = open_stream(tmp_path / "tokens", tmp_path / "run")
    for part in ("train", "held-out"):
        path = tmp_path / f"run/tokens-{whole.fingerprint[:16]}-{part}.bin"
        assert_equal_streams(open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10), whole)
        path.write_bytes(path.read_bytes()[:-1])
        assert_equal_streams(open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10), whole)
        path.unlink()
        # The temporary file of a process that was killed while it wrote.
        path.with_name(f".{path.name}.{'0' * 32}.partial").write_bytes(b"half")
        assert_equal_streams(open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10), whole)
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_nothing_stays_of_streams_that_could_not_be_written(tmp_path: Path) -> None:
    write_shard(tmp_path / "tokens/a.parquet", random_documents(30), token_total=5)
    with pytest.raises(ValueError, match="its footer says 5"):
        open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=0)
    assert list((tmp_path / "run").iterdir()) == []


def test_several_may_write_the_same_streams_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, names = threading.Barrier(6), []
    pack = model.stream._pack

    def pack_together(shards: Any, limit: int, dtype: Any, train: Any, held_out: Any) -> None:
        names.append(train.name)
        together.wait(60)
        pack(shards, limit, dtype, train, held_out)

    for shard in range(4):
        write_shard(tmp_path / f"tokens/{shard}.parquet", random_documents(200, seed=shard))
    whole = open_stream(tmp_path / "tokens", tmp_path / "run")
    monkeypatch.setattr("model.stream._pack", pack_together)
    for attempt in range(5):
        cache = tmp_path / f"run{attempt}"
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(open_stream, tmp_path / "tokens", cache, in_memory=0) for _ in range(6)]
        for call in calls:
            assert_equal_streams(call.result(), whole)
        assert len(list(cache.iterdir())) == 2
    assert len(set(names)) == 30  # no two processes write to one file


def test_wide_vocabulary_is_read_as_uint32(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [[70_000, 1], []], vocab_size=70_002, end_of_text=70_001)
    stream = open_stream(tmp_path, tmp_path, 0)
    assert stream.train_N.dtype == np.uint32
    assert stream.train_N.tolist() == [70_000, 1, 70_001, 70_001]
    assert vocabulary_of(tmp_path) == stream.vocab_size == 70_002


def test_null_document_is_an_empty_one_and_null_id_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [[1, 2], None, [3]])
    assert open_stream(tmp_path, tmp_path, 0).train_N.tolist() == [1, 2, END_OF_TEXT, END_OF_TEXT, 3, END_OF_TEXT]
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.set_column(0, "id", pa.array(["a", None, "b"])), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: holds a document without an id"):
        open_stream(tmp_path, tmp_path)


def test_shards_without_documents_are_empty_streams(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [])
    stream = open_stream(tmp_path, tmp_path)
    assert len(stream.train_N) == len(stream.held_out_N) == 0
    mapped = open_stream(tmp_path, tmp_path, in_memory=-1)
    assert len(mapped.train_N) == len(mapped.held_out_N) == 0
    with pytest.raises(ValueError, match="0 tokens to train on, 0 held out: should be at least 17"):
        make_batches(stream, 16, 16, 0)


def test_only_recorded_shards_of_kind_tokens_count(tmp_path: Path) -> None:
    wanted = write_shard(tmp_path / "data/b.parquet", [[1, 2], [3]])
    other = write_shard(tmp_path / "dropped/c.parquet", [[4]])
    write_shard(tmp_path / "data/a-left-over.parquet", [[5]])
    write_record(tmp_path, "b", wanted, rows=2)
    write_record(tmp_path, "c", other, rows=1, kind="dropped")
    [(path, sha256)] = token_files(tmp_path)
    assert path == wanted
    assert json.loads((tmp_path / "_units/b.json").read_text())["outputs"][0]["sha256"] == sha256
    stream = open_stream(tmp_path, tmp_path, 0)
    assert stream.train_N.tolist() == [1, 2, END_OF_TEXT, 3, END_OF_TEXT]
    assert stream.held_out_N.tolist() == []


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        write_shard(tmp_path / name / "a.parquet", random_documents(5, seed=seed))
    x, y, z = (open_stream(tmp_path / name, tmp_path).fingerprint for name in "xyz")
    assert x == y != z
    assert open_stream(tmp_path / "x", tmp_path, 0.03).fingerprint != x


def test_mixed_tokenizers_are_refused_naming_both_files(tmp_path: Path) -> None:
    first = write_shard(tmp_path / "a.parquet", [[1]])
    second = write_shard(tmp_path / "b.parquet", [[1]], tokenizer_hash="b" * 64)
    with pytest.raises(ValueError, match="different tokenizers") as error:
        read_shards(tmp_path)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        read_shards(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no TOKENS shards"):
        read_shards(tmp_path)
    shard = write_shard(tmp_path / "a.parquet", [[1, 2, 3]], token_total=5)
    with pytest.raises(ValueError, match="holds 3 tokens, its footer says 5"):
        open_stream(tmp_path, tmp_path, 0)
    write_shard(shard, [[1, 2, 3]], token_total=1)
    with pytest.raises(ValueError, match="holds 3 tokens, its footer says 1"):
        open_stream(tmp_path, tmp_path, 0)
    write_shard(shard, [[1, 100]])
    with pytest.raises(ValueError, match=r"a\.parquet: holds id 100, outside its vocabulary of 100"):
        open_stream(tmp_path, tmp_path, 0)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.parquet: not a whole Parquet file"):
        open_stream(tmp_path, tmp_path, 0)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """A stream in which every id but the end-of-text occurs once, so that any token identifies its window."""
    folder = tmp_path_factory.mktemp("tokens")
    each = [list(range(first, first + 40)) for first in range(0, 4000, 40)]
    write_shard(folder / "a.parquet", each, vocab_size=4001, end_of_text=4000)
    return open_stream(folder, folder, 0.2)


@pytest.fixture(scope="module")
def batches(stream: Stream) -> Batches:
    return make_batches(stream, 16, 16 * 12, seed=7)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_each_window_once_an_epoch_whatever_the_world(batches: Batches, world: int) -> None:
    stream_windows = batches.windows(np.arange(batches.train_windows))[0]
    steps = 2 * batches.train_windows // 12 + 1
    alone = np.concatenate([batches.batch(step)[0] for step in range(steps)])
    parts = [batches.batch(step, rank, world)[0] for step in range(steps) for rank in range(world)]
    assert np.array_equal(np.concatenate(parts), alone)
    first, second = alone[: batches.train_windows], alone[batches.train_windows : 2 * batches.train_windows]
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == sorted(stream_windows.tolist())
    assert not np.array_equal(first, second)


# For each run between two stops: updates, windows an update and process, processes.
schedules = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9), st.sampled_from([1, 2, 3, 4, 6, 7])), max_size=8)


@settings(max_examples=60)
@given(schedule=schedules, context=st.integers(7, 60), seed=st.integers(0, 3))
def test_a_run_goes_on_at_the_next_window_whatever_changes(
    stream: Stream, schedule: list[tuple[int, int, int]], context: int, seed: int
) -> None:
    seen, step, position = [], 0, 0
    for updates, share, world in schedule:
        size = share * world
        run = make_batches(stream, context, context * size, seed, start=(step, position))
        for now in range(step, step + updates):
            assert run.position(now) == position + (now - step) * size
            seen += [row for rank in range(world) for row in run.batch(now, rank, world)[0].tolist()]
        step += updates
        position = run.position(step)
    assert len(seen) == position
    cut = windows(stream.train_N.tolist(), context)
    epochs = position // len(cut) + 1
    order = visited(len(cut), seed, stream.fingerprint, epochs)
    assert seen == [cut[number][0] for number in order[:position]]
    for epoch in range(epochs):
        assert sorted(order[epoch * len(cut) : (epoch + 1) * len(cut)]) == list(range(len(cut)))


def test_batch_is_pure(batches: Batches) -> None:
    again = dataclasses.replace(batches)
    for step in (5, 0, 1000, 5):
        for ours, theirs in zip(batches.batch(step, 1, 2), again.batch(step, 1, 2), strict=True):
            assert np.array_equal(ours, theirs)
    x_BT, y_BT = batches.batch(3)
    assert x_BT.shape == y_BT.shape == (12, 16)
    assert x_BT.dtype == y_BT.dtype == np.uint16
    assert np.array_equal(x_BT[:, 1:], y_BT[:, :-1])
    x_BT[:] = 0  # a copy, which does not change the stream
    assert np.array_equal(batches.batch(3)[0], again.batch(3)[0])
    assert not np.array_equal(dataclasses.replace(batches, seed=8).batch(3)[0], batches.batch(3)[0])
    other_data = dataclasses.replace(batches.stream, fingerprint="f")
    assert not np.array_equal(dataclasses.replace(batches, stream=other_data).batch(3)[0], batches.batch(3)[0])


def test_held_out_documents_are_never_trained_on(batches: Batches) -> None:
    steps = 3 * batches.train_windows // 12
    trained = {id for step in range(steps) for rows in batches.batch(step) for id in rows.flat}
    numbers = batches.validation(10**6)
    assert len(numbers) == batches.validation_windows >= 3
    scored = {id for rows in batches.held_out(numbers) for id in rows.flat}
    assert trained & scored == {4000}  # the end-of-text token
    few = batches.validation(3)
    assert len(set(few.tolist())) == 3
    assert set(few.tolist()) <= set(numbers.tolist())
    assert max(np.diff(few)) - min(np.diff(few)) <= 1
    with pytest.raises(IndexError):
        batches.held_out(numbers + 1)


def test_no_fraction_no_validation(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [list(range(20))])
    batches = make_batches(open_stream(tmp_path, tmp_path, 0), 16, 16, 0)
    assert (batches.train_windows, batches.validation_windows) == (1, 0)
    assert len(batches.validation(5)) == 0
    assert batches.held_out(batches.validation(5))[0].shape == (0, 16)


def test_what_cannot_be_a_batch_is_refused(batches: Batches) -> None:
    with pytest.raises(ValueError, match="5 processes: should divide the batch of 12 windows"):
        batches.batch(0, 0, 5)
    for batch_tokens in (0, 8, 40):
        with pytest.raises(ValueError, match=f"batch_tokens = {batch_tokens}: should be a multiple of the context, 16"):
            make_batches(batches.stream, 16, batch_tokens, 0)
    for part, expected in (("train_N", "16 tokens to train on"), ("held_out_N", "16 tokens held out of")):
        short = dataclasses.replace(batches.stream, **{part: getattr(batches.stream, part)[:16]})
        with pytest.raises(ValueError, match=f"{expected}.*should be at least 17 for a context of 16"):
            make_batches(short, 16, 16, 0)
        enough = dataclasses.replace(batches.stream, **{part: getattr(batches.stream, part)[:17]})
        assert 1 in (make_batches(enough, 16, 16, 0).train_windows, make_batches(enough, 16, 16, 0).validation_windows)
    with pytest.raises(ValueError, match="step 4: should be at least 5, where these batches start"):
        dataclasses.replace(batches, start=(5, 60)).batch(4)
