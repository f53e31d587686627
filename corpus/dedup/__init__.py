"""Deduplication in steps: signatures (per document), pairs and edges (an exchange), clusters (global), dropping.

`signatures.sign` turns documents into small fixed-size rows. `exchange.write_pairs` writes what each shard of them can
have in common with others, by ranges of hashes; `exchange.partition_edges` takes one range of all shards and finds the
documents that are alike. `cluster.cluster` joins these edges, and says for each document whether it stays and which
document stands for it. `apply.process` is the ordinary stage that acts on these labels. Only `cluster` looks at the
whole corpus, and it holds a few bytes a document. The settings and the two Arrow schemas are in `config`, which loads
neither Numba nor datasketch.
"""

from __future__ import annotations

from corpus.dedup.config import LABELS, Config, signatures_schema

__all__ = ["LABELS", "Config", "signatures_schema"]
