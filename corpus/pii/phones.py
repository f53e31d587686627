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
from typing import Any, NamedTuple

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
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:([ .])[0-9]{3})(?:\1[0-9]{3})*")
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
            digits = _digits(text[start:cut])
            is_dash = match[0][1:2] in ("-", "–", "—")
            follows = text[cut + 3 : cut + 4] in ("0", "(") and len(_digits(text[cut:end])) >= 6
            if len(digits) >= _WHOLE and (not is_dash or follows):
                yield start, cut
            elif start > origin or not _is_another(text, start, match[0], digits):
                continue
            start = origin + match.end()
            while start < end and not text[start].isdigit():
                start += 1
    if len(_digits(text[start:end])) >= 6:
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
    library = _library()
    ends = _group_ends(text, start, end)
    for stop in ends:
        number = _parsed("+" + _digits(text[start:stop]))
        if number is not None and library.is_valid_number(number):
            return stop
    for stop in ends:
        digits = _digits(text[start:stop])
        number = _parsed("+" + digits)
        if number is not None and library.is_possible_number(number) and len(digits) >= 9:
            plain = text[start:stop].translate(PLAIN)
            return 0 if _THOUSANDS.fullmatch(plain) or _is_date(plain) else stop
    return 0


def _with_prefix(text: str, start: int, end: int) -> int:
    """`0049 30 ...`, `011 44 20 ...`: where the number after an international prefix ends, 0 if there is none."""
    digits = _digits(text[start : start + 8])
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
        number = _parsed("+" + _digits(text[code:stop])) if stop > code else None
        if number is not None and _library().is_valid_number(number):
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


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def _library() -> Any:
    import phonenumbers

    return phonenumbers


def _parsed(number: str, region: str | None = None) -> Any:
    """What libphonenumber makes of a number, None if it is none."""
    library = _library()
    try:
        return library.parse(number, region)
    except library.NumberParseException:
        return None


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
        amount = _THOUSANDS.fullmatch(plain) or _DECIMAL.fullmatch(plain)
        return 0 if amount and not _AT_NUMBER.search(text, max(0, start - 12), start) else end
    if label == "other":
        return 0
    return end if _is_unmistakable(text, start, end, plain, regions) else 0


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
        if _valid_region(text[start:stop], regions or WORLD):
            return stop
    return 0


def _valid_region(number: str, regions: Sequence[str]) -> str | None:
    """The first of the regions in which a number is valid as it would be dialled there."""
    library = _library()
    digits = _digits(number)
    for region in regions:
        parsed = _parsed(digits, region)
        if parsed is not None and library.is_valid_number_for_region(parsed, region):
            return region
    return None


_NORTH_AMERICAN = re.compile(
    r"(?:1[-. ]{1,2})?(?:\([2-9][0-8][0-9]\)|[2-9][0-8][0-9]\)?[-. ]) ?[-]?([2-9][0-9]{2})[-. ][0-9]{4}"
)
# A trunk prefix and groups: 020 7946 0958, 0171/1234567, 03-1234-5678, 01 23 45 67 89.
_TRUNK = re.compile(
    r"0[1-9][0-9]{0,4}\)?(?:[-./ ]{1,3}[0-9]{2,10}){1,4}(?:[- ]{1,3}[0-9])?"
    r"|0[- ]?\(?[1-9][0-9]{2}\)?(?:[- ][0-9]{2,4}){2,3}"
)
_TRUNK_MOBILE = re.compile(r"0[1-9][0-9]{8,9}")
_BRACKETS = re.compile(r"(?:[08][- ])?[0-9]{2,5}\) ?[0-9]{2,5}(?:[- .]?[0-9]{2,5}){1,3}")
# Sizes of groups that little but telephone numbers has, in one kind of separator.
_SIZES = frozenset({(3, 3, 4), (2, 3, 4), (2, 4, 4), (3, 4, 4), (4, 3, 3), (3, 3, 2, 2), (2, 3, 2, 2), (3, 2, 2, 2)})
# Without trunk prefix, in groups that are the country's own.
_OWN = (
    (re.compile(r"[78][- ]?\(?[3489][0-9]{2,4}\)?[- ]{1,2}[0-9]{1,3}[- ][0-9]{2}[- ]?[0-9]{2}"), ("RU", "KZ")),
    (re.compile(r"[6-9][0-9]{4} [0-9]{5}"), ("IN",)),
    (re.compile(r"[1-9][0-9] 9[0-9]{4}-[0-9]{4}"), ("BR",)),
    (re.compile(r"3[0-9]{2}[ -][0-9]{6,7}|3[0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3}"), ("IT",)),
)
_UNIFORM = re.compile(r"[1-9][0-9]*([ -])[0-9]+(?:\1[0-9]+)*")
_CHINESE_MOBILE = re.compile(r"1[3-9][0-9]{9}")


