"""PAGES or DOCUMENTS -> the same without pages whose address alone tells that they are unwanted.

Source: Penedo et al. 2023, "The RefinedWeb Dataset" (arXiv 2306.01116), section G.1: blocked domains and URLs, then
words in the URL in three strengths. In this order:

- `urls.invalid`: not http or https, or no host;
- `urls.domain`: the host or a domain above it is in a block list;
- `urls.url`: the page itself is in a block list, whatever its scheme, `www.`, fragment and last slash;
- `urls.expression`: a block list has a regular expression that is found in the URL, whatever its case;
- `urls.hard_word`: one unambiguous word; `urls.soft_words`: several different words with an innocent sense too;
  `urls.subword`: a part of a word, in the letters and digits of the URL run together.

The value of a drop is what was found, its threshold the list or category that has it. What an allow list has passes
all rules but the first. More entries in a block list never let a page through that fewer drop.

datatrove's filter, which made FineWeb, differs in what it misses: it compares words with regard to case, so that
`/Porn` passes; it compares URLs with their scheme to a list without, so that none is ever found; it takes `%20` for a
letter of the word behind it; and of the domains above a host it looks up only the registered one.

The word lists that come with the package are short, written for it, and err on the side of keeping a page: Essex,
Scunthorpe, a casino in the news and a page on breast cancer all pass. Each can be replaced by a file.

A kernel reads the column where Arrow has it and says which rows may fail a rule; those alone are judged in Python,
which has the last word.
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
from corpus.stage import Stage

NAME = "urls"


@dataclass(frozen=True)
class Config:
    blocklist: tuple[str, ...] = setting(
        (), "drop the domains and URLs listed in this file, folder of categories, tar.gz or http(s) URL", path=True
    )
    allowlist: tuple[str, ...] = setting((), "keep what is listed there, whatever else is", path=True)
    hard_words: str | None = setting(None, "file of words that drop a URL; replaces the built-in list", path=True)
    soft_words: str | None = setting(None, "file of words counted in a URL; replaces the built-in list", path=True)
    subwords: str | None = setting(None, "file of parts of words; replaces the built-in list", path=True)
    soft_word_limit: int = setting(2, "different soft words that drop a URL (RefinedWeb)", low=1)


class Lists(NamedTuple):
    """Everything that a URL is judged by; `plan` names the tables to the kernel and `held` keeps them in memory."""

    blocked: Blocklist
    allowed: Blocklist
    hard: frozenset[str]
    soft: frozenset[str]
    parts: frozenset[str]
    expressions: tuple[tuple[str, re.Pattern[str]], ...]  # with the category of each
    plan: NDArray[np.int64]
    held: tuple[Any, ...]


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a batch with a column `url` into wanted and unwanted addresses.

    Raises OSError if a list cannot be read, ValueError if it is none.
    """
    from bpe.texts import from_arrow
    from corpus.filters.kernels.judge import suspects

    lists = read_lists(config)
    column = batch.column("url")
    urls = from_arrow(column)
    n = len(urls.offsets) - 1
    flags = np.empty(n, np.uint8)
    count = suspects(urls.content.ctypes.data, urls.offsets.ctypes.data, n, lists.plan.ctypes.data, flags.ctypes.data)
    drops: dict[int, Drop] = {}
    # No kernel searches for regular expressions: with some in a list, every row is looked at.
    rows = range(n) if lists.expressions else flags.nonzero()[0].tolist() if count else ()
    for row in rows:
        url = urls.content[urls.offsets[row] : urls.offsets[row + 1]].tobytes().decode("utf-8", "replace")
        if (flags[row] or _is_expressed(url, lists)) and (drop := judge(url, lists, config)):
            drops[row] = drop
    return outcome(batch, NAME, drops)


def judge(url: str, lists: Lists, config: Config) -> Drop | None:
    """The first rule that `url` fails, with what was found and where it is listed; None if it passes all."""
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
    """The first word rule that `url` fails, or None. The value names the words; the threshold, the list or limit."""
    words = urlwords.split_url(url)
    if found := lists.hard.intersection(words):
        return Drop(f"{NAME}.hard_word", " ".join(sorted(found)), _list_name(config.hard_words, "hard words"))
    found = lists.soft.intersection(words)
    if len(found) >= config.soft_word_limit:
        return Drop(f"{NAME}.soft_words", " ".join(sorted(found)), config.soft_word_limit)
    if part := urlwords.first_part(lists.parts, "".join(words)):
        return Drop(f"{NAME}.subword", part, _list_name(config.subwords, "subwords"))
    return None


def resources(config: Config) -> dict[str, str]:
    """What decides the answers besides the settings: the built-in words, and what is a public suffix."""
    if config.blocklist or config.allowlist:
        read_lists(config)  # a bad list is said before any unit is begun, and the table is there for all workers
    words = repr([sorted(_words(config)[name]) for name in ("hard", "soft", "parts")])
    found = {"words": hashlib.sha256(words.encode()).hexdigest()}
    return found | ({"public_suffixes": blocklist.suffix_version()} if config.blocklist or config.allowlist else {})


@lru_cache(maxsize=8)
def read_lists(config: Config) -> Lists:
    """The lists that the settings name, read once a process: they do not change during a run."""
    from corpus.filters.kernels import judge as kernel

    blocked, allowed = blocklist.load(config.blocklist), blocklist.load(config.allowlist, allowing=True)
    words = _words(config)
    tables = urlwords.tables(words["hard"], words["soft"], words["parts"])
    letters, symbols = blocklist.host_letters(), urlwords.symbols()
    plan = np.zeros(9, np.int64)
    plan[kernel.TABLE], plan[kernel.LETTERS], plan[kernel.SYMBOLS] = (
        blocked.address,
        letters.ctypes.data,
        symbols.ctypes.data,
    )
    plan[kernel.WORDS], plan[kernel.STRENGTHS] = tables.words.ctypes.data, tables.strengths.ctypes.data
    plan[kernel.MASK], plan[kernel.LIMIT] = len(tables.words) - 1, config.soft_word_limit
    plan[kernel.PARTS], plan[kernel.FOREIGN] = tables.parts.ctypes.data, tables.foreign
    expressions = tuple((category, re.compile(text, re.IGNORECASE)) for category, text in blocked.expressions)
    return Lists(blocked, allowed, **words, expressions=expressions, plan=plan, held=(tables, letters, symbols))


def _words(config: Config) -> dict[str, frozenset[str]]:
    return {
        "hard": urlwords.word_list(config.hard_words, "url_hard_words.txt"),
        "soft": urlwords.word_list(config.soft_words, "url_soft_words.txt"),
        "parts": urlwords.part_list(config.subwords, "url_subwords.txt"),
    }


def _is_expressed(url: str, lists: Lists) -> bool:
    return any(expression.search(url) for _, expression in lists.expressions)


def _judge_expressions(url: str, lists: Lists) -> Drop | None:
    for category, expression in lists.expressions:
        if found := expression.search(url):
            return Drop(f"{NAME}.expression", found.group()[:100], category)
    return None


def _list_name(path: str | None, built_in: str) -> str:
    return built_in if path is None else path.rpartition("/")[2]


def localize(config: Config) -> Config:
    """The settings with local files in the place of lists that are named by a web address.

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
    NAME, Config, process, command="extract", reads="pages", alone=True, resources=resources, localize=localize
)
