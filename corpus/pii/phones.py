"""Telephone numbers.

Digits in phone-like groups are found by one pattern; what stands around them decides which evidence is asked for:

- `+` or an international prefix: a country code, and a length that the country has; libphonenumber knows both;
- a label right before it (`Tel.`, `電話`, `fax number`): six to fifteen digits that are no date;
- a word of calling near it (`call our office on`): the same, if it does not look like an amount;
- nothing: only forms that little else has, such as (212) 555-0199, 020 7946 0958 or 8 (495) 123-45-67. A national
  number without trunk prefix, brackets or label (601 123 456, 12 34 56 78) is left: so are amounts written.

`regions` say whose national formats to expect, most likely first. phonenumbers is imported when the first number
asks for it, and only ever sees one number, because its own matcher takes seconds for a megabyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corpus.pii.phone_forms import THOUSANDS, digits_of, is_unmistakable, library, parsed, valid_region
from corpus.pii.phone_words import ENDINGS, FILLERS, LABELS, OTHER_STEMS, OTHERS, STEMS, UNSPACED, VERBS, WORLD
from corpus.pii.text import GAP, MARKS, PLAIN, SPACES, Numbers, is_latin_word, nothing_but_words


class Phone(NamedTuple):
    start: int
    end: int
    sure: bool  # a country code says so


_STRETCH = re.compile(rf"[0-9](?<![0-9][0-9])(?:{GAP}{{0,5}}+[0-9]){{5,60}}+")
_PLUS = re.compile(rf"\+[ ({MARKS}]{{0,2}}\Z|(?<![0-9])[+＋]\Z")
# Where a second number begins inside of a stretch: wide gaps, slashes and brackets after a whole number.
_SPLIT = re.compile(r" {2,}| / | [-–—] (?=\(?[0-9])|\) \(|(?<=[0-9]{4})/(?=[0-9(][0-9]{3})|(?<=[0-9]) (?=\()")
_WHOLE = 7  # digits that make a number whole
_DATES = re.compile(
    r"(?:1[5-9]|20)[0-9]{2}[-./ ][0-9]{1,2}[-./ ][0-9]{1,2}(?![0-9])|(?:19|20)[0-9]{2}[01][0-9][0-3][0-9](?![0-9])"
    r"|[0-3]?[0-9][-./ ]{1,2}[0-3]?[0-9][-./ ]{1,2}(?:(?:19|20)[0-9]{2}(?![0-9])|[0-9]{2}(?![0-9]|[- .][0-9]))"
    r"|[0-2]?[0-9]\.[0-5][0-9] ?[-/] ?[0-2]?[0-9]\.[0-5][0-9](?![0-9])"  # 8.30-12.30
)
_YEARS = re.compile(r"((?:1[0-9]|20)[0-9]{2}) ?[-/] ?((?:1[0-9]|20)[0-9]{2})(?![0-9])")
_QUAD = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")  # an IP address, or a version
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+|[0-9]+/[0-9]+")
_MONEY = re.compile(r"[$€£¥₹₽₩#№=_%°§]\s?\Z|(?:USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|Rs\.?|R\$|kr|zł)\s?\Z")
_UNIT = re.compile(r"\s?(?:[$€£¥₹₽₩%°]|(?:USD|EUR|GBP|CHF|euros?|dollars?|km|kg|mm|cm|ms|MB|GB|kr|zł|руб)(?![^\W_]))")


def phones(text: str, numbers: Numbers, regions: Sequence[str] = ()) -> Iterator[Phone]:
    """Telephone numbers from left to right. `regions`: ISO 3166 codes whose national formats are expected."""
    last = -1  # the end of the number before
    for begin, finish in numbers.stretches:
        stretch = _STRETCH.match(text, begin)
        while stretch:
            position = finish
            for start, end in _pieces(text, stretch.start(), stretch.end()):
                found = _number(text, start, end, last, regions)
                if found:
                    last = found.end
                    yield found
                    if found.end < end:  # the rest may be another
                        position = found.end
                        break
            stretch = _STRETCH.search(text, position, finish)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the numbers that a stretch may consist of, from digit to digit."""
    plain = text[start:end]
    if not plain.isascii():
        plain = re.sub(f"[{SPACES}]", " ", plain)
    if len(plain) >= 12:
        origin = start
        for match in _SPLIT.finditer(plain):
            cut = origin + match.start()
            digits = digits_of(text[start:cut])
            is_dash = match[0][1:2] in ("-", "–", "—")
            follows = text[cut + 3 : cut + 4] in ("0", "(") and len(digits_of(text[cut:end])) >= 6
            if len(digits) >= _WHOLE and (not is_dash or follows):
                yield start, cut
            elif start > origin or not _is_another(text, start, match[0], digits):
                continue
            start = origin + match.end()
            while start < end and not text[start].isdigit():
                start += 1
    if len(digits_of(text[start:end])) >= 6:
        yield start, end


