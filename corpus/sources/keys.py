"""Names of files -> keys of units: short, unlike each other, and the same whatever other files there are."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from corpus.sources.formats import ending_of

_LONGEST = 200  # bytes of a name before the number of the piece: a key has 220 at most
_DIGITS = 5


def unit_keys(pieces: Mapping[str, int]) -> dict[str, Sequence[str]]:
    """The keys of the units of each file, by the file's name; `pieces` is the number of its units.

    >>> unit_keys({"data/a b.parquet": 2, "data/c.jsonl.gz": 1})
    {'data/a b.parquet': ['data_a_b-00000', 'data_a_b-00001'], 'data/c.jsonl.gz': ['data_c']}
    """
    stems = {name: _stem(name) for name in pieces}
    while True:
        keys = {name: _numbered(stem, pieces[name]) for name, stem in stems.items()}
        counts = Counter(key for of in keys.values() for key in of)
        equal = [name for name, of in keys.items() if any(counts[key] > 1 for key in of)]
        if not equal:
            return keys
        stems |= {name: f"{stems[name]}-{_digest(name)}" for name in equal}


def _stem(name: str) -> str:
    stem = re.sub(r"[^\w.-]", "_", name[: len(name) - len(ending_of(name))])
    data = stem.encode()
    if not stem.strip("."):
        return f"{stem}-{_digest(name)}"
    if len(data) > _LONGEST:
        return f"{data[: _LONGEST - 9].decode(errors='ignore')}-{_digest(name)}"
    return stem


def _numbered(stem: str, count: int) -> Sequence[str]:
    return [stem] if count == 1 else [f"{stem}-{number:0{_DIGITS}}" for number in range(count)]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
