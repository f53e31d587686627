"""PAGES -> PAGES with their publishers' opt-outs from use for AI: recorded, and dropped if the recipe asks for it.

A machine-readable opt-out is binding in the European Union (Directive 2019/790, article 4). `_SIGNALS` names the
signals that are read and their sources. A signal stands in one of these places:

- `meta`: `<meta name="robots">`, or the name of an AI crawler in place of `robots`; `<meta name="tdm-reservation">`;
- `header`: the HTTP headers `X-Robots-Tag` and `TDM-Reservation`;
- `host`, or the names of crawlers: the host's `/.well-known/tdmrep.json`, `/ai.txt` and `/robots.txt`.

On text and data mining, the page's own word counts before the header's, and the header's before the host's file. Of
robots.txt, only groups that name an AI crawler count: the crawl that brought the page has obeyed the group for all
crawlers (`*`), which says nothing about AI.

The files of hosts are looked up in a file that `corpus optout` makes of the crawl's robots records (`hosts` here). The
column `opt_out` holds all signals that were found, as `signal:place` separated by spaces; it is null where none was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.optout_hosts import forbidden, load_hosts
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Rule, Stage

NAME = "optout"
OPT_OUT = pa.field("opt_out", pa.string())
_TAGS = "noai", "noimageai", "noml"
_DEVIANTART = "DeviantArt, November 2022"
# Each signal, what it says, and its source.
_SIGNALS = {
    "noai": ("`noai` in a robots meta element or the header X-Robots-Tag", _DEVIANTART),
    "noimageai": ("`noimageai` in a robots meta element or the header X-Robots-Tag", _DEVIANTART),
    "noml": ("`noml` in a robots meta element or the header X-Robots-Tag", "noml.info"),
    "tdm": ("rights to text and data mining that the page or its host reserves", "W3C TDMRep, final report, May 2024"),
    "robots": ("robots.txt that names an AI crawler and forbids it the page", "RFC 9309"),
    "ai.txt": ("the host's ai.txt, which forbids the page", "Spawning's ai.txt"),
}
SIGNALS = tuple(_SIGNALS)

# Crawlers whose owners say that they gather text to train models, by their names in robots.txt. Crawlers that fetch a
# page to answer one user's question, or for a search engine, are not among them.
AI_AGENTS = (
    *("AI2Bot", "Ai2Bot-Dolma", "Amazonbot", "anthropic-ai", "Applebot-Extended", "Bytespider", "CCBot", "ClaudeBot"),
    *("cohere-training-data-crawler", "Diffbot", "FacebookBot", "Google-Extended", "GPTBot", "Meta-ExternalAgent"),
    *("omgili", "PanguBot", "Timpibot", "Webzio-Extended"),
)

_HEAD_BYTES = 256 * 1024  # `<meta>` is searched for up to the end of the head, and no farther than this
_HEAD_END = re.compile(rb"</head|<body[\s>]", re.IGNORECASE)
_META = re.compile(rb"<meta[\s/]([^>]{0,4096})>", re.IGNORECASE)  # bounded, so that no page decides how long it takes
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'>]{1,64})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_HINTS = (b"noai", b"noimageai", b"noml", b"tdm-reservation")


@dataclass(frozen=True)
class Config:
    drop: tuple[str, ...] = setting(
        (), "drop pages with this signal (default: only record and count)", choices=SIGNALS, flag="--drop-opt-out"
    )
    hosts: str | None = setting(
        None,
        "file of corpus optout: the robots.txt, ai.txt and tdmrep.json of hosts",
        flag="--opt-out-hosts",
        path=True,
    )
    agents: tuple[str, ...] = setting(AI_AGENTS, "AI crawler whose rules in robots.txt count", flag="--ai-agent")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Read the opt-outs of a PAGES batch; kept rows get the column `opt_out`, and `sums` counts pages by signal.

    Raises ValueError if the file `hosts` was not made by corpus optout.
    """
    hosts = load_hosts(config.hosts) if config.hosts else None
    names = frozenset(name.lower() for name in ("robots", *config.agents))
    headers = batch.column("robots_headers").to_pylist()
    urls = batch.column("url").to_pylist()
    recorded: list[str | None] = []
    drops: dict[int, Drop] = {}
    for row, (html, header, url) in enumerate(zip(batch.column("html"), headers, urls, strict=True)):
        page = html.as_buffer()  # not copied, as only the head is needed
        head = page.slice(0, min(page.size, _HEAD_BYTES)).to_pybytes() if page else b""
        opt_outs = signals(head, header or "", names)
        if hosts is not None:
            opt_outs += forbidden(hosts, url or "", config.agents, has_tdm=any(name == "tdm" for name, _ in opt_outs))
        opt_outs = [item for item in opt_outs if item != ("tdm", "")]
        recorded.append(" ".join(f"{name}:{place}" for name, place in opt_outs) or None)
        unwanted = next(((name, place) for name, place in opt_outs if name in config.drop), None)
        if unwanted:
            drops[row] = Drop(f"{NAME}.{_rule(unwanted[0])}", unwanted[1], "no opt-out")
    split = outcome(replace_column(batch, OPT_OUT.name, pa.array(recorded, pa.string())), NAME, drops)
    return split._replace(sums=_sums(split.kept.column(OPT_OUT.name).to_pylist()))


