"""Finders of e-mail and IP addresses.

An e-mail address is the dot-atom of RFC 5322 without the characters that separate words in running text; or it has a
quoted name, or a domain or name in another script (RFC 6531); or it is written to hide from harvesters:
`name (at) host (dot) tld`. Words without brackets, `name at host dot com`, are left, because much prose has this form.
Addresses whose domain has no dot are left too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from corpus.pii.text import DIGIT, is_word, words

# --- E-mail ---------------------------------------------------------------------------------------------------

# `=`, `/`, `|`, `{` and some more are legal in a name, but separate words in running text.
_LATIN = "".join(map(chr, range(0xC0, 0x250)))
_ASCII_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%+-.'"
_LOCAL = _ASCII_LOCAL + _LATIN
_LABEL = r"[A-Za-z0-9À-ɏ](?:[A-Za-z0-9À-ɏ-]{0,61}[A-Za-z0-9À-ɏ])?"  # at most 63 characters (RFC 1035)
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[a-z0-9-]{{1,59}}|[A-Za-z]{{2,63}})(?![A-Za-z0-9_])")
# Top-level domains in other scripts (IANA, root zone database), longest first. In scripts without spaces between words,
# only this list tells where a domain ends.
_TLDS = sorted(words("top_level"), key=len, reverse=True)
_OTHER_DOMAIN = re.compile(
    r"(?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.){1,8}?(?:(?P<tld>"
    + "|".join(map(re.escape, _TLDS))
    + r")|[A-Za-z]{2,63}(?![A-Za-z0-9_]))"
)
_AT_SIGN = re.compile(r"@(?<=[^\s@]@)(?=[^\W_])")
# The endings of files: `icon@2x.png` is no address.
_FILES = ("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "json", "html", "php", "pdf")
_REMOTE_PATH = re.compile(r":(?:[~/]|[\w.-]{1,64}/)")  # git@host.example:group/project
_QUOTED = re.compile(r'"[^"\\\s@](?:[^"\\\r\n]{0,60}[^"\\\s])?"\Z')
_OTHER_LOCAL = re.compile(r"[\w.+-]{1,64}\Z")


def emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses with an @, from left to right."""
    end = 0
    for sign in _AT_SIGN.finditer(text):
        at = sign.start()
        stop = _domain_end(text, at + 1) if at >= end else 0
        start = _local_start(text, max(end, at - 64), at) if stop else at  # RFC 5321: a name has at most 64 characters
        if start < at:
            end = stop
            yield start, end


def _local_start(text: str, first: int, at: int) -> int:
    """The start of the name before the @ at `at`, not before `first`; `at` if there is no name."""
    window = text[first:at]
    local = window[len(window.rstrip(_LOCAL)) :].lstrip(".'-+%")
    if not local and window and not window.isascii():
        other = _OTHER_LOCAL.search(window)
        # Chinese has no spaces between words, so nothing tells where a name would begin.
        if other and not any("\u2e80" <= c <= "\ud7ff" for c in other[0]):
            local = other[0].lstrip(".-+")
    if not local and window.endswith('"'):
        quoted = _QUOTED.search(window)
        return first + quoted.start() if quoted else at
    return at if local.endswith(".") or ".." in local else at - len(local)


def _domain_end(text: str, start: int) -> int:
    """The end of the domain that begins at `start`; 0 if none begins there."""
    domain = _DOMAIN.match(text, start)
    if domain:
        is_file = domain[0].rpartition(".")[2].lower() in _FILES
        return 0 if is_file or _REMOTE_PATH.match(text, domain.end()) else domain.end()
    window = text[start : start + 256]  # RFC 5321: a domain has at most 255 characters
    if window.isascii():
        return 0
    other = _OTHER_DOMAIN.match(window)
    return start + other.end() if other and not other[0].isascii() else 0


