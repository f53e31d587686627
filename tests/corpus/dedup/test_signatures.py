from __future__ import annotations

import functools
import string
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.dedup import Config
from corpus.dedup.signatures import check, process, schema, shingle_hashes, shingle_sets, sign, to_datasketch
from corpus.text import fold
from tests.oracles import dedup_signatures as oracle

# Every kind of the tables: letters, marks, expansions, digits and decimal points of several scripts, separators, and
# scripts without spaces.
AWKWARD = st.text(
    st.sampled_from(
        "aZß ÉéΣςσİıﬁñ가각ि०１٣٫15.,،-’…\u0301\u0327\u037e\u00a0\u3000\x85\x00\x1c\n!@_𝐀🙂。"
        "中文字のがカｶーไทยเ\u0e4cລາວខ\u17d2ម\u17c2မြန်𠀀豈𤋮๕"
    )
)
# Long enough for blocks of 64 bytes, with what ends them in any place.
PARTS = ["one", "Two", "3.5", "1,000,000", "  ", "\n\n", "vier-fünf", "x" * 70, "中文", "the end.", "ΟΔΟΣ", "7th", "é"]
LONG = st.lists(st.sampled_from(PARTS), max_size=40).map(" ".join) | st.lists(st.sampled_from(PARTS)).map("".join)
TEXTS = st.one_of(AWKWARD, st.text(), LONG, st.text(string.printable, max_size=200))
SMALL = Config(bands=3, rows=2)


def batch(texts: Sequence[str | None]) -> pa.RecordBatch:
    ids = pa.array([f"<urn:uuid:{i}>" for i in range(len(texts))], pa.string())
    return pa.record_batch([pa.array(texts, pa.string()), ids], names=["text", "id"])


def signature(row: dict[str, object]) -> list[int]:
    values: list[int] = np.frombuffer(row["signature"], "<u4").tolist()  # type: ignore[call-overload]
    return values


def sets(texts: Sequence[str | None], config: Config) -> list[list[int]]:
    values, offsets = shingle_sets(pa.array(texts, pa.string()), config)
    return [part.tolist() for part in np.split(values, offsets[1:-1])] if texts else []


@given(st.lists(TEXTS, max_size=4), st.integers(1, 6))
@example(["1.2.3", "1,000,000 1.", ".5", "é", "e\u0301", "한국", "ΟΔΟΣ", "", "中3文", "a中b", "ไทย๕๐"], 5)
def test_rows_equal_the_slow_twin(texts: list[str], ngram: int) -> None:
    config = Config(ngram=ngram, bands=3, rows=2, seed=7)
    rows = sign(batch(texts), config).to_pylist()
    assert [row["id"] for row in rows] == [f"<urn:uuid:{i}>" for i in range(len(texts))]
    for text, row in zip(texts, rows, strict=True):
        expected = oracle.ngram_hashes(oracle.folded_words(text), ngram)
        assert shingle_hashes(text, config).tolist() == expected
        assert signature(row) == oracle.signature(text, ngram, config.num_perm, config.seed)
        assert row["shingles"] == len(expected)
        assert row["text_hash"] == oracle.text_hash(text)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(1, 6))
def test_sets_of_plain_ngrams_equal_the_slow_twin(texts: list[str], ngram: int) -> None:
    expected = [sorted(set(oracle.ngram_hashes(oracle.plain_words(text), ngram))) for text in texts]
    assert sets([*texts, None], Config(ngram=ngram)) == [*expected, []]


@given(TEXTS)
def test_plain_words_are_those_of_lower_and_split(text: str) -> None:
    text = "".join(c for c in text if c != "Σ" and not oracle.is_unspaced(c))
    assert oracle.plain_words(text) == text.lower().split()


@given(TEXTS, TEXTS)
@example("", " \n")
@example("A b", " a\t B\n")
@example("a" * 16, "a" * 16 + " ")
@example("a" * 16, "a" * 17)
def test_hashes_of_texts_are_equal_if_and_only_if_the_squeezed_texts_are(one: str, other: str) -> None:
    hashes = sign(batch([one, other]), SMALL).column("text_hash").to_pylist()
    assert (hashes[0] == hashes[1]) == (oracle.squeezed(one) == oracle.squeezed(other))


