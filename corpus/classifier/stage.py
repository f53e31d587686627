"""DOCUMENTS -> the documents that a trained classifier takes for good ones, each with its score.

The model is a fastText classifier (Joulin et al. 2016, arXiv 1607.01759), such as `corpus classify train` makes. DCLM
(Li et al. 2024, arXiv 2406.11794) kept the tenth of its documents that resemble instructions and well-liked answers
most. The settings name a score, `keep_above`, or a share, `keep_top = "10%"`. A share needs the scores of all
documents, so the stage is a barrier then.
"""

from __future__ import annotations

import pyarrow as pa

from corpus.classifier.config import GRADE, NAME, SCORE, Config
from corpus.classifier.cutoff import drop_below, score_rule
from corpus.classifier.model import add_scores, check_file, columns, load
from corpus.classifier.passes import DATASETS, score_passes
from corpus.schema import Outcome
from corpus.stage import Barrier, Stage
from corpus.text.fasttext_model import DISTRIBUTION

_DEFAULTS = {SCORE: 0.5, GRADE: 3.0}  # FineWeb-Edu keeps documents of grade 3 and more


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch at `keep_above`; kept rows get their score.

    Raises ValueError if the file is no model or lacks the label, or with `keep_top`, which needs all scores.
    """
    if config.keep_top:
        raise ValueError(f"keep_top = {config.keep_top!r}: needs the scores of all documents, not of one batch")
    judged = GRADE if load(config).grades else SCORE
    threshold = _DEFAULTS[judged] if config.keep_above is None else config.keep_above
    batch = add_scores(batch, config)
    return drop_below(batch, batch.column(judged), threshold)


def resources(config: Config) -> dict[str, str]:
    """Nothing decides besides the settings. Raises ValueError before work begins if the file is no model."""
    check_file(config.model)
    return {}


STAGE = Stage(
    NAME,
    Config,
    process,
    (score_rule("keep_above"),),
    command="filter",
    libraries=(DISTRIBUTION,),
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
