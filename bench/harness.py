"""What all benchmarks use: real texts, medians, one way to print figures, one way to report them to the gate.

A ratio above 1 always means that ours is better: it is ours / peer for a rate, and peer / ours for seconds or memory.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tiktoken

    from bpe.vocabulary import Vocabulary

SEPARATOR = "<|endoftext|>"


def data_folder() -> Path:
    """The folder of real pages and texts; exits with one line where there is none."""
    folder = Path(os.environ.get("CORPUS_TESTDATA", Path(__file__).parent.parent / "../shared/data"))
    if not folder.is_dir():
        sys.exit(f"no test data at {folder}: set CORPUS_TESTDATA to the folder that holds text/ and warc/")
    return folder.resolve()


def read_documents(path: Path) -> list[str]:
    """Documents of a text file whose documents are joined by a line `<|endoftext|>`, or of JSON lines with `text`."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        content = file.read()
    if ".jsonl" in path.name:
        return [json.loads(line)["text"] for line in content.split("\n") if line]
    return [document for document in content.split(SEPARATOR) if document.strip()]


def repeat_to(documents: list[str], size: int) -> list[str]:
    """`documents`, repeated until they hold at least `size` bytes of UTF-8."""
    once = utf8_bytes(documents)
    return documents * max(1, -(-size // once))


def utf8_bytes(documents: list[str]) -> int:
    return sum(len(document.encode()) for document in documents)


def median_seconds(
    call: Callable[[], Any], repeats: int = 3, warmup: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median seconds of `call` after `warmup` calls; wall time, or with `time.process_time` processor time."""
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(repeats):
        start = clock()
        call()
        seconds.append(clock() - start)
    return statistics.median(seconds)


def ratios(ours: float, peers: Mapping[str, float], higher_is_better: bool) -> dict[str, float]:
    """Ours against each peer; above 1 means that we are better."""
    return {name: ours / peer if higher_is_better else peer / ours for name, peer in peers.items()}


def print_row(label: str, unit: str, ours: float, peers: Mapping[str, float], higher_is_better: bool) -> None:
    """One line: ours, each peer, each ratio."""
    compared = ratios(ours, peers, higher_is_better)
    shown = "  ".join(f"{name} {peer:.4g} ({compared[name]:.2f}x)" for name, peer in peers.items())
    print(f"{label:<24} ours {ours:.4g} {unit}   {shown}", flush=True)


def print_json(name: str, ratio: Mapping[str, float], ours: Mapping[str, Any], peers: Mapping[str, Any]) -> None:
    """The last line of a benchmark run with --json, read by the gate."""
    print(json.dumps({"name": name, "ratios": dict(ratio), "ours": dict(ours), "peers": dict(peers)}))


def tiktoken_encoding(vocabulary: Vocabulary) -> tiktoken.Encoding:
    """tiktoken's encoder of a vocabulary, without special tokens."""
    import tiktoken

    from bpe.patterns import regex

    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
    return tiktoken.Encoding("bench", pat_str=regex(vocabulary.pattern), mergeable_ranks=ranks, special_tokens={})
