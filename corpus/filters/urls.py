"""PAGES or DOCUMENTS -> the rows whose address alone does not tell that they are unwanted.

Source: Penedo et al. 2023, "The RefinedWeb Dataset" (arXiv 2306.01116), section G.1: first the domains and URLs of
block lists, then words in the URL in three strengths. `_RULES` has the rules in the order in which they are asked. An
address on an allow list passes every rule but `invalid`. A drop's value is what was found in the address, and its
threshold is the list or category that has it. More entries in a block list never let a page pass that fewer entries
drop.

datatrove's filter, which made FineWeb, overlooks some addresses. It compares words with regard to case, so that `/Porn`
passes. It compares URLs with a scheme to a list of URLs without one, so that no URL is ever found. It reads `%20` as
letters of the word behind it. And of the domains above a host, it looks up the registered domain alone.

The word lists in the package are short, were written for it, and rather keep a page than drop it: Essex, Scunthorpe, a
casino in the news and a page on breast cancer all pass. A file can replace each list.

A kernel reads the column in Arrow's buffers and marks the rows that may fail a rule. Python judges these rows alone,
and its answer counts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.config import setting
from corpus.filters import blocklist, urlwords
from corpus.filters.addresses import host_of, page_of
from corpus.filters.blocklist import Blocklist
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Rule, Stage

NAME = "urls"


@dataclass(frozen=True)
class Config:
    blocklist: tuple[str, ...] = setting(
        (), "drop the domains and URLs listed in this file, folder of categories, tar.gz or http(s) URL", path=True
    )
    allowlist: tuple[str, ...] = setting(
        (), "keep the domains and URLs listed there, whatever rule they fail", path=True
    )
    hard_words: str | None = setting(None, "file of words that drop a URL; replaces the built-in list", path=True)
    soft_words: str | None = setting(None, "file of words counted in a URL; replaces the built-in list", path=True)
    subwords: str | None = setting(
        None, "file of parts of words that drop a URL; replaces the built-in list", path=True
    )
    soft_word_limit: int = setting(2, "drop a URL with this many different soft words (RefinedWeb)", low=1)


_SOURCE = "RefinedWeb, arXiv 2306.01116, section G.1"
_RULES = (
    Rule("invalid", "address that is not http or https, or has no host", "listed", source=_SOURCE),
    Rule("domain", "host that is in a block list, or below a domain in it", "listed", "blocklist", _SOURCE),
    Rule(
        "url", "page in a block list; scheme, www., fragment and last slash are ignored", "listed", "blocklist", _SOURCE
    ),
    Rule("expression", "match of a block list's regular expression, in any case", "listed", "blocklist", _SOURCE),
    Rule("hard_word", "unambiguous word in the address", "listed", "hard_words", _SOURCE),
    # The limit itself drops.
    Rule("soft_words", "number of different words with an innocent sense too", "above", "soft_word_limit", _SOURCE),
    Rule("subword", "part of a word, in the address's letters and digits run together", "listed", "subwords", _SOURCE),
)


class Lists(NamedTuple):
    """Everything that a URL is judged by.

    blocked, allowed   the block lists and the allow lists
    hard, soft, parts  the three word lists
    expressions        (category, regular expression) of the block lists
    plan               the addresses of the kernel's tables, see `corpus.filters.kernels.judge`
    tables             the arrays at these addresses, which must stay in memory as long as `plan`
    """

    blocked: Blocklist
    allowed: Blocklist
    hard: frozenset[str]
    soft: frozenset[str]
    parts: frozenset[str]
    expressions: tuple[tuple[str, re.Pattern[str]], ...]
    plan: NDArray[np.int64]
    tables: tuple[Any, ...]


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a batch with a column `url` into wanted and unwanted addresses.

    Raises OSError if a list cannot be read, ValueError if the file is no list.
    """
    from bpe.texts import from_arrow
    from corpus.filters.kernels.judge import suspects

    lists = read_lists(config)
    urls = from_arrow(batch.column("url"))
    n = len(urls.offsets) - 1
    flags = np.empty(n, np.uint8)
    count = suspects(urls.content.ctypes.data, urls.offsets.ctypes.data, n, lists.plan.ctypes.data, flags.ctypes.data)
    drops: dict[int, Drop] = {}
    # The kernel does not search for regular expressions: if a list has some, Python looks at every row.
    rows = range(n) if lists.expressions else flags.nonzero()[0].tolist() if count else ()
    for row in rows:
        url = urls.content[urls.offsets[row] : urls.offsets[row + 1]].tobytes().decode("utf-8", "replace")
        if (flags[row] or _judge_expressions(url, lists)) and (drop := judge(url, lists, config)):
            drops[row] = drop
    return outcome(batch, NAME, drops)


