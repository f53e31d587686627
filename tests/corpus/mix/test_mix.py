"""Mixtures: weights and factors, the draw of an id, and what is taken whatever the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.engine.local import LocalEngine
from corpus.mix.draw import (
    FINEWEB2,
    Grouping,
    check_names,
    copies,
    draw,
    parse_clusters,
    parse_weights,
    plan,
    size_up,
)
from corpus.mix.passes import Mixture, mix_passes, name_sources, parts, taken
from corpus.run.execute import run_pass
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset
from tests.support.command import commit_rows

COLUMNS = pa.schema([*DOCUMENTS, pa.field("minhash_cluster_size", pa.int64()), pa.field("quality_score", pa.float64())])


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


def document(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"<{number}>", "text": "x" * (number % 7), "warc_offset": number} | more


def commit(folder: Path, rows: list[dict[str, Any]], shards: int) -> str:
    """Commit a dataset of documents, the rows dealt out to `shards` shards."""
    for shard in range(shards):
        commit_rows(folder, rows[shard::shards], f"u{shard}", COLUMNS)
    return str(folder)


def mixed(engine: LocalEngine, mixture: Mixture) -> list[dict[str, Any]]:
    for plan_ in mix_passes(mixture):
        assert run_pass(plan_, engine, lambda event: None).failures == []
    dataset = Dataset(mixture.output)
    return [row for output in dataset.files("documents") for row in dataset.table(output).to_pylist()]


def accounts(folder: str) -> Counter[str]:
    sums = Counter[str]()
    for record in Dataset(folder).records():
        (account,) = record.counts
        dropped = sum(account["dropped"].values())
        assert account["read"] == account["kept"] + dropped
        documents, others = record.output("documents"), record.output("dropped")
        assert documents
        assert documents.rows == account["kept"] + account["copies"]
        assert others
        assert others.rows == dropped
        sums.update({name: account[name] for name in ("read", "kept", "copies")})
        sums.update(account["dropped"])
    return sums


@given(st.text(), st.integers(0, 2**40))
def test_a_draw_is_a_share(id: str, seed: int) -> None:
    assert 0 <= draw(id, seed) < 1
    assert draw(id, seed) == draw(id, seed)


def test_draws_are_spread_and_depend_on_the_seed() -> None:
    one = [draw(f"<{number}>", 1) for number in range(10_000)]
    assert [abs(sum(low <= value < low + 0.1 for value in one) - 1000) < 120 for low in (0.0, 0.3, 0.9)] == [True] * 3
    other = [draw(f"<{number}>", 2) for number in range(10_000)]
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(one, other, strict=True))
    assert 60 < both < 140


@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 1, exclude_max=True))
def test_more_is_a_superset_of_less(less: float, more: float, drawn: float) -> None:
    less, more = sorted((less, more))
    assert copies(less, drawn) <= copies(more, drawn)
    assert int(less) <= copies(less, drawn) <= int(less) + 1


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.floats(1, 1e6), st.floats(0.01, 10)), min_size=1),
    st.floats(0.1, 4),
    st.none() | st.floats(1, 1e6),
)
def test_factors_give_the_wanted_shares(
    groups: dict[str, tuple[float, float]], most: float, total: float | None
) -> None:
    have, weights = ({name: pair[at] for name, pair in groups.items()} for at in (0, 1))
    found = plan(have, weights, total, most)
    assert all(part.factor <= most * (1 + 1e-9) for part in found)
    got = {part.name: part.factor * part.have for part in found}
    wanted = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    free = [part for part in found if part.factor < most * (1 - 1e-9)]
    if total is None:
        assert len(free) < len(found)  # one group at least is used up, and all have their shares
        assert {name: size / sum(got.values()) for name, size in got.items()} == pytest.approx(wanted)
    for part in free:
        assert got[part.name] == pytest.approx(wanted[part.name] * (total or sum(got.values())))


def test_weights_in_words() -> None:
    assert parse_weights(["a/b=c/=0.5", "de=2"]) == {"a/b=c/": 0.5, "de": 2.0}
    for pairs, message in (
        (["a"], "a: should be NAME=WEIGHT"),
        (["=1"], "=1: should be NAME=WEIGHT"),
        (["a=-1"], "a=-1: should be"),
        (["a=x"], "a=x: should be"),
        (["a=nan"], "a=nan: should be"),
        (["a=1", "a=2"], "a has a weight already"),
        (["a=0"], "all weights are 0"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_weights(pairs)
    with pytest.raises(ValueError, match="b: nothing of it is there"):
        plan({"a": 1.0}, {"a": 1.0, "b": 1.0}, None, 1.0)
    assert parse_clusters(FINEWEB2) == ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))
    for text in ("2:1", "1", "1:1,1:2", "1:-1", "1:x"):
        with pytest.raises(ValueError, match=r"should be SIZE:WEIGHT"):
            parse_clusters(text)
    check_names(["0..1", "1..2"], "x")
    for names, message in (
        (["0..x"], "should be LOW..HIGH"),
        (["1..1"], "is empty"),
        (["0..1", "en"], "either ranges of x or values"),
        (["0..1", "0.5..2"], r"0\.5\.\.2: overlaps 0\.\.1"),
    ):
        with pytest.raises(ValueError, match=message):
            check_names(names, "x")
    with pytest.raises(ValueError, match="b/x: has the name of a/x"):
        name_sources(["a/x", "b/x"])


def test_clusters_have_the_weight_of_the_largest_size_they_reach() -> None:
    sizes = [1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**6]
    batch = pa.RecordBatch.from_pylist([{"minhash_cluster_size": size} for size in sizes])
    found = size_up(batch, "all", Grouping((), clusters=parse_clusters(FINEWEB2)))
    assert found.weights == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]
    with pytest.raises(ValueError, match="minhash_cluster_size has nulls: deduplicate first"):
        size_up(
            pa.RecordBatch.from_pylist([{"minhash_cluster_size": None}, {"minhash_cluster_size": 1}]),
            "all",
            Grouping((), clusters=((1, 1.0),)),
        )


def test_ranges_of_numbers_and_values() -> None:
    batch = pa.RecordBatch.from_pylist([{"score": value} for value in (0.0, 0.5, 0.99, 1.0, None)])
    grouping = Grouping(("0..0.5", "0.5..1"), by="score", measure="documents")
    assert size_up(batch, "all", grouping).groups == ["0..0.5", "0.5..1", "0.5..1", None, None]
    words = pa.RecordBatch.from_pylist([{"score": "en"}, {"score": "de"}])
    assert size_up(words, "all", Grouping(("en",), by="score")).groups == ["en", None]
    with pytest.raises(ValueError, match="holds 'en': ranges need numbers"):
        size_up(words, "all", grouping)


def test_sources_by_weights_whatever_the_shards(engine: LocalEngine, tmp_path: Path) -> None:
    web, books = [document(number) for number in range(900)], [document(number) for number in range(1000, 1100)]
    results = []
    for shards in (1, 4):
        folder = tmp_path / str(shards)
        sources = {name: commit(folder / name, rows, shards) for name, rows in (("web", web), ("books", books))}
        grouping = Grouping(("web", "books"))
        mixture = Mixture(sources, grouping, {"web": 0.5, "books": 0.5}, str(folder / "out"), 500, max_repeats=4)
        rows = mixed(engine, mixture)
        sums = accounts(str(folder / "out"))
        assert sums["read"] == 1000
        assert sums["kept"] + sums["copies"] == len(rows) == sum(taken(mixture).values())
        assert {part.name: part.factor for part in parts(mixture)} == {"web": 250 / 900, "books": 2.5}
        results.append(sorted((row["id"], row["mix_copy"], row["mix_group"]) for row in rows))
    assert results[0] == results[1]
    by_group = Counter(group for _, _, group in results[0])
    assert by_group["web"] == pytest.approx(250, abs=50)
    assert by_group["books"] == pytest.approx(250, abs=25)
    # The draw of each id decides, as its definition has it.
    expected = {
        f"<{n}>": copies(250 / 900 if n < 1000 else 2.5, draw(f"<{n}>", 1)) for n in [*range(900), *range(1000, 1100)]
    }
    assert Counter(id for id, _, _ in results[0]) == Counter(expected)
    assert {copy for id, copy, _ in results[0] if id == "<1000>"} == set(range(1, expected["<1000>"] + 1))


def test_the_same_again_is_done_and_the_dropped_name_their_draw(engine: LocalEngine, tmp_path: Path) -> None:
    rows = [document(number, language="en" if number % 3 else "de") for number in range(300)]
    rows += [document(number, language="fr") for number in range(300, 310)] + [document(310)]
    source = commit(tmp_path / "docs", rows, 2)
    grouping = Grouping(("en", "de"), by="language", measure="bytes")
    mixture = Mixture({"docs": source}, grouping, {"en": 1, "de": 3}, str(tmp_path / "out"))
    kept = mixed(engine, mixture)
    for plan_ in mix_passes(mixture):
        assert run_pass(plan_, engine, lambda event: None).done == 0
    assert accounts(str(tmp_path / "out"))["mix.no_weight"] == 11
    assert {row["language"] for row in kept} == {"en", "de"}
    dataset = Dataset(tmp_path / "out")
    dropped = [row for output in dataset.files("dropped") for row in dataset.table(output).to_pylist()]
    assert {row["value"] for row in dropped if row["rule"] == "mix.no_weight"} == {"fr", "None"}
    factors = {part.name: part.factor for part in parts(mixture)}
    assert factors["de"] == 1
    for row in dropped:
        if row["rule"] == "mix.sampled_out":
            assert float(row["value"]) == draw(row["id"], 1) >= float(row["threshold"]) == factors["en"]
    sizes = Counter[str]()
    for row in kept:
        sizes[row["language"]] += len(row["text"])
    assert taken(mixture) == sizes


def test_clusters_are_repeated(engine: LocalEngine, tmp_path: Path) -> None:
    rows = [document(number, minhash_cluster_size=size) for number, size in enumerate([1, 2, 4, 100, 5000])]
    source = commit(tmp_path / "docs", rows, 2)
    grouping = Grouping((), clusters=parse_clusters(FINEWEB2))
    kept = mixed(engine, Mixture({"docs": source}, grouping, {}, str(tmp_path / "out")))
    assert Counter(row["id"] for row in kept) == {"<0>": 1, "<1>": 2, "<2>": 3, "<3>": 8, "<4>": 1}
    assert accounts(str(tmp_path / "out")) == {"read": 5, "kept": 5, "copies": 10}


def test_columns_of_sources_are_brought_together(engine: LocalEngine, tmp_path: Path) -> None:
    one = commit(tmp_path / "one", [document(1, quality_score=0.5)], 1)
    first = mixed(engine, Mixture({"one": one}, Grouping(("one",)), {"one": 1}, str(tmp_path / "mixed")))
    assert [row["mix_group"] for row in first] == ["one"]
    sources = {"one": one, "mixed": str(tmp_path / "mixed")}
    again = mixed(engine, Mixture(sources, Grouping(tuple(sources)), {"one": 1, "mixed": 1}, str(tmp_path / "out")))
    assert sorted((row["mix_group"], row["quality_score"]) for row in again) == [("mixed", 0.5), ("one", 0.5)]
    with pytest.raises(ValueError, match="docs: no column nothing; its documents have text"):
        next(
            mix_passes(
                Mixture({"d": commit(tmp_path / "docs", [document(1)], 1)}, Grouping(("x",), "nothing"), {"x": 1}, "o")
            )
        )
