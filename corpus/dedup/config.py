"""Settings of deduplication; light, so that a command can show help.

By default bands are permissive and what they find is verified: 22 bands of 5 hashes make two documents candidates with
probability 1 - (1 - s^5)^22 at Jaccard similarity s (.50 at .5, .83 at .6, .98 at .7, .997 at .75, .9998 at .8), and a
document is dropped only if its own similarity to one that is kept reaches the threshold. That loses fewer duplicates
than strict bands, and no document that resembles its twin only through a third.

FineWeb's decisions are the preset `fineweb` (Penedo et al. 2024, arXiv:2406.17557, appendix E.1): 14 bands of 8 hashes
(.56 at .7, .77 at .75, .92 at .8), unverified: everything that candidates connect is one cluster, of which the first
document in input order is kept, each dump by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from corpus.config import setting


@dataclass(frozen=True)
class Config:
    exact: bool = setting(True, "drop documents with the text of another, but for case and white space")
    minhash: bool = setting(True, "drop near-duplicates found by MinHash over word n-grams")
    verify: bool = setting(True, "drop only what is itself similar enough to a document that is kept")
    threshold: float = setting(0.75, "with verify: Jaccard similarity of the word n-grams to drop at", low=0.01, high=1)
    ngram: int = setting(5, "words in an n-gram (FineWeb: 5)", low=1, high=100)
    bands: int = setting(22, "bands; documents equal in one whole band are candidates", low=1, high=1000)
    rows: int = setting(5, "hashes in a band", low=1, high=1000)
    keep: str = setting("longest", "which document stays: longest, first (in input order) or score:COLUMN (highest)")
    per_dump: bool = setting(False, "each dump by itself, as in FineWeb")
    seed: int = setting(1, "seed of the MinHash permutations, as in datasketch", low=0, high=2**32 - 1)
    checks: int = setting(128, "comparisons for one document at the most; what meets more is counted", low=1)

    def __post_init__(self) -> None:
        if self.keep not in ("longest", "first") and not (self.keep[:6] == "score:" and self.keep[6:]):
            raise ValueError(f"keep = {self.keep!r}: should be longest, first or score:COLUMN")
        if not self.exact and not self.minhash:
            raise ValueError("minhash = False: nothing is left to look for without exact; leave one of the two on")

    @property
    def num_perm(self) -> int:
        """Hashes in a signature."""
        return self.bands * self.rows

    @property
    def limit(self) -> float:
        """The similarity that near-duplicates are dropped at: `threshold`; unverified, (1/bands)^(1/rows), about which
        the banding's S-curve is steepest.

        Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4.2.
        """
        return self.threshold if self.verify else float((1 / self.bands) ** (1 / self.rows))

    @property
    def score_column(self) -> str | None:
        """The column of `keep`, if it names one."""
        return self.keep[6:] if self.keep.startswith("score:") else None
