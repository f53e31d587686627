"""The stage that masks personal data: DOCUMENTS -> DOCUMENTS with `pii_spans`, the number of masked values.

E-mail addresses, IP addresses, phone numbers, payment cards, IBANs and US social security numbers are found by
bounded patterns and then checked by what each kind of number promises about itself: check digits, issuer prefixes,
country lengths, reserved ranges. No document is dropped. A masked document depends on its text and the settings
alone: FineWeb takes its replacements in rotation from one document to the next, we always take the first.

Every pattern matches a bounded length in one way only, so the time is linear in the text whatever it holds. Types
are looked for only in a text that has the character that they cannot do without.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from corpus.config import setting
from corpus.schema import Outcome, dropped_rows, replace_column

TYPES = ("email", "ip", "phone", "credit_card", "iban", "ssn")

# What this stage adds to DOCUMENTS: how many values were masked in the text.
COLUMNS = (pa.field("pii_spans", pa.int64()),)


@dataclass(frozen=True)
class Config:
    types: tuple[str, ...] = setting(TYPES, "what to mask (FineWeb: email and ip)", choices=TYPES, flag="--type")
    ip_scope: str = setting(
        "public", "mask addresses of the public internet, or all of them", choices=("public", "all")
    )
    email: str = setting("email@example.com", "stands for an e-mail address (FineWeb's first)")
    ipv4: str = setting("22.214.171.124", "stands for an IPv4 address (FineWeb's first; answers no ping)")
    ipv6: str = setting("2001:db8::1", "stands for an IPv6 address (RFC 3849, documentation)")
    phone: str = setting("<PHONE>", "stands for a phone number")
    credit_card: str = setting("<CREDIT_CARD>", "stands for a payment card number")
    iban: str = setting("<IBAN>", "stands for an international bank account number")
    ssn: str = setting("<SSN>", "stands for a US social security number")


class Span(NamedTuple):
    """`text[start:end]`, in Python string indices; `type` is one of TYPES."""

    start: int
    end: int
    type: str
    text: str


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Mask the texts of a batch with a string column `text`; nothing is dropped."""
    texts = batch.column("text").to_pylist()
    found = [find(text, config) if text else [] for text in texts]
    if any(found):
        masked = [mask(text, spans, config) if spans else text for text, spans in zip(texts, found, strict=True)]
        batch = replace_column(batch, "text", pa.array(masked, batch.schema.field("text").type))
    counted = replace_column(batch, "pii_spans", pa.array([len(spans) for spans in found], pa.int64()))
    return Outcome(counted, dropped_rows(batch, "scrub", {}))


def find(text: str, config: Config) -> list[Span]:
    """The values of `config.types` in `text`, in order of place, none overlapping another.

    Where two types claim the same characters, the one with the stronger evidence has them (check digits before a
    leading +, that before a mere grouping of digits).
    """
    has_digits = _DIGIT.search(text) is not None
    taken: list[Span] = []
    for kind, needs_digits, finder in _FINDERS:
        if kind in config.types and (has_digits or not needs_digits):
            found = [Span(start, end, kind, text[start:end]) for start, end in finder(text, config)]
            taken = _without_overlaps(taken, found) if found else taken
    return taken


