"""Numbers that are telephone numbers by their form alone, without a word beside them; what libphonenumber knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corpus.pii.phone_words import WORLD

# An amount of money or a count: groups of three behind the first group.
THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:([ .])[0-9]{3})(?:\1[0-9]{3})*")


def digits_of(text: str) -> str:
    """The digits in a text."""
    return "".join(c for c in text if c.isdigit())


def library() -> Any:
    """The package phonenumbers, which is imported when the first number needs it."""
    import phonenumbers

    return phonenumbers


def parsed(number: str, region: str | None = None) -> Any:
    """The number as libphonenumber reads it; None if it is no telephone number."""
    phonenumbers = library()
    try:
        return phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None


def valid_region(number: str, regions: Sequence[str]) -> str | None:
    """The first of the regions in which a number is valid as people dial it there; None if there is none."""
    digits = digits_of(number)
    for region in regions:
        phone = parsed(digits, region)
        if phone is not None and library().is_valid_number_for_region(phone, region):
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
# Sizes of groups, with one kind of separator, that few other numbers than telephone numbers have.
_SIZES = frozenset({(3, 3, 4), (2, 3, 4), (2, 4, 4), (3, 4, 4), (4, 3, 3), (3, 3, 2, 2), (2, 3, 2, 2), (3, 2, 2, 2)})
# Numbers without trunk prefix in groups that one country has, and that country.
_OWN = (
    (re.compile(r"[78][- ]?\(?[3489][0-9]{2,4}\)?[- ]{1,2}[0-9]{1,3}[- ][0-9]{2}[- ]?[0-9]{2}"), ("RU", "KZ")),
    (re.compile(r"[6-9][0-9]{4} [0-9]{5}"), ("IN",)),
    (re.compile(r"[1-9][0-9] 9[0-9]{4}-[0-9]{4}"), ("BR",)),
    (re.compile(r"3[0-9]{2}[ -][0-9]{6,7}|3[0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3}"), ("IT",)),
)
# Other numbers are often written with hyphens alone, or in groups of four: a country must print a number so.
_CODE = re.compile(r"[0-9]+(?:-[0-9]+){2,}|[0-9]{4}(?: [0-9]{4}){2,}")
_UNIFORM = re.compile(r"[1-9][0-9]*([ -])[0-9]+(?:\1[0-9]+)*")
_CHINESE_MOBILE = re.compile(r"1[3-9][0-9]{9}")


def is_unmistakable(text: str, start: int, end: int, plain: str, regions: Sequence[str]) -> bool:
    """Whether the number text[start:end] is a telephone number by its form alone.

    plain    the number with ASCII separators
    regions  whose national formats to expect
    """
    if text[start - 1 : start] in ("-", "#", ".", ":") and not text[max(0, start - 2) :][:1].isspace():
        return False  # a part of a longer code
    if match := _NORTH_AMERICAN.fullmatch(plain):
        return match[1][1:] != "11" and not plain.startswith(("911", "411", "211")) and ")" not in plain[:3]
    opened = text[start - 1 : start] in ("(", "（")
    if _TRUNK.fullmatch(plain) or (opened and _BRACKETS.fullmatch(plain)):
        digits = digits_of(plain)
        if opened and plain[:4] >= "1500" and plain[:4] <= "2099" and plain[4] == ")":
            return False  # a year and pages: Nature 405 (1998) 345-367
        if len(digits) < (8 if opened else 9) or (opened and _has_number_before(text, start - 1)):
            return False
        if _CODE.fullmatch(plain):
            return _is_as_printed(plain, (*regions, *WORLD))
        return valid_region(plain, (*regions, *WORLD)) is not None
    if _TRUNK_MOBILE.fullmatch(plain):
        return not _is_isbn(plain) and _is_mobile(plain, regions or WORLD)
    if any(form.fullmatch(plain) and valid_region(plain, owners) for form, owners in _OWN):
        return True
    if _UNIFORM.fullmatch(plain) and tuple(map(len, re.findall("[0-9]+", plain))) in _SIZES:
        return valid_region(plain, (*regions, *WORLD)) is not None
    if _CHINESE_MOBILE.fullmatch(plain):
        around = text[max(0, start - 8) : start] + text[end : end + 8]
        return "CN" in regions or any("\u3400" <= c <= "\u9fff" for c in around)
    # An amount, or the numbers of a lottery, is a telephone number only where an entry of a list of contacts would be.
    amount = THOUSANDS.fullmatch(plain) or max(map(len, re.findall("[0-9]+", plain))) < 3
    return bool(regions) and (not amount or _stands_alone(text, start, end)) and _is_as_printed(plain, regions)


_ALONE_BEFORE = re.compile(r"(?:\A|[\n|,;:•·–—-])[ \t]{0,3}\Z")
_ALONE_AFTER = re.compile(r"[ \t]{0,3}(?:\Z|[\n|,;•·–—)-]|\.(?![0-9]))")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] stands between marks that separate the entries of a list."""
    before = text[max(0, start - 4) : start] if start > 4 else "\n" + text[:start]
    return _ALONE_BEFORE.search(before) is not None and _ALONE_AFTER.match(text, end) is not None


_NUMBER_BEFORE = re.compile(r"[0-9] ?\Z")


def _has_number_before(text: str, start: int) -> bool:
    """Whether a digit, and perhaps a space, stands before `start`."""
    return _NUMBER_BEFORE.search(text, max(0, start - 2), start) is not None


def _is_mobile(digits: str, regions: Sequence[str]) -> bool:
    """Whether digits are a valid number of a mobile telephone in one of the regions."""
    known = library()
    for region in regions:
        number = parsed(digits, region)
        if number is not None and known.is_valid_number_for_region(number, region):
            kind = known.number_type(number)
            if kind in (known.PhoneNumberType.MOBILE, known.PhoneNumberType.FIXED_LINE_OR_MOBILE):
                return True
    return False


def _is_isbn(digits: str) -> bool:
    """Whether ten digits have the check digit of an ISBN (ISO 2108, before 2007); English ISBNs begin with 0."""
    return len(digits) == 10 and sum((10 - i) * int(digit) for i, digit in enumerate(digits)) % 11 == 0


def _is_as_printed(plain: str, regions: Sequence[str]) -> bool:
    """Whether a number is valid in one of the regions, and in the groups that this region prints."""
    if plain.isdigit() or len(digits_of(plain)) < 8:
        return False
    groups = re.findall("[0-9]+", plain)
    known = library()
    for region in regions:
        number = parsed(plain, region)
        if number is not None and known.is_valid_number_for_region(number, region):
            printed = known.format_number(number, known.PhoneNumberFormat.NATIONAL)
            if re.findall("[0-9]+", printed) == groups:
                return True
    return False
