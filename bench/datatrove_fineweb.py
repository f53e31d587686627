"""FineWeb's recipe by datatrove, in a process of its own: the peer of `bench.pipeline`.

`python -m bench.datatrove_fineweb --input FOLDER --output FOLDER --model lid.176.ftz` runs with any interpreter that
has datatrove 0.10 and its requirements; it imports nothing else of this project. The stages are those of the script
that datatrove's authors publish (examples/fineweb.py), with its lists, filters, constants and writers, one task each,
one after the other. These things differ from that script:

- the language is named, as in FineWeb's paper; without it datatrove 0.10 keeps every language;
- a page has ten minutes instead of one second of wall time, so that the result does not depend on the machine's load;
- nothing is downloaded: the language model is the file given here, and the list of public suffixes is tldextract's
  copy;
- tokens are not counted, and dropped documents are written only with --trace, because ours does neither.

With --trace, which is not timed, OUTPUT/trace.jsonl has a line for each page: the hash of its decoded HTML (`html`),
the hash of its extracted text (`text`), and the stage and reason that dropped it, if one did.
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
    """Give datatrove the files that it would download."""
    datatrove.utils.lid.cached_asset_path_or_download = lambda *_, **__: model
    tldextract.TLDExtract = functools.partial(tldextract.TLDExtract, suffix_list_urls=())
    # datatrove asks for one build of fastText by its package name; the other build works too, with _predict.
    LanguageFilter._requires_dependencies = []
    datatrove.utils.lid.check_required_dependencies = lambda *_: None

    try:
        _FastText(model).predict("text")
    except ValueError:  # fasttext 0.9.3 makes an array in a way that NumPy 2 refuses; its other functions work
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
    """MinHash in four stages; the last one also masks personal data in the documents that stay."""
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
    """Write one line for each page, from what the reader has noted and the writers have written."""
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
