"""Text -> its words as numbers, which all rules on words read.

Rules ask how many words a text has, how long they are, whether they have a letter, and which n-grams repeat. `words_of`
looks up each chunk (the text between white space) in a memory of chunks and their words, because chunks repeat in real
text. A compiled loop reads this memory. New chunks are split by `corpus.filters.words` and remembered. Neighbouring
stages read one batch of texts after each other, so the answers for the last few texts are kept as well.

Nothing that is measured depends on what the memory holds. It is emptied between two documents when it is full, and
after an exception: a time limit may end the work at any place.
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

_CHUNKS = 2**18  # most chunks in a memory, some 60 MB with their words
_LETTERS = 2**22  # most bytes of chunks in a memory
_KEPT_DOCUMENTS = 256  # most texts whose answers are kept: four batches of a chain of stages
_KEPT_CHARACTERS = 2**22  # most characters of these texts


class Words(NamedTuple):
    """The words of one text.

    ids              int32[n]: equal for equal words of this text; they mean nothing in another text
    traits           int32[n]: the length of each word in characters << 4, and bits of `kernels.chunks`
    real             the number of words with more than symbols (`characters.PUNCTUATION`)
    real_characters  the characters in those words
    with_letter      the number of words with a letter
    memory           the memory that the ids belong to
    """

    ids: Any
    traits: Any
    real: int
    real_characters: int
    with_letter: int
    memory: Memory

    @property
    def number(self) -> int:
        """The number of words."""
        return len(self.ids)

    def present(self, wanted: tuple[str, ...], enough: int) -> int:
        """How many different words of `wanted` the text has; counting stops at `enough`."""
        from corpus.filters.kernels.chunks import count_present

        return int(count_present(self.ids, self.memory.ids_of(wanted), enough)) if enough > 0 else 0

    def sentences(self) -> int:
        """The number of sentences, see `corpus.filters.words.count_sentences`."""
        from corpus.filters.kernels.chunks import sentences

        return int(sentences(self.traits))

    def repetition(self) -> list[int]:
        """At n = 2..4: the characters of the most frequent n-gram; at n = 5..10: of n-grams that occurred before."""
        from corpus.filters.kernels.grams import LONG, repetition

        measured = np.zeros(LONG + 1, np.int64)
        repetition(self.ids, self.traits, measured)
        return [int(value) for value in measured]


def words_of(text: str, kind: str = "english") -> Words:
    """The words of `text`, split by the rules `kind` (see `corpus.filters.words.kind_of`)."""
    memories = _memories()
    memory = memories.get(kind)
    if memory is None or memory.is_full():
        if memory is not None:
            memory.kept.clear()  # these answers name the memory: a circle, which Python would free much later
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
    """Load and compile everything that a stage with the splitter `words` needs.

    Stages call it before the first document, because a document has a time limit.
    """
    measured = words_of("So it is. And so.", kind_of("en", words))
    measured.repetition()
    measured.present(("is",), 1)
    measured.sentences()


def forget() -> None:
    """Empty this thread's memories. Only time depends on what they hold."""
    _memories().clear()


def _memories() -> dict[str, Memory]:
    """The memories of this thread, by the kind of rules: two threads cannot use one memory at once."""
    if not hasattr(_local, "memories"):
        _local.memories = {}
    memories: dict[str, Memory] = _local.memories
    return memories


_local = threading.local()