def mask(text: str, spans: list[Span], config: Config) -> str:
    """`text` with each of `find`'s spans replaced by the setting that stands for its type."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], _replacement(span, config)]
        end = span.end
    return "".join([*parts, text[end:]])


def _replacement(span: Span, config: Config) -> str:
    name = ("ipv6" if ":" in span.text else "ipv4") if span.type == "ip" else span.type
    replacement: str = getattr(config, name)
    return replacement


def _without_overlaps(taken: list[Span], found: list[Span]) -> list[Span]:
    """`taken` and those of `found` that lie in its gaps, in order of place; both lists begin in that order."""
    free, index, end = [], 0, 0
    for span in found:
        while index < len(taken) and taken[index].end <= span.start:
            index += 1
        if span.start >= end and (index == len(taken) or span.end <= taken[index].start):
            free.append(span)
            end = span.end
    return sorted([*taken, *free])


_DIGIT = re.compile("[0-9]")

# --- E-mail ---------------------------------------------------------------------------------------------------

# A part of RFC 5322's dot-atom: `=`, `/`, `|`, `{` and the like are legal, but separators in running text.
_LATIN = "".join(map(chr, range(0xC0, 0x250)))
_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%+-.'" + _LATIN
_LABEL = r"[A-Za-z0-9À-ɏ](?:[A-Za-z0-9À-ɏ-]{0,61}[A-Za-z0-9À-ɏ])?"  # at most 63 characters (RFC 1035)
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[a-z0-9-]{{1,59}}|[A-Za-z]{{2,63}})(?![A-Za-z0-9_])")
# `icon@2x.png` and its like name files, not hosts.
_FILES = ("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "json", "html", "php", "pdf")


def _emails(text: str, config: Config) -> Iterator[tuple[int, int]]:
    end, at = 0, text.find("@")
    while at >= 0:
        window = text[max(end, at - 64) : at]  # RFC 5321: at most 64 characters before the @
        local = window[len(window.rstrip(_LOCAL)) :].lstrip(".'-+%")
        if local and not local.endswith(".") and ".." not in local:
            domain = _DOMAIN.match(text, at + 1)
            if domain and domain[0].rpartition(".")[2].lower() not in _FILES:
                end = domain.end()
                yield at - len(local), end
        at = text.find("@", max(end, at + 1))


# --- IBAN, payment cards, social security numbers --------------------------------------------------------------

_IBAN_START = re.compile("[A-Z]{2}[0-9]{2}")
# Country and characters in all (SWIFT, IBAN Registry).
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


def _ibans(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _IBAN_START.finditer(text):
        start = match.start()
        length = _IBAN_LENGTH.get(text[start : start + 2])
        if length and not _is_word(text, start - 1):
            end, compact = start + length, text[start : start + length]
            separator = text[start + 4 : start + 5]
            if separator in _IBAN_SEPARATORS:  # groups of four characters, and one of what is left
                end += (length - 1) // 4
                groups = text[start:end].split(separator)
                compact = "".join(groups) if all(len(group) == 4 for group in groups[:-1]) else ""
            if len(compact) == length and _is_iban(compact) and not _is_word(text, end):
                yield start, end


_IBAN_SEPARATORS = (" ", "-", "\u00a0")


def _is_iban(compact: str) -> bool:
    """Check digits of ISO 13616 (ISO 7064, MOD 97-10); letters count from A = 10."""
    if not (compact.isascii() and compact.isalnum() and compact.upper() == compact):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


# A number ends where no digit, letter or `-1`, `.1` follows; the same is asked before its first digit.
_END = r"(?![0-9A-Za-z_]|[-.][0-9])"
# Digits in fours, 4-6-5 (American Express), 4-6-4 (Diners Club), or 14 to 19 in a row. Only the first digit is
# consumed, so that a number that fails its checks does not hide one that begins inside it.
_CARD = re.compile(
    r"[0-9](?<![0-9A-Za-z_./][0-9])(?=([0-9]{3}(?:([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{1,3})?"
    rf"|([ -])[0-9]{{6}}\3[0-9]{{4,5}}|[0-9]{{10,15}})){_END})"
)
# Prefixes and lengths by issuer (ISO/IEC 7812; the lists that the card schemes publish).
_ISSUERS = tuple(
    (re.compile(prefix), lengths)
    for prefix, lengths in (
        ("4", (16, 19)),  # Visa; the 13 digits of old are left out because barcodes look like them
        ("5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)", (16,)),  # Mastercard
        ("3[47]", (15,)),  # American Express
        ("30[0-5]|3095|3[689]", (14, 16, 19)),  # Diners Club
        ("6011|64[4-9]|65", (16, 19)),  # Discover
        ("35(?:2[89]|[3-8])", (16, 19)),  # JCB
        ("62", (16, 17, 18, 19)),  # UnionPay
        ("50(?:18|20|38)|5893|6304|6759|676[123]", (16, 18, 19)),  # Maestro
    )
)


def _cards(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        number = match[0] + match[1]
        # A fifth group may belong to the number, or be the security code after sixteen digits.
        for found in (number, number[:19]):
            if _is_card(re.sub("[ -]", "", found)):
                yield match.start(), match.start() + len(found)
                break


def _is_card(digits: str) -> bool:
    """A known issuer's prefix and length, and the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


