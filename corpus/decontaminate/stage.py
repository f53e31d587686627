"""The declaration of the stage `decontaminate`: a barrier, because n-grams that many documents have are ignored."""

from __future__ import annotations

from corpus.decontaminate.config import Config
from corpus.decontaminate.passes import DATASETS, decontaminate_passes
from corpus.stage import Barrier, Rule, Stage

STAGE = Stage(
    "decontaminate",
    Config,
    rules=(
        Rule(
            "overlap",
            "share of the n-grams of a benchmark's example that the document has; `min_ngrams` of them are enough, too",
            "above",
            "min_overlap",
            "the search by word 13-grams: GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C)",
        ),
        Rule(
            "nothing_left",
            "characters in the longest piece that is left after examples were cut out",
            "below",
            "min_piece",
            "GPT-3, appendix C",
        ),
        Rule("pieces", "pieces that are left after examples were cut out", "above", "max_pieces", "GPT-3, appendix C"),
    ),
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
