"""Deduplication in three steps: signatures (per document), clusters (global), and dropping (per document).

`signatures.sign` turns documents into small fixed-size rows, `cluster.cluster` looks at all those rows
together and says for each document whether it stays and which document stands for it, and `apply.process`
is the ordinary stage that acts on these labels. Only the middle step sees more than one document at a time.
The settings and the two Arrow schemas are in `config`, which loads neither Numba nor datasketch.
"""

from __future__ import annotations

from corpus.dedup.config import LABELS, Config, signatures_schema

__all__ = ["LABELS", "Config", "signatures_schema"]
