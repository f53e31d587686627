"""What a unit of a share does: the scores of all documents in, the score that the share reaches out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from corpus.engine.base import Attempt, Unit
from corpus.run.commit import committing, find_output, whole_input
from corpus.store.shards import ROW_GROUP, Dataset


@dataclass(frozen=True)
class CutoffWork:
    """Reads the scores four times, in constant memory."""

    name: str
    config: Any  # corpus.classifier.score.Config
    output: str
    config_hash: str
    scores: str
    memory: int = 512

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.classifier.score import cutoff

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.scores, "labels")
            documents = sum(output.rows for output in dataset.files("labels"))
            if not documents:
                raise ValueError(f"{self.scores}: no documents, of which a share could be kept")
            found = cutoff(lambda shift, prefix: self._histogram(dataset, shift, prefix), documents, self.config.share)
            (ending.folder / "cutoff.json").write_text(json.dumps({"documents": documents, "cutoff": found}) + "\n")
            ending.publish_file("cutoff.json", "cutoff", 1, documents)

    def _histogram(self, dataset: Dataset, shift: int, prefix: int) -> Any:
        from corpus.classifier.score import SCORE, count_bits

        batches = (batch for output in dataset.files("labels") for batch in dataset.batches(output, ROW_GROUP, [SCORE]))
        return sum(count_bits(batch.column(SCORE), shift, prefix) for batch in batches)


def cutoff_of(dataset: Dataset) -> float:
    """The score that was committed. Raises ValueError where the file is damaged."""
    path = find_output(dataset, "all", "cutoff").path
    try:
        return float(json.loads(dataset.storage.read(path) or b"")["cutoff"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{dataset.path}/{path}: not a cutoff ({error}); remove {dataset.path}") from None
