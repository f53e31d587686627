"""The declaration of the stage `dedup`: a barrier, because any two documents of a corpus may be duplicates."""

from __future__ import annotations

from corpus.dedup.config import Config
from corpus.dedup.passes import DATASETS, SUMS, dedup_passes
from corpus.stage import Barrier, Rule, Stage

STAGE = Stage(
    "dedup",
    Config,
    rules=(
        Rule(
            "exact",
            "text of a kept document, but for the case of ASCII letters and the amount of white space",
            "listed",
        ),
        Rule(
            "minhash",
            "Jaccard similarity of the sets of word n-grams to a kept document",
            "above",
            "threshold",
            "MinHash: Broder 1997; 14 bands of 8 hashes, unverified: FineWeb (Penedo et al. 2024, arXiv:2406.17557)",
        ),
        Rule(
            "chain",
            "unverified: shared bands connect it with a kept document, whose similarity is lower than the threshold of "
            "dedup.minhash; that similarity",
            "listed",
            source="FineWeb (Penedo et al. 2024, arXiv:2406.17557), which drops such documents",
        ),
    ),
    command="dedup",
    presets={
        "verified": {},
        "fineweb": {"bands": 14, "rows": 8, "verify": False, "keep": "first", "per_dump": True},
    },
    sums=SUMS,
    barrier=Barrier(
        folder="unique",
        datasets=DATASETS,
        passes=dedup_passes,
    ),
)
