"""The four text filters: a dropped and a kept document for every rule, and equality with the naive twins."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from types import ModuleType

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import check
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.schema import DOCUMENTS, DROPPED, Drop
from tests.oracles import filters_naive as naive

STAGES = (gopher_repetition, gopher_quality, c4, fineweb)


def unique(count: int, length: int = 4, skip: int = 0) -> list[str]:
    """Different made-up words of one length."""
    endings = itertools.product("bcdfghjklm", repeat=4)
    return ["x" * (length - 4) + "".join(ending) for ending in itertools.islice(endings, skip, skip + count)]


def units(phrase: str, between: int) -> str:
    """A phrase twenty times, each time followed by new words of four letters."""
    return " ".join(f"{phrase} {' '.join(unique(between, 4, time * between))}" for time in range(20))


def twice(n: int, share: float) -> str:
    """Twenty phrases of n words, each twice, so that the repeats are about `share` of all characters."""
    phrases = [" ".join(unique(n, 4, number * n)) for number in range(20)]
    breaks = unique(40, 4, 20 * n)
    said = " ".join(f"{phrase} {stop}" for phrase, stop in zip(phrases * 2, breaks, strict=True))
    filling = round(20 * 4 * n / share - len(said)) // 5
    return f"{said} {' '.join(unique(filling, 4, 20 * n + 40))}"


def paragraphs(texts: list[str]) -> str:
    return "\n\n".join(texts)


def lines(texts: list[str]) -> str:
    return "\n".join(texts)


A, B, C, D = "a" * 100, "b" * 100, "c" * 100, "d" * 60
SHORT = "m n o p"
PROSE = "the and " + " ".join(unique(60))

# rule, dropped text, value, threshold, kept text
REPETITION = [
    (
        "duplicate_paragraph_fraction",
        paragraphs(["x"] * 5 + unique(5, 40)),
        0.4,
        0.3,
        paragraphs(["x"] * 4 + unique(6, 40)),
    ),
    ("duplicate_paragraph_chars", paragraphs([SHORT, A, B, C, A]), 100 / 415, 0.2, paragraphs([SHORT, A, D, B, C, D])),
    ("duplicate_line_fraction", lines(["x"] * 5 + unique(5, 40)), 0.4, 0.3, lines(["x"] * 4 + unique(6, 40))),
    ("duplicate_line_chars", lines([SHORT, A, B, C, A]), 100 / 411, 0.2, lines([SHORT, A, D, B, C, D])),
    ("top_2_gram", units("aa bb", 1), 100 / 219, 0.2, units("aa bb", 4)),
    ("top_3_gram", units("aa bb cc", 4), 160 / 579, 0.18, units("aa bb cc", 8)),
    ("top_4_gram", units("aa bb cc dd", 8), 220 / 1039, 0.16, units("aa bb cc dd", 12)),
    *(
        (f"duplicate_{n}_gram", text, 80 * n / len(text), limit, twice(n, limit - 0.003))
        for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
        for text in [twice(n, limit + 0.003)]
    ),
]
QUALITY = [
    ("few_words", "the and " + " ".join(unique(47)), 49, 50, "the and " + " ".join(unique(48))),
    ("many_words", "the and" + " word" * 99_999, 100_001, 100_000, "the and" + " word" * 99_998),
    ("short_words", "the and" + " ab" * 98, 2.02, 3, "the and" + " abc" * 98),
    (
        "long_words",
        f"the and {'w' * 17} {'w' * 18}" + " tenletters" * 46,
        10.02,
        10,
        f"the and {'w' * 17} {'w' * 17}" + " tenletters" * 46,
    ),
    ("hash_ratio", PROSE + " #" * 7, 7 / 69, 0.1, PROSE + " #" * 6),
    ("ellipsis_ratio", PROSE + " … x ... y" * 4, 8 / 78, 0.1, PROSE + " …" * 6 + " x"),
    (
        "bullet_lines",
        lines(["the and what ever"] + ["- six words are in here"] * 10 + ["• six words are in here"] * 9),
        0.95,
        0.9,
        lines(["the and what ever"] * 2 + ["- six words are in here"] * 10 + ["• six words are in here"] * 8),
    ),
    (
        "ellipsis_lines",
        lines([PROSE] * 6 + [PROSE + "...", PROSE + "… "] * 2),
        0.4,
        0.3,
        lines([PROSE] * 7 + [PROSE + "..."] * 3),
    ),
    ("alphabetic_words", PROSE + " 1234" * 16, 62 / 78, 0.8, PROSE + " 1234" * 15),
    ("stop_words", PROSE.replace("and", "ant") + " And", 1, 2, PROSE),
]

FIVE = [f"This is line {number} of it." for number in ("one", "two", "three", "four", "five")]
C4 = [
    ("lorem_ipsum", lines([*FIVE, "Lorem IPSUM dolor, lorem ipsum."]), 2, 0, lines([*FIVE, "Lorem dolor ipsum."])),
    ("curly_bracket", lines([*FIVE, "a { b {"]), 2, 0, lines([*FIVE, "a ( b ("])),
    ("few_sentences", "One is here. Two is. Three, Mr. Four. Last", 4, 5, lines(FIVE)),
    ("empty", "two words", 0, 1, "now three words"),
]

SAID = [f"Here is what the {word} said." for word in unique(300, 12)]
UNSAID = [f"Here is what the {word} said" for word in unique(300, 12)]
FINEWEB = [
    ("line_punctuation", lines(UNSAID[:23] + SAID[23:25]), 0.08, 0.12, lines(UNSAID[:22] + SAID[22:25] + [" "])),
    (
        "short_lines",
        lines([f"{word} is all." for word in unique(68, 22)] + [f"{word} is all." for word in unique(32, 23)]),
        0.68,
        0.67,
        lines([f"{word} is all." for word in unique(67, 22)] + [f"{word} is all." for word in unique(33, 23)]),
    ),
    (
        "duplicate_line_chars",
        lines([*(f"{s} So." for s in SAID[:97]), *[f"{SAID[0]} So."] * 3]),
        0.03,
        0.01,
        lines([*(f"{s} So." for s in SAID[:99]), f"{SAID[0]} So."]),
    ),
    (
        "newline_ratio",
        lines([f"{a} {a}." for a in unique(100, 30)]),
        0.33,
        0.3,
        lines([f"{a} b {a}." for a in unique(100, 30)]),
    ),
]

CASES = {
    gopher_repetition: (REPETITION, gopher_repetition.Config()),
    gopher_quality: (QUALITY, gopher_quality.Config()),
    c4: (C4, c4.Config()),
    fineweb: (FINEWEB, fineweb.Config()),
}
TABLE = [
    pytest.param(stage, f"{stage.NAME}.{rule}", dropped, value, limit, kept, id=f"{stage.NAME}.{rule}")
    for stage, (cases, _) in CASES.items()
    for rule, dropped, value, limit, kept in cases
]


def documents(texts: list[str | None], language: str | None = None) -> pa.RecordBatch:
    columns = {field.name: pa.nulls(len(texts), field.type) for field in DOCUMENTS}
    columns["text"] = pa.array(texts, pa.string())
    columns["id"] = pa.array([f"<urn:uuid:{row}>" for row in range(len(texts))])
    columns["language"] = pa.array([language] * len(texts), pa.string())
    return pa.record_batch(list(columns.values()), schema=DOCUMENTS)


@pytest.mark.parametrize(("stage", "rule", "dropped", "value", "limit", "kept"), TABLE)
def test_each_rule_drops_and_keeps(
    stage: ModuleType, rule: str, dropped: str, value: float, limit: float, kept: str
) -> None:
    config = c4.Config(min_sentences=0) if rule == "c4.empty" else CASES[stage][1]
    outcome = stage.process(documents([dropped, kept], "en"), config)
    assert outcome.dropped.schema == DROPPED
    assert outcome.kept.schema == DOCUMENTS
    (row,) = outcome.dropped.to_pylist()
    assert (row["id"], row["stage"], row["rule"]) == ("<urn:uuid:0>", stage.NAME, rule)
    assert float(row["value"]) == pytest.approx(value)
    assert float(row["threshold"]) == limit
    assert row["text"] == dropped
    assert outcome.kept.column("id").to_pylist() == ["<urn:uuid:1>"]


@pytest.mark.parametrize(
    ("stage", "rules"),
    [
        (gopher_repetition, {field.name for field in fields(gopher_repetition.Config)[:13]}),
        (
            gopher_quality,
            {"few_words", "many_words", "short_words", "long_words", "hash_ratio", "ellipsis_ratio", "bullet_lines"}
            | {"ellipsis_lines", "alphabetic_words", "stop_words"},
        ),
        (c4, {"lorem_ipsum", "curly_bracket", "few_sentences", "empty"}),
        (fineweb, {"line_punctuation", "short_lines", "duplicate_line_chars", "newline_ratio"}),
    ],
)
def test_the_table_names_every_rule(stage: ModuleType, rules: set[str]) -> None:
    assert {case[0] for case in CASES[stage][0]} == rules


def test_defaults_are_within_their_bounds() -> None:
    assert all(check(config) == config for _, config in CASES.values())


def test_an_empty_or_missing_text_has_an_outcome() -> None:
    batch = documents(["", None])
    assert gopher_repetition.process(batch, gopher_repetition.Config()).kept.num_rows == 2
    rules = {
        stage: stage.process(batch, CASES[stage][1]).dropped.column("rule").to_pylist()
        for stage in (gopher_quality, c4, fineweb)
    }
    assert rules == {
        gopher_quality: ["gopher_quality.few_words"] * 2,
        c4: ["c4.few_sentences"] * 2,
        fineweb: ["fineweb.line_punctuation"] * 2,
    }


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_batch_has_an_empty_outcome(stage: ModuleType) -> None:
    kept, dropped, *_ = stage.process(documents([]), CASES[stage][1])
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
    for stage, (_, config) in CASES.items():
        together = stage.process(documents([*batch]), config)
        alone = [stage.process(documents([text]), config) for text in batch]
        texts_alone = [text for outcome in alone for text in outcome.kept.column("text").to_pylist()]
        assert together.kept.column("text").to_pylist() == texts_alone
        rules_alone = [rule for outcome in alone for rule in outcome.dropped.column("rule").to_pylist()]
        assert together.dropped.column("rule").to_pylist() == rules_alone
