"""The split rules: where one pretoken ends and the next begins.

UTF-8 that is not valid is read as characters of no class, one byte each, and never past `end`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bpe.kernels import kernel
from bpe.kernels.memory import load8, load16, load32, load64, prefetch, store64, trailing_zeros
from bpe.unicode import LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER

GIVEN = 3  # the scheme number of ends that were found outside, by a regular expression


@kernel
def _peek(p: int, end: int, classes: int) -> int:
    """The class of the character at p < end, and above it (<< 8) its length in bytes."""
    lead = load8(p)
    if lead < 0x80:
        return load8(classes + lead) | 0x100
    if lead >= 0xE0:
        if lead < 0xF0:
            if p + 3 <= end and load16(p + 1) & 0xC0C0 == 0x8080:
                code = (lead & 0x0F) << 12 | (load8(p + 1) & 0x3F) << 6 | load8(p + 2) & 0x3F
                if code >= 0x800 and code & 0xF800 != 0xD800:
                    return load8(classes + code) | 0x300
        elif p + 4 <= end and load32(p) & 0xC0C0C000 == 0x80808000:
            code = (lead & 0x07) << 18 | (load8(p + 1) & 0x3F) << 12
            code |= (load8(p + 2) & 0x3F) << 6 | load8(p + 3) & 0x3F
            if lead < 0xF8 and 0x10000 <= code < 0x110000:
                return load8(classes + code) | 0x400
    elif lead >= 0xC2 and p + 2 <= end and load8(p + 1) & 0xC0 == 0x80:
        return load8(classes + ((lead & 0x1F) << 6 | load8(p + 1) & 0x3F)) | 0x200
    return 0x100  # not UTF-8


@kernel
def _skip(p: int, end: int, classes: int, wanted: int) -> int:
    """Past the characters that are in one of the `wanted` classes."""
    while p < end:
        c = _peek(p, end, classes)
        if c & wanted == 0:
            break
        p += c >> 8
    return p


@kernel
def _skip_symbols(p: int, end: int, classes: int) -> int:
    r"""Past [^\s\p{L}\p{N}]*."""
    while p < end:
        c = _peek(p, end, classes)
        if c & (LETTER | NUMBER | SPACE):
            break
        p += c >> 8
    return p


@kernel
def _skip_three_numbers(p: int, end: int, classes: int) -> int:
    r"""Past \p{N}{1,3}, of which the first is at p."""
    for _ in range(3):
        if p < end:
            c = _peek(p, end, classes)
            if c & NUMBER == 0:
                break
            p += c >> 8
    return p


@kernel
def _contraction(p: int, end: int, any_case: bool) -> int:
    """The length of 's 'd 'm 't 'll 've 're at p, or 0. In any case, s is also U+017F (long s), which folds to it."""
    if p + 1 >= end or load8(p) != 0x27:
        return 0
    fold = 0x20 if any_case else 0
    first = load8(p + 1) | fold
    if first == 0x73 or first == 0x64 or first == 0x6D or first == 0x74:
        return 2
    if p + 2 >= end:
        return 0
    second = load8(p + 2) | fold
    if first == 0x6C and second == 0x6C:
        return 3
    if (first == 0x76 or first == 0x72) and second == 0x65:
        return 3
    if any_case and load8(p + 1) == 0xC5 and load8(p + 2) == 0xBF:
        return 3
    return 0


@kernel
def _white_space(p: int, end: int, classes: int, scheme: int) -> int:
    r"""The end of the pretoken that starts with white space at p which no word or symbol takes along.

    gpt2    \s++$  |              \s+(?!\S)  |  \s
    cl100k  \s++$  |  \s*[\r\n]  |  \s+(?!\S)  |  \s
    o200k             \s*[\r\n]+ |  \s+(?!\S)  |  \s+
    """
    q, last, after_newline = p, p, 0
    while q < end:
        c = _peek(q, end, classes)
        if c & SPACE == 0:
            break
        last = q
        q += c >> 8
        if c & NEWLINE:
            after_newline = q
    if q == end and (scheme != 2 or after_newline == 0):
        return q
    if scheme != 0 and after_newline:
        return after_newline
    return last if last > p and q < end else q


