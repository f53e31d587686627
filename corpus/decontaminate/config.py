"""Settings of decontamination. This module is light, so that a command can show its help quickly.

Documents that hold examples of a benchmark teach a model the answers. Examples are found by word n-grams, in lower
case and without punctuation, as in GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C: 13 words). One n-gram in
common proves nothing: it may be a quotation, a licence, a form or the instructions of the benchmark. Hence three
guards, none of which depends on how documents are cut into shards:

- an n-gram in more than `max_examples` examples is boilerplate of the benchmarks, and is ignored;
- an n-gram in more than `max_documents` documents is ignored (GPT-3, NeMo Curator's max_matches: 10);
- a document holds an example only if it has a share of `min_overlap` of its n-grams, or `min_ngrams` of them.

The preset `gpt3` decides as GPT-3 does: one n-gram is enough, and is cut out with 200 characters on either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.config import WRITTEN, setting


@dataclass(frozen=True)
class Config:
    benchmarks: tuple[str, ...] = setting(
        (), "files of examples (.jsonl, .parquet, .txt), or folders of such files", path=True
    )
    fields: tuple[str, ...] = setting(
        (), "fields of an example that are its text (default: all that hold text)", flag="--field"
    )
    ngram: int = setting(13, "words in an n-gram (GPT-3: 13); shorter examples are not searched", low=2, high=100)
    max_examples: int = setting(10, "ignore n-grams that are in more examples than this; 0: ignore none", low=0)
    max_documents: int = setting(
        10, "ignore n-grams that are in more documents than this (GPT-3: 10); 0: ignore none", low=0
    )
    min_overlap: float = setting(0.5, "a document holds an example if it has this share of its n-grams", low=0, high=1)
    min_ngrams: int = setting(20, "or if it has this many different n-grams of the example", low=1)
    action: str = setting("drop", "drop the document, or cut the example out", choices=("drop", "cut"))
    window: int = setting(200, "cut: characters to cut on either side, too (GPT-3: 200)", low=0)
    min_piece: int = setting(200, "cut: remove pieces between cuts with fewer characters (GPT-3: 200)", low=0)
    max_pieces: int = setting(10, "cut: drop a document that is left in more pieces than this (GPT-3: 10)", low=1)

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks = (): should name files of examples, or folders of such files")


@dataclass(frozen=True)
class Search:
    """Settings of the step `overlaps`: the path of the index of benchmarks, and the stage's settings."""

    index: str = field(metadata=WRITTEN)
    settings: Config


@dataclass(frozen=True)
class Removal:
    """Settings of the step `apply`: paths of the index and of the flags of ignored n-grams; the stage's settings."""

    index: str = field(metadata=WRITTEN)
    ignored: str = field(metadata=WRITTEN)
    settings: Config
