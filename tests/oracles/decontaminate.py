"""Words, n-grams and decisions of decontamination by their definitions: tuples of words in sets and dictionaries."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from corpus.text.fold import UNSPACED_BLOCKS


def _plain(character: str) -> str:
    lower = "σ" if character == "ς" else character.lower()
    category = unicodedata.category(lower[0])
    if category == "Cf":
        return ""
    if category[0] in "PSZC":
        return " "
    return "".join(c for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn")


def _unspaced(character: str) -> bool:
    code = ord(character)
    return unicodedata.category(character)[0] in "LMN" and any(a <= code < b for a, b in UNSPACED_BLOCKS)


def words(text: str) -> list[str]:
    """The words of a text of assigned Unicode characters."""
    found = []
    for chunk in "".join(map(_plain, text)).split(" "):
        for run in re.findall(r"\0+|[^\0]+", "".join("\0" if _unspaced(c) else c for c in chunk)):
            length = len(run)
            piece, chunk = chunk[:length], chunk[length:]
            if run[0] == "\0":
                found += [piece[max(0, end - 4) : end] for end in range(1, length + 1)]
            else:
                found.append(piece)
    return found


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    split = words(text)
    return [tuple(split[i : i + n]) for i in range(len(split) - n + 1)]


class Verdict(NamedTuple):
    """The examples that a document holds, each with the number of n-grams found and the number that it has."""

    hits: dict[int, tuple[int, int]]


def judge(
    documents: Sequence[str],
    examples: Sequence[str],
    n: int,
    max_examples: int,
    max_documents: int,
    min_overlap: float,
    min_ngrams: int,
) -> list[Verdict]:
    """The verdict on each document."""
    of_examples = [set(ngrams(text, n)) for text in examples]
    of_documents = [set(ngrams(text, n)) for text in documents]
    in_examples = Counter(gram for grams in of_examples for gram in grams)
    in_documents = Counter(gram for grams in of_documents for gram in grams)
    counts = defaultdict(set)
    for example, grams in enumerate(of_examples):
        for gram in grams:
            if max_examples and in_examples[gram] > max_examples:
                continue
            if max_documents and in_documents[gram] > max_documents:
                continue
            counts[example].add(gram)
    verdicts = []
    for grams in of_documents:
        hits = {}
        for example, wanted in counts.items():
            both = len(grams & wanted)
            if both and (both / len(wanted) >= min_overlap or both >= min_ngrams):
                hits[example] = (both, len(wanted))
        verdicts.append(Verdict(hits))
    return verdicts
