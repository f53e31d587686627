"""The split rules over 64 bytes of ASCII at once: bits say where pretokens start.

In ASCII text the neighbouring characters nearly always decide where a pretoken starts. So each class of characters
becomes a number with a bit for each of 64 bytes. Shifts of these numbers take the place of the scanners (`scan`):
about 2.8 GB/s on English where a scanner reaches 0.15.

A block starts where a pretoken starts, so it needs nothing from the block before it. It ends before the first byte
that is not ASCII. Starts that depend on what follows the block are left out: the next block begins at the last start
that was found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bpe.kernels import kernel
from bpe.kernels.memory import trailing_zeros
from bpe.kernels.scan import contraction

BLOCK = 64  # bytes


def _classify(typing_context: Any, address: Any) -> Any:
    """Eight numbers for the BLOCK bytes at an address: the fields of `Block`, then the bytes that are not ASCII."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        lanes, word = ir.VectorType(ir.IntType(8), BLOCK), ir.IntType(BLOCK)
        text = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)

        def each(value: int) -> Any:
            return ir.Constant(lanes, [value] * BLOCK)

        def among(first: int, count: int, values: Any = text) -> Any:
            return builder.icmp_unsigned("<", builder.sub(values, each(first)), each(count))

        classes = [
            among(0x61, 26, builder.or_(text, each(0x20))),
            among(0x41, 26),
            among(0x30, 10),
            builder.or_(among(0x09, 5), among(0x20, 1)),
            builder.or_(among(0x0A, 1), among(0x0D, 1)),
            among(0x20, 1),
            among(0x27, 1),
            among(0x80, 0x80),
        ]
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(bits, word) for bits in classes])

    eight: Any = types.UniTuple(types.int64, 8)  # type: ignore[no-untyped-call]
    return eight(types.int64), generate


classify: Callable[[int], tuple[int, ...]] = cast(Any, intrinsic(_classify))


class Block(NamedTuple):
    """Bit i of a field says whether byte i is in the class. A symbol is no letter, number or white space."""

    letters: int
    upper: int
    numbers: int
    spaces: int
    newlines: int
    blanks: int  # U+0020 alone
    quotes: int  # the apostrophe


@kernel
def starts_gpt2(p: int, size: int, b: Block) -> int:
    """The bits where a pretoken starts in the `size` ASCII bytes at p, where one starts too, by the rule gpt2.

    Bit 0 and the bits from `size` on are meaningless.
    """
    symbols = ~(b.letters | b.numbers | b.spaces)
    starts = b.letters & ~(b.letters << 1) | b.numbers & ~(b.numbers << 1) | symbols & ~(symbols << 1)
    starts &= ~(b.blanks << 1)
    starts |= b.spaces & ~(b.spaces << 1)
    starts |= b.spaces & ~(b.spaces >> 1) & ~(1 << (size - 1))  # the last of several goes with what follows
    quotes = b.quotes & ~((symbols | b.blanks) << 1)
    if quotes:
        within, after = _contractions(p, size, quotes, False, False)
        starts = starts & ~within | after
    return starts


@kernel
def starts_cl100k(p: int, size: int, b: Block) -> int:
    """As `starts_gpt2`, by the rule cl100k."""
    symbols = ~(b.letters | b.numbers | b.spaces)
    starts = _starts_in_common(size, b, symbols, _attached_newlines(b, symbols))
    quotes = b.quotes & ~((symbols | b.blanks) << 1)
    if quotes:
        within, after = _contractions(p, size, quotes, True, False)
        starts = starts & ~within | after
    return starts


@kernel
def starts_o200k(p: int, size: int, b: Block) -> int:
    """As `starts_gpt2`, by the rule o200k."""
    symbols = ~(b.letters | b.numbers | b.spaces)
    attached = _attached_newlines(b, symbols)
    starts = _starts_in_common(size, b, symbols, attached)
    starts |= b.upper & (b.letters & ~b.upper) << 1
    quotes = b.quotes & b.letters << 1
    if quotes:
        within, after = _contractions(p, size, quotes, True, True)
        starts = starts & ~within | after
    symbols_after = symbols & attached << 1
    if symbols_after:  # a slash there belongs to the symbols before the newlines too: the scanner decides
        starts &= (symbols_after & -symbols_after) - 1
    return starts


@kernel
def _attached_newlines(b: Block, symbols: int) -> int:
    """The newlines that follow symbols directly and belong to their pretoken (cl100k, o200k)."""
    # Adding a bit to the first bit of a run of ones clears the run.
    return b.newlines & ~(b.newlines + (b.newlines & symbols << 1))


@kernel
def _starts_in_common(size: int, b: Block, symbols: int, attached: int) -> int:
    """The starts on which cl100k and o200k agree; `attached` as `_attached_newlines` gives it."""
    # A letter takes one character before it along, unless that is a number, a newline, or in a run of symbols.
    starts = b.letters & ~(b.letters << 1)
    starts &= (b.numbers | b.newlines) << 1 | (symbols << 1 & (symbols | b.blanks) << 2)
    starts |= symbols & ~((symbols | b.blanks) << 1)
    starts |= b.numbers & ~(b.numbers << 1)
    third = starts & b.numbers
    while third:
        third = third << 3 & b.numbers << 2 & b.numbers << 1 & b.numbers
        starts |= third
    spaces = b.spaces & ~attached
    starts |= spaces & ~(spaces << 1)
    indents = b.spaces & ~b.newlines
    starts |= indents & ~(b.spaces >> 1) & ~(1 << (size - 1))
    # White space up to its last newline is one pretoken: an indent starts one if no newline follows in its run.
    after_newline = indents & b.newlines << 1
    while after_newline:
        i = trailing_zeros(after_newline)
        after_newline &= after_newline - 1
        end = i + trailing_zeros(~(indents >> i))
        if end < size and b.newlines >> end & 1 == 0:
            starts |= 1 << i
    return starts


@kernel
def _contractions(p: int, size: int, quotes: int, any_case: bool, suffix: bool) -> tuple[int, int]:
    """(bits where no pretoken starts, bits where one does) around the apostrophes that may start a contraction.

    With `suffix`, a contraction belongs to the word before it (o200k). Where the block ends before a contraction can
    be told, no pretoken starts from there on.
    """
    within = after = 0
    while quotes:
        i = trailing_zeros(quotes)
        quotes &= quotes - 1
        first = i if suffix else i + 1
        if i + 3 > size:
            within |= -1 << first if first < BLOCK else 0
            break
        if suffix and after >> i & 1:
            continue  # the word before it has a contraction already
        n = contraction(p + i, p + size, any_case)
        if n:
            within |= ((1 << (i + n - first)) - 1) << first
            if i + n < BLOCK:
                after |= 1 << (i + n)
    return within, after