def _rule(signal: str) -> str:
    """The name of a signal's rule."""
    return signal.replace(".", "_")


def _sums(recorded: list[str | None]) -> dict[str, int]:
    """The number of pages with each signal."""
    return Counter(
        f"opt_out_{name}" for value in recorded if value for name in {part.partition(":")[0] for part in value.split()}
    )


def signals(html: bytes, headers: str, names: frozenset[str]) -> list[tuple[str, str]]:
    """(signal, place) of what the page and its HTTP headers say, each pair once.

    A page that says that its rights are not reserved has ("tdm", ""). `headers` has a line `name: value` for each
    header, with the name in lower case; `names` are the crawlers that a signal may address, in lower case.
    """
    opt_outs: dict[tuple[str, str], None] = {}
    tdm: str | None = None
    for name, content in _metas(html):
        if name in names:
            opt_outs |= dict.fromkeys((token, "meta") for token in _tokens(content))
        elif name == "tdm-reservation" and content.strip() in ("0", "1"):
            tdm = "meta" if content.strip() == "1" else ""
    for line in headers.split("\n"):
        name, _, value = line.partition(":")
        if name == "x-robots-tag":
            opt_outs |= dict.fromkeys((token, "header") for token in _addressed(value, names))
        elif name == "tdm-reservation" and tdm is None and value.strip() in ("0", "1"):
            tdm = "header" if value.strip() == "1" else ""
    return [*opt_outs, *([("tdm", tdm)] if tdm is not None else [])]


def _metas(html: bytes) -> Iterator[tuple[str, str]]:
    """(name in lower case, content) of the `<meta>` elements of the page's head."""
    head = html[:_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:2] in (b"<\0", b"\0<"):
        head = head.replace(b"\0", b"")  # UTF-16; all names and signals are ASCII
    lower = head.lower()
    if not any(hint in lower for hint in _HINTS):  # true of most pages, and takes a hundredth of the time
        return
    head = _COMMENT.sub(b"", head)
    end = _HEAD_END.search(head)
    for meta in _META.finditer(head, 0, end.start() if end else len(head)):
        attributes: dict[str, str] = {}
        for name, *values in _ATTRIBUTE.findall(meta[1]):
            attributes.setdefault(name.decode("latin_1").lower(), b"".join(values).decode("latin_1"))
        if "name" in attributes:
            yield attributes["name"].strip().lower(), attributes.get("content", "")


def _tokens(content: str) -> list[str]:
    return [token for token in map(str.strip, content.lower().split(",")) if token in _TAGS]


def _addressed(value: str, names: frozenset[str]) -> list[str]:
    """The tokens of an X-Robots-Tag that no crawler's name precedes, or one of `names`: not of `otherbot: noai`."""
    name, colon, rest = value.partition(":")
    if colon and "," not in name:
        return _tokens(rest) if name.strip().lower() in names else []
    return _tokens(value)


STAGE = Stage(
    NAME,
    Config,
    process,
    tuple(Rule(_rule(signal), what, "listed", "drop", source) for signal, (what, source) in _SIGNALS.items()),
    command="extract",
    reads="pages",
    alone=True,
    columns=lambda config: (OPT_OUT,),
    sums={"opt_out_": "opt-outs of pages that stay"},
)
