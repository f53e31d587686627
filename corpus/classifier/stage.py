"""What the stage `classifier` says of itself. With `keep_top` it is a barrier: a share needs all documents' scores."""

from __future__ import annotations

from corpus.classifier.passes import DATASETS, score_passes
from corpus.classifier.score import NAME, Config, columns, process, resources
from corpus.stage import Barrier, Stage

STAGE = Stage(
    NAME,
    Config,
    process,
    command="filter",
    libraries=("fasttext",),
    columns=columns,
    resources=resources,
    barrier=Barrier(
        folder="best",
        datasets=DATASETS,
        passes=score_passes,
        follows=("dedup", "lines"),
        is_needed=lambda config: bool(config.keep_top),
        when=" with keep_top",
    ),
)
