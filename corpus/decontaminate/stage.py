"""What the stage `decontaminate` says of itself: a barrier, because an n-gram of very many documents says nothing."""

from __future__ import annotations

from corpus.decontaminate.config import Config
from corpus.decontaminate.passes import DATASETS, decontaminate_passes
from corpus.stage import Barrier, Stage

STAGE = Stage(
    "decontaminate",
    Config,
    command="decontaminate",
    presets={
        "guarded": {},
        "gpt3": {"min_overlap": 0.0, "min_ngrams": 1, "max_examples": 0, "action": "cut"},
    },
    barrier=Barrier(
        folder="decontaminated",
        datasets=DATASETS,
        passes=decontaminate_passes,
        follows=("dedup", "lines", "classifier"),
    ),
)