def judge(url: str, lists: Lists, config: Config) -> Drop | None:
    """The drop by the first rule that `url` fails, with what was found and the list that has it; None if it passes."""
    host = host_of(url)
    if not host:
        return Drop(f"{NAME}.invalid", url[:100], "http or https, and a host")
    page = page_of(url)
    if blocklist.find_host(host, lists.allowed) or (page and blocklist.find_page(page, lists.allowed)):
        return None
    if listed := blocklist.find_host(host, lists.blocked):
        return Drop(f"{NAME}.domain", *listed)
    if page and (category := blocklist.find_page(page, lists.blocked)):
        return Drop(f"{NAME}.url", page.key, category)
    return _judge_expressions(url, lists) or judge_words(url, lists, config)


def judge_words(url: str, lists: Lists, config: Config) -> Drop | None:
    """The drop by the first word rule that `url` fails, with the words and their list or limit; None if it passes."""
    words = urlwords.split_url(url)
    if hard := lists.hard.intersection(words):
        return Drop(f"{NAME}.hard_word", " ".join(sorted(hard)), _list_name(config.hard_words, "hard words"))
    soft = lists.soft.intersection(words)
    if len(soft) >= config.soft_word_limit:
        return Drop(f"{NAME}.soft_words", " ".join(sorted(soft)), config.soft_word_limit)
    if part := urlwords.first_part(lists.parts, "".join(words)):
        return Drop(f"{NAME}.subword", part, _list_name(config.subwords, "subwords"))
    return None


def resources(config: Config) -> dict[str, str]:
    """What decides the answers besides the settings: the built-in words, and the version of the public suffixes."""
    if config.blocklist or config.allowlist:
        read_lists(config)  # so a bad list is an error before any unit begins, and all workers find the table made
    words = repr([sorted(_words(config)[name]) for name in ("hard", "soft", "parts")])
    deciding = {"words": hashlib.sha256(words.encode()).hexdigest()}
    return deciding | ({"public_suffixes": blocklist.suffix_version()} if config.blocklist or config.allowlist else {})


@lru_cache(maxsize=8)
def read_lists(config: Config) -> Lists:
    """The lists that the settings name. A process reads them once, because they do not change during a run."""
    from corpus.filters.kernels import judge as kernel

    blocked, allowed = blocklist.load(config.blocklist), blocklist.load(config.allowlist, allowing=True)
    words = _words(config)
    tables = urlwords.tables(words["hard"], words["soft"], words["parts"])
    letters, symbols = blocklist.host_letters(), urlwords.symbols()
    parts = {
        kernel.TABLE: blocked.address,
        kernel.LETTERS: letters.ctypes.data,
        kernel.SYMBOLS: symbols.ctypes.data,
        kernel.WORDS: tables.words.ctypes.data,
        kernel.STRENGTHS: tables.strengths.ctypes.data,
        kernel.MASK: len(tables.words) - 1,
        kernel.LIMIT: config.soft_word_limit,
        kernel.PARTS: tables.parts.ctypes.data,
        kernel.FOREIGN: tables.foreign,
    }
    plan = np.array([parts[index] for index in range(len(parts))], np.int64)
    expressions = tuple((category, re.compile(text, re.IGNORECASE)) for category, text in blocked.expressions)
    return Lists(blocked, allowed, **words, expressions=expressions, plan=plan, tables=(tables, letters, symbols))


def _words(config: Config) -> dict[str, frozenset[str]]:
    """The three word lists, by their names in Lists."""
    return {
        "hard": urlwords.word_list(config.hard_words, "url_hard_words.txt"),
        "soft": urlwords.word_list(config.soft_words, "url_soft_words.txt"),
        "parts": urlwords.part_list(config.subwords, "url_subwords.txt"),
    }


def _judge_expressions(url: str, lists: Lists) -> Drop | None:
    """The drop by the first regular expression that matches in `url`; None if none does."""
    for category, expression in lists.expressions:
        if match := expression.search(url):
            return Drop(f"{NAME}.expression", match.group()[:100], category)
    return None


def _list_name(path: str | None, built_in: str) -> str:
    """The name of a word list in DROPPED."""
    return built_in if path is None else path.rpartition("/")[2]


def localize(config: Config) -> Config:
    """The settings with local files in place of the lists that a web address names.

    Raises ValueError naming the setting whose list cannot be fetched.
    """
    from corpus.crawl.lists import fetched, is_address

    lists = {name: getattr(config, name) for name in ("blocklist", "allowlist")}
    for name, paths in lists.items():
        try:
            lists[name] = tuple(str(fetched(path)) if is_address(path) else path for path in paths)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return dataclasses.replace(config, **lists)


STAGE = Stage(
    NAME, Config, process, _RULES, command="extract", reads="pages", alone=True, resources=resources, localize=localize
)
