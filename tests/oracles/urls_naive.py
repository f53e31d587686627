"""The URL rules in the plainest way: sets of strings instead of hashes, no kernel, no automaton."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from publicsuffixlist import PublicSuffixList

_SUFFIXES = PublicSuffixList()
_MODULUS = 2**64


@dataclass
class Lists:
    """The hosts and pages that the lines of a list name."""

    exact: set[str] = field(default_factory=set)
    below: set[str] = field(default_factory=set)
    pages: set[tuple[str, str] | None] = field(default_factory=set)

    def domain(self, host: str) -> str | None:
        """The longest listed domain that is the host, or that is above the host and listed with everything below it."""
        if host in self.exact | self.below:
            return host
        while not _is_ip(host) and "." in host:
            host = host[host.index(".") + 1 :]
            if host in self.below:
                return host
        return None


def read(lines: list[str]) -> Lists:
    """Read the lines of a list; each is a host, a page or nothing."""
    lists = Lists()
    for line in lines:
        fields = line.split("#")[0].split()
        if len(fields) == 2 and fields[0] in ("0.0.0.0", "127.0.0.1", "::", "::1"):
            del fields[0]
        if len(fields) != 1:
            continue
        (text,) = fields
        stars = re.match(r"(\*?\.)*", text)
        name = text[stars.end() :] if stars else text
        host = _host(name)
        if "://" not in text and _is_host(host):
            starred = name != text
            plain = _is_ip(host) or (not starred and _SUFFIXES.publicsuffix(host) == host)
            (lists.exact if plain else lists.below).add(host)
        elif "://" in text or name == text:
            page = page_key(text if "://" in text else f"//{text}")
            if page and _is_host(page[0]):
                lists.pages.add(page)
    return lists


def page_key(url: str) -> tuple[str, str] | None:
    """(host, rest) of a URL, None if it has no host or an impossible port."""
    try:
        parts = urlsplit(url)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if not host:
        return None
    if re.match(r"www\..*\.", host):
        host = host[4:]
    path = re.sub(r"/+\Z", "", parts.path) or "/"
    return host, (f":{port}" if port not in (None, 80, 443) else "") + path + (f"?{parts.query}" if parts.query else "")


def verdict(
    url: str, blocked: Lists, allowed: Lists, words: tuple[set[str], set[str], set[str]], limit: int
) -> tuple[str, str] | None:
    """(rule, value) of the first rule that a URL fails."""
    try:
        parts = urlsplit(url)
        host = _host(parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        host = ""
    if not host:
        return "invalid", url[:100]
    page = page_key(url)
    if allowed.domain(host) or page in allowed.pages:
        return None
    if (domain := blocked.domain(host)) is not None:
        return "domain", domain
    if page and page in blocked.pages:
        return "url", "".join(page)
    words_of_url = url_words(url)
    hard, soft, parts_of_words = words
    if seen := sorted(hard & set(words_of_url)):
        return "hard_word", " ".join(seen)
    if len(seen := sorted(soft & set(words_of_url))) >= limit:
        return "soft_words", " ".join(seen)
    text = "".join(words_of_url)
    places = [(text.index(part), -len(part), part) for part in parts_of_words if part in text]
    return ("subword", min(places)[2]) if places else None


def url_words(url: str) -> list[str]:
    words, word = [], ""
    for character in unquote(re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", url)) + " ":
        lower = character.lower()
        if re.match(r"[^\W_]", character) and (character.isascii() or not re.search("[a-z]", lower)):
            word += character
        else:
            words.append(word.lower())
            word = ""
    return [word for word in words if word]


def hash_bytes(data: bytes) -> int:
    """The hash that the table uses, byte by byte."""
    h = 0x9E3779B97F4A7C15
    for byte in data:
        h = (h ^ byte) * 0xD6E8FEB86659FD93 % _MODULUS
        h ^= h >> 29
    return h


def _host(host: str) -> str:
    host = unquote(host).strip().lower()
    while host.endswith("."):
        host = host[:-1]
    if not host.isascii():
        try:
            host = host.encode("idna").decode().lower().rstrip(".")
        except UnicodeError:
            return host
    return str(ipaddress.ip_address(host)) if _is_ip(host) else host


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    return _is_ip(host) or all(
        label and all(c.isalnum() or c in "-_" or ord(c) > 127 for c in label) for label in host.split(".")
    )
