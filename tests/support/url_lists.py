"""Addresses that each rule on URLs drops and keeps, and the lists that the rules need for them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from corpus.filters import urls

# rule, dropped, value, threshold, kept
CASES = [
    ("invalid", "ftp://example.org/a", "ftp://example.org/a", "http or https, and a host", "http://example.org/a"),
    ("domain", "https://www.Bad.example./x", "bad.example", "domains.txt", "https://notbad.example/x"),
    ("url", "http://example.org/Page/?a=1#top", "example.org/Page?a=1", "urls.txt", "http://example.org/page?a=1"),
    ("expression", "http://example.org/WET-Paint", "/WET", "expressions", "http://example.org/sweat"),
    ("hard_word", "https://example.org/free/PornHub_videos", "pornhub", "hard words", "https://example.org/horn_hub"),
    ("hard_word", "https://example.org/free%20Porn%2dhub", "porn", "hard words", "https://example.org/free%20Popcorn"),
    ("soft_words", "https://example.org/Casino/x-POKER", "casino poker", 2, "https://example.org/casino/casino-x"),
    ("subword", "https://myfree-porntubes.example", "freeporn", "subwords", "https://myfree-portubes.example"),
]


def pages(addresses: list[str | None]) -> pa.RecordBatch:
    """Rows with these addresses, as the URL filter is given them."""
    ids = [f"<urn:uuid:{row}>" for row in range(len(addresses))]
    return pa.record_batch(
        {"id": pa.array(ids, pa.string()), "url": pa.array(addresses, pa.string())}
        | {"file_path": pa.nulls(len(ids), pa.string()), "warc_offset": pa.nulls(len(ids), pa.int64())}
    )


def block_lists(folder: Path) -> urls.Config:
    """Lists for CASES, written to `folder`."""
    (folder / "domains.txt").write_text(
        "# blocked\nother.example\n*.BAD.example # why\r\n\n.dots.example\nbücher.example\n192.0.2.1\n2001:db8:0::1"
    )
    (folder / "urls.txt").write_text("# blocked\nhttps://EXAMPLE.org/Page?a=1\n\nexample.org/plain/\nhttp://[bad\n")
    (folder / "expressions").write_text("# blocked\n(^|[-/])wet\n")
    (folder / "allowed.txt").write_text("museum.example\nmuseum.bad.example\nexample.org/porn-history\n")
    return urls.Config(
        blocklist=tuple(str(folder / name) for name in ("domains.txt", "urls.txt", "expressions")),
        allowlist=(str(folder / "allowed.txt"),),
    )
