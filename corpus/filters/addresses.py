"""What a URL's host and page are, and what a line of a list means. The kernels do the same for the plain ones.

A host is compared in small letters, ASCII (IDNA), unescaped, without the dot at the end; an IP address in its
shortest form. A page is compared without scheme, user, port of the scheme, `www.`, last slashes and fragment; path and
query as they are, in their own case.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

# The first column of a hosts file: where requests for blocked hosts are sent.
_NOWHERE = ("0.0.0.0", "127.0.0.1", "::", "::1")


class Page(NamedTuple):
    """A host and what is compared of the rest: `:8080/path?query`."""

    host: str
    rest: str

    @property
    def key(self) -> str:
        return self.host + self.rest


class Entry(NamedTuple):
    """A line of a list: a page, or a host (`page` None); `below`: written `*.host`, all below it, whatever it is."""

    host: str
    page: Page | None = None
    below: bool = False


def host_of(url: str) -> str:
    """The host of an http or https URL; "" if it is neither or has none."""
    try:
        parts = urlsplit(url)
        return host_key(parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:  # a bracket without its twin in the place of the host
        return ""


def page_of(url: str) -> Page | None:
    """The page of a URL with any scheme; None if it has no host or no port that there is."""
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
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def domains(host: str) -> list[str]:
    """The host and the domains above it, the longest first; an IP address is below nothing."""
    if is_ip(host):
        return [host]
    labels = host.split(".")
    return [".".join(labels[first:]) for first in range(len(labels))]


def read_entry(line: str) -> Entry | None:
    """What a line of a list names: `host`, `*.host`, `.host`, `0.0.0.0 host`, or a page with or without scheme.

    `#` begins a comment. None for a line that is neither a host nor a page.
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
