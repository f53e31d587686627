"""The passes of deduplication: what waits for what, and that nothing shows in the result but the documents: no cut into
shards, partitions or tasks, no order of rows, no index in between."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasketch
import pyarrow as pa
import pytest

from corpus.dedup import Config, shards
from corpus.dedup.index import fill_lsh
from corpus.dedup.passes import dedup_passes
from corpus.dedup.published import IndexOptions
from corpus.dedup.shards import SignedShards
from corpus.dedup.signatures import to_datasketch
from corpus.engine.local import LocalEngine
from corpus.inputs import source_keys
from corpus.run import barrier
from corpus.run.barrier import BarrierJob
from corpus.run.execute import run_pass
from corpus.run.plan import ALONE, Share, Source, Waiting
from corpus.run.recipe import Recipe, make_step
from corpus.schema import DOCUMENTS
from corpus.stage import load_stage
from corpus.store.records import CommitRecord, Conflict
from corpus.store.shards import Dataset, ShardWriter
from tests.support.command import commit_documents, shard_hashes

WORKED = ["signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels"]


def some_texts(count: int, seed: int = 1) -> list[str]:
    """Half of them unlike all others, the others copies or near-copies of these."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefgh", k=6)) for _ in range(2000)]
    texts = [" ".join(chance.choices(words, k=120)) for _ in range(count // 2)]
    texts += [text if chance.random() < 0.5 else f"{text} and more" for text in texts]
    chance.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four shards of 60 documents."""
    folder = tmp_path_factory.mktemp("documents")
    texts = some_texts(240)
    for unit in range(4):
        commit_documents(folder, texts[60 * unit : 60 * unit + 60], f"u{unit}", first=60 * unit)
    return str(folder)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


def deduplicate(
    documents: str, output: Path, engine: LocalEngine, share: Share = ALONE, config: Config | None = None, **more: Any
) -> dict[str, int]:
    """Runs all passes; units by pass."""
    steps = (make_step("dedup")._replace(config=config or Config()),)
    keys = source_keys(Source(dataset=documents))
    memory = more.pop("memory", None)
    options = IndexOptions(**more)
    job = BarrierJob(documents, keys, Recipe("x", steps), f"{output}/work", share, memory, options)
    units = {}
    for plan in dedup_passes(job, steps, str(output)):
        summary = run_pass(plan, engine, lambda event: None, share)
        assert summary.failures == []
        units[plan.name] = summary.units
    return units


def rows(folder: str | Path, kind: str = "documents") -> list[dict[str, Any]]:
    dataset = Dataset(folder)
    return [row for output in dataset.files(kind) for row in dataset.table(output).to_pylist()]


def kept(folder: str | Path) -> set[str]:
    return {row["id"] for row in rows(folder)}


def test_partitions_do_not_show(
    documents: str, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = deduplicate(documents, tmp_path / "one", engine)
    assert one == dict.fromkeys(WORKED, 1) | {"signatures": 4, "dedup": 4}
    monkeypatch.setattr(barrier, "_PARTITION", 20_000)
    monkeypatch.setattr(shards, "_SMALLEST_GROUP", 10_000)
    many = deduplicate(documents, tmp_path / "many", engine)
    assert [many[name] for name in WORKED] == [4, 4, 4, 1, 4, 16, 4]
    hashes = [
        {name: digest for name, digest in shard_hashes(tmp_path / folder).items() if name.split("/")[0] != "work"}
        for folder in ("one", "many")
    ]
    assert hashes[0] == hashes[1]
    assert len(kept(tmp_path / "one")) == 120


def test_the_number_of_partitions_grows_with_the_bytes_and_less_with_more_memory() -> None:
    sizes = [1, 64 << 20, (64 << 20) + 1, 10**9, 15 * 10**10, 15 * 10**11]
    assert [len(barrier.partitions(size, None)) for size in sizes] == [1, 1, 2, 16, 1024, 1024]
    assert barrier.partitions(1 << 30, memory=1024)[-1] == "0003-of-0004"
    assert len(barrier.partitions(1 << 30, memory=16)) == 256


def test_a_part_of_what_a_group_writes_is_a_megabyte_where_there_is_much() -> None:
    documents = 600_000_000
    for each in (276, 4_000):
        grouped = SignedShards("", None, 0).grouped(each * documents, documents)
        assert grouped.documents * each // len(barrier.partitions(each * documents, None)) > 1_000_000


def test_one_keep_set_however_documents_are_cut_and_shuffled(engine: LocalEngine, tmp_path: Path) -> None:
    texts = some_texts(120, seed=2)
    found = []
    with LocalEngine(1) as alone:
        for seed in range(20):
            chance = random.Random(seed)
            named = list(enumerate(texts))
            chance.shuffle(named)
            cuts = sorted(chance.sample(range(1, 120), chance.randint(0, 5)))
            folder = tmp_path / f"{seed}/documents"
            for unit, (start, end) in enumerate(zip([0, *cuts], [*cuts, 120], strict=True)):
                commit_documents(folder, [text for _, text in named[start:end]], f"u{unit}", first=start)
            # Ids and offsets travel with the documents, whatever shard they are in.
            numbers = {f"<{place}>": number for place, (number, _) in enumerate(named)}
            rewrite(folder, functools.partial(renumbered, numbers))
            deduplicate(str(folder), tmp_path / f"{seed}/out", (engine, alone)[seed % 2])
            found.append(kept(tmp_path / f"{seed}/out"))
    assert len(found[0]) == 60
    assert all(other == found[0] for other in found)


def renumbered(numbers: dict[str, int], row: dict[str, Any]) -> dict[str, Any]:
    return row | {"id": f"<{numbers[row['id']]}>", "warc_offset": numbers[row["id"]]}


def rewrite(folder: str | Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Commit every shard of documents again, each row changed."""
    dataset = Dataset(folder)
    for record in dataset.records():
        changed = [change(row) for row in dataset.table(record.outputs[0]).to_pylist()]
        (Path(folder) / f"_units/{record.unit}.json").unlink()
        with dataset.storage.scratch() as scratch:
            writer = ShardWriter(scratch / "x", DOCUMENTS)
            writer.write(pa.RecordBatch.from_pylist(changed, schema=DOCUMENTS))
            writer.close()
            output = writer.output(record.unit, "documents")
            dataset.commit(CommitRecord(record.unit, "s", record.config, (), (output,), ()), [writer.path])


def test_a_dropped_document_names_its_kept_twin_and_their_similarity(
    documents: str, engine: LocalEngine, tmp_path: Path
) -> None:
    deduplicate(documents, tmp_path, engine)
    texts = {row["id"]: row["text"] for row in rows(documents)}
    stay = kept(tmp_path)
    dropped = rows(tmp_path, "dropped")
    assert len(dropped) == 120
    for row in dropped:
        assert row["duplicate_of"] in stay
        one, other = (ngrams(texts[name]) for name in (row["id"], row["duplicate_of"]))
        assert float(row["value"]) == len(one & other) / len(one | other) >= 0.75
        assert row["rule"] == ("dedup.exact" if texts[row["id"]] == texts[row["duplicate_of"]] else "dedup.minhash")
    sizes = {row["id"]: row["minhash_cluster_size"] for row in rows(tmp_path)}
    assert sum(sizes.values()) == 240


def ngrams(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def test_labels_alone(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    units = deduplicate(documents, tmp_path / "labels", engine, labels_only=True)
    assert "dedup" not in units
    deduplicate(documents, tmp_path / "unique", engine)
    labels = rows(tmp_path / "labels", "labels")
    assert [row["id"] for row in labels] == [row["id"] for row in rows(documents)]
    assert {row["id"] for row in labels if row["keep"]} == kept(tmp_path / "unique")
    by_cluster: dict[int, set[str]] = {}
    for row in labels:
        by_cluster.setdefault(row["cluster_id"], set()).add(row["id"])
    for row in labels:
        assert row["representative"] in by_cluster[row["cluster_id"]]
        assert row["cluster_size"] == len(by_cluster[row["cluster_id"]])
        assert (row["similarity"] is None) == row["keep"]


def test_a_second_crawl_against_the_index_of_the_first_keeps_what_both_keep_as_one(
    documents: str, engine: LocalEngine, tmp_path: Path
) -> None:
    first, second, whole = tmp_path / "first", tmp_path / "second", tmp_path / "whole"
    texts = [row["text"] for row in rows(documents)]
    commit_documents(first, texts[:100], "a")
    commit_documents(second, texts[100:170], "b", first=100)
    commit_documents(second, texts[170:], "c", first=170)
    commit_documents(whole, texts[:100], "a")
    commit_documents(whole, texts[100:], "b", first=100)
    config, index = Config(keep="first"), str(tmp_path / "index")
    one = deduplicate(str(first), tmp_path / "1", engine, config=config, against=index, update_index=True)
    assert one["index"] == 1
    more: dict[str, Any] = {"config": config, "against": index, "update_index": True}
    two = deduplicate(str(second), tmp_path / "2", engine, **more)
    assert (two["candidates"], two["labels"], two["index"]) == (2, 1, 2)
    deduplicate(str(whole), tmp_path / "all", engine, config=config)
    assert kept(tmp_path / "1") | kept(tmp_path / "2") == kept(tmp_path / "all")
    hashes = shard_hashes(tmp_path / "2")
    # Again, after the index has grown by these very documents: they are not compared with themselves.
    assert deduplicate(str(second), tmp_path / "2", engine, **more)["index"] == 2
    assert shard_hashes(tmp_path / "2") == hashes
    assert len(rows(index, "signatures")) == 120
    again = deduplicate(str(second), tmp_path / "3", engine, config=config, against=index)
    assert "index" not in again
    assert kept(tmp_path / "3") == set()


def test_an_index_that_is_not_there_or_of_another_scheme_is_refused(
    documents: str, engine: LocalEngine, tmp_path: Path
) -> None:
    index = str(tmp_path / "index")
    with pytest.raises(ValueError, match="index: no index; make one with --update-index"):
        deduplicate(documents, tmp_path / "1", engine, against=index)
    deduplicate(documents, tmp_path / "1", engine, against=index, update_index=True)
    with pytest.raises(ValueError, match=r"index: made with .*seed=1.* this call has .*seed=2"):
        deduplicate(documents, tmp_path / "2", engine, config=Config(seed=2), against=index)


def test_what_is_no_index_is_refused_before_anything_is_written(
    documents: str, engine: LocalEngine, tmp_path: Path
) -> None:
    deduplicate(documents, tmp_path / "other", engine)
    before = shard_hashes(tmp_path / "other")
    for folder, maker in ((tmp_path / "other", "dedup"), (tmp_path / "other/work/signatures", "signatures")):
        for update in (False, True):
            with pytest.raises(ValueError, match=f"{folder}: no index, unit u0 was made by {maker}; name a folder"):
                deduplicate(documents, tmp_path / "out", engine, against=str(folder), update_index=update)
    assert not (tmp_path / "out").exists()
    assert shard_hashes(tmp_path / "other") == before


def test_an_index_that_another_one_took_the_place_of_is_refused(
    documents: str, engine: LocalEngine, tmp_path: Path
) -> None:
    commit_documents(tmp_path / "few", ["some words that nobody else has said before"])
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    deduplicate(documents, tmp_path / "1", engine, against=one, update_index=True)
    deduplicate(str(tmp_path / "few"), tmp_path / "2", engine, against=other, update_index=True)
    deduplicate(documents, tmp_path / "out", engine, against=one)
    assert kept(tmp_path / "out") == set()
    with pytest.raises(
        ValueError, match=r"other: unit u0-\w+ is not there any more as it was when .*/work/index\.json"
    ):
        deduplicate(documents, tmp_path / "out", engine, against=other)


def test_documents_are_published_once(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    deduplicate(documents, tmp_path / "1", engine, against=index, update_index=True)
    before = shard_hashes(tmp_path / "index")
    with pytest.raises(ValueError, match=r"index: has the documents of .* already \(u0-\w+\), from another output"):
        deduplicate(documents, tmp_path / "2", engine, against=index, update_index=True)
    assert shard_hashes(tmp_path / "index") == before


def test_an_index_file_that_is_damaged_is_named(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    deduplicate(documents, tmp_path / "1", engine, against=index, update_index=True)
    (tmp_path / "1/work/index.json").write_text("[1, 2")
    with pytest.raises(ValueError, match=r"1/work/index\.json: not a list of an index's units"):
        deduplicate(documents, tmp_path / "1", engine, against=index)


@pytest.mark.parametrize("where", ["documents", "out", "out/work", "out/work/labels", "out/../out"])
def test_an_index_needs_a_folder_of_its_own(engine: LocalEngine, tmp_path: Path, where: str) -> None:
    commit_documents(tmp_path / "documents", some_texts(4))
    with pytest.raises(ValueError, match="an index needs a folder of its own"):
        deduplicate(
            str(tmp_path / "documents"), tmp_path / "out", engine, against=str(tmp_path / where), update_index=True
        )


def test_what_is_read_is_not_written_to(engine: LocalEngine, tmp_path: Path) -> None:
    commit_documents(tmp_path / "documents", some_texts(4))
    for labels_only in (False, True):
        with pytest.raises(ValueError, match="documents: is the folder that is read; name another output folder"):
            deduplicate(str(tmp_path / "documents"), tmp_path / "documents", engine, labels_only=labels_only)
    assert Dataset(tmp_path / "documents").units() == ["u"]


def test_units_of_other_documents_are_not_read_along(engine: LocalEngine, tmp_path: Path) -> None:
    texts = some_texts(8)
    for unit in range(2):
        commit_documents(tmp_path / "documents", texts[4 * unit : 4 * unit + 4], f"u{unit}", first=4 * unit)
    deduplicate(str(tmp_path / "documents"), tmp_path / "out", engine)
    (tmp_path / "documents/_units/u1.json").unlink()
    with pytest.raises(Conflict, match="work/signatures: holds unit u1, which is none of this call's"):
        deduplicate(str(tmp_path / "documents"), tmp_path / "out", engine)


def test_labels_of_another_run_are_not_taken_for_ones_own(
    documents: str, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deduplicate(documents, tmp_path / "whole", engine, config=Config(threshold=0.99))
    monkeypatch.setattr(shards, "_SMALLEST_GROUP", 10_000)  # so that units have other names
    deduplicate(documents, tmp_path / "out", engine)
    shutil.rmtree(tmp_path / "out/work/labels")
    shutil.copytree(tmp_path / "whole/work/labels", tmp_path / "out/work/labels")
    with pytest.raises(Conflict, match="work/labels: holds unit 00000-of-00001, which is none of this call's"):
        deduplicate(documents, tmp_path / "out", engine)


def test_datasketch_can_be_filled_from_the_index(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    index = Dataset(tmp_path / "index")
    deduplicate(documents, tmp_path / "1", engine, against=index.path, update_index=True)
    config = Config()
    lsh = datasketch.MinHashLSH(num_perm=config.num_perm, params=(config.bands, config.rows))
    batches = (batch for shard in index.files("signatures") for batch in index.batches(shard, 50))
    assert fill_lsh(batches, config, lsh) == 120
    for row in rows(index.path, "signatures"):
        assert row["id"] in lsh.query(to_datasketch(row, config))


def test_documents_of_other_dumps_are_none_of_a_dumps_business(engine: LocalEngine, tmp_path: Path) -> None:
    texts = ["one and the same text of two dumps and more"] * 2
    commit_documents(tmp_path / "documents", texts, "u")
    assert len(kept_with(tmp_path, engine, "same", Config())) == 1
    dumps = {"<0>": "CC-MAIN-2020-05", "<1>": "CC-MAIN-2021-04"}
    rewrite(tmp_path / "documents", lambda row: row | {"dump": dumps[row["id"]]})
    assert kept_with(tmp_path, engine, "together", Config()) == {"<0>"}  # the earlier dump's
    assert len(kept_with(tmp_path, engine, "apart", Config(per_dump=True))) == 2


def kept_with(folder: Path, engine: LocalEngine, name: str, config: Config) -> set[str]:
    deduplicate(str(folder / "documents"), folder / name, engine, config=config)
    return kept(folder / name)


@pytest.mark.parametrize("config", [Config(minhash=False), Config(exact=False), Config(verify=False, keep="first")])
def test_each_half_works_alone(config: Config, documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    deduplicate(documents, tmp_path, engine, config=config)
    rules = {row["rule"] for row in rows(tmp_path, "dropped")}
    both = {f"dedup.{rule.name}" for rule in load_stage("dedup").rules} - {"dedup.chain"}
    assert rules == ({"dedup.exact"} if not config.minhash else {"dedup.minhash"} if not config.exact else both)


def test_a_score_column_decides_and_must_be_there(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    deduplicate(documents, tmp_path / "1", engine, config=Config(keep="score:warc_offset"))
    found = {row["id"] for row in rows(tmp_path / "1", "dropped") if row["rule"] == "dedup.exact"}
    twins = {row["duplicate_of"]: row["id"] for row in rows(tmp_path / "1", "dropped")}
    assert found
    assert all(int(one[1:-1]) > int(other[1:-1]) for one, other in twins.items())
    for name in ("quality", "url"):
        with pytest.raises(ValueError, match=f"column {name} is .*; columns of numbers: language_score, token_count"):
            deduplicate(documents, tmp_path / name, engine, config=Config(keep=f"score:{name}"))


def test_a_task_waits_where_others_are_needed(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(Waiting, match=r"signatures: 2 of 4 units are with other tasks, e\.g\. u0"):
        deduplicate(documents, tmp_path / "out", engine, Share(2, 2))
    assert Dataset(tmp_path / "out/work/signatures").units() == ["u1", "u3"]
    with pytest.raises(Waiting, match="signatures: 2 of 4 units"):
        deduplicate(documents, tmp_path / "out", engine, Share(2, 2, wait=0.1))
    first = deduplicate(documents, tmp_path / "out", engine, Share(1, 2))
    assert first == dict.fromkeys(WORKED, 1) | {"signatures": 2, "dedup": 2}
    second = deduplicate(documents, tmp_path / "out", engine, Share(2, 2))
    assert second == dict.fromkeys(WORKED, 0) | {"signatures": 2, "dedup": 2}
    deduplicate(documents, tmp_path / "alone", engine)
    assert shard_hashes(tmp_path / "out") == shard_hashes(tmp_path / "alone")


def test_what_vanished_is_not_waited_for(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    deduplicate(documents, tmp_path, engine)
    steps = (make_step("dedup"),)
    job = BarrierJob(documents, ["u0", "u1", "u2", "u3"], Recipe("x", steps), f"{tmp_path}/work")
    plans = dedup_passes(job, steps, str(tmp_path))
    next(plans)
    (tmp_path / "work/signatures/_units/u2.json").unlink()
    with pytest.raises(OSError, match="signatures: what was committed for unit u2 is not there"):
        next(plans)


def test_what_is_counted(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    deduplicate(documents, tmp_path, engine)
    counts = {name: Dataset(tmp_path / "work" / name).records()[0].counts[-1] for name in WORKED}
    assert counts["signatures"]["shingles"] > 60 * 116
    assert counts["signatures"]["wordless"] == 0
    assert counts["blocks"]["candidates"] == 240
    assert counts["blocks"]["blocks"] == 120
    assert counts["decisions"]["capped"] == 0
    json.dumps(counts)
