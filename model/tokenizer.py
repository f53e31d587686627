"""The tokenizer of a run. A run directory has a copy of it, so that `model sample RUN` needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bpe.files import HEADERS, load_vocabulary, save_vocabulary, vocabulary_in
from bpe.vocabulary import Vocabulary
from corpus.store.local import check_below

if TYPE_CHECKING:
    from bpe.encode import Encoder


class Tokenizer:
    """Converts text to ids and ids to text, by a vocabulary of the `bpe` package."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end-of-text token."""
        ids: list[int] = self._encoder.encode(text).tolist()
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD.

        An id that is no token of the vocabulary is left out and is no error, because a model may draw any id.
        """
        known = (token_id for token_id in ids if token_id < len(self._is_token) and self._is_token[token_id])
        return self.vocabulary.decode(known).decode("utf-8", "replace")

    @cached_property
    def _encoder(self) -> Encoder:
        from bpe.encode import Encoder  # imported here because it compiles kernels, which only a prompt needs

        return Encoder(self.vocabulary)

    @cached_property
    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """The number of bytes of text that each id stands for, (V,); 0 for special tokens and ids that are no token."""
        lengths_V = np.zeros(self.vocabulary.size, np.int64)
        lengths_V[: len(self.vocabulary.tokens)] = [len(token) for token in self.vocabulary.tokens]
        return lengths_V

    @cached_property
    def _is_token(self) -> npt.NDArray[np.bool_]:
        is_token_V = self.byte_lengths > 0
        is_token_V[list(self.vocabulary.special_tokens.values())] = True
        return is_token_V


def find_tokenizer(named: Path | None, data: Path) -> Path | None:
    """The tokenizer that the user `named`, or else the folder `tokenizer` beside the folder of shards, if it exists."""
    neighbour = data.resolve().parent / "tokenizer"
    return named if named is not None else neighbour if neighbour.exists() else None


def adopt_tokenizer(run: Path, source: Path, tokenizer_hash: str, end_of_text: int | None = None) -> Tokenizer:
    """Copy the tokenizer at `source` into the run directory; return it. `end_of_text` is the id that ends its texts.

    Raises ValueError if its hash is not `tokenizer_hash`, the hash of the tokenizer that made the shards, and OSError
    if there is none.
    """
    vocabulary = load_vocabulary(source)
    if vocabulary.hash != tokenizer_hash:
        raise ValueError(
            f"{source}: its hash is {vocabulary.hash[:12]}, the tokens were made with {tokenizer_hash[:12]}; "
            "name the right one with --tokenizer"
        )
    vocabulary = _ending_with(vocabulary, end_of_text)
    folder = run / "tokenizer"
    if not any((folder / name).exists() for name in HEADERS):  # one that is there may be a link, and is only read
        check_below(run, folder)
    present = vocabulary_in(folder)
    if present is None or present.hash != vocabulary.hash:
        save_vocabulary(vocabulary, folder)
    return Tokenizer(vocabulary)


def run_tokenizer(run: Path, state: Mapping[str, Any] | None = None) -> Tokenizer | None:
    """The tokenizer in the run directory; None if it has none.

    With `state`, what the run's checkpoint holds, a text ends with the id that ended the texts of the run's training.
    Raises ValueError if the tokenizer has ids that the model of `state` does not know.
    """
    path = run / "tokenizer"
    if not path.exists():
        return None
    vocabulary, shape = load_vocabulary(path), (state or {}).get("model") or {}
    if vocabulary.size > (known := shape.get("vocab_size", vocabulary.size)):
        raise ValueError(
            f"{path}: has ids up to {vocabulary.size - 1}, the run's model knows {known}; copy the tokenizer that the "
            "run was trained with to this place"
        )
    data = (state or {}).get("data") or {}
    return Tokenizer(_ending_with(vocabulary, data.get("end_of_text")))


def _ending_with(vocabulary: Vocabulary, end_of_text: int | None) -> Vocabulary:
    """The vocabulary with this id as its end of text; unchanged if the id is None or that of no special token."""
    names = {token_id: name for name, token_id in vocabulary.special_tokens.items()}
    end = vocabulary.ending if end_of_text is None else names.get(end_of_text, vocabulary.ending)
    return vocabulary if end == vocabulary.ending else vocabulary.with_end(end)
