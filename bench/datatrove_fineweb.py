"""FineWeb's recipe by datatrove, as a process of its own: what `bench.pipeline` measures ours against.

`python -m bench.datatrove_fineweb --input FOLDER --output FOLDER --model lid.176.ftz`, with any interpreter that has
datatrove 0.10 and what it asks for; nothing else of this project is imported. The stages are those of the script that
datatrove's authors publish (examples/fineweb.py), with its own lists, filters, constants and writers, one task each,
one process after the other's work. Different from that script, and why:

- the languages are named, as FineWeb's paper has it: without them datatrove 0.10 keeps every language;
- a page has ten minutes instead of one second of wall time: else what is kept depends on the machine's load;
- the language model is the file given here, and the list of public suffixes is the copy that tldextract carries:
  nothing is downloaded;
- tokens are not counted, and dropped documents are written only with --trace: both are work that we leave out as well.

With --trace, OUTPUT/trace.jsonl has a line for each page that was read: the hash of its HTML as decoded (`html`), that
of the text extracted from it (`text`), and the stage and reason that dropped it, if one did. This is not measured.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import datatrove.utils.lid
import tldextract
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from fasttext.FastText import _FastText

PAGE_SECONDS = 600
FILTERS = {
    "urls": URLFilter,
    "language": lambda **options: LanguageFilter(languages=["en"], language_threshold=0.65, **options),
    "gopher_repetition": GopherRepetitionFilter,
    "gopher_quality": GopherQualityFilter,
    "c4": lambda **options: C4QualityFilter(filter_no_terminal_punct=False, **options),
    "fineweb": FineWebQualityFilter,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of WARC files")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--model", required=True, help="lid.176.ftz or lid.176.bin")
    parser.add_argument("--trace", action="store_true")
    arguments = parser.parse_args()
    stay_here(arguments.model)
    output: Path = arguments.output
    filter_pages(arguments.input, output, arguments.trace)
    if arguments.trace:
        write_trace(output)
    deduplicate(output)


def stay_here(model: str) -> None:
    """Give datatrove what it would download."""
    datatrove.utils.lid.cached_asset_path_or_download = lambda *_, **__: model
    tldextract.TLDExtract = functools.partial(tldextract.TLDExtract, suffix_list_urls=())
    # It asks for one of two builds of fastText by the name of its package; the other one does as well, with _predict.
    LanguageFilter._requires_dependencies = []
    datatrove.utils.lid.check_required_dependencies = lambda *_: None

    try:
        _FastText(model).predict("text")
    except ValueError:  # fasttext 0.9.3 asks NumPy 2 for an array in a way that it refuses; the rest of it works
        _FastText.predict = _predict


def _predict(self: Any, text: str, k: int = 1) -> Any:
    import numpy as np

    scores, labels = zip(*self.f.predict(text + "\n", k, 0.0, "strict"), strict=True)
    return labels, np.asarray(scores)


def filter_pages(source: str, output: Path, trace: bool) -> None:
    """WARC -> documents before deduplication."""
    extractor = Trafilatura(favour_precision=True, timeout=PAGE_SECONDS)
    reader = WarcReader(source, glob_pattern="*.warc.gz", adapter=_noted if trace else None)
    steps = [extractor if name == "extract" else _filter(name, output, trace) for name in ("urls", "extract")]
    extracted = [JsonlWriter(str(output / "extracted"))] if trace else []
    rest = [_filter(name, output, trace) for name in FILTERS if name != "urls"]
    run("filter", [reader, *steps, *extracted, *rest, JsonlWriter(str(output / "filtered"))], output)


def _filter(name: str, output: Path, trace: bool) -> Any:
    options = {"exclusion_writer": JsonlWriter(str(output / "removed" / name))} if trace else {}
    return FILTERS[name](**options)


_read: dict[str, str] = {}  # with --trace: the hash of every page's HTML


def _noted(self: Any, data: dict[str, Any], path: str, id_in_file: int | str) -> dict[str, Any]:
    _read[data["id"]] = digest(data["text"])
    return {"text": data["text"], "id": data["id"], "metadata": {name: data[name] for name in ("url", "date")}}


def deduplicate(output: Path) -> None:
    """MinHash in its four stages, the last with what the recipe does to the documents that stay."""
    config = MinhashConfig(
        hash_config=HashConfig(hash_fc="sha1", precision=64), num_buckets=14, hashes_per_bucket=8, n_grams=5
    )
    filtered, signatures, buckets, remove = (
        str(output / name) for name in ("filtered", "signatures", "buckets", "remove")
    )
    run("signatures", [JsonlReader(filtered), MinhashDedupSignature(signatures, config=config, language="en")], output)
    run("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], output, tasks=config.num_buckets)
    run("clusters", [MinhashDedupCluster(buckets, remove, config=config)], output)
    steps = [JsonlReader(filtered), MinhashDedupFilter(remove), PIIFormatter(), JsonlWriter(str(output / "clean"))]
    run("clean", steps, output)


def run(name: str, pipeline: list[Any], output: Path, tasks: int = 1) -> None:
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(output / "logs" / name)).run()


def write_trace(output: Path) -> None:
    """A line a page, of what the reader has noted and the writers have written."""
    pages: dict[str, dict[str, str]] = {name: {"html": html} for name, html in _read.items()}
    for row in read(output / "extracted"):
        pages[row["id"]]["text"] = digest(row["text"])
    for name in FILTERS:
        for row in read(output / "removed" / name):
            pages[row["id"]] |= {"stage": name, "reason": row["metadata"].get("filter_reason", "")}
    for page in pages.values():
        if "text" not in page and "stage" not in page:
            page |= {"stage": "extract", "reason": "no text"}
    with (output / "trace.jsonl").open("w") as file:
        file.writelines(json.dumps({"id": name} | page) + "\n" for name, page in pages.items())


def read(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    return rows


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


if __name__ == "__main__":
    main()
