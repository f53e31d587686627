"""The tables of folded and of plain words: every code point, against the slow twin and Python."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from corpus.text.fold import PUNCTUATION, CharacterTable, fold_table, plain_table
from corpus.text.kernels import words as kernels
from tests.oracles import dedup_signatures as oracle

CODES = [*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0x110000, 17)]


def words_of(code: int, table: CharacterTable) -> list[str]:
    """The words that a table makes of a code point between x and y."""
    kind, value = divmod(int(table.entries[code]), 1 << kernels.KIND)
    if kind == kernels.SEVERAL:
        count, *entries = table.several[value].tolist()
        parts = [divmod(entry, 1 << kernels.KIND) for entry in entries[:count]]
    else:
        written = {kernels.BLANK: ord(" "), kernels.NUMBER: ord("0")}
        parts = [] if kind == kernels.MARK else [(kind, written.get(kind, value))]
    assert all((kind == kernels.UNSPACED) == oracle.is_unspaced(chr(value)) for kind, value in parts)
    return oracle.cut("".join(map(chr, [ord("x"), *(value for _, value in parts), ord("y")])).split())


def test_every_code_point_is_folded_as_the_slow_twin_does() -> None:
    for code in CODES:
        assert oracle.folded_words(f"x{chr(code)}y") == words_of(code, fold_table()), hex(code)


def test_every_code_point_is_lowered_as_python_does() -> None:
    for code in CODES:
        assert oracle.plain_words(f"x{chr(code)}y") == words_of(code, plain_table()), hex(code)
        assert chr(code).lower() == "".join(c.lower() for c in chr(code))


@pytest.mark.parametrize("make", [fold_table, plain_table])
def test_no_character_makes_more_bytes_or_words_than_there_is_room_for(make: Callable[[], CharacterTable]) -> None:
    table = make()

    def most(entry: int) -> tuple[int, int]:
        """(bytes, words of scripts without spaces) of one entry, after ideographs of four bytes."""
        kind, value = divmod(entry, 1 << kernels.KIND)
        if kind == kernels.UNSPACED:
            return 2 + 4 * (kernels.RUN - 1) + len(chr(value).encode()), 1
        return (len(chr(value).encode()), 0) if kind == kernels.ORDINARY else (1, 0)

    for code in CODES:
        kind, value = divmod(int(table.entries[code]), 1 << kernels.KIND)
        entries = [kind << kernels.KIND | value]
        if kind == kernels.SEVERAL:
            entries = table.several[value, 1 : 1 + table.several[value, 0]].tolist()
        written, words = map(sum, zip(*map(most, entries), strict=True))
        size = len(chr(code).encode())
        assert written <= kernels.GROWTH * size
        assert words <= size // 2


def test_ascii_outside_words_is_all_of_punctuation() -> None:
    # What lets 64 characters be folded by comparisons, without the table.
    assert set(string.punctuation) <= set(PUNCTUATION)
