"""Shards -> stream -> windows -> batches: the same tokens as Python lists would give, each once an epoch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data import Batches, make_batches, open_stream, read_shards, token_files
from model.permutation import permute, round_keys
from tests.model.shards import END_OF_TEXT, random_documents, write_record, write_shard
from tests.oracles.model_permutation import permute_one
from tests.oracles.model_stream import packed, windows


@settings(max_examples=60)
@given(size=st.integers(1, 3000), key=st.text(max_size=5))
def test_permutation_is_a_bijection_and_equals_its_twin(size: int, key: str) -> None:
    result_N = permute(np.arange(size), size, key)
    assert np.array_equal(np.sort(result_N), np.arange(size))
    keys = [int(each) for each in round_keys(key)]
    for position in {0, size // 2, size - 1}:
        assert result_N[position] == permute_one(position, size, keys)


@given(position=st.integers(0, 2**40 - 8))
def test_permutation_of_a_large_set_equals_its_twin(position: int) -> None:
    size = 2**40 - 7
    keys = [int(each) for each in round_keys("k")]
    assert permute(np.array([position]), size, "k")[0] == permute_one(position, size, keys)


def test_permutation_depends_on_its_key_and_looks_random() -> None:
    first, second = permute(np.arange(1000), 1000, "0"), permute(np.arange(1000), 1000, "1")
    assert (first == second).sum() < 10  # 1 is expected
    assert (first == np.arange(1000)).sum() < 10
    assert abs(np.corrcoef(np.arange(1000), first)[0, 1]) < 0.1


documents = st.lists(st.lists(st.integers(0, END_OF_TEXT - 1), max_size=12), min_size=1, max_size=12)


@settings(max_examples=40)
@given(first=documents, second=documents, context=st.integers(1, 8))
def test_stream_and_windows_equal_lists(
    first: list[list[int]],
    second: list[list[int]],
    context: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "a.parquet", first)
    write_shard(folder / "b.parquet", second)
    stream = open_stream(folder, folder)
    expected = packed(first + second, END_OF_TEXT)
    assert stream.ids_N.tolist() == expected
    cut = windows(expected, context)
    if len(cut) < 2:
        with pytest.raises(ValueError, match=f"{len(expected)} tokens of data: should be at least {2 * context + 1}"):
            make_batches(stream, context, context, 0.1, 0)
        return
    batches = make_batches(stream, context, context, 0.1, 0)
    assert batches.train_windows + batches.validation_windows == len(cut)
    x_NT, y_NT = batches.windows(np.arange(len(cut)))
    assert (x_NT.tolist(), y_NT.tolist()) == ([x for x, _ in cut], [y for _, y in cut])


def test_mapped_file_holds_the_same_stream_and_is_reused(tmp_path: Path) -> None:
    write_shard(tmp_path / "tokens/a.parquet", random_documents(30))
    in_memory = open_stream(tmp_path / "tokens", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    mapped = open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10)
    [file] = (tmp_path / "run").iterdir()
    written = file.stat().st_mtime_ns
    again = open_stream(tmp_path / "tokens", tmp_path / "run", in_memory=10)
    assert file.stat().st_mtime_ns == written
    assert np.array_equal(in_memory.ids_N, mapped.ids_N)
    assert np.array_equal(in_memory.ids_N, again.ids_N)
    assert in_memory.fingerprint == mapped.fingerprint == again.fingerprint


def test_wide_vocabulary_is_read_as_uint32(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [[70_000, 1], []], vocab_size=70_002, end_of_text=70_001)
    stream = open_stream(tmp_path, tmp_path)
    assert stream.ids_N.dtype == np.uint32
    assert stream.ids_N.tolist() == [70_000, 1, 70_001, 70_001]


def test_only_recorded_shards_of_kind_tokens_count(tmp_path: Path) -> None:
    wanted = write_shard(tmp_path / "data/b.parquet", [[1, 2], [3]])
    other = write_shard(tmp_path / "dropped/c.parquet", [[4]])
    write_shard(tmp_path / "data/a-left-over.parquet", [[5]])
    write_record(tmp_path, "b", wanted, rows=2)
    write_record(tmp_path, "c", other, rows=1, kind="dropped")
    [(path, sha256)] = token_files(tmp_path)
    assert path == wanted
    assert json.loads((tmp_path / "_units/b.json").read_text())["outputs"][0]["sha256"] == sha256
    stream = open_stream(tmp_path, tmp_path)
    assert stream.ids_N.tolist() == [1, 2, END_OF_TEXT, 3, END_OF_TEXT]


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        write_shard(tmp_path / name / "a.parquet", random_documents(5, seed=seed))
    x, y, z = (open_stream(tmp_path / name, tmp_path).fingerprint for name in "xyz")
    assert x == y != z


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
        open_stream(tmp_path, tmp_path)
    write_shard(shard, [[1, 2, 3]], token_total=1)
    with pytest.raises(ValueError, match="holds 3 tokens, its footer says 1"):
        open_stream(tmp_path, tmp_path)
    write_shard(shard, [[1, 100]])
    with pytest.raises(ValueError, match=r"a\.parquet: holds id 100, outside its vocabulary of 100"):
        open_stream(tmp_path, tmp_path)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.parquet: not a whole Parquet file"):
        open_stream(tmp_path, tmp_path)


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "a.parquet", random_documents(80))
    return make_batches(open_stream(folder, folder), 16, 16 * 8, validation_fraction=0.05, seed=7)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_each_window_once_an_epoch_whatever_the_world(batches: Batches, world: int) -> None:
    stream_windows = batches.windows(np.arange(batches.train_windows))[0]
    steps = 2 * batches.train_windows // 8 + 1
    alone = np.concatenate([batches.batch(step)[0] for step in range(steps)])
    parts = [batches.batch(step, rank, world)[0] for step in range(steps) for rank in range(world)]
    assert np.array_equal(np.concatenate(parts), alone)
    first, second = alone[: batches.train_windows], alone[batches.train_windows : 2 * batches.train_windows]
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == sorted(stream_windows.tolist())
    assert not np.array_equal(first, second)


def test_batch_is_pure(batches: Batches) -> None:
    again = Batches(**{name: getattr(batches, name) for name in batches.__dataclass_fields__})
    for step in (5, 0, 1000, 5):
        for ours, theirs in zip(batches.batch(step, 1, 2), again.batch(step, 1, 2), strict=True):
            assert np.array_equal(ours, theirs)
    x_BT, y_BT = batches.batch(3)
    assert x_BT.shape == y_BT.shape == (8, 16)
    assert np.array_equal(x_BT[:, 1:], y_BT[:, :-1])
    other_seed = Batches(batches.stream, 16, batches.train_windows, batches.validation_windows, 8, seed=8)
    assert not np.array_equal(other_seed.batch(3)[0], x_BT)


def test_validation_windows_are_never_trained_on(batches: Batches) -> None:
    visited = batches.order(np.arange(3 * batches.train_windows))
    held_out = batches.validation(10**6)
    assert len(held_out) == batches.validation_windows >= 1
    assert not set(visited.tolist()) & set(held_out.tolist())
    few = batches.validation(3)
    assert len(set(few.tolist())) == 3
    assert set(few.tolist()) <= set(held_out.tolist())


def test_world_must_divide_the_batch(batches: Batches) -> None:
    with pytest.raises(ValueError, match="3 processes: should divide the batch of 8 windows"):
        batches.batch(0, 0, 3)
