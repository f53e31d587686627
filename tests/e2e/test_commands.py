"""The commands step by step on real pages, and what happens when a page, a signal or a server is in the way."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from bpe.files import load_vocabulary
from corpus.engine.base import Limits, Unit
from corpus.engine.local import LocalEngine
from corpus.run.chain import Step
from corpus.run.work import ChainWork, Documents
from corpus.store.shards import Dataset
from tests.support.command import answer, command, commit_documents, inside
from tests.support.crawl_server import Busy, CrawlServer, crawl_files
from tests.support.paths import REPOSITORY
from tests.support.works import Config


def test_the_whole_chain_step_by_step(testdata: Path, tmp_path: Path) -> None:
    crawl = testdata / "warc" / "tiny" / "tiny-12-pages.warc.gz"
    place = {name: tmp_path / name for name in ("docs", "filtered", "unique", "clean", "tokenizer", "tokens", "run")}
    extracted = answer("corpus", "extract", crawl, "-o", place["docs"], "--language", "en", "--language", "de")
    (accounts,) = [summary["stages"] for summary in extracted["passes"]]
    assert accounts[0]["read"] == 12
    only = ["--only", "gopher_quality", "--min-alphabetic-words", "0.5"]
    command("corpus", "filter", place["docs"], "-o", place["filtered"], *only)
    command("corpus", "dedup", place["filtered"], "-o", place["unique"])
    command("corpus", "scrub", place["unique"], "-o", place["clean"])
    command("bpe", "train", place["clean"], "--vocab-size", "512", "-o", place["tokenizer"])
    command("corpus", "tokenize", place["clean"], "--tokenizer", place["tokenizer"], "-o", place["tokens"])
    settings = ["--steps", "6", "--context", "64", "--batch-tokens", "256", "--sample-every", "3"]
    trained = answer("model", "pretrain", "--data", place["tokens"], "--preset", "tiny", "-o", place["run"], *settings)
    assert trained["step"] == 6
    assert command("model", "sample", place["run"], "--prompt", "The", "--max-tokens", "8").stdout.startswith("The")
    folders = [place[name] for name in ("docs", "filtered", "unique", "clean", "tokens")]
    report = answer("corpus", "report", *folders, "--model", place["run"])
    assert report["errors"] == []
    assert report["read"] == 12
    page = (place["tokens"] / "report.html").read_text()
    assert "<svg" in page
    assert "Step 6" in page


def test_tokens_by_a_published_vocabulary(testdata: Path, tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["hello world", "", "naïve café"])
    tokenizer = testdata / "tokenizers" / "cl100k_base.tiktoken"
    inside("corpus", "tokenize", tmp_path / "docs", "-t", tokenizer, "-o", tmp_path / "tokens")
    (shard,) = Dataset(tmp_path / "tokens").files("tokens")
    table = Dataset(tmp_path / "tokens").table(shard)
    assert table.schema.field("tokens").type.value_type == pa.uint32()
    assert table.column("tokens").to_pylist()[:2] == [[15339, 1917], []]
    assert pq.ParquetFile(tmp_path / "tokens" / shard.path).metadata.metadata[b"vocab_size"] == b"100277"


def test_tokens_counted_into_the_documents(testdata: Path, tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["hello world", "", "naïve café"])
    path = testdata / "tokenizers" / "gpt2.tiktoken"
    (tmp_path / "mine.toml").write_text(f"[token_count]\ntokenizer = '{path}'\n[tokenizer]\npath = '{path}'\n")
    inside("corpus", "run", tmp_path / "mine.toml", "--input", tmp_path / "docs", "-o", tmp_path / "out")
    clean, tokens = Dataset(tmp_path / "out" / "clean"), Dataset(tmp_path / "out" / "tokens")
    counts = clean.table(clean.files("documents")[0]).column("token_count").to_pylist()
    assert counts == [len(row) for row in tokens.table(tokens.files("tokens")[0]).column("tokens").to_pylist()]
    assert counts[:2] == [2, 0]


def test_a_vocabulary_trained_on_a_sample(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", [f"{letter * 40} {letter * 20}" for letter in "abcdefghijklmnopqrst"])
    (tmp_path / "mine.toml").write_text("[tokenizer]\nvocab_size = 300\nsample = 0.5\n")
    inside("corpus", "run", tmp_path / "mine.toml", "--input", tmp_path / "docs", "-o", tmp_path / "out")
    learnt = {token[-1:] for token in load_vocabulary(tmp_path / "out" / "tokenizer").tokens if len(token) > 1}
    assert 4 <= len(learnt) <= 16  # letters of about half of the documents; the same ones each time


def test_documents_that_hang_or_kill_their_worker_are_set_aside(tmp_path: Path) -> None:
    texts = [f"good {index}" for index in range(100)]
    texts[7], texts[30], texts[70], texts[71] = "segv", "hang", "bad luck", "kill"
    commit_documents(tmp_path / "docs", texts)
    digest = Dataset(tmp_path / "out").begin({})
    step = Step("works", "tests.support.works", Config())
    source = Documents(str(tmp_path / "docs"))
    work = ChainWork("out", (step,), str(tmp_path / "out"), digest, source, keep_dropped_text=True, seconds=1.0)
    with LocalEngine(1, Limits(grace=0.5)) as engine:
        assert engine.run(work, [Unit("u", ())], lambda event: None) == []
    dataset = Dataset(tmp_path / "out")
    (kept,), (dropped,) = dataset.files("documents"), dataset.files("dropped")
    assert kept.rows == 96
    rows = dataset.table(dropped).to_pylist()
    assert [(row["id"], row["rule"], row["value"], row["text"]) for row in rows] == [
        ("<7>", "works.crash", "SIGSEGV", "segv"),
        ("<30>", "works.timeout", "1", "hang"),
        ("<70>", "works.bad", "bad luck", "bad luck"),
        ("<71>", "works.crash", "SIGKILL", "kill"),
    ]
    assert dataset.records()[0].counts[0]["dropped"] == {
        "works.bad": 1,
        "works.crash": 2,
        "works.timeout": 1,
    }


def test_a_page_over_its_time_is_dropped_with_the_limit(testdata: Path, tmp_path: Path) -> None:
    crawl = testdata / "warc" / "tiny" / "tiny-12-pages.warc.gz"
    inside("corpus", "extract", crawl, "-o", tmp_path, "--page-seconds", "0.001", "--language", "all")
    dataset = Dataset(tmp_path)
    (dropped,) = dataset.files("dropped")
    rows = dataset.table(dropped).to_pylist()
    assert len(rows) == 12
    assert {(row["value"], row["threshold"]) for row in rows} == {("0.001", "0.001")}
    assert sum(row["rule"] == "extract.timeout" for row in rows) > 6


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_exits_130_and_resumes(testdata: Path, tmp_path: Path, how: signal.Signals) -> None:
    crawl = testdata / "warc" / "DEV-20240518000000-00000.warc.gz"
    arguments = ["extract", str(crawl), "-o", str(tmp_path / "docs"), "--language", "de"]
    with subprocess.Popen(
        [sys.executable, "-m", "corpus", *arguments], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            while not list(tmp_path.glob("docs/_tmp/*")):
                assert running.poll() is None
                time.sleep(0.02)
            running.send_signal(how)
            assert running.wait(30) == 130
            assert running.stderr
            assert "interrupted" in running.stderr.read()
        finally:
            running.kill()
    assert not list(tmp_path.glob("docs/_units/*"))
    inside("corpus", *arguments)
    assert not (tmp_path / "docs" / "_tmp").exists()


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["one"])
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "corpus", "scrub", str(tmp_path / "docs"), "-o", str(tmp_path / "clean"), "--json"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] is True


def test_fetch_then_extract_knows_the_address(testdata: Path, tmp_path: Path) -> None:
    data = (testdata / "warc" / "tiny" / "tiny-12-pages.warc.gz").read_bytes()
    with CrawlServer(crawl_files("CC-MAIN-2026-43", [data, data])) as server:
        arguments = ["corpus", "fetch", "CC-MAIN-2026-43", "-o", tmp_path / "crawl", "--base", server.base]
        first = answer(*arguments, "--limit", "1")
        assert (len(first["finished"]), first["bytes"]) == (1, len(data))
        again = inside(*arguments, "--limit", "1")
        assert "0 files downloaded, 1 there before" in again.stderr
        inside("corpus", "extract", tmp_path / "crawl", "-o", tmp_path / "docs", "--language", "de")
        docs = Dataset(tmp_path / "docs")
        (kept,) = docs.files("documents")
        (address,) = set(docs.table(kept).column("file_path").to_pylist())
        assert address.startswith("s3://commoncrawl/crawl-data/CC-MAIN-2026-43/")
        server.fault("00001.warc.gz", Busy(403))
        forbidden = inside(*arguments, code=4)
        assert "403 Forbidden" in forbidden.stderr
        assert len(list((tmp_path / "crawl").glob("*.warc.gz"))) == 1
        inside(*arguments, "--limit", "1", "--sample", "1", code=2)
        inside(*arguments, "--connections", "11", code=2)
        unknown = inside("corpus", "fetch", "CC-MAIN-1999-01", "-o", tmp_path / "x", "--base", server.base, code=1)
        assert "there is no such crawl" in unknown.stderr


def test_wet_files_are_taken_as_they_are(tmp_path: Path) -> None:
    """WET files, in every compression and beside each other in a folder, and the count of what was no page."""
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    texts = [
        f"This is the first line of page {number}\r\nand here is what was said in the café.\r\n" for number in range(3)
    ]
    head = {"WARC-Record-ID": "<urn:uuid:info>", "Content-Type": "application/warc-fields"}
    parts = [warc_record("warcinfo", b"isPartOf: CC-MAIN-2026-43\r\n", head)]
    parts += [
        warc_record(
            "conversion",
            text.encode(),
            {
                "WARC-Record-ID": f"<urn:uuid:{number}>",
                "WARC-Target-URI": f"https://a.example/{number}",
                "Content-Type": "text/plain",
            },
        )
        for number, text in enumerate(texts)
    ]
    (crawl / "a.warc.wet.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    (crawl / "b.warc.wet").write_bytes(b"".join(parts))
    (crawl / "c.wet.zst").write_bytes(b"".join(map(zstandard.compress, parts)))
    (crawl / "robots.txt").write_bytes(b"no crawl")
    summary = answer("corpus", "extract", crawl, "-o", tmp_path / "docs", "--threshold", "0")
    assert summary["passes"][0]["units"] == 3
    for record in Dataset(str(tmp_path / "docs")).records():
        assert record.counts[0] == {"stage": "warc", "read": 3, "kept": 3, "dropped": {}, "skipped_warcinfo": 1}
        table = pq.read_table(tmp_path / "docs" / record.outputs[0].path)
        assert table["text"].to_pylist() == [text.replace("\r\n", "\n").strip() for text in texts]
        assert table["encoding"].to_pylist() == ["utf-8"] * 3
        assert table["dump"].to_pylist() == ["CC-MAIN-2026-43"] * 3
    assert answer("corpus", "report", tmp_path / "docs")["stages"][0]["sums"] == {"skipped_warcinfo": 3}


def warc_record(kind: str, block: bytes, fields: dict[str, str]) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(block)}", "", ""]).encode() + block + b"\r\n\r\n"
