"""The split rules, a character at a time: where the pretoken that starts at an address ends.

Each named rule is a hand-written scanner for its regular expression in `bpe.patterns`. A character's classes are read
from the table of `bpe.unicode`. A byte that is not part of valid UTF-8 counts as a character of its own, of no class;
no scanner reads at or past `end`.
"""

from __future__ import annotations

from bpe.kernels import kernel
from bpe.kernels.memory import load8, load16, load32, load64, store64
from bpe.unicode import LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER

# Schemes. `bpe.patterns.scheme` gives the number of a named rule; BY_REGEX is for ends that `bpe.regex_split` found.
GPT2, CL100K, O200K, BY_REGEX = 0, 1, 2, 3


@kernel
def _peek(p: int, end: int, classes: int) -> int:
    """The character at p < end: its classes in the low 8 bits, its length in bytes above them."""
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
    """The end of the run of characters from p on that are in one of the `wanted` classes."""
    while p < end:
        c = _peek(p, end, classes)
        if c & wanted == 0:
            break
        p += c >> 8
    return p


@kernel
def _skip_symbols(p: int, end: int, classes: int) -> int:
    r"""The end of [^\s\p{L}\p{N}]* at p."""
    while p < end:
        c = _peek(p, end, classes)
        if c & (LETTER | NUMBER | SPACE):
            break
        p += c >> 8
    return p


@kernel
def _skip_three_numbers(p: int, end: int, classes: int) -> int:
    r"""The end of \p{N}{1,3} at p, where a number is known to stand."""
    for _ in range(3):
        if p < end:
            c = _peek(p, end, classes)
            if c & NUMBER == 0:
                break
            p += c >> 8
    return p


@kernel
def contraction(p: int, end: int, any_case: bool) -> int:
    """The length of 's 'd 'm 't 'll 've 're at p, or 0. With `any_case`, U+017F (long s) counts as an s too."""
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
    r"""The end of the pretoken of white space at p: the last alternatives of each rule's expression.

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
    if q == end and (scheme != O200K or after_newline == 0):
        return q
    if scheme != GPT2 and after_newline:
        return after_newline
    return last if last > p and q < end else q


@kernel
def _next_gpt2(p: int, end: int, classes: int) -> int:
    """The end of the pretoken at p < end by the rule gpt2."""
    n = contraction(p, end, False)
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
    return _white_space(p, end, classes, GPT2)


@kernel
def _next_cl100k(p: int, end: int, classes: int) -> int:
    """The end of the pretoken at p < end by the rule cl100k."""
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & LETTER:
        return _skip(q, end, classes, LETTER)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, CL100K)
    n = contraction(p, end, True)
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
    return _white_space(p, end, classes, CL100K)


@kernel
def _word_o200k(p: int, end: int, classes: int) -> int:
    """The end of UPPER* LOWER+ at p as a backtracking engine finds it; 0 if nothing matches.

    Modifier letters, other letters and marks are in both classes. If a lower-case letter follows the longest UPPER*,
    LOWER+ starts there. Otherwise UPPER* gives characters back until its last one is in LOWER too.
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
    """The end of the pretoken at p < end by the rule o200k."""
    c = _peek(p, end, classes)
    q = p + (c >> 8)
    if c & NUMBER:
        return _skip_three_numbers(p, end, classes)
    if c & NEWLINE:
        return _white_space(p, end, classes, O200K)
    start = p if c & LETTER else q
    word = _word_o200k(start, end, classes)
    if word == 0 and c & UPPER and c & LETTER == 0:
        word = q  # a mark before anything but a letter or a mark matches LOWER+ by itself
    if word == 0:
        word = _skip(start, end, classes, UPPER)
    if word > start or (word == q and c & UPPER):
        return word + contraction(word, end, True)
    following = _peek(q, end, classes) if q < end else SPACE
    if c & SPACE == 0 or (load8(p) == 0x20 and following & (LETTER | NUMBER | SPACE) == 0):
        q = _skip_symbols(q, end, classes)
        while q < end and (load8(q) == 0x0A or load8(q) == 0x0D or load8(q) == 0x2F):
            q += 1
        return q
    return _white_space(p, end, classes, O200K)


@kernel
def next_boundary(scheme: int, p: int, end: int, classes: int) -> int:
    """The end of the pretoken that starts at address p < end; always above p.

    `classes` is the address of the table of character classes, or for BY_REGEX that of `bpe.regex_split.regex_table`:
    int64 values, namely the address of the text, how many ends have been read so far (updated here), and the ends in
    bytes from the start of the text.
    """
    if scheme == GPT2:
        return _next_gpt2(p, end, classes)
    if scheme == CL100K:
        return _next_cl100k(p, end, classes)
    if scheme == O200K:
        return _next_o200k(p, end, classes)
    used = load64(classes + 8)
    store64(classes + 8, used + 1)
    return load64(classes) + load64(classes + 16 + 8 * used)
