"""Settings of decontamination; light, so that a command can show help.

Documents that hold examples of a benchmark teach a model the answers. What is looked for are n-grams of words, in lower
case and without punctuation, as in GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C: 13 words). One n-gram in
common is no proof: quotations, licences, forms and the instructions of the benchmarks themselves are what users are
sorry to lose. Hence three guards, none of which depends on how documents are cut into shards:

- an n-gram in more than `max_examples` examples of the benchmarks is their own boilerplate, and says nothing;
- neither does one in more than `max_documents` documents (GPT-3, NeMo Curator's max_matches: 10);
- a document counts only if it has `min_overlap` of an example's n-grams, or `min_ngrams` of them.

The preset `gpt3` has GPT-3's decisions: one n-gram counts, and is cut out with 200 characters on either side.
"""

from __future__ import annotations

from dataclasses import dataclass

from corpus.config import setting


@dataclass(frozen=True)
class Config:
    benchmarks: tuple[str, ...] = setting(
        (), "files of examples (.jsonl, .parquet, .txt), or folders of them", path=True
    )
    fields: tuple[str, ...] = setting(
        (), "fields of an example to look for (default: all that hold text)", flag="--field"
    )
    ngram: int = setting(13, "words in an n-gram (GPT-3); shorter examples are not looked for", low=2, high=100)
    max_examples: int = setting(10, "an n-gram in more examples of the benchmarks is ignored; 0: none is", low=0)
    max_documents: int = setting(10, "an n-gram in more documents is ignored (GPT-3); 0: none is", low=0)
    min_overlap: float = setting(0.5, "share of an example's n-grams that make a document count", low=0, high=1)
    min_ngrams: int = setting(20, "different n-grams of one example that make a document count", low=1)
    action: str = setting("drop", "drop the document, or cut out what overlaps", choices=("drop", "cut"))
    window: int = setting(200, "cut: characters to cut on either side as well (GPT-3)", low=0)
    min_piece: int = setting(200, "cut: shorter pieces between cuts go as well, in characters (GPT-3)", low=0)
    max_pieces: int = setting(10, "cut: a document in more pieces is dropped (GPT-3)", low=1)

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks = (): should name files of examples, or folders of them")


@dataclass(frozen=True)
class Search:
    """Of the stage `overlaps`: `index` is the path of the index, a local file; `settings` what it was made with."""

    index: str
    settings: Config


@dataclass(frozen=True)
class Removal:
    """Of the stage `apply`: `ignored` is the path of what too many documents have, a local file as well."""

    index: str
    ignored: str
    settings: Config
