"""The unit of the pass `cutoff`: the scores of all documents -> the score that the wanted share reaches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bpe.parse import parse_json
from corpus.engine.base import Attempt, Unit
from corpus.run.commit import committing, find_output, whole_input
from corpus.store.shards import ROW_GROUP, Dataset


@dataclass(frozen=True)
class CutoffWork:
    """Finds the score above which the share `config.share` of the documents lies: a radix select in four passes.

    config       corpus.classifier.config.Config
    output       the dataset in which the cutoff is committed
    config_hash  what it is committed under
    scores       the dataset SCORES
    memory       MiB of the unit
    """

    name: str
    config: Any
    output: str
    config_hash: str
    scores: str
    memory: int = 512

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.classifier.cutoff import find_cutoff

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.scores, "labels")
            documents = sum(output.rows for output in dataset.files("labels"))
            if not documents:
                raise ValueError(f"{self.scores}: has no documents, so there is no share of them to keep")
            cutoff = find_cutoff(lambda *bits: self._histogram(dataset, *bits), documents, self.config.share)
            (ending.folder / "cutoff.json").write_text(json.dumps({"documents": documents, "cutoff": cutoff}) + "\n")
            ending.publish_file("cutoff.json", "cutoff", 1, documents)

    def _histogram(self, dataset: Dataset, shift: int, prefix: int) -> Any:
        """The counts of `find_cutoff`, over all shards of SCORES."""
        from corpus.classifier.config import SCORE
        from corpus.classifier.cutoff import count_bits

        batches = (batch for output in dataset.files("labels") for batch in dataset.batches(output, ROW_GROUP, [SCORE]))
        return sum(count_bits(batch.column(SCORE), shift, prefix) for batch in batches)


def read_cutoff(dataset: Dataset) -> float:
    """The score that was committed. Raises ValueError if the file is damaged."""
    output = find_output(dataset, "all", "cutoff")
    data = dataset.content(output)
    try:
        return float(parse_json(data)["cutoff"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{dataset.path}/{output.path}: not a cutoff ({error}); remove {dataset.path}") from None
