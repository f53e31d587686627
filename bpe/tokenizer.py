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

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bpe.files import load_vocabulary
from bpe.texts import utf8
from bpe.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

    from bpe.encode import Encoder

Special = Literal["all"] | Collection[str]


class Tokenizer:
    """Encodes and decodes with one vocabulary. Threads may share it, processes receive it (pickle)."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def load(cls, path: str | Path, pattern: str | None = None) -> Tokenizer:
        """A tokenizer of a vocabulary that `load_vocabulary` reads; `pattern` is for files without a split rule."""
        return cls(load_vocabulary(path, pattern))

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
        return self.encode_batch([text], allowed_special=allowed_special, disallowed_special=disallowed_special)[0]

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of `text`. Names of special tokens are ordinary text."""
        ids: list[int] = self._encoder.encode(text).tolist()
        return ids

    def encode_batch(
        self,
        texts: Sequence[str],
        *,
        allowed_special: Special = frozenset(),
        disallowed_special: Special = "all",
        threads: int = 1,
    ) -> list[list[int]]:
        """`encode` of each text."""
        names = frozenset(self.special_tokens)
        allowed = names if allowed_special == "all" else names & frozenset(allowed_special)
        disallowed = names - allowed if disallowed_special == "all" else frozenset(disallowed_special)
        if disallowed:
            for text in texts:
                _refuse(text, disallowed)
        if not allowed:
            return list(self._ordinary(texts, threads))
        # The parts of a text are ordinary text, name, ordinary text, name ...
        split = [_finder(allowed).split(utf8(text).decode()) for text in texts]
        ordinary = self._ordinary([part for parts in split for part in parts[::2]], threads)
        encoded = []
        for parts in split:
            ids = next(ordinary)
            for name in parts[1::2]:
                ids += [self.special_tokens[name], *next(ordinary)]
            encoded.append(ids)
        return encoded

    def encode_arrow(self, texts: pa.Array | pa.ChunkedArray, threads: int = 1) -> pa.Array:
        """Ids of a string array as a list array of uint16, or of uint32 for a vocabulary of more than 65,536 ids.

        Names of special tokens are always ordinary text: corpora are encoded here, and no page of a corpus may write
        an end of text. A null stays null. Raises ValueError for an array that does not hold strings.
        """
        return self._encoder.encode_arrow(texts, threads)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of `ids`, special tokens as their names. `errors` is that of `bytes.decode`.

        Raises ValueError for an id that is no token.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`. Raises ValueError for an id that is no token."""
        return self.vocabulary.decode(ids)

    def decode_batch(self, batch: Iterable[Iterable[int]], errors: str = "replace") -> list[str]:
        """`decode` of each list of ids."""
        return [self.decode(ids, errors) for ids in batch]

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token, or the name of a special token. Raises ValueError if `token_id` is neither."""
        return self.vocabulary.token_bytes(token_id)

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
        """Id of `<|endoftext|>`. Raises ValueError if the vocabulary has none."""
        return self.vocabulary.end_of_text

    @cached_property
    def _encoder(self) -> Encoder:
        from bpe.encode import Encoder  # brings compiled kernels, which decoding does not need

        return Encoder(self.vocabulary)

    def _ordinary(self, texts: Sequence[str], threads: int) -> Iterator[list[int]]:
        """`encode_ordinary` of each text."""
        if len(texts) == 1:
            yield self.encode_ordinary(texts[0])
            return
        offsets, ids = self._encoder.encode_batch(texts, threads)
        bounds = offsets.tolist()
        for i in range(len(texts)):
            yield ids[bounds[i] : bounds[i + 1]].tolist()


def _refuse(text: str, disallowed: frozenset[str]) -> None:
    """Raises ValueError if one of the names `disallowed` is in `text`."""
    if match := _finder(disallowed).search(text):
        name = match.group()
        raise ValueError(
            f"text holds the special token {name!r} at character {match.start()}: pass allowed_special={{{name!r}}} "
            "for the token, or disallowed_special=() to take its name for ordinary text"
        )


@functools.lru_cache(maxsize=64)
def _finder(names: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the leftmost of `names`, the longest at that place, as its one group."""
    return re.compile("(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")")
