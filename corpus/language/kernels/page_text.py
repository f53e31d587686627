"""The long lines of text of an HTML page, read from its bytes without a tree.

In: the bytes of a page in UTF-8. Out: its text in lines, without short lines, of which menus are made.

The end of markup is searched for in blocks of 64 bytes, and text is copied byte by byte. White space becomes one space,
and character references become UTF-8. Inline tags leave no trace; all other tags end a line. Markup is read as the
tokenizer of the HTML standard reads it (WHATWG HTML, section 13.2.5), in those parts that real pages use: quoted
attributes, comments, raw text up to its own end tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bpe.kernels.memory import GOLDEN, load8, load64, store8, trailing_zeros
from corpus.language.kernels import kernel

OTHER, INLINE, SKIPPED, FOREIGN, BODY = 0, 1, 2, 3, 4  # kinds of tags; all but INLINE end a line
_BLOCK = 64
_SLOTS = 1024  # slots of a table, which has at most a fourth as many names
_SLOT_SHIFT = 64 - 10
_LONGEST_NAME = 8  # longest name that a table can hold, in bytes
_LONGEST_REFERENCE = 12  # longest character reference, from & to ;, in bytes

_NUL, _TAB, _NEWLINE, _SPACE, _QUOTE, _HASH, _AND, _APOSTROPHE = 0, 9, 10, 32, 34, 35, 38, 39
_MINUS, _SLASH, _0, _SEMICOLON, _LESS, _EQUALS, _GREATER, _BANG, _QUESTION = 45, 47, 48, 59, 60, 61, 62, 33, 63
_ESCAPE, _NO_BREAK_SPACE, _SOFT_HYPHEN = 0x1B, 0xA0, 0xAD


def table(entries: Iterable[tuple[str, int]]) -> np.ndarray[Any, Any]:
    """The table in which `_look_up` finds the number of a name: int64 of shape (slots, 2), as an open hash table.

    `entries` are names of at most 8 ASCII characters with their numbers, which are above 0.
    """
    slots = np.zeros((_SLOTS, 2), np.int64)
    for name, value in entries:
        key = int.from_bytes(name.encode("ascii"), "little", signed=True)
        slot = ((key * GOLDEN) % 2**64) >> _SLOT_SHIFT
        while slots[slot, 0]:
            slot = (slot + 1) % _SLOTS
        slots[slot] = key, value
    return slots


def _marks(typing_context: Any, address: Any, one: Any, two: Any, three: Any) -> Any:
    """An int64 with a bit for each of the 64 bytes at an address: 1 where the byte is `one`, `two` or `three`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8)
        lanes = ir.VectorType(byte, _BLOCK)
        text = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)
        mask = None
        for argument in arguments[1:]:
            first = builder.insert_element(
                ir.Constant(lanes, ir.Undefined), builder.trunc(argument, byte), ir.IntType(32)(0)
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), _BLOCK), [0] * _BLOCK)
            equal = builder.icmp_unsigned("==", text, builder.shuffle_vector(first, first, zeros))
            mask = equal if mask is None else builder.or_(mask, equal)
        return builder.bitcast(mask, ir.IntType(_BLOCK))

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


marks: Callable[[int, int, int, int], int] = cast(Any, intrinsic(_marks))


@kernel
def _find(p: int, end: int, one: int, two: int, three: int) -> int:
    """The address of the first byte from p on that is `one`, `two` or `three`; `end` if no byte is."""
    while p + _BLOCK <= end:
        mask = marks(p, one, two, three)
        if mask != 0:
            return p + trailing_zeros(mask)
        p += _BLOCK
    while p < end:
        b = load8(p)
        if b in (one, two, three):
            return p
        p += 1
    return end


@kernel
def _look_up(names: int, key: int) -> int:
    """The number of a name in the table at the address `names`; 0 if the table lacks it, and for the key 0."""
    slot = (key * GOLDEN) >> _SLOT_SHIFT & (_SLOTS - 1)
    while True:
        here = load64(names + 16 * slot)
        if here == key or here == 0:
            return load64(names + 16 * slot + 8)
        slot = (slot + 1) % _SLOTS


@kernel
def _is_letter(b: int) -> bool:
    return 97 <= (b | 32) <= 122


