"""The finder of telephone numbers.

One pattern finds digits in groups that a telephone number may have. The text around them decides what else a number
needs:

- After `+` or an international prefix: a country code, and a length that the country has; libphonenumber knows both.
- Right after a label (`Tel.`, `電話`, `fax number`): six to fifteen digits that are no date.
- Near a word of calling (`call our office on`): seven to fifteen digits that are no date and no amount.
- Without such a word: a form that few other numbers have, such as (212) 555-0199, 020 7946 0958 or 8 (495) 123-45-67.
  A national number without trunk prefix, brackets or label (601 123 456, 12 34 56 78) is left, because amounts are
  written so too.

`regions` say whose national formats to expect, the most likely one first. phonenumbers reads one number at a time,
because its own search takes seconds for a megabyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corpus.pii.naming import follows_noun, is_described_otherwise, is_label, is_named_otherwise, is_other
from corpus.pii.phone_forms import THOUSANDS, digits_of, is_unmistakable, library, parsed, valid_region
from corpus.pii.phone_words import FILLERS, UNSPACED, VERBS, WORLD
from corpus.pii.text import GAP, MARKS, PLAIN, SPACES, Numbers, is_latin_word, nothing_but_words


class Phone(NamedTuple):
    """The telephone number text[start:end]; `sure`: it has a country code."""

    start: int
    end: int
    sure: bool


_STRETCH = re.compile(rf"[0-9](?<![0-9][0-9])(?:{GAP}{{0,5}}+[0-9]){{5,60}}+")
_PLUS = re.compile(rf"\+[ ({MARKS}]{{0,2}}\Z|(?<![0-9])[+＋]\Z")
# The gaps in a stretch that may separate two numbers: wide ones, slashes and brackets behind a whole number.
_SPLIT = re.compile(r" {2,}| / | [-–—] (?=\(?[0-9])|\) \(|(?<=[0-9]{4})/(?=[0-9(][0-9]{3})|(?<=[0-9]) (?=\()")
_WHOLE = 7  # fewest digits of a whole number
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
    """Telephone numbers from left to right. `regions`: ISO 3166 codes of the countries whose formats to expect."""
    last = -1  # the end of the number before; -1 before the first
    for begin, finish in numbers.stretches:
        stretch = _STRETCH.match(text, begin)
        while stretch:
            position = finish
            for start, end in _pieces(text, stretch.start(), stretch.end()):
                phone = _number(text, start, end, last, regions)
                if phone:
                    last = phone.end
                    yield phone
                    if phone.end < end:  # the rest may be another number
                        position = phone.end
                        break
            stretch = _STRETCH.search(text, position, finish)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the numbers in the stretch text[start:end], from the first to the last digit of each."""
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
    """Whether the digits before a gap are another number than the ones behind it.

    `5 - 030 1234567` is a house number and a telephone number; `030 - 1234567` and `Tel. 30 - 1234567` are one number.
    """
    apart = gap.strip() in ("-", "–", "—") and not digits.startswith("0") and len(digits) <= 3
    return apart and text[start - 1 : start] not in ("+", "(") and _label(text, start) is None


def _number(text: str, start: int, end: int, last: int, regions: Sequence[str]) -> Phone | None:
    """The telephone number that begins at the digit `start` and ends at `end` or before; None if there is none."""
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
        or (text[start - 1 : start] in _IN_URL and not _LABELLED_FIELD.search(text, max(0, start - 24), start))
        or _has_digit_before(text, start)
        or _goes_on(text, end)
    ):
        return None
    if text[start] == "0" and (stop := _with_prefix(text, start, end)) and _may_be_prefix(text, start, stop == end):
        return Phone(*_with_brackets(text, start, stop), True)
    stop = _national(text, start, end, last, regions)
    return Phone(*_with_brackets(text, start, stop), False) if stop else None


_IN_URL = frozenset("/=_&?")
_LABELLED_FIELD = re.compile(
    r"(?<![A-Za-z])(?:phone|tel|telephone|mobile|cell|fax|whatsapp)(?:_?(?:number|no))?=\Z", re.IGNORECASE
)
_IN_NAME = re.compile(r"[0-9/]\S{0,24}\.\Z")  # 10.1016/j.cell.2019.05.031


def _has_digit_before(text: str, start: int) -> bool:
    """Whether a number has begun before `start`: `1,234 567 89`, `3.141592`, `12:345678`."""
    before = text[max(0, start - 2) : start]
    if len(before) == 2 and before[0].isdigit() and before[1] in ",.:-/'’x*":
        return True
    return before[-1:] == "." and _IN_NAME.search(text, max(0, start - 26), start) is not None


def _goes_on(text: str, end: int) -> bool:
    """Whether a letter, or a mark and a digit, follow at `end`."""
    after = text[end : end + 2]
    return is_latin_word(text, end) or (len(after) == 2 and after[0] in "-.,/:'’" and after[1].isdigit())


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """(start, end) of a number, with the `(` before it if a `)` inside closes it."""
    inside = text[start:end]
    if text[start - 1 : start] in ("(", "（") and inside.count(")") + inside.count("）") > inside.count("("):
        return start - 1, end
    return start, end


