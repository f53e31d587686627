"""Decontamination: words, the kernel beside tuples of words, the guards, cuts, and benchmark files."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.decontaminate import apply, overlaps
from corpus.decontaminate.benchmarks import (
    EXAMPLES,
    hash_table,
    load_index,
    make_index,
    ngram_hashes,
    read_examples,
    save_index,
)
from corpus.decontaminate.config import Config, Removal, Search
from corpus.decontaminate.decide import hits, report, sizes, too_frequent
from corpus.decontaminate.words import split_words
from corpus.run.recipe import make_step
from corpus.schema import DOCUMENTS
from corpus.stage import load_stage
from tests.oracles import decontaminate as oracle

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "How many clips did Natalia sell altogether in April and May?"
)
FILLER = "Something else entirely is written here, which no benchmark has ever asked anybody about in any form. "
# Letters of several scripts, some that decompose or disappear, and everything that may come between.
TEXT = st.text(st.sampled_from("abAZéÉßİςΣ9½ٱ中文の가ไท\u0301\u00ad\u200d .,'-_+\n\t𝔸💡٣"), max_size=60)


def table(texts: list[str]) -> pa.Table:
    rows = [{"benchmark": "b", "example": number, "text": text} for number, text in enumerate(texts, 1)]
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def documents(texts: list[str | None]) -> pa.RecordBatch:
    columns = {field.name: pa.nulls(len(texts), field.type) for field in DOCUMENTS}
    columns["text"] = pa.array(texts, pa.string())
    columns["id"] = pa.array([f"<{number}>" for number in range(len(texts))])
    return pa.record_batch(list(columns.values()), schema=DOCUMENTS)


def config(**settings: Any) -> Config:
    return Config(**{"benchmarks": ("x",), "ngram": 5} | settings)


def run(texts: list[str | None], examples: list[str], folder: Path, settings: Config) -> Any:
    """The Outcome of all passes, without their files."""
    index = make_index(table(examples), settings)
    load_index.cache_clear()
    apply._ignored.cache_clear()
    save_index(index, folder / "index")
    search = Search(str(folder / "index"), settings)
    batch = documents(texts)
    found = overlaps.process(batch, search).kept
    frequent = too_frequent(found.column("ngrams").to_pylist(), index, settings)
    (folder / "ignored").write_bytes(frequent.astype(np.uint8).tobytes())
    batch = batch.append_column("overlap_ngrams", found.column("ngrams"))
    return apply.process(batch, Removal(str(folder / "index"), str(folder / "ignored"), settings))


@given(TEXT)
def test_words_are_those_of_their_definition(text: str) -> None:
    found = split_words(text)
    assert [word.text for word in found] == oracle.words(text)
    assert all(0 <= word.start < word.end <= len(text) for word in found)


def test_words_say_where_they_are() -> None:
    text = "Don't PAY 3.50 für\u00ad中文!"
    found = [(word.text, text[word.start : word.end]) for word in split_words(text)]
    assert found[:6] == [("don", "Don"), ("t", "t"), ("pay", "PAY"), ("3", "3"), ("50", "50"), ("fur", "für\u00ad")]
    assert found[6:] == [("中", "中"), ("中文", "中文")]


@given(st.lists(TEXT, max_size=8), st.integers(1, 4))
def test_hashes_are_equal_where_ngrams_are(texts: list[str], n: int) -> None:
    hashes, ends = ngram_hashes(pa.array(texts, pa.string()), n)
    grams = [gram for text in texts for gram in oracle.ngrams(text, n)]
    assert np.diff(ends).tolist() == [len(oracle.ngrams(text, n)) for text in texts]
    assert len(set(zip(grams, hashes.tolist(), strict=True))) == len(set(grams)) == len(set(hashes.tolist()))


# Few words, so that n-grams recur within examples, between them and in documents.
SENTENCES = st.lists(st.sampled_from(["One", "two,", "three", "四五", "7"]), max_size=25).map(" ".join)


@given(
    st.lists(SENTENCES, min_size=1, max_size=6),
    st.lists(SENTENCES, min_size=1, max_size=5),
    st.integers(2, 4),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 6),
)
def test_decisions_are_those_of_sets_of_words(
    texts: list[str],
    examples: list[str],
    n: int,
    max_examples: int,
    max_documents: int,
    min_overlap: float,
    min_ngrams: int,
) -> None:
    settings = config(
        ngram=n,
        max_examples=max_examples,
        max_documents=max_documents,
        min_overlap=min_overlap,
        min_ngrams=min_ngrams,
    )
    expected = oracle.judge(texts, examples, n, max_examples, max_documents, min_overlap, min_ngrams)
    if not any(oracle.ngrams(example, n) for example in examples):
        with pytest.raises(ValueError, match="no example of"):
            make_index(table(examples), settings)
        return
    index = make_index(table(examples), settings)
    found = overlaps.find(pa.array(texts, pa.string()), index, hash_table(index), n)
    grams = [sorted({number for text, _, number in found.tolist() if text == row}) for row in range(len(texts))]
    ignored = too_frequent(grams, index, settings)
    size = sizes(index, ignored)
    got = [{hit.example: (hit.ngrams, hit.of) for hit in hits(one, index, ignored, size, settings)} for one in grams]
    assert got == [verdict.hits for verdict in expected]
    told = report(grams, index, ignored, settings)
    assert told["contaminated_documents"] == sum(bool(verdict.hits) for verdict in expected)
    counted = {row["example"] - 1: row["documents"] for row in told["examples"]}
    assert counted == Counter(example for verdict in expected for example in verdict.hits)


def test_a_question_is_found_however_it_is_written(tmp_path: Path) -> None:
    shouted = QUESTION.upper().replace(" ", " \n").replace(",", " -- ")
    texts = [
        FILLER * 3,
        f"{FILLER}{shouted}{FILLER}",
        QUESTION[:60],
        QUESTION.replace("48", "49").replace("half", "twice"),
    ]
    kept, dropped, *_ = run([*texts, None], [QUESTION, "too short to be found"], tmp_path, config(ngram=13))
    assert kept.column("id").to_pylist() == ["<0>", "<2>", "<3>", "<4>"]
    (row,) = dropped.to_pylist()
    assert (row["id"], row["rule"], row["value"]) == ("<1>", "decontaminate.overlap", "b:1 19/19")
    assert row["threshold"] == "0.5 or 20"


def test_every_rule_is_declared_with_a_setting_that_changes_it(tmp_path: Path) -> None:
    text = f"{FILLER}{QUESTION}{FILLER}"
    cut = config(ngram=13, action="cut", window=0, min_piece=10)
    outcomes = {
        rule.name: run([text], [QUESTION], tmp_path, settings)
        for rule, settings in zip(
            load_stage("decontaminate").rules,
            (config(), dataclasses.replace(cut, min_piece=10**6), dataclasses.replace(cut, max_pieces=1)),
            strict=True,
        )
    }
    assert {name: outcome.dropped.column("rule").to_pylist() for name, outcome in outcomes.items()} == {
        name: [f"decontaminate.{name}"] for name in ("overlap", "nothing_left", "pieces")
    }
    assert run([text], [QUESTION], tmp_path, cut).dropped.num_rows == 0


def test_two_words_with_one_hash_are_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "same", lambda *_: False)
    kept, dropped, *_ = run([QUESTION], [QUESTION], tmp_path, config())
    assert (kept.num_rows, dropped.num_rows) == (1, 0)
    monkeypatch.undo()
    index = make_index(table([QUESTION]), config())
    words = split_words(QUESTION)
    number = int(np.flatnonzero(index.places[:, 1] == 3)[0])
    assert overlaps.same(words, 3, index, number, 5)
    assert not overlaps.same(words, 4, index, number, 5)


def test_boilerplate_of_the_benchmarks_and_of_documents_says_nothing(tmp_path: Path) -> None:
    template = "Answer the following multiple choice question by writing only the letter of the right answer"
    examples = [f"{template}. {name} {QUESTION}" for name in ("Ann", "Bob", "Cy")]
    examples = [example.replace("Natalia", f"Person{number}") for number, example in enumerate(examples)]
    settings = config(min_overlap=0.0, min_ngrams=1, max_examples=2)
    kept, *_ = run([template], examples, tmp_path, settings)
    assert kept.num_rows == 1
    _, dropped, *_ = run([template], examples, tmp_path, config(min_overlap=0.0, min_ngrams=1, max_examples=3))
    assert dropped.num_rows == 1

    quotation = "Four score and seven years ago our fathers brought forth on this continent a new nation"
    texts = [f"{FILLER}{number} {quotation}" for number in range(4)]
    _, dropped, *_ = run(texts, [quotation], tmp_path, config(max_documents=4))
    assert dropped.num_rows == 4
    kept, *_ = run(texts, [quotation], tmp_path, config(max_documents=3))
    assert kept.num_rows == 4


def test_what_overlaps_is_cut_out(tmp_path: Path) -> None:
    settings = config(ngram=13, action="cut", window=20, min_piece=50)
    before, after = FILLER * 2, "And so on and so forth until the very end of this page. " * 3
    kept, dropped, *_ = run([FILLER, before + QUESTION + after, QUESTION], [QUESTION], tmp_path, settings)
    assert kept.column("text").to_pylist() == [FILLER, f"{before[:-20].strip()}\n\n{after[19:].strip()}"]
    assert kept.column("contaminated_cuts").to_pylist() == [0, 1]
    (row,) = dropped.to_pylist()
    assert (row["rule"], row["value"], row["threshold"]) == ("decontaminate.nothing_left", "b:1", "50")
    many = "".join(f"{FILLER}{QUESTION}" for _ in range(5)) + FILLER
    settings = config(ngram=13, action="cut", window=0, min_piece=0, max_pieces=5)
    _, dropped, *_ = run([many], [QUESTION], tmp_path, settings)
    assert dropped.select(["rule", "value", "threshold"]).to_pylist() == [
        {"rule": "decontaminate.pieces", "value": "6", "threshold": "5"}
    ]


@given(st.integers(0, 10**6))
def test_nothing_of_an_example_is_left_after_a_cut(seed: int) -> None:
    chance = random.Random(seed)
    examples = [" ".join(chance.choices("abcdefgh", k=12)) for _ in range(3)]
    text = " . ".join(chance.choice([*examples, " ".join(chance.choices("stuvwxyz", k=10))]) for _ in range(8))
    settings = config(ngram=6, action="cut", window=0, min_piece=0, min_overlap=0.0, min_ngrams=1, max_documents=0)
    index = make_index(table(examples), settings)
    words = split_words(text)
    found = overlaps.find(pa.array([text]), index, hash_table(index), 6)
    spans = [(words[at].start, words[at + 5].end) for _, at, _ in found.tolist()]
    cut = {place for start, end in spans for place in range(start, end)}
    held = {gram for example in examples for gram in oracle.ngrams(example, 6)}
    expected = set()
    for at, gram in enumerate(oracle.ngrams(text, 6)):
        if gram in held:
            expected |= set(range(words[at].start, words[at + 5].end))
    assert cut == expected


def test_an_index_is_read_as_it_was_written_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    index = make_index(table([QUESTION, FILLER]), config())
    save_index(index, tmp_path / "index")
    again, _ = load_index(str(tmp_path / "index"))
    assert again.examples.equals(index.examples)
    for one, other in zip(index[1:], again[1:], strict=True):
        assert np.array_equal(one, other)
    data = (tmp_path / "index").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut: not an index of benchmarks"):
        load_index(str(tmp_path / "cut"))


def test_examples_of_all_kinds_of_files(tmp_path: Path) -> None:
    records = [{"question": "Q1", "choices": ["A", "B"], "answer": 3}, {"question": "Q2", "choices": []}]
    lines = "\n".join(map(json.dumps, records)) + "\n\n"
    (tmp_path / "one.jsonl").write_text(lines)
    (tmp_path / "two.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "three.txt").write_text("a line\n\nanother\n")
    pq.write_table(pa.table({"id": [1], "a": ["x"], "b": [["y", "z"]]}), tmp_path / "four.parquet")
    found = read_examples([str(tmp_path)], ()).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("four", 1, "x\ny\nz"),
        ("one", 1, "Q1\nA\nB"),
        ("one", 2, "Q2"),
        ("three", 1, "a line\n"),
        ("three", 3, "another\n"),
        ("two", 1, "Q1\nA\nB"),
        ("two", 2, "Q2"),
    ]
    only = read_examples([str(tmp_path / "one.jsonl")], ("choices",)).to_pylist()
    assert [row["text"] for row in only] == ["A\nB"]


@pytest.mark.parametrize(
    ("name", "content", "fields", "message"),
    [
        ("x.jsonl", b"{", (), r"x\.jsonl, line 1: not JSON"),
        ("x.jsonl", b"[1]", (), r"x\.jsonl, line 1: not a JSON object"),
        ("x.jsonl", b'{"a": "b"}', ("c",), r"x\.jsonl, example 1: no field 'c', only a"),
        ("x.jsonl.gz", gzip.compress(b'{"a": "b"}' * 9, mtime=0)[:-9], (), r"x\.jsonl\.gz: damaged"),
        ("x.parquet", b"PAR1", (), r"x\.parquet: cannot be read as Parquet"),
        ("x.csv", b"", (), r"x\.csv: unknown kind of file"),
    ],
)
def test_files_that_hold_no_examples(
    tmp_path: Path, name: str, content: bytes, fields: tuple[str, ...], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_examples([str(tmp_path / name)], fields)


def test_two_benchmarks_of_one_name_and_none_long_enough(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a")
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="has the name of"):
        read_examples([str(tmp_path)], ())
    with pytest.raises(ValueError, match="no example of 5 words or more"):
        make_index(table(["a b c d"]), config())


def test_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="should name files of examples"):
        make_step("decontaminate")
    (tmp_path / "x.txt").write_text("a")
    named = make_step("decontaminate", {"benchmarks": [str(tmp_path)], "preset": "gpt3"}).config
    assert (named.min_ngrams, named.action, named.max_documents) == (1, "cut", 10)
