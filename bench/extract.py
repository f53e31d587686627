"""`python -m bench.extract`: the extract stage beside trafilatura, and beside resiliparse.

All pages of the six WARC files, with FineWeb's settings, on one core, in processor time. Ours and trafilatura take
turns page by page, so that other work on the machine slows both alike. The ratios:

- `trafilatura`: its time / ours, for the text of a decoded page. The texts must be equal, or the run fails.
- `stage`: its time / that of our whole stage in batches of 64 pages (which also decodes, counts tags, and makes
  DOCUMENTS).
- `resiliparse`: its time / ours. It is below 1: the faster choice of `--extractor`.
- `warcio`: pages that we read and decode in a second / pages that warcio does.

The script also prints what batches of one row cost, which is how a supervised stage gets its pages. `--limit N` takes
every Nth page.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import pyarrow as pa

from bench import reading
from bench.harness import data_folder, median_seconds, print_json, print_row
from corpus.extract import stage as extract
from corpus.schema import PAGES
from corpus.text.charset import decode_html
from corpus.warc import pages as warc


def main() -> None:
    step = int(sys.argv[sys.argv.index("--limit") + 1]) if "--limit" in sys.argv else 1
    pages = read_pages()[::step]
    config = extract.Config(count_retries=True)
    stock = replace(config, accelerated=False)
    resiliparse = replace(config, extractor="resiliparse")
    texts = [decode_html(page.html, page.charset) for page in pages]
    seconds = dict.fromkeys(("ours", "trafilatura", "resiliparse"), 0.0)
    for text in texts[:10]:
        extract._main_text(text, config)
        extract._main_text(text, stock)
    different = 0
    for text in texts:
        ours, theirs = (
            timed(seconds, name, text, settings) for name, settings in (("ours", config), ("trafilatura", stock))
        )
        timed(seconds, "resiliparse", text, resiliparse)
        different += ours != theirs
    if different:
        sys.exit(f"{different} of {len(texts)} texts are not trafilatura's")
    whole, single = stage(pages, config, 64), stage(pages, config, 1)
    rate = {name: len(texts) / spent for name, spent in seconds.items()}
    peers = {"trafilatura": rate["trafilatura"], "resiliparse": rate["resiliparse"]}
    ratios = {name: rate["ours"] / peer for name, peer in peers.items()} | {"stage": seconds["trafilatura"] / whole}
    read, read_by_warcio = reading.pages_per_second()
    peers["warcio"] = read_by_warcio
    ratios["warcio"] = read / read_by_warcio
    print(f"{len(texts)} pages of {sum(map(len, texts)) / len(texts) / 1000:.0f} thousand characters, equal texts")
    print_row("extract", "pages/s", rate["ours"], {name: rate[name] for name in ("trafilatura", "resiliparse")}, True)
    print(f"stage {len(texts) / whole:.1f} pages/s; batches of one row: {100 * (single / whole - 1):+.1f}% time")
    print_row("read", "pages/s", read, {"warcio": read_by_warcio}, True)
    if "--json" in sys.argv:
        print_json("extract", ratios, {"pages_per_second": rate["ours"], "read": read}, peers)


def timed(seconds: dict[str, float], name: str, text: str, config: extract.Config) -> Any:
    start = time.process_time()
    answer = extract._main_text(text, config)
    seconds[name] += time.process_time() - start
    return answer


def stage(pages: list[warc.Page], config: extract.Config, rows: int) -> float:
    """Processor seconds of `process` over all pages in batches of `rows`."""
    table = pa.Table.from_pylist(
        [{"html": page.html, "charset": page.charset, "id": str(number)} for number, page in enumerate(pages)],
        schema=PAGES,
    )
    batches = [
        batch for at in range(0, len(pages), rows) for batch in table.slice(at, rows).combine_chunks().to_batches()
    ]
    return median_seconds(lambda: [extract.process(batch, config) for batch in batches], 1, 0, time.process_time)


def read_pages() -> list[warc.Page]:
    """The pages of all WARCs of the test data."""
    pages = []
    for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz")):
        with path.open("rb") as file:
            pages += [page for page in warc.read_pages(file, path.name) if isinstance(page, warc.Page)]
    return pages


if __name__ == "__main__":
    main()
