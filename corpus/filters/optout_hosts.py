"""The opt-outs that hosts publish in robots.txt, ai.txt and tdmrep.json, looked up by host.

`corpus optout` makes the file, in Arrow's IPC format. Its rows are sorted by `hash`, the hash of a URL's origin
(`scheme://host:port`). The columns `robots`, `ai` and `tdm` have the text of the host's file, null if the host has none
that speaks of AI. The file is mapped into memory, so that all workers share one copy; a look-up is a binary search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.parse import parse_json
from corpus.filters.robots import Rule, allowed, matches, normal, parse_robots, path_of

KINDS = ("robots", "ai", "tdm")
SCHEMA = pa.schema([("hash", pa.uint64()), *((kind, pa.large_string()) for kind in KINDS)])


class Hosts(NamedTuple):
    """The rows of the file; `hashes` are sorted."""

    hashes: NDArray[np.uint64]
    table: pa.Table


def origin(url: str) -> str:
    """`scheme://host[:port]` of a URL, without the scheme's default port; "" if the URL has no host."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    scheme = parts.scheme.lower()
    return f"{scheme}://{host}" + (f":{port}" if port not in (None, {"http": 80, "https": 443}.get(scheme)) else "")


def origin_hash(url: str) -> int:
    """64 bits of the origin's BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(origin(url).encode("utf-8", "replace"), digest_size=8).digest(), "little")


def write_hosts(path: str, rows: Iterable[tuple[int, dict[str, str]]]) -> int:
    """Write (hash of the origin, texts by kind) as a file for `load_hosts`; returns the number of hosts."""
    ordered = sorted(rows, key=lambda row: row[0])
    columns = [pa.array([hash for hash, _ in ordered], pa.uint64())]
    columns += [pa.array([texts.get(kind) for _, texts in ordered], pa.large_string()) for kind in KINDS]
    table = pa.table(columns, schema=SCHEMA)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return len(ordered)


@lru_cache(maxsize=2)
def load_hosts(path: str) -> Hosts:
    """Map the file into memory. Raises ValueError if it was not made by corpus optout."""
    try:
        table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    except pa.ArrowInvalid:
        table = None
    if table is None or not table.schema.equals(SCHEMA):
        raise ValueError(f"{path}: not a file of opt-out rules; make one with corpus optout")
    column = table.column("hash")
    return Hosts(column.chunk(0).to_numpy() if column.num_chunks else np.empty(0, np.uint64), table)


def forbidden(hosts: Hosts, url: str, agents: tuple[str, ...], *, has_tdm: bool) -> list[tuple[str, str]]:
    """(signal, place) of what the files of its host say about the page at `url`.

    `has_tdm`: the page itself speaks of text and data mining, so that the host's tdmrep.json does not count.
    """
    hash = origin_hash(url)
    row = int(np.searchsorted(hosts.hashes, np.uint64(hash)))
    if row == len(hosts.hashes) or int(hosts.hashes[row]) != hash:
        return []
    robots, ai, tdm = (hosts.table.column(kind)[row].as_py() for kind in KINDS)
    opt_outs = []
    rules = _rules(robots or "")
    if named := [name for name in agents if not allowed(rules.get(name.lower(), []), url)]:
        opt_outs.append(("robots", ",".join(named)))
    if not allowed(_rules(ai or "").get("*", []), url):
        opt_outs.append(("ai.txt", "host"))
    if tdm and not has_tdm and _reserved(tdm, url):
        opt_outs.append(("tdm", "host"))
    return opt_outs


def tdm_rules(text: str) -> list[dict[str, Any]]:
    """The rules of a tdmrep.json (W3C TDMRep, section on the file on the origin server).

    [] if the text is no such file.
    """
    try:
        rules = parse_json(text)
    except ValueError:
        return []
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []


def _reserved(tdm: str, url: str) -> bool:
    """Whether the first rule whose `location` matches the path reserves the rights."""
    path = path_of(url)
    for rule in tdm_rules(tdm):
        location = rule.get("location")
        if isinstance(location, str) and matches(normal(location), path):
            return str(rule.get("tdm-reservation")) == "1"
    return False


@lru_cache(maxsize=512)
def _rules(text: str) -> dict[str, list[Rule]]:
    return parse_robots(text)
