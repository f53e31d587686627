"""The lines of a run: what is known while it goes on, and what its last line says."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.commands.console import Progress
from corpus.engine.base import Event
from corpus.run.plan import Pass
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset
from tests.support.command import command, commit_documents, commit_rows, inside

PROCESS = """
from dataclasses import dataclass
import pyarrow as pa
from corpus.schema import outcome
{columns}

@dataclass(frozen=True)
class Config:
    pass

def process(batch, config):
    lengths = pa.array([len(text) for text in batch.column("text").to_pylist()], pa.int64())
    return outcome(batch.append_column("length", lengths), "mine", {{}})
"""


def test_the_kept_share_is_shown_once_it_is_known(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    progress = Progress(Pass("filter", dataset.path, ["u"], lambda keys: [], {}, lambda digest: None))  # type: ignore[arg-type, return-value]
    assert "kept" not in progress._rate(Event("progress"))
    assert "kept" not in progress._rate(Event("progress", read=64))
    assert ", 50% kept" in progress._rate(Event("progress", read=64, kept=32))
    progress.done, progress.read = 1, 64
    assert ", 0% kept" in progress._rate(Event("progress"))


def test_a_run_that_keeps_nothing_says_so_in_its_last_line(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["A short text.", "Another one."])
    arguments = ["filter", "docs", "-o", "out", "--only", "gopher_quality"]
    done = inside("corpus", *arguments, cwd=tmp_path)
    last = "NOTHING IS KEPT in out: 2 documents read, dropped most by gopher_quality.few_words 2; change these settings"
    assert done.stderr.splitlines()[-2:] == ["filter: 1 of 1 unit done -> out (2 read, 0 kept)", last]
    again = inside("corpus", *arguments, cwd=tmp_path).stderr.splitlines()
    assert again == ["filter: nothing to do, its only unit is done in out", last]
    (tmp_path / "mine.toml").write_text("[gopher_quality]")
    run = inside("corpus", "run", "mine.toml", "--input", "docs", "-o", "run", cwd=tmp_path)
    assert run.stderr.splitlines()[-1] == last.replace("in out", "in run/clean")


def test_two_runs_have_two_reports(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["A short text.", "Another one."])
    (tmp_path / "mine.toml").write_text("[c4]")
    for name in ("a", "b"):
        inside("corpus", "run", "mine.toml", "--input", "docs", "-o", name, cwd=tmp_path)
    page = (tmp_path / "b/report.html").read_bytes()
    refused = inside("corpus", "report", "a", "b", code=1, cwd=tmp_path)
    why = "a and b: no documents went through two whole runs"
    assert refused.stderr == f"corpus: {why}; report each alone: corpus report a; corpus report b\n"
    assert (tmp_path / "b/report.html").read_bytes() == page


@pytest.mark.parametrize(("first", "second"), [("lacks", "has"), ("has", "lacks")])
def test_a_shard_without_a_column_of_the_others_is_named(first: str, second: str, tmp_path: Path) -> None:
    schemas = {"has": DOCUMENTS, "lacks": DOCUMENTS.remove(DOCUMENTS.get_field_index("url"))}
    for unit, kind in (("a", first), ("b", second)):
        commit_rows(tmp_path / "docs", [{"text": "Some text.", "id": f"<{unit}>"}], unit, schemas[kind])
    (shard,) = (output.path for output in Dataset(tmp_path / "docs").files("documents") if output.unit == "b")
    for name, *more in (["filter"], ["scrub"], ["dedup"]):
        failed = inside("corpus", name, "docs", "-o", name, *more, code=1, cwd=tmp_path)
        assert f"FAILED b: docs/{shard}: {second} url, unlike the first shard; all shards should have" in failed.stderr


@pytest.mark.parametrize("columns", ["", 'COLUMNS = (pa.field("length", pa.int64()), pa.field("more", pa.int64()))'])
def test_columns_of_ones_own_are_declared(columns: str, tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["A short text."])
    (tmp_path / "mine.py").write_text(PROCESS.format(columns=columns))
    (tmp_path / "mine.toml").write_text('[mine]\nmodule = "mine"')
    failed = command("corpus", "filter", "docs", "-o", "out", "--recipe", "mine.toml", code=1, cwd=tmp_path).stderr
    if columns:
        assert "[mine] mine.process should add the column more, which its COLUMNS names" in failed
        (tmp_path / "mine.py").write_text(PROCESS.format(columns='COLUMNS = (pa.field("length", pa.int64()),)'))
        command("corpus", "filter", "docs", "-o", "right", "--recipe", "mine.toml", cwd=tmp_path)
        assert next(Dataset(tmp_path / "right").rows())["length"] == len("A short text.")
    else:
        fix = 'add COLUMNS = (pa.field("length", pa.int64()),) to the module'
        assert f"[mine] mine.process adds the column length; {fix}" in failed