class Memory:
    """Chunks with their words, words with their traits, and the last texts with their answers."""

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
            traits=np.zeros(0, np.int32),
            letters_of=_letters_of(),
            used=np.zeros(5, np.int64),
        )
        self.room = [0] * 5  # how large each number of `tables.used` may become
        self._number(FIRST)
        if self.learns:
            self._remember([written.encode() for written in exceptions_of(kind)])

    def is_full(self) -> bool:
        chunks, letters, words = self.tables.used[:3].tolist()
        return bool(chunks >= _CHUNKS or letters >= _LETTERS or words >= 4 * _CHUNKS)

    def measure(self, text: str) -> Words:
        """The words of `text`; new chunks are split and remembered."""
        from corpus.filters.kernels.chunks import PADDING, count_words, gather
        from corpus.filters.kernels.simple import LEARNT, LONGEST, MOST_WORDS, look_up

        data = text.encode("utf-8", "surrogatepass")
        size = len(data)
        padded = np.frombuffer(data + bytes(PADDING), np.uint8)
        places = np.empty((size + 1) // 2, np.int64)
        missed = np.empty((len(places), 2), np.int64)
        chunks = at = 0
        while at < size:
            self._make_room(LEARNT, LEARNT * (LONGEST + PADDING), LEARNT * MOST_WORDS, LEARNT * MOST_WORDS)
            before = chunks
            chunks, unknown, at = look_up(
                padded.ctypes.data, size, at, self.learns, self.tables, places, before, missed
            )
            if unknown:
                part = places[before:chunks]
                part[part < 0] = self._remember([data[start:end] for start, end in missed[:unknown].tolist()])
        places = places[:chunks]
        out = np.empty((2, count_words(places, self.tables.words)), np.int32)
        totals = np.empty(3, np.int64)
        gather(places, self.tables.words, self.tables.traits, out, totals)
        real, characters, with_letter = totals.tolist()
        words = Words(out[0], out[1], real, characters, with_letter, self)
        self._keep(text, words)
        return words

    def ids_of(self, words: tuple[str, ...]) -> Any:
        """The ids of the different words, int64[words]; a new word gets an id."""
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
        """Split and remember new chunks; returns the places of their words, int64[chunks]."""
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
        """The ids of words, int64[words]; a new word gets an id and its traits."""
        from corpus.filters.kernels.simple import number_all

        data, sizes = _padded([word.encode("utf-8", "surrogatepass") for word in words])
        self._make_room(0, 0, 0, len(words), len(data))
        ids = np.empty(len(words), np.int64)
        first_new = int(self.tables.used[3])
        number_all(data.ctypes.data, sizes, self.tables, ids)
        new = np.flatnonzero(ids >= first_new).tolist()
        traits = self.tables.traits
        for place in new:
            traits[ids[place]] = _traits(words[place])
        return ids

    def _make_room(self, chunks: int, letters: int, words: int, ids: int, id_letters: int | None = None) -> None:
        """Make room for this many more chunks, bytes of chunks, places of words, ids and bytes of words.

        Words have as many bytes as chunks unless `id_letters` says otherwise.
        """
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
            traits=_with_room(tables.traits, needed[3]),
        )
        tables = self.tables
        self.room = [
            len(tables.chunk_rows) // 2,
            len(tables.chunk_letters),
            len(tables.words),
            min(len(tables.id_rows) // 2, len(tables.traits)),
            len(tables.id_letters),
        ]


@cache
def _letters_of() -> Any:
    """`Tables.letters_of` of `kernels.simple`: the bits of the first 2,048 code points."""
    from corpus.filters.kernels.simple import ALPHA, SMALL

    bits = [ALPHA * char.isalpha() | SMALL * is_small(char) for char in map(chr, range(0x800))]
    return np.array(bits, np.uint8)


def _padded(parts: Sequence[bytes]) -> tuple[Any, Any]:
    """(uint8: the parts one after another, each with its padding; int64[parts]: their sizes)."""
    from corpus.filters.kernels.chunks import PADDING

    padding = bytes(PADDING)
    return np.frombuffer(padding.join([*parts, b""]), np.uint8), np.array(list(map(len, parts)), np.int64)


def _with_rows(rows: Any, number: int) -> Any:
    """The table; a wider one with its rows if it would be more than half full with `number` rows."""
    from corpus.filters.kernels.chunks import rehash

    if 2 * number <= len(rows):
        return rows
    wider = _no_rows(1 << (4 * number - 1).bit_length())
    rehash(rows, wider.ctypes.data, len(wider) - 1)
    return wider


def _no_rows(number: int) -> Any:
    """A table of free rows."""
    rows = np.zeros((number, 4), np.int64)
    rows[:, 3] = -1
    return rows


def _with_room(array: Any, size: int) -> Any:
    """The array; a copy of at least twice its length if it is shorter than `size`."""
    if len(array) >= size:
        return array
    wider = np.zeros(max(2 * len(array), size), array.dtype)
    wider[: len(array)] = array
    return wider


def _traits(word: str) -> int:
    """The traits of a word: its length and bits of `kernels.chunks`."""
    from corpus.filters.kernels.chunks import LENGTH, LETTER, MARK, REAL, TERMINAL

    if word.isalpha():
        return len(word) << LENGTH | REAL | LETTER
    bits = REAL if any(char not in PUNCTUATION for char in word) else 0
    bits |= LETTER if any(map(str.isalpha, word)) else 0
    bits |= TERMINAL if word in SENTENCE_TERMINAL else 0
    bits |= MARK if is_punctuation(word) else 0
    return len(word) << LENGTH | bits