@given(st.lists(st.sampled_from(["Some", "words", "é", "x" * 60, "ÄÖÜ"])), st.data())
def test_case_and_white_space_do_not_change_the_hash_of_a_text(words: list[str], data: st.DataObject) -> None:
    spaces = st.sampled_from([" ", "  ", "\n", " \r\n\t", " " * 70, "\x1c\x0b\x0c"])
    changed = data.draw(spaces)
    for word in words:
        changed += (word.upper() if word.isascii() else word) + data.draw(spaces)
    hashes = sign(batch([" ".join(words), changed]), SMALL).column("text_hash").to_pylist()
    assert hashes[0] == hashes[1]


def test_no_few_changes_take_each_other_back_in_the_hash_of_a_text() -> None:
    # Bit 6 of a step's eighth byte, and of the fourth and the eighth of the next step: letters for digits.
    texts = [f"bcdefgh{i % 10}klmnopqrstu{i // 10 % 10}bcd{i // 100}" for i in range(1000)]
    changed = ["".join(chr(ord(c) ^ 0x40) if i in (7, 19, 23) else c for i, c in enumerate(text)) for text in texts]
    hashes = sign(batch([*texts, *changed]), SMALL).column("text_hash").to_pylist()
    assert len(set(hashes)) == 2000


@given(TEXTS, st.data())
def test_texts_of_equal_hash_have_equal_plain_words(text: str, data: st.DataObject) -> None:
    # White space of Unicode separates words and is no white space to the hash: a text where it is replaced is another.
    changed = "".join(
        data.draw(st.sampled_from([c, c.swapcase(), " ", "\t\n", "\u00a0", "\x85"]))
        if c.isspace() or c.isalpha()
        else c
        for c in text[:60]
    )
    one, other = sign(batch([text[:60], changed]), SMALL).column("text_hash").to_pylist()
    if one == other:
        assert oracle.plain_words(text[:60]) == oracle.plain_words(changed)
        assert text[:60].lower().split() == changed.lower().split()


def raw(texts: Sequence[bytes], after: bytes = b"") -> pa.RecordBatch:
    """Bytes that need not be UTF-8 in a column of strings, as a Parquet file may bring them."""
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts) + after)]
    column = pa.Array.from_buffers(pa.string(), len(texts), buffers)
    return pa.record_batch([column, pa.array(list(map(str, range(len(texts)))))], names=["text", "id"])


def test_bytes_beyond_the_last_code_point_are_the_last_one() -> None:
    beyond = [b"one \xf4\x90\x80\x80 two", b"one \xf7\xbf\xbf\xbf two", b"one \xff\xbf\xbf\xbf two"]
    rows = sign(raw(beyond), SMALL).to_pylist()
    (expected,) = sign(batch(["one \U0010ffff two"]), SMALL).to_pylist()
    assert [row["signature"] for row in rows] == [expected["signature"]] * 3
    values, offsets = shingle_sets(raw(beyond).column("text"), SMALL)
    assert values.tolist() == sets(["one \U0010ffff two"], SMALL)[0] * 3
    assert np.diff(offsets).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "cut", [b"\xc3", b"\xe4", b"\xe4\xb8", b"\xf0\xa0", b"1.\xd9", b"1\xd9", "中中".encode() + b"\xe4"]
)
def test_a_text_that_is_cut_within_a_character_takes_nothing_from_the_next(cut: bytes) -> None:
    text = b"some words " + cut
    found = []
    for following in (b"", b"\xa0" * 80, b"\xab" * 80, b"next" * 20):
        given = raw([text, following], after=b"\xa1" * 80)
        found.append(
            (sign(given, SMALL).to_pylist()[0]["signature"], *shingle_sets(given.column("text")[:1], SMALL)[0])
        )
    assert len(set(found)) == 1


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_any_bytes_can_be_signed(texts: list[bytes]) -> None:
    assert sign(raw(texts), SMALL).num_rows == len(shingle_sets(raw(texts).column("text"), SMALL)[1]) - 1


def test_one_changed_byte_changes_both_halves_of_the_hash() -> None:
    text = "It was the best of times, it was the worst of times."
    changed = [text[:i] + "#" + text[i + 1 :] for i in range(len(text))]
    hashes = sign(batch([text, *changed]), SMALL).column("text_hash").to_pylist()
    assert len({value[:8] for value in hashes}) == len({value[8:] for value in hashes}) == len(text) + 1


CODES = [*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0x110000, 17)]


