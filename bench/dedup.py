"""Deduplication beside datasketch: `python -m bench.dedup [--json]`.

On the near-duplicate documents of the test data, one thread each. `signatures`: text to MinHash signatures, ours
against datasketch's MinHash.bulk over SHA-1 of the same word 5-grams, which it is given ready-made as bytes.
`whole`: text to the set of documents to keep, ours against those sketches in a MinHashLSH of the same bands, whose
candidates are joined as we join them. Both ends must keep nearly the same documents, or the run fails.
"""

from __future__ import annotations

import re
import sys
import tempfile
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH

from bench.exchange import FileShard, file_sources
from bench.harness import data_folder, median_seconds, print_json, print_row, ratios
from corpus.dedup import Config, signatures_schema
from corpus.dedup.cluster import cluster
from corpus.dedup.exchange import partition_edges, write_pairs
from corpus.dedup.signatures import PUNCTUATION, sign
from corpus.shards import ShardWriter

CONFIG = Config()
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SPACES = {ord(c): " " for c in PUNCTUATION + "".join(map(chr, [*range(32), *range(127, 160)]))}


def word_shingles(text: str) -> list[bytes]:
    """FineWeb's normalisation and word n-grams, in the quickest plain Python."""
    text = _NUMBER.sub("0", text.lower()).translate(_SPACES)
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    words = text.split()
    width = min(CONFIG.shingle, len(words))
    return [" ".join(words[i : i + width]).encode() for i in range(len(words) - width + 1)] if words else []


def sketch(shingles: list[list[bytes]]) -> list[MinHash]:
    sketches: list[MinHash] = MinHash.bulk(shingles, num_perm=CONFIG.num_perm, seed=CONFIG.seed, scheme="affine32")
    return sketches


def their_keepers(sketches: list[MinHash]) -> set[int]:
    """First document of each connected component of the index's candidates."""
    index = MinHashLSH(num_perm=CONFIG.num_perm, params=(CONFIG.bands, CONFIG.rows))
    parent = list(range(len(sketches)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, one in enumerate(sketches):
        for other in index.query(one):
            low, high = sorted((root(i), root(other)))
            parent[high] = low
        index.insert(i, one)
    return {i for i in range(len(sketches)) if root(i) == i}


def our_keepers(batches: list[pa.RecordBatch]) -> set[int]:
    """Through the files of the exchange, as in a real run."""
    with tempfile.TemporaryDirectory() as folder:
        shard, pairs = Path(folder, "all.parquet"), Path(folder, "all.pairs")
        writer = ShardWriter(shard, signatures_schema(CONFIG))
        for batch in batches:
            writer.write(sign(batch, CONFIG))
        writer.close()
        write_pairs(shard, pairs, CONFIG)
        edges = partition_edges(file_sources([pairs], [writer.rows]), 0, 1)
        (labels,) = cluster([FileShard("all", shard)], [edges], CONFIG, Path(folder))
    return {i for i, keep in enumerate(labels.column("keep").to_pylist()) if keep}


def main() -> None:
    table = pq.read_table(data_folder() / "neardup" / "docs.parquet", columns=["id", "text"])
    batches, texts = table.to_batches(), table.column("text").to_pylist()
    megabytes = table.column("text").nbytes / 1e6
    shingles = [word_shingles(text) for text in texts]
    sketches = sketch(shingles)

    ours = {
        "signatures": megabytes / median_seconds(lambda: [sign(batch, CONFIG) for batch in batches], 5),
        "whole": megabytes / median_seconds(lambda: our_keepers(batches), 5),
    }
    ready = median_seconds(lambda: sketch(shingles), 1, 0)
    shingling = median_seconds(lambda: [word_shingles(text) for text in texts], 1, 0)
    index = median_seconds(lambda: their_keepers(sketches), 1, 0)
    peers = {
        "signatures": {"datasketch": megabytes / (shingling + ready), "datasketch-ready": megabytes / ready},
        "whole": {"datasketch": megabytes / (shingling + ready + index)},
    }
    mine, theirs = our_keepers(batches), their_keepers(sketches)
    print(f"{len(texts)} documents, {megabytes:.1f} MB; kept: ours {len(mine)}, datasketch {len(theirs)}")
    if len(mine ^ theirs) > 0.05 * len(texts):
        sys.exit(f"keep-sets differ in {len(mine ^ theirs)} documents")
    ratio: dict[str, float] = {}
    for name, rates in peers.items():
        print_row(name, "MB/s", ours[name], rates, higher_is_better=True)
        ratio |= {f"{name}.{peer}": value for peer, value in ratios(ours[name], rates, True).items()}
    if "--json" in sys.argv:
        flat = {f"{name}.{peer}": rate for name, rates in peers.items() for peer, rate in rates.items()}
        print_json("dedup", ratio, ours, flat)


if __name__ == "__main__":
    main()
