"""Lists of millions of hosts and pages as one table of sorted 64-bit hashes, on disk, shared by all that look.

In: files, folders or archives of lists (`corpus.filters.listfiles`). Out: a `Blocklist`, eight bytes an entry, two for
its category, and an index by the highest bits of the hash, which is uniform: a look-up takes one or two cache lines.
Two different entries share a hash with a probability of 2**-64: over five million entries and ten billion look-ups
there is one wrong answer with a probability of 0.3 %. The hash is fixed, so that every run answers alike.

The table is made once and kept in the user's cache, named after the content of the lists; every process maps the same
file into its memory. A list is known again by name, size and times, without reading it. The cache may be deleted at
any time; where it cannot be written, each process makes the table for itself.

A host is listed with all below it, unless it is a public suffix (publicsuffix.org: `co.uk`, `github.io`), below which
lie the sites of thousands of strangers: that is listed by itself, and written `*.github.io` with all below it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import mmap
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.whole import write_whole
from corpus.filters.addresses import Entry, Page, domains, is_ip, read_entry
from corpus.filters.listfiles import Piece, identity, read_lists
from corpus.store.files import user_cache

_FORMAT = 1  # of the cached file, and of what is in it: hash, reading of lists
_ALIGN = 64
_MAX_CATEGORIES = 1 << 14
_SHOWN = 60  # characters of a line in a message


class Blocklist(NamedTuple):
    """A table of entries (`table`: what the kernels take, by address) and the expressions that come with it."""

    hashes: NDArray[np.uint64]  # sorted
    labels: NDArray[np.uint16]  # category and kind of each
    starts: NDArray[np.uint32]  # the first entry with each beginning of a hash, and the number of entries
    categories: tuple[str, ...]
    expressions: tuple[tuple[str, str], ...]  # (category, regular expression)
    table: NDArray[np.int64]

    @property
    def address(self) -> int:
        return int(self.table.ctypes.data)


def load(paths: Sequence[str], *, allowing: bool = False) -> Blocklist:
    """The lists at `paths` as one table; an entry in several is of the first one's category.

    Raises OSError or ValueError that name a list that cannot be read, or is none, and the fix.
    """
    if not paths:
        return _table(np.empty(0, np.uint64), np.empty(0, np.uint16), (), ())
    stamps = [identity(path) for path in paths]
    names = [os.path.basename(path) for path in paths]
    known = _digest([_FORMAT, suffix_version(), allowing, names, stamps])
    folder = user_cache("urls")
    note = folder / f"{known}.key"
    with contextlib.suppress(OSError, ValueError):
        return _mapped(folder / note.read_text())
    content = _digest([_FORMAT, suffix_version(), allowing, [_content(path) for path in paths]])
    with contextlib.suppress(OSError, ValueError):
        found = _mapped(folder / f"{content}.table")
        write_whole(note, f"{content}.table".encode())
        return found
    made = _compiled(paths, allowing)
    if stamps != [identity(path) for path in paths]:
        raise ValueError(f"list {', '.join(paths)}: changed while it was read; run it again when it is whole")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{content}.table", _packed(made))
        write_whole(note, f"{content}.table".encode())
    except OSError:  # no place to write to: this process has it, and the next makes it again
        return made
    return _mapped(folder / f"{content}.table")


def find_host(host: str, lists: Blocklist) -> tuple[str, str] | None:
    """(domain listed, category) of the longest entry that is `host` or above it; None if there is none."""
    from corpus.filters.kernels import addresses

    if len(lists.hashes):
        for domain in domains(host):
            kinds = 1 << addresses.BELOW | (1 << addresses.EXACT if domain == host else 0)
            at = addresses.find(_bytes(domain)[::-1], lists.address, kinds)
            if at >= 0:
                return domain, _category(lists, at)
    return None


def find_page(page: Page, lists: Blocklist) -> str | None:
    """The category of a page that is listed; None if it is not."""
    from corpus.filters.kernels import addresses

    if not len(lists.hashes):
        return None
    at = addresses.find(page_bytes(page), lists.address, 1 << addresses.PAGE)
    return _category(lists, at) if at >= 0 else None


def page_bytes(page: Page) -> bytes:
    """What the hash of a page is taken over: its host from the end, then the rest."""
    return _bytes(page.host)[::-1] + _bytes(page.rest)


def suffix_version() -> str:
    """The version of the list of public suffixes, which decides what an entry means."""
    return importlib.metadata.version("publicsuffixlist")


def _category(lists: Blocklist, at: int) -> str:
    return lists.categories[int(lists.labels[at]) >> 2]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _compiled(paths: Sequence[str], allowing: bool) -> Blocklist:
    categories: dict[str, int] = {}
    expressions: dict[tuple[str, str], None] = {}
    hashes, labels = [np.empty(0, np.uint64)], [np.empty(0, np.uint16)]
    good, bad = 0, 0
    for path in paths:
        good, bad = 0, 0
        for piece in read_lists(path, allowing=allowing):
            category = categories.setdefault(piece.category, len(categories))
            if category >= _MAX_CATEGORIES:
                raise ValueError(f"list {path}: more than {_MAX_CATEGORIES:,} categories; name those that you want")
            if piece.patterns:
                expressions |= dict.fromkeys((piece.category, pattern) for pattern in _patterns(piece))
                continue
            found, kinds, strange = _entries(piece, category)
            good, bad = good + len(found), bad + len(strange)
            if bad > good:  # a few lines of any list are odd
                shown = strange[0].strip()[:_SHOWN]
                raise ValueError(f"list {piece.source}: {shown!r} is no host and no URL; give one entry a line")
            hashes.append(found)
            labels.append(kinds)
    return _sorted(np.concatenate(hashes), np.concatenate(labels), tuple(categories), tuple(expressions))


def _sorted(
    hashes: NDArray[np.uint64], labels: NDArray[np.uint16], categories: tuple[str, ...], patterns: Any
) -> Blocklist:
    order = np.argsort(hashes, kind="stable")  # of the same entry in two lists, the first one's comes first
    hashes, labels = hashes[order], labels[order]
    again = np.zeros(len(hashes), np.bool_)
    again[1:] = (hashes[1:] == hashes[:-1]) & (labels[1:] & 3 == labels[:-1] & 3)
    return _table(hashes[~again], labels[~again], categories, patterns)


def _table(
    hashes: NDArray[np.uint64], labels: NDArray[np.uint16], categories: tuple[str, ...], patterns: Any
) -> Blocklist:
    bits = max(1, len(hashes).bit_length() - 3)  # 4 to 8 entries for each
    beginnings = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    starts = np.append(np.searchsorted(hashes, beginnings), len(hashes)).astype(np.uint32)
    return _blocklist(hashes, labels, starts, categories, patterns)


def _blocklist(
    hashes: NDArray[np.uint64],
    labels: NDArray[np.uint16],
    starts: NDArray[np.uint32],
    categories: tuple[str, ...],
    patterns: tuple[tuple[str, str], ...],
) -> Blocklist:
    parts = [array.ctypes.data for array in (hashes, labels, starts)]
    shift = 64 - (len(starts) - 1).bit_length() + 1
    return Blocklist(
        hashes, labels, starts, categories, patterns, np.array([len(hashes), *parts, shift], dtype=np.int64)
    )


def _entries(piece: Piece, category: int) -> tuple[NDArray[np.uint64], NDArray[np.uint16], list[str]]:
    """(hashes, labels, lines that are nothing) of a piece: the plain lines by the kernel, the others here."""
    from corpus.filters.kernels.lists import read_lines

    n = piece.data.count(b"\n")
    hashes, labels, odd = np.empty(n, np.uint64), np.empty(n, np.uint16), np.empty((n, 2), np.int64)
    data = np.frombuffer(piece.data, np.uint8)
    count, strange = read_lines(
        data.ctypes.data, len(data), host_letters().ctypes.data, _suffixes().address, category, (hashes, labels), odd
    )
    nothing, more = [], []
    for first, end in odd[:strange].tolist():
        line = piece.data[first:end].decode("utf-8", "replace")
        entry = read_entry(line)
        if entry is None:
            nothing.append(line)
        else:
            more.append(_hashed(entry, category))
    added = np.array([h for h, _ in more], np.uint64), np.array([label for _, label in more], np.uint16)
    return np.concatenate((hashes[:count], added[0])), np.concatenate((labels[:count], added[1])), nothing


def _hashed(entry: Entry, category: int) -> tuple[int, int]:
    from corpus.filters.kernels import addresses

    if entry.page:
        data, kind = page_bytes(entry.page), addresses.PAGE
    else:
        data = _bytes(entry.host)[::-1]
        alone = not entry.below and is_public_suffix(entry.host)
        kind = addresses.EXACT if alone or is_ip(entry.host) else addresses.BELOW
    return int(addresses.hash_bytes(data)), category << addresses.KIND_BITS | kind


def is_public_suffix(host: str) -> bool:
    """Whether strangers have their sites below `host`: it is on the list of public suffixes, or has no dot."""
    from corpus.filters.kernels import addresses

    def listed(name: str, kind: int) -> bool:
        return bool(addresses.find(_bytes(name)[::-1], _suffixes().address, 1 << kind) >= 0)

    _, dot, parent = host.partition(".")
    if not dot or listed(host, addresses.RULE):
        return True
    return listed(parent, addresses.WILDCARD) and not listed(host, addresses.EXCEPTION)


@lru_cache(maxsize=1)
def _suffixes() -> Blocklist:
    """The rules of the list of public suffixes that comes with the package of that name."""
    import publicsuffixlist

    from corpus.filters.kernels import addresses

    rules: list[tuple[int, int]] = []
    with open(publicsuffixlist.PSLFILE, encoding="utf-8") as file:
        lines = [line.split()[0] for line in file if line.strip() and not line.startswith("//")]
    for line in lines:
        kinds = {"!": addresses.EXCEPTION, "*": addresses.WILDCARD}
        h = int(addresses.hash_bytes(line.removeprefix("!").removeprefix("*.").encode("idna")[::-1]))
        rules.append((h, kinds.get(line[0], addresses.RULE)))
        if line[0] == "*":  # below it, too, are strangers alone
            rules.append((h, addresses.RULE))
    hashes, labels = zip(*rules, strict=True)
    return _sorted(np.array(hashes, np.uint64), np.array(labels, np.uint16), (), ())


@lru_cache(maxsize=1)
def host_letters() -> NDArray[np.uint8]:
    """What each byte of a plain host counts as; 0: no plain host has it."""
    letters = np.zeros(256, np.uint8)
    for byte in b"abcdefghijklmnopqrstuvwxyz0123456789-_.":
        letters[byte] = letters[ord(chr(byte).upper())] = byte
    return letters


def _patterns(piece: Piece) -> Iterator[str]:
    """The regular expressions of a piece, tried out. Raises ValueError for one that is none."""
    for line in piece.data.decode("utf-8", "replace").split("\n"):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        try:
            with warnings.catch_warnings(action="error", category=FutureWarning):  # [[:alpha:]] means something else
                re.compile(pattern)
        except (re.error, FutureWarning, OverflowError, RecursionError) as error:
            shown = f"{pattern[:_SHOWN]!r} is no regular expression of Python's"
            raise ValueError(f"list {piece.source}: {shown} ({error})") from None
        yield pattern


def _content(path: str) -> list[Any]:
    """Digests of a list's files with the names that decide about categories."""
    digests = []
    for file, *_ in identity(path):
        with open(file, "rb") as stream:
            name = os.path.relpath(file, Path(path).resolve().parent)
            digests.append([name, hashlib.file_digest(stream, "sha256").hexdigest()])
    return digests


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:32]


