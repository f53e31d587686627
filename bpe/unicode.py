"""Character classes of the split rules, pinned to Unicode 16.0.

The rules speak of letters, numbers, white space, upper and lower case. tiktoken 0.14 and Hugging Face tokenizers have
these from Unicode 16.0 (141,028 code points are letters), while Python's own tables change with the interpreter. A
vocabulary that is trained with one table and used with another splits text differently. So `unicode16.tsv` holds the
classes as ranges (first code point, last code point, category). They are expanded to one byte for each code point,
which a kernel reads at `table + code point`.

    python -m bpe.unicode > bpe/unicode16.tsv      rebuilds the file; needs the package unicodedata2 16.0.0
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import resources

import numpy as np
from numpy.typing import NDArray

VERSION = "16.0.0"
CODE_POINTS = 0x110000

# The bits of a code point's class. LETTER is \p{L}, NUMBER \p{N}, SPACE \s, NEWLINE [\r\n].
# UPPER is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and LOWER is [\p{Ll}\p{Lm}\p{Lo}\p{M}], the two word classes of o200k.
# The kernels are compiled with these values.
LETTER = 1
NUMBER = 2
SPACE = 4
NEWLINE = 8
UPPER = 16
LOWER = 32

_CATEGORY_CLASS = {
    "Lu": LETTER | UPPER,
    "Lt": LETTER | UPPER,
    "Ll": LETTER | LOWER,
    "Lm": LETTER | UPPER | LOWER,
    "Lo": LETTER | UPPER | LOWER,
    "M": UPPER | LOWER,
    "N": NUMBER,
}

# White_Space of PropList.txt, Unicode 16.0: 25 code points. (str.isspace has U+001C..U+001F too.)
_WHITE_SPACE = (
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)


@functools.cache
def class_table() -> NDArray[np.uint8]:
    """The class of every code point: shape (0x110000,), bits as above. All callers share the read-only array."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for first, last, category in _shipped():
        table[first : last + 1] = _CATEGORY_CLASS[category]
    table[list(_WHITE_SPACE)] = SPACE
    table[[0x0A, 0x0D]] = SPACE | NEWLINE
    table.flags.writeable = False
    return table


def category_table(category: str) -> NDArray[np.bool_]:
    """Flags of the code points in a category, shape (0x110000,): L, Lu, Lt, Ll, Lm, Lo, M, N, or s for white space."""
    table = np.zeros(CODE_POINTS, np.bool_)
    for first, last, shipped in _shipped():
        table[first : last + 1] = shipped == category or shipped[0] == category
    if category == "s":
        table[list(_WHITE_SPACE)] = True
    return table


def _shipped() -> Iterator[tuple[int, int, str]]:
    """The ranges in `unicode16.tsv`."""
    content = resources.files("bpe").joinpath("unicode16.tsv").read_text("ascii")
    for line in content.splitlines():
        if not line.startswith("#"):
            first, last, category = line.split("\t")
            yield int(first, 16), int(last, 16), category


def ranges() -> list[tuple[int, int, str]]:
    """(first, last, category) of every run of code points in a category that the split rules use."""
    import unicodedata2  # type: ignore[import-not-found, unused-ignore]

    if unicodedata2.unidata_version != VERSION:
        raise ValueError(f"unicodedata2 holds Unicode {unicodedata2.unidata_version}: install unicodedata2=={VERSION}")
    runs: list[tuple[int, int, str]] = []
    for code_point in range(CODE_POINTS):
        category = unicodedata2.category(chr(code_point))
        category = category if category[0] == "L" else category[0]
        if category not in _CATEGORY_CLASS:
            continue
        if runs and runs[-1][1] == code_point - 1 and runs[-1][2] == category:
            runs[-1] = (runs[-1][0], code_point, category)
        else:
            runs.append((code_point, code_point, category))
    return runs


if __name__ == "__main__":
    print(f"# Unicode {VERSION}: first code point, last code point, general category; made by `python -m bpe.unicode`")
    for first, last, category in ranges():
        print(f"{first:X}\t{last:X}\t{category}")
