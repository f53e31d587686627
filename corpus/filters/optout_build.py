"""A crawl's robots records -> the file in which the opt-out filter looks up hosts.

In: WARC files with the pages `/robots.txt`, `/ai.txt` and `/.well-known/tdmrep.json`. Common Crawl publishes the first
as `robotstxt` files; your own crawl has them among its pages. Out: one Arrow file, see `corpus.filters.optout_hosts`.
Of a robots.txt, the rules for named crawlers are kept, which are a hundredth of it; a host without such rules is left
out. If a file was crawled several times, the last one counts. All hosts are in memory until they are written: a million
hosts that name crawlers take some 500 MB.
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
    """The summary of a build.

    read        the number of files by kind
    damaged     the number of damaged WARC records
    hosts       the number of hosts that were written
    forbidding  by crawler, the number of hosts that forbid it every page
    """

    read: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    hosts: int = 0
    forbidding: Counter[str] = field(default_factory=Counter)


def build_hosts(paths: Iterable[str], agents: Sequence[str], output: str) -> OptOuts:
    """Read WARC files and write the file of hosts; `agents` are the crawlers whose rules are kept.

    Raises ValueError if a file is no WARC file, or if no file has a page of the three kinds.
    """
    summary = OptOuts()
    latest: dict[tuple[int, str], tuple[str, str]] = {}  # (host, kind) -> (date, text)
    for path in paths:
        with open_path(path) as stream:
            whole = 0
            for record in records(Window(stream, 0), MAX_BYTES):
                summary.damaged += record.fault is not None
                whole += record.fault is None
                _take(record, agents, summary, latest)
        if not whole:
            raise ValueError(f"{path}: not a WARC file; give the robotstxt files of a crawl")
    if not summary.read:
        raise ValueError("no robots.txt, ai.txt or tdmrep.json in these files; give the robotstxt files of a crawl")
    hosts: dict[int, dict[str, str]] = {}
    for (host, kind), (_, text) in latest.items():
        if text:
            hosts.setdefault(host, {})[kind] = text
    summary.forbidding.update(
        agent
        for texts in hosts.values()
        for agent, rules in parse_robots(texts.get("robots", "")).items()
        if Rule(False, "/") in rules and not any(rule.allow for rule in rules)
    )
    summary.hosts = write_hosts(output, hosts.items())
    return summary


def _take(
    record: WarcRecord, agents: Sequence[str], summary: OptOuts, latest: dict[tuple[int, str], tuple[str, str]]
) -> None:
    """Keep the text of a record of the three kinds in `latest`, if it is the last of its host."""
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
    summary.read[kind] += 1
    text = _KEPT[kind](body[:MAX_BYTES].decode("utf-8-sig", "replace"), agents)
    key = (origin_hash(url), kind)
    latest[key] = max(latest.get(key, ("", "")), (record.headers.get("warc-date", ""), text))


def _kind(url: str) -> str | None:
    try:
        return _KINDS.get(urlsplit(url).path)
    except ValueError:
        return None


def _robots(text: str, agents: Sequence[str]) -> str:
    """A robots.txt with the rules for `agents` alone; "" if there are none."""
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
