"""Check digits by their definitions, and e-mail addresses by looking at every character around every @."""

from __future__ import annotations

import re
import string

LETTERS = string.ascii_letters + string.digits + "".join(map(chr, range(0xC0, 0x250)))
LOCAL = LETTERS + "_%+-.'"
FILES = {"png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "json", "html", "php", "pdf"}


def luhn(digits: str) -> bool:
    """Doubling every second digit from the right, and adding the digits of what that gives."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += sum(map(int, str(int(digit) * (2 if place % 2 else 1))))
    return total % 10 == 0


def mod97(iban: str) -> int:
    """The remainder, modulo 97, of the number that the rearranged account number spells, by long division."""
    remainder = 0
    for c in iban[4:] + iban[:4]:
        for digit in c if c.isdigit() else str(string.ascii_uppercase.index(c.upper()) + 10):
            remainder = (10 * remainder + int(digit)) % 97
    return remainder


def is_domain(domain: str) -> bool:
    labels = domain.split(".")
    whole = 2 <= len(labels) <= 9 and all(0 < len(label) < 64 for label in labels)
    if not whole or any(c not in LETTERS + "-" for label in labels for c in label):
        return False
    inner = all(label[0] != "-" and label[-1] != "-" for label in labels[:-1])
    top = labels[-1]
    letters = len(top) >= 2 and all(c in string.ascii_letters for c in top)
    coded = (
        top.startswith("xn--") and len(top) > 4 and all(c in string.ascii_lowercase + "0123456789-" for c in top[4:])
    )
    return inner and (letters or coded)


def other_domain_end(text: str, start: int, top_level: list[str]) -> int:
    """Where a domain with letters of other scripts ends: fewest labels, then the longest name of `top_level`."""
    found: list[tuple[int, bool, int, int]] = []
    for end in range(start + 1, min(len(text), start + 256) + 1):
        labels = text[start:end].split(".")
        names, top = labels[:-1], labels[-1]
        whole = 1 <= len(names) <= 8 and all(0 < len(name) < 64 for name in names)
        if not whole or any(not (c.isalnum() or c == "-") for name in names for c in name):
            continue
        if any("-" in (name[0], name[-1]) for name in names):
            continue
        latin = 2 <= len(top) < 64 and all(c in string.ascii_letters for c in top)
        latin = latin and text[end : end + 1] not in tuple(string.ascii_letters + string.digits + "_")
        if top in top_level or latin:
            found.append((len(names), top not in top_level, -len(top), end))
    end = min(found)[3] if found else 0
    return end if end and not text[start:end].isascii() else 0


def emails(text: str, top_level: list[str]) -> list[tuple[int, int]]:
    """(start, end) of each address without quotes, left to right, whose name is in Latin letters; the longest domain
    that ends where no letter or digit follows.
    """
    found: list[tuple[int, int]] = []
    for at in (index for index, c in enumerate(text) if c == "@"):
        left = found[-1][1] if found else 0
        if at < left:
            continue
        start = at
        while start > left and text[start - 1] in LOCAL and at - start < 64:
            start -= 1
        while start < at and text[start] in ".'-+%":
            start += 1
        local = text[start:at]
        if not local or local.endswith(".") or ".." in local:
            continue
        ascii_word = string.ascii_letters + string.digits + "_"
        ends = [
            end
            for end in range(at + 1, len(text) + 1)
            if is_domain(text[at + 1 : end]) and text[end : end + 1] not in tuple(ascii_word)
        ]
        end = max(ends) if ends else other_domain_end(text, at + 1, top_level)
        remote = bool(ends) and re.match(r":([~/]|[\w.-]{1,64}/)", text[end:]) is not None
        if end and not remote and text[at + 1 : end].rpartition(".")[2].lower() not in FILES:
            found.append((start, end))
    return found
