"""The stage that masks personal data: DOCUMENTS -> DOCUMENTS with `pii_spans`, the number of masked values.

E-mail addresses, IP addresses, phone numbers, payment cards, IBANs, US social security numbers and keys are found by
the package `corpus.pii` and replaced in one of three styles. No document is dropped. A masked document depends on its
text, its language and address, and the settings alone; the last two say whose phone numbers to expect in it. The
account counts the masked values by type; with `audit`, a file beside the documents shows where they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.config import setting
from corpus.pii import audit
from corpus.pii import find as pii
from corpus.pii.find import TYPES
from corpus.pii.masks import STYLES, Masker, masker
from corpus.pii.phone_words import regions_of
from corpus.pii.text import Span
from corpus.schema import Outcome, dropped_rows, replace_column
from corpus.stage import Stage

# What this stage adds to DOCUMENTS: how many values were masked in the text.
PII_SPANS = pa.field("pii_spans", pa.int64())


@dataclass(frozen=True)
class Config:
    types: tuple[str, ...] = setting(TYPES, "what to mask (FineWeb: email and ip)", choices=TYPES, flag="--type")
    ip_scope: str = setting(
        "public", "mask addresses of the public internet, or all of them", choices=("public", "all")
    )
    style: str = setting(
        "fineweb",
        "what is written instead: FineWeb's addresses, tags such as <PHONE>, or pseudonyms by a secret key",
        choices=STYLES,
    )
    hash_key: str = setting("", "file with at least 16 random bytes, the key of --style hash", path=True)
    audit: bool = setting(False, "write what was masked beside the documents, for review: places and shapes, no values")

    def __post_init__(self) -> None:
        if self.style == "hash" and not self.hash_key:
            raise ValueError("hash_key: style hash needs a key; make one with: head -c 32 /dev/urandom > FILE")
        if self.style != "hash" and self.hash_key:
            raise ValueError(f"hash_key = {self.hash_key!r}: is the key of style hash, not of {self.style}")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Mask the texts of a batch with a string column `text`; nothing is dropped.

    Columns `language` (ISO 639) and `url`, where there are any, say whose phone numbers to expect. Raises ValueError if
    the key file is too short, OSError if it cannot be read.
    """
    texts = batch.column("text").to_pylist()
    write = _masker(config.style, config.hash_key)
    found = [
        _find(text, config, hints, write) if text else [] for text, hints in zip(texts, _hints(batch), strict=True)
    ]
    counts = Counter(f"pii_{span.type}" for spans in found for span in spans)
    dropped = dropped_rows(batch, "scrub", {})
    beside = _audit(batch, texts, found) if config.audit else None
    if any(found):
        masked = [pii.mask(text, spans, write) if spans else text for text, spans in zip(texts, found, strict=True)]
        batch = replace_column(batch, "text", pa.array(masked, batch.schema.field("text").type))
    counted = replace_column(batch, "pii_spans", pa.array([len(spans) for spans in found], pa.int64()))
    sums = {f"pii_{kind}": counts[f"pii_{kind}"] for kind in config.types}
    return Outcome(counted, dropped, sums=sums, audit=beside)


def find(text: str, config: Config, regions: Sequence[str] = ()) -> list[Span]:
    """The values of `config.types` in `text`, in order of place, none overlapping another.

    `regions`: ISO 3166 codes of the countries whose phone numbers to expect; see `corpus.pii.phone_words.regions_of`.
    """
    return _find(text, config, tuple(regions), _masker(config.style, config.hash_key))


def mask(text: str, spans: list[Span], config: Config) -> str:
    """`text` with each of `find`'s spans replaced in the style of the settings."""
    return pii.mask(text, spans, _masker(config.style, config.hash_key))


def _find(text: str, config: Config, regions: Sequence[str], write: Masker) -> list[Span]:
    return pii.find(text, config.types, config.ip_scope == "public", regions, write)


@lru_cache(8)
def _masker(style: str, hash_key: str) -> Masker:
    return masker(style, Path(hash_key).read_bytes() if hash_key else b"")


def _hints(batch: pa.RecordBatch) -> list[tuple[str, ...]]:
    names = batch.schema.names
    nothing = [None] * batch.num_rows
    languages, urls = (batch.column(name).to_pylist() if name in names else nothing for name in ("language", "url"))
    return [regions_of(language, url) for language, url in zip(languages, urls, strict=True)]


def _audit(batch: pa.RecordBatch, texts: list[str], found: list[list[Span]]) -> pa.RecordBatch:
    rows: list[dict[str, Any]] = []
    for row, spans in enumerate(found):
        names = {name: batch.column(name)[row].as_py() for name in ("id", "url")} if spans else {}
        rows += [names | item for item in audit.rows(texts[row], spans)]
    return pa.RecordBatch.from_pylist(rows, schema=audit.SCHEMA)


STAGE = Stage(
    "scrub",
    Config,
    process,
    command="scrub",
    libraries=("phonenumbers",),
    columns=lambda config: (PII_SPANS,),
    audit=lambda config: audit.SCHEMA if config.audit else None,
    sums={"pii_": "masked"},
)
