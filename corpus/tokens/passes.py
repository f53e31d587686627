"""The two passes that end a recipe: one vocabulary from all documents, and the documents as token shards.

tokenizer  one unit        the vocabulary, trained on the whole of a dataset
tokens     a unit a shard  the ids of its documents
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
    """One vocabulary from all documents."""
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
    """DOCUMENTS -> TOKENS, shard by shard."""
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
