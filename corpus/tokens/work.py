"""What the one unit of the pass `tokenizer` does: train a vocabulary on all documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from bpe.vocabulary import END_OF_TEXT
from corpus.engine.base import Attempt, Unit
from corpus.run.commit import account, committing, whole_input
from corpus.store.files import sha256
from corpus.store.records import Output
from corpus.store.shards import Dataset
from corpus.tokens.vocabulary import Config


@dataclass(frozen=True)
class VocabularyWork:
    """Reads all documents, and writes one vocabulary."""

    name: str
    config: Config
    output: str
    config_hash: str
    source: str
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from bpe.files import save_vocabulary
        from bpe.sources import sampled
        from bpe.train import train

        rows = 0

        def texts(documents: Dataset) -> Iterator[pa.Array]:
            nonlocal rows
            for shard in documents.files("documents"):
                for batch in documents.batches(shard, 1024, columns=["text"]):
                    rows += batch.num_rows
                    yield batch.column("text")

        with committing(self, unit, attempt) as ending:
            documents = sampled(texts(whole_input(unit, self.source, "documents")), self.config.sample)
            # The vocabulary's training data must fit into memory; counts of pretokens may go to disk.
            memory = (self.memory - 1024) << 20
            end = self.config.end_of_text or END_OF_TEXT
            vocabulary = train(documents, self.config.vocab_size, self.config.pattern, (end,), memory=memory)
            vocabulary = vocabulary.with_end(end)
            save_vocabulary(vocabulary, ending.folder / "tokenizer")
            files = sorted((ending.folder / "tokenizer").iterdir())
            outputs = [Output(file.name, "vocabulary", 0, file.stat().st_size, sha256(file)) for file in files]
            for output in outputs:
                self._check_not_other(output)
            ending.publish([account("tokenizer", rows) | {"symbols": vocabulary.size}], outputs, files)

    def _check_not_other(self, output: Output) -> None:
        """Raises ValueError if the folder has a file of this name and other contents: no hash is in these names."""
        before = Dataset(self.output).storage.read(output.path)
        if before is not None and hashlib.sha256(before).hexdigest() != output.sha256:
            path = f"{self.output}/{output.path}"
            raise ValueError(f"{path}: another vocabulary; use another output folder, or remove this one")