def _packed(lists: Blocklist) -> bytes:
    """A table as a file: one line of JSON, then the three arrays, each at a multiple of 64 bytes."""
    arrays = b"".join(_padded(array.tobytes()) for array in (lists.hashes, lists.labels, lists.starts))
    header = {
        "entries": len(lists.hashes),
        "starts": len(lists.starts),
        "categories": lists.categories,
        "expressions": lists.expressions,
        "crc32": zlib.crc32(arrays),
    }
    line = json.dumps(header).encode()
    return line + b" " * (_aligned(len(line) + 1) - len(line) - 1) + b"\n" + arrays


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (_aligned(len(data)) - len(data))


def _aligned(size: int) -> int:
    return size + -size % _ALIGN


def _mapped(path: Path) -> Blocklist:
    """A table of the cache, in memory that all its readers share. Raises OSError, ValueError if it is damaged."""
    with path.open("rb") as file:
        header_line = file.readline()
        header = json.loads(header_line)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if header.get("crc32") != zlib.crc32(memoryview(data)[len(header_line) :]):
        raise ValueError(f"{path}: damaged")
    entries = header["entries"]
    hashes = np.frombuffer(data, np.uint64, entries, len(header_line))
    labels = np.frombuffer(data, np.uint16, entries, len(header_line) + _aligned(hashes.nbytes))
    at = len(header_line) + _aligned(hashes.nbytes) + _aligned(labels.nbytes)
    starts = np.frombuffer(data, np.uint32, header["starts"], at)
    expressions = tuple((category, pattern) for category, pattern in header["expressions"])
    return _blocklist(hashes, labels, starts, tuple(header["categories"]), expressions)