@kernel
def _next_gpt2(p: int, end: int, classes: int) -> int:
    n = _contraction(p, end, False)
    if n:
        return p + n
    q = p + 1 if load8(p) == 0x20 and p + 1 < end else p
    c = _peek(q, end, classes)
    if c & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & NUMBER:
        return _skip(q, end, classes, NUMBER)
    if c & SPACE == 0:
        return _skip_symbols(q, end, classes)
    return _white_space(p, end, classes, 0)


@kernel
def _next_cl100k(p: int, end: int, classes: int) -> int:
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, 1)
    n = _contraction(p, end, True)
    if n:
        return p + n
    following = _peek(q, end, classes) if q < end else SPACE
    if following & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & SPACE == 0 or (load8(p) == 0x20 and following & (LETTER | NUMBER | SPACE) == 0):
        q = _skip_symbols(q, end, classes)
        while q < end and (load8(q) == 0x0A or load8(q) == 0x0D):
            q += 1
        return q
    return _white_space(p, end, classes, 1)


@kernel
def _word_o200k(p: int, end: int, classes: int) -> int:
    """The end of UPPER* LOWER+ at p, with what backtracking would find; 0 if there is none.

    Modifier and other letters and marks are in both classes. After the longest UPPER* either a lower-case letter
    follows, or UPPER* gives characters back until the last one that LOWER takes too.
    """
    after_both = 0
    while p < end:
        c = _peek(p, end, classes)
        if c & UPPER == 0:
            if c & LOWER:
                return _skip(p, end, classes, LOWER)
            break
        p += c >> 8
        if c & LOWER:
            after_both = p
    return after_both


@kernel
def _next_o200k(p: int, end: int, classes: int) -> int:
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, 2)
    start = p if c & LETTER else q
    word = _word_o200k(start, end, classes)
    if word == 0 and c & UPPER and c & LETTER == 0:
        word = q  # a mark that nothing follows is its own LOWER+
    if word == 0:
        word = _skip(start, end, classes, UPPER)
    if word > start or (word == q and c & UPPER):
        return word + _contraction(word, end, True)
    following = _peek(q, end, classes) if q < end else SPACE
    if c & SPACE == 0 or (load8(p) == 0x20 and following & (LETTER | NUMBER | SPACE) == 0):
        q = _skip_symbols(q, end, classes)
        while q < end and (load8(q) == 0x0A or load8(q) == 0x0D or load8(q) == 0x2F):
            q += 1
        return q
    return _white_space(p, end, classes, 2)


@kernel
def next_boundary(scheme: int, p: int, end: int, classes: int) -> int:
    """The end of the pretoken that starts at address p < end; always beyond p."""
    if scheme == 0:
        return _next_gpt2(p, end, classes)
    if scheme == 1:
        return _next_cl100k(p, end, classes)
    if scheme == 2:
        return _next_o200k(p, end, classes)
    given = load64(classes + 8)
    store64(classes + 8, given + 1)
    return load64(classes) + load64(classes + 16 + 8 * given)


# ---- Sixty-four bytes at once ----
#
# In ASCII text, where a pretoken starts can nearly always be told from the characters around, so that shifts of words
# with a bit for each of 64 characters take the place of the scanners above. A block starts where a pretoken starts, so
# that nothing is carried from block to block, and it ends before the first byte that is not ASCII. Starts that depend
# on what comes after the block are left out; the next block begins at the last start that was found. Where none was
# found, a scanner takes one pretoken.

BLOCK = 64


def _classify(typing_context: Any, address: Any) -> Any:
    """Letters, upper case, numbers, white space, newlines, blanks, apostrophes and not ASCII: 64 bits each."""

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
    """Bit i is set if byte i of the block is in the class. A number has no letter, a symbol is none of the others."""

    letters: int
    upper: int
    numbers: int
    spaces: int
    newlines: int
    blanks: int  # U+0020 alone
    quotes: int  # the apostrophe


