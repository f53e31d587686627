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
from functools import cache
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from corpus.filters.characters import PUNCTUATION, SENTENCE_TERMINAL, is_punctuation, is_small
from corpus.filters.words import exceptions_of, kind_of, splitter

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
    memory: Memory

    @property
    def number(self) -> int:
        """How many words there are."""
        return len(self.ids)

    def present(self, wanted: tuple[str, ...], enough: int) -> int:
        """How many different ones of the `wanted` words are here; counting stops at `enough`."""
        from corpus.filters.kernels.chunks import count_present

        return int(count_present(self.ids, self.memory.ids_of(wanted), enough)) if enough > 0 else 0

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


@cache
def ready(words: str) -> None:
    """Have all loaded and compiled that a stage with this splitter needs: before a document's time is running."""
    measured = words_of("So it is. And so.", kind_of("en", words))
    measured.repetition()
    measured.present(("is",), 1)
    measured.sentences()


def forget() -> None:
    """Empty this thread's memory: nothing depends on what is in it but time."""
    _memories().clear()


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
        from corpus.filters.kernels.simple import FIRST, Tables

        self.split = splitter(kind)
        self.learns = kind != "spacy"
        self.kept: OrderedDict[str, Words] = OrderedDict()
        self.kept_characters = 0
        self.wanted: dict[tuple[str, ...], Any] = {}
        self.tables = Tables(
            chunk_rows=_no_rows(2**12),
            chunk_letters=np.zeros(0, np.uint8),
            words=np.zeros(0, np.int32),
            id_rows=_no_rows(2**12),
            id_letters=np.zeros(0, np.uint8),
            about=np.zeros(0, np.int32),
            letters_of=_letters_of(),
            used=np.zeros(5, np.int64),
        )
        self.room = [0] * 5  # how much of each `tables.used` counts there may be
        self._number(FIRST)
        if self.learns:
            self._remember([written.encode() for written in exceptions_of(kind)])

    def is_full(self) -> bool:
        chunks, letters, words = self.tables.used[:3].tolist()
        return bool(chunks >= _CHUNKS or letters >= _LETTERS or words >= 4 * _CHUNKS)

    def measure(self, text: str) -> Words:
        """Split `text` by what is remembered, and remember the rest."""
        from corpus.filters.kernels.chunks import PADDING, count_words, gather
        from corpus.filters.kernels.simple import LEARNT, LONGEST, MOST_WORDS, look_up

        data = text.encode("utf-8", "surrogatepass")
        size = len(data)
        padded = np.frombuffer(data + bytes(PADDING), np.uint8)
        found = np.empty((size + 1) // 2, np.int64)
        missed = np.empty((len(found), 2), np.int64)
        chunks = at = 0
        while at < size:
            self._make_room(LEARNT, LEARNT * (LONGEST + PADDING), LEARNT * MOST_WORDS, LEARNT * MOST_WORDS)
            before = chunks
            chunks, unknown, at = look_up(padded.ctypes.data, size, at, self.learns, self.tables, found, before, missed)
            if unknown:
                part = found[before:chunks]
                part[part < 0] = self._remember([data[start:end] for start, end in missed[:unknown].tolist()])
        found = found[:chunks]
        out = np.empty((2, count_words(found, self.tables.words)), np.int32)
        totals = np.empty(3, np.int64)
        gather(found, self.tables.words, self.tables.about, out, totals)
        real, characters, with_letter = totals.tolist()
        words = Words(out[0], out[1], real, characters, with_letter, self)
        self._keep(text, words)
        return words

    def ids_of(self, words: tuple[str, ...]) -> Any:
        """Their ids, which they have from now on if they had none: int64[different words]."""
        ids = self.wanted.get(words)
        if ids is None:
            ids = self.wanted[words] = self._number(tuple(dict.fromkeys(word for word in words if word)))
        return ids

    def _keep(self, text: str, words: Words) -> None:
        if len(text) > _KEPT_CHARACTERS // 4:
            return
        self.kept[text] = words
        self.kept_characters += len(text)
        while len(self.kept) > _KEPT_DOCUMENTS or self.kept_characters > _KEPT_CHARACTERS:
            self.kept_characters -= len(self.kept.popitem(last=False)[0])

    def _remember(self, chunks: Sequence[bytes]) -> Any:
        """Where the words of chunks are that were not known, in order: int64[chunks]."""
        from corpus.filters.kernels.simple import add_all

        different = list(dict.fromkeys(chunks))
        split = self.split([chunk.decode("utf-8", "surrogatepass") for chunk in different])
        ids = self._number(list(chain.from_iterable(split)))
        data, sizes = _padded(different)
        self._make_room(len(different), len(data), len(ids) + len(different), 0)
        first = int(self.tables.used[2])
        written: list[int] = []
        places: list[int] = []
        numbers = iter(ids.tolist())
        for words in split:
            places.append(first + len(written))
            written += [len(words), *islice(numbers, len(words))]
        self.tables.words[first : first + len(written)] = written
        self.tables.used[2] += len(written)
        add_all(data.ctypes.data, sizes, np.array(places, np.int64), self.tables)
        by_chunk = dict(zip(different, places, strict=True))
        return np.array([by_chunk[chunk] for chunk in chunks], np.int64)

    def _number(self, words: Sequence[str]) -> Any:
        """The ids of words: int64[words]."""
        from corpus.filters.kernels.simple import number_all

        data, sizes = _padded([word.encode("utf-8", "surrogatepass") for word in words])
        self._make_room(0, 0, 0, len(words), len(data))
        ids = np.empty(len(words), np.int64)
        known = int(self.tables.used[3])
        number_all(data.ctypes.data, sizes, self.tables, ids)
        new = np.flatnonzero(ids >= known).tolist()
        about = self.tables.about
        for place in new:
            about[ids[place]] = _about(words[place])
        return ids

    def _make_room(self, chunks: int, letters: int, words: int, ids: int, id_letters: int | None = None) -> None:
        """For so many more of each."""
        id_letters = letters if id_letters is None else id_letters
        more = (chunks, letters + 8, words, ids, id_letters + 8 + 8 * ids)
        needed = [used + new for used, new in zip(self.tables.used.tolist(), more, strict=True)]
        if all(map(int.__le__, needed, self.room)):
            return
        tables = self.tables
        self.tables = tables._replace(
            chunk_rows=_with_rows(tables.chunk_rows, needed[0]),
            chunk_letters=_with_room(tables.chunk_letters, needed[1]),
            words=_with_room(tables.words, needed[2]),
            id_rows=_with_rows(tables.id_rows, needed[3]),
            id_letters=_with_room(tables.id_letters, needed[4]),
            about=_with_room(tables.about, needed[3]),
        )
        tables = self.tables
        self.room = [
            len(tables.chunk_rows) // 2,
            len(tables.chunk_letters),
            len(tables.words),
            min(len(tables.id_rows) // 2, len(tables.about)),
            len(tables.id_letters),
        ]


@cache
def _letters_of() -> Any:
    """What kernels.simple asks of the first 2,048 code points."""
    from corpus.filters.kernels.simple import ALPHA, SMALL

    known = [ALPHA * char.isalpha() | SMALL * is_small(char) for char in map(chr, range(0x800))]
    return np.array(known, np.uint8)


def _padded(parts: Sequence[bytes]) -> tuple[Any, Any]:
    """(the parts in a row, each with its padding, the size of each)."""
    from corpus.filters.kernels.chunks import PADDING

    padding = bytes(PADDING)
    return np.frombuffer(padding.join([*parts, b""]), np.uint8), np.array(list(map(len, parts)), np.int64)


def _with_rows(rows: Any, number: int) -> Any:
    """The table, or a wider one with its rows, if it would be more than half full with `number`."""
    from corpus.filters.kernels.chunks import rehash

    if 2 * number <= len(rows):
        return rows
    wider = _no_rows(1 << (4 * number - 1).bit_length())
    rehash(rows, wider.ctypes.data, len(wider) - 1)
    return wider


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
