"""What a unit of decontamination does: make the index of the benchmarks, or count the overlaps of all documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from corpus.decontaminate.config import Config
from corpus.engine.base import Attempt, Unit
from corpus.run.commit import account, committing, find_output, whole_input
from corpus.store.open import local_path
from corpus.store.records import output_of
from corpus.store.shards import ROW_GROUP, Dataset


@dataclass(frozen=True)
class BenchmarksWork:
    """Reads files of benchmarks, and writes an index of their n-grams."""

    name: str
    config: Config
    output: str
    config_hash: str
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.decontaminate.benchmarks import make_index, read_examples, save_index

        with committing(self, unit, attempt) as ending:
            examples = read_examples(self.config.benchmarks, self.config.fields)
            if not examples.num_rows:
                raise ValueError(f"{', '.join(self.config.benchmarks)}: no example with text")
            index = make_index(examples, self.config)
            save_index(index, ending.folder / "benchmarks.arrow")
            ngrams = len(index.hashes)
            ending.publish_file("benchmarks.arrow", "index", ngrams, examples.num_rows, ngrams=ngrams)


@dataclass(frozen=True)
class ContaminationWork:
    """Reads the overlaps of all documents. Writes which n-grams too many documents have, and the report."""

    name: str
    config: Config
    output: str
    config_hash: str
    overlaps: str
    index: str  # the folder of the pass `benchmarks`
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.decontaminate.benchmarks import load_index
        from corpus.decontaminate.decide import report, too_frequent

        with committing(self, unit, attempt) as ending, local_path(committed(self.index, "index")) as path:
            dataset = whole_input(unit, self.overlaps, "labels")
            documents = sum(output.rows for output in dataset.files("labels"))
            index, _ = load_index(str(path))
            ignored = too_frequent(_overlaps(dataset), index, self.config)
            contamination = report(_overlaps(dataset), index, ignored, self.config)
            text = json.dumps({"documents": documents, **contamination}, indent=1, ensure_ascii=False)
            flags_file, report_file = ending.folder / "ignored.flags", ending.folder / "contamination.json"
            flags_file.write_bytes(ignored.astype(np.uint8).tobytes())
            report_file.write_text(text + "\n", encoding="utf-8")
            outputs = [
                output_of(flags_file, unit.key, "ignored", len(ignored), "flags"),
                output_of(report_file, unit.key, "contamination", 1, "json"),
            ]
            counts = account(self.name, documents) | {"contaminated": contamination["contaminated_documents"]}
            ending.publish([counts], outputs, [flags_file, report_file])


def _overlaps(dataset: Dataset) -> Iterator[list[int]]:
    """The numbers of the benchmarks' n-grams in a document, for every document that has any."""
    for output in dataset.files("labels"):
        for batch in dataset.batches(output, ROW_GROUP, ["ngrams"]):
            column = batch.column("ngrams")
            if len(column.values):
                yield from (ngrams for ngrams in column.to_pylist() if ngrams)


def committed(folder: str, kind: str) -> str:
    """The path of the file of a kind that the one unit of a pass has committed. Raises ValueError if there is none."""
    return f"{folder}/{find_output(Dataset(folder), 'all', kind).path}"
