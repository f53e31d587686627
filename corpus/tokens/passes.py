"""The two passes that end a recipe: one trains a vocabulary on all documents, one turns documents into token shards.

pass        its units   what a unit writes
tokenizer   one         the vocabulary, trained on a whole dataset
tokens      a shard     the ids of the shard's documents
"""

from __future__ import annotations

from collections.abc import Sequence

from bpe.files import load_vocabulary
from corpus.run.chain import Step
from corpus.run.plan import Pass, document_units, global_pass
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


def tokens_pass(documents: str, keys: Sequence[str], tokenizer: str, output: str) -> Pass:
    """The pass that turns DOCUMENTS into TOKENS, shard by shard. `tokenizer` is the folder of the vocabulary."""
    step = Step("tokens", "corpus.tokens.ids", ids.Config(tokenizer))
    with local_path(tokenizer) as path:
        digest = load_vocabulary(path).hash
    return Pass(
        "tokens",
        output,
        keys,
        document_units(documents),
        {"order": ["tokens"], "tokens": {"tokenizer": digest}},
        lambda config: ChainWork("tokens", (step,), output, config, Documents(documents), kind="tokens"),
    )
