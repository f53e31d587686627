"""`python -m bench.lines [--json]`: deduplication of lines beside plain Python and datatrove.

On the near-duplicate documents of the test data, one thread each.

- `hash`: texts to a 64-bit hash of each normalised line. The peers are SHA-1 as CCNet takes it, and the first step of
  datatrove's sentence deduplication, set to single lines.
- `whole`: texts to texts without the lines that two documents have. Ours goes through its files, the peer has CCNet's
  hashes in a dictionary. Both must leave nearly the same number of characters, or the run fails.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig, SentenceDedupSignature
from datatrove.utils.hashing import HashConfig

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios, utf8_bytes
from corpus.dedup.lines.config import Config
from corpus.dedup.lines.hashes import (
    open_repeated,
    remove_lines,
    repeated_lines,
    write_line_hashes,
    write_repeated,
)
from corpus.dedup.slots import PairFile

CONFIG = Config(documents=2, min_words=1, min_kept_words=1)
PARTS = 4
BATCH_ROWS = 1000
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[\W_]+")  # CCNet's paper removes all punctuation; its code keeps ASCII punctuation


def their_hashes(text: str) -> list[bytes]:
    """The first 8 bytes of SHA-1 of each normalised line."""
    lines = [_PUNCTUATION.sub("", _DIGIT.sub("0", line.lower())) for line in text.split("\n")]
    return [hashlib.sha1(line.encode()).digest()[:8] for line in lines]


def their_removal(texts: list[str]) -> list[str]:
    """The texts in which only the first of each repeated line is left."""
    hashes = [their_hashes(text) for text in texts]
    documents = Counter(h for one in hashes for h in set(one))
    blank = their_hashes("")[0]
    seen: set[bytes] = set()
    result = []
    for text, one in zip(texts, hashes, strict=True):
        left = []
        for line, h in zip(text.split("\n"), one, strict=True):
            if documents[h] < CONFIG.documents or h == blank or h not in seen:
                left.append(line)
            seen.add(h)
        result.append("\n".join(left))
    return result


def our_removal(batches: list[pa.RecordBatch], folder: Path) -> list[pa.Array]:
    """The texts that are left, through the files of the passes."""
    write_line_hashes(batches, folder / "unit.lines", CONFIG)
    data = (folder / "unit.lines").read_bytes()
    sources = [PairFile(0, lambda start, length: data[start : start + length])]
    write_repeated((repeated_lines(sources, part, PARTS, CONFIG) for part in range(PARTS)), folder / "repeated")
    table = open_repeated(folder / "repeated")
    row, result = 0, []
    for batch in batches:
        kept, *_ = remove_lines(batch, row, table, CONFIG)
        result.append(kept.column("text"))
        row += batch.num_rows
    return result


def main() -> None:
    table = pq.read_table(data_folder() / "neardup/docs.parquet", columns=["id", "text"])
    texts: list[str] = table["text"].to_pylist()
    batches = table.combine_chunks().to_batches(BATCH_ROWS)
    size = utf8_bytes(texts) / 1e6
    print(f"{len(texts):,} documents, {size:.1f} MB")
    # datatrove's default hash, xxhash, takes no strings from release 4 on; SHA-1 is a small part of the time.
    settings = SentDedupConfig(n_sentences=1, split_sentences=False, hash_config=HashConfig(hash_fc="sha1"))
    signature = SentenceDedupSignature("/dev/null", config=settings)
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = size / median_seconds(lambda: write_line_hashes(batches, folder / "unit.lines", CONFIG), 9)
        theirs = {
            "ccnet": size / median_seconds(lambda: [their_hashes(text) for text in texts], 3, 0),
            "datatrove": size / median_seconds(lambda: [signature.get_hashes(one, 0) for one in documents], 1, 0),
        }
        whole = size / median_seconds(lambda: our_removal(batches, folder), 9)
        plain = {"ccnet": size / median_seconds(lambda: their_removal(texts), 3, 0)}
        left = sum(len(text.strip()) for array in our_removal(batches, folder) for text in array.to_pylist())
        by_them = sum(len(text.strip()) for text in their_removal(texts))
    print(f"characters left: {left:,}, by CCNet's hashes {by_them:,}, of {sum(map(len, texts)):,}")
    if abs(left - by_them) > 0.02 * by_them:
        sys.exit("more than 2 % apart")
    print_row("hash", "MB/s", ours, theirs, higher_is_better=True)
    print_row("whole", "MB/s", whole, plain, higher_is_better=True)
    compared = {f"hash.{peer}": ratio for peer, ratio in ratios(ours, theirs, True).items()}
    compared |= {f"whole.{peer}": ratio for peer, ratio in ratios(whole, plain, True).items()}
    if "--json" in sys.argv:
        print_json("lines", compared, {"hash": ours, "whole": whole}, {"hash": theirs, "whole": plain})


if __name__ == "__main__":
    main()
