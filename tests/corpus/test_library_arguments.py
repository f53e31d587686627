"""`import corpus` and its arguments: a mistake is an error that names the argument and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import corpus

TEXTS = [
    "The ship came home to the old harbour at dawn.",
    "A day off.",
    "the ship came home to the old harbour at DAWN.",
]
Call = Callable[[], object]

WRONG: list[tuple[Call, type[Exception], str]] = [
    (lambda: corpus.judge_text("a", language=5), TypeError, "language is of type int: pass a str"),
    (lambda: corpus.judge_text("a", stages=[None]), TypeError, r"stages\[0\] is of type NoneType: pass a str"),
    (lambda: corpus.judge_text("a", stages=None), TypeError, "stages is of type NoneType: pass a list"),
    (
        lambda: corpus.judge_text("a", settings=[("c4.min_words", 1)]),
        TypeError,
        "settings is of type list: pass a dict",
    ),
    (lambda: corpus.judge_text("a", settings="c4"), TypeError, "settings is of type str: pass a dict"),
    (lambda: corpus.filter_text(5), TypeError, "text is of type int: pass a str"),
    (lambda: corpus.mask_pii("a", url=5), TypeError, "url is of type int: pass a str"),
    (lambda: corpus.mask_pii(None), TypeError, "text is of type NoneType: pass a str"),
    (lambda: corpus.extract_text(b"a", charset=5), TypeError, "charset is of type int: pass a str"),
    (lambda: corpus.extract_text(5), TypeError, "page is of type int: pass HTML"),
    (lambda: corpus.identify_language(5), TypeError, "text is of type int: pass a str"),
    (lambda: corpus.identify_language("a", model=""), FileNotFoundError, r"no such file \(see model\)"),
    (lambda: corpus.near_duplicates(None), TypeError, "texts is of type NoneType: pass several texts"),
    (lambda: corpus.near_duplicates([None]), TypeError, r"texts\[0\] is of type NoneType: pass a str"),
    (lambda: corpus.near_duplicates(pa.array(["a", None])), TypeError, "texts holds a null: pass strings"),
    (lambda: corpus.near_duplicates(pa.array([1])), TypeError, "texts is of Arrow type int64: pass an array of str"),
    (lambda: corpus.minhash_signatures("a"), TypeError, "texts is of type str: pass several texts"),
    (lambda: corpus.drop_repeated_lines(5), TypeError, "texts is of type int: pass several texts"),
    (lambda: corpus.read_pages(None), TypeError, "path is of type NoneType: pass a path"),
    (lambda: corpus.read_pages(b"crawl"), TypeError, "path is of type bytes: pass a path"),
    (lambda: corpus.read_pages("crawl", max_page_bytes=0), ValueError, "max_page_bytes = 0: should be at least 1"),
    (lambda: corpus.read_pages("crawl", max_page_bytes="1"), TypeError, "max_page_bytes = '1': should be a whole"),
    (lambda: corpus.read_documents(None), TypeError, "inputs is of type NoneType: pass a path or a list"),
    (lambda: corpus.read_documents([]), ValueError, "inputs is empty: name a file, a folder or a pattern"),
    (lambda: corpus.read_documents("a.csv", {"text": "a"}), TypeError, "columns is of type dict: pass a Columns"),
    (lambda: corpus.read_documents("a.csv", on_bad=5), TypeError, "on_bad is of type int: pass a function"),
    (lambda: corpus.load_recipe(5), TypeError, "path is of type int: pass a path"),
    (lambda: corpus.load_recipe("demo", None), TypeError, "overrides is of type NoneType: pass {"),
    (lambda: corpus.load_recipe("demo", [5]), TypeError, r"overrides: 5: should be \(stage, setting, value\)"),
    (lambda: corpus.load_recipe("fineweb.toml"), ValueError, "no such recipe; name a file, or one of demo"),
    (lambda: corpus.load_recipe("fineweb "), ValueError, "no such recipe; name a file, or one of demo"),
    (lambda: corpus.run_recipe(None, "crawl", "out"), TypeError, "recipe is of type NoneType: pass a path"),
    (lambda: corpus.run_recipe("demo", None, "out"), TypeError, "inputs is of type NoneType: pass a path or a list"),
    (lambda: corpus.run_recipe("demo", [5], "out"), TypeError, "inputs is of type int: pass a path"),
    (lambda: corpus.run_recipe("demo", "crawl", 5), TypeError, "output is of type int: pass a path"),
    (lambda: corpus.run_recipe("demo", "crawl", "out", workers=1.5), TypeError, "workers = 1.5: should be a whole"),
    (lambda: corpus.run_recipe("demo", "crawl", "out", workers=True), TypeError, "workers = True: should be a whole"),
    (lambda: corpus.run_recipe("demo", "crawl", "out", limits={}), TypeError, "limits is of type dict: pass a Limits"),
    (lambda: corpus.run_recipe("demo", "crawl", "out", engine=5), TypeError, "engine is of type int: pass a str"),
    (lambda: corpus.run_recipe("demo", "crawl", "out", progress=5), TypeError, "progress is of type int"),
    (lambda: corpus.Dataset(None), TypeError, "path is of type NoneType: pass a path"),
    (lambda: corpus.Dataset("out").stream(rows=0), ValueError, "rows = 0: should be at least 1"),
    (lambda: corpus.Dataset("out").rows(columns="text"), TypeError, "columns is of type str: pass a list"),
]


@pytest.mark.parametrize(("call", "kind", "words"), WRONG, ids=[words[:40] for _, _, words in WRONG])
def test_a_wrong_argument_is_named_with_its_fix(
    call: Call, kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words) as raised:
        call()
    assert type(raised.value) is kind
    assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call, name in (
        (lambda: corpus.run_recipe("demo", "crawl", ""), "output"),
        (lambda: corpus.run_recipe("demo", "", "out"), "inputs"),
        (lambda: corpus.run_recipe("demo", ["crawl", ""], "out"), "inputs"),
        (lambda: corpus.read_pages(""), "path"),
        (lambda: corpus.Dataset(""), "path"),
    ):
        with pytest.raises(ValueError, match=f"{name} is empty: name a"):
            call()


def test_the_output_of_a_run_is_not_its_input(tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for inputs in (crawl, [f"{crawl}/"], f"{tmp_path}/c*"):
        with pytest.raises(ValueError, match="crawl: is the input too; name another output"):
            corpus.run_recipe("demo", inputs, crawl)
    assert list(crawl.iterdir()) == []


def test_a_column_that_is_not_there_is_named(dataset: corpus.Dataset) -> None:
    for columns in (["txt"], ["url", "txt"], ("txt",)):
        with pytest.raises(ValueError, match="has no column txt; it has text, id, "):
            dataset.rows(columns=columns)
    assert [list(row) for row in dataset.rows(columns=("url", "text"))] == [["url", "text"]]
    assert [list(row) for row in dataset.rows(columns=[])] == [[]]


def test_a_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    dataset = corpus.Dataset(tmp_path / "a.txt")
    for call in (dataset.units, dataset.rows, dataset.records):
        with pytest.raises(NotADirectoryError, match=r"a\.txt: is a file; name the folder that a command has written"):
            call()


@pytest.mark.parametrize(
    ("language", "meant"), [("French", "fr"), ("FR", "fr"), ("deu", "de"), ("zz", None), ("", None)]
)
def test_a_language_that_is_none_is_an_error_with_a_suggestion(language: str, meant: str | None) -> None:
    calls: list[Callable[..., Any]] = [corpus.judge_text, corpus.filter_text, corpus.mask_pii, corpus.find_pii]
    fix = f"did you mean {meant}?" if meant else "pass an ISO 639 code"
    for call in calls:
        with pytest.raises(ValueError, match=rf"language = '{language}': no such language; {fix}"):
            call("text", language=language)
        call("text", language="fr")
        call("text", language=None)


def test_arrays_and_scalars_of_libraries_pass() -> None:
    expected, signatures = corpus.near_duplicates(TEXTS), corpus.minhash_signatures(TEXTS)
    assert [pair.dropped for pair in expected] == [2]
    array = pa.array(TEXTS)
    for given in (array, pa.chunked_array([array]), array.dictionary_encode(), array.cast(pa.string_view())):
        assert corpus.near_duplicates(given, threshold=np.float32(0.75)) == expected
        assert (corpus.minhash_signatures(given, seed=np.int64(1)) == signatures).all()
        assert corpus.drop_repeated_lines(given) == TEXTS
    stage = {"stages": ["gopher_quality"], "settings": {"gopher_quality.min_words": np.int64(5)}}
    assert corpus.judge_text(TEXTS[0], **stage) is None


def test_a_text_that_says_little_has_a_language_with_a_low_score() -> None:
    for text in ("", " "):
        code, score = corpus.identify_language(text)
        assert (code, round(score, 2)) == ("en", 0.12)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> corpus.Dataset:
    """The document of a WET file of one record."""
    folder = tmp_path_factory.mktemp("dataset")
    fields = "WARC-Type: conversion\r\nWARC-Target-URI: https://a.example/\r\nContent-Type: text/plain"
    text = TEXTS[0]
    (folder / "a.wet").write_text(
        f"WARC/1.0\r\n{fields}\r\nContent-Length: {len(text)}\r\n\r\n{text}\r\n\r\n", newline=""
    )
    (folder / "mine.toml").write_text("[extract]")
    summary = corpus.run_recipe(folder / "mine.toml", folder / "a.wet", folder / "out", workers=np.int64(1))
    assert summary.documents is not None
    return corpus.Dataset(summary.documents)
