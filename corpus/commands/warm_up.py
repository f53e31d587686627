"""`corpus warm-up`: compiles all kernels for this machine, before the first command needs them.

Numba compiles a kernel when it is first called, and for the types of its arguments. So each step here is a command that
users run, on a few documents in a temporary folder: what it compiles is what later commands load.
"""

from __future__ import annotations

import importlib.resources
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from bpe.terminal.help import command, json_option
from bpe.terminal.program import cores
from bpe.terminal.text import duration, say

# Commands in the temporary folder. A line's commands run one after the other, and lines side by side; the lines that
# take longest come first.
STEPS = (
    (
        "bpe train texts --vocab-size 300 -o tokenizer",
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
        "corpus classify train --positive docs --negative docs --epochs 1 --buckets 1000 -o good.bin",
        "corpus filter docs --only classifier --classifier good.bin --keep-above 0.5 -o best",
    ),
)
_COPIES = 20  # of each document, so that there are duplicates


@command()
@json_option
def warm_up(as_json: bool) -> int:
    """Compile what every other command needs, for this machine and on all its cores: a minute or less, once.

    Examples:
      corpus warm-up && corpus run fineweb --input crawl/ -o out/

    Without it, the first commands compile what they need when they need it. After it, nothing is compiled until the
    toolkit, Numba or the processor changes.
    """
    from bpe.compiled import announce

    announce()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder)
        with ThreadPoolExecutor(cores()) as pool:
            rare = pool.submit(_compile_rare)
            list(pool.map(lambda lines: _run(lines, folder), STEPS))
            rare.result()
    seconds = time.monotonic() - start
    say(f"compiled in {duration(seconds)}")
    if as_json:
        click.echo(json.dumps({"seconds": round(seconds, 1), "cores": cores()}))
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
    (folder / "texts/words.txt").write_text(" ".join(map("".join, itertools.product("abcdefghijklmnop", repeat=3))))
    (folder / "hosts/domains").write_text("blocked.example\n")


def _compile_rare() -> None:
    """Compile what no command above needs: the functions for texts in memory, and the kernels of large inputs.

    The latter are called with empty arrays of the types that they get there.
    """
    import numpy as np

    from bpe.encode import split
    from bpe.kernels.count import RECORD, partition_short, rehash_long
    from bpe.spill import BITS
    from corpus.dedup.in_memory import near_duplicates
    from corpus.dedup.lines.in_memory import drop_repeated_lines
    from corpus.filters.kernels.lists import read_lines

    split("A text", "cl100k")
    near_duplicates(["A line that two texts have."] * 2)
    drop_repeated_lines(["A line that two texts have."] * 2, documents=2)
    rehash_long(np.zeros(2, np.uint64), np.zeros(4, np.uint64))
    partition_short(np.empty(0, np.int64), BITS, np.zeros((1 << BITS) + 1, np.int64), np.empty(RECORD, np.int64))
    read_lines(0, 0, 0, 0, 0, (np.empty(0, np.uint64), np.empty(0, np.uint16)), np.empty((0, 2), np.int64))


def _run(lines: Sequence[str], folder: Path) -> None:
    """Run the commands in the folder. Raises ValueError with the last line of one that fails."""
    for line in lines:
        call = [sys.executable, "-P", "-m", *line.split()]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{line}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
