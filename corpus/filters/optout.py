"""PAGES -> PAGES with what their publishers say about use for AI: recorded, and dropped if the recipe says so.

Nobody's opt-out is read by the tools that came before this one, and the law of the European Union (Directive 2019/790,
article 4) makes a machine-readable one binding. Signals, and where each may stand:

- `noai`, `noimageai`, `noml`: `<meta name="robots">` (or the name of an AI crawler in place of `robots`) and the HTTP
  header `X-Robots-Tag` (DeviantArt 2022; noml.info);
- `tdm`: rights to text and data mining are reserved (W3C TDM Reservation Protocol, final report of May 2024):
  `<meta name="tdm-reservation" content="1">`, the HTTP header `TDM-Reservation: 1`, or the host's
  `/.well-known/tdmrep.json`. The page's own word goes before the header's, and that before the host's file;
- `robots`: robots.txt names a crawler that gathers text for AI, and forbids it this page (RFC 9309). What it says to
  all crawlers (`*`) is no such signal: the crawl that brought the page has obeyed it;
- `ai.txt`: the host's `/ai.txt` in the form of Spawning's forbids the page.

What a host's files say comes from a file that `corpus optout` makes of the crawl's robots records (`hosts` here).
The column `opt_out` holds all that was found, as `signal:place` separated by spaces, null where nothing was.
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
from corpus.stage import Stage

NAME = "optout"
OPT_OUT = pa.field("opt_out", pa.string())
SIGNALS = ("noai", "noimageai", "noml", "tdm", "robots", "ai.txt")

# Crawlers that say of themselves that they gather text to train models, as they are named in robots.txt; those that
# fetch a page for one user's question, or for a search engine, are not among them.
AI_AGENTS = (
    *("AI2Bot", "Ai2Bot-Dolma", "Amazonbot", "anthropic-ai", "Applebot-Extended", "Bytespider", "CCBot", "ClaudeBot"),
    *("cohere-training-data-crawler", "Diffbot", "FacebookBot", "Google-Extended", "GPTBot", "Meta-ExternalAgent"),
    *("omgili", "PanguBot", "Timpibot", "Webzio-Extended"),
)

_HEAD_BYTES = 256 * 1024  # where `<meta>` is looked for: up to the end of the head, and no farther than this
_HEAD_END = re.compile(rb"</head|<body[\s>]", re.IGNORECASE)
_META = re.compile(rb"<meta[\s/]([^>]{0,4096})>", re.IGNORECASE)  # bounded, and so is a name: no page chooses the time
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'>]{1,64})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_HINTS = (b"noai", b"noimageai", b"noml", b"tdm-reservation")


@dataclass(frozen=True)
class Config:
    drop: tuple[str, ...] = setting(
        (), "signals that drop a page; none: they are recorded and counted", choices=SIGNALS, flag="--drop-opt-out"
    )
    hosts: str | None = setting(
        None,
        "what hosts say in robots.txt, ai.txt and tdmrep.json: the file of corpus optout",
        flag="--opt-out-hosts",
        path=True,
    )
    agents: tuple[str, ...] = setting(AI_AGENTS, "crawlers for AI whose rules in robots.txt count", flag="--ai-agent")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Look at every page of a PAGES batch; kept rows get `opt_out`, and pages with each signal are counted.

    Raises ValueError if the file `hosts` was not made by corpus optout.
    """
    hosts = load_hosts(config.hosts) if config.hosts else None
    names = frozenset(name.lower() for name in ("robots", *config.agents))
    headers = batch.column("robots_headers").to_pylist()
    urls = batch.column("url").to_pylist()
    recorded: list[str | None] = []
    drops: dict[int, Drop] = {}
    for row, (html, header, url) in enumerate(zip(batch.column("html"), headers, urls, strict=True)):
        page = html.as_buffer()  # of which only the head is copied
        head = page.slice(0, min(page.size, _HEAD_BYTES)).to_pybytes() if page else b""
        found = signals(head, header or "", names)
        if hosts is not None:
            found += forbidden(hosts, url or "", config.agents, has_tdm=any(name == "tdm" for name, _ in found))
        found = [item for item in found if item != ("tdm", "")]
        recorded.append(" ".join(f"{name}:{place}" for name, place in found) or None)
        unwanted = next(((name, place) for name, place in found if name in config.drop), None)
        if unwanted:
            drops[row] = Drop(f"{NAME}.{unwanted[0].replace('.', '_')}", unwanted[1], "no opt-out")
    split = outcome(replace_column(batch, OPT_OUT.name, pa.array(recorded, pa.string())), NAME, drops)
    return split._replace(sums=_sums(split.kept.column(OPT_OUT.name).to_pylist()))


def _sums(recorded: list[str | None]) -> dict[str, int]:
    """Pages with each signal."""
    return Counter(
        f"opt_out_{name}" for value in recorded if value for name in {part.partition(":")[0] for part in value.split()}
    )


def signals(html: bytes, headers: str, names: frozenset[str]) -> list[tuple[str, str]]:
    """(signal, place) of what the page and its HTTP headers say, each once; ("tdm", "") for rights not reserved.

    `headers` has a line `name: value` each, names in lower case; `names` are the crawlers addressed, in lower case.
    """
    found: dict[tuple[str, str], None] = {}
    tdm: str | None = None
    for name, content in _metas(html):
        if name in names:
            found |= dict.fromkeys((token, "meta") for token in _tokens(content))
        elif name == "tdm-reservation" and content.strip() in ("0", "1"):
            tdm = "meta" if content.strip() == "1" else ""
    for line in headers.split("\n"):
        name, _, value = line.partition(":")
        if name == "x-robots-tag":
            found |= dict.fromkeys((token, "header") for token in _addressed(value, names))
        elif name == "tdm-reservation" and tdm is None and value.strip() in ("0", "1"):
            tdm = "header" if value.strip() == "1" else ""
    return [*found, *([("tdm", tdm)] if tdm is not None else [])]


def _metas(html: bytes) -> Iterator[tuple[str, str]]:
    """(name in lower case, content) of the `<meta>` elements of the page's head."""
    head = html[:_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:2] in (b"<\0", b"\0<"):
        head = head.replace(b"\0", b"")  # UTF-16: what is looked for is ASCII
    lower = head.lower()
    if not any(hint in lower for hint in _HINTS):  # nearly all pages, in a hundredth of a regular expression's time
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
    return [token for token in map(str.strip, content.lower().split(",")) if token in ("noai", "noimageai", "noml")]


def _addressed(value: str, names: frozenset[str]) -> list[str]:
    """The tokens of an X-Robots-Tag; `otherbot: noai` is said to another."""
    name, colon, rest = value.partition(":")
    if colon and "," not in name:
        return _tokens(rest) if name.strip().lower() in names else []
    return _tokens(value)


STAGE = Stage(
    NAME,
    Config,
    process,
    command="extract",
    reads="pages",
    alone=True,
    columns=lambda config: (OPT_OUT,),
    sums={"opt_out_": "opt-outs of pages that stay"},
)
