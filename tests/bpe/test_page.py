"""Tokens made visible, on a terminal and as a web page."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import lxml.html
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpe.colours import coloured, coloured_ids, pieces, visible
from bpe.encode import Encoder
from bpe.page import Column, origins, page
from bpe.vocabulary import BYTE_ORDER, Vocabulary
from tests.oracles import bpe_naive
from tests.support.bpe_texts import texts

BYTES = tuple(bytes([byte]) for byte in BYTE_ORDER)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_what_does_not_print_as_itself_is_marked() -> None:
    shown = {
        b" the": [(" the", False)],
        b"a\nb": [("a", False), ("↵\n", True), ("b", False)],
        b"\r\n": [("␍↵\n", True)],
        b"\t": [("→\t", True)],
        b"\xe4\xb8": [("\\xE4\\xB8", True)],
        b"x\xff": [("x", False), ("\\xFF", True)],
        b"\x1b[31m": [("\\u001b", True), ("[31m", False)],  # else a text could repaint the terminal
        "\u202eabc".encode(): [("\\u202e", True), ("abc", False)],  # or turn the line around
        "\u00a0".encode(): [("\\u00a0", True)],
        "\U000e0041".encode(): [("\\U000e0041", True)],
        "\u0301".encode(): [("◌", True), ("\u0301", False)],  # an accent that would climb onto the token before
        "字".encode(): [("字", False)],
    }
    assert {token: list(pieces(token)) for token in shown} == shown
    assert visible(b"a\n\tb") == "a↵→b"


@given(st.lists(st.binary(max_size=8), max_size=20))
@example([b"a\n\nb", b"\n"])
def test_neighbours_have_different_backgrounds_and_no_colour_crosses_a_line(tokens: list[bytes]) -> None:
    shown = coloured(tokens)
    assert ESCAPE.sub("", shown) == "".join(text for token in tokens for text, _ in pieces(token))
    for line in shown.split("\n"):
        codes = ESCAPE.findall(line)
        assert [code == "\x1b[0m" for code in codes] == [False, True] * (len(codes) // 2)
    backgrounds = [re.findall(r"48;5;(\d+)m", coloured([b"-"] * i + [b"x"]))[-1] for i in range(14)]
    assert all(one != other for one, other in pairwise(backgrounds))
    assert ESCAPE.sub("", coloured_ids([7, 0, 12])) == "7 0 12"


@given(st.lists(st.binary(min_size=2, max_size=5).map(lambda token: bytes(b"abc"[byte % 3] for byte in token))))
def test_parents_are_what_the_token_is_just_before_the_last_merge(made: list[bytes]) -> None:
    vocabulary = Vocabulary((*BYTES, *dict.fromkeys(made)), "gpt2", {})
    origin = origins(vocabulary)
    for token_id in range(256, len(vocabulary.tokens)):
        before = Vocabulary(vocabulary.tokens[:token_id], "gpt2", {})
        parts = bpe_naive.encode(vocabulary.tokens[token_id], before)
        assert origin(token_id) == (token_id, tuple(parts) if len(parts) == 2 else None)
    assert origin(0) == (0, None)


def test_rank_and_parents_with_a_list_of_merges() -> None:
    merges = ((BYTE_ORDER.index(b"b"), BYTE_ORDER.index(b"c")), (BYTE_ORDER.index(b"a"), 257))
    vocabulary = Vocabulary((*BYTES, b"ab", b"bc", b"abc"), "gpt2", {"<|end|>": 300}, merges)
    origin = origins(vocabulary)
    assert origin(257) == (0, merges[0])
    assert origin(258) == (1, merges[1])
    assert [origin(token_id) for token_id in (0, 256, 300)] == [(None, None)] * 3


@pytest.fixture(scope="module")
def encoder(small: Vocabulary) -> Encoder:
    return Encoder(small)


def written(vocabulary: Vocabulary, ids: list[int]) -> str:
    return "".join(text for token_id in ids for text, _ in pieces(vocabulary.token_bytes(token_id)))


def column_of(encoder: Encoder, text: str) -> tuple[Any, Column]:
    """The page's own column, parsed, and what it was made from."""
    column = Column("one", encoder.vocabulary, encoder.encode(text).tolist())
    return lxml.html.document_fromstring(page([column])), column


@given(texts)
@example("<script>alert(1)</script> </pre> &amp; ]]> \" ' <!-- </script>")
@example("\n\nlines\n")
@example("")
def test_the_page_holds_every_token_and_no_text_of_it_becomes_markup(encoder: Encoder, text: str) -> None:
    root, column = column_of(encoder, text)
    tokens = root.findall(".//pre/i")
    assert "".join(token.text_content() for token in tokens) == written(encoder.vocabulary, column.ids)
    assert {element.tag for element in root.find(".//pre").iterdescendants()} <= {"i", "s"}
    facts = json.loads(root.findall(".//script")[0].text)
    assert [facts[int(token.get("data-n"))][1] for token in tokens] == column.ids
    assert len(root.findall(".//script")) == 2


def test_a_token_tells_id_rank_bytes_parents_and_how_often_it_is_there(encoder: Encoder) -> None:
    root, _ = column_of(encoder, "the cat the")
    vocabulary = encoder.vocabulary
    (the,) = (fact for fact in json.loads(root.find(".//script").text) if fact[0] == " the")
    token_id = vocabulary.tokens.index(b" the")
    shown, number, _, hexadecimal, escaped, parents, times = the
    assert (shown, number, hexadecimal, escaped, times) == (" the", token_id, "20 74 68 65", "b' the'", 1)
    assert "".join(parent for parent, _ in parents) == " the"
    assert [vocabulary.tokens[parent_id].decode() for _, parent_id in parents] == [parent for parent, _ in parents]


def test_columns_stand_side_by_side_with_their_figures(encoder: Encoder) -> None:
    bytes_alone = Vocabulary(BYTES, "gpt2", {})
    text = "the whole text"
    columns = [Column("a & b", encoder.vocabulary, encoder.encode(text).tolist())]
    columns.append(Column("bytes", bytes_alone, Encoder(bytes_alone).encode(text).tolist()))
    root = lxml.html.document_fromstring(page(columns))
    assert [heading.text_content() for heading in root.iterfind(".//h2")] == ["a & b", "bytes"]
    assert "14 tokens" in root.findall(".//header")[1].text_content()
    assert "1.00 bytes a token" in root.findall(".//header")[1].text_content()


def test_the_page_needs_nothing_from_elsewhere(encoder: Encoder) -> None:
    content = page([Column("one", encoder.vocabulary, encoder.encode("a").tolist())])
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|src=|href=", content)
    assert "prefers-color-scheme: dark" in content
