"""Encoding beside tiktoken: one thread, real text, the ids compared first.

    python -m bench.encode [--json]

Text and the three published vocabularies are read from the test data folder, ../shared/data beside the repository;
CORPUS_TESTDATA points elsewhere. Ours takes an Arrow column, tiktoken a Python string a document, as each is used.
"fresh" is a first pass of a new Encoder, "warm" the median of the passes after it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import tiktoken

from bench import harness
from bpe.encode import Encoder
from bpe.patterns import REGEX
from bpe.vocabulary import PUBLISHED, Vocabulary, load_vocabulary

TEXTS = {"english": "en_news_web.txt.gz", "mixed": "mixed_multilingual_code.jsonl.gz"}
SIZE = 10_000_000


def main(as_json: bool) -> None:
    folder = harness.data_folder()
    texts = {
        label: harness.repeat_to(harness.read_documents(folder / "text" / file), SIZE) for label, file in TEXTS.items()
    }
    ratios: dict[str, float] = {}
    ours: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    for name in PUBLISHED:
        vocabulary = load_vocabulary(folder / "tokenizers" / f"{name}.tiktoken")
        Encoder(vocabulary).encode("compile first")
        for label, documents in texts.items():
            key = f"{name}/{label}"
            fresh, warm, peer = measure(key, vocabulary, documents)
            harness.print_row(f"{key} fresh", "MB/s", fresh, {"tiktoken": peer}, True)
            harness.print_row(f"{key} warm", "MB/s", warm, {"tiktoken": peer}, True)
            ours[key], peers[key], ratios[key] = {"fresh": fresh, "warm": warm}, {"tiktoken": peer}, warm / peer
    print("fresh: a new Encoder and its tables included; every text repeated to about 10 MB")
    if as_json:
        harness.print_json("encode", {"tiktoken": min(ratios.values()), **ratios}, ours, peers)


def measure(key: str, vocabulary: Vocabulary, documents: list[str]) -> tuple[float, float, float]:
    """MB/s of a new Encoder, of one in use, of tiktoken. Exits if the ids differ."""
    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
    peer = tiktoken.Encoding(key, pat_str=REGEX[vocabulary.pattern], mergeable_ranks=ranks, special_tokens={})
    column, megabytes = pa.array(documents, pa.large_string()), harness.utf8_bytes(documents) / 1e6
    encoder = Encoder(vocabulary)
    expected = [token_id for text in documents for token_id in peer.encode_ordinary(text)]
    if not np.array_equal(encoder.encode_batch(column)[1], expected):
        sys.exit(f"{key}: ids differ from tiktoken's")
    fresh = harness.median_seconds(lambda: Encoder(vocabulary).encode_batch(column), 3, warmup=0)
    warm = harness.median_seconds(lambda: encoder.encode_batch(column), 5)
    theirs = harness.median_seconds(lambda: [peer.encode_ordinary(text) for text in documents], 3, warmup=0)
    return megabytes / fresh, megabytes / warm, megabytes / theirs


if __name__ == "__main__":
    main("--json" in sys.argv[1:])
