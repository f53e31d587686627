"""The whole chain on 1,033 real pages: every page is accounted for, and the bytes are the same whatever happens.

What disturbs a run is tried on the first pages of each file; the long tests try it on all.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.encode import Encoder
from bpe.files import load_vocabulary
from corpus.schema import DOCUMENTS
from corpus.stage import STAGES, load_stage
from corpus.store.open import storage
from corpus.store.shards import Dataset
from corpus.warc.source import RULES, read_pages
from tests.support.command import answer, command, inside, shard_hashes
from tests.support.object_server import BUCKET, object_server
from tests.support.paths import REPOSITORY

PAGES = 1033
FEW = 30  # of each file


class Run(NamedTuple):
    """A run that nothing disturbs: of which crawl, where, and in how many seconds."""

    crawl: Path
    output: Path
    seconds: float


def arguments(crawl: Path, output: Path | str, workers: int) -> list[str]:
    languages = ["--language", "en", "--language", "de"]
    source = ["--input", str(crawl / "DEV-*.warc.gz")]
    size = ["--set", "tokenizer.vocab_size=8192"]
    return ["run", "recipes/fineweb.toml", *source, "-o", str(output), *languages, *size, "--workers", str(workers)]


def run(crawl: Path, output: Path) -> Run:
    start = time.monotonic()
    command("corpus", *arguments(crawl, output, 2))
    return Run(crawl, output, time.monotonic() - start)


@pytest.fixture(scope="module")
def whole(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(testdata / "warc", tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture(scope="module")
def few(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first pages of each file."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "crawl").mkdir()
    for path in sorted((testdata / "warc").glob("DEV-*.warc.gz")):
        last = next(itertools.islice(read_pages(path), FEW - 1, None))
        (folder / "crawl" / path.name).write_bytes(path.read_bytes()[: last.warc_offset + last.warc_length])
    return run(folder / "crawl", folder / "out")


@pytest.fixture(params=["few", pytest.param("whole", marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def quiet(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def undisturbed(whole: Run) -> Path:
    return whole.output


def test_every_page_is_kept_or_dropped_with_its_reason(undisturbed: Path) -> None:
    report = answer("corpus", "report", undisturbed)
    stages = {stage["stage"]: stage for stage in report["stages"]}
    assert stages["warc"]["read"] == PAGES
    dropped: list[dict[str, object]] = []
    for name in ("documents", "clean"):
        dataset = Dataset(undisturbed / name)
        for output in dataset.files("dropped"):
            dropped += dataset.table(output).to_pylist()
    clean = Dataset(undisturbed / "clean")
    kept = [row for output in clean.files("documents") for row in clean.table(output).to_pylist()]
    assert len(kept) + len(dropped) == PAGES
    assert len({row["id"] for row in kept + dropped}) == PAGES
    for row in dropped:
        assert all(row[name] not in (None, "") for name in ("id", "url", "stage", "rule", "value", "threshold"))
        assert str(row["rule"]).startswith(f"{row['stage']}.")
    assert {row["language"] for row in kept} == {"en", "de"}
    assert min(row["language_score"] for row in kept) > 0.65
    assert len(kept) > 200


def test_every_committed_file_is_verified(undisturbed: Path) -> None:
    result = answer("corpus", "verify", undisturbed)
    assert result["problems"] == []
    assert result["units"] == 31
    # documents and dropped, signatures, what they exchange, labels, clean and dropped, vocabulary, tokens
    assert result["files"] == 6 * 2 + 6 + 5 + 6 + 6 * 2 + 3 + 6


def test_the_shards_have_the_contract_s_columns(undisturbed: Path) -> None:
    clean = Dataset(undisturbed / "clean")
    for output in clean.files("documents"):
        schema = clean.schema(output)
        assert schema.names[:6] == ["text", "id", "dump", "url", "date", "file_path"]
        assert schema.names[6:9] == ["language", "language_score", "token_count"]
        assert pa.schema([schema.field(name) for name in DOCUMENTS.names]) == DOCUMENTS
        assert schema.names[11:] == ["opt_out", "prescreen_score", "encoding", "minhash_cluster_size", "pii_spans"]


def test_the_tokens_decode_to_the_exact_text(undisturbed: Path) -> None:
    vocabulary = load_vocabulary(undisturbed / "tokenizer")
    encoder = Encoder(vocabulary)
    clean, tokens = Dataset(undisturbed / "clean"), Dataset(undisturbed / "tokens")
    total = 0
    for text_shard, token_shard in zip(clean.files("documents"), tokens.files("tokens"), strict=True):
        documents, rows = clean.table(text_shard).to_pylist(), tokens.table(token_shard).to_pylist()
        assert [row["id"] for row in rows] == [document["id"] for document in documents]
        for document, row in zip(documents, rows, strict=True):
            assert encoder.decode(row["tokens"]) == document["text"]
        footer = pq.ParquetFile(undisturbed / "tokens" / token_shard.path).metadata.metadata
        count = sum(len(row["tokens"]) for row in rows)
        assert footer[b"token_total"] == str(count).encode()
        assert footer[b"tokenizer_hash"] == vocabulary.hash.encode()
        assert footer[b"vocab_size"] == b"8192"
        assert footer[b"end_of_text"] == str(vocabulary.end_of_text).encode()
        total += count
    assert total > 100_000


def test_every_rule_that_dropped_a_page_is_declared(undisturbed: Path) -> None:
    declared = {f"{name}.{rule.name}" for name in STAGES for rule in load_stage(name).rules}
    declared |= {f"warc.{rule.name}" for rule in RULES}
    for folder in ("documents", "clean"):
        dataset = Dataset(undisturbed / folder)
        tables = [dataset.table(output) for output in dataset.files("dropped")]
        assert {rule for table in tables for rule in table.column("rule").to_pylist()} <= declared


def test_a_second_call_does_nothing_and_says_so(undisturbed: Path, testdata: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    done = inside("corpus", *arguments(testdata / "warc", undisturbed, 2))
    lines = done.stderr.splitlines()
    assert sum("nothing to do" in line for line in lines) == 11
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}


def test_one_worker_writes_the_same_bytes_as_two(quiet: Run, tmp_path: Path) -> None:
    inside("corpus", *arguments(quiet.crawl, tmp_path / "out", 1))
    assert shard_hashes(tmp_path / "out") == shard_hashes(quiet.output)


def test_many_tasks_write_the_same_bytes_as_one(quiet: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shares = ("2/3", "1/3", "3/3", "1/3", "1/3", "2/3", "3/3", "1/3", "2/3", "3/3")
    said = [inside("corpus", *arguments(quiet.crawl, output, 1), "--units", share).stderr for share in shares]
    assert "waiting: " in said[0]
    assert "4 of 6 units are with other tasks, e.g. DEV-20240518000000-00000" in said[0]
    assert "no unit is in the share of this task" in said[2]  # of `bands` there is one
    assert all("waiting" not in text for text in said[-2:])
    assert shard_hashes(output) == shard_hashes(quiet.output)
    assert (output / "report.html").is_file()


def test_many_tasks_at_a_time_wait_for_each_other(quiet: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    base = [sys.executable, "-m", "corpus", *arguments(quiet.crawl, output, 1), "--wait", "10", "--units"]
    tasks = [subprocess.Popen([*base, f"{index}/3"], cwd=REPOSITORY, stderr=subprocess.DEVNULL) for index in (1, 2, 3)]
    assert [task.wait(600) for task in tasks] == [0, 0, 0]
    assert shard_hashes(output) == shard_hashes(quiet.output)


def test_an_object_store_holds_the_same_bytes(quiet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        output = f"s3://{BUCKET}/runs/out"
        inside("corpus", *arguments(quiet.crawl, output, 2))
        again = inside("corpus", *arguments(quiet.crawl, output, 2)).stderr.splitlines()
        assert sum("nothing to do" in line for line in again) == 11
        result = answer("corpus", "verify", output)
        assert (result["problems"], result["units"]) == ([], 31)
        assert answer("corpus", "gc", output, "--min-age", "0")["files"] == []
        place = storage(output)
        assert answer("corpus", "report", output)["kept"] == answer("corpus", "report", quiet.output)["kept"]
        assert b"gopher_quality" in (place.read("report.html") or b"")
        expected = shard_hashes(quiet.output)
        assert {key: hashlib.sha256(place.read(key) or b"").hexdigest() for key in expected} == expected
        # WARC files from there as well; their address is another one, the pages are the same.
        for path in sorted(quiet.crawl.glob("*.warc.gz"))[:2]:
            place.publish(path, f"crawl/{path.name}")
        inside("corpus", "extract", f"{output}/crawl/*.warc.gz", "-o", f"{output}/docs", "--workers", "2")
        (first, _) = Dataset(f"{output}/docs").files("documents")
        row = Dataset(f"{output}/docs").table(first).to_pylist()[0]
        assert row["file_path"] == f"{output}/crawl/DEV-20240518000000-00000.warc.gz"


def test_ten_kills_change_nothing(quiet: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    chance = random.Random(7)
    kills = 0
    while kills < 10:
        driver = subprocess.Popen(
            [sys.executable, "-m", "corpus", *arguments(quiet.crawl, output, 2)],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = driver.wait(chance.uniform(0.5, quiet.seconds))
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            kills += 1
        else:  # it came through: begin again, so that every kill hits a run at work
            assert code == 0
            assert shard_hashes(output) == shard_hashes(quiet.output)
            shutil.rmtree(output)
    inside("corpus", *arguments(quiet.crawl, output, 2))
    assert shard_hashes(output) == shard_hashes(quiet.output)
    assert not list(output.glob("*/_tmp"))


def test_another_recipe_is_refused_naming_both(undisturbed: Path, testdata: Path) -> None:
    done = inside("corpus", *arguments(testdata / "warc", undisturbed, 2), "--set", "c4.min_sentences=3", code=1)
    assert "c4.min_sentences is 5 there, 3 here" in done.stderr


def test_other_libraries_open_the_shards(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb
    import polars

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    for name, kind in (("clean", "documents"), ("clean", "dropped"), ("tokens", "tokens")):
        dataset = Dataset(undisturbed / name)
        paths = [str(undisturbed / name / output.path) for output in dataset.files(kind)]
        rows = sum(output.rows for output in dataset.files(kind))
        connection = duckdb.connect()
        assert connection.execute("SELECT count(*) FROM read_parquet(?)", [paths]).fetchone() == (rows,)
        frame = polars.read_parquet(paths)
        assert frame.height == rows
        loaded = datasets.load_dataset("parquet", data_files=paths, split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.num_rows == rows
        expected = dataset.schema(dataset.files(kind)[0]).names
        assert loaded.column_names == frame.columns == expected


def test_the_report_page(undisturbed: Path) -> None:
    page = (undisturbed / "report.html").read_text()
    assert "gopher_quality" in page
    assert f"{PAGES:,}" in page
    assert "[gopher_repetition]" in page
