"""Plans: which units there are, what waits for what, and that the cut into units does not show in the result."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import pipeline
from corpus.engine.local import LocalEngine
from corpus.pipeline import Share, Source, Waiting, dedup_passes, run_pass, source_keys
from corpus.recipe import Recipe, make_step
from corpus.shards import Dataset
from tests.e2e.command import commit_documents, shard_hashes

STEPS = (make_step("dedup"),)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four shards of 60 documents, half of them copies or near-copies of others."""
    folder = tmp_path_factory.mktemp("documents")
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefgh", k=6)) for _ in range(2000)]
    texts = [" ".join(chance.choices(words, k=120)) for _ in range(120)]
    texts += [text if chance.random() < 0.5 else f"{text} and more" for text in texts]
    chance.shuffle(texts)
    for unit in range(4):
        commit_documents(folder, texts[60 * unit : 60 * unit + 60], f"u{unit}", first=60 * unit)
    return str(folder)


ALL = Share()


def deduplicate(documents: str, output: Path, engine: LocalEngine, share: Share = ALL) -> dict[str, int]:
    """Runs all passes; units by pass."""
    source = Source(dataset=documents)
    units = {}
    plans = dedup_passes(source, source_keys(source), STEPS, f"{output}/work", str(output), Recipe("x", STEPS), share)
    for plan in plans:
        summary = run_pass(plan, engine, lambda event: None, share)
        assert summary.failures == []
        units[plan.name] = summary.units
    return units


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


def test_partitions_do_not_show(
    documents: str, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deduplicate(documents, tmp_path / "one", engine) == {"signatures": 4, "bands": 1, "clusters": 1, "dedup": 4}
    monkeypatch.setattr(pipeline, "_PARTITION", 10_000)
    assert deduplicate(documents, tmp_path / "many", engine)["bands"] == 16
    one, many = (
        {name: digest for name, digest in shard_hashes(tmp_path / folder).items() if "bands/" not in name}
        for folder in ("one", "many")
    )
    assert one == many
    kept = Dataset(tmp_path / "one").files("documents")
    assert sum(output.rows for output in kept) == 120


def test_the_number_of_partitions_grows_with_the_bytes_and_less_with_many_files() -> None:
    sizes = [(1, 1), (64 << 20, 1), ((64 << 20) + 1, 1), (10**9, 5), (15 * 10**10, 90_000), (15 * 10**11, 900_000)]
    assert [pipeline._partitions(size, files) for size, files in sizes] == [1, 1, 2, 16, 256, 1024]


def test_a_task_waits_where_others_are_needed(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(Waiting, match=r"signatures: 2 of 4 units are with other tasks, e\.g\. u0"):
        deduplicate(documents, tmp_path / "out", engine, Share(2, 2))
    assert Dataset(tmp_path / "out/work/signatures").units() == ["u1", "u3"]
    with pytest.raises(Waiting, match="signatures: 2 of 4 units"):
        deduplicate(documents, tmp_path / "out", engine, Share(2, 2, wait=0.1))
    first = deduplicate(documents, tmp_path / "out", engine, Share(1, 2))
    assert first == {"signatures": 2, "bands": 1, "clusters": 1, "dedup": 2}
    second = deduplicate(documents, tmp_path / "out", engine, Share(2, 2))
    assert second == {"signatures": 2, "bands": 0, "clusters": 0, "dedup": 2}
    deduplicate(documents, tmp_path / "alone", engine)
    assert shard_hashes(tmp_path / "out") == shard_hashes(tmp_path / "alone")


def test_what_vanished_is_not_waited_for(documents: str, engine: LocalEngine, tmp_path: Path) -> None:
    deduplicate(documents, tmp_path, engine)
    signatures = Dataset(tmp_path / "work/signatures")
    plans = dedup_passes(
        Source(dataset=documents),
        ["u0", "u1", "u2", "u3"],
        STEPS,
        f"{tmp_path}/work",
        str(tmp_path),
        Recipe("x", STEPS),
    )
    next(plans)
    (Path(signatures.path) / "_units" / "u2.json").unlink()
    with pytest.raises(OSError, match="signatures: what was committed for unit u2 is not there"):
        next(plans)