def _is_another(text: str, start: int, gap: str, digits: str) -> bool:
    """`5 - 030 1234567` is a house and its telephone; `030 - 1234567` and `Tel. 30 - 1234567` are one number."""
    apart = gap.strip() in ("-", "–", "—") and not digits.startswith("0") and len(digits) <= 3
    return apart and text[start - 1 : start] not in ("+", "(") and _label(text, start) is None


def _number(text: str, start: int, end: int, last: int, regions: Sequence[str]) -> Phone | None:
    """The telephone number that begins at the digit `start` and ends not after `end`."""
    first = text[max(0, start - 3) : start]
    plus = _PLUS.search(first)
    if plus:
        begin = start - len(plus[0])
        if is_latin_word(text, begin - 1):
            return None
        stop = _international(text, start, end, begin)
        return Phone(*_with_brackets(text, begin, stop), True) if stop else None
    if (
        is_latin_word(text, start - 1)
        or text[start - 1 : start] in _IN_URL
        or _has_digit_before(text, start)
        or _goes_on(text, end)
    ):
        return None
    if text[start] == "0" and (stop := _with_prefix(text, start, end)):
        return Phone(*_with_brackets(text, start, stop), True)
    stop = _national(text, start, end, last, regions)
    return Phone(*_with_brackets(text, start, stop), False) if stop else None


_IN_URL = frozenset("/=_&?")
_IN_NAME = re.compile(r"[0-9/]\S{0,24}\.\Z")  # 10.1016/j.cell.2019.05.031


def _has_digit_before(text: str, start: int) -> bool:
    """`1,234 567 89`, `3.141592`, `12:345678`: the number has begun before."""
    before = text[max(0, start - 2) : start]
    if len(before) == 2 and before[0].isdigit() and before[1] in ",.:-/'’x*":
        return True
    return before[-1:] == "." and _IN_NAME.search(text, max(0, start - 26), start) is not None


def _goes_on(text: str, end: int) -> bool:
    """A letter, or a mark and a digit follow."""
    after = text[end : end + 2]
    return is_latin_word(text, end) or (len(after) == 2 and after[0] in "-.,/:'’" and after[1].isdigit())


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """With the `(` that a `)` inside closes."""
    inside = text[start:end]
    if text[start - 1 : start] in ("(", "（") and inside.count(")") + inside.count("）") > inside.count("("):
        return start - 1, end
    return start, end


# --- With a country code ----------------------------------------------------------------------------------------------


def _international(text: str, start: int, end: int, begin: int) -> int:
    """Where the number ends whose country code begins at `start`; 0 if there is none.

    The longest valid one at the border of a group; else the whole, if its length is possible and it is written
    like a telephone number.
    """
    known = library()
    ends = _group_ends(text, start, end)
    for stop in ends:
        number = parsed("+" + digits_of(text[start:stop]))
        if number is not None and known.is_valid_number(number):
            return stop
    for stop in ends:
        digits = digits_of(text[start:stop])
        number = parsed("+" + digits)
        if number is not None and known.is_possible_number(number) and len(digits) >= 9:
            plain = text[start:stop].translate(PLAIN)
            return 0 if THOUSANDS.fullmatch(plain) or _is_date(plain) else stop
    return 0


def _with_prefix(text: str, start: int, end: int) -> int:
    """`0049 30 ...`, `011 44 20 ...`: where the number after an international prefix ends, 0 if there is none."""
    digits = digits_of(text[start : start + 8])
    if not digits.startswith(("00", "011")):
        return 0
    size = 2 if digits.startswith("00") else 3
    skipped, code = 0, start
    while skipped < size:
        skipped += text[code].isdigit()
        code += 1
    while code < end and not text[code].isdigit():
        code += 1
    for stop in _group_ends(text, start, end):
        number = parsed("+" + digits_of(text[code:stop])) if stop > code else None
        if number is not None and library().is_valid_number(number):
            return stop
    return 0


def _group_ends(text: str, start: int, end: int) -> list[int]:
    """Where the groups of digits end, the last first; none with more than 15 digits (E.164), or fewer than 6."""
    ends, count = [], 0
    for index in range(start, end):
        if text[index].isdigit():
            count += 1
            if count > 17:
                break
            if count >= 6 and (index + 1 == end or not text[index + 1].isdigit()):
                ends.append(index + 1)
    if count > 17 and end - start == count:
        return []
    return ends[-1:-9:-1]


