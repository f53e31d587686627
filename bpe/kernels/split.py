"""The split rules: where one pretoken ends and the next begins.

UTF-8 that is not valid is read as characters of no class, one byte each, and never past `end`.
"""

from __future__ import annotations

from bpe.kernels import kernel
from bpe.kernels.memory import load8, load64, store64
from bpe.unicode import LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER

GIVEN = 3  # the scheme number of ends that were found outside, by a regular expression


@kernel
def _peek(p: int, end: int, classes: int) -> int:
    """The class of the character at p < end, and above it (<< 8) its length in bytes."""
    lead = load8(p)
    if lead < 0x80:
        return load8(classes + lead) | 0x100
    if lead >= 0xC2:
        if lead < 0xE0:
            if p + 2 <= end:
                return load8(classes + ((lead & 0x1F) << 6 | load8(p + 1) & 0x3F)) | 0x200
        elif lead < 0xF0:
            if p + 3 <= end:
                code = (lead & 0x0F) << 12 | (load8(p + 1) & 0x3F) << 6 | load8(p + 2) & 0x3F
                return load8(classes + code) | 0x300
        elif p + 4 <= end:
            code = (lead & 0x07) << 18 | (load8(p + 1) & 0x3F) << 12
            code |= (load8(p + 2) & 0x3F) << 6 | load8(p + 3) & 0x3F
            if code < 0x110000:
                return load8(classes + code) | 0x400
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


@kernel
def next_ends(scheme: int, p: int, end: int, classes: int, ends: int, capacity: int) -> int:
    """Write the ends of the pretokens from address p < end on to `ends` (int64 addresses); how many, 1 to `capacity`.

    The last of them is where to go on. `scheme` is a number of `patterns.scheme`, and `classes` its table of
    characters. For GIVEN, `classes` points to int64 values: the address of the text, how many ends have been taken
    so far (counted here), and then the ends, from the start of the text.
    """
    n = 0
    while p < end and n < capacity:
        p = next_boundary(scheme, p, end, classes)
        store64(ends + 8 * n, p)
        n += 1
    return n
