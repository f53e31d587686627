"""Text -> its words as numbers, measured once and read by every rule.

Rules ask for the same few things: how many words, how long, with a letter or not, which n-grams repeat. `words_of`
answers from a memory of chunks (what stands between white space) in arrays that a compiled loop reads: real text says
the same chunks again and again. Chunks that are new are split by corpus.filters.words and remembered. Neighbouring
stages see the same texts one after the other, a batch at a time, so the last few documents' answers are kept.

The memory is emptied when it is full, between two documents; nothing that is measured depends on what is remembered.
An exception on the way (a time limit may strike anywhere) empties it too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from corpus.filters.characters import PUNCTUATION, SENTENCE_TERMINAL, is_punctuation
from corpus.filters.words import splitter

_CHUNKS = 2**18  # remembered at the most, some 60 MB with their words
_LETTERS = 2**22  # bytes of them
_KEPT_DOCUMENTS = 256  # four batches of the fused chain
_KEPT_CHARACTERS = 2**22


class Words(NamedTuple):
    """The words of one text. Ids are equal for equal words of one text, and mean nothing beyond it."""

    ids: Any  # int32[n]
    about: Any  # int32[n]: characters << 4 | bits of kernels.chunks
    real: int  # words that are not of symbols alone
    real_characters: int  # in those
    with_letter: int  # words that have a letter
    known: dict[str, int]  # the id of a word

    @property
    def count(self) -> int:
        return len(self.ids)

    def present(self, wanted: Sequence[str], enough: int) -> int:
        """How many different ones of the `wanted` words are here; counting stops at `enough`."""
        from corpus.filters.kernels.chunks import count_present

        ids = [self.known[word] for word in dict.fromkeys(wanted) if word in self.known]
        return int(count_present(self.ids, np.array(ids, np.int32), enough)) if ids and enough > 0 else 0

    def sentences(self) -> int:
        from corpus.filters.kernels.chunks import sentences

        return int(sentences(self.about))

    def repetition(self) -> list[int]:
        """For n = 2..4: characters of the top n-gram; for n = 5..10: characters of n-grams seen before."""
        from corpus.filters.kernels.grams import LONG, repetition

        measured = np.zeros(LONG + 1, np.int64)
        repetition(self.ids, self.about, measured)
        return [int(value) for value in measured]


def words_of(text: str, kind: str = "english") -> Words:
    """The words of `text` as the rules `kind` (corpus.filters.words.kind_of) split it."""
    memories = _memories()
    memory = memories.get(kind)
    if memory is None or memory.is_full():
        memory = memories[kind] = Memory(kind)
    kept = memory.kept.get(text)
    if kept is not None:
        return kept
    try:
        return memory.measure(text)
    except BaseException:
        memories.pop(kind, None)
        raise


def _memories() -> dict[str, Memory]:
    """This thread's, for a memory cannot be written and read at once."""
    if not hasattr(_local, "memories"):
        _local.memories = {}
    memories: dict[str, Memory] = _local.memories
    return memories


_local = threading.local()


