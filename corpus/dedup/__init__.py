"""Deduplication in steps, of which only one looks at the whole corpus, at a few bytes a document.

    documents --signatures--> --keys--> --exchange--> edges --components--> blocks
    documents of blocks --candidates--> --labels--> who stays, and who stands for whom --apply--> documents

`signatures.sign` turns documents into small fixed-size rows. `exchange.write_pairs` writes what each shard of them can
have in common with others, by ranges of keys; `exchange.partition_edges` takes one range of all shards and finds the
documents that share one; `components` joins these edges into blocks. `candidates` brings the documents of a block
together, and `labels.decide` decides between them. `apply.process` is the ordinary stage that acts on it. `config` is
light: it loads neither Numba nor datasketch.
"""

from __future__ import annotations

from corpus.dedup.config import Config

__all__ = ["Config"]
