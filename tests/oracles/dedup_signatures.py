"""What a signature is, step by step on Python strings and integers, with datasketch's own MinHash at the end."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
from datasketch import MinHash

MULTIPLIER = 0x9E3779B97F4A7C15
PUNCTUATION = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
CONTROLS = "".join(map(chr, [*range(32), *range(127, 160)]))


def words(text: str) -> list[str]:
    """FineWeb's normalisation of a whole string, then white space."""
    text = text.lower().replace("ς", "σ")
    text = re.sub(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?", "0", text)
    text = text.translate({ord(c): " " for c in PUNCTUATION + CONTROLS})
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return text.split()


def mix64(x: int) -> int:
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD % 2**64
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 % 2**64
    return x ^ x >> 33


def word_hash(word: str) -> int:
    h = MULTIPLIER
    for c in word:
        h = (h ^ ord(c)) * MULTIPLIER % 2**64
    return mix64(h)


def shingle_hashes(text: str, shingle: int) -> list[int]:
    hashes = [word_hash(word) for word in words(text)]
    if not hashes:
        return []
    width = min(shingle, len(hashes))
    found = []
    for start in range(len(hashes) - width + 1):
        h = 0
        for value in hashes[start : start + width]:
            h = (h * MULTIPLIER + value) % 2**64
        found.append(mix64(h) >> 32)
    return found


def signature(text: str, shingle: int, num_perm: int, seed: int) -> list[int]:
    sketch = MinHash(num_perm=num_perm, seed=seed, hashfunc=lambda value: value, scheme="affine32")
    for value in shingle_hashes(text, shingle):
        sketch.update(value)
    values: list[int] = np.asarray(sketch.hashvalues).tolist()
    return values


def band_keys(values: list[int], rows: int) -> list[int]:
    keys = []
    for start in range(0, len(values), rows):
        key = 0
        for value in values[start : start + rows]:
            key = mix64((key ^ value) * MULTIPLIER % 2**64)
        keys.append(key)
    return keys


def text_hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