# The words that stand for @ and the dot, in brackets of any kind or in capitals.
_AT = (
    r"(?:[ \t]{0,2}[(\[{<][ \t]?(?:at|AT|At|ät|a|@|arroba|chiocciola|собака)[ \t]?[)\]}>][ \t]{0,2}"
    r"|[ \t]AT[ \t])"
)
_DOT = (
    r"(?:[ \t]{0,2}[(\[{<][ \t]?(?:dot|DOT|Dot|d0t|punkt|point|punto|ponto|точка|\.)[ \t]?[)\]}>][ \t]{0,2}"
    r"|[ \t]DOT[ \t]|\.)"
)
_HIDDEN_AT = re.compile(rf"(?:{_AT}|%40|&#64;)(?=[A-Za-z0-9])")
# The ends of such words with their closing bracket; the opening bracket is at most 16 characters before. Each bracket
# has a pattern of its own, because the search for one fixed first character runs at the speed of memory.
_CLOSED = tuple(
    re.compile(
        rf"{re.escape(bracket)}(?:(?<=[aAä][tT].)|(?<=[aAä][tT] .)|(?<=@.)|(?<=@ .)"
        r"|(?<=[(\[{<]a.)|(?<=rroba.)|(?<=hiocciola.)|(?<=обака.))"
    )
    for bracket in ")]}>"
)
_HIDDEN_LOCAL = re.compile(rf"[A-Za-z0-9_+-]{{1,40}}(?:{_DOT}[A-Za-z0-9_+-]{{1,40}}){{0,3}}\Z")
_HIDDEN_DOMAIN = re.compile(
    rf"[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?"
    rf"(?:{_DOT}[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?){{0,4}}{_DOT}[A-Za-z]{{2,24}}(?![A-Za-z0-9_])"
)


