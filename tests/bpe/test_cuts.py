"""A text in chunks has the ids of the whole text, wherever it is cut, by named split rules and by any other."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe import Tokenizer
from bpe.cuts import Held, cut_rule, whole_characters
from bpe.encode import split
from bpe.patterns import ANYTHING, PATTERNS
from bpe.regex_split import regex_table
from bpe.texts import from_bytes, utf8
from bpe.vocabulary import Vocabulary
from tests.support.bpe_texts import LLAMA, QWEN, RUSTBPE, pieces

NAMES = ("<|endoftext|>", "<|end", " two words ", "\U0001f600\ufffd", "'")
OWN = (
    LLAMA,
    QWEN,
    RUSTBPE,
    r"\w+|[^\w\s]+|\s+",
    r" ?\p{Han}{1,2}| ?\p{L}+(?=[^\p{L}])|\p{N}",  # leaves text between its matches
    r"(?i:ab|a)+(?!c)|(?>\s+)(?=\S{2})|[^\sab]*?[.!?]|c$",
    r"a{2,3}+b?|[[a-z]--[aeiou]]+|(?P<name>é|\x{e8})\s*",
    r"[^\r\n]*\n|(?:[a-c]+ )+?d|\p{Lu}\p{Ll}*",
)
NO_CUT = (r"\bthe\b|\s+", r"(?<=a)b|.", r"^a|[^a]+", r"(a|b)\1|.", r"a*|b", r"(?!x)|b", ANYTHING, r"\X+")
odd = st.sampled_from([*NAMES, "<|", "endoftext|>", "\ud83d", "\ude00", "two", "<|en", "a'S", "Aa. ", "aab", "ab c"])
texts = st.lists(st.one_of(pieces, odd), max_size=8).map("".join)
policies = st.one_of(st.just("all"), st.sets(st.sampled_from(NAMES)))


@st.composite
def chunked(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=10)))
    if draw(st.booleans()):
        cuts = list(range(len(text)))
    return [text[first:last] for first, last in itertools.pairwise([0, *cuts, len(text)])]


@functools.cache
def tokenizer_of(pattern: str) -> Tokenizer:
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [b"th", b"the", b"  ", b" a", b"ab", b"\n\n", b"'s", "é".encode(), b"111", b"lo", b"aa", b". "]
    special = {name: len(tokens) + i for i, name in enumerate(NAMES)}
    return Tokenizer(Vocabulary(tuple(tokens), pattern, special))


@pytest.mark.parametrize("pattern", [*PATTERNS, *OWN, *NO_CUT])
@settings(max_examples=60, deadline=None)
@given(chunks=chunked(), allowed=policies, run=st.sampled_from([1, 5, 40]))
def test_chunks_have_the_ids_of_the_whole_text(
    pattern: str, chunks: list[str], allowed: str | set[str], run: int
) -> None:
    tokenizer = tokenizer_of(pattern)
    expected = tokenizer.encode("".join(chunks), allowed_special=allowed, disallowed_special=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpe.tokenizer.Held", functools.partial(Held, run=run))
        assert list(tokenizer.encode_iterable(chunks, allowed_special=allowed, disallowed_special=())) == expected


@pytest.mark.parametrize("pattern", [*PATTERNS, *OWN])
@settings(max_examples=60, deadline=None)
@given(chunks=chunked())
def test_the_parts_have_the_pretokens_of_the_whole_text(pattern: str, chunks: list[str]) -> None:
    text, held = "".join(whole_characters(chunks)), Held(pattern, run=1)
    parts = [held.add(piece) for piece in whole_characters(chunks)]
    parts.append(held.rest())
    assert "".join(parts) == text
    assert [pretoken for part in parts for pretoken in pretokens(part, pattern)] == pretokens(text, pattern)


def pretokens(text: str, pattern: str) -> list[bytes]:
    content = utf8(text)
    if pattern in PATTERNS:
        return split(text, pattern) if content else []
    ends = regex_table(pattern, from_bytes([content]))[2:].tolist()
    return [content[first:last] for first, last in itertools.pairwise([0, *ends])]


atoms = st.sampled_from(
    ["a", "b", "'", ".", "1", "é", r"\s", r"\S", r"\p{L}", "[^a]", r"[^\s\p{L}]", r"\w", "[[a-c]--[b]]", "(?i:a)"]
)
repeats = st.sampled_from(["", "", "?", "*", "+", "{1,3}", "{2,}", "??", "+?", "?+", "*+", "++", "{1,3}+"])
groups = st.sampled_from(["(?:{})", "({})", "(?>{})", "(?i:{})", "(?s:{})"])
looks = st.sampled_from(["(?={})", "(?!{})"])
patterns = st.recursive(
    st.builds(str.__add__, atoms, repeats) | st.just("$"),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
        st.builds(str.format, groups, inner).flatmap(lambda group: repeats.map(group.__add__)),
        st.builds(str.format, looks, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(pattern=patterns, text=st.text("aaabcA'. \n1éÉ", max_size=25))
def test_any_pattern_is_cut_where_its_pretokens_end(pattern: str, text: str) -> None:
    held = Held(pattern, run=1)
    parts = [held.add(character) for character in text]
    parts.append(held.rest())
    assert [pretoken for part in parts for pretoken in pretokens(part, pattern)] == pretokens(text, pattern)


@settings(max_examples=80, deadline=None)
@given(chunks=chunked(), disallowed=policies)
def test_refused_names_are_refused_in_the_same_words(chunks: list[str], disallowed: str | set[str]) -> None:
    tokenizer = tokenizer_of("cl100k")

    def outcome(encode: Callable[[], list[int]]) -> list[int] | str:
        try:
            return encode()
        except ValueError as error:
            return str(error)

    whole = outcome(lambda: tokenizer.encode("".join(chunks), disallowed_special=disallowed))
    assert outcome(lambda: list(tokenizer.encode_iterable(chunks, disallowed_special=disallowed))) == whole


@pytest.mark.parametrize("pattern", NO_CUT)
def test_where_nothing_can_be_proved_the_whole_text_is_held(pattern: str) -> None:
    held = Held(pattern, run=1)
    assert [held.add(piece) for piece in ("the end ", "of the\n", "x. ")] == ["", "", ""]
    assert held.rest() == "the end of the\nx. "


@pytest.mark.parametrize("pattern", [*PATTERNS, LLAMA, QWEN, RUSTBPE])
def test_a_long_stream_is_held_in_short_pieces(pattern: str) -> None:
    line = "The naïve cat's 1,234 toys (or more) — 你好，世界。 " * 50
    held, longest = Held(pattern, run=1000), 0
    for _ in range(50):
        held.add(line)
        longest = max(longest, held._length)
    assert longest < 1000


@pytest.mark.parametrize("pattern", [*PATTERNS, LLAMA])
def test_known_places(pattern: str) -> None:
    rule = cut_rule(pattern)
    assert rule is not None
    for before, after in ("a ", "a\n", "1 ", "a1", "1a", ". ", "a,", "世，"):
        assert rule.may_cut(before, after), (before, after)
    for before, after in ("ab", " a", "  ", " \n", "\n\n", "11", "..", "'s"):
        assert not rule.may_cut(before, after), (before, after)


def test_what_is_no_text_is_refused(small_bytes: Tokenizer) -> None:
    def chunks() -> Iterator[object]:
        yield "text"
        yield b"bytes"

    with pytest.raises(TypeError, match="texts holds a bytes"):
        list(small_bytes.encode_iterable(chunks()))  # type: ignore[arg-type]


@pytest.fixture
def small_bytes() -> Tokenizer:
    return tokenizer_of("gpt2")


def test_ids_are_given_out_before_the_end() -> None:
    chunks = iter(["some words\n" * 1000] * 100)
    next(tokenizer_of("cl100k").encode_iterable(chunks))
    assert len(list(chunks)) > 90
