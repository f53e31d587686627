"""Text to ids and back with special tokens, with the interface of tiktoken's `Encoding`.

    from bpe import Tokenizer
    tokenizer = Tokenizer.load("cl100k_base.tiktoken")      # or any folder or file that `load_vocabulary` reads
    tokenizer.encode("Hello world")                         # [9906, 1917]
    tokenizer.encode("a<|endoftext|>")                      # ValueError: a page may not end itself unnoticed
    tokenizer.encode("a<|endoftext|>", allowed_special="all")            # [64, 100257]
    tokenizer.encode("a<|endoftext|>", disallowed_special=())            # its thirteen characters, as ordinary text
    tokenizer.encode_arrow(table["text"])                   # an array of list<uint16 or uint32>, a list for each text

Ids and the rules for special tokens are tiktoken's, with two exceptions. If two names start at one place, the longer
is taken, as Hugging Face does (in tiktoken it is chance). And an id that is no token is a ValueError.
"""

from __future__ import annotations

import codecs
import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bpe import arguments
from bpe.cuts import Held, whole_characters
from bpe.files import load_vocabulary, save_vocabulary
from bpe.parse import brief
from bpe.special import Special, at_names, finder, refuse, refused
from bpe.texts import strings_of, utf8
from bpe.vocabulary import Vocabulary

if TYPE_CHECKING:
    from bpe.encode import Encoder


