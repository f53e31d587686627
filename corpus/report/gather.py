"""Gathers what `corpus report` shows, and writes its page.

In: output folders of `corpus`, in the order in which documents went through them, and the folder of a training run.
Out: the funnel over all their commit records, and `report.html` in the last folder. The examples of dropped documents
come from the first few DROPPED shards, so that the time does not grow with the corpus.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bpe.parse import parse_json
from corpus.report.funnel import Funnel, funnel
from corpus.report.page import page
from corpus.stage import output_folders
from corpus.store.open import is_dir, is_remote, storage
from corpus.store.shards import Dataset

_WARC = "warc"  # the first stage in the accounts of what was made of WARC files
_EXAMPLES = 3  # dropped documents shown for a rule
_SHARDS = 16  # DROPPED shards read for them


def datasets(folders: Sequence[str]) -> list[tuple[str, Dataset]]:
    """(name, dataset) of every folder, in order.

    A folder is a dataset itself, or holds the datasets that `corpus run` made. Commands that need two passes over
    documents (`corpus dedup --lines`, `corpus filter --keep-top`) keep the result of the first pass below their output,
    and so do commands that first make a dataset of other people's files; it comes before the output.

    Raises ValueError naming a folder that holds no dataset, and folders that no documents went through in this order:
    two whole runs, or a second folder that was made of WARC files.
    """
    named: list[tuple[str, Dataset]] = []
    runs = []
    for folder in folders:
        alone = is_dir(f"{folder}/_units")
        inside = (
            [f"{folder}/_import", f"{folder}/_scores/filtered", f"{folder}/_dedup/unique", folder]
            if alone
            else [f"{folder}/{name}" for name in output_folders()]
        )
        present = [(PurePosixPath(path).name, Dataset(path)) for path in inside if is_dir(f"{path}/_units")]
        if not present:
            raise ValueError(f"{folder}: holds no committed units; it should be an output folder of corpus")
        runs += [] if alone else [folder]
        first = next(present[0][1].scan(), None)
        if named and first and first.counts and first.counts[0].get("stage") == _WARC:
            raise ValueError(f"{folder}: was made of WARC files, and not of {folders[0]}; {_each_alone(folders)}")
        named += present
    if len(runs) > 1:
        raise ValueError(f"{runs[0]} and {runs[1]}: no documents went through two whole runs; {_each_alone(folders)}")
    return named


def _each_alone(folders: Sequence[str]) -> str:
    """What to do with folders that one report cannot be about."""
    return "report each alone: " + "; ".join(f"corpus report {folder}" for folder in dict.fromkeys(folders))


def write_report(folders: Sequence[str], training: str | None = None) -> tuple[str, Funnel]:
    """Write report.html into the last folder; returns its path and the funnel over the folders' records."""
    last = folders[-1]
    named = datasets(folders)
    place = storage(last)
    recipe = place.read("recipe.toml")
    run = Path(training) if training else Path(last, "model")
    if training and not (run / "metrics.jsonl").is_file():
        raise ValueError(f"{training}: holds no metrics.jsonl; it should be the folder of a training run")
    metrics = _lines(run / "metrics.jsonl")
    whole = funnel(records(named))
    text = page(
        whole,
        title=last.rpartition("/")[2] if is_remote(last) else Path(last).resolve().name,
        recipe_text=recipe.decode() if recipe is not None else None,
        training=metrics or None,
        samples=_samples(metrics) or None,
        examples=_examples([dataset for _, dataset in named]) or None,
    )
    place.replace("report.html", text.encode())
    return f"{last}/report.html", whole


def records(named: Sequence[tuple[str, Dataset]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, commit record) of every unit of these datasets, as `corpus.report.funnel.funnel` takes them."""
    for name, dataset in named:
        for record in dataset.records():
            yield name, json.loads(record.to_json())


def _examples(sources: Sequence[Dataset]) -> list[dict[str, Any]]:
    """The first few dropped documents of every rule."""
    seen: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    for dataset in sources:
        for output in dataset.files("dropped")[:_SHARDS]:
            columns = ["url", "rule", "value", "threshold"]
            for batch in dataset.batches(output, 1024, columns):
                for row in batch.to_pylist():
                    seen[row["rule"]] += 1
                    if seen[row["rule"]] <= _EXAMPLES:
                        examples.append(row)
    return sorted(examples, key=lambda row: row["rule"])


def _samples(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Texts that the model wrote at the beginning, in the middle and at the end of its training."""
    rows = [row for row in metrics if row.get("samples") and isinstance(row["samples"], list)]
    picked = sorted({0, len(rows) // 2, len(rows) - 1}) if rows else []
    return [f"Step {rows[index]['step']:,}: {text}" for index in picked for text in rows[index]["samples"]]


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [row for line in path.read_text("utf-8", "replace").splitlines() if (row := _row(line))]


def _row(line: str) -> dict[str, Any] | None:
    """The object in a line of a training run's metrics; None for a line that a crash has damaged."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
