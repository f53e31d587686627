"""The two passes that end a recipe: one trains a vocabulary on all documents, one turns documents into token shards.

pass        its units   what a unit writes
tokenizer   one         the vocabulary, trained on a whole dataset
tokens      a shard     the ids of the shard's documents
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpe.files import load_vocabulary
from bpe.formats import naming
from bpe.vocabulary import Vocabulary
from corpus.run.chain import Step
from corpus.run.plan import Pass, Source, document_units, global_pass
from corpus.run.recipe import describe
from corpus.run.work import ChainWork, Documents
from corpus.store.open import local_path
from corpus.store.shards import Dataset
from corpus.tokens import ids
from corpus.tokens.vocabulary import Config
from corpus.tokens.work import VocabularyWork


class UnknownEnd(ValueError):
    """A vocabulary lacks the special token that is to end its texts."""


def tokenizer_pass(documents: str, config: Config, output: str) -> Pass:
    """The pass that trains one vocabulary on all documents."""
    step = Step("tokenizer", "corpus.tokens.vocabulary", config)
    described = describe([step])
    if not config.end_of_text:  # left out: an output that was begun without this setting goes on
        del described["tokenizer"]["end_of_text"]
    return global_pass(
        "tokenizer",
        output,
        ["vocabulary"],
        Dataset(documents).whole("documents"),
        described,
        lambda digest: VocabularyWork("tokenizer", config, output, digest, documents),
    )


def check_tokenizer(tokenizer: str, end_of_text: str = "") -> Vocabulary:
    """The vocabulary that documents are to be tokenized with: a run asks for it before any work.

    `end_of_text` names the special token that ends a text (empty: the vocabulary's own). Raises ValueError naming the
    file if the vocabulary is damaged or no end of its texts is known, UnknownEnd if it has no token `end_of_text`.
    """
    with local_path(tokenizer) as path:
        vocabulary = load_vocabulary(path)
    if end_of_text and end_of_text not in vocabulary.special_tokens:
        raise UnknownEnd(f"{tokenizer}: has no special token {end_of_text}, only {vocabulary.some_specials}")
    vocabulary = vocabulary.with_end(end_of_text) if end_of_text else vocabulary
    with naming(Path(tokenizer)):
        _ = vocabulary.end_of_text
    return vocabulary


def tokens_pass(source: Source, keys: Sequence[str], tokenizer: str, output: str, end_of_text: str = "") -> Pass:
    """The pass that turns DOCUMENTS into TOKENS, unit by unit. `tokenizer` is the folder of the vocabulary.

    `source` is a dataset of documents, or other people's files of them. `end_of_text` is as in `check_tokenizer`; any
    end but `<|endoftext|>` is part of the config hash.
    """
    vocabulary = check_tokenizer(tokenizer, end_of_text)
    settings = {"tokenizer": vocabulary.hash} | ({"end_of_text": vocabulary.end} if vocabulary.end else {})
    step = Step("tokens", "corpus.tokens.ids", ids.Config(tokenizer, vocabulary.ending or ""))
    more = {"files": source.files.config()} if source.files else {}
    reader = source.files.reader() if source.files else Documents.of(source.dataset or "")
    return Pass(
        "tokens",
        output,
        keys,
        source.files.units if source.files else document_units(source.dataset or ""),
        {"order": ["tokens"], "tokens": settings} | more,
        lambda config: ChainWork("tokens", (step,), output, config, reader, kind="tokens"),
        holds="tokens",
    )
