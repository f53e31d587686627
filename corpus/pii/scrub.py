"""DOCUMENTS -> DOCUMENTS with masked personal data, and `pii_spans`, the number of masked values.

The finders of `corpus.pii` find e-mail addresses, IP addresses, phone numbers, payment cards, IBANs, US social security
numbers and keys; a style of `corpus.pii.masks` says what is written in their place. No document is dropped. A masked
document depends on its text, language and URL, and on the settings alone; language and URL say whose phone numbers to
expect. The account counts masked values by type. With `audit`, a file beside the documents shows where they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from bpe import arguments
from bpe.whole import read_whole
from corpus.config import setting
from corpus.pii import audit, masks
from corpus.pii import find as finders
from corpus.pii.find import TYPES
from corpus.pii.masks import STYLES, Masker, masker
from corpus.pii.phone_words import REGIONS, regions_of
from corpus.pii.text import Span
from corpus.run.recipe import step_with
from corpus.schema import Outcome, dropped_rows, replace_column
from corpus.stage import Stage
from corpus.text.languages import check_language

NAME = "scrub"
# The column that this stage adds to DOCUMENTS: the number of masked values.
PII_SPANS = pa.field("pii_spans", pa.int64())
_MOST_KEY = 1 << 20  # bytes of a key


@dataclass(frozen=True)
class Config:
    types: tuple[str, ...] = setting(TYPES, "what to mask (FineWeb: email and ip)", choices=TYPES, flag="--type")
    ip_scope: str = setting(
        "public", "mask IP addresses of the public internet, or all IP addresses", choices=("public", "all")
    )
    style: str = setting(
        "fineweb",
        "replacements: FineWeb's addresses, tags such as <PHONE>, or pseudonyms by a secret key",
        choices=STYLES,
    )
    hash_key: str = setting("", "file with at least 16 random bytes, the key of --style hash", path=True)
    audit: bool = setting(False, "write places and shapes of masked values beside the documents, for review; no values")

    def __post_init__(self) -> None:
        if self.style == "hash" and not self.hash_key:
            raise ValueError("hash_key: style hash needs a key; make one with: head -c 32 /dev/urandom > FILE")
        if self.style != "hash" and self.hash_key:
            raise ValueError(f"hash_key = {self.hash_key!r}: is the key of style hash, not of {self.style}")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Mask the texts of a batch with a string column `text`; nothing is dropped.

    The columns `language` (ISO 639) and `url`, if the batch has them, say whose phone numbers to expect. Raises
    ValueError if the key is too short, OSError if its file cannot be read.
    """
    texts = batch.column("text").to_pylist()
    write = _masker(config.style, config.hash_key)
    by_row = [
        _find(text, config, regions, write) if text else []
        for text, regions in zip(texts, _regions(batch), strict=True)
    ]
    counts = Counter(f"pii_{span.type}" for spans in by_row for span in spans)
    dropped = dropped_rows(batch, NAME, {})
    review = _audit(batch, texts, by_row) if config.audit else None
    if any(by_row):
        masked = [masks.mask(text, spans, write) if spans else text for text, spans in zip(texts, by_row, strict=True)]
        batch = replace_column(batch, "text", pa.array(masked, batch.schema.field("text").type))
    counted = replace_column(batch, PII_SPANS.name, pa.array([len(spans) for spans in by_row], PII_SPANS.type))
    sums = {f"pii_{kind}": counts[f"pii_{kind}"] for kind in config.types}
    return Outcome(counted, dropped, sums=sums, audit=review)


