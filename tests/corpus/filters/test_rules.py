"""The rules that the stages declare: each can drop a document, and no stage drops by any other rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.classifier import apply
from corpus.classifier.cutoff import drop_below
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition, optout, urls
from corpus.schema import DOCUMENTS, DROPPED, PAGES
from corpus.stage import STAGES, Stage, load_stage
from tests.support.made_texts import documents, unique
from tests.support.url_lists import CASES as ADDRESSES
from tests.support.url_lists import block_lists, pages

WITH_RULES = ("urls", "optout", "gopher_repetition", "gopher_quality", "c4", "fineweb", "classifier")


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

TEXTS: dict[ModuleType, Any] = {gopher_repetition: REPETITION, gopher_quality: QUALITY, c4: C4, fineweb: FINEWEB}
TABLE = [pytest.param(stage, *case, id=f"{stage.NAME}.{case[0]}") for stage, cases in TEXTS.items() for case in cases]
LOOSE = {
    stage: dataclasses.replace(stage.Config(), **{rule.setting: None for rule in stage.STAGE.rules if rule.setting})
    for stage in TEXTS
}


def names(stage: Stage) -> set[str]:
    """The rules that a stage declares, as DROPPED has them."""
    return {f"{stage.name}.{rule.name}" for rule in stage.rules}


def rules(batch: pa.RecordBatch) -> list[str]:
    """The rules of DROPPED rows."""
    return [str(rule) for rule in batch.column("rule").to_pylist()]


@pytest.mark.parametrize(("stage", "rule", "dropped", "value", "threshold", "kept"), TABLE)
def test_each_rule_drops_and_keeps(
    stage: ModuleType, rule: str, dropped: str, value: float, threshold: float, kept: str
) -> None:
    config = c4.Config(min_sentences=0) if rule == "empty" else stage.Config()
    outcome = stage.process(documents([dropped, kept], "en"), config)
    assert outcome.dropped.schema == DROPPED
    assert outcome.kept.schema == DOCUMENTS
    (row,) = outcome.dropped.to_pylist()
    assert (row["id"], row["stage"], row["rule"]) == ("<urn:uuid:0>", stage.NAME, f"{stage.NAME}.{rule}")
    assert float(row["value"]) == pytest.approx(value)
    assert float(row["threshold"]) == threshold
    assert row["text"] == dropped
    assert outcome.kept.column("id").to_pylist() == ["<urn:uuid:1>"]


@pytest.mark.parametrize("stage", TEXTS)
def test_every_rule_on_texts_has_a_case(stage: ModuleType) -> None:
    assert {case[0] for case in TEXTS[stage]} == {rule.name for rule in stage.STAGE.rules}


def test_each_rule_on_addresses_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dropped = urls.process(pages([case[1] for case in ADDRESSES]), block_lists(tmp_path)).dropped
    assert rules(dropped) == [f"urls.{case[0]}" for case in ADDRESSES]
    assert set(rules(dropped)) == names(urls.STAGE)


def test_each_signal_of_an_opt_out_drops(tmp_path: Path) -> None:
    from corpus.filters.optout_hosts import origin_hash, write_hosts

    hosts = str(tmp_path / "hosts.arrow")
    files = {"robots": "User-agent: GPTBot\nDisallow: /robots", "ai": "User-Agent: *\nDisallow: /ai"}
    write_hosts(hosts, [(origin_hash("https://a.example/"), files)])
    heads = {name: f'<meta name="robots" content="{name}">' for name in ("noai", "noimageai", "noml")}
    heads |= {"tdm": '<meta name="tdm-reservation" content="1">'}
    rows = [{"url": "https://b.example/", "html": head.encode()} for head in heads.values()]
    rows += [{"url": f"https://a.example/{path}", "html": b"<p>"} for path in ("robots", "ai")]
    dropped = optout.process(pa.RecordBatch.from_pylist(rows, schema=PAGES), optout.Config(optout.SIGNALS, hosts))
    assert rules(dropped.dropped) == [f"optout.{rule.name}" for rule in optout.STAGE.rules]


def test_a_score_drops() -> None:
    answer = drop_below(documents(["good", "bad"]), pa.array([0.9, 0.1]), 0.5)
    assert set(rules(answer.dropped)) == names(load_stage("classifier")) == names(apply.STAGE)
    assert [rule.setting for rule in apply.STAGE.rules] == [dataclasses.fields(apply.STAGE.config)[0].name]


@pytest.mark.parametrize("name", WITH_RULES)
def test_each_setting_of_a_rule_is_a_field_of_the_config(name: str) -> None:
    stage = load_stage(name)
    fields = {field.name: field for field in dataclasses.fields(stage.config)}
    assert stage.rules
    assert len(names(stage)) == len(stage.rules)
    for rule in stage.rules:
        assert rule.measures
        assert rule.source
        assert rule.setting is None or stage.default(rule) == fields[rule.setting].default


@pytest.mark.parametrize("stage", TEXTS)
def test_the_help_of_a_threshold_says_what_its_rule_measures(stage: ModuleType) -> None:
    fields = {field.name: field for field in dataclasses.fields(stage.Config)}
    for rule in stage.STAGE.rules:
        if rule.setting:
            assert fields[rule.setting].metadata["help"] == f"drop {rule.drops} this {rule.measures} ({rule.source})"


def test_a_stage_that_masks_drops_nothing() -> None:
    assert load_stage("scrub").rules == ()


PIECES = [
    "a",
    "the",
    "and",
    "long-word.",
    "...",
    "#",
    "- ",
    "• ",
    "\n",
    "\n\n",
    " ",
    "5",
    "lorem ipsum",
    "{",
    "A b c d.",
]
texts = st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join) | st.text(max_size=40)


@given(texts, st.sampled_from([None, "en", "de"]), st.data())
def test_no_text_is_dropped_by_a_rule_that_is_not_declared(
    text: str, language: str | None, data: st.DataObject
) -> None:
    """Each rule by itself, with a threshold that many texts fail, and all rules together."""
    for stage, loose in LOOSE.items():
        rule = data.draw(st.sampled_from([rule for rule in stage.STAGE.rules if rule.setting]))
        strict = {"above": 0, "below": 1}[rule.drops]
        alone = dataclasses.replace(loose, **{rule.setting: strict})
        dropped = rules(stage.process(documents([text], language), alone).dropped)
        assert set(dropped) <= {f"{stage.NAME}.{rule.name}"} | {
            f"{stage.NAME}.{other.name}" for other in stage.STAGE.rules if other.setting is None
        }
        assert set(rules(stage.process(documents([text], language), stage.Config()).dropped)) <= names(stage.STAGE)


def test_every_stage_that_may_drop_is_tested_here() -> None:
    folders = ("corpus.filters.", "corpus.classifier.", "corpus.pii.")
    assert [name for name, path in STAGES.items() if path.startswith(folders) and name != "scrub"] == list(WITH_RULES)
