from __future__ import annotations

from pathlib import Path

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.config import check
from corpus.dedup import Config, signatures_schema
from corpus.dedup.kernels import sign as kernels
from corpus.dedup.signatures import fold_table, process, schema, shingle_hashes, sign, to_datasketch
from tests.oracles import dedup_signatures as oracle

# Every class of the fold table: letters, marks, expansions, digits and decimal points of several scripts, separators.
AWKWARD = st.text(st.sampled_from("aZß ÉéΣςσİıﬁñ가각中文ि०१٣٫15.,،-’…\u0301\u0327\u037e\u00a0\u3000\x85\x00\n!@_𝐀🙂"))
TEXTS = st.one_of(AWKWARD, st.text(), st.lists(st.sampled_from(["one", "two", "3.5", "Vier"])).map(" ".join))
SMALL = Config(bands=3, rows=2)


def batch(texts: list[str | None]) -> pa.RecordBatch:
    ids = pa.array([f"<urn:uuid:{i}>" for i in range(len(texts))], pa.string())
    return pa.record_batch([pa.array(texts, pa.string()), ids], names=["text", "id"])


def signature(row: dict[str, object]) -> list[int]:
    values: list[int] = np.frombuffer(row["signature"], "<u4").tolist()  # type: ignore[call-overload]
    return values


@given(st.lists(TEXTS, max_size=4), st.integers(1, 6))
@example(["1.2.3", "1,000,000 1.", ".5", "é", "e\u0301", "한국", "ΟΔΟΣ", ""], 5)
def test_rows_equal_the_slow_twin(texts: list[str], shingle: int) -> None:
    config = Config(shingle=shingle, bands=3, rows=2, seed=7)
    rows = sign(batch(texts), config).to_pylist()
    assert [row["id"] for row in rows] == [f"<urn:uuid:{i}>" for i in range(len(texts))]
    for text, row in zip(texts, rows, strict=True):
        expected = oracle.signature(text, shingle, config.num_perm, config.seed)
        assert signature(row) == expected
        assert row["bands"] == oracle.band_keys(expected, config.rows)
        assert row["shingles"] == len(oracle.shingle_hashes(text, shingle))
        assert row["text_hash"] == oracle.text_hash(text)
        assert shingle_hashes(text, config).tolist() == oracle.shingle_hashes(text, shingle)


def test_every_code_point_is_folded_as_the_slow_twin_does() -> None:
    fold, expansions = fold_table()
    classes = {kernels.SEPARATOR: " ", kernels.MARK: "", kernels.NUMBER: "0"}
    for code in [*range(0xD800), *range(0xE000, 0x32000), *range(0xE0000, 0x110000, 17)]:
        entry = int(fold[code])
        if entry <= kernels.EXPAND:
            length, *parts = expansions[kernels.EXPAND - entry].tolist()
            folded = "".join(map(chr, parts[:length]))
        else:
            folded = classes[entry] if entry in classes else chr(entry)
        assert oracle.words(f"x{chr(code)}y") == f"x{folded}y".split(), hex(code)


def test_real_documents_equal_datasketch(testdata: Path) -> None:
    table = pq.read_table(testdata / "neardup" / "docs.parquet").slice(0, 60)
    config = Config()
    rows = [row for part in table.to_batches() for row in sign(part, config).to_pylist()]
    for text, row in zip(table.column("text").to_pylist(), rows, strict=True):
        assert signature(row) == oracle.signature(text, 5, 112, 1)


def test_a_sketch_can_be_queried_with_datasketch() -> None:
    # Words of letters: all numbers are one.
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    texts = [" ".join(words[start : start + 200]) for start in (0, 4, 200)]
    config = Config()
    sketches = [to_datasketch(row, config) for row in sign(batch(texts), config).to_pylist()]
    index = datasketch.MinHashLSH(num_perm=config.num_perm, params=(config.bands, config.rows))
    index.insert("same", sketches[0])
    index.insert("other", sketches[2])
    query = datasketch.MinHash(num_perm=config.num_perm, seed=config.seed, hashfunc=int, scheme="affine32")
    query.update_batch(shingle_hashes(texts[1], config))
    assert index.query(query) == ["same"]
    assert query.jaccard(sketches[1]) == 1.0
    assert query.jaccard(sketches[0]) == pytest.approx(192 / 200, abs=0.06)


def test_short_texts_and_texts_without_words() -> None:
    rows = sign(batch(["four words are few", "a b c d e f", "... !", "", None]), SMALL).to_pylist()
    assert [row["shingles"] for row in rows] == [1, 2, 0, 0, 0]
    assert signature(rows[2]) == [2**32 - 1] * 6


def test_order_of_words_counts_in_a_short_text() -> None:
    one, other = sign(batch(["red blue", "blue red"]), SMALL).to_pylist()
    assert one["signature"] != other["signature"]


def test_what_is_folded_together() -> None:
    texts = ["Café, 3.14 — Ärger!", "cafe 99 arger", "CAFE\u0301\n1,5\u00a0a\u0308rger"]
    assert len({row["signature"] for row in sign(batch(texts), SMALL).to_pylist()}) == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_slices_and_string_types_are_the_same_documents(kind: pa.DataType) -> None:
    whole = batch([f"text number {i} é" for i in range(10)])
    text = whole.column("text").cast(kind)
    whole = pa.record_batch([text, whole.column("id")], names=["text", "id"])
    assert sign(whole.slice(3, 4), SMALL).equals(sign(whole, SMALL).slice(3, 4))


def test_empty_batch_and_schema() -> None:
    rows = sign(batch([]), SMALL)
    assert rows.num_rows == 0
    assert rows.schema.equals(signatures_schema(SMALL), check_metadata=True)
    assert schema(SMALL).metadata != schema(Config(bands=3, rows=2, seed=2)).metadata


def test_process_keeps_every_row() -> None:
    documents = batch(["a b c", "", "d"])
    kept, dropped = process(documents, SMALL)
    assert kept.equals(sign(documents, SMALL))
    assert dropped.num_rows == 0


def test_settings_are_checked() -> None:
    assert check(Config()).threshold == pytest.approx(0.719, abs=0.001)
    with pytest.raises(ValueError, match="bands = 0"):
        check(Config(bands=0))
