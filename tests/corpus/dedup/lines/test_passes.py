"""The passes of line deduplication, alone and behind the deduplication of documents."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.dedup.lines.config import Config
from corpus.dedup.lines.passes import lines_passes
from corpus.engine.local import LocalEngine
from corpus.inputs import source_keys
from corpus.pipeline import passes
from corpus.run import barrier
from corpus.run.barrier import BarrierJob
from corpus.run.execute import run_pass
from corpus.run.plan import Source
from corpus.run.recipe import load_recipe, make_step
from corpus.stage import load_stage
from corpus.store.shards import Dataset
from tests.support.command import commit_documents, shard_hashes

NOTICE = "We use cookies to make this site a better one"
CONFIG = Config(documents=5, min_kept_words=4)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


def pages(count: int) -> list[str]:
    """Pages of three lines of their own, every second one with a notice."""
    chance = random.Random(1)
    lines = [[" ".join(chance.choices("abcdefghijklm", k=12)) for _ in range(3)] for _ in range(count)]
    return ["\n".join([*own, NOTICE] if number % 2 else own) for number, own in enumerate(lines)]


def texts(folder: str | Path) -> dict[str, str]:
    dataset = Dataset(folder)
    return {
        row["id"]: row["text"] for output in dataset.files("documents") for row in dataset.table(output).to_pylist()
    }


def trim(documents: str, output: Path, engine: LocalEngine, **more: Any) -> None:
    steps = (make_step("lines")._replace(config=CONFIG),)
    recipe = dataclasses.replace(load_recipe("recipes/demo.toml"), steps=steps, tokenizer=None)
    job = BarrierJob(documents, source_keys(Source(dataset=documents)), recipe, f"{output}/work", **more)
    for plan in lines_passes(job, steps, str(output)):
        assert run_pass(plan, engine, lambda event: None).failures == []


def test_a_line_of_many_documents_stays_in_the_first_alone(engine: LocalEngine, tmp_path: Path) -> None:
    given = pages(60)
    for unit in range(3):
        commit_documents(tmp_path / "documents", given[20 * unit : 20 * unit + 20], f"u{unit}", first=20 * unit)
    trim(str(tmp_path / "documents"), tmp_path / "out", engine)
    found = texts(tmp_path / "out")
    assert len(found) == 60
    assert [number for number in range(60) if NOTICE in found[f"<{number}>"]] == [1]
    assert all(found[f"<{number}>"] + f"\n{NOTICE}" == given[number] for number in range(3, 60, 2))
    assert all(found[f"<{number}>"] == given[number] for number in range(0, 60, 2))


def test_neither_shards_nor_partitions_show(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = pages(60)
    commit_documents(tmp_path / "one", given)
    for unit in range(3):
        commit_documents(tmp_path / "three", given[20 * unit : 20 * unit + 20], f"u{unit}", first=20 * unit)
    trim(str(tmp_path / "one"), tmp_path / "out1", engine)
    monkeypatch.setattr(barrier, "_PARTITION", 1000)
    trim(str(tmp_path / "three"), tmp_path / "out3", engine)
    assert len(Dataset(tmp_path / "out3/work/repeated").units()) > 2
    assert texts(tmp_path / "out1") == texts(tmp_path / "out3")


def test_a_recipe_of_both_barriers(engine: LocalEngine, tmp_path: Path) -> None:
    given = pages(40)
    commit_documents(tmp_path / "documents", [*given, *given[:10], NOTICE])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "x"\n[dedup]\n[lines]\ndocuments = 5\nmin_kept_words = 4\n[scrub]\n')
    for plan in passes(load_recipe(recipe), [str(tmp_path / "documents")], str(tmp_path / "out")):
        assert run_pass(plan, engine, lambda event: None).failures == []
    assert len(texts(tmp_path / "out/unique")) == 41
    dataset = Dataset(tmp_path / "out/clean")
    (record,) = dataset.records()
    stages = [(account["stage"], account["read"], account["kept"]) for account in record.counts]
    assert stages == [("lines", 41, 40), ("scrub", 40, 40)]
    assert Counter(rule for account in record.counts for rule in account["dropped"]) == {"lines.min_kept_words": 1}
    assert [(rule.name, rule.setting) for rule in load_stage("lines").rules] == [("min_kept_words", "min_kept_words")]
    before = shard_hashes(tmp_path / "out")
    for plan in passes(load_recipe(recipe), [str(tmp_path / "documents")], str(tmp_path / "out")):
        assert run_pass(plan, engine, lambda event: None).done == 0
    assert shard_hashes(tmp_path / "out") == before
