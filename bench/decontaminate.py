"""`python -m bench.decontaminate [--json]`: decontamination beside datatrove and plain Python.

`find`: which texts share a word 13-gram with a benchmark. The texts are the near-duplicate documents of the test data,
and the benchmark is a hundred passages of these documents. One thread each, in processor time. The peers are
datatrove's filter, with its own tokenizer of English, and a set of tuples of `text.lower().split()` without
punctuation. Each side must find all passages, or the run fails.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import ngrams, simplify_text

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios, utf8_bytes
from corpus.decontaminate.benchmarks import EXAMPLES, hash_table, make_index
from corpus.decontaminate.config import Config
from corpus.decontaminate.overlaps import find

NGRAM = 13
EXAMPLES_WORDS = 60
FEW = 300  # documents for datatrove
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def tuples(text: str) -> list[tuple[str, ...]]:
    words = _PUNCTUATION.sub(" ", text.lower()).split()
    return [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]


def datatrove_filter(examples: list[str], folder: Path) -> NGramsDecontFilter:
    """datatrove's filter, with an index of the examples as datatrove's indexer writes it (which needs lighteval)."""
    # datatrove's default hash, xxhash, takes no strings from release 4 on; SHA-1 is a small part of the time.
    settings = NGramsDecontConfig(n_grams=NGRAM, hash_config=HashConfig(hash_fc="sha1"))
    step = NGramsDecontFilter(str(folder), settings)
    hashes = [
        step.hash_func(" ".join(gram))
        for text in examples
        for gram in ngrams(step.tokenizer.word_tokenize(simplify_text(text, step.config.norm_config)), NGRAM)
    ]
    np.array(hashes, dtype=step.config.hash_config.np_descr).tofile(folder / "bench.index.hashes")
    step.load_index_hashes()
    return step


def main() -> None:
    texts: list[str] = pq.read_table(data_folder() / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()
    held = [row for row in range(0, len(texts), 40) if len(texts[row].split()) > 2 * EXAMPLES_WORDS][:100]
    examples = [" ".join(texts[row].split()[EXAMPLES_WORDS : 2 * EXAMPLES_WORDS]) for row in held]
    rows = [{"benchmark": "bench", "example": number, "text": text} for number, text in enumerate(examples)]
    index = make_index(pa.Table.from_pylist(rows, schema=EXAMPLES), Config(("",), ngram=NGRAM, max_examples=0))
    table, batches = hash_table(index), [pa.array(texts[start : start + 64]) for start in range(0, len(texts), 64)]
    known = {gram for text in examples for gram in tuples(text)}

    def ours() -> set[int]:
        return {64 * at + row for at, batch in enumerate(batches) for row, _, _ in find(batch, index, table, NGRAM)}

    def plain() -> set[int]:
        return {row for row, text in enumerate(texts) if not known.isdisjoint(tuples(text))}

    few = texts[:FEW]
    with tempfile.TemporaryDirectory() as name:
        step = datatrove_filter(examples, Path(name))

        def theirs() -> set[int]:
            return {row for row, text in enumerate(few) if step.filter(Document(text=text, id="")) is not True}

        documents = {"ours": ours(), "set": plain(), "datatrove": theirs()}
        rates = {"datatrove": utf8_bytes(few) / 1e6 / median_seconds(theirs, 1, 0, time.process_time)}
    size = utf8_bytes(texts) / 1e6
    rates["set"] = size / median_seconds(plain, 3, 0, time.process_time)
    rate = size / median_seconds(ours, 9, 0, time.process_time)
    print(f"{len(texts):,} documents, {size:.1f} MB; {len(index.hashes):,} n-grams of {len(examples)} examples")
    print("documents found: " + ", ".join(f"{name} {len(rows)}" for name, rows in documents.items()))
    for name, rows in documents.items():
        if missing := [row for row in held if row not in rows and (name != "datatrove" or row < FEW)]:
            sys.exit(f"{name} does not find the passages of documents {missing}")
    print_row("find", "MB/s", rate, rates, higher_is_better=True)
    if "--json" in sys.argv:
        print_json("decontaminate", ratios(rate, rates, True), {"find": rate}, {"find": rates})


if __name__ == "__main__":
    main()