def mask_pii(
    text: str, *, style: str = "fineweb", language: str | None = None, url: str | None = None, **settings: Any
) -> str:
    """The text with its personal data masked, as the stage `scrub` masks it.

    style     what is written in place of a value: "fineweb" (FineWeb's addresses, tags such as <PHONE> for other
              types), "tags", or "hash" (pseudonyms by the key in the file hash_key)
    language  ISO 639 code of the text; it says whose phone numbers to expect, and so does `url`
    settings  other settings of [scrub] by their names: types=("email", "ip"), ip_scope="all", hash_key="key"

    E-mail addresses, IP addresses, phone numbers, payment cards, IBANs, US social security numbers and keys are
    masked; docs/pii.md says how they are recognized. Raises ValueError naming a setting or a language that is
    wrong.

    >>> from corpus import mask_pii
    >>> mask_pii("Write to jo.smith@mail.example or call +49 30 901820.", style="tags")
    'Write to <EMAIL> or call <PHONE>.'
    """
    config = step_with(NAME, {"style": style, **settings}).config
    return mask(text, find(arguments.string("text", text), config, _expected(language, url)), config)


def find_pii(text: str, *, language: str | None = None, url: str | None = None, **settings: Any) -> list[Span]:
    """The personal data in a text that `mask_pii` would mask, in order of place, without overlaps.

    A finding is (start, end, type, text), with `text[start:end]` in code points. The parameters and errors are those of
    `mask_pii`.

    >>> from corpus import find_pii
    >>> find_pii("Write to jo.smith@mail.example.")
    [Span(start=9, end=30, type='email', text='jo.smith@mail.example')]
    """
    return find(arguments.string("text", text), step_with(NAME, settings).config, _expected(language, url))


def _expected(language: str | None, url: str | None) -> tuple[str, ...]:
    """The regions whose phone numbers to expect. Raises TypeError or ValueError for an argument that is wrong."""
    address = None if url is None else arguments.string("url", url)
    return regions_of(check_language(language, REGIONS), address)


def find(text: str, config: Config, regions: Sequence[str] = ()) -> list[Span]:
    """The values of `config.types` in `text`, in order of place, without overlaps.

    `regions`: ISO 3166 codes of the countries whose phone numbers to expect; see `corpus.pii.phone_words.regions_of`.
    """
    return _find(text, config, tuple(regions), _masker(config.style, config.hash_key))


def mask(text: str, spans: list[Span], config: Config) -> str:
    """`text` with each of `find`'s spans replaced in the style of the settings."""
    return masks.mask(text, spans, _masker(config.style, config.hash_key))


def _find(text: str, config: Config, regions: Sequence[str], write: Masker) -> list[Span]:
    return finders.find(text, config.types, config.ip_scope == "public", regions, write)


@lru_cache(8)
def _masker(style: str, hash_key: str) -> Masker:
    return masker(style, read_whole(Path(hash_key), _MOST_KEY) if hash_key else b"")


def _regions(batch: pa.RecordBatch) -> list[tuple[str, ...]]:
    """For each row, the regions whose phone numbers to expect."""
    names = batch.schema.names
    nothing = [None] * batch.num_rows
    languages, urls = (batch.column(name).to_pylist() if name in names else nothing for name in ("language", "url"))
    return [regions_of(language, url) for language, url in zip(languages, urls, strict=True)]


def _audit(batch: pa.RecordBatch, texts: list[str], by_row: list[list[Span]]) -> pa.RecordBatch:
    """The rows for review, by `audit.SCHEMA`."""
    rows: list[dict[str, Any]] = []
    for row, spans in enumerate(by_row):
        names = {name: batch.column(name)[row].as_py() for name in ("id", "url")} if spans else {}
        rows += [names | item for item in audit.rows(texts[row], spans)]
    return pa.RecordBatch.from_pylist(rows, schema=audit.SCHEMA)


STAGE = Stage(
    NAME,
    Config,
    process,
    command="scrub",
    libraries=("phonenumbers",),
    columns=lambda config: (PII_SPANS,),
    audit=lambda config: audit.SCHEMA if config.audit else None,
    sums={"pii_": "masked"},
    by_language=lambda config: "phone" in config.types,  # the language says in which countries to look for numbers
)
