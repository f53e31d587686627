"""The declaration of the stage `lines`: a barrier, because all documents must be read to know which lines repeat."""

from __future__ import annotations

from corpus.dedup.lines.config import Config
from corpus.dedup.lines.passes import DATASETS, lines_passes
from corpus.stage import Barrier, Rule, Stage

STAGE = Stage(
    "lines",
    Config,
    rules=(
        Rule(
            "min_kept_words",
            "words that are left in a document which lost repeated lines",
            "below",
            "min_kept_words",
            "datatrove 0.10.1, SentDedupConfig.min_doc_words",
        ),
    ),
    command="dedup",
    sums={"lines_removed": "lines removed"},
    barrier=Barrier(folder="trimmed", datasets=DATASETS, passes=lines_passes),
)
