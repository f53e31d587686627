"""CANDIDATES -> LABELS: who stays, who stands for whom, and nothing that depends on the order of arrival."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import check
from corpus.dedup import Config
from corpus.dedup.candidates import candidates, candidates_schema, priority, write_candidates
from corpus.dedup.kernels import compare
from corpus.dedup.labels import DECISIONS, LABELS, decide, labels, write_decisions
from corpus.dedup.sections import Sections, read_section
from corpus.dedup.signatures import sign
from corpus.schema import DOCUMENTS
from tests.oracles.dedup_labels import Document, twins
from tests.support.dedup_files import SMALL, candidate


def decisions(rows: list[dict[str, Any]], config: Config = SMALL) -> list[dict[str, Any]]:
    schema = candidates_schema(config)
    batches = [pa.RecordBatch.from_pylist([row], schema=schema) for row in rows]
    found: list[dict[str, Any]] = decide(batches, config).decisions.to_pylist()
    return found


def kept(rows: list[dict[str, Any]], config: Config = SMALL) -> list[str]:
    return [row["id"] for row in decisions(rows, config) if row["keep"]]


def test_a_near_duplicate_names_its_twin_and_their_exact_similarity() -> None:
    one, other = decisions([candidate(0, length=200), candidate(1, ngrams=[1, 2, 3, 4, 5])])
    assert (one["keep"], one["cluster_size"], one["representative"], one["rule"]) == (True, 2, "d0", None)
    assert other == {
        "row": 1,
        "id": "d1",
        "keep": False,
        "cluster_id": 0,
        "cluster_size": 2,
        "representative": "d0",
        "rule": "dedup.minhash",
        "similarity": 4 / 5,
        "threshold": 0.75,
    }


def test_equal_text_hashes_are_exact_duplicates_whatever_else() -> None:
    same = {"text_hash": b"x" * 16}
    other = decisions([candidate(0, **same), candidate(1, minima=[8] * 6, ngrams=[9], **same)])[1]
    assert (other["rule"], other["similarity"], other["threshold"]) == ("dedup.exact", 1.0, 1.0)


def test_likeness_through_a_third_drops_nothing() -> None:
    chain = [
        candidate(0, ngrams=list(range(0, 20)), length=3),
        candidate(1, ngrams=list(range(2, 22)), length=2),
        candidate(2, ngrams=list(range(4, 24)), length=1),
    ]
    assert kept(chain) == ["d0", "d2"]
    assert kept(chain, Config(bands=3, rows=2, verify=False)) == ["d0"]


def test_unverified_a_row_says_what_connects_it_with_the_kept_document() -> None:
    """The estimate of the signatures is 1 for all of them, because their minima are those of folded text."""
    config = Config(bands=3, rows=2, verify=False)  # limit .577
    rows = [
        candidate(0, ngrams=list(range(0, 20)), length=9),
        candidate(1, ngrams=list(range(4, 20)), length=8),
        candidate(2, ngrams=list(range(11, 31)), length=7),
        candidate(3, text_hash=b"x" * 16, ngrams=[], length=6),
    ]
    assert [(row["representative"], row["rule"], row["similarity"]) for row in decisions(rows, config)] == [
        ("d0", None, None),
        ("d0", "dedup.minhash", 16 / 20),
        ("d0", "dedup.chain", 9 / 31),
        ("d0", "dedup.chain", 0.0),
    ]
    assert [row["threshold"] for row in decisions(rows, config)] == [None, *[config.limit] * 3]


def test_documents_without_a_band_in_common_are_not_compared() -> None:
    assert kept([candidate(0, minima=[1] * 6), candidate(1, minima=[2] * 6)]) == ["d0", "d1"]


def test_of_equals_the_published_the_higher_score_the_longer_and_the_earlier_stays() -> None:
    rows = [
        candidate(5, published=True, score=0.0, length=1),
        candidate(4, score=2.0, length=1),
        candidate(3, score=1.0, length=9, dump="CC-MAIN-2020-05"),
        candidate(2, score=1.0, length=9, dump="CC-MAIN-2021-04", file_path="a"),
        candidate(1, score=1.0, length=9, dump="CC-MAIN-2021-04", file_path="b", warc_offset=7),
        candidate(0, score=1.0, length=9, dump="CC-MAIN-2021-04", file_path="b", warc_offset=8),
        candidate(6, score=1.0, length=9, dump="CC-MAIN-2021-04", file_path="b", warc_offset=8),
        candidate(7, score=1.0, length=8),
        candidate(8, score=None, length=99),
    ]
    for first in range(len(rows)):
        assert kept(rows[first:][::-1]) == [rows[first]["id"]]
    assert kept(rows[1:], Config(bands=3, rows=2, keep="first")) == ["d0"]


def test_a_score_that_is_no_number_comes_after_the_lowest_and_none_after_that() -> None:
    scores = [float("inf"), 1.0, 0.0, -0.0, float("-inf"), float("nan"), None]
    rows = [candidate(row, score=score) for row, score in enumerate(scores)]
    for first in range(len(rows)):
        assert kept(rows[first:][::-1], Config(bands=3, rows=2, keep="score:quality")) == [f"d{first}"]


def test_scores_may_be_integers_of_any_size() -> None:
    documents = pa.RecordBatch.from_pylist([{"text": "a", "id": "d"}] * 3, schema=DOCUMENTS)
    scored = documents.append_column("quality", pa.array([2**53 + 1, None, -(2**63)], pa.int64()))
    found = priority(scored, Config(keep="score:quality")).column("score").to_pylist()
    assert found == [float(2**53), None, -float(2**63)]


@pytest.mark.parametrize(("threshold", "size"), [(0.55, 55), (0.07, 7), (0.28, 28), (0.75, 75), (1.0, 100)])
def test_a_similarity_of_just_the_threshold_is_enough(threshold: float, size: int) -> None:
    config = Config(bands=3, rows=2, threshold=threshold)
    whole = candidate(0, ngrams=list(range(100)), length=101)
    assert kept([whole, candidate(1, ngrams=list(range(size)))], config) == ["d0"]
    assert kept([whole, candidate(1, ngrams=list(range(size - 1)))], config) == ["d0", "d1"]


def test_a_block_with_more_keys_than_can_be_numbered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST", 12)
    rows = [candidate(0), *(candidate(row, block=7) for row in range(1, 4))]
    assert len(kept(rows)) == 2  # four keys each
    with pytest.raises(ValueError, match=r"block 7 has 4 documents, .* with 3 bands: more --rows, or fewer --bands"):
        decisions([*rows, candidate(4, block=7)])
    assert kept([*rows, candidate(4, block=7)], Config(bands=3, rows=2, verify=False)) == ["d0", "d1"]


def test_two_documents_with_one_id_are_two() -> None:
    found = decisions([candidate(0, id="same"), candidate(1, id="same"), candidate(2, id="same", ngrams=[9])])
    assert [(row["keep"], row["cluster_id"], row["representative"]) for row in found] == [
        (True, 0, "same"),
        (False, 0, "same"),
        (True, 2, "same"),
    ]


def test_a_cluster_of_what_is_published_counts_the_published_one_too() -> None:
    found = decisions([candidate(0, published=True), candidate(1), candidate(2), candidate(3, published=True)])
    assert [row["cluster_size"] for row in found] == [3, 3, 3, 1]


@pytest.mark.parametrize("wrong", [[6, 9], [2, 6], [7, 7], [8, 6]])
def test_blocks_of_other_documents_are_refused(wrong: list[int]) -> None:
    texts = [{"text": f"one text of {row}", "id": f"d{row}", "dump": "d", "file_path": "f"} for row in range(4)]
    documents = pa.RecordBatch.from_pylist(texts, schema=DOCUMENTS)
    signed = sign(documents, SMALL)

    def brought(rows: list[int]) -> list[str]:
        blocks = pa.table({"row": pa.array(rows, pa.uint64()), "block": pa.array([5] * len(rows), pa.uint64())})
        return [
            name for batch in candidates([documents], [signed], blocks, 5, SMALL) for name in batch["id"].to_pylist()
        ]

    assert brought([5, 8]) == ["d0", "d3"]
    with pytest.raises(ValueError, match="blocks do not belong to these documents; remove the folders"):
        brought(wrong)


def test_what_is_published_stays_even_if_it_has_a_twin_there() -> None:
    rows = [candidate(0, published=True), candidate(1, published=True), candidate(2)]
    assert kept(rows) == ["d0", "d1"] == kept(rows, Config(bands=3, rows=2, verify=False))


def test_a_document_meets_no_more_candidates_than_checks() -> None:
    many = [candidate(row, ngrams=[10 * row + 1], length=100 - row) for row in range(9)]
    twin = candidate(9, ngrams=[81], length=1)
    schema = candidates_schema(SMALL)

    def decided(checks: int) -> Any:
        return decide(
            [pa.RecordBatch.from_pylist([*many, twin], schema=schema)], Config(bands=3, rows=2, checks=checks)
        )

    assert decided(9).capped == 0
    assert decided(9).decisions.column("keep").to_pylist()[-1] is False
    assert decided(4).capped == 5  # the sixth to the tenth document met five or more
    assert decided(4).decisions.column("keep").to_pylist()[-1] is True


def test_an_adversarial_band_of_200_000_documents_is_gone_through_in_linear_time() -> None:
    count = 200_000
    random_ = np.random.default_rng(1)
    minima = random_.integers(0, 2**32, (count, SMALL.num_perm), np.uint32)
    minima[:, :2] = 7  # one band in common
    nothing = pa.nulls(count, pa.string())
    columns = {
        "row": pa.array(np.arange(count, dtype=np.uint64)),
        "block": pa.array(np.zeros(count, np.uint64)),
        "published": pa.array(np.zeros(count, np.bool_)),
        "id": pa.array([f"d{row}" for row in range(count)]),
        "score": pa.nulls(count, pa.float64()),
        "length": pa.array(np.full(count, 9)),
        "dump": nothing,
        "file_path": nothing,
        "warc_offset": pa.nulls(count, pa.int64()),
        "text_hash": pa.Array.from_buffers(
            pa.binary(16), count, [None, pa.py_buffer(random_.integers(0, 2**63, (count, 2)))]
        ),
        "signature": pa.Array.from_buffers(pa.binary(24), count, [None, pa.py_buffer(minima)]),
        "ngrams": pa.LargeListArray.from_arrays(
            pa.array(np.arange(count + 1)), pa.array(random_.integers(0, 2**32, count, np.uint32))
        ),
    }
    schema = candidates_schema(SMALL)
    found = decide([pa.record_batch([columns[name] for name in schema.names], schema=schema)], SMALL)
    assert found.capped == count - SMALL.checks - 1
    assert all(found.decisions.column("keep").to_pylist())


DOCUMENT = st.tuples(
    st.integers(0, 5),  # hash
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
    st.frozensets(st.integers(0, 6), max_size=6),
    st.booleans(),
)


@given(st.lists(DOCUMENT, max_size=12), st.sampled_from([0.3, 0.5, 0.75, 1.0]), st.randoms())
def test_labels_are_those_of_the_slow_twin_in_any_order_of_arrival(
    documents: list[Any], threshold: float, order: random.Random
) -> None:
    config = Config(bands=3, rows=2, threshold=threshold)
    documents.sort(key=lambda document: not document[3])  # what is published comes first
    expected = twins(
        [Document(bytes([h]), tuple(minima), ngrams, published) for h, minima, ngrams, published in documents],
        config.rows,
        threshold,
    )
    rows = [
        candidate(
            row,
            minima=minima,
            text_hash=bytes([text_hash] * 16),
            ngrams=sorted(ngrams),
            published=published,
            length=100 - row,
        )
        for row, (text_hash, minima, ngrams, published) in enumerate(documents)
    ]
    order.shuffle(rows)
    found = decisions(rows, config)
    assert [row["representative"] for row in found] == [f"d{twin}" for twin in expected]


CONFIGS = st.sampled_from(
    [
        SMALL,
        Config(bands=3, rows=2, exact=False),
        Config(minhash=False),
        Config(minhash=False, verify=False),
        Config(bands=3, rows=2, verify=False),
        Config(bands=3, rows=2, exact=False, verify=False),
        Config(bands=3, rows=2, keep="first", checks=2),
        Config(bands=3, rows=2, keep="score:quality", threshold=0.4),
    ]
)
SCORE = st.sampled_from([None, float("nan"), float("-inf"), 0.0, 1.0])


@given(st.lists(st.tuples(DOCUMENT, st.integers(0, 3), SCORE), max_size=16), CONFIGS, st.integers(1, 4), st.data())
def test_nothing_depends_on_batches_files_or_partitions(
    documents: list[Any], config: Config, parts: int, data: st.DataObject
) -> None:
    rows = [
        candidate(
            row,
            id=f"d{row // 2}",
            block=block,
            minima=minima,
            text_hash=bytes([text_hash] * 16),
            ngrams=sorted(ngrams),
            published=published,
            score=score,
        )
        for row, ((text_hash, minima, ngrams, published), block, score) in enumerate(documents)
    ]
    schema = candidates_schema(config)
    whole = pa.RecordBatch.from_pylist(rows, schema=schema)
    expected = decide([whole], config)
    shuffled = whole.take(pa.array(data.draw(st.permutations(range(len(rows)))), pa.int64()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    batches = [shuffled.slice(one, other - one) for one, other in itertools.pairwise([0, *cuts, len(rows)])]
    files = data.draw(st.integers(1, 3))
    decided = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            write_candidates(batches[number::files], Path(folder, str(number)), parts)
        for part in range(parts):
            found = [
                batch
                for number in range(files)
                for batch in read_section(Sections(reader(Path(folder, str(number))), str(number)), part, schema)
            ]
            decided.append(decide(found, config))
    assert pa.concat_tables(one.decisions for one in decided).sort_by("row") == expected.decisions
    assert sum(one.capped for one in decided) == expected.capped
    if not expected.decisions.num_rows:
        return
    for block in {row["block"] for row in rows}:  # somebody stays, and stands for all that go
        mine = [one for row, one in zip(rows, expected.decisions.to_pylist(), strict=True) if row["block"] == block]
        stay = {one["cluster_id"]: one["cluster_size"] for one in mine if one["keep"]}
        assert all(one["keep"] == (one["cluster_id"] == one["row"]) for one in mine)
        assert stay == dict(Counter(one["cluster_id"] for one in mine))


def reader(path: Path) -> Callable[[int, int], bytes]:
    data = path.read_bytes()
    return lambda start, length: data[start : start + length]


def section(path: Path, number: int) -> pa.Table:
    data = path.read_bytes()
    file = Sections(lambda start, length: data[start : start + length], path.name)
    return pa.Table.from_batches(read_section(file, number, DECISIONS), DECISIONS)


def test_each_unit_gets_the_labels_of_all_its_documents(tmp_path: Path) -> None:
    rows = [candidate(2), candidate(4), candidate(5, block=5), candidate(6, block=5, ngrams=[99])]
    schema = candidates_schema(SMALL)
    table = decide([pa.RecordBatch.from_pylist(rows, schema=schema)], SMALL).decisions
    assert write_decisions(table, tmp_path / "decisions", [3, 6, 8]) == 3  # row 2 is published elsewhere
    first = labels(section(tmp_path / "decisions", 0), 3, pa.array(["d3", "d4", "d5"])).to_pylist()
    assert first == [
        {
            "id": "d3",
            "keep": True,
            "cluster_id": 3,
            "cluster_size": 1,
            "representative": "d3",
            "rule": None,
            "similarity": None,
            "threshold": None,
            "alone": True,
        },
        {name: value for name, value in table.to_pylist()[1].items() if name != "row"} | {"alone": False},
        {name: value for name, value in table.to_pylist()[2].items() if name != "row"} | {"alone": False},
    ]
    assert first[1]["representative"] == "d2"
    with pytest.raises(ValueError, match="do not belong to these documents"):
        labels(section(tmp_path / "decisions", 1), 6, pa.array(["other", "d7"]))


def test_nothing_is_decided_where_all_are_alone(tmp_path: Path) -> None:
    table = decide([], SMALL).decisions
    assert table.num_rows == 0
    assert write_decisions(table, tmp_path / "decisions", [0, 2]) == 0
    found = labels(section(tmp_path / "decisions", 0), 0, pa.array(["a", "b"]))
    assert found.schema == LABELS
    assert found.column("alone").to_pylist() == found.column("keep").to_pylist() == [True, True]


@pytest.mark.parametrize("keep", ["shortest", "score:", ""])
def test_an_unknown_order_is_refused(keep: str) -> None:
    with pytest.raises(ValueError, match="should be longest, first or score:COLUMN"):
        check(Config(keep=keep))
