"""What the unit of the vocabulary does: it trains a vocabulary on all documents."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from corpus.engine.base import Attempt, Unit
from corpus.run.commit import check_whole, commit
from corpus.store.files import sha256
from corpus.store.records import Output
from corpus.store.shards import Dataset
from corpus.tokens.vocabulary import Config


@dataclass(frozen=True)
class VocabularyWork:
    """All documents in, one vocabulary out."""

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

        began = time.monotonic()
        source, dataset = Dataset(self.source), Dataset(self.output)
        check_whole(source, "documents", unit.inputs[0])
        rows = 0

        def texts() -> Iterator[pa.Array]:
            nonlocal rows
            for shard in source.files("documents"):
                for batch in source.batches(shard, 1024, columns=["text"]):
                    rows += batch.num_rows
                    yield batch.column("text")

        # What a vocabulary is learnt from must fit; what is counted on the way may go to disk.
        memory = (self.memory - 1024) << 20
        taken = sampled(texts(), self.config.sample)
        vocabulary = train(taken, self.config.vocab_size, pattern=self.config.pattern, memory=memory)
        counts = [{"stage": "tokenizer", "read": rows, "kept": rows, "dropped": {}, "symbols": vocabulary.size}]
        with dataset.storage.scratch() as folder:
            save_vocabulary(vocabulary, folder / "tokenizer")
            files = sorted((folder / "tokenizer").iterdir())
            outputs = [Output(file.name, "vocabulary", 0, file.stat().st_size, sha256(file)) for file in files]
            for output in outputs:  # these names do not tell contents apart
                there = dataset.storage.read(output.path)
                if there is not None and hashlib.sha256(there).hexdigest() != output.sha256:
                    path = f"{self.output}/{output.path}"
                    raise ValueError(f"{path}: another vocabulary; use another output folder, or remove this one")
            commit(self, unit, attempt, began, counts, outputs, files)
