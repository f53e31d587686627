"""Every command that reads documents reads other people's files as well: Parquet, JSON lines, CSV, text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from bpe import train_tokenizer
from corpus.cli import main
from corpus.commands import common
from corpus.report.gather import write_report
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset
from corpus.store.verify import datasets_below
from tests.faults.driver import await_that
from tests.support.command import command, shard_hashes
from tests.support.inline import Inline
from tests.support.other_files import SHAPES, text
from tests.support.paths import REPOSITORY

COUNT = 40
NULLS = COUNT // 10

RECIPE = """[gopher_quality]
[dedup]
[scrub]
[tokenizer]
vocab_size = 300
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for name, made in SHAPES.items():
        made(folder / name, COUNT)
    (folder / "r.toml").write_text(RECIPE)
    (folder / "bench.jsonl").write_text(json.dumps({"question": text(3)}) + "\n")
    return folder


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command in this process, its units too."""
    monkeypatch.setattr(common, "start_engine", lambda *_: Inline())

    def call(*arguments: str | Path) -> None:
        assert main.main(list(map(str, arguments)), standalone_mode=False) in (0, None)

    return call


def rows(folder: Path, kind: str = "documents") -> list[dict[str, Any]]:
    return list(Dataset(folder).rows(kind))


def whole(shape: str) -> int:
    return COUNT - NULLS if shape == "nulls" else COUNT


every_shape = pytest.mark.parametrize("shape", SHAPES)


@every_shape
def test_a_recipe_runs_to_tokens_and_its_accounts_add_up(corpus: Any, shapes: Path, shape: str, tmp_path: Path) -> None:
    corpus("run", shapes / "r.toml", "--input", shapes / shape, "-o", tmp_path / "out")
    _, funnel = write_report([str(tmp_path / "out")])
    assert funnel.errors == ()
    assert (funnel.read, funnel.lines[0].stage, funnel.lines[0].kept) == (COUNT, "import", whole(shape))
    documents = rows(tmp_path / "out/clean")
    assert [row["text"] for row in documents][:3] == [row["text"] for row in rows(tmp_path / "out/documents")][:3]
    assert len(rows(tmp_path / "out/tokens", "tokens")) == len(documents) > 0
    dropped = [row for folder in datasets_below(str(tmp_path / "out")) for row in _dropped(folder)]
    assert len(dropped) == COUNT - len(documents)


def _dropped(folder: Any) -> list[dict[str, Any]]:
    dataset = folder if isinstance(folder, Dataset) else Dataset(folder)
    return list(dataset.rows("dropped")) if dataset.files("dropped") else []


@every_shape
def test_a_stage_reads_files_and_every_row_has_one_outcome(
    corpus: Any, shapes: Path, shape: str, tmp_path: Path
) -> None:
    bench = ("--benchmarks", shapes / "bench.jsonl", "--field", "question")
    gopher = ("--only", "gopher_quality")
    for name, more in {"filter": gopher, "dedup": (), "scrub": (), "decontaminate": bench}.items():
        corpus(name, shapes / shape, "-o", tmp_path / name, *more)
        _, funnel = write_report([str(tmp_path / name)])
        assert (funnel.errors, funnel.read) == ((), COUNT)
        assert len(rows(tmp_path / name)) == funnel.kept > 0
    vocabulary = tmp_path / "t"
    train_tokenizer([text(number) for number in range(5)], vocab_size=257).save(vocabulary)
    corpus("tokenize", shapes / shape, "-t", vocabulary, "-o", tmp_path / "tokens")
    assert len(rows(tmp_path / "tokens", "tokens")) == whole(shape)
    assert len(rows(tmp_path / "tokens", "dropped")) == COUNT - whole(shape)


@every_shape
def test_files_are_mixed_by_weights(corpus: Any, shapes: Path, shape: str, tmp_path: Path) -> None:
    other = "books" if shape != "books" else "table"
    corpus("mix", f"{shapes / shape}=1", f"{shapes / other}/*=1", "-o", tmp_path / "mix", "--documents", "20")
    if shape != "equal_ids":  # one id is drawn once: all documents are taken, or none
        assert {row["mix_group"] for row in rows(tmp_path / "mix")} == {shape, other}
    assert {row["text"] for row in rows(tmp_path / "mix")} <= {row["text"] for row in rows_of_all(tmp_path / "mix")}


def rows_of_all(mixed: Path) -> list[dict[str, Any]]:
    return [row for folder in sorted((mixed / "_import").iterdir()) for row in rows(folder)]


def test_files_of_all_kinds_become_one_dataset(corpus: Any, shapes: Path, tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    corpus("sample", "--pages", "40", "-o", crawl)
    corpus("import", shapes / "json_lines", "-o", tmp_path / "own")
    inputs = [f"{shapes}/books/*.txt", shapes / "table/papers.csv", crawl, tmp_path / "own"]
    corpus("import", *inputs, "-o", tmp_path / "docs", "--keep-columns")
    documents = rows(tmp_path / "docs")
    pages = len(rows(tmp_path / "docs/_warc"))
    assert len(documents) == 3 * COUNT + pages
    assert pages > 0
    (columns,) = {tuple(row) for row in documents}
    assert {"source_file", "source_offset", "number", "warc_offset"} <= set(columns)
    _, funnel = write_report([str(tmp_path / "docs")])
    assert funnel.errors == ()
    corpus("dedup", tmp_path / "docs", "-o", tmp_path / "unique")  # which reads all of it
    assert {row["source_file"] for row in documents if row["id"].startswith("papers.csv#")} == {"papers.csv"}


def test_columns_are_named_and_kept(
    corpus: Any, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = shapes / "packed_lines/a.jsonl.zst"
    corpus("import", packed, "-o", tmp_path / "a", "--map", "url=link")
    first = rows(tmp_path / "a")[0]
    assert (first["text"], first["url"]) == (text(0), "https://e.org/0")
    assert first["id"] == "a.jsonl.zst@0"
    corpus("filter", shapes / "json_lines", "-o", tmp_path / "b", "--id-column", "text", "--text-column", "text")
    corpus("import", shapes / "json_lines", "-o", tmp_path / "c")
    assert "not taken: the columns meta; --keep-columns keeps them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("filter {shapes}/text_only {shapes}/r.toml -o {out}", 1, "r.toml"),
        ("filter {shapes}/json_lines {shapes}/own -o {out}", 1, "own: no such file"),
        (
            "dedup {shapes}/text_only -o {out} --text-column body",
            1,
            "no column 'body', only text",
        ),
        ("dedup {shapes}/text_only -o {out} --keep score:quality", 1, "the documents' column quality is not there"),
        ("mix {shapes}/text_only -o {out} --by quality --weights a=1", 2, "--by quality"),
        ("import {shapes}/text_only -o {out} --map link", 2, "should be OURS=THEIRS"),
        ("import {shapes}/text_only -o {out} --map link=url", 2, "documents have no column 'link'"),
        ("run fineweb --input {shapes}/text_only -o {out}", 1, "begins with WARC files; leave out [urls]"),
        ("extract {shapes}/text_only/a.parquet -o {out}", 1, "holds documents already"),
        ("filter {shapes}/empty -o {out}", 1, "empty"),
        ("scrub {shapes}/clash -o {out} --keep-columns", 1, "a column pii_spans, which [scrub] writes"),
        ("import {shapes}/crawl -o {out}", 1, "holds WARC files and files of documents; name them apart"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_before_work(
    shapes: Path, tmp_path: Path, arguments: str, code: int, said: str
) -> None:
    for name in ("empty", "crawl", "clash"):
        (shapes / name).mkdir(exist_ok=True)
    for name in ("crawl/a.warc", "crawl/a.jsonl"):
        (shapes / name).touch()
    (shapes / "clash/a.csv").write_text("text,pii_spans\na,3\n")
    done = command("corpus", *arguments.format(shapes=shapes, out=tmp_path / "out").split(), code=code)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").rglob("*.parquet")) if (tmp_path / "out").exists() else True


def test_a_run_folder_is_not_taken_for_files(corpus: Any, shapes: Path, tmp_path: Path) -> None:
    corpus("run", shapes / "r.toml", "--input", shapes / "text_only", "-o", tmp_path / "out")
    done = command("corpus", "filter", tmp_path / "out", "-o", tmp_path / "more", code=1)
    assert f"name a dataset in it, such as {tmp_path}/out/clean" in done.stderr


def kill_when_there(driver: subprocess.Popen[bytes], folder: Path, pattern: str, later: float) -> None:
    """Kill the command so many seconds after a file like `pattern` is in the folder."""
    assert await_that(lambda: list(folder.glob(pattern)) or driver.poll() is not None)
    time.sleep(later)
    if driver.poll() is None:
        os.killpg(driver.pid, signal.SIGKILL)
    driver.wait(60)


def test_a_killed_run_over_files_ends_with_the_bytes_of_a_quiet_one(shapes: Path, tmp_path: Path) -> None:
    inputs = ("--input", f"{shapes}/fineweb", "--input", f"{shapes}/packed_lines", "--input", f"{shapes}/books")
    line = ["run", str(shapes / "r.toml"), *inputs, "--workers", "2"]
    command("corpus", *line, "-o", tmp_path / "peace")
    moments = ("out/documents/_units/*.json", "out/dedup/signatures/_units/*.json", "out/clean/_units/*.json")
    for moment, later in zip(moments, (0.0, 0.05, 0.0), strict=True):
        driver = subprocess.Popen(
            [sys.executable, "-m", "corpus", *line, "-o", str(tmp_path / "out")],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        kill_when_there(driver, tmp_path, moment, later)
    command("corpus", *line, "-o", tmp_path / "out")
    assert shard_hashes(tmp_path / "out") == shard_hashes(tmp_path / "peace")


@pytest.fixture
def examples(corpus: Any, tmp_path: Path) -> Path:
    """A folder with the files that docs/your-data.md speaks of: English pages as FineWeb has them, and others."""
    corpus("sample", "--pages", "200", "-o", tmp_path / "crawl")
    corpus("extract", tmp_path / "crawl", "-o", tmp_path / "docs0")
    pages = rows(tmp_path / "docs0")
    fineweb = tmp_path / "fineweb/data/CC-MAIN-2024-10"
    fineweb.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(pages, schema=pa.schema(list(DOCUMENTS)[:9])), fineweb / "000_00000.parquet")
    lines = [json.dumps({"uid": number, "content": page["text"]}) for number, page in enumerate(pages[:50])]
    (tmp_path / "mine.jsonl.zst").write_bytes(zstandard.compress("\n".join(lines).encode()))
    (tmp_path / "books").mkdir()
    for number in range(3):
        (tmp_path / f"books/{number}.txt").write_text(text(number))
    (tmp_path / "papers.csv").write_text(f'link,text\nhttps://a.example/,"{text(7)}"\n')
    return tmp_path


def test_the_commands_of_the_guide_work(examples: Path) -> None:
    page = (REPOSITORY / "docs/your-data.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 5
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=examples,
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    imported = rows(examples / "docs")
    assert {row["url"] for row in imported if row["source_file"] == "papers.csv"} == {"https://a.example/"}
    assert any(row["warc_offset"] is not None for row in imported)
