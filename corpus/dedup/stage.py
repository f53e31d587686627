"""What the stage `dedup` says of itself: a barrier, because any two documents of a corpus may be copies."""

from __future__ import annotations

from corpus.dedup.config import Config
from corpus.dedup.passes import DATASETS, dedup_passes
from corpus.stage import Barrier, Stage

STAGE = Stage(
    "dedup",
    Config,
    command="dedup",
    presets={
        "verified": {},
        "fineweb": {"bands": 14, "rows": 8, "verify": False, "keep": "first", "per_dump": True},
    },
    sums={
        "capped": "met more candidates than --checks, and were kept unless one of those compared was similar",
        "wordless": "without words",
    },
    barrier=Barrier(
        folder="unique",
        datasets=DATASETS,
        passes=dedup_passes,
    ),
)
