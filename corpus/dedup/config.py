"""Settings of deduplication. This module is light, so that a command can show its help quickly.

By default bands are permissive, and candidates are verified. 22 bands of 5 hashes make two documents candidates with
probability 1 - (1 - s^5)^22 at Jaccard similarity s (.50 at .5, .83 at .6, .98 at .7, .997 at .75, .9998 at .8). A
document is dropped only if its own similarity to a kept document reaches the threshold. Compared with strict bands,
fewer duplicates are missed, and no document is dropped that resembles a kept one only by way of a third.

The preset `fineweb` decides as FineWeb does (Penedo et al. 2024, arXiv:2406.17557, appendix E.1): 14 bands of 8 hashes
(.56 at .7, .77 at .75, .92 at .8), unverified. All documents that candidates connect are one cluster, and the first of
them in input order is kept. Each dump is deduplicated by itself. A document that is less similar to the kept one than
`Config.limit` is dropped as dedup.chain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpus.config import setting


@dataclass(frozen=True)
class Config:
    exact: bool = setting(True, "drop documents whose text is another document's, but for case and white space")
    minhash: bool = setting(True, "drop near-duplicates found by MinHash over word n-grams")
    verify: bool = setting(True, "drop a document only if it is itself similar enough to a kept one")
    threshold: float = setting(
        0.75, "with verify: Jaccard similarity of word n-grams at which a document is dropped", low=0.01, high=1
    )
    ngram: int = setting(5, "words in an n-gram (FineWeb: 5)", low=1, high=100)
    bands: int = setting(
        22, "bands of a signature; documents that are equal in a whole band are candidates", low=1, high=1000
    )
    rows: int = setting(5, "hashes in a band", low=1, high=1000)
    keep: str = setting(
        "longest", "which of similar documents stays: longest, first (in input order) or score:COLUMN (highest)"
    )
    per_dump: bool = setting(False, "deduplicate each dump by itself, as in FineWeb")
    seed: int = setting(1, "seed of the MinHash permutations, as in datasketch", low=0, high=2**32 - 1)
    checks: int = setting(
        128, "comparisons for one document at the most; documents with more candidates are counted", low=1
    )

    def __post_init__(self) -> None:
        if self.keep not in ("longest", "first") and not re.fullmatch("score:.+", str(self.keep), re.DOTALL):
            raise ValueError(f"keep = {self.keep!r}: should be longest, first or score:COLUMN")
        if not self.exact and not self.minhash:
            raise ValueError("minhash = False: without exact there is nothing to find; leave one of the two on")

    @property
    def num_perm(self) -> int:
        """Hashes in a signature."""
        return self.bands * self.rows

    @property
    def limit(self) -> float:
        """The similarity at which near-duplicates are dropped.

        Verified, `threshold`. Unverified, (1/bands)^(1/rows), about where the S-curve of the bands is steepest
        (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4.2).
        """
        return self.threshold if self.verify else float((1 / self.bands) ** (1 / self.rows))

    @property
    def score_column(self) -> str | None:
        """The column that `keep` names, None if it names none."""
        return self.keep[6:] if self.keep.startswith("score:") else None