@pytest.mark.parametrize(
    ("around", "every"), [("{}", 3), ("a{}b", 7), ("{}{}", 7), ("words of ASCII before it, more than a block: {}a", 70)]
)
def test_kernels_read_every_code_point_as_the_slow_twin_does(around: str, every: int) -> None:
    config = Config(ngram=1)
    text = "\n".join(around.replace("{}", chr(code)) for code in CODES[::every])
    assert shingle_hashes(text, config).tolist() == oracle.ngram_hashes(oracle.folded_words(text), 1)
    assert sets([text], config) == [sorted(set(oracle.ngram_hashes(oracle.plain_words(text), 1)))]


def test_words_of_scripts_without_spaces() -> None:
    assert oracle.folded_words("abc中文字化了def，ไทย") == [
        "abc",
        "中",
        "中文",
        "中文字",
        "中文字化",
        "文字化了",
        "def",
        "ไ",
        "ไท",
        "ไทย",
    ]
    # Fifteen characters changed of 1,500, in windows of 8: at most 8 of every 100 are changed.
    text = "".join(chr(0x4E00 + i * 37 % 20000) for i in range(1500))
    edited = "".join("的" if i % 100 == 50 else c for i, c in enumerate(text))
    one, other = (set(values) for values in sets([text, edited], Config(ngram=5)))
    assert len(one & other) / len(one | other) == pytest.approx(92 / 108, abs=0.01)


def test_real_documents_equal_datasketch(testdata: Path) -> None:
    table = pq.read_table(testdata / "neardup" / "docs.parquet").slice(0, 60)
    config = Config(bands=14, rows=8)
    rows = [row for part in table.to_batches() for row in sign(part, config).to_pylist()]
    for text, row in zip(table.column("text").to_pylist(), rows, strict=True):
        assert signature(row) == oracle.signature(text, config.ngram, 112, 1)


@pytest.mark.parametrize(("bands", "rows"), [(1, 1), (8, 2), (17, 1), (16, 8), (20, 13)])
def test_any_number_of_permutations_equals_datasketch(bands: int, rows: int) -> None:
    config = Config(bands=bands, rows=rows)
    text = " ".join(string.ascii_letters) * 3
    (row,) = sign(batch([text]), config).to_pylist()
    assert signature(row) == oracle.signature(text, config.ngram, bands * rows, 1)


def test_a_sketch_can_be_queried_with_datasketch() -> None:
    # Words of letters: all numbers are one.
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    texts = [" ".join(words[start : start + 200]) for start in (0, 4, 200)]
    config = Config(bands=14, rows=8)
    sketches = [to_datasketch(row, config) for row in sign(batch(texts), config).to_pylist()]
    index = datasketch.MinHashLSH(num_perm=config.num_perm, params=(config.bands, config.rows))
    index.insert("same", sketches[0])
    index.insert("other", sketches[2])
    query = datasketch.MinHash(num_perm=config.num_perm, seed=config.seed, hashfunc=int, scheme="affine32")
    query.update_batch(shingle_hashes(texts[1], config))
    assert index.query(query) == ["same"]
    assert query.jaccard(sketches[1]) == 1.0
    assert query.jaccard(sketches[0]) == pytest.approx(192 / 200, abs=0.06)


def test_sets_tell_the_similarities_of_the_test_data(testdata: Path) -> None:
    table = pq.read_table(testdata / "neardup" / "docs.parquet", columns=["id", "text"])
    known = pq.read_table(testdata / "neardup" / "pairs.parquet", columns=["a", "b", "jaccard"]).slice(0, 300)
    text = dict(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))
    compared = 0
    for pair in known.to_pylist():
        one, other = text[pair["a"]], text[pair["b"]]
        if not any(map(oracle.is_unspaced, one + other)):
            first, second = map(set, sets([one, other], Config(ngram=5)))
            assert len(first & second) / len(first | second) == pytest.approx(pair["jaccard"], abs=1e-3)
            compared += 1
    assert compared > 200


def test_short_texts_and_texts_without_words() -> None:
    rows = sign(batch(["four words are few", "a b c d e f", "... !", "", None]), SMALL).to_pylist()
    assert [row["shingles"] for row in rows] == [1, 2, 0, 0, 0]
    assert signature(rows[2]) == [2**32 - 1] * 6
    assert rows[3]["text_hash"] == rows[4]["text_hash"]
    assert [len(values) for values in sets(["four words are few", "a b c d e f", "... !", "", None], SMALL)] == [
        1,
        2,
        1,
        0,
        0,
    ]


def test_order_of_words_counts_in_a_short_text() -> None:
    one, other = sign(batch(["red blue", "blue red"]), SMALL).to_pylist()
    assert one["signature"] != other["signature"]