# --- Without ----------------------------------------------------------------------------------------------------------


def _national(text: str, start: int, end: int, last: int, regions: Sequence[str]) -> int:
    """Where the national number ends that begins at `start`; 0 if it is none."""
    plain = text[start:end].translate(PLAIN)
    count = sum(map(str.isdigit, plain))
    if _is_date(plain):
        return 0
    label = _label(text, start)
    if _QUAD.fullmatch(plain) and label != "strict":
        return 0
    chained = last >= 0 and start - last <= 6 and _CHAIN.fullmatch(text, last, start) is not None
    if label == "strict" or chained:
        if count > 11:
            return _valid_prefix(text, start, end, regions) or (end if count <= 15 else 0)
        return 0 if chained and _DECIMAL.fullmatch(plain) else end
    if not 7 <= count <= 15 or _MONEY.search(text, max(0, start - 4), start) or _UNIT.match(text, end):
        return 0
    if label == "loose" or (label is None and _LABEL_AFTER.match(text, end)):
        if count > 11:
            return _valid_prefix(text, start, end, regions) or (end if count <= 13 else 0)
        amount = THOUSANDS.fullmatch(plain) or _DECIMAL.fullmatch(plain)
        return 0 if amount and not _AT_NUMBER.search(text, max(0, start - 12), start) else end
    if label == "other":
        return 0
    return end if is_unmistakable(text, start, end, plain, regions) else 0


# What may stand between two numbers after one label.
_CHAIN = re.compile(r"\s?(?:[,;/|&+]|or|and|oder|und|ou|et|y|o|e|или|и|lub|of|または|或|和|ή|veya)?\s{0,2}\(?")
# `(mobile)`; after a comma or dash, a label belongs to the next number.
_LABEL_AFTER = re.compile(
    r"\s?[(\[]\s?(?:mobile?|cell|tel|phone|fax|home|work|office|handy|landline|tty|whatsapp|móvil|celular|моб|тел)",
    re.IGNORECASE,
)
_AT_NUMBER = re.compile(
    r"(?:at|on|unter|au|al|sous|pod|para|op|na|på|numerem|number|nummer|numero|número|numéro|номеру?)[\s:]{1,2}\Z"
    r"|[:=(]\s?\Z",
    re.IGNORECASE,
)


def _is_date(plain: str) -> bool:
    years = _YEARS.match(plain)
    return _DATES.match(plain) is not None or (years is not None and years[1] <= years[2])


_WORDS = re.compile(r"[^\W\d_]+")
_ONE_LETTER = re.compile(r"(?<![^\W_])(?:(?:[TMFPCHWDOtmfpc]|Mo|Fx|Ph):|[TMF]\.:?|(?:Mo|Fx|Ph)\.)\s{0,2}\(?\Z")
_TOUCHING = 8  # characters that may stand between a label and its number


def _label(text: str, start: int) -> str | None:
    """What the text before a number says it is: a telephone number ("strict", "loose"), something "other", or None."""
    window = nothing_but_words(text, start, 56)
    if not window.isascii():
        tail = window[-24:]
        for label in UNSPACED:
            place = tail.rfind(label)
            if place >= 0:
                return "strict" if len(tail) - place - len(label) <= _TOUCHING else "loose"
    words = list(_WORDS.finditer(window.lower()))
    if not words or len(window) - words[-1].end() > _TOUCHING:
        return None
    if _ONE_LETTER.search(window):
        return "strict"
    # Nothing but fillers between; or a colon before the number, and the label not far from it.
    near = True
    listed = window.rstrip().endswith((":", "："))
    line = window.rfind("\n", 0, words[-1].start())
    for match in reversed(words):
        if match.start() < line:
            break
        word = match[0]
        if _is_label(word):
            return "strict" if near and word not in VERBS else "loose"
        if word in VERBS:
            return "loose"
        if word in FILLERS:
            continue
        if word in OTHERS or word.startswith(OTHER_STEMS):
            return "other"
        near = listed and match.start() >= len(window) - _TOUCHING * 3
    return None


def _is_label(word: str) -> bool:
    return word in LABELS or word.startswith(STEMS) or word.endswith(ENDINGS)


def _valid_prefix(text: str, start: int, end: int, regions: Sequence[str]) -> int:
    """Where the longest valid national number ends, 0 if none is valid in the regions."""
    for stop in _group_ends(text, start, end):
        if valid_region(text[start:stop], regions or WORLD):
            return stop
    return 0
