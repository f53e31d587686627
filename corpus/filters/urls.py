"""PAGES or DOCUMENTS -> the same without pages whose address alone tells that they are unwanted.

Source: Penedo et al. 2023, "The RefinedWeb Dataset" (arXiv 2306.01116), section G.1: blocked domains and URLs, then
words in the URL in three strengths. In this order:

- `urls.invalid`: not http or https, or no host;
- `urls.domain`: the host or a domain above it is in a blocked list (list files: one a line, `#` comments);
- `urls.url`: the URL itself is in a blocked list, whatever its scheme, fragment and last slash;
- `urls.hard_word`: one unambiguous word; `urls.soft_words`: several different words with an innocent sense too;
  `urls.subword`: a part of a word, in the letters and digits of the URL run together.

Hosts in an allowed list skip the word rules. Words are compared without regard to case. The lists that come with
the package are short, written for it, and err on the side of keeping a page: Essex, Scunthorpe, a casino in the news
and a page on breast cancer all pass. Each can be replaced by a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from corpus.config import setting
from corpus.filters.blocklist import contains, hash_lines, host_key, load_hosts, load_urls, url_key
from corpus.schema import Drop, Outcome, outcome

STAGE = "urls"
_HERE = Path(__file__).parent
_NOT_A_WORD = re.compile(r"[\W_]+")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True)
class Config:
    block_domains: tuple[str, ...] = setting((), "files of domains to drop, with all below them", path=True)
    block_urls: tuple[str, ...] = setting((), "files of URLs to drop", path=True)
    allow_domains: tuple[str, ...] = setting((), "files of domains that the word rules leave alone", path=True)
    hard_words: str | None = setting(None, "file of words that drop a URL; replaces the built-in list", path=True)
    soft_words: str | None = setting(None, "file of words counted in a URL; replaces the built-in list", path=True)
    subwords: str | None = setting(None, "file of parts of words; replaces the built-in list", path=True)
    soft_word_limit: int = setting(2, "different soft words that drop a URL (RefinedWeb)", low=1)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a batch with a column `url` into wanted and unwanted addresses.

    Raises OSError if a list cannot be read.
    """
    urls = [url or "" for url in batch.column("url").to_pylist()]
    hosts = [_host(url) for url in urls]
    drops = {row: _invalid(urls[row]) for row, host in enumerate(hosts) if not host}
    for path in config.block_domains:
        for row, domain in _listed_domains(hosts, path).items():
            drops.setdefault(row, Drop(f"{STAGE}.domain", domain, Path(path).name))
    for path in config.block_urls:
        keys = [url_key(url) for url in urls]
        for row in contains(load_urls(path), hash_lines(keys)).nonzero()[0].tolist():
            drops.setdefault(row, Drop(f"{STAGE}.url", keys[row], Path(path).name))
    allowed = {row for path in config.allow_domains for row in _listed_domains(hosts, path)}
    for row, url in enumerate(urls):
        if row not in drops and row not in allowed and (drop := judge_words(url, config)) is not None:
            drops[row] = drop
    return outcome(batch, STAGE, drops)


def judge_words(url: str, config: Config) -> Drop | None:
    """The first word rule that `url` fails, or None. The value names the words; the threshold, the list or limit."""
    words = _NOT_A_WORD.split(_SCHEME.sub("", url.lower()))
    if found := _words(config.hard_words, "url_hard_words.txt").intersection(words):
        return Drop(f"{STAGE}.hard_word", " ".join(sorted(found)), _list_name(config.hard_words, "hard words"))
    found = _words(config.soft_words, "url_soft_words.txt").intersection(words)
    if len(found) >= config.soft_word_limit:
        return Drop(f"{STAGE}.soft_words", " ".join(sorted(found)), config.soft_word_limit)
    if (part := _any_of(config.subwords, "url_subwords.txt").search("".join(words))) is not None:
        return Drop(f"{STAGE}.subword", part.group(), _list_name(config.subwords, "subwords"))
    return None


def _host(url: str) -> str:
    """The host of an http or https URL; "" if it is neither or has none."""
    try:
        parts = urlsplit(url)
        return host_key(parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:  # a bracket without its twin in the place of the host
        return ""


def _invalid(url: str) -> Drop:
    return Drop(f"{STAGE}.invalid", url[:100], "http or https, and a host")


def _listed_domains(hosts: Sequence[str], path: str) -> dict[int, str]:
    """For each row whose host is in the list, itself or a domain above it: the longest domain listed."""
    rows, domains = [], []
    for row, host in enumerate(hosts):
        domain = host
        while domain:
            rows.append(row)
            domains.append(domain)
            domain = domain.partition(".")[2]
    listed: dict[int, str] = {}
    for at in contains(load_hosts(path), hash_lines(domains)).nonzero()[0].tolist():
        listed.setdefault(rows[at], domains[at])
    return listed


@lru_cache(maxsize=32)
def _words(path: str | None, built_in: str) -> frozenset[str]:
    """The words of a list file in small letters, without comments and blank lines."""
    file = _HERE / built_in if path is None else Path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OSError(f"word list {file}: {error.strerror}; give a text file with one word a line") from error
    words = (line.partition("#")[0].strip().lower() for line in lines)
    return frozenset(word for word in words if word)


@lru_cache(maxsize=32)
def _any_of(path: str | None, built_in: str) -> re.Pattern[str]:
    """Matches the first of the words of a list, the longest where several begin at one place; never, if it is empty."""
    words = sorted(_words(path, built_in), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, words)) or r"(?!)")


def _list_name(path: str | None, built_in: str) -> str:
    return built_in if path is None else Path(path).name
