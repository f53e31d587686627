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
from corpus.run.chain import Step
from corpus.run.plan import Pass, Source, document_units, global_pass
from corpus.run.recipe import describe
from corpus.run.work import ChainWork, Documents
from corpus.store.open import local_path
from corpus.store.shards import Dataset
from corpus.tokens import ids
from corpus.tokens.vocabulary import Config
from corpus.tokens.work import VocabularyWork


def tokenizer_pass(documents: str, config: Config, output: str) -> Pass:
    """The pass that trains one vocabulary on all documents."""
    step = Step("tokenizer", "corpus.tokens.vocabulary", config)
    return global_pass(
        "tokenizer",
        output,
        ["vocabulary"],
        Dataset(documents).whole("documents"),
        describe([step]),
        lambda digest: VocabularyWork("tokenizer", config, output, digest, documents),
    )


def check_tokenizer(tokenizer: str) -> str:
    """The hash of a vocabulary that documents can be tokenized with: a run asks for it before any work.

    Raises ValueError naming the file if the vocabulary is damaged or has no end of text.
    """
    with local_path(tokenizer) as path:
        vocabulary = load_vocabulary(path)
    with naming(Path(tokenizer)):
        _ = vocabulary.end_of_text
    return vocabulary.hash


def tokens_pass(source: Source, keys: Sequence[str], tokenizer: str, output: str) -> Pass:
    """The pass that turns DOCUMENTS into TOKENS, unit by unit. `tokenizer` is the folder of the vocabulary.

    `source` is a dataset of documents, or other people's files of them.
    """
    step = Step("tokens", "corpus.tokens.ids", ids.Config(tokenizer))
    digest = check_tokenizer(tokenizer)
    more = {"files": source.files.config()} if source.files else {}
    reader = source.files.reader() if source.files else Documents.of(source.dataset or "")
    return Pass(
        "tokens",
        output,
        keys,
        source.files.units if source.files else document_units(source.dataset or ""),
        {"order": ["tokens"], "tokens": {"tokenizer": digest}} | more,
        lambda config: ChainWork("tokens", (step,), output, config, reader, kind="tokens"),
    )
