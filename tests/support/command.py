"""Run our commands as a user does, as processes; and make documents for them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.schema import DOCUMENTS
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from tests.support.paths import REPOSITORY

# The commands that read what others have written. How a process of theirs starts is tried often enough elsewhere.
READING = {("corpus", name) for name in ("verify", "gc", "report", "clusters")}
# The commands whose passes have workers.
WITH_WORKERS = {
    ("corpus", name) for name in ("run", "extract", "filter", "dedup", "decontaminate", "scrub", "mix", "tokenize")
}


def command(*arguments: str | Path, code: int = 0, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`command("corpus", "run", ...)`; fails the test if the exit code is another than `code`.

    A pass has one worker process unless --workers says something else: to start a second one takes longer than what
    most tests let it do.
    """
    program, *rest = _words(arguments)
    done = subprocess.run(
        [sys.executable, "-m", program, *rest], cwd=cwd, capture_output=True, text=True, timeout=900, check=False
    )
    return _checked(done, code)


def inside(*arguments: str | Path, code: int = 0, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """The same in this process, which saves half a second; the workers of a pass are processes here too.

    For tests of what a command does with its input. Those of signals, of the terminal and of a disturbed run need a
    process.
    """
    program, *rest = _words(arguments)
    main = importlib.import_module(f"{program}.cli").main
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.chdir(cwd), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        found = main._exit_code(rest, {})
    texts = (stream.buffer.getvalue().decode() for stream in (output, errors))
    return _checked(subprocess.CompletedProcess([program, *rest], found, *texts), code)


def _words(arguments: Sequence[str | Path]) -> list[str]:
    program, *rest = map(str, arguments)
    if rest[:1] and (program, rest[0]) in WITH_WORKERS and not {"--workers", "--engine", "--help"} & set(rest):
        rest += ["--workers", "1"]
    return [program, *rest]


def _checked(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, f"{' '.join(done.args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def answer(*arguments: str | Path) -> Any:
    """The JSON that a command prints with --json."""
    call = inside if arguments[:2] in READING else command
    return json.loads(call(*arguments, "--json").stdout)


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
