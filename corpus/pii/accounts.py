"""Finders of payment card numbers and IBANs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from corpus.pii.naming import is_named_otherwise
from corpus.pii.text import DASHES, SPACES, Numbers, is_latin_word, within, words, words_before

# A number ends where no digit, no letter, and no mark with a digit (`-1`, `.1`) follows. Patterns ask likewise what is
# before the first digit.
_END = r"(?![0-9A-Za-z_]|[-.][0-9])"
_GAP = rf"[ .\-{SPACES}{DASHES}]"

# --- IBAN -------------------------------------------------------------------------------------------------------

_IBAN_START = re.compile("[A-Za-z]{2}[0-9]{2}")
# The number of characters by country (SWIFT, IBAN Registry, release 99).
_IBAN_LENGTH = {
    country: int(length)
    for country, length in re.findall(
        "([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 "
        "DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 "
        "HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 "
        "MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 "
        "RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 "
        "VA22 VG24 XK20 YE30",
    )
}


def ibans(text: str, numbers: Numbers) -> Iterator[tuple[int, int]]:
    """International bank account numbers, in one piece or in groups, in capitals or in small letters alone."""
    for digit in numbers.in_words:
        start = digit - 2
        length = _IBAN_LENGTH.get(text[start:digit].upper()) if start >= 0 else None
        if length and _IBAN_START.match(text, start) and not is_latin_word(text, start - 1):
            end = _iban_end(text, start, length)
            if end and not is_latin_word(text, end):
                yield start, end


def _iban_end(text: str, start: int, length: int) -> int:
    """The end of the account number of `length` characters at `start`; 0 if its check digits are wrong.

    One separator may be between any two characters: banks write groups of four, but also groups by branch and account.
    """
    compact: list[str] = []
    index, last = start, min(len(text), start + 2 * length)
    while index < last and len(compact) < length:
        c = text[index]
        if c.isascii() and c.isalnum():
            compact.append(c)
        elif c not in _IBAN_GAPS or text[index - 1] in _IBAN_GAPS:
            return 0
        index += 1
    return index if len(compact) == length and is_iban("".join(compact)) else 0


_IBAN_GAPS = " -." + SPACES + DASHES


def is_iban(compact: str) -> bool:
    """Whether the check digits of an IBAN without separators are right (ISO 13616; ISO 7064, MOD 97-10; A is 10)."""
    if not (compact.isascii() and compact.isalnum() and compact in (compact.upper(), compact.lower())):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


# --- Payment cards ------------------------------------------------------------------------------------------------

# Digits in groups of four, 4-6-5 (American Express), 4-6-4 (Diners Club), 6-13 (UnionPay), or 13 to 19 in a row. The
# match consumes the first digit alone, so that a number that fails its checks does not hide one that begins inside it.
_CARD = re.compile(
    rf"[0-9](?<![0-9A-Za-z_./][0-9])(?=([0-9]{{3}}(?:({_GAP})[0-9]{{4}}\2[0-9]{{4}}\2[0-9]{{4}}(?:\2[0-9]{{1,3}})?(?!(?:\2[0-9]{{4}}){{2}})"
    rf"|({_GAP})[0-9]{{6}}\3[0-9]{{4,5}}|[0-9]{{9,15}}|[0-9]{{2}}[ -][0-9]{{13}})){_END})"
)
# Prefixes and lengths by issuer (ISO/IEC 7812; the lists that the card schemes publish).
_ISSUERS = tuple(
    (re.compile(prefix), lengths)
    for prefix, lengths in (
        ("4", (13, 16, 19)),  # Visa, and schemes that share its numbers
        ("5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)", (16,)),  # Mastercard
        ("3[47]", (15,)),  # American Express
        ("30[0-5]|3095|3[689]", (14, 15, 16, 17, 18, 19)),  # Diners Club
        ("6011|64[4-9]|65", (16, 17, 18, 19)),  # Discover
        ("35(?:2[89]|[3-8])", (16, 17, 18, 19)),  # JCB
        ("62|81", (16, 17, 18, 19)),  # UnionPay
        ("50|5[6-9]|6[0137]", (16, 17, 18, 19)),  # Maestro, Elo, Verve, RuPay, Hipercard
        ("220[0-5]", (16, 17, 18, 19)),  # Mir, Borica
        ("9792|8600|9860|508|82", (16,)),  # Troy, Uzcard, Humo, RuPay
        ("1", (15,)),  # UATP
    )
)
_CARD_WORDS = tuple(words("cards"))
_ACCOUNTS = frozenset(words("accounts"))  # an account may be the account of a card


def cards(text: str, numbers: Numbers) -> Iterator[tuple[int, int]]:
    """Payment card numbers with the prefix and length of an issuer, and the right check digit."""
    for match in within(_CARD, text, numbers, 13):
        number = match[0] + match[1]
        # A fifth group may belong to the number, or be the security code behind sixteen digits.
        for written in (number, number[:19]):
            digits = re.sub("[^0-9]", "", written)
            if is_card(digits) and _may_be_card(text, match.start(), digits):
                yield match.start(), match.start() + len(written)
                break


def is_card(digits: str) -> bool:
    """Whether digits have the prefix and length of an issuer, and the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def _may_be_card(text: str, start: int, digits: str) -> bool:
    """Whether the words before a number allow a card; one in ten other numbers has the right check digit too."""
    if _has_card_word(text, start):
        return True
    return not _needs_word(digits) and not is_named_otherwise(text, start, any_noun=False, unless=_ACCOUNTS)


def _needs_word(digits: str) -> bool:
    """Whether a card number counts only after a word such as `card`.

    Barcodes have 13 digits too, and one in ten passes Luhn's check. Many other numbers begin with 1, UATP's prefix.
    """
    return len(digits) == 13 or digits[0] == "1"


def _has_card_word(text: str, start: int) -> bool:
    return any(word.startswith(_CARD_WORDS) for word in words_before(text, start, 40))