class Tokenizer:
    """Encodes and decodes with one vocabulary. Threads may share it, processes receive it (pickle).

    >>> import tempfile
    >>> from bpe import Tokenizer, train_tokenizer
    >>> tokenizer = train_tokenizer(["low lower lowest"], 262)
    >>> tokenizer.encode("lower"), tokenizer.decode([256, 257])
    ([258, 81], 'owlow')
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokenizer.save(folder)
    ...     Tokenizer.load(folder).decode(tokenizer.encode("lower"))
    'lower'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary: Vocabulary = arguments.instance("vocabulary", vocabulary, Vocabulary, "or call Tokenizer.load")

    @classmethod
    def load(cls, path: str | Path, pattern: str | None = None) -> Tokenizer:
        """A tokenizer of a vocabulary that `load_vocabulary` reads; `pattern` is for files without a split rule."""
        with arguments.without_flags():
            return cls(load_vocabulary(arguments.path("path", path), pattern))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the tokenizer to a folder, which `load` and every command reads. An equal one there stays as it is.

        Raises FileExistsError if the folder holds another tokenizer, unless `overwrite`.
        """
        save_vocabulary(self.vocabulary, arguments.path("folder", folder), overwrite)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self.vocabulary,)

    def __repr__(self) -> str:
        return f"<Tokenizer {self.vocabulary.pattern!r}, {self.n_vocab} ids, {self.vocabulary.hash[:12]}>"

    def encode(
        self, text: str, *, allowed_special: Special = frozenset(), disallowed_special: Special = "all"
    ) -> list[int]:
        """Ids of `text`; a lone surrogate counts as U+FFFD.

        The names of special tokens in `allowed_special` become the tokens. A name in `disallowed_special` ("all": any
        other name) is a ValueError that says which and where. All other names are ordinary text.
        """
        texts = [arguments.string("text", text)]
        return self.encode_batch(texts, allowed_special=allowed_special, disallowed_special=disallowed_special)[0]

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of `text`. Names of special tokens are ordinary text."""
        ids: list[int] = self._encoder.encode(arguments.string("text", text)).tolist()
        return ids

    def encode_batch(
        self,
        texts: Sequence[str],
        *,
        allowed_special: Special = frozenset(),
        disallowed_special: Special = "all",
        threads: int = 1,
    ) -> list[list[int]]:
        """`encode` of each text, by so many `threads`."""
        allowed, disallowed = self._names(allowed_special, disallowed_special)
        threads, texts = arguments.whole_number("threads", threads, 1), _list_of(texts)
        if disallowed:
            for text in texts:
                refuse(text, disallowed)
        if not allowed:
            return list(self._ordinary(texts, threads))
        # The parts of a text are ordinary text, name, ordinary text, name ...
        split = [finder(allowed).split(utf8(text).decode()) for text in texts]
        ordinary = self._ordinary([part for parts in split for part in parts[::2]], threads)
        encoded = []
        for parts in split:
            ids = next(ordinary)
            for name in parts[1::2]:
                ids += [self.special_tokens[name], *next(ordinary)]
            encoded.append(ids)
        return encoded

    def encode_iterable(
        self,
        texts: Iterable[str],
        *,
        allowed_special: Special = frozenset(),
        disallowed_special: Special = "all",
    ) -> Iterator[int]:
        """The ids of one text that arrives in chunks: exactly those of `encode("".join(texts), ...)`.

        `texts` may be cut anywhere, within a word, a run of blanks or the name of a special token: an open file, the
        parts of a download. Ids are yielded as soon as no further text can change them, and 64 K characters at a time.

        Memory is bounded by the longest stretch of text in which no place for a cut can be proved: with the named
        split rules a word, or a run of blanks, digits or symbols. A regular expression that looks back (`\\b`, `^`,
        `(?<=...)`) or refers back has no such place, so that the whole text is held. `bpe/cuts.py` has the proof.

        Raises ValueError where the text names a special token in `disallowed_special`, after the ids of the text before
        it, and TypeError for a chunk that is not a string.

        >>> from bpe import train_tokenizer
        >>> tokenizer = train_tokenizer(["low lower lowest"], 270)
        >>> list(tokenizer.encode_iterable(["lo", "wer lo", "west"])) == tokenizer.encode("lower lowest")
        True
        """
        allowed, disallowed = self._names(allowed_special, disallowed_special)
        if not isinstance(texts, Iterable):
            raise arguments.of_type("texts", texts, "the chunks of a text")
        return self._stream(texts, allowed, disallowed)

    def encode_arrow(self, texts: pa.Array | pa.ChunkedArray, threads: int = 1) -> pa.Array:
        """Ids of a string array as a list array of uint16, or of uint32 for a vocabulary of more than 65,536 ids.

        Names of special tokens are always ordinary text: corpora are encoded here, and no page of a corpus may write
        an end of text. A null stays null. Raises TypeError for what is no Arrow array of strings.
        """
        if not isinstance(texts, pa.Array | pa.ChunkedArray):
            raise arguments.of_type("texts", texts, "an Arrow array of strings, or call encode_batch")
        return self._encoder.encode_arrow(texts, arguments.whole_number("threads", threads, 1))

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of `ids`, special tokens as their names. `errors` is that of `bytes.decode`.

        Raises ValueError for an id that is no token and for unknown `errors`, TypeError for ids that are no whole
        numbers.
        """
        try:
            codecs.lookup_error(arguments.string("errors", errors))
        except LookupError:
            raise ValueError(f"errors = {errors!r}: should be replace, strict, ignore or backslashreplace") from None
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`. Raises ValueError for an id that is no token, TypeError for ids that are no numbers."""
        return self.vocabulary.decode(_whole_numbers(ids))

    def decode_batch(self, batch: Iterable[Iterable[int]], errors: str = "replace") -> list[str]:
        """`decode` of each list of ids."""
        return [self.decode(ids, errors) for ids in arguments.several("batch", batch, "a list of lists of ids")]

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token, or the name of a special token. Raises ValueError if `token_id` is neither."""
        return self.vocabulary.token_bytes(arguments.whole_number("token_id", token_id))

    @property
    def n_vocab(self) -> int:
        """One more than the highest id."""
        return self.vocabulary.size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens by name."""
        return self.vocabulary.special_tokens

    @property
    def eot_token(self) -> int:
        """Id of the token that ends a text (`Vocabulary.end`). Raises ValueError if the vocabulary names none."""
        with arguments.without_flags():
            return self.vocabulary.end_of_text

    @cached_property
    def _encoder(self) -> Encoder:
        from bpe.encode import Encoder  # brings compiled kernels, which decoding does not need

        return Encoder(self.vocabulary)

    def _names(self, allowed: Special, disallowed: Special) -> tuple[frozenset[str], frozenset[str]]:
        """The names that become tokens, and the names that are refused."""
        names = frozenset(self.special_tokens)
        tokens = names & _names_of("allowed_special", allowed, names)
        return tokens, _names_of("disallowed_special", disallowed, names - tokens)

    def _stream(self, texts: Iterable[str], allowed: frozenset[str], disallowed: frozenset[str]) -> Iterator[int]:
        """`encode_iterable` with the names of `_names`."""
        held = Held(self.vocabulary.pattern)
        for text, name in at_names(whole_characters(refused(_strings(texts), disallowed)), allowed):
            if part := held.add(text):
                yield from self.encode_ordinary(part)
            if name:
                yield from self.encode_ordinary(held.rest())
                yield self.special_tokens[name]
        yield from self.encode_ordinary(held.rest())

    def _ordinary(self, texts: Sequence[str], threads: int) -> Iterator[list[int]]:
        """`encode_ordinary` of each text."""
        if len(texts) == 1:
            yield self.encode_ordinary(texts[0])
            return
        offsets, ids = self._encoder.encode_batch(texts, threads)
        bounds = offsets.tolist()
        for i in range(len(texts)):
            yield ids[bounds[i] : bounds[i + 1]].tolist()


def _names_of(name: str, special: Special, every: frozenset[str]) -> frozenset[str]:
    """The names in an argument, or `every` for "all". Raises TypeError for what is neither "all" nor names."""
    if isinstance(special, str) and special == "all":
        return every
    if isinstance(special, str):
        raise TypeError(f"{name} = {special!r}: should be 'all' or a set of names, as in {{{special!r}}}")
    return frozenset(arguments.strings(name, special))


def _list_of(texts: Iterable[str] | pa.Array | pa.ChunkedArray) -> list[str]:
    """The texts, those of an Array included, where a null is empty. Raises TypeError for what is no text."""
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return [text or "" for text in strings_of("texts", texts).to_pylist()]
    return list(arguments.strings("texts", texts))


def _whole_numbers(ids: Iterable[int]) -> list[int]:
    """Ids as Python's numbers, of a list or an array. Raises TypeError for what is no whole number."""
    items: Any = ids.tolist() if hasattr(ids, "tolist") else ids
    numbers = []
    for item in arguments.several("ids", items, "whole numbers, as encode returns them"):
        try:
            numbers.append(operator.index(item))
        except TypeError:
            raise TypeError(f"ids holds {brief(repr(item))}: pass whole numbers, as encode returns them") from None
    return numbers


def _strings(chunks: Iterable[str]) -> Iterator[str]:
    """The chunks. Raises TypeError for one that is not a string."""
    for chunk in chunks:
        if not isinstance(chunk, str):
            raise TypeError(f"texts holds a {type(chunk).__name__}: pass chunks of text, a file opened with encoding=")
        yield chunk
