"""A crawl's robots records -> the file in which the opt-out filter looks hosts up.

In: WARC files that hold `/robots.txt`, `/ai.txt` and `/.well-known/tdmrep.json` (Common Crawl publishes the first as
`robotstxt` files; a crawl of one's own has them among its pages). Out: one Arrow file, see `filters.optout_hosts`.
Of a robots.txt only the rules for named crawlers are kept, which is a hundredth of it; a host without any is left
out. If a file was crawled several times, the last one counts. Everything is held in memory until it is written:
a million hosts that name crawlers take some 500 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from corpus.filters.optout_hosts import origin_hash, tdm_rules, write_hosts
from corpus.filters.robots import MAX_BYTES, Rule, parse_robots
from corpus.store.open import open_path
from corpus.warc.framing import WarcRecord, records
from corpus.warc.http_body import undo_codings
from corpus.warc.members import Window

_KINDS = {"/robots.txt": "robots", "/ai.txt": "ai", "/.well-known/tdmrep.json": "tdm"}


@dataclass
class OptOuts:
    """What was found: files read by kind, hosts written, and how many hosts forbid a crawler everything."""

    read: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    hosts: int = 0
    forbidding: Counter[str] = field(default_factory=Counter)


def build_hosts(paths: Iterable[str], agents: Sequence[str], output: str) -> OptOuts:
    """Read WARC files and write the file of hosts; `agents` are the crawlers whose rules are kept.

    Raises ValueError if a file is no WARC, or none of them holds a file of the three kinds.
    """
    found = OptOuts()
    latest: dict[tuple[int, str], tuple[str, str]] = {}  # (host, kind) -> (date, text)
    for path in paths:
        with open_path(path) as stream:
            whole = 0
            for record in records(Window(stream, 0), MAX_BYTES):
                found.damaged += record.fault is not None
                whole += record.fault is None
                _take(record, agents, found, latest)
        if not whole:
            raise ValueError(f"{path}: not a WARC file; give the robotstxt files of a crawl")
    if not found.read:
        raise ValueError("no robots.txt, ai.txt or tdmrep.json in these files; give the robotstxt files of a crawl")
    hosts: dict[int, dict[str, str]] = {}
    for (host, kind), (_, text) in latest.items():
        if text:
            hosts.setdefault(host, {})[kind] = text
    found.forbidding.update(
        agent
        for texts in hosts.values()
        for agent, rules in parse_robots(texts.get("robots", "")).items()
        if Rule(False, "/") in rules and not any(rule.allow for rule in rules)
    )
    found.hosts = write_hosts(output, hosts.items())
    return found


def _take(
    record: WarcRecord, agents: Sequence[str], found: OptOuts, latest: dict[tuple[int, str], tuple[str, str]]
) -> None:
    url = record.headers.get("warc-target-uri", "").strip("<>")
    kind = _kind(url)
    if kind is None or record.fault or record.type not in ("response", "resource"):
        return
    body = record.body
    if record.http is not None:
        if record.http.status != "200":
            return
        headers = record.http.headers
        coding = headers.get("content-encoding", "")
        body, _ = undo_codings(body, headers.get("transfer-encoding", ""), coding, MAX_BYTES)
    found.read[kind] += 1
    text = _KEPT[kind](body[:MAX_BYTES].decode("utf-8-sig", "replace"), agents)
    key = (origin_hash(url), kind)
    latest[key] = max(latest.get(key, ("", "")), (record.headers.get("warc-date", ""), text))


def _kind(url: str) -> str | None:
    try:
        return _KINDS.get(urlsplit(url).path)
    except ValueError:
        return None


def _robots(text: str, agents: Sequence[str]) -> str:
    """The rules for named crawlers, as a robots.txt of its own; "" if there are none."""
    rules = parse_robots(text)
    return "\n".join(_group(name, rules[name.lower()]) for name in agents if rules.get(name.lower()))


def _ai(text: str, agents: Sequence[str]) -> str:
    rules = parse_robots(text).get("*")
    return _group("*", rules) if rules else ""


def _tdm(text: str, agents: Sequence[str]) -> str:
    return text if any(str(rule.get("tdm-reservation")) == "1" for rule in tdm_rules(text)) else ""


_KEPT: dict[str, Callable[[str, Sequence[str]], str]] = {"robots": _robots, "ai": _ai, "tdm": _tdm}


def _group(name: str, rules: list[Rule]) -> str:
    lines = [f"{'Allow' if rule.allow else 'Disallow'}: {rule.pattern}" for rule in rules]
    return "\n".join([f"User-agent: {name}", *lines, ""])
