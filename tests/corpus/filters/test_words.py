"""Words and sentences: examples of each rule, and properties of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.filters.statistics import words_of
from corpus.filters.words import _split_chunk, count_sentences, rules_of, split_words

EXAMPLES = [
    ("", []),
    (" \n\t ", []),
    ("Plain words only", ["Plain", "words", "only"]),
    ('"Stop!" she said.', ['"', "Stop", "!", '"', "she", "said", "."]),
    ("(see p. 5)", ["(", "see", "p.", "5", ")"]),
    ("I don't, we'll", ["I", "do", "n't", ",", "we", "'ll"]),
    ("You cannot; can’t", ["You", "can", "not", ";", "ca", "n’t"]),
    ("Anna's dogs'", ["Anna", "'s", "dogs", "'"]),
    ("Mr. Smith of the U.S. left.", ["Mr.", "Smith", "of", "the", "U.S.", "left", "."]),
    ("e.g. NASA. Ok", ["e.g.", "NASA", ".", "Ok"]),
    ("Wait... what…", ["Wait", "...", "what", "…"]),
    ("well-known end.Next a,b", ["well", "-", "known", "end", ".", "Next", "a", ",", "b"]),
    ("and/or key:value 1/2", ["and/or", "key", ":", "value", "1/2"]),
    ("10km for $5 or 50% of +x +1", ["10", "km", "for", "$", "5", "or", "50", "%", "of", "+", "x", "+1"]),
    ("See https://example.org/a-b?c=d.", ["See", "https://example.org/a-b?c=d", "."]),
    ("mail me@example.org, www.example.org/x", ["mail", "me@example.org", ",", "www.example.org/x"]),
    ("für Größe", ["für", "Größe"]),
    ("你好，世界。abc", ["你", "好", "，", "世", "界", "。", "abc"]),
    ("カナ and 한국어 말", ["カ", "ナ", "and", "한국어", "말"]),
    (". .. -5 --", [".", "..", "-5", "--"]),
]

SENTENCES = [
    ("", 0),
    ("No end", 1),
    ("One. Two! Three? ", 3),
    ("One.) Two", 2),
    ('He said "Stop." Then he left.', 2),
    ("Mr. Smith met Dr. No in the U.S. yesterday.", 1),
    ("What?! Really?!", 2),
    ("你好。世界！", 2),
    ("Wait... what", 1),
    (". x", 2),
]

awkward = st.text(alphabet=st.sampled_from("aZß5 \n.…,'’\"(-/@:#$+%s你カ。한\u00ad\U0001f600"), max_size=60)


@pytest.mark.parametrize(("text", "words"), EXAMPLES)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(("text", "sentences"), SENTENCES)
def test_sentences(text: str, sentences: int) -> None:
    assert count_sentences(split_words(text)) == sentences
    assert words_of(text).sentences() == sentences


@given(st.one_of(awkward, st.text(max_size=60)))
def test_words_are_the_text_without_white_space(text: str) -> None:
    words = split_words(text)
    assert "".join(words) == "".join(text.split())
    assert all(words)


@given(awkward)
def test_memory_does_not_change_the_split(text: str) -> None:
    expected = [word for chunk in text.split() for word in _split_chunk(chunk, rules_of("english"))]
    assert split_words(text) == expected
    assert split_words(text) == expected


@given(awkward)
def test_no_more_sentences_than_words(text: str) -> None:
    assert min(1, len(text.split())) <= count_sentences(split_words(text)) <= len(split_words(text))


@pytest.mark.parametrize(
    "chunk", ["!" * 200_000, "a." * 100_000, "a@" * 100_000, "你" * 200_000, "." * 200_000, "'s" * 9999]
)
def test_a_monstrous_chunk_is_split(chunk: str) -> None:
    assert "".join(split_words(chunk)) == chunk
