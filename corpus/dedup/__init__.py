"""Deduplication in steps, of which only one looks at the whole corpus, at a few bytes a document.

    documents --signatures--> --keys--> --exchange--> edges --components--> blocks
    documents of blocks --candidates--> --labels--> who stays, and who stands for whom --apply--> documents

`signatures.sign` turns documents into small fixed-size rows, and `keys.keys` these into what two documents may have in
common. `exchange.write_keys` writes them by ranges; `exchange.partition_edges` takes one range of all files and finds
the documents that share a key; `components` joins these edges into blocks. `candidates` brings the documents of a block
together, and `labels.decide` decides between them. `apply.process` is the ordinary stage that acts on it. `lines` is
the same in small for the lines of texts. `config` is light: it loads neither Numba nor datasketch.
"""

from __future__ import annotations

from corpus.dedup.config import Config

__all__ = ["Config"]