def test_what_is_folded_together() -> None:
    texts = ["Café, 3.14 — Ärger!", "cafe 99 arger", "CAFE\u0301\n1,5\u00a0a\u0308rger"]
    assert len({row["signature"] for row in sign(batch(texts), SMALL).to_pylist()}) == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_slices_and_string_types_are_the_same_documents(kind: pa.DataType) -> None:
    texts = [f"text number {i} é" * i if i != 5 else None for i in range(10)]
    whole = batch(texts)
    text = whole.column("text").cast(kind)
    whole = pa.record_batch([text, whole.column("id")], names=["text", "id"])
    assert sign(whole.slice(3, 4), SMALL).equals(sign(whole, SMALL).slice(3, 4))
    assert sign(whole.slice(7), SMALL).equals(sign(whole, SMALL).slice(7))
    values, offsets = shingle_sets(whole.column("text").slice(3, 4), SMALL)
    assert [part.tolist() for part in np.split(values, offsets[1:-1])] == sets(texts[3:7], SMALL)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_nothing_after_the_end_of_the_data_counts(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    for after in (b"", b"\xff" * 200, b"z" * 200):
        memory = bytearray(b"".join(encoded) + after)
        buffer = pa.py_buffer(memoryview(memory)[: offsets[-1]]) if offsets[-1] else pa.py_buffer(b"")
        column = pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(offsets), buffer])
        same = pa.record_batch([column, batch(texts).column("id")], names=["text", "id"])
        assert sign(same, SMALL).equals(sign(batch(texts), SMALL))


def test_threads_share_nothing() -> None:
    batches = [
        batch([f"text {chr(97 + i)} with words and 中文 {chr(97 + j)}" * 20 for j in range(20)]) for i in range(8)
    ]
    alone = [sign(one, SMALL) for one in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert all(map(pa.RecordBatch.equals, pool.map(lambda one: sign(one, SMALL), batches), alone))


def test_the_dump_comes_along() -> None:
    named = batch(["a", "b"]).append_column("dump", pa.array(["CC-MAIN-2024-10", None], pa.string()))
    assert sign(named, SMALL).column("dump").to_pylist() == ["CC-MAIN-2024-10", None]
    assert sign(batch(["a"]), SMALL).column("dump").to_pylist() == [None]


@pytest.mark.parametrize("config", [SMALL, Config(minhash=False), Config(exact=False)])
def test_empty_batch_and_schema(config: Config) -> None:
    rows = sign(batch([]), config)
    assert rows.num_rows == 0
    assert rows.schema.equals(schema(config), check_metadata=True)
    assert sign(batch(["a"]), config).schema.equals(schema(config), check_metadata=True)
    assert ("signature" in rows.schema.names) == config.minhash
    check("own", rows.schema, config)


def test_signatures_of_another_scheme_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.parquet: signed as .*seed=2.* expected .*seed=1"):
        check("a.parquet", schema(Config(bands=3, rows=2, seed=2)), SMALL)
    with pytest.raises(ValueError, match=r"a\.parquet: no column signature"):
        check("a.parquet", schema(Config(minhash=False)), SMALL)
    with pytest.raises(ValueError, match=r"a\.parquet: signed as 'nothing'"):
        check("a.parquet", schema(SMALL).remove_metadata(), SMALL)


def test_signatures_of_a_python_with_another_unicode_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = schema(SMALL)
    names = "fold_table", "plain_table", "version", "_unspaced"
    own = unicodedata.category
    # A mark that is not assigned yet.
    monkeypatch.setattr(unicodedata, "unidata_version", "13.0.0")
    monkeypatch.setattr(unicodedata, "category", lambda c: "Cn" if c == "\u0301" else own(c))
    for name in names:
        monkeypatch.setattr(fold, name, functools.cache(getattr(fold, name).__wrapped__))
    with pytest.raises(
        ValueError, match=r"a\.parquet: signed as .*unicode=1[4-9]\..* expected .*unicode=13\.0\.0-.*sign it again"
    ):
        check("a.parquet", ours, SMALL)
    other = fold.version()
    monkeypatch.setattr(unicodedata, "category", own)
    for name in names:
        monkeypatch.setattr(fold, name, functools.cache(getattr(fold, name).__wrapped__))
    assert fold.version() != other  # in the hash of the tables, too


def test_process_keeps_every_row() -> None:
    documents = batch(["a b c", "", "d"])
    kept, dropped, *_ = process(documents, SMALL)
    assert kept.equals(sign(documents, SMALL))
    assert dropped.num_rows == 0
