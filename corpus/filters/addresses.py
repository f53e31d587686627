"""A URL -> its host and its page as they are compared; a line of a list -> the host or page that it names.

A host is compared in small letters, in ASCII (IDNA), unescaped, and without the dot at its end; an IP address in its
shortest form. A page is compared without its scheme, user, default port, `www.`, last slashes and fragment. Its path
and query are compared as they are, with regard to case. `corpus.filters.kernels.addresses` does this for plain
addresses.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

# The addresses in the first column of a hosts file, which requests for blocked hosts are sent to.
_NOWHERE = ("0.0.0.0", "127.0.0.1", "::", "::1")


class Page(NamedTuple):
    """A page as it is compared: its host, and the rest, such as `:8080/path?query`."""

    host: str
    rest: str

    @property
    def key(self) -> str:
        return self.host + self.rest


class Entry(NamedTuple):
    """A line of a list.

    host   the host that the line names, or the host of its page
    page   the page that the line names; None if it names a host
    below  whether the line is written `*.host`: the host and all hosts below it, even if it is a public suffix
    """

    host: str
    page: Page | None = None
    below: bool = False


def host_of(url: str) -> str:
    """The host of an http or https URL; "" of any other URL, or if there is no host."""
    try:
        parts = urlsplit(url)
        return host_key(parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:  # an unclosed bracket in the host
        return ""


def page_of(url: str) -> Page | None:
    """The page of a URL with any scheme; None if it has no host, or an impossible port."""
    try:
        parts = urlsplit(url)
        return _page(parts, parts.port)
    except ValueError:
        return None


def _page(parts: SplitResult, port: int | None) -> Page | None:
    host = host_key(parts.hostname or "")
    if not host:
        return None
    if host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    path = parts.path.rstrip("/") or "/"
    query = f"?{parts.query}" if parts.query else ""
    return Page(host, ("" if port in (None, 80, 443) else f":{port}") + path + query)


def host_key(host: str) -> str:
    """A host as it is compared."""
    if "%" in host:
        host = unquote(host)
    host = host.strip().lower().rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower().rstrip(".")
        except UnicodeError:
            return host
    return str(ipaddress.ip_address(host)) if is_ip(host) else host


def is_ip(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def domains(host: str) -> list[str]:
    """The host and the domains above it, the longest first; there is no domain above an IP address."""
    if is_ip(host):
        return [host]
    labels = host.split(".")
    return [".".join(labels[first:]) for first in range(len(labels))]


def read_entry(line: str) -> Entry | None:
    """The entry of a line: `host`, `*.host`, `.host`, `0.0.0.0 host`, or a page with or without a scheme.

    `#` begins a comment. None if the line names neither a host nor a page.
    """
    fields = line.partition("#")[0].split()
    if len(fields) == 2 and fields[0] in _NOWHERE:
        fields = fields[1:]
    if len(fields) != 1:
        return None
    text = fields[0]
    if "://" in text:
        page = page_of(text)
        return Entry(page.host, page) if page and _is_host(page.host) else None
    name = text
    while name.startswith((".", "*.")) and len(name) > 1:
        name = name[1:] if name[0] == "." else name[2:]
    below = name != text
    host = host_key(name)
    if _is_host(host):
        return Entry(host, below=below)
    page = page_of(f"//{text}")
    return Entry(page.host, page) if page and _is_host(page.host) and not below else None


def _is_host(host: str) -> bool:
    if is_ip(host):
        return True
    return all(host.split(".")) and all(c.isalnum() or c in "-_." or not c.isascii() for c in host)