def hidden_emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses that are written to hide from harvesters, from left to right."""
    end = 0
    for place in sorted(_hiding_places(text)):
        match = _HIDDEN_AT.search(text, max(end, place - 16), place + 8)
        domain = _HIDDEN_DOMAIN.match(text, match.end()) if match else None
        if not match or not domain or domain[0].rpartition(".")[2].lower() in _FILES:
            continue
        # `LOOK AT THE.END`: if AT is a word without brackets, the dot must be a word too.
        if match[0].strip() == "AT" and "DOT" not in domain[0]:
            continue
        first = max(end, match.start() - 64)
        local = _HIDDEN_LOCAL.search(text[first : match.start()])
        if local:
            end = domain.end()
            yield first + local.start(), end


def _hiding_places(text: str) -> Iterator[int]:
    """The places where the sign of a hidden address may be, in no order."""
    for closed in _CLOSED:
        for match in closed.finditer(text):
            yield match.start()
    for sign in (" AT ", "%40", "&#64;"):
        place = text.find(sign)
        while place >= 0:
            yield place
            place = text.find(sign, place + len(sign))


# --- IP addresses ----------------------------------------------------------------------------------------------

_IPV4 = re.compile(
    r"[0-9](?<![0-9A-Za-z_.][0-9])[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z])"
)
# Begins with one fixed character, for the speed of the search.
_DOTS = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
# What stands before four numbers with dots that are no address: `section 3.2.1.4`, `Chrome/124.0.0.1`, `EC 3.4.21.4`.
_NUMBERED = re.compile(
    r"(?:(?<![a-z])(?:sections?|sec|§+|figures?|fig|tables?|chapters?|clauses?|articles?|paragraphs?|rules?|appendix"
    r"|version|versión|versão|versione|ver|v|release|build|firmware|update|patch|ec|oid|abschnitt|kapitel|capítulo"
    r"|chapitre|sección|abb|tabelle|версия|раздел|глава|版本|第|章|節)[.:]?\s?|[0-9a-z]/)\Z",
    re.IGNORECASE,
)
_VERSIONED = re.compile(
    r"(?<![^\W_])(?:(?:file|product|assembly|package)?versi|release|build|firmware|updat|upgrad|downgrad|patch|driver|install|kernel|верси|обновл)",
    re.IGNORECASE,
)
# The word before a quad of numbers below 100, with a space between: the name of a program, or a word that links.
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[ \u00a0]\Z")
_LINKS = frozenset(words("links"))
_RESOLVERS = frozenset(words("resolvers"))
_PROGRAMS = re.compile(
    r"(?<![^\W_])(?:"
    + "|".join(words("programs"))
    + r")(?: (?:for|on|pro|desktop|player|reader|browser|server|app)){0,2}[ \u00a0]\(?\Z",
    re.IGNORECASE,
)
_PORT = re.compile(r"(?:/[0-3]?[0-9]|:[0-9]{2,5})(?![0-9.])")
_NETWORK = re.compile(
    r"(?<![^\W_])(?:ips?|ipv4|dns|servers?|hosts?|address(?:es)?|adresse?|dirección|resolvers?|nameservers?|gateway"
    r"|ping|inet|upstream|subnet|traceroute|ssh|proxy|router|firewall|login|logged|visitors?|client|адрес|сервер)(?![^\W_])|地址|服务器|://",
    re.IGNORECASE,
)
_IPV6 = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6_REST = re.compile(r"[0-9A-Fa-f:]{2,44}(?:(?<=[0-9])(?:\.[0-9]{1,3}){3})?")
_HEX = "0123456789abcdefABCDEF"
# Global unicast, unique local, link-local and multicast addresses; loopback and embedded ones (RFC 4291, RFC 4193).
_IPV6_IN_USE = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7", "fe80::/10", "ff00::/8", "::/16")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address inside


def ipv4(text: str, public: bool) -> Iterator[tuple[int, int]]:
    """IPv4 addresses; with `public`, only addresses that the internet routes (IANA, special-purpose registry)."""
    for dots in _DOTS.finditer(text):
        first = dots.start()
        match = _IPV4.match(text, first - _digits_before(text, first))
        if not match:
            continue
        start, end = match.span()
        if _is_ipv4(match[0], public) and not _is_numbering(text, start, match[0]):
            yield start, end


def _digits_before(text: str, index: int) -> int:
    """The number of digits that end at `index`, at most three."""
    window = text[max(0, index - 3) : index]
    return len(window) - len(window.rstrip("0123456789"))


def _is_ipv4(quad: str, public: bool) -> bool:
    try:
        address = ipaddress.IPv4Address(quad)
    except ValueError:
        return False
    return not public or (address.is_global and not address.is_multicast)


def _is_numbering(text: str, start: int, quad: str) -> bool:
    """Whether the four numbers at `start` are rather a version, or the number of a section."""
    if _NUMBERED.search(text, max(0, start - 16), start):
        return True
    before = text[max(0, start - 48) : start].rpartition("\n")[2]
    if _PROGRAMS.search(before):
        return True
    if max(map(int, quad.split("."))) >= 100:
        return False
    if _NETWORK.search(before) or _PORT.match(text, start + len(quad)):
        return False
    word = _WORD_BEFORE.search(before)
    if (
        word
        and quad not in _RESOLVERS
        and min(map(int, quad.split("."))) < 10
        and word[1].lower() not in _LINKS
        and "://" not in before
    ):
        return True  # `jquery 1.12.4.1`, and names of programs that no list has
    # 3.2.1.4 is a version or a section; the addresses of resolvers, such as 8.8.4.4, repeat their digits.
    return _VERSIONED.search(before) is not None or (len(quad) == 7 and len(set(quad)) > 3)


def ipv6(text: str, public: bool) -> Iterator[tuple[int, int]]:
    """IPv6 addresses in every form of RFC 4291, section 2.2, without their zone and prefix length."""
    end, core = 0, _IPV6.search(text)
    while core:
        window = text[max(end, core.start() - 40) : core.start()]
        start = core.start() - (len(window) - len(window.rstrip(_HEX + ":")))
        rest = _IPV6_REST.match(text, core.start())
        end = rest.end() if rest else core.end()
        colons = end - core.start() - len(text[core.start() : end].rstrip(":"))
        stop = end - (colons in (1, 3))  # the last colon belongs to the sentence
        for first in (start, *_after_label(text, start, stop)):
            if not is_word(text, first - 1) and not is_word(text, stop) and _is_ipv6(text[first:stop], public):
                yield first, stop
                break
        core = _IPV6.search(text, end)


def _after_label(text: str, start: int, stop: int) -> list[int]:
    """The start of the address if a label stands before its first colon: `addr:2001:db8::1`, `:2001::1`."""
    colon = text.find(":", start, stop)
    return [colon + 1] if 0 <= colon - start <= 4 and text[colon + 1 : colon + 2] != ":" else []


def _is_ipv6(written: str, public: bool) -> bool:
    if not DIGIT.search(written):
        return False  # `dead::beef` is more often a name in C++ or Rust
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return False
    embedded = address.ipv4_mapped or (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
    if not public:
        return embedded is not None or any(address in network for network in _IPV6_IN_USE)
    if embedded is not None:
        return embedded.is_global
    return address.is_global and address in _IPV6_IN_USE[0]