# --- With a country code ----------------------------------------------------------------------------------------------


def _international(text: str, start: int, end: int, begin: int) -> int:
    """The end of the number whose country code begins at `start`; 0 if there is none.

    It is the longest valid number that ends with a group. Without one, it is the longest number of a possible length,
    unless it is written like an amount or a date.
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
    """The end of a number with an international prefix (`0049 30 ...`, `011 44 20 ...`); 0 if there is none."""
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


def _may_be_prefix(text: str, start: int, is_whole: bool) -> bool:
    """Whether the text allows an international prefix at `start`.

    `Meter reading 0045 8812 9930 1207` begins like a Danish number. Without a label, all digits must belong to the
    number (`is_whole`).
    """
    label = _label(text, start)
    if label == "strict":
        return True
    if label == "other" or is_named_otherwise(text, start, any_noun=label is None):
        return False
    return label is not None or (is_whole and not follows_noun(text, start))


def _group_ends(text: str, start: int, end: int) -> list[int]:
    """The ends of the groups from the sixth digit on, at most eight, the last one first.

    Digits beyond the 17th are not read: E.164 allows 15, and the prefix 00 has two.
    """
    ends, count, opened = [], 0, 0
    for index in range(start, end):
        opened += (text[index] in "(（") - (text[index] in ")）")
        if text[index].isdigit():
            count += 1
            if count > 17:
                break
            # A bracket that is not closed belongs to what follows: `+690 3101 (9 am`.
            if count >= 6 and opened <= 0 and (index + 1 == end or not text[index + 1].isdigit()):
                ends.append(index + 1)
    if count > 17 and end - start == count:
        return []
    return ends[-1:-9:-1]


# --- Without a country code -------------------------------------------------------------------------------------------


def _national(text: str, start: int, end: int, last: int, regions: Sequence[str]) -> int:
    """The end of the national number that begins at `start`; 0 if there is none.

    last  the end of the telephone number before
    """
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
    if label == "other":
        return 0
    if label == "loose" or _LABEL_AFTER.match(text, end):
        if is_named_otherwise(text, start, any_noun=False):
            return 0
        if count > 11:
            return _valid_prefix(text, start, end, regions) or (end if count <= 13 else 0)
        amount = THOUSANDS.fullmatch(plain) or _DECIMAL.fullmatch(plain)
        return 0 if amount and not _AT_NUMBER.search(text, max(0, start - 12), start) else end
    return end if is_unmistakable(text, start, end, plain, regions) and not _is_other(text, start, end, plain) else 0


def _is_other(text: str, start: int, end: int, plain: str) -> bool:
    """Whether the words around a number without a label say, or let expect, that it is another kind of number."""
    if is_named_otherwise(text, start) or is_described_otherwise(text, end):
        return True
    return ")" not in plain and not _TOLL_FREE.match(plain) and follows_noun(text, start)


# The text that may be between two numbers behind one label.
_CHAIN = re.compile(r"\s?(?:[,;/|&+]|or|and|oder|und|ou|et|y|o|e|или|и|lub|of|または|或|和|ή|veya)?\s{0,2}\(?")
# A label behind its number: `(mobile)`. Behind a comma or dash, a label belongs to the next number.
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
    """Whether a number begins like a date, a time span or two years."""
    years = _YEARS.match(plain)
    return _DATES.match(plain) is not None or (years is not None and years[1] <= years[2])


_WORDS = re.compile(r"[^\W\d_]+")
_ONE_LETTER = re.compile(r"(?<![^\W_])(?:(?:[TMFPCHWDOtmfpc]|Mo|Fx|Ph):|[TMF]\.:?|(?:Mo|Fx|Ph)\.)\s{0,2}\(?\Z")
_TOLL_FREE = re.compile(r"1[-. ]8[0-9]{2}[-. ]")
_PARTED = re.compile("[,;|?!]")
_TOUCHING = 8  # most characters between a label and its number


def _label(text: str, start: int) -> str | None:
    """What the text before a number calls it.

    "strict" right behind a label of telephone numbers, "loose" near a label or a word of calling, "other" behind a word
    for another kind of number, None behind none of these.
    """
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
    # A label is near if only fillers are between it and the number, or if a colon ends the text and it is not far.
    near, nouns = True, 0
    listed = window.rstrip().endswith((":", "："))
    line = window.rfind("\n", 0, words[-1].start())
    for match in reversed(words):
        if match.start() < line:
            break
        word = match[0]
        if is_label(word):
            return "strict" if near and word not in VERBS else "loose"
        if word in VERBS:
            return "loose"
        if word in FILLERS:
            continue
        if is_other(word) and nouns <= 2 and not _PARTED.search(window, match.end()):
            return "other"
        nouns += 1
        near = listed and match.start() >= len(window) - _TOUCHING * 3
    return None


def _valid_prefix(text: str, start: int, end: int, regions: Sequence[str]) -> int:
    """The end of the longest number that is valid in one of the regions; 0 if there is none."""
    for stop in _group_ends(text, start, end):
        if valid_region(text[start:stop], regions or WORLD):
            return stop
    return 0
