"""What a unit of decontamination does: an index of benchmarks, and what all overlaps come to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corpus.engine.base import Attempt, Unit
from corpus.run.commit import check_whole, commit, commit_file, find_output
from corpus.store.open import local_path
from corpus.store.records import output_of
from corpus.store.shards import ROW_GROUP, Dataset


@dataclass(frozen=True)
class BenchmarksWork:
    """Benchmark files in, the index of their n-grams out."""

    name: str
    config: Any  # corpus.decontaminate.Config
    output: str
    config_hash: str
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.decontaminate.benchmarks import make_index, read_examples, save_index

        began = time.monotonic()
        examples = read_examples(self.config.benchmarks, self.config.fields)
        if not examples.num_rows:
            raise ValueError(f"{', '.join(self.config.benchmarks)}: no example with text")
        index = make_index(examples, self.config)
        with Dataset(self.output).storage.scratch() as folder:
            save_index(index, folder / "benchmarks.arrow")
            ngrams, rows = len(index.hashes), examples.num_rows
            commit_file(self, unit, attempt, began, folder / "benchmarks.arrow", "index", ngrams, rows, ngrams=ngrams)


@dataclass(frozen=True)
class ContaminationWork:
    """The overlaps of all documents in; what says nothing, and the report, out."""

    name: str
    config: Any
    output: str
    config_hash: str
    overlaps: str
    index: str  # the folder
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.decontaminate.benchmarks import load_index
        from corpus.decontaminate.decide import report, too_frequent

        began = time.monotonic()
        dataset = Dataset(self.overlaps)
        check_whole(dataset, "labels", unit.inputs[0])
        documents = sum(output.rows for output in dataset.files("labels"))
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(Dataset(self.output).storage.scratch())
            path = stack.enter_context(local_path(committed(self.index, "index")))
            index, _ = load_index(str(path))
            ignored = too_frequent(_overlaps(dataset), index, self.config)
            told = report(_overlaps(dataset), index, ignored, self.config)
            text = json.dumps({"documents": documents, **told}, indent=1, ensure_ascii=False)
            (folder / "contamination.json").write_text(text + "\n", encoding="utf-8")
            (folder / "ignored.flags").write_bytes(ignored.astype(np.uint8).tobytes())
            files = [folder / "ignored.flags", folder / "contamination.json"]
            kinds = [("ignored", len(ignored), "flags"), ("contamination", 1, "json")]
            outputs = [output_of(file, unit.key, *kind) for file, kind in zip(files, kinds, strict=True)]
            counts: dict[str, Any] = {"stage": self.name, "read": documents, "kept": documents, "dropped": {}}
            counts |= {"contaminated": told["contaminated_documents"]}
            commit(self, unit, attempt, began, [counts], outputs, files)


def _overlaps(dataset: Dataset) -> Iterator[list[int]]:
    """The n-grams of every document that has some."""
    for output in dataset.files("labels"):
        for batch in dataset.batches(output, ROW_GROUP, ["ngrams"]):
            column = batch.column("ngrams")
            if len(column.values):
                yield from (ngrams for ngrams in column.to_pylist() if ngrams)


def committed(folder: str, kind: str) -> str:
    """The file of a kind that the one unit of a pass has committed."""
    return f"{folder}/{find_output(Dataset(folder), 'all', kind).path}"
