"""`python -m bench.extract`: the extract stage beside trafilatura called with the same settings.

The stage decodes, counts tags and builds DOCUMENTS on top; a ratio of 1 means that this costs nothing. Both get the
same bytes of the same pages, one after the other on one core.
"""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios
from corpus import extract
from corpus.schema import PAGES

PAGE_LIMIT = 100


def main() -> None:
    bodies = pages(PAGE_LIMIT)
    config = extract.Config()
    rows = [{"html": body, "charset": None, "id": str(number)} for number, body in enumerate(bodies)]
    batch = pa.RecordBatch.from_pylist(rows, schema=PAGES)
    ours = len(bodies) / median_seconds(lambda: extract.process(batch, config))
    peer = len(bodies) / median_seconds(lambda: [stock(body) for body in bodies])
    size = sum(map(len, bodies)) / len(bodies)
    print(f"{len(bodies)} pages of {size / 1000:.0f} kB, {extract.process(batch, config).kept.num_rows} with text")
    print_row("extract", "pages/s", ours, {"trafilatura": peer}, True)
    if "--json" in sys.argv:
        compared = ratios(ours, {"trafilatura": peer}, True)
        print_json("extract", compared, {"pages_per_second": ours}, {"trafilatura": peer})


def pages(limit: int) -> list[bytes]:
    """The bodies of the first responses of one WARC."""
    from warcio.archiveiterator import ArchiveIterator

    path = min((data_folder() / "warc").glob("DEV-*.warc.gz"))
    bodies = []
    with path.open("rb") as file:
        for record in ArchiveIterator(file):
            if record.rec_type == "response" and len(bodies) < limit:
                bodies.append(record.content_stream().read())
    return bodies


def stock(body: bytes) -> Any:
    import trafilatura
    from trafilatura.deduplication import LRUCache

    return trafilatura.extract(
        body, favor_precision=True, include_comments=False, include_tables=True, deduplicate=LRUCache(4096)
    )


if __name__ == "__main__":
    main()
