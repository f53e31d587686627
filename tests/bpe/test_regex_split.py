r"""Any regular expression as a split rule: against tiktoken's engine and Hugging Face's, with the classes pinned."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.kernels.scan import BY_REGEX
from bpe.kernels.split import next_ends
from bpe.patterns import ONIGURUMA, REGEX
from bpe.regex_split import compile_pattern, regex_table
from bpe.texts import from_bytes
from tests.support.bpe_texts import LLAMA, QWEN, RUSTBPE, texts

# A class minus a class, as in Kimi K2's rule.
INTERSECTION = (
    r"""[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"""
    r"""|\p{N}{1,3}|\s+|[^\s]"""
)
OTHERS = {"llama": LLAMA, "qwen": QWEN, "rustbpe": RUSTBPE, "intersection": INTERSECTION}
# The same in the other engine's syntax, where it is not the same text.
FOR_HUGGING_FACE = {**OTHERS, **ONIGURUMA}
EXPRESSIONS = OTHERS | REGEX

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# Letters and numbers of Unicode 17. None of them is Han, a class that is not pinned.
NEWER = "\ua7ce\u088f\U000187f8\U00011de0\u0558"


def split(content: bytes | str, pattern: str) -> list[bytes]:
    """Through the table, as the kernels read it."""
    content = content.encode() if isinstance(content, str) else content
    texts = from_bytes([content])
    table, ends = regex_table(pattern, texts), np.empty(len(content), np.int64)
    start = texts.content.ctypes.data
    count = next_ends(BY_REGEX, start, start + len(content), table.ctypes.data, ends.ctypes.data, len(ends))
    bounds = [0, *(ends[:count] - start).tolist()]
    return [content[first:last] for first, last in itertools.pairwise(bounds)]


def tiktokens(texts: list[str], pattern: str) -> list[list[bytes]]:
    """The pretokens in tiktoken's engine, by a vocabulary in which every stretch of these short texts is a token."""
    data = [text.encode() for text in texts]
    stretches = {d[i:j] for d in data for i in range(len(d)) for j in range(i + 1, len(d) + 1)}
    tokens = sorted(stretches | {bytes([byte]) for byte in range(256)})
    encoding = tiktoken.Encoding(
        "split", pat_str=pattern, mergeable_ranks={t: i for i, t in enumerate(tokens)}, special_tokens={}
    )
    return [[tokens[token_id] for token_id in encoding.encode_ordinary(text)] for text in texts]


def hugging_faces(text: str, pattern: str) -> list[bytes]:
    rule = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    return [text[first:last].encode() for _, (first, last) in rule.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(max_examples=40)
@given(several=st.lists(texts.map(lambda text: text[:30]), min_size=1, max_size=8))
def test_splits_as_tiktokens_engine(name: str, several: list[str]) -> None:
    assert [split(text, EXPRESSIONS[name]) for text in several] == tiktokens(several, EXPRESSIONS[name])


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(max_examples=200)
@given(text=texts)
def test_splits_as_hugging_faces_engine(name: str, text: str) -> None:
    assert split(text, EXPRESSIONS[name]) == hugging_faces(text, FOR_HUGGING_FACE[name])


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(max_examples=100)
@given(text=st.text(st.sampled_from("aA1 \n\r\t'sSlLvVeE./\u017f\u212a\u0301字ʰǅ\u00a0" + NEWER), max_size=14))
def test_splits_mixtures_of_few_characters(name: str, text: str) -> None:
    assert split(text, EXPRESSIONS[name]) == hugging_faces(text, FOR_HUGGING_FACE[name])


def test_every_code_point_in_context() -> None:
    """In texts with code points newer than the pinned tables, and so by corrected classes, and in texts without."""
    differs = compile_pattern(REGEX["o200k"]).differs
    assert differs.sum() > 10_000
    newer = [c for c in CODE_POINTS if differs[c]]
    older = [c for c in CODE_POINTS if not differs[c]]
    for code_points in (newer, *(older[start : start + 100_000] for start in range(0, len(older), 100_000))):
        text = "".join(f"a{c}B {c}1" for c in map(chr, code_points))
        assert split(text, REGEX["o200k"]) == hugging_faces(text, ONIGURUMA["o200k"]), hex(code_points[0])


def test_pinned_classes_alone_and_in_brackets() -> None:
    """Whether or not the text holds a code point on which the `regex` package has other tables."""
    text = "a字ʰǅé\u0301 1½\u3000\ua7ce.-" + NEWER
    for category in ("L", "Lu", "Lt", "Ll", "Lm", "Lo", "M", "N", "Letter", "Uppercase_Letter", "^N"):
        for expression in (
            rf"\p{{{category}}}+",
            rf"\P{{{category}}}",
            rf"[x\p{{{category}}}]",
            rf"[^\P{{{category}}}\s]+",
        ):
            for part in (text, text[:10]):
                assert split(part, expression) == hugging_faces(part, expression), expression
    for expression in (r"\s+", r"\S+", r"[\s.]", r"[^\S1]+"):
        assert split(text, expression) == hugging_faces(text, expression)
    assert split(text, r"\pL+") == split(text, r"\p{L}+")


def test_what_no_match_covers_is_a_pretoken() -> None:
    assert split("ab12c3", r"\d+") == [b"ab", b"12", b"c", b"3"] == hugging_faces("ab12c3", r"\d+")
    assert split("abc", r"z") == [b"abc"]
    assert split("", r"z") == []
    # An empty match parts what is around it, as there.
    assert split("ab1c", r"\d*") == [b"a", b"b", b"1", b"c"] == hugging_faces("ab1c", r"\d*")


def test_syntax_of_the_other_engine() -> None:
    assert split("a\nb\n", r"\s+$|.|\n") == [b"a", b"\n", b"b", b"\n"]
    assert split("a \nb \n", r"\s+\z|[^x]") == [b"a", b" ", b"\n", b"b", b" \n"]
    assert split("a$]b[c", r"[$\]\[]+|[^$]") == [b"a", b"$]", b"b", b"[", b"c"]
    assert split("a]b", r"[]]|[^]]") == [b"a", b"]", b"b"]
    assert split("xé字", r"\x{e9}|\u{5B57}|x") == [b"x", "é".encode(), "字".encode()]
    assert split("aAbB", r"(?i:aa|B)|(?-i)b") == [b"aA", b"b", b"B"]
    assert split("1234567", r"\p{N}{1,3}+") == [b"123", b"456", b"7"]


@pytest.mark.parametrize("expression", ["(?i:ss)|.", "(?i:[s-t])|.", "(?i)k|'s|.", "(?i:'S|ǆ)|.", "(?i:σ)|."])
def test_case_is_folded_as_in_rust(expression: str) -> None:
    text = "sS\u017f ss\u017fs ß \u212akK 's'S'\u017f ǅǆǄ ΣσςЖ \ufb06"
    assert split(text, expression) == tiktokens([text], expression)[0]


def test_each_text_is_matched_alone() -> None:
    """No rule looks beyond the end of its text, and one table serves a run of texts that starts anywhere."""
    batch = from_bytes([b"skip", b"a  ", b"", b"  b", "é ".encode()])
    run = batch._replace(offsets=batch.offsets[1:])
    table = regex_table(LLAMA, run)
    assert table[:2].tolist() == [run.content.ctypes.data, 0]
    assert table[2:].tolist() == [5, 7, 8, 10, 12, 13]


@settings(max_examples=200)
@given(content=st.lists(st.sampled_from([b"a", b" ", b"1", b"\x80", b"\xc3", b"\xe4\xbd", b"\xff", "é".encode()])))
def test_bytes_that_are_not_utf8_are_characters_of_no_class(content: list[bytes]) -> None:
    """Each the same as U+0378, which is in no class."""
    joined = b"".join(content)
    stand_in = re.sub("[\udc80-\udcff]", "\u0378", joined.decode("utf-8", "surrogateescape"))
    lengths = [len(piece.decode()) for piece in split(stand_in, LLAMA)]
    found = split(joined, LLAMA)
    assert b"".join(found) == joined
    assert [len(piece.decode("utf-8", "surrogateescape")) for piece in found] == lengths


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(a", "no regular expression that can be read"),
        (r"\p{Nothing}", "no regular expression that can be read"),
        (r"\p{L", "no } after"),
        (r"\x{zz}", "'zz' is no code point"),
        (r"(?m)^a$", "flags 'm' are not supported, only i and s"),
        (r"\h+", r"\\h means different things"),
    ],
)
def test_what_cannot_be_matched_exactly_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        compile_pattern(expression)
    assert repr(expression) in str(caught.value)


@pytest.mark.parametrize("expression", ["(" * 10**5, "(?:" * 3000 + "a" + ")" * 3000, r"\x{" + "9" * 5000 + "}"])
def test_a_long_pattern_is_refused_in_a_short_line(expression: str) -> None:
    with pytest.raises(ValueError, match=r"no regular expression that can be read|is no code point") as caught:
        compile_pattern(expression)
    assert len(str(caught.value)) < 500
