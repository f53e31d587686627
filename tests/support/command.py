"""Run our commands as a user does, as processes; and make documents for them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.schema import DOCUMENTS
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from tests.support.paths import REPOSITORY

# The commands whose passes have workers.
WITH_WORKERS = {
    ("corpus", name) for name in ("run", "extract", "filter", "dedup", "decontaminate", "scrub", "mix", "tokenize")
}


def command(*arguments: str | Path, code: int = 0, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`command("corpus", "run", ...)`; fails the test if the exit code is another than `code`.

    A pass has one worker process unless --workers says something else: to start a second one takes longer than what
    most tests let it do.
    """
    program, *rest = map(str, arguments)
    if rest[:1] and (program, rest[0]) in WITH_WORKERS and not {"--workers", "--engine", "--help"} & set(rest):
        rest += ["--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", program, *rest], cwd=cwd, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == code, (
        f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    )
    assert "Traceback" not in done.stderr
    return done


def answer(*arguments: str | Path) -> Any:
    """The JSON that a command prints with --json."""
    return json.loads(command(*arguments, "--json").stdout)


def shard_hashes(output: Path) -> dict[str, str]:
    """sha256 of every file below `output` that a commit record names, and of the vocabulary."""
    hashes = {}
    for records in sorted(output.rglob("_units")):
        dataset = Dataset(records.parent)
        for record in dataset.records():
            for item in record.outputs:
                path = records.parent / item.path
                hashes[str(path.relative_to(output))] = hashlib.sha256(path.read_bytes()).hexdigest()
                assert hashes[str(path.relative_to(output))] == item.sha256
    for path in sorted((output / "tokenizer").glob("[!_]*")):
        if path.is_file():
            hashes[str(path.relative_to(output))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def commit_documents(folder: Path, texts: list[str], unit: str = "u", first: int = 0) -> None:
    """Commit a shard of documents with these texts; their ids are `<number>`, counted from `first`."""
    rows = [{"text": text, "id": f"<{number}>", "warc_offset": number} for number, text in enumerate(texts, first)]
    commit_rows(folder, rows, unit)


def commit_rows(folder: Path, rows: list[dict[str, Any]], unit: str = "u", schema: pa.Schema = DOCUMENTS) -> None:
    """Commit a shard of documents with these columns; the other columns are empty."""
    dataset = Dataset(folder)
    digest = dataset.begin({})
    with dataset.storage.scratch() as scratch:
        writer = ShardWriter(scratch / "x", schema)
        writer.write(pa.RecordBatch.from_pylist(rows, schema=schema))
        writer.close()
        dataset.commit(CommitRecord(unit, "s", digest, (), (writer.output(unit, "documents"),), ()), [writer.path])
