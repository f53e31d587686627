"""The corpus with planted duplicates on which deduplication is measured, and the exact similarities in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.planted import CLUSTERS, EDITS, Planted, make_documents, write_corpus
from bench.truth import quality, recall, truth
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset

DOCUMENTS_MADE = 1_500


@pytest.fixture(scope="module")
def planted(testdata: Path) -> Planted:
    return make_documents(DOCUMENTS_MADE)


def ngrams(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} if words else set()


def jaccard(one: str, other: str) -> float:
    a, b = ngrams(one), ngrams(other)
    return len(a & b) / len(a | b) if a | b else 0.0


def test_similarities_are_those_of_python_sets(planted: Planted) -> None:
    pairs = truth(planted.texts)
    known = {(i, j): value for i, j, value in pairs.tolist()}
    random = np.random.default_rng(1)
    drawn = [tuple(sorted(pair)) for pair in random.integers(0, DOCUMENTS_MADE, (150, 2)).tolist() if len({*pair}) == 2]
    drawn += [(i, j) for i, j, _ in pairs[random.choice(len(pairs), 150, replace=False)].tolist()]
    for i, j in drawn:
        exact = jaccard(planted.texts[i], planted.texts[j])
        assert known.get((i, j), 0.0) == (exact if exact >= 0.5 else 0.0)


def test_every_pair_of_the_near_duplicates_is_found(testdata: Path) -> None:
    documents = pq.read_table(testdata / "neardup" / "docs.parquet")
    ids = documents["id"].to_pylist()
    found = {(ids[i], ids[j]): value for i, j, value in truth(documents["text"].to_pylist()).tolist()}
    known = pq.read_table(testdata / "neardup" / "pairs.parquet", columns=["a", "b", "jaccard"]).to_pylist()
    rows = {one: row for row, one in enumerate(ids)}
    expected = {
        tuple(sorted((pair["a"], pair["b"]), key=rows.__getitem__)): pair["jaccard"]
        for pair in known
        if pair["jaccard"] >= 0.5
    }
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(value, abs=1e-6) for pair, value in expected.items())


def test_short_texts_are_one_ngram_and_empty_ones_resemble_nothing() -> None:
    texts = ["Two words", "two  WORDS\n", "two", "", " ", "two words more"]
    assert truth(texts).tolist() == [(0, 1, 1.0)]
    assert len(truth([])) == 0


def test_a_low_threshold_finds_all_that_share_an_ngram() -> None:
    assert truth(["a b c d e f", "b c d e f g", "x y z a b"], 0.01).tolist() == [(0, 1, 1 / 3)]


def test_what_is_planted_is_as_similar_as_it_should_be(planted: Planted) -> None:
    assert {*planted.kinds} == {*EDITS, "base", "exact", "cluster", "chain", "template"}
    similar: dict[str, list[float]] = {}
    for row, (kind, parent) in enumerate(zip(planted.kinds, planted.parents, strict=True)):
        if parent >= 0:
            similar.setdefault(kind, []).append(jaccard(planted.texts[row], planted.texts[parent]))
    assert set(similar.pop("exact")) == {1.0}
    assert len(similar["cluster"]) > 2 * CLUSTERS * DOCUMENTS_MADE / 52_000
    for kind, values in similar.items():
        assert 0.6 < np.mean(values) < 0.95, kind
        assert min(values) > 0.45, kind


def test_ends_of_a_chain_are_not_similar(planted: Planted) -> None:
    links = {row: parent for row, parent in enumerate(planted.parents) if planted.kinds[row] == "chain"}
    ends = [(row, links[parent]) for row, parent in links.items() if parent in links]
    assert ends
    for row, end in ends:
        assert jaccard(planted.texts[row], planted.texts[end]) < 0.75


def test_a_seed_makes_one_corpus(testdata: Path, tmp_path: Path, planted: Planted) -> None:
    for name in ("first", "second"):
        write_corpus(tmp_path / name, DOCUMENTS_MADE, shards=2)
    first, second = (Dataset(tmp_path / name) for name in ("first", "second"))
    assert [one.sha256 for one in first.files("documents")] == [one.sha256 for one in second.files("documents")]
    tables = [first.table(one) for one in first.files("documents")]
    assert [table.schema.remove_metadata() for table in tables] == [DOCUMENTS, DOCUMENTS]
    texts = [text for table in tables for text in table["text"].to_pylist()]
    assert texts == planted.texts
    assert make_documents(DOCUMENTS_MADE, seed=1).texts != texts
    assert len({one for table in tables for one in table["id"].to_pylist()}) == DOCUMENTS_MADE


def test_quality_counts_removed_without_a_twin_and_twins_left_standing() -> None:
    # 0 and 1 are alike, 1 and 2 nearly, 3 resembles nothing.
    pairs = truth(["a b c d e f g h i", "a b c d e f g h i", "a b c d e f g h i x", "q r s t u v"], 0.5)
    assert quality({0, 3}, pairs, 4) == {"precision": 1.0, "leak.8": 0.0, "leak.75": 0.0}
    assert quality({0, 1, 3}, pairs, 4) == {"precision": 1.0, "leak.8": 1 / 3, "leak.75": 1 / 3}
    assert quality({0}, pairs, 4)["precision"] == 2 / 3
    assert quality({0, 1, 2, 3}, pairs, 4)["precision"] == 1.0


def test_recall_is_the_share_of_pairs_in_one_cluster() -> None:
    pairs = truth(["a b c d e f g h i", "a b c d e f g h i", "a b c d e f g h i x"])
    assert recall(np.array([0, 0, 1]), pairs) == 1 / 3
