"""`corpus warm-up`: compiles all kernels for this machine, before the first command needs them.

Numba compiles a kernel when it is first called, and for the types of its arguments. So each step here is a command that
users run, on a few documents in a temporary folder: what it compiles is what later commands load.
"""

from __future__ import annotations

import importlib.resources
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from bpe.terminal.help import command
from bpe.terminal.program import cores
from bpe.terminal.text import say

# Commands in the temporary folder. A line's commands run one after the other, and lines side by side; the lines that
# take longest come first.
STEPS = (
    (
        "bpe train texts --vocab-size 300 --memory 12MB -o tokenizer",
        "bpe export tokenizer --to tiktoken -o ranks",
        "bpe encode -t tokenizer text",
        "bpe encode -t ranks/ranks.tiktoken --pattern cl100k text",
        "corpus tokenize docs -t tokenizer -o tokens",
    ),
    ("corpus dedup docs -o unique", "corpus dedup docs --preset fineweb -o fineweb"),
    ("corpus filter docs -o filtered",),
    ("corpus dedup docs --lines -o lines",),
    ("corpus decontaminate docs --benchmarks docs -o fair",),
    ("corpus sample --pages 20 --shards 1 -o crawl", "corpus extract crawl --blocklist hosts -o extracted"),
    (
        "corpus classify train --positive docs --negative docs --epoch 1 --buckets 100 -o good.bin",
        "corpus filter docs --only classifier --classifier good.bin --keep-above 0.5 -o best",
    ),
)
_COPIES = 20  # of each document, so that there are duplicates
_WORDS, _DIGITS = 40_000, 9  # short and long words, more of both than the trainer's first tables and memory hold


@command()
def warm_up() -> int:
    """Compile what every other command needs, for this machine and on all its cores: a minute or less, once.

    Examples:
      corpus warm-up

    Without it, the first commands compile what they need when they need it. After it, nothing is compiled until the
    toolkit, Numba or the processor changes.
    """
    say(f"compiling for this machine, once, on {cores()} cores; this takes up to a minute ...")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder)
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda lines: _run(lines, folder), STEPS))
    say(f"compiled in {time.monotonic() - start:.0f} s")
    return 0


def _write_inputs(folder: Path) -> None:
    """The documents, the texts for the trainer, and a block list."""
    import pyarrow as pa

    from corpus.schema import DOCUMENTS
    from corpus.store.records import CommitRecord
    from corpus.store.shards import Dataset, ShardWriter

    stories = importlib.resources.files("corpus.sample").joinpath("stories.txt").read_text("utf-8").split("\n\n")
    rows = [
        {"text": f"{story}\n{number}", "id": f"<{number}>", "url": f"https://{number}.example/", "language": "en"}
        for number, story in enumerate(itertools.chain(*itertools.repeat(stories, _COPIES)))
    ]
    documents = Dataset(str(folder / "docs"))
    digest = documents.begin({})
    with documents.storage.scratch() as scratch:
        writer = ShardWriter(scratch / "stories", DOCUMENTS)
        writer.write(pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS))
        writer.close()
        outputs = (writer.output("stories", "documents"),)
        documents.commit(CommitRecord("stories", "", digest, (), outputs, ()), [writer.path])
    for part in ("texts", "hosts"):
        (folder / part).mkdir()
    (folder / "texts/stories.txt").write_text("\n\n".join(stories), "utf-8")
    numbers = range(10**_DIGITS, 10**_DIGITS + _WORDS)
    (folder / "texts/words.txt").write_text("".join(f" {number:x} {number * number:x}" for number in numbers))
    (folder / "hosts/domains").write_text("blocked.example\n")


def _run(lines: Sequence[str], folder: Path) -> None:
    """Run the commands in the folder. Raises ValueError with the last line of one that fails."""
    for line in lines:
        call = [sys.executable, "-P", "-m", *line.split()]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{line}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