class Memory:
    """Chunks with their words, words with what is known of them, and the last texts with their answers."""

    def __init__(self, kind: str) -> None:
        self.split = splitter(kind)
        self.kept: OrderedDict[str, Words] = OrderedDict()
        self.kept_characters = 0
        self.known: dict[str, int] = {}
        self.chunks = self.letters_used = self.words_used = 0
        self.rows = _no_rows(2**12)  # see kernels.chunks
        self.letters = np.zeros(2**14, np.uint8)
        self.words = np.zeros(2**12, np.int32)  # of each chunk: how many, and their ids
        self.about = np.zeros(2**12, np.int32)  # by id

    def is_full(self) -> bool:
        return self.chunks >= _CHUNKS or self.letters_used >= _LETTERS or self.words_used >= 4 * _CHUNKS

    def measure(self, text: str) -> Words:
        """Split `text` by what is remembered, and remember the rest."""
        from corpus.filters.kernels.chunks import PADDING, count_words, gather, look_up

        data = text.encode("utf-8", "surrogatepass")
        size = len(data)
        padded = np.frombuffer(data + bytes(PADDING), np.uint8)
        found = np.empty((size + 1) // 2, np.int64)
        missed = np.empty((len(found), 2), np.int64)
        chunks, unknown = look_up(
            padded.ctypes.data, size, self.rows.ctypes.data, len(self.rows) - 1, self.letters.ctypes.data, found, missed
        )
        found = found[:chunks]
        if unknown:
            found[found < 0] = self._remember([data[start:end] for start, end in missed[:unknown].tolist()])
        out = np.empty((2, count_words(found, self.words)), np.int32)
        totals = np.empty(3, np.int64)
        gather(found, self.words, self.about, out, totals)
        words = Words(out[0], out[1], *totals.tolist(), self.known)
        self._keep(text, words)
        return words

    def _keep(self, text: str, words: Words) -> None:
        if len(text) > _KEPT_CHARACTERS // 4:
            return
        self.kept[text] = words
        self.kept_characters += len(text)
        while len(self.kept) > _KEPT_DOCUMENTS or self.kept_characters > _KEPT_CHARACTERS:
            self.kept_characters -= len(self.kept.popitem(last=False)[0])

    def _remember(self, chunks: Sequence[bytes]) -> Any:
        """Where the words of chunks are that were not known, in order: int64[chunks]."""
        from corpus.filters.kernels.chunks import PADDING, remember

        different = list(dict.fromkeys(chunks))
        split = self.split([chunk.decode("utf-8", "surrogatepass") for chunk in different])
        words: list[int] = []
        places: list[int] = []
        about: list[int] = []
        for parts in split:
            places.append(self.words_used + len(words))
            words.append(len(parts))
            words += [self._number(word, about) for word in parts]
        letters = (bytes(PADDING).join(different)) + bytes(PADDING)
        self._make_room(len(different), len(letters), len(words))
        self.letters[self.letters_used : self.letters_used + len(letters)] = np.frombuffer(letters, np.uint8)
        self.words[self.words_used : self.words_used + len(words)] = words
        self.about[len(self.known) - len(about) : len(self.known)] = about
        sizes = np.array([len(chunk) for chunk in different], np.int64)
        rows, mask = self.rows.ctypes.data, len(self.rows) - 1
        remember(sizes, np.array(places, np.int64), self.letters.ctypes.data, self.letters_used, rows, mask)
        self.chunks += len(different)
        self.letters_used += len(letters)
        self.words_used += len(words)
        by_chunk = dict(zip(different, places, strict=True))
        return np.array([by_chunk[chunk] for chunk in chunks], np.int64)

    def _number(self, word: str, about: list[int]) -> int:
        """The id of a word; what is known of a new one is added to `about`."""
        number = self.known.get(word)
        if number is None:
            number = self.known[word] = len(self.known)
            about.append(_about(word))
        return number

    def _make_room(self, chunks: int, letters: int, words: int) -> None:
        """For so many more."""
        from corpus.filters.kernels.chunks import rehash

        if 2 * (self.chunks + chunks) > len(self.rows):
            wider = _no_rows(1 << (4 * (self.chunks + chunks)).bit_length())
            rehash(self.rows, wider.ctypes.data, len(wider) - 1)
            self.rows = wider
        self.letters = _with_room(self.letters, self.letters_used + letters)
        self.words = _with_room(self.words, self.words_used + words)
        self.about = _with_room(self.about, len(self.known))


def _no_rows(number: int) -> Any:
    rows = np.zeros((number, 4), np.int64)
    rows[:, 3] = -1
    return rows


def _with_room(array: Any, size: int) -> Any:
    """The array, or a copy of at least twice the length, if it has fewer places than `size`."""
    if len(array) >= size:
        return array
    wider = np.zeros(max(2 * len(array), size), array.dtype)
    wider[: len(array)] = array
    return wider


def _about(word: str) -> int:
    from corpus.filters.kernels.chunks import LENGTH, LETTER, MARK, REAL, TERMINAL

    if word.isalpha():
        return len(word) << LENGTH | REAL | LETTER
    bits = REAL if any(char not in PUNCTUATION for char in word) else 0
    bits |= LETTER if any(map(str.isalpha, word)) else 0
    bits |= TERMINAL if word in SENTENCE_TERMINAL else 0
    bits |= MARK if is_punctuation(word) else 0
    return len(word) << LENGTH | bits