@kernel
def _is_space(b: int) -> bool:
    return b in (_SPACE, _TAB, _NEWLINE, 12, 13)


@kernel
def _name_end(p: int, end: int) -> int:
    """The address at which the tag name at p ends."""
    while p < end:
        b = load8(p)
        if b in (_GREATER, _SLASH) or _is_space(b):
            return p
        p += 1
    return end


@kernel
def _as_key(p: int, end: int) -> int:
    """The bytes from p to `end` as the key of a table; 0 if there are more than 8, or one of them is NUL."""
    if end - p > _LONGEST_NAME:
        return 0
    key = 0
    for i in range(end - p):
        b = load8(p + i)
        if b == _NUL:
            return 0
        key |= b << (8 * i)
    return key


@kernel
def _name(p: int, end: int) -> int:
    """The bytes from p to `end` as the key of a table, with small letters for capital letters."""
    key = _as_key(p, end)
    for i in range(_LONGEST_NAME):
        b = key >> (8 * i) & 0xFF
        if 65 <= b <= 90:
            key |= 32 << (8 * i)
    return key


@kernel
def _tag_end(p: int, end: int) -> int:
    """The address behind the > of a tag; p is behind its name. A > in quotes that follow a = does not end the tag."""
    begin = p
    while True:
        p = _find(p, end, _GREATER, _QUOTE, _APOSTROPHE)
        if p >= end:
            return end
        quote = load8(p)
        p += 1
        if quote == _GREATER:
            return p
        before = p - 2
        while before >= begin and _is_space(load8(before)):
            before -= 1
        if before >= begin and load8(before) == _EQUALS:
            p = _find(p, end, quote, quote, quote) + 1


@kernel
def _raw_end(p: int, end: int, name: int) -> int:
    """The address at which the end tag of this name begins; `end` if there is none."""
    while True:
        p = _find(p, end, _LESS, _LESS, _LESS)
        if p >= end:
            return end
        if p + 1 < end and load8(p + 1) == _SLASH and _name(p + 2, _name_end(p + 2, min(end, p + 11))) == name:
            return p
        p += 1


@kernel
def _comment_end(p: int, end: int) -> int:
    """The address behind the comment whose <!-- begins at p."""
    q = p + 4
    while True:
        q = _find(q, end, _GREATER, _GREATER, _GREATER)
        if q >= end:
            return end
        if load8(q - 1) == _MINUS and load8(q - 2) == _MINUS:
            return q + 1
        q += 1


@kernel
def _number(p: int, end: int) -> int:
    """The code point of a numeric reference, with its digits from p to `end`; -1 if they are no number."""
    base = 10
    if p < end and load8(p) | 32 == 120:
        base = 16
        p += 1
    if p >= end:
        return -1
    value = 0
    while p < end:
        b = load8(p)
        digit = b - _0 if b <= 57 else (b | 32) - 87
        if not (0 <= digit < base) or 57 < b < 65:
            return -1
        value = min(value * base + digit, 0x110000)
        p += 1
    return value


@kernel
def _reference(p: int, end: int, entities: int) -> tuple[int, int]:
    """(code point, address of the next character) of the reference at p; the code of & if there is no reference."""
    semicolon = p + 1
    last = min(end, p + _LONGEST_REFERENCE)
    while semicolon < last and load8(semicolon) != _SEMICOLON:
        semicolon += 1
    if semicolon >= last:
        return _AND, p + 1
    if load8(p + 1) == _HASH:
        code = _number(p + 2, semicolon)
    else:
        code = _look_up(entities, _as_key(p + 1, semicolon)) - 1
    if code < 0:
        return _AND, p + 1
    if code < _SPACE or 0x7F <= code <= _NO_BREAK_SPACE or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        code = _SPACE
    return code, semicolon + 1


@kernel
def _write(code: int, o: int) -> int:
    """Write a code point as UTF-8 at o. Returns the address behind it."""
    if code < 0x80:
        store8(o, code)
        return o + 1
    if code < 0x800:
        store8(o, 0xC0 | code >> 6)
        store8(o + 1, 0x80 | code & 0x3F)
        return o + 2
    if code < 0x10000:
        store8(o, 0xE0 | code >> 12)
        store8(o + 1, 0x80 | code >> 6 & 0x3F)
        store8(o + 2, 0x80 | code & 0x3F)
        return o + 3
    store8(o, 0xF0 | code >> 18)
    store8(o + 1, 0x80 | code >> 12 & 0x3F)
    store8(o + 2, 0x80 | code >> 6 & 0x3F)
    store8(o + 3, 0x80 | code & 0x3F)
    return o + 4