_SSN = re.compile(rf"(?P<a>[0-9]{{3}})-(?P<g>[0-9]{{2}})-(?P<s>[0-9]{{4}}){_END}")
_SSN_LABELLED = re.compile(
    rf"(?:SSN|[Ss]ocial [Ss]ecurity)[^0-9\n]{{1,16}}(?P<a>[0-9]{{3}})([ .]?)(?P<g>[0-9]{{2}})\2(?P<s>[0-9]{{4}}){_END}"
)


def _ssns(text: str, config: Config) -> Iterator[tuple[int, int]]:
    yield from _ssn_matches(_SSN, text)


def _labelled_ssns(text: str, config: Config) -> Iterator[tuple[int, int]]:
    yield from _ssn_matches(_SSN_LABELLED, text)


def _ssn_matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Never issued: area 000, 666 or from 900 on, group 00, serial 0000 (Social Security Administration)."""
    for match in pattern.finditer(text):
        start, area = match.start("a"), match["a"]
        issued = area not in ("000", "666") and area < "900" and match["g"] != "00" and match["s"] != "0000"
        if issued and not _is_word(text, start - 1) and text[max(0, start - 1) : start] not in ("-", ".", "+"):
            yield start, match.end()


# --- IP addresses ----------------------------------------------------------------------------------------------

_IPV4 = re.compile(
    r"[0-9](?<![0-9A-Za-z_.][0-9])[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z])"
)
# Four numbers with dots that are no address: `section 3.2.1.4`, `Chrome/124.0.0.1`, `EC 3.4.21.4`.
_NUMBERED = re.compile(
    r"(?:(?<![a-z])(?:sections?|sec|§+|figures?|fig|tables?|chapters?|clauses?|articles?|paragraphs?|rules?|appendix"
    r"|version|ver|v|release|build|firmware|update|patch|ec|oid)[.:]?\s?|[0-9a-z]/)\Z",
    re.IGNORECASE,
)
_IPV6 = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6_REST = re.compile(r"[0-9A-Fa-f:]{2,44}(?:(?<=[0-9])(?:\.[0-9]{1,3}){3})?")
_HEX = "0123456789abcdefABCDEF"
# RFC 4291, RFC 4193: global unicast, unique local, link-local, multicast, and the embedded and loopback addresses.
_IPV6_IN_USE = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7", "fe80::/10", "ff00::/8", "::/16")))


def _ipv4(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        start, end = match.span()
        if _is_ipv4(match[0], config) and not _NUMBERED.search(text, max(0, start - 14), start):
            yield start, end


def _is_ipv4(found: str, config: Config) -> bool:
    # 3.2.1.4 numbers a version or a section; resolvers such as 8.8.4.4 repeat their digits.
    if len(found) == 7 and len(set(found)) > 3:
        return False
    try:
        address = ipaddress.IPv4Address(found)
    except ValueError:
        return False
    return config.ip_scope == "all" or address.is_global


def _ipv6(text: str, config: Config) -> Iterator[tuple[int, int]]:
    end, core = 0, _IPV6.search(text)
    while core:
        window = text[max(end, core.start() - 40) : core.start()]
        start = core.start() - (len(window) - len(window.rstrip(_HEX + ":")))
        rest = _IPV6_REST.match(text, core.start())
        end = rest.end() if rest else core.end()
        stop = end - (text[end - 1] == ":" and text[end - 2] != ":")  # a colon that ends a clause
        if not _is_word(text, start - 1) and not _is_word(text, stop) and _is_ipv6(text[start:stop], config):
            yield start, stop
        core = _IPV6.search(text, end)


def _is_ipv6(found: str, config: Config) -> bool:
    if not _DIGIT.search(found):
        return False  # `dead::beef` is more often a name in C++ or Rust
    try:
        address = ipaddress.IPv6Address(found)
    except ValueError:
        return False
    if config.ip_scope == "all":
        return any(address in network for network in _IPV6_IN_USE)
    return address.is_global and address in _IPV6_IN_USE[0]


# --- Phone numbers ---------------------------------------------------------------------------------------------

# E.164: at most 15 digits. Up to four characters may stand between digits: `. `, ` / `, ` - (`.
_INTERNATIONAL = re.compile(r"\+[1-9](?:[ .\-–/()\u00a0]{0,4}[0-9]){6,14}(?![0-9])")
# NANP: area code and exchange begin with 2 to 9, the area's second digit is no 9, and N11 are services.
_NORTH_AMERICAN = re.compile(
    r"[(2-9](?<![0-9A-Za-z_][(2-9])(?:(?<=\()[2-9][0-8][0-9]\) ?|(?<!\()[0-8][0-9][ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    r"(?![0-9A-Za-z_]|[-.,/][0-9])"
)
# Seven digits and more in any grouping, told by the word before them.
_NATIONAL = re.compile(
    r"[(0-9](?<![0-9A-Za-z_,.+][(0-9])(?:[ .\-–/()\u00a0]{0,4}[0-9]){6,14}(?![0-9A-Za-z_]|[-.,/][0-9])"
)
_LABEL_BEFORE = re.compile(
    r"(?<![a-zé])(?:t[ée]l[ée]?)?(?:phone|fono?|fax|tel|t[ée]l|mobile?|cell|handy|whatsapp|hotline|call)"
    r"(?:[-. \u00a0]{0,2}(?:numbers?|nummer|num[eé]ro|no|nr|n°|us|is|at|on|unter|der))*[\s.:,;()/=–-]{0,5}\Z",
    re.IGNORECASE,
)
_DATES = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ][0-9]{1,2}[-./ ]|[0-9]{1,2}[-./ ][0-9]{1,2}[-./ ](?:19|20)[0-9]{2}(?![0-9])"
    r"|(?:19|20)[0-9]{2} ?[-/] ?(?:19|20)[0-9]{2}(?![0-9])"
)


def _international(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _INTERNATIONAL.finditer(text):
        start, end = match.span()
        if not _is_word(text, start - 1) and text[max(0, start - 1) : start] != "+":
            if text[start + 1] == "1":  # NANP: eleven digits, whatever number comes next
                end = _nth_digit(text, start, 11, end)
            yield start, end


def _nth_digit(text: str, start: int, count: int, end: int) -> int:
    """Index after the `count`th digit of `text[start:end]`; `end` if it has fewer."""
    for match in _DIGIT.finditer(text, start, end):
        count -= 1
        if count == 0:
            return match.end()
    return end


def _north_american(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _NORTH_AMERICAN.finditer(text):
        start, end = match.span()
        digits = re.sub("[^0-9]", "", match[0])
        before = text[max(0, start - 3) : start]
        if before[-2:] in ("1-", "1 ", "1.") and not _is_word(text, start - 3):
            start -= 2
        elif _NUMBER_BEFORE.search(before):
            continue
        if digits[1:3] != "11" and digits[4:6] != "11" and not _in_a_row(text, match[0], end):
            yield start, end


_NUMBER_BEFORE = re.compile(r"[0-9][-.,/ ]\Z")


def _in_a_row(text: str, found: str, end: int) -> bool:
    """`312 500 2000 150`: numbers with nothing but spaces between them."""
    return found.count(" ") == 2 and _NUMBER_AFTER.match(text, end) is not None


_NUMBER_AFTER = re.compile(" [0-9]")


def _labelled(text: str, config: Config) -> Iterator[tuple[int, int]]:
    for match in _NATIONAL.finditer(text):
        start, end = match.span()
        if _LABEL_BEFORE.search(text, max(0, start - 32), start) and not _DATES.match(match[0]):
            yield start, end


def _is_word(text: str, index: int) -> bool:
    """Is `text[index]` a letter, a digit or `_`? False outside the text."""
    return 0 <= index < len(text) and (text[index].isalnum() or text[index] == "_")


# Type, whether it needs a digit, finder. The first to claim a stretch of text has it, so the surest come first.
_FINDERS: tuple[tuple[str, bool, Callable[[str, Config], Iterator[tuple[int, int]]]], ...] = (
    ("email", False, _emails),
    ("iban", True, _ibans),
    ("credit_card", True, _cards),
    ("phone", True, _international),
    ("ssn", True, _ssns),
    ("ssn", True, _labelled_ssns),
    ("ip", True, _ipv6),
    ("ip", True, _ipv4),
    ("phone", True, _north_american),
    ("phone", True, _labelled),
)
