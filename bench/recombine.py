"""Any amount of English text, made from the shared text by recombination.

Input: a few MB of real text. Output: Arrow arrays of documents, one array for each round, each round as long as the
real text. Round 0 is the real text itself. In every later round the sentences have another order, and some words are
replaced by words that no earlier round had (the front of one word and the back of another). So the number of different
words keeps growing like n**GROWTH, as it does in real text (0.55 was measured up to 536 MB). The same seed makes the
same bytes. Everything is gathered from one table of pieces, at some 150 MB/s, and only one round is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench import harness

GROWTH = 0.55
SENTENCES = 24  # in a document; about 3 kB
AGAIN = 0.5  # new words of earlier rounds that a round repeats, as a share of its own new words

_PIECE = re.compile(rb"\s*\S+|\s+$")
_WORD = re.compile(rb"\s*[A-Za-z]{4,}")


def shared_english(folder: Path) -> list[str]:
    """The documents of all English text of the test data."""
    documents: list[str] = []
    for name in ("en_gutenberg.txt.gz", "en_news_web.txt.gz"):
        documents += harness.read_documents(folder / "text" / name)
    documents.append((folder / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8"))
    documents += pq.read_table(folder / "neardup" / "docs.parquet", columns=["text"])["text"].to_pylist()
    return documents


def recombined(documents: list[str], seed: int = 0) -> Iterator[pa.LargeStringArray]:
    """Endless rounds of documents."""
    yield pa.array(documents, pa.large_string())
    words, word_ids, sentences = _pieces(documents)
    fronts, backs, halves = _halves(words)
    table = pa.array(words + halves, pa.large_binary())
    whole = np.flatnonzero(np.isin(word_ids, fronts[0]))  # positions of words that may be replaced
    different, made = len(words), 0
    for number in range(1, 1 << 30):
        random = np.random.default_rng([seed, number])
        until = int(different * ((number + 1) ** GROWTH - 1))
        fresh = np.arange(made, until)
        # Early new words are seen more often than late ones: the square of a uniform number favours small ones.
        again = (random.random(int(AGAIN * len(fresh))) ** 2 * until).astype(np.int64)
        chosen = np.concatenate([fresh, again])
        places = random.choice(whole, len(chosen), replace=False)
        ids = np.stack([word_ids, np.full(len(word_ids), -1)], axis=1)
        made_of = np.random.default_rng([seed, 1 << 31])
        keys = made_of.integers(1, 1 << 62, 2) | 1
        ids[places, 0] = fronts[1][(chosen * keys[0] >> 20) % len(fronts[1])]
        ids[places, 1] = backs[(chosen * keys[1] >> 24) % len(backs)]
        yield _document_array(table, ids, sentences, random)
        made = until


def documents_of(size: int, seed: int = 0) -> Iterator[pa.LargeStringArray]:
    """`size` bytes of recombined shared English, to within a document."""
    left = size
    for array in recombined(shared_english(harness.data_folder()), seed):
        offsets = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1)
        if offsets[-1] >= left:
            yield array.slice(0, int(np.searchsorted(offsets, left)))
            return
        left -= int(offsets[-1])
        yield array


def _pieces(documents: list[str]) -> tuple[list[bytes], NDArray[np.int64], NDArray[np.int64]]:
    """(different words with the white space before them, the text as their numbers, where its sentences start)."""
    number_of: dict[bytes, int] = {}
    word_ids: list[int] = []
    sentences = [0]
    for document in documents:
        for match in _PIECE.findall(document.encode()):
            word_ids.append(number_of.setdefault(match, len(number_of)))
            if match[-1:] in b".!?" and len(word_ids) > sentences[-1]:
                sentences.append(len(word_ids))
        if len(word_ids) > sentences[-1]:
            sentences.append(len(word_ids))
    return list(number_of), np.array(word_ids), np.array(sentences)


def _halves(words: list[bytes]) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64], list[bytes]]:
    """((words that are letters only, their front halves), back halves) as numbers in words + halves, and the halves."""
    whole = [number for number, word in enumerate(words) if _WORD.fullmatch(word)]
    cuts = [len(words[number]) - len(words[number].strip()) // 2 for number in whole]
    fronts = [words[number][:cut] for number, cut in zip(whole, cuts, strict=True)]
    backs = [words[number][cut:] for number, cut in zip(whole, cuts, strict=True)]
    first = len(words) + np.arange(len(whole))
    return (np.array(whole), first), first + len(whole), fronts + backs


def _document_array(
    table: pa.Array, ids: NDArray[np.int64], sentences: NDArray[np.int64], random: np.random.Generator
) -> pa.LargeStringArray:
    """The words `ids` (two pieces each, -1 for none) with their sentences in another order, cut into documents."""
    order = random.permutation(len(sentences) - 1)
    lengths = np.diff(sentences)[order]
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1]) + np.repeat(sentences[:-1][order] - (ends - lengths), lengths)
    shuffled = ids[places]
    pieces = shuffled[shuffled >= 0]
    pieces_until = np.concatenate([[0], np.cumsum((shuffled >= 0).sum(axis=1))])
    gathered = table.take(pa.array(pieces))
    _, offsets, content = gathered.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(gathered) + 1)
    cuts = np.append(np.concatenate([[0], ends])[:-1:SENTENCES], ends[-1])
    bytes_until = bounds[pieces_until[cuts]]
    return pa.LargeStringArray.from_buffers(len(cuts) - 1, pa.py_buffer(bytes_until.astype(np.int64)), content)