@kernel
def _markup(p: int, end: int, tags: int) -> tuple[int, int]:
    """(address behind the markup, kind of tag) of the markup that begins with the < at p; (p, INLINE) if it is text.

    Comments and other markup that is no tag have the kind INLINE. End tags are INLINE or OTHER.
    """
    after = load8(p + 1) if p + 1 < end else _NUL
    if after == _BANG and p + 4 <= end and load8(p + 2) == _MINUS and load8(p + 3) == _MINUS:
        return _comment_end(p, end), INLINE
    name = p + 2 if after == _SLASH else p + 1
    if name < end and _is_letter(load8(name)):
        name_end = _name_end(name, end)
        key = _name(name, name_end)
        kind = _look_up(tags, key)
        p = _tag_end(name_end, end)
        if after == _SLASH:
            return p, INLINE if kind == INLINE else OTHER
        if kind == SKIPPED or (kind == FOREIGN and load8(p - 2) != _SLASH):
            p = _raw_end(p, end, key)
        return p, kind
    if after in (_BANG, _QUESTION, _SLASH):
        return min(_find(p + 2, end, _GREATER, _GREATER, _GREATER) + 1, end), INLINE
    return p, INLINE


@kernel
def _find_body(p: int, end: int, tags: int) -> int:
    """The address at which the <body> tag begins, `end` if there is none."""
    while True:
        p = _find(p, end, _LESS, _LESS, _LESS)
        if p >= end:
            return end
        following, kind = _markup(p, end, tags)
        if kind == BODY:
            return p
        p = max(following, p + 1)


@kernel
def long_lines(
    p: int, end: int, tags: int, entities: int, out: int, out_end: int, line_chars: int, max_chars: int
) -> int:
    """Write the lines of at least `line_chars` characters, each with a newline. Returns the number of bytes.

    p, end         addresses of the first byte of the page, and behind its last
    tags           address of the `table` of the kinds of tags
    entities       address of the `table` of named character references: code point plus 1
    out, out_end   addresses of the room to write to. 4 * (`max_chars` + `line_chars`) + 8 bytes are enough for valid
                   UTF-8; writing stops in time where invalid bytes take more
    max_chars      writing stops behind so many characters

    Text before a <body> is a remark of the server, such as a warning of PHP. It counts only if there is no <body>.
    """
    o = line = out  # where the next byte goes; where its line begins
    total = in_line = 0  # characters of finished lines; characters of this line
    space = in_body = False
    while p < end:
        enough = total >= max_chars or (in_line >= line_chars and total + in_line >= max_chars)
        if o + 8 > out_end or (enough and load8(p) & 0xC0 != 0x80):  # not within a character
            if not in_body:
                p = _find_body(p, end, tags)
            if in_body or p == end:
                break
        b = load8(p)
        following = p + 1
        if b == _LESS:
            following, kind = _markup(p, end, tags)
            if following > p:
                p = following
                if kind == BODY and not in_body:
                    o = line = out
                    total = in_line = 0
                    in_body = True
                elif kind != INLINE:
                    if in_line >= line_chars:
                        store8(o, _NEWLINE)
                        line = o + 1
                        total += in_line
                    o = line
                    in_line = 0
                    space = False
                continue
            following = p + 1
        elif b == _AND:
            b, following = _reference(p, end, entities)
        elif b < _SPACE and b != _ESCAPE:  # an escape is kept: it shows that this only looks like ASCII
            b = _SPACE
        if b == _SPACE:
            space = True
        elif following == p + 1 and b & 0xC0 == 0x80:  # a continuation byte of a character
            store8(o, b)
            o += 1
        elif b != _SOFT_HYPHEN or following == p + 1:
            if space and in_line > 0:
                store8(o, _SPACE)
                o += 1
                in_line += 1
            space = False
            in_line += 1
            if following == p + 1:
                store8(o, b)
                o += 1
            else:
                o = _write(b, o)
        p = following
    if in_line >= line_chars:
        store8(o, _NEWLINE)
        return o + 1 - out
    return line - out
