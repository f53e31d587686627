"""Deduplication, out of core. Only one of its steps looks at the whole corpus, and that one at a few bytes a document.

    documents --signatures--> signatures --keys--> keys --exchange--> edges --components--> blocks
    blocks and their documents --candidates--> candidates --labels--> labels --apply--> documents

`signatures.sign` turns each document into a small row of fixed size, and `keys.keys` turns these rows into 64-bit keys:
documents with a key in common may be duplicates. `exchange.write_keys` writes keys partitioned by their first bits;
`exchange.partition_edges` reads one partition of all files and joins the documents that share a key by edges.
`components` joins edges into blocks. `candidates` brings the documents of a block together, `labels.decide` decides
which of them stay, and `apply.process` is the step that drops the others. `passes` says in which passes this happens.

`lines` removes repeated lines, by similar steps. `in_memory` takes a list of texts through these steps without files.
`results` and `clusters` answer questions about a finished deduplication. `config` is light: it loads neither Numba nor
datasketch.
"""

from __future__ import annotations

from corpus.dedup.config import Config

__all__ = ["Config"]
