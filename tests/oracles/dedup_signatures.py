"""Signatures and sets of n-grams, step by step on Python strings and integers, with datasketch's MinHash."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from datasketch import MinHash

MULTIPLIER = 0x9E3779B97F4A7C15
WORD_MULTIPLIER = 0xFF51AFD7ED558CCD
PUNCTUATION = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
CONTROLS = "".join(map(chr, [*range(32), *range(127, 160)]))

# Scripts without spaces by the names of their characters, and marks that they share with others.
UNSPACED = re.compile(
    "CJK UNIFIED IDEOGRAPH|CJK COMPATIBILITY IDEOGRAPH|THAI |LAO |MYANMAR |KHMER |HENTAIGANA |"
    "(HALFWIDTH |COMBINING )?(HIRAGANA|KATAKANA)|VERTICAL (KANA|IDEOGRAPHIC)|IDEOGRAPHIC (?!ANNOTATION|TALLY)|"
    "HANGZHOU|MASU|HANGUL (SINGLE|DOUBLE) DOT TONE|(TANGUT|NUSHU|OLD CHINESE) ITERATION|KHITAN SMALL SCRIPT FILLER|"
    "VIETNAMESE ALTERNATE"
)


def is_unspaced(c: str) -> bool:
    return unicodedata.category(c)[0] in "LMN" and bool(UNSPACED.match(unicodedata.name(c, "")))


def cut(tokens: list[str]) -> list[str]:
    """Tokens between spaces, with each character of a script without spaces ending a word of up to four of them."""
    words = []
    for token in tokens:
        ordinary = run = ""
        for c in token:
            if is_unspaced(c):
                words += [ordinary] if ordinary else []
                ordinary, run = "", (run + c)[-4:]
                words.append(run)
            else:
                ordinary, run = ordinary + c, ""
        words += [ordinary] if ordinary else []
    return words


def folded_words(text: str) -> list[str]:
    """The words of a string after FineWeb's normalisation."""
    text = text.lower().replace("ς", "σ")
    text = re.sub(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?", "0", text)
    text = text.translate({ord(c): " " for c in PUNCTUATION + CONTROLS})
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return cut(text.split())


def plain_words(text: str) -> list[str]:
    """Words in lower case, character by character: `text.lower()`, except for a capital sigma that ends a word."""
    return cut("".join(c.lower() for c in text).split())


def mix64(x: int) -> int:
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD % 2**64
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 % 2**64
    return x ^ x >> 33


def step(h: int, value: int, multiplier: int, shift: int = 32) -> int:
    h = (h ^ value) * multiplier % 2**64
    return h ^ h >> shift


def word_hash(word: str) -> int:
    """The hash of a word: eight bytes a step, and the last eight once more. A shorter word is shifted up to eight."""
    data = word.encode()
    size = len(data)
    data = data.rjust(8, b"\0")
    h = size * MULTIPLIER % 2**64
    for start in range(0, max(1, len(data) - 8), 8):
        h = step(h, int.from_bytes(data[start : start + 8], "little"), WORD_MULTIPLIER)
    return step(h, int.from_bytes(data[-8:], "little"), MULTIPLIER)


def ngram_hashes(words: list[str], ngram: int) -> list[int]:
    hashes = [word_hash(word) for word in words]
    if not hashes:
        return []
    width = min(ngram, len(hashes))
    found = []
    for start in range(len(hashes) - width + 1):
        h = 0
        for value in hashes[start : start + width]:
            h = (h * MULTIPLIER + value) % 2**64
        found.append(mix64(h) >> 32)
    return found


def signature(text: str, ngram: int, num_perm: int, seed: int) -> list[int]:
    sketch = MinHash(num_perm=num_perm, seed=seed, hashfunc=lambda value: value, scheme="affine32")
    for value in ngram_hashes(folded_words(text), ngram):
        sketch.update(value)
    values: list[int] = np.asarray(sketch.hashvalues).tolist()
    return values


def squeezed(text: str) -> str:
    """A text with ASCII letters in lower case, and each run of ASCII white space as one space, none at the ends."""
    text = re.sub("[A-Z]", lambda letter: letter[0].lower(), text)
    return re.sub("[\t-\r\x1c-\x1f ]+", " ", text).strip(" ")


def text_hash(text: str) -> bytes:
    """The hash of a squeezed text: sixteen bytes a step into four lanes, the last step filled up with spaces."""
    data = squeezed(text).encode()
    data = data.ljust(-(-len(data) // 16) * 16)
    multipliers = [0x9E3779B97F4A7C15, 0xC4CEB9FE1A85EC53, 0xFF51AFD7ED558CCD, 0xBF58476D1CE4E5B9]
    lanes = list(multipliers)
    for start in range(0, len(data), 16):
        low, high = (int.from_bytes(data[i : i + 8], "little") for i in (start, start + 8))
        values = (low, low, high, high)
        lanes = [step(*parts) for parts in zip(lanes, values, multipliers, (32, 29, 32, 29), strict=True)]
    first = mix64((mix64(lanes[0]) ^ lanes[2]) * multipliers[3] % 2**64)
    second = mix64((mix64(lanes[1]) ^ lanes[3]) * multipliers[2] % 2**64)
    return first.to_bytes(8, "little") + second.to_bytes(8, "little")
