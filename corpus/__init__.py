"""From WARC files to clean, deduplicated, tokenized Parquet shards: the command `corpus`, and its parts for Python.

    from corpus import extract_text, filter_text, read_pages

    for page in read_pages("crawl/*.warc.gz"):
        text = extract_text(page)
        if text is not None and (text := filter_text(text, language="en")) is not None:
            print(page.url, len(text))

Pages and texts: `read_pages`, `extract_text`, `identify_language`, `judge_text`, `filter_text`, `find_pii`, `mask_pii`.
Documents of your own, in Parquet, JSON lines, CSV or text: `read_documents`, `Columns`.
Many texts: `minhash_signatures`, `near_duplicates`, `find_repeated_lines`, `drop_repeated_lines`. Whole runs and their
output: `load_recipe`, `run_recipe`, `Dataset`. Stages and rules of one's own: `Drop`, `Outcome`, `Rule`, `Stage`,
`setting`. The other names are the types of what these return.

`import corpus` imports nothing more; a name is imported from its module when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corpus.config import setting
    from corpus.dedup.in_memory import Duplicate, minhash_signatures, near_duplicates
    from corpus.dedup.lines.in_memory import RepeatedLine, drop_repeated_lines, find_repeated_lines
    from corpus.extract.stage import extract_text
    from corpus.filters.one_text import filter_text, judge_text
    from corpus.inputs import read_documents
    from corpus.language.stage import Language, identify_language
    from corpus.pii.scrub import find_pii, mask_pii
    from corpus.pii.text import Span
    from corpus.pipeline import RunSummary, run_recipe
    from corpus.run.recipe import Recipe, load_recipe
    from corpus.schema import Drop, Outcome
    from corpus.sources.columns import Columns
    from corpus.stage import Rule, Stage
    from corpus.store.shards import Dataset
    from corpus.warc.pages import Page
    from corpus.warc.source import read_pages

__version__ = "0.1.0"
__all__ = [
    "Columns",
    "Dataset",
    "Drop",
    "Duplicate",
    "Language",
    "Outcome",
    "Page",
    "Recipe",
    "RepeatedLine",
    "Rule",
    "RunSummary",
    "Span",
    "Stage",
    "drop_repeated_lines",
    "extract_text",
    "filter_text",
    "find_pii",
    "find_repeated_lines",
    "identify_language",
    "judge_text",
    "load_recipe",
    "mask_pii",
    "minhash_signatures",
    "near_duplicates",
    "read_documents",
    "read_pages",
    "run_recipe",
    "setting",
]

# The module that has each public name. No module or folder of the package has a public name as its own name: once it
# is imported, it would hide the function.
_MODULES = {
    "Columns": "corpus.sources.columns",
    "Dataset": "corpus.store.shards",
    "Drop": "corpus.schema",
    "Duplicate": "corpus.dedup.in_memory",
    "Language": "corpus.language.stage",
    "Outcome": "corpus.schema",
    "Page": "corpus.warc.pages",
    "Recipe": "corpus.run.recipe",
    "RepeatedLine": "corpus.dedup.lines.in_memory",
    "Rule": "corpus.stage",
    "RunSummary": "corpus.pipeline",
    "Span": "corpus.pii.text",
    "Stage": "corpus.stage",
    "drop_repeated_lines": "corpus.dedup.lines.in_memory",
    "extract_text": "corpus.extract.stage",
    "filter_text": "corpus.filters.one_text",
    "find_pii": "corpus.pii.scrub",
    "find_repeated_lines": "corpus.dedup.lines.in_memory",
    "identify_language": "corpus.language.stage",
    "judge_text": "corpus.filters.one_text",
    "load_recipe": "corpus.run.recipe",
    "mask_pii": "corpus.pii.scrub",
    "minhash_signatures": "corpus.dedup.in_memory",
    "near_duplicates": "corpus.dedup.in_memory",
    "read_documents": "corpus.inputs",
    "read_pages": "corpus.warc.source",
    "run_recipe": "corpus.pipeline",
    "setting": "corpus.config",
}


if not TYPE_CHECKING:  # a type checker should know the names above and no others

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'corpus' has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            if not error.name or error.name.partition(".")[0] in ("corpus", "bpe"):
                raise
            message = f"{error.name} is not installed; pip install '.[data]' brings what corpus.{name} needs"
            raise ImportError(message, name=error.name) from None
        globals()[name] = value  # found at once from now on
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
