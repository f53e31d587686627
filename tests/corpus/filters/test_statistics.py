"""Counts from the compiled loops over remembered chunks, beside the words of `split_words`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.filters import statistics
from corpus.filters.characters import PUNCTUATION, SENTENCE_TERMINAL
from corpus.filters.english import EXCEPTIONS
from corpus.filters.kernels.chunks import LENGTH, LETTER, MARK, REAL, TERMINAL
from corpus.filters.statistics import Words, words_of
from corpus.filters.words import count_sentences, kind_of, split_words

KINDS = ("english", "plain", "eliding")
# The parts of simple chunks, and parts that make a chunk less simple.
SIMPLE = ["word", "Word", "größe", "им", "IT", "im", "Rep", "u", "8", "2010", "'s", "’S", "s", *',;:!?)."(-', "l'", "”"]
SIMPLE += ["then", "0", "xD", "m", "º", "ǅ", "×", "你", "\u0301", "x" * 70]
WHITE = [" ", "\n", "\t", "\x1c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f", "\u205f", "\u3000", "  "]
NO_WHITE = ["\x00", "\x1b", "\u200b", "\u180e", "\u2010", "\ufeff", "\x84", "\u0900"]

simple = st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=4).map("".join)
chunks = st.one_of(simple, st.sampled_from(sorted(EXCEPTIONS)), st.text(max_size=12), st.sampled_from(NO_WHITE))
texts = st.lists(st.tuples(chunks, st.sampled_from(WHITE)), max_size=30).map(lambda parts: "".join(map("".join, parts)))


def same(words: Words, expected: list[str]) -> bool:
    """Whether the ids are those of the expected words."""
    return bool(words.memory._number(expected).tolist() == words.ids.tolist())


@given(texts, st.sampled_from(KINDS))
def test_words_and_counts_equal_those_of_split_words(text: str, kind: str) -> None:
    words, expected = words_of(text, kind), split_words(text, kind)
    assert same(words, expected)
    assert (words.traits >> LENGTH).tolist() == list(map(len, expected))
    for word, traits in zip(expected, words.traits.tolist(), strict=True):
        assert bool(traits & REAL) == any(char not in PUNCTUATION for char in word)
        assert bool(traits & LETTER) == any(map(str.isalpha, word))
        assert bool(traits & TERMINAL) == (word in SENTENCE_TERMINAL)
        assert not traits & MARK or not any(map(str.isalnum, word))
    real = [word for word in expected if any(char not in PUNCTUATION for char in word)]
    assert (words.real, words.real_characters) == (len(real), sum(map(len, real)))
    assert words.with_letter == sum(any(map(str.isalpha, word)) for word in expected)
    assert words.sentences() == count_sentences(expected)


@given(texts)
def test_new_and_remembered_chunks_have_equal_words(text: str) -> None:
    statistics.forget()
    first = words_of(text)
    memory = first.memory
    memory.kept.clear()
    again = words_of(text)
    assert again.memory is memory
    assert again.ids.tolist() == first.ids.tolist()
    assert same(again, split_words(text))


@given(texts, st.lists(st.sampled_from(["word", "Word", "im", "nowhere", ""]), max_size=4), st.integers(0, 4))
def test_wanted_words_are_counted_once(text: str, wanted: list[str], enough: int) -> None:
    expected = len(set(wanted) & set(split_words(text)))
    assert words_of(text).present(tuple(wanted), enough) == min(expected, enough)


def test_every_white_space_of_python_parts_chunks() -> None:
    characters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    for char in characters:
        parts = len(f"a{char}b".split())
        assert words_of(f"a{char}b").number == len(split_words(f"a{char}b")) >= parts, hex(ord(char))


def test_memory_is_emptied_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics.forget()
    monkeypatch.setattr(statistics, "_CHUNKS", 5000)
    for document in range(20):
        text = " ".join(f"w{document}x{number} {number}. (y{number}a" for number in range(900))
        assert same(words_of(text), split_words(text))
        assert words_of(text).memory.tables.used[0] < 5000 + 3 * 900
    assert len({id(statistics.words_of(text).memory) for text in ("a", "b")}) == 1


def test_more_chunks_than_are_learnt_at_once() -> None:
    letters = "abcdefghij"
    text = " ".join(f"{a}{b}{c}{d}q" for a in letters for b in letters for c in letters for d in letters)
    statistics.forget()
    assert same(words_of(text), text.split())


def test_a_failure_on_the_way_empties_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics.forget()
    broken = words_of("well known").memory

    def fail(chunks: object) -> None:
        raise KeyboardInterrupt

    broken.split = fail  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        words_of("quite new#chunk/here")
    assert words_of("quite new#chunk/here").memory is not broken


def test_a_text_is_measured_once_for_neighbouring_stages() -> None:
    statistics.forget()
    text = "Some text that two stages read."
    assert words_of(text) is words_of("".join(text))
    assert words_of(text, kind_of("de")) is not words_of(text)
