"""Properties of every rule on any text: no rule raises, time is bounded, a looser threshold drops no more."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.filters.gopher_repetition import duplicates
from corpus.filters.statistics import words_of
from corpus.schema import Drop

Judge = Callable[[str, str | None, Any], Drop | str | None]
STAGES: list[tuple[Judge, Any]] = [
    (gopher_repetition.judge, gopher_repetition.Config()),
    (gopher_quality.judge, gopher_quality.Config()),
    (c4.clean, c4.Config()),
    (c4.clean, c4.Config(terminal_punctuation=True, min_sentences=1)),
    (fineweb.judge, fineweb.Config()),
]
TABLES: list[tuple[Judge, Any]] = [
    (gopher_repetition.judge, gopher_repetition.Config(language_tables=True)),
    (gopher_quality.judge, gopher_quality.Config(language_tables=True)),
    (fineweb.judge, fineweb.Config(language_tables=True)),
]
# With lone surrogates: Arrow has none, but Python code may call a rule with them.
any_text = st.text(st.characters(), max_size=80)
pieces = st.sampled_from(
    ["a", "the", "and", "b c d e f", "x.", "#", "...", "- ", "• ", "\n", "\n\n", "{", "\x00", "你。"]
)
texts = st.one_of(any_text, st.lists(pieces, max_size=60).map(" ".join), st.lists(any_text, max_size=6).map("\n".join))
LIMITS = [
    (judge, config, field.name) for judge, config in STAGES for field in fields(config) if field.name[:3] != "lan"
]
LIMITS = [(j, c, name) for j, c, name in LIMITS if isinstance(getattr(c, name), int | float)]
LIMITS = [(j, c, name) for j, c, name in LIMITS if not isinstance(getattr(c, name), bool) and j is not c4.clean]
LIMITS = [(j, c, name) for j, c, name in LIMITS if name != "short_line_chars"]


@given(texts, st.sampled_from([None, "en", "de", "fr", "zh", "xx"]))
def test_no_rule_fails_on_any_text(text: str, language: str | None) -> None:
    for judge, config in [*STAGES, *TABLES]:
        answer = judge(text, language, config)
        assert answer is None or isinstance(answer, Drop | str)
        assert judge(text, language, config) == answer


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail after so many processor seconds, far more than needed, instead of waiting for a quadratic loop."""

    def fail(*_: object) -> None:
        raise AssertionError(f"more than {seconds} processor seconds")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# A quarter of a megabyte of the texts that rules and splitters take longest for, and a megabyte in the long test.
HARD = ["!", ".", "a.", "a-", "a@", "'", ":)", "你", "\n", " ", "\x00", "\U0001f600", "1,", "(", "a'b "]


@pytest.mark.parametrize(("unit", "megabytes"), [("x", 10), ("ab ", 10), ("a\n", 10), *((unit, 0.25) for unit in HARD)])
def test_long_texts_take_bounded_time(unit: str, megabytes: float) -> None:
    judge_all(unit, megabytes, 60 if megabytes > 1 else 15)


@pytest.mark.long
@pytest.mark.parametrize("unit", HARD)
def test_longer_hard_texts_take_bounded_time(unit: str) -> None:
    judge_all(unit, 1, 60)


def judge_all(unit: str, megabytes: float, seconds: float) -> None:
    text = unit * (int(megabytes * 10**6) // len(unit.encode()))
    with at_most(seconds):
        for judge, config in STAGES:
            judge(text, "en", config)


@given(texts, st.sampled_from(range(len(LIMITS))), st.floats(0, 1), st.floats(0, 1))
def test_a_looser_limit_drops_no_more(text: str, which: int, one: float, other: float) -> None:
    judge, config, name = LIMITS[which]
    low, high = sorted((one, other))
    if isinstance(getattr(config, name), int):
        low, high = int(low * 20), int(high * 20)
    strict, loose = (high, low) if name.startswith("min_") else (low, high)
    off = {field: None for _, of, field in LIMITS if type(of) is type(config)}
    kept_by_strict = judge(text, "en", replace(config, **off | {name: strict})) is None
    kept_by_loose = judge(text, "en", replace(config, **off | {name: loose})) is None
    assert kept_by_loose or not kept_by_strict
    assert judge(text, "en", replace(config, **off)) is None


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dd d", ""]), min_size=1, max_size=12), st.data())
def test_a_repeated_line_never_lowers_the_shares(lines: list[str], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(lines))
    count, chars = duplicates(lines)
    more, more_chars = duplicates([*lines, again])
    assert more / (len(lines) + 1) >= count / len(lines)
    total = sum(map(len, lines))
    assert more_chars * total >= chars * (total + len(again))


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_a_text_written_twice_repeats_itself(words: list[str]) -> None:
    once, twice = (words_of(" ".join(said)).repetition() for said in (words, words * 2))
    assert all(more >= less for less, more in zip(once, twice, strict=True))
    if len(words) >= 10:
        assert twice[10] >= sum(map(len, words[:10]))