@kernel
def _contractions(p: int, size: int, quotes: int, any_case: bool, suffix: bool) -> tuple[int, int]:
    """(bits where no pretoken starts, bits where one does) for the apostrophes that may start a contraction.

    A `suffix` belongs to the word before it (o200k). Where the block ends too early to tell, nothing starts after.
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
        n = _contraction(p + i, p + size, any_case)
        if n:
            within |= ((1 << (i + n - first)) - 1) << first
            if i + n < BLOCK:
                after |= 1 << (i + n)
    return within, after


@kernel
def _starts_gpt2(p: int, size: int, b: Block) -> int:
    """The bits of the first `size` characters at p where a pretoken starts; bit 0 and those from `size` on are void."""
    symbols = ~(b.letters | b.numbers | b.spaces)
    starts = b.letters & ~(b.letters << 1) | b.numbers & ~(b.numbers << 1) | symbols & ~(symbols << 1)
    starts &= ~(b.blanks << 1)
    starts |= b.spaces & ~(b.spaces << 1)
    starts |= b.spaces & ~(b.spaces >> 1) & ~(1 << (size - 1))  # the last of many goes with what follows
    quotes = b.quotes & ~((symbols | b.blanks) << 1)
    if quotes:
        within, after = _contractions(p, size, quotes, False, False)
        starts = starts & ~within | after
    return starts


@kernel
def _starts_of_both(size: int, b: Block, symbols: int, attached: int) -> int:
    """As `_starts_gpt2` for what cl100k and o200k have in common. `attached` newlines belong to the symbols before."""
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
    # White space up to its last newline is one pretoken. Is the newline before these the last?
    after_newline = indents & b.newlines << 1
    while after_newline:
        i = trailing_zeros(after_newline)
        after_newline &= after_newline - 1
        end = i + trailing_zeros(~(indents >> i))
        if end < size and b.newlines >> end & 1 == 0:
            starts |= 1 << i
    return starts


@kernel
def _starts_cl100k(p: int, size: int, b: Block) -> int:
    symbols = ~(b.letters | b.numbers | b.spaces)
    # Adding a bit to the first of a run of ones clears the run.
    attached = b.newlines & ~(b.newlines + (b.newlines & symbols << 1))
    starts = _starts_of_both(size, b, symbols, attached)
    quotes = b.quotes & ~((symbols | b.blanks) << 1)
    if quotes:
        within, after = _contractions(p, size, quotes, True, False)
        starts = starts & ~within | after
    return starts


@kernel
def _starts_o200k(p: int, size: int, b: Block) -> int:
    symbols = ~(b.letters | b.numbers | b.spaces)
    attached = b.newlines & ~(b.newlines + (b.newlines & symbols << 1))
    starts = _starts_of_both(size, b, symbols, attached)
    starts |= b.upper & (b.letters & ~b.upper) << 1
    quotes = b.quotes & b.letters << 1
    if quotes:
        within, after = _contractions(p, size, quotes, True, True)
        starts = starts & ~within | after
    more = symbols & attached << 1
    if more:  # a slash there belongs to the symbols before, too: left to the scanner
        starts &= (more & -more) - 1
    return starts


@kernel
def next_ends(scheme: int, p: int, end: int, classes: int, ends: int, capacity: int) -> int:
    """Write the ends of the pretokens from address p < end on to `ends` (int64 addresses); how many, 1 to `capacity`.

    The last of them is where to go on. `scheme` is a number of `patterns.scheme`, and `classes` its table of
    characters. For GIVEN, `classes` points to int64 values: the address of the text, how many ends have been taken
    so far (counted here), and then the ends, from the start of the text.
    """
    n = 0
    while p < end and n < capacity:
        if p + BLOCK <= end and scheme != GIVEN and load16(p) & 0x8080 == 0:
            if n + BLOCK > capacity and n > 0:
                break
            prefetch(p + 16 * BLOCK)  # text comes in bursts, which the processor does not see coming
            found = classify(p)
            size = trailing_zeros(found[7])
            block = Block(found[0], found[1], found[2], found[3], found[4], found[5], found[6])
            if scheme == 0:
                starts = _starts_gpt2(p, size, block)
            elif scheme == 1:
                starts = _starts_cl100k(p, size, block)
            else:
                starts = _starts_o200k(p, size, block)
            starts &= ~1
            if size < BLOCK:
                starts &= (1 << size) - 1
            if starts and n + BLOCK <= capacity:
                start = p
                while starts:
                    p = start + trailing_zeros(starts)
                    store64(ends + 8 * n, p)
                    n += 1
                    starts &= starts - 1
                continue
        p = next_boundary(scheme, p, end, classes)
        store64(ends + 8 * n, p)
        n += 1
    return n