def _is_unmistakable(text: str, start: int, end: int, plain: str, regions: Sequence[str]) -> bool:
    """Is this a telephone number by its form alone?"""
    if text[start - 1 : start] in ("-", "#", ".", ":") and not text[max(0, start - 2) :][:1].isspace():
        return False  # a part of a longer code
    if match := _NORTH_AMERICAN.fullmatch(plain):
        return match[1][1:] != "11" and not plain.startswith(("911", "411", "211")) and ")" not in plain[:3]
    opened = text[start - 1 : start] in ("(", "（")
    if _TRUNK.fullmatch(plain) or (opened and _BRACKETS.fullmatch(plain)):
        digits = _digits(plain)
        if opened and plain[:4] >= "1500" and plain[:4] <= "2099" and plain[4] == ")":
            return False  # Nature 405 (1998) 345-367
        if len(digits) < (8 if opened else 9) or (opened and _has_number_before(text, start - 1)):
            return False
        return _valid_region(plain, (*regions, *WORLD)) is not None
    if _TRUNK_MOBILE.fullmatch(plain):
        return not _is_isbn(plain) and _is_mobile(plain, regions or WORLD)
    if any(form.fullmatch(plain) and _valid_region(plain, owners) for form, owners in _OWN):
        return True
    if _UNIFORM.fullmatch(plain) and tuple(map(len, re.findall("[0-9]+", plain))) in _SIZES:
        return _valid_region(plain, (*regions, *WORLD)) is not None
    if _CHINESE_MOBILE.fullmatch(plain):
        around = text[max(0, start - 8) : start] + text[end : end + 8]
        return "CN" in regions or any("\u3400" <= c <= "\u9fff" for c in around)
    # An amount, or the numbers of a lottery, unless it stands where an entry of a list of contacts would.
    amount = _THOUSANDS.fullmatch(plain) or max(map(len, re.findall("[0-9]+", plain))) < 3
    return bool(regions) and (not amount or _stands_alone(text, start, end)) and _is_as_printed(plain, regions)


_ALONE_BEFORE = re.compile(r"(?:\A|[\n|,;:•·–—-])[ \t]{0,3}\Z")
_ALONE_AFTER = re.compile(r"[ \t]{0,3}(?:\Z|[\n|,;•·–—)-]|\.(?![0-9]))")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Between the marks that separate the entries of a list."""
    before = text[max(0, start - 4) : start] if start > 4 else "\n" + text[:start]
    return _ALONE_BEFORE.search(before) is not None and _ALONE_AFTER.match(text, end) is not None


_NUMBER_BEFORE = re.compile(r"[0-9] ?\Z")


def _has_number_before(text: str, start: int) -> bool:
    return _NUMBER_BEFORE.search(text, max(0, start - 2), start) is not None


def _is_mobile(digits: str, regions: Sequence[str]) -> bool:
    library = _library()
    for region in regions:
        number = _parsed(digits, region)
        if number is not None and library.is_valid_number_for_region(number, region):
            kind = library.number_type(number)
            if kind in (library.PhoneNumberType.MOBILE, library.PhoneNumberType.FIXED_LINE_OR_MOBILE):
                return True
    return False


def _is_isbn(digits: str) -> bool:
    """Ten digits with the check digit of a book's number (ISO 2108, before 2007); English ones begin with 0."""
    return len(digits) == 10 and sum((10 - i) * int(digit) for i, digit in enumerate(digits)) % 11 == 0


def _is_as_printed(plain: str, regions: Sequence[str]) -> bool:
    """Is it valid in an expected region, and grouped as that region prints it?"""
    if plain.isdigit() or len(_digits(plain)) < 8:
        return False
    groups = re.findall("[0-9]+", plain)
    library = _library()
    for region in regions:
        number = _parsed(plain, region)
        if number is not None and library.is_valid_number_for_region(number, region):
            printed = library.format_number(number, library.PhoneNumberFormat.NATIONAL)
            if re.findall("[0-9]+", printed) == groups:
                return True
    return False
