"""Deduplication of a list of texts: it decides as the passes of `corpus dedup` and `corpus dedup --lines` do."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pyarrow as pa
import pytest

import corpus
from corpus.dedup.lines.passes import lines_passes
from corpus.dedup.passes import dedup_passes
from corpus.dedup.signatures import shingle_hashes
from corpus.inputs import source_keys
from corpus.run.barrier import BarrierJob
from corpus.run.plan import Source
from corpus.run.recipe import Recipe, make_step
from corpus.store.shards import Dataset
from tests.support.command import commit_documents
from tests.support.inline import run_inline

WORDS = [f"{syllable}{end}" for syllable in ("ka", "lo", "mi", "nu", "ré") for end in ("", "ra", "sto", "ven", "lim")]


def some_texts(seed: int, count: int = 240) -> list[str]:
    """Texts of one to eighty words, many of them copies or edited copies of others."""
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 80))) for _ in range(count // 2)]
    for text in chance.choices(texts, k=count // 2 - 2):
        words = text.split()
        for _ in range(chance.randint(0, 6)):
            words[chance.randrange(len(words))] = chance.choice(WORDS)
        texts.append(" ".join(words) if chance.random() < 0.8 else f"{text.upper()} {chance.choice(WORDS)}")
    texts += ["", " \n"]
    chance.shuffle(texts)
    return texts


def committed(folder: Path, texts: list[str]) -> str:
    """The texts as documents in three shards."""
    cuts = [0, len(texts) // 5, len(texts) // 2, len(texts)]
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        commit_documents(folder / "docs", texts[start:end], f"s{number}", first=start)
    return str(folder / "docs")


def run(folder: Path, stage: str, texts: list[str], passes: Any, settings: dict[str, Any]) -> Dataset:
    """What a deduplication in files leaves."""
    documents = committed(folder, texts)
    step = make_step(stage, settings)
    job = BarrierJob(documents, source_keys(Source(dataset=documents)), Recipe("r", (step,)), f"{folder}/work")
    run_inline(passes(job, [step], f"{folder}/out"))
    return Dataset(f"{folder}/out")


def number(identifier: str) -> int:
    return int(identifier.strip("<>"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"threshold": 0.4, "keep": "first", "ngram": 2},
        {"exact": False, "bands": 10, "rows": 2, "ngram": 1, "checks": 3},
        {"minhash": False},
        {"verify": False, "ngram": 3},
        {"preset": "fineweb"},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [1, 2])
def test_near_duplicates_are_what_corpus_dedup_drops(tmp_path: Path, settings: dict[str, Any], seed: int) -> None:
    texts = some_texts(seed)
    dropped = [
        (number(row["id"]), number(row["duplicate_of"]), row["value"], row["rule"])
        for row in run(tmp_path, "dedup", texts, dedup_passes, settings).rows("dropped")
    ]
    answer = corpus.near_duplicates(texts, **settings)
    assert [(item.dropped, item.kept, f"{item.similarity:.17g}", item.rule) for item in answer] == [
        (index, kept, f"{float(value):.17g}", rule) for index, kept, value, rule in dropped
    ]
    assert dropped
    assert corpus.near_duplicates(pa.chunked_array([texts[:70], texts[70:]]), **settings) == answer


@pytest.mark.parametrize(
    "settings",
    [
        {"min_kept_words": 1},
        {"documents": 2, "keep_first": False, "min_words": 1},
        {"documents": 3, "unit": "paragraph", "min_kept_words": 10},
        {"documents": 2, "min_words": 1, "min_kept_words": 0, "match": "exact"},
    ],
    ids=str,
)
def test_lines_are_dropped_as_corpus_dedup_does(tmp_path: Path, settings: dict[str, Any]) -> None:
    chance = random.Random(7)
    common = [" ".join(chance.choices(WORDS, k=5)) for _ in range(12)]
    texts = [
        chance.choice(["\n", "\n\n"]).join(
            chance.choice(common) if chance.random() < 0.4 else " ".join(chance.choices(WORDS, k=12)) for _ in range(6)
        )
        for _ in range(80)
    ]
    kept = {number(row["id"]): row["text"] for row in run(tmp_path, "lines", texts, lines_passes, settings).rows()}
    left = corpus.drop_repeated_lines(texts, **settings)
    assert left == [kept.get(index) for index in range(len(texts))]
    assert left != texts
    assert corpus.drop_repeated_lines(pa.array(texts), **settings) == left


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_the_repeated_lines_are_those_that_go(unit: str) -> None:
    chance = random.Random(8)
    common = [" ".join(chance.choices(WORDS, k=5)) for _ in range(12)]
    texts = ["\n\n".join([*chance.sample(common, 5), f"own {number}"]) for number in range(40)]
    counts = {line: sum(line in text for text in texts) for line in common}
    first = {line: next(index for index, text in enumerate(texts) if line in text) for line in common}
    answer = corpus.find_repeated_lines(texts, documents=10, unit=unit)
    assert {(item.line, item.texts, item.first) for item in answer} == {
        (line, count, first[line]) for line, count in counts.items() if count >= 10
    }
    assert [item.texts for item in answer] == sorted((item.texts for item in answer), reverse=True)
    left = corpus.drop_repeated_lines(texts, documents=10, unit=unit, keep_first=False, min_kept_words=1)
    gone = {item.line for item in answer}
    assert [text and text.split("\n\n") for text in left] == [
        [line for line in text.split("\n\n") if line not in gone] for text in texts
    ]
    assert corpus.find_repeated_lines(pa.chunked_array([texts[:3], texts[3:]]), documents=10, unit=unit) == answer


def test_signatures_are_those_of_datasketch() -> None:
    texts = some_texts(3, 40)
    config = make_step("dedup", {"bands": 4, "rows": 3, "seed": 9}).config
    signatures = corpus.minhash_signatures(texts, bands=4, rows=3, seed=9)
    for text, signature in zip(texts, signatures, strict=True):
        peer = datasketch.MinHash(num_perm=12, seed=9, scheme="affine32", hashfunc=int)
        peer.update_batch(shingle_hashes(text, config).tolist())
        assert np.array_equal(peer.hashvalues, signature)


def test_no_texts_have_no_duplicates() -> None:
    assert corpus.near_duplicates([]) == []
    assert corpus.drop_repeated_lines([]) == []
    assert corpus.minhash_signatures([]).shape == (0, 110)


@pytest.mark.parametrize(
    "function", ["near_duplicates", "drop_repeated_lines", "find_repeated_lines", "minhash_signatures"]
)
def test_what_is_no_list_of_texts_is_named(function: str) -> None:
    with pytest.raises(TypeError, match="texts is of type str: pass several texts, such as a list of strings"):
        getattr(corpus, function)("one text")
    with pytest.raises(TypeError, match=r"texts\[1\] is of type int: pass a str"):
        getattr(corpus, function)(["one text", 2])
    with pytest.raises(ValueError, match=r"wordz: unknown setting of \[(dedup|lines)\]"):
        getattr(corpus, function)(["one text"], wordz=2)


def test_texts_have_no_column_that_could_decide() -> None:
    with pytest.raises(ValueError, match="keep = 'score:likes': should be longest or first"):
        corpus.near_duplicates(["a"], keep="score:likes")


def test_lines_that_differ_in_digits_are_two_if_digits_count_and_an_empty_text_may_stay() -> None:
    texts = ["Page 3 of 7", "page 1, of 9", "Page 3 of 7  ", "page 3, of 7"]

    def left(match: str, least: int = 0) -> list[str | None]:
        return corpus.drop_repeated_lines(texts, documents=2, match=match, min_kept_words=least)

    assert left("folded") == [texts[0], "", "  ", ""]
    assert left("folded", 1) == [texts[0], None, None, None]
    assert left("numbers") == [texts[0], texts[1], "  ", ""]
    assert left("exact") == [texts[0], texts[1], "  ", texts[3]]
    assert [(line.line, line.texts) for line in corpus.find_repeated_lines(texts, documents=2, match="exact")] == [
        ("Page 3 of 7", 2)
    ]
