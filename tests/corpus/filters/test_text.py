"""The four text filters beside their naive twins, on empty texts, and C4's cuts.

A dropped and a kept document for each rule are in test_rules.py.
"""

from __future__ import annotations

from dataclasses import fields, replace
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import check
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.schema import DOCUMENTS, DROPPED, Drop
from tests.oracles import filters_naive as naive
from tests.support.made_texts import documents, unique

STAGES = (gopher_repetition, gopher_quality, c4, fineweb)


def test_defaults_are_within_their_bounds() -> None:
    assert all(check(stage.Config()) == stage.Config() for stage in STAGES)


def test_an_empty_or_missing_text_has_an_outcome() -> None:
    batch = documents(["", None])
    assert gopher_repetition.process(batch, gopher_repetition.Config()).kept.num_rows == 2
    rules = {
        stage: stage.process(batch, stage.Config()).dropped.column("rule").to_pylist()
        for stage in (gopher_quality, c4, fineweb)
    }
    assert rules == {
        gopher_quality: ["gopher_quality.few_words"] * 2,
        c4: ["c4.few_sentences"] * 2,
        fineweb: ["fineweb.line_punctuation"] * 2,
    }


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_batch_has_an_empty_outcome(stage: ModuleType) -> None:
    kept, dropped, *_ = stage.process(documents([]), stage.Config())
    assert (kept.num_rows, dropped.num_rows) == (0, 0)
    assert (kept.schema, dropped.schema) == (DOCUMENTS, DROPPED)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Cited facts[1] are here [edit].\n", "Cited facts are here ."),
        ("Please enable JavaScript to go on.\nThis stays in here.", "This stays in here."),
        ("We value your Privacy Policy today.\nThis stays in here.", "This stays in here."),
        ("too short\nThis stays in here.", "This stays in here."),
        (f"a b {'c' * 1001}\nThis {'c' * 1000} stays.", f"This {'c' * 1000} stays."),
        ("no end to this\nThis stays in here", "no end to this\nThis stays in here"),
    ],
)
def test_c4_cuts_lines(text: str, cleaned: str) -> None:
    config = c4.Config(min_sentences=1)
    assert c4.clean(text, None, config) == cleaned
    kept = c4.process(documents([text]), config).kept
    assert kept.column("text").to_pylist() == [cleaned]


def test_c4_terminal_punctuation_is_a_choice() -> None:
    text = 'no end to this\nan end to this.\n"an end to this"\nnot the end...'
    config = c4.Config(min_sentences=1, terminal_punctuation=True)
    assert c4.clean(text, None, config) == 'an end to this.\n"an end to this"'


def test_stop_words_are_asked_of_their_language_alone() -> None:
    german = " ".join(unique(60))
    assert gopher_quality.judge(german, "de", gopher_quality.Config()) is None
    for language in ("en", None):
        assert gopher_quality.judge(german, language, gopher_quality.Config()) == Drop(
            "gopher_quality.stop_words", 0, 2
        )
    config = gopher_quality.Config(stop_words=("der", "die", "und"), stop_words_language="de")
    assert gopher_quality.judge(german, "de", config) == Drop("gopher_quality.stop_words", 0, 2)
    assert gopher_quality.judge(f"{german} der und", "de", config) is None
    assert gopher_quality.judge(german, "en", config) is None


PIECES = ["a", "b", "the", "and", "long-word", "word.", "...", "…", "#", "- ", "• ", "\n", "\n\n", "\n", " ", "5", "7%"]
PIECES += ["javascript", "lorem ipsum", "{", "[1]", "[edit]", "use cookies", "A sentence. Another one.", '"', "你好。"]
some_text = st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join)
few_pieces = st.lists(st.sampled_from(["a", "b", "c", "a b c d e", "\n", "\n\n"]), max_size=60).map(" ".join)
texts = st.one_of(some_text, few_pieces, st.text(max_size=40))
shares = st.sampled_from([0.0, 0.02, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0])


def verdict(drop: Drop | None) -> tuple[str, object] | None:
    return None if drop is None else (drop.rule, drop.value)


@given(texts, st.lists(shares, min_size=13, max_size=13))
def test_gopher_repetition_equals_its_twin(text: str, limits: list[float]) -> None:
    names = [field.name for field in fields(gopher_repetition.Config)[:13]]
    config = replace(gopher_repetition.Config(), **dict(zip(names, limits, strict=True)))
    for each in (config, gopher_repetition.Config()):
        assert verdict(gopher_repetition.judge(text, None, each)) == naive.gopher_repetition_verdict(text, each)


@given(texts, st.sampled_from([None, "en", "de"]), st.integers(0, 5), shares, st.integers(0, 9))
def test_gopher_quality_equals_its_twin(
    text: str, language: str | None, min_words: int, share: float, length: int
) -> None:
    config = gopher_quality.Config(
        min_words=min_words,
        max_words=min_words + 20,
        min_word_length=length / 3,
        max_word_length=float(length),
        max_hash_ratio=share,
        max_ellipsis_ratio=share,
        max_bullet_lines=share,
        max_ellipsis_lines=share,
        min_alphabetic_words=1 - share,
    )
    for each in (config, replace(config, max_word_length=99.0), replace(config, min_words=0, min_word_length=0.0)):
        ours = verdict(gopher_quality.judge(text, language, each))
        assert ours == naive.gopher_quality_verdict(text, language, each)


@given(texts, st.integers(0, 6), st.integers(0, 4), st.booleans())
def test_c4_equals_its_twin(text: str, sentences: int, words: int, terminal: bool) -> None:
    config = c4.Config(min_sentences=sentences, min_line_words=words, max_word_length=8, terminal_punctuation=terminal)
    ours = c4.clean(text, None, config)
    assert (verdict(ours) if isinstance(ours, Drop) else ours) == naive.c4_text(text, config)


@given(texts, shares, shares, shares, shares)
def test_fineweb_equals_its_twin(text: str, punctuation: float, short: float, again: float, newlines: float) -> None:
    config = fineweb.Config(punctuation, short, 5, again, newlines)
    for each in (config, replace(config, min_line_punctuation=0.0, max_short_lines=1.0)):
        assert verdict(fineweb.judge(text, None, each)) == naive.fineweb_verdict(text, each)


@given(st.lists(texts, max_size=4))
def test_a_document_fares_alike_alone_and_in_company(batch: list[str]) -> None:
    for stage in STAGES:
        config = stage.Config()
        together = stage.process(documents([*batch]), config)
        alone = [stage.process(documents([text]), config) for text in batch]
        texts_alone = [text for outcome in alone for text in outcome.kept.column("text").to_pylist()]
        assert together.kept.column("text").to_pylist() == texts_alone
        rules_alone = [rule for outcome in alone for rule in outcome.dropped.column("rule").to_pylist()]
        assert together.dropped.column("rule").to_pylist() == rules_alone
