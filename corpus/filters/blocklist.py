"""Lists of millions of hosts and pages -> one table of sorted 64-bit hashes on disk, which all processes share.

In: files, folders or archives of lists (`corpus.filters.listfiles`). Out: a `Blocklist`. An entry takes eight bytes for
its hash and two for its category. An index by the highest bits of the hash, which are uniform, makes a look-up touch
one or two cache lines. Two different entries have equal hashes with a probability of 2**-64: over five million entries
and ten billion look-ups, the probability of one wrong answer is 0.3 %. The hash is fixed, so every run answers alike.

The table is made once and kept in the user's cache under a name made of the lists' content; every process maps this
file into its memory. The names, sizes and times of lists tell whether they have changed, without reading them. The
cache may be deleted at any time; if it cannot be written, each process makes the table for itself.

A host is listed with all hosts below it, unless it is a public suffix (publicsuffix.org: `co.uk`, `github.io`), below
which thousands of strangers have their sites. A public suffix is listed alone; written `*.github.io`, it is listed with
all hosts below it.
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

from bpe.parse import parse_json
from bpe.whole import write_whole
from corpus.filters.addresses import Entry, Page, domains, is_ip, read_entry
from corpus.filters.listfiles import Piece, identity, read_lists
from corpus.store.files import user_cache

_FORMAT = 1  # version of the cached file, of the hash, and of how lists are read
_ALIGN = 64  # bytes
_MAX_CATEGORIES = 1 << 14
_MAX_ENTRIES = 1 << 26  # the largest public lists have 5 million
_MAX_EXPRESSIONS = 1 << 12  # each is tried at each page; the lists of Toulouse have 50
_SHOWN = 60  # characters of a line in an error message


class Blocklist(NamedTuple):
    """A table of entries, and the regular expressions of its lists.

    hashes       uint64[entries], sorted
    labels       uint16[entries]: the category of each entry << KIND_BITS | its kind (see `kernels.addresses`)
    starts       uint32: the number of the first entry for each value of the highest bits, and the number of entries
    categories   the names of the categories
    expressions  (category, regular expression)
    table        int64[5]: the numbers and addresses that the kernels read
    """

    hashes: NDArray[np.uint64]
    labels: NDArray[np.uint16]
    starts: NDArray[np.uint32]
    categories: tuple[str, ...]
    expressions: tuple[tuple[str, str], ...]
    table: NDArray[np.int64]

    @property
    def address(self) -> int:
        """The address of `table`, for the kernels."""
        return int(self.table.ctypes.data)


def load(paths: Sequence[str], *, allowing: bool = False) -> Blocklist:
    """The lists at `paths` as one table; an entry of several lists has the category of the first list.

    Raises OSError or ValueError that name the list and the fix, if a file cannot be read or is no list.
    """
    if not paths:
        return _table(np.empty(0, np.uint64), np.empty(0, np.uint16), (), ())
    stamps = [identity(path) for path in paths]
    names = [os.path.basename(path) for path in paths]
    stamp = _digest([_FORMAT, suffix_version(), allowing, names, stamps])
    folder = user_cache("urls")
    note = folder / f"{stamp}.key"
    with contextlib.suppress(OSError, ValueError):
        return _mapped(folder / note.read_text())
    content = _digest([_FORMAT, suffix_version(), allowing, [_content(path) for path in paths]])
    with contextlib.suppress(OSError, ValueError):
        lists = _mapped(folder / f"{content}.table")
        write_whole(note, f"{content}.table".encode())
        return lists
    lists = _compiled(paths, allowing)
    if stamps != [identity(path) for path in paths]:
        raise ValueError(f"list {', '.join(paths)}: changed while it was read; run it again when it is whole")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{content}.table", _packed(lists))
        write_whole(note, f"{content}.table".encode())
    except OSError:  # the cache cannot be written: the next process makes the table again
        return lists
    return _mapped(folder / f"{content}.table")


def find_host(host: str, lists: Blocklist) -> tuple[str, str] | None:
    """(domain, category) of the longest listed domain that is `host` or above it; None if none is listed."""
    from corpus.filters.kernels import addresses

    if len(lists.hashes):
        for domain in domains(host):
            kinds = 1 << addresses.BELOW | (1 << addresses.EXACT if domain == host else 0)
            at = addresses.find(_bytes(domain)[::-1], lists.address, kinds)
            if at >= 0:
                return domain, _category(lists, at)
    return None


def find_page(page: Page, lists: Blocklist) -> str | None:
    """The category of a page; None if it is not listed."""
    from corpus.filters.kernels import addresses

    if not len(lists.hashes):
        return None
    at = addresses.find(page_bytes(page), lists.address, 1 << addresses.PAGE)
    return _category(lists, at) if at >= 0 else None


def page_bytes(page: Page) -> bytes:
    """The bytes that the hash of a page is taken over: its host from the end, then the rest."""
    return _bytes(page.host)[::-1] + _bytes(page.rest)


def suffix_version() -> str:
    """The version of the list of public suffixes, which decides which hosts an entry lists."""
    return importlib.metadata.version("publicsuffixlist")


def _category(lists: Blocklist, at: int) -> str:
    return lists.categories[int(lists.labels[at]) >> 2]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _compiled(paths: Sequence[str], allowing: bool) -> Blocklist:
    """The table of lists, made from their files."""
    categories: dict[str, int] = {}
    expressions: dict[tuple[str, str], None] = {}
    hashes, labels = [np.empty(0, np.uint64)], [np.empty(0, np.uint16)]
    count = 0
    for path in paths:
        good, bad = 0, 0
        for piece in read_lists(path, allowing=allowing):
            category = categories.setdefault(piece.category, len(categories))
            if category >= _MAX_CATEGORIES:
                raise ValueError(f"list {path}: more than {_MAX_CATEGORIES:,} categories; name those that you want")
            if piece.patterns:
                for pattern in _patterns(piece):
                    expressions[piece.category, pattern] = None
                    if len(expressions) > _MAX_EXPRESSIONS:
                        raise ValueError(
                            f"list {path}: over {_MAX_EXPRESSIONS:,} regular expressions; list hosts instead"
                        )
                continue
            piece_hashes, piece_labels, strange = _entries(piece, category)
            good, bad = good + len(piece_hashes), bad + len(strange)
            if bad > good:  # every list has a few odd lines
                shown = strange[0].strip()[:_SHOWN]
                raise ValueError(f"list {piece.source}: {shown!r} is no host and no URL; give one entry per line")
            count += len(piece_hashes)
            if count > _MAX_ENTRIES:
                raise ValueError(f"list {path}: over {_MAX_ENTRIES:,} entries; name only the categories you want")
            hashes.append(piece_hashes)
            labels.append(piece_labels)
    return _sorted(np.concatenate(hashes), np.concatenate(labels), tuple(categories), tuple(expressions))


def _sorted(
    hashes: NDArray[np.uint64], labels: NDArray[np.uint16], categories: tuple[str, ...], patterns: Any
) -> Blocklist:
    """The table of entries in any order; of equal entries, the first one is kept."""
    order = np.argsort(hashes, kind="stable")  # stable: of equal entries, the first list's comes first
    hashes, labels = hashes[order], labels[order]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[1:] = (hashes[1:] == hashes[:-1]) & (labels[1:] & 3 == labels[:-1] & 3)
    return _table(hashes[~repeated], labels[~repeated], categories, patterns)


def _table(
    hashes: NDArray[np.uint64], labels: NDArray[np.uint16], categories: tuple[str, ...], patterns: Any
) -> Blocklist:
    """The table of sorted entries, with its index."""
    bits = max(1, len(hashes).bit_length() - 3)  # 4 to 8 entries for each value of so many bits
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
    """(hashes, labels, lines that are no entry) of a piece; the kernel reads plain lines, and Python the others."""
    from corpus.filters.kernels.lists import read_lines

    n = piece.data.count(b"\n")
    hashes, labels, odd = np.empty(n, np.uint64), np.empty(n, np.uint16), np.empty((n, 2), np.int64)
    data = np.frombuffer(piece.data, np.uint8)
    count, strange = read_lines(
        data.ctypes.data, len(data), host_letters().ctypes.data, _suffixes().address, category, (hashes, labels), odd
    )
    no_entry, more = [], []
    for first, end in odd[:strange].tolist():
        line = piece.data[first:end].decode("utf-8", "replace")
        entry = read_entry(line)
        if entry is None:
            no_entry.append(line)
        else:
            more.append(_hashed(entry, category))
    added = np.array([h for h, _ in more], np.uint64), np.array([label for _, label in more], np.uint16)
    return np.concatenate((hashes[:count], added[0])), np.concatenate((labels[:count], added[1])), no_entry


def _hashed(entry: Entry, category: int) -> tuple[int, int]:
    """(hash, label) of an entry."""
    from corpus.filters.kernels import addresses

    if entry.page:
        data, kind = page_bytes(entry.page), addresses.PAGE
    else:
        data = _bytes(entry.host)[::-1]
        alone = not entry.below and is_public_suffix(entry.host)
        kind = addresses.EXACT if alone or is_ip(entry.host) else addresses.BELOW
    return int(addresses.hash_bytes(data)), category << addresses.KIND_BITS | kind


def is_public_suffix(host: str) -> bool:
    """Whether `host` is a public suffix, below which strangers have their sites; a host without a dot is one."""
    from corpus.filters.kernels import addresses

    def listed(name: str, kind: int) -> bool:
        return bool(addresses.find(_bytes(name)[::-1], _suffixes().address, 1 << kind) >= 0)

    _, dot, parent = host.partition(".")
    if not dot or listed(host, addresses.RULE):
        return True
    return listed(parent, addresses.WILDCARD) and not listed(host, addresses.EXCEPTION)


@lru_cache(maxsize=1)
def _suffixes() -> Blocklist:
    """The rules of the list of public suffixes in the package publicsuffixlist."""
    import publicsuffixlist

    from corpus.filters.kernels import addresses

    rules: list[tuple[int, int]] = []
    with open(publicsuffixlist.PSLFILE, encoding="utf-8") as file:
        lines = [line.split()[0] for line in file if line.strip() and not line.startswith("//")]
    for line in lines:
        kinds = {"!": addresses.EXCEPTION, "*": addresses.WILDCARD}
        h = int(addresses.hash_bytes(line.removeprefix("!").removeprefix("*.").encode("idna")[::-1]))
        rules.append((h, kinds.get(line[0], addresses.RULE)))
        if line[0] == "*":  # a domain with a wildcard is a public suffix itself
            rules.append((h, addresses.RULE))
    hashes, labels = zip(*rules, strict=True)
    return _sorted(np.array(hashes, np.uint64), np.array(labels, np.uint16), (), ())


@lru_cache(maxsize=1)
def host_letters() -> NDArray[np.uint8]:
    """uint8[256]: the small letter of each byte of a plain host; 0 of a byte that no plain host has."""
    letters = np.zeros(256, np.uint8)
    for byte in b"abcdefghijklmnopqrstuvwxyz0123456789-_.":
        letters[byte] = letters[ord(chr(byte).upper())] = byte
    return letters


def _patterns(piece: Piece) -> Iterator[str]:
    """The regular expressions of a piece. Raises ValueError if a line does not compile as one."""
    for line in piece.data.decode("utf-8", "replace").split("\n"):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        try:
            with warnings.catch_warnings(
                action="error", category=FutureWarning
            ):  # Python reads [[:alpha:]] differently
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
    """A table as the bytes of a file: one line of JSON, then three arrays, each at a multiple of 64 bytes."""
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
    """A table of the cache, in memory that all its readers share.

    Raises OSError if it cannot be read, ValueError if it is damaged.
    """
    with path.open("rb") as file:
        header_line = file.readline()
        header = parse_json(header_line)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if not isinstance(header, dict) or header.get("crc32") != zlib.crc32(memoryview(data)[len(header_line) :]):
        raise ValueError(f"{path}: damaged")
    entries = header["entries"]
    hashes = np.frombuffer(data, np.uint64, entries, len(header_line))
    labels = np.frombuffer(data, np.uint16, entries, len(header_line) + _aligned(hashes.nbytes))
    at = len(header_line) + _aligned(hashes.nbytes) + _aligned(labels.nbytes)
    starts = np.frombuffer(data, np.uint32, header["starts"], at)
    expressions = tuple((category, pattern) for category, pattern in header["expressions"])
    return _blocklist(hashes, labels, starts, tuple(header["categories"]), expressions)
