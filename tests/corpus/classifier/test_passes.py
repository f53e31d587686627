"""The passes that keep a share of the documents, and those of decontamination: shards do not change the result."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.classifier.passes import score_passes
from corpus.classifier.train import Config as Training
from corpus.classifier.train import train_classifier
from corpus.decontaminate.passes import decontaminate_passes
from corpus.engine.local import LocalEngine
from corpus.inputs import source_keys
from corpus.run.barrier import BarrierJob
from corpus.run.execute import run_pass
from corpus.run.plan import Source
from corpus.run.recipe import load_recipe, make_step
from corpus.store.shards import Dataset
from corpus.store.verify import datasets_below, verify
from tests.support.command import commit_documents

WORDS = [f"word{number}" for number in range(400)]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


def documents(count: int) -> list[str]:
    """Texts of 60 words; the earlier a text, the more of its words come from the first half of WORDS."""
    chance = random.Random(1)
    return [" ".join(chance.choices(WORDS[at * 200 // count :][:200], k=60)) for at in range(count)]


def committed(folder: Path, texts: list[str], shards: int) -> str:
    for shard in range(shards):
        start, end = shard * len(texts) // shards, (shard + 1) * len(texts) // shards
        commit_documents(folder, texts[start:end], f"u{shard}", first=start)
    return str(folder)


def rows(folder: Path, kind: str = "documents") -> dict[str, dict[str, Any]]:
    dataset = Dataset(folder)
    return {row["id"]: row for output in dataset.files(kind) for row in dataset.table(output).to_pylist()}


def run(passes_of: Any, stage: str, settings: dict[str, Any], source: str, output: Path, engine: LocalEngine) -> None:
    steps = (make_step(stage, settings),)
    recipe = dataclasses.replace(load_recipe("recipes/demo.toml"), steps=steps, tokenizer=None)
    job = BarrierJob(source, source_keys(Source(dataset=source)), recipe, f"{output}/work")
    for plan in passes_of(job, steps, str(output)):
        assert run_pass(plan, engine, lambda event: None).failures == []
    for plan in passes_of(job, steps, str(output)):
        assert run_pass(plan, engine, lambda event: None).done == 0
    assert [problem for dataset in datasets_below(str(output)) for problem in verify(dataset).problems] == []


def test_the_best_are_the_same_in_any_shards(engine: LocalEngine, tmp_path: Path) -> None:
    texts = documents(150)
    for name, part in (("good", texts[:50]), ("bad", texts[100:])):
        (tmp_path / f"{name}.txt").write_text("\n<|endoftext|>\n".join(part))
    model = tmp_path / "model.bin"
    config = Training(buckets=1000, dim=8, held_out=0.2)
    train_classifier([str(tmp_path / "good.txt")], [str(tmp_path / "bad.txt")], model, config)
    kept = []
    for shards in (1, 4):
        source = committed(tmp_path / f"docs{shards}", texts, shards)
        settings = {"model": str(model), "keep_top": "30%"}
        run(score_passes, "classifier", settings, source, tmp_path / f"out{shards}", engine)
        kept.append(rows(tmp_path / f"out{shards}"))
        dropped = rows(tmp_path / f"out{shards}", "dropped")
        assert len(kept[-1]) == 45
        assert len(kept[-1]) + len(dropped) == 150
        least = min(row["quality_score"] for row in kept[-1].values())
        assert {float(row["threshold"]) for row in dropped.values()} == {least}
        assert all(float(row["value"]) < least for row in dropped.values())
    assert kept[0] == kept[1]
    assert sum(int(id[1:-1]) < 75 for id in kept[0]) >= 40


def test_contamination_is_the_same_in_any_shards(engine: LocalEngine, tmp_path: Path) -> None:
    texts = documents(80)
    questions = [" ".join(texts[at].split()[10:40]) for at in (3, 17, 41)]
    # The quotation is in 20 documents, which is too many for contamination.
    quotation = " ".join(f"quoted{number}" for number in range(30))
    texts = [f"{text} {quotation}" if at % 4 == 0 else text for at, text in enumerate(texts)]
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text("".join(json.dumps({"q": text}) + "\n" for text in [*questions, quotation]))
    reports = []
    for shards in (1, 3):
        source = committed(tmp_path / f"docs{shards}", texts, shards)
        output = tmp_path / f"out{shards}"
        run(decontaminate_passes, "decontaminate", {"benchmarks": [str(benchmark)]}, source, output, engine)
        dropped = rows(output, "dropped")
        assert {id: row["value"] for id, row in dropped.items()} == {
            "<3>": "benchmark:1 18/18",
            "<17>": "benchmark:2 18/18",
            "<41>": "benchmark:3 18/18",
        }
        assert len(rows(output)) == 77
        dataset = Dataset(output / "work/contamination")
        (report,) = dataset.files("contamination")
        reports.append(json.loads((output / "work/contamination" / report.path).read_text()))
    assert reports[0] == reports[1]
    assert reports[0]["ignored_by_documents"] == 18
    everything = tmp_path / "all"
    settings = {"benchmarks": [str(benchmark)], "max_documents": 0}
    run(decontaminate_passes, "decontaminate", settings, str(tmp_path / "docs1"), everything, engine)
    assert len(rows(everything, "dropped")) == 23
