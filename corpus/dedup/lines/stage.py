"""What the stage `lines` says of itself: a barrier, because a line is repeated by the documents of the whole corpus."""

from __future__ import annotations

from corpus.dedup.lines.config import Config
from corpus.dedup.lines.passes import DATASETS, lines_passes
from corpus.stage import Barrier, Stage

STAGE = Stage(
    "lines",
    Config,
    command="dedup",
    sums={"lines_removed": "lines removed"},
    barrier=Barrier(folder="trimmed", datasets=DATASETS, passes=lines_passes),
)
