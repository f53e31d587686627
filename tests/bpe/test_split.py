"""The hand-written scanners against the published expressions in tiktoken's own engine."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import split, split_bytes
from bpe.patterns import ONIGURUMA, PATTERNS, REGEX, scheme
from bpe.unicode import LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER, class_table
from tests.oracles import bpe_naive
from tests.support.bpe_texts import Published, texts

_HUGGING_FACE = {
    name: tokenizers.pre_tokenizers.Split(tokenizers.Regex(expression), "isolated")
    for name, expression in ONIGURUMA.items()
}


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=150)
@given(text=texts.map(lambda text: text[:40]))
def test_splits_as_the_published_expression(pattern: str, text: str) -> None:
    assert split(text, pattern) == bpe_naive.split(text, pattern)


@settings(max_examples=1000)
@given(text=texts)
def test_splits_three_thousand_texts_as_hugging_faces_engine(text: str) -> None:
    """Any Unicode, white space, digits, contractions in every case, combining marks, emoji, line ends; three rules."""
    check_split(text)


@pytest.mark.long
@settings(max_examples=3400)
@given(text=texts)
def test_splits_ten_thousand_texts_as_hugging_faces_engine(text: str) -> None:
    check_split(text)


def check_split(text: str) -> None:
    for pattern in PATTERNS:
        found = _HUGGING_FACE[pattern].pre_tokenize_str(text)
        assert split(text, pattern) == [text[first:last].encode() for _, (first, last) in found], pattern


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "unit", ["a", "A", " ", "\n", "1", "'", "字", "e\u0301", "Aa", " \n", "\u3000x", "👩\u200d", "\u0301"]
)
def test_splits_words_of_100_kb(pattern: str, unit: str) -> None:
    word = (unit * 100_000)[: 100_000 // len(unit.encode())]
    for text in (word, f"x {word}y", f"'{word}\n"):
        found = _HUGGING_FACE[pattern].pre_tokenize_str(text)
        assert split(text, pattern) == [text[first:last].encode() for _, (first, last) in found]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=300)
@given(text=st.text(st.sampled_from("aA1 \n\r\t'sSlLvVeE./\u017f\u0301字ʰǅ\u00a0"), max_size=14))
def test_splits_mixtures_of_few_characters(pattern: str, text: str) -> None:
    assert split(text, pattern) == bpe_naive.split(text, pattern)


def test_every_code_point_in_context(published: Published) -> None:
    """Classes are tiktoken's, for each code point: beside letters of both cases, digits, spaces, symbols, itself."""
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(code_points), 50_000):
        block = [chr(c) for c in code_points[start : start + 50_000]]
        text = "".join(f"a{c}B {c}1.{c}\n" for c in block)
        ours = published.ours.encode(text)
        theirs = published.tiktoken.encode_to_numpy(text, disallowed_special=())
        # The names of special tokens cannot arise here, so that `encode` is `encode_ordinary`.
        assert np.array_equal(ours, theirs), f"from U+{code_points[start]:04X}"


def test_classes_are_hugging_faces() -> None:
    """Every code point; the test above shows that the classes are tiktoken's."""
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    text = "".join(map(chr, code_points))
    classes = {
        r"\p{L}": LETTER,
        r"\p{N}": NUMBER,
        r"\s": SPACE,
        r"[\r\n]": NEWLINE,
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]": UPPER,
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]": LOWER,
    }
    for expression, bit in classes.items():
        members = (class_table()[code_points] & bit) > 0
        rule = tokenizers.pre_tokenizers.Split(tokenizers.Regex(f"(?:{expression})+"), "isolated")
        runs = np.flatnonzero(np.diff(members)) + 1
        assert [first for _, (first, _) in rule.pre_tokenize_str(text)] == [0, *runs.tolist()], expression


def test_class_table_is_unicode_16() -> None:
    table = class_table()
    assert (np.count_nonzero(table & LETTER), np.count_nonzero(table & SPACE)) == (141_028, 25)
    assert [table[ord(c)] for c in "aAʰ字1 \n."] == [
        LETTER | LOWER,
        LETTER | UPPER,
        LETTER | UPPER | LOWER,
        LETTER | UPPER | LOWER,
        NUMBER,
        SPACE,
        SPACE | NEWLINE,
        0,
    ]
    # Categories of characters that Python knows do not change between versions of Unicode, but for a few.
    known = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    letters = np.array([unicodedata.category(chr(c))[0] == "L" for c in known])
    assert np.count_nonzero(letters != ((table[known] & LETTER) > 0)) < 10


@pytest.mark.parametrize("pattern", PATTERNS)
def test_invalid_utf8_is_split_without_loss(pattern: str) -> None:
    generator = np.random.default_rng(3)
    for size in (1, 2, 3, 17, 400):
        content = generator.choice(np.array([*b"a 1\n", 0x80, 0xC3, 0xE4, 0xF0, 0xF4, 0xFF], np.uint8), size).tobytes()
        assert b"".join(split_bytes(content, pattern)) == content


def test_unknown_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="pattern = 'gpt3': should be one of gpt2, cl100k, o200k"):
        scheme("gpt3")
    assert set(REGEX) == set(ONIGURUMA)
